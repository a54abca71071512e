//! The steps on the record of a nonce, and what is answered to them.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use redis::Value;

use super::{
    error::{self, Failure, read, unexpected},
    link::Link,
    shared::{Server, Shared},
    slot::slot,
    time::{SPARE, millis, timestamp},
};
use crate::{
    clock::Timestamp,
    error::StoreError,
    once::{Claim, ClaimOutcome, Forgotten, History, LeaseOutcome, MESSAGE_LEN, StepOutcome},
    store::batched::{Action, Answer},
};

/// How often a step is tried over a new connection.
const TRIES: u32 = 3;

/// The fate of the record, and the time on the server right after.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    New,
    Final,
    Leased(Duration),
    /// The server's clock had reached the deadline.
    Past,
    /// The message has as many records as it may.
    Places,
    Done,
    Lost,
}

/// The answer of a server.
#[derive(Clone, Copy, Debug)]
struct Told {
    outcome: Outcome,
    /// The time on the server.
    now: u64,
    /// Whether the server was as it was inspected, so that it had lost nothing before it answered.
    is_as_inspected: bool,
}

/// One step, on its way.
struct Step<'a> {
    claim: &'a Claim,
    action: Action,
    key: Key,
    /// Tells a reply that was lost from a copy, even from one of the same attempt.
    call: [u8; 8],
    keep_until: Timestamp,
}

/// Does a step, and returns what came of it.
pub(super) async fn step(
    shared: &Arc<Shared>,
    claim: &Claim,
    action: Action,
) -> Result<Answer, StoreError> {
    let outcome = ask(shared, claim, action).await?;
    Ok(match (action, outcome) {
        (Action::Lease(_), Outcome::New) => Answer::Leased(LeaseOutcome::Held),
        (Action::Lease(_), Outcome::Final) => Answer::Leased(LeaseOutcome::Completed),
        (Action::Lease(_), Outcome::Leased(remaining)) => {
            Answer::Leased(LeaseOutcome::in_flight(remaining))
        }
        (_, Outcome::New) => Answer::Claimed(ClaimOutcome::New),
        (_, Outcome::Final | Outcome::Leased(_)) => Answer::Claimed(ClaimOutcome::Replayed),
        (_, Outcome::Done) => Answer::Held(StepOutcome::Done),
        (_, Outcome::Lost) => Answer::Held(StepOutcome::Lost),
        (_, Outcome::Past | Outcome::Places) => return Err(unexpected()),
    })
}

async fn ask(shared: &Arc<Shared>, claim: &Claim, action: Action) -> Result<Outcome, StoreError> {
    let is_first = action.may_add();
    let mut step = Step {
        claim,
        action,
        key: Key::of(claim),
        call: next_call(),
        keep_until: claim.deadline(),
    };
    let slot = slot(&step.key.record);
    let mut failed = None;
    for _ in 0..TRIES {
        // The losses of a server are known once it is connected.
        let server = match shared.server(slot).await {
            Ok(server) => server,
            Err(error) => return Err(failed.unwrap_or(error)),
        };
        let namespace = shared.namespace(claim).await?;
        if is_first {
            shared.knowledge.vouch(claim, namespace)?;
        }
        step.keep_until = namespace.keep_until(claim, shared.terms().clock_difference);
        match step.on(&server.link, failed.is_some()).await {
            Ok(answer) => {
                shared.knowledge.shows(answer.now);
                if answer.outcome == Outcome::Past {
                    return Err(History::COMPLETE.refusal(claim, Forgotten::Past));
                }
                if answer.outcome == Outcome::Places {
                    return Err(StoreError::too_many_places());
                }
                if matches!(answer.outcome, Outcome::New | Outcome::Done) {
                    if is_first {
                        if !answer.is_as_inspected {
                            shared.inspect_one(&server).await?;
                        }
                        // It may have become known in the meantime.
                        shared.knowledge.vouch(claim, namespace)?;
                    }
                    replicated(&server).await?;
                }
                return Ok(answer.outcome);
            }
            Err(Failure::Refused(error)) => return Err(error),
            Err(lost) => {
                server.link.break_off();
                failed = Some(lost.into_error());
                if matches!(action, Action::Release) {
                    // A second attempt could not tell a release from an expired record.
                    break;
                }
            }
        }
    }
    Err(failed.unwrap_or_else(unexpected))
}

pub(super) async fn replicated(server: &Server) -> Result<(), StoreError> {
    match &server.replication {
        None => Ok(()),
        Some(replication) => replication
            .done()
            .await
            .inspect_err(|_| server.link.break_off()),
    }
}

