//! Rows 24 and 25: restarts, several servers, and clocks that jump.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use countersign::{Clock as _, MemoryStore, testing::ManualClock};

use crate::{
    common::{self, NOW, at},
    naive::MapStore,
    subject::{
        ALL, Breach, EVENTS, EXPIRED, Finding, HOUSE, NOT_YET_VALID, REPLAYED, SIGN_AGAIN, Subject,
        Target, WEBHOOK, accepted, refused, small,
    },
};

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);

fn restarted(subject: &Subject, clock: &ManualClock, assume_no_history: bool) -> Target {
    let mut store = MemoryStore::builder().clock(clock.clone());
    if assume_no_history {
        store = store.danger_assume_no_history();
    }
    Target::with_store(subject, clock, store.build().unwrap(), |layer| layer)
}

/// A request is accepted, the server restarts, the request comes again.
async fn a_replay_after_a_restart(subject: &Subject, assume_no_history: bool) -> Finding {
    let clock = common::clock();
    let before = restarted(subject, &clock, true);
    let genuine = subject.signed(&clock);
    accepted(&before, genuine.clone()).await?;

    clock.advance(SECOND);
    let after = restarted(subject, &clock, assume_no_history);
    for _ in 0..310 {
        let late = clock_of(&clock) > NOW + 300;
        let expected = if late { EXPIRED } else { SIGN_AGAIN };
        refused(&after, genuine.clone(), expected).await?;
        clock.advance(SECOND);
    }
    Ok(())
}

fn clock_of(clock: &ManualClock) -> u64 {
    clock.now().as_secs()
}

#[tokio::test]
async fn a24_a_replay_after_a_restart() {
    for subject in ALL {
        a_replay_after_a_restart(subject, false).await.unwrap();
    }
}

#[tokio::test]
async fn a24_twin_a_store_that_assumes_no_history_is_found() {
    for subject in ALL {
        let found = a_replay_after_a_restart(subject, true).await;
        assert!(matches!(found, Err(Breach::Effect(_))), "{found:?}");
    }
}

#[tokio::test]
async fn a24_what_was_signed_later_than_the_restart_passes() {
    // Up to the skew after the start, a request may have been accepted before it.
    for subject in ALL {
        let clock = common::clock();
        let target = restarted(subject, &clock, false);
        for ahead in 0..=5 {
            clock.set(at(NOW + ahead));
            let signed = subject.signed(&clock);
            refused(&target, signed, SIGN_AGAIN).await.unwrap();
        }
        clock.set(at(NOW + 6));
        let signed = subject.signed(&clock);
        accepted(&target, signed.clone()).await.unwrap();
        refused(&target, signed, REPLAYED).await.unwrap();
    }
}

