//! A `HeaderScheme` expresses the formats that are in use, as others compute them: each is
//! verified against a MAC over a message that is put together here, by hand, and against one that
//! Python made.

use std::{io::ErrorKind, process::Command, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use countersign::{
    ConfigError, HeaderScheme, KeyRing, Part, Rejection, RejectionKind, Secret, Signer, Verifier,
    request::Verified,
    scheme::{Encoding, HeaderSchemeBuilder, MacAlgorithm},
    store::NonceKind,
};
use hmac::{Hmac, KeyInit as _, Mac as _};
use http::Request;
use http_body_util::Full;
use sha2::{Sha256, Sha512};

use crate::common::{self, NOW, SECRET, at, clock, log, store};

const DAY: Duration = Duration::from_secs(86_400);
const SENDER: &str = "sender";
const PATH: &str = "/accounts/7/transfer";
const BODY: &str = r#"{"amount":100,"to":"é"}"#;

/// A format, as its sender would state it.
struct Format {
    name: &'static str,
    scheme: HeaderScheme,
    header: &'static str,
    /// The value of that header, with `{}` for the MAC.
    value: &'static str,
    message: String,
    /// The same message as an expression of Python.
    python: &'static str,
}

impl Format {
    fn request(&self, mac: &str) -> Request<String> {
        let mut request = sample();
        let value = self.value.replace("{}", mac).parse().unwrap();
        request.headers_mut().insert(self.header, value);
        request
    }
}

/// The request that all the formats sign, with every header that one of them needs.
fn sample() -> Request<String> {
    Request::post(format!("{PATH}?dry=no&note=a%20b"))
        .header("host", "API.example.com:443")
        .header("content-type", "application/json")
        .header("if-match", "\"7\"")
        .header("x-timestamp", NOW)
        .header("x-nonce", "a8f1.7")
        .header("x-key-id", SENDER)
        .body(BODY.to_owned())
        .unwrap()
}

fn scheme(header: &str, parts: impl IntoIterator<Item = Part>) -> HeaderSchemeBuilder {
    HeaderScheme::builder(header).signs(parts)
}

/// A path without this delimiter, so that the delimiter can follow the path.
fn between(delimiter: &str) -> Vec<Part> {
    let path = Part::path_without(delimiter.chars().next().unwrap());
    Part::joined(delimiter, [Part::Method, path, Part::Time, Part::Body])
}

fn formats() -> Vec<Format> {
    let lines = |parts: &[Part]| Part::lines(parts.iter().cloned());
    let timed = |header, parts: Vec<Part>| {
        scheme(header, parts)
            .fixed_key_id(SENDER)
            .time("x-timestamp")
    };
    vec![
        Format {
            name: "the body alone",
            scheme: scheme("x-signature", [Part::Body])
                .fixed_key_id(SENDER)
                .danger_without_time(DAY)
                .build()
                .unwrap(),
            header: "x-signature",
            value: "{}",
            message: BODY.into(),
            python: "body",
        },
        Format {
            name: "`sha256=` over the body",
            scheme: scheme("x-hub-signature-256", [Part::Body])
                .prefix("sha256=")
                .fixed_key_id(SENDER)
                .danger_without_time(DAY)
                .build()
                .unwrap(),
            header: "x-hub-signature-256",
            value: "sha256={}",
            message: BODY.into(),
            python: "body",
        },
        Format {
            name: "time and body",
            scheme: timed("x-signature", Part::joined(".", [Part::Time, Part::Body]))
                .build()
                .unwrap(),
            header: "x-signature",
            value: "{}",
            message: format!("{NOW}.{BODY}"),
            python: "f'{timestamp}.{body}'",
        },
        Format {
            name: "time and body, with nothing between them",
            scheme: timed("x-signature", vec![Part::Time, Part::Body])
                .time_width(10)
                .build()
                .unwrap(),
            header: "x-signature",
            value: "{}",
            message: format!("{NOW}{BODY}"),
            python: "timestamp + body",
        },
        Format {
            name: "time, method, path and body, with nothing between them",
            scheme: timed(
                "x-signature",
                vec![
                    Part::Time,
                    Part::method_of(["GET", "POST", "PUT", "DELETE"]),
                    Part::fixed_path(PATH),
                    Part::Body,
                ],
            )
            .time_width(10)
            .build()
            .unwrap(),
            header: "x-signature",
            value: "{}",
            message: format!("{NOW}POST{PATH}{BODY}"),
            python: "timestamp + method + path + body",
        },
        Format {
            name: "method, path, time and body, between colons",
            scheme: timed("x-signature", between(":")).build().unwrap(),
            header: "x-signature",
            value: "{}",
            message: format!("POST:{PATH}:{NOW}:{BODY}"),
            python: "':'.join([method, path, timestamp, body])",
        },
        Format {
            name: "method, path, time and body, between bars",
            scheme: timed("x-signature", between("|")).build().unwrap(),
            header: "x-signature",
            value: "{}",
            message: format!("POST|{PATH}|{NOW}|{BODY}"),
            python: "'|'.join([method, path, timestamp, body])",
        },
        Format {
            name: "version, time and body",
            scheme: timed(
                "x-signature",
                Part::joined(":", [Part::text("v0"), Part::Time, Part::Body]),
            )
            .prefix("v0=")
            .build()
            .unwrap(),
            header: "x-signature",
            value: "v0={}",
            message: format!("v0:{NOW}:{BODY}"),
            python: "f'v0:{timestamp}:{body}'",
        },
        Format {
            name: "method, path, body, time",
            scheme: timed(
                "x-signature",
                lines(&[Part::Method, Part::Path, Part::Body, Part::Time]),
            )
            .build()
            .unwrap(),
            header: "x-signature",
            value: "{}",
            message: format!("POST\n/accounts/7/transfer\n{BODY}\n{NOW}"),
            python: r"'\n'.join([method, path, body, timestamp])",
        },
        Format {
            name: "time, method, path and query, body",
            scheme: timed(
                "x-signature",
                lines(&[Part::Time, Part::Method, Part::PathAndQuery, Part::Body]),
            )
            .build()
            .unwrap(),
            header: "x-signature",
            value: "{}",
            message: format!("{NOW}\nPOST\n/accounts/7/transfer?dry=no&note=a%20b\n{BODY}"),
            python: r"f'{timestamp}\n{method}\n{path}?{query}\n{body}'",
        },
        Format {
            name: "names before the values",
            scheme: timed(
                "x-signature",
                vec![
                    Part::text("method: "),
                    Part::Method,
                    Part::text("\npath: "),
                    Part::Path,
                    Part::text("\nquery: "),
                    Part::Query,
                    Part::text("\ntimestamp: "),
                    Part::Time,
                    Part::text("\nbody: "),
                    Part::Body,
                ],
            )
            .build()
            .unwrap(),
            header: "x-signature",
            value: "{}",
            message: format!(
                "method: POST\npath: /accounts/7/transfer\nquery: dry=no&note=a%20b\n\
                 timestamp: {NOW}\nbody: {BODY}"
            ),
            python: r"f'method: {method}\npath: {path}\nquery: {query}\ntimestamp: {timestamp}\nbody: {body}'",
        },
        Format {
            name: "an object's version, chosen headers, nonce and key id",
            scheme: scheme(
                "authorization",
                lines(&[
                    Part::Method,
                    Part::Authority,
                    Part::PathAndQuery,
                    Part::header("if-match"),
                    Part::header("content-type"),
                    Part::KeyId,
                    Part::Time,
                    Part::Nonce,
                    Part::Body,
                ]),
            )
            .prefix("HMAC-SHA256:")
            .key_id("x-key-id")
            .time("x-timestamp")
            .nonce("x-nonce")
            .build()
            .unwrap(),
            header: "authorization",
            value: "HMAC-SHA256:{}",
            message: format!(
                "POST\napi.example.com\n/accounts/7/transfer?dry=no&note=a%20b\n\"7\"\n\
                 application/json\nsender\n{NOW}\na8f1.7\n{BODY}"
            ),
            python: r#"f'{method}\napi.example.com\n{path}?{query}\n"7"\napplication/json\nsender\n{timestamp}\na8f1.7\n{body}'"#,
        },
    ]
}

fn hmac_hex(secret: impl AsRef<[u8]>, message: impl AsRef<[u8]>) -> String {
    base16ct::lower::encode_string(&hmac_sha256(secret, message))
}

fn hmac_sha256(secret: impl AsRef<[u8]>, message: impl AsRef<[u8]>) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_ref()).unwrap();
    mac.update(message.as_ref());
    mac.finalize().into_bytes().to_vec()
}

