//! Attempts at nonces that are numbers, on stores that go by the clock of the system.

use std::time::Duration;

use countersign::{
    Clock as _, KeyId, Timestamp,
    clock::SystemClock,
    store::{Claim, Nonce, NonceKind},
};

pub const HOUR: Duration = Duration::from_secs(3600);
pub const SKEW: Duration = Duration::from_secs(5);

pub fn now() -> Timestamp {
    SystemClock::default().now()
}

/// An attempt of its own under a key, without a signed time.
pub fn claim_by(key: &str, nonce: u64, deadline: Timestamp) -> Claim {
    let nonce = Nonce::new(NonceKind::Covered, nonce.to_be_bytes());
    Claim::new("tests".into(), KeyId::new(key).unwrap(), nonce, deadline)
}

/// As [`claim_by`], under the key of all tests.
pub fn claim_until(nonce: u64, deadline: Timestamp) -> Claim {
    claim_by("k", nonce, deadline)
}
