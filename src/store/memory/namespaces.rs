//! For how long each namespace is remembered: as long as its first claim needed, and no claim after
//! it may need more.

use std::{
    collections::HashMap,
    sync::{OnceLock, PoisonError},
    time::Duration,
};

use super::{budget::Budget, sync::RwLock};
use crate::error::{StoreError, StoreErrorKind};

/// Nothing leaves it: a namespace whose retention were forgotten could be given a longer one, for
/// which its records were dropped too early.
#[derive(Debug, Default)]
pub(super) struct Namespaces {
    /// Most stores have one namespace, and find it without a lock that every thread writes.
    first: OnceLock<(Box<str>, Duration)>,
    others: RwLock<HashMap<Box<str>, Duration>>,
}

/// The bytes of an entry beside its name, with what a table leaves free.
const ENTRY: usize = 64;

impl Namespaces {
    /// The retention of the namespace, which is what its first claim `needed`.
    pub(super) fn retention(
        &self,
        namespace: &str,
        needed: Duration,
        budget: &Budget,
    ) -> Result<Duration, StoreError> {
        if let Some(known) = self.first(namespace) {
            return Ok(known);
        }
        let others = self.others.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = others.get(namespace) {
            return Ok(*known);
        }
        drop(others);
        let mut others = self.others.write().unwrap_or_else(PoisonError::into_inner);
        // Another thread may have been here meanwhile.
        if let Some(known) = self.first(namespace).or(others.get(namespace).copied()) {
            return Ok(known);
        }
        let bytes = namespace.len() + ENTRY;
        budget.take(bytes).map_err(|_| {
            StoreError::new(
                StoreErrorKind::Full,
                "there is no room for one more namespace",
            )
        })?;
        if let Err((other, needed)) = self.first.set((namespace.into(), needed)) {
            others.insert(other, needed);
        }
        Ok(needed)
    }

    fn first(&self, namespace: &str) -> Option<Duration> {
        let (name, retention) = self.first.get()?;
        (**name == *namespace).then_some(*retention)
    }
}
