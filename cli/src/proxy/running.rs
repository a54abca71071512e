//! Requests that are being handled, also those whose client has gone.

use std::{fmt, sync::Arc};

use tokio::sync::{OwnedRwLockReadGuard, RwLock};

/// Counts requests that are being handled.
#[derive(Clone, Debug, Default)]
pub(super) struct Running(Arc<RwLock<()>>);

/// A request that is being handled; on the request, and on its answer.
#[derive(Clone)]
pub(super) struct Handled(
    #[expect(dead_code, reason = "it is held")] Arc<OwnedRwLockReadGuard<()>>,
);

impl Running {
    pub(super) async fn begin(&self) -> Handled {
        Handled(Arc::new(Arc::clone(&self.0).read_owned().await))
    }

    /// Waits until no request is being handled.
    pub(super) async fn end(&self) {
        drop(self.0.write().await);
    }
}

impl fmt::Debug for Handled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Handled")
    }
}
