//! The findings of a probe, and its steps.

use std::time::{Duration, Instant};

use serde::Serialize;

use super::{
    check::Check,
    checks::CHECKS,
    mask::{MASK, Mask},
    subject::Subject,
    wire::Sent,
};
use crate::printer::visible;

/// How sure a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Verdict {
    /// The state changed: it was read before and after.
    Proven,
    /// The answers say so, and an answer can be given twice for one effect.
    Suspect,
}

impl Verdict {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Proven => "proven",
            Self::Suspect => "suspect",
        }
    }
}

/// One request and its answer, as reports show them.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Exchange {
    pub(crate) request: String,
    pub(crate) status: Option<u16>,
    pub(crate) answer: String,
    pub(crate) accepted: bool,
    /// Sent before what is counted.
    pub(crate) is_setup: bool,
    /// When its last byte left, and when its answer came, after the first that counts, in
    /// microseconds.
    pub(crate) left_us: Option<u64>,
    pub(crate) answered_us: Option<u64>,
}

/// How much of a request or an answer is shown.
const SHOWN: usize = 2000;

impl Exchange {
    pub(crate) fn new(
        request: &http::Request<bytes::Bytes>,
        sent: &Sent,
        (accepted, is_setup): (bool, bool),
        first: Option<Instant>,
        mask: &Mask,
    ) -> Self {
        let after = |moment: Option<Instant>| {
            let after = moment?.checked_duration_since(first?)?;
            u64::try_from(after.as_micros()).ok()
        };
        let answer = match &sent.answer {
            Ok(answer) => {
                let body = answer.body.get(..SHOWN).unwrap_or(&answer.body);
                format!("{}\n{}", answer.status, visible(body))
            }
            Err(why) => why.clone(),
        };
        Self {
            request: shown(request, mask),
            status: sent
                .answer
                .as_ref()
                .ok()
                .map(|answer| answer.status.as_u16()),
            answer: mask.masked(answer.trim_end().to_owned()),
            accepted,
            is_setup,
            left_us: after(sent.left),
            answered_us: after(sent.answered),
        }
    }
}

/// A request for a person to read.
fn shown(request: &http::Request<bytes::Bytes>, mask: &Mask) -> String {
    let target = request
        .uri()
        .path_and_query()
        .map_or("/", |target| target.as_str());
    let mut text = format!("{} {target}\n", request.method());
    if let Some(authority) = request.uri().authority() {
        text.push_str(&format!("host: {authority}\n"));
    }
    for (name, value) in request.headers() {
        let value = match mask.hides(name) {
            true => MASK.to_owned(),
            false => visible(value.as_bytes()),
        };
        text.push_str(&format!("{name}: {value}\n"));
    }
    let body = request.body();
    if !body.is_empty() {
        let start = body.get(..SHOWN).unwrap_or(body);
        text.push_str(&format!("\n{}", visible(start)));
        if start.len() < body.len() {
            text.push_str(&format!(" … ({} bytes)", body.len()));
        }
    }
    text.trim_end().to_owned()
}

/// A finding.
#[derive(Clone, Debug)]
pub(crate) struct Finding {
    pub(crate) check: &'static Check,
    pub(crate) verdict: Verdict,
    /// The sent requests, in words.
    pub(crate) what: String,
    /// Requests that were sent and counted, and how many of them were accepted.
    pub(crate) sent: usize,
    pub(crate) accepted: usize,
    /// By the state; `None` without one.
    pub(crate) effects: Option<u64>,
    pub(crate) allowed: u64,
    /// The state before and after.
    pub(crate) states: Option<(String, String)>,
    /// In how many tries it was seen.
    pub(crate) seen: u32,
    pub(crate) tries: u32,
    pub(crate) spread: Option<Duration>,
    pub(crate) exchanges: Vec<Exchange>,
    pub(crate) reproduce: String,
    /// The limits of its certainty.
    pub(crate) note: Option<String>,
}

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Outcome {
    Clean,
    Found,
    /// It says nothing about this scheme, or this request.
    NotApplicable,
    /// It could not be told.
    Inconclusive,
    /// It was left out, or the probe ended before.
    NotRun,
}

