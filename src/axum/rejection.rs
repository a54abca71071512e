//! Why an extractor gave nothing, and the answer to that.

use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use http::{
    HeaderValue, StatusCode,
    header::{CACHE_CONTROL, CONTENT_TYPE},
};

use crate::error::{Rejection, RejectionKind, problem};

impl IntoResponse for Rejection {
    fn into_response(self) -> Response {
        self.to_response().map(Body::from)
    }
}

/// Why an extractor gave nothing.
///
/// A mistake of the server (no layer, a part that is not covered) is answered with 500 and logged,
/// a payload that cannot be read with 400 or 422, and a rewritten target with 403.
#[derive(Clone, Debug)]
pub struct ExtractRejection {
    status: StatusCode,
    code: &'static str,
    detail: String,
    /// The request itself is refused.
    rejection: Option<Rejection>,
}

impl ExtractRejection {
    /// Returns the status of the answer.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// Returns the code of the answer.
    #[must_use]
    pub fn code(&self) -> &'static str {
        self.code
    }

    pub(super) fn misplaced(detail: &str) -> Self {
        tracing::error!(detail, "an extractor cannot work here");
        Self {
            status: StatusCode::INTERNAL_SERVER_ERROR,
            code: "not_verified",
            detail: "The service is not set up to verify this request. Its log says why.".into(),
            rejection: None,
        }
    }

    pub(super) fn uncovered(part: &str) -> Self {
        tracing::error!(
            part,
            "an extractor wants a part of the request that the scheme leaves out"
        );
        Self {
            status: StatusCode::INTERNAL_SERVER_ERROR,
            code: "not_covered",
            detail:
                "The service wants a part of the request that its signatures do not cover. Its \
                     log says which."
                    .into(),
            rejection: None,
        }
    }

    pub(super) fn syntax(error: &dyn std::error::Error) -> Self {
        Self::unreadable(&error.to_string())
    }

    pub(super) fn unreadable(why: &str) -> Self {
        Self {
            status: StatusCode::BAD_REQUEST,
            code: "payload_malformed",
            detail: format!("The payload cannot be read: {why}."),
            rejection: None,
        }
    }

    pub(super) fn shape(error: &dyn std::error::Error) -> Self {
        Self {
            status: StatusCode::UNPROCESSABLE_ENTITY,
            code: "payload_unprocessable",
            detail: format!("The payload is not of the expected shape: {error}."),
            rejection: None,
        }
    }

    /// A body that is not JSON, or not JSON of the expected shape.
    pub(super) fn json(error: &serde_json::Error) -> Self {
        match error.classify() {
            serde_json::error::Category::Data => Self::shape(error),
            _ => Self::syntax(error),
        }
    }

    pub(super) fn mismatch(route: &str, signed: &str) -> Self {
        Self::refused(Rejection::new(
            RejectionKind::ResourceMismatch,
            format!("the signed path `{signed}` does not lead to what was routed to, `{route}`"),
        ))
    }

    pub(super) fn refused(rejection: Rejection) -> Self {
        rejection.report();
        rejection.into()
    }
}

/// So that one error serves a handler that reads inside of
/// [`transact`](crate::PendingPayload::transact). The layer logs and counts such a refusal.
impl From<Rejection> for ExtractRejection {
    fn from(rejection: Rejection) -> Self {
        let kind = rejection.kind();
        Self {
            status: rejection.status(),
            code: kind.code(),
            detail: kind.public_detail().into(),
            rejection: Some(rejection),
        }
    }
}

impl std::fmt::Display for ExtractRejection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.code, self.detail)
    }
}

impl std::error::Error for ExtractRejection {}

impl IntoResponse for ExtractRejection {
    fn into_response(self) -> Response {
        if let Some(rejection) = self.rejection {
            return rejection.into_response();
        }
        let mut response = Response::new(Body::from(Bytes::from(problem(
            self.status,
            self.code,
            &self.detail,
        ))));
        *response.status_mut() = self.status;
        let content_type = HeaderValue::from_static("application/problem+json");
        response.headers_mut().insert(CONTENT_TYPE, content_type);
        let no_store = HeaderValue::from_static("no-store");
        response.headers_mut().insert(CACHE_CONTROL, no_store);
        response
    }
}
