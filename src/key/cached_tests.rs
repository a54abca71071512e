//! A cache of keys is bounded, asks once, and never says more than the key store did.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use tokio::time::{advance, sleep};

use super::*;
use crate::key::Secret;

const SECOND: Duration = Duration::from_secs(1);

/// A table of keys: every name that begins with `partner`, and perhaps any other.
#[derive(Clone, Default)]
struct Table(Arc<Inner>);

#[derive(Default)]
struct Inner {
    asked: AtomicUsize,
    fails: AtomicBool,
    is_slow: AtomicBool,
    knows_all: AtomicBool,
    is_empty: AtomicBool,
}

impl Table {
    fn asked(&self) -> usize {
        self.0.asked.swap(0, SeqCst)
    }
}

impl KeyStore for Table {
    fn find<'a>(&'a self, key_id: &'a str) -> KeyFuture<'a> {
        StoreFuture::new(async move {
            let inner = &self.0;
            inner.asked.fetch_add(1, SeqCst);
            let wait = if inner.is_slow.load(SeqCst) {
                60_000
            } else {
                100
            };
            sleep(Duration::from_millis(wait)).await;
            if inner.fails.load(SeqCst) {
                return Err(KeyError::unavailable("the table is away"));
            }
            let is_there = key_id.starts_with("partner") || inner.knows_all.load(SeqCst);
            let is_there = is_there && !inner.is_empty.load(SeqCst);
            let secret = || Secret::new(format!("the secret of {key_id}")).unwrap();
            Ok(is_there.then(|| Arc::new(KeySet::new(key_id).unwrap().with(secret()))))
        })
    }
}

fn cached(table: &Table) -> CachedKeysBuilder {
    CachedKeys::builder(table.clone())
}

async fn is_known(keys: &CachedKeys, id: &str) -> Result<bool, KeyError> {
    let found = keys.find(id).await?;
    if let Some(set) = &found {
        assert_eq!(set.id().as_str(), id);
    }
    Ok(found.is_some())
}

