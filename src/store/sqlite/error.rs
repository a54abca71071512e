//! The meaning of the driver's errors for a claim.

use sqlx::error::DatabaseError;

use crate::error::{StoreError, StoreErrorKind};

/// SQLite's primary result codes: the lower byte of those that the driver reports.
mod code {
    pub(super) const ERROR: i64 = 1;
    pub(super) const BUSY: i64 = 5;
    pub(super) const READ_ONLY: i64 = 8;
    pub(super) const CORRUPT: i64 = 11;
    pub(super) const FULL: i64 = 13;
    pub(super) const NOT_A_DATABASE: i64 = 26;
}

/// Nothing was recorded, or it is unknown whether it was.
pub(super) fn of_driver(error: sqlx::Error) -> StoreError {
    let (kind, message) = match primary_code(&error) {
        Some(code::BUSY) => (
            StoreErrorKind::Unavailable,
            "another process has locked the database",
        ),
        Some(code::READ_ONLY) => (
            StoreErrorKind::Unavailable,
            "the database cannot be written to",
        ),
        Some(code::CORRUPT) => (
            StoreErrorKind::Unavailable,
            "the database is damaged; restore it, or put another in its place",
        ),
        Some(code::NOT_A_DATABASE) => (
            StoreErrorKind::Unavailable,
            "the file is not a SQLite database, or is damaged; restore it, or name another file",
        ),
        _ if is_missing(&error) => (
            StoreErrorKind::Unavailable,
            "a table or a column of it is missing in SQLite; `migrate` of the store makes them",
        ),
        Some(code::FULL) => (
            StoreErrorKind::Full,
            "there is no room left for the database",
        ),
        _ => (StoreErrorKind::Unavailable, "SQLite gave no answer"),
    };
    let is_misconfiguration =
        primary_code(&error) == Some(code::NOT_A_DATABASE) || is_missing(&error);
    let error = StoreError::new(kind, message).with_source(error);
    if is_misconfiguration {
        return error.misconfigured();
    }
    error
}

/// Returns whether a table or a column is missing. SQLite has no code of its own for that.
fn is_missing(error: &sqlx::Error) -> bool {
    let says = |error: &dyn DatabaseError| error.message().starts_with("no such ");
    primary_code(error) == Some(code::ERROR) && error.as_database_error().is_some_and(says)
}

/// The file beside the database.
pub(super) fn of_mark(error: std::io::Error) -> StoreError {
    StoreError::unavailable("the file `-mark` beside the database cannot be used")
        .with_source(error)
}

/// Another connection has the lock.
pub(super) fn is_busy(error: &sqlx::Error) -> bool {
    primary_code(error) == Some(code::BUSY)
}

fn primary_code(error: &sqlx::Error) -> Option<i64> {
    let code: i64 = error.as_database_error()?.code()?.parse().ok()?;
    Some(code & 0xff)
}
