//! Every interleaving of a few threads at the memory store, by loom.
//!
//! They are compiled under `--cfg countersign_loom`: see `tests/interleavings.sh`.

use std::{collections::HashSet, sync::Arc, time::Duration};

use loom::{sync::Mutex, thread};

use super::{MemoryStore, quota::Quota, shard::lock};
use crate::{
    clock::Timestamp,
    key::KeyId,
    once::{
        Claim, ClaimOutcome, LeaseOutcome, LeaseStore as _, Nonce, NonceKind, NonceStore as _,
        StepOutcome,
    },
    store::memory::builder::MemoryStoreBuilder,
    testing::ManualClock,
};

const LIFE: Duration = Duration::from_secs(10);

/// The hash of a key, as the quota sees it.
const KEY: u64 = 0x0123_4567_89ab_cdef;

fn start() -> Timestamp {
    Timestamp::from_secs(1_700_000_000).unwrap()
}

fn claim(nonce: u8) -> Claim {
    let nonce = Nonce::new(NonceKind::Covered, vec![nonce]);
    Claim::new(
        "n".into(),
        KeyId::new("k").unwrap(),
        nonce,
        start().saturating_add(LIFE),
    )
}

fn store() -> (Arc<MemoryStore>, ManualClock) {
    let clock = ManualClock::at(start());
    let least = MemoryStoreBuilder::MIN_CAPACITY_BYTES;
    let builder = MemoryStore::builder()
        .capacity_bytes(least)
        .clock(clock.clone());
    (
        Arc::new(builder.danger_assume_no_history().build().unwrap()),
        clock,
    )
}

fn is_new(store: &MemoryStore, claim: &Claim) -> bool {
    matches!(store.claim(claim).at_hand(), Ok(Ok(ClaimOutcome::New)))
}

fn at_once<T: 'static>(
    one: impl FnOnce() -> T + Send + 'static,
    other: impl FnOnce() -> T + Send + 'static,
) -> (T, T) {
    let one = thread::spawn(one);
    let other = thread::spawn(other);
    (one.join().unwrap(), other.join().unwrap())
}

#[test]
fn of_two_copies_one_is_new() {
    loom::model(|| {
        let (store, _) = store();
        let copy = |store: &Arc<MemoryStore>| {
            let store = Arc::clone(store);
            move || is_new(&store, &claim(1))
        };
        let (one, other) = at_once(copy(&store), copy(&store));
        assert!(one != other);
        assert_eq!(store.len(), 1);
    });
}

/// The twin: the test above fails for a claim that checks and then sets.
#[test]
#[should_panic(expected = "both are new")]
fn of_two_copies_both_are_new_where_a_claim_is_two_steps() {
    loom::model(|| {
        let seen = Arc::new(Mutex::new(HashSet::new()));
        let copy = |seen: &Arc<Mutex<HashSet<u8>>>| {
            let seen = Arc::clone(seen);
            move || {
                let is_new = !seen.lock().unwrap().contains(&1);
                seen.lock().unwrap().insert(1);
                is_new
            }
        };
        let (one, other) = at_once(copy(&seen), copy(&seen));
        assert!(one != other, "both are new");
    });
}

#[test]
fn a_sweep_ahead_of_time_does_not_reopen_what_a_claim_recorded() {
    loom::model(|| {
        let (store, clock) = store();
        let claiming = Arc::clone(&store);
        let sweeping = Arc::clone(&store);
        let (first, _) = at_once(
            move || is_new(&claiming, &claim(1)),
            move || {
                clock.advance(LIFE);
                let now = sweeping.base.now(start().saturating_add(LIFE));
                for shard in &sweeping.shards {
                    // Most shards are empty; what is done to them cannot matter.
                    let mut shard = lock(shard);
                    if shard.len() > 0 {
                        shard.sweep(now, &sweeping.limits);
                    }
                }
                clock.step_back(LIFE);
                false
            },
        );
        let again = is_new(&store, &claim(1));
        assert!(!(first && again), "accepted twice");
    });
}

#[test]
fn an_ended_lease_is_either_completed_or_taken() {
    loom::model(|| {
        let (store, _) = store();
        let (old, new) = (claim(1), claim(1));
        assert!(matches!(
            store.lease(&old, Duration::ZERO).at_hand(),
            Ok(Ok(LeaseOutcome::Held))
        ));
        let (completing, taking) = (Arc::clone(&store), Arc::clone(&store));
        let (completed, taken) = at_once(
            move || {
                matches!(
                    completing.complete(&old).at_hand(),
                    Ok(Ok(StepOutcome::Done))
                )
            },
            move || {
                matches!(
                    taking.lease(&new, LIFE).at_hand(),
                    Ok(Ok(LeaseOutcome::Held))
                )
            },
        );
        assert!(completed != taken);
        assert!(!is_new(&store, &claim(1)));
    });
}

#[test]
fn a_released_nonce_is_taken_once() {
    loom::model(|| {
        let (store, _) = store();
        let held = claim(1);
        assert!(matches!(
            store.lease(&held, LIFE).at_hand(),
            Ok(Ok(LeaseOutcome::Held))
        ));
        let (releasing, taking) = (Arc::clone(&store), Arc::clone(&store));
        let (released, taken) = at_once(
            move || {
                matches!(
                    releasing.release(&held).at_hand(),
                    Ok(Ok(StepOutcome::Done))
                )
            },
            move || is_new(&taking, &claim(1)),
        );
        assert!(released);
        assert!(taken != is_new(&store, &claim(1)));
        assert_eq!(store.len(), 1);
    });
}

#[test]
fn a_quota_of_one_is_given_to_one() {
    loom::model(|| {
        let quota = Arc::new(Quota::new(2, 1));
        let take = |quota: &Arc<Quota>| {
            let quota = Arc::clone(quota);
            move || quota.take(KEY).ok()
        };
        let (one, other) = at_once(take(&quota), take(&quota));
        assert!(one.is_some() != other.is_some());
        quota.give_back(one.or(other).unwrap());
        assert!(quota.take(KEY).is_ok());
    });
}

#[test]
fn a_key_has_one_place_while_others_come_and_go() {
    loom::model(|| {
        let quota = Arc::new(Quota::new(2, 2));
        let first = quota.take(KEY).unwrap();
        let leaving = Arc::clone(&quota);
        let coming = Arc::clone(&quota);
        let (again, other) = at_once(
            move || {
                leaving.give_back(first);
                leaving.take(KEY).unwrap()
            },
            move || coming.take(KEY).unwrap(),
        );
        assert_eq!(again, other);
        assert!(quota.take(KEY).is_err());
    });
}
