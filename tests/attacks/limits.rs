//! Rows 21, 22, 40 and 43: who can use up what. Row 51 is in `budget.rs`.

use std::{
    collections::{BTreeSet, VecDeque},
    convert::Infallible,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use axum::{Router, body::Body, response::IntoResponse as _};
use bytes::Bytes;
use countersign::{
    KeyId, MemoryStore, Timestamp,
    error::StoreErrorKind,
    store::{Claim, Nonce, NonceKind, NonceStore as _},
    testing::ManualClock,
};
use http::header::RETRY_AFTER;
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::BodyExt as _;
use tokio::{sync::Notify, task::JoinSet};
use tower::ServiceExt as _;

use crate::{
    common::{self, Effects, KEY, OTHER_KEY, OTHER_SECRET, SECRET, exchange},
    naive::MapStore,
    subject::{
        ALL, Answer, BODY, Breach, EXPIRED, Finding, HOUSE, INVALID, MALFORMED, NOT_YET_VALID, OK,
        REPLAYED, Subject, Target, accepted, refused, small, to_wire, with,
    },
};

const STORE_FULL: Answer = (503, "store_full");
pub const OVER_QUOTA: Answer = (429, "key_over_quota");
pub const NO_BUDGET: Answer = (503, "body_budget_exhausted");

fn numbered(subject: &Subject, clock: &ManualClock, n: usize) -> http::Request<String> {
    subject.sign(clock, common::request("POST", "/flood", &n.to_string()))
}

/// An early request, then so many that the store is full, then all that were accepted once more.
async fn flood_then_replay(
    target: &Target,
    subject: &Subject,
    sent: usize,
) -> Result<usize, Breach> {
    let early = subject.signed(&target.clock);
    accepted(target, early.clone()).await?;
    target.clock.advance(Duration::from_secs(1));
    let mut taken = Vec::new();
    for n in 0..sent {
        let request = numbered(subject, &target.clock, n);
        let (status, code) = target.send(request.clone()).await;
        match (status, code.as_str()) {
            (OK, _) => taken.push(request),
            STORE_FULL | OVER_QUOTA => {}
            _ => return Err(Breach::Answer(format!("{status} {code}"))),
        }
    }
    refused(target, early.clone(), REPLAYED).await?;
    let full = sent - taken.len();
    for request in taken {
        refused(target, request, REPLAYED).await?;
    }
    // Longer than any of the subjects remembers.
    target.clock.advance(Duration::from_secs(4 * 24 * 60 * 60));
    refused(target, early, EXPIRED).await?;
    accepted(target, subject.signed(&target.clock)).await?;
    Ok(full)
}

#[tokio::test]
async fn a21_a_flood_to_capacity_reopens_nothing() {
    for subject in ALL {
        let clock = common::clock();
        let store = Arc::new(small(&clock).key_share(100).build().unwrap());
        let target = Target::with_store(subject, &clock, Arc::clone(&store), |layer| layer);
        let full = flood_then_replay(&target, subject, 4500).await.unwrap();
        assert!(full > 300, "the store was full {full} times");
        assert!(store.allocated_bytes() <= 64 * 1024);
    }
}

#[tokio::test]
async fn a21_twin_a_store_that_evicts_is_found() {
    for subject in ALL {
        let clock = common::clock();
        let store = MapStore::new(&clock).capacity(100);
        let target = Target::with_store(subject, &clock, store, |layer| layer);
        let found = flood_then_replay(&target, subject, 200).await;
        assert!(matches!(found, Err(Breach::Effect(_))), "{found:?}");
    }
}

/// One key sends as much as it can, dated so far ahead; the other is served all the same.
pub async fn one_key_floods(target: &Target, ahead: Duration) -> Result<BTreeSet<String>, Breach> {
    let early = numbered(&HOUSE, &target.clock, 0);
    accepted(target, early.clone()).await?;
    let theirs = common::clock();
    theirs.set(countersign::Clock::now(&target.clock).saturating_add(ahead));
    let mut codes = BTreeSet::new();
    for n in 1..5000 {
        let (status, code) = target.send(numbered(&HOUSE, &theirs, n)).await;
        if status != OK {
            codes.insert(code);
        }
    }
    let other = (HOUSE.signer)(OTHER_KEY, OTHER_SECRET).clock(target.clock.clone());
    for n in 0..50 {
        let request = common::request("POST", "/other", &n.to_string());
        let signed = other.sign(request).unwrap();
        accepted(target, signed.clone()).await?;
        refused(target, signed, REPLAYED).await?;
    }
    refused(target, early, REPLAYED).await?;
    Ok(codes)
}

fn only(code: &str) -> BTreeSet<String> {
    BTreeSet::from([code.to_owned()])
}

#[tokio::test]
async fn a22_one_key_does_not_use_up_everybodys_capacity() {
    let clock = common::clock();
    let target = Target::with_store(&HOUSE, &clock, small(&clock).build().unwrap(), |layer| {
        layer
    });
    let codes = one_key_floods(&target, Duration::ZERO).await.unwrap();
    assert!(codes.contains(OVER_QUOTA.1), "{codes:?}");

    let request = numbered(&HOUSE, &clock, 6000).map(Body::from);
    let response = target.app.clone().oneshot(request).await.unwrap();
    let wait: u64 = response.headers()[RETRY_AFTER]
        .to_str()
        .unwrap()
        .parse()
        .unwrap();
    assert!((1..=307).contains(&wait), "{wait}");
    clock.advance(Duration::from_secs(wait));
    accepted(&target, numbered(&HOUSE, &clock, 6001))
        .await
        .unwrap();
}

#[tokio::test]
async fn a22_twin_a_store_without_a_quota_is_found() {
    let clock = common::clock();
    let store = small(&clock).key_share(100).build().unwrap();
    let target = Target::with_store(&HOUSE, &clock, store, |layer| layer);
    let found = one_key_floods(&target, Duration::ZERO).await;
    assert!(
        matches!(&found, Err(Breach::Answer(why)) if why.contains(STORE_FULL.1)),
        "{found:?}"
    );
}

#[tokio::test]
async fn a40_one_key_that_dates_everything_ahead_gets_no_more_than_its_share() {
    let clock = common::clock();
    let target = Target::with_store(&HOUSE, &clock, small(&clock).build().unwrap(), |layer| {
        layer
    });
    let codes = one_key_floods(&target, Duration::from_secs(5))
        .await
        .unwrap();
    assert!(codes.contains(OVER_QUOTA.1), "{codes:?}");

    // When all else has been dropped, what is dated ahead still counts against its key alone.
    clock.advance(Duration::from_secs(310));
    let other = (HOUSE.signer)(OTHER_KEY, OTHER_SECRET).clock(clock.clone());
    let signed = other.sign(common::request("POST", "/other", BODY)).unwrap();
    accepted(&target, signed).await.unwrap();

    let target = Target::with_store(&HOUSE, &clock, small(&clock).build().unwrap(), |layer| {
        layer
    });
    let codes = one_key_floods(&target, Duration::from_secs(6))
        .await
        .unwrap();
    assert_eq!(codes, only(NOT_YET_VALID.1), "further ahead than may be");
    assert_eq!(
        target.claims.count(),
        102,
        "and nothing of it reached the store"
    );
}

#[tokio::test]
async fn a22_a_nonce_or_key_id_that_is_too_long_is_refused() {
    let clock = common::clock();
    let store = Arc::new(common::store(&clock));
    let target = Target::with_store(&HOUSE, &clock, Arc::clone(&store), |layer| layer);
    let genuine = HOUSE.signed(&clock);
    for (name, len) in [
        ("x-nonce", 257),
        ("x-nonce", 1 << 20),
        ("x-key-id", 129),
        ("x-key-id", 1 << 20),
    ] {
        let mut long = with(&genuine, name, "n".repeat(len));
        HOUSE.resign(&mut long);
        refused(&target, long, MALFORMED).await.unwrap();
    }
    let before = store.allocated_bytes();
    let request = common::request("POST", "/transfer", BODY);
    let longest = HOUSE
        .signer(&clock)
        .sign_with_nonce(request, &"n".repeat(256))
        .unwrap();
    accepted(&target, longest).await.unwrap();
    assert_eq!(store.len(), 1);
    // With what is kept of the namespace.
    assert!(
        store.allocated_bytes() - before <= 64 * 17 + 64 + HOUSE.name.len(),
        "a record is of one size"
    );

    let served = Target::new(&HOUSE).on_a_socket().await;
    let wire = to_wire(&with(&genuine, "x-nonce", "n".repeat(1 << 20)));
    let (status, _) = exchange(served.addr.unwrap(), &wire).await;
    assert!(
        status == 431 || status == 0,
        "the server closes before it has read so much: {status}"
    );
    assert_eq!(served.effects.count(), 0);
    accepted(&served, genuine).await.unwrap();
}

/// Returns how many of the same nonces a store takes until one of its parts is full.
async fn taken_until_full(store: &MemoryStore, end: Timestamp) -> usize {
    for n in 0_u32..10_000 {
        let nonce = Nonce::new(NonceKind::Covered, n.to_be_bytes());
        let claim = Claim::new("default".into(), KeyId::new("a").unwrap(), nonce, end);
        match store.claim(&claim).await {
            Ok(_) => {}
            Err(error) => {
                assert_eq!(error.kind(), StoreErrorKind::Full);
                return n as usize;
            }
        }
    }
    panic!("never full");
}

#[tokio::test]
async fn a22_where_a_nonce_falls_cannot_be_foreseen() {
    // An attacker who could would fill one part of the store (hash flooding). Under one fixed key all of
    // these stores would be full after the same nonce.
    let clock = common::clock();
    let end = countersign::Clock::now(&clock).saturating_add(Duration::from_secs(300));
    let mut counts = BTreeSet::new();
    for _ in 0..12 {
        let store = small(&clock).key_share(100).build().unwrap();
        counts.insert(taken_until_full(&store, end).await);
    }
    assert!(counts.len() > 1, "{counts:?}");
}

/// A few frames, and then nothing forever.
struct Stuck {
    frames: VecDeque<Bytes>,
    declared: SizeHint,
    read: Arc<AtomicUsize>,
    waiting: Arc<Notify>,
}

impl http_body::Body for Stuck {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.read.fetch_add(1, Ordering::SeqCst);
        match self.frames.pop_front() {
            Some(frame) => Poll::Ready(Some(Ok(Frame::data(frame)))),
            None => {
                self.waiting.notify_one();
                Poll::Pending
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        self.declared
    }
}

const LARGE: usize = 20 * 1024;

/// Nobody's signatures under a key that everybody knows, each with a large body that never ends.
struct SlowBodies {
    sending: JoinSet<(u16, String)>,
    read: Arc<AtomicUsize>,
}

impl SlowBodies {
    /// Returns when each of them either waits or is answered.
    async fn send(target: &Target, key: &str, how_many: usize) -> Self {
        Self::send_frames(target, key, how_many, &[LARGE], SizeHint::new()).await
    }

    async fn send_frames(
        target: &Target,
        key: &str,
        how_many: usize,
        frames: &[usize],
        declared: SizeHint,
    ) -> Self {
        let mut sending = JoinSet::new();
        let read = Arc::new(AtomicUsize::new(0));
        for _ in 0..how_many {
            let waiting = Arc::new(Notify::new());
            let stuck = Stuck {
                frames: frames.iter().map(|len| vec![b'x'; *len].into()).collect(),
                declared,
                read: Arc::clone(&read),
                waiting: Arc::clone(&waiting),
            };
            let unsigned = with(&HOUSE.signed(&target.clock), "x-key-id", key);
            let mut request = unsigned.map(|_| Body::new(stuck));
            // With HTTP/1, the rest of a refused body is read and dropped after the answer.
            *request.version_mut() = http::Version::HTTP_2;
            let app = target.app.clone();
            let waits = Arc::clone(&waiting);
            sending.spawn(async move {
                let answer = common::verdict(app.oneshot(request).await.unwrap()).await;
                waits.notify_one();
                answer
            });
            waiting.notified().await;
        }
        Self { sending, read }
    }
}

fn large(target: &Target, key: &str, secret: &str) -> http::Request<String> {
    let signer = (HOUSE.signer)(key, secret).clock(target.clock.clone());
    signer
        .sign(common::request("POST", "/transfer", &"y".repeat(LARGE)))
        .unwrap()
}

/// Others are served beside slow bodies: another key's large ones, and everybody's small ones.
async fn served_beside_slow_bodies(target: &Target) -> Finding {
    let _slow = SlowBodies::send(target, KEY, 3).await;
    accepted(target, large(target, OTHER_KEY, OTHER_SECRET)).await?;
    accepted(target, HOUSE.signed(&target.clock)).await
}

fn with_small_budget() -> Target {
    Target::with(&HOUSE, |layer| {
        layer.max_body_bytes(32 * 1024).body_budget_bytes(64 * 1024)
    })
}

#[tokio::test]
async fn a40_slow_bodies_under_one_key_leave_room_for_others() {
    served_beside_slow_bodies(&with_small_budget())
        .await
        .unwrap();
}

#[tokio::test]
async fn a40_of_slow_bodies_under_one_key_the_first_give_way() {
    let target = with_small_budget();
    let mut slow = SlowBodies::send(&target, KEY, 3).await;
    for _ in 0..2 {
        let first = slow.sending.join_next().await.unwrap().unwrap();
        assert_eq!((first.0, first.1.as_str()), NO_BUDGET, "one has room");
    }
    accepted(&target, large(&target, KEY, SECRET))
        .await
        .unwrap();
    slow.sending.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a40_slow_bodies_end_with_the_deadline() {
    let target = with_small_budget();
    let mut slow = SlowBodies::send(&target, KEY, 1).await;
    let answer = slow.sending.join_next().await.unwrap().unwrap();
    assert_eq!((answer.0, answer.1.as_str()), (408, "body_timeout"));
}

#[tokio::test]
async fn a40_under_an_unknown_key_no_byte_of_a_body_is_read() {
    let target = with_small_budget();
    let slow = SlowBodies::send(&target, "nobody", 20).await;
    for answer in slow.sending.join_all().await {
        assert_eq!((answer.0, answer.1.as_str()), INVALID);
    }
    assert_eq!(slow.read.load(Ordering::SeqCst), 0);
    accepted(&target, large(&target, KEY, SECRET))
        .await
        .unwrap();
}

/// One budget for all, without shares, in which the first ones stay.
fn one_budget(effects: &Effects) -> Router {
    let used = Arc::new(AtomicUsize::new(0));
    crate::subject::app(effects).layer(axum::middleware::from_fn(
        move |request: axum::extract::Request, next: axum::middleware::Next| {
            let used = Arc::clone(&used);
            async move {
                let (parts, mut body) = request.into_parts();
                let mut bytes = Vec::new();
                while let Some(frame) = body.frame().await {
                    let data = frame.unwrap().into_data().unwrap();
                    if used.fetch_add(data.len(), Ordering::SeqCst) + data.len() > 64 * 1024 {
                        used.fetch_sub(bytes.len() + data.len(), Ordering::SeqCst);
                        return axum::http::StatusCode::SERVICE_UNAVAILABLE.into_response();
                    }
                    bytes.extend_from_slice(&data);
                }
                assert!(body.is_end_stream());
                used.fetch_sub(bytes.len(), Ordering::SeqCst);
                next.run(http::Request::from_parts(parts, Body::from(bytes)))
                    .await
            }
        },
    ))
}

#[tokio::test]
async fn a40_twin_one_budget_without_shares_is_found() {
    let target = Target::of(&common::clock(), one_budget);
    let found = served_beside_slow_bodies(&target).await;
    assert!(matches!(found, Err(Breach::Answer(_))), "{found:?}");
}

#[tokio::test]
async fn a22_a_store_is_full_when_it_is_full_and_not_before() {
    // Whether one part of it has grown unevenly is no matter of the sender.
    let clock = common::clock();
    let end = countersign::Clock::now(&clock).saturating_add(Duration::from_secs(300));
    for _ in 0..4 {
        let capacity = 128 * 1024;
        let store = small(&clock)
            .capacity_bytes(capacity)
            .key_share(100)
            .build()
            .unwrap();
        let taken = taken_until_full(&store, end).await;
        assert!(taken * 28 > capacity, "{taken} nonces in {capacity} bytes");
    }
}

/// Others are served beside bodies that declare much and hardly begin.
async fn served_beside_large_promises(target: &Target) -> Finding {
    let declared = SizeHint::with_exact(32 * 1024);
    let _slow = SlowBodies::send_frames(target, KEY, 400, &[1, 1], declared).await;
    accepted(target, large(target, OTHER_KEY, OTHER_SECRET)).await?;
    accepted(target, HOUSE.signed(&target.clock)).await
}

#[tokio::test]
async fn a43_a_length_that_is_only_declared_takes_up_no_budget() {
    served_beside_large_promises(&with_small_budget())
        .await
        .unwrap();
}

#[tokio::test(start_paused = true)]
async fn a43_what_is_reserved_for_a_body_is_charged_before_it_has_arrived() {
    // Two of these have sent 20 KiB of the 32 that a key may use; their buffers have room for 40.
    let target = with_small_budget();
    let declared = SizeHint::with_exact(32 * 1024);
    let frames = [5 * 1024, 5 * 1024];
    let mut slow = SlowBodies::send_frames(&target, KEY, 2, &frames, declared).await;
    let first = slow.sending.join_next().await.unwrap().unwrap();
    assert_eq!((first.0, first.1.as_str()), NO_BUDGET);
}

/// A server that allocates, and charges, the length that is declared.
pub fn believes_what_is_declared(effects: &Effects) -> Router {
    let used = Arc::new(AtomicUsize::new(0));
    crate::subject::app(effects).layer(axum::middleware::from_fn(
        move |request: axum::extract::Request, next: axum::middleware::Next| {
            let used = Arc::clone(&used);
            async move {
                let (parts, mut body) = request.into_parts();
                let declared = body.size_hint().exact().unwrap_or(0);
                let mut bytes = Vec::new();
                while let Some(frame) = body.frame().await {
                    let data = frame.unwrap().into_data().unwrap();
                    if bytes.is_empty() {
                        bytes.reserve_exact(usize::try_from(declared).unwrap().max(data.len()));
                        let reserved = bytes.capacity();
                        if used.fetch_add(reserved, Ordering::SeqCst) + reserved > 64 * 1024 {
                            used.fetch_sub(reserved, Ordering::SeqCst);
                            return axum::http::StatusCode::SERVICE_UNAVAILABLE.into_response();
                        }
                    }
                    bytes.extend_from_slice(&data);
                }
                used.fetch_sub(bytes.capacity(), Ordering::SeqCst);
                next.run(http::Request::from_parts(parts, Body::from(bytes)))
                    .await
            }
        },
    ))
}

#[tokio::test]
async fn a43_twin_a_server_that_believes_what_is_declared_is_found() {
    let target = Target::of(&common::clock(), believes_what_is_declared);
    let found = served_beside_large_promises(&target).await;
    assert!(matches!(found, Err(Breach::Answer(_))), "{found:?}");
}
