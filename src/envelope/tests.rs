//! A worker gets exactly the payload that was verified, and every envelope that was altered is
//! refused.

use std::{sync::Arc, time::Duration};

use http::Request;
use http_body_util::Full;

mod deadlines;

use super::{Deadline, Envelopes, EnvelopesBuilder, PayloadEnvelope};
use crate::{
    HttpMessageSignatures, KeyRing, KeySet, MemoryStore, RejectionKind, Secret, Signer, Timestamp,
    Verifier,
    error::{ConfigErrorKind, SignErrorKind},
    request::Proven,
    rfc9421::Component,
    scheme::{
        Scheme,
        header::{HeaderScheme, Part},
    },
    testing::{Delivery, ManualClock},
    webhooks::{BoxWebhooks, GitHub, Slack, Stripe, Twilio},
};

const NOW: u64 = 1_700_000_000;
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

fn clock() -> ManualClock {
    ManualClock::at(Timestamp::from_secs(NOW).unwrap())
}

fn keys() -> KeyRing {
    let ring = KeyRing::new().with("2026-11", "a secret of envelopes alone");
    ring.unwrap()
}

fn builder(purpose: &str, clock: &ManualClock) -> EnvelopesBuilder {
    PayloadEnvelope::builder(purpose)
        .keys(keys())
        .seal_under("2026-11")
        .clock(clock.clone())
}

fn envelopes(clock: &ManualClock) -> Envelopes {
    builder("ship-order", clock).build().unwrap()
}

fn house() -> HeaderScheme {
    HeaderScheme::builder("x-signature")
        .key_id("x-key-id")
        .time("x-timestamp")
        .nonce("x-nonce")
        .signs(Part::lines([
            Part::Method,
            Part::PathAndQuery,
            Part::KeyId,
            Part::Time,
            Part::Nonce,
            Part::header("content-type"),
            Part::Body,
        ]))
        .build()
        .unwrap()
}

/// Verifies a request that is signed under this scheme, with a nonce that is always the same.
async fn verified(
    scheme: impl Scheme + Clone,
    key: &str,
    secret: &str,
    clock: &ManualClock,
    body: &str,
) -> crate::VerifiedPayload {
    let signer = Signer::new(scheme.clone(), key, secret).unwrap();
    let request = Request::post("https://api.example.com/orders/7?express=1")
        .header("host", "api.example.com")
        .header("content-type", "application/json")
        .header("if-match", "\"7\"")
        .body(body.to_owned())
        .unwrap();
    let request = signer
        .clock(clock.clone())
        .sign_with_nonce(request, "nonce-1");
    let (head, body) = request.unwrap().into_parts();
    let store = MemoryStore::builder()
        .clock(clock.clone())
        .danger_assume_no_history()
        .build();
    let verifier = Verifier::builder(scheme)
        .public_origin("https://api.example.com")
        .keys(KeyRing::new().with(key, secret).unwrap())
        .store(store.unwrap())
        .namespace("tests of envelopes")
        .processing(crate::Processing::AtMostOnce)
        .clock(clock.clone())
        .build()
        .unwrap();
    let verified = verifier
        .verify(&head, Full::<bytes::Bytes>::from(body))
        .await;
    verified.unwrap().payload().unwrap().clone()
}

const BODY: &str = r#"{"id":"evt_1","event_id":"Ev01","order":7,"note":"quick"}"#;

/// Payloads of formats that have key id, time and nonce in different places.
async fn payloads(clock: &ManualClock) -> Vec<crate::VerifiedPayload> {
    let rfc9421 = HttpMessageSignatures::builder()
        .covers(Component::header("if-match").unwrap())
        .build()
        .unwrap();
    const SECRET: &str = "the secret of partner 1";
    vec![
        verified(rfc9421, "partner-1", SECRET, clock, BODY).await,
        verified(house(), "partner-1", SECRET, clock, BODY).await,
        verified(GitHub::new(), "github", SECRET, clock, BODY).await,
        verified(Stripe::new(), "stripe", SECRET, clock, BODY).await,
        verified(Slack::new(), "slack", SECRET, clock, BODY).await,
        // Its time is a date, after the body.
        verified(BoxWebhooks::new(), "box", SECRET, clock, BODY).await,
        // The event id has an escape in the body, so its text is not found there.
        verified(
            Stripe::new(),
            "stripe",
            SECRET,
            clock,
            r#"{"id":"evt_\u0031"}"#,
        )
        .await,
        verified(house(), "partner-1", SECRET, clock, "").await,
    ]
}

