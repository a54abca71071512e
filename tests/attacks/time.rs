//! Rows 14 to 18: how a signed time is written, when it is fresh, and how long it is remembered.

use std::time::Duration;

use axum::body::Body;
use countersign::{
    Clock as _, HeaderScheme, KeyStore, Part, Signer, Timestamp, VerifyLayer,
    key::KeyFuture,
    store::{Claim, ClaimOutcome, LeaseStore, NonceStore, StoreFuture},
    testing::ManualClock,
};
use std::sync::{Arc, Mutex};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::Notify,
};

use crate::{
    common::{self, KEY, NOW, SECRET, at},
    naive::{self, Fault, MapStore, guard},
    subject::{
        ALL, BODY, Breach, Case, EXPIRED, Finding, Frames, HOUSE, INVALID, MALFORMED,
        NOT_YET_VALID, OK, REPLAYED, SlowStore, Subject, Target, WEBHOOK, accepted, app,
        assert_survived, breaches, case, effective, refused, small, to_wire, with, without,
    },
};

pub const SECOND: Duration = Duration::from_secs(1);
const MILLI: Duration = Duration::from_millis(1);
const MAX_AGE: Duration = Duration::from_secs(300);
pub const MAX_SKEW: Duration = Duration::from_secs(5);

/// Times as nobody should write them, each under a valid MAC.
fn forms(subject: &Subject, genuine: &http::Request<String>) -> Vec<Case> {
    let mut cases: Vec<_> = [
        "",
        "+1700000000",
        "-1700000000",
        "-1",
        "1700000000.0",
        "1700000000.5",
        "1700000000,0",
        "1.7e9",
        "1e9",
        "17E8",
        "0x6553f100",
        "0o14524770400",
        "01700000000",
        "00001700000000",
        "1_700_000_000",
        "1 700 000 000",
        "1700000000 ",
        " 1700000000",
        "1700000000s",
        "1700000000;",
        "1700000000000",
        "1700000000000000000",
        "253402300800",
        "9223372036854775807",
        "18446744073709551615",
        "18446744073709551616",
        "340282366920938463463374607431768211456",
        "99999999999999999999999999999999999999999999",
        "NaN",
        "inf",
        "now",
        "null",
        "2023-11-14T22:13:20Z",
        "Tue, 14 Nov 2023 22:13:20 GMT",
        "１７００００００００",
        "١٧٠٠٠٠٠٠٠٠",
        "1700000000\t",
    ]
    .into_iter()
    .map(|time| {
        let mut request = with(genuine, subject.time, time);
        subject.resign(&mut request);
        // Among structured fields, zeros in front make another spelling, which is not what is
        // signed.
        let respelled = subject.structured && time.trim_start_matches('0') == "1700000000";
        let expected = if respelled { INVALID } else { MALFORMED };
        case(format!("`{time}`"), request, expected)
    })
    .collect();
    for (time, expected) in [
        ("0", EXPIRED),
        ("1", EXPIRED),
        ("999999999", EXPIRED),
        ("253402300799", NOT_YET_VALID),
    ] {
        let mut request = with(genuine, subject.time, time);
        subject.resign(&mut request);
        cases.push(case(format!("`{time}`"), request, expected));
    }
    cases.push(case(
        "missing",
        without(genuine, subject.time),
        subject.answers.lacking,
    ));
    cases
}

#[tokio::test]
async fn a14_a_time_is_plain_digits_and_nothing_else() {
    for subject in ALL {
        let target = Target::new(subject);
        let genuine = subject.signed(&target.clock);
        let cases = forms(subject, &genuine);
        assert_survived(subject, &breaches(&target, &genuine, cases).await);
    }
}

#[tokio::test]
async fn a14_the_message_that_these_tests_sign_is_that_of_the_scheme() {
    // Without this, a wrong MAC could hide that a form was read.
    for subject in ALL {
        let target = Target::new(subject);
        let mut request = subject.signed(&target.clock);
        let signature = request.headers()[subject.signature].clone();
        subject.resign(&mut request);
        assert_eq!(
            request.headers()[subject.signature],
            signature,
            "{}",
            subject.name
        );
        accepted(&target, request).await.unwrap();
    }
}

