//! Rows 9, 10, 13 and 39: what the signature covers of body and headers, and what it leaves out.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use axum::{
    Router,
    body::Body,
    extract::Request,
    response::IntoResponse,
    routing::{any, post},
};
use countersign::{
    HeaderScheme, Part, Signer, VerifiedJson, VerifiedPayload, VerifyLayer, scheme::MacAlgorithm,
};
use http::header::{CONTENT_ENCODING, TRAILER, TRANSFER_ENCODING};
use http_body_util::BodyExt as _;
use tower::ServiceExt as _;

use crate::{
    common::{self, Effects, KEY, OTHER_KEY, SECRET, exchange},
    naive::{self, guard},
    subject::{
        ALL, Answer, BODY, Case, Frames, HOUSE, INSUFFICIENT, INVALID, MALFORMED, NOT_COVERED, OK,
        RFC_9421, Subject, Target, WEBHOOK, assert_survived, breaches, case, effective, get,
        refused, set, to_wire, with, with_body, without,
    },
};

fn other_bodies(_: &Subject, genuine: &http::Request<String>) -> Vec<Case> {
    let body = genuine.body();
    [
        String::new(),
        " ".into(),
        body.replace('7', "8"),
        format!("{body} "),
        format!(" {body}"),
        format!("{body}{body}"),
        body[..body.len() - 1].to_owned(),
        format!("{body}\0"),
    ]
    .into_iter()
    .map(|other| case(format!("`{other}`"), with_body(genuine, &other), INVALID))
    .collect()
}

#[tokio::test]
async fn a09_the_body_is_compared_with_what_was_signed() {
    for subject in ALL {
        let target = Target::new(subject).on_a_socket().await;
        let genuine = subject.signed(&target.clock);
        let cases = other_bodies(subject, &genuine);
        assert_survived(subject, &breaches(&target, &genuine, cases).await);

        let target = Target::new(subject).on_a_socket().await;
        let empty = subject.sign(&target.clock, common::request("POST", "/transfer", ""));
        let cases = vec![case(
            "a body where none was",
            with_body(&empty, BODY),
            subject.answers.uncovered_body,
        )];
        assert_survived(subject, &breaches(&target, &empty, cases).await);
    }
}

#[tokio::test]
async fn a09_twin_a_server_that_verifies_a_digest_and_not_the_body_is_found() {
    // The digest is in a header and is signed, but nobody compares it with the body.
    let clock = common::clock();
    let target = Target::of(&clock, |effects| {
        guard(effects, |parts, _| {
            let digest = naive::header(parts, "x-digest");
            naive::header(parts, "x-signature") == naive::expected(&HOUSE, parts, digest.as_bytes())
        })
    });
    let mut genuine = with_body(&HOUSE.signed(&clock), "the digest");
    set(&mut genuine, "x-digest", "the digest");
    HOUSE.resign(&mut genuine);
    let genuine = with_body(&genuine, BODY);
    let cases = other_bodies(&HOUSE, &genuine);
    let all = cases.len();
    assert_eq!(
        effective(&breaches(&target, &genuine, cases).await).len(),
        all
    );
}

fn without_body() -> HeaderScheme {
    HeaderScheme::builder("x-signature")
        .fixed_key_id(KEY)
        .time("x-timestamp")
        .nonce("x-nonce")
        .signs(Part::lines([
            Part::Method,
            Part::Path,
            Part::Time,
            Part::Nonce,
            Part::header("digest"),
        ]))
        .build()
        .unwrap()
}

