//! The version that a request was signed for: covered, strong, and compared where the change is.

use axum::{
    Router,
    body::Body,
    response::{IntoResponse as _, Response},
    routing::put,
};
use countersign::{
    HttpMessageSignatures, Rejection, SignedVersion, Signer, VerifiedPayload, VerifyLayer,
    rfc9421::Component, testing::ManualClock,
};
use http::Request;
use tower::ServiceExt as _;

use crate::common::*;

/// The version of the only document.
const PRESENT: &str = "7";

struct Service {
    app: Router,
    signer: Signer,
}

/// RFC 9421, with `if-match` covered or not.
fn service(clock: &ManualClock, covers: bool) -> Service {
    let mut scheme = HttpMessageSignatures::builder();
    if covers {
        scheme = scheme.covers(Component::header("if-match").unwrap());
    }
    let scheme = scheme.build().unwrap();
    let layer = VerifyLayer::builder(scheme.clone())
        .public_origin(ORIGIN)
        .keys(keys())
        .store(store(clock))
        .clock(clock.clone())
        .build()
        .unwrap();
    // UPDATE … WHERE id = 1 AND version = …
    let update = |version: i64| u64::from(version.to_string() == PRESENT);
    let by_rows = async move |version: SignedVersion| -> Result<String, Rejection> {
        version.require_changed(update(version.parse()?))?;
        Ok("changed".to_owned())
    };
    let by_lock = async |version: SignedVersion| version.require(PRESENT).map(|()| "changed");
    let by_body = async move |payload: VerifiedPayload| -> Response {
        let changed = payload
            .signed_version_at("/document/version")
            .and_then(|version| {
                version.require_changed(update(version.parse()?))?;
                Ok("changed")
            });
        changed.into_response()
    };
    // If a name appears twice, this reader takes the last member.
    let by_last = async move |payload: VerifiedPayload| -> Result<&'static str, Rejection> {
        let body: serde_json::Value = serde_json::from_slice(payload.bytes()).unwrap();
        let version = body.pointer("/document/version").and_then(|v| v.as_i64());
        let changed = version.is_some_and(|version| update(version) > 0);
        Ok(if changed { "changed" } else { "kept" })
    };
    let app = Router::new()
        .route("/by-last", put(by_last))
        .route("/by-rows", put(by_rows))
        .route("/by-lock", put(by_lock))
        .route("/by-body", put(by_body))
        .layer(layer);
    let signer = Signer::new(scheme, KEY, SECRET)
        .unwrap()
        .clock(clock.clone());
    Service { app, signer }
}

impl Service {
    async fn put(&self, path: &str, if_match: &[&str], body: &str) -> (u16, String) {
        let mut request =
            Request::put(format!("{ORIGIN}{path}")).header("content-type", "application/json");
        for value in if_match {
            request = request.header("if-match", *value);
        }
        let request = self.signer.sign(request.body(body.to_owned()).unwrap());
        let request = request.unwrap().map(Body::from);
        verdict(self.app.clone().oneshot(request).await.unwrap()).await
    }
}

fn changed() -> (u16, String) {
    (200, "changed".into())
}

fn required() -> (u16, String) {
    (428, "version_required".into())
}

fn mismatch() -> (u16, String) {
    (412, "version_mismatch".into())
}

#[tokio::test]
async fn a_covered_if_match_has_to_name_the_present_version() {
    let service = service(&clock(), true);
    for (if_match, by_rows, by_lock) in [
        (&["\"7\""][..], changed(), changed()),
        (&["\"6\""], mismatch(), mismatch()),
        (&["\"seven\""], mismatch(), mismatch()),
        (&["W/\"7\""], required(), required()),
        (&["*"], required(), required()),
        (&["7"], required(), required()),
        (&["W/\"6\", \"7\""], changed(), changed()),
        // Any of several may be the present one; a statement that compares takes one.
        (&["\"6\", \"7\""], required(), changed()),
        (&["\"6\"", "\"7\""], required(), changed()),
        (&["\"5\", \"6\""], required(), mismatch()),
    ] {
        assert_eq!(
            service.put("/by-rows", if_match, "{}").await,
            by_rows,
            "{if_match:?}"
        );
        assert_eq!(
            service.put("/by-lock", if_match, "{}").await,
            by_lock,
            "{if_match:?}"
        );
    }
}

#[tokio::test]
async fn an_if_match_that_nobody_signed_is_none() {
    let service = service(&clock(), false);
    assert_eq!(service.put("/by-rows", &["\"7\""], "{}").await, required());
    assert_eq!(service.put("/by-rows", &[], "{}").await, required());
}

#[tokio::test]
async fn a_field_of_the_body_names_the_version() {
    let service = service(&clock(), false);
    for (body, expected) in [
        (r#"{"document":{"version":7}}"#, changed()),
        (r#"{"document":{"version":"7"}}"#, changed()),
        (r#"{"document":{"version":6}}"#, mismatch()),
        (r#"{"document":{"version":-7}}"#, mismatch()),
        (r#"{"document":{"version":"*"}}"#, mismatch()),
        (r#"{"document":{"version":7.0}}"#, required()),
        (r#"{"document":{"version":null}}"#, required()),
        (r#"{"document":{"version":""}}"#, required()),
        (r#"{"document":{"version":["7"]}}"#, required()),
        (r#"{"version":7}"#, required()),
        ("7", required()),
        ("", required()),
        ("{", required()),
    ] {
        assert_eq!(service.put("/by-body", &[], body).await, expected, "{body}");
    }
}

/// Sends bodies that name the current version and another, and returns those that changed something.
async fn changed_by_one_of_two(path: &str) -> Vec<&'static str> {
    let service = service(&clock(), false);
    let mut changing = Vec::new();
    for body in [
        r#"{"document":{"version":6,"version":7}}"#,
        r#"{"document":{"version":6,"versi\u006fn":7}}"#,
        r#"{"document":{"version":6},"document":{"version":7}}"#,
        r#"{"document":6,"document":{"version":7}}"#,
        r#"{"document":{"version":7,"version":7}}"#,
    ] {
        let answer = service.put(path, &[], body).await;
        if answer == changed() {
            changing.push(body);
        } else if path == "/by-body" {
            assert_eq!(answer, required(), "{body}");
        }
    }
    changing
}

#[tokio::test]
async fn a50_a_body_that_names_two_versions_names_none() {
    assert!(changed_by_one_of_two("/by-body").await.is_empty());
    // A name that appears twice elsewhere does not matter to this reader.
    let beside = r#"{"x":1,"x":2,"document":{"version":7,"y":1,"y":2}}"#;
    let service = service(&clock(), false);
    assert_eq!(service.put("/by-body", &[], beside).await, changed());
}

#[tokio::test]
async fn a50_twin_a_reader_that_takes_the_last_is_found() {
    assert_eq!(changed_by_one_of_two("/by-last").await.len(), 5);
}
