// The answer of a handler when a request is refused or the database fails.

use axum::response::{IntoResponse, Response};
use countersign::{Rejection, axum::ExtractRejection, error::SignError};
use http::StatusCode;

#[derive(Debug)]
pub struct Failure(Response);

impl From<Rejection> for Failure {
    fn from(rejection: Rejection) -> Self {
        Self(rejection.into_response())
    }
}

impl From<ExtractRejection> for Failure {
    fn from(rejection: ExtractRejection) -> Self {
        Self(rejection.into_response())
    }
}

impl From<serde_json::Error> for Failure {
    fn from(error: serde_json::Error) -> Self {
        Self((StatusCode::UNPROCESSABLE_ENTITY, error.to_string()).into_response())
    }
}

impl From<SignError> for Failure {
    fn from(error: SignError) -> Self {
        eprintln!("a payload was not sealed: {error}");
        Self(StatusCode::INTERNAL_SERVER_ERROR.into_response())
    }
}

impl From<sqlx::Error> for Failure {
    fn from(error: sqlx::Error) -> Self {
        eprintln!("the database failed: {error}"); // or `tracing::error!`
        Self(StatusCode::SERVICE_UNAVAILABLE.into_response())
    }
}

impl From<StatusCode> for Failure {
    fn from(status: StatusCode) -> Self {
        Self(status.into_response())
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        self.0
    }
}
