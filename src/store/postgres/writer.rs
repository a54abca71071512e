//! The tasks of a store that write: each takes what has come in, in one transaction, on a
//! connection of its own.

use std::{
    collections::{HashMap, hash_map::Entry},
    mem,
    sync::Arc,
    time::Duration,
};

use sqlx::{ConnectOptions as _, PgConnection, postgres::PgConnectOptions};
use tokio::{
    sync::{Mutex, mpsc},
    task::yield_now,
    time::timeout,
};

use super::{
    error,
    statement::{Kind, Step},
    transaction::{Answers, commit},
};
use crate::{
    error::StoreError,
    nonce::{Claimed, Leased},
    store::queue::{Action, Answer, Request},
};

/// The most nonces in one transaction, so that its locks are held for a few milliseconds.
const MAX_STEPS: usize = 512;

/// Lives until the other end of its queue is gone.
#[derive(Debug)]
pub(super) struct Writer {
    pub(super) options: PgConnectOptions,
    /// None after an error: whatever state it was in ends with the connection.
    pub(super) connection: Option<PgConnection>,
    pub(super) queue: Arc<Mutex<mpsc::Receiver<Request>>>,
    pub(super) wait: Duration,
}

impl Writer {
    pub(super) async fn run(mut self) {
        let mut taken = Vec::with_capacity(MAX_STEPS);
        loop {
            {
                let mut queue = self.queue.lock().await;
                if queue.recv_many(&mut taken, MAX_STEPS).await == 0 {
                    return;
                }
                // Who was answered last asks again by now, and belongs to the same transaction.
                yield_now().await;
                while taken.len() < MAX_STEPS
                    && let Ok(request) = queue.try_recv()
                {
                    taken.push(request);
                }
            }
            for (kind, nonces) in group(mem::take(&mut taken)) {
                self.answer(kind, nonces).await;
            }
        }
    }

    async fn answer(&mut self, kind: Kind, nonces: Vec<Copies>) {
        match self.commit(kind, &nonces).await {
            Ok(answers) => {
                for (copies, answer) in nonces.into_iter().zip(answers) {
                    copies.answer(&answer);
                }
            }
            Err(error) => {
                self.connection = None;
                for copies in nonces {
                    copies.answer(&Err(error.clone()));
                }
            }
        }
    }

    async fn commit(&mut self, kind: Kind, nonces: &[Copies]) -> Result<Answers, StoreError> {
        let steps: Vec<_> = nonces.iter().map(|copies| copies.first.step()).collect();
        // What is dropped in the midst of it leaves no connection behind.
        let connection = self.connection.take();
        let wait = self.wait;
        let committed = timeout(wait, async {
            let mut connection = match connection {
                Some(connection) => connection,
                None => connect(&self.options).await?,
            };
            let answers = commit(&mut connection, kind, &steps, wait).await?;
            Ok((connection, answers))
        });
        let (connection, answers) = committed.await.unwrap_or_else(|_| {
            Err(StoreError::unavailable(format!(
                "PostgreSQL gave no answer within {wait:?}"
            )))
        })?;
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
    /// The one that is asked for: of claims, the one that has to be remembered for longest.
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
            Ok(Answer::Claimed(_)) => Ok(Answer::Claimed(Claimed::Replayed)),
            Ok(Answer::Leased(Leased::Held)) => match self.first.action {
                Action::Lease(duration) => Ok(Answer::Leased(Leased::in_flight(duration))),
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
}

/// By kind, and in the order of their digests, so that no two transactions wait for each other.
/// Whoever has given up is left out.
fn group(taken: Vec<Request>) -> Vec<(Kind, Vec<Copies>)> {
    let mut groups: HashMap<_, Copies> = HashMap::with_capacity(taken.len());
    for request in taken {
        if request.answer.is_closed() {
            continue;
        }
        let kind = Kind::of(&request.claim, request.action);
        // Of two holders, one is an old one.
        let holder = kind
            .is_of_holder()
            .then(|| request.claim.attempt().to_bytes());
        match groups.entry((kind, request.digest, holder)) {
            Entry::Occupied(mut copies) => copies.get_mut().add(request),
            Entry::Vacant(place) => {
                place.insert(Copies {
                    first: request,
                    others: Vec::new(),
                });
            }
        }
    }
    let mut sorted: Vec<_> = groups.into_iter().collect();
    sorted.sort_unstable_by_key(|(group, _)| *group);
    let mut by_kind: Vec<(Kind, Vec<Copies>)> = Vec::new();
    for ((kind, ..), copies) in sorted {
        match by_kind.last_mut() {
            Some((last, nonces)) if *last == kind => nonces.push(copies),
            _ => by_kind.push((kind, vec![copies])),
        }
    }
    by_kind
}
