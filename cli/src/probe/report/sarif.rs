//! A run as SARIF: each check is a rule, and each finding a result at the URL.

use std::fmt::Write as _;

use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::{ended, json, limits};
use crate::{
    args::Severity,
    probe::{
        check::Check,
        checks::CHECKS,
        finding::{Finding, Report},
    },
    sarif::{self, Invocation, Level, Location, Notification, Rule},
};

pub(crate) fn log(reports: &[Report]) -> Value {
    let rules: Vec<Rule> = CHECKS.iter().map(rule).collect();
    let results: Vec<_> = reports
        .iter()
        .flat_map(|report| report.findings.iter().map(|found| result(report, found)))
        .collect();
    let invocation = Invocation {
        execution_successful: reports.iter().all(|report| report.ended.is_none()),
        tool_execution_notifications: reports.iter().flat_map(notifications).collect(),
    };
    sarif::log(&rules, &results, Some(&invocation))
}

/// The limits of a run and of its checks.
fn notifications(report: &Report) -> Vec<Notification> {
    let at = || Location::of(place(report));
    let notes = limits(report).map(|it| Notification::new(Level::Note, it, at()));
    let checks = report.checks.iter().filter_map(|ran| {
        let (check, note) = (ran.check, ran.note.as_ref()?);
        let message = format!("`{}` ({}): {note}.", check.id, ran.outcome.name());
        Some(Notification::new(Level::Note, message, at()).about(check.id))
    });
    let ended = ended(report).map(|it| Notification::new(Level::Error, it, at()));
    notes.chain(checks).chain(ended).collect()
}

fn level(severity: Severity) -> Level {
    match severity {
        Severity::Info => Level::Note,
        Severity::Low | Severity::Medium => Level::Warning,
        Severity::High | Severity::Critical => Level::Error,
    }
}

/// The score by which services for code scanning rank.
fn score(severity: Severity) -> &'static str {
    match severity {
        Severity::Info => "0.0",
        Severity::Low => "3.0",
        Severity::Medium => "5.5",
        Severity::High => "8.0",
        Severity::Critical => "9.5",
    }
}

fn rule(check: &Check) -> Rule {
    let mut mend = check.mend.general.to_owned();
    for (framework, how) in check.mend.frameworks() {
        let _ = write!(mend, "\n\n{framework}: {how}");
    }
    Rule::new(
        check.id,
        level(check.severity),
        check.title,
        check.gain,
        &mend,
    )
    .tags([
        format!("external/cwe/cwe-{:03}", check.cwe),
        check.owasp.name().to_owned(),
    ])
    .security_severity(score(check.severity))
}

/// The URL without what is new in each run.
fn place(report: &Report) -> String {
    let url = report.target.split_once(' ').map_or("", |(_, url)| url);
    url.replace('{', "%7B").replace('}', "%7D")
}

fn result(report: &Report, finding: &Finding) -> sarif::Finding {
    let check = finding.check;
    let effects = match finding.effects {
        Some(effects) => format!(
            " {effects} of them had an effect, {} allowed.",
            finding.allowed
        ),
        None => String::new(),
    };
    let message = match finding.sent {
        0 => format!("{}. {}", check.title, finding.what),
        sent => format!(
            "{} ({}). Sent: {}. {} of {sent} were accepted.{effects}",
            check.title,
            finding.verdict.name(),
            finding.what,
            finding.accepted
        ),
    };
    let identity = format!("{}\n{}\n{}", check.id, report.target, report.scheme);
    let fingerprint: String = Sha256::digest(identity)
        .iter()
        .take(16)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let place = place(report);
    let steps = finding.exchanges.iter().map(|exchange| {
        let request = exchange.request.lines().next().unwrap_or_default();
        let answer = exchange.answer.lines().next().unwrap_or_default();
        Location::of(place.clone()).says(format!("{request}: {answer}"))
    });
    let location = Location::of(place.clone());
    let result = sarif::Finding::new(
        check.id,
        level(check.severity),
        message,
        location,
        fingerprint,
    );
    let result = match finding.exchanges.is_empty() {
        true => result,
        false => result.steps(steps),
    };
    result.properties(json::finding(finding))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_that_was_cut_short_says_what_was_left_out() {
        let log = log(&[crate::probe::report::cut_short()]);
        let shown = serde_json::to_string_pretty(&log["runs"][0]["invocations"]).unwrap();
        insta::assert_snapshot!(shown);
    }
}
