//! A place where something waits in the extensions of a request, to be taken once.

use std::{
    fmt,
    sync::{Arc, Mutex},
};

use super::{pending::PendingPayload, unproven::UnprovenPayload};
use crate::lock::lock;

macro_rules! slot {
    ($(#[$doc:meta])* $slot:ident($held:ident)) => {
        $(#[$doc])*
        ///
        /// Clones share the slot, so that of several takers, in clones of the request too, one gets
        /// it.
        #[derive(Clone)]
        pub struct $slot(Arc<Mutex<Option<$held>>>);

        impl $slot {
            pub(crate) fn holding(held: $held) -> Self {
                Self(Arc::new(Mutex::new(Some(held))))
            }

            /// Takes the payload. Returns `None` if it was taken before.
            #[must_use]
            pub fn take(&self) -> Option<$held> {
                lock(&self.0).take()
            }
        }

        impl fmt::Debug for $slot {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let state = if lock(&self.0).is_some() { "full" } else { "taken" };
                write!(f, "{}({state})", stringify!($slot))
            }
        }
    };
}

slot! {
    /// Holds a [`PendingPayload`] to be taken, once: an extension of the inner request.
    PendingSlot(PendingPayload)
}

slot! {
    /// Holds an [`UnprovenPayload`] to be taken, once: an extension of the inner request.
    UnprovenSlot(UnprovenPayload)
}