fn assert_same(one: &Proven, other: &Proven) {
    assert_eq!(format!("{one:?}"), format!("{other:?}"));
    assert_eq!(one.bytes(), other.bytes());
    assert_eq!(one.scheme(), other.scheme());
    assert_eq!(one.query(), other.query());
    assert_eq!(one.expires_at(), other.expires_at());
    assert_eq!(one.headers(), other.headers());
    assert_eq!(one.query_param("express"), other.query_param("express"));
    assert_eq!(one.covered.bytes(), other.covered.bytes());
    assert_eq!(
        one.nonce().map(|n| (n.kind(), n.as_bytes())),
        other.nonce().map(|n| (n.kind(), n.as_bytes()))
    );
}

#[tokio::test]
async fn all_that_was_verified_arrives_and_the_envelope_is_hardly_longer() {
    let clock = clock();
    let envelopes = envelopes(&clock);
    for payload in payloads(&clock).await {
        let proven: &Proven = payload.as_ref();
        let sealed = envelopes.seal(&payload, Deadline::after(HOUR)).unwrap();
        let read = envelopes.read(&sealed).unwrap();
        assert_same(&read, proven);
        // And once more, for the next worker.
        let again = envelopes.seal(&read, Deadline::freshness()).unwrap();
        assert_same(&envelopes.read(&again).unwrap(), proven);

        let beside = sealed.len() - proven.bytes().len() - proven.covered.bytes().len();
        println!("{}: {beside} bytes beside body and text", proven.scheme());
        // The longest key id.
        let most = beside + super::envelopes::MAX_KEY_ID_LEN - "2026-11".len();
        assert!(most <= 120, "{}: {most}", proven.scheme());
    }
}

#[tokio::test]
async fn every_flipped_byte_and_every_truncation_is_refused() {
    let clock = clock();
    let envelopes = envelopes(&clock);
    for payload in payloads(&clock).await {
        let sealed = envelopes.seal(&payload, Deadline::after(HOUR)).unwrap();
        assert!(envelopes.open(&sealed).is_ok());
        for place in 0..sealed.len() {
            for bit in 0..8 {
                let mut flipped = sealed.clone();
                flipped[place] ^= 1 << bit;
                let refused = envelopes.open(&flipped).unwrap_err().kind();
                let expected = match place {
                    2 if flipped[2] > 1 => RejectionKind::EnvelopeNewer,
                    3..7 => RejectionKind::EnvelopeOfOtherPurpose,
                    8..15 if flipped[place].is_ascii() => RejectionKind::EnvelopeKeyUnknown,
                    // A key id of another length is another one, or none.
                    7 if refused == RejectionKind::EnvelopeKeyUnknown => refused,
                    _ => RejectionKind::EnvelopeAltered,
                };
                assert_eq!(refused, expected, "byte {place}, bit {bit}");
            }
        }
        for len in 0..sealed.len() {
            let refused = envelopes.open(&sealed[..len]).unwrap_err();
            assert_eq!(
                refused.kind(),
                RejectionKind::EnvelopeAltered,
                "{len} bytes"
            );
            let refused = envelopes.open(&sealed[sealed.len() - len..]).unwrap_err();
            assert_eq!(
                refused.kind(),
                RejectionKind::EnvelopeAltered,
                "the last {len} bytes"
            );
        }
        let longer = [&sealed[..], b"\0"].concat();
        assert_eq!(
            envelopes.open(&longer).unwrap_err().kind(),
            RejectionKind::EnvelopeAltered
        );
    }
}

