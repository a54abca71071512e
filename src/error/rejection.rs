//! Why a request was refused, and the answer that the sender gets.

use std::{borrow::Cow, error::Error, fmt, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{
    HeaderValue, Response, StatusCode,
    header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE},
};

use super::{
    chain::chain,
    fault::{Fault, FaultKind, Reason as FaultReason},
    kind::RejectionKind,
    store::{StoreError, StoreErrorKind},
};
use crate::{
    clock::{Clock, SystemClock, Timestamp},
    metrics,
};

/// A refused request.
///
/// The sender is told the [kind](Rejection::kind) and no more. The reason behind it is in the text
/// of the rejection, for logs and for middleware outside of the layer, which finds the rejection in
/// the extensions of the response. A reason never holds a secret or an expected MAC.
#[derive(Clone)]
pub struct Rejection(Arc<Reason>);

#[derive(Clone)]
struct Reason {
    kind: RejectionKind,
    /// The status of the answer.
    status: StatusCode,
    detail: Cow<'static, str>,
    retry_after: Option<Duration>,
    /// From which signed time on requests are accepted, if this one was signed too early for the
    /// store's memory.
    signed_from: Option<Timestamp>,
    /// The methods that are let in.
    allow: Option<HeaderValue>,
    /// Since when no server accepts the request, if none ever will.
    final_since: Option<Timestamp>,
    /// The answer has no body.
    is_bare: bool,
    source: Option<Arc<dyn Error + Send + Sync>>,
}

impl Rejection {
    /// A rejection with its reason, for the log.
    pub(crate) fn new(kind: RejectionKind, detail: impl Into<Cow<'static, str>>) -> Self {
        Self(Arc::new(Reason {
            kind,
            status: kind.status(),
            detail: detail.into(),
            retry_after: None,
            signed_from: None,
            allow: None,
            final_since: None,
            is_bare: false,
            source: None,
        }))
    }

    pub(crate) fn method_not_allowed(detail: String, allow: HeaderValue) -> Self {
        Self::new(RejectionKind::MethodNotAllowed, detail).with(|reason| reason.allow = Some(allow))
    }

    /// A rejection of this kind, for the reason of a fault.
    pub(crate) fn of_fault(kind: RejectionKind, fault: Fault) -> Self {
        let FaultReason {
            kind: _,
            detail,
            final_since,
            retry_after,
            signed_from,
            source,
        } = fault.into_parts();
        Self::new(kind, detail).with(|reason| {
            reason.final_since = final_since;
            reason.retry_after = retry_after;
            reason.signed_from = signed_from;
            reason.source = source;
        })
    }

    pub(crate) fn with_source(
        kind: RejectionKind,
        detail: impl Into<Cow<'static, str>>,
        source: impl Into<Box<dyn Error + Send + Sync>>,
    ) -> Self {
        let source = Arc::from(source.into());
        Self::new(kind, detail).with(|reason| reason.source = Some(source))
    }

    /// The same rejection, answered with 401 if its signature is malformed: what schemes ask for
    /// whose senders expect it.
    pub(crate) fn malformed_as_unauthorized(self) -> Self {
        match self.kind() {
            RejectionKind::SignatureMalformed => {
                self.with(|reason| reason.status = StatusCode::UNAUTHORIZED)
            }
            _ => self,
        }
    }

    /// Returns the same rejection, answered without a body by every renderer. Some schemes need
    /// this, because their senders refuse an answer with a body.
    pub(crate) fn without_body(self) -> Self {
        self.with(|reason| reason.is_bare = true)
    }

    fn with(mut self, change: impl FnOnce(&mut Reason)) -> Self {
        change(Arc::make_mut(&mut self.0));
        self
    }

    /// Returns the kind of the rejection.
    #[must_use]
    pub fn kind(&self) -> RejectionKind {
        self.0.kind
    }

