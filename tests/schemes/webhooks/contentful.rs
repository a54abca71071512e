//! Contentful, which signs method, path, query, the headers that it lists, and the body.

use bytes::Bytes;
use countersign::{
    Processing, RejectionKind, VerifiedPayload, Verifier, request::Verified, testing::ManualClock,
};
use http::{HeaderName, HeaderValue, Method, Request, Uri};

use super::{
    provider::{get, set, verify, with, with_body, without},
    rows::CONTENTFUL,
    tampering::changes,
};
use crate::common::{self, NOW};

const LIST: &str = "x-contentful-signed-headers";
const TIME: &str = "x-contentful-timestamp";
const BODY: &str = r#"{"sys":{"id":"1"}}"#;

fn signed(uri: &str, headers: &[(&'static str, &str)], body: &str) -> Request<Bytes> {
    let request = Request::post(uri).header("host", common::HOST);
    let mut request = request.body(Bytes::from(body.to_owned())).unwrap();
    set(&mut request, TIME, &format!("{NOW}000"));
    let mut names = vec![LIST, TIME];
    for (name, value) in headers {
        set(&mut request, name, value);
        names.push(name);
    }
    names.sort_unstable();
    set(&mut request, LIST, &names.join(","));
    resign(&mut request);
    request
}

/// Signs the request as it is, whether or not the scheme would.
fn resign(request: &mut Request<Bytes>) {
    set(request, CONTENTFUL.signature, "x");
    let mac = CONTENTFUL.mac(CONTENTFUL.secrets[0], request);
    set(request, CONTENTFUL.signature, &mac);
}

fn verifier(clock: &ManualClock) -> Verifier {
    let builder = CONTENTFUL.verifier(clock).namespace("tests");
    builder
        .processing(Processing::InTransaction)
        .build()
        .unwrap()
}

async fn refused(request: &Request<Bytes>) -> Option<RejectionKind> {
    let verified = verify(&verifier(&common::clock()), request).await;
    verified.err().map(|rejection| rejection.kind())
}

async fn payload(request: &Request<Bytes>) -> VerifiedPayload {
    let clock = common::clock();
    let builder = CONTENTFUL.verifier(&clock).store(common::store(&clock));
    let verifier = builder.processing(Processing::AtMostOnce).build().unwrap();
    match verify(&verifier, request).await.unwrap() {
        Verified::Claimed(payload) => payload,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn every_change_of_one_byte_of_what_is_listed_is_refused() {
    let genuine = signed("/hook", &[("x-topic", "publish"), ("x-a", "1;2")], BODY);
    let verifier = verifier(&common::clock());
    assert!(verify(&verifier, &genuine).await.is_ok());
    let mut accepted = Vec::new();
    for name in [CONTENTFUL.signature, LIST, TIME, "x-topic", "x-a"] {
        let value = genuine.headers()[name].as_bytes().to_vec();
        for (at, changed) in changes(&value) {
            // White space around a value is none of it, and a MAC is in either case.
            let is_same = changed.trim_ascii() == value
                || (name == CONTENTFUL.signature && changed.eq_ignore_ascii_case(&value));
            if let (Ok(changed), false) = (HeaderValue::from_bytes(&changed), is_same) {
                let mut request = genuine.clone();
                request
                    .headers_mut()
                    .insert(HeaderName::from_static(name), changed);
                if verify(&verifier, &request).await.is_ok() {
                    accepted.push(format!("{name}[{at}]"));
                }
            }
        }
    }
    for (at, uri) in changes(genuine.uri().to_string().as_bytes()) {
        if let Ok(uri) = Uri::try_from(uri) {
            // An empty query is signed as none.
            if uri.path() == "/hook" && uri.query().unwrap_or_default().is_empty() {
                continue;
            }
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
    let mut other = genuine.clone();
    *other.method_mut() = Method::PUT;
    assert!(verify(&verifier, &other).await.is_err());
    assert_eq!(accepted, Vec::<String>::new());
    // A header that is not listed is not covered.
    assert!(
        verify(&verifier, &with(&genuine, "x-other", "1"))
            .await
            .is_ok()
    );
}

#[tokio::test]
async fn a_payload_answers_for_what_is_listed_and_for_nothing_else() {
    let mut request = signed("/ho%2Fok?a=b%20c&d=%3F", &[("x-topic", "publish")], BODY);
    // As the library spells them: what is encoded is encoded once more, and a query twice.
    let message = format!(
        "POST\n/ho%252Fok?a%253Db%252520c%2526d%253D%25253F\n{LIST}:{};{TIME}:{NOW}000;x-topic:publish\n{BODY}",
        get(&request, LIST)
    );
    let mac = CONTENTFUL
        .hash
        .hmac(CONTENTFUL.secrets[0].as_bytes(), message.as_bytes());
    set(
        &mut request,
        CONTENTFUL.signature,
        &base16ct::lower::encode_string(&mac),
    );
    set(&mut request, "x-other", "1");
    let payload = payload(&request).await;
    assert_eq!(payload.method(), Some(&Method::POST));
    assert_eq!(payload.path(), Some("/ho%2Fok"));
    assert_eq!(payload.query(), Some("a=b%20c&d=%3F"));
    assert_eq!(payload.authority(), None);
    assert_eq!(payload.header("x-topic").unwrap(), "publish");
    assert_eq!(payload.header(TIME).unwrap(), &format!("{NOW}000"));
    assert_eq!(payload.header("x-other"), None);
    assert_eq!(payload.signed_at().map(|time| time.as_secs()), Some(NOW));
}

/// A signed text fits one list of headers, and no second one.
#[tokio::test]
async fn a07_bytes_cannot_move_between_listed_headers() {
    let malformed = Some(RejectionKind::SignatureMalformed);
    // A value in which a visitor wrote what looks like another header.
    for value in ["1;x-b:2", "1; x-b: 2", ";:", "1;2;3:4"] {
        let request = signed("/hook", &[("x-a", value)], BODY);
        assert_eq!(refused(&request).await, malformed, "{value}");
    }
    for value in [
        "1:2",
        "1;2",
        "https://a.example/?b;c",
        "application/json; charset=utf-8",
    ] {
        let request = signed("/hook", &[("x-a", value)], BODY);
        assert_eq!(refused(&request).await, None, "{value}");
    }
    // The same text, read with another list, is another message.
    let one = signed("/hook", &[("x-a", "1"), ("x-b", "2")], BODY);
    let mut other = without(&one, "x-b");
    set(&mut other, "x-a", "1;x-b:2");
    assert_eq!(refused(&other).await, malformed);
}

#[tokio::test]
async fn a10_a11_a_list_that_is_not_sorted_or_not_complete_is_refused() {
    let malformed = Some(RejectionKind::SignatureMalformed);
    let genuine = signed("/hook", &[("x-a", "1"), ("x-b", "2")], BODY);
    assert_eq!(refused(&genuine).await, None);
    let many: Vec<_> = (0..40).map(|n| format!("x-contentful-{n:02}")).collect();
    for list in [
        String::new(),
        TIME.to_owned(),
        LIST.to_owned(),
        format!("{TIME},{LIST}"),
        format!("{LIST},{LIST},{TIME}"),
        format!("{LIST},{TIME},x-b,x-a"),
        format!("{LIST},{TIME},x-a,x-a"),
        format!("{LIST}, {TIME}"),
        format!("{LIST},{TIME},"),
        format!("{LIST},{TIME},X-A"),
        format!("{LIST},{TIME},x-missing"),
        format!("{LIST},{TIME},x a"),
        format!("{},{LIST},{TIME}", many.join(",")),
    ] {
        let mut request = with(&genuine, LIST, &list);
        set(&mut request, CONTENTFUL.signature, &"0".repeat(64));
        assert_eq!(refused(&request).await, malformed, "{list}");
    }
    let mut twice = genuine.clone();
    twice.headers_mut().append("x-a", "3".parse().unwrap());
    assert_eq!(refused(&twice).await, malformed);
    // The library signs nothing behind a second `?`.
    let second = signed("/hook?a=1?b=2", &[], BODY);
    assert_eq!(refused(&second).await, malformed);
}