#[tokio::test(start_paused = true)]
async fn a_key_is_looked_up_once_in_its_time_and_anew_after_it() {
    let table = Table::default();
    let keys = cached(&table).build().unwrap();
    for _ in 0..3 {
        assert!(is_known(&keys, "partner-1").await.unwrap());
    }
    assert_eq!(table.asked(), 1);
    // Revoked, it counts until its time is over.
    table.0.is_empty.store(true, SeqCst);
    advance(59 * SECOND).await;
    assert!(is_known(&keys, "partner-1").await.unwrap());
    advance(SECOND).await;
    assert!(!is_known(&keys, "partner-1").await.unwrap());
    // And a name that is no key is asked for again sooner.
    table.0.is_empty.store(false, SeqCst);
    assert!(!is_known(&keys, "partner-1").await.unwrap());
    assert_eq!(table.asked(), 1);
    advance(5 * SECOND).await;
    assert!(is_known(&keys, "partner-1").await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn what_is_invalidated_is_looked_up_at_once() {
    let table = Table::default();
    let keys = cached(&table).build().unwrap();
    assert!(is_known(&keys, "partner-1").await.unwrap());
    table.0.is_empty.store(true, SeqCst);
    keys.invalidate("partner-1");
    assert!(!is_known(&keys, "partner-1").await.unwrap());
    table.0.is_empty.store(false, SeqCst);
    keys.invalidate("partner-1");
    assert!(is_known(&keys, "partner-1").await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn of_many_that_ask_for_one_name_at_once_one_looks_it_up_and_no_line_is_left() {
    let table = Table::default();
    let keys = cached(&table).build().unwrap();
    for (id, is_there) in [("partner-1", true), ("nobody", false)] {
        let mut tasks = Vec::new();
        for _ in 0..100 {
            let keys = keys.clone();
            tasks.push(tokio::spawn(
                async move { is_known(&keys, id).await.unwrap() },
            ));
        }
        for task in tasks {
            assert_eq!(task.await.unwrap(), is_there);
        }
        assert_eq!(table.asked(), 1, "{id}");
    }
    // Callers that wait share an outage too, and none of them asks again.
    table.0.fails.store(true, SeqCst);
    let failing = (0..100).map(|_| {
        let keys = keys.clone();
        tokio::spawn(async move { is_known(&keys, "partner-2").await })
    });
    for task in failing.collect::<Vec<_>>() {
        task.await.unwrap().unwrap_err();
    }
    assert_eq!(table.asked(), 1);
    // The next one asks again.
    table.0.fails.store(false, SeqCst);
    assert!(is_known(&keys, "partner-2").await.unwrap());
    assert_eq!(lock(&keys.0.flights).len(), 0);
}

/// The first of those who wait hangs up: the next one asks.
#[tokio::test(start_paused = true)]
async fn a_look_up_that_is_given_up_is_begun_by_the_next_and_no_line_is_left() {
    let table = Table::default();
    let keys = cached(&table).build().unwrap();
    let short = Duration::from_millis(50);
    let (first, second) = tokio::join!(
        tokio::time::timeout(short, is_known(&keys, "partner-1")),
        is_known(&keys, "partner-1"),
    );
    assert!(first.is_err() && second.unwrap());
    assert_eq!(table.asked(), 2);
    tokio::time::timeout(short, is_known(&keys, "partner-2"))
        .await
        .unwrap_err();
    assert_eq!(lock(&keys.0.flights).len(), 0);
}

/// A sender names key ids, without end.
#[tokio::test(start_paused = true)]
async fn names_of_strangers_evict_no_key() {
    let asked_again = async |knows_all: bool| {
        let table = Table::default();
        table.0.knows_all.store(knows_all, SeqCst);
        let keys = cached(&table)
            .capacity(8)
            .unknown_capacity(8)
            .build()
            .unwrap();
        let stranger = async |n| {
            let known = is_known(&keys, &format!("stranger-{n}")).await.unwrap();
            assert_eq!(known, knows_all);
        };
        for n in 0..20 {
            stranger(n).await;
        }
        assert!(is_known(&keys, "partner-1").await.unwrap());
        for n in 20..200 {
            stranger(n).await;
        }
        let held = (keys.0.known.len(), keys.0.unknown.len());
        assert!(held.0 <= 8 && held.1 <= 8, "{held:?}");
        assert_eq!(lock(&keys.0.flights).len(), 0);
        table.asked();
        advance(30 * SECOND).await;
        let _ = is_known(&keys, "partner-1").await.unwrap();
        table.asked()
    };
    assert_eq!(asked_again(false).await, 0);
    // The twin: if their names went into the cache of the keys, they would evict one.
    assert_eq!(asked_again(true).await, 1);
}

#[tokio::test(start_paused = true)]
async fn an_outage_refuses_unless_stale_keys_are_served_and_then_for_a_stated_time() {
    for (stale, is_slow) in [(0, false), (0, true), (600, false), (600, true)] {
        let table = Table::default();
        let builder = cached(&table).danger_serve_stale_keys(Duration::from_secs(stale));
        let keys = builder.build().unwrap();
        assert!(is_known(&keys, "partner-1").await.unwrap());
        table.0.fails.store(!is_slow, SeqCst);
        table.0.is_slow.store(is_slow, SeqCst);
        advance(61 * SECOND).await;
        assert_eq!(
            is_known(&keys, "partner-1").await.is_ok(),
            stale > 0,
            "{stale}, {is_slow}"
        );
        // A key that was never there is not made up.
        is_known(&keys, "partner-2").await.unwrap_err();
        advance(600 * SECOND).await;
        is_known(&keys, "partner-1").await.unwrap_err();
        // A key that is revoked is gone as soon as somebody can say so.
        table.0.fails.store(false, SeqCst);
        table.0.is_slow.store(false, SeqCst);
        table.0.is_empty.store(true, SeqCst);
        assert!(!is_known(&keys, "partner-1").await.unwrap());
        table.0.fails.store(true, SeqCst);
        advance(10 * SECOND).await;
        is_known(&keys, "partner-1").await.unwrap_err();
    }
}

#[tokio::test(start_paused = true)]
async fn a_name_that_no_key_can_have_is_not_looked_up() {
    let table = Table::default();
    let keys = cached(&table).build().unwrap();
    for id in ["", "a b", &"x".repeat(129)] {
        assert!(!is_known(&keys, id).await.unwrap());
    }
    assert_eq!(table.asked(), 0);
}

#[test]
fn settings_out_of_their_range_are_refused() {
    let builder = || cached(&Table::default());
    for refused in [
        builder().capacity(0),
        builder().unknown_capacity(0),
        builder().time_to_live(Duration::ZERO),
        builder().unknown_time_to_live(Duration::from_secs(86_401)),
        builder().look_up_timeout(Duration::ZERO),
        builder().danger_serve_stale_keys(Duration::from_secs(7 * 86_400 + 1)),
    ] {
        refused.build().unwrap_err();
    }
}
