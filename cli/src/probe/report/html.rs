//! A run as one page of HTML, without scripts and without anything from elsewhere.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::{hidden, timeline::timeline, tried};
use crate::{
    args::Severity,
    probe::finding::{Exchange, Finding, Outcome, Ran, Report},
};

const STYLE: &str = include_str!("style.css");

/// Nothing is loaded and nothing runs, whatever an answer has brought into the page.
const POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'";

pub(crate) fn page(reports: &[Report]) -> String {
    let title = reports.first().map_or("", |report| &report.target);
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="content-security-policy" content=(POLICY);
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { "countersign probe · " (title) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                h1 { "countersign probe" }
                @for report in reports { (run(report)) }
            }
        }
    }
    .into_string()
}

fn run(report: &Report) -> Markup {
    let worst = report
        .findings
        .iter()
        .map(|found| found.check.severity)
        .max();
    html! {
        main {
            header {
                p.target { code { (report.target) } }
                (summary(report, worst))
            }
            @if report.findings.is_empty() {
                section.none {
                    h2 { "Nothing was found" }
                    p { (tried(report)) }
                }
            }
            @for finding in &report.findings {
                (section(finding))
            }
            (checks(report))
            section {
                h2 { "About this run" }
                p { "Effects: " (report.oracle) "." }
                p { (tried(report)) }
                @if let Some(hidden) = hidden(report) {
                    p { (hidden) }
                }
                @for note in &report.notes {
                    p { (note) }
                }
            }
        }
    }
}

fn summary(report: &Report, worst: Option<Severity>) -> Markup {
    let all = [
        Severity::Critical,
        Severity::High,
        Severity::Medium,
        Severity::Low,
        Severity::Info,
    ];
    let of = |severity: Severity| {
        report
            .findings
            .iter()
            .filter(|found| found.check.severity == severity)
            .count()
    };
    html! {
        @if let Some(why) = &report.ended {
            p.ended role="alert" { "The probe ended before all was done: " (why) "." }
        }
        ul.summary data-worst=(worst.map_or("none", Severity::name)) {
            @for severity in all {
                li class=(severity.name()) { b { (of(severity)) } " " (severity.name()) }
            }
        }
        dl.facts {
            div { dt { "Scheme" } dd { (report.scheme) } }
            div { dt { "Requests" } dd { (report.requests) } }
            div { dt { "Took" } dd { (format!("{:.1} s", report.took.as_secs_f64())) } }
            div { dt { "Run" } dd { code { (report.run) } } }
            div { dt { "Seed" } dd { code { (report.seed) } } }
        }
    }
}

fn section(finding: &Finding) -> Markup {
    let check = finding.check;
    let is_info = check.severity == Severity::Info;
    html! {
        section class={ "finding " (check.severity.name()) } {
            p.labels {
                span.severity { (check.severity.name()) }
                @if !is_info {
                    span.verdict { (finding.verdict.name()) }
                }
                code { (check.id) }
                span.class { "CWE-" (check.cwe) " · " (check.owasp.name()) }
            }
            h2 { (check.title) }
            dl {
                div {
                    dt { @if is_info { "Facts" } @else { "Sent" } }
                    dd { (finding.what) }
                }
                @if !is_info {
                    div { dt { "Came back" } dd { (came_back(finding)) } }
                }
                @if let Some((before, after)) = &finding.states {
                    div { dt { "State" } dd { (before) " before, " (after) " after" } }
                }
                @if let Some(spread) = finding.spread {
                    div { dt { "Spread" } dd { (spread.as_micros()) " µs between the first last byte and the last" } }
                }
                div { dt { "Gain" } dd { (check.gain) } }
                @if let Some(note) = &finding.note {
                    div { dt { "Note" } dd { (note) } }
                }
            }
            (timeline(&finding.exchanges))
            h3 { "Mend" }
            p { (code_in(check.mend.general)) }
            dl.mends {
                @for (framework, mend) in check.mend.frameworks() {
                    div { dt { (framework) } dd { (code_in(mend)) } }
                }
            }
            @if !finding.exchanges.is_empty() {
                details {
                    summary { "Requests and answers" }
                    @for (at, exchange) in (1..).zip(&finding.exchanges) {
                        (messages(at, exchange))
                    }
                }
            }
            h3 { "Again" }
            pre.again { (finding.reproduce) }
        }
    }
}

fn came_back(finding: &Finding) -> String {
    let effects = finding.effects.map_or_else(String::new, |effects| {
        format!("; {effects} had an effect, {} allowed", finding.allowed)
    });
    format!(
        "{} of {} were accepted{effects}; seen in {} of {} tries",
        finding.accepted, finding.sent, finding.seen, finding.tries
    )
}

fn messages(at: usize, exchange: &Exchange) -> Markup {
    html! {
        div.exchange {
            h4 {
                (at) @if exchange.is_setup { " · before" } @else if exchange.accepted { " · accepted" }
            }
            pre { (exchange.request) }
            pre { (exchange.answer) }
        }
    }
}

/// Text whose parts between backticks are code.
fn code_in(text: &str) -> Markup {
    html! {
        @for (at, part) in text.split('`').enumerate() {
            @if at % 2 == 1 { code { (part) } } @else { (part) }
        }
    }
}

fn checks(report: &Report) -> Markup {
    html! {
        section {
            h2 { "Checks" }
            table {
                thead {
                    tr { th { "Check" } th { "Finds" } th { "Outcome" } th.number { "Requests" } th { "Note" } }
                }
                tbody {
                    @for ran in &report.checks {
                        tr class=(outcome(ran.outcome)) {
                            td { code { (ran.check.id) } }
                            td { (ran.check.title) }
                            td.outcome { (ran.outcome.name()) }
                            td.number { (ran.sent) }
                            td { (ran.note.as_deref().unwrap_or_default()) (rounds(ran)) }
                        }
                    }
                }
            }
            @for ran in report.checks.iter().filter(|ran| ran.outcome == Outcome::Clean && !ran.round.is_empty()) {
                h3 { "The last round of " code { (ran.check.id) } }
                (timeline(&ran.round))
            }
        }
    }
}

fn rounds(ran: &Ran) -> Markup {
    html! {
        @if let (Some(spread), true) = (ran.spread, ran.rounds > 0) {
            (ran.rounds) " rounds, within " (spread.as_micros()) " µs"
        }
    }
}

fn outcome(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Clean => "clean",
        Outcome::Found => "found",
        _ => "other",
    }
}
