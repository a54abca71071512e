//! A ticket: what was verified and is handed out once, the four ways to use it up, and one to leave
//! that to somebody else.

use std::{iter, mem, sync::Arc, time::Duration};

use super::{
    claim::Claim,
    ending::Ending,
    fate::{Fate, FateCell},
    lease::Lease,
    nonce::NonceKind,
    outcome::Subject,
    store::{ClaimOutcome, ConsumeIn, LeaseOutcome, NonceStore, TransactIn},
    turns::{Turn, Turns},
};
use crate::{
    error::{Fault, Rejection, StoreError},
    future::{lock_wait, within},
    metrics::{ClaimVerdict, Stopwatch},
};

/// What a ticket guards: it cannot be read before the ticket is used up.
pub(crate) trait Guarded {
    type Content;

    /// Whether it still may be used.
    fn check_freshness(&self) -> Result<(), Fault>;

    /// Says in the words of its carrier why it is not handed out.
    fn refuse(refusal: Refusal) -> Rejection;

    fn hand_out(self) -> Self::Content;
}

/// Why something guarded is not handed out.
pub(crate) enum Refusal {
    /// It was used before.
    Used(String),
    /// It may not be used any longer.
    Stale(Fault),
}

/// Something guarded, and the claim on it. A ticket that is dropped uses up nothing.
pub(crate) struct Ticket<G> {
    guarded: G,
    claim: Claim,
    /// What is recorded with it, in this order: all of it, or none of it is used.
    also: Vec<Claim>,
    /// How long each step waits for the store, or the database.
    timeout: Duration,
    /// Moved into `fate` as soon as somebody watches.
    subject: Subject,
    turn: Option<Turn>,
    also_turns: Vec<Turn>,
    fate: Option<FateCell>,
}

impl<G: Guarded> Ticket<G> {
    /// Whoever asks for a report on `subject` is told what becomes of the claim.
    pub(crate) fn new(guarded: G, claim: Claim, timeout: Duration, subject: Subject) -> Self {
        Self {
            guarded,
            claim,
            also: Vec::new(),
            timeout,
            subject,
            turn: None,
            also_turns: Vec::new(),
            fate: None,
        }
    }

    /// Whether this very claim is one of those that are going to be recorded.
    pub(crate) fn records(&self, claim: &Claim) -> bool {
        let mut known = iter::once(&self.claim).chain(&self.also);
        known.any(|known| known.digest() == claim.digest())
    }

    /// Adds what another ticket would record, so that the two are used up together. If either was
    /// used before, both are recorded, and none is handed out: each alone is a replay from then on.
    pub(crate) fn and(&mut self, other: Self, join: impl FnOnce(&mut G, G)) {
        join(&mut self.guarded, other.guarded);
        for claim in iter::once(other.claim).chain(other.also) {
            let mut known = iter::once(&mut self.claim).chain(&mut self.also);
            // Under one key, with one nonce, they are one.
            match known.find(|known| known.digest() == claim.digest()) {
                Some(known) => known.remember_as_long_as(&claim),
                None => self.also.push(claim),
            }
        }
    }

    pub(crate) fn guarded(&self) -> &G {
        &self.guarded
    }

    fn check_freshness(&self) -> Result<(), Rejection> {
        let fresh = self.guarded.check_freshness();
        fresh.map_err(|stale| G::refuse(Refusal::Stale(stale)))
    }

    /// What is going to be recorded.
    pub(crate) fn to_record(&self) -> &Claim {
        &self.claim
    }

    /// What becomes of it, for whoever waits to know. The turn lasts for as long as anybody does.
    pub(crate) fn fate(&mut self) -> FateCell {
        let (subject, turn) = (&mut self.subject, &mut self.turn);
        let also = &mut self.also_turns;
        let fate = self
            .fate
            .get_or_insert_with(|| FateCell::new(mem::take(subject), turn.take(), mem::take(also)));
        fate.clone()
    }

    /// Shares its fate with whoever waits to know already.
    pub(crate) fn watched_by(mut self, fate: FateCell) -> Self {
        self.fate = Some(fate);
        self
    }

    /// Waits until no copy is in its transaction, if it has not waited yet.
    pub(crate) async fn wait_for_turn(&mut self, turns: &Turns) -> Result<(), Rejection> {
        if self.turn.is_some() {
            return Ok(());
        }
        let own = self.claim.message();
        let mut claims: Vec<_> = iter::once(&self.claim).chain(&self.also).collect();
        // In one order everywhere, so that no two wait for each other; and one message has one turn.
        claims.sort_by_key(|claim| claim.message());
        claims.dedup_by_key(|claim| claim.message());
        let (mut turn, mut also) = (None, Vec::new());
        for claim in claims {
            let taken = turns.take(claim, self.timeout).await;
            if claim.message() == own {
                turn = Some(self.admit(taken)?);
            } else {
                also.push(taken.inspect_err(|rejection| self.subject.refused(rejection))?);
            }
        }
        (self.turn, self.also_turns) = (turn, also);
        Ok(())
    }

