//! A run, for a terminal.

use super::{counted, ended, hidden, tried};
use crate::{
    args::Severity,
    printer::{Printer, Span},
    probe::finding::{Finding, Outcome, Report},
};

/// Exchanges of a finding that are shown.
const SHOWN: usize = 4;

pub(crate) fn print(report: &Report, printer: &Printer) {
    let mut mended = Vec::new();
    for finding in &report.findings {
        one(finding, &mut mended, printer);
    }
    printer.line([Span::strong("Checks")]);
    for ran in &report.checks {
        let outcome = format!("{:16}", ran.outcome.name());
        let outcome = match ran.outcome {
            Outcome::Found => Span::bad(outcome),
            Outcome::Clean => Span::good(outcome),
            _ => Span::faint(outcome),
        };
        let mut how = match ran.rounds {
            0 => counted(ran.cases, "case"),
            rounds => counted(rounds.try_into().unwrap_or(usize::MAX), "round"),
        };
        if ran.cases == 0 {
            how.clear();
        }
        let note = ran.note.as_deref().unwrap_or_default();
        printer.line([
            Span::plain(format!("  {:22}", ran.check.id)),
            outcome,
            Span::faint(format!("{how:12}{note}").trim_end()),
        ]);
    }
    printer.line([Span::plain("")]);
    let found = report.findings.len();
    let verdict = match found {
        0 => Span::good("Nothing was found. "),
        1 => Span::bad("1 finding. "),
        _ => Span::bad(format!("{found} findings. ")),
    };
    printer.line([verdict, Span::plain(tried(report))]);
    printer.line([Span::plain(format!("Effects: {}.", report.oracle))]);
    if let Some(hidden) = hidden(report) {
        printer.line([Span::faint(hidden)]);
    }
    notes(report, printer);
    if let Some(ended) = ended(report) {
        printer.line([Span::bad(ended)]);
    }
}

/// Says what limits what the run says.
pub(crate) fn notes(report: &Report, printer: &Printer) {
    for note in &report.notes {
        printer.line([Span::faint(note)]);
    }
}

fn one(finding: &Finding, mended: &mut Vec<&'static str>, printer: &Printer) {
    let check = finding.check;
    let severity = format!("{} ", check.severity.name());
    let severity = match check.severity {
        Severity::Info | Severity::Low => Span::noted(severity),
        _ => Span::bad(severity),
    };
    let verdict = match check.severity {
        Severity::Info => String::new(),
        _ => format!(", {}", finding.verdict.name()),
    };
    printer.line([
        severity,
        Span::strong(check.title),
        Span::faint(format!(" [{}{verdict}]", check.id)),
    ]);
    if finding.sent > 0 {
        printer.row("sent", &finding.what);
        let effects = finding.effects.map_or(String::new(), |effects| {
            format!(", {effects} had an effect, {} allowed", finding.allowed)
        });
        let came = format!(
            "{} of {} were accepted{effects}",
            finding.accepted, finding.sent
        );
        printer.row("came back", came);
        if let Some((before, after)) = &finding.states {
            printer.row("state", format!("{before} before, {after} after"));
        }
        if let Some(spread) = finding.spread {
            printer.row("spread", format!("{} µs", spread.as_micros()));
        }
        for exchange in finding
            .exchanges
            .iter()
            .filter(|exchange| !exchange.is_setup)
            .take(SHOWN)
        {
            let answer = exchange.answer.replace('\n', "  ");
            let answer: String = answer.chars().take(100).collect();
            printer.row("", answer);
        }
    } else {
        printer.row("facts", &finding.what);
    }
    printer.row("gain", check.gain);
    printer.row("mend", check.mend.general);
    // Several findings have the same mend.
    if !mended.contains(&check.mend.general) {
        mended.push(check.mend.general);
        for (framework, mend) in check.mend.frameworks() {
            printer.row(framework, mend);
        }
    }
    printer.row(
        "class",
        format!("CWE-{}, {}", check.cwe, check.owasp.name()),
    );
    if let Some(note) = &finding.note {
        printer.row("note", note);
    }
    printer.row("again", &finding.reproduce);
    printer.line([Span::plain("")]);
}