#[tokio::test]
async fn a09_a39_a_body_that_nothing_covers_is_refused_at_its_first_byte() {
    // A covered `digest` is but text to a `HeaderScheme`: it never vouches for a body.
    let clock = common::clock();
    let effects = Effects::default();
    let layer = VerifyLayer::builder(without_body())
        .keys(common::keys())
        .store(common::store(&clock))
        .clock(clock.clone())
        .build()
        .unwrap();
    let app = crate::subject::app(&effects).layer(layer);
    let signer = Signer::new(without_body(), KEY, SECRET)
        .unwrap()
        .clock(clock.clone());
    let request = with(
        &common::request("POST", "/transfer", ""),
        "digest",
        "sha-256=:AAAA:",
    );
    let genuine = signer.sign(request).unwrap();

    let read = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&read);
    let frames = Frames::new(["", "a", "b", "c"], move |frame| {
        counter.store(frame + 1, Ordering::SeqCst);
    });
    let with_frames = genuine.clone().map(|_| Body::new(frames));
    let answer = common::verdict(app.clone().oneshot(with_frames).await.unwrap()).await;
    assert_eq!((answer.0, answer.1.as_str()), NOT_COVERED);
    assert_eq!(
        (read.load(Ordering::SeqCst), effects.count()),
        (2, 0),
        "an empty frame and one byte"
    );

    let empty = Frames::new(["", ""], |_| {});
    let answer = app
        .oneshot(genuine.map(|_| Body::new(empty)))
        .await
        .unwrap();
    assert_eq!(
        (answer.status().as_u16(), effects.count()),
        (OK, 1),
        "no body is no body"
    );
}

fn fewer_covered(subject: &Subject, genuine: &http::Request<String>) -> Vec<Case> {
    let mut cases = Vec::new();
    for name in subject.parameters() {
        cases.push(case(
            format!("without {name}"),
            without(genuine, name),
            subject.answers.lacking,
        ));
        let mut emptied = with(genuine, name, "");
        subject.resign(&mut emptied);
        cases.push(case(
            format!("{name} empty, and so signed"),
            emptied,
            MALFORMED,
        ));
    }
    if subject.covers_place {
        let mut bare = without(genuine, "content-type");
        subject.resign(&mut bare);
        let expected = subject.answers.absent;
        cases.push(case("no content type, and so signed", bare, expected));
        // A holder of the key who signs less, whatever it says about itself.
        let message = (WEBHOOK.message)(&genuine.clone().into_parts().0, BODY.as_bytes());
        let mac = naive::mac(subject.algorithm, SECRET.as_bytes(), &message);
        let mut less = with(genuine, "x-signed-headers", "x-timestamp");
        subject.write(&mut less, &mac);
        cases.push(case("time and body alone", less, INVALID));
    }
    cases
}

#[tokio::test]
async fn a10_fewer_covered_components_than_required() {
    for subject in ALL {
        let target = Target::new(subject).on_a_socket().await;
        let genuine = subject.signed(&target.clock);
        let cases = fewer_covered(subject, &genuine);
        assert_survived(subject, &breaches(&target, &genuine, cases).await);
    }
}

#[tokio::test]
async fn a10_twin_a_server_that_lets_the_request_say_what_is_covered_is_found() {
    let clock = common::clock();
    let target = Target::of(&clock, |effects| {
        guard(effects, |parts, body| {
            let message = match naive::header(parts, "x-signed-headers") {
                "" => (HOUSE.message)(parts, body),
                _ => (WEBHOOK.message)(parts, body),
            };
            let mac = naive::mac(MacAlgorithm::HmacSha256, SECRET.as_bytes(), &message);
            naive::header(parts, "x-signature") == HOUSE.encode(&mac)
        })
    });
    let genuine = HOUSE.signed(&clock);
    let found = breaches(&target, &genuine, fewer_covered(&HOUSE, &genuine)).await;
    // It also takes what is missing for empty, as the message of this test does.
    assert!(
        effective(&found).contains(&"time and body alone"),
        "{found:?}"
    );
}

/// As `chunked`, with these trailers behind the body.
fn with_trailers(request: &http::Request<String>, trailers: &[(&str, &str)]) -> Vec<u8> {
    let mut head = request.clone();
    head.body_mut().clear();
    set(&mut head, "transfer-encoding", "chunked");
    let names: Vec<_> = trailers.iter().map(|(name, _)| *name).collect();
    set(&mut head, "trailer", &names.join(", "));
    set(&mut head, "te", "trailers");
    let mut wire = to_wire(&head);
    let body = request.body();
    wire.extend_from_slice(format!("{:x}\r\n{body}\r\n0\r\n", body.len()).as_bytes());
    for (name, value) in trailers {
        wire.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
    }
    wire.extend_from_slice(b"\r\n");
    wire
}

