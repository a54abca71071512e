//! Row 54: the question of a sender, whether this is the right place, is answered at one path alone.

use axum::{
    Router,
    body::Body,
    extract::Request,
    middleware::{Next, from_fn},
    response::IntoResponse as _,
    routing::any,
};
use bytes::Bytes;
use countersign::{
    ConfigError, Signer, VerifyLayer,
    scheme::Scheme,
    testing::ManualClock,
    webhooks::{Asana, Dropbox, Meta, Notion, Registrations, Slack, Trello, Xero, Zoom},
};
use http::Uri;
use tower::ServiceExt as _;

use crate::common::{self, SECRET};

/// Paths that a server which is less exact takes for `/hook` or for `/in/hook`.
const PATHS: [&str; 13] = [
    "/hook",
    "/in/hook",
    "/",
    "/in",
    "/other",
    "/in/other",
    "/hook/",
    "/HOOK",
    "//hook",
    "/h%6Fok",
    "/x/../hook",
    "/hook;x=1",
    "/hookx",
];

/// Asks at this path.
type Question = Box<dyn Fn(&str) -> Request>;

/// Serves every path, also nested under `/in`, each below a layer of its own.
fn served<L>(layer: L) -> Router
where
    L: tower::Layer<axum::routing::Route> + Clone + Send + Sync + 'static,
    L::Service:
        tower::Service<Request, Error = std::convert::Infallible> + Clone + Send + Sync + 'static,
    <L::Service as tower::Service<Request>>::Response: axum::response::IntoResponse + 'static,
    <L::Service as tower::Service<Request>>::Future: Send + 'static,
{
    let inner = Router::new().fallback(any(async || "handled")).layer(layer);
    Router::new()
        .nest("/in", inner.clone())
        .fallback_service(inner)
}

/// The paths at which this question is answered by another than the handler.
async fn answered(app: &Router, ask: &Question) -> Vec<&'static str> {
    let mut answered = Vec::new();
    for path in PATHS {
        let response = app.clone().oneshot(ask(path)).await.unwrap();
        let (status, body) = common::verdict(response).await;
        if status == 200 && body != "handled" {
            answered.push(path);
        }
    }
    answered
}

fn layer(scheme: impl Scheme, clock: &ManualClock) -> VerifyLayer {
    VerifyLayer::builder(scheme)
        .secret(SECRET)
        .store(common::store(clock))
        .clock(clock.clone())
        .build()
        .unwrap()
}

/// Trello signs the URL, and asks with a `HEAD` before it signs anything.
fn trello(path: &str, clock: &ManualClock) -> VerifyLayer {
    VerifyLayer::builder(Trello::new().answer_head_at(path).unwrap())
        .public_origin("https://example.com")
        .secret(SECRET)
        .store(common::store(clock))
        .clock(clock.clone())
        .build()
        .unwrap()
}

fn head() -> Question {
    Box::new(|path| Request::head(path).body(Body::empty()).unwrap())
}

