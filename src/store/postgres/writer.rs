//! The tasks of a store that write: each takes what has come in, in one transaction, on a
//! connection of its own.

use std::{mem, sync::Arc, time::Duration};

use sqlx::{ConnectOptions as _, PgConnection, postgres::PgConnectOptions};
use tokio::{sync::Mutex, time::timeout};

use super::{
    error,
    own::Newest,
    statement::Terms,
    step::Step,
    transaction::{Answers, commit},
};
use crate::{
    error::StoreError,
    once::{ClaimOutcome, LeaseOutcome},
    store::batched::{Action, Answer, Request, Retentions, Taken, Work},
};

/// The most nonces in one transaction, so that its locks are held for a few milliseconds.
pub(super) const MAX_STEPS: usize = 512;

/// Lives until the other end of its queue is gone.
#[derive(Debug)]
pub(super) struct Writer {
    pub(super) options: PgConnectOptions,
    /// `None` after an error, because the state of the session ends with the connection.
    pub(super) connection: Option<PgConnection>,
    pub(super) queue: Arc<Mutex<Taken<Request>>>,
    pub(super) wait: Duration,
    pub(super) newest: Arc<Newest>,
    pub(super) retentions: Arc<Retentions>,
}

impl Work for Writer {
    type Asked = Request;

    async fn take(&mut self, batch: &mut Vec<Request>) -> bool {
        let mut queue = self.queue.lock().await;
        queue.take(batch).await && {
            queue.take_more(batch).await;
            true
        }
    }

    async fn answer(&mut self, batch: &mut Vec<Request>) {
        let mut nonces = by_nonce(mem::take(batch));
        while let Some(first) = nonces.first() {
            let ours = |copies: &&Copies| copies.first.terms() == first.first.terms();
            let rest = nonces.split_off(nonces.iter().take_while(ours).count());
            self.answer_copies(mem::replace(&mut nonces, rest)).await;
        }
    }
}

impl Writer {
    async fn answer_copies(&mut self, batch: Vec<Copies>) {
        match self.commit(&batch).await {
            Ok(answers) => {
                for (copies, answer) in batch.into_iter().zip(answers) {
                    copies.answer(&answer);
                }
            }
            Err(error) => {
                self.connection = None;
                for copies in batch {
                    copies.answer(&Err(error.clone()));
                }
            }
        }
    }

    async fn commit(&mut self, batch: &[Copies]) -> Result<Answers, StoreError> {
        let Some(terms) = batch.first().map(|copies| copies.first.terms()) else {
            return Ok(Vec::new());
        };
        let steps: Vec<_> = batch.iter().map(|copies| copies.first.step()).collect();
        // A future that is dropped in the midst of it leaves no connection behind.
        let connection = self.connection.take();
        let (wait, newest, retentions) = (self.wait, &self.newest, &self.retentions);
        let committed = timeout(wait, async {
            let mut connection = match connection {
                Some(connection) => connection,
                None => connect(&self.options).await?,
            };
            let answers = commit(&mut connection, &terms, &steps, wait, newest, retentions).await?;
            Ok((connection, answers))
        });
        let committed = committed.await;
        let late = |_| Err(StoreError::late("PostgreSQL", wait));
        let (connection, answers) = committed.unwrap_or_else(late)?;
        self.connection = Some(connection);
        Ok(answers)
    }
}

pub(super) async fn connect(options: &PgConnectOptions) -> Result<PgConnection, StoreError> {
    options.connect().await.map_err(error::of_driver)
}

/// The steps of one kind on one nonce that came in together.
#[derive(Debug)]
struct Copies {
    /// The one that is asked for: of claims, the one that must be remembered for longest.
    first: Request,
    others: Vec<Request>,
}

impl Copies {
    fn add(&mut self, mut request: Request) {
        if request.claim.deadline() > self.first.claim.deadline() {
            mem::swap(&mut request, &mut self.first);
        }
        self.others.push(request);
    }

    /// Answers all: who has gone takes the outcome for unknown.
    fn answer(self, answer: &Result<Answer, StoreError>) {
        let to_copies = match answer {
            Ok(Answer::Claimed(_)) => Ok(Answer::Claimed(ClaimOutcome::Replayed)),
            Ok(Answer::Leased(LeaseOutcome::Held)) => match self.first.action {
                Action::Lease(duration) => Ok(Answer::Leased(LeaseOutcome::in_flight(duration))),
                _ => answer.clone(),
            },
            _ => answer.clone(),
        };
        for copy in self.others {
            let _ = copy.answer.send(to_copies.clone());
        }
        let _ = self.first.answer.send(answer.clone());
    }
}

impl Request {
    fn step(&self) -> Step<'_> {
        Step {
            claim: &self.claim,
            digest: self.digest,
            action: self.action,
        }
    }

    fn terms(&self) -> Terms<'_> {
        Terms::of(&self.claim, self.action)
    }

    /// The same for duplicates. One of two holders is an old one.
    fn key(&self) -> (Terms<'_>, [u8; 32], Option<[u8; 16]>) {
        let terms = self.terms();
        let holder = terms
            .is_of_holder()
            .then(|| self.claim.attempt().to_bytes());
        (terms, self.digest, holder)
    }
}

/// By terms, and in the order of their digests, so that no two transactions wait for each other.
fn by_nonce(mut taken: Vec<Request>) -> Vec<Copies> {
    taken.sort_by(|a, b| a.key().cmp(&b.key()));
    let mut nonces: Vec<Copies> = Vec::with_capacity(taken.len());
    for request in taken {
        match nonces.last_mut() {
            Some(copies) if copies.first.key() == request.key() => copies.add(request),
            _ => nonces.push(Copies {
                first: request,
                others: Vec::new(),
            }),
        }
    }
    nonces
}
