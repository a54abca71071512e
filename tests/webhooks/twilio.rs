//! Twilio: its URL with or without a port, its forms and its JSON, and what may come twice.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use countersign::{
    HeaderScheme, Part, Processing, RejectionKind, Signer, VerifiedPayload, Verifier, VerifyLayer,
    verify::Verified, webhooks::Twilio,
};
use hmac::{Hmac, KeyInit as _, Mac as _};
use http::{HeaderValue, Request};
use sha1::Sha1;
use sha2::{Digest as _, Sha256};

use crate::{
    common, log,
    provider::{at_path, get, set, verify, with, with_body},
    tampering::changes,
};

const SECRET: &str = "the auth token of the account";
const SIGNATURE: &str = "x-twilio-signature";
const FORM: &str = "AccountSid=AC1&Body=a+b%26c&From=%2B1415&To=12";
/// As it goes into the message.
const SORTED: &str = "AccountSidAC1Bodya b&cFrom+1415To12";

fn verifier(origin: &str) -> Verifier {
    log::listen();
    Verifier::builder(Twilio::new())
        .public_origin(origin)
        .secret(SECRET)
        .build()
        .unwrap()
}

fn mac(message: &str) -> String {
    let mut mac = Hmac::<Sha1>::new_from_slice(SECRET.as_bytes()).unwrap();
    mac.update(message.as_bytes());
    STANDARD.encode(mac.finalize().into_bytes())
}

fn request(uri: &str, content_type: &str, body: &str) -> Request<Bytes> {
    Request::post(uri)
        .header("host", common::HOST)
        .header("content-type", content_type)
        .body(body.to_owned().into())
        .unwrap()
}

/// A form, with the MAC of this message.
fn form(uri: &str, body: &str, message: &str) -> Request<Bytes> {
    let mut request = request(uri, "application/x-www-form-urlencoded", body);
    set(&mut request, SIGNATURE, &mac(message));
    request
}

fn json(body: &str) -> Request<Bytes> {
    sign(request("/hook?a=1", "application/json", body)).unwrap()
}

fn sign(request: Request<Bytes>) -> Result<Request<Bytes>, countersign::SignError> {
    let signer = Signer::with_secret(Twilio::new(), SECRET).unwrap();
    signer.sign_body(request, "unused")
}

async fn payload(
    verifier: &Verifier,
    request: &Request<Bytes>,
) -> Result<VerifiedPayload, RejectionKind> {
    match verify(verifier, request).await {
        Ok(Verified::Unclaimed(payload)) => Ok(payload),
        Ok(other) => panic!("{other:?}"),
        Err(rejection) => Err(rejection.kind()),
    }
}

async fn given(origin: &str, request: &Request<Bytes>) -> Result<Bytes, RejectionKind> {
    let payload = payload(&verifier(origin), request).await?;
    Ok(payload.bytes().clone())
}

