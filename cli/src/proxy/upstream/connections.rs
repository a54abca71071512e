//! Connections to an upstream: had before they are needed, and kept for the next request.

use std::{
    fmt, io,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::{Duration, Instant},
};

use http::{Request, Response};
use hyper::{
    body::Incoming,
    client::conn::{TrySendError, http1, http2},
    rt::{Read, Write},
};
use hyper_util::rt::TokioTimer;
use tokio::{
    runtime::Handle,
    select,
    sync::{Semaphore, oneshot, watch},
    time::{sleep, timeout},
};

use super::{
    address::{Address, Opened},
    slots::{Slot, Slots, Tasks},
};
use crate::{
    http_client::causes,
    proxy::{
        answer::{AnswerBody, BoxError, Refused},
        seats::Seats,
    },
};

/// The longest head of an answer, in bytes.
const MAX_HEAD: usize = 64 * 1024;

/// How long a connection that served a request may take to be ready for the next.
const SETTLED: Duration = Duration::from_millis(100);

/// How long a server that has answered may take to read the rest of the request.
pub(super) const REST: Duration = Duration::from_secs(2);

/// How often an upstream of HTTP/2 is asked whether it is there, and how soon it answers.
const PING: Duration = Duration::from_secs(10);
const PONG: Duration = Duration::from_secs(5);

/// Settings of an upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::proxy) struct Settings {
    pub(in crate::proxy) http2: bool,
    /// Requests of a kind that are being handled, those that wait among them.
    pub(in crate::proxy) seats: usize,
    /// Requests at one time.
    pub(in crate::proxy) requests: usize,
    /// Those of routes that are open among them.
    pub(in crate::proxy) open_requests: usize,
    pub(in crate::proxy) connect_timeout: Duration,
    /// Until the head of an answer.
    pub(in crate::proxy) answer_timeout: Duration,
    /// Between two pieces of an answer.
    pub(in crate::proxy) stall_timeout: Duration,
    /// For how long a connection waits for the next request.
    pub(in crate::proxy) idle_timeout: Duration,
}

/// A server behind the proxy.
pub(in crate::proxy) struct Upstream {
    pub(super) name: Arc<str>,
    pub(super) address: Address,
    pub(super) settings: Settings,
    pub(super) seats: Seats,
    pub(super) requests: Arc<Semaphore>,
    pub(super) open_requests: Arc<Semaphore>,
    idle: Mutex<Idle>,
    /// Requests of HTTP/2 that come at the same moment open one connection.
    pub(super) opening: tokio::sync::Mutex<()>,
}

/// Connections that no request uses, and of HTTP/2 the one that requests share.
#[derive(Default)]
struct Idle {
    connections: Vec<(Sender, Instant)>,
    /// Whether a task closes those that are too old.
    is_watched: bool,
}

/// Why a request has no answer, and what is known of the cause.
#[derive(Clone, Debug)]
pub(in crate::proxy) struct Failed {
    pub(in crate::proxy) refused: Refused,
    pub(in crate::proxy) cause: String,
}

impl Failed {
    pub(super) fn new(refused: Refused, cause: impl Into<String>) -> Self {
        Self {
            refused,
            cause: cause.into(),
        }
    }
}

/// A connection, and with HTTP/2 a stream of it.
pub(super) struct Connection {
    pub(super) sender: Sender,
    /// The body of a request shares it.
    pub(super) slot: Option<Arc<Slot>>,
    /// Since when nothing was sent on it.
    pub(super) since: Instant,
}

pub(super) enum Sender {
    /// Its connection ends soon after it.
    Http1(
        http1::SendRequest<AnswerBody>,
        #[expect(dead_code, reason = "it is held")] oneshot::Sender<()>,
    ),
    /// All requests share it.
    Http2(http2::SendRequest<AnswerBody>, Slots),
}

impl Upstream {
    pub(in crate::proxy) fn new(name: &str, address: Address, settings: Settings) -> Arc<Self> {
        Arc::new(Self {
            name: name.into(),
            address,
            settings,
            seats: Seats::new(settings.seats),
            requests: Arc::new(Semaphore::new(settings.requests)),
            open_requests: Arc::new(Semaphore::new(settings.open_requests)),
            idle: Mutex::default(),
            opening: tokio::sync::Mutex::default(),
        })
    }

