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
    error::{self, Failure, sign_again, unexpected},
    link::{Link, read},
    shared::{Server, Shared},
    slot::slot,
    time::{SPARE, millis, timestamp},
};
use crate::{
    clock::Timestamp,
    error::StoreError,
    nonce::{Claim, Claimed, Held, Leased},
};

/// How often a step is tried over a new connection.
const TRIES: u32 = 3;

#[derive(Clone, Copy, Debug)]
pub(super) enum Action {
    Claim,
    Lease(Duration),
    Renew(Duration),
    Complete,
    Release,
}

/// What became of the record, and the time on the server right after.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    New,
    Final,
    Leased(Duration),
    /// The server's clock had reached the deadline.
    Past,
    Done,
    Lost,
}

/// What a server has answered.
#[derive(Clone, Copy, Debug)]
struct Answer {
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
    key: [u8; 35],
    /// Tells a reply that was lost from a copy, even from one of the same attempt.
    call: [u8; 8],
    keep_until: Timestamp,
}

pub(super) async fn claim(shared: &Arc<Shared>, claim: &Claim) -> Result<Claimed, StoreError> {
    match step(shared, claim, Action::Claim).await? {
        Outcome::New => Ok(Claimed::New),
        Outcome::Final | Outcome::Leased(_) => Ok(Claimed::Replayed),
        _ => Err(unexpected()),
    }
}

pub(super) async fn lease(
    shared: &Arc<Shared>,
    claim: &Claim,
    duration: Duration,
) -> Result<Leased, StoreError> {
    match step(shared, claim, Action::Lease(duration)).await? {
        Outcome::New => Ok(Leased::Held),
        Outcome::Final => Ok(Leased::Completed),
        Outcome::Leased(remaining) => Ok(Leased::in_flight(remaining)),
        _ => Err(unexpected()),
    }
}

pub(super) async fn of_holder(
    shared: &Arc<Shared>,
    claim: &Claim,
    action: Action,
) -> Result<Held, StoreError> {
    match step(shared, claim, action).await? {
        Outcome::Done => Ok(Held::Done),
        Outcome::Lost => Ok(Held::Lost),
        _ => Err(unexpected()),
    }
}

async fn step(shared: &Arc<Shared>, claim: &Claim, action: Action) -> Result<Outcome, StoreError> {
    let is_first = matches!(action, Action::Claim | Action::Lease(_));
    let mut step = Step {
        claim,
        action,
        key: key(claim),
        call: next_call(),
        keep_until: claim.deadline(),
    };
    let slot = slot(&step.key);
    let mut failed = None;
    for _ in 0..TRIES {
        // What a server may have forgotten is known once it is connected.
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
                    return Err(sign_again("the claim's deadline has passed"));
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
                    // Who asks again could not tell a release from a record that ended.
                    break;
                }
            }
        }
    }
    Err(failed.unwrap_or_else(unexpected))
}

async fn replicated(server: &Server) -> Result<(), StoreError> {
    match &server.replication {
        None => Ok(()),
        Some(replication) => replication
            .done()
            .await
            .inspect_err(|_| server.link.break_off()),
    }
}

impl Step<'_> {
    async fn on(&self, link: &Link, again: bool) -> Result<Answer, Failure> {
        if !matches!(self.action, Action::Claim) {
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
    async fn by_set(&self, link: &Link, again: bool) -> Result<Answer, Failure> {
        let mut record = [0; 9];
        let [kind, call @ ..] = &mut record;
        *kind = b'f';
        *call = self.call;
        let kept_until = self.keep_until.plus(SPARE).as_millis();
        let mut set_command = redis::cmd("SET");
        set_command.arg(&self.key[..]).arg(&record[..]);
        set_command.arg("NX").arg("GET").arg("PXAT").arg(kept_until);
        let mut commands = vec![set_command];
        if self.claim.extends() {
            let mut extend = redis::cmd("PEXPIREAT");
            extend.arg(&self.key[..]).arg(kept_until).arg("GT");
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
        let answer = |outcome| Answer {
            outcome,
            now,
            is_as_inspected,
        };
        if self.claim.deadline() <= timestamp(now) {
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

    async fn by_script(&self, link: &Link) -> Result<Answer, Failure> {
        let (name, duration) = match self.action {
            Action::Claim => ("claim", Duration::ZERO),
            Action::Lease(duration) => ("lease", duration),
            Action::Renew(duration) => ("renew", duration),
            Action::Complete => ("complete", Duration::ZERO),
            Action::Release => ("release", Duration::ZERO),
        };
        let mut script = match self.action {
            Action::Claim | Action::Lease(_) => link.record_script(&self.key),
            // The record is there, and gets no larger.
            _ => link.record_script_of_holder(&self.key),
        };
        script
            .arg(name)
            .arg(&self.claim.attempt().to_bytes()[..])
            .arg(&self.call[..])
            .arg(self.keep_until.as_millis())
            .arg(millis(duration))
            .arg(u8::from(self.claim.extends()))
            .arg(millis(SPARE));
        let answers = link.ask_and_check(vec![script]).await?;
        let value = answers.values.into_iter().next();
        let outcome = value.ok_or_else(unexpected).and_then(read);
        let outcome = outcome.and_then(|parts| self.outcome(parts));
        let (outcome, now) = outcome.map_err(Failure::Refused)?;
        Ok(Answer {
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
        let is_first = matches!(self.action, Action::Claim | Action::Lease(_));
        if is_first && self.claim.deadline() <= timestamp(now) {
            return Ok((Outcome::Past, now));
        }
        let outcome = match name.as_str() {
            "new" => Outcome::New,
            "final" => Outcome::Final,
            "held" => Outcome::Leased(Duration::from_millis(read(part()?)?)),
            "past" => Outcome::Past,
            "done" => Outcome::Done,
            "lost" => Outcome::Lost,
            _ => return Err(error::unexpected()),
        };
        Ok((outcome, now))
    }
}

/// The same on every server that shares the store.
fn key(claim: &Claim) -> [u8; 35] {
    let mut key = [0; 35];
    let (prefix, digest) = key.split_at_mut(3);
    prefix.copy_from_slice(b"cs:");
    digest.copy_from_slice(&claim.digest());
    key
}

fn next_call() -> [u8; 8] {
    static FIRST: OnceLock<u64> = OnceLock::new();
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let first = *FIRST.get_or_init(crate::random::u64);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    first.wrapping_add(count).to_be_bytes()
}