impl Step<'_> {
    async fn on(&self, link: &Link, again: bool) -> Result<Told, Failure> {
        if !matches!(self.action, Action::Claim) || self.claim.most_records().is_some() {
            return self.by_script(link).await;
        }
        let answer = self.by_set(link, again).await?;
        if matches!(answer.outcome, Outcome::Leased(_)) {
            // The lease may have ended.
            return self.by_script(link).await;
        }
        Ok(answer)
    }

    /// One round trip: records the nonce if it is not recorded, and reads the server's clock.
    async fn by_set(&self, link: &Link, again: bool) -> Result<Told, Failure> {
        let mut record = [0; 9];
        let [kind, call @ ..] = &mut record;
        *kind = b'f';
        *call = self.call;
        let kept_until = self.keep_until.saturating_add(SPARE).as_millis();
        let mut set_command = redis::cmd("SET");
        set_command.arg(&*self.key.record).arg(&record[..]);
        set_command.arg("NX").arg("GET").arg("PXAT").arg(kept_until);
        let mut commands = vec![set_command];
        if self.claim.extends() {
            let mut extend = redis::cmd("PEXPIREAT");
            extend.arg(&*self.key.record).arg(kept_until).arg("GT");
            commands.push(extend);
        }
        commands.push(redis::cmd("TIME"));
        let answers = link.ask_and_check(commands).await?;
        let is_as_inspected = answers.is_as_inspected;
        let mut values = answers.values;
        let (now, found) = (values.pop(), values.into_iter().next());
        let refused = Failure::Refused;
        let now: (u64, u64) = read(now.ok_or_else(|| refused(unexpected()))?).map_err(refused)?;
        let now = now.0.saturating_mul(1000).saturating_add(now.1 / 1000);
        // Redis keeps nothing whose deadline has passed, and says that it did. So the clock is read
        // after it has been recorded.
        let answer = |outcome| Told {
            outcome,
            now,
            is_as_inspected,
        };
        if History::is_past(self.claim, timestamp(now)) {
            return Ok(answer(Outcome::Past));
        }
        let outcome = match found {
            Some(Value::Nil) => Outcome::New,
            Some(Value::BulkString(found)) if again && found == record => Outcome::New,
            Some(Value::BulkString(found)) if found.starts_with(b"f") => Outcome::Final,
            Some(Value::BulkString(found)) if found.starts_with(b"l") => {
                Outcome::Leased(Duration::ZERO)
            }
            _ => return Err(refused(unexpected())),
        };
        Ok(answer(outcome))
    }

    async fn by_script(&self, link: &Link) -> Result<Told, Failure> {
        let (name, duration) = match self.action {
            #[cfg(any(feature = "postgres", feature = "sqlite"))]
            Action::Consume => ("claim", Duration::ZERO),
            Action::Claim => ("claim", Duration::ZERO),
            Action::Lease(duration) => ("lease", duration),
            Action::Renew(duration) => ("renew", duration),
            Action::Complete => ("complete", Duration::ZERO),
            Action::Release => ("release", Duration::ZERO),
        };
        let most = self.claim.most_records();
        let (places, place) = self.key.places_and_place();
        let keys: &[&[u8]] = match most {
            Some(_) if self.claim.has_place() => &[&self.key.record, places],
            _ => &[&self.key.record],
        };
        let mut script = if self.action.may_add() {
            link.record_script(keys)
        } else {
            // The record is there, and gets no larger.
            link.record_script_of_holder(keys)
        };
        script
            .arg(name)
            .arg(&self.claim.attempt().to_bytes()[..])
            .arg(&self.call[..])
            .arg(self.keep_until.as_millis())
            .arg(millis(duration))
            .arg(u8::from(self.claim.extends()))
            .arg(millis(SPARE));
        if let Some(most) = most {
            script.arg(place).arg(most);
        }
        let answers = link.ask_and_check(vec![script]).await?;
        let value = answers.values.into_iter().next();
        let outcome = value.ok_or_else(unexpected).and_then(read);
        let outcome = outcome.and_then(|parts| self.outcome(parts));
        let (outcome, now) = outcome.map_err(Failure::Refused)?;
        Ok(Told {
            outcome,
            now,
            is_as_inspected: answers.is_as_inspected,
        })
    }

    fn outcome(&self, answer: Vec<Value>) -> Result<(Outcome, u64), StoreError> {
        let mut answer = answer.into_iter();
        let mut part = || answer.next().ok_or_else(unexpected);
        let name: String = read(part()?)?;
        let now = read(part()?)?;
        let is_first = self.action.may_add();
        if is_first && History::is_past(self.claim, timestamp(now)) {
            return Ok((Outcome::Past, now));
        }
        let outcome = match name.as_str() {
            "new" => Outcome::New,
            "final" => Outcome::Final,
            "held" => Outcome::Leased(Duration::from_millis(read(part()?)?)),
            "past" => Outcome::Past,
            "places" => Outcome::Places,
            "done" => Outcome::Done,
            "lost" => Outcome::Lost,
            _ => return Err(error::unexpected()),
        };
        Ok((outcome, now))
    }
}

/// The key of the record: the same on every server that shares the store.
pub(super) struct Key {
    pub(super) record: Vec<u8>,
    /// The start of the last part, the place. The parts before it are the key of the message's
    /// places, on the same server of a cluster.
    place_at: usize,
}

impl Key {
    pub(super) fn of(claim: &Claim) -> Self {
        let digest = claim.digest();
        let (message, place) = digest.split_at(MESSAGE_LEN);
        if !claim.has_place() {
            let record = [b"cs:", message, place].concat();
            return Self {
                place_at: record.len(),
                record,
            };
        }
        // A closing brace would end the part that the slot goes by.
        let message = message.iter().map(|&b| if b == b'}' { b'|' } else { b });
        let mut record: Vec<u8> = b"cs:{".iter().copied().chain(message).collect();
        record.push(b'}');
        let place_at = record.len();
        record.extend_from_slice(place);
        Self { record, place_at }
    }

    pub(super) fn places_and_place(&self) -> (&[u8], &[u8]) {
        self.record.split_at(self.place_at)
    }
}

pub(super) fn next_call() -> [u8; 8] {
    static FIRST: OnceLock<u64> = OnceLock::new();
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let first = *FIRST.get_or_init(crate::random::u64);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    first.wrapping_add(count).to_be_bytes()
}
