//! Senders that bring the secret of a webhook in an unsigned request: answered while the application
//! waits for it, once, at its path.

use axum::{Router, body::Body, routing::post};
use bytes::Bytes;
use countersign::{
    KeyRing, MemoryStore, VerifiedPayload, VerifyLayer,
    webhooks::{Asana, Notion, Registrations},
};
use http::{Method, Request};
use http_body_util::BodyExt as _;
use tower::ServiceExt as _;

use super::{
    rows::{ASANA, NOTION},
    service::{MISSING, OK},
};
use crate::common;

const SECRET: &str = "b537207f20cbfa02357cf448134da559e8bd39d61597dcd5631b8012eae53e81";

fn asana(registrations: &Registrations) -> Router {
    let layer = VerifyLayer::builder(Asana::new().answer_registrations(registrations));
    served(
        layer
            .secret(ASANA.secrets[0])
            .store(store())
            .build()
            .unwrap(),
    )
}

fn notion(registrations: &Registrations) -> Router {
    let layer = VerifyLayer::builder(Notion::new().answer_registrations(registrations));
    served(
        layer
            .secret(NOTION.secrets[0])
            .store(store())
            .build()
            .unwrap(),
    )
}

fn store() -> MemoryStore {
    MemoryStore::new().danger_assume_no_history()
}

fn served(layer: VerifyLayer) -> Router {
    let handler = async |_: VerifiedPayload| "handled";
    Router::new().route("/{*path}", post(handler)).layer(layer)
}

/// As Asana sends it.
fn handshake(path: &str, secret: &str) -> Request<Bytes> {
    Request::post(path)
        .header("x-hook-secret", secret)
        .body(Bytes::from("{}"))
        .unwrap()
}

/// As Notion sends it.
fn token(path: &str, secret: &str) -> Request<Bytes> {
    let body = serde_json::json!({ "verification_token": secret }).to_string();
    Request::post(path)
        .header("content-type", "application/json")
        .body(Bytes::from(body))
        .unwrap()
}

/// Status, the repeated secret, and code or body.
async fn send(app: &Router, request: Request<Bytes>) -> (u16, Option<String>, String) {
    let response = app.clone().oneshot(request.map(Body::from)).await.unwrap();
    let repeated = response.headers().get("x-hook-secret");
    let repeated = repeated.map(|value| value.to_str().unwrap().to_owned());
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, repeated, common::code_or_body(&body))
}

fn refused() -> (u16, Option<String>, String) {
    (MISSING.0, None, MISSING.1.to_owned())
}

#[tokio::test]
async fn asana_is_answered_once_while_the_application_waits() {
    let registrations = Registrations::new();
    let app = asana(&registrations);
    assert_eq!(send(&app, handshake("/hooks/7", SECRET)).await, refused());

    let announced = registrations.announce("/hooks/7").unwrap();
    let other = send(&app, handshake("/hooks/8", SECRET)).await;
    assert_eq!(other, refused(), "another route");
    let answer = send(&app, handshake("/hooks/7", SECRET)).await;
    assert_eq!(answer, (OK, Some(SECRET.to_owned()), String::new()));
    // Once: a second one, be it the same, is a stranger's.
    assert_eq!(send(&app, handshake("/hooks/7", SECRET)).await, refused());
    assert_eq!(announced.received().await.as_deref(), Some(SECRET));
    assert_eq!(send(&app, handshake("/hooks/7", SECRET)).await, refused());
}

