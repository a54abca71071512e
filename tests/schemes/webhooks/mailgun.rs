//! Mailgun: the covered values are in the body, and nothing else of the body is covered.

use std::time::Duration;

use axum::{Router, body::Body, extract::Extension, routing::any};
use bytes::Bytes;
use countersign::{
    Processing, RejectionKind, Signer, VerifiedPayload, Verifier, VerifyLayer, request::Verified,
    store::NonceKind, webhooks::Mailgun,
};
use hmac::{Hmac, KeyInit as _, Mac as _};
use http::Request;
use sha2::Sha256;
use tower::ServiceExt as _;

use super::{
    provider::{at_path, verify, with, with_body},
    tampering::changes,
};
use crate::common::{self, NOW, at};

const SECRET: &str = "the webhook signing key of the account";
const OTHER: &str = "the next signing key of the account";
const TOKEN: &str = "a8ce0edb2dd8301dee6c2405235584e45aa91d1e9f979f3de0";
const EVENT: &str = r#"{ "event-data": {"event":"delivered","id":"x"} }"#;

fn mac(secret: &str, message: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(message.as_bytes());
    base16ct::lower::encode_string(&mac.finalize().into_bytes())
}

fn request(body: impl Into<Bytes>) -> Request<Bytes> {
    let request = Request::post("/hook").header("content-type", "application/json");
    request.body(body.into()).unwrap()
}

/// Returns what Mailgun sends: this, signed, in front of this.
fn delivery(time: &str, token: &str, rest: &str) -> Request<Bytes> {
    let signature = mac(SECRET, &format!("{time}{token}"));
    request(format!(
        r#"{{"signature":{{"timestamp":"{time}","token":"{token}","signature":"{signature}"}},{rest}}}"#
    ))
}

fn genuine() -> Request<Bytes> {
    delivery(
        &NOW.to_string(),
        TOKEN,
        r#""event-data":{"event":"delivered"}"#,
    )
}

fn in_transaction() -> Verifier {
    Verifier::builder(Mailgun::new())
        .secret(SECRET)
        .clock(common::clock())
        .namespace("tests")
        .processing(Processing::InTransaction)
        .build()
        .unwrap()
}

fn at_most_once(clock: &countersign::testing::ManualClock) -> Verifier {
    Verifier::builder(Mailgun::new())
        .secret(SECRET)
        .secret(OTHER)
        .clock(clock.clone())
        .store(common::store(clock))
        .processing(Processing::AtMostOnce)
        .build()
        .unwrap()
}

async fn payload(
    verifier: &Verifier,
    request: &Request<Bytes>,
) -> Result<VerifiedPayload, RejectionKind> {
    match verify(verifier, request).await {
        Ok(Verified::Claimed(payload)) => Ok(payload),
        Ok(other) => panic!("{other:?}"),
        Err(rejection) => Err(rejection.kind()),
    }
}

/// By a verifier that has seen nothing.
async fn refused(request: &Request<Bytes>) -> Option<RejectionKind> {
    let verified = payload(&at_most_once(&common::clock()), request).await;
    verified.err()
}

fn sign(body: &str, token: &str) -> Result<Request<Bytes>, countersign::error::SignError> {
    let signer = Signer::with_secret(Mailgun::new(), SECRET).unwrap();
    let signer = signer.clock(common::clock());
    signer.sign_body(request(body.to_owned()), token)
}

