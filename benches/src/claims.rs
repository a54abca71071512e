//! Claims on stores in databases, many in flight, and how long they waited.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use countersign::{
    Clock, KeyId,
    clock::SystemClock,
    store::{Claim, ClaimOutcome, Nonce, NonceKind, NonceStore},
};

use crate::memory::nonce;

const HOUR: Duration = Duration::from_secs(3600);

/// A claim on the nonce of this number, for an hour.
pub fn claim(n: u64) -> Claim {
    let nonce = Nonce::new(NonceKind::Covered, nonce(n));
    let deadline = SystemClock::default().now().saturating_add(HOUR);
    Claim::new(
        "payments".into(),
        KeyId::new("partner-1").unwrap(),
        nonce,
        deadline,
    )
}

/// The time for one of `count` claims, each new, with this many in flight; and how long each
/// waited.
pub async fn time<F: Future<Output = ()> + Send>(
    in_flight: u64,
    first: u64,
    count: u64,
    ask: impl Fn(u64) -> F + Clone + Send + 'static,
) -> (f64, Vec<f64>) {
    let start = Instant::now();
    let tasks: Vec<_> = (0..in_flight)
        .map(|task| {
            let ask = ask.clone();
            tokio::spawn(async move {
                let mut waited = Vec::new();
                for n in (first + task..first + count).step_by(usize::try_from(in_flight).unwrap())
                {
                    let start = Instant::now();
                    ask(n).await;
                    waited.push(start.elapsed().as_nanos() as f64);
                }
                waited
            })
        })
        .collect();
    let mut waited = Vec::new();
    for task in tasks {
        waited.extend(task.await.unwrap());
    }
    let each = start.elapsed().as_nanos() as f64 / count as f64;
    waited.sort_by(f64::total_cmp);
    (each, waited)
}

/// The same, of claims on a store.
pub async fn ours(
    store: &Arc<impl NonceStore>,
    in_flight: u64,
    first: u64,
    count: u64,
) -> (f64, Vec<f64>) {
    let store = Arc::clone(store);
    let ask = move |n| {
        let store = Arc::clone(&store);
        async move { assert_eq!(store.claim(&claim(n)).await.unwrap(), ClaimOutcome::New) }
    };
    time(in_flight, first, count, ask).await
}

pub fn summary(each: f64, waited: &[f64]) -> String {
    let at = |percent: usize| waited[(waited.len() - 1) * percent / 100] / 1000.0;
    format!(
        "{:.1} µs for one, wait {:.0} µs in the median, {:.0} at 99 %, {:.0} at most",
        each / 1000.0,
        at(50),
        at(99),
        at(100)
    )
}

pub fn median(all: &mut [f64]) -> f64 {
    all.sort_by(f64::total_cmp);
    all[all.len() / 2]
}
