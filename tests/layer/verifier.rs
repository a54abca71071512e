//! The verifier without Tower: stage by stage, at the edges of its times, with every configuration
//! that it refuses, and against requests of any bytes.

use std::{
    sync::{
        Arc, LazyLock, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    response::{IntoResponse as _, Response},
};
use bytes::Bytes;
use countersign::{
    ConfigError, HeaderScheme, KeyId, KeyRing, MemoryStore, Part, Processing, Rejection,
    RejectionKind, Secret, Timestamp, VerifiedPayload, Verifier, VerifyLayer,
    error::ConfigErrorKind,
    request::{Forwarded, Lease, Verified, VerifierBuilder},
    store::{Claim, ClaimOutcome, LeaseStore, NonceStore, StoreFuture},
    testing::ManualClock,
};
use http::{HeaderName, HeaderValue, Method, Request, Uri, request::Parts};
use http_body_util::{BodyExt as _, Full};
use proptest::prelude::*;
use tower::ServiceExt as _;
use tower_http::catch_panic::CatchPanicLayer;

use crate::common::{log::Log, parts::Script, *};

fn builder(clock: &ManualClock) -> VerifierBuilder<Verifier> {
    Verifier::builder(scheme())
        .public_origin(ORIGIN)
        .keys(keys())
        .store(store(clock))
        .clock(clock.clone())
}

fn head(clock: &ManualClock) -> Parts {
    let signed = signer(clock).sign(request("POST", "/orders", "{}"));
    signed.unwrap().into_parts().0
}

fn body() -> Full<Bytes> {
    Full::from("{}")
}

// Stage by stage

fn leased(verified: Verified) -> Lease {
    match verified {
        Verified::Leased(_, lease) => lease,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn each_stage_is_made_from_the_one_before() {
    let clock = clock();
    let verifier = builder(&clock).build().unwrap();
    let head = head(&clock);

    let parsed = verifier.parse(&head).unwrap();
    let admitted = parsed.admit().await.unwrap();
    let received = admitted.receive(body()).await.unwrap();
    let authentic = received.authenticate().unwrap();
    let verified = authentic.claim().await.unwrap();
    assert_eq!(verified.payload().unwrap().bytes(), "{}");
    assert!(matches!(verified, Verified::Claimed(_)));
    assert_eq!(verifier.processing(), Processing::AtMostOnce);
}

#[tokio::test]
async fn each_stage_refuses_what_is_its_to_refuse() {
    let clock = clock();
    let verifier = builder(&clock).max_body_bytes(8).build().unwrap();
    let set = |name: &'static str, value: &'static str| {
        let mut head = head(&clock);
        head.headers.insert(name, HeaderValue::from_static(value));
        head
    };
    use RejectionKind as K;

    let malformed = verifier.parse(&set("x-nonce", "a nonce")).map(drop);
    assert_eq!(malformed.unwrap_err().kind(), K::SignatureMalformed);

    let stale = set("x-timestamp", "1699999699");
    let stale = verifier.parse(&stale).unwrap().admit().await.map(drop);
    assert_eq!(stale.unwrap_err().kind(), K::SignatureExpired);

    let good = head(&clock);
    let admitted = verifier.parse(&good).unwrap().admit().await.unwrap();
    let over = admitted.receive(Full::<Bytes>::from("123456789")).await;
    assert_eq!(over.map(drop).unwrap_err().kind(), K::BodyTooLarge);

    let admitted = verifier.parse(&good).unwrap().admit().await.unwrap();
    let received = admitted.receive(Full::<Bytes>::from("[]")).await.unwrap();
    let invalid = received.authenticate().map(drop);
    assert_eq!(invalid.unwrap_err().kind(), K::SignatureInvalid);

    assert!(verifier.verify(&good, body()).await.is_ok());
    let admitted = verifier.parse(&good).unwrap().admit().await.unwrap();
    let authentic = admitted.receive(body()).await.unwrap().authenticate();
    let replayed = authentic.unwrap().claim().await.map(drop);
    assert_eq!(replayed.unwrap_err().kind(), K::RequestReplayed);
}

#[tokio::test]
async fn a_request_that_goes_no_further_uses_nothing_up() {
    let clock = clock();
    let verifier = builder(&clock).build().unwrap();
    let head = head(&clock);
    for _ in 0..3 {
        let admitted = verifier.parse(&head).unwrap().admit().await.unwrap();
        let authentic = admitted.receive(body()).await.unwrap().authenticate();
        drop(authentic.unwrap());
    }
    assert!(verifier.verify(&head, body()).await.is_ok());
}

#[tokio::test]
async fn a_lease_is_the_callers_to_complete_or_release() {
    let clock = clock();
    let lease = Duration::from_secs(30);
    let verifier = builder(&clock)
        .processing(Processing::Retryable { lease })
        .build()
        .unwrap();
    let head = head(&clock);
    let kind = |result: Result<_, Rejection>| result.map(drop).unwrap_err().kind();

    let first = leased(verifier.verify(&head, body()).await.unwrap());
    assert_eq!(first.duration(), lease);
    let copy = kind(verifier.verify(&head, body()).await);
    assert_eq!(copy, RejectionKind::RequestInFlight);
    assert_eq!(
        first.renew().await.unwrap(),
        countersign::store::StepOutcome::Done
    );
    assert_eq!(
        first.release().await.unwrap(),
        countersign::store::StepOutcome::Done
    );

    let second = leased(verifier.verify(&head, body()).await.unwrap());
    // It is another's now.
    for step in [
        first.renew().await,
        first.complete().await,
        first.release().await,
    ] {
        assert_eq!(step.unwrap(), countersign::store::StepOutcome::Lost);
    }
    assert_eq!(
        second.complete().await.unwrap(),
        countersign::store::StepOutcome::Done
    );
    let copy = kind(verifier.verify(&head, body()).await);
    assert_eq!(copy, RejectionKind::RequestReplayed);
}

#[tokio::test]
async fn stages_are_send_and_show_no_secret() {
    fn is_send<T: Send>(value: T) -> T {
        value
    }
    let clock = clock();
    let verifier = builder(&clock).build().unwrap();
    let head = head(&clock);
    let mut shown = vec![format!("{verifier:?}"), format!("{:?}", builder(&clock))];
    let parsed = verifier.parse(&head).unwrap();
    shown.push(format!("{parsed:?}"));
    let admitted = is_send(parsed.admit()).await.unwrap();
    shown.push(format!("{admitted:?}"));
    let received = is_send(admitted.receive(body())).await.unwrap();
    shown.push(format!("{received:?}"));
    let authentic = is_send(received).authenticate().unwrap();
    shown.push(format!("{authentic:?}"));
    shown.push(format!("{:?}", is_send(authentic.claim()).await.unwrap()));
    for text in shown {
        assert!(
            !text.contains(SECRET) && !text.contains("secret of"),
            "{text}"
        );
        assert!(
            !text.contains("application/json") && !text.contains("b\"{}\""),
            "a covered header or the body: {text}"
        );
    }
}

// Freshness

/// A store in which time passes while it claims.
struct TimePasses {
    store: MemoryStore,
    clock: ManualClock,
    to: Arc<Mutex<Option<Timestamp>>>,
}

impl NonceStore for TimePasses {
    fn claim<'a>(&'a self, claim: &'a Claim) -> StoreFuture<'a, ClaimOutcome> {
        StoreFuture::new(async {
            let claimed = self.store.claim(claim).await;
            if let Some(to) = *self.to.lock().unwrap() {
                self.clock.set(to);
            }
            claimed
        })
    }

    fn leases(&self) -> Option<&dyn LeaseStore> {
        None
    }

    fn survives_restart(&self) -> bool {
        false
    }

    fn sharing(&self) -> countersign::store::Sharing {
        countersign::store::Sharing::within_process(self)
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Before {
    Admit,
    Authenticate,
    TheClaimIsAnswered,
}

/// Verifies a request, signed at `NOW`, with the clock set to another time on the way.
async fn with_time(passing: Before, to: Timestamp) -> Result<(), RejectionKind> {
    let clock = clock();
    let at_claim = Arc::new(Mutex::new(None));
    let store = TimePasses {
        store: store(&clock),
        clock: clock.clone(),
        to: Arc::clone(&at_claim),
    };
    let verifier = builder(&clock).store(store).build().unwrap();
    let head = head(&clock);
    let set = |now| {
        if passing == now {
            clock.set(to);
        }
    };
    if passing == Before::TheClaimIsAnswered {
        *at_claim.lock().unwrap() = Some(to);
    }
    let verdict = async {
        let parsed = verifier.parse(&head)?;
        set(Before::Admit);
        let received = parsed.admit().await?.receive(body()).await?;
        set(Before::Authenticate);
        received.authenticate()?.claim().await.map(drop)
    };
    let verdict = verdict
        .await
        .map_err(|rejection: Rejection| rejection.kind());

    // Whether it was used up: only the claim does that.
    *at_claim.lock().unwrap() = None;
    clock.set(at(NOW));
    let again = verifier.verify(&head, body()).await.map(drop);
    let claimed = verdict.is_ok() || passing == Before::TheClaimIsAnswered;
    let replayed = claimed.then_some(RejectionKind::RequestReplayed);
    assert_eq!(
        again.map_err(|r| r.kind()).err(),
        replayed,
        "{passing:?} {to}"
    );
    verdict
}

#[tokio::test]
async fn a_request_must_be_fresh_at_each_of_three_moments_and_both_edges_are() {
    let edge = |millis: i64| {
        let millis = (NOW * 1000).checked_add_signed(millis).unwrap();
        Timestamp::from_millis(millis).unwrap()
    };
    for passing in [
        Before::Admit,
        Before::Authenticate,
        Before::TheClaimIsAnswered,
    ] {
        for (to, verdict) in [
            (edge(300_000), Ok(())),
            (edge(300_001), Err(RejectionKind::SignatureExpired)),
            (edge(-5_000), Ok(())),
            (edge(-5_001), Err(RejectionKind::SignatureNotYetValid)),
        ] {
            assert_eq!(with_time(passing, to).await, verdict, "{passing:?} {to}");
        }
    }
}

#[tokio::test]
async fn a_body_that_outlives_the_window_of_its_request_is_refused() {
    let clock = clock();
    let verifier = builder(&clock).build().unwrap();
    let head = head(&clock);
    let slow = |seconds| {
        let clock = clock.clone();
        Script::frames(["{", "}"]).map_frame(move |frame| {
            clock.advance(Duration::from_secs(seconds));
            frame
        })
    };
    let late = verifier.verify(&head, slow(151)).await.map(drop);
    assert_eq!(late.unwrap_err().kind(), RejectionKind::SignatureExpired);
    clock.set(at(NOW));
    assert!(verifier.verify(&head, slow(150)).await.is_ok());
}

#[tokio::test]
async fn the_window_is_the_one_that_was_configured() {
    for (age, skew) in [(1, 0), (60, 60), (86_400, 3600)] {
        let clock = clock();
        let verifier = builder(&clock)
            .max_age(Duration::from_secs(age))
            .max_skew(Duration::from_secs(skew))
            .build()
            .unwrap();
        let head = head(&clock);
        for (now, verdict) in [
            (NOW + age + 1, Some(RejectionKind::SignatureExpired)),
            (NOW - skew - 1, Some(RejectionKind::SignatureNotYetValid)),
            (NOW - skew, None),
            (NOW + age, Some(RejectionKind::RequestReplayed)),
        ] {
            clock.set(at(now));
            let result = verifier.verify(&head, body()).await.map(drop);
            assert_eq!(
                result.map_err(|r| r.kind()).err(),
                verdict,
                "{age} {skew} {now}"
            );
        }
    }
}

#[tokio::test]
async fn a_used_request_is_refused_until_it_is_stale_and_then_for_that() {
    let clock = clock();
    let verifier = builder(&clock).build().unwrap();
    let head = head(&clock);
    clock.set(at(NOW - 5));
    assert!(verifier.verify(&head, body()).await.is_ok());
    for second in (NOW - 5..=NOW + 320).step_by(5) {
        clock.set(at(second));
        let kind = verifier.verify(&head, body()).await.map(drop);
        let kind = kind.unwrap_err().kind();
        if second <= NOW + 300 {
            assert_eq!(kind, RejectionKind::RequestReplayed, "{second}");
        } else {
            assert_eq!(kind, RejectionKind::SignatureExpired, "{second}");
        }
    }
    // A clock that steps back reopens nothing.
    clock.set(at(NOW));
    let kind = verifier.verify(&head, body()).await.map(drop);
    let kind = kind.unwrap_err().kind();
    assert!(
        [RejectionKind::RequestReplayed, RejectionKind::SignAgain].contains(&kind),
        "{kind:?}"
    );
}

// Services apart

#[tokio::test]
async fn namespaces_keep_services_apart_in_one_store() {
    let clock = clock();
    let shared = Arc::new(store(&clock));
    let service = |namespace: &str| {
        builder(&clock)
            .store(Arc::clone(&shared))
            .namespace(namespace)
            .build()
            .unwrap()
    };
    let (one, other) = (service("one"), service("other"));
    let head = head(&clock);
    assert!(one.verify(&head, body()).await.is_ok());
    assert!(other.verify(&head, body()).await.is_ok());
    for again in [&one, &other, &service("one")] {
        let refused = again.verify(&head, body()).await.map(drop);
        assert_eq!(refused.unwrap_err().kind(), RejectionKind::RequestReplayed);
    }
}

// Configurations

fn days(days: u64) -> Duration {
    Duration::from_secs(days * 24 * 60 * 60)
}

fn without_time(retention: Duration) -> HeaderScheme {
    HeaderScheme::builder("x-signature")
        .fixed_key_id(KEY)
        .danger_without_time(retention)
        .signs([Part::Body])
        .build()
        .unwrap()
}

fn events(horizon: Duration) -> HeaderScheme {
    HeaderScheme::builder("x-signature")
        .fixed_key_id(KEY)
        .time("x-timestamp")
        .event_id("x-event")
        .event_horizon(horizon)
        .signs(Part::lines([Part::Time, Part::Nonce, Part::Body]))
        .build()
        .unwrap()
}

fn for_scheme(scheme: HeaderScheme) -> VerifierBuilder<Verifier> {
    Verifier::builder(scheme)
        .keys(keys())
        .store(Durable { leases: false })
}

/// A store that survives restarts, with or without leases; nothing is ever claimed in it here.
struct Durable {
    leases: bool,
}

impl NonceStore for Durable {
    fn claim<'a>(&'a self, _: &'a Claim) -> StoreFuture<'a, ClaimOutcome> {
        StoreFuture::ready(Ok(ClaimOutcome::Replayed))
    }

    fn leases(&self) -> Option<&dyn LeaseStore> {
        self.leases.then_some(self)
    }

    fn survives_restart(&self) -> bool {
        true
    }

    fn sharing(&self) -> countersign::store::Sharing {
        countersign::store::Sharing::between_processes(self)
    }
}

impl LeaseStore for Durable {
    fn lease<'a>(
        &'a self,
        _: &'a Claim,
        _: Duration,
    ) -> StoreFuture<'a, countersign::store::LeaseOutcome> {
        StoreFuture::ready(Ok(countersign::store::LeaseOutcome::Completed))
    }

    fn renew<'a>(
        &'a self,
        _: &'a Claim,
        _: Duration,
    ) -> StoreFuture<'a, countersign::store::StepOutcome> {
        StoreFuture::ready(Ok(countersign::store::StepOutcome::Lost))
    }

    fn complete<'a>(&'a self, _: &'a Claim) -> StoreFuture<'a, countersign::store::StepOutcome> {
        StoreFuture::ready(Ok(countersign::store::StepOutcome::Lost))
    }

    fn release<'a>(&'a self, _: &'a Claim) -> StoreFuture<'a, countersign::store::StepOutcome> {
        StoreFuture::ready(Ok(countersign::store::StepOutcome::Lost))
    }
}

fn kind_name(error: &ConfigError) -> String {
    let kind = format!("{:?}", error.kind());
    kind.split(['(', ' ']).next().unwrap().to_owned()
}

#[test]
fn a_configuration_that_would_not_be_safe_is_refused_and_says_what_to_do() {
    let ok = || builder(&clock());
    let with = |adjust: &dyn Fn(VerifierBuilder<Verifier>) -> VerifierBuilder<Verifier>| {
        adjust(ok()).build().map(drop)
    };
    let bare = || Verifier::builder(scheme());
    let second = Duration::from_secs(1);
    let millis = Duration::from_millis;
    let origin = |text: &str| with(&|b| b.public_origin(text));
    let lease = |lease| {
        for_scheme(scheme())
            .public_origin(ORIGIN)
            .store(Durable { leases: true })
            .processing(Processing::Retryable { lease })
            .build()
            .map(drop)
    };
    let refused: Vec<(&str, Result<(), ConfigError>, &str, &str)> = vec![
        (
            "no keys",
            bare()
                .store(store(&clock()))
                .public_origin(ORIGIN)
                .build()
                .map(drop),
            "Missing",
            "call `keys`",
        ),
        (
            "no store",
            bare().keys(keys()).public_origin(ORIGIN).build().map(drop),
            "Missing",
            "call `store`",
        ),
        (
            "no public origin",
            bare().keys(keys()).store(store(&clock())).build().map(drop),
            "Missing",
            "call `public_origin`",
        ),
        (
            "no scheme in an origin",
            origin("b.example.com"),
            "Origin",
            "write it as clients see it",
        ),
        (
            "another scheme",
            origin("ftp://b.example.com"),
            "Origin",
            "https://",
        ),
        (
            "user information",
            origin("https://u@b.example.com"),
            "Origin",
            "https://",
        ),
        (
            "a query",
            origin("https://b.example.com/?q"),
            "Origin",
            "https://",
        ),
        ("nothing", origin(""), "Origin", "https://"),
        (
            "an authority twice",
            origin("https://API.example.com:443/x"),
            "Origin",
            "each authority once",
        ),
        (
            "no age",
            with(&|b| b.max_age(millis(999))),
            "Range",
            "between 1 second and 1 day",
        ),
        (
            "a great age",
            with(&|b| b.max_age(days(1) + millis(1))),
            "Range",
            "between 1 second and 1 day",
        ),
        (
            "more ahead than back",
            with(&|b| b.max_skew(Duration::from_secs(301))),
            "Range",
            "at most `max_age`",
        ),
        (
            "clocks far apart",
            with(&|b| b.clock_difference(Duration::from_secs(3601))),
            "Range",
            "at most 1 hour",
        ),
        (
            "no time for a store",
            with(&|b| b.store_timeout(Duration::ZERO)),
            "Range",
            "between 1 millisecond",
        ),
        (
            "no time for the inner service",
            with(&|b| b.readiness_timeout(Duration::ZERO)),
            "Range",
            "`readiness_timeout` must be between 1 millisecond",
        ),
        (
            "much time for the inner service",
            with(&|b| b.readiness_timeout(days(1))),
            "Range",
            "`readiness_timeout` must be between 1 millisecond and 1 hour",
        ),
        (
            "much time for a store",
            with(&|b| b.store_timeout(days(1))),
            "Range",
            "and 1 hour",
        ),
        (
            "no time for a body",
            with(&|b| b.body_deadline(Duration::ZERO)),
            "Range",
            "between 1 millisecond",
        ),
        (
            "much time for a body",
            with(&|b| b.body_deadline(days(1))),
            "Range",
            "and 1 hour",
        ),
        (
            "a short memory",
            for_scheme(without_time(Duration::from_secs(3599)))
                .build()
                .map(drop),
            "Range",
            "between 1 hour and 1 year",
        ),
        (
            "a memory for ever",
            for_scheme(without_time(days(367))).build().map(drop),
            "Range",
            "between 1 hour and 1 year",
        ),
        (
            "no horizon",
            for_scheme(events(Duration::ZERO)).build().map(drop),
            "Range",
            "between 1 second and 1 year",
        ),
        (
            "a horizon without end",
            for_scheme(events(Duration::MAX)).build().map(drop),
            "Range",
            "between 1 second and 1 year",
        ),
        (
            "bodies beyond the budget",
            with(&|b| b.max_body_bytes(1025).body_budget_bytes(2049)),
            "Range",
            "at least twice `max_body_bytes`",
        ),
        (
            "no namespace",
            with(&|b| b.namespace("")),
            "Range",
            "between 1 and 256 bytes",
        ),
        (
            "a long namespace",
            with(&|b| b.namespace("n".repeat(257))),
            "Range",
            "between 1 and 256 bytes",
        ),
        (
            "a namespace that no database takes",
            with(&|b| b.namespace("a\0b")),
            "Range",
            "none of them may be zero",
        ),
        (
            "a short lease",
            lease(millis(999)),
            "Range",
            "between 1 second and 1 day",
        ),
        (
            "a long lease",
            lease(days(1) + millis(1)),
            "Range",
            "between 1 second and 1 day",
        ),
        (
            "no leases",
            with(&|b| {
                let retryable = Processing::Retryable {
                    lease: Duration::from_secs(1),
                };
                b.store(Durable { leases: false }).processing(retryable)
            }),
            "Processing",
            "use another, or `Processing::AtMostOnce`",
        ),
        (
            "a key id with a space",
            KeyRing::new().with("partner 1", SECRET).map(drop),
            "KeyId",
            "1 to 128 visible ASCII",
        ),
        (
            "a short secret",
            KeyRing::new().with(KEY, "short").map(drop),
            "SecretLength",
            "openssl rand",
        ),
        (
            "a key twice",
            keys().with(KEY, "another secret of partner 1").map(drop),
            "DuplicateKeyId",
            "one `KeySet`",
        ),
        (
            "one secret for two",
            keys().with("partner-3", SECRET).map(drop),
            "SharedSecret",
            "give each its own",
        ),
        (
            "a secret with a line feed",
            KeyRing::new()
                .with(KEY, "the secret of partner 9\n")
                .map(drop),
            "SecretWhiteSpace",
            "ends with a line feed",
        ),
        (
            "no hex",
            Secret::from_hex("zz").map(drop),
            "SecretEncoding",
            "`z` at byte 0",
        ),
        (
            "no base64",
            Secret::from_base64("*").map(drop),
            "SecretEncoding",
            "`*` at byte 0",
        ),
        (
            "no header",
            Forwarded::host("not a header").map(drop),
            "Forwarded",
            "name of a header",
        ),
        (
            "no network",
            Forwarded::host("x-forwarded-host")
                .and_then(|f| f.trust_network("10.0.0.0/33"))
                .map(drop),
            "Forwarded",
            "10.0.0.0/8",
        ),
        (
            "a time that is not covered",
            HeaderScheme::builder("x-signature")
                .fixed_key_id(KEY)
                .time("x-timestamp")
                .signs([Part::Body])
                .build()
                .map(drop),
            "Scheme",
            "add `Part::Time`",
        ),
        (
            "no time",
            HeaderScheme::builder("x-signature")
                .fixed_key_id(KEY)
                .signs([Part::Body])
                .build()
                .map(drop),
            "Scheme",
            "danger_without_time",
        ),
        (
            "bytes that could move",
            HeaderScheme::builder("x-signature")
                .fixed_key_id(KEY)
                .time("x-timestamp")
                .signs([Part::Time, Part::Body])
                .build()
                .map(drop),
            "Scheme",
            "put a delimiter there",
        ),
        (
            "a small store",
            MemoryStore::builder().capacity_bytes(1).build().map(drop),
            "Range",
            "at least 64 KiB",
        ),
        (
            "no share",
            MemoryStore::builder().key_share(0).build().map(drop),
            "Range",
            "between 1 and 100 per cent",
        ),
    ];
    for (what, built, kind, advice) in refused {
        let Err(error) = built else {
            panic!("{what} was accepted");
        };
        assert_eq!(kind_name(&error), kind, "{what}");
        let text = error.to_string();
        assert!(text.contains(advice), "{what}: {text}");
        assert!(format!("{error:?}").contains(&text), "{what}");
    }

    // The edges are in range.
    let accepted: Vec<(&str, Result<(), ConfigError>)> = vec![
        ("the defaults", with(&|b| b)),
        (
            "the least age",
            with(&|b| b.max_age(second).max_skew(second)),
        ),
        (
            "the greatest age",
            with(&|b| b.max_age(days(1)).max_skew(days(1))),
        ),
        (
            "clocks that agree",
            with(&|b| b.clock_difference(Duration::ZERO)),
        ),
        (
            "clocks an hour apart",
            with(&|b| b.clock_difference(Duration::from_secs(3600))),
        ),
        ("a fast store", with(&|b| b.store_timeout(millis(1)))),
        (
            "a fast inner service",
            with(&|b| b.readiness_timeout(millis(1))),
        ),
        ("a body at once", with(&|b| b.body_deadline(millis(1)))),
        (
            "no body at all",
            with(&|b| b.max_body_bytes(0).body_budget_bytes(0)),
        ),
        (
            "half of the budget",
            with(&|b| b.max_body_bytes(1024).body_budget_bytes(2048)),
        ),
        (
            "all there is",
            with(&|b| {
                b.max_body_bytes(usize::MAX / 2)
                    .body_budget_bytes(usize::MAX)
            }),
        ),
        ("a namespace", with(&|b| b.namespace("n".repeat(256)))),
        ("a second origin", origin("http://b.example.com:8080/api/")),
        (
            "an hour",
            for_scheme(without_time(Duration::from_secs(3600)))
                .build()
                .map(drop),
        ),
        ("a year", for_scheme(events(days(366))).build().map(drop)),
        ("the least lease", lease(second)),
        ("the greatest lease", lease(days(1))),
        (
            "any authority, by its name",
            bare()
                .keys(keys())
                .store(store(&clock()))
                .danger_any_authority()
                .build()
                .map(drop),
        ),
        (
            "no authority to cover",
            for_scheme(events(days(1))).build().map(drop),
        ),
    ];
    for (what, built) in accepted {
        assert_eq!(built, Ok(()), "{what}");
    }
}

#[test]
fn a_store_that_forgets_is_warned_of_where_that_reopens_requests() {
    fn warned_of(scheme: &HeaderScheme, store: impl NonceStore) -> bool {
        let log = Log::captured();
        let builder = Verifier::builder(scheme.clone()).keys(keys());
        builder.public_origin(ORIGIN).store(store).build().unwrap();
        let text = log.text();
        text.contains("WARN") && text.contains("the store forgets on restart")
    }
    let warned = |scheme: HeaderScheme, durable: bool| {
        let [alone, shared] = if durable {
            let store = || Durable { leases: false };
            [
                warned_of(&scheme, store()),
                warned_of(&scheme, Arc::new(store())),
            ]
        } else {
            let store = MemoryStore::new;
            [
                warned_of(&scheme, store()),
                warned_of(&scheme, Arc::new(store())),
            ]
        };
        assert_eq!(alone, shared, "another holder does not change a store");
        alone
    };
    assert!(warned(without_time(days(1)), false));
    assert!(warned(events(days(1)), false));
    // Where the signed time fences a restart, or the store remembers, there is nothing to warn of.
    assert!(!warned(scheme(), false));
    assert!(!warned(without_time(days(1)), true));
    assert!(!warned(events(days(1)), true));
}

#[test]
fn kinds_of_errors_can_be_told_apart_by_callers() {
    let error = KeyId::new("").unwrap_err();
    assert_eq!(error.kind(), &ConfigErrorKind::KeyId);
    assert!(std::error::Error::source(&error).is_none());
}

// Requests of any bytes

/// All that a payload says, in one line.
fn described(payload: &VerifiedPayload) -> String {
    format!(
        "{} {:?} {:?} {:?} {:?} {:?} {:?} {:?} {:?}",
        payload.key_id(),
        payload.signed_at(),
        payload.nonce(),
        payload.method(),
        payload.authority(),
        payload.path(),
        payload.query(),
        payload.header("content-type"),
        payload.bytes(),
    )
}

/// A service that answers with what it was given.
struct Fuzzed {
    clock: ManualClock,
    effects: Effects,
    app: Router,
}

impl Fuzzed {
    fn new() -> Self {
        let (clock, effects) = (clock(), Effects::default());
        let layer: VerifyLayer = layer(&clock)
            .forwarded(
                Forwarded::host("x-forwarded-host")
                    .unwrap()
                    .trust_network("10.0.0.0/8")
                    .unwrap(),
            )
            .body_deadline(Duration::from_millis(50))
            .build()
            .unwrap();
        let happened = effects.clone();
        let handler = move |payload: VerifiedPayload| {
            happened.happened();
            std::future::ready(described(&payload))
        };
        let app = Router::new().fallback(handler).layer(layer);
        Self {
            clock,
            effects,
            app,
        }
    }
}

const NAMES: [&str; 16] = [
    "x-signature",
    "x-key-id",
    "x-timestamp",
    "x-nonce",
    "host",
    "content-type",
    "content-length",
    "transfer-encoding",
    "content-encoding",
    "upgrade",
    "expect",
    "trailer",
    "x-forwarded-host",
    "x-http-method-override",
    "connection",
    "te",
];

/// The index of `x-timestamp` among the names.
const TIME: usize = 2;

/// Bytes that a header can carry, and more often such as might almost be right.
fn header_bytes() -> impl Strategy<Value = Vec<u8>> {
    let any_bytes = prop::collection::vec(
        prop_oneof![Just(b'\t'), 0x20..=0x7e_u8, 0x80..=0xff_u8],
        0..100,
    );
    prop_oneof![
        any_bytes,
        "(sha256=)?[0-9a-fA-F]{0,70}".prop_map(String::into_bytes),
        "[-+]?(1(699999|700000)[0-9]{3}|[0-9]{0,25})(\\.0)?".prop_map(String::into_bytes),
        "(partner-[12]|api\\.example\\.com)(:443|:80|,| )?".prop_map(String::into_bytes),
        "(gzip|identity|chunked|close|websocket|100-continue|0|2|application/json)"
            .prop_map(String::into_bytes),
        Just(vec![b'a'; 20_000]),
    ]
}

#[derive(Clone, Debug)]
enum Change {
    Set(usize, Vec<u8>),
    Append(usize, Vec<u8>),
    Remove(usize),
    Rename(usize, usize),
    Body(Vec<u8>),
    Method(String),
    Target(String),
}

fn change() -> impl Strategy<Value = Change> {
    let name = 0..NAMES.len();
    prop_oneof![
        4 => (name.clone(), header_bytes()).prop_map(|(name, value)| Change::Set(name, value)),
        2 => (name.clone(), header_bytes()).prop_map(|(name, value)| Change::Append(name, value)),
        1 => "1(699999|700000)[0-9]{3}".prop_map(|time| Change::Set(TIME, time.into_bytes())),
        1 => name.clone().prop_map(Change::Remove),
        1 => (name.clone(), name).prop_map(|(from, to)| Change::Rename(from, to)),
        1 => prop::collection::vec(any::<u8>(), 0..200).prop_map(Change::Body),
        1 => "[A-Z]{1,8}|get|post|POST|CONNECT".prop_map(Change::Method),
        2 => "(https?://[a-z@:.]{0,20})?/?[!-~]{0,40}|\\*|/+|/orders[?#/]*".prop_map(Change::Target),
    ]
}

impl Change {
    fn apply(self, request: &mut Request<Vec<u8>>) {
        let name = |index: usize| HeaderName::from_static(NAMES[index]);
        match self {
            Self::Set(index, value) => {
                if let Ok(value) = HeaderValue::from_bytes(&value) {
                    request.headers_mut().insert(name(index), value);
                }
            }
            Self::Append(index, value) => {
                if let Ok(value) = HeaderValue::from_bytes(&value) {
                    request.headers_mut().append(name(index), value);
                }
            }
            Self::Remove(index) => {
                request.headers_mut().remove(name(index));
            }
            Self::Rename(from, to) => {
                if let Some(value) = request.headers_mut().remove(name(from)) {
                    request.headers_mut().insert(name(to), value);
                }
            }
            Self::Body(body) => *request.body_mut() = body,
            Self::Method(method) => {
                if let Ok(method) = method.parse::<Method>() {
                    *request.method_mut() = method;
                }
            }
            Self::Target(target) => {
                if let Ok(uri) = target.parse::<Uri>() {
                    *request.uri_mut() = uri;
                }
            }
        }
    }
}

/// A signed request, fresh and new.
fn genuine(clock: &ManualClock) -> Request<Vec<u8>> {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let nonce = format!("nonce-{}", COUNT.fetch_add(1, Ordering::Relaxed));
    signer(clock)
        .sign_with_nonce(request("POST", "/orders/7?a=1", "{\"id\":7}"), &nonce)
        .unwrap()
        .map(String::into_bytes)
}

/// The answer: what the handler was given, or the kind of a typed rejection.
async fn outcome(app: &Router, request: Request<Vec<u8>>) -> Result<String, RejectionKind> {
    let response: Response = app
        .clone()
        .oneshot(request.map(Body::from))
        .await
        .into_response();
    let (status, kept) = (
        response.status(),
        response.extensions().get::<Rejection>().cloned(),
    );
    let body = response.into_body().collect().await.unwrap().to_bytes();
    match kept {
        Some(rejection) => {
            assert_eq!(status, rejection.kind().status());
            let problem: serde_json::Value = serde_json::from_slice(&body).unwrap();
            assert_eq!(problem["code"], rejection.kind().code());
            Err(rejection.kind())
        }
        None => {
            assert_eq!(status, 200, "neither a success nor a rejection");
            Ok(String::from_utf8_lossy(&body).into_owned())
        }
    }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(future)
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 1000,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    /// However a request is changed, it is refused by a kind of rejection, and the genuine one is
    /// still new; or it passes, and then it says what was signed, to the last byte.
    #[test]
    fn a_changed_request_is_refused_or_says_what_was_signed(
        changes in prop::collection::vec(change(), 0..4),
    ) {
        static FUZZED: LazyLock<Fuzzed> = LazyLock::new(Fuzzed::new);
        static GENUINE: LazyLock<Fuzzed> = LazyLock::new(Fuzzed::new);
        let original = genuine(&FUZZED.clock);
        let mut changed = original.clone();
        for change in changes {
            change.apply(&mut changed);
        }
        let before = FUZZED.effects.count();
        let passed = block_on(outcome(&FUZZED.app, changed));
        prop_assert_eq!(FUZZED.effects.count() - before, usize::from(passed.is_ok()));

        let signed = block_on(outcome(&GENUINE.app, original.clone())).unwrap();
        let again = block_on(outcome(&FUZZED.app, original));
        if passed.is_ok() {
            prop_assert_eq!(passed, Ok(signed));
            prop_assert_eq!(again, Err(RejectionKind::RequestReplayed));
        } else {
            prop_assert_eq!(again, Ok(signed));
        }
    }

    /// Requests that nobody signed never pass, whatever they are made of.
    #[test]
    fn a_request_of_any_bytes_never_passes_unsigned(
        headers in prop::collection::vec((0..NAMES.len(), header_bytes()), 0..8),
        body in prop::collection::vec(any::<u8>(), 0..200),
        more in prop::collection::vec(change(), 0..3),
    ) {
        static FUZZED: LazyLock<Fuzzed> = LazyLock::new(Fuzzed::new);
        let mut request = Request::post("/orders").body(body).unwrap();
        for (name, value) in headers {
            Change::Append(name, value).apply(&mut request);
        }
        more.into_iter().for_each(|change| change.apply(&mut request));
        prop_assert!(block_on(outcome(&FUZZED.app, request)).is_err());
        prop_assert_eq!(FUZZED.effects.count(), 0);
    }
}

/// The twin: of the requests that the first property makes, some do pass, and most do not.
#[test]
fn changed_requests_of_both_kinds_are_tried() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let Fuzzed { clock, app, .. } = Fuzzed::new();
    let (mut passed, mut kinds) = (0, std::collections::HashSet::new());
    block_on(async {
        for _ in 0..600 {
            let changes = prop::collection::vec(change(), 0..3).new_tree(&mut runner);
            let mut request = genuine(&clock);
            for change in proptest::strategy::ValueTree::current(&changes.unwrap()) {
                change.apply(&mut request);
            }
            match outcome(&app, request).await {
                Ok(_) => passed += 1,
                Err(kind) => {
                    kinds.insert(kind);
                }
            }
        }
    });
    assert!(passed > 50, "{passed}");
    assert!(kinds.len() >= 8, "{kinds:?}");
}

