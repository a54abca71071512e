//! Measurements, through the facade of the crate `metrics`: the one place that names it.
//!
//! With the feature `metrics` each verification, claim and rejection is counted by whatever
//! recorder the process has installed; without it, none of this costs anything.
//!
//! | name | kind | labels | what it says |
//! | --- | --- | --- | --- |
//! | `countersign_verification_seconds` | histogram | `outcome`: `verified`, `refused` | time from the head of a request to its verdict: body and claim included, the handler not |
//! | `countersign_rejections_total` | counter | `code`: those of [`RejectionKind`](crate::RejectionKind) | requests refused, by the layer and its extractors |
//! | `countersign_claims_total` | counter | `outcome`: `new`, `in_flight`, `replayed`, `failed` | claims and leases asked of a store, or of a handler's transaction |
//! | `countersign_claim_seconds` | histogram | | time until the answer to a claim, or to its timeout |
//! | `countersign_body_budget_used_bytes` | gauge | | bytes of bodies in flight, of all verifiers |
//! | `countersign_live_nonces` | gauge | `namespace` | nonces on record where the store [can tell](crate::store::NonceStore::live), looked up after a claim, once a second at most |
//!
//! No label holds a key id, a nonce or a path, so senders cannot make many values.
//! `namespace` is one of those that were configured. A request that is dropped before its verdict,
//! by a client that hangs up, is in no histogram. Code that takes a request through the stages of
//! [`request`](crate::request) by hand gets claims and the budget counted, and no more.
//!
//! A recorder for Prometheus makes summaries of histograms unless it is given [`BUCKETS`]:
//!
//! ```
//! use metrics_exporter_prometheus::{Matcher, PrometheusBuilder};
//!
//! # fn f() -> Result<(), metrics_exporter_prometheus::BuildError> {
//! let prometheus = PrometheusBuilder::new()
//!     .set_buckets_for_metric(
//!         Matcher::Prefix("countersign_".to_owned()),
//!         countersign::metrics::BUCKETS,
//!     )?
//!     .install_recorder()?;
//! countersign::metrics::describe();
//! // A route of the application's own answers with `prometheus.render()`.
//! # Ok(()) }
//! ```
//!
//! `examples/grafana.json` is a dashboard of these, to import in Grafana, and `examples/alerts.yml` has
//! alert rules for Prometheus; [observing](crate::guide::observing) says what to do at each.

use std::sync::Arc;

#[cfg(feature = "metrics")]
use std::{
    sync::Mutex,
    time::{Duration, Instant},
};

/// Bounds for the buckets of the histograms, in seconds: from a claim in memory to the slowest
/// body.
#[cfg(feature = "metrics")]
pub const BUCKETS: &[f64] = &[
    0.000_01, 0.000_025, 0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025,
    0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];

#[cfg(feature = "metrics")]
const VERIFICATION: &str = "countersign_verification_seconds";
#[cfg(feature = "metrics")]
const REJECTIONS: &str = "countersign_rejections_total";
#[cfg(feature = "metrics")]
const CLAIMS: &str = "countersign_claims_total";
#[cfg(feature = "metrics")]
const CLAIM: &str = "countersign_claim_seconds";
#[cfg(feature = "metrics")]
const BUDGET: &str = "countersign_body_budget_used_bytes";
#[cfg(feature = "metrics")]
const LIVE: &str = "countersign_live_nonces";

/// Tells the recorder that is installed the unit and the meaning of each metric.
#[cfg(feature = "metrics")]
pub fn describe() {
    use metrics::{
        Unit::{Bytes, Count, Seconds},
        describe_counter, describe_gauge, describe_histogram,
    };
    describe_histogram!(
        VERIFICATION,
        Seconds,
        "Time from the head of a request to its verdict."
    );
    describe_counter!(REJECTIONS, Count, "Requests refused.");
    describe_counter!(CLAIMS, Count, "Claims and leases asked of a store.");
    describe_histogram!(CLAIM, Seconds, "Time until the answer to a claim.");
    describe_gauge!(BUDGET, Bytes, "Bytes of bodies in flight.");
    describe_gauge!(LIVE, Count, "Nonces on record.");
}