#[tokio::test]
async fn what_is_signed_is_the_message_of_the_test() {
    let url = "https://api.example.com/hook?a=1";
    let signed = sign(request(
        "/hook?a=1",
        "application/x-www-form-urlencoded; charset=utf-8",
        "To=12&From=%2B1415&Body=a+b%26c&AccountSid=AC1",
    ));
    let signed = signed.unwrap();
    assert_eq!(get(&signed, SIGNATURE), mac(&format!("{url}{SORTED}")));
    assert_eq!(signed.uri(), "/hook?a=1");
    let sorted = "AccountSid=AC1&Body=a%20b%26c&From=%2B1415&To=12";
    assert_eq!(given(common::ORIGIN, &signed).await.unwrap(), sorted);

    let signed = json(r#"{"a":1}"#);
    let digest = base16ct::lower::encode_string(&Sha256::digest(r#"{"a":1}"#));
    let whole = format!("/hook?a=1&bodySHA256={digest}");
    assert_eq!(signed.uri(), whole.as_str());
    let url = format!("https://api.example.com{whole}");
    assert_eq!(get(&signed, SIGNATURE), mac(&url));
    assert_eq!(given(common::ORIGIN, &signed).await.unwrap(), r#"{"a":1}"#);

    let get_request = Request::get("/hook?From=1").header("host", common::HOST);
    let signed = sign(get_request.body(Bytes::new()).unwrap()).unwrap();
    assert_eq!(
        get(&signed, SIGNATURE),
        mac("https://api.example.com/hook?From=1")
    );
    assert_eq!(given(common::ORIGIN, &signed).await.unwrap(), "");
}

#[tokio::test]
async fn the_url_may_have_been_signed_with_its_port_or_without() {
    for (origin, host, url, accepted) in [
        ("https://a.example", "a.example", "https://a.example", true),
        (
            "https://a.example",
            "a.example",
            "https://a.example:443",
            true,
        ),
        (
            "https://a.example",
            "a.example:443",
            "https://a.example",
            true,
        ),
        (
            "https://a.example",
            "a.example",
            "https://a.example:80",
            false,
        ),
        ("https://a.example", "a.example", "http://a.example", false),
        ("http://a.example", "a.example", "http://a.example:80", true),
        (
            "https://a.example:8443",
            "a.example:8443",
            "https://a.example:8443",
            true,
        ),
        (
            "https://a.example:8443",
            "a.example:8443",
            "https://a.example",
            true,
        ),
        (
            "https://a.example:8443",
            "a.example:8443",
            "https://a.example:443",
            false,
        ),
        ("https://[::1]", "[::1]", "https://[::1]:443", true),
        ("https://[::1]:8443", "[::1]:8443", "https://[::1]", true),
        (
            "https://a.example/api",
            "a.example",
            "https://a.example/api",
            true,
        ),
        (
            "https://a.example/api",
            "a.example",
            "https://a.example",
            false,
        ),
    ] {
        let message = format!("{url}/hookTo12");
        let request = with(&form("/hook", "To=12", &message), "host", host);
        let verdict = payload(&verifier(origin), &request).await;
        assert_eq!(verdict.is_ok(), accepted, "{origin} {url}");
        if let Ok(payload) = verdict {
            // A port that the message does not name is not covered.
            let whole = !origin.ends_with(":8443") || url.ends_with(":8443");
            assert_eq!(payload.authority().is_some(), whole, "{origin} {url}");
            assert!(payload.path().is_some() && payload.method().is_none());
            assert_eq!(payload.signed_at(), None);
        }
    }
}

#[tokio::test]
async fn without_a_public_origin_nothing_is_built_and_others_are_not_served() {
    let built = Verifier::builder(Twilio::new()).secret(SECRET).build();
    assert!(built.is_err());
    let elsewhere = with(
        &form("/hook", "", "https://b.example/hook"),
        "host",
        "b.example",
    );
    let refused = given(common::ORIGIN, &elsewhere).await;
    assert_eq!(refused, Err(RejectionKind::AuthorityNotServed));
}

/// The changes of one byte, of header, URL and body, that are not refused, each with what the handler
/// is given.
async fn accepted_changes(verifier: &Verifier, genuine: &Request<Bytes>) -> Vec<(String, Bytes)> {
    let mut changed = Vec::new();
    for (at, value) in changes(genuine.headers()[SIGNATURE].as_bytes()) {
        if let Ok(value) = HeaderValue::from_bytes(&value) {
            let mut request = genuine.clone();
            request.headers_mut().insert(SIGNATURE, value);
            changed.push((format!("{SIGNATURE}[{at}]"), request));
        }
    }
    for (at, uri) in changes(genuine.uri().to_string().as_bytes()) {
        if let Ok(uri) = http::Uri::try_from(uri) {
            let mut request = genuine.clone();
            *request.uri_mut() = uri;
            changed.push((format!("uri[{at}]"), request));
        }
    }
    for (at, body) in changes(genuine.body()) {
        changed.push((format!("body[{at}]"), with_body(genuine, body)));
    }
    let mut accepted = Vec::new();
    for (what, request) in changed {
        if let Ok(verified) = verify(verifier, &request).await {
            accepted.push((what, verified.payload().unwrap().bytes().clone()));
        }
    }
    accepted
}

#[tokio::test]
async fn every_change_of_one_byte_is_refused_but_for_another_spelling_of_the_form() {
    let verifier = verifier(common::ORIGIN);
    let url = "https://api.example.com/hook?a=1";
    let genuine = form("/hook?a=1", FORM, &format!("{url}{SORTED}"));
    let given = payload(&verifier, &genuine).await.unwrap().bytes().clone();
    let accepted = accepted_changes(&verifier, &genuine).await;
    // A space for `+`, and the case of `%2B`.
    assert_eq!(accepted.len(), 2, "{accepted:?}");
    for (what, changed) in &accepted {
        assert!(what.starts_with("body"), "{what}");
        assert_eq!(changed, &given, "{what}");
    }
    let genuine = json(r#"{"a":1,"b":"c"}"#);
    let accepted = accepted_changes(&verifier, &genuine).await;
    assert_eq!(accepted, []);
}

/// What does not cover the URL accepts every change of it.
#[tokio::test]
async fn twin_a_verifier_that_does_not_cover_the_url_is_found() {
    let scheme = HeaderScheme::builder(SIGNATURE)
        .fixed_key_id("twilio")
        .danger_without_time(std::time::Duration::from_secs(3600))
        .signs([Part::Body])
        .build()
        .unwrap();
    let verifier = Verifier::builder(scheme.clone())
        .secret(SECRET)
        .processing(Processing::InTransaction)
        .build()
        .unwrap();
    let signer = Signer::with_secret(scheme, SECRET).unwrap();
    let genuine = signer.sign(request("/hook?a=1", "x/y", "{}")).unwrap();
    let (head, body) = genuine.into_parts();
    let genuine = Request::from_parts(head, body);
    let mut accepted = 0;
    for (_, uri) in changes(b"/hook?a=1") {
        let Ok(uri) = http::Uri::try_from(uri) else {
            continue;
        };
        let mut request = genuine.clone();
        *request.uri_mut() = uri;
        accepted += u32::from(verify(&verifier, &request).await.is_ok());
    }
    assert!(accepted > 100, "{accepted}");
}

/// What stays open, by its name: one message, read in several ways.
#[tokio::test]
async fn a07_bytes_can_move_between_parameters_that_are_signed_without_delimiters() {
    let message = "https://api.example.com/hook?a=1To12";
    let mut seen = Vec::new();
    for (uri, body) in [
        ("/hook?a=1", "To=12"),
        ("/hook?a=1", "T=o12"),
        ("/hook?a=1", "To1=2"),
        ("/hook?a=1To12", ""),
        ("/hook", "%3Fa%3D1To=12"),
    ] {
        let bytes = given(common::ORIGIN, &form(uri, body, message)).await;
        let what = format!("{uri} {:?}", bytes.unwrap());
        assert!(!seen.contains(&what), "{what}");
        seen.push(what);
    }
    // In the order in which they were signed only, and with nothing added.
    for (uri, body) in [
        ("/hook?a=1", "1=2&To="),
        ("/hook?a=1", "To=12&To=3"),
        ("/hook?a=1", "To=1"),
        ("/hook", "a=1&To=12"),
    ] {
        let refused = given(common::ORIGIN, &form(uri, body, message)).await;
        assert_eq!(
            refused,
            Err(RejectionKind::SignatureInvalid),
            "{uri} {body}"
        );
    }
}

#[tokio::test]
async fn a_form_is_handed_over_as_it_was_signed() {
    let hook = "https://api.example.com/hook";
    for (body, message, expected) in [
        ("b=2&a=1", "a1b2", "a=1&b=2"),
        ("a=2&a=1", "a1a2", "a=1&a=2"),
        // Of two that are alike, one is signed.
        ("a=1&a=1", "a1", "a=1"),
        ("a=", "a", "a="),
        ("a=%C3%A9%00", "a\u{e9}\0", "a=%C3%A9%00"),
        ("a=b=c", "ab=c", "a=b%3Dc"),
        ("%61=1", "a1", "a=1"),
        // What is no JSON under a digest is read as a form, and is none to a handler for JSON.
        (r#"{"a":"=1"}"#, r#"{"a":"1"}"#, "%7B%22a%22%3A%22=1%22%7D"),
    ] {
        let request = form("/hook", body, &format!("{hook}{message}"));
        let bytes = given(common::ORIGIN, &request).await;
        assert_eq!(bytes.unwrap(), expected, "{body}");
    }
}

#[tokio::test]
async fn a_form_that_cannot_be_read_one_way_is_refused() {
    for body in [
        &b"a"[..],
        b"a=1&",
        b"&a=1",
        b"a=1&&b=2",
        b"=1",
        b"a=%ff",
        b"%ff=1",
        b"a=\xff",
        b"{\"a\":1}",
        b"\r\n--boundary\r\n",
    ] {
        let request = form("/hook", "", "https://api.example.com/hook");
        let request = with_body(&request, body.to_vec());
        let refused = given(common::ORIGIN, &request).await;
        assert_eq!(refused, Err(RejectionKind::SignatureMalformed), "{body:?}");
    }
}

#[tokio::test]
async fn a_json_body_is_the_one_whose_digest_the_query_names() {
    let verifier = verifier(common::ORIGIN);
    let genuine = json(r#"{"a":1}"#);
    for body in ["", "{}", r#"{"a":1} "#, r#"{ "a":1}"#, "a=1"] {
        let refused = payload(&verifier, &with_body(&genuine, body)).await;
        assert_eq!(refused.err(), Some(RejectionKind::SignatureInvalid));
    }
    let uri = genuine.uri().to_string();
    let digest = uri.rsplit_once('=').unwrap().1;
    for query in [
        "bodySHA256=".to_owned(),
        "bodySHA256".into(),
        "bodySHA256=00".into(),
        format!("bodySHA256={digest}0"),
        format!("bodySHA256={digest}&bodySHA256={digest}"),
        format!("bodySHA256={digest}&bodySHA256="),
        format!("bodySHA256=%{digest}"),
    ] {
        let uri = format!("/hook?{query}");
        let mut request = at_path(&genuine, &uri);
        set(
            &mut request,
            SIGNATURE,
            &mac(&format!("https://api.example.com{uri}")),
        );
        let refused = payload(&verifier, &request).await;
        let malformed = Some(RejectionKind::SignatureMalformed);
        assert_eq!(refused.err(), malformed, "{query}");
    }
    // The digest of an empty body is one, too; and without a digest, JSON is not covered.
    let empty = format!(
        "/hook?bodySHA256={}",
        base16ct::lower::encode_string(&Sha256::digest(""))
    );
    let message = format!("https://api.example.com{empty}");
    assert!(
        given(common::ORIGIN, &form(&empty, "", &message))
            .await
            .is_ok()
    );
    let bare = at_path(&genuine, "/hook?a=1");
    let bare = with(&bare, SIGNATURE, &mac("https://api.example.com/hook?a=1"));
    let refused = payload(&verifier, &bare).await;
    assert_eq!(refused.err(), Some(RejectionKind::SignatureMalformed));
}

#[tokio::test]
async fn a32_what_is_alike_is_handled_each_time_and_no_store_is_asked() {
    let clock = common::clock();
    for store in [None, Some(common::store(&clock))] {
        let builder = Verifier::builder(Twilio::new())
            .public_origin(common::ORIGIN)
            .secret(SECRET);
        let builder = match store {
            Some(store) => builder.store(store),
            None => builder,
        };
        let verifier = builder.build().unwrap();
        let genuine = form("/hook", "To=12", "https://api.example.com/hookTo12");
        for _ in 0..3 {
            let payload = payload(&verifier, &genuine).await.unwrap();
            assert_eq!(payload.nonce(), None);
        }
    }
    let layer = VerifyLayer::builder(Twilio::new())
        .public_origin(common::ORIGIN)
        .secret(SECRET)
        .processing(Processing::InTransaction);
    assert!(layer.build().is_err(), "there is no nonce to record");
}

#[test]
fn a_signer_does_not_sign_the_digest_of_another_body() {
    let signed = json("{}");
    assert_eq!(sign(signed.clone()).unwrap().uri(), signed.uri());
    assert!(sign(with_body(&signed, "[]")).is_err());
    assert!(sign(at_path(&signed, "/hook?bodySHA256=x")).is_err());
    let mut nowhere = request("/hook", "application/json", "{}");
    nowhere.headers_mut().remove("host");
    assert!(sign(nowhere).is_err());
}
