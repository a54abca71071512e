//! The memory store under attack: copies, floods, greedy keys, clocks that step, restarts, leases.
use std::{
    collections::HashSet,
    sync::{
        Barrier, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use countersign::{
    KeyId, MemoryStore, Timestamp,
    error::{ConfigErrorKind, StoreErrorKind},
    store::{
        Claim, ClaimOutcome, LeaseOutcome, LeaseStore, MemoryStoreBuilder, Nonce, NonceKind,
        NonceStore, StepOutcome, StoreFuture,
    },
    testing::ManualClock,
};

const WINDOW: Duration = Duration::from_secs(300);

fn start() -> Timestamp {
    Timestamp::from_secs(1_700_000_000).unwrap()
}

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

fn claim_until(key: &str, nonce: u64, deadline: Timestamp) -> Claim {
    let nonce = Nonce::new(NonceKind::Covered, nonce.to_be_bytes());
    Claim::new("tests".into(), KeyId::new(key).unwrap(), nonce, deadline)
}

fn claim(key: &str, nonce: u64) -> Claim {
    claim_until(key, nonce, start().saturating_add(WINDOW))
}

fn event(nonce: u64, deadline: Timestamp) -> Claim {
    let nonce = Nonce::new(NonceKind::Event, nonce.to_be_bytes());
    Claim::new("tests".into(), KeyId::new("k").unwrap(), nonce, deadline)
}

/// The answer of a store that answers at once.
fn now<T: Unpin>(answer: StoreFuture<'_, T>) -> Result<T, StoreErrorKind> {
    let mut answer = std::pin::pin!(answer);
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    match answer.as_mut().poll(&mut cx) {
        std::task::Poll::Ready(answer) => answer.map_err(|error| error.kind()),
        std::task::Poll::Pending => panic!("the store does not answer at once"),
    }
}

fn retry_after(answer: StoreFuture<'_, ClaimOutcome>) -> Option<Duration> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    runtime.block_on(answer).unwrap_err().retry_after()
}

fn store(capacity: usize) -> (MemoryStore, ManualClock) {
    let clock = ManualClock::at(start());
    let store = builder(capacity, &clock).key_share(100).build().unwrap();
    (store, clock)
}

fn builder(capacity: usize, clock: &ManualClock) -> MemoryStoreBuilder {
    MemoryStore::builder()
        .capacity_bytes(capacity)
        .clock(clock.clone())
        .danger_assume_no_history()
}

mod copies {
    use super::*;

    /// Returns how many of this many copies of one request are accepted, sent from a thread each.
    fn accepted(store: &dyn NonceStore, copies: usize) -> usize {
        let line = Barrier::new(copies);
        let accepted = AtomicUsize::new(0);
        thread::scope(|scope| {
            for _ in 0..copies {
                scope.spawn(|| {
                    let claim = claim("k", 1);
                    line.wait();
                    if now(store.claim(&claim)) == Ok(ClaimOutcome::New) {
                        accepted.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
        });
        accepted.into_inner()
    }

    #[test]
    fn of_n_copies_at_once_exactly_one_is_accepted() {
        for copies in [2, 3, 10, 100, 1000] {
            for _ in 0..20 {
                assert_eq!(accepted(&store(1 << 20).0, copies), 1, "of {copies}");
            }
        }
    }

    /// Checks, and then sets; every copy has checked before the first one sets.
    struct CheckThenSet {
        seen: Mutex<HashSet<[u8; 32]>>,
        all_have_checked: Barrier,
    }

    impl NonceStore for CheckThenSet {
        fn claim<'a>(&'a self, claim: &'a Claim) -> StoreFuture<'a, ClaimOutcome> {
            let is_new = !self.seen.lock().unwrap().contains(&claim.digest());
            self.all_have_checked.wait();
            self.seen.lock().unwrap().insert(claim.digest());
            StoreFuture::ready(Ok(if is_new {
                ClaimOutcome::New
            } else {
                ClaimOutcome::Replayed
            }))
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

    #[test]
    fn a_store_that_checks_and_then_sets_is_found_out() {
        let store = CheckThenSet {
            seen: Mutex::default(),
            all_have_checked: Barrier::new(10),
        };
        assert_eq!(accepted(&store, 10), 10);
    }

    #[test]
    fn each_of_a_hundred_thousand_nonces_is_accepted_once() {
        const NONCES: u64 = 100_000;
        const THREADS: u64 = 4;
        let (store, _) = store(16 << 20);
        let accepted: Vec<_> = (0..NONCES).map(|_| AtomicUsize::new(0)).collect();
        thread::scope(|scope| {
            for thread in 0..THREADS {
                let (store, accepted) = (&store, &accepted);
                scope.spawn(move || {
                    for i in 0..NONCES {
                        // Close on each other's heels, in two directions.
                        let nonce = if thread % 2 == 0 { i } else { NONCES - 1 - i };
                        match now(store.claim(&claim("k", nonce))) {
                            Ok(ClaimOutcome::New) => {
                                let nonce = usize::try_from(nonce).unwrap();
                                accepted[nonce].fetch_add(1, Ordering::Relaxed);
                            }
                            answer => assert_eq!(answer, Ok(ClaimOutcome::Replayed)),
                        }
                    }
                });
            }
        });
        assert!(
            accepted
                .iter()
                .all(|count| count.load(Ordering::Relaxed) == 1)
        );
        assert_eq!(store.len() as u64, NONCES);
    }

    #[test]
    fn one_nonce_under_two_keys_or_in_two_namespaces_is_two() {
        let (store, _) = store(1 << 20);
        let other = Claim::new(
            "others".into(),
            KeyId::new("k").unwrap(),
            claim("k", 1).nonce().clone(),
            start().saturating_add(WINDOW),
        );
        for claim in [claim("k", 1), claim("l", 1), other] {
            assert_eq!(now(store.claim(&claim)), Ok(ClaimOutcome::New));
            assert_eq!(now(store.claim(&claim)), Ok(ClaimOutcome::Replayed));
        }
    }
}

mod floods {
    use super::*;

    /// Claims new nonces until one is refused; says how many were recorded.
    fn fill(store: &MemoryStore, key: &str) -> (u64, StoreErrorKind) {
        let mut nonce = 0;
        loop {
            match now(store.claim(&claim(key, nonce))) {
                Ok(answer) => assert_eq!(answer, ClaimOutcome::New),
                Err(kind) => return (nonce, kind),
            }
            nonce += 1;
        }
    }

    #[test]
    fn a_full_store_refuses_and_still_knows_every_nonce() {
        for capacity in [MemoryStoreBuilder::MIN_CAPACITY_BYTES, 100_000, 1 << 20] {
            let (store, _) = store(capacity);
            let (recorded, kind) = fill(&store, "k");
            assert_eq!(kind, StoreErrorKind::Full);
            for nonce in 0..recorded {
                assert_eq!(
                    now(store.claim(&claim("k", nonce))),
                    Ok(ClaimOutcome::Replayed)
                );
            }
        }
    }

    /// The twin of the full store: a cache makes room for the newest.
    #[test]
    fn a_store_that_evicts_is_found_out() {
        let cache: Mutex<Vec<u64>> = Mutex::default();
        let claim = |nonce| {
            let mut cache = cache.lock().unwrap();
            let is_new = !cache.contains(&nonce);
            if is_new && cache.len() == 100 {
                cache.remove(0);
            }
            cache.push(nonce);
            is_new
        };
        (0..200).for_each(|nonce| assert!(claim(nonce)));
        assert!(claim(0), "accepted a second time");
    }

    #[test]
    fn a_full_store_says_when_to_come_again_and_then_has_room() {
        let (store, clock) = store(100_000);
        let (recorded, _) = fill(&store, "k");
        let refused = (recorded..)
            .find(|n| now(store.claim(&claim("k", *n))).is_err())
            .unwrap();
        assert_eq!(retry_after(store.claim(&claim("k", refused))), Some(WINDOW));
        clock.advance(WINDOW);
        let later = claim_until("k", refused, start().saturating_add(2 * WINDOW));
        assert_eq!(now(store.claim(&later)), Ok(ClaimOutcome::New));
    }

    #[test]
    fn a_store_holds_what_its_capacity_promises() {
        let (store, _) = store(5 << 20);
        let (recorded, _) = fill(&store, "k");
        assert!(recorded * 22 > 5 << 20, "{recorded} nonces in 5 MiB");
    }

    #[test]
    fn the_cap_in_bytes_is_never_passed() {
        for capacity in [MemoryStoreBuilder::MIN_CAPACITY_BYTES, 100_000, 1 << 20] {
            let (store, clock) = store(capacity);
            let done = AtomicBool::new(false);
            let most = AtomicUsize::new(0);
            thread::scope(|scope| {
                scope.spawn(|| {
                    while !done.load(Ordering::Acquire) {
                        most.fetch_max(store.allocated_bytes(), Ordering::Relaxed);
                        thread::yield_now();
                    }
                });
                let flood: Vec<_> = (0..2)
                    .map(|thread| {
                        let (store, clock, most) = (&store, &clock, &most);
                        scope.spawn(move || {
                            for round in 0..3 {
                                let deadline = start().saturating_add(WINDOW * (round + 1));
                                for nonce in 0..u64::try_from(capacity / 20).unwrap() {
                                    let nonce = nonce * 2 + thread;
                                    let claim = claim_until("k", nonce, deadline);
                                    if nonce % 16 == 0 {
                                        let _ = now(store.lease(&claim, secs(60)));
                                    } else {
                                        let _ = now(store.claim(&claim));
                                    }
                                    most.fetch_max(store.allocated_bytes(), Ordering::Relaxed);
                                }
                                clock.advance(WINDOW / 2);
                            }
                        })
                    })
                    .collect();
                flood.into_iter().for_each(|thread| thread.join().unwrap());
                done.store(true, Ordering::Release);
            });
            let most = most.into_inner();
            assert!(most <= capacity, "{most} bytes of {capacity}");
            assert!(
                most > capacity / 2,
                "the flood was none: {most} bytes of {capacity}"
            );
        }
    }

    #[test]
    fn a_nonce_of_a_mebibyte_takes_no_more_room_than_any() {
        let (store, _) = store(MemoryStoreBuilder::MIN_CAPACITY_BYTES);
        for byte in 0..100 {
            let nonce = Nonce::new(NonceKind::Covered, vec![byte; 1 << 20]);
            let key = KeyId::new("k").unwrap();
            let claim = Claim::new("tests".into(), key, nonce, start().saturating_add(WINDOW));
            assert_eq!(now(store.claim(&claim)), Ok(ClaimOutcome::New));
        }
        assert!(store.allocated_bytes() <= MemoryStoreBuilder::MIN_CAPACITY_BYTES);
    }

    #[test]
    fn a_key_over_its_quota_leaves_room_for_the_others() {
        let clock = ManualClock::at(start());
        let store = builder(1 << 20, &clock).build().unwrap();
        let (greedy, kind) = fill(&store, "greedy");
        assert_eq!(kind, StoreErrorKind::KeyOverQuota);
        assert!(retry_after(store.claim(&claim("greedy", greedy))).is_some());
        let (modest, _) = fill(&store, "modest");
        assert!(modest * 10 > greedy * 8, "{modest} after {greedy}");
        assert_eq!(
            now(store.claim(&claim("greedy", 0))),
            Ok(ClaimOutcome::Replayed)
        );
    }

    #[test]
    fn without_a_quota_one_key_takes_all() {
        let (store, _) = store(100_000);
        for nonce in 0..20_000 {
            let _ = now(store.claim(&claim("greedy", nonce)));
        }
        for nonce in 0..100 {
            let refused = now(store.claim(&claim("modest", nonce)));
            assert_eq!(refused, Err(StoreErrorKind::Full));
        }
    }

    #[test]
    fn a_quota_is_counted_to_the_record_and_given_back_by_age_and_by_release() {
        let clock = ManualClock::at(start());
        let store = builder(100_000, &clock).key_share(2).build().unwrap();
        let (quota, _) = fill(&store, "k");
        let over = Err(StoreErrorKind::KeyOverQuota);
        assert_eq!(now(store.claim(&claim("k", quota))), over);

        clock.advance(WINDOW);
        let later = |nonce| claim_until("k", nonce, start().saturating_add(2 * WINDOW));
        for nonce in 1_000..1_000 + quota {
            assert_eq!(now(store.claim(&later(nonce))), Ok(ClaimOutcome::New));
        }
        assert_eq!(now(store.claim(&later(0))), over);

        clock.advance(WINDOW);
        let last = claim_until("k", 5_000, start().saturating_add(3 * WINDOW));
        assert_eq!(now(store.lease(&last, secs(60))), Ok(LeaseOutcome::Held));
        assert_eq!(now(store.release(&last)), Ok(StepOutcome::Done));
        let again =
            (0..quota).map(|nonce| claim_until("k", nonce, start().saturating_add(3 * WINDOW)));
        for claim in again {
            assert_eq!(now(store.claim(&claim)), Ok(ClaimOutcome::New));
        }
    }

    #[test]
    fn more_keys_than_places_share_a_quota_and_none_is_shut_out() {
        let clock = ManualClock::at(start());
        let store = builder(MemoryStoreBuilder::MIN_CAPACITY_BYTES, &clock)
            .build()
            .unwrap();
        for key in 0..200 {
            assert_eq!(
                now(store.claim(&claim(&format!("key-{key}"), 1))),
                Ok(ClaimOutcome::New)
            );
        }
    }

    #[test]
    fn what_is_past_its_deadline_is_given_back_even_where_nothing_new_comes() {
        let (store, clock) = store(4 << 20);
        for nonce in 0..150_000 {
            now(store.claim(&claim("k", nonce))).unwrap();
        }
        let full = store.allocated_bytes();
        clock.advance(WINDOW);
        // One sender, one nonce, which goes on being refused.
        let refused = claim_until("k", 0, start().saturating_add(WINDOW));
        for _ in 0..16 {
            clock.advance(secs(1));
            assert_eq!(now(store.claim(&refused)), Err(StoreErrorKind::SignAgain));
        }
        assert_eq!(store.len(), 0);
        assert!(store.allocated_bytes() < full / 10);
    }

    /// The claim that grows a table waits for the pages of the new one.
    #[test]
    fn a_store_that_fills_grows_in_small_steps() {
        let (store, _) = store(16 << 20);
        let (mut held, mut largest) = (store.allocated_bytes(), 0);
        for nonce in 0..400_000 {
            now(store.claim(&claim(["k", "l"][usize::from(nonce % 2 == 0)], nonce))).unwrap();
            let holds = store.allocated_bytes();
            largest = largest.max(holds - held);
            held = holds;
        }
        assert!((1..=64 * 1024).contains(&largest), "{largest} bytes");
    }
}

mod time {
    use super::*;

    #[test]
    fn a_nonce_is_kept_to_its_deadline_and_refused_from_then_on() {
        let (store, clock) = store(1 << 20);
        let deadline = start().saturating_add(Duration::from_millis(10_500));
        let claim = claim_until("k", 1, deadline);
        assert_eq!(now(store.claim(&claim)), Ok(ClaimOutcome::New));
        clock.set(deadline.saturating_sub(Duration::from_millis(1)));
        assert_eq!(now(store.claim(&claim)), Ok(ClaimOutcome::Replayed));
        for after in [0, 1, 499, 500, 501, 10_000] {
            clock.set(deadline.saturating_add(Duration::from_millis(after)));
            assert_eq!(now(store.claim(&claim)), Err(StoreErrorKind::SignAgain));
        }
    }

    #[test]
    fn a_claim_whose_deadline_has_passed_is_refused() {
        let (store, clock) = store(1 << 20);
        for (early, answer) in [
            (1, Ok(ClaimOutcome::New)),
            (0, Err(StoreErrorKind::SignAgain)),
        ] {
            let deadline = start().saturating_add(secs(7));
            clock.set(deadline.saturating_sub(Duration::from_millis(early)));
            assert_eq!(now(store.claim(&claim_until("k", early, deadline))), answer);
        }
        let (store, clock) = super::store(1 << 20);
        clock.set(Timestamp::MAX);
        let claim = claim_until("k", 1, Timestamp::MAX);
        assert_eq!(now(store.claim(&claim)), Err(StoreErrorKind::SignAgain));
    }

    #[test]
    fn a_nonce_without_an_end_is_kept() {
        let (store, clock) = store(1 << 20);
        let claim = claim_until("k", 1, Timestamp::MAX);
        assert_eq!(now(store.claim(&claim)), Ok(ClaimOutcome::New));
        clock.advance(secs(60 * 365 * 86_400));
        assert_eq!(now(store.claim(&claim)), Ok(ClaimOutcome::Replayed));
    }

    /// Fills the store, so that the sweep drops what is past its deadline at `until`.
    fn drop_all(store: &MemoryStore, clock: &ManualClock, until: Timestamp) {
        clock.set(until);
        for nonce in 0..1_000 {
            clock.advance(Duration::from_millis(20));
            now(store.claim(&claim_until("other", nonce, until.saturating_add(WINDOW)))).unwrap();
        }
    }

    #[test]
    fn a_clock_that_steps_forward_and_back_reopens_nothing() {
        let (store, clock) = store(1 << 20);
        let early = claim("k", 1);
        assert_eq!(now(store.claim(&early)), Ok(ClaimOutcome::New));
        drop_all(&store, &clock, start().saturating_add(2 * WINDOW));
        let held = store.len();
        clock.set(start());
        assert_eq!(held, 1_000, "the early nonce was dropped");
        assert_eq!(now(store.claim(&early)), Err(StoreErrorKind::SignAgain));
        let fresh = claim_until(
            "k",
            2,
            start().saturating_add(WINDOW).saturating_add(secs(1)),
        );
        assert_eq!(now(store.claim(&fresh)), Ok(ClaimOutcome::New));
    }

    #[test]
    fn a_clock_that_was_ahead_does_not_hold_up_the_sweep() {
        let (store, clock) = store(1 << 20);
        clock.set(start().saturating_add(secs(86_400)));
        now(store.claim(&claim_until("k", 1, start().saturating_add(secs(86_500))))).unwrap();
        clock.set(start());
        for nonce in 0..100 {
            now(store.claim(&claim("k", nonce + 10))).unwrap();
        }
        drop_all(&store, &clock, start().saturating_add(2 * WINDOW));
        assert_eq!(store.len(), 1_001);
    }

    #[test]
    fn a_duplicate_of_an_event_extends_its_record_in_the_same_step() {
        let (store, clock) = store(1 << 20);
        let at = |s| start().saturating_add(secs(s));
        assert_eq!(now(store.claim(&event(1, at(10)))), Ok(ClaimOutcome::New));
        assert_eq!(
            now(store.claim(&event(1, at(30)))),
            Ok(ClaimOutcome::Replayed)
        );
        assert_eq!(
            now(store.claim(&event(1, at(20)))),
            Ok(ClaimOutcome::Replayed)
        );
        clock.set(at(29));
        assert_eq!(
            now(store.claim(&event(1, at(50)))),
            Ok(ClaimOutcome::Replayed)
        );
        clock.set(at(49));
        assert_eq!(
            now(store.lease(&event(1, at(70)), secs(1))),
            Ok(LeaseOutcome::Completed)
        );
        clock.set(at(69));
        assert_eq!(
            now(store.claim(&event(1, at(80)))),
            Ok(ClaimOutcome::Replayed)
        );
        clock.set(at(80));
        assert_eq!(now(store.claim(&event(1, at(100)))), Ok(ClaimOutcome::New));
    }

    #[test]
    fn a_duplicate_of_a_nonce_does_not_extend_its_record() {
        let (store, clock) = store(1 << 20);
        let at = |s| start().saturating_add(secs(s));
        assert_eq!(
            now(store.claim(&claim_until("k", 1, at(10)))),
            Ok(ClaimOutcome::New)
        );
        assert_eq!(
            now(store.claim(&claim_until("k", 1, at(30)))),
            Ok(ClaimOutcome::Replayed)
        );
        clock.set(at(10));
        assert_eq!(
            now(store.claim(&claim_until("k", 1, at(30)))),
            Ok(ClaimOutcome::New)
        );
    }

    #[test]
    fn after_a_restart_what_may_have_been_accepted_is_refused() {
        let clock = ManualClock::at(start());
        let store = MemoryStore::builder().clock(clock.clone()).build().unwrap();
        clock.advance(secs(30));
        let skew = secs(5);
        let signed = |nonce, at: Timestamp| claim("k", nonce).signed(at, skew);
        let edge = start().saturating_add(skew);
        let millis = Duration::from_millis(1);
        let refused = Err(StoreErrorKind::SignAgain);
        assert_eq!(now(store.claim(&signed(1, start()))), refused);
        assert_eq!(now(store.claim(&signed(2, edge))), refused);
        assert_eq!(
            now(store.lease(&signed(2, edge), secs(1))),
            Err(StoreErrorKind::SignAgain)
        );
        assert_eq!(
            now(store.claim(&signed(3, edge.saturating_add(millis)))),
            Ok(ClaimOutcome::New)
        );
        // The same request again is a replay, whatever it says about its time.
        assert_eq!(
            now(store.claim(&signed(3, start()))),
            Ok(ClaimOutcome::Replayed)
        );
    }

    #[test]
    fn a_store_without_history_accepts_what_was_signed_before_it() {
        let signed = |nonce| claim("k", nonce).signed(start().saturating_sub(secs(10)), secs(5));
        let (built, _) = store(1 << 20);
        assert_eq!(now(built.claim(&signed(1))), Ok(ClaimOutcome::New));
        let clock = ManualClock::at(start());
        let store = MemoryStore::builder()
            .clock(clock)
            .build()
            .unwrap()
            .danger_assume_no_history();
        assert_eq!(now(store.claim(&signed(1))), Ok(ClaimOutcome::New));
        assert!(!store.survives_restart());
    }
}

mod leases {
    use super::*;

    fn at(s: u64) -> Timestamp {
        start().saturating_add(secs(s))
    }

    #[tokio::test(start_paused = true)]
    async fn a_lease_is_held_by_one_attempt_until_it_ends() {
        let (store, _) = store(1 << 20);
        let (first, second) = (claim("k", 1), claim("k", 1));
        assert_eq!(
            store.lease(&first, secs(30)).await.unwrap(),
            LeaseOutcome::Held
        );
        tokio::time::advance(secs(10)).await;
        assert_eq!(
            store.lease(&second, secs(30)).await.unwrap(),
            LeaseOutcome::in_flight(secs(20))
        );
        assert_eq!(
            store.lease(&first, secs(30)).await.unwrap(),
            LeaseOutcome::in_flight(secs(20))
        );
        assert_eq!(store.claim(&second).await.unwrap(), ClaimOutcome::Replayed);
        assert_eq!(
            store.renew(&first, secs(30)).await.unwrap(),
            StepOutcome::Done
        );
        tokio::time::advance(secs(29)).await;
        assert_eq!(
            store.lease(&second, secs(30)).await.unwrap(),
            LeaseOutcome::in_flight(secs(1))
        );
        tokio::time::advance(secs(1)).await;
        assert_eq!(
            store.lease(&second, secs(30)).await.unwrap(),
            LeaseOutcome::Held
        );
    }

    #[tokio::test(start_paused = true)]
    async fn an_old_holder_neither_completes_nor_releases_nor_renews() {
        let (store, _) = store(1 << 20);
        let (old, new) = (claim("k", 1), claim("k", 1));
        store.lease(&old, secs(1)).await.unwrap();
        tokio::time::advance(secs(1)).await;
        assert_eq!(
            store.lease(&new, secs(10)).await.unwrap(),
            LeaseOutcome::Held
        );
        assert_eq!(store.complete(&old).await.unwrap(), StepOutcome::Lost);
        assert_eq!(store.release(&old).await.unwrap(), StepOutcome::Lost);
        assert_eq!(
            store.renew(&old, secs(100)).await.unwrap(),
            StepOutcome::Lost
        );
        assert_eq!(
            store.lease(&old, secs(1)).await.unwrap(),
            LeaseOutcome::in_flight(secs(10))
        );
        assert_eq!(store.complete(&new).await.unwrap(), StepOutcome::Done);
        assert_eq!(store.release(&old).await.unwrap(), StepOutcome::Lost);
        assert_eq!(store.release(&new).await.unwrap(), StepOutcome::Lost);
        assert_eq!(
            store.lease(&old, secs(1)).await.unwrap(),
            LeaseOutcome::Completed
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_holder_whose_lease_has_ended_keeps_what_nobody_took() {
        let (store, _) = store(1 << 20);
        let claim = claim("k", 1);
        store.lease(&claim, secs(1)).await.unwrap();
        tokio::time::advance(secs(5)).await;
        assert_eq!(
            store.renew(&claim, secs(1)).await.unwrap(),
            StepOutcome::Done
        );
        tokio::time::advance(secs(5)).await;
        assert_eq!(store.complete(&claim).await.unwrap(), StepOutcome::Done);
        assert_eq!(store.claim(&claim).await.unwrap(), ClaimOutcome::Replayed);
    }

    #[tokio::test(start_paused = true)]
    async fn a_released_nonce_is_free_and_a_claimed_one_ends_the_lease() {
        let (store, _) = store(1 << 20);
        let (first, second) = (claim("k", 1), claim("k", 1));
        store.lease(&first, secs(1)).await.unwrap();
        assert_eq!(store.release(&first).await.unwrap(), StepOutcome::Done);
        assert!(store.is_empty());
        store.lease(&second, secs(1)).await.unwrap();
        tokio::time::advance(secs(1)).await;
        assert_eq!(store.claim(&first).await.unwrap(), ClaimOutcome::New);
        assert_eq!(store.complete(&second).await.unwrap(), StepOutcome::Lost);
        assert_eq!(store.release(&second).await.unwrap(), StepOutcome::Lost);
        assert_eq!(store.claim(&first).await.unwrap(), ClaimOutcome::Replayed);
    }

    #[tokio::test(start_paused = true)]
    async fn steps_of_the_wall_clock_neither_end_a_lease_nor_prolong_it() {
        let (store, clock) = store(1 << 20);
        let (first, second) = (
            claim_until("k", 1, at(1_000)),
            claim_until("k", 1, at(1_000)),
        );
        store.lease(&first, secs(10)).await.unwrap();
        clock.advance(secs(500));
        assert_eq!(
            store.lease(&second, secs(1)).await.unwrap(),
            LeaseOutcome::in_flight(secs(10))
        );
        clock.set(start());
        tokio::time::advance(secs(10)).await;
        assert_eq!(
            store.lease(&second, secs(10)).await.unwrap(),
            LeaseOutcome::Held
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_lease_outlives_the_deadline_and_its_completion_is_not_reopened() {
        let (store, clock) = store(1 << 20);
        let claim = claim_until("k", 1, at(10));
        store.lease(&claim, secs(100)).await.unwrap();
        for s in 10..40 {
            clock.set(at(s));
            let other = claim_until("k", s, at(100));
            assert_eq!(store.claim(&other).await.unwrap(), ClaimOutcome::New);
        }
        assert_eq!(store.complete(&claim).await.unwrap(), StepOutcome::Done);
        for s in 40..80 {
            clock.set(at(s));
            store.claim(&claim_until("k", s, at(100))).await.unwrap();
        }
        assert_eq!(store.len(), 70, "what was completed has been dropped");
        clock.set(start());
        let error = store.claim(&claim).await.unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::SignAgain);
    }

    #[tokio::test(start_paused = true)]
    async fn an_event_in_flight_is_extended_by_its_duplicates() {
        let (store, clock) = store(1 << 20);
        let held = event(1, at(10));
        store.lease(&held, secs(100)).await.unwrap();
        let later = store.lease(&event(1, at(50)), secs(1)).await.unwrap();
        assert_eq!(later, LeaseOutcome::in_flight(secs(100)));
        store.complete(&held).await.unwrap();
        clock.set(at(49));
        assert_eq!(
            store.claim(&event(1, at(60))).await.unwrap(),
            ClaimOutcome::Replayed
        );
    }

    #[tokio::test(start_paused = true)]
    async fn leases_are_bounded_and_those_that_ended_make_room() {
        let (store, _) = store(MemoryStoreBuilder::MIN_CAPACITY_BYTES);
        let mut refused = 0;
        for nonce in 0..4_000 {
            match store.lease(&claim("k", nonce), secs(30)).await {
                Ok(answer) => assert_eq!(answer, LeaseOutcome::Held),
                Err(error) => {
                    assert_eq!(error.kind(), StoreErrorKind::Full);
                    refused += 1;
                }
            }
            assert!(store.allocated_bytes() <= MemoryStoreBuilder::MIN_CAPACITY_BYTES);
        }
        assert!(refused > 1_000);
        tokio::time::advance(secs(30)).await;
        let mut held = 0;
        for nonce in 10_000..10_050 {
            held += usize::from(store.lease(&claim("k", nonce), secs(30)).await.is_ok());
        }
        assert!(held > 25, "{held} of 50");
    }

    #[test]
    fn of_copies_at_once_one_holds_the_lease() {
        let (store, _) = store(1 << 20);
        let line = Barrier::new(50);
        let held = AtomicUsize::new(0);
        thread::scope(|scope| {
            for _ in 0..50 {
                scope.spawn(|| {
                    let claim = claim("k", 1);
                    line.wait();
                    match now(store.lease(&claim, secs(30))) {
                        Ok(LeaseOutcome::Held) => drop(held.fetch_add(1, Ordering::Relaxed)),
                        answer => assert!(matches!(answer, Ok(LeaseOutcome::InFlight { .. }))),
                    }
                });
            }
        });
        assert_eq!(held.into_inner(), 1);
    }
}

mod configuration {
    use super::*;

    fn message(builder: MemoryStoreBuilder) -> String {
        let error = builder.build().unwrap_err();
        assert!(matches!(error.kind(), ConfigErrorKind::Range(_)));
        error.to_string()
    }

    #[test]
    fn what_is_out_of_range_is_refused() {
        let least = MemoryStoreBuilder::MIN_CAPACITY_BYTES;
        assert!(message(MemoryStore::builder().capacity_bytes(least - 1)).contains("64 KiB"));
        for percent in [0, 101] {
            assert!(message(MemoryStore::builder().key_share(percent)).contains("per cent"));
        }
        assert!(
            MemoryStore::builder()
                .capacity_bytes(least)
                .key_share(1)
                .build()
                .is_ok()
        );
    }

    /// A capacity that "never fills" would be reserved: the process would abort.
    #[test]
    fn a_capacity_that_no_machine_has_is_refused() {
        for capacity in [usize::MAX, (1 << 40) + 1] {
            let message = message(MemoryStore::builder().capacity_bytes(capacity));
            assert!(message.contains("1 TiB"), "{message}");
        }
    }

    #[test]
    fn a_new_store_takes_little_memory_and_shows_nothing_of_what_it_holds() {
        let store = MemoryStore::new().danger_assume_no_history();
        assert!(store.allocated_bytes() < 1 << 20);
        assert!(store.is_empty());
        assert!(format!("{store:?}").starts_with("MemoryStore("));
    }
}

mod an_hour {
    use std::collections::HashMap;

    use countersign::Clock as _;

    use super::*;

    const PER_SECOND: u64 = 100;

    /// Live at one time, once the first window has passed.
    const LIVE: usize = 30_000;

    /// The measurements after each claim of an hour, from the third window on.
    #[derive(Default)]
    struct Seen {
        most_nonces: usize,
        most_bytes: usize,
        least_bytes: usize,
        /// The most records that one claim dropped.
        most_dropped: usize,
    }

    /// An hour's traffic; `claim` makes one, and says how many nonces and bytes are held after it.
    fn watch(clock: &ManualClock, mut claim: impl FnMut(Claim) -> (usize, usize)) -> Seen {
        let mut seen = Seen {
            least_bytes: usize::MAX,
            ..Seen::default()
        };
        let mut before = 0_usize;
        for nonce in 0..3600 * PER_SECOND {
            clock.advance(Duration::from_millis(1000 / PER_SECOND));
            let (nonces, bytes) =
                claim(claim_until("k", nonce, clock.now().saturating_add(WINDOW)));
            seen.most_dropped = seen.most_dropped.max((before + 1).saturating_sub(nonces));
            before = nonces;
            if nonce > 2 * WINDOW.as_secs() * PER_SECOND {
                seen.most_nonces = seen.most_nonces.max(nonces);
                seen.most_bytes = seen.most_bytes.max(bytes);
                seen.least_bytes = seen.least_bytes.min(bytes);
            }
        }
        seen
    }

    /// The records of two shards of sixteen: its own, and the one whose turn it is.
    const DROPPED_AT_ONCE: usize = LIVE / 8;

    #[test]
    fn of_traffic_leaves_memory_flat_and_no_claim_sweeps_much() {
        let (store, clock) = store(2 << 20);
        let seen = watch(&clock, |claim| {
            assert_eq!(now(store.claim(&claim)), Ok(ClaimOutcome::New));
            let held = store.statistics();
            (held.nonces, held.allocated_bytes)
        });
        // A sweep comes round in 16 s of 300.
        assert!(seen.most_nonces < LIVE + LIVE / 10, "{}", seen.most_nonces);
        assert!(
            seen.most_bytes < seen.least_bytes + seen.least_bytes / 4,
            "{} to {}",
            seen.least_bytes,
            seen.most_bytes
        );
        assert!(seen.most_dropped < DROPPED_AT_ONCE, "{}", seen.most_dropped);
    }

    /// The twin: a map that is swept as a whole, once in a window.
    #[test]
    fn of_traffic_on_a_map_that_is_swept_as_a_whole_would_be_noticed() {
        let clock = ManualClock::at(start());
        let mut map = HashMap::new();
        let mut next = start().saturating_add(WINDOW);
        let seen = watch(&clock, |claim| {
            let now = clock.now();
            if now >= next {
                next = now.saturating_add(WINDOW);
                map.retain(|_, deadline| *deadline > now);
            }
            map.insert(claim.nonce().as_bytes().to_vec(), claim.deadline());
            (map.len(), map.len() * 17)
        });
        assert!(seen.most_nonces >= LIVE + LIVE / 10);
        assert!(seen.most_bytes >= seen.least_bytes + seen.least_bytes / 4);
        assert!(seen.most_dropped >= DROPPED_AT_ONCE);
    }
}
