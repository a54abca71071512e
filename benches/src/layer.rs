//! The contenders that handle a request whole, from Tower's `oneshot` to the answer: with a layer
//! in front of an Axum router, and without.

use axum::{Router, body::Body, routing::post};
use bytes::Bytes;
use countersign::{
    MemoryStore, Processing, VerifyLayer, scheme::Scheme, webhooks::StandardWebhooks,
};
use http::{Request, Response, StatusCode};
use tower::{Layer as _, Service, ServiceExt as _};

use crate::{
    Contender, ready,
    requests::{
        BareHmac, ORIGIN, WEBHOOK_SECRET, body, house, keys, rfc9421, signed, standard_webhook,
        webhook,
    },
};

const BODY_LEN: usize = 1024;

/// Takes the body in, as most handlers do.
fn router() -> Router {
    Router::new().route("/transfer", post(async |_: Bytes| StatusCode::NO_CONTENT))
}

/// As `axum::serve` makes it of a router, once for each connection.
fn served(router: Router) -> Router {
    router.with_state(())
}

fn verify_layer(scheme: impl Scheme) -> VerifyLayer {
    VerifyLayer::builder(scheme)
        .public_origin(ORIGIN)
        .keys(keys())
        .store(MemoryStore::new().danger_assume_no_history())
        .build()
        .expect("a configuration that is safe")
}

/// The router, with the layer in it; everything is covered.
pub fn countersign() -> Contender {
    oneshot(
        "countersign in a router",
        served(router().layer(verify_layer(house()))),
        signed(house(), body(BODY_LEN)),
    )
}

/// The same in RFC 9421.
pub fn countersign_rfc9421() -> Contender {
    oneshot(
        "countersign in a router, RFC 9421",
        served(router().layer(verify_layer(rfc9421()))),
        signed(rfc9421(), body(BODY_LEN)),
    )
}

/// The router that is given the same requests and verifies nothing.
pub fn without_layer() -> Contender {
    oneshot(
        "the router without the layer",
        served(router()),
        signed(house(), body(BODY_LEN)),
    )
}

/// Hashes what the layer has to, and compares.
pub fn bare_hmac() -> Contender {
    let mut request = signed(house(), body(BODY_LEN));
    let key = BareHmac::key();
    Contender::new(
        "one bare HMAC",
        move || BareHmac::of_house(&request()),
        move |hmac| hmac.verify(&key),
    )
}

/// The layer around the router, for webhooks.
pub fn countersign_for_webhooks() -> Contender {
    oneshot(
        "countersign around a router",
        verify_layer(webhook()).layer(served(router())),
        signed(webhook(), body(BODY_LEN)),
    )
}

/// The same with the preset, and the requests that its peer is given.
pub fn preset_standard_webhooks() -> Contender {
    let layer = VerifyLayer::builder(StandardWebhooks::new())
        .secret(WEBHOOK_SECRET)
        .store(MemoryStore::new().danger_assume_no_history())
        .processing(Processing::AtMostOnce)
        .build()
        .expect("a configuration that is safe");
    oneshot(
        "the preset around a router",
        layer.layer(served(router())),
        standard_webhook(body(BODY_LEN)),
    )
}

/// The peer's layer. Its error is not one that goes into a router; it makes no claim.
pub fn webhook_verify() -> Contender {
    let layer = webhook_verify::tower::VerifyLayer::<Body>::new(
        webhook_verify::Provider::StandardWebhooks,
        webhook_verify::Secret::new(WEBHOOK_SECRET),
    );
    oneshot(
        "webhook-verify around a router",
        layer.layer(served(router())),
        standard_webhook(body(BODY_LEN)),
    )
}

fn oneshot<S, R>(
    name: &'static str,
    service: S,
    mut request: impl FnMut() -> Request<Bytes> + 'static,
) -> Contender
where
    S: Service<Request<Body>, Response = Response<R>, Error: std::fmt::Debug> + Clone + 'static,
{
    Contender::new(
        name,
        move || Some(request().map(Body::from)),
        move |request| {
            let request = request.take().expect("handled once");
            let response = ready(service.clone().oneshot(request)).expect("an answer");
            assert_eq!(response.status(), StatusCode::NO_CONTENT);
        },
    )
}
