//! Accepting connections, on every address of the configuration.

use std::{
    fs,
    io::{self, ErrorKind},
    os::unix::fs::{FileTypeExt as _, PermissionsExt as _},
    path::Path,
    sync::Arc,
    time::Duration,
};

use http::Request;
use hyper::body::Incoming;
use hyper_util::server::graceful::GracefulShutdown;
use rustix::{fs::Mode, process::umask};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, UnixListener, UnixStream},
    sync::{Semaphore, watch},
    task::JoinSet,
    time::{sleep, timeout},
};

use super::{
    handler::Proxy,
    plan::{Limits, Listen},
};
use crate::exit::Failure;

/// The owner and the group of the socket may connect.
const SOCKET_MODE: u32 = 0o660;

/// Whose requests an address takes.
#[derive(Clone, Debug)]
pub(crate) enum Side {
    Clients,
    Operators,
    /// Those of an application, to be signed by the route of this name.
    Application(Arc<str>),
}

/// Addresses on which the proxy listens.
#[derive(Debug)]
pub(crate) struct Listeners(Vec<Listener>);

#[derive(Debug)]
enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener, std::path::PathBuf),
}

impl Listeners {
    /// Binds every address.
    ///
    /// # Errors
    /// Returns a failure if an address is taken or not allowed.
    pub(crate) async fn bind(addresses: &[Listen]) -> Result<Self, Failure> {
        let mut listeners = Vec::with_capacity(addresses.len());
        for address in addresses {
            let bound = match address {
                Listen::Tcp(address) => TcpListener::bind(address).await.map(Listener::Tcp),
                Listen::Unix(path) => {
                    let bound = bind_socket(path).await;
                    bound.map(|listener| Listener::Unix(listener, path.clone()))
                }
            };
            listeners.push(bound.map_err(|error| {
                let shown = match address {
                    Listen::Tcp(address) => address.to_string(),
                    Listen::Unix(path) => format!("unix:{}", path.display()),
                };
                Failure::unable(
                    format!("cannot listen on {shown}"),
                    error.to_string(),
                    "end the other program, or choose another address in `listen`",
                )
            })?);
        }
        Ok(Self(listeners))
    }

    /// The addresses, as a person writes them: `http://127.0.0.1:8080` or `unix:PATH`.
    pub(crate) fn addresses(&self) -> Vec<String> {
        let shown = self.0.iter().map(|listener| match listener {
            Listener::Tcp(listener) => match listener.local_addr() {
                Ok(address) => format!("http://{address}"),
                Err(error) => error.to_string(),
            },
            Listener::Unix(_, path) => format!("unix:{}", path.display()),
        });
        shown.collect()
    }

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
            let serve = serve(
                listener,
                side.clone(),
                Arc::clone(&proxy),
                limits,
                Arc::clone(&connections),
                stop.clone(),
            );
            serving.spawn(serve);
        }
        serving.join_all().await;
    }
}

/// Binds a socket in the file system. A file that a proxy has left behind, and that nobody listens
/// on, is removed.
async fn bind_socket(path: &Path) -> io::Result<UnixListener> {
    let is_socket = fs::symlink_metadata(path).is_ok_and(|of| of.file_type().is_socket());
    if is_socket {
        let asked = UnixStream::connect(path).await;
        // Any other error says nothing of whether somebody listens.
        if asked.is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused) {
            fs::remove_file(path)?;
        }
    }
    // From its first moment nobody else may connect.
    let before = umask(Mode::from_raw_mode(!SOCKET_MODE & 0o777));
    let listener = UnixListener::bind(path);
    umask(before);
    let listener = listener?;
    fs::set_permissions(path, fs::Permissions::from_mode(SOCKET_MODE))?;
    Ok(listener)
}

async fn serve(
    listener: Listener,
    side: Side,
    proxy: Arc<Proxy>,
    limits: Limits,
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
        let Ok(stream) = accepted else {
            // There are no more file descriptors, or the client is gone.
            sleep(Duration::from_millis(50)).await;
            continue;
        };
        let proxy = Arc::clone(&proxy);
        let side = side.clone();
        let watcher = graceful.watcher();
        tokio::spawn(async move {
            let _permit = permit;
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
        });
    }
    drop(listener);
    let _ = timeout(limits.drain, graceful.shutdown()).await;
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

impl Listener {
    async fn accept(&self) -> io::Result<Box<dyn Stream>> {
        match self {
            Self::Tcp(listener) => {
                let (stream, _) = listener.accept().await?;
                stream.set_nodelay(true)?;
                Ok(Box::new(stream))
            }
            Self::Unix(listener, _) => Ok(Box::new(listener.accept().await?.0)),
        }
    }
}

/// The file of a socket goes with its listener.
impl Drop for Listener {
    fn drop(&mut self) {
        if let Self::Unix(_, path) = self {
            match fs::remove_file(path) {
                Err(error) if error.kind() != ErrorKind::NotFound => {}
                _ => {}
            }
        }
    }
}
