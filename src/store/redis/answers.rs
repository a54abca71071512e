//! The Redis store of answers: each step is one script on the record and the index of its owner.

use std::{fmt, sync::Arc, time::Duration};

use bytes::Bytes;
use redis::Value;
use tokio::time::timeout;

use super::{
    error::{Failure, late, read, unexpected},
    shared::Shared,
    slot::slot,
    step::{next_call, replicated},
    store::RedisStore,
    time::{SPARE, millis},
};
use crate::{
    error::StoreError,
    future::StoreFuture,
    message::Encoding,
    once::{AnswerClaim, AnswerOutcome, AnswerStore, NonceStore as _, Sharing, StepOutcome},
    store::batched::answers::{ANSWERS_OF_A_KEY, over_quota},
};

/// Remembers the answers to intentions in the Redis or Valkey of a [`RedisStore`], for all servers
/// of a service. **What a failover or a restart of Redis forgets runs again, without an error**,
/// also where the [`RedisStore`] notices the loss. For what must not happen twice, choose
/// `PostgresAnswers`.
///
/// Guarantees, on one master whose data lasts:
/// - however many claims on one key arrive, from any of the servers, at most one is answered
///   [`AnswerOutcome::Claimed`] until its retention has passed by the clock of Redis. Keys are
///   compared by their SHA-256;
/// - a record is never evicted: a server whose `maxmemory-policy` is not `noeviction` is not used.
///   A server without memory is answered with [`StoreErrorKind::Full`], and still records what an
///   attempt did that has its key, if the answer has at most 16 KiB;
/// - one key id of one namespace has no more than 1 million records
///   ([`records_of_a_key`](Self::records_of_a_key)), beyond which it is refused with
///   [`StoreErrorKind::KeyOverQuota`];
/// - a server that is down, slow or a replica is answered with an error.
///
/// All records of one key id are on one server of a cluster.
///
/// Replication is asynchronous: a promoted replica can lack the last answers, and so can a server
/// that restarts without `appendfsync always`. No signed time tells how old an intention is, so a
/// retry cannot be refused for its age. Prefer
/// [`RedisStoreBuilder::replicas`](crate::store::RedisStoreBuilder::replicas), or
/// `PostgresAnswers`.
///
/// ```no_run
/// use countersign::{idempotency::IdempotencyLayer, store::{RedisAnswers, RedisStore}};
///
/// # async fn example() -> Result<(), countersign::error::OpenError> {
/// let nonces = RedisStore::open("rediss://user:password@redis.example.com:6379").await?;
/// let layer = IdempotencyLayer::new(RedisAnswers::of(&nonces));
/// # Ok(()) }
/// ```
///
/// [`StoreErrorKind::Full`]: crate::error::StoreErrorKind::Full
/// [`StoreErrorKind::KeyOverQuota`]: crate::error::StoreErrorKind::KeyOverQuota
pub struct RedisAnswers {
    shared: Arc<Shared>,
    sharing: Sharing,
    records_of_a_key: u64,
}

/// A server without memory still records an answer of this length: its status and headers, without
/// which nobody would know of an effect. The layer leaves out the body of a longer one.
const SHORT: usize = 16 * 1024;

/// How often a step is tried over a new connection.
const TRIES: u32 = 3;

