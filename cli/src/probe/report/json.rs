//! The JSON object of a run, as `cli/README.md` describes it.

use std::time::Duration;

use serde_json::{Value, json};

use super::{hidden, tried};
use crate::probe::finding::{Finding, Ran, Report};

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

pub(crate) fn object(report: &Report) -> Value {
    json!({
        "version": 1,
        "target": report.target,
        "scheme": report.scheme,
        "run_id": report.run,
        "seed": report.seed,
        "requests": report.requests,
        "took_ms": micros(report.took) / 1000,
        "oracle": report.oracle,
        "tried": tried(report),
        "hidden": hidden(report),
        "notes": report.notes,
        "ended": report.ended,
        "findings": report.findings.iter().map(finding).collect::<Vec<_>>(),
        "checks": report.checks.iter().map(check).collect::<Vec<_>>(),
    })
}

pub(super) fn finding(finding: &Finding) -> Value {
    let check = finding.check;
    let mends: serde_json::Map<String, Value> = check
        .mend
        .frameworks()
        .into_iter()
        .map(|(name, mend)| (name.to_lowercase(), mend.into()))
        .chain([("general".to_owned(), check.mend.general.into())])
        .collect();
    json!({
        "id": check.id,
        "severity": check.severity,
        "verdict": finding.verdict,
        "title": check.title,
        "cwe": format!("CWE-{}", check.cwe),
        "owasp": check.owasp.name(),
        "what": finding.what,
        "sent": finding.sent,
        "accepted": finding.accepted,
        "effects": finding.effects,
        "allowed": finding.allowed,
        "before": finding.states.as_ref().map(|(before, _)| before),
        "after": finding.states.as_ref().map(|(_, after)| after),
        "seen": finding.seen,
        "tries": finding.tries,
        "spread_us": finding.spread.map(micros),
        "gain": check.gain,
        "mend": mends,
        "note": finding.note,
        "reproduce": finding.reproduce,
        "exchanges": finding.exchanges,
    })
}

fn check(ran: &Ran) -> Value {
    json!({
        "id": ran.check.id,
        "outcome": ran.outcome,
        "cases": ran.cases,
        "rounds": ran.rounds,
        "requests": ran.sent,
        "spread_us": ran.spread.map(micros),
        "note": ran.note,
    })
}
