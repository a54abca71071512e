//! Bodies that give way if the budget is taken up, and charges that are all given back.

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
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let message = NEXT.fetch_add(1, Ordering::Relaxed).to_be_bytes();
    let (charge, is_gone) = begun(budget, bytes, key, &message);
    assert!(!is_gone);
    charge
}

/// The body of this very message, and whether it gives way at once.
fn begun(budget: &Arc<Budget>, bytes: usize, key: &str, message: &[u8]) -> (Charge, bool) {
    let mut charge = Charge::new(budget);
    charge.is_signed(message);
    charge.add(bytes, key).unwrap();
    let is_gone = gives_way(&mut charge, key);
    (charge, is_gone)
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
fn an_overheard_head_displaces_no_body_of_another_message_of_its_key() {
    let budget = budget();
    let mut genuine: Vec<_> = (0..3).map(|_| signed(&budget, 64 * KIB, "a")).collect();
    let endless = |key| {
        let begun = (0..20).map(|_| begun(&budget, 64 * KIB, key, b"overheard"));
        begun.collect::<Vec<_>>()
    };
    let of_key = endless("a");
    assert!(genuine.iter_mut().all(|body| !gives_way(body, "a")));
    let gone = of_key.iter().map(|(_, is_gone)| *is_gone);
    let gone: Vec<_> = gone.collect();
    assert!(!gone[0], "the first is as any other");
    assert_eq!(gone.iter().filter(|is_gone| **is_gone).count(), 19);
    // Its place is free once the first has gone.
    drop(of_key);
    let (next, _) = begun(&budget, 64 * KIB, "a", b"overheard");
    let place = next.place.as_ref().unwrap();
    assert_eq!(place.ticket.kind, Kind::Signed);
    drop(next);
    // Nor does it displace bodies of other keys: its duplicates are strangers'.
    let _others: Vec<_> = (0..2).map(|_| signed(&budget, 64 * KIB, "b")).collect();
    let _endless = endless("c");
    assert!(genuine.iter_mut().all(|body| !gives_way(body, "a")));
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
                        charge.is_signed(key.as_bytes());
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
        prop_assert!(incomplete.signed.is_empty());
        prop_assert_eq!(budget.room.verified.load(Ordering::Relaxed), 0);
        prop_assert!(budget.verified_by_key().is_empty());
    }
}
