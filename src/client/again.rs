//! Whether a request may be signed again after an answer, and with which time.

use std::{
    fmt,
    time::{Duration, UNIX_EPOCH},
};

use bytes::Bytes;
use http::{
    HeaderMap, Response,
    header::{CONTENT_TYPE, DATE},
};
use http_body::Body;
use tokio::time::timeout;

use super::peeked::PeekedBody;
use crate::{
    clock::Timestamp,
    error::RejectionKind,
    message::{has_media_type, single},
    once::{Outcome, VerifiedAnswer},
};

/// The kinds of rejection after which another signature may pass.
const KINDS: [RejectionKind; 3] = [
    RejectionKind::SignAgain,
    RejectionKind::SignatureExpired,
    RejectionKind::SignatureNotYetValid,
];

/// The time to sign with after a verified answer: that of the server's clock. `None` unless the
/// answer says that the request was not accepted, and never will be.
pub(super) fn time_after_never<R>(
    answer: &Response<R>,
    attempt: &Attempt,
    max: Duration,
) -> Option<Timestamp> {
    let verified = answer.extensions().get::<VerifiedAnswer>()?;
    let never = verified.outcome == Outcome::Never;
    let time = never.then(|| verified.signed_at.max(attempt.signed_at))?;
    follow(time, attempt, max, Outcome::Never)
}

/// An unverified answer that asks for a new signature.
pub(super) struct Asked {
    kind: RejectionKind,
    date: Option<Timestamp>,
}

/// When the request was signed, by our clock, and what our clock shows after the answer.
pub(super) struct Attempt {
    pub(super) signed_at: Timestamp,
    pub(super) now: Timestamp,
}

/// Looks at the head of an answer, and where that may be one of our rejections, at its body, which
/// stays as it is.
pub(super) async fn asked_to_sign_again<R>(
    answer: &mut Response<PeekedBody<R>>,
    deadline: Duration,
) -> Option<Asked>
where
    R: Body<Data = Bytes>,
{
    let status = answer.status();
    if !is_problem(answer.headers()) || KINDS.iter().all(|kind| kind.status() != status) {
        return None;
    }
    let body = timeout(deadline, answer.body_mut().peek()).await.ok()??;
    let problem: serde_json::Value = serde_json::from_slice(&body).ok()?;
    let code = problem.get("code")?.as_str()?;
    let kind = KINDS
        .into_iter()
        .find(|kind| kind.status() == status && kind.code() == code)?;
    Some(Asked {
        kind,
        date: date(answer.headers()),
    })
}

fn is_problem(headers: &HeaderMap) -> bool {
    headers
        .get(CONTENT_TYPE)
        .is_some_and(|value| has_media_type(value, "application/problem+json"))
}

fn date(headers: &HeaderMap) -> Option<Timestamp> {
    let value = single(headers, &DATE).ok()??;
    let date = httpdate::parse_http_date(value.to_str().ok()?).ok()?;
    Timestamp::from_secs(date.duration_since(UNIX_EPOCH).ok()?.as_secs())
}

impl Asked {
    /// `None` where the answer names no time with which a new signature would be any better, or one
    /// that is too far from our own.
    pub(super) fn time_to_sign(&self, attempt: &Attempt, max: Duration) -> Option<Timestamp> {
        let Attempt { signed_at, now } = *attempt;
        let time = match self.kind {
            RejectionKind::SignatureExpired => self.date.filter(|date| *date > signed_at)?,
            RejectionKind::SignatureNotYetValid => self.date.filter(|date| *date < signed_at)?,
            // The store began after the request was signed, and by a clock that may be ahead of ours.
            _ => self.date.map_or(now, |date| date.max(now)),
        };
        follow(time, attempt, max, self.kind)
    }
}

/// The time, unless it is too far from our own.
fn follow(
    time: Timestamp,
    attempt: &Attempt,
    max: Duration,
    because: impl fmt::Debug,
) -> Option<Timestamp> {
    let (ahead, behind) = (
        time.saturating_since(attempt.now),
        attempt.now.saturating_since(time),
    );
    let follows = ahead.max(behind) <= max;
    tracing::info!(
        ?because,
        ?ahead,
        ?behind,
        follows,
        "asked for a new signature"
    );
    follows.then_some(time)
}
