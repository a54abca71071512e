//! What remembers claims, one file per backend.

pub(crate) mod memory;
