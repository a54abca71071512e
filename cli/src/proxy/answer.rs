//! Answers of the proxy itself, in the form of the library's: a problem of RFC 9457 with a code.

use std::error::Error;

use bytes::Bytes;
use http::{
    HeaderValue, Response, StatusCode,
    header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER},
};
use http_body_util::{BodyExt as _, Full, combinators::UnsyncBoxBody};
use serde_json::json;

pub(super) type BoxError = Box<dyn Error + Send + Sync>;

/// The body of an answer, of the upstream or of the proxy.
pub(super) type AnswerBody = UnsyncBoxBody<Bytes, BoxError>;

/// The code of an answer of the proxy itself; on the answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Code(pub(super) &'static str);

/// Why the proxy itself answers a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// The target or the host may be read in two ways.
    Unclear,
    /// No route names the target.
    NoRoute,
    /// The route has other methods.
    Method(HeaderValue),
    /// The target has a part that nobody signed, and that the route does not name.
    Unsigned,
    /// A verified value cannot be written into a field.
    Unwritable,
    /// A route that signs is asked by a page in a browser, or under a name that is not its own.
    Client,
    /// The request lacks something that its signature covers.
    Unsignable,
    /// The body of an open route is longer than the route takes.
    BodyTooLarge,
    /// It did not come in time.
    BodyLate,
    /// It broke off.
    BodyBroken,
    /// Other bodies take up all the room.
    NoRoom,
    /// As many requests are being handled as there may be.
    Busy,
    /// There is no connection to the upstream; nothing was claimed.
    NoUpstream,
    /// The connection was lost before a byte was sent, and there is no other. The request was claimed.
    Undelivered,
    /// The connection broke, or the answer cannot be read. The request may have had an effect.
    Broken,
    /// The answer did not come in time. The request may have had an effect.
    Late,
    /// The client has as many requests as it may have at one time.
    ClientOverLimit,
    /// A fault of our own.
    Internal,
}

impl Refused {
    pub(super) fn status(&self) -> StatusCode {
        match self {
            Self::Unclear | Self::Unsigned | Self::Unwritable | Self::Unsignable => {
                StatusCode::BAD_REQUEST
            }
            Self::Client => StatusCode::FORBIDDEN,
            Self::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::BodyLate => StatusCode::REQUEST_TIMEOUT,
            Self::BodyBroken => StatusCode::BAD_REQUEST,
            Self::NoRoom | Self::Busy => StatusCode::SERVICE_UNAVAILABLE,
            Self::NoRoute => StatusCode::NOT_FOUND,
            Self::Method(_) => StatusCode::METHOD_NOT_ALLOWED,
            Self::NoUpstream | Self::Undelivered | Self::Broken => StatusCode::BAD_GATEWAY,
            Self::Late => StatusCode::GATEWAY_TIMEOUT,
            Self::ClientOverLimit => StatusCode::TOO_MANY_REQUESTS,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    pub(super) fn code(&self) -> &'static str {
        match self {
            Self::Unclear => "target_unclear",
            Self::NoRoute => "route_unknown",
            Self::Method(_) => "method_not_allowed",
            Self::Unsigned => "target_unsigned",
            Self::Unwritable => "identity_unwritable",
            Self::Client => "client_not_allowed",
            Self::Unsignable => "request_unsignable",
            // The names that the library has for them.
            Self::BodyTooLarge => "body_too_large",
            Self::BodyLate => "body_timeout",
            Self::BodyBroken => "body_unreadable",
            Self::NoRoom => "body_budget_exhausted",
            Self::Busy => "requests_exhausted",
            Self::NoUpstream => "upstream_unavailable",
            Self::Undelivered => "upstream_lost",
            Self::Broken => "upstream_failed",
            Self::Late => "upstream_timeout",
            Self::ClientOverLimit => "client_over_limit",
            Self::Internal => "internal_error",
        }
    }

    fn detail(&self) -> &'static str {
        match self {
            Self::Unclear => "The path or the host of the request can be read in two ways.",
            Self::NoRoute => "No route serves this host and path.",
            Self::Method(_) => "The route does not allow this method.",
            Self::Unsigned => {
                "The signature does not cover the method, path or query of the request, and the \
                 route takes no other than its own."
            }
            Self::Unwritable => "A signed value cannot be forwarded in a header.",
            Self::Client => "Requests of pages, and requests under another host, are not signed.",
            Self::Unsignable => {
                "The request cannot be signed. The log of the proxy says what it lacks."
            }
            Self::BodyTooLarge => "The body is larger than this service accepts.",
            Self::BodyLate => "The body did not arrive in time.",
            Self::BodyBroken => "The body broke off or could not be read.",
            Self::NoRoom => "The service is taking in as much as it can. Try again later.",
            Self::Busy => "The service is handling as many requests as it can. Try again later.",
            Self::NoUpstream => "The server behind this proxy cannot be reached. Try again later.",
            Self::Undelivered => {
                "The server behind this proxy went away before it got the request."
            }
            Self::Broken => "The server behind this proxy gave no answer that can be read.",
            Self::Late => "The server behind this proxy did not answer in time.",
            Self::ClientOverLimit => {
                "This client has as many requests as it may have at one time. Try again later."
            }
            Self::Internal => "The proxy failed.",
        }
    }

    pub(super) fn answer(&self) -> Response<AnswerBody> {
        let whole = |bytes| Full::new(bytes).map_err(|never| match never {});
        self.answer_whole().map(|bytes| whole(bytes).boxed_unsync())
    }

    /// The answer, with its body as bytes.
    pub(super) fn answer_whole(&self) -> Response<Bytes> {
        let status = self.status();
        let body = json!({
            "type": "about:blank",
            "title": status.canonical_reason(),
            "status": status.as_u16(),
            "code": self.code(),
            "detail": self.detail(),
        });
        let mut answer = Response::new(Bytes::from(body.to_string()));
        *answer.status_mut() = status;
        let headers = answer.headers_mut();
        let problem = HeaderValue::from_static("application/problem+json");
        headers.insert(CONTENT_TYPE, problem);
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        match self {
            Self::Method(allow) => drop(headers.insert(ALLOW, allow.clone())),
            Self::NoRoom | Self::Busy | Self::ClientOverLimit => {
                headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
            }
            _ => {}
        }
        answer.extensions_mut().insert(Code(self.code()));
        answer
    }
}