fn verifier(scheme: HeaderScheme, secret: Secret) -> Verifier {
    let clock = clock();
    Verifier::builder(scheme)
        .public_origin(common::ORIGIN)
        .keys(KeyRing::new().with(SENDER, secret).unwrap())
        .store(store(&clock))
        .clock(clock)
        .build()
        .unwrap()
}

async fn verify<B>(verifier: &Verifier, request: &Request<B>) -> Result<Verified, Rejection>
where
    B: Clone,
    Bytes: From<B>,
{
    let (parts, body) = request.clone().into_parts();
    verifier.verify(&parts, Full::new(Bytes::from(body))).await
}

async fn accepts(format: &Format, mac: &str) {
    let verifier = verifier(format.scheme.clone(), Secret::new(SECRET).unwrap());
    let name = format.name;
    let verified = verify(&verifier, &format.request(mac)).await.expect(name);
    assert_eq!(verified.payload().unwrap().bytes(), BODY, "{name}");
    let again = verify(&verifier, &format.request(mac)).await.unwrap_err();
    assert_eq!(again.kind(), RejectionKind::RequestReplayed, "{name}");

    let mut changed = format.request(mac);
    *changed.body_mut() = BODY.replace("100", "101");
    let refused = verify(&verifier, &changed).await.unwrap_err();
    assert_eq!(refused.kind(), RejectionKind::SignatureInvalid, "{name}");
}

