//! Whether every server that routes need can be used at this moment.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tokio::{
    task::JoinSet,
    time::{Instant, timeout_at},
};

use super::upstream::Upstream;
use crate::store::Store;

/// For the answers of all servers together: who asks for readiness does not wait for long.
const DEADLINE: Duration = Duration::from_secs(5);

/// A server that a route needs.
#[derive(Clone)]
pub(super) enum Needed {
    Upstream(Arc<Upstream>),
    /// A store, by the text that names it.
    Store(String, Store),
}

/// Servers that are asked, and why each cannot be used; `None` if it can.
#[derive(Default)]
pub(super) struct Readiness(BTreeMap<(&'static str, String), Option<String>>);

impl Needed {
    fn key(&self) -> (&'static str, String) {
        match self {
            Self::Upstream(upstream) => ("upstream", upstream.name().to_string()),
            Self::Store(place, _) => ("store", place.clone()),
        }
    }

    async fn check(self) -> Result<(), String> {
        match self {
            Self::Upstream(upstream) => upstream.check().await.map_err(|failed| failed.cause),
            Self::Store(_, store) => store.check().await.map_err(|error| error.to_string()),
        }
    }
}

impl Readiness {
    /// Asks each server once, and all at the same time.
    pub(super) async fn ask<'n>(all: impl Iterator<Item = &'n Needed>) -> Self {
        let last = Instant::now() + DEADLINE;
        let mut asked = Self::default();
        let mut asking = JoinSet::new();
        for needed in all {
            let (key, needed) = (needed.key(), needed.clone());
            let late = format!("it gave no answer within {DEADLINE:?}");
            if asked.0.insert(key.clone(), Some(late)).is_none() {
                asking.spawn(async move { (key, timeout_at(last, needed.check()).await) });
            }
        }
        while let Some(answered) = asking.join_next().await {
            if let Ok((key, Ok(checked))) = answered {
                asked.0.insert(key, checked.err());
            }
        }
        asked
    }

    /// Says why a server cannot be used, if it cannot.
    pub(super) fn wrong(&self, needed: &Needed) -> Option<String> {
        let key = needed.key();
        let why = self.0.get(&key)?.as_ref()?;
        Some(format!("{}: {why}", key.0))
    }
}
