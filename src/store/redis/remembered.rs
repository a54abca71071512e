//! Shows operators what the store remembers, and forgets a record on purpose.

use std::sync::Arc;

use super::{
    error::{Failure, read, unexpected},
    shared::Shared,
    slot::slot,
    step::{Key, replicated},
    time::{SPARE, millis, timestamp},
};
use crate::{
    clock::Timestamp,
    error::StoreError,
    once::Claim,
    store::status::{Recorded, StoreStatus},
};

/// See [`RedisStore::status`](super::RedisStore::status).
pub(super) async fn status(shared: &Arc<Shared>) -> Result<StoreStatus, StoreError> {
    shared.serve_all().await?;
    let since = shared.knowledge.since();
    Ok(StoreStatus {
        records: Some(shared.records().await?),
        since: Some(since).filter(|since| *since > Timestamp::EPOCH),
        ..StoreStatus::default()
    })
}

/// Asks of a claim's record, at the place of the claim.
pub(super) async fn recorded(
    shared: &Arc<Shared>,
    claim: &Claim,
    forgets: bool,
) -> Result<Recorded, StoreError> {
    let key = Key::of(claim);
    let server = shared.server(slot(&key.record)).await?;
    let (places, place) = key.places_and_place();
    let keys: &[&[u8]] = match claim.has_place() {
        true => &[&key.record, places],
        false => &[&key.record],
    };
    let mut script = server.link.record_script_of_holder(keys);
    script
        .arg(if forgets { "forget" } else { "look" })
        .arg("")
        .arg("")
        .arg(0)
        .arg(0)
        .arg(0)
        .arg(millis(SPARE))
        .arg(place);
    let answer = server.link.ask(&script).await;
    let answer = answer.map_err(Failure::into_error)?;
    let (outcome, now, moment): (String, u64, u64) = read(answer)?;
    shared.knowledge.shows(now);
    if forgets {
        replicated(&server).await?;
    }
    let recorded = Recorded::default();
    Ok(match outcome.as_str() {
        "final" => Recorded {
            records: 1,
            until: Some(timestamp(moment)),
            ..recorded
        },
        "held" => Recorded {
            in_flight: 1,
            ..recorded
        },
        "lost" => recorded,
        _ => return Err(unexpected()),
    })
}
