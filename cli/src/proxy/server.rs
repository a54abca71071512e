//! Accepting connections, on every address of the configuration.

use std::{io, sync::Arc, time::Duration};

use http::Request;
use hyper::body::Incoming;
use tokio::{
    sync::{Semaphore, watch},
    task::JoinSet,
    time::{sleep, timeout},
};

use super::{
    clients::{Clients, Held},
    forwarders::Arrival,
    handler::Proxy,
    listeners::{Listener, Listeners, Stream},
    measures::OneMore,
    plan::{Limits, Side},
};
use crate::serving::End;

impl Listeners {
    /// Answers connections until the sender of `stop` is dropped. Requests that are being answered
    /// then have until the deadline, and are cut off.
    pub(crate) async fn serve(self, proxy: Arc<Proxy>, limits: Limits, stop: watch::Receiver<()>) {
        let mut sides: Vec<Serving> = Vec::new();
        let mut serving = JoinSet::new();
        for listener in self.0 {
            let known = sides.iter().find(|known| known.side == listener.side);
            let of_side = known.cloned().unwrap_or_else(|| {
                let new = Serving {
                    side: listener.side.clone(),
                    is_on_loopback: false,
                    proxy: Arc::clone(&proxy),
                    limits,
                    connections: Arc::new(Semaphore::new(limits.connections)),
                    clients: Clients::new(limits.per_client),
                };
                sides.push(new.clone());
                new
            });
            let one = Serving {
                is_on_loopback: listener.is_on_loopback(),
                ..of_side
            };
            serving.spawn(serve(listener, one, stop.clone()));
        }
        serving.join_all().await;
    }
}

/// How the connections of an address are answered.
#[derive(Clone)]
struct Serving {
    side: Side,
    is_on_loopback: bool,
    proxy: Arc<Proxy>,
    limits: Limits,
    /// Those of all addresses of the side.
    connections: Arc<Semaphore>,
    clients: Arc<Clients>,
}

async fn serve(listener: Listener, serving: Serving, mut stop: watch::Receiver<()>) {
    let mut answering = JoinSet::new();
    loop {
        let accepting = async {
            // An address that nobody asks takes no turn from another.
            let (stream, peer) = listener.accept().await?;
            let is_tls = listener.has_tls();
            let arrival = Arrival { peer, is_tls };
            // A client that has as many as it may have takes no turn from others.
            let Some(held) = serving.hold(arrival) else {
                return Ok(None);
            };
            // The semaphore is never closed.
            let permit = Arc::clone(&serving.connections).acquire_owned().await;
            io::Result::Ok(Some((stream, arrival, (permit, held))))
        };
        let accepted = tokio::select! {
            accepted = accepting => accepted,
            _ = stop.changed() => break,
        };
        let (stream, arrival, taken) = match accepted {
            Ok(Some(accepted)) => accepted,
            Ok(None) => continue,
            Err(_) => {
                // There are no more file descriptors, or the client is gone.
                sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        // Takes away the tasks that have ended.
        while answering.try_join_next().is_some() {}
        let acceptor = listener.acceptor();
        let serving = serving.clone();
        let stop = stop.clone();
        answering.spawn(async move {
            let _taken = taken;
            let _connection = OneMore::connection();
            let Some(acceptor) = acceptor else {
                return serving.answer(arrival, stream, End::Asked(stop)).await;
            };
            let deadline = serving.limits.connection.head_deadline;
            // A client that breaks off, is slow, or speaks no TLS is no failure of ours.
            if let Ok(Ok(stream)) = timeout(deadline, acceptor.accept(stream)).await {
                // The client has not been able to ask for anything yet.
                let end = match stop.has_changed() {
                    Ok(_) => End::Asked(stop),
                    Err(_) => End::AfterFirst,
                };
                serving.answer(arrival, Box::new(stream), end).await;
            }
        });
    }
    drop(listener);
    let ended = async { while answering.join_next().await.is_some() {} };
    if timeout(serving.limits.drain, ended).await.is_err() {
        serving.proxy.cut_off();
        answering.shutdown().await;
    }
}

impl Serving {
    /// Counts a connection of a client; `None` if it has as many as it may have. Forwarders have those
    /// of many clients, and a Unix socket has no address to count by.
    fn hold(&self, arrival: Arrival) -> Option<Option<Held>> {
        let is_counted = matches!(self.side, Side::Clients)
            && arrival.peer.is_some()
            && !self.proxy.routes().forwarders().trust(arrival);
        match is_counted {
            false => Some(None),
            true => self.clients.hold(arrival.address()).map(Some),
        }
    }

    async fn answer(self, arrival: Arrival, stream: Box<dyn Stream>, end: End) {
        let Self {
            side,
            is_on_loopback,
            proxy,
            limits,
            ..
        } = self;
        let answer = move |request: Request<Incoming>| {
            let proxy = Arc::clone(&proxy);
            let side = side.clone();
            async move {
                match side {
                    Side::Clients => proxy.answer(arrival, request).await,
                    Side::Application(name) => proxy.sign(&name, is_on_loopback, request).await,
                    Side::Operators => {
                        let (head, _) = request.into_parts();
                        proxy.answer_admin(&head.method, head.uri.path()).await
                    }
                }
            }
        };
        let serving = limits.connection.serve(stream, |_: &[u8]| {}, answer, end);
        // A client that breaks off, or sends no HTTP, is no failure of ours.
        let _ = serving.await;
    }
}
