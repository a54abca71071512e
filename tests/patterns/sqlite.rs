//! The pages on SQLite.

use std::time::Duration;

use countersign::store::SqliteStore;
use sqlx::{
    AssertSqlSafe, SqlitePool,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions},
};

pub use crate::failure::Failure;
pub use countersign::store::SqliteAnswers as Answers;

pub type Pool = SqlitePool;
pub type Connection = sqlx::SqliteConnection;

/// The transaction has locked the whole file.
macro_rules! locked {
    ($select:literal) => {
        $select
    };
}

/// A file of the test's own, with these tables.
pub struct Database {
    pub pool: Pool,
    _folder: tempfile::TempDir,
}

impl Database {
    pub async fn with(_test: &str, tables: &'static str) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let options = SqliteConnectOptions::new()
            .filename(folder.path().join("app.db"))
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            // Below the `store_timeout` of the layer.
            .busy_timeout(Duration::from_secs(50));
        let pool = SqlitePoolOptions::new()
            .max_connections(4)
            .acquire_timeout(Duration::from_secs(60))
            .connect_with(options)
            .await
            .unwrap();
        SqliteStore::migrate(&pool).await.unwrap();
        SqliteStore::danger_assume_no_history(&pool).await.unwrap();
        sqlx::raw_sql(AssertSqlSafe(tables))
            .execute(&pool)
            .await
            .unwrap();
        Some(Self {
            pool,
            _folder: folder,
        })
    }
}

#[path = "background_job.rs"]
mod background_job;
#[path = "counter.rs"]
mod counter;
#[path = "idempotency_key.rs"]
mod idempotency_key;
#[path = "one_time_token.rs"]
mod one_time_token;
#[path = "permission_and_delete.rs"]
mod permission_and_delete;
#[path = "row_and_version.rs"]
mod row_and_version;
#[path = "status_change.rs"]
mod status_change;
#[path = "swapped_identifier.rs"]
mod swapped_identifier;
#[path = "what_a_middleware_cannot_do.rs"]
mod what_a_middleware_cannot_do;
