//! Rows 1, 2, 4 to 8 and 11: the signature and its surroundings.

use countersign::{
    HeaderScheme, KeyRing, KeySet, KeyStore, Part, Secret, VerifyLayer,
    error::ConfigErrorKind,
    key::KeyFuture,
    scheme::{Encoding, MacAlgorithm},
};
use http::Request;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use sha2::{Digest as _, Sha256};
use std::time::Duration;

use crate::{
    common::{self, KEY, SECRET, at},
    naive::{self, guard},
    parameter::Place,
    subject::{
        ALL, BODY, Case, EVENTS, HEADERS, HOUSE, INSUFFICIENT, INVALID, MALFORMED, MISSING,
        NOT_YET_VALID, PLACED, Subject, Target, WEBHOOK, assert_survived, breaches, case,
        effective, get, refused, set, with, with_another, with_body, with_uri, without,
    },
};

fn truncated(subject: &Subject, genuine: &Request<String>) -> Vec<Case> {
    let mac = subject.mac(SECRET.as_bytes(), genuine);
    let cut = |n: usize| with(genuine, subject.signature, subject.encode(&mac[..n]));
    (0..mac.len())
        .map(|n| case(format!("{n} bytes"), cut(n), MALFORMED))
        .collect()
}

fn misshapen(subject: &Subject, genuine: &Request<String>) -> Vec<Case> {
    let mac = subject.mac(SECRET.as_bytes(), genuine);
    let text = subject.encode(&mac);
    let longer = [&mac[..], &[0]].concat();
    let mut cases: Vec<_> = [
        String::new(),
        format!("{text}0"),
        format!("{text}="),
        format!("\"{text}\""),
        text[..text.len() - 1].to_owned(),
        text.replacen('=', "", 1),
        format!("{}{text}", subject.prefix),
        subject.bare(&text).to_owned(),
        subject.encode(&longer),
        subject.encode(&[&mac[..], &mac[..]].concat()),
        text.chars().rev().collect(),
    ]
    .into_iter()
    .map(|value| {
        case(
            format!("`{value}`"),
            with(genuine, subject.signature, &value),
            MALFORMED,
        )
    })
    .collect();
    if subject.encoding == Encoding::Base64 {
        // Another alphabet, and bits that no byte is made of.
        let urlsafe = text.replace('+', "-").replace('/', "_");
        let (body, padding) = text.split_at(text.trim_end_matches(['=', ':']).len());
        let last = body.chars().last().unwrap();
        let loose = format!("{}{}{padding}", &body[..body.len() - 1], next_letter(last));
        let other = format!("{}-_", &text[..text.len() - 2]);
        // Among structured fields that is another spelling of the same bytes.
        let loose = (!subject.structured).then_some(loose);
        for value in [other].into_iter().chain(loose) {
            let request = with(genuine, subject.signature, &value);
            cases.push(case(format!("`{value}`"), request, MALFORMED));
        }
        if urlsafe != text {
            cases.push(case(
                "for URLs",
                with(genuine, subject.signature, &urlsafe),
                MALFORMED,
            ));
        }
    }
    for byte in 0..mac.len() {
        let mut changed = mac.clone();
        changed[byte] ^= 1;
        let request = with(genuine, subject.signature, subject.encode(&changed));
        cases.push(case(format!("byte {byte} changed"), request, INVALID));
    }
    for byte in [0, 0xff] {
        let blank = with(
            genuine,
            subject.signature,
            subject.encode(&vec![byte; mac.len()]),
        );
        cases.push(case(format!("all {byte:#x}"), blank, INVALID));
    }
    cases.push(case(
        "no header",
        without(genuine, subject.signature),
        subject.answers.unsigned,
    ));
    cases
}

/// The next one of the alphabet: a letter before padding has its lowest bits unused.
fn next_letter(letter: char) -> char {
    const ALPHABET: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let at = ALPHABET.find(letter).unwrap();
    ALPHABET.chars().nth(at + 1).unwrap()
}