    /// Returns whether a table of this name means this upstream.
    pub(in crate::proxy) fn is_of(
        &self,
        name: &str,
        address: &Address,
        settings: &Settings,
    ) -> bool {
        *self.name == *name && self.address == *address && self.settings == *settings
    }

    pub(in crate::proxy) fn address(&self) -> &Address {
        &self.address
    }

    /// Returns whether nobody on the way can read what is sent.
    pub(in crate::proxy) fn is_private(&self) -> bool {
        self.address.is_private()
    }

    /// How many requests of a kind may be handled at one time.
    pub(in crate::proxy) fn seats(&self) -> usize {
        self.settings.seats
    }

    pub(in crate::proxy) fn connect_timeout(&self) -> Duration {
        self.settings.connect_timeout
    }

    pub(in crate::proxy) fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Returns whether a connection can be opened at this moment. No request uses it.
    pub(in crate::proxy) async fn check(&self) -> Result<(), Failed> {
        self.open().await.map(drop)
    }

    /// Has the next request of HTTP/2 open another connection: the address may have another server
    /// by now. Requests that are on their way go on. Connections of HTTP/1.1 are never old.
    pub(in crate::proxy) fn renew(&self) {
        if self.settings.http2 {
            self.idle().connections.clear();
        }
    }

    /// Has no other request use a connection that requests share. It is closed once those that do have ended.
    pub(super) fn retire(&self, old: &Sender) {
        if let Sender::Http2(_, slots) = old {
            slots.retire();
        }
        self.forget(old);
    }

    /// Leaves out a connection that requests shared, and not one that was opened since.
    pub(super) fn forget(&self, old: &Sender) {
        let mut idle = self.idle();
        idle.connections
            .retain(|(known, _)| !known.shares_with(old));
    }

    fn idle(&self) -> MutexGuard<'_, Idle> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the connection that was used last. A connection that waited for long may be closed by the
    /// upstream at any moment.
    pub(super) async fn reuse(&self) -> Option<Connection> {
        loop {
            let (mut sender, since) = match &mut self.idle().connections {
                idle if self.settings.http2 => {
                    let (sender, _) = idle.last()?;
                    (sender.shared()?, Instant::now())
                }
                idle => idle.pop()?,
            };
            if since.elapsed() < self.settings.idle_timeout
                && sender.is_ready().await
                && let Ok(slot) = sender.slot().await
            {
                return Some(Connection {
                    sender,
                    slot,
                    since,
                });
            }
            self.forget(&sender);
        }
    }

    /// Has a connection that did not wait: a new one, or with HTTP/2 the one that another request has
    /// opened meanwhile.
    pub(super) async fn fresh(&self) -> Result<Connection, Failed> {
        if !self.settings.http2 {
            return self.connect().await;
        }
        let _opening = self.opening.lock().await;
        match self.reuse().await {
            Some(had) => Ok(had),
            None => self.connect().await,
        }
    }

    /// Keeps a connection that no request shares.
    pub(super) fn keep(self: &Arc<Self>, connection: Connection) {
        let is_open = match &connection.sender {
            Sender::Http1(sender, _) => !sender.is_closed(),
            Sender::Http2(..) => false,
        };
        let mut idle = self.idle();
        if !is_open || idle.connections.len() >= self.settings.requests {
            return;
        }
        idle.connections.push((connection.sender, connection.since));
        // Without a runtime the proxy is at its end.
        if !idle.is_watched
            && let Ok(runtime) = Handle::try_current()
        {
            idle.is_watched = true;
            runtime.spawn(close_old(Arc::downgrade(self)));
        }
    }

    async fn connect(&self) -> Result<Connection, Failed> {
        let sender = self.open().await?;
        if let Some(shared) = sender.shared() {
            self.idle().connections = vec![(shared, Instant::now())];
        }
        let slot = sender.slot().await;
        let slot = slot.map_err(|error| Failed::new(Refused::NoUpstream, error.to_string()))?;
        Ok(Connection {
            sender,
            slot,
            since: Instant::now(),
        })
    }