    /// Returns the status of the answer: the [kind's](RejectionKind::status), except that a
    /// malformed signature is answered with 401 if the scheme says so, as the [presets for
    /// webhooks](crate::scheme::webhooks) do.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.0.status
    }

    /// Returns the reason. It is for the log, and not for the sender.
    #[must_use]
    pub fn reason(&self) -> &str {
        &self.0.detail
    }

    /// Counts the refusal, and writes the line of the log that tells an operator what to do: at
    /// level `ERROR` if the status is 5xx, otherwise at `INFO`.
    pub(crate) fn report(&self) {
        let kind = self.0.kind;
        let (code, status, advice) = (kind.code(), self.status().as_u16(), kind.advice());
        let reason = self.reason();
        let cause = self.cause();
        let cause = cause.as_deref();
        metrics::rejected(code);
        if self.status().is_server_error() {
            tracing::error!(code, status, reason, cause, advice, "request refused");
        } else {
            tracing::info!(code, status, reason, cause, advice, "request refused");
        }
    }

    /// Writes the line of the log of a duplicate that is answered with 200: it is not a refusal,
    /// and there is nothing to do.
    pub(crate) fn report_acknowledged(&self) {
        let (code, reason) = (self.0.kind.code(), self.reason());
        tracing::info!(code, status = 200, reason, "duplicate acknowledged");
    }

    /// Counts what a layer that lets everything through would have done, and writes the line of the
    /// log: at `WARN` if the status would be 5xx, otherwise at `INFO`.
    pub(crate) fn report_observed(&self, acknowledged: bool) {
        let kind = self.0.kind;
        let (code, status, advice) = (kind.code(), self.status().as_u16(), kind.advice());
        let reason = self.reason();
        if acknowledged {
            tracing::info!(
                code,
                status = 200,
                reason,
                "duplicate would be acknowledged"
            );
            return;
        }
        let cause = self.cause();
        let cause = cause.as_deref();
        metrics::rejected(code);
        if self.status().is_server_error() {
            tracing::warn!(
                code,
                status,
                reason,
                cause,
                advice,
                "request would be refused"
            );
        } else {
            tracing::info!(
                code,
                status,
                reason,
                cause,
                advice,
                "request would be refused"
            );
        }
    }

    /// Returns the texts of the errors behind the reason, such as a database's own words.
    fn cause(&self) -> Option<String> {
        let source = self.source()?;
        // The reason of a `StoreError` is its own text.
        let texts = chain(Some(source)).filter(|text| *text != self.0.detail);
        let cause = texts.collect::<Vec<_>>().join(": ");
        (!cause.is_empty()).then_some(cause)
    }

    /// Says how long the sender must wait, by this clock, if it is the moment that is known.
    pub(crate) fn counted_by(self, clock: &dyn Clock) -> Self {
        let Some(moment) = self.0.signed_from else {
            return self;
        };
        let wait = moment.saturating_since(clock.now());
        self.with(|reason| {
            reason.retry_after = Some(wait);
            reason.signed_from = None;
        })
    }

    /// Returns after what time the sender may try again, as the answer says it: whole seconds, at
    /// least one. `None` where waiting does not help. With [`SignAgain`](RejectionKind::SignAgain),
    /// a request that is signed after this time is served.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        use RejectionKind::{
            BodyBudgetExhausted, FilesExhausted, HandlersExhausted, KeyOverQuota, RequestInFlight,
            ServiceNotReady, SignAgain, StoreFull, StoreUnavailable,
        };
        match self.0.kind {
            SignAgain => match (self.0.retry_after, self.0.signed_from) {
                (Some(wait), _) => Some(whole_seconds(wait)),
                (None, Some(moment)) => {
                    Some(whole_seconds(moment.saturating_since(SystemClock.now())))
                }
                (None, None) => None,
            },
            RequestInFlight | HandlersExhausted | KeyOverQuota | BodyBudgetExhausted
            | FilesExhausted | ServiceNotReady | StoreFull | StoreUnavailable => {
                let wait = self.0.retry_after.unwrap_or_default();
                Some(whole_seconds(wait))
            }
            _ => None,
        }
    }

    /// Returns the answer: the kind's status, `application/problem+json` (RFC 9457) with a stable
    /// `code`, `Cache-Control: no-store`, and `WWW-Authenticate`, `Allow` or `Retry-After` where
    /// they belong.
    #[must_use]
    pub fn to_response(&self) -> Response<Bytes> {
        let kind = self.0.kind;
        let body = problem(self.status(), kind.code(), kind.public_detail());
        let content_type = HeaderValue::from_static("application/problem+json");
        self.to_response_with(content_type, body.into())
    }

    /// The same answer with another body.
    pub(crate) fn to_response_with(
        &self,
        content_type: HeaderValue,
        body: Bytes,
    ) -> Response<Bytes> {
        let mut response = Response::new(Bytes::new());
        if !self.0.is_bare {
            *response.body_mut() = body;
            response.headers_mut().insert(CONTENT_TYPE, content_type);
        }
        *response.status_mut() = self.status();
        let headers = response.headers_mut();
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if self.status() == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Signature"));
        }
        if let Some(allow) = &self.0.allow {
            headers.insert(ALLOW, allow.clone());
        }
        if let Some(wait) = self.retry_after() {
            headers.insert(RETRY_AFTER, wait.as_secs().into());
        }
        response.extensions_mut().insert(self.clone());
        response
    }
}

