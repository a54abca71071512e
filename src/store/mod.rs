//! What remembers claims, one file per backend.

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

pub use crate::once::{Forgotten, History};
