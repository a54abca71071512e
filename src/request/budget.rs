//! The memory that bodies in flight may take up: those that have not arrived whole, and those that
//! were verified.

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap, HashSet},
    future::poll_fn,
    hash::{BuildHasher as _, RandomState},
    mem,
    pin::{Pin, pin},
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, ready},
};

use tokio::sync::oneshot;

use crate::{
    error::{Rejection, RejectionKind},
    lock::lock,
    metrics,
};

/// Bytes of bodies in flight, with the room that is kept for what follows: counted before the
/// memory is taken up, and until the last payload made of them is dropped.
///
/// Anybody who names a known key may send a body before its MAC can be checked. So half of the
/// budget is for bodies that must be waited for. If no room is left, the one that has been
/// incomplete longest gives way to the new one, and strangers displace each other: a genuine body
/// is at risk only until nothing is left to wait for but its MAC. Where the head decides, its MAC has
/// passed before: three quarters of this half are for such bodies, a quarter is for the others, and
/// each kind gives way as long as it has more than its own. A head that is overheard can begin any
/// number of bodies: one of them is such a body, and the duplicates beside it are strangers'. The
/// other half is for bodies that were verified, which strangers can fill with nothing but copies of
/// genuine requests, each for as long as the store is asked.
///
/// One key gets half of the first half, and three quarters of the second: until a
/// quarter is in use nobody can be locked out, and nobody is counted. A verified body that is alone
/// there passes, whatever its canonical form takes up: if it were refused, it would be refused for
/// ever.
///
/// A body that is complete when it is first asked for, and can be verified at once, is counted and
/// never refused: it is in memory already, and a server has few such bodies at one time.
#[derive(Debug)]
pub(crate) struct Budget {
    room: Arc<Room>,
    share_of_a_key: usize,
    /// Keys of one name in two namespaces are two keys. `None` where no other verifier has the room.
    namespace: Option<Box<str>>,
}

/// A budget for the bodies of several verifiers, for
/// [`VerifierBuilder::body_budget`](crate::request::VerifierBuilder::body_budget). Clones are the
/// same budget.
#[derive(Clone, Debug)]
pub struct BodyBudget(Arc<Room>);

#[derive(Debug)]
struct Room {
    half: usize,
    hashes: RandomState,
    incomplete: Mutex<Incomplete>,
    verified: AtomicUsize,
    verified_by_key: Mutex<HashMap<Box<str>, usize>>,
}

/// The bodies that wait or are waited for.
#[derive(Debug, Default)]
struct Incomplete {
    used: usize,
    used_by_strangers: usize,
    next: u64,
    keys: BTreeMap<Ticket, Arc<str>>,
    /// Messages whose heads were accepted: each protects one body.
    signed: HashSet<Message>,
    by_key: HashMap<Arc<str>, OfKey>,
}

#[derive(Debug, Default)]
struct OfKey {
    used: usize,
    bodies: BTreeMap<Ticket, Waiting>,
}

/// The place in the order of those that give way, for each kind by itself: the lower number has waited
/// longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Ticket {
    kind: Kind,
    number: u64,
}

/// Whose body it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    /// Anybody's.
    Stranger,
    /// The body of a request whose MAC has passed over its head, the first of its message.
    Signed,
}

/// Dropped in order to tell the body that it must give way.
#[derive(Debug)]
struct Waiting {
    bytes: usize,
    /// The message that protects it, of a kind that is signed.
    message: Option<Message>,
    _displaced: oneshot::Sender<()>,
}

/// The place of a body that is waited for, as the body knows it.
#[derive(Debug)]
struct Place {
    ticket: Ticket,
    key: Arc<str>,
    /// `None` once it is displaced.
    displaced: Option<oneshot::Receiver<()>>,
}

impl BodyBudget {
    /// Returns a budget of this many bytes: at least twice the greatest body of each verifier.
    #[must_use]
    pub fn new(bytes: usize) -> Self {
        Self(Arc::new(Room {
            half: bytes / 2,
            hashes: RandomState::new(),
            incomplete: Mutex::default(),
            verified: AtomicUsize::new(0),
            verified_by_key: Mutex::default(),
        }))
    }

    /// The greatest body of a verifier.
    pub(super) fn max_body(&self) -> usize {
        self.0.half
    }
}

/// The hash of a signed message: two that have one share a place, and no more.
type Message = u64;

impl Budget {
    /// A share of this budget, which holds at least twice the greatest body, for the keys of a
    /// namespace; a budget of its own has none.
    pub(crate) fn new(of: BodyBudget, max_body: usize, namespace: Option<&str>) -> Self {
        Self {
            share_of_a_key: (of.0.half / 2).max(max_body),
            room: of.0,
            namespace: namespace.map(Into::into),
        }
    }

    /// The half for bodies that were not verified.
    pub(crate) fn unverified_share(&self) -> usize {
        self.room.half
    }

