//! The memory that bodies in flight may take up: those that have not arrived whole, and those that
//! were verified.

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap},
    future::poll_fn,
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
/// each kind gives way as long as it has more than its own. The other half is for bodies that
/// were verified, which strangers can fill with nothing but copies of genuine requests, each for as
/// long as the store is asked.
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
    /// That of a request whose MAC has passed over its head.
    Signed,
}

/// Dropped in order to tell the body that it must give way.
#[derive(Debug)]
struct Waiting {
    bytes: usize,
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
    /// A budget of so many bytes: at least twice the greatest body of each verifier.
    #[must_use]
    pub fn new(bytes: usize) -> Self {
        Self(Arc::new(Room {
            half: bytes / 2,
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

    /// Makes room for `more` bytes of a body, at the cost of those that have waited longest. False
    /// if the body itself has to give way, or had to before.
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
    fn enter(&mut self, key: &str, kind: Kind) -> Place {
        let ticket = Ticket {
            kind,
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
    /// Whether the body was not complete when it was first asked for, or had to wait itself.
    has_waited: bool,
    is_complete: bool,
    kind: Kind,
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
            kind: Kind::Stranger,
            place: None,
            verified: Verified::No,
        }
    }

    /// Leaves one without a byte behind.
    pub(crate) fn take(&mut self) -> Self {
        let empty = Self::new(&self.budget);
        mem::replace(self, empty)
    }

    /// The MAC of the request has passed over its head: no stranger displaces its body.
    pub(crate) fn is_signed(&mut self) {
        self.kind = Kind::Signed;
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
        let (budget, kind) = (&*self.budget, self.kind);
        let place = self
            .place
            .get_or_insert_with(|| Box::new(budget.incomplete().enter(&budget.owner(key), kind)));
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
mod tests {
    use std::task::Waker;

    use proptest::prelude::*;

    use super::*;

    const TOTAL: usize = 1024 * 1024;
    const KIB: usize = 1024;

    fn budget() -> Arc<Budget> {
        Arc::new(Budget::new(BodyBudget::new(TOTAL), 64 * KIB, None))
    }

    fn gives_way(charge: &mut Charge, key: &str) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        charge.poll_displaced(key, &mut cx).is_ready()
    }

    /// A body that is waited for, of which so much has arrived.
    fn waiting(budget: &Arc<Budget>, bytes: usize, key: &str) -> Charge {
        let mut charge = Charge::new(budget);
        charge.add(bytes, key).unwrap();
        assert!(!gives_way(&mut charge, key));
        charge
    }

    #[test]
    fn the_body_of_a_key_that_is_incomplete_longest_gives_way() {
        let budget = budget();
        let mut other = waiting(&budget, 64 * KIB, "b");
        let mut bodies: Vec<_> = (0..4).map(|_| waiting(&budget, 64 * KIB, "a")).collect();
        let mut last = waiting(&budget, 1, "a");
        let gone: Vec<_> = bodies.iter_mut().map(|body| gives_way(body, "a")).collect();
        assert_eq!(gone, [true, false, false, false]);
        assert!(!gives_way(&mut last, "a") && !gives_way(&mut other, "b"));
        assert!(bodies[0].add(1, "a").is_err(), "it does not come back");
        // The room of two is needed at once.
        last.add(128 * KIB, "a").unwrap();
        let gone: Vec<_> = bodies.iter_mut().map(|body| gives_way(body, "a")).collect();
        assert_eq!(gone, [true, true, true, false]);
    }

    #[test]
    fn a_body_that_gave_way_displaces_no_other() {
        let budget = budget();
        let mut bodies: Vec<_> = (0..5).map(|_| waiting(&budget, 64 * KIB, "a")).collect();
        assert!(gives_way(&mut bodies[0], "a"));
        assert!(bodies[0].add(64 * KIB, "a").is_err());
        let left = bodies
            .iter_mut()
            .filter_map(|body| (!gives_way(body, "a")).then_some(()));
        assert_eq!(left.count(), 4);
    }

    #[test]
    fn a_body_that_is_alone_passes_whatever_its_canonical_form_takes_up() {
        let budget = Arc::new(Budget::new(BodyBudget::new(128 * KIB), 64 * KIB, None));
        let with_form = || {
            let mut charge = waiting(&budget, 64 * KIB, "a");
            charge.complete();
            charge.add(64 * KIB, "a").unwrap();
            charge.verified("a").map(|()| charge)
        };
        let alone = with_form().unwrap();
        with_form().unwrap_err();
        drop(alone);
        with_form().unwrap();
        assert!(budget.verified_by_key().is_empty());
    }

    #[test]
    fn verifiers_that_share_a_budget_share_its_room_and_no_key() {
        let shared = BodyBudget::new(TOTAL);
        let of = |namespace| Arc::new(Budget::new(shared.clone(), 64 * KIB, Some(namespace)));
        let (one, other) = (of("one"), of("other"));
        // A key has a quarter, and another key of its name another quarter.
        let mut bodies: Vec<_> = (0..4).map(|_| waiting(&one, 64 * KIB, "a")).collect();
        bodies.extend((0..4).map(|_| waiting(&other, 64 * KIB, "a")));
        assert!(bodies.iter_mut().all(|body| !gives_way(body, "a")));
        // All of the room is used: the oldest gives way, whichever verifier has it.
        let _third = waiting(&of("third"), 64 * KIB, "a");
        let gone = bodies.iter_mut().map(|body| gives_way(body, "a"));
        assert_eq!(gone.filter(|is_gone| *is_gone).count(), 1);
        assert!(gives_way(&mut bodies[0], "a"));
        drop(bodies);
        // The twin: a verifier with a budget of its own takes none of it.
        let _own: Vec<_> = (0..8)
            .map(|n| waiting(&budget(), 64 * KIB, &n.to_string()))
            .collect();
        let mut first = waiting(&one, 64 * KIB, "a");
        assert!(!gives_way(&mut first, "a"));
    }

    #[test]
    fn of_many_keys_the_body_that_is_incomplete_longest_gives_way() {
        let budget = budget();
        let mut bodies: Vec<_> = (0..9)
            .map(|key| waiting(&budget, 64 * KIB, &key.to_string()))
            .collect();
        let gone = (0..9).filter(|key| gives_way(&mut bodies[*key], &key.to_string()));
        assert_eq!(gone.collect::<Vec<_>>(), [0]);
    }

    /// A signed body, whose head has passed: of half a budget, three quarters are for such.
    fn signed(budget: &Arc<Budget>, bytes: usize, key: &str) -> Charge {
        let mut charge = Charge::new(budget);
        charge.is_signed();
        charge.add(bytes, key).unwrap();
        assert!(!gives_way(&mut charge, key));
        charge
    }

    #[test]
    fn strangers_displace_no_body_whose_signature_was_accepted() {
        let budget = budget();
        let mut genuine: Vec<_> = (0..6)
            .map(|key| signed(&budget, 64 * KIB, &key.to_string()))
            .collect();
        let mut strangers: Vec<_> = (0..20)
            .map(|key| waiting(&budget, 64 * KIB, &format!("s{key}")))
            .collect();
        assert!(genuine.iter_mut().all(|body| !gives_way(body, "")));
        let left = strangers
            .iter_mut()
            .filter_map(|body| (!gives_way(body, "")).then_some(()));
        assert_eq!(
            left.count(),
            2,
            "strangers have a quarter, and displace each other"
        );
        // Nor do those whose signatures were accepted take the quarter of the others.
        let _more: Vec<_> = (0..6)
            .map(|key| signed(&budget, 64 * KIB, &format!("m{key}")))
            .collect();
        assert!(genuine.iter_mut().all(|body| gives_way(body, "")));
        assert!(
            strangers
                .iter_mut()
                .rev()
                .take(2)
                .all(|body| !gives_way(body, ""))
        );
    }

    #[test]
    fn a_stranger_gives_way_if_only_signed_bodies_are_left() {
        let budget = budget();
        let mut genuine: Vec<_> = (0..8)
            .map(|key| signed(&budget, 64 * KIB, &key.to_string()))
            .collect();
        let mut stranger = Charge::new(&budget);
        stranger.has_waited = true;
        stranger.add(129 * KIB, "s").unwrap_err();
        assert!(genuine.iter_mut().all(|body| !gives_way(body, "")));
        // Within a quarter it is taken in, and the key of a signed body does not help a stranger.
        let _small = waiting(&budget, 64 * KIB, "s");
        assert!(gives_way(&mut genuine[0], "") && !gives_way(&mut genuine[1], ""));
        let own: Vec<_> = (0..4).map(|_| signed(&budget, 64 * KIB, "own")).collect();
        let mut same_key = Charge::new(&budget);
        same_key.has_waited = true;
        same_key.add(1, "own").unwrap_err();
        drop(own);
    }

    #[test]
    fn what_is_complete_gives_way_to_nobody() {
        let budget = budget();
        let mut done = waiting(&budget, 64 * KIB, "a");
        done.complete();
        let _others: Vec<_> = (0..20).map(|_| waiting(&budget, 64 * KIB, "a")).collect();
        assert!(!gives_way(&mut done, "a"));
        done.verified("a").unwrap();
    }

    #[test]
    fn strangers_take_nothing_from_what_is_verified_and_what_was_not_waited_for_is_never_refused() {
        let budget = budget();
        let _strangers: Vec<_> = (0..9).map(|_| waiting(&budget, 64 * KIB, "a")).collect();
        let verified = |waits: bool, key: &str| {
            let mut charge = Charge::new(&budget);
            charge.add(64 * KIB, key).unwrap();
            charge.has_waited = waits;
            charge.verified(key).map(|()| charge)
        };
        let mut held: Vec<_> = (0..6).map(|_| verified(true, "a").unwrap()).collect();
        let share = verified(true, "a").unwrap_err();
        assert_eq!(share.kind(), RejectionKind::BodyBudgetExhausted);
        held.extend((0..2).map(|_| verified(true, "b").unwrap()));
        verified(true, "c").unwrap_err();
        held.extend((0..4).map(|_| verified(false, "a").unwrap()));
        drop(held);
        verified(true, "a").unwrap();
    }

    proptest! {
        #[test]
        fn all_that_was_charged_is_given_back(
            steps in prop::collection::vec((0..6usize, 0..32 * KIB, 0..4u8), 0..80),
        ) {
            let budget = budget();
            let mut charges: Vec<_> = (0..6).map(|_| Charge::new(&budget)).collect();
            for (i, bytes, step) in steps {
                let key = ["a", "b", "c"][i % 3];
                let charge = &mut charges[i];
                match step {
                    0 if charge.bytes + bytes <= 64 * KIB => {
                        if i % 2 == 0 && charge.place.is_none() {
                            charge.is_signed();
                        }
                        drop(charge.add(bytes, key));
                    }
                    1 => drop(gives_way(charge, key)),
                    2 => {
                        charge.complete();
                        if matches!(charge.verified, Verified::No) {
                            let _ = charge.verified(key);
                        }
                        *charge = Charge::new(&budget);
                    }
                    _ => *charge = Charge::new(&budget),
                }
                let incomplete = budget.incomplete();
                let waiting = incomplete.by_key.values().flat_map(|of_key| of_key.bodies.values());
                prop_assert_eq!(waiting.map(|body| body.bytes).sum::<usize>(), incomplete.used);
                prop_assert!(incomplete.used <= budget.room.half);
                prop_assert!(incomplete.used_by_strangers <= incomplete.used);
                for of_key in incomplete.by_key.values() {
                    prop_assert!(of_key.used <= budget.share_of_a_key);
                }
            }
            drop(charges);
            let incomplete = budget.incomplete();
            prop_assert_eq!((incomplete.used, incomplete.used_by_strangers), (0, 0));
            prop_assert!(incomplete.keys.is_empty() && incomplete.by_key.is_empty());
            prop_assert_eq!(budget.room.verified.load(Ordering::Relaxed), 0);
            prop_assert!(budget.verified_by_key().is_empty());
        }
    }
}
