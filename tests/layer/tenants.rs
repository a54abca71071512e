//! One layer for many tenants: each tenant's key id is a parameter of the route.

use axum::{
    Router,
    body::Body,
    routing::{any, post},
};
use bytes::Bytes;
use countersign::{
    KeyRing, KeySet, MemoryStore, Secret, Signer, VerifiedPayload, VerifyLayer,
    request::VerifierBuilder,
    testing::{Delivery, ManualClock},
    webhooks::{GitHub, Mailgun, Twilio},
};
use http::Request;
use tower::ServiceExt as _;

use crate::common::{self, log::Log, verdict};

const ACME: &str = "the secret of acme";
const GLOBEX: &str = "the secret of globex";

fn preset() -> GitHub {
    GitHub::new().key_id_from_path("tenant")
}

fn layer(clock: &ManualClock) -> VerifierBuilder<VerifyLayer> {
    VerifyLayer::builder(preset())
        .keys(
            KeyRing::new()
                .with("acme", ACME)
                .and_then(|keys| keys.with("globex", GLOBEX))
                .unwrap(),
        )
        .clock(clock.clone())
        .store(common::store(clock))
}

async fn told(event: VerifiedPayload) -> String {
    format!("for {}", event.key_id())
}

fn app(layer: VerifyLayer) -> Router {
    Router::new()
        .route("/hooks/{tenant}", any(told))
        .layer(layer)
}