    fn incomplete(&self) -> MutexGuard<'_, Incomplete> {
        lock(&self.room.incomplete)
    }

    fn verified_by_key(&self) -> MutexGuard<'_, HashMap<Box<str>, usize>> {
        lock(&self.room.verified_by_key)
    }

    /// The key as all who have the room know it.
    fn owner<'k>(&self, key: &'k str) -> Cow<'k, str> {
        match &self.namespace {
            None => Cow::Borrowed(key),
            Some(namespace) => Cow::Owned(format!("{namespace}\0{key}")),
        }
    }

    /// Makes room for `more` bytes of a body, at the cost of the bodies that have waited longest.
    /// Returns `false` if the body itself must give way, or was displaced before.
    fn grow(&self, place: &Place, more: usize) -> bool {
        let mut incomplete = self.incomplete();
        // A body that is gone anyhow must not displace others.
        if !incomplete.keys.contains_key(&place.ticket) {
            return false;
        }
        let own = place.ticket;
        while let Some(of_key) = incomplete.by_key.get(&place.key)
            && of_key.used + more > self.share_of_a_key
            // Strangers first.
            && let Some(oldest) = of_key.bodies.keys().copied().find(|ticket| *ticket != own)
        {
            let gives_way = if oldest.kind > own.kind { own } else { oldest };
            incomplete.remove(gives_way);
            if gives_way == own {
                return false;
            }
        }
        let strangers_add = if own.kind == Kind::Stranger { more } else { 0 };
        while incomplete.used + more > self.room.half {
            let strangers = incomplete.used_by_strangers + strangers_add;
            let gives_way = if strangers > self.room.half / 4 {
                // They have more than their own. The one without another gives way itself.
                let oldest = incomplete.oldest_but(own, Kind::Stranger);
                let signed = || incomplete.oldest_but(own, Kind::Signed);
                oldest.or_else(|| signed().map(|_| own))
            } else {
                let oldest = incomplete.oldest_but(own, Kind::Signed);
                oldest.or_else(|| incomplete.oldest_but(own, Kind::Stranger))
            };
            let Some(gives_way) = gives_way else {
                break;
            };
            incomplete.remove(gives_way);
            if gives_way == own {
                return false;
            }
        }
        incomplete.add(place, more);
        true
    }
}

impl Incomplete {
    fn enter(&mut self, key: &str, message: Option<Message>) -> Place {
        // A duplicate of the head of another body is anybody's.
        let message = message.filter(|message| self.signed.insert(*message));
        let ticket = Ticket {
            kind: message.map_or(Kind::Stranger, |_| Kind::Signed),
            number: self.next,
        };
        self.next += 1;
        let key = match self.by_key.get_key_value(key) {
            Some((key, _)) => Arc::clone(key),
            None => Arc::from(key),
        };
        let (sender, displaced) = oneshot::channel();
        let waiting = Waiting {
            bytes: 0,
            message,
            _displaced: sender,
        };
        let of_key = self.by_key.entry(Arc::clone(&key)).or_default();
        of_key.bodies.insert(ticket, waiting);
        self.keys.insert(ticket, Arc::clone(&key));
        Place {
            ticket,
            key,
            displaced: Some(displaced),
        }
    }

    fn add(&mut self, place: &Place, more: usize) {
        if let Some(of_key) = self.by_key.get_mut(&place.key)
            && let Some(waiting) = of_key.bodies.get_mut(&place.ticket)
        {
            waiting.bytes += more;
            of_key.used += more;
            self.used += more;
            if place.ticket.kind == Kind::Stranger {
                self.used_by_strangers += more;
            }
        }
    }

    /// The body of a kind that has waited longest, beside this one.
    fn oldest_but(&self, own: Ticket, kind: Kind) -> Option<Ticket> {
        let first = Ticket { kind, number: 0 };
        let last = Ticket {
            kind,
            number: u64::MAX,
        };
        let mut tickets = self.keys.range(first..=last).map(|(ticket, _)| *ticket);
        tickets.find(|ticket| *ticket != own)
    }

    fn remove(&mut self, ticket: Ticket) {
        let Some(key) = self.keys.remove(&ticket) else {
            return;
        };
        let Some(of_key) = self.by_key.get_mut(&key) else {
            return;
        };
        if let Some(waiting) = of_key.bodies.remove(&ticket) {
            if let Some(message) = waiting.message {
                self.signed.remove(&message);
            }
            of_key.used -= waiting.bytes;
            self.used -= waiting.bytes;
            if ticket.kind == Kind::Stranger {
                self.used_by_strangers -= waiting.bytes;
            }
        }
        if of_key.bodies.is_empty() {
            self.by_key.remove(&key);
        }
    }
}

/// The charge of one body; given back when dropped.
#[derive(Debug)]
pub(crate) struct Charge {
    budget: Arc<Budget>,
    bytes: usize,
    /// Whether the body was incomplete when it was first read, or waited for its turn.
    has_waited: bool,
    is_complete: bool,
    /// The message, if its MAC has passed over the head.
    message: Option<Message>,
    /// From the first byte of a body that is waited for until it is complete, and waits no more.
    place: Option<Box<Place>>,
    verified: Verified,
}

#[derive(Debug)]
enum Verified {
    No,
    Yes,
    /// Counted for this key too.
    Of(Box<str>),
}

