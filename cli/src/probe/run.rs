//! A run: each check of the table, one after the other.

use super::{
    budget::{Budget, Stop},
    check::{Case, Check, How, Make, Step},
    checks::CHECKS,
    finding::{Outcome, Report},
    lab::Lab,
    measure::{Measuring, Oracle},
    subject::Fresh,
    wire::{Sent, Wire},
};

/// Checks that find the same as `replay` does, if a plain replay acts again.
const REPLAYED: [&str; 6] = [
    "race",
    "replay-after-error",
    "replay-after-others",
    "replay-respelled",
    "nonce-reused",
    "window-memory",
];

#[derive(Debug)]
pub(crate) struct Run<'r> {
    pub(crate) lab: &'r Lab,
    pub(crate) wire: &'r Wire,
    pub(crate) oracle: Oracle,
    pub(crate) budget: &'r mut Budget,
    pub(crate) rounds: u16,
    /// Whether the checks that wait run, too.
    pub(crate) waits: bool,
    /// The command line that repeats the run, without its checks.
    pub(crate) reproduce: String,
    pub(crate) unanswered: u32,
}

/// A valid request that was not accepted.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) fresh: Fresh,
    pub(crate) sent: Sent,
}

impl Run<'_> {
    pub(super) fn measuring(&mut self) -> Measuring<'_> {
        Measuring {
            lab: self.lab,
            wire: self.wire,
            oracle: &self.oracle,
            budget: &mut *self.budget,
        }
    }

    pub(super) fn fresh(&self) -> Result<Fresh, Stop> {
        let fresh = self.lab.fresh();
        fresh.map_err(|failure| Stop::Failed(failure.why))
    }

    /// Runs these checks, and writes down what they find as they find it.
    pub(crate) async fn checks(
        &mut self,
        wanted: &dyn Fn(&Check) -> bool,
        report: &mut Report,
        progress: &dyn Fn(usize, &str),
    ) -> Result<(), Stop> {
        for (at, check) in CHECKS.iter().enumerate() {
            progress(at, check.id);
            if !wanted(check) {
                continue;
            }
            report.begin(check);
            match self.left_out(check, report) {
                Some((outcome, note)) => report.end(outcome, Some(note.to_owned())),
                None => self.check(check, report).await?,
            }
        }
        Ok(())
    }

    /// Why a check is not run, if it is not.
    fn left_out(&self, check: &Check, report: &Report) -> Option<(Outcome, &'static str)> {
        if matches!(check.how, How::Waits(_)) && !self.waits {
            return Some((Outcome::NotRun, "takes minutes: add --wait"));
        }
        let is_replay = check.id == "replay" || REPLAYED.contains(&check.id);
        // Callbacks of Twilio, for example, name neither a time nor an event.
        if is_replay && self.lab.covered.nonce.is_none() {
            let note = "requests of this scheme may be alike by right";
            return Some((Outcome::NotApplicable, note));
        }
        let is_replayed = report
            .findings
            .iter()
            .any(|found| found.check.id == "replay");
        (is_replayed && REPLAYED.contains(&check.id))
            .then_some((Outcome::NotRun, "`replay` has found it already"))
    }

    async fn check(&mut self, check: &'static Check, report: &mut Report) -> Result<(), Stop> {
        match check.how {
            How::Read(read) => {
                let said = read(self.lab);
                report.end(Outcome::Clean, None);
                if let Some(what) = said {
                    report.note(self.finding(check, what));
                }
                Ok(())
            }
            How::Once(make) | How::Waits(make) => self.once(check, make, report).await,
            How::Raced(make) => self.raced(check, make, 0, report).await,
            How::RacedIfKnown(make) => self.raced_if_known(check, make, report).await,
        }
    }

    pub(super) fn make(&self, make: Make) -> Result<Vec<Case>, Stop> {
        make(self.lab).map_err(|failure| Stop::Failed(format!("{}: {}", failure.what, failure.why)))
    }

    /// Returns whether the scheme's own verifier refuses what is to be sent, where it must.
    pub(super) async fn is_sound(&self, case: &Case) -> Result<bool, Stop> {
        if !case.is_forged {
            return Ok(true);
        }
        for step in &case.probe {
            if let Step::Send(request) = step {
                let refused = self.lab.subject.is_refused(request).await;
                if !refused.map_err(|failure| Stop::Failed(failure.why))? {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }
}
