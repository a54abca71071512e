//! Dropbox: notifications that may be alike, and the challenge of an unsigned `GET`.

use axum::{Router, body::Body, routing::any};
use bytes::Bytes;
use countersign::{
    Processing, RejectionKind, Signer, VerifiedPayload, Verifier, VerifyLayer, request::Verified,
    webhooks::Dropbox,
};
use hmac::{Hmac, KeyInit as _, Mac as _};
use http::{
    HeaderMap, HeaderValue, Method, Request,
    header::{CACHE_CONTROL, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS},
};
use http_body_util::BodyExt as _;
use sha2::Sha256;
use tower::ServiceExt as _;

use super::{
    provider::{get, verify, with_body},
    tampering::changes,
};

const SECRETS: [&str; 2] = ["the secret of the app", "the next secret of the app"];
const SIGNATURE: &str = "x-dropbox-signature";
const BODY: &str = r#"{"list_folder":{"accounts":["dbid:AAH4f99T0taONIb"]}}"#;

fn verifier() -> Verifier {
    Verifier::builder(Dropbox::new())
        .secret(SECRETS[0])
        .secret(SECRETS[1])
        .build()
        .unwrap()
}

fn sign(secret: &str, body: &str) -> Request<Bytes> {
    let signer = Signer::with_secret(Dropbox::new(), secret).unwrap();
    let request = Request::post("/hook").body(Bytes::from(body.to_owned()));
    signer.sign(request.unwrap()).unwrap()
}

async fn payload(request: &Request<Bytes>) -> Result<VerifiedPayload, RejectionKind> {
    match verify(&verifier(), request).await {
        Ok(Verified::Unclaimed(payload)) => Ok(payload),
        Ok(other) => panic!("{other:?}"),
        Err(rejection) => Err(rejection.kind()),
    }
}

#[tokio::test]
async fn what_is_signed_is_the_message_of_the_test() {
    let signed = sign(SECRETS[0], BODY);
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRETS[0].as_bytes()).unwrap();
    mac.update(BODY.as_bytes());
    let mac = base16ct::lower::encode_string(&mac.finalize().into_bytes());
    assert_eq!(get(&signed, SIGNATURE), mac);
    let payload = payload(&signed).await.unwrap();
    assert_eq!(payload.bytes(), BODY);
    assert_eq!(payload.nonce(), None);
    assert_eq!(payload.signed_at(), None);
    assert_eq!(payload.key_id().as_str(), "dropbox");
    assert!(payload.path().is_none() && payload.header(SIGNATURE).is_none());
}

#[tokio::test]
async fn every_change_of_one_byte_is_refused_but_for_the_case_of_hexadecimal_digits() {
    let genuine = sign(SECRETS[0], BODY);
    let mac = get(&genuine, SIGNATURE);
    let mut accepted = 0;
    for (at, changed) in changes(mac.as_bytes()) {
        let Ok(value) = HeaderValue::from_bytes(&changed) else {
            continue;
        };
        let mut request = genuine.clone();
        request.headers_mut().insert(SIGNATURE, value);
        if payload(&request).await.is_ok() {
            assert!(changed.eq_ignore_ascii_case(mac.as_bytes()), "{at}");
            accepted += 1;
        }
    }
    assert_eq!(accepted, mac.bytes().filter(u8::is_ascii_lowercase).count());
    for (at, changed) in changes(BODY.as_bytes()) {
        let refused = payload(&with_body(&genuine, changed)).await.err();
        assert_eq!(refused, Some(RejectionKind::SignatureInvalid), "{at}");
    }
}

#[tokio::test]
async fn a32_notifications_that_are_alike_are_each_handled_and_no_store_is_asked() {
    let verifier = verifier();
    for secret in [SECRETS[0], SECRETS[0], SECRETS[1]] {
        let verified = verify(&verifier, &sign(secret, BODY)).await;
        assert!(matches!(verified, Ok(Verified::Unclaimed(_))));
    }
    let stranger = sign("the secret of a stranger", BODY);
    assert_eq!(
        payload(&stranger).await.err(),
        Some(RejectionKind::SignatureInvalid)
    );
    let builder = Verifier::builder(Dropbox::new()).secret(SECRETS[0]);
    assert!(
        builder
            .processing(Processing::InTransaction)
            .build()
            .is_err()
    );
}

fn answering() -> Dropbox {
    Dropbox::new().answer_challenge_at("/hook").unwrap()
}

async fn ask(scheme: Dropbox, method: Method, query: &str) -> (u16, HeaderMap, String) {
    let layer = VerifyLayer::builder(scheme).secret(SECRETS[0]);
    let app = Router::new()
        .route("/hook", any(async || "handled"))
        .layer(layer.build().unwrap());
    let request = Request::builder()
        .method(method)
        .uri(format!("/hook{query}"))
        .body(Body::empty());
    let response = app.oneshot(request.unwrap()).await.unwrap();
    let (head, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let body = String::from_utf8(body.to_vec()).unwrap();
    (head.status.as_u16(), head.headers, body)
}

#[tokio::test]
async fn the_challenge_is_echoed_as_plain_text_on_demand() {
    let query = "?challenge=zr8_Ab-9";
    let (status, headers, body) = ask(answering(), Method::GET, query).await;
    assert_eq!((status, &*body), (200, "zr8_Ab-9"));
    assert_eq!(headers[CONTENT_TYPE], "text/plain; charset=utf-8");
    assert_eq!(headers[X_CONTENT_TYPE_OPTIONS], "nosniff");
    assert_eq!(headers[CACHE_CONTROL], "no-store");
    let (status, ..) = ask(Dropbox::new(), Method::GET, query).await;
    assert_eq!(status, 401, "without being told to");
    let longest = format!("?challenge={}", "a".repeat(256));
    let (status, ..) = ask(answering(), Method::GET, &longest).await;
    assert_eq!(status, 200);
}

#[tokio::test]
async fn what_is_no_challenge_is_refused_as_unsigned() {
    let long = format!("?challenge={}", "a".repeat(257));
    for query in [
        "",
        "?",
        "?challenge",
        "?challenge=",
        "?challenge=a&challenge=b",
        "?Challenge=a",
        "?challenge=%3Cscript%3E",
        "?challenge=a%0D%0Ab",
        "?challenge=a+b",
        "?challenge=%C3%A9",
        "?challenge=%ff",
        &long,
    ] {
        let (status, _, body) = ask(answering(), Method::GET, query).await;
        assert_eq!(status, 401, "{query}");
        assert_ne!(body, "handled");
    }
    for method in [Method::POST, Method::HEAD, Method::PUT] {
        let answer = ask(answering(), method, "?challenge=a").await;
        assert_eq!(answer.0, 401);
    }
}
