//! The answers of a server about itself when it is inspected.

use redis::Value;

use super::error::read;
use crate::error::StoreError;

/// The statements of a server about itself, in milliseconds by its own clock.
#[derive(Clone, Debug)]
pub(super) struct Inspected {
    /// Its replication id.
    pub(super) id: String,
    /// The name of its record of itself: another one each time that it is made.
    pub(super) name: String,
    pub(super) now: u64,
    /// Requests that were signed until then may have been forgotten.
    pub(super) since: u64,
    /// The latest moment that its clock has shown; it never falls.
    pub(super) mark: u64,
    /// Whether it has no memory for new records.
    pub(super) is_full: bool,
    /// How many commands it has carried out. They fall only when its counters are reset.
    pub(super) commands: u64,
}

/// Reads the answer to an inspection.
pub(super) fn inspected(answer: Value) -> Result<Inspected, StoreError> {
    type Parts = (String, String, u64, u64, u64, String, String, u8, u64);
    let (policy, role, now, since, mark, id, name, is_full, commands): Parts = read(answer)?;
    if role != "master" {
        return Err(StoreError::unavailable(format!(
            "the server's role is `{role}`"
        )));
    }
    if policy != "noeviction" {
        let message = format!(
            "the server's `maxmemory-policy` is `{policy}`, which forgets what is to be \
             remembered; set it to `noeviction`"
        );
        return Err(StoreError::unavailable(message).misconfigured());
    }
    Ok(Inspected {
        id,
        name,
        now,
        since,
        mark,
        is_full: is_full != 0,
        commands,
    })
}
