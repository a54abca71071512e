//! Nor can what is to become one, nor a lease.

use countersign::{Lease, PendingPayload, PendingSlot};

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
