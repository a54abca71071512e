//! The memory store: nonces in one process, in a bounded number of bytes.

mod answers;
mod budget;
mod builder;
mod hash;
mod high_watermark;
#[cfg(all(test, countersign_loom))]
mod interleavings_tests;
mod lease;
mod namespaces;
mod quota;
mod shard;
mod store;
mod sync;
mod table;
mod time;

pub use answers::{MemoryAnswers, MemoryAnswersBuilder};
pub use builder::MemoryStoreBuilder;
pub use store::{MemoryStatistics, MemoryStore};