/// Says what it sees that is not the body.
fn witness() -> Router {
    let handler = async |request: Request| {
        let (parts, body) = request.into_parts();
        let collected = body.collect().await.unwrap();
        let mut seen: Vec<_> = [
            "x-http-method-override",
            "x-http-method",
            "x-method-override",
        ]
        .into_iter()
        .filter(|name| parts.headers.contains_key(*name))
        .collect();
        for name in [TRAILER, TRANSFER_ENCODING, CONTENT_ENCODING] {
            if parts.headers.contains_key(&name) {
                seen.push(if name == TRAILER {
                    "trailer"
                } else {
                    "encoding"
                });
            }
        }
        if collected.trailers().is_some() {
            seen.push("trailers");
        }
        format!("{} saw {}", parts.method, seen.join(" "))
    };
    Router::new()
        .route("/", any(handler))
        .route("/{*path}", any(handler))
}

fn verified(subject: &Subject, clock: &countersign::testing::ManualClock, app: Router) -> Router {
    app.layer(
        subject
            .layer(clock)
            .store(common::store(clock))
            .build()
            .unwrap(),
    )
}

#[tokio::test]
async fn a10_trailers_are_dropped() {
    let trailers = [("x-amount", "1000000"), ("content-type", "text/html")];
    for subject in ALL {
        let clock = common::clock();
        let addr = common::serve(verified(subject, &clock, witness())).await;
        let wire = with_trailers(&subject.signed(&clock), &trailers);
        assert_eq!(
            exchange(addr, &wire).await,
            (OK, "POST saw ".into()),
            "{}",
            subject.name
        );

        let unguarded = common::serve(witness()).await;
        let seen = exchange(unguarded, &wire).await;
        assert_eq!(
            seen,
            (OK, "POST saw trailer encoding trailers".into()),
            "the twin sees them"
        );
    }
}

#[tokio::test]
async fn a10_a_signature_in_the_trailers_is_none() {
    for subject in ALL {
        let clock = common::clock();
        let addr = common::serve(verified(subject, &clock, witness())).await;
        let genuine = subject.signed(&clock);
        for &moved in subject.headers {
            let value = get(&genuine, moved);
            let wire = with_trailers(&without(&genuine, moved), &[(moved, &value)]);
            let (status, code) = exchange(addr, &wire).await;
            let expected = if moved == subject.signature {
                subject.answers.unsigned
            } else {
                MALFORMED
            };
            assert_eq!(
                (status, code.as_str()),
                expected,
                "{}: {moved}",
                subject.name
            );
        }
        let wire = with_trailers(&genuine, &[("x-other", "1")]);
        assert_eq!(exchange(addr, &wire).await.0, OK, "the genuine one");
    }
}

const JSON: &str = r#"{"to":"Zo\u00eb é","amount":1.0,"big":12345678901234567890,"z":1,"a":2}"#;

fn other_json(_: &Subject, genuine: &http::Request<String>) -> Vec<Case> {
    let body = genuine.body();
    let value: serde_json::Value = serde_json::from_str(body).unwrap();
    [
        (
            "duplicate key behind",
            body.replace("\"a\":2}", "\"a\":2,\"a\":3}"),
        ),
        (
            "duplicate key before",
            body.replace("{\"to\"", "{\"a\":3,\"to\""),
        ),
        (
            "duplicate key, same value",
            body.replace("\"a\":2}", "\"a\":2,\"a\":2}"),
        ),
        ("unescaped", body.replace("\\u00eb", "ë")),
        ("escaped in upper case", body.replace("\\u00eb", "\\u00EB")),
        ("decomposed", body.replace('é', "e\u{301}")),
        ("re-serialised", serde_json::to_string(&value).unwrap()),
        ("pretty", serde_json::to_string_pretty(&value).unwrap()),
        ("spaced", body.replace(':', ": ")),
        (
            "another order",
            body.replace("\"z\":1,\"a\":2", "\"a\":2,\"z\":1"),
        ),
        ("another number", body.replace("1.0", "1")),
        ("exponent", body.replace("1.0", "1e0")),
        ("byte order mark", format!("\u{feff}{body}")),
        ("line feed behind", format!("{body}\n")),
    ]
    .into_iter()
    .map(|(name, other)| {
        assert_ne!(&other, body, "{name}");
        case(name, with_body(genuine, &other), INVALID)
    })
    .collect()
}

