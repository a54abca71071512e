//! The SQLite store: nonces in a file, for the processes of one host.

mod answers;
mod answers_builder;
mod batch;
mod consume;
mod error;
mod mark;
mod record;
mod remembered;
mod schema;
mod store;
mod sweep;
mod time;
mod writer;

pub use self::{
    answers::SqliteAnswers,
    answers_builder::SqliteAnswersBuilder,
    store::{SqliteStore, SqliteStoreBuilder},
};
