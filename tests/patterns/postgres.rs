//! The pages on PostgreSQL.

use sqlx::{AssertSqlSafe, PgPool};

use crate::common::database;
pub use crate::failure::Failure;
pub use countersign::store::PostgresAnswers as Answers;

pub type Pool = PgPool;
pub type Connection = sqlx::PgConnection;

/// A row that is read stays as it is until the transaction ends.
macro_rules! locked {
    ($select:literal) => {
        concat!($select, " FOR UPDATE")
    };
}

/// A schema of the test's own, with these tables; `None`, and a word about it, without a server.
pub struct Database {
    pub pool: Pool,
}

impl Database {
    pub async fn with(test: &str, tables: &'static str) -> Option<Self> {
        let pool = database::pool(test).await?;
        sqlx::raw_sql(AssertSqlSafe(tables))
            .execute(&pool)
            .await
            .unwrap();
        Some(Self { pool })
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