/// A request that one server accepted is sent to the other, whose clock differs, all along.
pub async fn a_replay_to_another_server(
    one: &Target,
    other: &Target,
    subject: &Subject,
    ahead: i64,
) -> Finding {
    let start = i64::try_from(one.clock.now().as_millis()).unwrap();
    let genuine = subject.signed(&one.clock);
    accepted(one, genuine.clone()).await?;
    for millis in (0..=320_000_i64).step_by(1000) {
        let now = start + millis;
        let moment = |millis: i64| {
            countersign::Timestamp::from_millis(u64::try_from(millis).unwrap()).unwrap()
        };
        one.clock.set(moment(now));
        other.clock.set(moment(now + ahead));
        let expected = if millis + ahead > 300_000 {
            EXPIRED
        } else {
            REPLAYED
        };
        let not_yet = millis + ahead < -5_000;
        refused(
            other,
            genuine.clone(),
            if not_yet { NOT_YET_VALID } else { expected },
        )
        .await?;
        // The store is swept now and then.
        if millis % 10_000 == 0 {
            let filler = common::request("POST", "/other", &millis.to_string());
            accepted(one, subject.sign(&one.clock, filler)).await?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn a24_a25_a_replay_to_another_server_of_the_same_service() {
    // The clocks differ by as much as is configured, either way.
    for subject in ALL {
        for ahead in [-5_000, -1, 0, 1, 5_000] {
            let (clock, other_clock) = (common::clock(), common::clock());
            let store = Arc::new(small(&clock).key_share(100).build().unwrap());
            let one = Target::with_store(subject, &clock, Arc::clone(&store), |layer| layer);
            let other = Target::with_store(subject, &other_clock, store, |layer| layer);
            a_replay_to_another_server(&one, &other, subject, ahead)
                .await
                .unwrap();
        }
    }
}

#[tokio::test]
async fn a24_a25_twins_with_a_store_each_or_without_a_margin_are_found() {
    for subject in [&HOUSE, &WEBHOOK] {
        let (clock, other_clock) = (common::clock(), common::clock());
        let one = Target::with_store(subject, &clock, common::store(&clock), |layer| layer);
        let other = Target::with_store(subject, &other_clock, common::store(&clock), |layer| layer);
        let found = a_replay_to_another_server(&one, &other, subject, 0).await;
        assert!(
            matches!(found, Err(Breach::Effect(_))),
            "a store each: {found:?}"
        );

        let store = MapStore::new(&clock).deadline(|claim, _| {
            claim
                .signed_at()
                .unwrap()
                .saturating_add(Duration::from_millis(300_001))
        });
        let store = Arc::new(store);
        let (clock, other_clock) = (clock, common::clock());
        clock.set(at(NOW));
        let one = Target::with_store(subject, &clock, Arc::clone(&store), |layer| layer);
        let other = Target::with_store(subject, &other_clock, store, |layer| layer);
        let found = a_replay_to_another_server(&one, &other, subject, -5_000).await;
        assert!(
            matches!(found, Err(Breach::Effect(_))),
            "no margin: {found:?}"
        );
    }
}

#[tokio::test]
async fn a24_two_services_in_one_store_do_not_burn_each_others_requests() {
    // A namespace each: what is used in one is new in the other.
    let clock = common::clock();
    let store = Arc::new(small(&clock).key_share(100).build().unwrap());
    let one = Target::with_store(&HOUSE, &clock, Arc::clone(&store), |layer| {
        layer.namespace("one")
    });
    let other = Target::with_store(&HOUSE, &clock, store, |layer| layer.namespace("two"));
    let genuine = HOUSE.signed(&clock);
    for target in [&one, &other] {
        accepted(target, genuine.clone()).await.unwrap();
        refused(target, genuine.clone(), REPLAYED).await.unwrap();
    }
}

/// The clock jumps ahead, the store drops what is old, and the clock comes back. Duplicates are
/// refused from then on.
pub async fn a_clock_that_jumps(
    target: &Target,
    subject: &Subject,
    ahead: Duration,
) -> Result<BTreeSet<String>, Breach> {
    let clock = &target.clock;
    let start = clock.now();
    let genuine = subject.signed(clock);
    accepted(target, genuine.clone()).await?;
    clock.advance(ahead);
    refused(target, genuine.clone(), EXPIRED).await?;
    // Requests and time enough for all of the store to be swept.
    for filler in 0..40 {
        let filler = common::request("POST", "/filler", &filler.to_string());
        accepted(target, subject.sign(clock, filler)).await?;
        clock.advance(SECOND);
    }
    clock.set(start);
    let mut codes = BTreeSet::new();
    for _ in 0..=300 {
        let effects = target.effects.count();
        let (status, code) = target.send(genuine.clone()).await;
        if target.effects.count() != effects {
            return Err(Breach::Effect(format!("accepted again: {status}")));
        }
        codes.insert(code);
        clock.advance(SECOND);
    }
    Ok(codes)
}

#[tokio::test]
async fn a25_a_clock_that_is_stepped_forward_and_back_reopens_nothing() {
    for subject in ALL {
        for ahead in [Duration::from_secs(308), HOUR, HOUR * 24 * 365] {
            let clock = common::clock();
            let store = small(&clock).build().unwrap();
            let target = Target::with_store(subject, &clock, store, |layer| layer);
            let codes = a_clock_that_jumps(&target, subject, ahead).await.unwrap();
            // It was dropped, and is fenced; except an event, whose record lives on.
            let kept = subject.name == EVENTS.name && ahead <= HOUR;
            let expected = if kept { REPLAYED } else { SIGN_AGAIN };
            assert_eq!(
                codes,
                BTreeSet::from([expected.1.to_owned()]),
                "{}",
                subject.name
            );
        }
    }
}

#[tokio::test]
async fn a25_twin_a_store_that_drops_by_the_clock_alone_is_found() {
    for subject in ALL {
        let clock = common::clock();
        let target = Target::with_store(subject, &clock, MapStore::new(&clock), |layer| layer);
        let found = a_clock_that_jumps(&target, subject, HOUR * 24 * 365).await;
        assert!(matches!(found, Err(Breach::Effect(_))), "{found:?}");
    }
}

#[tokio::test]
async fn a25_a_clock_that_is_stepped_back_dates_requests_ahead() {
    for subject in ALL {
        let target = Target::new(subject);
        let genuine = subject.signed(&target.clock);
        accepted(&target, genuine.clone()).await.unwrap();
        target.clock.step_back(Duration::from_secs(6));
        refused(&target, genuine.clone(), NOT_YET_VALID)
            .await
            .unwrap();
        target.clock.advance(SECOND);
        refused(&target, genuine, REPLAYED).await.unwrap();
    }
}
