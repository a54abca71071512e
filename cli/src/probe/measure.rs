//! Sending one case, and counting its effects.

use std::{collections::BTreeSet, time::Duration};

use bytes::Bytes;
use http::Request;

use super::{
    budget::{Budget, Stop},
    check::{Case, Step},
    event::Event,
    finding::Exchange,
    lab::Lab,
    mask::Mask,
    oracle::{Acceptance, Effect, State, identifier},
    subject::now,
    wire::{Sent, Wire},
};

/// Exchanges of one case that reports show.
const SHOWN: usize = 40;

/// How often a slow body gets a byte.
const SLOW: Duration = Duration::from_secs(1);

/// How effects are counted.
#[derive(Debug)]
pub(crate) struct Oracle {
    pub(crate) effect: Option<Effect>,
    /// By how much one accepted request changes the state, if it is a number.
    pub(crate) unit: Option<f64>,
    /// How long after an answer the state may still change.
    pub(crate) settle: Duration,
    /// Whether the state changes after the answer, or is too slow to read to tell.
    pub(crate) is_late: bool,
    pub(crate) acceptance: Acceptance,
    pub(crate) id_json: Option<String>,
}

impl Oracle {
    /// Returns whether the state is that of one event, which nobody else changes.
    pub(crate) fn has_own_state(&self) -> bool {
        self.effect.as_ref().is_some_and(Effect::is_of_event)
    }

    /// Returns what limits what it says.
    pub(crate) fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if self.is_late {
            let wait = self.settle.as_millis();
            notes.push(format!(
                "The state changes late, or is slow to read: each reading waited {wait} ms."
            ));
        }
        if self.effect.is_some() && self.unit.is_none() {
            notes.push(
                "The state is not a number that each request changes by the same amount. So it is not \
                 known how often it changed, and no race can be proven."
                    .to_owned(),
            );
        }
        notes
    }

    /// Returns whether one sighting is enough: nobody else changes the state, nothing changes it
    /// late, and it is a number that each request changes alike.
    pub(crate) fn is_sure_at_once(&self) -> bool {
        self.has_own_state() && !self.is_late && self.unit.is_some()
    }

    pub(crate) fn accepts(&self, sent: &Sent) -> bool {
        !sent.is_early
            && sent
                .answer
                .as_ref()
                .is_ok_and(|answer| self.acceptance.accepts(answer))
    }

    /// Returns how many effects lie between two states; `None` if they can only be told apart, and
    /// several may be allowed.
    fn effects(&self, before: &State, after: &State, allowed: u64) -> Option<u64> {
        if before == after {
            return Some(0);
        }
        let ratio = before
            .distance(after)
            .zip(self.unit)
            .map(|(distance, unit)| distance / unit);
        match ratio {
            // Another amount is an effect, too.
            Some(ratio) => Some(whole(ratio.abs()).max(1)),
            None => (allowed == 0).then_some(1),
        }
    }
}

#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "it is rounded, and a float saturates"
)]
fn whole(number: f64) -> u64 {
    // 0.1 + 0.2 is not 0.3.
    (number + 1e-6).floor() as u64
}

/// The outcome of a case.
#[derive(Debug, Default)]
pub(crate) struct Measured {
    /// Requests that count.
    pub(crate) sent: usize,
    pub(crate) accepted: usize,
    /// By the state.
    pub(crate) effects: Option<u64>,
    pub(crate) states: Option<(State, State)>,
    /// By the state, or else by the answers.
    pub(crate) count: u64,
    pub(crate) is_answered: bool,
    pub(crate) spread: Option<Duration>,
    pub(crate) exchanges: Vec<Exchange>,
    /// Why it says nothing.
    pub(crate) inconclusive: Option<String>,
}

#[derive(Debug)]
pub(crate) struct Measuring<'m> {
    pub(crate) lab: &'m Lab,
    pub(crate) wire: &'m Wire,
    pub(crate) oracle: &'m Oracle,
    pub(crate) budget: &'m mut Budget,
}