#[tokio::test]
async fn a14_twin_a_server_that_reads_numbers_loosely_is_found() {
    let clock = common::clock();
    let target = Target::of(&clock, |effects| {
        guard(effects, |parts, body| {
            let time = naive::header(parts, "x-timestamp").trim().parse::<f64>();
            time.is_ok_and(|time| (time - 1_700_000_000.0).abs() <= 300.0)
                && naive::header(parts, "x-signature") == naive::expected(&HOUSE, parts, body)
        })
    });
    let genuine = HOUSE.signed(&clock);
    let found = breaches(&target, &genuine, forms(&HOUSE, &genuine)).await;
    let expected = [
        "`+1700000000`",
        "`1700000000.0`",
        "`1700000000.5`",
        "`1.7e9`",
        "`17E8`",
        "`01700000000`",
        "`00001700000000`",
        "`1700000000 `",
        "` 1700000000`",
        "`1700000000\t`",
    ];
    assert_eq!(effective(&found), expected);
}

#[tokio::test]
async fn a14_seconds_are_not_taken_for_milliseconds() {
    let scheme = || {
        HeaderScheme::builder("x-signature")
            .fixed_key_id(KEY)
            .time_millis("x-timestamp")
            .signs(Part::lines([Part::Time, Part::Body]))
            .build()
            .unwrap()
    };
    let clock = common::clock();
    let layer = VerifyLayer::builder(scheme())
        .keys(common::keys())
        .clock(clock.clone());
    let effects = common::Effects::default();
    let app = app(&effects).layer(layer.store(common::store(&clock)).build().unwrap());
    let target = Target {
        app,
        effects,
        ..Target::of(&clock, app_of_nothing)
    };
    let sign = |time: &str| {
        let mut request = with(&common::request("POST", "/", BODY), "x-timestamp", time);
        let message = format!("{time}\n{BODY}");
        let mac = naive::mac(HOUSE.algorithm, SECRET.as_bytes(), message.as_bytes());
        crate::subject::set(
            &mut request,
            "x-signature",
            &base16ct::lower::encode_string(&mac),
        );
        request
    };
    refused(&target, sign("1700000000"), EXPIRED).await.unwrap();
    refused(&target, sign("1700000000000000"), MALFORMED)
        .await
        .unwrap();
    accepted(&target, sign("1700000000000")).await.unwrap();
    let signed = Signer::new(scheme(), KEY, SECRET)
        .unwrap()
        .clock(clock.clone());
    clock.advance(MILLI);
    accepted(
        &target,
        signed.sign(common::request("POST", "/", BODY)).unwrap(),
    )
    .await
    .unwrap();
}

fn app_of_nothing(_: &common::Effects) -> axum::Router {
    axum::Router::new()
}

/// Returns distances of the clock from the signed time in milliseconds, each with the answer.
fn edges() -> [(i64, Result<(), crate::subject::Answer>); 8] {
    [
        (-5_000, Ok(())),
        (-5_001, Err(NOT_YET_VALID)),
        (-4_999, Ok(())),
        (0, Ok(())),
        (299_999, Ok(())),
        (300_000, Ok(())),
        (300_001, Err(EXPIRED)),
        (300_999, Err(EXPIRED)),
    ]
}

fn signed_time() -> Timestamp {
    at(NOW)
}

/// The clock, so many milliseconds after the signed time.
fn after(millis: i64) -> Timestamp {
    let by = Duration::from_millis(millis.unsigned_abs());
    if millis < 0 {
        signed_time().saturating_sub(by)
    } else {
        signed_time().saturating_add(by)
    }
}

/// At which of the three places the clock reaches the edge.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Stage {
    Admit,
    Body,
    Claim,
}

