//! For how long each namespace is remembered: as long as its first claim needed, and no claim after
//! it may need more.

use std::{collections::HashMap, sync::PoisonError, time::Duration};

use super::{budget::Budget, sync::RwLock};
use crate::error::{StoreError, StoreErrorKind};

/// Nothing leaves it: a namespace whose retention were forgotten could be given a longer one, for
/// which its records were dropped too early.
#[derive(Debug, Default)]
pub(super) struct Namespaces(RwLock<HashMap<Box<str>, Duration>>);

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
        if let Some(known) = self.known(namespace) {
            return Ok(known);
        }
        let mut all = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = all.get(namespace) {
            return Ok(*known);
        }
        let bytes = namespace.len() + ENTRY;
        budget.take(bytes).map_err(|_| {
            StoreError::new(
                StoreErrorKind::Full,
                "there is no room for one more namespace",
            )
        })?;
        all.insert(namespace.into(), needed);
        Ok(needed)
    }

    fn known(&self, namespace: &str) -> Option<Duration> {
        let all = self.0.read().unwrap_or_else(PoisonError::into_inner);
        all.get(namespace).copied()
    }
}
