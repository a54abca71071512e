//! The statements that decide and record many steps at once.
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
        Kind::Claim { extends: false } => format!("{asked}{}{FOUND}", record("false", false)),
        Kind::Claim { extends: true } => format!("{asked}{}{FOUND}", record(LATER_EVENT, true)),
        Kind::Lease { extends } => format!("{asked}{}{FOUND}", record(HELD_OR_FINAL, extends)),
        Kind::Renew => format!("{asked}{}", hold(RENEW)),
        Kind::Complete => format!("{asked}{}", hold(COMPLETE)),
        Kind::Release => format!("{asked}{}", hold(RELEASE)),
    }
}

/// Registers the namespaces of the steps; the first one that asks says for how long its requests
/// are remembered.
pub(super) fn register(steps: &[Step<'_>]) -> String {
    format!(
        "{}
        INSERT INTO countersign_namespaces (namespace, retention_ms, dropped_up_to_ms)
        SELECT namespace, max(needs_ms), 0 FROM asked
        WHERE refusal = 'unregistered' GROUP BY namespace",
        asked(steps)
    )
}

/// The terms of each step: the clock, what was forgotten, and why the step is refused, if it is.
fn asked(steps: &[Step<'_>]) -> String {
    let hex = |bytes: &[u8]| Encoding::Hex.encode(bytes);
    let namespaces = array(steps, |s| hex(s.claim.namespace().as_bytes()));
    let digests = array(steps, |s| hex(&s.digest));
    let attempts = array(steps, |s| hex(&s.claim.attempt().to_bytes()));
    let deadlines = array(steps, |s| at(s.claim.deadline()));
    let signed = array(steps, |s| {
        let signed = s.claim.signed_at().map(at);
        signed.map_or("NULL".to_owned(), |at| at.to_string())
    });
    let skews = array(steps, |s| millis(s.claim.max_skew()));
    let needs = array(steps, |s| millis(s.claim.retention()));
    let leases = array(steps, |s| match s.action {
        Action::Lease(duration) | Action::Renew(duration) => millis(duration).to_string(),
        Action::Claim | Action::Consume | Action::Complete | Action::Release => "NULL".to_owned(),
    });
    format!(
        "WITH here AS MATERIALIZED (
            SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint AS now_ms, since_ms,
                   store.system_identifier = control.system_identifier
                       AND timeline = left(pg_walfile_name(pg_current_wal_lsn()), 8) AS is_known
            FROM (SELECT * FROM countersign_store ORDER BY id DESC LIMIT 1) AS store,
                 pg_control_system() AS control
        ), step AS MATERIALIZED (
            SELECT convert_from(decode(name, 'hex'), 'UTF8') AS namespace,
                   decode(digest, 'hex') AS digest, decode(attempt, 'hex') AS attempt, deadline_ms,
                   signed_ms, skew_ms, needs_ms, lease_ms, place
            FROM unnest('{namespaces}'::text[], '{digests}'::text[], '{attempts}'::text[],
                        '{deadlines}'::bigint[], '{signed}'::bigint[], '{skews}'::bigint[],
                        '{needs}'::bigint[], '{leases}'::bigint[])
                 WITH ORDINALITY AS
                 given (name, digest, attempt, deadline_ms, signed_ms, skew_ms, needs_ms, lease_ms,
                        place)
        ), kept AS MATERIALIZED (
            SELECT step.*, now_ms, since_ms, is_known, retention_ms, dropped_up_to_ms,
                   greatest(deadline_ms, coalesce(signed_ms, now_ms) + coalesce(retention_ms, 0))
                       AS keep_until_ms
            FROM here CROSS JOIN step LEFT JOIN (
                SELECT namespace, min(retention_ms) AS retention_ms,
                       max(dropped_up_to_ms) AS dropped_up_to_ms
                FROM countersign_namespaces GROUP BY namespace
            ) AS known USING (namespace)
        ), asked AS MATERIALIZED (
            SELECT *, CASE
                WHEN NOT is_known THEN 'unknown'
                WHEN retention_ms IS NULL THEN 'unregistered'
                WHEN retention_ms < needs_ms THEN 'retention'
                WHEN deadline_ms <= now_ms THEN 'past'
                WHEN coalesce(signed_ms, now_ms) <= since_ms + skew_ms THEN 'forgotten'
                WHEN keep_until_ms <= dropped_up_to_ms THEN 'dropped'
            END AS refusal
            FROM kept
        )"
    )
}

/// Free is what has a lease that has ended, or is past its deadline and not dropped yet.
fn record(also_if: &str, extends: bool) -> String {
    format!(
        ", recorded AS (
            INSERT INTO countersign_nonces AS held (digest, attempt, deadline_ms, lease_end_ms)
            SELECT digest, attempt, keep_until_ms, now_ms + lease_ms FROM asked
            WHERE refusal IS NULL ORDER BY digest
            ON CONFLICT (digest) DO UPDATE SET (attempt, deadline_ms, lease_end_ms) = (
                SELECT CASE WHEN is_free THEN excluded.attempt ELSE held.attempt END,
                       CASE WHEN is_free OR {extends}
                            THEN greatest(held.deadline_ms, excluded.deadline_ms)
                            ELSE held.deadline_ms END,
                       CASE WHEN is_free THEN excluded.lease_end_ms ELSE held.lease_end_ms END
                FROM (SELECT {FREE} AS is_free FROM here) AS state
            )
            WHERE (SELECT {FREE} FROM here) OR {also_if}
            RETURNING digest, attempt, lease_end_ms,
                      xmin = pg_current_xact_id()::xid AS outside_savepoints
        )"
    )
}

const FREE: &str = "coalesce(held.lease_end_ms, held.deadline_ms) <= now_ms";

/// A duplicate is written only to extend an event.
const LATER_EVENT: &str =
    "held.attempt <> excluded.attempt AND held.deadline_ms < excluded.deadline_ms";

/// A duplicate is always written, for what it finds comes from the row that it has locked.
const HELD_OR_FINAL: &str = "held.attempt <> excluded.attempt OR held.lease_end_ms IS NULL";

const FOUND: &str = "
    SELECT place, refusal, now_ms, retention_ms, outside_savepoints,
           recorded.attempt = asked.attempt AS is_own,
           recorded.lease_end_ms - now_ms AS remaining_ms
    FROM asked LEFT JOIN recorded USING (digest)";

/// Rows are locked in the order of their digests, as those that are recorded are.
fn hold(change: &str) -> String {
    format!(
        ", own AS MATERIALIZED (
            SELECT asked.* FROM countersign_nonces AS held JOIN asked USING (digest)
            WHERE held.attempt = asked.attempt AND held.lease_end_ms IS NOT NULL
            ORDER BY digest FOR UPDATE OF held
        ), changed AS ({change} WHERE held.digest = own.digest)
        SELECT asked.place, NULL AS refusal, asked.now_ms, asked.retention_ms,
               true AS outside_savepoints, own.place IS NOT NULL AS is_own,
               NULL::bigint AS remaining_ms
        FROM asked LEFT JOIN own USING (place)"
    )
}

const RENEW: &str =
    "UPDATE countersign_nonces AS held SET lease_end_ms = now_ms + lease_ms FROM own";

const COMPLETE: &str = "UPDATE countersign_nonces AS held SET lease_end_ms = NULL,
    deadline_ms = greatest(held.deadline_ms, keep_until_ms) FROM own";

const RELEASE: &str = "DELETE FROM countersign_nonces AS held USING own";

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
