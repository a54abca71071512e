//! countersign
mod clock;
mod encoding;
mod error;
mod future;
mod key;
mod mac;
mod nonce;
mod random;
mod secret;
mod store;

pub use clock::{Clock, SystemClock, Timestamp};
#[cfg(any(test, feature = "test-util"))]
pub use clock::ManualClock;
pub use encoding::Encoding;
pub use error::{ConfigError, ConfigErrorKind, StoreError, StoreErrorKind};
pub use future::StoreFuture;
pub use key::{KeyId, KeyRing, KeySet, KeyStore};
pub use mac::MacAlgorithm;
pub use nonce::{AttemptId, Claim, Claimed, Held, LeaseStore, Leased, Nonce, NonceKind, NonceStore};
pub use secret::Secret;
pub use store::memory::{MemoryStore, MemoryStoreBuilder};
