//! The contenders that answer for an intention once, around a handler that answers with 1 KiB.

use axum::{Router, body::Body, routing::post};
use bytes::Bytes;
use countersign::{MemoryStore, VerifyLayer, idempotency::IdempotencyLayer, store::MemoryAnswers};
use http::StatusCode;
use tokio::runtime::Builder;
use tower::ServiceExt as _;

use crate::{
    Contender,
    requests::{ORIGIN, body, house_with_key, keyed, keys},
};

const ANSWER_LEN: usize = 1024;
const BODY_LEN: usize = 256;

fn router() -> Router {
    let answer = body(ANSWER_LEN);
    let handler = post(async move |_: Bytes| (StatusCode::CREATED, answer.clone()));
    Router::new().route("/transfer", handler)
}

fn verify() -> VerifyLayer {
    VerifyLayer::builder(house_with_key())
        .public_origin(ORIGIN)
        .keys(keys())
        .store(MemoryStore::new().danger_assume_no_history())
        .build()
        .expect("a configuration that is safe")
}

fn layer() -> IdempotencyLayer {
    IdempotencyLayer::builder(MemoryAnswers::new())
        .required()
        .build()
        .expect("settings in their range")
}

fn oneshot(name: &'static str, router: Router, key: fn(u64) -> u64) -> Contender {
    let router: Router = router.layer(verify()).with_state(());
    let mut request = keyed(body(BODY_LEN), key);
    // A key is held by a task beside its handler.
    let runtime = Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime");
    Contender::new(
        name,
        move || Some(request().map(Body::from)),
        move |request| {
            let request = request.take().expect("handled once");
            let response = runtime.block_on(router.clone().oneshot(request));
            let response = response.expect("an answer");
            assert_eq!(response.status(), StatusCode::CREATED);
        },
    )
}

/// Verified, and handled each time.
pub fn without() -> Contender {
    oneshot("verified, without the layer", router(), |number| number)
}

/// Each key is new.
pub fn new_key() -> Contender {
    oneshot("a new key", router().layer(layer()), |number| number)
}

/// One key, which was answered before.
pub fn stored() -> Contender {
    oneshot("a stored answer", router().layer(layer()), |_| 0)
}
