//! A run: the valid request first, then each check of the table.

use std::time::Duration;

use super::{
    budget::{Budget, Stop},
    check::{Case, Check, How, Make, Step},
    checks::CHECKS,
    finding::{Finding, Outcome, Ran, Report},
    lab::Lab,
    measure::{Measured, Measuring, Oracle},
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

/// How often a case is tried that has found something.
const TRIES: u32 = 3;

/// Cases in a row without any answer, after which a valid request is sent to see whether the endpoint
/// is there.
const UNANSWERED: u32 = 3;

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
    fn measuring(&mut self) -> Measuring<'_> {
        Measuring {
            wire: self.wire,
            oracle: &self.oracle,
            budget: &mut *self.budget,
        }
    }

    /// Sends a valid request.
    async fn valid(&mut self) -> Result<Result<(), Box<Refused>>, Stop> {
        let fresh = self
            .lab
            .fresh()
            .map_err(|failure| Stop::Failed(failure.why))?;
        self.budget.take(1).await?;
        let sent = self.wire.one(&fresh.request).await;
        Ok(match self.oracle.accepts(&sent) {
            true => Ok(()),
            false => Err(Box::new(Refused { fresh, sent })),
        })
    }

    /// Sends valid requests, and learns what one of them does to the state.
    pub(crate) async fn begin(&mut self) -> Result<Result<(), Box<Refused>>, Stop> {
        let Some(effect) = self.oracle.effect.clone() else {
            return self.valid().await;
        };
        let mut units = Vec::new();
        for _ in 0..2 {
            let fresh = self
                .lab
                .fresh()
                .map_err(|failure| Stop::Failed(failure.why))?;
            self.budget.take(3).await?;
            let before = effect.read(&fresh.event).await.map_err(Stop::Failed)?;
            let sent = self.wire.one(&fresh.request).await;
            if !self.oracle.accepts(&sent) {
                return Ok(Err(Box::new(Refused { fresh, sent })));
            }
            let changed = effect.changed(&fresh.event, &before).await;
            let (after, waited) = changed.map_err(Stop::Failed)?;
            if after == before {
                return Err(Stop::Failed(format!(
                    "a valid request was accepted, and the state that --effect reads stayed {}",
                    before.shown()
                )));
            }
            if waited > Duration::from_millis(40) {
                let wait = (2 * waited).max(Duration::from_millis(100));
                self.oracle.settle = self.oracle.settle.max(wait);
            }
            units.push(before.distance(&after));
        }
        let is_same = |one: &f64, other: &f64| (one - other).abs() < 1e-6;
        self.oracle.unit = match units.as_slice() {
            [Some(one), Some(other)] if is_same(one, other) && *one != 0.0 => Some(*one),
            _ => None,
        };
        Ok(Ok(()))
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
            if matches!(check.how, How::Waits(_)) && !self.waits {
                let note = "it waits: add --wait";
                note_ran(report, check, Outcome::NotRun, Some(note.to_owned()));
                continue;
            }
            // Such as callbacks of Twilio, which name neither a time nor an event.
            let may_be_alike = self.lab.covered.nonce.is_none();
            if may_be_alike && (check.id == "replay" || REPLAYED.contains(&check.id)) {
                let note = "requests of this scheme may be alike by right";
                note_ran(report, check, Outcome::NotApplicable, Some(note.to_owned()));
                continue;
            }
            let is_replayed = report
                .findings
                .iter()
                .any(|found| found.check.id == "replay");
            if is_replayed && REPLAYED.contains(&check.id) {
                let note = "`replay` says it already";
                note_ran(report, check, Outcome::NotRun, Some(note.to_owned()));
                continue;
            }
            let before = self.budget.sent;
            self.check(check, report).await?;
            let sent = self.budget.sent - before;
            if let Some(ran) = report.checks.last_mut() {
                ran.sent = usize::try_from(sent).unwrap_or(usize::MAX);
            }
        }
        Ok(())
    }

    async fn check(&mut self, check: &'static Check, report: &mut Report) -> Result<(), Stop> {
        match check.how {
            How::Read(read) => {
                let said = read(self.lab);
                let outcome = match said {
                    Some(_) => Outcome::Found,
                    None => Outcome::Clean,
                };
                note_ran(report, check, outcome, None);
                if let Some(what) = said {
                    report.findings.push(self.finding(check, what));
                }
                Ok(())
            }
            How::Once(make) | How::Waits(make) => self.once(check, make, report).await,
            How::Raced(make) => self.raced(check, make, 0, report).await,
            How::RacedIfKnown(make) => {
                let cases = self.make(make)?;
                let Some(control) = cases.first() else {
                    let note = "the request has no {uuid} and no {n} to name an event";
                    note_ran(report, check, Outcome::NotApplicable, Some(note.to_owned()));
                    return Ok(());
                };
                let measured = self.measuring().measure(control).await?;
                // An effect that comes late is an effect.
                let is_late = measured.accepted > 0 && !self.is_quiet(control, &measured).await?;
                let note = match measured.inconclusive {
                    Some(why) => Some((Outcome::Inconclusive, why)),
                    None if measured.count > 0 || is_late => {
                        let why = "the endpoint takes a request that is signed again for a new one";
                        Some((Outcome::NotApplicable, why.to_owned()))
                    }
                    None => None,
                };
                if let Some((outcome, why)) = note {
                    note_ran(report, check, outcome, Some(why));
                    return Ok(());
                }
                self.raced(check, make, 1, report).await
            }
        }
    }

    fn make(&self, make: Make) -> Result<Vec<Case>, Stop> {
        make(self.lab).map_err(|failure| Stop::Failed(format!("{}: {}", failure.what, failure.why)))
    }

    /// Whether the scheme's own verifier refuses what is to be sent, where it must.
    async fn is_sound(&self, case: &Case) -> Result<bool, Stop> {
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

    async fn once(
        &mut self,
        check: &'static Check,
        make: Make,
        report: &mut Report,
    ) -> Result<(), Stop> {
        let mut found: Option<Finding> = None;
        let (mut ran, mut inconclusive, mut has_control) = (0, None, false);
        for (at, case) in self.make(make)?.iter().enumerate() {
            if !self.is_sound(case).await? {
                continue;
            }
            ran += 1;
            let measured = self.measuring().measure(case).await?;
            self.is_there(case, &measured).await?;
            if let Some(why) = measured.inconclusive {
                inconclusive = Some(why);
                continue;
            }
            has_control |= !case.setup.is_empty();
            if measured.count <= case.allowed {
                continue;
            }
            let finding = self.confirmed(check, make, at, case, measured).await?;
            match &mut found {
                Some(found) => found.what = format!("{}; {}", found.what, finding.what),
                None => found = Some(finding),
            }
        }
        let outcome = match (&found, ran, &inconclusive) {
            (Some(_), ..) => Outcome::Found,
            (None, 0, _) => Outcome::NotApplicable,
            (None, _, Some(_)) => Outcome::Inconclusive,
            _ => Outcome::Clean,
        };
        note_ran(report, check, outcome, inconclusive);
        if let Some(ran_as) = report.checks.last_mut() {
            ran_as.cases = ran;
        }
        report.findings.extend(found);
        // Whoever refuses everything refuses what is forged, too.
        if outcome == Outcome::Clean
            && !has_control
            && !self.is_alive().await?
            && let Some(ran) = report.checks.last_mut()
        {
            ran.outcome = Outcome::Inconclusive;
            ran.note = Some("valid requests were refused by then, too".to_owned());
        }
        Ok(())
    }

    /// Tries a case again that has found something.
    async fn confirmed(
        &mut self,
        check: &'static Check,
        make: Make,
        at: usize,
        case: &Case,
        measured: Measured,
    ) -> Result<Finding, Stop> {
        let mut is_quiet = self.is_quiet(case, &measured).await?;
        let (mut seen, mut tries) = (1, 1);
        let is_sure = |seen: u32, run: &Self| seen > 1 || run.oracle.is_sure_at_once();
        while measured.effects.is_some()
            && !is_sure(seen, self)
            && tries < TRIES
            && !matches!(check.how, How::Waits(_))
        {
            tries += 1;
            let Some(case) = self.make(make)?.into_iter().nth(at) else {
                break;
            };
            let again = self.measuring().measure(&case).await?;
            if again.inconclusive.is_none() && again.count > case.allowed {
                seen += 1;
                is_quiet &= self.is_quiet(&case, &again).await?;
            }
        }
        let is_proven = is_quiet
            && measured.effects.is_some()
            && (is_sure(seen, self) || matches!(check.how, How::Waits(_)))
            && (!case.needs_own_state || self.oracle.has_own_state());
        Ok(self.found(check, case, measured, (seen, tries), is_quiet, is_proven))
    }

    async fn raced(
        &mut self,
        check: &'static Check,
        make: Make,
        at: usize,
        report: &mut Report,
    ) -> Result<(), Stop> {
        let (mut seen, mut tries, mut is_quiet) = (0, 0, true);
        let mut worst: Option<(Case, Measured)> = None;
        let (mut spread, mut inconclusive, mut round) = (None, None, Vec::new());
        for _ in 0..self.rounds {
            let Some(case) = self.make(make)?.into_iter().nth(at) else {
                break;
            };
            tries += 1;
            let measured = self.measuring().measure(&case).await?;
            self.is_there(&case, &measured).await?;
            spread = spread.max(measured.spread);
            round.clone_from(&measured.exchanges);
            if let Some(why) = measured.inconclusive {
                inconclusive = Some(why);
                continue;
            }
            if measured.count == 0 && measured.accepted == 0 {
                inconclusive = Some("no copy was accepted".to_owned());
            }
            if measured.count <= case.allowed {
                continue;
            }
            seen += 1;
            is_quiet &= self.is_quiet(&case, &measured).await?;
            if worst
                .as_ref()
                .is_none_or(|(_, worst)| worst.count < measured.count)
            {
                worst = Some((case, measured));
            }
            if seen > 1 || self.oracle.is_sure_at_once() {
                break;
            }
        }
        let outcome = match (&worst, &inconclusive) {
            (Some(_), _) => Outcome::Found,
            (None, Some(_)) => Outcome::Inconclusive,
            (None, None) => Outcome::Clean,
        };
        note_ran(
            report,
            check,
            outcome,
            inconclusive.filter(|_| worst.is_none()),
        );
        if let Some(ran) = report.checks.last_mut() {
            (ran.cases, ran.rounds, ran.spread) = (1, tries, spread);
            ran.round = round;
        }
        if let Some((case, measured)) = worst {
            let is_proven = is_quiet
                && measured.effects.is_some()
                && (seen > 1 || self.oracle.is_sure_at_once());
            let tried = (seen, tries);
            let finding = self.found(check, &case, measured, tried, is_quiet, is_proven);
            report.findings.push(finding);
        }
        Ok(())
    }

    async fn is_quiet(&mut self, case: &Case, measured: &Measured) -> Result<bool, Stop> {
        match &measured.states {
            Some((_, after)) => self.measuring().is_quiet(&case.event, after).await,
            None => Ok(true),
        }
    }

    /// Ends the run if nothing is answered any more.
    async fn is_there(&mut self, case: &Case, measured: &Measured) -> Result<(), Stop> {
        let is_answered = measured.is_answered || measured.inconclusive.is_some() || case.by_status;
        self.unanswered = if is_answered { 0 } else { self.unanswered + 1 };
        if self.unanswered < UNANSWERED {
            return Ok(());
        }
        self.unanswered = 0;
        match self.is_alive().await? {
            true => Ok(()),
            false => Err(Stop::Gone),
        }
    }

    /// Whether valid requests are still accepted; a limit on the rate may pass.
    async fn is_alive(&mut self) -> Result<bool, Stop> {
        if self.valid().await?.is_ok() {
            return Ok(true);
        }
        tokio::time::sleep(Duration::from_secs(1).min(self.budget.time_left())).await;
        Ok(self.valid().await?.is_ok())
    }
}

fn note_ran(report: &mut Report, check: &'static Check, outcome: Outcome, note: Option<String>) {
    report.checks.push(Ran {
        check,
        outcome,
        cases: 0,
        rounds: 0,
        sent: 0,
        spread: None,
        note,
        round: Vec::new(),
    });
}
