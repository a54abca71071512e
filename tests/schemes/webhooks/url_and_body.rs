//! Square and HubSpot, which sign the URL and the body side by side.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use countersign::{
    ConfigError, Processing, RejectionKind, Signer, VerifiedPayload, VerifiedQuery, Verifier,
    VerifyLayer,
    request::{Verified, VerifierBuilder},
    store::NonceKind,
    testing::ManualClock,
    webhooks::{HubSpot, Square},
};
use hmac::{Hmac, KeyInit as _, Mac as _};
use http::{HeaderName, HeaderValue, Method, Request, Uri};
use sha2::Sha256;
use tower::ServiceExt as _;

use super::{
    provider::{at_path, get, set, verify, with, with_body},
    tampering::changes,
};
use crate::common::{self, NOW, at};

const SECRETS: [&str; 2] = ["the secret of the sender", "the next secret of the sender"];
const TIME: &str = "x-hubspot-request-timestamp";
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

struct Sender {
    name: &'static str,
    builder: fn() -> VerifierBuilder<Verifier>,
    signer: fn(&str) -> Result<Signer, ConfigError>,
    signature: &'static str,
    /// The method before the URL, and the time after the body.
    framed: bool,
    event: &'static str,
    other_event: &'static str,
}

const SQUARE: Sender = Sender {
    name: "square",
    builder: || Verifier::builder(Square::new()),
    signer: |secret| Signer::with_secret(Square::new(), secret),
    signature: "x-square-hmacsha256-signature",
    framed: false,
    event: r#"{"event_id":"evt_1","amount":7}"#,
    other_event: r#"{"event_id":"evt_2","amount":7}"#,
};

const HUBSPOT: Sender = Sender {
    name: "hubspot",
    builder: || Verifier::builder(HubSpot::new()),
    signer: |secret| Signer::with_secret(HubSpot::new(), secret),
    signature: "x-hubspot-signature-v3",
    framed: true,
    event: r#"[{"eventId":1,"portalId":2,"attemptNumber":0},{"eventId":9}]"#,
    other_event: r#"[{"eventId":2,"portalId":2,"attemptNumber":0}]"#,
};

const ALL: [Sender; 2] = [SQUARE, HUBSPOT];

impl Sender {
    fn verifier(&self, clock: &ManualClock) -> Verifier {
        let verifier = (self.builder)()
            .public_origin(common::ORIGIN)
            .secret(SECRETS[0])
            .secret(SECRETS[1])
            .clock(clock.clone())
            .store(common::store(clock))
            .processing(Processing::AtMostOnce);
        verifier.build().unwrap()
    }

    fn sign(&self, clock: &ManualClock, uri: &str, body: &str) -> Request<Bytes> {
        let signer = (self.signer)(SECRETS[0]).unwrap().clock(clock.clone());
        let request = Request::post(uri)
            .header("host", common::HOST)
            .body(Bytes::from(body.to_owned()));
        signer.sign_body(request.unwrap(), "unused").unwrap()
    }

    fn delivery(&self, clock: &ManualClock) -> Request<Bytes> {
        self.sign(clock, "/hook?a=1", self.event)
    }

    /// The MAC that a holder of the secret would make of this URL, and of the rest of the request.
    fn resign(&self, request: &mut Request<Bytes>, url: &str) {
        let mut mac = Hmac::<Sha256>::new_from_slice(SECRETS[0].as_bytes()).unwrap();
        if self.framed {
            mac.update(request.method().as_str().as_bytes());
        }
        mac.update(url.as_bytes());
        mac.update(request.body());
        if self.framed {
            mac.update(request.headers()[TIME].as_bytes());
        }
        set(
            request,
            self.signature,
            &STANDARD.encode(mac.finalize().into_bytes()),
        );
    }

    fn headers(&self) -> Vec<&'static str> {
        [self.signature, TIME][..1 + usize::from(self.framed)].to_vec()
    }
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
async fn refused(sender: &Sender, request: &Request<Bytes>) -> Option<RejectionKind> {
    let verifier = sender.verifier(&common::clock());
    payload(&verifier, request).await.err()
}