/// Sends a request that meets the edge at this stage, and was well within the window before.
async fn at_the_edge(
    stage: Stage,
    millis: i64,
    make: impl Fn(&ManualClock, Option<Timestamp>) -> Target,
    subject: &Subject,
) -> ((u16, String), usize, usize) {
    let clock = common::clock();
    let genuine = subject.signed(&clock);
    let (before, edge) = (after(0), after(millis));
    clock.set(if stage == Stage::Admit { edge } else { before });
    let target = make(&clock, (stage == Stage::Claim).then_some(edge));
    let setter = clock.clone();
    let slow = Frames::new([&BODY[..10], &BODY[10..]], move |frame| {
        if stage == Stage::Body && frame == 1 {
            setter.set(edge);
        }
    });
    let answer = target.call(genuine.map(|_| Body::new(slow))).await;
    (answer, target.effects.count(), target.claims.count())
}

/// Returns what was wrong at an edge.
async fn edge_findings(
    make: impl Fn(&ManualClock, Option<Timestamp>) -> Target,
    subject: &Subject,
) -> Vec<String> {
    let mut findings = Vec::new();
    for stage in [Stage::Admit, Stage::Body, Stage::Claim] {
        for (millis, expected) in edges() {
            let ((status, code), effects, claims) =
                at_the_edge(stage, millis, &make, subject).await;
            let passed = status == OK && effects == 1;
            let right = match expected {
                Ok(()) => passed,
                Err(answer) => {
                    // Only a claim that itself took too long has been made.
                    let claimed = usize::from(stage == Stage::Claim);
                    (status, code.as_str()) == answer && effects == 0 && claims == claimed
                }
            };
            if !right {
                findings.push(format!(
                    "{stage:?} {millis}: {status} {code}, {effects} effects, {claims} claims"
                ));
            }
        }
    }
    findings
}

#[tokio::test]
async fn a15_the_exact_edges_of_the_window_at_all_three_places() {
    for subject in ALL {
        let make = |clock: &ManualClock, then| {
            let inner = common::store(clock);
            let store = SlowStore {
                inner,
                clock: clock.clone(),
                then,
            };
            Target::with_store(subject, clock, store, |layer| layer)
        };
        assert_survived(subject, &edge_findings(make, subject).await);
    }
}

