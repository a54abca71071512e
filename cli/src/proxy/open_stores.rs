//! The stores of the routes, each opened once: routes that name the same share it.

use std::{collections::BTreeMap, fmt};

use crate::{
    exit::Failure,
    store::{self, Before, Store},
};

/// The stores that are open, by the text that names them.
#[derive(Default)]
pub(crate) struct OpenStores(BTreeMap<String, Store>);

impl OpenStores {
    /// Opens a store, unless it is open.
    pub(super) async fn open(&mut self, place: &str) -> Result<Store, Failure> {
        if let Some(store) = self.0.get(place) {
            return Ok(store.clone());
        }
        let store = store::open(place, Before::Refused).await?;
        self.0.insert(place.to_owned(), store.clone());
        Ok(store)
    }
}

/// Without the places, which may hold passwords.
impl fmt::Debug for OpenStores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenStores")
            .field("len", &self.0.len())
            .finish()
    }
}
