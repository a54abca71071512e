//! A run as JUnit: each check is a test case.

use quick_junit::{NonSuccessKind, Report as Junit, TestCase, TestCaseStatus, TestSuite};

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
        if let TestCaseStatus::Skipped { .. } = &status {
            let note = ran.note.as_deref().unwrap_or(ran.outcome.name());
            status.set_message(escaped(note));
        }
        let mut case = TestCase::new(ran.check.id, status);
        case.set_classname("countersign.probe");
        suite.add_test_case(case);
    }
    suite
}