#[tokio::test]
async fn formats_in_use_verify_against_a_message_put_together_by_hand() {
    for format in formats() {
        accepts(&format, &hmac_hex(SECRET, &format.message)).await;
    }
}

#[tokio::test]
async fn what_the_signer_writes_is_what_was_put_together_by_hand() {
    let names = ["x-timestamp", "x-nonce", "x-key-id"];
    for format in formats() {
        let mut request = sample();
        for name in names {
            request.headers_mut().remove(name);
        }
        let signer = Signer::new(format.scheme.clone(), SENDER, SECRET).unwrap();
        let signed = signer
            .clock(clock())
            .sign_with_nonce(request, "a8f1.7")
            .unwrap();
        let expected = format.request(&hmac_hex(SECRET, &format.message));
        let (signed, expected) = (signed.headers(), expected.headers());
        assert_eq!(
            signed[format.header], expected[format.header],
            "{}",
            format.name
        );
        for (name, value) in signed {
            assert_eq!(value, expected[name], "{}: {name}", format.name);
        }
    }
}

#[tokio::test]
async fn formats_in_use_verify_against_a_signature_that_python_made() {
    const SCRIPT: &str = r"
import hashlib, hmac, sys
secret_key, method, path, query, timestamp, body = sys.argv[1:7]
for expression in sys.argv[7:]:
    message = eval(expression).encode()
    print(hmac.new(secret_key.encode(), message, hashlib.sha256).hexdigest())
";
    let formats = formats();
    let (path, query) = (PATH, "dry=no&note=a%20b");
    let python = Command::new("python3")
        .args(["-I", "-X", "utf8", "-c", SCRIPT])
        .args([SECRET, "POST", path, query, &NOW.to_string(), BODY])
        .args(formats.iter().map(|format| format.python))
        .output();
    let output = match python {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let test = "formats_in_use_verify_against_a_signature_that_python_made";
            log::missing(test, "`python3` is not installed");
            return;
        }
        output => output.unwrap(),
    };
    assert!(output.status.success(), "{output:?}");
    let macs = String::from_utf8(output.stdout).unwrap();
    assert_eq!(macs.lines().count(), formats.len(), "{macs}");
    for (format, mac) in formats.iter().zip(macs.lines()) {
        accepts(format, mac).await;
    }
}

/// Anybody who captured a request moves a byte from one part to its neighbour: the message, and so the
/// MAC, are the same.
#[tokio::test]
async fn bytes_that_move_between_restricted_parts_are_refused() {
    let moved = |name: &str, request: &mut Request<String>| match name {
        "time and body, with nothing between them" => {
            // The last digit of the time begins the body.
            let (time, digit) = (NOW / 10, NOW % 10);
            request.headers_mut().insert("x-timestamp", time.into());
            *request.body_mut() = format!("{digit}{BODY}");
        }
        "time, method, path and body, with nothing between them" => {
            *request.uri_mut() = format!("{PATH}{{").parse().unwrap();
            *request.body_mut() = BODY[1..].to_owned();
        }
        "method, path, time and body, between colons" => {
            *request.uri_mut() = format!("{PATH}:{NOW}").parse().unwrap();
            *request.body_mut() = String::new();
        }
        "method, path, time and body, between bars" => {
            *request.uri_mut() = format!("{PATH}%7C{NOW}").parse().unwrap();
            *request.body_mut() = String::new();
        }
        _ => {}
    };
    let mut tried = 0;
    for format in formats() {
        let mac = hmac_hex(SECRET, &format.message);
        let (mut request, genuine) = (format.request(&mac), format.request(&mac));
        moved(format.name, &mut request);
        if request.uri() == genuine.uri() && request.body() == genuine.body() {
            continue;
        }
        tried += 1;
        let verifier = verifier(format.scheme.clone(), Secret::new(SECRET).unwrap());
        let refused = verify(&verifier, &request).await.unwrap_err();
        assert_eq!(
            refused.kind(),
            RejectionKind::SignatureMalformed,
            "{}",
            format.name
        );
        let _ = verify(&verifier, &genuine).await.expect(format.name);
    }
    assert_eq!(tried, 4);
}

