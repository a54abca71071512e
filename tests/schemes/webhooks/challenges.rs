//! How a preset answers when its provider asks whether this is the right place.

use bytes::Bytes;
use countersign::{
    Processing, VerifiedPayload, Verifier, VerifyLayer,
    scheme::Scheme,
    testing::ManualClock,
    webhooks::{Meta, Slack, Xero, Zoom},
};
use http::{
    HeaderMap, Method, Request,
    header::{CACHE_CONTROL, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS},
};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use super::{
    provider::{Provider, verify, with, with_body, without},
    rows::{META, SLACK, XERO, ZOOM},
    service::{INVALID, MISSING},
};
use crate::common;

const TOKEN: &str = "the verify token of the dashboard";

/// The answer of a service whose handler says `handled`.
async fn ask(
    scheme: impl Scheme,
    clock: &ManualClock,
    request: Request<Bytes>,
) -> (u16, HeaderMap, String) {
    let layer = VerifyLayer::builder(scheme)
        .secret(META.secrets[0])
        .store(common::store(clock))
        .clock(clock.clone())
        .build()
        .unwrap();
    let handler = async |_: VerifiedPayload| "handled";
    let app = axum::Router::new()
        .route("/hook", axum::routing::any(handler))
        .layer(layer);
    let response = app
        .oneshot(request.map(axum::body::Body::from))
        .await
        .unwrap();
    let (head, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let body = String::from_utf8(body.to_vec()).unwrap();
    (head.status.as_u16(), head.headers, body)
}

fn is_plain_text(headers: &HeaderMap) -> bool {
    headers[CONTENT_TYPE] == "text/plain; charset=utf-8"
        && headers[X_CONTENT_TYPE_OPTIONS] == "nosniff"
        && headers[CACHE_CONTROL] == "no-store"
}

fn slack_asks(challenge: &Value) -> String {
    json!({ "token": "x", "challenge": challenge, "type": "url_verification" }).to_string()
}

#[tokio::test]
async fn slack_is_answered_with_its_challenge_once_its_signature_was_verified() {
    let clock = common::clock();
    let request = SLACK.sign(&clock, slack_asks(&"3eZbrw1aBm2rZgRNFdxV".into()));
    let scheme = Slack::new().answer_url_verification_at("/hook").unwrap();
    let (status, headers, body) = ask(scheme.clone(), &clock, request.clone()).await;
    assert_eq!((status, &*body), (200, "3eZbrw1aBm2rZgRNFdxV"));
    assert!(is_plain_text(&headers), "{headers:?}");

    // A stranger without the secret learns nothing.
    let stranger = SLACK.sign_under(
        SLACK.secrets[1],
        &clock,
        slack_asks(&"3eZbrw1aBm2rZgRNFdxV".into()),
    );
    let (status, _, body) = ask(scheme.clone(), &clock, stranger).await;
    assert_eq!((status, &*common::code_or_body(body.as_bytes())), INVALID);
    let (status, ..) = ask(scheme, &clock, with_body(&request, slack_asks(&"x".into()))).await;
    assert_eq!(status, 401);

    // A preset that was not told to answer leaves the request to the handler.
    let (status, _, body) = ask(Slack::new(), &clock, request).await;
    assert_eq!((status, &*body), (200, "handled"));
}

#[tokio::test]
async fn what_is_no_challenge_of_slack_goes_to_the_handler() {
    let clock = common::clock();
    for body in [
        slack_asks(&json!(1)),
        slack_asks(&json!(null)),
        slack_asks(&"x".repeat(1025).into()),
        json!({ "type": "url_verification" }).to_string(),
        json!({ "type": "event_callback", "challenge": "x" }).to_string(),
        json!({ "event": { "type": "url_verification", "challenge": "x" } }).to_string(),
        r#"{"type":"url_verification","challenge":"x","challenge":"y"}"#.into(),
        r#"{"type":"url_verification","type":"x","challenge":"y"}"#.into(),
        "type=url_verification&challenge=x".into(),
    ] {
        let request = SLACK.sign(&clock, body.clone());
        let scheme = Slack::new().answer_url_verification_at("/hook").unwrap();
        let (status, _, answer) = ask(scheme, &clock, request).await;
        assert_eq!((status, &*answer), (200, "handled"), "{body}");
    }
}

fn zoom_asks(token: &Value) -> String {
    let payload = json!({ "plainToken": token });
    json!({ "payload": payload, "event_ts": 1_654_503_849_680_u64, "event": "endpoint.url_validation" })
        .to_string()
}

/// The HMAC was made elsewhere, as Zoom's own library makes it of the token.
#[tokio::test]
async fn zoom_is_answered_with_the_hmac_of_its_token() {
    let clock = common::clock();
    let request = ZOOM.sign(&clock, zoom_asks(&"qgg8vlvZRS6UYooatFL8Aw".into()));
    let scheme = Zoom::new().answer_url_validation_at("/hook").unwrap();
    let (status, headers, body) = ask(scheme.clone(), &clock, request.clone()).await;
    let encrypted = "174b784c2d1d23758f6f52545326b33e5e232a66a8a9179ab1d005772278aa30";
    let answer: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(status, 200);
    assert_eq!(headers[CONTENT_TYPE], "application/json");
    assert_eq!(headers[CACHE_CONTROL], "no-store");
    assert_eq!(answer["plainToken"], "qgg8vlvZRS6UYooatFL8Aw");
    assert_eq!(answer["encryptedToken"], encrypted);
    assert_eq!(answer.as_object().unwrap().len(), 2);

    let stranger = ZOOM.sign_under(ZOOM.secrets[1], &clock, zoom_asks(&"abc".into()));
    let (status, ..) = ask(scheme, &clock, stranger).await;
    assert_eq!(status, 401);
    let (status, _, body) = ask(Zoom::new(), &clock, request).await;
    assert_eq!((status, &*body), (200, "handled"));
}

/// While secrets are rotated, the answer is made with the one that made the signature.
#[tokio::test]
async fn zoom_is_answered_under_the_secret_by_which_it_asked() {
    let clock = common::clock();
    let verifier = Verifier::builder(Zoom::new().answer_url_validation_at("/hook").unwrap())
        .secret(ZOOM.secrets[0])
        .secret(ZOOM.secrets[1])
        .store(common::store(&clock))
        .clock(clock.clone())
        .build()
        .unwrap();
    let mut answers = Vec::new();
    for secret in ZOOM.secrets {
        let request = ZOOM.sign_under(secret, &clock, zoom_asks(&secret.len().to_string().into()));
        let verified = verify(&verifier, &request).await.unwrap();
        let answer = verified.payload().unwrap().handshake().unwrap();
        let answer: Value = serde_json::from_slice(answer.body()).unwrap();
        answers.push(answer["encryptedToken"].as_str().unwrap().to_owned());
        let mut of_token = ZOOM.sign(&clock, "");
        *of_token.body_mut() = secret.len().to_string().into();
        let unframed = Provider {
            message: "{body}",
            ..ZOOM
        };
        assert_eq!(answers.last().unwrap(), &unframed.mac(secret, &of_token));
    }
    assert_ne!(answers[0], answers[1]);
}

/// Zoom's secret is not for signing whatever a token says.
#[tokio::test]
async fn a_token_that_could_be_a_message_is_not_answered() {
    let clock = common::clock();
    for token in [
        json!("v0:1700000000:{}"),
        json!(""),
        json!("a b"),
        json!("a\n"),
        json!("é"),
        json!("x".repeat(257)),
        json!(1),
        json!(null),
        json!({}),
    ] {
        let request = ZOOM.sign(&clock, zoom_asks(&token));
        let scheme = Zoom::new().answer_url_validation_at("/hook").unwrap();
        let (status, _, body) = ask(scheme, &clock, request).await;
        assert_eq!((status, &*body), (200, "handled"), "{token}");
    }
}

/// The body is that of Xero's documentation.
const INTENT: &str =
    r#"{"events":[],"lastEventSequence":0,"firstEventSequence":0,"entropy":"QWERTYUIOPASDF"}"#;

#[tokio::test]
async fn the_intent_to_receive_of_xero_is_answered_without_a_body() {
    let clock = common::clock();
    let scheme = || Xero::new().answer_intent_to_receive_at("/hook").unwrap();
    let request = XERO.sign(&clock, INTENT);
    let (status, headers, body) = ask(scheme(), &clock, request.clone()).await;
    assert_eq!((status, &*body), (200, ""));
    assert!(!headers.contains_key("set-cookie"));
    // Xero wants 401 without a body for one with a wrong signature, which it sends too.
    let wrong = XERO.sign_under(XERO.secrets[1], &clock, INTENT);
    let unreadable = with(&wrong, "x-xero-signature", "AAAA");
    let unsigned = without(&wrong, "x-xero-signature");
    for request in [wrong, unreadable, unsigned] {
        let (status, headers, body) = ask(scheme(), &clock, request).await;
        assert_eq!((status, &*body), (401, ""));
        assert!(!headers.contains_key(CONTENT_TYPE) && !headers.contains_key("set-cookie"));
    }
    // Other requests are told why they are refused.
    let wrong = ZOOM.sign_under(ZOOM.secrets[1], &clock, INTENT);
    let (status, _, body) = ask(Zoom::new(), &clock, wrong).await;
    assert_eq!((status, &*common::code_or_body(body.as_bytes())), INVALID);
    // The next one, with other entropy, is answered again; and so is the same.
    for body in [INTENT.replace("S0m3", "0th3r"), INTENT.to_owned()] {
        let (status, _, body) = ask(scheme(), &clock, XERO.sign(&clock, body)).await;
        assert_eq!((status, &*body), (200, ""));
    }
    let mut elsewhere = request.clone();
    *elsewhere.uri_mut() = "/other".parse().unwrap();
    assert_eq!(ask(scheme(), &clock, elsewhere).await.0, 404);
    let (status, _, body) = ask(Xero::new(), &clock, request).await;
    assert_eq!((status, &*body), (200, "handled"));
}

#[tokio::test]
async fn what_is_no_intent_to_receive_goes_to_the_handler() {
    let clock = common::clock();
    for body in [
        r#"{"events":[{"resourceId":"1"}],"entropy":"x"}"#,
        r#"{"events":{},"entropy":"x"}"#,
        r#"{"events":null}"#,
        r#"{"x":{"events":[]}}"#,
        r#"{"events":[],"events":[{"resourceId":"1"}]}"#,
        "{}",
        "events=",
    ] {
        let scheme = Xero::new().answer_intent_to_receive_at("/hook").unwrap();
        let (status, _, answer) = ask(scheme, &clock, XERO.sign(&clock, body)).await;
        assert_eq!((status, &*answer), (200, "handled"), "{body}");
    }
}

fn meta_asks(method: Method, query: &str) -> Request<Bytes> {
    Request::builder()
        .method(method)
        .uri(format!("/hook?{query}"))
        .body(Bytes::new())
        .unwrap()
}

#[tokio::test]
async fn meta_is_answered_with_its_challenge_if_it_knows_the_token() {
    let clock = common::clock();
    let scheme = || Meta::new().answer_subscription_at("/hook", TOKEN).unwrap();
    let token = TOKEN.replace(' ', "%20");
    for query in [
        format!("hub.mode=subscribe&hub.challenge=1158201444&hub.verify_token={token}"),
        format!(
            "hub.verify_token={}&x=1&hub.challenge=1158201444&hub.mode=subscribe",
            TOKEN.replace(' ', "+")
        ),
    ] {
        let request = meta_asks(Method::GET, &query);
        let (status, headers, body) = ask(scheme(), &clock, request.clone()).await;
        assert_eq!((status, &*body), (200, "1158201444"));
        assert!(is_plain_text(&headers), "{headers:?}");
        let (status, _, body) = ask(Meta::new(), &clock, request).await;
        assert_eq!((status, &*common::code_or_body(body.as_bytes())), MISSING);
    }

    let long = "1".repeat(257);
    for query in [
        String::new(),
        "hub.mode=subscribe&hub.challenge=1&hub.verify_token=".into(),
        "hub.mode=subscribe&hub.challenge=1&hub.verify_token=another".into(),
        "hub.mode=subscribe&hub.challenge=1".into(),
        format!("hub.mode=subscribe&hub.challenge=1&hub.verify_token={token}x"),
        format!(
            "hub.mode=subscribe&hub.challenge=1&hub.verify_token={}",
            &token[..token.len() - 1]
        ),
        format!("hub.mode=unsubscribe&hub.challenge=1&hub.verify_token={token}"),
        format!("hub.challenge=1&hub.verify_token={token}"),
        format!("hub.mode=subscribe&hub.verify_token={token}"),
        format!("hub.mode=subscribe&hub.challenge=&hub.verify_token={token}"),
        format!("hub.mode=subscribe&hub.challenge={long}&hub.verify_token={token}"),
        format!("hub.mode=subscribe&hub.challenge=%3Cscript%3E&hub.verify_token={token}"),
        format!("hub.mode=subscribe&hub.challenge=1&hub.challenge=2&hub.verify_token={token}"),
        format!("hub.mode=subscribe&hub.challenge=1&hub.verify_token=x&hub.verify_token={token}"),
        format!("hub_mode=subscribe&hub_challenge=1&hub_verify_token={token}"),
    ] {
        let (status, ..) = ask(scheme(), &clock, meta_asks(Method::GET, &query)).await;
        assert_eq!(status, 401, "{query}");
    }
    let query = format!("hub.mode=subscribe&hub.challenge=1&hub.verify_token={token}");
    for method in [Method::POST, Method::HEAD, Method::PUT] {
        let (status, ..) = ask(scheme(), &clock, meta_asks(method.clone(), &query)).await;
        assert_eq!(status, 401, "{method}");
    }
}

#[test]
fn a_token_that_can_be_guessed_is_refused() {
    assert!(
        Meta::new()
            .answer_subscription_at("/hook", "meatyhamhock")
            .is_err()
    );
    assert!(Meta::new().answer_subscription_at("/hook", "").is_err());
}

/// Also where the handler's transaction records the nonce, there is nothing to record.
#[tokio::test]
async fn a_challenge_is_answered_with_every_processing() {
    let clock = common::clock();
    for processing in [Processing::AtMostOnce, Processing::InTransaction] {
        let builder =
            VerifyLayer::builder(Slack::new().answer_url_verification_at("/hook").unwrap())
                .secret(SLACK.secrets[0])
                .clock(clock.clone())
                .processing(processing);
        let builder = match processing {
            Processing::InTransaction => builder.namespace("tests"),
            _ => builder.store(common::store(&clock)),
        };
        let app = axum::Router::new()
            .route("/hook", axum::routing::any(async || "handled"))
            .layer(builder.build().unwrap());
        let request = SLACK.sign(&clock, slack_asks(&"abc".into()));
        let request = request.map(axum::body::Body::from);
        let answer = common::verdict(app.oneshot(request).await.unwrap()).await;
        assert_eq!(answer, (200, "abc".to_owned()), "{processing:?}");
    }
}

const CHECK: &str = "ssl_check=1&token=gIkuvaNzQIHg97ATvDxqgjtO";
const FORM: &str = "application/x-www-form-urlencoded";

fn posted(body: impl Into<Bytes>) -> Request<Bytes> {
    let request = Request::post("/hook").header(CONTENT_TYPE, FORM);
    request.body(body.into()).unwrap()
}

#[tokio::test]
async fn the_unsigned_check_of_slack_is_answered_if_it_is_asked_for() {
    let clock = common::clock();
    let scheme = || Slack::new().answer_ssl_check_at("/hook").unwrap();
    for body in [CHECK, "ssl_check=1", "token=x&ssl_check=1"] {
        let (status, headers, answer) = ask(scheme(), &clock, posted(body)).await;
        assert_eq!((status, &*answer), (200, ""), "{body}");
        assert!(is_plain_text(&headers), "{headers:?}");
        // Only where it was asked for.
        let (status, _, answer) = ask(Slack::new(), &clock, posted(body)).await;
        let answer = common::code_or_body(answer.as_bytes());
        assert_eq!((status, &*answer), MISSING, "{body}");
    }
    // Nobody handles one that is signed, either.
    let mut signed = SLACK.sign(&clock, CHECK);
    signed
        .headers_mut()
        .insert(CONTENT_TYPE, FORM.parse().unwrap());
    let (status, _, answer) = ask(scheme(), &clock, signed).await;
    assert_eq!((status, &*answer), (200, ""));
}

/// A form with other members is not one of Slack's checks, and needs a signature to be handled.
#[tokio::test]
async fn a_check_that_is_smuggled_is_neither_answered_nor_handled() {
    let clock = common::clock();
    let scheme = || Slack::new().answer_ssl_check_at("/hook").unwrap();
    let long = format!("ssl_check=1&token={}", "x".repeat(1024));
    for body in [
        "ssl_check=1&command=%2Fpay&text=1000",
        "command=%2Fpay&ssl_check=1",
        "ssl_check=1&ssl_check=1",
        "ssl_check=0&ssl_check=1",
        "ssl_check=0",
        "ssl_check=",
        "ssl_check=11",
        "SSL_CHECK=1",
        "ssl_check=1&token=x&token=y",
        "ssl_check=1&",
        "payload=%7B%7D&ssl_check=1",
        r#"{"a":"&ssl_check=1&"}"#,
        "",
        &long,
    ] {
        let (status, _, answer) = ask(scheme(), &clock, posted(body.to_owned())).await;
        let answer = common::code_or_body(answer.as_bytes());
        assert_eq!((status, &*answer), MISSING, "{body}");
    }
    let as_json = |request: Request<Bytes>| {
        let mut request = request;
        let json = "application/json".parse().unwrap();
        request.headers_mut().insert(CONTENT_TYPE, json);
        request
    };
    let mut by_put = posted(CHECK);
    *by_put.method_mut() = Method::PUT;
    let mut in_query = posted("");
    *in_query.uri_mut() = format!("/hook?{CHECK}").parse().unwrap();
    for request in [as_json(posted(CHECK)), by_put, in_query] {
        let (status, ..) = ask(scheme(), &clock, request).await;
        assert_eq!(status, 401);
    }
    // With a signature that is wrong, it is no unsigned check.
    let stranger = SLACK.sign_under(SLACK.secrets[1], &clock, CHECK);
    let mut stranger = stranger;
    stranger
        .headers_mut()
        .insert(CONTENT_TYPE, FORM.parse().unwrap());
    let (status, _, answer) = ask(scheme(), &clock, stranger).await;
    assert_eq!((status, &*common::code_or_body(answer.as_bytes())), INVALID);
    // A command that is signed goes to its handler, whatever a user wrote into it.
    let command = "command=%2Fpay&text=%26ssl_check%3D1&token=x";
    let mut signed = SLACK.sign(&clock, command);
    signed
        .headers_mut()
        .insert(CONTENT_TYPE, FORM.parse().unwrap());
    let (status, _, answer) = ask(scheme(), &clock, signed).await;
    assert_eq!((status, &*answer), (200, "handled"));
}
