//! Requests on the wire: one, or copies whose last bytes leave at the same moment.
//!
//! Over HTTP/1.1, each copy has a connection of its own. Everything but the last byte is sent on all of
//! them, and then the last byte of all. Over HTTP/2, the copies are streams of one connection; the
//! last frames of all are handed over before the connection is polled, so that they leave together.

mod answer;
mod http1;
mod http2;
mod read;
#[cfg(test)]
mod tests;
mod timed;

use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Request;

pub(crate) use answer::{Answer, Sent};

use super::site::Site;

/// The time that a server gets to read the first parts, before the held back bytes are sent.
const WARM_UP: Duration = Duration::from_millis(4);

/// How the site is spoken to.
#[derive(Clone, Debug)]
pub(crate) struct Wire {
    pub(crate) site: Site,
    pub(crate) is_http2: bool,
}

impl Wire {
    /// Sends one request, and waits for its answer.
    pub(crate) async fn one(&self, request: &Request<Bytes>) -> Sent {
        let (mut sent, _) = self.together(std::slice::from_ref(request)).await;
        sent.pop()
            .unwrap_or_else(|| Sent::failed("it was not sent"))
    }

    /// Sends requests so that their last bytes leave at the same moment: what became of each, and the
    /// time between the first and the last of these bytes.
    pub(crate) async fn together(&self, requests: &[Request<Bytes>]) -> (Vec<Sent>, Duration) {
        match self.is_http2 {
            true => http2::together(&self.site, requests).await,
            false => http1::together(&self.site, requests).await,
        }
    }

    /// Sends requests as soon as each is ready, as a plain client does that starts them all at once.
    #[cfg(test)]
    pub(crate) async fn plain(&self, requests: &[Request<Bytes>]) -> (Vec<Sent>, Duration) {
        http1::plain(&self.site, requests).await
    }

    /// Sends a request, and hangs up before its answer.
    pub(crate) async fn hang_up(&self, request: &Request<Bytes>) -> Sent {
        http1::hang_up(&self.site, request).await
    }

    /// Sends all but the last byte, and waits whether the server answers without it.
    pub(crate) async fn patiently(&self, request: &Request<Bytes>, patience: Duration) -> Sent {
        http1::patiently(&self.site, request, patience).await
    }

    /// Sends the head, and a part of the body from time to time.
    pub(crate) async fn slowly(
        &self,
        request: &Request<Bytes>,
        every: Duration,
        until: Duration,
    ) -> Sent {
        http1::slowly(&self.site, request, every, until).await
    }
}

/// The time between the first and the last moment.
fn spread(moments: impl Iterator<Item = Instant> + Clone) -> Duration {
    match (moments.clone().min(), moments.max()) {
        (Some(first), Some(last)) => last - first,
        _ => Duration::ZERO,
    }
}
