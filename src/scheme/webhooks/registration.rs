//! Registrations: senders that bring the secret of a webhook themselves, in a request that nothing
//! signs yet.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, Uri, uri::PathAndQuery};
use serde_json::Value;
use tokio::sync::oneshot;

use super::{challenge::plain_text, event::member};
use crate::{
    error::{ConfigError, ConfigErrorKind},
    key::Secret,
    lock::lock,
};

/// The greatest length of a secret, in bytes.
const MAX_SECRET: usize = 256;

/// The registrations that an application waits for, in this process.
///
/// Some senders choose the secret of a webhook and bring it in an unsigned request, while the
/// webhook is being made. Anybody could send such a request. The request is answered only while the
/// application waits for one at its very path, and once.
///
/// Give a clone to the preset, [`announce`](Self::announce) the path, and then ask the sender for the
/// webhook:
///
/// ```
/// use countersign::webhooks::{Asana, Registrations};
///
/// # fn main() -> Result<(), countersign::ConfigError> {
/// let registrations = Registrations::new();
/// let scheme = Asana::new().answer_registrations(&registrations);
///
/// let announced = registrations.announce("/hooks/asana")?;
/// // Now create the webhook through the sender's API. While that call waits, the secret comes.
/// let secret = announced.received();
/// # drop((scheme, secret));
/// # Ok(()) }
/// ```
///
/// # Security
/// The first POST to the announced path is answered, also if a stranger sends it. Then the sender
/// is not answered, and the call that registers the webhook fails: **keep the secret only if the
/// call succeeded.** Announce shortly before the call. With several servers, the request must reach
/// the one that announced.
#[derive(Clone, Default)]
pub struct Registrations {
    announced: Arc<Mutex<Table>>,
}

#[derive(Default)]
struct Table {
    /// How many there were.
    count: u64,
    by_path: HashMap<String, Waiting>,
}

struct Waiting {
    /// Tells this announcement from others of the same path.
    number: u64,
    sender: oneshot::Sender<String>,
}

/// A registration that was announced. Dropping it withdraws the announcement.
pub struct Announced {
    registrations: Registrations,
    path: String,
    number: u64,
    receiver: Option<oneshot::Receiver<String>>,
}

impl Registrations {
    /// The most announcements at a time.
    pub const MAX: usize = 1024;

    /// No registration is waited for.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Waits for one registration at this path.
    ///
    /// The path is that of the webhook as it arrives at this server, with the prefix of an Axum
    /// router in which the route is nested, and with the account where the route names one. The
    /// comparison is byte by byte. A second announcement of the path takes the place of the first.
    ///
    /// # Errors
    /// Returns an error if the path does not begin with `/`, or has a query, and if
    /// [`MAX`](Self::MAX) registrations are waited for.
    pub fn announce(&self, path: impl Into<String>) -> Result<Announced, ConfigError> {
        let path = path.into();
        let whole = path.parse::<PathAndQuery>();
        if !(path.starts_with('/') && whole.is_ok_and(|whole| whole.path() == path)) {
            let why = format!(
                "a registration is announced at a path such as `/webhooks`, without a query; `{}` is \
                 not one",
                path.escape_debug()
            );
            return Err(ConfigErrorKind::Scheme(why.into()).into());
        }
        let mut table = self.lock();
        if table.by_path.len() >= Self::MAX && !table.by_path.contains_key(&path) {
            let why = format!("{} registrations are announced already", Self::MAX);
            return Err(ConfigErrorKind::Scheme(why.into()).into());
        }
        let (sender, receiver) = oneshot::channel();
        table.count = table.count.wrapping_add(1);
        let number = table.count;
        table
            .by_path
            .insert(path.clone(), Waiting { number, sender });
        Ok(Announced {
            registrations: self.clone(),
            path,
            number,
            receiver: Some(receiver),
        })
    }

    pub(super) fn awaits(&self, path: &str) -> bool {
        self.lock().by_path.contains_key(path)
    }

    /// Answers a request that brings the secret in a header, with the same header.
    pub(super) fn answer_header(
        &self,
        name: &str,
        method: &Method,
        uri: &Uri,
        headers: &HeaderMap,
        is_signed: bool,
    ) -> Option<Response<Bytes>> {
        if method != Method::POST || is_signed {
            return None;
        }
        let mut values = headers.get_all(name).iter();
        let value = values.next().filter(|_| values.next().is_none())?;
        self.receive(uri.path(), value.to_str().ok()?)?;
        let mut response = plain_text(Bytes::new());
        let mut value = value.clone();
        value.set_sensitive(true);
        let name: HeaderName = name.parse().ok()?;
        response.headers_mut().insert(name, value);
        Some(response)
    }

    /// Answers a body that brings the secret in this member, with success.
    pub(super) fn answer_body(
        &self,
        name: &str,
        uri: &Uri,
        body: &Bytes,
    ) -> Option<Response<Bytes>> {
        let Some(Value::String(secret)) = member(body, name).ok()? else {
            return None;
        };
        self.receive(uri.path(), &secret)?;
        Some(plain_text(Bytes::new()))
    }

    /// Hands over the secret, if somebody waits for one at this path. Nobody does so from now on.
    fn receive(&self, path: &str, secret: &str) -> Option<()> {
        let is_usable = secret.len() <= MAX_SECRET
            && HeaderValue::from_str(secret).is_ok()
            && Secret::try_from(secret).is_ok();
        if !is_usable {
            return None;
        }
        let waiting = self.lock().by_path.remove(path)?;
        waiting.sender.send(secret.to_owned()).ok()
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        // Nothing panics while it is held.
        lock(&self.announced)
    }
}

impl Announced {
    /// Waits for the secret, and returns it as the sender wrote it: the text that the preset's
    /// [`secret`](crate::request::VerifierBuilder::secret) and [`Secret`] take. `None` if the path was
    /// announced once more.
    ///
    /// This future waits for as long as nothing comes: give it a time limit.
    pub async fn received(mut self) -> Option<String> {
        self.receiver.take()?.await.ok()
    }
}

impl Drop for Announced {
    fn drop(&mut self) {
        let mut table = self.registrations.lock();
        let waiting = table.by_path.get(&self.path);
        if waiting.is_some_and(|waiting| waiting.number == self.number) {
            table.by_path.remove(&self.path);
        }
    }
}

impl fmt::Debug for Registrations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let paths: Vec<_> = self.lock().by_path.keys().cloned().collect();
        f.debug_struct("Registrations")
            .field("announced", &paths)
            .finish()
    }
}

impl fmt::Debug for Announced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Announced")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}