    async fn open(&self) -> Result<Sender, Failed> {
        let none = |cause: String| Failed::new(Refused::NoUpstream, cause);
        let limit = self.settings.connect_timeout;
        let connecting = async {
            match self.address.open().await? {
                Opened::Url(io) => self.start(io).await,
                Opened::Socket(io) => self.start(io).await,
            }
        };
        let connected = timeout(limit, connecting).await;
        let connected = connected.map_err(|_| none(format!("no connection within {limit:?}")))?;
        connected.map_err(|error| none(causes(&*error)))
    }

    async fn start<T: Read + Write + Unpin + Send + 'static>(
        &self,
        io: T,
    ) -> Result<Sender, BoxError> {
        if self.settings.http2 {
            let (tasks, open) = watch::channel(());
            let mut builder = http2::Builder::new(Tasks(open));
            builder
                .timer(TokioTimer::new())
                .keep_alive_interval(PING)
                .keep_alive_while_idle(true)
                .keep_alive_timeout(PONG)
                // Until the server says how many it allows.
                .initial_max_send_streams(1)
                .max_header_list_size(u32::try_from(MAX_HEAD)?);
            let (sender, connection) = builder.handshake(io).await?;
            return Ok(Sender::Http2(sender, Slots::of(connection, tasks)));
        }
        let mut builder = http1::Builder::new();
        let (sender, connection) = builder.max_buf_size(MAX_HEAD).handshake(io).await?;
        let (in_use, unused) = oneshot::channel();
        // A server that does not read a request would otherwise have it kept in memory.
        let is_left_alone = async {
            drop(unused.await);
            sleep(REST).await;
        };
        tokio::spawn(async move {
            select! {
                // Its requests say what went wrong.
                _ = connection => {}
                () = is_left_alone => {}
            }
        });
        Ok(Sender::Http1(sender, in_use))
    }
}

/// Closes connections that wait for too long, until none waits.
async fn close_old(upstream: Weak<Upstream>) {
    while let Some(limit) = upstream.upgrade().map(|known| known.settings.idle_timeout) {
        sleep(limit).await;
        let Some(upstream) = upstream.upgrade() else {
            return;
        };
        let mut idle = upstream.idle();
        let connections = &mut idle.connections;
        connections.retain(|(_, since)| since.elapsed() < limit);
        if connections.is_empty() {
            idle.is_watched = false;
            return;
        }
    }
}

impl Sender {
    /// Another handle to the same connection, if requests share it.
    pub(super) fn shared(&self) -> Option<Self> {
        match self {
            Self::Http1(..) => None,
            Self::Http2(sender, slots) => Some(Self::Http2(sender.clone(), slots.clone())),
        }
    }

    /// Returns whether both are handles to one connection.
    fn shares_with(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Http2(_, slots), Self::Http2(_, others)) => slots.share_with(others),
            _ => false,
        }
    }

    /// Waits for a stream, if requests share the connection.
    async fn slot(&self) -> io::Result<Option<Arc<Slot>>> {
        match self {
            Self::Http1(..) => Ok(None),
            Self::Http2(_, slots) => slots.take().await.map(|slot| Some(Arc::new(slot))),
        }
    }

    /// Waits until the connection takes a request, for a moment.
    async fn is_ready(&mut self) -> bool {
        let ready = match self {
            Self::Http1(sender, _) => timeout(SETTLED, sender.ready()).await,
            Self::Http2(sender, _) => timeout(SETTLED, sender.ready()).await,
        };
        ready.is_ok_and(|ready| ready.is_ok())
    }

    pub(super) async fn try_send(
        &mut self,
        request: Request<AnswerBody>,
    ) -> Result<Response<Incoming>, TrySendError<Request<AnswerBody>>> {
        match self {
            Self::Http1(sender, _) => sender.try_send_request(request).await,
            Self::Http2(sender, _) => sender.try_send_request(request).await,
        }
    }
}

impl fmt::Debug for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upstream")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}
