//! Rows 19, 20, 23, 31 and 32: of all that is one request, one is let through.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::body::Body;
use countersign::{
    Clock as _, HeaderScheme, KeyId, KeyRing, KeySet, Part, Processing, Secret, Signer,
    VerifyLayer,
    store::{Claim, ClaimOutcome, LeaseStore, NonceStore, StoreFuture},
};
use http::HeaderValue;
use tokio::{sync::Barrier, task::JoinSet};
use tower::ServiceExt as _;

use crate::{
    common::{self, KEY, OTHER_KEY, OTHER_SECRET, SECRET, exchange},
    naive::{self, Fault, MapStore, NEXT_SECRET},
    subject::{
        ALL, BODY, Breach, EVENTS, Finding, HOUSE, IN_FLIGHT, INVALID, MALFORMED, OK, PLACED,
        REPLAYED, RFC_9421, Subject, Target, WEBHOOK, accepted, app, refused, set, to_wire, with,
        with_body,
    },
};

/// Someone saw the head of a request, and not the secret, and is faster than the genuine one.
pub async fn forgeries_come_first(target: &Target, subject: &Subject) -> Finding {
    let genuine = subject.signed(&target.clock);
    let guess = subject.encode(&vec![0x5a; subject.algorithm.mac_len()]);
    for body in [BODY, "", "another"] {
        refused(
            target,
            with_body(&with(&genuine, subject.signature, &guess), body),
            INVALID,
        )
        .await?;
    }
    refused(target, with_body(&genuine, "another"), INVALID).await?;
    accepted(target, genuine.clone()).await?;
    refused(target, genuine, REPLAYED).await
}

#[tokio::test]
async fn a19_a_forged_request_does_not_burn_the_nonce() {
    for subject in ALL {
        forgeries_come_first(&Target::new(subject), subject)
            .await
            .unwrap();
        let target = Target::new(subject).on_a_socket().await;
        forgeries_come_first(&target, subject).await.unwrap();
        assert_eq!(target.claims.count(), 2, "the genuine one and its copy");
    }
}

#[tokio::test]
async fn a19_twin_a_server_that_records_the_nonce_before_the_mac_passed_is_found() {
    for (fault, survives) in [(Fault::None, true), (Fault::NonceBeforeMac, false)] {
        let clock = common::clock();
        let target = Target::of(&clock, |effects| {
            naive::server(&HOUSE, &clock, app(effects), fault, || {})
        });
        let found = forgeries_come_first(&target, &HOUSE).await;
        assert_eq!(found.is_ok(), survives, "{fault:?}: {found:?}");
    }
}