    /// Takes its turn if no copy has one: for a caller whose connection is taken already.
    pub(crate) fn take_turn_at_once(&mut self, turns: &Turns) -> Result<(), Rejection> {
        let turn = turns.take_at_once(&self.claim);
        self.turn = Some(self.admit(turn)?);
        Ok(())
    }

    fn admit(&self, turn: Result<Turn, Rejection>) -> Result<Turn, Rejection> {
        let admitted = turn.and_then(|turn| match turn.is_used() {
            // The duplicate of an event extends its record, which is in the database.
            // What is recorded with it has to be, also if it was used before.
            true if !self.claim.extends() && self.also.is_empty() => {
                Err(used_before::<G>(&self.claim))
            }
            _ => Ok(turn),
        });
        admitted.inspect_err(|rejection| self.subject.refused(rejection))
    }

    /// Leaves the use to somebody else, together with the claim on it. `None` if more than one
    /// claim has to be recorded.
    pub(crate) fn leave(mut self) -> Option<(G, Claim)> {
        if !self.also.is_empty() {
            return None;
        }
        self.fate().set(Fate::Left);
        Some((self.guarded, self.claim))
    }

    /// Claims it in the store, which never gives it back.
    pub(crate) async fn claim(self, store: &dyn NonceStore) -> Result<G::Content, Rejection> {
        let mut used_first = Ok(());
        for claim in iter::once(&self.claim).chain(&self.also) {
            let asked = Stopwatch::start();
            let claimed = within(self.timeout, || store.claim(claim)).await;
            let is_answered = claimed.is_ok();
            used_first = used_first.and(first_use::<G>(&asked, claimed.map(for_good), claim));
            if !is_answered {
                break;
            }
        }
        used_first.inspect_err(|rejection| self.subject.refused(rejection))?;
        self.subject.used();
        self.check_freshness()?;
        Ok(self.guarded.hand_out())
    }

    /// Takes the lease on it, for `duration` at a time.
    pub(crate) async fn lease(
        self,
        store: Arc<dyn NonceStore>,
        duration: Duration,
    ) -> Result<(G::Content, Lease), Rejection> {
        let subject = self.subject.clone();
        let mut lease = Lease::new(store, self.claim, duration, self.timeout, self.subject);
        let taken = match self.also.is_empty() {
            true => {
                let asked = Stopwatch::start();
                let leased = lease.take().await;
                first_use::<G>(&asked, leased, lease.claim())
            }
            false => lease_all::<G>(&mut lease, self.also).await,
        };
        taken.inspect_err(|rejection| subject.refused(rejection))?;
        if let Err(stale) = self.guarded.check_freshness() {
            // Nobody has begun to use it: the same event, signed anew, need not wait for the lease
            // to end.
            let _ = lease.release().await;
            return Err(G::refuse(Refusal::Stale(stale)));
        }
        Ok((self.guarded.hand_out(), lease))
    }

    /// Records it in the caller's transaction.
    pub(crate) async fn consume<T: ConsumeIn + ?Sized>(
        mut self,
        transaction: &mut T,
    ) -> Result<G::Content, Rejection> {
        let fate = self.fate();
        let recorded = async {
            self.check_freshness()?;
            let mut used_first = Ok(());
            for claim in iter::once(&self.claim).chain(&self.also) {
                let asked = Stopwatch::start();
                let wait = lock_wait(self.timeout);
                let claimed = within(self.timeout, || transaction.consume(claim, wait)).await;
                let is_answered = claimed.is_ok();
                used_first = used_first.and(first_use::<G>(&asked, claimed.map(for_good), claim));
                if !is_answered {
                    break;
                }
            }
            used_first?;
            self.check_freshness()
        };
        match recorded.await {
            Ok(()) => {
                fate.set(Fate::Consumed(self.claim));
                Ok(self.guarded.hand_out())
            }
            Err(rejection) => Err(fate.fail(rejection)),
        }
    }

    /// Begins a transaction, consumes, works, and commits.
    pub(crate) async fn transact<D, T, E>(
        mut self,
        database: &D,
        work: impl AsyncFnOnce(&mut D::Connection, G::Content) -> Result<T, E>,
    ) -> Result<T, E>
    where
        D: TransactIn + ?Sized,
        E: From<Rejection>,
    {
        let fate = self.fate();
        let begun = within(self.timeout, || database.begin()).await;
        let transaction = begun.map_err(|error| fate.fail(error.into()))?;
        self.transact_in(database, transaction, work).await
    }