#[tokio::test]
async fn a13_another_json_text_of_the_same_meaning_is_another_body() {
    for subject in ALL {
        let target = Target::new(subject).on_a_socket().await;
        let genuine = subject.sign(&target.clock, common::request("POST", "/transfer", JSON));
        let cases = other_json(subject, &genuine);
        assert_survived(subject, &breaches(&target, &genuine, cases).await);
    }
}

#[tokio::test]
async fn a13_twin_a_server_that_signs_what_it_parsed_is_found() {
    let clock = common::clock();
    let parsed = |body: &[u8]| {
        serde_json::from_slice::<serde_json::Value>(body)
            .map(|value| value.to_string())
            .unwrap_or_default()
    };
    let target = Target::of(&clock, |effects| {
        guard(effects, move |parts, body| {
            let expected = naive::expected(&HOUSE, parts, parsed(body).as_bytes());
            naive::header(parts, "x-signature") == expected
        })
    });
    let request = HOUSE.sign(&clock, common::request("POST", "/transfer", JSON));
    let mut genuine = with_body(&request, &parsed(JSON.as_bytes()));
    HOUSE.resign(&mut genuine);
    let genuine = with_body(&genuine, JSON);
    let found = breaches(&target, &genuine, other_json(&HOUSE, &genuine)).await;
    let found = effective(&found);
    assert!(
        found.contains(&"duplicate key before"),
        "the last one counts, the first is smuggled in"
    );
    assert!(
        found.contains(&"re-serialised") && found.contains(&"another order"),
        "{found:?}"
    );
    assert!(
        !found.contains(&"duplicate key behind"),
        "that has another meaning"
    );
}

