//! What a layer goes by, checked by its builder.

use std::{fmt, sync::Arc, time::Duration};

use http::HeaderName;
use tokio::sync::Semaphore;

use crate::once::AnswerStore;

pub(crate) struct Settings {
    pub(super) store: Arc<dyn AnswerStore>,
    /// `None`: that of the verifier.
    pub(super) namespace: Option<Arc<str>>,
    pub(super) is_required: bool,
    pub(super) when_cut_off: WhenCutOff,
    pub(super) lease: Duration,
    pub(super) retention: Duration,
    pub(super) timeout: Duration,
    pub(crate) max_body: usize,
    pub(crate) body_deadline: Duration,
    pub(crate) headers: Vec<HeaderName>,
    /// A permit for each handler that may go on after its client has gone.
    pub(crate) going_on: Arc<Semaphore>,
    /// A permit for each claim that is released until it can no longer be carried out.
    pub(super) taking_back: Semaphore,
}

/// What becomes of an attempt that was cut off before its answer was recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WhenCutOff {
    Unknown,
    RunsAgain,
    /// The handler records its answer in its transaction, so that nothing was done.
    RolledBack,
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("namespace", &self.namespace)
            .field("is_required", &self.is_required)
            .field("when_cut_off", &self.when_cut_off)
            .field("lease", &self.lease)
            .field("retention", &self.retention)
            .finish_non_exhaustive()
    }
}
