//! The Redis store on real servers, Redis and Valkey: copies from several processes, and servers
//! that fail.
mod faults;
mod lost;
mod proxy;
mod races;
mod replicated;
mod rule;

use std::time::{Duration, Instant};

use countersign::{
    Timestamp,
    error::StoreErrorKind,
    store::{Claim, ClaimOutcome, NonceStore, RedisStore},
    testing::conformance::{self, Time},
};

use crate::{
    claims::{HOUR, SKEW, claim_until, now},
    common::{
        log,
        redis_server::{Server, programs},
    },
};

async fn open(url: &str) -> RedisStore {
    log::listen();
    let builder = RedisStore::builder().danger_assume_no_history();
    // Machines that build are slow at times.
    builder
        .timeout(Duration::from_secs(20))
        .open(url)
        .await
        .unwrap()
}

/// An attempt of its own, signed at this time.
fn claim_signed(nonce: u64, at: Timestamp) -> Claim {
    claim_until(nonce, now().saturating_add(HOUR)).signed(at, SKEW)
}

/// An attempt of its own, signed as late as can be.
fn claim(nonce: u64) -> Claim {
    claim_signed(nonce, now().saturating_add(HOUR))
}

async fn ask(store: &RedisStore, claim: &Claim) -> Result<ClaimOutcome, StoreErrorKind> {
    store.claim(claim).await.map_err(|error| {
        println!("{error:?}");
        error.kind()
    })
}

/// Asks for new nonces, from `first` on, until one is accepted.
async fn resumes(store: &RedisStore, first: u64) -> Duration {
    let start = Instant::now();
    let mut nonce = first;
    while store.claim(&claim(nonce)).await.is_err() {
        assert!(
            start.elapsed() < Duration::from_secs(40),
            "it did not resume"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
        nonce += 1;
    }
    start.elapsed()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_redis_store_keeps_every_promise() {
    for program in programs() {
        let server = Server::start(&program, &["--save", ""]);
        let url = server.url();
        conformance::run(&Time::real(), async || open(&url).await)
            .await
            .unwrap();
        println!("kept on {program}");
    }
}
