//! The PostgreSQL store under attack, on real servers: copies from several processes, servers that
//! die, stall, fail over or are read-only, replies that are lost, and PgBouncer.
mod copies;
mod faults;
mod races;
mod rule;
mod server;
mod waits;

use std::time::Duration;

use crate::common::log;
use countersign::{
    Claim, Claimed, Clock as _, KeyId, Nonce, NonceKind, NonceStore, PostgresStore, StoreErrorKind,
    SystemClock, Timestamp,
};

const HOUR: Duration = Duration::from_secs(3600);
const SKEW: Duration = Duration::from_secs(5);

fn now() -> Timestamp {
    SystemClock::default().now()
}

/// An attempt of its own, signed now.
fn claim(nonce: u64) -> Claim {
    claim_signed(nonce, now())
}

fn claim_signed(nonce: u64, at: Timestamp) -> Claim {
    let nonce = Nonce::new(NonceKind::Covered, nonce.to_be_bytes());
    let key = KeyId::new("k").unwrap();
    Claim::new("tests".into(), key, nonce, at.plus(HOUR)).signed(at, SKEW)
}

async fn ask(store: &PostgresStore, claim: &Claim) -> Result<Claimed, StoreErrorKind> {
    log::listen();
    store.claim(claim).await.map_err(|error| error.kind())
}