#[tokio::test]
async fn a01_empty_or_truncated_signature() {
    for subject in ALL {
        for table in [truncated, misshapen] {
            let target = Target::new(subject);
            let genuine = subject.signed(&target.clock);
            let cases = table(subject, &genuine);
            assert_survived(subject, &breaches(&target, &genuine, cases).await);

            let target = Target::new(subject).on_a_socket().await;
            let genuine = subject.signed(&target.clock);
            let cases = table(subject, &genuine);
            assert_survived(subject, &breaches(&target, &genuine, cases).await);
        }
    }
}

#[tokio::test]
async fn a01_twin_a_comparison_that_stops_at_the_shorter_end_is_found() {
    let clock = common::clock();
    let target = Target::of(&clock, |effects| {
        guard(effects, |parts, body| {
            naive::expected(&HOUSE, parts, body).starts_with(naive::header(parts, "x-signature"))
        })
    });
    let genuine = HOUSE.signed(&clock);
    let cases = truncated(&HOUSE, &genuine);
    let every: Vec<_> = cases.iter().map(|case| case.name.clone()).collect();
    let found = breaches(&target, &genuine, cases).await;
    assert_eq!(effective(&found), every);
}

#[tokio::test]
async fn a01_a_signature_with_spaces_around_it_is_not_read_loosely() {
    // On a socket such spaces belong to HTTP, and are gone before anyone looks.
    for subject in HEADERS {
        let target = Target::new(subject);
        let genuine = subject.signed(&target.clock);
        let text = get(&genuine, subject.signature);
        let cases = [format!(" {text}"), format!("{text} "), format!("{text}\t")]
            .into_iter()
            .map(|value| {
                case(
                    format!("{value:?}"),
                    with(&genuine, subject.signature, &value),
                    MALFORMED,
                )
            })
            .collect();
        assert_survived(subject, &breaches(&target, &genuine, cases).await);
    }
}

fn several_in_one(subject: &Subject, genuine: &Request<String>) -> Vec<Case> {
    let good = get(genuine, subject.signature);
    let bad = subject.encode(&vec![7; subject.algorithm.mac_len()]);
    let bare = subject.bare(&good);
    let pairs = [(&good, &bad), (&bad, &good), (&good, &good)];
    let mut values = Vec::new();
    for (one, other) in pairs {
        for delimiter in [",", ", ", " ", ";", ""] {
            values.push(format!("{one}{delimiter}{other}"));
        }
    }
    values.push(format!("{good},{bare}"));
    values.push(format!("t=1,{good}"));
    values.push(format!("{good},"));
    values.push(format!(",{good}"));
    values
        .into_iter()
        .map(|value| {
            case(
                value.clone(),
                with(genuine, subject.signature, &value),
                MALFORMED,
            )
        })
        .collect()
}

#[tokio::test]
async fn a02_several_signatures_in_one_header() {
    // A `HeaderScheme` has one signature in a request. Schemes with several bring rows of their own.
    for subject in HEADERS {
        let target = Target::new(subject).on_a_socket().await;
        let genuine = subject.signed(&target.clock);
        let cases = several_in_one(subject, &genuine);
        assert_survived(subject, &breaches(&target, &genuine, cases).await);
    }
}

#[tokio::test]
async fn a02_twin_a_server_that_takes_any_of_a_list_is_found() {
    let clock = common::clock();
    let target = Target::of(&clock, |effects| {
        guard(effects, |parts, body| {
            let expected = naive::expected(&HOUSE, parts, body);
            let mut claimed = naive::header(parts, "x-signature").split(',');
            claimed.any(|claimed| claimed.trim() == expected)
        })
    });
    let genuine = HOUSE.signed(&clock);
    let found = breaches(&target, &genuine, several_in_one(&HOUSE, &genuine)).await;
    assert_eq!(
        effective(&found).len(),
        10,
        "three pairs with a comma, twice, and four more"
    );
}

