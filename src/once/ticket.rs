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
    error::{Fault, FaultKind, StoreError},
    future::{lock_wait, within},
    metrics::{ClaimVerdict, Stopwatch},
};

/// The value that a ticket guards: it cannot be read before the ticket is used up.
pub(crate) trait Guarded {
    type Content;

    /// The answer of its carrier.
    type Refusal: Clone;

    /// Returns whether it still may be used.
    fn check_freshness(&self) -> Result<(), Fault>;

    /// Says in the words of its carrier why it is not handed out.
    fn refuse(fault: Fault) -> Self::Refusal;

    fn hand_out(self) -> Self::Content;
}

/// Something guarded, and the claim on it. A ticket that is dropped uses up nothing. It is boxed, because
/// it is handed on from stage to stage, and every future that it passes through has room for it.
pub(crate) struct Ticket<G: Guarded> {
    guarded: G,
    claim: Claim,
    /// The claims that are recorded with it, in this order: all of them, or none.
    also: Vec<Claim>,
    /// How long each step waits for the store, or the database.
    timeout: Duration,
    /// Moved into `fate` as soon as somebody watches.
    subject: Subject,
    turn: Option<Turn>,
    also_turns: Vec<Turn>,
    fate: Option<FateCell<G::Refusal>>,
}

impl<G: Guarded> Ticket<G> {
    /// Reports on `subject` tell the fate of the claim.
    pub(crate) fn new(guarded: G, claim: Claim, timeout: Duration, subject: Subject) -> Box<Self> {
        Box::new(Self {
            guarded,
            claim,
            also: Vec::new(),
            timeout,
            subject,
            turn: None,
            also_turns: Vec::new(),
            fate: None,
        })
    }

    /// Returns whether this very claim is one of those that are going to be recorded.
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

    /// Returns what is going to be recorded.
    pub(crate) fn to_record(&self) -> &Claim {
        &self.claim
    }

    /// Returns the outcome of the ticket, for those who wait for it. The turn lasts while anybody
    /// waits.
    pub(crate) fn fate(&mut self) -> FateCell<G::Refusal> {
        let (subject, turn) = (&mut self.subject, &mut self.turn);
        let also = &mut self.also_turns;
        let fate = self
            .fate
            .get_or_insert_with(|| FateCell::new(mem::take(subject), turn.take(), mem::take(also)));
        fate.clone()
    }

    /// Shares the outcome with those who wait for it already.
    pub(crate) fn watched_by(mut self: Box<Self>, fate: FateCell<G::Refusal>) -> Box<Self> {
        self.fate = Some(fate);
        self
    }