/// The bytes of a version of the crate that has been released can be opened for good.
#[tokio::test]
async fn what_was_sealed_once_can_be_read_for_good() {
    let clock = clock();
    let sealed = include_bytes!("tests/version_1.bin");
    let payload = verified(
        house(),
        "partner-1",
        "the secret of partner 1",
        &clock,
        BODY,
    )
    .await;
    clock.advance(MINUTE);
    let for_a_year = |clock: &ManualClock| {
        let longest = builder("ship-order", clock).longest_deadline(Deadline::LONGEST);
        longest.build().unwrap()
    };
    let envelopes = for_a_year(&clock);
    let read = envelopes.read(sealed).unwrap();
    assert_same(&read, payload.as_ref());
    assert_eq!(read.nonce().unwrap().as_bytes(), b"nonce-1");
    let opened = envelopes.open(sealed).unwrap();
    assert_eq!(opened.deadline().as_secs(), NOW + 366 * 24 * 3600);
    // And what is sealed today has the same bytes: a change of the format needs a new version.
    let year = Deadline::after(Deadline::LONGEST - MINUTE);
    let today = envelopes.seal(&payload, year).unwrap();
    clock.advance(HOUR);
    assert_eq!(envelopes.read(&today).unwrap().bytes(), BODY);
    let clock = self::clock();
    let then = for_a_year(&clock);
    assert_eq!(
        then.seal(&payload, Deadline::after(Deadline::LONGEST))
            .unwrap(),
        sealed
    );
}

#[tokio::test]
async fn each_reason_for_a_refusal_has_its_kind() {
    let clock = clock();
    let ours = envelopes(&clock);
    let payload = verified(
        house(),
        "partner-1",
        "the secret of partner 1",
        &clock,
        BODY,
    )
    .await;
    let sealed = ours.seal(&payload, Deadline::after(HOUR)).unwrap();
    let kind = |envelopes: &Envelopes| {
        envelopes
            .open(&sealed)
            .map_err(|refused| refused.kind())
            .err()
    };
    assert_eq!(kind(&ours), None);

    let other = builder("bill-order", &clock).build().unwrap();
    assert_eq!(kind(&other), Some(RejectionKind::EnvelopeOfOtherPurpose));
    // Two names cannot be cut in two ways.
    let elsewhere = builder("order", &clock)
        .namespace("defaultship-")
        .build()
        .unwrap();
    assert_eq!(
        kind(&elsewhere),
        Some(RejectionKind::EnvelopeOfOtherPurpose)
    );
    let server = builder("ship-order", &clock)
        .namespace("another server")
        .build();
    assert_eq!(
        kind(&server.unwrap()),
        Some(RejectionKind::EnvelopeOfOtherPurpose)
    );

    let unknown = KeyRing::new()
        .with("2026-12", "another secret of envelopes")
        .unwrap();
    let unknown = builder("ship-order", &clock)
        .keys(unknown)
        .seal_under("2026-12");
    assert_eq!(
        kind(&unknown.build().unwrap()),
        Some(RejectionKind::EnvelopeKeyUnknown)
    );
    let wrong = KeyRing::new()
        .with("2026-11", "another secret of envelopes")
        .unwrap();
    let wrong = builder("ship-order", &clock).keys(wrong).build().unwrap();
    assert_eq!(kind(&wrong), Some(RejectionKind::EnvelopeAltered));

    clock.advance(HOUR);
    assert_eq!(kind(&ours), None);
    clock.advance(Duration::from_millis(1));
    assert_eq!(kind(&ours), Some(RejectionKind::EnvelopeExpired));
}

#[tokio::test]
async fn keys_rotate_and_old_envelopes_are_opened_until_the_old_key_is_gone() {
    let clock = clock();
    let ring = keys();
    let envelopes = builder("ship-order", &clock)
        .keys(ring.clone())
        .build()
        .unwrap();
    let payload = verified(
        house(),
        "partner-1",
        "the secret of partner 1",
        &clock,
        BODY,
    )
    .await;
    let old = envelopes.seal(&payload, Deadline::after(HOUR)).unwrap();
    ring.insert(
        KeySet::new("2026-12")
            .unwrap()
            .with(Secret::new("the next secret of envelopes").unwrap()),
    )
    .unwrap();
    let unknown = envelopes.rotate("2027-01").unwrap_err();
    assert_eq!(
        *unknown.kind(),
        ConfigErrorKind::NoSecretFor("2027-01".into())
    );
    envelopes.rotate("2026-12").unwrap();
    let new = envelopes.seal(&payload, Deadline::after(HOUR)).unwrap();
    assert!(envelopes.open(&old).is_ok() && envelopes.open(&new).is_ok());
    ring.remove("2026-11");
    assert_eq!(
        envelopes.open(&old).unwrap_err().kind(),
        RejectionKind::EnvelopeKeyUnknown
    );
    assert!(envelopes.open(&new).is_ok());
    ring.remove("2026-12");
    let refused = envelopes.seal(&payload, Deadline::after(HOUR)).unwrap_err();
    assert_eq!(refused.kind(), SignErrorKind::NoSecret);
    assert!(envelopes.rotate("an id of more than 16 bytes").is_err());
}

