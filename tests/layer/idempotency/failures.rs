//! Ways in which such layers have failed. Each is a course of requests that says what was broken; it
//! finds nothing in the layer, and finds the fault in a naive one.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use axum::body::{Body, Bytes};
use countersign::{
    Rejection,
    error::StoreError,
    idempotency::IdempotencyLayer,
    store::{
        AnswerClaim, AnswerOutcome, AnswerStore, MemoryAnswers, Sharing, StepOutcome, StoreFuture,
    },
};
use http::{HeaderName, HeaderValue};
use http_body_util::BodyExt as _;
use tower::ServiceExt as _;

use super::{
    Server, answers, ask,
    hooked::{Call, hooked},
    keyed,
    naive::{self, Fault},
    sign, verify,
};
use crate::common::{self, KEY, OTHER_KEY, OTHER_SECRET, SECRET};

/// The promise that was broken, if any was.
type Broken = Result<(), String>;

fn unless(holds: bool, broken: impl Into<String>) -> Broken {
    if holds { Ok(()) } else { Err(broken.into()) }
}

/// Runs a course against the layer and against its twin.
macro_rules! survived {
    ($($(#[$doc:meta])* $name:ident, $fault:ident, $course:ident;)*) => {$(
        $(#[$doc])*
        #[tokio::test]
        async fn $name() {
            let kept = $course(&Server::new()).await;
            assert_eq!(kept, Ok(()));
            let (twin, _) = naive::server(Fault::$fault);
            assert!($course(&twin).await.is_err(), "the twin is not found");
        }
    )*};
}

survived! {
    a_key_shared_by_two_tenants_leaks_no_answer, SharedByTenants, two_tenants;
    the_query_is_part_of_what_a_request_says, QueryLeftOut, two_queries;
    header_fields_are_not_joined_without_a_delimiter, HeadersJoined, two_readings;
    a_refusal_is_not_stored, RefusalStored, a_refusal;
    repeated_headers_are_kept, RepeatedHeadersLost, repeated_headers;
    the_limit_of_a_body_holds, BodyLimitLifted, a_long_body;
}

async fn two_tenants(server: &Server) -> Broken {
    let send = async |key, secret| {
        let signed = sign(&server.clock, (key, secret), keyed("k", "/pay", "{}"));
        server.ask(signed.map(Body::from)).await.said()
    };
    let (one, other) = (send(KEY, SECRET).await, send(OTHER_KEY, OTHER_SECRET).await);
    unless(
        one == (201, "partner-1 paid  {}".into()),
        format!("{one:?}"),
    )?;
    unless(
        other == (201, "partner-2 paid  {}".into()),
        format!("{other:?}"),
    )
}

async fn two_queries(server: &Server) -> Broken {
    server.send("k", "/pay?amount=1", "{}").await;
    let other = server.send("k", "/pay?amount=2", "{}").await;
    unless(other.said().0 == 422, format!("{:?}", other.said()))
}

async fn two_readings(server: &Server) -> Broken {
    let mut statuses = Vec::new();
    for (account, amount) in [("1", "23"), ("12", "3")] {
        let mut request = keyed("k", "/pay", "{}");
        for (name, value) in [("x-account", account), ("x-amount", amount)] {
            let value = HeaderValue::from_str(value).unwrap();
            request
                .headers_mut()
                .insert(HeaderName::from_static(name), value);
        }
        statuses.push(server.ask(server.sign(request)).await.said().0);
    }
    unless(statuses == [201, 422], format!("{statuses:?}"))
}

async fn a_refusal(server: &Server) -> Broken {
    let first = server.send("k", "/pay", "one").await.said();
    let refused = server.send("k", "/pay", "another").await.said();
    let again = server.send("k", "/pay", "one").await.said();
    unless(
        refused.0 == 422 && again == first,
        format!("{refused:?}, then {again:?}"),
    )
}

async fn repeated_headers(server: &Server) -> Broken {
    let lines = async || {
        let answer = server.send("k", "/pay", "{}").await;
        answer.head.headers.get_all("link").iter().count()
    };
    let (first, again) = (lines().await, lines().await);
    unless(
        (first, again) == (2, 2),
        format!("{first} lines, then {again}"),
    )
}

async fn a_long_body(server: &Server) -> Broken {
    let signed = server.sign(keyed("k", "/pay", "long"));
    let response = server.router.clone().oneshot(signed).await.unwrap();
    // Nobody has read anything.
    let taken = server.work.frames.load(Ordering::SeqCst);
    unless(taken <= 3, format!("{taken} frames of 64 KiB were taken"))?;
    let whole = response.into_body().collect().await.unwrap().to_bytes();
    unless(
        whole.len() == 64 << 20,
        format!("{} bytes were passed on", whole.len()),
    )?;
    let again = server.send("k", "/pay", "long").await;
    unless(
        again.said() == (200, String::new())
            && again.header("idempotency-body") == Some("omitted")
            && server.effects() == 1,
        format!("{again:?}"),
    )
}

/// Only what was verified leaves a record, and a sender fills no more than its share.
#[tokio::test]
async fn strangers_fill_no_store() {
    let clock = common::clock();
    let store = MemoryAnswers::builder()
        .capacity_bytes(64 * 1024)
        .clock(clock.clone());
    let store = Arc::new(store.build().unwrap());
    let server = Server::with(clock, IdempotencyLayer::builder(Arc::clone(&store)));
    let strangers = async |server: &Server| {
        for n in 0..200 {
            let key = format!("k{n}");
            let unsigned = keyed(&key, "/pay", "{}").map(Body::from);
            ask(&server.router, unsigned).await;
            let forged = ("stranger", "a secret that nobody knows");
            let forged = sign(&server.clock, forged, keyed(&key, "/pay", "{}"));
            ask(&server.router, forged.map(Body::from)).await;
        }
    };
    strangers(&server).await;
    assert_eq!((store.len(), server.effects()), (0, 0));
    let (twin, kept) = naive::server(Fault::StrangersFill);
    strangers(&twin).await;
    assert!(kept.len() >= 200, "the twin is not found");

    // A partner that goes beyond its share is refused, and nobody else is.
    let mut statuses = Vec::new();
    for n in 0..40 {
        statuses.push(server.send(&format!("k{n}"), "/pay", "{}").await.said());
    }
    let served = statuses.iter().filter(|(status, _)| *status == 201).count();
    assert_eq!(served, 31, "half of 64 records, less what rounding takes");
    assert_eq!(statuses[39], (429, "key_over_quota".into()));
    let other = sign(
        &server.clock,
        (OTHER_KEY, OTHER_SECRET),
        keyed("k", "/pay", "{}"),
    );
    assert_eq!(server.ask(other.map(Body::from)).await.said().0, 201);
    assert!(store.taken_bytes() <= 64 * 1024);
    // An answered key is answered still.
    assert!(server.send("k0", "/pay", "{}").await.is_replayed());
    // Records that have ended make room.
    server.clock.advance(Duration::from_secs(24 * 60 * 60));
    assert_eq!(server.send("k39", "/pay", "{}").await.said().0, 201);
}

/// A store of answers that gives none.
#[derive(Clone, Copy, Debug)]
enum Failing {
    Fails,
    Hangs,
    Panics,
    PanicsLater,
}

impl Failing {
    fn answer<T: Send + 'static>(&self) -> StoreFuture<'_, T> {
        match self {
            Self::Fails => StoreFuture::ready(Err(StoreError::unavailable("down"))),
            Self::Hangs => StoreFuture::new(std::future::pending()),
            Self::Panics => panic!("the store panics"),
            Self::PanicsLater => StoreFuture::new(async { panic!("the store panics") }),
        }
    }
}

impl AnswerStore for Failing {
    fn sharing(&self) -> Sharing {
        Sharing::within_process(self)
    }

    fn claim<'a>(&'a self, _: &'a AnswerClaim) -> StoreFuture<'a, AnswerOutcome> {
        self.answer()
    }

    fn find<'a>(&'a self, _: &'a AnswerClaim) -> StoreFuture<'a, Option<AnswerOutcome>> {
        self.answer()
    }

    fn renew<'a>(&'a self, _: &'a AnswerClaim, _: Duration) -> StoreFuture<'a, StepOutcome> {
        self.answer()
    }

    fn record<'a>(&'a self, _: &'a AnswerClaim, _: &'a Bytes) -> StoreFuture<'a, StepOutcome> {
        self.answer()
    }

    fn release<'a>(&'a self, _: &'a AnswerClaim) -> StoreFuture<'a, StepOutcome> {
        self.answer()
    }

    fn resolve<'a>(&'a self, _: &'a AnswerClaim, _: &'a Bytes) -> StoreFuture<'a, StepOutcome> {
        self.answer()
    }
}