#[tokio::test]
async fn notion_is_answered_once_while_the_application_waits() {
    let registrations = Registrations::new();
    let app = notion(&registrations);
    let secret = "secret_tMrlL1qK5vuQAh1b6cZGhFChZTSYJlce98V0pYn7yBl";
    assert_eq!(send(&app, token("/notion", secret)).await, refused());
    let announced = registrations.announce("/notion").unwrap();
    // A body without a token leaves the announcement as it is.
    for body in [
        "",
        "{}",
        r#"{"verification_token":1}"#,
        r#"{"verification_token":""}"#,
    ] {
        let request = Request::post("/notion").body(Bytes::from(body)).unwrap();
        assert_eq!(send(&app, request).await, refused(), "{body}");
    }
    let twice = format!(r#"{{"verification_token":"{secret}","verification_token":"{secret}"}}"#);
    let request = Request::post("/notion").body(Bytes::from(twice)).unwrap();
    assert_eq!(send(&app, request).await, refused());
    assert_eq!(
        send(&app, token("/notion", secret)).await,
        (OK, None, String::new())
    );
    assert_eq!(send(&app, token("/notion", secret)).await, refused());
    assert_eq!(announced.received().await.as_deref(), Some(secret));
}

#[tokio::test]
async fn a_request_that_is_no_registration_is_not_answered() {
    let registrations = Registrations::new();
    let app = asana(&registrations);
    let announced = registrations.announce("/hooks/7").unwrap();
    let genuine = || handshake("/hooks/7", SECRET);
    let mut by_put = genuine();
    *by_put.method_mut() = Method::PUT;
    let mut twice = genuine();
    twice
        .headers_mut()
        .append("x-hook-secret", SECRET.parse().unwrap());
    let long = "x".repeat(257);
    for request in [
        by_put,
        twice,
        handshake("/hooks/7", ""),
        handshake("/hooks/7", "short"),
        handshake("/hooks/7", &long),
        handshake("/hooks/7/", SECRET),
        Request::post("/hooks/7").body(Bytes::from("{}")).unwrap(),
    ] {
        let (status, repeated, _) = send(&app, request).await;
        assert_eq!((status / 100, repeated), (4, None));
    }
    // A signed delivery is a delivery, whatever it brings.
    let clock = countersign::testing::ManualClock::at(common::at(common::NOW));
    let mut delivery = ASANA.sign(&clock, r#"{"events":[]}"#);
    *delivery.uri_mut() = "/hooks/7".parse().unwrap();
    delivery
        .headers_mut()
        .insert("x-hook-secret", SECRET.parse().unwrap());
    assert_eq!(send(&app, delivery).await, (OK, None, "handled".to_owned()));
    assert_eq!(send(&app, genuine()).await.0, OK);
    assert!(announced.received().await.is_some());
}

#[tokio::test]
async fn an_announcement_ends_with_its_value_or_with_the_next_one() {
    let registrations = Registrations::new();
    let app = asana(&registrations);
    drop(registrations.announce("/hooks/7").unwrap());
    assert_eq!(send(&app, handshake("/hooks/7", SECRET)).await, refused());

    let first = registrations.announce("/hooks/7").unwrap();
    let second = registrations.announce("/hooks/7").unwrap();
    assert_eq!(first.received().await, None);
    assert_eq!(send(&app, handshake("/hooks/7", SECRET)).await.0, OK);
    assert_eq!(second.received().await.as_deref(), Some(SECRET));

    // An answered announcement that is dropped late withdraws no later announcement.
    let answered = registrations.announce("/hooks/7").unwrap();
    assert_eq!(send(&app, handshake("/hooks/7", SECRET)).await.0, OK);
    let next = registrations.announce("/hooks/7").unwrap();
    drop(answered);
    assert_eq!(send(&app, handshake("/hooks/7", SECRET)).await.0, OK);
    assert!(next.received().await.is_some());
}

/// Only one of many handshakes that come at once is answered.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_strangers_at_once_one_is_answered() {
    let registrations = Registrations::new();
    let app = asana(&registrations);
    for _ in 0..20 {
        let announced = registrations.announce("/hooks/7").unwrap();
        let secrets = (0..8).map(|n| format!("{n}{SECRET}"));
        let sent = secrets.map(|secret| {
            let app = app.clone();
            tokio::spawn(async move { send(&app, handshake("/hooks/7", &secret)).await.1 })
        });
        let mut answered = Vec::new();
        for task in sent.collect::<Vec<_>>() {
            answered.extend(task.await.unwrap());
        }
        assert_eq!(answered.len(), 1);
        assert_eq!(announced.received().await, answered.pop());
    }
}

#[test]
fn announcements_are_bounded_and_show_no_secret() {
    let registrations = Registrations::new();
    for path in ["", "hooks", "/hooks?a=1", "/a b"] {
        assert!(registrations.announce(path).is_err(), "{path}");
    }
    let announced: Vec<_> = (0..Registrations::MAX)
        .map(|n| registrations.announce(format!("/hooks/{n}")).unwrap())
        .collect();
    assert!(registrations.announce("/one/more").is_err());
    assert!(
        registrations.announce("/hooks/1").is_ok(),
        "in place of one"
    );
    drop(announced);
    assert!(registrations.announce("/one/more").is_ok());
    assert_eq!(
        format!("{registrations:?}"),
        "Registrations { announced: [] }"
    );
}

/// The whole way: each webhook has its own account in the path, and the secret that it brought.
#[tokio::test]
async fn a_webhook_is_verified_under_the_secret_that_it_brought() {
    let registrations = Registrations::new();
    let announced = registrations.announce("/hooks/acme").unwrap();
    let app = asana(&registrations);
    assert_eq!(send(&app, handshake("/hooks/acme", SECRET)).await.0, OK);
    let secret = announced.received().await.unwrap();

    let layer = VerifyLayer::builder(Asana::new().key_id_from_path("account"))
        .keys(KeyRing::new().with("acme", secret.as_str()).unwrap())
        .store(store())
        .build()
        .unwrap();
    let handler = async |event: VerifiedPayload| event.key_id().as_str().to_owned();
    let app = Router::new()
        .route("/hooks/{account}", post(handler))
        .layer(layer);
    let mut delivery = ASANA.sign_under(SECRET, &common::clock(), r#"{"events":[]}"#);
    *delivery.uri_mut() = "/hooks/acme".parse().unwrap();
    assert_eq!(send(&app, delivery).await, (OK, None, "acme".to_owned()));
}