#[test]
fn a04_empty_secret() {
    for bytes in [&b""[..], &[0], &[0; 16], &[0; 64]] {
        for refused in [Secret::new(bytes), Secret::danger_short(bytes)] {
            let error = refused.unwrap_err();
            let kind = error.kind();
            assert!(
                matches!(kind, ConfigErrorKind::SecretLength { found: 0, .. }),
                "{bytes:?}: {kind:?}"
            );
        }
    }
    assert!(Secret::new([1; 15]).is_err());
    assert!(
        Secret::new([&[1; 15][..], &[0; 17]].concat()).is_err(),
        "zeros do not count"
    );
    assert!(Secret::from_hex("").is_err());
    assert!(Secret::from_base64("").is_err());
    assert!(KeyRing::new().with(KEY, "").is_err());
    assert!(Secret::new([1; 16]).is_ok(), "what is long enough is taken");
}

#[test]
fn a04_secrets_that_are_equal_after_padding() {
    let long = [9_u8; 100];
    let hashed = Sha256::digest(long);
    let pairs: [(&[u8], &[u8]); 4] = [
        (SECRET.as_bytes(), SECRET.as_bytes()),
        (SECRET.as_bytes(), b"the secret of partner 1\0"),
        (
            SECRET.as_bytes(),
            b"the secret of partner 1\0\0\0\0\0\0\0\0",
        ),
        (&long, &hashed),
    ];
    for (one, other) in pairs {
        let mac = |secret| naive::mac(MacAlgorithm::HmacSha256, secret, b"message");
        assert_eq!(mac(one), mac(other), "to HMAC they are one");
        let ring = KeyRing::new().with("a", one).unwrap();
        let error = ring.with("b", other).unwrap_err();
        assert_eq!(
            error.kind(),
            &ConfigErrorKind::SharedSecret("a".into(), "b".into())
        );
    }
    let ring = KeyRing::new().with("a", SECRET).unwrap();
    assert!(
        ring.with("b", "another secret of 16").is_ok(),
        "two secrets are two"
    );
}

/// Keys that are not known before they are looked up: a verifier is built whatever they are.
struct LookedUp(KeyRing);

impl KeyStore for LookedUp {
    fn find<'a>(&'a self, key_id: &'a str) -> KeyFuture<'a> {
        self.0.find(key_id)
    }
}

#[tokio::test]
async fn a04_a_key_without_a_secret_does_not_pass_with_an_empty_one() {
    for subject in ALL {
        let empty = KeyRing::new().with_set(KeySet::new(KEY).unwrap()).unwrap();
        let target = Target::with(subject, |layer| layer.keys(LookedUp(empty)));
        let mut forged = subject.signed(&target.clock);
        for secret in [&b""[..], &[0; 16], KEY.as_bytes()] {
            let mac = subject.mac(secret, &forged);
            subject.write(&mut forged, &mac);
            refused(&target, forged.clone(), INVALID).await.unwrap();
        }
    }
}

