//! Waiting for a state that changes after the answer.

use std::time::{Duration, Instant};

use super::{budget::Stop, event::Event, measure::Measuring, oracle::State};

/// A change that is seen within this time came with the answer.
const AT_ONCE: Duration = Duration::from_millis(40);
/// How much later than it was seen a change may come.
const MARGIN: Duration = Duration::from_millis(100);
/// How often a state is read that does not stop changing.
const SETTLING: usize = 10;
/// How long a state is waited for that changes after the answer, and how often it is read.
const LATE: Duration = Duration::from_secs(3);
const POLL: Duration = Duration::from_millis(50);
const QUIET: Duration = Duration::from_millis(40);

/// A change of the state, and between which moments after the answer it came. A reading tells the
/// state of any moment from its begin to its end, so that a slow reading tells little.
#[derive(Debug)]
pub(super) struct Change {
    pub(super) after: State,
    /// When the last reading began that did not show it, if one did not.
    earliest: Option<Duration>,
    /// When the first reading ended that showed it.
    latest: Duration,
}

impl Change {
    /// Returns whether it came after the answer, or may have come after it.
    pub(super) fn is_late(&self) -> bool {
        self.earliest.is_some() || self.latest > AT_ONCE
    }

    /// Returns how long after an answer a reading must begin so that it shows such a change,
    /// however fast it is. Even a change that came with the answer is known only from the end of the
    /// reading that showed it, and a later reading may be faster.
    pub(super) fn settles(&self) -> Duration {
        let margin = match self.is_late() {
            true => self.earliest.unwrap_or_default().max(MARGIN),
            false => 2 * self.latest,
        };
        self.latest + margin
    }
}

impl Measuring<'_> {
    /// The state, once it has stopped changing: the effects of what was sent before may come late.
    pub(super) async fn settled(&mut self, event: &Event) -> Result<Option<State>, Stop> {
        self.wait(self.oracle.settle).await;
        let mut state = self.state(event).await?;
        for _ in 0..SETTLING {
            if !self.oracle.is_late {
                break;
            }
            self.wait(self.oracle.settle).await;
            let next = self.state(event).await?;
            if next == state {
                break;
            }
            state = next;
        }
        Ok(state)
    }

    /// Waits for the state to change after an answer, and then to stay for this long: its last change,
    /// if it changed.
    pub(super) async fn changed(
        &mut self,
        event: &Event,
        before: &State,
        quiet: Duration,
    ) -> Result<Option<Change>, Stop> {
        let answered = Instant::now();
        let mut change: Option<Change> = None;
        let (mut last, mut pause) = (None, POLL);
        loop {
            let began = answered.elapsed();
            let state = self.state(event).await?.unwrap_or(State::Nothing);
            let known = change.as_ref().map_or(before, |change| &change.after);
            if state != *known {
                if began > LATE + quiet {
                    return Err(Stop::Failed(format!(
                        "the state that --effect reads changes by itself, such as from {} to {}: point \
                         --effect-json or --effect-regex at what only requests change",
                        known.shown(),
                        state.shown()
                    )));
                }
                pause = POLL;
                change = Some(Change {
                    after: state,
                    earliest: last,
                    latest: answered.elapsed(),
                });
            }
            last = Some(began);
            // A slow reading may tell the state of the moment when it began.
            let (until, next) = match &change {
                None => (LATE, POLL),
                Some(change) => (change.latest + quiet, 2 * pause),
            };
            if began >= until {
                break;
            }
            let left = until.saturating_sub(answered.elapsed());
            tokio::time::sleep(pause.min(left)).await;
            pause = next;
        }
        // Back where it was is no change.
        Ok(change.filter(|change| change.after != *before))
    }

    /// Returns whether the state stays as it is while nothing is sent.
    pub(super) async fn is_quiet(&mut self, event: &Event, state: &State) -> Result<bool, Stop> {
        self.wait(self.oracle.settle.max(QUIET)).await;
        Ok(self.state(event).await?.as_ref() == Some(state))
    }
}