/// As `Retry-After` can say it: rounded up, and at least one second.
fn whole_seconds(wait: Duration) -> Duration {
    let part = u64::from(wait.subsec_nanos() > 0);
    Duration::from_secs(wait.as_secs().saturating_add(part).max(1))
}

/// A problem of RFC 9457, with our code.
pub(crate) fn problem(status: StatusCode, code: &str, detail: &str) -> String {
    serde_json::json!({
        "type": "about:blank",
        "title": status.canonical_reason(),
        "status": status.as_u16(),
        "code": code,
        "detail": detail,
    })
    .to_string()
}

impl From<StoreError> for Rejection {
    fn from(error: StoreError) -> Self {
        Fault::from(error).into()
    }
}

/// A request is refused for the fault that was found in it.
impl From<Fault> for Rejection {
    fn from(fault: Fault) -> Self {
        let kind = match fault.kind() {
            FaultKind::Missing => RejectionKind::SignatureMissing,
            FaultKind::Malformed => RejectionKind::SignatureMalformed,
            FaultKind::Insufficient => RejectionKind::SignatureInsufficient,
            FaultKind::Invalid => RejectionKind::SignatureInvalid,
            FaultKind::Expired => RejectionKind::SignatureExpired,
            FaultKind::NotYetValid => RejectionKind::SignatureNotYetValid,
            FaultKind::NotServed => RejectionKind::AuthorityNotServed,
            FaultKind::BodyTooLarge => RejectionKind::BodyTooLarge,
            FaultKind::BodyTimeout => RejectionKind::BodyTimeout,
            FaultKind::BodyUnreadable => RejectionKind::BodyUnreadable,
            FaultKind::BodyNotCovered => RejectionKind::BodyNotCovered,
            FaultKind::KeysUnavailable => RejectionKind::StoreUnavailable,
            FaultKind::NotSupplied => RejectionKind::ValueNotSupplied,
            FaultKind::Used => RejectionKind::RequestReplayed,
            FaultKind::InFlight => RejectionKind::RequestInFlight,
            FaultKind::NotRecorded => RejectionKind::NonceNotRecorded,
            FaultKind::Store(StoreErrorKind::Unavailable) => RejectionKind::StoreUnavailable,
            FaultKind::Store(StoreErrorKind::Full) => RejectionKind::StoreFull,
            FaultKind::Store(StoreErrorKind::KeyOverQuota) => RejectionKind::KeyOverQuota,
            FaultKind::Store(StoreErrorKind::TooManyPlaces) => RejectionKind::TooManyPlaces,
            FaultKind::Store(StoreErrorKind::SignAgain) => RejectionKind::SignAgain,
            FaultKind::Store(StoreErrorKind::Misconfigured) => RejectionKind::StoreMisconfigured,
        };
        Self::of_fault(kind, fault)
    }
}