fn downgraded(subject: &Subject, genuine: &Request<String>) -> Vec<Case> {
    let (parts, body) = genuine.clone().into_parts();
    let message = (subject.message)(&parts, body.as_bytes());
    let mac = |algorithm, message: &[u8]| naive::mac(algorithm, SECRET.as_bytes(), message);
    let put = |value: &str| with(genuine, subject.signature, value);
    let bare = get(genuine, subject.signature)[subject.prefix.len()..].to_owned();

    // The prefix names another algorithm or version, with the same MAC behind it.
    let mut cases: Vec<_> = [
        "sha1=", "SHA256=", "none=", "md5=", "sha256:", "v1=", "v0", "v2,", " ",
    ]
    .into_iter()
    .map(|prefix| case(prefix, put(&format!("{prefix}{bare}")), MALFORMED))
    .collect();
    // The MAC of the other algorithm, as it is and at the length of ours.
    let other = match subject.algorithm {
        MacAlgorithm::HmacSha256 => MacAlgorithm::HmacSha512,
        _ => MacAlgorithm::HmacSha256,
    };
    let mut other = mac(other, &message);
    cases.push(case(
        "other algorithm",
        put(&subject.encode(&other)),
        MALFORMED,
    ));
    let text = base16ct::lower::encode_string(&other);
    cases.push(case("named", put(&format!("sha512={text}")), MALFORMED));
    other.resize(subject.algorithm.mac_len(), 0);
    cases.push(case(
        "other algorithm, our length",
        put(&subject.encode(&other)),
        INVALID,
    ));
    // Messages of versions that sign less, or under another version's name.
    for (name, message) in [
        ("older version", [b"v1", &message[..]].concat()),
        ("body only", body.clone().into_bytes()),
        ("nothing", Vec::new()),
    ] {
        let request = put(&subject.encode(&mac(subject.algorithm, &message)));
        cases.push(case(name, request, INVALID));
    }
    cases
}

#[tokio::test]
async fn a05_downgrade_to_another_algorithm_or_an_older_version() {
    // A description has one algorithm and one message; no request chooses another.
    for subject in ALL {
        let target = Target::new(subject).on_a_socket().await;
        let mut genuine = subject.signed(&target.clock);
        for name in ["x-signature-algorithm", "x-signature-version", "algorithm"] {
            set(&mut genuine, name, "none");
        }
        let cases = downgraded(subject, &genuine);
        assert_survived(subject, &breaches(&target, &genuine, cases).await);
    }
}

#[tokio::test]
async fn a05_twin_a_server_that_lets_the_request_name_the_algorithm_is_found() {
    let clock = common::clock();
    let target = Target::of(&clock, |effects| {
        guard(effects, |parts, body| {
            let (name, claimed) = naive::header(parts, "x-signature")
                .split_once('=')
                .unwrap_or_default();
            let algorithm = match name {
                "none" => return true,
                "sha512" => MacAlgorithm::HmacSha512,
                "sha256" => MacAlgorithm::HmacSha256,
                _ => return false,
            };
            let mac = naive::mac(algorithm, SECRET.as_bytes(), &(HOUSE.message)(parts, body));
            base16ct::lower::encode_string(&mac) == claimed
        })
    });
    let genuine = HOUSE.signed(&clock);
    let found = breaches(&target, &genuine, downgraded(&HOUSE, &genuine)).await;
    assert_eq!(effective(&found), ["none=", "named"]);
}

/// Two covered headers, each of which could be taken for the other.
static FROM_TO: Subject = Subject {
    name: "from-to",
    builder: || VerifyLayer::builder(from_to()),
    signer: |key, secret| countersign::Signer::new(from_to(), key, secret).unwrap(),
    message: |parts, body| {
        let lines = ["x-hook-time", "x-from", "x-to"].map(|name| naive::header(parts, name));
        [lines.join("\n").as_bytes(), body].join(&b'\n')
    },
    ..WEBHOOK
};

fn from_to() -> HeaderScheme {
    HeaderScheme::builder("x-hook-signature")
        .prefix("v0=")
        .algorithm(MacAlgorithm::HmacSha512)
        .encoding(countersign::scheme::Encoding::Base64)
        .fixed_key_id(KEY)
        .time("x-hook-time")
        .signs(Part::lines([
            Part::Time,
            Part::header("x-from"),
            Part::header("x-to"),
            Part::Body,
        ]))
        .build()
        .unwrap()
}

fn from_alice_to_bob() -> Request<String> {
    let request = with(
        &common::request("POST", "/transfer", BODY),
        "x-from",
        "alice",
    );
    with(&request, "x-to", "bob")
}

