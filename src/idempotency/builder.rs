//! The settings of an `IdempotencyLayer`.

use std::{sync::Arc, time::Duration};

use http::HeaderName;

use super::{
    answer::{STORED, is_storable},
    going_on::GoingOn,
    layer::IdempotencyLayer,
    settings::{Settings, TakingBack, WhenCutOff},
};
use crate::{
    error::{ConfigError, ConfigErrorKind},
    once::{AnswerStore, Turns},
};

impl IdempotencyLayer {
    /// Returns a layer with the default settings.
    pub fn new(store: impl AnswerStore) -> Self {
        Self::builder(store).build_in_range()
    }

    /// Returns a builder of a layer.
    pub fn builder(store: impl AnswerStore) -> IdempotencyLayerBuilder {
        IdempotencyLayerBuilder::new(Arc::new(store))
    }
}

/// Configures an [`IdempotencyLayer`].
#[derive(Debug)]
#[must_use]
pub struct IdempotencyLayerBuilder {
    settings: Settings,
    max_going_on: usize,
    headers: Vec<Result<HeaderName, String>>,
}

const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

impl IdempotencyLayerBuilder {
    fn new(store: Arc<dyn AnswerStore>) -> Self {
        Self {
            settings: Settings {
                store,
                namespace: None,
                is_required: false,
                when_cut_off: WhenCutOff::Unknown,
                lease: 30 * SECOND,
                retention: DAY,
                timeout: 2 * SECOND,
                max_body: 64 * 1024,
                body_deadline: 10 * SECOND,
                headers: STORED.to_vec(),
                going_on: GoingOn::new(0),
                taking_back: TakingBack::default(),
                claiming: Turns::default(),
                looking_up: Turns::default(),
            },
            max_going_on: 1024,
            headers: Vec::new(),
        }
    }

    /// Refuses a request without a key (400, `idempotency_key_missing`), unless its method is safe
    /// (GET, HEAD, OPTIONS, TRACE). Default: such a request is handled as if the layer were not
    /// there.
    pub fn required(mut self) -> Self {
        self.settings.is_required = true;
        self
    }

    /// Keeps the keys of this layer apart from those of others in the same store. Default: the
    /// namespace of the verifier. A namespace has 1 to 256 bytes, none of them zero.
    ///
    /// A sender is identified by namespace and key id. Two verifiers that give one key
    /// id to different senders need different namespaces if their answers are in one store:
    /// otherwise one sender gets the answers of the other. In one process, the second verifier is
    /// refused: by its `build` if it has
    /// [`answer_duplicates_from`](crate::request::VerifierBuilder::answer_duplicates_from), and
    /// otherwise by 500, `store_misconfigured`, to each request with a key. Nobody sees the
    /// verifiers of another process.
    pub fn namespace(mut self, namespace: impl Into<Arc<str>>) -> Self {
        self.settings.namespace = Some(namespace.into());
        self
    }

    /// Sets for how long a key and its answer are kept, counted from the first attempt. Default: 24
    /// hours. Range: 1 minute to 1 year, and longer than the [lease](Self::lease).
    ///
    /// A later retry runs again. Tell your senders this time.
    pub fn retention(mut self, retention: Duration) -> Self {
        self.settings.retention = retention;
        self
    }

    /// Sets for how long a key is held without a renewal. Default: 30 seconds. Range: 100
    /// milliseconds to 1 hour. The hold ends at once if the handler panics. Retries wait for it
    /// only after the process has died.
    ///
    /// A task of the Tokio runtime renews it while the handler runs, also if the handler blocks its
    /// own thread, and until the answer is recorded.
    pub fn lease(mut self, lease: Duration) -> Self {
        self.settings.lease = lease;
        self
    }

    /// Limits how long the store may take for one step. Default: 2 seconds. Range: 1 millisecond to
    /// 1 hour. If the store is late, the answer is 503.
    pub fn store_timeout(mut self, timeout: Duration) -> Self {
        self.settings.timeout = timeout;
        self
    }

    /// Limits the length of a body that is stored. Default: 64 KiB. Range: 0 to 16 MiB.
    ///
    /// A longer body is sent to the client, and the answer is recorded without it: a retry gets the
    /// status, the stored headers and `Idempotency-Body: omitted`.
    pub fn max_body_bytes(mut self, bytes: usize) -> Self {
        self.settings.max_body = bytes;
        self
    }