#[tokio::test]
async fn a13_duplicate_keys_that_were_signed_do_not_reach_a_struct() {
    #[derive(Debug, serde::Deserialize)]
    struct Transfer {
        amount: u64,
    }
    let clock = common::clock();
    let effects = Effects::default();
    let handled = effects.clone();
    let handler = async move |VerifiedJson(transfer): VerifiedJson<Transfer>| {
        handled.happened();
        transfer.amount.to_string()
    };
    let app = verified(
        &HOUSE,
        &clock,
        Router::new().route("/transfer", post(handler)),
    );
    let send = async |body: &str| {
        let request = common::signed(&clock, "POST", "/transfer", body);
        common::verdict(app.clone().oneshot(request).await.unwrap()).await
    };
    let refused = send(r#"{"amount":1,"amount":1000000}"#).await;
    assert_eq!((refused.0, effects.count()), (422, 0), "{refused:?}");
    assert_eq!(send(r#"{"amount":1}"#).await, (OK, "1".into()));
}

fn encodings(uncovered: bool, genuine: &http::Request<String>) -> Vec<Case> {
    [
        "gzip",
        "br",
        "deflate",
        "identity",
        "",
        "aws-chunked",
        "gzip, gzip",
        "identity, gzip",
        "identity;q=1",
    ]
    .into_iter()
    // As if it were absent.
    .filter(|value| !uncovered || !["identity", ""].contains(value))
    .map(|value| {
        let expected: Answer = if uncovered { INSUFFICIENT } else { INVALID };
        case(
            format!("`{value}`"),
            with(genuine, "content-encoding", value),
            expected,
        )
    })
    .collect()
}

#[tokio::test]
async fn a13_a39_an_uncovered_content_encoding_is_refused() {
    for subject in ALL {
        let target = Target::new(subject).on_a_socket().await;
        let genuine = subject.signed(&target.clock);
        let cases = encodings(true, &genuine);
        assert_survived(subject, &breaches(&target, &genuine, cases).await);
    }
}

#[tokio::test]
async fn a13_twin_a_server_that_leaves_content_encoding_alone_is_found() {
    let clock = common::clock();
    let target = Target::of(&clock, |effects| {
        guard(effects, |parts, body| {
            naive::header(parts, "x-signature") == naive::expected(&HOUSE, parts, body)
        })
    });
    let genuine = HOUSE.signed(&clock);
    let cases = encodings(true, &genuine);
    let all = cases.len();
    assert_eq!(
        effective(&breaches(&target, &genuine, cases).await).len(),
        all
    );
}

fn with_encoding() -> HeaderScheme {
    HeaderScheme::builder("x-signature")
        .fixed_key_id(KEY)
        .time("x-timestamp")
        .nonce("x-nonce")
        .signs(Part::lines([
            Part::Time,
            Part::Nonce,
            Part::header("content-encoding"),
            Part::header("x-http-method-override"),
            Part::Body,
        ]))
        .build()
        .unwrap()
}

static ENCODED: Subject = Subject {
    name: "covers content-encoding and a method override",
    builder: || VerifyLayer::builder(with_encoding()),
    signer: |key, secret| Signer::new(with_encoding(), key, secret).unwrap(),
    prefix: "",
    ..HOUSE
};

#[tokio::test]
async fn a13_a_covered_content_encoding_cannot_be_changed() {
    let target = Target::new(&ENCODED).on_a_socket().await;
    let request = with(
        &common::request("POST", "/transfer", BODY),
        "content-encoding",
        "zstd",
    );
    let genuine = ENCODED.sign(
        &target.clock,
        with(&request, "x-http-method-override", "PUT"),
    );
    let mut cases = encodings(false, &genuine);
    cases.push(case(
        "taken out",
        without(&genuine, "content-encoding"),
        INSUFFICIENT,
    ));
    assert_survived(&ENCODED, &breaches(&target, &genuine, cases).await);
}

#[tokio::test]
async fn a39_an_uncovered_method_override_does_not_reach_the_handler() {
    for subject in ALL {
        let clock = common::clock();
        let app = verified(subject, &clock, witness());
        for name in [
            "x-http-method-override",
            "X-HTTP-Method",
            "x-method-override",
        ] {
            let request = with(&subject.signed(&clock), name, "DELETE");
            let (_, seen) = common::verdict(
                witness()
                    .oneshot(request.clone().map(Body::from))
                    .await
                    .unwrap(),
            )
            .await;
            assert_eq!(
                seen,
                format!("POST saw {}", name.to_lowercase()),
                "the twin sees it"
            );
            let (status, seen) =
                common::verdict(app.clone().oneshot(request.map(Body::from)).await.unwrap()).await;
            assert_eq!(
                (status, seen.as_str()),
                (OK, "POST saw "),
                "{}",
                subject.name
            );
            // Alike to the last byte they would be one request.
            clock.advance(std::time::Duration::from_secs(1));
        }
    }
    let clock = common::clock();
    let request = with(
        &common::request("POST", "/", ""),
        "content-encoding",
        "identity",
    );
    let request = ENCODED.sign(&clock, with(&request, "x-http-method-override", "PUT"));
    let app = verified(&ENCODED, &clock, witness());
    let (_, seen) = common::verdict(app.oneshot(request.map(Body::from)).await.unwrap()).await;
    assert_eq!(
        seen, "POST saw x-http-method-override encoding",
        "what is covered stays"
    );
}

#[tokio::test]
async fn a39_websockets_and_connect_are_refused() {
    for subject in ALL {
        let target = Target::new(subject);
        let genuine = subject.signed(&target.clock);
        for protocol in ["websocket", "WebSocket", "h2c, websocket", "websocket/13"] {
            let upgrade = with(
                &with(&genuine, "connection", "upgrade"),
                "upgrade",
                protocol,
            );
            for method in [http::Method::GET, http::Method::POST] {
                let mut upgrade = upgrade.clone();
                *upgrade.method_mut() = method;
                refused(&target, upgrade, NOT_COVERED).await.unwrap();
            }
        }
        let mut connect = genuine.clone();
        *connect.method_mut() = http::Method::CONNECT;
        refused(&target, connect.clone(), NOT_COVERED)
            .await
            .unwrap();
        // The extended one of HTTP/2 (RFC 8441).
        let protocol = hyper::ext::Protocol::from_static("websocket");
        connect.extensions_mut().insert(protocol);
        refused(&target, connect, NOT_COVERED).await.unwrap();
        crate::subject::accepted(&target, genuine).await.unwrap();

        let served = Target::new(subject).on_a_socket().await;
        let genuine = subject.signed(&served.clock);
        let wire = String::from_utf8(to_wire(&genuine)).unwrap();
        let tunnel = wire.replacen("POST /transfer", "CONNECT api.example.com:443", 1);
        let upgrade = wire.replacen(
            "connection: close",
            "connection: close, upgrade\r\nupgrade: websocket",
            1,
        );
        for wire in [&upgrade, &tunnel] {
            let (status, code) = exchange(served.addr.unwrap(), wire.as_bytes()).await;
            assert_eq!((status, code.as_str()), NOT_COVERED, "{wire}");
            assert_eq!((served.effects.count(), served.claims.count()), (0, 0));
        }
        assert_eq!(exchange(served.addr.unwrap(), wire.as_bytes()).await.0, OK);
    }
}

/// Says what a handler could switch protocols with.
async fn upgrade_seen(request: Request<Body>) -> String {
    let (head, _) = request.into_parts();
    let handle = head.extensions.get::<hyper::upgrade::OnUpgrade>();
    let lines = ["connection", "upgrade", "http2-settings"].map(|name| {
        let lines = head.headers.get_all(name).iter();
        let lines: Vec<_> = lines.map(|line| line.to_str().unwrap()).collect();
        lines.join("|")
    });
    format!("{} {lines:?}", handle.is_some())
}

const OFFER: &str = "connection: Upgrade, x-trace, HTTP2-Settings\r\nconnection: close\r\n\
                     upgrade: h2c\r\nhttp2-settings: AAMAAABkAAQAoAAAAAIAAAAA";

/// The genuine request with the offer that clients send which would rather speak HTTP/2.
fn with_offer(genuine: &http::Request<String>) -> String {
    let wire = String::from_utf8(to_wire(genuine)).unwrap();
    wire.replacen("connection: close", OFFER, 1)
}

#[tokio::test]
async fn a39_an_offer_of_upgrade_is_taken_back_before_the_handler() {
    let clock = common::clock();
    for subject in ALL {
        let app = Router::new().route("/transfer", post(upgrade_seen));
        let addr = common::serve(verified(subject, &clock, app)).await;
        let wire = with_offer(&subject.signed(&clock));
        let answer = exchange(addr, wire.as_bytes()).await;
        let nothing = r#"false ["x-trace, close", "", ""]"#.to_owned();
        assert_eq!(answer, (OK, nothing), "{}", subject.name);
    }
}

#[tokio::test]
async fn a39_twin_a_server_that_leaves_the_offer_is_found() {
    let app = Router::new().route("/transfer", post(upgrade_seen));
    let addr = common::serve(app).await;
    let wire = with_offer(&common::request("POST", "/transfer", "{}"));
    let (_, seen) = exchange(addr, wire.as_bytes()).await;
    assert!(seen.starts_with("true") && seen.contains("h2c"), "{seen}");
}

/// Any proxy may take out what `Connection` nominates.
#[tokio::test]
async fn a39_a_covered_field_that_connection_nominates() {
    for subject in ALL {
        let target = Target::new(subject);
        let genuine = subject.signed(&target.clock);
        let covered = [&["content-type"][..], subject.headers].concat();
        let is_covered = |name: &&str| {
            if *name == subject.signature {
                return false;
            }
            let message = (subject.message)(&genuine.clone().into_parts().0, b"");
            let value = genuine.headers().get(*name).map(|v| v.as_bytes().to_vec());
            value.is_some_and(|v| message.windows(v.len()).any(|window| window == v))
        };
        let covered: Vec<_> = covered.into_iter().filter(is_covered).collect();
        assert!(!covered.is_empty(), "{}", subject.name);
        for name in covered {
            for options in [name.to_owned(), format!("close, {}", name.to_uppercase())] {
                let nominated = with(&genuine, "connection", &options);
                let found = refused(&target, nominated, MALFORMED).await;
                found.unwrap_or_else(|found| panic!("{}: {options}: {found:?}", subject.name));
            }
        }
        // Each option is compared with each covered part.
        let many = with(&genuine, "connection", ["x-other"; 33].join(","));
        refused(&target, many, MALFORMED).await.unwrap();
        let others = [&["close", "content-typ"][..], &["x-other"; 30]].concat();
        let other = with(&genuine, "connection", others.join(", "));
        crate::subject::accepted(&target, other).await.unwrap();
    }
}

/// With the setting, the handshake passes and nothing else.
#[tokio::test]
async fn a39_a_websocket_handshake_passes_by_name_alone() {
    let clock = common::clock();
    for subject in [&HOUSE, &RFC_9421, &WEBHOOK] {
        let served = async || {
            let app = Router::new().route("/transfer", axum::routing::any(upgrade_seen));
            let layer = subject.layer(&clock).store(common::store(&clock));
            let layer = layer.danger_websocket_handshakes();
            common::serve(app.layer(layer.build().unwrap())).await
        };
        let addr = served().await;
        let signed = |method: &str| {
            let mut request = common::request(method, "/transfer", "");
            request
                .headers_mut()
                .insert("x-method", method.parse().unwrap());
            String::from_utf8(to_wire(&subject.sign(&clock, request))).unwrap()
        };
        let handshake = "connection: upgrade\r\nconnection: close\r\nupgrade: websocket";
        let offer = |wire: &str, lines| wire.replacen("connection: close", lines, 1);
        let passed = exchange(addr, offer(&signed("GET"), handshake).as_bytes()).await;
        let all = r#"true ["upgrade|close", "websocket", ""]"#.to_owned();
        assert_eq!(passed, (OK, all), "{}", subject.name);
        let mixed = "connection: upgrade, http2-settings\r\nconnection: close\r\n\
                     upgrade: h2c, websocket\r\nhttp2-settings: AAMAAABkAAQAoAAAAAIAAAAA";
        let passed = offer(&signed("GET"), mixed);
        let passed = exchange(served().await, passed.as_bytes()).await;
        let socket = r#"true ["upgrade, close", "websocket", ""]"#.to_owned();
        assert_eq!(passed, (OK, socket), "{}", subject.name);
        let unsigned =
            "GET /transfer HTTP/1.1\r\nhost: api.example.com\r\nconnection: close\r\n\r\n";
        assert_eq!(
            exchange(addr, offer(unsigned, handshake).as_bytes())
                .await
                .0,
            401
        );
        let (status, code) = exchange(addr, offer(&signed("PUT"), handshake).as_bytes()).await;
        assert_eq!((status, &*code), NOT_COVERED, "{}", subject.name);
        let (status, seen) = exchange(addr, offer(&signed("DELETE"), OFFER).as_bytes()).await;
        assert_eq!(status, OK, "{}: {seen}", subject.name);
        assert!(seen.starts_with("false"), "{}: {seen}", subject.name);
    }
}

#[tokio::test]
async fn a39_what_is_not_covered_answers_none() {
    let clock = common::clock();
    let handler = async |payload: VerifiedPayload| {
        let place =
            payload.method().is_some() || payload.authority().is_some() || payload.path().is_some();
        let header = |name| payload.header(name).is_some();
        format!(
            "{} {} {}",
            place || payload.query().is_some(),
            header("content-type"),
            header("x-more")
        )
        .into_response()
    };
    for (subject, expected) in [
        (&HOUSE, "true true false"),
        (&RFC_9421, "true true false"),
        (&WEBHOOK, "false false false"),
    ] {
        let app = verified(
            subject,
            &clock,
            Router::new().route("/transfer", post(handler)),
        );
        let request = with(&subject.signed(&clock), "x-more", OTHER_KEY).map(Body::from);
        let (_, seen) = common::verdict(app.oneshot(request).await.unwrap()).await;
        assert_eq!(seen, expected, "{}", subject.name);
    }
}
