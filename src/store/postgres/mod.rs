//! PostgreSQL: nonces for all servers of a service, and nonces that are consumed in a transaction
//! of the handler's own.
//!
#![doc = include_str!("operating.md")]

mod answers;
mod answers_of_key;
mod consume;
mod database;
mod error;
mod exchange;
mod own;
mod pooled;
mod remembered;
mod schema;
mod statement;
mod step;
mod store;
mod sweep;
mod time;
mod transaction;
mod writer;

pub use self::{
    answers::{PostgresAnswers, PostgresAnswersBuilder},
    pooled::PooledTransaction,
    store::{PostgresStore, PostgresStoreBuilder},
};
