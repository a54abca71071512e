//! The SQLite store: nonces in a file, for the processes of one host.

mod answers;
mod batch;
mod consume;
mod error;
mod mark;
mod record;
mod schema;
mod store;
mod sweep;
mod time;
mod writer;

pub use self::answers::{SqliteAnswers, SqliteAnswersBuilder};
pub use self::store::{SqliteStore, SqliteStoreBuilder};