#[tokio::test]
async fn what_is_signed_is_the_message_of_the_test() {
    for sender in ALL {
        let clock = common::clock();
        for (uri, body) in [
            ("/hook?a=1", sender.event),
            ("/", "{}"),
            ("/hook?a=%20%7B", ""),
        ] {
            let signed = sender.sign(&clock, uri, body);
            let mut again = signed.clone();
            sender.resign(&mut again, &format!("{}{uri}", common::ORIGIN));
            assert_eq!(signed.headers(), again.headers(), "{}", sender.name);
            assert_eq!(refused(&sender, &signed).await, None, "{}", sender.name);
        }
        if sender.framed {
            assert_eq!(get(&sender.delivery(&clock), TIME), format!("{NOW}000"));
        }
    }
}

/// The changes of one byte, of headers, URL and body, that are not refused.
async fn accepted_changes(
    verifier: &Verifier,
    genuine: &Request<Bytes>,
    headers: &[&'static str],
) -> Vec<String> {
    let mut changed = Vec::new();
    for name in headers {
        for (at, value) in changes(genuine.headers()[*name].as_bytes()) {
            if let Ok(value) = HeaderValue::from_bytes(&value) {
                let mut request = genuine.clone();
                let name = HeaderName::from_static(name);
                request.headers_mut().insert(name, value);
                changed.push((format!("header[{at}]"), request));
            }
        }
    }
    for (at, uri) in changes(genuine.uri().to_string().as_bytes()) {
        if let Ok(uri) = Uri::try_from(uri) {
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
        if verify(verifier, &request).await.is_ok() {
            accepted.push(what);
        }
    }
    accepted
}

#[tokio::test]
async fn every_change_of_one_byte_is_refused() {
    for sender in ALL {
        let clock = common::clock();
        let verifier = (sender.builder)()
            .public_origin(common::ORIGIN)
            .secret(SECRETS[0])
            .clock(clock.clone())
            .namespace("tests")
            .processing(Processing::InTransaction);
        let genuine = sender.delivery(&clock);
        let verifier = verifier.build().unwrap();
        let accepted = accepted_changes(&verifier, &genuine, &sender.headers()).await;
        assert!(accepted.is_empty(), "{}: {accepted:?}", sender.name);
        assert!(verify(&verifier, &genuine).await.is_ok());
    }
}

/// A format that covers no URL is found by the same search.
#[tokio::test]
async fn twin_a_verifier_that_does_not_cover_the_url_is_found() {
    let clock = common::clock();
    let genuine = super::rows::SHOPIFY.sign(&clock, "{}");
    let verifier = super::rows::SHOPIFY
        .verifier(&clock)
        .namespace("tests")
        .processing(Processing::InTransaction);
    let found = accepted_changes(&verifier.build().unwrap(), &genuine, &[]).await;
    assert!(found.len() > 100, "{}", found.len());
    assert!(found.iter().all(|what| what.starts_with("uri")));
}

#[tokio::test]
async fn a07_bytes_cannot_move_between_url_and_body() {
    let malformed = Some(RejectionKind::SignatureMalformed);
    for sender in ALL {
        let clock = common::clock();
        let genuine = sender.sign(&clock, "/hook?a=1", r#"{"a":[1]}"#);
        // The message is split at every place.
        let whole = r#"/hook?a=1{"a":[1]}"#;
        let mut accepted = Vec::new();
        for split in 1..=whole.len() {
            let (uri, body) = whole.split_at(split);
            if uri.parse::<Uri>().is_err() {
                continue;
            }
            let moved = with_body(&at_path(&genuine, uri), body.to_owned());
            match refused(&sender, &moved).await {
                None => accepted.push(split),
                kind => assert_eq!(kind, malformed, "{} {uri}", sender.name),
            }
        }
        assert_eq!(accepted, ["/hook?a=1".len()], "{}", sender.name);
        for body in [" {}", "a=1", "\u{feff}{}", "\0"] {
            let mut request = with_body(&genuine, body);
            sender.resign(&mut request, "https://api.example.com/hook?a=1");
            assert_eq!(refused(&sender, &request).await, malformed, "{body}");
            let signer = (sender.signer)(SECRETS[0]).unwrap();
            assert!(signer.sign(request).is_err(), "{body}");
        }
        for uri in ["/hook?a={", "/hook[1]"] {
            let Ok(uri) = uri.parse::<Uri>() else {
                continue;
            };
            let mut request = genuine.clone();
            *request.uri_mut() = uri;
            let signer = (sender.signer)(SECRETS[0]).unwrap();
            assert!(signer.sign(request).is_err(), "{}", sender.name);
        }
    }
}

/// Digits of the body cannot become digits of the time.
#[tokio::test]
async fn a07_bytes_cannot_move_between_url_and_time() {
    let genuine = HUBSPOT.sign(&common::clock(), "/hook?a=12", "");
    for (uri, time) in [
        ("/hook?a=1", format!("2{NOW}000")),
        ("/hook?a=121", "700000000000".to_owned()),
    ] {
        let moved = with(&at_path(&genuine, uri), TIME, &time);
        let refused = refused(&HUBSPOT, &moved).await;
        let stale = [
            RejectionKind::SignatureExpired,
            RejectionKind::SignatureNotYetValid,
        ];
        assert!(refused.is_some_and(|kind| stale.contains(&kind)), "{uri}");
    }
}

#[tokio::test]
async fn a14_a_time_is_plain_digits_in_milliseconds() {
    let clock = common::clock();
    let genuine = HUBSPOT.delivery(&clock);
    let dated = |time: &str| {
        let mut request = with(&genuine, TIME, time);
        HUBSPOT.resign(&mut request, "https://api.example.com/hook?a=1");
        request
    };
    for time in [
        "",
        "+1700000000000",
        "-1700000000000",
        "01700000000000",
        "1700000000000.0",
        "1.7e12",
        "17e11",
        " 1700000000000",
        "1700000000000 ",
        "1_700_000_000_000",
        "0x18bcfe56800",
        "1700000000000ms",
        "253402300800000",
        "18446744073709551616",
        "NaN",
        "2023-11-14T22:13:20Z",
    ] {
        let refused = refused(&HUBSPOT, &dated(time)).await;
        assert_eq!(refused, Some(RejectionKind::SignatureMalformed), "{time}");
    }
    for (time, expected) in [
        (NOW * 1000 - 300_000, None),
        (NOW * 1000 - 300_001, Some(RejectionKind::SignatureExpired)),
        (NOW * 1000 + 5_000, None),
        (
            NOW * 1000 + 5_001,
            Some(RejectionKind::SignatureNotYetValid),
        ),
        // Seconds.
        (NOW, Some(RejectionKind::SignatureExpired)),
    ] {
        let refused = refused(&HUBSPOT, &dated(&time.to_string())).await;
        assert_eq!(refused, expected, "{time}");
    }
}

#[tokio::test]
async fn a_payload_answers_for_what_is_covered() {
    for sender in ALL {
        let clock = common::clock();
        let genuine = sender.delivery(&clock);
        let payload = payload(&sender.verifier(&clock), &genuine).await.unwrap();
        assert_eq!(payload.bytes(), sender.event);
        assert_eq!(payload.key_id().as_str(), sender.name);
        assert_eq!(payload.method().is_some(), sender.framed);
        assert_eq!(payload.authority(), Some(common::HOST));
        assert_eq!(payload.path(), Some("/hook"));
        assert_eq!(payload.query(), Some("a=1"));
        assert_eq!(payload.signed_at(), sender.framed.then(|| at(NOW)));
        assert_eq!(payload.nonce().unwrap().kind(), NonceKind::Event);
        assert_eq!(payload.header(sender.signature), None);
        assert_eq!(payload.header(TIME).is_some(), sender.framed);
    }
}

/// A card of HubSpot asks by `GET`, with an address in its query.
#[tokio::test]
async fn the_query_that_hubspot_signed_is_handed_out_decoded_and_by_parameter() {
    let clock = common::clock();
    let layer = VerifyLayer::builder(HubSpot::new())
        .public_origin(common::ORIGIN)
        .secret(SECRETS[0])
        .clock(clock.clone())
        .store(common::store(&clock));
    let card = async |payload: VerifiedPayload, VerifiedQuery(all): VerifiedQuery<Pairs>| {
        let email = payload.query_param("userEmail").map(str::to_owned);
        format!(
            "{:?} {:?} {email:?} {all:?}",
            payload.path(),
            payload.query()
        )
    };
    let app = axum::Router::new()
        .route("/{*path}", axum::routing::get(card))
        .layer(layer.build().unwrap());
    let ask = async |uri: &str, signed: &str| {
        let mut request = HUBSPOT.sign(&clock, uri, "");
        *request.method_mut() = Method::GET;
        HUBSPOT.resign(&mut request, &format!("{}{signed}", common::ORIGIN));
        let request = request.map(axum::body::Body::from);
        common::verdict(app.clone().oneshot(request).await.unwrap()).await
    };
    for (uri, signed, told) in [
        (
            "/card?userEmail=a%40b.example&n=1",
            "/card?userEmail=a@b.example&n=1",
            r#"Some("/card") Some("userEmail=a@b.example&n=1") Some("a@b.example") [("userEmail", "a@b.example"), ("n", "1")]"#,
        ),
        // Encoded twice is decoded twice: once by the scheme, once as a parameter.
        (
            "/card?userEmail=a%2540b&n=%26%3D",
            "/card?userEmail=a%2540b&n=%26%3D",
            r#"Some("/card") Some("userEmail=a%2540b&n=%26%3D") Some("a%40b") [("userEmail", "a%40b"), ("n", "&=")]"#,
        ),
        // Twice is no value.
        (
            "/card?userEmail=a%40b&userEmail=c",
            "/card?userEmail=a@b&userEmail=c",
            r#"Some("/card") Some("userEmail=a@b&userEmail=c") None [("userEmail", "a@b"), ("userEmail", "c")]"#,
        ),
        // A path of which something was decoded is not the one that was routed.
        (
            "/card%2Fx?n=%40",
            "/card/x?n=@",
            r#"None Some("n=@") None [("n", "@")]"#,
        ),
        ("/card%2Fx", "/card/x", r#"None Some("") None []"#),
        // Respelled: what was signed is one query, whichever spelling was sent.
        (
            "/card%3FuserEmail=a%40b",
            "/card?userEmail=a@b",
            r#"None Some("userEmail=a@b") Some("a@b") [("userEmail", "a@b")]"#,
        ),
    ] {
        assert_eq!(ask(uri, signed).await, (200, told.to_owned()), "{uri}");
    }
    let changed = ask(
        "/card?userEmail=c%40b.example",
        "/card?userEmail=a@b.example",
    );
    assert_eq!(changed.await.0, 401);
}

type Pairs = Vec<(String, String)>;

/// A limit that the page names: HubSpot decodes some of the URL before it signs it.
#[tokio::test]
async fn a_url_of_hubspot_can_be_respelled_and_is_the_same_request() {
    let clock = common::clock();
    let verifier = HUBSPOT.verifier(&clock);
    let uri = "/hook/x?u=https%3A%2F%2Fa%3Fb%40%21%24%27%28%29%2A%2C%3B&k=%20%7B%3a%26%3D";
    let mut genuine = HUBSPOT.sign(&clock, uri, "");
    let signed = get(&genuine, HUBSPOT.signature);
    let decoded = "https://api.example.com/hook/x?u=https://a?b@!$'()*,;&k=%20%7B%3a%26%3D";
    HUBSPOT.resign(&mut genuine, decoded);
    assert_eq!(get(&genuine, HUBSPOT.signature), signed);
    let first = payload(&verifier, &genuine).await.unwrap();
    // The payload has what was signed: the decoded query, and the path, which HubSpot does not
    // decode.
    assert_eq!(first.path(), Some("/hook/x"));
    let query = "u=https://a?b@!$'()*,;&k=%20%7B%3a%26%3D";
    assert_eq!(first.query(), Some(query));
    assert_eq!(first.query_param("u"), Some("https://a?b@!$'()*,;"));
    assert_eq!(first.query_param("k"), Some(" {:&="));
    assert_eq!(first.query_param("x"), None);

    let respelled = at_path(&genuine, &uri.replace("/hook/x", "/hook%2Fx"));
    let plain = at_path(&genuine, &decoded["https://api.example.com".len()..]);
    for copy in [respelled, plain] {
        let replayed = payload(&verifier, &copy).await.err();
        assert_eq!(replayed, Some(RejectionKind::RequestReplayed));
    }
    let other = at_path(&genuine, &uri.replace("%26", "&"));
    let invalid = payload(&verifier, &other).await.err();
    assert_eq!(invalid, Some(RejectionKind::SignatureInvalid));
}

#[tokio::test]
async fn the_method_is_covered_where_it_is_signed() {
    for sender in ALL {
        let clock = common::clock();
        let mut request = sender.delivery(&clock);
        *request.method_mut() = Method::PUT;
        let invalid = Some(RejectionKind::SignatureInvalid);
        let expected = if sender.framed { invalid } else { None };
        assert_eq!(refused(&sender, &request).await, expected);
        *request.method_mut() = Method::POST;
        let elsewhere = with(&request, "host", "b.example");
        let refused = refused(&sender, &elsewhere).await;
        assert_eq!(refused, Some(RejectionKind::AuthorityNotServed));
        let built = (sender.builder)().secret(SECRETS[0]);
        let built = built.store(common::store(&clock));
        assert!(built.build().is_err(), "without a public origin");
    }
}

#[tokio::test]
async fn a32_a_redelivery_is_the_same_event() {
    let replayed = Some(RejectionKind::RequestReplayed);
    for sender in ALL {
        let clock = common::clock();
        let verifier = sender.verifier(&clock);
        // A forged delivery uses up no genuine one.
        let stranger = (sender.signer)("the secret of a stranger").unwrap();
        let forged = stranger.clock(clock.clone());
        let forged = forged.sign(sender.delivery(&clock)).unwrap();
        let invalid = payload(&verifier, &forged).await.err();
        assert_eq!(invalid, Some(RejectionKind::SignatureInvalid));

        assert!(payload(&verifier, &sender.delivery(&clock)).await.is_ok());
        for later in [Duration::from_secs(60), DAY / 2, DAY] {
            clock.set(at(NOW).saturating_add(later));
            let again = sender
                .event
                .replace("\"attemptNumber\":0", "\"attemptNumber\":1");
            let again = sender.sign(&clock, "/hook?a=1", &again);
            assert_eq!(payload(&verifier, &again).await.err(), replayed);
            let rotated = (sender.signer)(SECRETS[1]).unwrap().clock(clock.clone());
            let rotated = rotated.sign(again).unwrap();
            assert_eq!(payload(&verifier, &rotated).await.err(), replayed);
        }
        let other = sender.sign(&clock, "/hook?a=1", sender.other_event);
        assert!(payload(&verifier, &other).await.is_ok(), "{}", sender.name);
        // A limit that the page names: the delivery is forgotten.
        clock.advance(31 * DAY);
        assert!(payload(&verifier, &sender.delivery(&clock)).await.is_ok());
    }
}

#[tokio::test]
async fn without_an_event_id_the_message_tells_a_request_apart() {
    for (sender, body) in [
        (&SQUARE, "{}"),
        (&SQUARE, r#"[{"event_id":"x"}]"#),
        (&SQUARE, ""),
        (&HUBSPOT, ""),
        (&HUBSPOT, "[]"),
        (&HUBSPOT, r#"{"eventId":1}"#),
        (&HUBSPOT, r#"[{"portalId":1}]"#),
        (&HUBSPOT, r#"[{"a":1},{"eventId":1}]"#),
    ] {
        let clock = common::clock();
        let verifier = sender.verifier(&clock);
        let request = sender.sign(&clock, "/hook", body);
        let first = payload(&verifier, &request).await.unwrap();
        assert_eq!(first.nonce().unwrap().kind(), NonceKind::Digest, "{body}");
        let replayed = payload(&verifier, &request).await.err();
        assert_eq!(replayed, Some(RejectionKind::RequestReplayed), "{body}");
    }
}

#[tokio::test]
async fn a13_an_event_id_that_can_be_read_in_two_ways_is_refused() {
    let long = format!(r#"[{{"eventId":"{}"}}]"#, "e".repeat(257));
    for (sender, body) in [
        (&SQUARE, r#"{"event_id":"a","event_id":"b"}"#),
        (&SQUARE, r#"{"event_id":1}"#),
        (&SQUARE, r#"{"event_id":1e999}"#),
        (&HUBSPOT, r#"[[{"eventId":1}]]"#),
        (&HUBSPOT, r#"[{"eventId":1e999}]"#),
        (&HUBSPOT, r#"[{"eventId":1,"eventId":2}]"#),
        (&HUBSPOT, r#"[{"eventId":1,"\u0065ventId":1}]"#),
        (&HUBSPOT, r#"[{"eventId":1,"portalId":1,"portalId":2}]"#),
        (&HUBSPOT, r#"[{"eventId":null}]"#),
        (&HUBSPOT, r#"[{"eventId":1.5}]"#),
        (&HUBSPOT, r#"[{"eventId":[1]}]"#),
        (&HUBSPOT, &long),
    ] {
        let request = sender.sign(&common::clock(), "/hook", body);
        let refused = refused(sender, &request).await;
        assert_eq!(refused, Some(RejectionKind::SignatureMalformed), "{body}");
    }
    // An id that two portals have is two.
    let clock = common::clock();
    let verifier = HUBSPOT.verifier(&clock);
    for portal in [1, 2] {
        let body = format!(r#"[{{"eventId":1,"portalId":{portal}}}]"#);
        let request = HUBSPOT.sign(&clock, "/hook", &body);
        assert!(payload(&verifier, &request).await.is_ok(), "{portal}");
    }
}