#[tokio::test]
async fn a_deadline_is_in_its_range_and_ahead() {
    let clock = clock();
    let envelopes = envelopes(&clock);
    const SECRET: &str = "the secret of partner 1";
    let timed = verified(house(), "partner-1", SECRET, &clock, BODY).await;
    let untimed = verified(GitHub::new(), "github", SECRET, &clock, BODY).await;
    let seal = |payload, deadline| envelopes.seal(payload, deadline);
    let beyond = Deadline::LONGEST + Duration::from_millis(1);
    for (payload, deadline) in [
        (&untimed, Deadline::freshness()),
        (&timed, Deadline::after(Duration::ZERO)),
        (&timed, Deadline::after(beyond)),
    ] {
        let refused = seal(payload, deadline).unwrap_err();
        assert_eq!(refused.kind(), SignErrorKind::Time);
    }
    let fresh = seal(&timed, Deadline::freshness()).unwrap();
    let until = envelopes.open(&fresh).unwrap().deadline();
    assert_eq!(until.as_secs(), NOW + 300);
    clock.advance(5 * MINUTE);
    assert!(seal(&timed, Deadline::freshness()).is_ok());
    clock.advance(Duration::from_millis(1));
    assert!(seal(&timed, Deadline::freshness()).is_err());
    assert!(seal(&timed, Deadline::after(HOUR)).is_ok());
}

/// A request may be sealed for as long as its door lets it in again, and the use is remembered for
/// as long: an event that is retried for days, and whose first job is done, makes no second effect.
#[tokio::test]
async fn a_use_is_remembered_for_as_long_as_the_door_may_seal_the_request_again() {
    let clock = clock();
    let envelopes = envelopes(&clock);
    let event = verified(
        Stripe::new(),
        "stripe",
        "the secret of partner 1",
        &clock,
        BODY,
    )
    .await;
    let day = Duration::from_secs(24 * 3600);
    let store = MemoryStore::builder()
        .clock(clock.clone())
        .danger_assume_no_history()
        .build()
        .unwrap();
    let minute = Deadline::after(MINUTE);
    let first = envelopes.seal(&event, minute).unwrap();
    envelopes
        .open(&first)
        .unwrap()
        .claim_in(&store)
        .await
        .unwrap();
    clock.advance(2 * day);
    let retried = verified(
        Stripe::new(),
        "stripe",
        "the secret of partner 1",
        &clock,
        BODY,
    )
    .await;
    let second = envelopes.seal(&retried, minute).unwrap();
    let used = envelopes.open(&second).unwrap().claim_in(&store).await;
    assert_eq!(used.unwrap_err().kind(), RejectionKind::EnvelopeUsed);
}

/// Requests that may be alike have no nonce: each sealing is one use.
#[tokio::test]
async fn a_request_without_a_nonce_is_used_once_for_each_sealing() {
    let clock = clock();
    let envelopes = envelopes(&clock);
    let payload = verified(
        house(),
        "partner-1",
        "the secret of partner 1",
        &clock,
        BODY,
    )
    .await;
    let mut proven = envelopes
        .read(&envelopes.seal(&payload, Deadline::after(HOUR)).unwrap())
        .unwrap();
    proven.nonce = None;
    let store = MemoryStore::builder()
        .clock(clock.clone())
        .danger_assume_no_history()
        .build()
        .unwrap();
    for _ in 0..2 {
        let sealed = envelopes.seal(&proven, Deadline::after(HOUR)).unwrap();
        let used = envelopes
            .open(&sealed)
            .unwrap()
            .claim_in(&store)
            .await
            .unwrap();
        assert!(used.nonce().is_none());
        let again = envelopes.open(&sealed).unwrap().claim_in(&store).await;
        assert_eq!(again.unwrap_err().kind(), RejectionKind::EnvelopeUsed);
    }
}