    /// As [`transact`](Self::transact), in a transaction that has begun.
    pub(crate) async fn transact_in<D, T, E>(
        mut self,
        database: &D,
        mut transaction: D::Transaction,
        work: impl AsyncFnOnce(&mut D::Connection, G::Content) -> Result<T, E>,
    ) -> Result<T, E>
    where
        D: TransactIn + ?Sized,
        E: From<Rejection>,
    {
        let fate = self.fate();
        let end = Ending {
            database,
            claim: self.claim.clone(),
            records_several: !self.also.is_empty(),
            timeout: self.timeout,
            fate: fate.clone(),
        };
        let content = match self.consume(&mut transaction).await {
            Ok(content) => content,
            Err(rejection) => {
                end.refused(transaction, &rejection).await;
                return Err(rejection.into());
            }
        };
        // Whatever comes before COMMIT, dropping this future too, rolls back.
        fate.set(Fate::RolledBack);
        match work(D::connection(&mut transaction), content).await {
            Ok(answer) => {
                let committed = end.commit(transaction).await;
                committed.map_err(|rejection| fate.fail(rejection))?;
                Ok(answer)
            }
            Err(error) => {
                end.roll_back(transaction).await;
                Err(error)
            }
        }
    }
}

/// Takes the leases on all claims of one request. If any was completed before, all are completed;
/// if one cannot be taken, those that were are released.
async fn lease_all<G: Guarded>(first: &mut Lease, also: Vec<Claim>) -> Result<(), Rejection> {
    let beside = also.into_iter().map(|claim| first.beside(claim));
    let beside: Vec<_> = beside.collect();
    let (mut held, mut used, mut blocked) = (Vec::new(), None, None);
    for lease in iter::once(&*first).chain(&beside) {
        let asked = Stopwatch::start();
        let taken = lease.take().await;
        let is_used = matches!(taken, Ok(LeaseOutcome::Completed));
        match first_use::<G>(&asked, taken, lease.claim()) {
            Ok(()) => held.push(lease),
            Err(rejection) if is_used => used = used.or(Some(rejection)),
            Err(rejection) => {
                blocked = Some(rejection);
                break;
            }
        }
    }
    if let Some(rejection) = used {
        for lease in held {
            lease.complete().await?;
        }
        return Err(rejection);
    }
    if let Some(rejection) = blocked {
        for lease in held.into_iter().rev() {
            // It ends by itself if the store cannot be told.
            let _ = lease.release().await;
        }
        return Err(rejection);
    }
    first.keep_beside(beside);
    Ok(())
}

/// A claim that is never given back is a lease that was held, or is completed.
pub(crate) fn for_good(claimed: ClaimOutcome) -> LeaseOutcome {
    match claimed {
        ClaimOutcome::New => LeaseOutcome::Held,
        ClaimOutcome::Replayed => LeaseOutcome::Completed,
    }
}

/// Counts the answer of a store to a claim.
pub(crate) fn counted(
    asked: &Stopwatch,
    answer: Result<LeaseOutcome, StoreError>,
) -> Result<LeaseOutcome, StoreError> {
    asked.claimed(match &answer {
        Ok(LeaseOutcome::Held) => ClaimVerdict::New,
        Ok(LeaseOutcome::InFlight { .. }) => ClaimVerdict::InFlight,
        Ok(LeaseOutcome::Completed) => ClaimVerdict::Replayed,
        Err(_) => ClaimVerdict::Failed,
    });
    answer
}

/// Counts the answer of a store, and lets through nothing but a first use.
fn first_use<G: Guarded>(
    asked: &Stopwatch,
    answer: Result<LeaseOutcome, StoreError>,
    claim: &Claim,
) -> Result<(), Rejection> {
    match counted(asked, answer)? {
        LeaseOutcome::Held => Ok(()),
        LeaseOutcome::InFlight { remaining } => {
            let detail = "another attempt holds the lease";
            Err(Rejection::in_flight(detail, remaining))
        }
        LeaseOutcome::Completed => Err(used_before::<G>(claim)),
    }
}

fn used_before<G: Guarded>(claim: &Claim) -> Rejection {
    let (nonce, key_id) = (claim.nonce(), claim.key_id());
    let bytes = nonce.as_bytes().escape_ascii();
    let what = match nonce.kind() {
        NonceKind::Covered => format!("nonce `{bytes}`"),
        NonceKind::Event => format!("event `{bytes}`"),
        NonceKind::Digest => "the signed message".to_owned(),
    };
    let detail = format!("{what} of key `{key_id}` was used before");
    G::refuse(Refusal::Used(detail))
}