impl fmt::Debug for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Rejection({:?}: {})", self.0.kind, self.0.detail)
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.0.kind.code(), self.0.detail)
    }
}

impl Error for Rejection {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_says_the_kind_and_keeps_the_reason_to_itself() {
        for &kind in RejectionKind::ALL {
            let response = Rejection::new(kind, "the inner reason").to_response();
            let problem: serde_json::Value = serde_json::from_slice(response.body()).unwrap();
            assert_eq!(problem["code"], kind.code());
            assert_eq!(problem["status"], kind.status().as_u16());
            assert!(!problem.to_string().contains("inner reason"));
            let headers = response.headers();
            assert_eq!(headers[CACHE_CONTROL], "no-store");
            assert_eq!(headers.contains_key(WWW_AUTHENTICATE), kind.status() == 401);
            let kept = response.extensions().get::<Rejection>().unwrap();
            assert_eq!(kept.reason(), "the inner reason");
        }
    }

    #[test]
    fn only_a_malformed_signature_is_unauthorized_where_the_scheme_says_so() {
        for kind in RejectionKind::ALL.iter().copied() {
            let rejection = Rejection::new(kind, "").malformed_as_unauthorized();
            let expected = match kind {
                RejectionKind::SignatureMalformed => StatusCode::UNAUTHORIZED,
                kind => kind.status(),
            };
            let response = rejection.to_response();
            let problem: serde_json::Value = serde_json::from_slice(response.body()).unwrap();
            assert_eq!(rejection.kind(), kind);
            assert_eq!(response.status(), expected, "{kind:?}");
            assert_eq!(problem["status"], expected.as_u16(), "{kind:?}");
            assert_eq!(problem["code"], kind.code());
            let asks = response.headers().contains_key(WWW_AUTHENTICATE);
            assert_eq!(asks, expected == 401, "{kind:?}");
        }
    }

    #[test]
    fn a_bare_refusal_has_no_body_whoever_renders_it() {
        let bare = Rejection::new(RejectionKind::SignatureInvalid, "").without_body();
        let text = || HeaderValue::from_static("text/plain");
        for (rejection, is_bare) in [
            (bare, true),
            (Rejection::new(RejectionKind::SignatureInvalid, ""), false),
        ] {
            for response in [
                rejection.to_response(),
                rejection.to_response_with(text(), "refused".into()),
            ] {
                assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
                assert_eq!(response.body().is_empty(), is_bare);
                let is_typed = response.headers().contains_key(CONTENT_TYPE);
                assert_eq!(is_typed, !is_bare);
                assert!(response.headers().contains_key(WWW_AUTHENTICATE));
            }
        }
    }

    fn in_flight(wait: Duration) -> Rejection {
        Fault::in_flight("", wait).into()
    }

    #[test]
    fn a_wait_is_told_in_whole_seconds_and_never_zero() {
        for (wait, told) in [(0, "1"), (1, "1"), (1000, "1"), (1001, "2"), (5000, "5")] {
            let response = in_flight(Duration::from_millis(wait)).to_response();
            assert_eq!(response.headers()[RETRY_AFTER], told, "{wait} ms");
        }
        let longest = in_flight(Duration::MAX).retry_after();
        assert_eq!(longest, Some(Duration::from_secs(u64::MAX)));
        let response = Rejection::new(RejectionKind::SignAgain, "").to_response();
        assert!(
            !response.headers().contains_key(RETRY_AFTER),
            "waiting does not help"
        );
    }
}
