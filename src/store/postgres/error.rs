//! The meaning of the driver's errors for a claim.

use crate::error::{StoreError, StoreErrorKind};

/// Nothing was recorded, or it is unknown whether it was.
pub(super) fn of_driver(error: sqlx::Error) -> StoreError {
    let code = error.as_database_error().and_then(|error| error.code());
    let is_missing = matches!(code.as_deref(), Some("42P01" | "42703" | "42883"));
    let (kind, message) = match code.as_deref() {
        _ if is_missing => (
            StoreErrorKind::Unavailable,
            "a table, a column of it or a function is missing in PostgreSQL; `migrate` of the store \
             makes them",
        ),
        Some("53100") => (
            StoreErrorKind::Full,
            "there is no room left for the database",
        ),
        // A standby answers `BEGIN READ WRITE` with 0A000, a function that reads the end of the log
        // with 55000, and a write with 25006.
        Some("0A000" | "25006" | "55000") => (
            StoreErrorKind::Unavailable,
            "this PostgreSQL server is a standby or read-only, and cannot record a nonce; connect to \
             the primary, or promote this server",
        ),
        // Also the answer of a standby that takes no connections (`hot_standby = off`).
        Some("57P01" | "57P02" | "57P03") => (
            StoreErrorKind::Unavailable,
            "this PostgreSQL server is starting, stopping, or a standby that takes no connections; \
             wait for it, or connect to the primary",
        ),
        Some("55P03" | "57014") => (
            StoreErrorKind::Unavailable,
            "PostgreSQL did not get the locks or the time that it needed; a duplicate of the request \
             may be in a transaction that has not ended",
        ),
        _ => (
            StoreErrorKind::Unavailable,
            "PostgreSQL failed or gave no answer",
        ),
    };
    let error = StoreError::new(kind, message).with_source(error);
    if is_missing {
        return error.misconfigured();
    }
    error
}