#[derive(Clone, Copy)]
enum Step<'s> {
    Claim,
    Find,
    Renew(Duration),
    Record(&'s [u8]),
    Release,
    Resolve(&'s [u8]),
}

impl RedisAnswers {
    /// Keeps answers on the servers of this store, over its connections and with its timeout.
    #[must_use]
    pub fn of(store: &RedisStore) -> Self {
        Self {
            shared: store.shared(),
            sharing: store.sharing(),
            records_of_a_key: ANSWERS_OF_A_KEY,
        }
    }

    /// Sets the most records that one key id of one namespace may have. Default: 1 million. With 0,
    /// nothing is claimed.
    #[must_use]
    pub fn records_of_a_key(mut self, records: u64) -> Self {
        self.records_of_a_key = records;
        self
    }

    async fn ask(&self, claim: &AnswerClaim, step: Step<'_>) -> Result<Vec<Value>, StoreError> {
        let wait = self.shared.terms().wait;
        let asked = timeout(wait, Box::pin(self.try_ask(claim, step))).await;
        asked.unwrap_or_else(|_| Err(late(wait)))
    }

    async fn try_ask(&self, claim: &AnswerClaim, step: Step<'_>) -> Result<Vec<Value>, StoreError> {
        let hex = |bytes: &[u8]| Encoding::Hex.encode(bytes);
        let (owner, member) = (hex(&claim.owner()), hex(claim.digest()));
        // The part in braces keeps both on one server of a cluster.
        let (record, index) = (
            format!("ca:{{{owner}}}:{member}"),
            format!("ca:{{{owner}}}"),
        );
        // Tells a reply that was lost from another attempt.
        let call = next_call();
        let mut failed = None;
        for _ in 0..TRIES {
            let server = match self.shared.server(slot(record.as_bytes())).await {
                Ok(server) => server,
                Err(error) => return Err(failed.unwrap_or(error)),
            };
            let (name, lease, answer) = match step {
                Step::Claim => ("claim", claim.lease(), &b""[..]),
                Step::Find => ("find", Duration::ZERO, &b""[..]),
                Step::Renew(lease) => ("renew", lease, &b""[..]),
                Step::Record(answer) => ("record", Duration::ZERO, answer),
                Step::Release => ("release", Duration::ZERO, &b""[..]),
                Step::Resolve(answer) => ("resolve", Duration::ZERO, answer),
            };
            let keys = [record.as_bytes(), index.as_bytes()];
            let is_holders = !matches!(step, Step::Claim) && answer.len() <= SHORT;
            let mut script = match is_holders {
                true => server.link.answers_script_of_holder(&keys),
                false => server.link.answers_script(&keys),
            };
            script
                .arg(name)
                .arg(&member)
                .arg(&claim.attempt().to_bytes()[..])
                .arg(&call[..])
                .arg(&claim.fingerprint()[..])
                .arg(millis(claim.retention()))
                .arg(millis(lease))
                .arg(u8::from(claim.runs_again()))
                .arg(self.records_of_a_key)
                .arg(millis(SPARE))
                .arg(answer);
            match server.link.ask_and_check(vec![script]).await {
                Ok(answers) => {
                    if !answers.is_as_inspected {
                        self.shared.inspect_one(&server).await?;
                    }
                    if !matches!(step, Step::Find) {
                        replicated(&server).await?;
                    }
                    let value = answers.values.into_iter().next();
                    return read(value.ok_or_else(unexpected)?);
                }
                Err(Failure::Refused(error)) => return Err(error),
                Err(lost) => {
                    server.link.break_off();
                    failed = Some(lost.into_error());
                }
            }
        }
        Err(failed.unwrap_or_else(unexpected))
    }

    async fn outcome(
        &self,
        claim: &AnswerClaim,
        step: Step<'_>,
    ) -> Result<Option<AnswerOutcome>, StoreError> {
        let mut answer = self.ask(claim, step).await?.into_iter();
        let mut part = || answer.next().ok_or_else(unexpected);
        let name: String = read(part()?)?;
        Ok(Some(match name.as_str() {
            "claimed" => AnswerOutcome::Claimed,
            "other" => AnswerOutcome::OtherContent,
            "unknown" => AnswerOutcome::Unknown,
            "held" => AnswerOutcome::in_flight(Duration::from_millis(read(part()?)?)),
            "answered" => {
                let answer: Vec<u8> = read(part()?)?;
                AnswerOutcome::Answered(answer.into())
            }
            "free" => return Ok(None),
            "over" => {
                return Err(over_quota());
            }
            _ => return Err(unexpected()),
        }))
    }

    async fn step(&self, claim: &AnswerClaim, step: Step<'_>) -> Result<StepOutcome, StoreError> {
        let answer = self.ask(claim, step).await?.into_iter().next();
        let name: String = read(answer.ok_or_else(unexpected)?)?;
        match name.as_str() {
            "done" => Ok(StepOutcome::Done),
            "lost" => Ok(StepOutcome::Lost),
            _ => Err(unexpected()),
        }
    }
}

impl AnswerStore for RedisAnswers {
    fn sharing(&self) -> Sharing {
        self.sharing
    }

    fn claim<'a>(&'a self, claim: &'a AnswerClaim) -> StoreFuture<'a, AnswerOutcome> {
        StoreFuture::new(async move {
            let outcome = self.outcome(claim, Step::Claim).await?;
            outcome.ok_or_else(unexpected)
        })
    }

    fn find<'a>(&'a self, claim: &'a AnswerClaim) -> StoreFuture<'a, Option<AnswerOutcome>> {
        StoreFuture::new(self.outcome(claim, Step::Find))
    }

    fn renew<'a>(
        &'a self,
        claim: &'a AnswerClaim,
        lease: Duration,
    ) -> StoreFuture<'a, StepOutcome> {
        StoreFuture::new(self.step(claim, Step::Renew(lease)))
    }

    fn record<'a>(
        &'a self,
        claim: &'a AnswerClaim,
        answer: &'a Bytes,
    ) -> StoreFuture<'a, StepOutcome> {
        StoreFuture::new(self.step(claim, Step::Record(answer)))
    }

    fn release<'a>(&'a self, claim: &'a AnswerClaim) -> StoreFuture<'a, StepOutcome> {
        StoreFuture::new(self.step(claim, Step::Release))
    }

    fn resolve<'a>(
        &'a self,
        claim: &'a AnswerClaim,
        answer: &'a Bytes,
    ) -> StoreFuture<'a, StepOutcome> {
        StoreFuture::new(self.step(claim, Step::Resolve(answer)))
    }
}

impl fmt::Debug for RedisAnswers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisAnswers")
            .field("records_of_a_key", &self.records_of_a_key)
            .finish_non_exhaustive()
    }
}
