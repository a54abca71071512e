//! The notes of a run about its findings.

use super::{
    check::{Case, Check, How},
    finding::{Finding, Verdict},
    measure::Measured,
    run::Run,
};

/// A case that had more effects than it may.
#[derive(Debug)]
pub(super) struct Sighting {
    pub(super) case: Case,
    pub(super) measured: Measured,
    /// In how many tries it was seen.
    pub(super) seen: u32,
    pub(super) tries: u32,
    /// Whether the state stayed as it was while nothing was sent, once that is known.
    pub(super) is_quiet: Option<bool>,
}

impl Sighting {
    pub(super) fn new(case: Case, measured: Measured) -> Self {
        Self {
            case,
            measured,
            seen: 1,
            tries: 1,
            is_quiet: None,
        }
    }
}

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

    /// The finding of all sightings of a check: with the figures of one that is proven, if any is.
    pub(super) fn found(&self, check: &'static Check, sightings: &[Sighting]) -> Finding {
        let all: Vec<&str> = sightings.iter().map(|s| s.case.what.as_str()).collect();
        let what = self.finding(check, all.join("; "));
        let proven = sightings.iter().find(|s| self.is_proven(check, s));
        let Some(Sighting {
            case,
            measured,
            seen,
            tries,
            is_quiet,
        }) = proven.or(sightings.first())
        else {
            return what;
        };
        let note = match (is_quiet, measured.effects) {
            _ if proven.is_some() => None,
            (_, None) if !case.by_status => Some(
                "No state was read: an endpoint that answers a duplicate alike looks the same.",
            ),
            (_, None) => None,
            (None, _) => Some("The probe ended before it tried again."),
            (Some(false), _) => Some("The state also changed while the probe sent nothing."),
            (Some(true), _) => {
                Some("It was seen once; somebody else may have changed the state at that moment.")
            }
        };
        let states = measured.states.as_ref();
        Finding {
            verdict: match proven {
                Some(_) => Verdict::Proven,
                None => Verdict::Suspect,
            },
            sent: measured.sent,
            accepted: measured.accepted,
            effects: measured.effects,
            allowed: case.allowed,
            states: states.map(|(before, after)| (before.shown(), after.shown())),
            seen: *seen,
            tries: *tries,
            spread: measured.spread,
            exchanges: measured.exchanges.clone(),
            note: note.map(str::to_owned),
            ..what
        }
    }

    fn is_proven(&self, check: &Check, sighting: &Sighting) -> bool {
        let is_sure = sighting.seen > 1
            || self.oracle.is_sure_at_once()
            || matches!(check.how, How::Waits(_)) && self.oracle.has_own_state();
        is_sure && sighting.is_quiet == Some(true) && sighting.measured.effects.is_some()
    }
}