/// A signer of requests could write any payload, if the ring had the same secret.
#[tokio::test]
async fn a_secret_of_senders_is_none_of_envelopes_whichever_is_built_first() {
    let shared = "a secret that two have";
    let ring = |id| KeyRing::new().with(id, shared).unwrap();
    let layer = || {
        Verifier::builder(house())
            .keys(ring("partner-1"))
            .store(MemoryStore::new())
            .namespace("of a shared secret")
            .build()
    };
    let envelopes = || {
        PayloadEnvelope::builder("p")
            .keys(ring("e"))
            .seal_under("e")
            .build()
    };
    let refused =
        |error: crate::ConfigError| matches!(error.kind(), ConfigErrorKind::SecretOfSenders(_));
    let first = layer().unwrap();
    assert!(refused(envelopes().unwrap_err()));
    drop(first);
    let first = envelopes().unwrap();
    assert!(refused(layer().unwrap_err()));
    drop(first);
    layer().unwrap();
}

/// Also if it is claimed by nobody what they sign.
#[test]
fn a_secret_of_a_sender_whose_requests_may_be_alike_is_none_of_envelopes() {
    let secret = "a secret of Twilio that two have";
    let layer = |secret| {
        Verifier::builder(Twilio::new())
            .public_origin("https://api.example.com")
            .secret(secret)
            .build()
    };
    let envelopes = || {
        let ring = KeyRing::new().with("e", secret).unwrap();
        PayloadEnvelope::builder("p")
            .keys(ring)
            .seal_under("e")
            .build()
    };
    let refused =
        |error: crate::ConfigError| matches!(error.kind(), ConfigErrorKind::SecretOfSenders(_));
    let first = layer(secret).unwrap();
    assert!(refused(envelopes().unwrap_err()));
    drop(first);
    let _first = envelopes().unwrap();
    assert!(refused(layer(secret).unwrap_err()));
    // The twins: another secret; and two layers that claim nothing take nothing from each other.
    let _layers = ["one of its own, of Twilio", "another of its own, of Twilio"]
        .map(|secret| layer(secret).unwrap());
}

/// A partner cannot have anything signed that is an envelope, not even under the same secret.
#[tokio::test]
async fn what_is_signed_as_a_request_is_no_envelope() {
    let clock = clock();
    let envelopes = envelopes(&clock);
    let payload = verified(
        house(),
        "partner-1",
        "the secret of partner 1",
        &clock,
        BODY,
    )
    .await;
    let sealed = envelopes.seal(&payload, Deadline::after(HOUR)).unwrap();
    let (signed, mac) = sealed.split_at(sealed.len() - 32);
    // The scheme that signs bare bodies, under the secret of the envelopes.
    let by_github = Delivery::by(
        Signer::with_secret(GitHub::new(), "a secret of envelopes alone").unwrap(),
        signed.to_vec(),
    );
    let signature = by_github.request().headers()["x-hub-signature-256"].clone();
    let hex = signature.to_str().unwrap().strip_prefix("sha256=").unwrap();
    let body_mac = crate::message::encoding::decode_hex(hex.as_bytes()).unwrap();
    assert_ne!(body_mac, mac);
    let forged = [signed, &body_mac].concat();
    assert_eq!(
        envelopes.open(&forged).unwrap_err().kind(),
        RejectionKind::EnvelopeAltered
    );
}

/// Under a valid MAC, as a holder of the keys could write them: any bytes are read or refused.
#[test]
fn bytes_that_no_version_has_written_are_refused_without_a_panic() {
    let clock = clock();
    let envelopes = envelopes(&clock);
    let settings = Arc::clone(&envelopes.settings);
    let seal = |rest: &[u8]| {
        let mut bytes = [
            b"\xce\xfe\x01".as_slice(),
            &settings.tag,
            b"\x072026-11",
            rest,
        ]
        .concat();
        let ring = keys();
        let set = crate::KeyStore::find(&ring, "2026-11")
            .at_hand()
            .ok()
            .unwrap()
            .unwrap()
            .unwrap();
        let key = set.valid_at(Timestamp::MAX).next().unwrap();
        let mut mac = key.derived(super::envelopes::ALGORITHM, &settings.label);
        mac.update(&bytes);
        bytes.extend_from_slice(mac.finish().as_ref());
        bytes
    };
    for rest in [
        &[][..],
        &[0; 3],
        &[0; 40],
        &[0xff; 9],
        &[0xff; 200],
        &[0x80; 60],
        &[4; 60],
    ] {
        for len in 0..=rest.len() {
            if let Err(refused) = envelopes.open(&seal(&rest[..len])) {
                assert!(matches!(
                    refused.kind(),
                    RejectionKind::EnvelopeAltered | RejectionKind::EnvelopeExpired
                ));
            }
        }
    }
}
