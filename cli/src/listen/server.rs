//! Accepting connections.

use std::{
    io::{self, ErrorKind},
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

use http::Request;
use hyper::body::Incoming;
use tokio::{
    net::TcpListener,
    sync::{Semaphore, oneshot, watch},
    task::JoinSet,
    time::sleep,
};

use super::{exchange::Exchanges, spelling::Heads};
use crate::{
    exit::Failure,
    http_client::causes,
    serving::{ConnectionLimits, End},
};

/// Connections that are open at once; more must wait.
const MAX_CONNECTIONS: usize = 1024;

/// A port on which the command listens.
#[derive(Debug)]
pub(crate) struct Listener {
    listener: TcpListener,
    address: SocketAddr,
}

impl Listener {
    pub(crate) async fn bind(address: SocketAddr) -> Result<Self, Failure> {
        let failed = |error: &io::Error| {
            let advice = match error.kind() {
                ErrorKind::AddrInUse => {
                    "end the other program, choose another port with --addr, or take any free one \
                     with --addr 127.0.0.1:0"
                }
                ErrorKind::PermissionDenied => "choose a port from 1024 on with --addr",
                _ => "--addr takes an address of this machine, such as 127.0.0.1:8080",
            };
            Failure::unable(
                format!("cannot listen on {address}"),
                error.to_string(),
                advice,
            )
        };
        let listener = TcpListener::bind(address).await.map_err(|e| failed(&e))?;
        let address = listener.local_addr().map_err(|e| failed(&e))?;
        Ok(Self { listener, address })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers connections, over HTTP/1.1 and HTTP/2, until it is told to stop. Answers that are on
    /// their way then are sent to their end.
    pub(crate) async fn serve(self, exchanges: Arc<Exchanges>, mut stop: oneshot::Receiver<()>) {
        let connections = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        let (ending, ended) = watch::channel(());
        let mut answering = JoinSet::new();
        loop {
            let accepting = async {
                // The semaphore is never closed.
                let permit = Arc::clone(&connections).acquire_owned().await;
                (permit, self.listener.accept().await)
            };
            let (permit, accepted) = tokio::select! {
                accepted = accepting => accepted,
                _ = &mut stop => break,
            };
            let Ok((stream, client)) = accepted else {
                // There are no more file descriptors, or the client is gone.
                sleep(Duration::from_millis(50)).await;
                continue;
            };
            // Takes away the tasks that have ended.
            while answering.try_join_next().is_some() {}
            let exchanges = Arc::clone(&exchanges);
            let end = End::Asked(ended.clone());
            answering.spawn(async move {
                let _permit = permit;
                let heads = Heads::default();
                let followed = heads.clone();
                let answering = Arc::clone(&exchanges);
                let answer = move |mut request: Request<Incoming>| {
                    if let Some(spelling) = heads.next() {
                        request.extensions_mut().insert(spelling);
                    }
                    Arc::clone(&answering).answer(request)
                };
                let follow = move |read: &[u8]| followed.follow(read);
                let serving = ConnectionLimits::default().serve(stream, follow, answer, end);
                // A client that breaks off is no failure of ours.
                if let Err(error) = serving.await
                    && let Some(error) = error.downcast_ref::<hyper::Error>()
                    && error.is_parse()
                {
                    exchanges.notice(format!(
                        "{client} sent something that is not HTTP: {}",
                        causes(error)
                    ));
                }
            });
        }
        drop(self.listener);
        drop(ending);
        while answering.join_next().await.is_some() {}
    }
}
