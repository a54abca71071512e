//! Secrets, the names they go by, and where they are looked up.
//!
//! A key decides what it proves with: a secret that is [tied](Secret::for_algorithm) to an algorithm
//! makes and compares MACs of that one alone, and an untied secret takes that of the scheme. No
//! request has a say. Everything else only hands a key on to where MACs are made and compared.

#[cfg(feature = "cached-keys")]
mod cached;
mod id;
mod mac;
mod mac_key;
mod ring;
mod secret;
mod set;
mod signing;
mod store;

#[cfg(feature = "cached-keys")]
pub use cached::{CachedKeys, CachedKeysBuilder};
pub use id::KeyId;
pub use mac::MacAlgorithm;
pub(crate) use mac::RunningMac;
pub(crate) use mac_key::MacKey;
#[cfg(test)]
pub(crate) use mac_key::begun;
pub use ring::KeyRing;
pub use secret::Secret;
pub use set::KeySet;
pub(crate) use signing::{RotatingKey, SigningKey};
pub use store::{KeyFuture, KeyStore, KnownKeys};
