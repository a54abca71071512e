//! A connection for one request, with its turn: had before the request is claimed.

use std::{
    sync::{Arc, Weak},
    time::{Duration, Instant},
};

use http::{Request, Response};
use http_body_util::BodyExt as _;
use hyper::{body::Incoming, client::conn::TrySendError};
use tokio::{
    runtime::Handle,
    sync::{AcquireError, OwnedSemaphorePermit},
    time::{sleep, timeout},
};

use super::{
    connections::{Connection, Failed, REST, Sender, Upstream},
    unread::Unread,
};
use crate::{
    http_client::causes,
    proxy::{
        answer::{AnswerBody, Refused},
        seats::{Of, Seat},
    },
};

/// The turn of one request, among all and among those of its kind.
struct Turn(
    #[expect(dead_code, reason = "it is held")] OwnedSemaphorePermit,
    #[expect(dead_code, reason = "it is held")] Option<OwnedSemaphorePermit>,
);

/// The turn and the seat of one request. Its body shares them, because a server can answer before it reads
/// the request, which stays in memory until then.
struct Place(
    #[expect(dead_code, reason = "it is held")] Turn,
    #[expect(dead_code, reason = "it is held")] Seat,
);

/// A connection for one request, and the turn to send it. If it is dropped before, the connection
/// is kept for another request.
pub(super) struct Checkout {
    upstream: Arc<Upstream>,
    /// `None` once the request is sent.
    unused: Option<Held>,
}

/// The resources that an answer holds until its end.
pub(super) struct Held {
    connection: Connection,
    place: Arc<Place>,
    /// `None` until the request is sent. It is dropped after the place.
    sent: Option<Sent>,
    upstream: Arc<Upstream>,
}

/// A request that was sent. Once its answer is over, a connection that requests share is replaced unless
/// the server soon reads the rest of the request.
struct Sent {
    place: Weak<Place>,
    shared: Option<Sender>,
    upstream: Arc<Upstream>,
}

impl Upstream {
    /// Takes a seat, and waits for a turn and a connection.
    pub(super) async fn check_out(self: Arc<Self>, of: Of) -> Result<Checkout, Failed> {
        let seat = self.seats.take(of).ok_or_else(|| {
            let cause = "as many requests are being handled as `requests` of `[limits]` allows";
            Failed::new(Refused::Busy, cause)
        })?;
        let limit = self.settings.connect_timeout;
        let waiting = timeout(limit, self.check_out_in_time(of, seat)).await;
        waiting.unwrap_or_else(|_| {
            let cause = format!("no turn and no connection within {limit:?}");
            Err(Failed::new(Refused::NoUpstream, cause))
        })
    }

    async fn check_out_in_time(self: Arc<Self>, of: Of, seat: Seat) -> Result<Checkout, Failed> {
        let turn = self.turn(of).await?;
        let connection = match self.reuse().await {
            Some(had) => had,
            None => self.fresh().await?,
        };
        let unused = Held {
            connection,
            place: Arc::new(Place(turn, seat)),
            sent: None,
            upstream: Arc::clone(&self),
        };
        Ok(Checkout {
            upstream: self,
            unused: Some(unused),
        })
    }

    /// Waits for a turn of its kind first, so that strangers never have all of them.
    async fn turn(&self, of: Of) -> Result<Turn, Failed> {
        let taken = async {
            let of_kind = match of {
                Of::Known | Of::Application => None,
                Of::Anybody => Some(Arc::clone(&self.open_requests).acquire_owned().await?),
            };
            Ok(Turn(
                Arc::clone(&self.requests).acquire_owned().await?,
                of_kind,
            ))
        };
        // The semaphores are never closed.
        let closed = |error: AcquireError| Failed::new(Refused::Internal, error.to_string());
        taken.await.map_err(closed)
    }
}

impl Checkout {
    /// The name of the upstream.
    pub(super) fn name(&self) -> Arc<str> {
        Arc::clone(&self.upstream.name)
    }

    /// Sends a request, and waits for the head of its answer.
    ///
    /// # Errors
    /// If bytes of the request may have reached the upstream, it is not sent again.
    pub(super) async fn send(
        mut self,
        request: Request<AnswerBody>,
    ) -> Result<(Response<Incoming>, Held), Failed> {
        let broken = |error: &hyper::Error| Failed::new(Refused::Broken, causes(error));
        let Some(mut held) = self.unused.take() else {
            let cause = "a connection was to send two requests";
            return Err(Failed::new(Refused::Internal, cause));
        };
        let answer = match held.try_send(request).await? {
            Ok(answer) => answer,
            Err(mut error) => {
                let Some(request) = error.take_message() else {
                    return Err(broken(error.error()));
                };
                // Not a byte was written: the upstream had closed the connection.
                held.replace_connection().await?;
                let sent = held.try_send(request).await?;
                sent.map_err(|mut error| match error.take_message() {
                    None => broken(error.error()),
                    // Another request may have opened it, and it may be closed as well.
                    Some(_) => Failed::new(Refused::Undelivered, causes(error.error())),
                })?
            }
        };
        Ok((answer, held))
    }
}

