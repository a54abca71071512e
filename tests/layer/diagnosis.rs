//! The log of a refusal is true, and enough to find its cause.

use std::time::Duration;

use axum::{Router, body::Body, routing::post};
use countersign::{
    HeaderScheme, HttpMessageSignatures, KeyRing, KeySet, MemoryStore, OnDuplicate, Part, Secret,
    Signer, VerifiedPayload, VerifyLayer,
    error::ConfigErrorKind,
    request::VerifierBuilder,
    scheme::{HeaderSchemeBuilder, JsonForm},
    webhooks::GitHub,
};
use http::{Request, Response};
use tower::ServiceExt as _;

use crate::common::{
    self, KEY, NOW, ORIGIN, SECRET, at,
    log::Log,
    parts::{Script, Step},
};

/// Returns what is logged while one request is answered, and the answer.
async fn logged(layer: VerifyLayer, request: Request<Body>) -> (Response<Body>, String) {
    let app = Router::new()
        .route("/", post(async |_: VerifiedPayload| ()))
        .layer(layer);
    let log = Log::captured();
    let response = app.oneshot(request).await.unwrap();
    (response, log.text())
}

/// The one line of the log with this text.
fn line<'t>(text: &'t str, event: &str) -> &'t str {
    let mut lines = text.lines().filter(|line| line.contains(event));
    let line = lines
        .next()
        .unwrap_or_else(|| panic!("no `{event}` in:\n{text}"));
    assert_eq!(lines.next(), None, "once");
    line
}