/// The twin: a verifier that joins what arrives, as many do, takes the moved byte.
#[test]
fn twin_a_verifier_without_the_restriction_accepts_the_moved_byte() {
    let naive = |time: &str, body: &str| hmac_hex(SECRET, format!("{time}{body}"));
    let (time, digit) = (NOW / 10, NOW % 10);
    let genuine = naive(&NOW.to_string(), BODY);
    assert_eq!(naive(&time.to_string(), &format!("{digit}{BODY}")), genuine);
}

#[tokio::test]
async fn a_mac_in_base64_and_one_of_sha_512_are_read() {
    let untimed = |builder: HeaderSchemeBuilder| {
        builder
            .fixed_key_id(SENDER)
            .danger_without_time(DAY)
            .build()
            .unwrap()
    };
    let base64 = untimed(scheme("x-signature", [Part::Body]).encoding(Encoding::Base64));
    let sha512 = untimed(scheme("x-signature", [Part::Body]).algorithm(MacAlgorithm::HmacSha512));
    let mut mac = Hmac::<Sha512>::new_from_slice(SECRET.as_bytes()).unwrap();
    mac.update(BODY.as_bytes());
    let mac = base16ct::lower::encode_string(&mac.finalize().into_bytes());
    for (scheme, mac) in [
        (base64, STANDARD.encode(hmac_sha256(SECRET, BODY))),
        (sha512, mac),
    ] {
        let verifier = verifier(scheme, Secret::new(SECRET).unwrap());
        let mut request = sample();
        request
            .headers_mut()
            .insert("x-signature", mac.parse().unwrap());
        assert!(verify(&verifier, &request).await.is_ok());
        // The MAC of the other algorithm, and the same in the other encoding, are no signature.
        let other = hmac_hex(SECRET, BODY).parse().unwrap();
        request.headers_mut().insert("x-signature", other);
        let refused = verify(&verifier, &request).await.unwrap_err();
        assert_eq!(refused.kind(), RejectionKind::SignatureMalformed);
    }
}

#[tokio::test]
async fn an_event_id_is_one_event_however_often_it_is_signed() {
    let scheme = scheme(
        "x-signature",
        Part::lines([Part::Nonce, Part::Time, Part::Body]),
    )
    .fixed_key_id(SENDER)
    .time("x-timestamp")
    .event_id("x-event-id")
    .build()
    .unwrap();
    let verifier = verifier(scheme, Secret::new(SECRET).unwrap());
    let delivery = |time: u64| {
        let mac = hmac_hex(SECRET, format!("event-1\n{time}\n{BODY}"));
        Request::post("/")
            .header("host", common::HOST)
            .header("x-event-id", "event-1")
            .header("x-timestamp", time)
            .header("x-signature", mac)
            .body(BODY)
            .unwrap()
    };
    let verified = verify(&verifier, &delivery(NOW)).await.unwrap();
    let nonce = verified.payload().unwrap().nonce().unwrap();
    assert_eq!(
        (nonce.kind(), nonce.as_bytes()),
        (NonceKind::Event, &b"event-1"[..])
    );
    let retry = verify(&verifier, &delivery(NOW - 10)).await.unwrap_err();
    assert_eq!(retry.kind(), RejectionKind::RequestReplayed);
}

#[tokio::test]
async fn a_time_in_milliseconds_is_read_as_such() {
    let parts = Part::joined(".", [Part::Time, Part::Body]);
    let scheme = scheme("x-signature", parts)
        .fixed_key_id(SENDER)
        .time_millis("x-timestamp")
        .build()
        .unwrap();
    let verifier = verifier(scheme, Secret::new(SECRET).unwrap());
    let at_millis = |time: u64| {
        let mac = hmac_hex(SECRET, format!("{time}.{BODY}"));
        let mut request = sample();
        request.headers_mut().insert("x-timestamp", time.into());
        request
            .headers_mut()
            .insert("x-signature", mac.parse().unwrap());
        request
    };
    let verified = verify(&verifier, &at_millis(NOW * 1000)).await.unwrap();
    assert_eq!(verified.payload().unwrap().signed_at(), Some(at(NOW)));
    let seconds = verify(&verifier, &at_millis(NOW)).await.unwrap_err();
    assert_eq!(seconds.kind(), RejectionKind::SignatureExpired);
}

