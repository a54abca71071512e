//! Accepting connections, on every address of the configuration.

use std::{sync::Arc, time::Duration};

use http::Request;
use hyper::body::Incoming;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use tokio::{
    sync::{Semaphore, watch},
    task::JoinSet,
    time::{sleep, timeout},
};

use super::{
    handler::Proxy,
    listeners::{Listener, Listeners, Stream},
    plan::Limits,
};

/// Whose requests an address takes.
#[derive(Clone, Debug)]
pub(crate) enum Side {
    Clients,
    Operators,
    /// Those of an application, to be signed by the route of this name.
    Application(Arc<str>),
}

impl Listeners {
    /// Answers connections until the sender of `stop` is dropped. Requests that are being answered
    /// then have until the deadline.
    pub(crate) async fn serve(
        self,
        side: Side,
        proxy: Arc<Proxy>,
        limits: Limits,
        stop: watch::Receiver<()>,
    ) {
        let connections = Arc::new(Semaphore::new(limits.connections));
        let mut serving = JoinSet::new();
        for listener in self.0 {
            let serving_one = Serving {
                side: side.clone(),
                proxy: Arc::clone(&proxy),
                limits,
            };
            serving.spawn(serve(
                listener,
                serving_one,
                Arc::clone(&connections),
                stop.clone(),
            ));
        }
        serving.join_all().await;
    }
}

/// How the connections of an address are answered.
#[derive(Clone)]
struct Serving {
    side: Side,
    proxy: Arc<Proxy>,
    limits: Limits,
}

async fn serve(
    listener: Listener,
    serving: Serving,
    connections: Arc<Semaphore>,
    mut stop: watch::Receiver<()>,
) {
    let graceful = GracefulShutdown::new();
    loop {
        let accepting = async {
            // An address that nobody asks takes no turn from another.
            let accepted = listener.accept().await;
            // The semaphore is never closed.
            (Arc::clone(&connections).acquire_owned().await, accepted)
        };
        let (permit, accepted) = tokio::select! {
            accepted = accepting => accepted,
            _ = stop.changed() => break,
        };
        let Ok((stream, _)) = accepted else {
            // There are no more file descriptors, or the client is gone.
            sleep(Duration::from_millis(50)).await;
            continue;
        };
        let acceptor = listener.acceptor();
        let serving = serving.clone();
        let watcher = graceful.watcher();
        tokio::spawn(async move {
            let _permit = permit;
            let Some(acceptor) = acceptor else {
                return serving.answer(stream, watcher).await;
            };
            let deadline = serving.limits.connection.head_deadline;
            // A client that breaks off, is slow, or speaks no TLS is no failure of ours.
            if let Ok(Ok(stream)) = timeout(deadline, acceptor.accept(stream)).await {
                serving.answer(Box::new(stream), watcher).await;
            }
        });
    }
    drop(listener);
    let _ = timeout(serving.limits.drain, graceful.shutdown()).await;
}

impl Serving {
    async fn answer(self, stream: Box<dyn Stream>, watcher: Watcher) {
        let Self {
            side,
            proxy,
            limits,
        } = self;
        let answer = move |request: Request<Incoming>| {
            let proxy = Arc::clone(&proxy);
            let side = side.clone();
            async move {
                match side {
                    Side::Clients => proxy.answer(request).await,
                    Side::Application(name) => proxy.sign(&name, request).await,
                    Side::Operators => {
                        let (head, _) = request.into_parts();
                        proxy.answer_admin(&head.method, head.uri.path()).await
                    }
                }
            }
        };
        let serving = limits
            .connection
            .serve(stream, |_: &[u8]| {}, answer, watcher);
        // A client that breaks off, or sends no HTTP, is no failure of ours.
        let _ = serving.await;
    }
}