    /// Limits how long the layer waits for the whole body of an answer, before it passes on what is
    /// there and records the answer without its body. Default: 10 seconds. Range: 0 to 1 hour.
    pub fn body_deadline(mut self, deadline: Duration) -> Self {
        self.settings.body_deadline = deadline;
        self
    }

    /// Limits how many handlers may go on after their clients have hung up. Default: 1,024. Range:
    /// 0 to 1 million. One beyond them is cut off, and its outcome is unknown. One sender, a key id
    /// of one namespace, has at most half of them, rounded up.
    pub fn max_going_on(mut self, handlers: usize) -> Self {
        self.max_going_on = handlers;
        self
    }

    /// Stores one more header of answers, with all its lines. Default: `cache-control`,
    /// `content-disposition`, `content-encoding`, `content-language`, `content-location`,
    /// `content-type`, `etag`, `last-modified`, `link`, `location` and `vary`.
    ///
    /// Never stored are `set-cookie`, `date`, `content-length` and the headers of one connection:
    /// [`build`](Self::build) refuses them.
    pub fn store_header(mut self, name: impl TryInto<HeaderName> + ToString) -> Self {
        let text = name.to_string();
        let name = name.try_into().ok().filter(is_storable);
        self.headers.push(name.ok_or(text));
        self
    }

    /// Expects handlers to record their answer with [`PendingAnswer`](super::PendingAnswer), in the
    /// transaction in which their effects happen. Default: the layer records the answer after the
    /// handler has answered.
    ///
    /// Then no outcome is unknown: if an attempt was cut off, either its transaction was committed,
    /// with its answer, or nothing happened, and the next attempt runs. The store must be in the
    /// handler's database (`PostgresAnswers`, `SqliteAnswers`). An answer of 4xx without a recorded
    /// answer is recorded by the layer.
    pub fn in_transaction(mut self) -> Self {
        self.settings.when_cut_off = WhenCutOff::RolledBack;
        self
    }

    /// Runs a handler again if its earlier attempt was cut off, whatever that attempt did. Default:
    /// the outcome is unknown (409, `outcome_unknown`) until it is
    /// [resolved](IdempotencyLayer::resolve), or its retention has ended.
    ///
    /// An effect that was made before the handler was cut off is made twice. If an attempt has
    /// lost its hold and still runs, the next one runs beside it.
    pub fn danger_run_again_after_crash(mut self) -> Self {
        self.settings.when_cut_off = WhenCutOff::RunsAgain;
        self
    }

    /// Returns the layer.
    ///
    /// # Errors
    /// Returns an error if a setting is out of its range, if the retention is not longer than the
    /// lease, or if a header cannot be stored.
    pub fn build(mut self) -> Result<IdempotencyLayer, ConfigError> {
        let Settings {
            namespace,
            lease,
            retention,
            timeout,
            max_body,
            body_deadline,
            headers,
            ..
        } = &mut self.settings;
        namespace
            .as_deref()
            .map_or(Ok(()), ConfigError::unless_namespace)?;
        ConfigError::unless_timeout(*timeout, "store_timeout")?;
        let hour = 3600 * SECOND;
        for (holds, range) in [
            (
                (SECOND / 10..=hour).contains(lease),
                "the lease of an idempotency key must be between 100 milliseconds and 1 hour",
            ),
            (
                (60 * SECOND..=366 * DAY).contains(retention),
                "the retention of an idempotency key must be between 1 minute and 1 year",
            ),
            (
                *lease < *retention,
                "the retention of an idempotency key must be longer than its lease",
            ),
            (
                *max_body <= 16 << 20,
                "the body of an answer that is stored has at most 16 MiB",
            ),
            (
                *body_deadline <= hour,
                "`body_deadline` must be at most 1 hour",
            ),
            (
                self.max_going_on <= 1_000_000,
                "`max_going_on` must be at most 1 million",
            ),
        ] {
            ConfigError::unless(holds, range)?;
        }
        for name in self.headers.drain(..) {
            let name = name.map_err(|name| {
                let what = format!(
                    "the header `{}` of an answer cannot be stored",
                    name.escape_debug()
                );
                ConfigError::from(ConfigErrorKind::Answer(what))
            })?;
            if !headers.contains(&name) {
                headers.push(name);
            }
        }
        Ok(self.build_in_range())
    }

    fn build_in_range(mut self) -> IdempotencyLayer {
        self.settings.going_on = GoingOn::new(self.max_going_on);
        IdempotencyLayer {
            settings: Arc::new(self.settings),
        }
    }
}