    /// Waits until no copy is in its transaction, if it has not waited yet.
    pub(crate) async fn wait_for_turn(&mut self, turns: &Turns) -> Result<(), G::Refusal> {
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
                also.push(taken.map_err(|fault| self.refuse(fault))?);
            }
        }
        (self.turn, self.also_turns) = (turn, also);
        Ok(())
    }

    /// Takes its turn if no copy has one: for a caller whose connection is taken already.
    pub(crate) fn take_turn_at_once(&mut self, turns: &Turns) -> Result<(), G::Refusal> {
        let turn = turns.take_at_once(&self.claim);
        self.turn = Some(self.admit(turn)?);
        Ok(())
    }

    fn admit(&self, turn: Result<Turn, Fault>) -> Result<Turn, G::Refusal> {
        let admitted = turn.and_then(|turn| match turn.is_used() {
            // The duplicate of an event extends its record, which is in the database.
            // The records with it must be there, also if it was used before.
            true if !self.claim.extends() && self.also.is_empty() => Err(used_before(&self.claim)),
            _ => Ok(turn),
        });
        admitted.map_err(|fault| self.refuse(fault))
    }

    /// Tells the subject why it is not handed out, and says so in the words of its carrier.
    fn refuse(&self, fault: Fault) -> G::Refusal {
        self.subject.refused(&fault);
        G::refuse(fault)
    }

    /// Leaves the use to somebody else, together with the claim on it. `None` if more than one
    /// claim must be recorded.
    pub(crate) fn leave(mut self) -> Option<(G, Claim)> {
        if !self.also.is_empty() {
            return None;
        }
        self.fate().set(Fate::Left);
        Some((self.guarded, self.claim))
    }

    /// Claims it in the store, which never gives it back.
    pub(crate) async fn claim(
        self: Box<Self>,
        store: &dyn NonceStore,
    ) -> Result<G::Content, G::Refusal> {
        let mut used_first = Ok(());
        for claim in iter::once(&self.claim).chain(&self.also) {
            let asked = Stopwatch::start();
            let claimed = within(self.timeout, || store.claim(claim)).await;
            let is_answered = claimed.is_ok();
            used_first = used_first.and(first_use(&asked, claimed.map(for_good), claim));
            if !is_answered {
                break;
            }
        }
        used_first.map_err(|fault| self.refuse(fault))?;
        self.subject.used();
        self.guarded.check_freshness().map_err(G::refuse)?;
        Ok(self.guarded.hand_out())
    }

    /// Takes the lease on it, for `duration` at a time.
    pub(crate) async fn lease(
        self: Box<Self>,
        store: Arc<dyn NonceStore>,
        duration: Duration,
    ) -> Result<(G::Content, Lease), G::Refusal> {
        let subject = self.subject.clone();
        let mut lease = Lease::new(store, self.claim, duration, self.timeout, self.subject);
        let taken = match self.also.is_empty() {
            true => {
                let asked = Stopwatch::start();
                let leased = lease.take().await;
                first_use(&asked, leased, lease.claim())
            }
            // Boxed, as is whatever few requests need, so that it makes the future no larger for all.
            false => Box::pin(lease_all(&mut lease, self.also)).await,
        };
        taken.map_err(|fault| {
            subject.refused(&fault);
            G::refuse(fault)
        })?;
        if let Err(stale) = self.guarded.check_freshness() {
            // Nobody has begun to use it: the same event, signed again, need not wait for the lease
            // to end.
            let _ = Box::pin(lease.release()).await;
            return Err(G::refuse(stale));
        }
        Ok((self.guarded.hand_out(), lease))
    }

    /// Records it in the caller's transaction.
    pub(crate) async fn consume<T: ConsumeIn + ?Sized>(
        mut self: Box<Self>,
        transaction: &mut T,
    ) -> Result<G::Content, G::Refusal> {
        let fate = self.fate();
        let recorded = self.record(transaction).await;
        recorded.map_err(|fault| fate.refuse(fault, G::refuse))?;
        fate.set(Fate::Consumed(Box::new(self.claim)));
        Ok(self.guarded.hand_out())
    }

    async fn record<T: ConsumeIn + ?Sized>(&self, transaction: &mut T) -> Result<(), Fault> {
        self.guarded.check_freshness()?;
        let mut used_first = Ok(());
        for claim in iter::once(&self.claim).chain(&self.also) {
            let asked = Stopwatch::start();
            let wait = lock_wait(self.timeout);
            let claimed = within(self.timeout, || transaction.consume(claim, wait)).await;
            let is_answered = claimed.is_ok();
            used_first = used_first.and(first_use(&asked, claimed.map(for_good), claim));
            if !is_answered {
                break;
            }
        }
        used_first?;
        self.guarded.check_freshness()
    }

    /// Begins a transaction, consumes, works, and commits.
    pub(crate) async fn transact<D, T, E>(
        mut self: Box<Self>,
        database: &D,
        work: impl AsyncFnOnce(&mut D::Connection, G::Content) -> Result<T, E>,
    ) -> Result<T, E>
    where
        D: TransactIn + ?Sized,
        E: From<G::Refusal>,
    {
        let fate = self.fate();
        let begun = within(self.timeout, || database.begin()).await;
        let transaction = begun.map_err(|error| fate.refuse(error.into(), G::refuse))?;
        self.transact_in(database, transaction, work).await
    }

    /// As [`transact`](Self::transact), in a transaction that has begun.
    pub(crate) async fn transact_in<D, T, E>(
        mut self: Box<Self>,
        database: &D,
        mut transaction: D::Transaction,
        work: impl AsyncFnOnce(&mut D::Connection, G::Content) -> Result<T, E>,
    ) -> Result<T, E>
    where
        D: TransactIn + ?Sized,
        E: From<G::Refusal>,
    {
        let fate = self.fate();
        let end = Ending {
            database,
            claim: self.claim.clone(),
            records_several: !self.also.is_empty(),
            timeout: self.timeout,
            fate: fate.clone(),
        };
        if let Err(fault) = self.record(&mut transaction).await {
            let kind = fault.kind();
            let refusal = fate.refuse(fault, G::refuse);
            end.refused(transaction, kind).await;
            return Err(refusal.into());
        }
        // Every end before COMMIT, dropping this future too, rolls back.
        fate.set(Fate::RolledBack);
        let content = self.guarded.hand_out();
        match work(D::connection(&mut transaction), content).await {
            Ok(answer) => {
                let committed = end.commit(transaction).await;
                committed.map_err(|fault| fate.refuse(fault, G::refuse))?;
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
async fn lease_all(first: &mut Lease, also: Vec<Claim>) -> Result<(), Fault> {
    let beside = also.into_iter().map(|claim| first.beside(claim));
    let beside: Vec<_> = beside.collect();
    let (mut held, mut used, mut blocked) = (Vec::new(), None, None);
    for lease in iter::once(&*first).chain(&beside) {
        let asked = Stopwatch::start();
        let taken = lease.take().await;
        let is_used = matches!(taken, Ok(LeaseOutcome::Completed));
        match first_use(&asked, taken, lease.claim()) {
            Ok(()) => held.push(lease),
            Err(fault) if is_used => used = used.or(Some(fault)),
            Err(fault) => {
                blocked = Some(fault);
                break;
            }
        }
    }
    if let Some(fault) = used {
        for lease in held {
            lease.complete().await?;
        }
        return Err(fault);
    }
    if let Some(fault) = blocked {
        for lease in held.into_iter().rev() {
            // It ends by itself if the store cannot be told.
            let _ = lease.release().await;
        }
        return Err(fault);
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
fn first_use(
    asked: &Stopwatch,
    answer: Result<LeaseOutcome, StoreError>,
    claim: &Claim,
) -> Result<(), Fault> {
    match counted(asked, answer)? {
        LeaseOutcome::Held => Ok(()),
        LeaseOutcome::InFlight { remaining } => {
            let detail = "another attempt holds the lease";
            Err(Fault::in_flight(detail, remaining))
        }
        LeaseOutcome::Completed => Err(used_before(claim)),
    }
}

fn used_before(claim: &Claim) -> Fault {
    let (nonce, key_id) = (claim.nonce(), claim.key_id());
    let bytes = nonce.as_bytes().escape_ascii();
    let what = match nonce.kind() {
        NonceKind::Covered => format!("nonce `{bytes}`"),
        NonceKind::Event => format!("event `{bytes}`"),
        NonceKind::Digest => "the signed message".to_owned(),
    };
    let detail = format!("{what} of key `{key_id}` was used before");
    Fault::new(FaultKind::Used, detail)
}
