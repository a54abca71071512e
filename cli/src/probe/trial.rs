//! Trying the cases of a check, and trying again what finds something.
//!
//! A finding is in the report from its first sighting on, and is written again when more is known: a
//! probe that is interrupted, or whose budget ends, keeps it.

use super::{
    budget::Stop,
    check::{Case, Check, How, Make},
    finding::{Outcome, Report},
    found::Sighting,
    measure::Measured,
    run::Run,
};

/// How often a case is tried that has found something.
const TRIES: u32 = 3;

impl Run<'_> {
    /// Tries each case once, and again if it finds something.
    pub(super) async fn once(
        &mut self,
        check: &'static Check,
        make: Make,
        report: &mut Report,
    ) -> Result<(), Stop> {
        let mut sightings: Vec<Sighting> = Vec::new();
        let (mut ran, mut note, mut has_control) = (0, None, false);
        let mut is_inconclusive = false;
        for at in 0.. {
            // The request is signed when it is sent, because the edges of the window move.
            self.budget.ready().await;
            let Some(case) = self.make(make)?.into_iter().nth(at) else {
                break;
            };
            if case.needs_own_state && !self.oracle.has_own_state() {
                note = Some(
                    "--effect must tell the state of one event: put {uuid} into it".to_owned(),
                );
                continue;
            }
            if !self.is_sound(&case).await? {
                continue;
            }
            ran += 1;
            if let Some(of_report) = report.ran() {
                of_report.cases = ran;
            }
            let measured = self.measured(&case, report).await?;
            self.is_there(&case, &measured).await?;
            if measured.inconclusive.is_some() {
                (is_inconclusive, note) = (true, measured.inconclusive);
                continue;
            }
            has_control |= !case.setup.is_empty();
            if measured.count > case.allowed {
                sightings.push(Sighting::new(case, measured));
                self.confirm(check, (make, at), &mut sightings, report)
                    .await?;
            }
        }
        let is_found = !sightings.is_empty();
        let mut outcome = match (ran, is_inconclusive) {
            _ if is_found => Outcome::Found,
            (0, _) => Outcome::NotApplicable,
            (_, true) => Outcome::Inconclusive,
            _ => Outcome::Clean,
        };
        // An endpoint that refuses everything refuses forged requests, too.
        if outcome == Outcome::Clean && !has_control && !self.is_alive().await? {
            outcome = Outcome::Inconclusive;
            note = Some("valid requests were refused by then, too".to_owned());
        }
        if outcome == Outcome::NotApplicable {
            note = note.or_else(|| Some("this scheme or request has no such part".to_owned()));
        }
        report.end(outcome, note);
        Ok(())
    }

    /// Tries the case of the last sighting again.
    async fn confirm(
        &mut self,
        check: &'static Check,
        (make, at): (Make, usize),
        sightings: &mut [Sighting],
        report: &mut Report,
    ) -> Result<(), Stop> {
        report.note(self.found(check, sightings));
        let is_quiet = match sightings.last() {
            Some(last) => self.is_quiet(&last.case, &last.measured).await?,
            None => return Ok(()),
        };
        for tries in 1..=TRIES {
            let Some(last) = sightings.last_mut() else {
                break;
            };
            last.is_quiet = Some(is_quiet && last.is_quiet.unwrap_or(true));
            last.tries = tries;
            let is_done = last.measured.effects.is_none()
                || matches!(check.how, How::Waits(_))
                || last.seen > 1
                || self.oracle.is_sure_at_once()
                || tries == TRIES;
            report.note(self.found(check, sightings));
            if is_done {
                break;
            }
            self.budget.ready().await;
            let Some(case) = self.make(make)?.into_iter().nth(at) else {
                break;
            };
            let again = self.measured(&case, report).await?;
            if again.inconclusive.is_none() && again.count > case.allowed {
                let stays = self.is_quiet(&case, &again).await?;
                if let Some(last) = sightings.last_mut() {
                    last.seen += 1;
                    last.is_quiet = Some(stays && last.is_quiet.unwrap_or(true));
                }
            }
        }
        Ok(())
    }

    /// Tries one case in each round.
    pub(super) async fn raced(
        &mut self,
        check: &'static Check,
        make: Make,
        at: usize,
        report: &mut Report,
    ) -> Result<(), Stop> {
        let mut worst: Option<Sighting> = None;
        let mut inconclusive = None;
        for tries in 1..=self.rounds.into() {
            self.budget.ready().await;
            let Some(case) = self.make(make)?.into_iter().nth(at) else {
                break;
            };
            let measured = self.measured(&case, report).await?;
            if let Some(ran) = report.ran() {
                (ran.cases, ran.rounds) = (1, tries);
                ran.spread = ran.spread.max(measured.spread);
                ran.round.clone_from(&measured.exchanges);
            }
            self.is_there(&case, &measured).await?;
            if let Some(worst) = &mut worst {
                worst.tries = tries;
            }
            if measured.inconclusive.is_some() {
                inconclusive = measured.inconclusive;
                continue;
            }
            if measured.count == 0 && measured.accepted == 0 {
                inconclusive = Some("no copy was accepted".to_owned());
            }
            if measured.count <= case.allowed {
                continue;
            }
            let mut sighting = Sighting::new(case, measured);
            sighting.tries = tries;
            sighting.seen = worst.as_ref().map_or(0, |worst| worst.seen) + 1;
            let was_quiet = worst.as_ref().and_then(|worst| worst.is_quiet);
            report.note(self.found(check, std::slice::from_ref(&sighting)));
            let is_quiet = self.is_quiet(&sighting.case, &sighting.measured).await?;
            sighting.is_quiet = Some(is_quiet && was_quiet.unwrap_or(true));
            let seen = sighting.seen;
            worst = match worst {
                Some(worst) if worst.measured.count >= sighting.measured.count => Some(Sighting {
                    seen,
                    tries,
                    is_quiet: sighting.is_quiet,
                    ..worst
                }),
                _ => Some(sighting),
            };
            report.note(self.found(check, worst.as_slice()));
            if seen > 1 || self.oracle.is_sure_at_once() {
                break;
            }
        }
        if worst.is_some() {
            report.note(self.found(check, worst.as_slice()));
        }
        let outcome = match (&worst, &inconclusive) {
            (Some(_), _) => Outcome::Found,
            (None, Some(_)) => Outcome::Inconclusive,
            (None, None) => Outcome::Clean,
        };
        report.end(outcome, inconclusive.filter(|_| worst.is_none()));
        Ok(())
    }

    /// The same, if one event after the other has one effect: the application knows the event then.
    pub(super) async fn raced_if_known(
        &mut self,
        check: &'static Check,
        make: Make,
        report: &mut Report,
    ) -> Result<(), Stop> {
        let cases = self.make(make)?;
        let Some(control) = cases.first() else {
            let note = "the request has no {uuid} and no {n} to name an event";
            report.end(Outcome::NotApplicable, Some(note.to_owned()));
            return Ok(());
        };
        let measured = self.measured(control, report).await?;
        // An effect that comes late is an effect.
        let is_late = measured.accepted > 0 && !self.is_quiet(control, &measured).await?;
        if let Some(why) = measured.inconclusive {
            report.end(Outcome::Inconclusive, Some(why));
        } else if measured.count > 0 || is_late {
            let why = "the endpoint treats a request that is signed again as a new request";
            report.end(Outcome::NotApplicable, Some(why.to_owned()));
        } else {
            self.raced(check, make, 1, report).await?;
        }
        Ok(())
    }

    /// Sends a case, and counts what is sent for the check that runs.
    async fn measured(&mut self, case: &Case, report: &mut Report) -> Result<Measured, Stop> {
        let before = self.budget.sent;
        let measured = self.measuring().measure(case).await;
        let sent = self.budget.sent - before;
        if let Some(ran) = report.ran() {
            ran.sent += usize::try_from(sent).unwrap_or(usize::MAX);
        }
        measured
    }

    async fn is_quiet(&mut self, case: &Case, measured: &Measured) -> Result<bool, Stop> {
        match &measured.states {
            Some((_, after)) => self.measuring().is_quiet(&case.event, after).await,
            None => Ok(true),
        }
    }
}