/// Brings the secret of a new webhook, in a header and in the body.
fn brings_secret() -> Question {
    Box::new(|path| {
        let request = Request::post(path).header("x-hook-secret", SECRET);
        let body = format!(r#"{{"verification_token":"{SECRET}"}}"#);
        request.body(Body::from(body)).unwrap()
    })
}

fn unsigned(query: &'static str) -> Question {
    Box::new(move |path| {
        let request = Request::get(format!("{path}?{query}"));
        request.body(Body::empty()).unwrap()
    })
}

fn unsigned_form(body: &'static str) -> Question {
    Box::new(move |path| {
        let request =
            Request::post(path).header("content-type", "application/x-www-form-urlencoded");
        request.body(Body::from(body)).unwrap()
    })
}

/// A question that is signed, and posted to another path than the one that was asked for.
fn signed(scheme: impl Scheme, clock: &ManualClock, body: &'static str) -> Question {
    let signer = Signer::with_secret(scheme, SECRET).unwrap();
    let request = Request::post("/hook").body(Bytes::from_static(body.as_bytes()));
    let request = signer.clock(clock.clone()).sign(request.unwrap()).unwrap();
    Box::new(move |path| {
        let mut request = request.clone().map(Body::from);
        *request.uri_mut() = Uri::try_from(path).unwrap();
        request
    })
}

const META: &str =
    "hub.mode=subscribe&hub.challenge=1&hub.verify_token=the+secret+of+the+dashboard";
const SLACK: &str = r#"{"type":"url_verification","challenge":"x"}"#;
const CHECK: &str = "ssl_check=1&token=x";
const XERO: &str = r#"{"events":[]}"#;
const ZOOM: &str = r#"{"event":"endpoint.url_validation","payload":{"plainToken":"x"}}"#;

#[tokio::test]
async fn a54_a_handshake_is_answered_at_its_own_path_alone() {
    let clock = common::clock();
    for path in ["/hook", "/in/hook"] {
        let dropbox = Dropbox::new().answer_challenge_at(path).unwrap();
        let meta = Meta::new()
            .answer_subscription_at(path, "the secret of the dashboard")
            .unwrap();
        let slack = Slack::new().answer_url_verification_at(path).unwrap();
        let check = Slack::new().answer_ssl_check_at(path).unwrap();
        let zoom = Zoom::new().answer_url_validation_at(path).unwrap();
        let xero = Xero::new().answer_intent_to_receive_at(path).unwrap();
        let waits = [Registrations::new(), Registrations::new()];
        let _announced = [&waits[0], &waits[1]].map(|waits| waits.announce(path).unwrap());
        let asana = Asana::new().answer_registrations(&waits[0]);
        let notion = Notion::new().answer_registrations(&waits[1]);
        let cases = [
            (layer(dropbox, &clock), unsigned("challenge=x")),
            (layer(meta, &clock), unsigned(META)),
            (layer(slack, &clock), signed(Slack::new(), &clock, SLACK)),
            (layer(zoom, &clock), signed(Zoom::new(), &clock, ZOOM)),
            (layer(xero, &clock), signed(Xero::new(), &clock, XERO)),
            (layer(asana, &clock), brings_secret()),
            (layer(notion, &clock), brings_secret()),
            (trello(path, &clock), head()),
            (layer(check.clone(), &clock), unsigned_form(CHECK)),
            (layer(check, &clock), signed(Slack::new(), &clock, CHECK)),
        ];
        for (layer, ask) in cases {
            let found = answered(&served(layer.clone()), &ask).await;
            assert_eq!(found, [path], "{layer:?}");
        }
    }
}

/// A challenge elsewhere is nothing special: without a signature it is refused, with one it is handled.
#[tokio::test]
async fn a54_a_challenge_at_another_path_goes_the_way_of_every_request() {
    let clock = common::clock();
    let dropbox = layer(Dropbox::new().answer_challenge_at("/hook").unwrap(), &clock);
    let asked = served(dropbox).oneshot(unsigned("challenge=x")("/oauth"));
    let (status, body) = common::verdict(asked.await.unwrap()).await;
    assert_eq!((status, &*body), (401, "signature_missing"));
    let slack = layer(
        Slack::new().answer_url_verification_at("/hook").unwrap(),
        &clock,
    );
    let asked = served(slack).oneshot(signed(Slack::new(), &clock, SLACK)("/other"));
    let (status, body) = common::verdict(asked.await.unwrap()).await;
    assert_eq!((status, &*body), (200, "handled"));
}

/// A layer that looks at the query alone, and one that looks at the path that its router left over.
#[tokio::test]
async fn a54_twin_a_layer_that_answers_elsewhere_is_found() {
    let ask = unsigned("challenge=x");
    let everywhere = from_fn(
        async |request: Request, next: Next| match request.uri().query() {
            Some("challenge=x") => "x".into_response(),
            _ => next.run(request).await,
        },
    );
    assert_eq!(answered(&served(everywhere), &ask).await, PATHS);
    let nested = from_fn(
        async |request: Request, next: Next| match request.uri().path() {
            "/hook" => "x".into_response(),
            _ => next.run(request).await,
        },
    );
    let found = answered(&served(nested), &ask).await;
    assert_eq!(found, ["/hook", "/in/hook"]);
}

#[test]
fn a54_a_place_that_is_no_path_is_refused() {
    let refused = |path: &str| {
        let refused: [Option<ConfigError>; 5] = [
            Slack::new().answer_ssl_check_at(path).err(),
            Dropbox::new().answer_challenge_at(path).err(),
            Meta::new().answer_subscription_at(path, SECRET).err(),
            Slack::new().answer_url_verification_at(path).err(),
            Zoom::new().answer_url_validation_at(path).err(),
        ];
        refused.iter().filter(|error| error.is_some()).count()
    };
    for path in [
        "",
        "hook",
        "*",
        "/hook?",
        "/hook?a=1",
        "/hook#a",
        "/ho ok",
        "https://a.example/hook",
    ] {
        assert_eq!(refused(path), 5, "{path}");
    }
    for path in ["/", "/hook", "/in/hook/", "/h%6Fok"] {
        assert_eq!(refused(path), 0, "{path}");
    }
}