fn swapped(genuine: &Request<String>) -> Vec<Case> {
    let to_and_from = with(&with(genuine, "x-from", "bob"), "x-to", "alice");
    let mut other_order = without(&without(genuine, "x-from"), "x-to");
    set(&mut other_order, "x-to", "alice");
    set(&mut other_order, "x-from", "bob");
    vec![
        case("swapped", to_and_from, INVALID),
        case("swapped, in the other order", other_order, INVALID),
        case("both the same", with(genuine, "x-from", "bob"), INVALID),
        case(
            "renamed",
            with(&without(genuine, "x-to"), "x-too", "bob"),
            INSUFFICIENT,
        ),
        case("emptied", with(genuine, "x-to", ""), INVALID),
    ]
}

#[tokio::test]
async fn a06_a_value_moved_under_another_headers_name() {
    let target = Target::new(&FROM_TO).on_a_socket().await;
    let genuine = FROM_TO.sign(&target.clock, from_alice_to_bob());
    assert_survived(
        &FROM_TO,
        &breaches(&target, &genuine, swapped(&genuine)).await,
    );
}

#[tokio::test]
async fn a06_a_parameter_moved_under_another_parameters_name() {
    for subject in PLACED {
        let target = Target::new(subject).on_a_socket().await;
        let request = common::request("POST", "/transfer", BODY);
        let genuine = subject
            .signer(&target.clock)
            .sign_with_nonce(request, "1700000001")
            .unwrap();
        let swap = |one: Place, other: Place| {
            let (a, b) = (get(&genuine, one), get(&genuine, other));
            with(&with(&genuine, one, b), other, a)
        };
        let (time, nonce, key_id) = (
            subject.time,
            subject.nonce.unwrap(),
            subject.key_id.unwrap(),
        );
        let cases = vec![
            case("time and nonce", swap(time, nonce), INVALID),
            case("nonce and key id", swap(nonce, key_id), INVALID),
            case("key id and time", swap(key_id, time), MALFORMED),
            case(
                "nonce and content type",
                swap(nonce, Place::Header("content-type")),
                INVALID,
            ),
            case(
                "other key id",
                with(&genuine, key_id, common::OTHER_KEY),
                INVALID,
            ),
        ];
        assert_survived(subject, &breaches(&target, &genuine, cases).await);
    }
}

#[tokio::test]
async fn a06_twin_a_server_that_signs_values_in_the_order_of_arrival_is_found() {
    let clock = common::clock();
    let values = |headers: &http::HeaderMap| {
        let named = headers
            .iter()
            .filter(|(name, _)| ["x-from", "x-to"].contains(&name.as_str()));
        named
            .map(|(_, value)| value.to_str().unwrap().to_owned())
            .collect::<Vec<_>>()
            .join("\n")
    };
    let mac = move |headers: &http::HeaderMap| {
        let mac = naive::mac(
            MacAlgorithm::HmacSha512,
            SECRET.as_bytes(),
            values(headers).as_bytes(),
        );
        FROM_TO.encode(&mac)
    };
    let target = Target::of(&clock, |effects| {
        guard(effects, move |parts, _| {
            naive::header(parts, "x-hook-signature") == mac(&parts.headers)
        })
    });
    let mut genuine = from_alice_to_bob();
    let signature = mac(genuine.headers());
    set(&mut genuine, "x-hook-signature", &signature);
    let found = breaches(&target, &genuine, swapped(&genuine)).await;
    assert_eq!(effective(&found), ["swapped, in the other order"]);
}

