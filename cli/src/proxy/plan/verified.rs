//! How a route verifies.

use std::{ops::Range, sync::Arc, time::Duration};

use countersign::{MemoryStore, OnDuplicate, Processing, request::BodyBudget, store::NonceStore};
use toml::Spanned;
use tracing::subscriber::NoSubscriber;

use super::{
    super::{
        buffered::Rooms,
        gate::{Gate, Unsigned},
        keys::Owners,
        place::Place,
        upstream::Upstream,
        verified::{Before, Guards, Refusal, Verified},
        words::in_file_words,
        written,
    },
    routes::Reading,
    values::{self, fault_of, is_set, seconds},
};
use crate::toml_file::Fault;

/// For how long a lease of `retryable` holds, unless the file says otherwise.
const LEASE: Duration = Duration::from_secs(30);

impl Reading<'_> {
    pub(super) fn verified(
        &self,
        place: &Place,
        max_body_bytes: Option<usize>,
        upstream: &Upstream,
        owners: &mut Owners,
    ) -> Result<Verified, Fault> {
        let written = self.written;
        let Some(scheme) = &written.scheme else {
            return Err(Fault::at(written.name.span(), "the route names no scheme").advising(
                "add `scheme`; `countersign scheme list` lists them. A route that verifies nothing \
                 says `danger-open = true`",
            ));
        };
        let chosen = values::scheme(scheme, self.folder)?;
        let (keys, keys_at) = self.keys(place)?;
        let processing = self.processing()?;
        let verified = Verified {
            chosen,
            keys,
            store: self.store()?,
            namespace: written.name.get_ref().clone(),
            origin: written
                .public_origin
                .as_ref()
                .map(|origin| origin.get_ref().clone()),
            any_authority: is_set(written.danger_any_authority.as_ref()),
            gate: Gate {
                place: place.clone(),
                takes: self.takes_unsigned(),
                signs: written.sign_forwarded.is_some(),
            },
            max_age: seconds(written.max_age.as_ref(), 1..86_401)?,
            max_skew: seconds(written.max_skew.as_ref(), 0..86_401)?,
            max_body_bytes,
            body_deadline: seconds(written.body_deadline.as_ref(), 1..3601)?,
            processing,
            on_duplicate: written
                .on_duplicate
                .as_ref()
                .map(|set| match set.get_ref() {
                    written::OnDuplicate::Reject => OnDuplicate::Reject,
                    written::OnDuplicate::Acknowledge => OnDuplicate::Acknowledge,
                }),
            observe_only: is_set(written.danger_observe_only.as_ref()),
            connect_timeout: upstream.connect_timeout(),
            requests: upstream.seats(),
        };
        let guards = self.check(&verified, keys_at.clone())?;
        guards.known_by(&verified.namespace, owners);
        if !verified.chosen.inspector(None).covers_place() {
            let owned = guards.owned_by(&verified.namespace, owners);
            owned.map_err(|failure| fault_of(keys_at, failure))?;
        }
        Ok(verified)
    }

    fn takes_unsigned(&self) -> Unsigned {
        let named = self.written.danger_unsigned.as_ref();
        let takes = |part| named.is_some_and(|named| named.get_ref().contains(&part));
        Unsigned {
            method: takes(written::Unsigned::Method),
            path: takes(written::Unsigned::Path),
            query: takes(written::Unsigned::Query),
        }
    }

    /// Makes the layers once, with a store that nobody uses: the library says what is wrong.
    fn check(&self, verified: &Verified, keys_at: Range<usize>) -> Result<Guards, Fault> {
        let at = |text: &str| {
            let written = self.written;
            let origin = written
                .public_origin
                .as_ref()
                .filter(|_| text.contains("origin"));
            let scheme = written.scheme.as_ref();
            let place = origin.or(scheme).map(Spanned::span);
            let age = written
                .max_age
                .as_ref()
                .filter(|_| text.contains("max_age"));
            let skew = written
                .max_skew
                .as_ref()
                .filter(|_| text.contains("max_skew"));
            age.or(skew).map(Spanned::span).or(place)
        };
        // Nothing is asked of this store.
        let store = MemoryStore::builder().danger_assume_no_history().build();
        let store = store.map_err(|error| Fault::at(0..0, error.to_string()))?;
        let store: Arc<dyn NonceStore> = Arc::new(store);
        let bodies = BodyBudget::new(Rooms::verified_half(self.body_bytes));
        // Warnings of this store would be false, and those of the scheme come with the route's own.
        let checked = tracing::subscriber::with_default(NoSubscriber::default(), || {
            verified.guards(&store, &bodies, Before::Nothing)
        });
        checked
            .map(|(guards, _)| guards)
            .map_err(|refusal| match refusal {
                Refusal::Failure(failure) => fault_of(keys_at, failure),
                Refusal::Config(error) => {
                    let text = error.to_string();
                    let place = at(&text).unwrap_or_else(|| self.written.name.span());
                    Fault::at(place, in_file_words(&text))
                }
            })
    }

    fn processing(&self) -> Result<Option<Processing>, Fault> {
        let lease = seconds(self.written.lease.as_ref(), 1..86_401)?;
        let processing = self.written.processing.as_ref().map(Spanned::get_ref);
        match (processing, lease, &self.written.lease) {
            (Some(written::Processing::Retryable), lease, _) => Ok(Some(Processing::Retryable {
                lease: lease.unwrap_or(LEASE),
            })),
            (_, Some(_), Some(at)) => Err(Fault::at(
                at.span(),
                "only `processing = \"retryable\"` has leases",
            )),
            (Some(written::Processing::AtMostOnce), ..) => Ok(Some(Processing::AtMostOnce)),
            (None, ..) => Ok(None),
        }
    }
}
