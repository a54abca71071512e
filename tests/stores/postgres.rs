//! The PostgreSQL store under attack, on real servers: copies from several processes, servers that
//! die, stall, fail over or are read-only, replies that are lost, and PgBouncer.
mod copies;
mod faults;
mod races;
mod rule;
mod server;
mod waits;

use countersign::{
    Timestamp,
    error::StoreErrorKind,
    store::{Claim, ClaimOutcome, NonceStore, PostgresStore},
};

use crate::{
    claims::{HOUR, SKEW, claim_until, now},
    common::log,
};

/// An attempt of its own, signed now.
fn claim(nonce: u64) -> Claim {
    claim_signed(nonce, now())
}

fn claim_signed(nonce: u64, at: Timestamp) -> Claim {
    claim_until(nonce, at.saturating_add(HOUR)).signed(at, SKEW)
}

async fn ask(store: &PostgresStore, claim: &Claim) -> Result<ClaimOutcome, StoreErrorKind> {
    log::listen();
    store.claim(claim).await.map_err(|error| error.kind())
}
