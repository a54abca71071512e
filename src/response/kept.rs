//! The parts of the head of a request that are kept while its answer is awaited.

use std::net::SocketAddr;

use http::{Request, Uri, request::Parts};

use crate::{
    message::{has_split_cookie, join_cookies},
    once::{Report, Signed},
    routed::{PeerAddr, original_uri, peer},
};

/// Returns what of the head of a request that arrived tells its target, and its headers: to be kept
/// while it is handled.
pub(crate) fn keep_received(parts: &Parts) -> Parts {
    let mut kept = keep(parts, original_uri(parts));
    if let Some(peer) = peer(parts) {
        kept.extensions.insert(PeerAddr(SocketAddr::new(peer, 0)));
    }
    if let Some(report) = parts.extensions.get::<Report>() {
        kept.extensions.insert(report.clone());
    }
    kept
}

/// The same of one that is about to be sent. If it is one that arrived and is passed on, what it
/// was before does not count.
pub(crate) fn keep_sent(parts: &Parts) -> Parts {
    let mut kept = keep(parts, &parts.uri);
    if let Some(signed) = parts.extensions.get::<Signed>() {
        kept.extensions.insert(*signed);
    }
    kept
}

fn keep(parts: &Parts, uri: &Uri) -> Parts {
    let mut kept = Request::new(()).into_parts().0;
    kept.method.clone_from(&parts.method);
    kept.uri.clone_from(uri);
    kept.version = parts.version;
    kept.headers.clone_from(&parts.headers);
    if has_split_cookie(&kept) {
        join_cookies(&mut kept.headers);
    }
    kept
}