impl Outcome {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Clean => "clean",
            Self::Found => "found",
            Self::NotApplicable => "not applicable",
            Self::Inconclusive => "inconclusive",
            Self::NotRun => "not run",
        }
    }
}

/// A check, and what became of it.
#[derive(Clone, Debug)]
pub(crate) struct Ran {
    pub(crate) check: &'static Check,
    pub(crate) outcome: Outcome,
    pub(crate) cases: usize,
    pub(crate) rounds: u32,
    pub(crate) sent: usize,
    pub(crate) spread: Option<Duration>,
    pub(crate) note: Option<String>,
    /// The copies of one round.
    pub(crate) round: Vec<Exchange>,
}

impl Ran {
    fn new(check: &'static Check, outcome: Outcome) -> Self {
        Self {
            check,
            outcome,
            cases: 0,
            rounds: 0,
            sent: 0,
            spread: None,
            note: None,
            round: Vec::new(),
        }
    }
}

/// All of a run.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) findings: Vec<Finding>,
    pub(crate) checks: Vec<Ran>,
    pub(crate) target: String,
    pub(crate) scheme: String,
    pub(crate) run: String,
    pub(crate) seed: u64,
    pub(crate) requests: u64,
    pub(crate) took: Duration,
    /// How effects were counted, in words.
    pub(crate) oracle: String,
    /// The limits of the run.
    pub(crate) notes: Vec<String>,
    /// Why it ended before all was done.
    pub(crate) ended: Option<String>,
    /// Ctrl-C ended it.
    pub(crate) is_interrupted: bool,
    /// How many copies were sent at once.
    pub(crate) copies: u16,
}

impl Report {
    /// A check begins: if the probe ends before it does, the report says so.
    pub(super) fn begin(&mut self, check: &'static Check) {
        self.checks.push(Ran {
            note: Some("the probe ended while it ran".to_owned()),
            ..Ran::new(check, Outcome::Inconclusive)
        });
    }

    /// The check that runs.
    pub(super) fn ran(&mut self) -> Option<&mut Ran> {
        self.checks.last_mut()
    }

    /// The check that runs has ended so.
    pub(super) fn end(&mut self, outcome: Outcome, note: Option<String>) {
        if let Some(ran) = self.checks.last_mut() {
            (ran.outcome, ran.note) = (outcome, note);
        }
    }

    /// Returns whether cases of this check were sent.
    pub(crate) fn has_tried(&self, id: &str) -> bool {
        let tried = |ran: &Ran| ran.check.id == id && ran.cases > 0;
        self.checks.iter().any(tried)
    }

    /// Notes a finding, in place of an earlier one of the same check.
    pub(super) fn note(&mut self, finding: Finding) {
        if let Some(ran) = self.checks.last_mut() {
            ran.outcome = Outcome::Found;
        }
        let id = finding.check.id;
        match self.findings.iter_mut().find(|found| found.check.id == id) {
            Some(found) => *found = finding,
            None => self.findings.push(finding),
        }
    }

    /// The checks that were wanted and did not begin, if the probe ended before all was done.
    pub(crate) fn note_rest(&mut self, is_wanted: &dyn Fn(&Check) -> bool) {
        for check in CHECKS.iter().filter(|check| is_wanted(check)) {
            if self.ended.is_some() && !self.checks.iter().any(|ran| ran.check.id == check.id) {
                self.checks.push(Ran {
                    note: Some("the probe ended before it".to_owned()),
                    ..Ran::new(check, Outcome::NotRun)
                });
            }
        }
    }

    /// An empty report of a run.
    pub(crate) fn of(subject: &Subject, copies: u16, oracle: String) -> Self {
        Self {
            target: format!("{} {}", subject.template.method, subject.template.url),
            scheme: subject.chosen.name.clone(),
            run: subject.events.run.clone(),
            seed: subject.events.seed,
            copies,
            oracle,
            ..Self::default()
        }
    }
}
