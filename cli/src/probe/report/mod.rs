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

/// Returns what could have hidden a race, if none was found.
pub(super) fn hidden(report: &Report) -> Option<&'static str> {
    let is_clean = |ran: &&Ran| ran.outcome == Outcome::Clean && ran.rounds > 0;
    report.checks.iter().find(is_clean)?;
    Some(
        "A race can be hidden by locks of sessions, by a server with one worker, by a proxy that \
         serialises requests, and by a window that is smaller than the spread: try --copies 32 \
         --rounds 100, and --http2.",
    )
}

/// Returns what limits what the run says.
fn limits(report: &Report) -> impl Iterator<Item = &str> {
    let notes = report.notes.iter().map(String::as_str);
    hidden(report).into_iter().chain(notes)
}

/// Says why the run ended before all was done, if it did.
fn ended(report: &Report) -> Option<String> {
    let why = report.ended.as_ref()?;
    Some(format!("The probe ended before all was done: {why}."))
}

/// Returns how many checks ended so.
pub(super) fn count(report: &Report, outcome: Outcome) -> usize {
    report
        .checks
        .iter()
        .filter(|ran| ran.outcome == outcome)
        .count()
}

/// Returns what was tried, and how often.
pub(super) fn tried(report: &Report) -> String {
    let rounds: u32 = report.checks.iter().map(|ran| ran.rounds).sum();
    let clean = match count(report, Outcome::Clean) {
        0 => String::new(),
        clean => format!("{} found nothing. ", counted(clean, "check")),
    };
    let sent = match report.requests {
        1 => "1 request was sent".to_owned(),
        sent => format!("{sent} requests were sent"),
    };
    let spread = report.checks.iter().filter_map(|ran| ran.spread).max();
    let at_once = spread.map_or(String::new(), |spread| {
        format!(
            ", among them {} of {} copies at once, whose last bytes left within {} µs",
            counted(rounds.try_into().unwrap_or(usize::MAX), "round"),
            report.copies,
            spread.as_micros()
        )
    });
    format!("{clean}{sent}{at_once}.")
}

/// A number of things.
pub(super) fn counted(number: usize, thing: &str) -> String {
    match number {
        1 => format!("1 {thing}"),
        _ => format!("{number} {thing}s"),
    }
}

/// A run whose requests were used up by its first check.
#[cfg(test)]
fn cut_short() -> Report {
    use super::{Stop, checks::CHECKS};

    let mut report = Report {
        target: "POST http://127.0.0.1:8000/transfer/{uuid}".to_owned(),
        notes: vec!["Operations that write were left out: POST /refund.".to_owned()],
        ended: Some(Stop::Requests.shown()),
        ..Report::default()
    };
    let [first, second] = [&CHECKS[0], &CHECKS[1]];
    report.begin(first);
    report.note_rest(&|check| [first.id, second.id].contains(&check.id));
    report
}
