//! Rows 45 and 61: what two layers that share a store do to each other's requests.

use std::{sync::Arc, time::Duration};

use countersign::{
    Claim, Clock as _, KeyId, ManualClock, MemoryStore, Nonce, NonceKind, NonceStore,
    StoreErrorKind,
};

use crate::{
    common,
    naive::MapStore,
    subject::{Breach, Finding, HOUSE, MISCONFIGURED, REPLAYED, Target, accepted, refused},
};

const SECOND: Duration = Duration::from_secs(1);

fn window(clock: &ManualClock, store: &Arc<impl NonceStore>, max_age: Duration) -> Target {
    Target::with_store(&HOUSE, clock, Arc::clone(store), |layer| {
        layer.max_age(max_age).max_skew(SECOND)
    })
}

/// A layer with a short window accepts a request, and is gone. Another one with a long window is given
/// a copy once the first one's record would have been dropped.
async fn a_longer_window_follows(clock: &ManualClock, store: Arc<impl NonceStore>) -> Finding {
    let genuine = HOUSE.signed(clock);
    accepted(&window(clock, &store, SECOND), genuine.clone()).await?;
    clock.advance(SECOND * 30);
    let longer = window(clock, &store, SECOND * 300);
    refused(&longer, genuine, MISCONFIGURED).await?;
    // And so is every other request, for as long as nobody mends it.
    refused(&longer, HOUSE.signed(clock), MISCONFIGURED).await
}

#[tokio::test]
async fn a61_what_a_short_window_accepted_a_longer_one_does_not_accept() {
    let clock = common::clock();
    let store = Arc::new(common::store(&clock));
    a_longer_window_follows(&clock, store).await.unwrap();
}

/// A store whose records last for as long as each claim by itself needs.
#[tokio::test]
async fn a61_twin_a_store_without_a_retention_of_the_namespace_is_found() {
    let clock = common::clock();
    let found = a_longer_window_follows(&clock, Arc::new(MapStore::new(&clock))).await;
    assert!(matches!(found, Err(Breach::Effect(_))), "{found:?}");
}

#[tokio::test]
async fn a61_what_needs_less_is_remembered_for_as_long_as_its_namespace() {
    let clock = common::clock();
    let store: Arc<MemoryStore> = Arc::new(common::store(&clock));
    let first = HOUSE.signed(&clock);
    accepted(&window(&clock, &store, SECOND * 300), first.clone())
        .await
        .unwrap();
    let genuine = HOUSE.signed(&clock);
    accepted(&window(&clock, &store, SECOND), genuine.clone())
        .await
        .unwrap();
    clock.advance(SECOND * 290);
    for copy in [first, genuine] {
        let longer = window(&clock, &store, SECOND * 300);
        refused(&longer, copy, REPLAYED).await.unwrap();
    }
}

#[test]
fn a61_namespaces_take_no_more_room_than_the_store_has() {
    let clock = common::clock();
    let store = crate::subject::small(&clock).build().unwrap();
    let capacity = store.statistics().capacity_bytes;
    let mut refused = 0;
    for n in 0..2000 {
        let namespace = format!("tenant {n:0100}");
        let nonce = Nonce::new(NonceKind::Covered, "1");
        let key = KeyId::new("k").unwrap();
        let deadline = clock.now().plus(SECOND);
        let claim = Claim::new(namespace.into(), key, nonce, deadline);
        let answer = common::ready(store.claim(&claim));
        if let Err(error) = answer {
            assert_eq!(error.kind(), StoreErrorKind::Full);
            refused += 1;
        }
        assert!(store.allocated_bytes() <= capacity);
    }
    assert!(refused > 0);
}
