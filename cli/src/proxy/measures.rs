//! Measurements, for Prometheus, beside those of the library. No label has more values than the file
//! and the statuses of HTTP name.

use std::{sync::Arc, time::Duration};

use metrics::{
    Unit::{Count, Seconds},
    counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram,
};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tokio::time::sleep;

use super::logged::Outcome;
use crate::exit::Failure;

const CONNECTIONS: &str = "countersign_proxy_connections";
const IN_FLIGHT: &str = "countersign_proxy_requests_in_flight";
const REQUESTS: &str = "countersign_proxy_requests_total";
const REFUSALS: &str = "countersign_proxy_refusals_total";
const OBSERVED: &str = "countersign_proxy_observed_refusals_total";
const UPSTREAM: &str = "countersign_proxy_upstream_seconds";
const DROPPED: &str = "countersign_proxy_log_lines_dropped_total";

/// The route of requests that no route serves.
const NO_ROUTE: &str = "none";

/// How often samples are put into their buckets. Without it they would pile up until somebody asks.
const UPKEEP: Duration = Duration::from_secs(5);

/// A question for the measurements.
#[derive(Clone)]
pub(crate) struct Measures(PrometheusHandle);

impl Measures {
    /// Measures from now on, in this process.
    ///
    /// # Errors
    /// Returns a failure if something else measures already.
    pub(crate) fn begin() -> Result<Self, Failure> {
        let failed = |error: &dyn std::fmt::Display| {
            Failure::unable(
                "cannot measure",
                error.to_string(),
                "leave out `admin` to run without measurements",
            )
        };
        let ours = Matcher::Prefix("countersign_".to_owned());
        let recorder = PrometheusBuilder::new()
            .set_buckets_for_metric(ours, countersign::metrics::BUCKETS)
            .map_err(|error| failed(&error))?
            .build_recorder();
        let handle = recorder.handle();
        metrics::set_global_recorder(recorder).map_err(|error| failed(&error))?;
        countersign::metrics::describe();
        describe();
        Ok(Self(handle))
    }

    /// The text that Prometheus reads.
    pub(super) fn render(&self) -> String {
        self.0.render()
    }

    /// Looks after the samples, for as long as the proxy runs.
    pub(crate) async fn keep_up(self) {
        loop {
            sleep(UPKEEP).await;
            self.0.run_upkeep();
        }
    }
}

fn describe() {
    describe_gauge!(CONNECTIONS, Count, "Open connections of clients.");
    describe_gauge!(IN_FLIGHT, Count, "Requests that are being handled.");
    describe_counter!(REQUESTS, Count, "Requests that were answered.");
    describe_counter!(
        REFUSALS,
        Count,
        "Requests that the proxy or the library refused."
    );
    describe_counter!(
        OBSERVED,
        Count,
        "Requests that a route which observes would have refused."
    );
    describe_histogram!(
        UPSTREAM,
        Seconds,
        "Time until the head of an upstream's answer."
    );
    describe_counter!(
        DROPPED,
        Count,
        "Lines of the log that could not be printed."
    );
}

/// One more of something, until it is dropped.
#[derive(Debug)]
pub(super) struct OneMore(&'static str);

impl OneMore {
    pub(super) fn connection() -> Self {
        Self::of(CONNECTIONS)
    }

    pub(super) fn request() -> Self {
        Self::of(IN_FLIGHT)
    }

    fn of(name: &'static str) -> Self {
        gauge!(name).increment(1.0);
        Self(name)
    }
}

impl Drop for OneMore {
    fn drop(&mut self) {
        gauge!(self.0).decrement(1.0);
    }
}

/// A request was answered.
pub(super) fn answered(route: Option<&Arc<str>>, outcome: &Outcome<'_>) {
    let route = route.map_or_else(|| Arc::from(NO_ROUTE), Arc::clone);
    let status = outcome.status.to_string();
    counter!(REQUESTS, "route" => Arc::clone(&route), "status" => status).increment(1);
    if let Some(code) = outcome.code {
        counter!(REFUSALS, "route" => Arc::clone(&route), "code" => code).increment(1);
    }
    if let Some(code) = outcome.would {
        counter!(OBSERVED, "route" => route, "code" => code).increment(1);
    }
}

/// An upstream answered.
pub(super) fn upstream_answered(name: &Arc<str>, took: Duration) {
    histogram!(UPSTREAM, "upstream" => Arc::clone(name)).record(took);
}

/// A line of the log could not be printed.
pub(super) fn line_dropped() {
    counter!(DROPPED).increment(1);
}

impl std::fmt::Debug for Measures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Measures")
    }
}