impl Measuring<'_> {
    pub(crate) async fn measure(&mut self, case: &Case) -> Result<Measured, Stop> {
        let mut measured = Measured::default();
        let mut known = BTreeSet::new();
        let mask = Mask::of(&self.lab.subject.template);
        for (at, step) in case.setup.iter().enumerate() {
            let must_be_accepted = at == 0 || matches!(step, Step::Others(_));
            let (sent, _) = self.step(step).await?;
            for (request, sent) in &sent {
                let accepted = self.oracle.accepts(sent);
                if must_be_accepted && !accepted {
                    let which = if at == 0 { "the first" } else { "another" };
                    let why = format!("{which} request was not accepted: {}", sent.shown());
                    measured.inconclusive = Some(why);
                    return Ok(measured);
                }
                known.extend(self.identifier(sent));
                if at < 2 {
                    let exchange = Exchange::new(request, sent, (accepted, true), None, &mask);
                    measured.exchanges.push(exchange);
                }
            }
        }
        // Nothing has changed the state of a new event, and a long wait is over just in time.
        let is_new = case.setup.is_empty() && self.oracle.has_own_state();
        let has_waited = matches!(case.setup.last(), Some(Step::WaitUntil(_)));
        let before = match is_new || has_waited {
            true => self.state(&case.event).await?,
            false => self.settled(&case.event).await?,
        };
        let mut new = BTreeSet::new();
        let (mut unnamed, mut counted, mut first) = (0, 0, None);
        for step in &case.probe {
            let (sent, spread) = self.step(step).await?;
            measured.spread = spread.or(measured.spread);
            first = first.or_else(|| sent.iter().filter_map(|(_, sent)| sent.left).min());
            for (request, sent) in &sent {
                let accepted = self.oracle.accepts(sent);
                measured.sent += 1;
                counted += usize::from(!sent.is_early);
                measured.is_answered |= sent.answer.is_ok();
                measured.accepted += usize::from(accepted);
                if accepted {
                    match self.identifier(sent) {
                        Some(id) => drop(new.insert(id)),
                        None => unnamed += 1,
                    }
                }
                if measured.exchanges.len() < SHOWN {
                    let exchange = Exchange::new(request, sent, (accepted, false), first, &mask);
                    measured.exchanges.push(exchange);
                }
            }
            if matches!(step, Step::Together(_)) && counted < 2 {
                measured.inconclusive =
                    Some("the copies were answered before their last bytes were sent".to_owned());
            }
            if matches!(step, Step::HangUp(_)) {
                // Its effect may come when nobody waits for it.
                self.wait(AFTER_HANGING_UP).await;
            }
            if case.by_status && is_slow_or_large(step, sent.first().map(|(_, sent)| sent)) {
                measured.count = 1;
                return Ok(measured);
            }
        }
        if case.by_status {
            return Ok(measured);
        }
        if case.until.is_some_and(|until| now() > until) {
            let why = "it was answered too late to tell: its time is at the edge of the window";
            measured.inconclusive = Some(why.to_owned());
            return Ok(measured);
        }
        self.wait(self.oracle.settle).await;
        let after = self.state(&case.event).await?;
        measured.effects = before
            .as_ref()
            .zip(after.as_ref())
            .and_then(|(before, after)| self.oracle.effects(before, after, case.allowed));
        let named = new.difference(&known).count();
        let by_answers = match unnamed {
            0 => named,
            _ => measured.accepted,
        };
        measured.count = match measured.effects {
            Some(effects) => effects,
            None => u64::try_from(by_answers).unwrap_or(u64::MAX),
        };
        measured.states = before.zip(after);
        Ok(measured)
    }

    pub(crate) async fn state(&mut self, event: &Event) -> Result<Option<State>, Stop> {
        let Some(effect) = &self.oracle.effect else {
            return Ok(None);
        };
        self.budget.take(1).await?;
        effect.read(event).await.map(Some).map_err(Stop::Failed)
    }

    fn identifier(&self, sent: &Sent) -> Option<String> {
        let answer = sent.answer.as_ref().ok()?;
        identifier(answer, self.oracle.id_json.as_deref())
    }

    pub(super) async fn wait(&self, duration: Duration) {
        if !duration.is_zero() {
            tokio::time::sleep(duration.min(self.budget.time_left())).await;
        }
    }

    async fn step(&mut self, step: &Step) -> Result<Done, Stop> {
        Ok(match step {
            Step::Send(request) => {
                self.budget.take(1).await?;
                (vec![(request.clone(), self.wire.one(request).await)], None)
            }
            Step::Together(requests) => {
                self.budget.take(requests.len()).await?;
                let (sent, spread) = self.wire.together(requests).await;
                (requests.iter().cloned().zip(sent).collect(), Some(spread))
            }
            Step::HangUp(request) => {
                self.budget.take(1).await?;
                (
                    vec![(request.clone(), self.wire.hang_up(request).await)],
                    None,
                )
            }
            Step::Patiently(request) => {
                self.budget.take(1).await?;
                let sent = self.wire.patiently(request, PATIENCE).await;
                (vec![(request.clone(), sent)], None)
            }
            Step::Slowly(request, patience) => {
                self.budget.take(1).await?;
                let sent = self.wire.slowly(request, SLOW, *patience).await;
                (vec![(request.clone(), sent)], None)
            }
            Step::Others(count) => {
                for _ in 0..*count {
                    self.budget.take(1).await?;
                    let other = self.lab.fresh();
                    let request = other.map_err(|failure| Stop::Failed(failure.why))?.request;
                    let sent = self.wire.one(&request).await;
                    if !self.oracle.accepts(&sent) {
                        return Ok((vec![(request, sent)], None));
                    }
                }
                (Vec::new(), None)
            }
            Step::WaitUntil(time) => {
                // Late effects of what was sent before have come by then.
                let wait = time.saturating_since(now()).max(self.oracle.settle);
                if wait > self.budget.time_left() {
                    return Err(Stop::Time);
                }
                tokio::time::sleep(wait).await;
                (Vec::new(), None)
            }
        })
    }
}

type Done = (Vec<(Request<Bytes>, Sent)>, Option<Duration>);

/// The time that a server has to answer what it need not read to the end.
const PATIENCE: Duration = Duration::from_secs(2);
const AFTER_HANGING_UP: Duration = Duration::from_millis(100);

/// Returns whether a slow body was waited for to the end, or a large one was read and not refused
/// for its length.
fn is_slow_or_large(step: &Step, sent: Option<&Sent>) -> bool {
    let Some(sent) = sent else {
        return false;
    };
    match step {
        Step::Slowly(..) => sent.left.is_some() && sent.answered.is_none(),
        _ => {
            let refusals = [400, 411, 413, 417, 431, 503];
            let is_refused = |status: u16| refusals.contains(&status);
            !sent.is_early
                && sent.left.is_some()
                && sent
                    .answer
                    .as_ref()
                    .is_ok_and(|answer| !is_refused(answer.status.as_u16()))
        }
    }
}
