//! Calls of the functions that decide and record many steps at once.
//!
//! They are sent as plain text, which needs no prepared statement and takes a whole transaction in
//! one round trip. Only hexadecimal digits and integers vary in them.

use std::{
    fmt::{Display, Write as _},
    time::Duration,
};

use super::{
    own::Own,
    step::Step,
    time::{at, millis},
};
use crate::{message::Encoding, once::Claim, store::batched::Action};

/// The common values of the steps of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Terms<'a> {
    change: Change,
    namespace: &'a str,
    retention: Duration,
    max_skew: Duration,
    lease: Option<Duration>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Change {
    Record {
        extends: bool,
        /// How many records the message may have.
        most: Option<usize>,
    },
    Renew,
    Complete,
    Release,
}

impl<'a> Terms<'a> {
    pub(super) fn of(claim: &'a Claim, action: Action) -> Self {
        let record = Change::Record {
            extends: claim.extends(),
            most: claim.most_records(),
        };
        let (change, lease) = match action {
            Action::Claim | Action::Consume => (record, None),
            Action::Lease(duration) => (record, Some(duration)),
            Action::Renew(duration) => (Change::Renew, Some(duration)),
            Action::Complete => (Change::Complete, None),
            Action::Release => (Change::Release, None),
        };
        Self {
            change,
            namespace: claim.namespace(),
            retention: claim.retention(),
            max_skew: claim.max_skew(),
            lease,
        }
    }

    pub(super) fn is_of_holder(&self) -> bool {
        !matches!(self.change, Change::Record { .. })
    }

    pub(super) fn namespace(&self) -> &str {
        self.namespace
    }

    fn name(&self) -> String {
        hex(self.namespace.as_bytes())
    }
}

/// Answers with one row for each step: its place, why it is refused or what was found, and times.
/// `own` is a record that must be there.
pub(super) fn decide(terms: &Terms<'_>, steps: &[Step<'_>], own: Option<Own>) -> String {
    let lease = or_null(terms.lease.map(millis));
    let name = terms.name();
    let (needs, skew) = (millis(terms.retention), millis(terms.max_skew));
    let hold = |change| format!("countersign_hold('{name}', {needs}, {lease}, '{change}'");
    let function = match terms.change {
        Change::Record { extends, most } => {
            let own = own.map_or_else(
                || "NULL, NULL, NULL, NULL".to_owned(),
                |own| {
                    let (digest, attempt) = (hex(&own.digest), hex(&own.attempt));
                    let (deadline, recorded) = (own.deadline_ms, own.recorded_ms);
                    format!("'{digest}', '{attempt}', {deadline}, {recorded}")
                },
            );
            // A step that adds nothing needs no turn.
            let in_turn = most != Some(0);
            let most = or_null(most);
            format!(
                "countersign_record('{name}', {needs}, {skew}, {lease}, {extends}, {most}, {in_turn}, {own}"
            )
        }
        Change::Renew => hold("renew"),
        Change::Complete => hold("complete"),
        Change::Release => hold("release"),
    };
    let digests = array(steps, |s| hex(&s.digest));
    let attempts = array(steps, |s| hex(&s.claim.attempt().to_bytes()));
    let deadlines = array(steps, |s| at(s.claim.deadline()));
    let steps = if terms.is_of_holder() {
        format!("'{digests}', '{attempts}', '{deadlines}'")
    } else {
        let signed = array(steps, |s| or_null(s.claim.signed_at().map(at)));
        format!("'{digests}', '{attempts}', '{deadlines}', '{signed}'")
    };
    format!("SELECT * FROM {function}, {steps})")
}

/// Answers as [`decide`], for one claim in a handler's transaction. It waits for no other record of
/// its message, whose records can go beyond their number.
pub(super) fn consume(terms: &Terms<'_>, step: &Step<'_>, wait: Duration) -> String {
    format!(
        "SELECT * FROM countersign_consume({}, '{}', {}, {}, {}, {}, '{}', '{}', {}, {})",
        millis(wait).max(1),
        terms.name(),
        millis(terms.retention),
        millis(terms.max_skew),
        step.claim.extends(),
        or_null(step.claim.most_records()),
        hex(&step.digest),
        hex(&step.claim.attempt().to_bytes()),
        at(step.claim.deadline()),
        or_null(step.claim.signed_at().map(at)),
    )
}

/// Registers the namespace; the first one that asks says for how long its requests are remembered.
pub(super) fn register(terms: &Terms<'_>) -> String {
    format!(
        "INSERT INTO countersign_namespaces (namespace, retention_ms, dropped_up_to_ms)
        SELECT name, {}, 0 FROM convert_from(decode('{}', 'hex'), 'UTF8') AS name
        WHERE name NOT IN (SELECT namespace FROM countersign_namespaces)",
        millis(terms.retention),
        terms.name(),
    )
}

fn hex(bytes: &[u8]) -> String {
    Encoding::Hex.encode(bytes)
}

fn or_null(number: Option<impl Display>) -> String {
    number.map_or_else(|| "NULL".to_owned(), |number| number.to_string())
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
