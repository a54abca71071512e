//! Nor can what is to become one, nor a lease.

use countersign::{request::{Lease, PendingSlot}, PendingPayload};

fn pending() -> PendingPayload {
    PendingPayload {}
}

fn slot() -> PendingSlot {
    PendingSlot::default()
}

fn lease() -> Lease {
    Lease::default()
}

fn main() {}