#[test]
fn a07_undelimited_concatenation_is_refused_when_the_scheme_is_built() {
    let text = Part::text;
    let ambiguous: [(Vec<Part>, Vec<Part>); 8] = [
        (
            vec![Part::Time, Part::Body],
            vec![Part::Time, text("."), Part::Body],
        ),
        (
            vec![Part::Nonce, Part::Body],
            vec![Part::Nonce, text("\n"), Part::Body],
        ),
        // A nonce may have a dot, and a body may begin with one.
        (
            vec![Part::Nonce, text("."), Part::Time, text("."), Part::Body],
            vec![Part::Time, text("."), Part::Nonce, text("\n"), Part::Body],
        ),
        (
            vec![Part::Time, Part::Nonce],
            vec![Part::Time, text(":"), Part::Nonce],
        ),
        (
            vec![Part::KeyId, Part::Nonce],
            vec![Part::KeyId, text(" "), Part::Nonce],
        ),
        (
            vec![Part::Path, Part::Query],
            vec![Part::Path, text("?"), Part::Query],
        ),
        (
            vec![Part::header("a"), text(","), Part::header("b")],
            vec![Part::header("a"), text("\n"), Part::header("b")],
        ),
        (
            vec![
                Part::Body,
                text("\n"),
                Part::header("a"),
                text(","),
                Part::header("b"),
            ],
            vec![
                Part::Body,
                text("\n"),
                Part::header("a"),
                text("\n"),
                Part::header("b"),
            ],
        ),
    ];
    for (ambiguous, delimited) in ambiguous {
        let error = build(&ambiguous).unwrap_err();
        let ConfigErrorKind::Scheme(why) = error.kind() else {
            panic!("{ambiguous:?}: {error}");
        };
        assert!(why.contains("bytes could move"), "{ambiguous:?}: {why}");
        build(&delimited).unwrap();
    }
}

fn build(parts: &[Part]) -> Result<HeaderScheme, countersign::ConfigError> {
    let mut scheme = HeaderScheme::builder("x-signature").signs(parts.to_vec());
    scheme = match parts.contains(&Part::KeyId) {
        true => scheme.key_id("x-key-id"),
        false => scheme.fixed_key_id(KEY),
    };
    if parts.contains(&Part::Nonce) {
        scheme = scheme.nonce("x-nonce");
    }
    match parts.contains(&Part::Time) {
        true => scheme.time("x-timestamp").build(),
        false => scheme
            .danger_without_time(Duration::from_secs(3600))
            .build(),
    }
}

/// Each case has the same bytes in the same order, except where a field ends and the next begins.
fn bytes_moved(subject: &Subject, genuine: &Request<String>) -> Vec<Case> {
    let moved = |from: &'static str, to: &'static str| {
        let (mut from_value, to_value) = (get(genuine, from), get(genuine, to));
        let last = from_value.pop().unwrap();
        with(
            &with(genuine, from, &from_value),
            to,
            format!("{last}{to_value}"),
        )
    };
    if subject.name == HOUSE.name {
        let json = get(genuine, "content-type");
        return vec![
            case(
                "nonce to content type",
                moved("x-nonce", "content-type"),
                INVALID,
            ),
            case(
                "content type to body",
                with_body(
                    &with(genuine, "content-type", &json[..15]),
                    &format!("n{BODY}"),
                ),
                INVALID,
            ),
            case(
                "body to content type",
                with_body(
                    &with(genuine, "content-type", format!("{json}{{")),
                    &BODY[1..],
                ),
                INVALID,
            ),
            case(
                "path to key id",
                {
                    let request = with_uri(genuine, "/transfe");
                    with(&request, "x-key-id", format!("r{KEY}"))
                },
                INVALID,
            ),
            case(
                "key id to time",
                moved("x-key-id", "x-timestamp"),
                NOT_YET_VALID,
            ),
        ];
    }
    // `2` and `0…` becomes `20` and `…`; both are fresh.
    let time = if subject.name == EVENTS.name {
        case("id to time", moved("event-id", "event-time"), INVALID)
    } else {
        let time = with(
            genuine,
            subject.time,
            format!("{}0", get(genuine, subject.time)),
        );
        case(
            "body to time",
            with_body(&time, &genuine.body()[1..]),
            INVALID,
        )
    };
    vec![time]
}

