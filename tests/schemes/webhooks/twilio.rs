//! Twilio: its URL with or without a port, its forms and its JSON, and what may come twice.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use countersign::{
    HeaderScheme, Part, Processing, RejectionKind, Signer, VerifiedPayload, Verifier, VerifyLayer,
    request::Verified, webhooks::Twilio,
};
use hmac::{Hmac, KeyInit as _, Mac as _};
use http::{HeaderValue, Request};
use sha1::Sha1;
use sha2::{Digest as _, Sha256};
use tower::ServiceExt as _;

use super::{
    provider::{at_path, get, set, verify, with, with_body},
    tampering::changes,
};
use crate::common::{self, log};

const SECRET: &str = "the auth token of the account";
const SIGNATURE: &str = "x-twilio-signature";
const FORM: &str = "AccountSid=AC1&Body=a+b%26c&From=%2B1415&To=12";
/// As it goes into the message.
const SORTED: &str = "AccountSidAC1Bodya b&cFrom+1415To12";

fn verifier(origin: &str) -> Verifier {
    verifier_of(Twilio::new(), origin)
}

/// Reads JSON at one URL.
fn json_verifier(path_and_query: &str) -> Verifier {
    verifier_of(Twilio::json_at(path_and_query).unwrap(), common::ORIGIN)
}

fn verifier_of(scheme: Twilio, origin: &str) -> Verifier {
    log::listen();
    Verifier::builder(scheme)
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
    sign_json(request("/hook?a=1", "application/json", body)).unwrap()
}

fn sign(request: Request<Bytes>) -> Result<Request<Bytes>, countersign::error::SignError> {
    let signer = Signer::with_secret(Twilio::new(), SECRET).unwrap();
    signer.sign_body(request, "unused")
}

fn sign_json(request: Request<Bytes>) -> Result<Request<Bytes>, countersign::error::SignError> {
    let scheme = Twilio::json_at("/hook?a=1").unwrap();
    let signer = Signer::with_secret(scheme, SECRET).unwrap();
    signer.sign_body(request, "unused")
}

fn digest_of(body: &str) -> String {
    base16ct::lower::encode_string(&Sha256::digest(body))
}

