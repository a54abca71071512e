//! A connection for one request, with its turn: had before the request is claimed.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use http::{Request, Response};
use hyper::body::Incoming;
use tokio::{
    sync::{AcquireError, OwnedSemaphorePermit},
    time::timeout,
};

use super::connections::{Connection, Failed, Upstream};
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
    _turn: Turn,
    _seat: Seat,
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
            _turn: turn,
            _seat: seat,
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
        self,
        request: Request<AnswerBody>,
    ) -> Result<(Response<Incoming>, Held), Failed> {
        let upstream = Arc::clone(&self.upstream);
        let limit = upstream.settings.answer_timeout;
        let answered = timeout(limit, self.send_once(request)).await;
        answered.map_err(|_| Failed::new(Refused::Late, format!("no answer within {limit:?}")))?
    }

    async fn send_once(
        mut self,
        request: Request<AnswerBody>,
    ) -> Result<(Response<Incoming>, Held), Failed> {
        let broken = |error: &hyper::Error| Failed::new(Refused::Broken, causes(error));
        let Some(mut held) = self.unused.take() else {
            let cause = "a connection was to send two requests";
            return Err(Failed::new(Refused::Internal, cause));
        };
        let answer = match held.connection.sender.try_send(request).await {
            Ok(answer) => answer,
            Err(mut error) => {
                let Some(request) = error.take_message() else {
                    return Err(broken(error.error()));
                };
                // Not a byte was written: the upstream had closed the connection.
                held.replace_connection().await?;
                let sent = held.connection.sender.try_send(request).await;
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

    /// Keeps the connection for the next request. The answer has come to its end.
    pub(super) fn give_back(mut self) {
        self.connection.since = Instant::now();
        self.upstream.keep(self.connection);
    }
}
