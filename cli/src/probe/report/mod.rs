//! Reports: one file a format.

pub(crate) mod html;
pub(crate) mod json;
pub(crate) mod junit;
mod refused;
pub(crate) mod sarif;
pub(crate) mod text;
mod timeline;

pub(crate) use refused::not_accepted;

use super::finding::{Outcome, Ran, Report};

/// What could have hidden a race, if none was found.
pub(super) fn hidden(report: &Report) -> Option<&'static str> {
    let is_clean = |ran: &&Ran| ran.outcome == Outcome::Clean && ran.rounds > 0;
    report.checks.iter().find(is_clean)?;
    Some(
        "A race can be hidden by locks of sessions, by a server with one worker, by a proxy that \
         serialises requests, and by a window that is smaller than the spread: try --copies 32 \
         --rounds 100, and --http2.",
    )
}

/// How many checks ended so.
pub(super) fn count(report: &Report, outcome: Outcome) -> usize {
    report
        .checks
        .iter()
        .filter(|ran| ran.outcome == outcome)
        .count()
}

/// The checks whose effects several copies at once had were looked for, and how often.
pub(super) fn tried(report: &Report) -> String {
    let rounds: u32 = report.checks.iter().map(|ran| ran.rounds).sum();
    let clean = count(report, Outcome::Clean);
    let spread = report.checks.iter().filter_map(|ran| ran.spread).max();
    let spread = spread.map_or(String::new(), |spread| {
        format!(", whose last bytes left within {} µs", spread.as_micros())
    });
    format!(
        "{clean} checks found nothing. {} requests were sent, among them {rounds} rounds of {} copies at \
         once{spread}.",
        report.requests, report.copies
    )
}
