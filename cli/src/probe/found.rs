//! What a run writes down of what it finds.

use super::{
    check::{Case, Check},
    finding::{Finding, Verdict},
    measure::Measured,
    run::Run,
};

impl Run<'_> {
    pub(super) fn finding(&self, check: &'static Check, what: String) -> Finding {
        Finding {
            check,
            verdict: Verdict::Suspect,
            what,
            sent: 0,
            accepted: 0,
            effects: None,
            allowed: 0,
            states: None,
            seen: 0,
            tries: 0,
            spread: None,
            exchanges: Vec::new(),
            reproduce: format!("{} --check {}", self.reproduce, check.id),
            note: None,
        }
    }

    pub(super) fn found(
        &self,
        check: &'static Check,
        case: &Case,
        measured: Measured,
        (seen, tries): (u32, u32),
        is_quiet: bool,
        is_proven: bool,
    ) -> Finding {
        let note = match (is_quiet, measured.effects, is_proven) {
            (false, ..) => Some("The state also changed while the probe sent nothing."),
            (_, None, _) if !case.by_status => Some(
                "No state was read: an endpoint that answers a duplicate alike looks the same.",
            ),
            (true, Some(_), false) => {
                Some("It was seen once; somebody else may have changed the state at that moment.")
            }
            _ => None,
        };
        Finding {
            verdict: match is_proven {
                true => Verdict::Proven,
                false => Verdict::Suspect,
            },
            sent: measured.sent,
            accepted: measured.accepted,
            effects: measured.effects,
            allowed: case.allowed,
            states: measured
                .states
                .map(|(before, after)| (before.shown(), after.shown())),
            seen,
            tries,
            spread: measured.spread,
            exchanges: measured.exchanges,
            note: note.map(str::to_owned),
            ..self.finding(check, case.what.clone())
        }
    }
}