/// Signed when the clock had but one digit, so that one digit more is still fresh.
fn early(subject: &Subject, clock: &countersign::testing::ManualClock) -> Request<String> {
    if subject.name == HOUSE.name {
        return subject.signed(clock);
    }
    clock.set(at(2));
    let request = common::request("POST", "/transfer", "0 is what it begins with");
    let genuine = subject
        .signer(clock)
        .sign_with_nonce(request, "event-1")
        .unwrap();
    clock.set(at(30));
    genuine
}

#[tokio::test]
async fn a07_bytes_moved_from_one_field_to_the_next() {
    for subject in HEADERS {
        let target = Target::new(subject).on_a_socket().await;
        let genuine = early(subject, &target.clock);
        let cases = bytes_moved(subject, &genuine);
        assert_survived(subject, &breaches(&target, &genuine, cases).await);
    }
}

#[tokio::test]
async fn a07_twin_a_message_without_delimiters_is_found() {
    for (subject, expected) in [
        (
            &HOUSE,
            &[
                "nonce to content type",
                "content type to body",
                "body to content type",
                "path to key id",
                "key id to time",
            ][..],
        ),
        (&WEBHOOK, &["body to time"]),
        (&EVENTS, &["id to time"]),
    ] {
        let clock = common::clock();
        let undelimited = move |parts: &http::request::Parts, body: &[u8]| {
            let message = (subject.message)(parts, body);
            let message: Vec<u8> = message
                .into_iter()
                .filter(|b| !b"\n:".contains(b))
                .collect();
            subject.encode(&naive::mac(subject.algorithm, SECRET.as_bytes(), &message))
        };
        let target = Target::of(&clock, |effects| {
            guard(effects, move |parts, body| {
                naive::header(parts, subject.signature) == undelimited(parts, body)
            })
        });
        let mut genuine = early(subject, &clock);
        let (parts, body) = genuine.clone().into_parts();
        set(
            &mut genuine,
            subject.signature,
            &undelimited(&parts, body.as_bytes()),
        );
        let found = breaches(&target, &genuine, bytes_moved(subject, &genuine)).await;
        assert_eq!(effective(&found), expected);
    }
}

const NOT_IN_A_QUERY: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'<').add(b'>').add(b'#');

fn unsigned(subject: &Subject, genuine: &Request<String>) -> Vec<Case> {
    let mut bare = genuine.clone();
    let mut query = String::from("/transfer?api_key=1");
    for name in subject.headers {
        let value = get(genuine, *name);
        query += &format!("&{name}={}", utf8_percent_encode(&value, NOT_IN_A_QUERY));
        bare.headers_mut().remove(*name);
    }
    let mut cases = vec![
        case("nothing", bare.clone(), MISSING),
        case(
            "parameters only",
            without(genuine, subject.signature),
            subject.answers.unsigned,
        ),
        case("all in the query", with_uri(&bare, &query), MISSING),
        case(
            "secret in the query",
            with_uri(&bare, "/transfer?api_key=secret"),
            MISSING,
        ),
    ];
    for (name, value) in [
        ("authorization", "Bearer eyJhbGciOiJub25lIn0.e30."),
        ("authorization", "Basic YWRtaW46YWRtaW4="),
        ("authorization", "Signature none"),
        ("cookie", "session=admin"),
        ("x-api-key", SECRET),
        ("x-forwarded-for", "127.0.0.1"),
        ("x-original-url", "/transfer"),
    ] {
        cases.push(case(
            format!("{name}: {value}"),
            with(&bare, name, value),
            MISSING,
        ));
    }
    for method in ["GET", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND"] {
        let mut request = bare.clone();
        *request.method_mut() = method.parse().unwrap();
        cases.push(case(method, request, MISSING));
    }
    for uri in ["/", "/elsewhere", "//transfer", "/transfer/", "/health"] {
        cases.push(case(uri, with_uri(&bare, uri), MISSING));
    }
    cases
}