#[tokio::test]
async fn times_that_two_libraries_could_read_differently_are_refused() {
    let parts = Part::joined(".", [Part::Time, Part::Body]);
    let scheme = scheme("x-signature", parts)
        .fixed_key_id(SENDER)
        .time("x-timestamp");
    let verifier = verifier(scheme.build().unwrap(), Secret::new(SECRET).unwrap());
    let verdict = async |time: &str| {
        let mac = hmac_hex(SECRET, format!("{time}.{BODY}"));
        let mut request = sample();
        request
            .headers_mut()
            .insert("x-timestamp", time.parse().unwrap());
        request
            .headers_mut()
            .insert("x-signature", mac.parse().unwrap());
        verify(&verifier, &request)
            .await
            .map(|_| ())
            .map_err(|rejection| rejection.kind())
    };
    let now = NOW.to_string();
    for time in [
        "",
        "-1",
        "1e9",
        "0x6553F100",
        &format!("+{now}"),
        &format!(" {now}"),
        &format!("{now} "),
        &format!("{now}.0"),
        &format!("0{now}"),
        &format!("{now}abc"),
        &format!("{now},{now}"),
        "99999999999999999999999999",
        "18446744073709551615",
    ] {
        assert_eq!(
            verdict(time).await,
            Err(RejectionKind::SignatureMalformed),
            "`{time}`"
        );
    }
    assert_eq!(verdict("0").await, Err(RejectionKind::SignatureExpired));
    assert_eq!(verdict(&now).await, Ok(()));
}

/// A message that the documents sign without a delimiter cannot be described.
#[test]
fn formats_without_a_delimiter_are_refused_when_they_are_built() {
    let timed = |parts: Vec<Part>| {
        scheme("x-signature", parts)
            .fixed_key_id(SENDER)
            .time("x-timestamp")
            .build()
    };
    let refused = |result: Result<HeaderScheme, ConfigError>| {
        result
            .unwrap_err()
            .to_string()
            .contains("put a delimiter there")
    };
    assert!(refused(timed(vec![Part::Time, Part::Body])));
    assert!(refused(timed(vec![
        Part::Method,
        Part::Path,
        Part::Body,
        Part::text("\n"),
        Part::Time
    ])));
    assert!(refused(timed(vec![
        Part::Method,
        Part::Path,
        Part::Time,
        Part::Body
    ])));
}

/// RFC 4231, cases 1, 2, 6 and 7.
#[tokio::test]
async fn the_values_of_rfc_4231_verify() {
    let jefe = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
    let cases: [(&[u8], &str, &str); 4] = [
        (
            &[0x0b; 20],
            "Hi There",
            "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7",
        ),
        (b"Jefe", "what do ya want for nothing?", jefe),
        (
            &[0xaa; 131],
            "Test Using Larger Than Block-Size Key - Hash Key First",
            "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
        ),
        (
            &[0xaa; 131],
            "This is a test using a larger than block-size key and a larger than block-size \
             data. The key needs to be hashed before being used by the HMAC algorithm.",
            "9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2",
        ),
    ];
    for (key, body, mac) in cases {
        let scheme = scheme("x-signature", [Part::Body])
            .fixed_key_id(SENDER)
            .danger_without_time(DAY);
        let secret = Secret::danger_short(key).unwrap();
        let verifier = verifier(scheme.build().unwrap(), secret);
        let request = |mac: &str| {
            let request = Request::post("/").header("host", common::HOST);
            request.header("x-signature", mac).body(body).unwrap()
        };
        let upper = mac.to_ascii_uppercase();
        assert!(verify(&verifier, &request(&upper)).await.is_ok(), "{body}");
        let again = verify(&verifier, &request(mac)).await.unwrap_err();
        assert_eq!(again.kind(), RejectionKind::RequestReplayed, "{body}");
        for len in 0..mac.len() {
            let refused = verify(&verifier, &request(&mac[..len])).await.unwrap_err();
            assert_eq!(
                refused.kind(),
                RejectionKind::SignatureMalformed,
                "{len} digits"
            );
        }
    }
}
