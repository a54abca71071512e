//! The requests of operators to the proxy, on an address of its own.

use bytes::Bytes;
use http::{HeaderValue, Method, Response, StatusCode, header::CONTENT_TYPE};
use http_body_util::{BodyExt as _, Full};
use serde_json::json;

use super::{answer::AnswerBody, handler::Proxy};

impl Proxy {
    /// Answers on the admin address: `/healthz` while the process runs, `/readyz` if every store and
    /// every upstream can be used, and `/metrics` for Prometheus.
    pub(super) async fn answer_admin(&self, method: &Method, path: &str) -> Response<AnswerBody> {
        if ![Method::GET, Method::HEAD].contains(method) {
            return text(
                StatusCode::METHOD_NOT_ALLOWED,
                "text/plain",
                "GET and HEAD\n",
            );
        }
        match path {
            "/healthz" => text(StatusCode::OK, "text/plain", "ok\n"),
            "/readyz" => {
                let wrong = self.routes().check().await;
                let status = match wrong.is_empty() {
                    true => StatusCode::OK,
                    false => StatusCode::SERVICE_UNAVAILABLE,
                };
                let is_ready = wrong.is_empty();
                let wrong = wrong.into_iter();
                let wrong = wrong.map(|(route, why)| json!({"route": route, "why": why}));
                let wrong: Vec<_> = wrong.collect();
                let object = json!({"ready": is_ready, "wrong": wrong});
                text(status, "application/json", object.to_string())
            }
            "/metrics" => match self.measured() {
                Some(measured) => text(StatusCode::OK, "text/plain; version=0.0.4", measured),
                None => text(StatusCode::NOT_FOUND, "text/plain", "it does not measure\n"),
            },
            _ => text(
                StatusCode::NOT_FOUND,
                "text/plain",
                "/healthz, /readyz or /metrics\n",
            ),
        }
    }
}

fn text(
    status: StatusCode,
    content_type: &'static str,
    body: impl Into<Bytes>,
) -> Response<AnswerBody> {
    let body = Full::new(body.into()).map_err(|never| match never {});
    let mut answer = Response::new(body.boxed_unsync());
    *answer.status_mut() = status;
    let content_type = HeaderValue::from_static(content_type);
    answer.headers_mut().insert(CONTENT_TYPE, content_type);
    answer
}