/// This many copies at one moment: one is accepted, and the others are told what they are.
pub async fn copies_at_once(
    target: &Target,
    genuine: &http::Request<String>,
    copies: usize,
) -> Finding {
    let effects = target.effects.count();
    let start = Arc::new(Barrier::new(copies));
    let mut sending = JoinSet::new();
    for _ in 0..copies {
        let (app, start, addr) = (target.app.clone(), Arc::clone(&start), target.addr);
        let request = genuine.clone();
        sending.spawn(async move {
            start.wait().await;
            match addr {
                Some(addr) => exchange(addr, &to_wire(&request)).await,
                None => common::verdict(app.oneshot(request.map(Body::from)).await.unwrap()).await,
            }
        });
    }
    let answers = sending.join_all().await;
    let accepted = answers.iter().filter(|(status, _)| *status == OK).count();
    let effects = target.effects.count() - effects;
    if accepted > 1 || effects > 1 {
        return Err(Breach::Effect(format!(
            "{accepted} of {copies} accepted, {effects} effects"
        )));
    }
    let told = |(status, code): &&(u16, String)| {
        [REPLAYED, IN_FLIGHT].contains(&(
            *status,
            if code == REPLAYED.1 {
                REPLAYED.1
            } else {
                IN_FLIGHT.1
            },
        ))
    };
    let told = answers.iter().filter(told).count();
    if (accepted, effects, told) != (1, 1, copies - 1) {
        return Err(Breach::Answer(format!(
            "{accepted} of {copies}, {effects} effects, {told} told"
        )));
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a20_copies_at_once_have_one_effect() {
    for subject in ALL {
        let target = Target::new(subject);
        for (round, copies) in [2, 3, 7, 20, 50, 200, 1000].into_iter().enumerate() {
            let request = common::request("POST", "/transfer", &round.to_string());
            let genuine = subject.sign(&target.clock, request);
            copies_at_once(&target, &genuine, copies).await.unwrap();
            refused(&target, genuine, REPLAYED).await.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a20_copies_at_once_over_sockets_have_one_effect() {
    for subject in ALL {
        let target = Target::new(subject).on_a_socket().await;
        for (round, copies) in [2, 10, 50, 200].into_iter().enumerate() {
            let request = common::request("POST", "/transfer", &round.to_string());
            let genuine = subject.sign(&target.clock, request);
            copies_at_once(&target, &genuine, copies).await.unwrap();
            refused(&target, genuine, REPLAYED).await.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a20_copies_at_once_have_one_effect_when_they_may_be_retried() {
    let lease = Duration::from_secs(30);
    for subject in ALL {
        let retryable = |layer: countersign::request::VerifierBuilder<_>| {
            layer.processing(Processing::Retryable { lease })
        };
        for target in [
            Target::with(subject, retryable),
            Target::with(subject, retryable).on_a_socket().await,
        ] {
            for (round, copies) in [2, 50].into_iter().enumerate() {
                let request = common::request("POST", "/transfer", &round.to_string());
                let genuine = subject.sign(&target.clock, request);
                copies_at_once(&target, &genuine, copies).await.unwrap();
            }
        }
    }
}

/// Looks first, and records then; two copies meet between the two.
struct RacyStore {
    seen: Mutex<HashSet<[u8; 32]>>,
    between: Barrier,
}

impl NonceStore for RacyStore {
    fn claim<'a>(&'a self, claim: &'a Claim) -> StoreFuture<'a, ClaimOutcome> {
        StoreFuture::new(async {
            let known = self.seen.lock().unwrap().contains(&claim.digest());
            self.between.wait().await;
            if known {
                return Ok(ClaimOutcome::Replayed);
            }
            self.seen.lock().unwrap().insert(claim.digest());
            Ok(ClaimOutcome::New)
        })
    }

    fn leases(&self) -> Option<&dyn LeaseStore> {
        None
    }

    fn survives_restart(&self) -> bool {
        true
    }

    fn sharing(&self) -> countersign::store::Sharing {
        countersign::store::Sharing::between_processes(self)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a20_twin_a_store_that_looks_first_and_records_then_is_found() {
    for subject in ALL {
        let clock = common::clock();
        let store = RacyStore {
            seen: Mutex::default(),
            between: Barrier::new(2),
        };
        let target = Target::with_store(subject, &clock, store, |layer| layer);
        let found = copies_at_once(&target, &subject.signed(&clock), 2).await;
        assert!(matches!(found, Err(Breach::Effect(_))), "{found:?}");
    }
}

/// On one connection, one behind the other, before either is answered.
pub async fn two_copies_in_one_batch(target: &Target, subject: &Subject) {
    let wire = to_wire(&subject.signed(&target.clock));
    let keep_alive = String::from_utf8(wire.clone())
        .unwrap()
        .replace("connection: close", "x-a: b");
    let batch = [keep_alive.as_bytes(), &wire].concat();
    let (status, answers) = exchange(target.addr.unwrap(), &batch).await;
    assert_eq!((status, target.effects.count()), (OK, 1));
    assert!(
        answers.contains("HTTP/1.1 409") && answers.contains(REPLAYED.1),
        "{answers}"
    );
}

#[tokio::test]
async fn a40_two_copies_in_one_batch_have_one_effect() {
    for subject in ALL {
        let target = Target::new(subject).on_a_socket().await;
        two_copies_in_one_batch(&target, subject).await;
    }
}

pub fn ring(ids: &[&str]) -> KeyRing {
    ids.iter()
        .enumerate()
        .fold(KeyRing::new(), |ring, (i, id)| {
            ring.with(id, format!("secret number {i} of these keys"))
                .unwrap()
        })
}

/// Each pair of key id and nonce, written one behind the other.
pub const SMUGGLED: [[(&str, &str); 2]; 7] = [
    [("a", "b:c"), ("a:b", "c")],
    [("a", "b|c"), ("a|b", "c")],
    [("a", "b/c"), ("a/b", "c")],
    [("a", "b.c"), ("a.b", "c")],
    [("a", "b%0Ac"), ("a%0Ab", "c")],
    [("a", "b\\0c"), ("a\\0b", "c")],
    [("a", "bc"), ("ab", "c")],
];

/// Each of two requests is one of its own.
pub async fn two_pairs(target: &Target, subject: &Subject, pairs: [(&str, &str); 2]) -> Finding {
    for (i, (key, nonce)) in pairs.into_iter().enumerate() {
        let signer = (subject.signer)(key, &format!("secret number {i} of these keys"));
        let request = common::request("POST", "/transfer", BODY);
        let signed = signer
            .clock(target.clock.clone())
            .sign_with_nonce(request, nonce)
            .unwrap();
        accepted(target, signed.clone()).await?;
        refused(target, signed, REPLAYED).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a23_the_same_nonce_under_two_keys_is_legal() {
    for subject in PLACED {
        let target = Target::with(subject, |layer| layer.keys(ring(&["a", "b"])))
            .on_a_socket()
            .await;
        let pairs = [("a", "1"), ("b", "1")];
        two_pairs(&target, subject, pairs).await.unwrap();
    }
}

#[tokio::test]
async fn a23_a_delimiter_in_key_id_or_nonce_makes_no_other_claim() {
    for subject in PLACED {
        for pairs in SMUGGLED {
            let keys = ring(&pairs.map(|(key, _)| key));
            let target = Target::with(subject, |layer| layer.keys(keys))
                .on_a_socket()
                .await;
            two_pairs(&target, subject, pairs).await.unwrap();
        }
    }
}

#[tokio::test]
async fn a23_twins_that_join_key_id_and_nonce_or_forget_the_key_are_found() {
    let joined: fn(&Claim) -> Vec<u8> =
        |claim| [claim.key_id().as_str().as_bytes(), claim.nonce().as_bytes()].join(&b':');
    let nonce_alone: fn(&Claim) -> Vec<u8> = |claim| claim.nonce().as_bytes().to_vec();
    for (pairs, identity) in [
        (SMUGGLED[0], joined),
        ([("a", "1"), ("b", "1")], nonce_alone),
    ] {
        let clock = common::clock();
        let store = MapStore::new(&clock).identity(identity);
        let keys = ring(&pairs.map(|(key, _)| key));
        let target = Target::with_store(&HOUSE, &clock, store, |layer| layer.keys(keys));
        let found = two_pairs(&target, &HOUSE, pairs).await;
        assert!(matches!(found, Err(Breach::Answer(_))), "{found:?}");
    }
}

#[tokio::test]
async fn a23_what_is_not_visible_is_refused_in_key_id_and_nonce() {
    for smuggled in [
        "a\nb",
        "a\0b",
        "a\rb",
        "a b",
        "a\tb",
        "a\u{7f}b",
        "é",
        "",
        "\u{feff}a",
    ] {
        assert!(KeyId::new(smuggled).is_err(), "{smuggled:?}");
    }
    for (subject, place) in [
        (&HOUSE, HOUSE.key_id),
        (&HOUSE, HOUSE.nonce),
        (&EVENTS, EVENTS.nonce),
        (&RFC_9421, RFC_9421.key_id),
        (&RFC_9421, RFC_9421.nonce),
    ] {
        let place = place.unwrap();
        let target = Target::new(subject);
        let genuine = subject.signed(&target.clock);
        for smuggled in [&b"a b"[..], b"a\tb", b" ", b"a\xffb", "é".as_bytes(), b""] {
            // A nonce in quotes may have a space.
            if subject.structured && Some(place) == subject.nonce && smuggled.contains(&b' ') {
                continue;
            }
            let mut request = with(&genuine, place, smuggled);
            subject.resign(&mut request);
            refused(&target, request, MALFORMED).await.unwrap();
        }
        for smuggled in [&b"a\nb"[..], b"a\0b", b"a\rb", b"a\x7fb"] {
            assert!(
                HeaderValue::from_bytes(smuggled).is_err(),
                "HTTP has no such value"
            );
        }
        accepted(&target, genuine).await.unwrap();
    }
}

#[tokio::test]
async fn a23_line_feeds_on_the_wire_smuggle_nothing_in() {
    for (subject, name) in [
        (&HOUSE, "x-nonce"),
        (&HOUSE, "x-key-id"),
        (&EVENTS, "event-id"),
    ] {
        let target = Target::new(subject).on_a_socket().await;
        let genuine = subject.signed(&target.clock);
        let value = crate::subject::get(&genuine, name);
        let line = format!("{name}: {value}\r\n");
        let wire = String::from_utf8(to_wire(&genuine)).unwrap();
        assert!(wire.contains(&line));
        for smuggled in [
            format!("{name}: {value}\0\r\n"),
            format!("{name}: {value}\rx\r\n"),
            format!("{name}: {value}\nx\r\n"),
            format!("{name}: {value}\n{name}: x\r\n"),
            format!("{name}: {value}\r\n x\r\n"),
            format!("{name} : {value}\r\n"),
        ] {
            let wire = wire.replace(&line, &smuggled);
            let (status, code) = exchange(target.addr.unwrap(), wire.as_bytes()).await;
            assert_eq!(
                (status, target.effects.count()),
                (400, 0),
                "{smuggled:?}: {code}"
            );
        }
        accepted(&target, genuine).await.unwrap();
    }
}

pub fn rotation() -> KeyRing {
    let set = KeySet::new(KEY)
        .unwrap()
        .with(Secret::new(NEXT_SECRET).unwrap())
        .with(Secret::new(SECRET).unwrap());
    KeyRing::new().with_set(set).unwrap()
}

/// Two valid signatures over one message are sent one after the other.
pub async fn two_signatures_over_one_message(target: &Target, subject: &Subject) -> Finding {
    let one = subject.signed(&target.clock);
    let mut other = one.clone();
    let mac = subject.mac(NEXT_SECRET.as_bytes(), &one);
    subject.write(&mut other, &mac);
    assert_ne!(
        one.headers()[subject.signature],
        other.headers()[subject.signature]
    );
    accepted(target, other).await?;
    refused(target, one, REPLAYED).await
}

#[tokio::test]
async fn a31_a_second_signature_over_one_message_is_no_second_request() {
    // A rotation has two secrets under one id. A `HeaderScheme` has one signature in a request, and
    // covers a key id in a header: no label or key can be left out or exchanged.
    for subject in ALL {
        let target = Target::with(subject, |layer| layer.keys(rotation()))
            .on_a_socket()
            .await;
        two_signatures_over_one_message(&target, subject)
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn a31_twin_a_server_whose_nonce_is_the_signature_is_found() {
    let clock = common::clock();
    let target = Target::of(&clock, |effects| {
        naive::server(&HOUSE, &clock, app(effects), Fault::SignatureIsNonce, || {})
    });
    let found = two_signatures_over_one_message(&target, &HOUSE).await;
    assert!(matches!(found, Err(Breach::Effect(_))), "{found:?}");
}

#[tokio::test]
async fn a31_the_same_signature_in_other_letters_is_no_second_request() {
    let target = Target::new(&HOUSE).on_a_socket().await;
    let genuine = HOUSE.signed(&target.clock);
    let text = crate::subject::get(&genuine, "x-signature");
    let upper = format!("sha256={}", text["sha256=".len()..].to_uppercase());
    accepted(&target, with(&genuine, "x-signature", &upper))
        .await
        .unwrap();
    refused(&target, genuine, REPLAYED).await.unwrap();
}

#[tokio::test]
async fn a31_what_is_not_covered_makes_no_second_request() {
    for subject in ALL {
        let target = Target::new(subject).on_a_socket().await;
        let genuine = subject.signed(&target.clock);
        accepted(&target, genuine.clone()).await.unwrap();
        for (name, value) in [
            ("x-delivery", "2"),
            ("user-agent", "other"),
            ("x-request-id", "2"),
        ] {
            refused(&target, with(&genuine, name, value), REPLAYED)
                .await
                .unwrap();
        }
        if !subject.covers_place {
            let other = with(&genuine, "content-type", "text/plain");
            refused(&target, other, REPLAYED).await.unwrap();
        }
    }
}

#[tokio::test]
async fn a31_one_message_under_two_keys_is_two_requests_only_where_each_key_signed_it() {
    for subject in PLACED {
        let target = Target::new(subject).on_a_socket().await;
        let genuine = subject.signed(&target.clock);
        let mut other = with(&genuine, subject.key_id.unwrap(), OTHER_KEY);
        refused(&target, other.clone(), INVALID).await.unwrap();
        let mac = subject.mac(OTHER_SECRET.as_bytes(), &other);
        subject.write(&mut other, &mac);
        for request in [genuine, other] {
            accepted(&target, request.clone()).await.unwrap();
            refused(&target, request, REPLAYED).await.unwrap();
        }
    }
}

const HOUR: u64 = 60 * 60;
const DAY: u64 = 24 * HOUR;

/// The sender signs one event again, so many seconds after it first did.
pub async fn event_retried(target: &Target, subject: &Subject, retries: &[u64]) -> Finding {
    let sign = |body: &str, id: &str| {
        let request = common::request("POST", "/hook", body);
        subject
            .signer(&target.clock)
            .sign_with_nonce(request, id)
            .unwrap()
    };
    let start = target.clock.now();
    accepted(target, sign(BODY, "event-1")).await?;
    for retry in retries {
        target
            .clock
            .set(start.saturating_add(Duration::from_secs(*retry)));
        // All other records that are old enough are dropped meanwhile.
        for other in 0..20 {
            accepted(target, sign(BODY, &format!("other-{retry}-{other}"))).await?;
        }
        refused(target, sign(BODY, "event-1"), REPLAYED).await?;
        refused(target, sign("its text has changed", "event-1"), REPLAYED).await?;
    }
    Ok(())
}

/// When a record of an event that was signed at zero ends: horizon, window and margin later.
const END: u64 = 3 * DAY + 300 + 7;

/// Each within the horizon of the one before, and the last far beyond that of the first.
pub const RETRIES: [u64; 7] = [1, 301, HOUR, DAY, 3 * DAY - 1, 6 * DAY - 2, 8 * DAY];

#[tokio::test]
async fn a32_an_event_that_is_signed_anew_is_the_same_event() {
    for retries in [&RETRIES[..], &[3 * DAY], &[END - 1], &[10, END], &[0]] {
        let target = Target::new(&EVENTS).on_a_socket().await;
        event_retried(&target, &EVENTS, retries).await.unwrap();
    }
}

#[tokio::test]
async fn a32_without_a_retry_the_record_ends_with_the_horizon() {
    // So that it is the retries that extend it.
    for retries in [&[END][..], &[10, END + 10]] {
        let target = Target::new(&EVENTS);
        let found = event_retried(&target, &EVENTS, retries).await;
        assert!(matches!(found, Err(Breach::Effect(_))), "{found:?}");
    }
}

#[tokio::test]
async fn a32_an_older_delivery_of_an_event_is_the_same_event() {
    let target = Target::new(&EVENTS);
    let request = common::request("POST", "/hook", BODY);
    let older = EVENTS
        .signer(&target.clock)
        .sign_with_nonce(request.clone(), "event-1")
        .unwrap();
    target.clock.advance(Duration::from_secs(200));
    let later = EVENTS
        .signer(&target.clock)
        .sign_with_nonce(request, "event-1")
        .unwrap();
    accepted(&target, later).await.unwrap();
    refused(&target, older, REPLAYED).await.unwrap();
}

static ONE_TIME_IDS: Subject = Subject {
    name: "events, whose id is taken for a nonce",
    builder: || VerifyLayer::builder(one_time_ids()),
    signer: |key, secret| Signer::new(one_time_ids(), key, secret).unwrap(),
    ..EVENTS
};

fn one_time_ids() -> HeaderScheme {
    HeaderScheme::builder("event-signature")
        .prefix("v1,")
        .encoding(countersign::scheme::Encoding::Base64)
        .fixed_key_id(KEY)
        .time("event-time")
        .nonce("event-id")
        .signs(Part::lines([Part::Nonce, Part::Time, Part::Body]))
        .build()
        .unwrap()
}

#[tokio::test]
async fn a32_twins_that_forget_with_the_window_or_do_not_extend_are_found() {
    let found = event_retried(&Target::new(&ONE_TIME_IDS), &ONE_TIME_IDS, &RETRIES).await;
    assert!(
        matches!(found, Err(Breach::Effect(_))),
        "forgotten with the window: {found:?}"
    );

    let clock = common::clock();
    let target = Target::with_store(&EVENTS, &clock, MapStore::new(&clock), |layer| layer);
    let found = event_retried(&target, &EVENTS, &RETRIES).await;
    assert!(
        matches!(found, Err(Breach::Effect(_))),
        "not extended: {found:?}"
    );

    let target = Target::with(&WEBHOOK, |layer| layer);
    let mut signed = WEBHOOK.signed(&target.clock);
    set(&mut signed, "x-delivery", "1");
    accepted(&target, signed).await.unwrap();
    target.clock.advance(Duration::from_secs(1));
    let again = WEBHOOK.signed(&target.clock);
    let found = refused(&target, again, REPLAYED).await;
    assert!(
        matches!(found, Err(Breach::Effect(_))),
        "without an id it is another: {found:?}"
    );
}
