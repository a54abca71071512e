//! The stores, which remember what was used, and the traits for a store of your own.

#[cfg(any(feature = "postgres", feature = "redis", feature = "sqlite"))]
mod batched;
mod file;
pub(crate) mod memory;
#[cfg(feature = "postgres")]
pub mod postgres;
#[cfg(feature = "redis")]
pub(crate) mod redis;
#[cfg(feature = "sqlite")]
pub(crate) mod sqlite;
mod status;

pub use crate::once::{Forgotten, History};
pub use crate::{
    future::StoreFuture,
    once::{
        AnswerClaim, AnswerIn, AnswerOutcome, AnswerRecord, AnswerStore, AttemptId, Claim,
        ClaimOutcome, ConsumeIn, LeaseOutcome, LeaseStore, Nonce, NonceKind, NonceStore, Sharing,
        StepOutcome, TransactIn,
    },
};
pub use memory::{
    MemoryAnswers, MemoryAnswersBuilder, MemoryStatistics, MemoryStore, MemoryStoreBuilder,
};
#[cfg(feature = "postgres")]
#[doc(inline)]
pub use postgres::{PostgresAnswers, PostgresAnswersBuilder, PostgresStore, PostgresStoreBuilder};
#[cfg(feature = "redis")]
pub use redis::{RedisAnswers, RedisStore, RedisStoreBuilder};
#[cfg(feature = "sqlite")]
pub use sqlite::{SqliteAnswers, SqliteAnswersBuilder, SqliteStore, SqliteStoreBuilder};
pub use status::{KeyStatus, NamespaceStatus, Recorded, StoreStatus};