#[tokio::test]
async fn a08_a_request_without_a_signature_finds_no_other_way_in() {
    for subject in ALL {
        let target = Target::new(subject).on_a_socket().await;
        let genuine = subject.signed(&target.clock);
        let cases = unsigned(subject, &genuine);
        assert_survived(subject, &breaches(&target, &genuine, cases).await);
    }
}

#[tokio::test]
async fn a08_twin_a_server_with_a_second_way_in_is_found() {
    let clock = common::clock();
    let target = Target::of(&clock, |effects| {
        guard(effects, |parts, body| {
            let expected = naive::expected(&HOUSE, parts, body);
            let in_query = |query: &str| query.contains(&format!("x-signature={expected}"));
            parts.headers.contains_key("authorization")
                || naive::header(parts, "x-signature") == expected
                || parts
                    .uri
                    .query()
                    .is_some_and(|query| query.contains("api_key=secret") || in_query(query))
        })
    });
    let genuine = HOUSE.signed(&clock);
    let found = breaches(&target, &genuine, unsigned(&HOUSE, &genuine)).await;
    assert_eq!(effective(&found).len(), 4, "{found:?}");
}

fn duplicated(subject: &Subject, genuine: &Request<String>) -> Vec<Case> {
    let mut places = vec![Place::Header(subject.signature), Place::Header("host")];
    places.extend(subject.parameters());
    let content_type = Place::Header("content-type");
    if subject.covers_place {
        places.push(content_type);
    }
    let mut cases = Vec::new();
    for place in places {
        let value = get(genuine, place);
        let other = if place == subject.time {
            "1700000001"
        } else if place == Place::Header(subject.signature) {
            &subject.encode(&vec![7; subject.algorithm.mac_len()])
        } else {
            "other"
        };
        let expected = if place == content_type {
            subject.answers.two_lines
        } else {
            MALFORMED
        };
        for (what, first, second) in [
            ("twice the same", value.as_str(), value.as_str()),
            ("genuine first", &value, other),
            ("genuine last", other, &value),
        ] {
            let request = with_another(&with(genuine, place, first), place, second);
            cases.push(case(format!("{place}, {what}"), request, expected));
        }
        let nonce = Some(place) == subject.nonce;
        let plain_text = place == content_type || nonce || Some(place) == subject.key_id;
        for delimiter in [",", ", "] {
            // A value that may hold a comma is then another value than the signed one.
            let spaced = place == content_type || (nonce && subject.structured);
            let expected = if plain_text && (spaced || delimiter == ",") {
                INVALID
            } else {
                MALFORMED
            };
            let joined = with(genuine, place, format!("{value}{delimiter}{value}"));
            cases.push(case(
                format!("{place}, joined by `{delimiter}`"),
                joined,
                expected,
            ));
        }
    }
    cases
}

#[tokio::test]
async fn a11_duplicate_or_comma_joined_headers_and_parameters() {
    for subject in ALL {
        let target = Target::new(subject).on_a_socket().await;
        let genuine = subject.signed(&target.clock);
        let cases = duplicated(subject, &genuine);
        assert_survived(subject, &breaches(&target, &genuine, cases).await);
    }
}

#[tokio::test]
async fn a11_twin_a_server_that_takes_the_first_value_is_found() {
    let clock = common::clock();
    let target = Target::of(&clock, |effects| {
        guard(effects, |parts, body| {
            naive::header(parts, "x-signature") == naive::expected(&HOUSE, parts, body)
        })
    });
    let genuine = HOUSE.signed(&clock);
    let found = breaches(&target, &genuine, duplicated(&HOUSE, &genuine)).await;
    let found = effective(&found);
    assert_eq!(
        found.len(),
        12,
        "six headers, twice the same or the genuine one first"
    );
    assert!(found.contains(&"x-timestamp, genuine first"));
}
