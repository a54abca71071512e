//! Duplicates of a request, released together.

use std::{fmt, future::poll_fn, sync::Arc};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use http_body_util::{BodyExt as _, Full};
use tokio::sync::Barrier;
use tower_service::Service;

/// Sends `n` duplicates of a signed request to a service, such as your own router, released
/// together. Returns all responses, with their bodies.
///
/// A check that comes before the record of a request lets several through here, and one at a time
/// everywhere else. Use a runtime with several threads, and count the effects of the handler: a
/// sender that retries is answered with 200 for a duplicate too.
///
/// ```
/// use countersign::{MemoryStore, VerifiedPayload, VerifyLayer, testing, webhooks::Stripe};
/// use axum::{Router, routing::post};
///
/// # tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async {
/// const SECRET: &str = "whsec_the signing secret of the endpoint";
/// let layer = VerifyLayer::builder(Stripe::new())
///     .secret(SECRET)
///     .store(MemoryStore::new().danger_assume_no_history())
///     .build()?;
/// let handler = async |_: VerifiedPayload| "handled";
/// let app = Router::new().route("/stripe", post(handler)).layer(layer);
///
/// let request = testing::delivery(Stripe::new(), SECRET, r#"{"id":"evt_1"}"#).to("/stripe").request();
/// let answers = testing::at_once(app, request, 100).await;
/// assert_eq!(answers.iter().filter(|answer| answer.body() == "handled").count(), 1);
/// # Ok::<_, countersign::ConfigError>(()) })?;
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
///
/// # Panics
/// Panics if the service fails or panics, if a body cannot be read, and outside of a Tokio runtime.
#[expect(clippy::expect_used, reason = "a test may fail")]
pub async fn at_once<S, B, R>(service: S, request: Request<B>, n: usize) -> Vec<Response<Bytes>>
where
    S: Service<Request<Full<Bytes>>, Response = Response<R>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: fmt::Debug,
    B: Body<Error: fmt::Debug>,
    R: Body<Data: Send, Error: fmt::Debug> + Send + 'static,
{
    let (head, body) = request.into_parts();
    let body = body.collect().await.expect("a body that can be read");
    let body = body.to_bytes();
    let released = Arc::new(Barrier::new(n));
    let tasks: Vec<_> = (0..n)
        .map(|_| {
            let request = Request::from_parts(head.clone(), Full::new(body.clone()));
            let (mut service, released) = (service.clone(), Arc::clone(&released));
            tokio::spawn(async move {
                released.wait().await;
                let ready = poll_fn(|context| service.poll_ready(context)).await;
                ready.expect("a service that is ready");
                let (head, body) = service.call(request).await.expect("an answer").into_parts();
                let body = body.collect().await.expect("a body that can be read");
                Response::from_parts(head, body.to_bytes())
            })
        })
        .collect();
    let mut answers = Vec::with_capacity(n);
    for task in tasks {
        answers.push(task.await.expect("a service that does not panic"));
    }
    answers
}
