//! The addresses that the proxy is bound to.

use std::{
    fs,
    io::{self, ErrorKind},
    net::SocketAddr,
    os::unix::fs::{FileTypeExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use rustix::{fs::Mode, process::umask};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, UnixListener, UnixStream},
};
use tokio_rustls::TlsAcceptor;

use super::{
    plan::{Entrance, Listen, Side},
    tls::Current,
};
use crate::exit::Failure;

/// The owner and the group of the socket may connect.
const SOCKET_MODE: u32 = 0o660;

/// Addresses on which the proxy listens.
#[derive(Debug)]
pub(crate) struct Listeners(pub(super) Vec<Listener>);

#[derive(Debug)]
pub(super) struct Listener {
    socket: Socket,
    tls: Option<Arc<Current>>,
    pub(super) side: Side,
    /// As the configuration names it.
    at: Listen,
}

#[derive(Debug)]
enum Socket {
    Tcp(TcpListener),
    Unix(UnixListener, PathBuf),
}

/// All addresses, with their certificates, which may change while the proxy runs.
#[derive(Debug)]
pub(crate) struct Certificates(Vec<(Side, Listen, Option<Arc<Current>>)>);

impl Certificates {
    /// Takes other certificates for the same addresses. Connections that are open go on. Says which
    /// addresses are left as they are, though they differ.
    pub(crate) fn replace(&self, entrances: &[Entrance]) -> Vec<String> {
        let mut left = Vec::new();
        for (side, at, current) in &self.0 {
            let is_this = |new: &&Entrance| new.side == *side && new.listen == *at;
            let new = entrances.iter().find(is_this);
            let at = named(side, at);
            match (new.map(|new| &new.tls), current) {
                (Some(Some(config)), Some(current)) => current.replace(Arc::clone(config)),
                (Some(None), None) => {}
                (Some(Some(_)), None) => left.push(format!("{at} stays without TLS")),
                (Some(None), Some(_)) => left.push(format!("{at} stays with TLS")),
                (None, None) => left.push(format!("{at} stays open")),
                (None, Some(_)) => left.push(format!("{at} stays open, with its old certificates")),
            }
        }
        let known = self.0.iter().map(|(side, at, _)| (side, at));
        let new = entrances.iter().map(|new| (&new.side, &new.listen));
        let new = new.filter(|new| known.clone().all(|known| known != *new));
        left.extend(new.map(|(side, at)| format!("{} is not listened on yet", named(side, at))));
        let until = |left| format!("{left}: addresses change at the next start");
        left.into_iter().map(until).collect()
    }
}

/// Names an address, with its key in the configuration unless it is one for clients.
fn named(side: &Side, at: &Listen) -> String {
    match side {
        Side::Clients => at.to_string(),
        Side::Operators => format!("{at} of `admin`"),
        Side::Application(route) => format!("{at} of `{route}`"),
    }
}

impl Listeners {
    /// Binds every address.
    ///
    /// # Errors
    /// Returns a failure if an address is taken or not allowed.
    pub(crate) async fn bind(entrances: &[Entrance]) -> Result<Self, Failure> {
        let mut listeners = Vec::with_capacity(entrances.len());
        for Entrance {
            side,
            listen: at,
            tls,
        } in entrances
        {
            let socket = Socket::bind(at).await.map_err(|error| {
                Failure::unable(
                    format!("cannot listen on {at}"),
                    error.to_string(),
                    "end the other program, or choose another address in `listen`",
                )
            })?;
            listeners.push(Listener {
                socket,
                tls: tls.clone().map(|config| Arc::new(Current::new(config))),
                side: side.clone(),
                at: at.clone(),
            });
        }
        Ok(Self(listeners))
    }

    /// The addresses, as a person writes them: `http://127.0.0.1:8080` or `unix:PATH`.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = (&Side, String)> {
        let all = self.0.iter();
        all.map(|listener| (&listener.side, listener.address()))
    }

    pub(crate) fn certificates(&self) -> Certificates {
        let all = self.0.iter();
        let all = all.map(|of| (of.side.clone(), of.at.clone(), of.tls.clone()));
        Certificates(all.collect())
    }
}

/// A connection that was accepted.
pub(super) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

impl Listener {
    fn address(&self) -> String {
        let scheme = match self.tls {
            None => "http",
            Some(_) => "https",
        };
        match &self.socket {
            Socket::Tcp(listener) => match listener.local_addr() {
                Ok(address) => format!("{scheme}://{address}"),
                Err(error) => error.to_string(),
            },
            Socket::Unix(_, path) => format!("unix:{}", path.display()),
        }
    }

    /// Accepts a connection; with the address of its peer, unless it came over a Unix socket.
    pub(super) async fn accept(&self) -> io::Result<(Box<dyn Stream>, Option<SocketAddr>)> {
        match &self.socket {
            Socket::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                stream.set_nodelay(true)?;
                Ok((Box::new(stream), Some(peer)))
            }
            Socket::Unix(listener, _) => Ok((Box::new(listener.accept().await?.0), None)),
        }
    }

    /// Returns whether pages in browsers reach it too, under names that were made to lead to this
    /// host.
    pub(super) fn is_on_loopback(&self) -> bool {
        self.at.is_local() && self.at.is_tcp()
    }

    pub(super) fn has_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// Accepts TLS on a connection, with the certificates of this moment.
    pub(super) fn acceptor(&self) -> Option<TlsAcceptor> {
        self.tls.as_ref().map(|tls| tls.acceptor())
    }
}

impl Socket {
    async fn bind(at: &Listen) -> io::Result<Self> {
        match at {
            Listen::Tcp(address) => TcpListener::bind(address).await.map(Self::Tcp),
            Listen::Unix(path) => {
                let listener = bind_file(path).await?;
                Ok(Self::Unix(listener, path.clone()))
            }
        }
    }
}

/// Binds a socket in the file system. A file that a proxy has left behind, and that nobody listens
/// on, is removed.
async fn bind_file(path: &Path) -> io::Result<UnixListener> {
    let is_socket = fs::symlink_metadata(path).is_ok_and(|of| of.file_type().is_socket());
    if is_socket {
        let asked = UnixStream::connect(path).await;
        // Any other error says nothing about whether somebody listens.
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

/// The file of a socket goes with its listener.
impl Drop for Socket {
    fn drop(&mut self) {
        if let Self::Unix(_, path) = self {
            match fs::remove_file(path) {
                Err(error) if error.kind() != ErrorKind::NotFound => {}
                _ => {}
            }
        }
    }
}
