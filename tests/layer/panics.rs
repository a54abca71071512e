//! Stores that panic: that is an outage, or nothing is known, and the connection goes on.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use countersign::{
    MemoryStore, Timestamp,
    store::{Claim, ClaimOutcome, LeaseStore, NonceStore, Sharing, StoreFuture},
};
use tower::ServiceExt as _;

use crate::common::*;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    Claim,
    #[cfg(feature = "metrics")]
    Live,
    TakenUntil,
}

/// Panics when it is asked one thing, and counts how often.
struct Panics {
    store: MemoryStore,
    when: Asked,
    times: Arc<AtomicUsize>,
}

impl Panics {
    fn asked(&self, asked: Asked) {
        if asked == self.when {
            self.times.fetch_add(1, Ordering::SeqCst);
            panic!("the store panics");
        }
    }
}

impl NonceStore for Panics {
    fn claim<'a>(&'a self, claim: &'a Claim) -> StoreFuture<'a, ClaimOutcome> {
        self.asked(Asked::Claim);
        self.store.claim(claim)
    }

    fn leases(&self) -> Option<&dyn LeaseStore> {
        None
    }

    fn survives_restart(&self) -> bool {
        true
    }

    fn sharing(&self) -> Sharing {
        self.store.sharing()
    }

    fn live(&self) -> Option<usize> {
        #[cfg(feature = "metrics")]
        self.asked(Asked::Live);
        None
    }

    fn taken_until(&self, _: &str, _: Duration, _: Timestamp) -> Option<Timestamp> {
        self.asked(Asked::TakenUntil);
        None
    }
}

/// A panic that came out of the layer would end the connection, and with it other requests.
#[tokio::test]
async fn a_store_that_panics_is_an_outage_or_has_no_figure() {
    for (when, age, answer) in [
        (Asked::Claim, 0, (503, "store_unavailable")),
        // A gauge decides nothing.
        #[cfg(feature = "metrics")]
        (Asked::Live, 0, (200, "{}")),
        (Asked::TakenUntil, 301, (401, "signature_expired")),
    ] {
        let clock = clock();
        let times = Arc::new(AtomicUsize::new(0));
        let store = Panics {
            store: store(&clock),
            when,
            times: Arc::clone(&times),
        };
        let layer = layer(&clock).store(store).build().unwrap();
        let app = echo(&Effects::default()).layer(layer);
        let request = signed(&clock, "POST", "/transfer", "{}");
        clock.advance(Duration::from_secs(age));
        let (status, said) = verdict(app.oneshot(request).await.unwrap()).await;
        assert_eq!((status, &*said), answer, "{when:?}");
        assert_eq!(times.load(Ordering::SeqCst), 1, "{when:?}");
    }
}
