//! What is asked of the functions that decide and record many steps at once.
//!
//! They are sent as plain text, which needs no prepared statement and takes a whole transaction in
//! one round trip. Whatever varies in them is hexadecimal digits and integers.

use std::fmt::{Display, Write as _};

use crate::{clock::Timestamp, encoding::Encoding, nonce::Claim, store::queue::Action};

/// One step of a batch, of which no two record the same nonce.
#[derive(Clone, Copy, Debug)]
pub(super) struct Step<'a> {
    pub(super) claim: &'a Claim,
    pub(super) digest: [u8; 32],
    pub(super) action: Action,
}

/// What one statement can do together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Kind {
    Claim { extends: bool },
    Lease { extends: bool },
    Renew,
    Complete,
    Release,
}

impl Kind {
    pub(super) fn of(claim: &Claim, action: Action) -> Self {
        let extends = claim.extends();
        match action {
            Action::Claim | Action::Consume => Self::Claim { extends },
            Action::Lease(_) => Self::Lease { extends },
            Action::Renew(_) => Self::Renew,
            Action::Complete => Self::Complete,
            Action::Release => Self::Release,
        }
    }

    pub(super) fn is_of_holder(self) -> bool {
        matches!(self, Self::Renew | Self::Complete | Self::Release)
    }
}

/// Answers with one row for each step: its place, why it is refused or what was found, and times.
pub(super) fn decide(kind: Kind, steps: &[Step<'_>]) -> String {
    let asked = asked(steps);
    match kind {
        Kind::Claim { extends } | Kind::Lease { extends } => {
            format!("SELECT * FROM countersign_record({extends}, {asked})")
        }
        Kind::Renew => format!("SELECT * FROM countersign_hold('renew', {asked})"),
        Kind::Complete => format!("SELECT * FROM countersign_hold('complete', {asked})"),
        Kind::Release => format!("SELECT * FROM countersign_hold('release', {asked})"),
    }
}

/// Registers the namespaces of the steps; the first one that asks says for how long its requests
/// are remembered.
pub(super) fn register(steps: &[Step<'_>]) -> String {
    format!(
        "INSERT INTO countersign_namespaces (namespace, retention_ms, dropped_up_to_ms)
        SELECT convert_from(decode(name, 'hex'), 'UTF8'), max(needs_ms), 0
        FROM unnest('{}'::text[], '{}'::bigint[]) AS step (name, needs_ms)
        WHERE name NOT IN (SELECT name FROM countersign_terms) GROUP BY name",
        names(steps),
        needs(steps),
    )
}

fn names(steps: &[Step<'_>]) -> String {
    array(steps, |s| hex(s.claim.namespace().as_bytes()))
}

fn needs(steps: &[Step<'_>]) -> String {
    array(steps, |s| millis(s.claim.retention()))
}

fn hex(bytes: &[u8]) -> String {
    Encoding::Hex.encode(bytes)
}

/// The arguments that both functions take, an array each.
fn asked(steps: &[Step<'_>]) -> String {
    let digests = array(steps, |s| hex(&s.digest));
    let attempts = array(steps, |s| hex(&s.claim.attempt().to_bytes()));
    let deadlines = array(steps, |s| at(s.claim.deadline()));
    let signed = array(steps, |s| {
        let signed = s.claim.signed_at().map(at);
        signed.map_or("NULL".to_owned(), |at| at.to_string())
    });
    let skews = array(steps, |s| millis(s.claim.max_skew()));
    let leases = array(steps, |s| match s.action {
        Action::Lease(duration) | Action::Renew(duration) => millis(duration).to_string(),
        Action::Claim | Action::Consume | Action::Complete | Action::Release => "NULL".to_owned(),
    });
    format!(
        "'{}', '{digests}', '{attempts}', '{deadlines}', '{signed}', '{skews}', '{}', '{leases}'",
        names(steps),
        needs(steps),
    )
}

fn array<T: Display>(steps: &[Step<'_>], of: impl Fn(&Step<'_>) -> T) -> String {
    let mut array = String::from("{");
    for (place, step) in steps.iter().enumerate() {
        let comma = if place == 0 { "" } else { "," };
        // Nothing fails to be written to a string.
        let _ = write!(array, "{comma}{}", of(step));
    }
    array + "}"
}

pub(super) fn at(time: Timestamp) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

/// At most a thousand years, so that no sum of times overflows.
pub(super) fn millis(duration: std::time::Duration) -> i64 {
    const MILLENNIUM: i64 = 1000 * 366 * 24 * 3600 * 1000;
    i64::try_from(duration.as_millis()).map_or(MILLENNIUM, |millis| millis.min(MILLENNIUM))
}