impl Charge {
    pub(crate) fn new(budget: &Arc<Budget>) -> Self {
        Self {
            budget: Arc::clone(budget),
            bytes: 0,
            has_waited: false,
            is_complete: false,
            message: None,
            place: None,
            verified: Verified::No,
        }
    }

    /// Leaves one without a byte behind.
    pub(crate) fn take(&mut self) -> Self {
        let empty = Self::new(&self.budget);
        mem::replace(self, empty)
    }

    /// The MAC of this message has passed over the head of the request: no stranger displaces its
    /// body.
    pub(crate) fn is_signed(&mut self, message: &[u8]) {
        self.message = Some(self.budget.room.hashes.hash_one(message));
    }

    /// Charges `more` bytes that the body is about to take up under this key, or under none that is
    /// known yet. Once it is complete, what it takes up beside itself needs no room among those
    /// that are not.
    pub(crate) fn add(&mut self, more: usize, key: &str) -> Result<(), Rejection> {
        if self.has_waited && !self.is_complete {
            self.wait_with(more, key)?;
        }
        self.bytes += more;
        metrics::body_charged(more);
        Ok(())
    }

    /// Called when there is something to wait for: ready when the body must give way.
    pub(crate) fn poll_displaced(&mut self, key: &str, cx: &mut Context<'_>) -> Poll<Rejection> {
        if !self.has_waited {
            self.has_waited = true;
            // One without a byte takes up nothing that it could give.
            if self.bytes > 0
                && let Err(rejection) = self.wait_with(self.bytes, key)
            {
                return Poll::Ready(rejection);
            }
        }
        let Some(place) = &mut self.place else {
            return Poll::Pending;
        };
        if let Some(waiting) = &mut place.displaced {
            ready!(Pin::new(waiting).poll(cx)).unwrap_or_default();
            place.displaced = None;
        }
        Poll::Ready(displaced())
    }

    fn wait_with(&mut self, more: usize, key: &str) -> Result<(), Rejection> {
        let (budget, message) = (&*self.budget, self.message);
        let place = self.place.get_or_insert_with(|| {
            let place = budget.incomplete().enter(&budget.owner(key), message);
            Box::new(place)
        });
        if budget.grow(place, more) {
            Ok(())
        } else {
            Err(displaced())
        }
    }

    /// Waits for something else than the body, before it can be verified, and for as long as it
    /// need not give way. Were a body that has arrived not counted meanwhile, any number of them
    /// could wait.
    pub(crate) async fn wait_for<T>(
        &mut self,
        key: &str,
        awaited: impl Future<Output = T>,
    ) -> Result<T, Rejection> {
        let mut awaited = pin!(awaited);
        poll_fn(|cx| match awaited.as_mut().poll(cx) {
            Poll::Ready(output) => Poll::Ready(Ok(output)),
            Poll::Pending => self.poll_displaced(key, cx).map(Err),
        })
        .await
    }

    /// The body is there, waits for nothing, and gives way to no other any more.
    pub(crate) fn complete(&mut self) {
        self.is_complete = true;
        if let Some(place) = self.place.take() {
            self.budget.incomplete().remove(place.ticket);
        }
    }

    /// Counts the body among those that were verified.
    ///
    /// # Errors
    /// Returns an error if these leave no room for a body that was waited for.
    pub(crate) fn verified(&mut self, key: &str) -> Result<(), Rejection> {
        let budget = Arc::clone(&self.budget);
        let of_others = budget
            .room
            .verified
            .fetch_add(self.bytes, Ordering::Relaxed);
        let used = of_others + self.bytes;
        self.verified = Verified::Yes;
        if self.has_waited && of_others > 0 && used > budget.room.half {
            return Err(exhausted(
                "the bodies of running handlers take up the budget",
            ));
        }
        if used > budget.room.half / 4 && self.bytes > 0 {
            let owner: Box<str> = budget.owner(key).into();
            let mut by_key = budget.verified_by_key();
            let of_key = by_key.entry(owner.clone()).or_default();
            if self.has_waited && *of_key > 0 && *of_key + self.bytes > budget.share_of_a_key {
                return Err(exhausted(
                    "the bodies of this key's running handlers take up its share of the budget",
                ));
            }
            *of_key += self.bytes;
            self.verified = Verified::Of(owner);
        }
        Ok(())
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.complete();
        metrics::body_released(self.bytes);
        match &self.verified {
            Verified::No => return,
            Verified::Yes => {}
            Verified::Of(key) => {
                let mut by_key = self.budget.verified_by_key();
                if let Some(used) = by_key.get_mut(key) {
                    *used -= self.bytes;
                    if *used == 0 {
                        by_key.remove(key);
                    }
                }
            }
        }
        self.budget
            .room
            .verified
            .fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

fn displaced() -> Rejection {
    exhausted("the body was incomplete for longer than others, and gave way to a new one")
}

fn exhausted(detail: &'static str) -> Rejection {
    Rejection::new(RejectionKind::BodyBudgetExhausted, detail)
}

#[cfg(test)]
#[path = "budget_tests.rs"]
mod tests;
