//! Trello, which signs the body and behind it the URL.

use bytes::Bytes;
use countersign::{
    Processing, RejectionKind, Verifier, request::Verified, store::NonceKind, webhooks::Trello,
};
use http::{HeaderName, HeaderValue, Method, Request, Uri};

use super::{
    provider::{at_path, get, verify, with_body},
    rows::TRELLO,
    service::{ACKNOWLEDGED, Service},
    tampering::changes,
};
use crate::common;

const BODY: &str = r#"{"action":{"id":"evt_1"},"amount":7}"#;

/// A verifier that remembers nothing.
fn verifier() -> Verifier {
    let builder = TRELLO.verifier(&common::clock()).namespace("tests");
    builder
        .processing(Processing::InTransaction)
        .build()
        .unwrap()
}

fn signed(uri: &str, body: &str) -> Request<Bytes> {
    let signer = (TRELLO.signer)(TRELLO.secrets[0]).unwrap();
    let request = Request::post(uri).header("host", common::HOST);
    signer
        .sign(request.body(Bytes::from(body.to_owned())).unwrap())
        .unwrap()
}

async fn refused(request: &Request<Bytes>) -> Option<RejectionKind> {
    let verified = verify(&verifier(), request).await;
    verified.err().map(|rejection| rejection.kind())
}

#[tokio::test]
async fn every_change_of_one_byte_of_body_url_and_header_is_refused() {
    let genuine = signed("/trello?a=1", BODY);
    let verifier = verifier();
    assert!(verify(&verifier, &genuine).await.is_ok());
    let mut accepted = Vec::new();
    for (at, value) in changes(get(&genuine, TRELLO.signature).as_bytes()) {
        if let Ok(value) = HeaderValue::from_bytes(&value) {
            let mut request = genuine.clone();
            let name = HeaderName::from_static(TRELLO.signature);
            request.headers_mut().insert(name, value);
            if verify(&verifier, &request).await.is_ok() {
                accepted.push(format!("header[{at}]"));
            }
        }
    }
    for (at, uri) in changes(genuine.uri().to_string().as_bytes()) {
        if let Ok(uri) = Uri::try_from(uri) {
            let mut request = genuine.clone();
            *request.uri_mut() = uri;
            if verify(&verifier, &request).await.is_ok() {
                accepted.push(format!("uri[{at}]"));
            }
        }
    }
    for (at, body) in changes(genuine.body()) {
        if verify(&verifier, &with_body(&genuine, body)).await.is_ok() {
            accepted.push(format!("body[{at}]"));
        }
    }
    assert_eq!(accepted, Vec::<String>::new());
}

/// The message is split at every place into a body and a URL.
#[tokio::test]
async fn a07_bytes_cannot_move_between_body_and_url() {
    let malformed = Some(RejectionKind::SignatureMalformed);
    // The text of the body holds the URL of the webhook, up to a second end.
    let body = format!(r#"{{"a":"{}/trello?b=1","c":[1]}}"#, common::ORIGIN);
    let genuine = signed("/trello?a=1", &body);
    let whole = format!("{body}{}/trello?a=1", common::ORIGIN);
    let mut accepted = Vec::new();
    for (split, _) in whole.match_indices(common::ORIGIN) {
        let (body, url) = whole.split_at(split);
        let Ok(uri) = url[common::ORIGIN.len()..].parse::<Uri>() else {
            continue;
        };
        let moved = with_body(&at_path(&genuine, &uri.to_string()), body.to_owned());
        match refused(&moved).await {
            None => accepted.push(split),
            kind => assert_eq!(kind, malformed, "{url}"),
        }
    }
    assert_eq!(accepted, [body.len()]);
    for body in ["{} ", "a=1", "{}\n", "\0"] {
        let mut request = with_body(&genuine, body);
        TRELLO.resign(&mut request);
        assert_eq!(refused(&request).await, malformed, "{body:?}");
        let signer = (TRELLO.signer)(TRELLO.secrets[0]).unwrap();
        assert!(signer.sign(request).is_err(), "{body:?}");
    }
    for uri in ["/trello?a=}", "/trello?a=]"] {
        let Ok(uri) = uri.parse::<Uri>() else {
            continue;
        };
        let mut request = genuine.clone();
        *request.uri_mut() = uri;
        let signer = (TRELLO.signer)(TRELLO.secrets[0]).unwrap();
        assert!(signer.sign(request).is_err());
    }
}

#[tokio::test]
async fn a_payload_answers_for_the_url() {
    let clock = common::clock();
    let verifier = TRELLO.verifier(&clock).store(common::store(&clock));
    let verifier = verifier.processing(Processing::AtMostOnce).build().unwrap();
    let verified = verify(&verifier, &signed("/trello?a=1", BODY))
        .await
        .unwrap();
    let Verified::Claimed(payload) = verified else {
        panic!("{verified:?}");
    };
    assert_eq!(payload.authority(), Some(common::HOST));
    assert_eq!(
        (payload.path(), payload.query()),
        (Some("/trello"), Some("a=1"))
    );
    assert_eq!(payload.method(), None);
    let nonce = payload.nonce().unwrap();
    assert_eq!(
        (nonce.kind(), nonce.as_bytes()),
        (NonceKind::Event, &b"evt_1"[..])
    );
}

#[tokio::test]
async fn a_head_is_answered_at_its_path_alone() {
    let head = |method: Method, path: &str| {
        let request = Request::builder().method(method).uri(path);
        request
            .header("host", common::HOST)
            .body(())
            .unwrap()
            .into_parts()
            .0
    };
    let answers = |scheme: Trello, head: &http::request::Parts| {
        let builder = Verifier::builder(scheme).public_origin(common::ORIGIN);
        let builder = builder.secret(TRELLO.secrets[0]).namespace("tests");
        let verifier = builder
            .processing(Processing::InTransaction)
            .build()
            .unwrap();
        verifier
            .handshake(head)
            .map(|answer| answer.status().as_u16())
    };
    let scheme = || Trello::new().answer_head_at("/trello").unwrap();
    assert_eq!(answers(scheme(), &head(Method::HEAD, "/trello")), Some(200));
    assert_eq!(
        answers(scheme(), &head(Method::HEAD, "/trello?a=1")),
        Some(200)
    );
    for (method, path) in [
        (Method::HEAD, "/other"),
        (Method::HEAD, "/trello/"),
        (Method::GET, "/trello"),
        (Method::POST, "/trello"),
    ] {
        assert_eq!(answers(scheme(), &head(method, path)), None, "{path}");
    }
    assert_eq!(answers(Trello::new(), &head(Method::HEAD, "/trello")), None);
    assert!(Trello::new().answer_head_at("trello").is_err());
}

/// Each webhook that watches an action is sent it, under the URL that it was made with.
#[tokio::test]
async fn an_action_counts_once_at_each_path_whatever_the_query() {
    let service = Service::new(&TRELLO);
    service.handles(signed("/board", BODY)).await;
    service.handles(signed("/card", BODY)).await;
    for again in ["/board", "/board?of=another", "/card?a=1"] {
        service
            .refuses(signed(again, BODY), ACKNOWLEDGED, again)
            .await;
    }
}

#[tokio::test]
async fn a_retry_is_known_by_its_action() {
    let service = Service::new(&TRELLO);
    service.handles(TRELLO.sign(&service.clock, BODY)).await;
    let again = BODY.replace("7}", "8}");
    service
        .refuses(TRELLO.sign(&service.clock, again), ACKNOWLEDGED, "again")
        .await;
    let other = BODY.replace("evt_1", "evt_2");
    service.handles(TRELLO.sign(&service.clock, other)).await;
}