#[tokio::test]
async fn what_is_signed_is_the_message_of_the_test() {
    let signature = mac(SECRET, &format!("{NOW}{TOKEN}"));
    let signature = format!(
        r#""signature":{{"signature":"{signature}","timestamp":"{NOW}","token":"{TOKEN}"}}"#
    );
    for (body, expected) in [
        (EVENT, format!(r#"{{{signature},{}"#, &EVENT[1..])),
        ("{}", format!("{{{signature}}}")),
        (" { } ", format!("{{{signature} }} ")),
    ] {
        let signed = sign(body, TOKEN).unwrap();
        assert_eq!(signed.body(), expected.as_bytes());
        assert_eq!(signed.headers(), request("").headers());
        assert_eq!(refused(&signed).await, None, "{body}");
    }
    for body in [
        "",
        "[]",
        "x",
        "{",
        "{} x",
        r#"{"signature":1}"#,
        r#"{"a":1,}"#,
    ] {
        assert!(sign(body, TOKEN).is_err(), "{body}");
    }
    for token in ["", "a b", "é", &"t".repeat(257)] {
        assert!(sign("{}", token).is_err(), "{token}");
    }
    // The signer refuses what it would have to drop.
    let signer = Signer::with_secret(Mailgun::new(), SECRET).unwrap();
    assert!(signer.sign(request("{}")).is_err());
    let other = Signer::new(Mailgun::new(), "another", SECRET).unwrap();
    assert!(other.sign_body(request("{}"), TOKEN).is_err());
}

#[tokio::test]
async fn a_payload_answers_for_time_and_token_and_nothing_else() {
    let genuine = genuine();
    let payload = payload(&at_most_once(&common::clock()), &genuine).await;
    let payload = payload.unwrap();
    let covered = format!(r#"{{"timestamp":"{NOW}","token":"{TOKEN}"}}"#);
    assert_eq!(payload.bytes(), covered.as_bytes());
    assert_eq!(payload.danger_uncovered_body(), Some(genuine.body()));
    assert_eq!(payload.signed_at(), Some(at(NOW)));
    let nonce = payload.nonce().unwrap();
    assert_eq!(
        (nonce.kind(), nonce.as_bytes()),
        (NonceKind::Covered, TOKEN.as_bytes())
    );
    assert_eq!(payload.key_id().as_str(), "mailgun");
    assert!(payload.method().is_none() && payload.path().is_none());
}

/// The event that a handler would read by mistake is not there.
#[tokio::test]
async fn the_handler_is_given_an_empty_body() {
    let clock = common::clock();
    let layer = VerifyLayer::builder(Mailgun::new())
        .secret(SECRET)
        .clock(clock.clone())
        .store(common::store(&clock));
    let handler = async |Extension(payload): Extension<VerifiedPayload>, body: Bytes| {
        let event = payload.danger_uncovered_body().unwrap();
        format!("{} {}", body.len(), event.len())
    };
    let app = Router::new()
        .route("/hook", any(handler))
        .layer(layer.build().unwrap());
    let genuine = genuine();
    let length = genuine.body().len();
    let response = app.oneshot(genuine.map(Body::from)).await.unwrap();
    assert_eq!(
        common::verdict(response).await,
        (200, format!("0 {length}"))
    );
}

/// The changes of one byte that are not refused, and what the payload answers for.
async fn accepted_changes(genuine: &Request<Bytes>) -> Vec<(usize, Bytes)> {
    let verifier = in_transaction();
    let mut accepted = Vec::new();
    for (at, changed) in changes(genuine.body()) {
        if let Ok(Verified::Pending(_)) =
            verify(&verifier, &with_body(genuine, changed.clone())).await
        {
            let seen = at_most_once(&common::clock());
            let payload = payload(&seen, &with_body(genuine, changed)).await.unwrap();
            accepted.push((at, payload.bytes().clone()));
        }
    }
    accepted
}

#[tokio::test]
async fn every_change_of_one_byte_is_refused_or_of_what_is_not_covered() {
    let genuine = genuine();
    let body = String::from_utf8(genuine.body().to_vec()).unwrap();
    let covered = format!(r#"{{"timestamp":"{NOW}","token":"{TOKEN}"}}"#);
    let signature = mac(SECRET, &format!("{NOW}{TOKEN}"));
    let at_mac = body.find(&signature).unwrap();
    let values = [NOW.to_string(), TOKEN.to_owned()].map(|text| {
        let at = body.find(&text).unwrap();
        at..at + text.len()
    });
    let accepted = accepted_changes(&genuine).await;
    for (at, bytes) in &accepted {
        assert_eq!(bytes, covered.as_bytes(), "body[{at}]");
        let is_case = at
            .checked_sub(at_mac)
            .and_then(|at| signature.as_bytes().get(at));
        assert!(is_case.is_none_or(u8::is_ascii_lowercase), "body[{at}]");
        // The bytes around the values do not count.
        assert!(!values.iter().any(|value| value.contains(at)), "body[{at}]");
    }
    // Each byte of the event may be changed, as the page says.
    let event = body.find("delivered").unwrap();
    assert!(accepted.iter().filter(|(at, _)| *at == event).count() > 80);
}

#[tokio::test]
async fn a10_a11_a_signature_that_cannot_be_read_one_way_is_refused() {
    let (missing, malformed) = (
        Some(RejectionKind::SignatureMissing),
        Some(RejectionKind::SignatureMalformed),
    );
    for body in [
        "",
        "{}",
        "[]",
        "signatures",
        r#"{"signature":"x"}"#,
        r#"{"signature":null}"#,
    ] {
        assert_eq!(refused(&request(body)).await, missing, "{body}");
    }
    let signature = mac(SECRET, &format!("{NOW}{TOKEN}"));
    let fields = format!(r#""timestamp":"{NOW}","token":"{TOKEN}","signature":"{signature}""#);
    let one = format!(r#"{{"signature":{{{fields}}}}}"#);
    assert_eq!(refused(&request(one.clone())).await, None);
    for body in [
        format!(r#"{{"signature":{{{fields}}},"signature":{{{fields}}}}}"#),
        format!(r#"{{"signature":{{{fields}}},"\u0073ignature":{{{fields}}}}}"#),
        format!(r#"{{"signature":{{{fields},"token":"{TOKEN}"}}}}"#),
        format!(r#"{{"signature":{{{fields},"timestamp":"{NOW}"}}}}"#),
        format!(r#"{{"signature":{{{fields},"\u0073ignature":"{signature}"}}}}"#),
        one.replace(&format!(r#""{NOW}""#), &NOW.to_string()),
        one.replace(&format!(r#""{TOKEN}""#), "null"),
        one.replace("timestamp", "Timestamp"),
        one.replace(&signature, ""),
        one.replace(&signature, &signature[..63]),
        one.replace(&signature, &format!("{signature}0")),
        one.replace(&signature, &format!("sha256={signature}")),
        one.replace(TOKEN, ""),
        one.replace(TOKEN, "a b"),
        one.replace(TOKEN, &"t".repeat(257)),
    ] {
        assert_eq!(refused(&request(body.clone())).await, malformed, "{body}");
    }
    let broken = format!("{one} x");
    assert_eq!(refused(&request(broken)).await, missing);
    let zipped = with(&request(one), "content-encoding", "gzip");
    let insufficient = Some(RejectionKind::SignatureInsufficient);
    assert_eq!(refused(&zipped).await, insufficient);
}

#[tokio::test]
async fn a06_what_stands_in_a_multipart_form_or_a_header_is_not_read() {
    let missing = Some(RejectionKind::SignatureMissing);
    let signature = mac(SECRET, &format!("{NOW}{TOKEN}"));
    let part = |name: &str, value: &str| {
        format!("--x\r\ncontent-disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
    };
    let time = NOW.to_string();
    let parts = [
        ("timestamp", &*time),
        ("token", TOKEN),
        ("signature", &signature),
    ];
    let parts: String = parts.map(|(name, value)| part(name, value)).concat();
    let form = with(
        &request(format!("{parts}--x--\r\n")),
        "content-type",
        "multipart/form-data; boundary=x",
    );
    assert_eq!(refused(&form).await, missing);
    let mut headers = request("{}");
    let fields = [
        ("timestamp", &*NOW.to_string()),
        ("token", TOKEN),
        ("signature", &signature),
    ];
    for (name, value) in fields {
        headers = with(&headers, name, value);
    }
    assert_eq!(refused(&headers).await, missing);
}

/// A digit that moved would make another time of it, and ten digits leave no room for that.
#[tokio::test]
async fn a07_digits_cannot_move_between_time_and_token() {
    let genuine = delivery(&NOW.to_string(), "1234", "\"a\":1");
    for (time, token) in [("17000000001", "234"), ("170000000", "01234")] {
        let body = String::from_utf8(genuine.body().to_vec()).unwrap();
        let moved = body
            .replace(&format!("\"{NOW}\""), &format!("\"{time}\""))
            .replace("\"1234\"", &format!("\"{token}\""));
        let moved = refused(&with_body(&genuine, moved)).await;
        assert_eq!(moved, Some(RejectionKind::SignatureMalformed), "{time}");
    }
    assert_eq!(refused(&genuine).await, None);
}

#[tokio::test]
async fn a14_a_time_is_ten_plain_digits() {
    for time in [
        "",
        "0",
        "1",
        "999999999",
        "0170000000",
        "+170000000",
        "-170000000",
        "1700000.00",
        " 170000000",
        "17000000e2",
        "0x6553f100",
        "1700000000000",
        "2023-11-14",
        "now",
    ] {
        let refused = refused(&delivery(time, TOKEN, "\"a\":1")).await;
        let malformed = Some(RejectionKind::SignatureMalformed);
        assert_eq!(refused, malformed, "{time}");
    }
    for (time, expected) in [
        (NOW - 300, None),
        (NOW - 301, Some(RejectionKind::SignatureExpired)),
        (NOW + 5, None),
        (NOW + 6, Some(RejectionKind::SignatureNotYetValid)),
        (9_999_999_999, Some(RejectionKind::SignatureNotYetValid)),
    ] {
        let refused = refused(&delivery(&time.to_string(), TOKEN, "\"a\":1")).await;
        assert_eq!(refused, expected, "{time}");
    }
}

#[tokio::test]
async fn a32_a_token_is_used_once_whatever_else_the_body_says() {
    let clock = common::clock();
    let verifier = at_most_once(&clock);
    let genuine = genuine();
    // A forged delivery uses up no genuine one.
    let body = String::from_utf8(genuine.body().to_vec()).unwrap();
    let signature = mac(SECRET, &format!("{NOW}{TOKEN}"));
    let forged = body.replace(&signature, &mac("a secret of a stranger", TOKEN));
    let invalid = payload(&verifier, &with_body(&genuine, forged)).await;
    assert_eq!(invalid.err(), Some(RejectionKind::SignatureInvalid));
    let invalid = delivery(&(NOW + 1).to_string(), TOKEN, "\"a\":1");
    let invalid = String::from_utf8(invalid.body().to_vec()).unwrap();
    let invalid = invalid.replace(&(NOW + 1).to_string(), &NOW.to_string());
    let invalid = payload(&verifier, &request(invalid)).await;
    assert_eq!(invalid.err(), Some(RejectionKind::SignatureInvalid));

    assert!(payload(&verifier, &genuine).await.is_ok());
    let replayed = Some(RejectionKind::RequestReplayed);
    let other = body.replace("delivered", "failed");
    let later = delivery(&(NOW + 5).to_string(), TOKEN, "\"a\":1");
    for again in [genuine.clone(), with_body(&genuine, other), later] {
        assert_eq!(payload(&verifier, &again).await.err(), replayed);
    }
    // The delivery is remembered for as long as it is fresh.
    for _ in 0..31 {
        clock.advance(Duration::from_secs(10));
        let again = payload(&verifier, &genuine).await.err();
        assert!(again == replayed || again == Some(RejectionKind::SignatureExpired));
    }
    // A limit that the page names: at another path, the same delivery is another one.
    clock.set(at(NOW));
    let elsewhere = at_path(&genuine, "/other");
    assert!(payload(&verifier, &elsewhere).await.is_ok());
}

/// The form of old: what is signed are fields of the form.
fn form_delivery(time: &str, token: &str, rest: &str) -> Request<Bytes> {
    let signature = mac(SECRET, &format!("{time}{token}"));
    let body = format!("event=opened&timestamp={time}&token={token}&signature={signature}{rest}");
    with(
        &request(body),
        "content-type",
        "application/x-www-form-urlencoded",
    )
}

#[tokio::test]
async fn a_form_is_verified_like_json() {
    let clock = common::clock();
    let verifier = at_most_once(&clock);
    let genuine = form_delivery(&NOW.to_string(), TOKEN, "&recipient=a%40b.example&x");
    let first = payload(&verifier, &genuine).await.unwrap();
    let covered = format!(r#"{{"timestamp":"{NOW}","token":"{TOKEN}"}}"#);
    assert_eq!(first.bytes(), covered.as_bytes());
    assert_eq!(first.danger_uncovered_body(), Some(genuine.body()));
    assert_eq!(first.signed_at(), Some(at(NOW)));
    assert_eq!(first.nonce().unwrap().as_bytes(), TOKEN.as_bytes());
    // A token is one delivery, as JSON and as a form.
    let again = payload(&verifier, &genuine).await;
    assert_eq!(again.err(), Some(RejectionKind::RequestReplayed));
    let as_json = delivery(&NOW.to_string(), TOKEN, r#""event-data":{}"#);
    let again = payload(&verifier, &as_json).await;
    assert_eq!(again.err(), Some(RejectionKind::RequestReplayed));

    for (body, kind) in [
        ("", RejectionKind::SignatureMissing),
        ("event=opened", RejectionKind::SignatureMissing),
        ("[]", RejectionKind::SignatureMissing),
        ("signature=", RejectionKind::SignatureMalformed),
        (
            "signature=00&token=a&timestamp=1700000000",
            RejectionKind::SignatureMalformed,
        ),
    ] {
        assert_eq!(
            refused(&with_body(&genuine, body)).await,
            Some(kind),
            "{body}"
        );
    }
    let text = std::str::from_utf8(genuine.body()).unwrap();
    for (from, to) in [
        ("token=", "token=x&token="),
        ("signature=", "signature=00&signature="),
        ("timestamp=1", "timestamp=+1"),
        ("timestamp=1", "timestamp=0"),
        ("&signature=", "&signatur%65=00&signature="),
    ] {
        let changed = with_body(&genuine, text.replacen(from, to, 1));
        let kind = refused(&changed).await;
        assert_eq!(kind, Some(RejectionKind::SignatureMalformed), "{from} {to}");
    }
    for (from, to) in [("token=a", "token=b"), ("timestamp=17", "timestamp=16")] {
        let kind = refused(&with_body(&genuine, text.replacen(from, to, 1))).await;
        let known = [
            RejectionKind::SignatureInvalid,
            RejectionKind::SignatureExpired,
        ];
        assert!(
            kind.is_some_and(|kind| known.contains(&kind)),
            "{from} {to}"
        );
    }
    // A limit that the page names: nothing else is covered, and no header says how to read the
    // body.
    let rewritten = with_body(&genuine, text.replacen("opened", "bounced", 1));
    assert_eq!(refused(&rewritten).await, None);
    let as_multipart = with(&genuine, "content-type", "multipart/form-data; boundary=x");
    assert_eq!(refused(&as_multipart).await, None);
}

#[tokio::test]
async fn a_form_is_signed_as_it_is_verified() {
    let signed = sign("event=opened&n=%26", TOKEN).unwrap();
    let signature = mac(SECRET, &format!("{NOW}{TOKEN}"));
    let expected =
        format!("timestamp={NOW}&token={TOKEN}&signature={signature}&event=opened&n=%26");
    assert_eq!(signed.body(), expected.as_bytes());
    assert_eq!(refused(&signed).await, None);
    for body in [
        "a=1&signature=x",
        "token=x",
        "timestamp=1&a=2",
        "a",
        "a=1&a=%ff&token=%ff",
    ] {
        assert!(sign(body, TOKEN).is_err(), "{body}");
    }
    let token = "a+b%&=c";
    let signed = sign("event=opened", token).unwrap();
    let payload = payload(&at_most_once(&common::clock()), &signed)
        .await
        .unwrap();
    assert_eq!(payload.nonce().unwrap().as_bytes(), token.as_bytes());
}
