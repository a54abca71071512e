//! The Redis store: nonces in Redis or Valkey, for all servers of one service.

mod answers;
mod error;
mod inspected;
mod knowledge;
mod link;
mod queue;
mod remembered;
mod replication;
mod servers;
mod shared;
mod slot;
mod step;
mod store;
mod time;
mod watch;

pub use self::answers::RedisAnswers;
pub use self::store::{RedisStore, RedisStoreBuilder};
