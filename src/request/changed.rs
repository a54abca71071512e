//! Reasons why a conditional statement has changed nothing.

use super::version::SignedVersion;
use crate::error::{Rejection, RejectionKind};

/// The reason why a conditional statement has changed no row: [`require_changed`] answers the
/// client with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unchanged {
    /// 404, `resource_not_found`: there is no such row, or none that this client may know of.
    NotFound,
    /// 403, `resource_forbidden`: the row belongs to somebody else.
    Forbidden,
    /// 409, `resource_conflict`: the row is in a state that does not allow this change.
    Conflict,
    /// 412, `version_mismatch`: the row has another version than the one that was signed.
    Stale,
}

/// Requires that a conditional statement has changed at least one row.
///
/// A check belongs into the statement that makes the change, in its `WHERE` clause: a check before
/// the statement says what was true a moment ago. Then 0 rows are the answer of the
/// check, and this makes an HTTP answer of them. Inside of
/// [`transact`](crate::PendingPayload::transact) the error rolls everything back, so that the same
/// request may come again.
///
/// ```
/// # #[cfg(feature = "postgres")] mod example {
/// use countersign::{Rejection, request::{Unchanged, require_changed}};
///
/// # enum Error { Refused(Rejection), Database(sqlx::Error) }
/// # impl From<Rejection> for Error { fn from(e: Rejection) -> Self { Self::Refused(e) } }
/// # impl From<sqlx::Error> for Error { fn from(e: sqlx::Error) -> Self { Self::Database(e) } }
/// async fn ship(tx: &mut sqlx::PgConnection, order: i64) -> Result<(), Error> {
///     let shipped = sqlx::query(
///         "UPDATE orders SET status = 'shipped' WHERE id = $1 AND status = 'pending'",
///     )
///     .bind(order)
///     .execute(tx)
///     .await?;
///     Ok(require_changed(shipped.rows_affected(), Unchanged::Conflict)?) // 0 rows: 409
/// }
/// # }
/// ```
///
/// # Errors
/// Returns the rejection of `otherwise` if `rows` is 0.
pub fn require_changed(rows: u64, otherwise: Unchanged) -> Result<(), Rejection> {
    let kind = match otherwise {
        Unchanged::NotFound => RejectionKind::ResourceNotFound,
        Unchanged::Forbidden => RejectionKind::ResourceForbidden,
        Unchanged::Conflict => RejectionKind::ResourceConflict,
        Unchanged::Stale => RejectionKind::VersionMismatch,
    };
    or_refuse(rows, kind, || {
        "the conditional statement has changed no row".to_owned()
    })
}

impl SignedVersion {
    /// Requires that a statement which changes only the version that was signed has changed at least
    /// one row. It is [`require_changed`] with [`Unchanged::Stale`], and names the version in the log.
    ///
    /// # Errors
    /// Returns 412, `version_mismatch`, if `rows` is 0.
    pub fn require_changed(&self, rows: u64) -> Result<(), Rejection> {
        or_refuse(rows, RejectionKind::VersionMismatch, || {
            format!("signed for {self}, and nothing has that version now")
        })
    }
}

fn or_refuse(
    rows: u64,
    kind: RejectionKind,
    detail: impl FnOnce() -> String,
) -> Result<(), Rejection> {
    if rows > 0 {
        return Ok(());
    }
    Err(Rejection::new(kind, detail()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_row_is_what_the_caller_says_that_it_is() {
        for (otherwise, status, code) in [
            (Unchanged::NotFound, 404, "resource_not_found"),
            (Unchanged::Forbidden, 403, "resource_forbidden"),
            (Unchanged::Conflict, 409, "resource_conflict"),
            (Unchanged::Stale, 412, "version_mismatch"),
        ] {
            let refused = require_changed(0, otherwise).unwrap_err();
            let told = (refused.status().as_u16(), refused.kind().code());
            assert_eq!(told, (status, code));
            assert!(require_changed(1, otherwise).is_ok());
            assert!(require_changed(2, otherwise).is_ok());
        }
    }
}
