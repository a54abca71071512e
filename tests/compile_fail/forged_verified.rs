//! Nor can what holds one, nor a lease.

use countersign::{Lease, Verified, VerifiedPayload};

fn verified(payload: VerifiedPayload) -> Verified {
    Verified { payload, lease: None }
}

fn lease() -> Lease {
    Lease::default()
}

fn main() {}