/// As bytes of HTTP/1.1, with whatever the headers hold, also what hyper itself refuses.
fn raw(request: &Request<Vec<u8>>) -> Vec<u8> {
    let mut wire = format!("{} {} HTTP/1.1\r\n", request.method(), request.uri()).into_bytes();
    for (name, value) in request.headers() {
        wire.extend(name.as_str().bytes());
        wire.extend(b": ");
        wire.extend(value.as_bytes());
        wire.extend(b"\r\n");
    }
    wire.extend(b"connection: close\r\n\r\n");
    wire.extend(request.body());
    wire
}

#[tokio::test]
async fn nothing_on_a_socket_makes_the_server_panic_or_pass_what_was_not_signed() {
    let Fuzzed {
        clock,
        effects,
        app,
    } = Fuzzed::new();
    let addr = serve(app.layer(CatchPanicLayer::new())).await;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut draw = |strategy: &BoxedStrategy<Vec<Change>>| {
        let drawn = strategy.new_tree(&mut runner).unwrap();
        proptest::strategy::ValueTree::current(&drawn)
    };
    let changes = prop::collection::vec(change(), 1..4).boxed();
    let length = b"content-length: ";
    for case in 0..200 {
        let mut request = genuine(&clock);
        for change in draw(&changes) {
            change.apply(&mut request);
        }
        let mut wire = raw(&request);
        // A length of any value, now and then.
        if case % 3 == 0 {
            let end = wire.windows(2).position(|w| w == b"\r\n").unwrap() + 2;
            let value = [
                "8",
                "0",
                "9",
                "-1",
                "+8",
                "8, 8",
                "8x",
                "99999999999999999999",
                "",
            ];
            let line = [length, value[case % value.len()].as_bytes(), b"\r\n"].concat();
            wire.splice(end..end, line);
        }
        let before = effects.count();
        let (status, answer) = exchange(addr, &wire).await;
        // 0: hyper has closed the connection without a word.
        assert!(
            status == 0 || status == 200 || (400..=431).contains(&status) || status == 503,
            "{status} {answer}"
        );
        assert_eq!(
            effects.count() - before,
            usize::from(status == 200),
            "{answer}"
        );
        if status == 200 {
            assert!(
                answer.contains("\"/orders/7\"") && answer.contains("id"),
                "{answer}"
            );
        }
    }
    let mut good = genuine(&clock);
    good.headers_mut().insert("content-length", 8.into());
    assert_eq!(exchange(addr, &raw(&good)).await.0, 200, "it still serves");
}