/// How a claim was answered.
#[derive(Clone, Copy)]
pub(crate) enum ClaimVerdict {
    New,
    InFlight,
    Replayed,
    Failed,
}

/// Measures a time from when it is made.
pub(crate) struct Stopwatch {
    #[cfg(feature = "metrics")]
    started: Instant,
}

impl Stopwatch {
    #[inline]
    pub(crate) fn start() -> Self {
        Self {
            #[cfg(feature = "metrics")]
            started: Instant::now(),
        }
    }

    /// The verdict over a request is there.
    #[inline]
    #[cfg_attr(not(feature = "metrics"), expect(unused_variables))]
    pub(crate) fn verified(&self, passed: bool) {
        #[cfg(feature = "metrics")]
        metrics::histogram!(VERIFICATION, "outcome" => if passed { "verified" } else { "refused" })
            .record(self.started.elapsed());
    }

    /// The answer to a claim is there.
    #[inline]
    #[cfg_attr(not(feature = "metrics"), expect(unused_variables))]
    pub(crate) fn claimed(&self, outcome: ClaimVerdict) {
        #[cfg(feature = "metrics")]
        {
            let outcome = match outcome {
                ClaimVerdict::New => "new",
                ClaimVerdict::InFlight => "in_flight",
                ClaimVerdict::Replayed => "replayed",
                ClaimVerdict::Failed => "failed",
            };
            metrics::counter!(CLAIMS, "outcome" => outcome).increment(1);
            metrics::histogram!(CLAIM).record(self.started.elapsed());
        }
    }
}

/// A request is refused.
#[inline]
#[cfg_attr(not(feature = "metrics"), expect(unused_variables))]
pub(crate) fn rejected(code: &'static str) {
    #[cfg(feature = "metrics")]
    metrics::counter!(REJECTIONS, "code" => code).increment(1);
}

/// Counts bytes of a body that have arrived.
#[inline]
#[cfg_attr(not(feature = "metrics"), expect(unused_variables))]
pub(crate) fn body_charged(bytes: usize) {
    #[cfg(feature = "metrics")]
    metrics::gauge!(BUDGET).increment(to_f64(bytes));
}

/// Counts bytes of a body that are no longer held.
#[inline]
#[cfg_attr(not(feature = "metrics"), expect(unused_variables))]
pub(crate) fn body_released(bytes: usize) {
    #[cfg(feature = "metrics")]
    metrics::gauge!(BUDGET).decrement(to_f64(bytes));
}

/// The number of records of a store. It is asked for only if it is measured, at most once a second,
/// because a store may need a query.
#[derive(Default)]
pub(crate) struct LiveNonces {
    #[cfg(feature = "metrics")]
    asked: Mutex<Option<Instant>>,
}

impl LiveNonces {
    #[inline]
    #[cfg_attr(not(feature = "metrics"), expect(unused_variables))]
    pub(crate) fn ask(&self, namespace: &Arc<str>, live: impl FnOnce() -> Option<usize>) {
        #[cfg(feature = "metrics")]
        if let Ok(mut asked) = self.asked.try_lock()
            && asked.is_none_or(|asked| asked.elapsed() >= Duration::from_secs(1))
        {
            *asked = Some(Instant::now());
            if let Some(live) = live() {
                metrics::gauge!(LIVE, "namespace" => Arc::clone(namespace)).set(to_f64(live));
            }
        }
    }
}

#[cfg(feature = "metrics")]
#[expect(
    clippy::cast_precision_loss,
    reason = "exact far beyond the memory of any machine"
)]
fn to_f64(count: usize) -> f64 {
    count as f64
}
