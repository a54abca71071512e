//! Valid requests: whether they are accepted, and what one of them does to the state.

use std::time::Duration;

use super::{
    budget::Stop,
    check::Case,
    measure::Measured,
    run::{Refused, Run},
    subject::Fresh,
    wire::Sent,
};

/// Cases in a row without any answer, after which a valid request is sent to see whether the endpoint
/// is there.
const UNANSWERED: u32 = 3;

/// How long a state is watched that must not change by itself: longer than a clock of seconds stays
/// as it is.
const WATCH: Duration = Duration::from_millis(1100);

/// How long it is watched the next time.
const SHORT: Duration = Duration::from_millis(40);

/// Valid requests by which the probe learns what one of them does. `--effect` tells people how many.
const LEARNING: u8 = 2;

impl Run<'_> {
    /// Sends a valid request.
    async fn valid(&mut self) -> Result<Result<(), Box<Refused>>, Stop> {
        self.budget.take(1).await?;
        let fresh = self.fresh()?;
        let sent = self.wire.one(&fresh.request).await;
        Ok(self.accepted(fresh, sent))
    }

    fn accepted(&self, fresh: Fresh, sent: Sent) -> Result<(), Box<Refused>> {
        match &sent.answer {
            Ok(answer) if self.oracle.accepts(&sent) => {
                self.lab.compare_clocks(answer);
                Ok(())
            }
            _ => Err(Box::new(Refused { fresh, sent })),
        }
    }

    /// Sends valid requests, and learns what one of them does to the state.
    pub(crate) async fn begin(&mut self) -> Result<Result<(), Box<Refused>>, Stop> {
        if self.oracle.effect.is_none() {
            return self.valid().await;
        }
        let mut units = Vec::new();
        for at in 0..LEARNING {
            let quiet = if at == 0 { WATCH } else { SHORT };
            let event = self.lab.subject.events.event();
            let Some(before) = self.measuring().settled(&event).await? else {
                break;
            };
            self.budget.take(1).await?;
            // The request is signed when it is sent, because the window may be short.
            let fresh = self.lab.fresh_of(event.clone());
            let fresh = fresh.map_err(|failure| Stop::Failed(failure.why))?;
            let sent = self.wire.one(&fresh.request).await;
            if let Err(refused) = self.accepted(fresh, sent) {
                return Ok(Err(refused));
            }
            let quiet = quiet.max(self.oracle.settle);
            let Some(change) = self.measuring().changed(&event, &before, quiet).await? else {
                return Err(Stop::Failed(format!(
                    "a valid request was accepted, and the state that --effect reads stayed {}",
                    before.shown()
                )));
            };
            self.oracle.settle = self.oracle.settle.max(change.settles());
            self.oracle.is_late |= change.is_late();
            units.push(before.distance(&change.after));
        }
        let is_same = |one: &f64, other: &f64| (one - other).abs() < 1e-6;
        self.oracle.unit = match units.as_slice() {
            [Some(one), Some(other)] if is_same(one, other) && *one != 0.0 => Some(*one),
            _ => None,
        };
        Ok(Ok(()))
    }

    /// Ends the run if nothing is answered any more.
    pub(super) async fn is_there(&mut self, case: &Case, measured: &Measured) -> Result<(), Stop> {
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

    /// Returns whether valid requests are still accepted; a limit on the rate may pass.
    pub(super) async fn is_alive(&mut self) -> Result<bool, Stop> {
        if self.valid().await?.is_ok() {
            return Ok(true);
        }
        tokio::time::sleep(Duration::from_secs(1).min(self.budget.time_left())).await;
        Ok(self.valid().await?.is_ok())
    }
}