fn signed(secret: &str, path: &str) -> Request<Body> {
    let signer = Signer::new(GitHub::new(), "github", secret).unwrap();
    let delivery = Delivery::by(signer, r#"{"zen":"Keep it logically awesome."}"#).to(path);
    delivery.request().map(Body::new)
}

async fn sent(app: &Router, request: Request<Body>) -> (u16, String) {
    verdict(app.clone().oneshot(request).await.unwrap()).await
}

fn refused(status: u16, code: &str) -> (u16, String) {
    (status, code.to_owned())
}

#[tokio::test]
async fn each_tenant_has_its_own_secret_and_its_own_claims() {
    let app = app(layer(&common::clock()).build().unwrap());
    let to = |secret, path| sent(&app, signed(secret, path));
    // The same body, and the same identity except the tenant.
    assert_eq!(to(ACME, "/hooks/acme").await, (200, "for acme".into()));
    assert_eq!(
        to(GLOBEX, "/hooks/globex").await,
        (200, "for globex".into())
    );
    // A redelivery is acknowledged, and not handled.
    assert_eq!(to(ACME, "/hooks/acme").await, (200, String::new()));
    assert_eq!(to(GLOBEX, "/hooks/globex").await, (200, String::new()));
}

/// A holder of one tenant's secret signs for another tenant; nothing covers the path.
async fn a_delivery_of_one_tenant_at_the_path_of_another(app: &Router) -> bool {
    let mut refusals = 0;
    for path in [
        "/hooks/globex",
        "/hooks/GLOBEX",
        "/hooks/globex?tenant=acme",
    ] {
        let (status, answer) = sent(app, signed(ACME, path)).await;
        refusals += usize::from(status == 401 && answer == "signature_invalid");
    }
    refusals == 3
}

#[tokio::test]
async fn a_tenants_secret_opens_its_own_path_and_no_other() {
    let app = app(layer(&common::clock()).build().unwrap());
    assert!(a_delivery_of_one_tenant_at_the_path_of_another(&app).await);
    let wrong = refused(401, "signature_invalid");
    // Another spelling of a name is another name.
    for path in ["/hooks/%61cme", "/hooks/nobody", "/hooks/a%20b"] {
        assert_eq!(sent(&app, signed(ACME, path)).await, wrong, "{path}");
    }
    assert_eq!(sent(&app, signed(ACME, "/hooks/acme")).await.0, 200);
}

/// The twin: the secrets of all tenants under one key id.
#[tokio::test]
async fn twin_secrets_under_one_key_id_open_every_path() {
    let secret = |text| Secret::new(text).unwrap();
    let set = KeySet::new("github")
        .unwrap()
        .with(secret(ACME))
        .with(secret(GLOBEX));
    let clock = common::clock();
    let layer = VerifyLayer::builder(GitHub::new())
        .keys(KeyRing::new().with_set(set).unwrap())
        .store(common::store(&clock))
        .clock(clock)
        .build()
        .unwrap();
    assert!(!a_delivery_of_one_tenant_at_the_path_of_another(&app(layer)).await);
}

#[tokio::test]
async fn the_parameter_is_found_behind_prefixes_of_routers_and_of_proxies() {
    let clock = common::clock();
    let layer = || layer(&clock).public_origin("https://api.example.com/public");
    let inner = Router::new().route("/{tenant}/hooks", post(told));
    let inside = Router::new().nest("/v1", inner.clone().layer(layer().build().unwrap()));
    let outside = Router::new()
        .nest("/v1", inner)
        .layer(layer().build().unwrap());
    for app in [inside, outside] {
        let mut request = signed(ACME, "/v1/acme/hooks");
        let host = "api.example.com".parse().unwrap();
        request.headers_mut().insert("host", host);
        assert_eq!(sent(&app, request).await, (200, "for acme".into()));
    }
}

#[tokio::test]
async fn a_route_without_the_parameter_is_a_mistake_that_the_log_names() {
    let clock = common::clock();
    let app = Router::new()
        .route("/hooks", post(told))
        .route("/rest/{*tenant}", post(told))
        .layer(layer(&clock).build().unwrap());
    for path in ["/hooks", "/rest/acme"] {
        let log = Log::captured();
        let answer = sent(&app, signed(ACME, path)).await;
        assert_eq!(answer, refused(503, "store_unavailable"), "{path}");
        assert!(
            log.text().contains("no parameter `tenant`"),
            "{}",
            log.text()
        );
    }
}

#[test]
fn one_secret_for_all_is_refused() {
    let layer = VerifyLayer::builder(preset()).secret(ACME);
    layer.store(MemoryStore::new()).build().unwrap_err();
}

/// A preset whose deliveries are signed in another way than a row of the catalogue says.
async fn serves_each_tenant(
    layer: VerifierBuilder<VerifyLayer>,
    signer: impl Fn(&str) -> Signer,
    content_type: &str,
    body: &'static str,
) {
    let clock = common::clock();
    let keys = KeyRing::new()
        .with("acme", ACME)
        .and_then(|keys| keys.with("globex", GLOBEX));
    let layer = layer
        .keys(keys.unwrap())
        .public_origin("https://api.example.com")
        .clock(clock.clone())
        .store(common::store(&clock));
    let app = app(layer.build().unwrap());
    let signed = |secret: &str, path: &str| {
        let request = Request::post(path)
            .header("host", "api.example.com")
            .header("content-type", content_type)
            .body(Bytes::from_static(body.as_bytes()))
            .unwrap();
        let signer = signer(secret).clock(clock.clone());
        signer.sign_body(request, "t-1").unwrap().map(Body::from)
    };
    for (secret, path, answer) in [
        (ACME, "/hooks/acme", (200, "for acme".to_owned())),
        (GLOBEX, "/hooks/globex", (200, "for globex".to_owned())),
        (ACME, "/hooks/globex", refused(401, "signature_invalid")),
        (ACME, "/hooks/nobody", refused(401, "signature_invalid")),
        (ACME, "/hooks/%61cme", refused(401, "signature_invalid")),
    ] {
        assert_eq!(sent(&app, signed(secret, path)).await, answer, "{path}");
    }
}

#[tokio::test]
async fn twilio_and_mailgun_serve_many_tenants_too() {
    serves_each_tenant(
        VerifyLayer::builder(Twilio::new().key_id_from_path("tenant")),
        |secret| Signer::new(Twilio::new(), "twilio", secret).unwrap(),
        "application/x-www-form-urlencoded",
        "Body=hello",
    )
    .await;
    serves_each_tenant(
        VerifyLayer::builder(Mailgun::new().key_id_from_path("tenant")),
        |secret| Signer::new(Mailgun::new(), "mailgun", secret).unwrap(),
        "application/json",
        r#"{"event-data":{"event":"opened"}}"#,
    )
    .await;
}

/// A route without the parameter is refused before any of the body is read.
#[tokio::test]
async fn mailgun_on_a_route_without_the_parameter_is_refused() {
    let clock = common::clock();
    let layer = VerifyLayer::builder(Mailgun::new().key_id_from_path("tenant"))
        .keys(KeyRing::new().with("acme", ACME).unwrap())
        .store(common::store(&clock))
        .clock(clock)
        .build()
        .unwrap();
    let app = Router::new().route("/hooks", post(told)).layer(layer);
    let request = Request::post("/hooks").body(Body::from("{}")).unwrap();
    assert_eq!(sent(&app, request).await, refused(503, "store_unavailable"));
}