/// JSON, with the MAC of its URL.
fn json_at(uri: &str, body: &str) -> Request<Bytes> {
    let mut request = request(uri, "application/json", body);
    set(
        &mut request,
        SIGNATURE,
        &mac(&format!("https://api.example.com{uri}")),
    );
    request
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
    let verified = payload(&json_verifier("/hook?a=1"), &signed).await.unwrap();
    assert_eq!(verified.bytes(), r#"{"a":1}"#);

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
    let accepted = accepted_changes(&json_verifier("/hook?a=1"), &genuine).await;
    assert_eq!(accepted, []);
}

/// A verifier that does not cover the URL accepts every change of the URL.
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

/// A limit that the page names: one message is read in several ways.
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
        // Twilio signs one of two equal parameters.
        ("a=1&a=1", "a1", "a=1"),
        ("a=", "a", "a="),
        ("a=%C3%A9%00", "a\u{e9}\0", "a=%C3%A9%00"),
        ("a=b=c", "ab=c", "a=b%3Dc"),
        ("%61=1", "a1", "a=1"),
        // A body that looks like JSON is handed over as a form, and a handler for JSON refuses it.
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
    let verifier = json_verifier("/hook?a=1");
    let genuine = json(r#"{"a":1}"#);
    for body in ["", "{}", r#"{"a":1} "#, r#"{ "a":1}"#, "a=1"] {
        let refused = payload(&verifier, &with_body(&genuine, body)).await;
        assert_eq!(refused.err(), Some(RejectionKind::SignatureInvalid));
    }
    let digest = digest_of("{}");
    let upper = digest.to_uppercase();
    for (path, query) in [
        ("/", format!("?bodySHA256={digest}")),
        ("/hook", format!("?bodySHA256={digest}")),
        ("/hook", format!("?bodySHA256={upper}")),
        ("/hook?a=&b=%C3%A9+%2B/?", format!("&bodySHA256={digest}")),
        ("/hook?a", format!("&bodySHA256={digest}")),
    ] {
        let verifier = json_verifier(path);
        let accepted = payload(&verifier, &json_at(&format!("{path}{query}"), "{}")).await;
        assert_eq!(accepted.unwrap().bytes(), "{}", "{path}{query}");
    }
    let malformed = Some(RejectionKind::SignatureMalformed);
    let verifier = json_verifier("/hook");
    for path in [
        "/hook".to_owned(),
        "/hook?".into(),
        "/hook?a=1".into(),
        "/hook?bodySHA256=".into(),
        "/hook?bodySHA256".into(),
        "/hook?bodySHA256=00".into(),
        format!("/hook?bodysha256={digest}"),
        format!("/hook?bodySHA256={digest}0"),
        format!("/hook?bodySHA256={digest}&bodySHA256={digest}"),
        format!("/hook?body%53HA256={digest}&bodySHA256={digest}"),
        format!("/hook?bodySHA256={digest}&bodySHA256="),
        format!("/hook?bodySHA256=%{digest}"),
        // The digest is not the last parameter.
        format!("/hook?bodySHA256={digest}&"),
        format!("/hook?bodySHA256={digest}&a=1"),
        // At another URL than the one that is configured.
        format!("/hook?a=1&bodySHA256={digest}"),
        format!("/hook?&bodySHA256={digest}"),
        format!("/hook&bodySHA256={digest}"),
        format!("/hook/?bodySHA256={digest}"),
        format!("/h%6Fok?bodySHA256={digest}"),
        format!("/HOOK?bodySHA256={digest}"),
        format!("//hook?bodySHA256={digest}"),
        format!("/hookx?bodySHA256={digest}"),
        format!("/?bodySHA256={digest}"),
    ] {
        let refused = payload(&verifier, &json_at(&path, "{}")).await;
        let expected = match path.starts_with("/hook?bodySHA256=") {
            true => malformed,
            false => Some(RejectionKind::SignatureInvalid),
        };
        assert_eq!(refused.err(), expected, "{path}");
    }
    // The digest of an empty body is one, too.
    let empty = json_at(&format!("/hook?bodySHA256={}", digest_of("")), "");
    assert!(payload(&verifier, &empty).await.is_ok());
}

#[test]
fn json_is_read_at_one_url_that_no_callback_can_have() {
    for path in [
        "",
        "hook",
        "*",
        "?a=1",
        "https://a.example/hook",
        "/hook?",
        "/hook#a",
        "/ho ok",
        "/hookAccountSid",
        "/hook?AccountSid=AC1",
        "/hook?bodySHA256=00",
        "/bodySHA256",
    ] {
        assert!(Twilio::json_at(path).is_err(), "{path}");
    }
    for path in ["/", "/hook", "/hook?a=1&b", "/hook/%C3%A9?accountsid=1"] {
        assert!(Twilio::json_at(path).is_ok(), "{path}");
    }
}

#[tokio::test]
async fn each_mode_refuses_what_the_other_reads() {
    let malformed = Some(RejectionKind::SignatureMalformed);
    let json = json("{}");
    assert_eq!(given(common::ORIGIN, &json).await.err(), malformed);
    let hook = "https://api.example.com/hook?a=1";
    let form = form("/hook?a=1", FORM, &format!("{hook}{SORTED}"));
    assert!(given(common::ORIGIN, &form).await.is_ok());
    let refused = payload(&json_verifier("/hook?a=1"), &form).await;
    assert_eq!(refused.err(), malformed);
    // JSON mode refuses a form by its `Content-Type`, although the digest matches.
    let said = with(&json, "content-type", "Application/x-www-form-urlencoded");
    let refused = payload(&json_verifier("/hook?a=1"), &said).await;
    assert_eq!(refused.err(), malformed);
}

/// The message of a text that somebody sent, which Twilio signed as a form for `/hook`; and the same
/// message, read as a URL, with a body of the attacker's.
fn moved() -> (Request<Bytes>, Request<Bytes>) {
    let forged = r#"{"admin":true}"#;
    let text = format!("&bodySHA256={}&x=", digest_of(forged));
    let encoded = text.replace('&', "%26").replace('=', "%3D");
    let body = format!("AccountSid=AC1&Body={encoded}&To=12");
    let parameters = format!("AccountSidAC1Body{text}To12");
    let genuine = form(
        "/hook?a=1",
        &body,
        &format!("https://api.example.com/hook?a=1{parameters}"),
    );
    let mut attack = request(
        &format!("/hook?a=1{parameters}"),
        "application/json",
        forged,
    );
    set(&mut attack, SIGNATURE, &get(&genuine, SIGNATURE));
    (genuine, attack)
}

#[tokio::test]
async fn a41_a_signed_text_does_not_vouch_for_a_body() {
    let (genuine, attack) = moved();
    assert!(given(common::ORIGIN, &genuine).await.is_ok());
    let malformed = Some(RejectionKind::SignatureMalformed);
    let as_form = with(&attack, "content-type", "application/x-www-form-urlencoded");
    for attack in [&attack, &as_form] {
        assert_eq!(given(common::ORIGIN, attack).await.err(), malformed);
        let refused = payload(&json_verifier("/hook?a=1"), attack).await;
        assert!(refused.is_err());
    }
    let form = with_body(&as_form, "admin=true");
    assert_eq!(given(common::ORIGIN, &form).await.err(), malformed);
}

/// As it is often written: a digest anywhere in the query says that the body is JSON.
fn naive_reader_accepts(request: &Request<Bytes>) -> bool {
    let query = request.uri().query().unwrap_or_default();
    let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    let Some((_, digest)) = pairs.find(|(name, _)| *name == "bodySHA256") else {
        return false;
    };
    let url = format!("https://{}{}", common::HOST, request.uri());
    let body = base16ct::lower::encode_string(&Sha256::digest(request.body()));
    get(request, SIGNATURE) == mac(&url) && digest == body
}

#[test]
fn a41_twin_a_reader_that_believes_a_digest_anywhere_is_found() {
    assert!(naive_reader_accepts(&json("{}")));
    let (_, attack) = moved();
    assert!(naive_reader_accepts(&attack));
}

/// A form of Twilio whose text, by its last parameter, ends like the URL of JSON; and the URLs at which
/// its signed text could be read so: each with a body of the attacker's.
fn forms_that_end_in_a_digest() -> Vec<Request<Bytes>> {
    let forged = r#"{"admin":true}"#;
    let digest = digest_of(forged);
    let mut attacks = Vec::new();
    for url in [
        "",
        "/",
        "/hook",
        "/hook?",
        "/hook?a=1",
        "/form",
        "/form/hook",
    ] {
        for separator in ["?", "&", "/hook?", "/hook?a=1&"] {
            let text = format!("AccountSidAC1Zx{separator}bodySHA256={digest}");
            let path = format!("{url}{text}");
            let path = match url {
                "" => format!("/{path}"),
                _ => path,
            };
            let attack = json_at(&path, forged);
            assert_eq!(
                get(&attack, SIGNATURE),
                mac(&format!("https://api.example.com{path}"))
            );
            attacks.push(attack);
        }
    }
    attacks
}

#[tokio::test]
async fn a41_a_form_that_was_signed_for_another_route_is_no_json_below_a_wildcard() {
    let effects = common::Effects::default();
    let layer = VerifyLayer::builder(Twilio::json_at("/hook?a=1").unwrap())
        .public_origin(common::ORIGIN)
        .secret(SECRET);
    let app = common::echo(&effects).layer(layer.build().unwrap());
    let send = async |request: Request<Bytes>| {
        let request = request.map(axum::body::Body::from);
        app.clone().oneshot(request).await.unwrap().status()
    };
    assert_eq!(send(json("{}")).await, 200);
    for attack in forms_that_end_in_a_digest() {
        assert_eq!(send(attack).await, 401);
    }
    assert_eq!(effects.count(), 1);

    let invalid = Some(RejectionKind::SignatureInvalid);
    for attack in forms_that_end_in_a_digest() {
        for path in ["/", "/hook", "/hook?a=1", "/form/hook"] {
            let refused = payload(&json_verifier(path), &attack).await;
            assert_eq!(refused.err(), invalid, "{path} {}", attack.uri());
        }
    }
}

/// This twin wants the digest once, as the last parameter, and leaves the rest of the URL free.
#[tokio::test]
async fn a41_twin_a_reader_of_json_at_any_url_is_found() {
    let naive = |request: &Request<Bytes>| {
        let query = request.uri().query().unwrap_or_default();
        let last = query.rsplit('&').next().unwrap_or_default();
        let digest = last.strip_prefix("bodySHA256=");
        let url = format!("https://{}{}", common::HOST, request.uri());
        digest == Some(&*digest_of(std::str::from_utf8(request.body()).unwrap()))
            && query.matches("bodySHA256").count() == 1
            && get(request, SIGNATURE) == mac(&url)
    };
    let attacks = forms_that_end_in_a_digest();
    let found = attacks.iter().filter(|attack| naive(attack)).count();
    assert!(found > 15, "{found} of {}", attacks.len());
}

/// Cut in two wherever one likes, the URL of JSON is no form, and none without a body.
#[tokio::test]
async fn a41_json_is_read_as_no_form() {
    for genuine in [
        json("{}"),
        json_at(&format!("/hook?bodySHA256={}", digest_of("{}")), "{}"),
    ] {
        let uri = genuine.uri().to_string();
        let message = format!("https://api.example.com{uri}");
        let mut malformed = 0;
        for at in 1..=uri.len() {
            let (path, text) = uri.split_at(at);
            let text = text
                .replace('&', "%26")
                .replace('=', "%3D")
                .replace('?', "%3F");
            // A name of one byte, or all of it as a name.
            let bodies = match text.len() {
                0 => vec![String::new()],
                1 => vec![format!("{text}=")],
                _ if text.starts_with('%') => {
                    vec![format!("{}={}", &text[..3], &text[3..]), format!("{text}=")]
                }
                _ => vec![format!("{}={}", &text[..1], &text[1..]), format!("{text}=")],
            };
            for body in bodies {
                let refused = given(common::ORIGIN, &form(path, &body, &message)).await;
                assert_eq!(
                    refused,
                    Err(RejectionKind::SignatureMalformed),
                    "{path} {body}"
                );
                malformed += 1;
            }
        }
        assert!(malformed > 80, "{malformed}");
    }
    // Close to it, and a form.
    let digest = digest_of("{}");
    for text in [
        format!("bodySHA256={}", &digest[1..]),
        format!("bodySHA256={digest}0"),
        format!("bodySHA256={digest}x"),
        format!("bodySHA255={digest}"),
        format!("xbodySHA256={digest}"),
        digest.clone(),
    ] {
        let hook = "https://api.example.com/hook";
        let body = format!("Body={}", text.replace('=', "%3D"));
        let request = form("/hook", &body, &format!("{hook}Body{text}"));
        assert!(given(common::ORIGIN, &request).await.is_ok(), "{text}");
    }
}

/// A limit: a Studio flow posts a form without `AccountSid` to a URL with which that of the JSON
/// begins, and its parameter has the name with which it goes on.
#[tokio::test]
async fn a41_a_form_of_a_flow_can_pass_for_json_if_its_url_begins_that_of_the_json() {
    let forged = r#"{"admin":true}"#;
    let text = format!("?bodySHA256={}", digest_of(forged));
    let body = format!("vents={}", text.replace('=', "%3D").replace('?', "%3F"));
    let message = format!("https://api.example.com/events{text}");
    let genuine = form("/e", &body, &message);
    let refused = given(common::ORIGIN, &genuine).await;
    assert_eq!(refused, Err(RejectionKind::SignatureMalformed));
    let attack = json_at(&format!("/events{text}"), forged);
    assert_eq!(get(&attack, SIGNATURE), get(&genuine, SIGNATURE));
    assert!(payload(&json_verifier("/events"), &attack).await.is_ok());
    let elsewhere = payload(&json_verifier("/json"), &attack).await;
    assert_eq!(elsewhere.err(), Some(RejectionKind::SignatureInvalid));
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
    assert_eq!(sign_json(signed.clone()).unwrap().uri(), signed.uri());
    assert!(sign_json(with_body(&signed, "[]")).is_err());
    assert!(sign_json(at_path(&signed, "/hook?bodySHA256=x")).is_err());
    assert!(sign_json(at_path(&signed, "/hook?bodySHA256")).is_err());
    assert!(sign_json(at_path(&signed, "/hook")).is_err());
    assert!(sign_json(at_path(&signed, "/hook?a=1&b=2")).is_err());
    let followed = format!("{}&a=1", signed.uri());
    assert!(sign_json(at_path(&signed, &followed)).is_err());
    let mut nowhere = request("/hook", "application/json", "{}");
    nowhere.headers_mut().remove("host");
    assert!(sign_json(nowhere).is_err());
}

#[test]
fn a_signer_signs_what_a_verifier_of_its_mode_reads() {
    let json = request("/hook?a=1", "application/json", "{}");
    assert!(sign(json.clone()).is_err());
    let whole = format!("/hook?a=1&bodySHA256={}", digest_of("{}"));
    assert_eq!(sign_json(json.clone()).unwrap().uri(), whole.as_str());
    assert!(sign_json(at_path(&json, "/hook?a")).is_err());
    let form = request("/hook?a=1", "application/x-www-form-urlencoded", FORM);
    assert!(sign_json(form.clone()).is_err());
    assert!(sign(form).is_ok());
}

/// Media Streams: the handshake is signed with the URL of the socket.
#[tokio::test]
async fn a_handshake_of_a_websocket_is_verified_under_its_own_scheme() {
    let layer = |origin: &str| {
        VerifyLayer::builder(Twilio::new())
            .public_origin(origin)
            .secret(SECRET)
            .danger_websocket_handshakes()
            .build()
            .unwrap()
    };
    let seen = async |request: axum::extract::Request| {
        let payload = request.extensions().get::<VerifiedPayload>().unwrap();
        let protocol = request.headers().get("upgrade");
        format!(
            "{:?} {:?} {protocol:?}",
            payload.authority(),
            payload.path()
        )
    };
    let handshake = |message: &str| {
        let mut request = Request::get("/media?a=1")
            .header("host", common::HOST)
            .header("connection", "Upgrade")
            .header("upgrade", "websocket")
            .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
            .body(axum::body::Body::empty())
            .unwrap();
        let mac = mac(message).parse().unwrap();
        request.headers_mut().insert(SIGNATURE, mac);
        request
    };
    for (origin, url, status) in [
        (
            "wss://api.example.com",
            "wss://api.example.com/media?a=1",
            200,
        ),
        (
            "wss://api.example.com",
            "wss://api.example.com:443/media?a=1",
            200,
        ),
        (
            "wss://API.example.com:443",
            "wss://api.example.com/media?a=1",
            200,
        ),
        (
            "ws://api.example.com",
            "ws://api.example.com:80/media?a=1",
            200,
        ),
        (
            "wss://api.example.com",
            "https://api.example.com/media?a=1",
            401,
        ),
        (
            "https://api.example.com",
            "wss://api.example.com/media?a=1",
            401,
        ),
        (
            "ws://api.example.com",
            "wss://api.example.com/media?a=1",
            401,
        ),
        (
            "wss://api.example.com",
            "wss://api.example.com:80/media?a=1",
            401,
        ),
    ] {
        let router = axum::Router::new().route("/media", axum::routing::get(seen));
        let app = router.layer(layer(origin));
        let answer = common::verdict(app.oneshot(handshake(url)).await.unwrap()).await;
        assert_eq!(answer.0, status, "{origin} {url}: {}", answer.1);
        if status == 200 {
            let told = r#"Some("api.example.com") Some("/media") Some("websocket")"#;
            assert_eq!(answer.1, told);
        }
    }
}

/// Twilio signs the URL as it is configured, with user and password.
#[tokio::test]
async fn user_information_is_part_of_the_url_that_is_signed() {
    let origin = "https://user:p%40ss@api.example.com";
    let url = |user: &str, port: &str| format!("https://{user}api.example.com{port}/hook{SORTED}");
    for port in ["", ":443"] {
        let genuine = form("/hook", FORM, &url("user:p%40ss@", port));
        assert!(given(origin, &genuine).await.is_ok(), "{port}");
        let invalid = Err(RejectionKind::SignatureInvalid);
        assert_eq!(given(common::ORIGIN, &genuine).await, invalid);
        assert_eq!(
            given(origin, &form("/hook", FORM, &url("", port))).await,
            invalid
        );
        let other = form("/hook", FORM, &url("user:other@", port));
        assert_eq!(given(origin, &other).await, invalid);
    }
    let verifier = verifier(origin);
    let genuine = form("/hook", FORM, &url("user:p%40ss@", ""));
    let payload = payload(&verifier, &genuine).await;
    assert_eq!(payload.unwrap().authority(), Some(common::HOST));
    assert!(!format!("{verifier:?}").contains("p%40ss"));
}

/// An origin is a mistake if the sender signs no URL.
#[test]
fn an_origin_that_the_scheme_does_not_sign_is_an_error() {
    for origin in [
        "wss://api.example.com",
        "ws://api.example.com",
        "https://user:password@api.example.com",
    ] {
        let twilio = Verifier::builder(Twilio::new()).public_origin(origin);
        assert!(twilio.secret(SECRET).build().is_ok(), "{origin}");
        let square = Verifier::builder(countersign::webhooks::Square::new()).public_origin(origin);
        let square = square.secret(SECRET).store(common::store(&common::clock()));
        let error = square.build().unwrap_err().to_string();
        assert!(error.contains("for senders that sign them"), "{error}");
        assert!(!error.contains("password@"), "{error}");
    }
    for origin in [
        "ftp://api.example.com",
        "wss://",
        "https://user@",
        "api.example.com",
    ] {
        let twilio = Verifier::builder(Twilio::new()).public_origin(origin);
        assert!(twilio.secret(SECRET).build().is_err(), "{origin}");
    }
}