/// The edges at which a naive server had an effect that it must not have.
async fn naive_edges(fault: Fault) -> Vec<String> {
    let make = |clock: &ManualClock, then: Option<Timestamp>| {
        let setter = clock.clone();
        let claiming = move || then.into_iter().for_each(|then| setter.set(then));
        Target::of(clock, |effects| {
            naive::server(&HOUSE, clock, app(effects), fault, claiming)
        })
    };
    let findings = edge_findings(make, &HOUSE).await;
    findings
        .into_iter()
        .filter(|finding| finding.contains(" 1 effects"))
        .map(|finding| finding.split(':').next().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn a15_a18_twins_that_check_too_seldom_or_too_coarsely_are_found() {
    assert_eq!(naive_edges(Fault::None).await, [""; 0]);
    let late = ["Claim -5001", "Claim 300001", "Claim 300999"];
    assert_eq!(naive_edges(Fault::FreshOnlyBeforeTheClaim).await, late);
    let later = ["Body -5001", "Body 300001", "Body 300999"];
    assert_eq!(
        naive_edges(Fault::FreshOnlyBeforeTheBody).await,
        [later, late].concat()
    );
    let coarse = naive_edges(Fault::WholeSecondsOneSided).await;
    assert!(coarse.contains(&"Admit -5001".into()) && coarse.contains(&"Admit 300999".into()));
}

/// The request is accepted at `received`, and never again: the clock is stepped through the whole
/// window and beyond, while other requests keep the store at work.
pub async fn replayed_for_ever(
    target: &Target,
    subject: &Subject,
    signed: Timestamp,
    received: Timestamp,
) -> Finding {
    let clock = &target.clock;
    clock.set(signed);
    let genuine = subject.signed(clock);
    clock.set(received);
    accepted(target, genuine.clone()).await?;
    let end = signed.saturating_add(MAX_AGE + Duration::from_secs(30));
    for second in 0.. {
        let now = received.saturating_add(SECOND * second);
        if now > end {
            return Ok(());
        }
        // A millisecond on either side too: deadlines are kept in whole seconds.
        for now in [now.saturating_sub(MILLI), now, now.saturating_add(MILLI)] {
            clock.set(now);
            let expected = match now {
                now if now.saturating_since(signed) > MAX_AGE => EXPIRED,
                now if signed.saturating_since(now) > MAX_SKEW => NOT_YET_VALID,
                _ => REPLAYED,
            };
            refused(target, genuine.clone(), expected).await?;
        }
        let other = common::request("POST", "/other", &second.to_string());
        accepted(target, subject.sign(clock, other)).await?;
    }
    Ok(())
}

/// With a store that drops what is old with every other request.
fn swept(subject: &Subject) -> Target {
    let clock = common::clock();
    let store = small(&clock).capacity_bytes(64 * 1024).build().unwrap();
    Target::with_store(subject, &clock, store, |layer| layer)
}

#[tokio::test]
async fn a16_dated_in_the_future_and_replayed_after_receipt_and_window() {
    for subject in ALL {
        let received = at(NOW);
        for ahead in [MAX_SKEW, MAX_SKEW - SECOND] {
            let target = swept(subject);
            replayed_for_ever(&target, subject, received.saturating_add(ahead), received)
                .await
                .unwrap();
        }
    }
}

#[tokio::test]
async fn a17_a_record_is_kept_for_longer_than_window_and_skew() {
    for subject in ALL {
        for received in [0, 150, 300] {
            let received = at(NOW).saturating_add(SECOND * received);
            replayed_for_ever(&swept(subject), subject, at(NOW), received)
                .await
                .unwrap();
        }
    }
}

#[tokio::test]
async fn a16_a17_twins_that_forget_too_early_are_found() {
    let received = at(NOW);
    for (fault, deadline, ahead) in [
        // From receipt, as a cache does it: too early for what is dated ahead.
        (
            "receipt",
            (|_, now| now.saturating_add(MAX_AGE)) as fn(&Claim, Timestamp) -> _,
            MAX_SKEW,
        ),
        // As long as the window is, but not its last moment.
        (
            "exclusive",
            |claim, _| claim.signed_at().unwrap().saturating_add(MAX_AGE),
            Duration::ZERO,
        ),
        (
            "a minute",
            |_, now| now.saturating_add(Duration::from_secs(60)),
            Duration::ZERO,
        ),
    ] {
        for subject in [&HOUSE, &WEBHOOK] {
            let clock = common::clock();
            let store = MapStore::new(&clock).deadline(deadline);
            let target = Target::with_store(subject, &clock, store, |layer| layer);
            let found =
                replayed_for_ever(&target, subject, received.saturating_add(ahead), received).await;
            assert!(
                matches!(found, Err(Breach::Effect(_))),
                "{fault}: {found:?}"
            );
        }
    }
}

#[tokio::test]
async fn a17_the_claim_covers_the_window_of_every_server() {
    // The time for which a store must remember, under every configuration.
    let extremes = [(300, 5, 5, 2), (1, 0, 0, 1), (86_400, 86_400, 3600, 3600)];
    for (age, skew, difference, timeout) in extremes {
        let [age, skew, difference, timeout] =
            [age, skew, difference, timeout].map(Duration::from_secs);
        let clock = common::clock();
        let told = Arc::new(Mutex::new(None));
        let store = Told(Arc::clone(&told));
        let target = Target::with_store(&HOUSE, &clock, store, |layer| {
            layer
                .max_age(age)
                .max_skew(skew)
                .clock_difference(difference)
                .store_timeout(timeout)
        });
        let genuine = HOUSE.signed(&clock);
        // However late or early it arrives, what counts is when it was signed.
        for now in [
            clock.now().saturating_add(age),
            clock.now().saturating_sub(skew),
        ] {
            clock.set(now);
            accepted(&target, genuine.clone()).await.unwrap();
            let claim = told.lock().unwrap().take().unwrap();
            assert_eq!(
                claim.deadline(),
                at(NOW).saturating_add(age + difference + timeout)
            );
            assert_eq!(claim.retention(), age + skew + difference + timeout);
            assert_eq!((claim.signed_at(), claim.max_skew()), (Some(at(NOW)), skew));
            clock.set(at(NOW));
        }
    }
}

/// Keeps what it was told last, and forgets it at once.
struct Told(Arc<Mutex<Option<Claim>>>);

impl NonceStore for Told {
    fn claim<'a>(&'a self, claim: &'a Claim) -> StoreFuture<'a, ClaimOutcome> {
        *self.0.lock().unwrap() = Some(claim.clone());
        StoreFuture::ready(Ok(ClaimOutcome::New))
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

/// Tells when a key was looked up: the request has then been admitted as fresh.
struct Heard {
    keys: countersign::KeyRing,
    heard: Arc<Notify>,
}

impl KeyStore for Heard {
    fn find<'a>(&'a self, key_id: &'a str) -> KeyFuture<'a> {
        self.heard.notify_one();
        self.keys.find(key_id)
    }
}

#[tokio::test]
async fn a18_a_slow_body_that_outlives_its_window_over_a_socket() {
    for subject in ALL {
        for (step, expected) in [(MAX_AGE, None), (MAX_AGE + MILLI, Some(EXPIRED))] {
            let heard = Arc::new(Notify::new());
            let keys = Heard {
                keys: common::keys(),
                heard: Arc::clone(&heard),
            };
            let target = Target::with(subject, |layer| layer.keys(keys))
                .on_a_socket()
                .await;
            let wire = to_wire(&subject.signed(&target.clock));
            let (first, rest) = wire.split_at(wire.len() - 10);
            let mut stream = TcpStream::connect(target.addr.unwrap()).await.unwrap();
            stream.write_all(first).await.unwrap();
            heard.notified().await;
            target.clock.advance(step);
            stream.write_all(rest).await.unwrap();
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).await.unwrap();
            let (status, code) = common::parse_answer(&answer);
            let counts = (target.effects.count(), target.claims.count());
            match expected {
                None => assert_eq!((status, counts), (OK, (1, 1)), "{code}"),
                Some(expected) => assert_eq!(((status, code.as_str()), counts), (expected, (0, 0))),
            }
        }
    }
}

#[tokio::test]
async fn a18_a_secret_counts_as_on_admission_and_not_for_what_is_admitted_later() {
    for subject in ALL {
        for millis in [1_000, 1_001] {
            let clock = common::clock();
            let set = countersign::KeySet::new(KEY).unwrap();
            let set = set
                .with_until(
                    countersign::Secret::new(SECRET).unwrap(),
                    clock.now().saturating_add(SECOND),
                )
                .with(countersign::Secret::new("the next secret of partner 1").unwrap());
            let keys = countersign::KeyRing::new().with_set(set).unwrap();
            let store = common::store(&clock);
            let target = Target::with_store(subject, &clock, store, |layer| layer.keys(keys));
            let genuine = subject.signed(&clock);
            let setter = clock.clone();
            let slow = Frames::new([&BODY[..10], &BODY[10..]], move |frame| {
                setter.set(at(NOW).saturating_add(Duration::from_millis(frame as u64 * millis)));
            });
            let (status, code) = target.call(genuine.map(|_| Body::new(slow))).await;
            assert_eq!(status, OK, "{}: {code}", subject.name);
            clock.set(at(NOW).saturating_add(Duration::from_millis(millis)));
            let (status, _) = target.call(subject.signed(&clock).map(Body::from)).await;
            assert_eq!(status == OK, millis == 1_000, "{}: {status}", subject.name);
        }
    }
}