#[derive(Debug)]
struct Layered(&'static str, Option<Box<Layered>>);

impl std::fmt::Display for Layered {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for Layered {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.1.as_deref().map(|source| source as _)
    }
}

#[tokio::test]
async fn the_line_of_a_refusal_has_every_cause_behind_it() {
    let clock = common::clock();
    let (head, _) = common::signed(&clock, "POST", "/", "{}").into_parts();
    let cause = Layered(
        "the stream ended",
        Some(Box::new(Layered("reset by peer", None))),
    );
    let body = Script::new([Step::Fails(Box::new(cause))]);
    let layer = common::layer(&clock).build().unwrap();
    let request = Request::from_parts(head, Body::new(body));
    let (response, text) = logged(layer, request).await;
    assert_eq!(response.status(), 400);
    let line = line(&text, "request refused");
    // A line at `INFO`, as for every 4xx.
    assert!(
        line.contains("INFO") && line.contains("body_unreadable"),
        "{line}"
    );
    assert!(
        line.contains("the stream ended") && line.contains("reset by peer"),
        "{line}"
    );
}

#[tokio::test]
async fn a_duplicate_that_is_acknowledged_is_not_called_refused() {
    for (on_duplicate, status, event, other) in [
        (
            OnDuplicate::Acknowledge,
            200,
            "duplicate acknowledged",
            "request refused",
        ),
        (
            OnDuplicate::Reject,
            409,
            "request refused",
            "duplicate acknowledged",
        ),
    ] {
        let clock = common::clock();
        let layer = common::layer(&clock)
            .on_duplicate(on_duplicate)
            .build()
            .unwrap();
        let (head, _) = common::signed(&clock, "POST", "/", "{}").into_parts();
        let copy = || Request::from_parts(head.clone(), Body::from("{}"));
        let (first, text) = logged(layer.clone(), copy()).await;
        assert_eq!(first.status(), 200);
        assert!(!text.contains(event), "{text}");
        let (second, text) = logged(layer, copy()).await;
        assert_eq!(second.status(), status);
        let line = line(&text, event);
        assert!(line.contains("INFO"), "{line}");
        assert!(line.contains(&format!("status={status}")), "{line}");
        assert!(!text.contains(other), "{text}");
    }
}

fn rfc9421(keys: KeyRing) -> VerifierBuilder<VerifyLayer> {
    let clock = common::clock();
    VerifyLayer::builder(HttpMessageSignatures::default())
        .public_origin(ORIGIN)
        .keys(keys)
        .store(common::store(&clock))
        .clock(clock)
}

fn signed_under_rfc9421(secret: &str) -> Request<Body> {
    let signer = Signer::new(HttpMessageSignatures::default(), KEY, secret).unwrap();
    let request = common::request("POST", "/", "{\"n\":1}");
    let signed = signer.clock(common::clock()).sign(request).unwrap();
    signed.map(Body::from)
}

#[tokio::test]
async fn where_the_head_decides_no_length_of_a_body_is_told() {
    let layer = rfc9421(common::keys()).build().unwrap();
    let (_, text) = logged(layer, signed_under_rfc9421("another secret of 25 bytes")).await;
    let refused = line(&text, "request refused");
    assert!(refused.contains("no body was read"), "{refused}");
    assert!(!refused.contains("0 bytes"), "{refused}");
    // The key was known, and the span says it, once.
    assert_eq!(
        refused.matches("key_id=\"partner-1\"").count(),
        1,
        "{refused}"
    );
}

#[tokio::test]
async fn a_key_whose_secrets_have_expired_is_not_called_a_wrong_mac() {
    let secret = || Secret::new(SECRET).unwrap();
    let set = |until| KeySet::new(KEY).unwrap().with_until(secret(), at(until));
    let ring = |until| KeyRing::new().with_set(set(until)).unwrap();
    for request in [
        signed_under_rfc9421(SECRET),
        common::signed(&common::clock(), "POST", "/", "{}"),
    ] {
        let is_rfc9421 = request.headers().contains_key("signature");
        let layer = |keys| {
            let layer = if is_rfc9421 {
                rfc9421(keys)
            } else {
                common::layer(&common::clock()).keys(keys)
            };
            layer.build().unwrap()
        };
        let (head, body) = request.into_parts();
        let body = axum::body::to_bytes(body, 100).await.unwrap();
        let request = || Request::from_parts(head.clone(), Body::from(body.clone()));
        let (response, text) = logged(layer(ring(NOW - 1)), request()).await;
        assert_eq!(response.status(), 401);
        let refused = line(&text, "request refused");
        assert!(
            refused.contains("none of the 1 secrets of key `partner-1` is valid"),
            "{refused}"
        );
        assert!(!refused.contains("makes this MAC"), "{refused}");
        // The twin: the same request passes while the secret is valid.
        assert_eq!(logged(layer(ring(NOW)), request()).await.0.status(), 200);
    }
}

fn house(builder: HeaderSchemeBuilder, parts: Vec<Part>) -> HeaderScheme {
    builder
        .fixed_key_id(KEY)
        .time("x-timestamp")
        .signs(parts)
        .build()
        .unwrap()
}

async fn altered(scheme: HeaderScheme, body: &'static str, sent: &'static str) -> String {
    let clock = common::clock();
    let signer = Signer::new(scheme.clone(), KEY, SECRET)
        .unwrap()
        .clock(clock.clone());
    let signed = signer.sign(common::request("POST", "/", body)).unwrap();
    let layer = VerifyLayer::builder(scheme)
        .secret(SECRET)
        .store(common::store(&clock))
        .clock(clock)
        .build()
        .unwrap();
    logged(layer, signed.map(|_| Body::from(sent))).await.1
}

#[tokio::test]
async fn the_length_of_a_canonical_form_is_told_beside_that_of_the_body() {
    let parts = vec![
        Part::Time,
        Part::text("."),
        Part::CanonicalBody(JsonForm::Jcs),
    ];
    let scheme = house(HeaderScheme::builder("x-signature"), parts);
    let text = altered(scheme, "{\"n\":1}", "{ \"n\": 2 }").await;
    let refused = line(&text, "request refused");
    assert!(
        refused.contains("a body of 10 bytes, which is signed as 7 bytes"),
        "{refused}"
    );
}

#[tokio::test]
async fn what_comes_after_the_body_is_shown_too() {
    let parts = vec![Part::Body, Part::text("|"), Part::Time, Part::text("|end")];
    let scheme = house(HeaderScheme::builder("x-signature"), parts);
    let text = altered(scheme, "{}", "[]").await;
    let expected = line(&text, "expected to be signed");
    assert!(
        expected.contains(&format!("after_body=\"|{NOW}|end\"")),
        "{expected}"
    );
}

#[tokio::test]
async fn sign_again_says_how_long_a_sender_has_to_wait() {
    let clock = common::clock();
    let store = MemoryStore::builder().clock(clock.clone()).build().unwrap();
    let layer = common::layer(&clock).store(store).build().unwrap();
    // The store was made now, and requests may be dated 5 seconds ahead.
    for (passed, left) in [(0, "6"), (4, "2"), (5, "1")] {
        clock.set(at(NOW + passed));
        let request = common::signed(&clock, "POST", "/", "{}");
        let (response, text) = logged(layer.clone(), request).await;
        assert_eq!(response.status(), 503);
        assert_eq!(response.headers()["retry-after"], left, "after {passed} s");
        assert!(
            line(&text, "request refused").contains("`high_watermark`"),
            "{text}"
        );
    }
    // It is true: after that time, a request is served.
    clock.advance(Duration::from_secs(1));
    let request = common::signed(&clock, "POST", "/", "{}");
    assert_eq!(logged(layer, request).await.0.status(), 200);
}

#[test]
fn a_ring_without_the_key_id_of_a_preset_is_an_error() {
    let build = |ring: KeyRing| {
        VerifyLayer::builder(GitHub::new())
            .keys(ring)
            .store(MemoryStore::new())
            .build()
            .map(|_| ())
    };
    let secret = "the secret of the webhook";
    let other = KeyRing::new().with("my-github", secret).unwrap();
    for ring in [KeyRing::new(), other] {
        let error = build(ring).unwrap_err();
        assert_eq!(error.kind(), &ConfigErrorKind::NoSecretFor("github".into()));
        assert!(error.to_string().contains("`github`"), "{error}");
    }
    // The twins: the ring has it, or the preset is given the ring's.
    build(KeyRing::new().with("github", secret).unwrap()).unwrap();
    let ring = KeyRing::new().with("my-github", secret).unwrap();
    let layer = VerifyLayer::builder(GitHub::new().key_id("my-github")).keys(ring);
    let _ = layer.store(MemoryStore::new()).build().unwrap();
}

#[cfg(feature = "sqlite")]
mod in_transaction {
    use countersign::{PendingPayload, Processing, Rejection, store::SqliteStore};
    use sqlx::sqlite::SqlitePoolOptions;

    use super::*;

    /// The span is closed when the handler is called; what its transaction logs is in it all the
    /// same.
    #[tokio::test]
    async fn a_refusal_inside_a_transaction_keeps_the_span() {
        let pool = SqlitePoolOptions::new().max_connections(1);
        let pool = pool.connect("sqlite::memory:").await.unwrap();
        SqliteStore::migrate(&pool).await.unwrap();
        let tables = "UPDATE countersign_store SET since = 0";
        sqlx::raw_sql(tables).execute(&pool).await.unwrap();
        // The database goes by the clock of the machine.
        let signer = Signer::new(common::scheme(), KEY, SECRET).unwrap();
        let layer = VerifyLayer::builder(common::scheme())
            .public_origin(ORIGIN)
            .keys(common::keys())
            .namespace("payments")
            .processing(Processing::InTransaction)
            .build()
            .unwrap();
        let handler = async move |pending: PendingPayload| -> Result<(), Rejection> {
            pending.transact(&pool, async |_, _| Ok(())).await
        };
        let app = Router::new().route("/", post(handler)).layer(layer);
        let (head, body) = signer
            .sign(common::request("POST", "/", "{}"))
            .unwrap()
            .into_parts();
        let mut texts = Vec::new();
        for _ in 0..2 {
            let log = Log::captured();
            let request = Request::from_parts(head.clone(), Body::from(body.clone()));
            app.clone().oneshot(request).await.unwrap();
            texts.push(log.text());
        }
        assert!(!texts[0].contains("request refused"), "{}", texts[0]);
        let refused = line(&texts[1], "request refused");
        let span = "countersign.verify{namespace=\"payments\" key_id=\"partner-1\"";
        assert!(
            refused.contains(span) && refused.contains("request_replayed"),
            "{refused}"
        );
    }
}
