//! A run as JUnit: each check is a test case.

use quick_junit::{NonSuccessKind, Report as Junit, TestCase, TestCaseStatus, TestSuite};

use super::{ended, limits};
use crate::{
    args::Severity,
    printer::escaped,
    probe::finding::{Outcome, Report},
};

/// Checks fail whose finding is at least this severe.
pub(crate) fn document(reports: &[Report], fail_on: Severity) -> Result<String, String> {
    let mut junit = Junit::new("countersign probe");
    for report in reports {
        junit.add_test_suite(suite(report, fail_on));
    }
    junit.to_string().map_err(|error| error.to_string())
}

fn suite(report: &Report, fail_on: Severity) -> TestSuite {
    let mut suite = TestSuite::new(escaped(&report.target));
    for ran in &report.checks {
        let found = report
            .findings
            .iter()
            .find(|found| found.check.id == ran.check.id);
        let mut status = match (ran.outcome, found) {
            (Outcome::Found, Some(found)) if found.check.severity >= fail_on => {
                let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
                let effects = found.effects.map_or_else(String::new, |effects| {
                    format!(" Effects: {effects}, allowed: {}.", found.allowed)
                });
                status
                    .set_type(found.verdict.name())
                    .set_message(ran.check.title)
                    .set_description(escaped(&format!(
                        "{}\nAccepted: {} of {}.{effects}\n{}\nMend: {}\nAgain: {}",
                        found.what,
                        found.accepted,
                        found.sent,
                        ran.check.gain,
                        ran.check.mend.general,
                        found.reproduce
                    )));
                status
            }
            (Outcome::Inconclusive | Outcome::NotRun | Outcome::NotApplicable, _) => {
                TestCaseStatus::skipped()
            }
            _ => TestCaseStatus::success(),
        };
        let is_skipped = matches!(status, TestCaseStatus::Skipped { .. });
        if is_skipped {
            let note = ran.note.as_deref().unwrap_or(ran.outcome.name());
            status.set_message(escaped(note));
        }
        let mut case = TestCase::new(ran.check.id, status);
        case.set_classname("countersign.probe");
        if let Some(note) = ran.note.as_ref().filter(|_| !is_skipped) {
            case.set_system_out(escaped(note));
        }
        suite.add_test_case(case);
    }
    let limits = limits(report).map(str::to_owned).chain(ended(report));
    let limits: Vec<String> = limits.collect();
    if !limits.is_empty() {
        suite.set_system_out(escaped(&limits.join("\n")));
    }
    suite
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_that_was_cut_short_says_what_was_left_out() {
        let report = crate::probe::report::cut_short();
        insta::assert_snapshot!(document(&[report], Severity::Low).unwrap());
    }
}