impl Drop for Checkout {
    fn drop(&mut self) {
        if let Some(Held {
            connection,
            upstream,
            ..
        }) = self.unused.take()
        {
            // It is as old as it was: the server does not know that it was had.
            upstream.keep(connection);
        }
    }
}

impl Held {
    /// Sends a request on the connection, and waits for the head of its answer.
    ///
    /// # Errors
    /// Returns an error if the answer is late: the upstream may have the request by then.
    async fn try_send(
        &mut self,
        request: Request<AnswerBody>,
    ) -> Result<Result<Response<Incoming>, TrySendError<Request<AnswerBody>>>, Failed> {
        let limit = self.upstream.settings.answer_timeout;
        self.sent = Some(Sent {
            place: Arc::downgrade(&self.place),
            shared: self.connection.sender.shared(),
            upstream: Arc::clone(&self.upstream),
        });
        let held = Arc::new((Arc::clone(&self.place), self.connection.slot.clone()));
        let request = request.map(|body| Unread { body, held }.boxed_unsync());
        let sent = timeout(limit, self.connection.sender.try_send(request)).await;
        sent.map_err(|_| Failed::new(Refused::Late, format!("no answer within {limit:?}")))
    }

    /// Has another connection in place of one on which nothing could be sent.
    async fn replace_connection(&mut self) -> Result<(), Failed> {
        let upstream = &self.upstream;
        upstream.forget(&self.connection.sender);
        let limit = upstream.settings.connect_timeout;
        let undelivered = |cause: String| Failed::new(Refused::Undelivered, cause);
        let connected = timeout(limit, upstream.fresh()).await;
        let connected =
            connected.map_err(|_| undelivered(format!("no other connection within {limit:?}")))?;
        self.connection = connected.map_err(|failed| undelivered(failed.cause))?;
        Ok(())
    }

    /// Returns how long the next piece of the answer may take.
    pub(super) fn stall_timeout(&self) -> Duration {
        self.upstream.settings.stall_timeout
    }

    /// Keeps the connection for the next request, if the server has read this one. The answer has come to
    /// its end.
    pub(super) fn give_back(mut self) {
        if Arc::strong_count(&self.place) == 1 {
            self.connection.since = Instant::now();
            self.upstream.keep(self.connection);
        }
    }
}

impl Drop for Sent {
    fn drop(&mut self) {
        let is_read = self.place.strong_count() == 0;
        // Without a runtime the proxy is at its end.
        if let Some(shared) = self.shared.take()
            && !is_read
            && let Ok(runtime) = Handle::try_current()
        {
            let (place, upstream) = (Weak::clone(&self.place), Arc::clone(&self.upstream));
            runtime.spawn(async move {
                sleep(REST).await;
                if place.strong_count() > 0 {
                    upstream.retire(&shared);
                }
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http_body_util::{BodyExt as _, Empty};
    use tokio::{net::TcpListener, task::yield_now};

    use super::*;
    use crate::proxy::upstream::{
        address::Address,
        connections::{Sender, Settings},
    };

    /// An upstream of HTTP/2 that has closed a connection, and the request that was to have it. A new
    /// connection may take longer than an answer.
    async fn closed() -> (TcpListener, Arc<Upstream>, Checkout) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let address = Address::parse(&url, true, None).unwrap();
        let settings = Settings {
            http2: true,
            seats: 1,
            requests: 1,
            open_requests: 1,
            connect_timeout: Duration::from_secs(60),
            answer_timeout: Duration::from_secs(5),
            stall_timeout: Duration::from_secs(60),
            idle_timeout: Duration::from_secs(60),
        };
        let upstream = Upstream::new("app", address, settings);
        let checkout = Arc::clone(&upstream).check_out(Of::Known).await.unwrap();
        drop(listener.accept().await.unwrap());
        let is_closed = || match &checkout.unused.as_ref().unwrap().connection.sender {
            Sender::Http1(sender, _) => sender.is_closed(),
            Sender::Http2(sender, _) => sender.is_closed(),
        };
        while !is_closed() {
            yield_now().await;
        }
        (listener, upstream, checkout)
    }

    /// Returns why a request has no answer. The time is made to pass.
    async fn refused(checkout: Checkout) -> Refused {
        let body = Empty::<Bytes>::new().map_err(|never| match never {});
        let request = Request::post("http://api.example.com/transfer");
        let request = request.body(body.boxed_unsync()).unwrap();
        tokio::time::pause();
        checkout.send(request).await.err().unwrap().refused
    }

    #[tokio::test]
    async fn a_request_that_was_not_sent_is_not_said_to_have_a_late_answer() {
        let (_listener, upstream, checkout) = closed().await;
        // Another request opens a connection, and does not come to an end.
        let _opening = upstream.opening.lock().await;
        assert_eq!(refused(checkout).await, Refused::Undelivered);
    }

    #[tokio::test]
    async fn an_answer_on_a_second_connection_is_late_as_well() {
        let (_listener, upstream, checkout) = closed().await;
        // Another request has opened it. Nobody answers there.
        drop(upstream.fresh().await.unwrap());
        assert_eq!(refused(checkout).await, Refused::Late);
    }
}
