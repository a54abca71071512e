//! A pending payload cannot be read, nor taken twice.

use countersign::{request::Verified, store::ConsumeIn, PendingPayload};

fn read(pending: &PendingPayload) {
    let _ = pending.bytes();
    let _ = pending.json::<u8>();
    let _ = pending.0;
}

fn unread(verified: Verified) {
    let Verified::Claimed(_payload) = verified;
}

fn copy(pending: &PendingPayload) -> PendingPayload {
    pending.clone()
}

async fn twice(pending: PendingPayload, transaction: &mut impl ConsumeIn) {
    let _ = pending.consume(transaction).await;
    let _ = pending.consume(transaction).await;
}

fn main() {}