#[tokio::test(start_paused = true)]
async fn a_failing_store_lets_nothing_through() {
    use Failing::{Fails, Hangs, Panics, PanicsLater};
    for failing in [Fails, Hangs, Panics, PanicsLater] {
        let builder = IdempotencyLayer::builder(failing);
        let builder = builder.store_timeout(Duration::from_millis(20));
        let server = Server::with(common::clock(), builder);
        // The very same signature, too: its answer cannot be looked up.
        let signed = sign(&server.clock, (KEY, SECRET), keyed("k", "/pay", "{}"));
        for _ in 0..2 {
            let refused = server.ask(signed.clone().map(Body::from)).await;
            assert_eq!(
                refused.said(),
                (503, "store_unavailable".into()),
                "{failing:?}"
            );
            assert!(refused.header("retry-after").is_some());
        }
        assert_eq!(server.effects(), 0);
    }
    let (twin, _) = naive::server(Fault::FailsOpen);
    for _ in 0..2 {
        twin.send("k", "/pay", "{}").await;
    }
    assert_eq!(twin.effects(), 2, "the twin is not found");
}

/// A store of answers that is down, and panics when it is asked which store it is.
struct Nameless;

impl AnswerStore for Nameless {
    fn sharing(&self) -> Sharing {
        panic!("the store panics")
    }

