//! The SQLite store: nonces in a file, for the processes of one host.

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

pub use self::store::{SqliteStore, SqliteStoreBuilder};
