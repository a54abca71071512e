//! Secrets, the names they go by, and where they are looked up.

#[cfg(feature = "cached-keys")]
mod cached;
mod id;
mod mac;
mod ring;
mod secret;
mod set;
mod signing;
mod store;

#[cfg(feature = "cached-keys")]
pub use cached::{CachedKeys, CachedKeysBuilder};
pub use id::KeyId;
pub use mac::MacAlgorithm;
#[cfg(test)]
pub(crate) use mac::begun;
pub(crate) use mac::{MacKey, RunningMac};
pub use ring::KeyRing;
pub use secret::Secret;
pub use set::KeySet;
pub(crate) use signing::{RotatingKey, SigningKey};
pub use store::{KeyFuture, KeyStore, KnownKeys};
