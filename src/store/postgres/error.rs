//! What the driver's errors mean for a claim.

use crate::error::{StoreError, StoreErrorKind};

/// Nothing was recorded, or it is unknown whether it was.
pub(super) fn of_driver(error: sqlx::Error) -> StoreError {
    let code = error.as_database_error().and_then(|error| error.code());
    let (kind, message) = match code.as_deref() {
        Some("42P01" | "42703" | "42883") => (
            StoreErrorKind::Unavailable,
            "a table, a column of it or a function is missing in PostgreSQL; \
             `countersign::postgres::migrate` makes those of nonces",
        ),
        Some("53100") => (
            StoreErrorKind::Full,
            "there is no room left for the database",
        ),
        Some("25006" | "55000") => (
            StoreErrorKind::Unavailable,
            "this PostgreSQL server is a standby, or cannot be written to",
        ),
        Some("55P03" | "57014") => (
            StoreErrorKind::Unavailable,
            "PostgreSQL did not get the locks or the time that it needed",
        ),
        _ => (
            StoreErrorKind::Unavailable,
            "PostgreSQL failed or gave no answer",
        ),
    };
    StoreError::new(kind, message).with_source(error)
}