    fn claim<'a>(&'a self, _: &'a AnswerClaim) -> StoreFuture<'a, AnswerOutcome> {
        Failing::Fails.answer()
    }

    fn find<'a>(&'a self, _: &'a AnswerClaim) -> StoreFuture<'a, Option<AnswerOutcome>> {
        Failing::Fails.answer()
    }

    fn renew<'a>(&'a self, _: &'a AnswerClaim, _: Duration) -> StoreFuture<'a, StepOutcome> {
        Failing::Fails.answer()
    }

    fn record<'a>(&'a self, _: &'a AnswerClaim, _: &'a Bytes) -> StoreFuture<'a, StepOutcome> {
        Failing::Fails.answer()
    }

    fn release<'a>(&'a self, _: &'a AnswerClaim) -> StoreFuture<'a, StepOutcome> {
        Failing::Fails.answer()
    }

    fn resolve<'a>(&'a self, _: &'a AnswerClaim, _: &'a Bytes) -> StoreFuture<'a, StepOutcome> {
        Failing::Fails.answer()
    }
}

/// It is asked with the first request, if another layer has the same namespace.
#[tokio::test]
async fn a_store_that_cannot_say_which_it_is_lets_nothing_through() {
    let clock = common::clock();
    let servers = [Nameless, Nameless].map(|store| {
        let layer = IdempotencyLayer::builder(store).build().unwrap();
        // A namespace of its own: it is asked whenever a layer of its namespace is made.
        let verify = verify(&clock).namespace("stores that cannot say which");
        Server::of(clock.clone(), layer, verify.build().unwrap())
    });
    let mut reasons = Vec::new();
    for server in &servers {
        let refused = server.send("k", "/pay", "{}").await;
        assert_eq!(refused.said(), (503, "store_unavailable".into()));
        let rejection = refused.head.extensions.get::<Rejection>().unwrap();
        reasons.push(rejection.reason().to_owned());
        assert_eq!(server.effects(), 0);
    }
    assert_eq!(reasons, ["down", "the store panicked"]);
}

/// A store that fails while an answer is recorded: the sender gets it, and no retry runs.
#[tokio::test]
async fn an_answer_that_is_not_recorded_leaves_and_runs_no_second_time() {
    let clock = common::clock();
    let store = hooked(answers(&clock), |call, _| match call {
        Call::Record => Failing::Fails.answer(),
        _ => StoreFuture::ready(Ok(())),
    });
    let server = Server::with(clock, IdempotencyLayer::builder(store));
    assert_eq!(server.send("k", "/pay", "{}").await.said().0, 201);
    let waits = server.send("k", "/pay", "{}").await;
    assert_eq!(waits.said(), (409, "request_in_flight".into()));
    server.clock.advance(Duration::from_secs(30));
    let unknown = server.send("k", "/pay", "{}").await;
    assert_eq!(unknown.said(), (409, "outcome_unknown".into()));
    assert_eq!(server.effects(), 1);
}
