//! Rules about objects of a database that are checked, then changed.

use super::{
    fetched::{Change, changes, is_session, origin, runs_alone},
    look::{Hit, Look},
};
use crate::audit::{
    flow::{Exit, Val, What},
    tree::{Compare, Expr, Kind, second},
    values::{At, Go},
    words,
};

/// The fields that are spent once, or counted.
const SPENT: [&str; 25] = [
    "balance",
    "used",
    "redeem",
    "stock",
    "quantity",
    "paid",
    "amount",
    "remaining",
    "available",
    "claimed",
    "processed",
    "credits",
    "seats",
    "capacity",
    "uses",
    "usage",
    "inventory",
    "refund",
    "consumed",
    "sold",
    "reserved",
    "attempts",
    "points",
    "funds",
    "activations",
];

/// How far something has come.
const STAGES: [&str; 12] = [
    "status",
    "state",
    "version",
    "locked",
    "cancel",
    "confirmed",
    "approved",
    "expired",
    "can_",
    "pending",
    "limit",
    "count",
];

pub(super) fn is_state(name: &str) -> bool {
    words::has_word(name, &SPENT) || words::has_word(name, &STAGES)
}

const OWNERS: [&str; 9] = [
    "user",
    "owner",
    "author",
    "created_by",
    "creator",
    "account_id",
    "customer",
    "organizer",
    "tenant",
];

/// The member of a fetched object that a test looks at.
fn tested<'a>(look: &Look<'_, 'a>, test: At<'a>, fetched: At<'a>) -> Vec<&'a str> {
    let mut names = Vec::new();
    look.flow.sources(test, &mut |it| {
        if let Kind::Member(object, name) = &it.val.expr.kind {
            let object = At {
                val: Val {
                    expr: object,
                    frame: it.val.frame,
                },
                step: it.step,
            };
            if origin(look, object).is_some_and(|at| at.val.expr.span == fetched.val.expr.span) {
                names.push(*name);
                return Go::Past;
            }
        }
        // The answer of another call is not the object's own state.
        let plain = [
            "len", "int", "abs", "bool", "min", "max", "getattr", "str", "float", "as_deref",
            "Decimal",
        ];
        if let Kind::Call(call) = &it.val.expr.kind
            && it.val.frame == test.val.frame
            && look.flow.helper_of(it.val).is_none()
            && !plain.contains(&call.last())
            && !call
                .receiver()
                .is_some_and(|receiver| is_of(look, it, receiver, fetched))
        {
            return Go::Past;
        }
        if names.len() > 8 {
            Go::Stop
        } else {
            Go::Deeper
        }
    });
    names
}

/// Returns whether the object of a method is the one that was fetched.
fn is_of<'a>(look: &Look<'_, 'a>, at: At<'a>, receiver: &'a Expr<'a>, fetched: At<'a>) -> bool {
    let val = Val {
        expr: receiver,
        frame: at.val.frame,
    };
    let object = At { val, step: at.step };
    origin(look, object).is_some_and(|it| it.val.expr.span == fetched.val.expr.span)
}

/// Returns whether a test turns somebody away: one of its branches returns or raises.
fn refuses(look: &Look<'_, '_>, test: u32) -> bool {
    let Some(What::Test(_, group)) = look.flow.step(test).map(|it| &it.what) else {
        return false;
    };
    let exits = look.flow.exits_of(*group);
    exits.iter().any(|it| *it != Exit::Leave)
}

/// Returns what is set on the object between two steps.
fn set_between<'a>(look: &Look<'_, 'a>, from: u32, to: u32, fetched: At<'a>) -> Vec<&'a str> {
    let mut names = Vec::new();
    for (number, step) in look.flow.steps() {
        if number <= from || number > to {
            continue;
        }
        if let What::Set { target, .. } = &step.what
            && let Kind::Member(object, name) = &target.kind
        {
            let object = At {
                val: Val {
                    expr: object,
                    frame: step.frame,
                },
                step: number,
            };
            if origin(look, object).is_some_and(|at| at.val.expr.span == fetched.val.expr.span) {
                names.push(*name);
            }
        }
    }
    names
}

pub(super) fn checked<'a>(look: &Look<'_, 'a>, change: &Change<'a>) -> Option<(At<'a>, bool)> {
    let fetched = change.fetched.at;
    let mut owner = None;
    for number in fetched.step..change.at.step {
        let Some(step) = look.flow.step(number) else {
            break;
        };
        let What::Test(expr, _) = step.what else {
            continue;
        };
        let test = At {
            val: Val {
                expr,
                frame: step.frame,
            },
            step: number,
        };
        if !look.flow.decides(number, change.at.step)
            || is_claimed(look, number, change.at.step)
            || is_fill_in(look, test)
        {
            continue;
        }
        let mut names = tested(look, test, fetched);
        let is_owner = names.iter().any(|it| words::has_word(it, &OWNERS));
        if !change.is_delete {
            // A check of one field guards no other.
            let set = set_between(look, number, change.at.step, fetched);
            names.retain(|it| set.contains(it));
        }
        let is_spent = names.iter().any(|it| words::has_word(it, &SPENT));
        let is_stage = names.iter().any(|it| words::has_word(it, &STAGES))
            && (change.is_delete
                || refuses(look, number)
                    && (!sets_what_it_refuses(look, test, change)
                        || has_effect(look, number, fetched))
                || is_transition(look, test, change) && has_effect(look, number, fetched));
        if is_spent || is_stage {
            return Some((test, true));
        }
        if is_owner && owner.is_none() {
            owner = Some((test, false));
        }
    }
    owner
}

/// Returns whether a test looks at the kind of a value, or only fills in one that is missing.
fn is_fill_in(look: &Look<'_, '_>, test: At<'_>) -> bool {
    let mut validates = false;
    test.val.expr.walk(&mut |it| {
        validates |= it.call().is_some_and(|call| call.last() == "isinstance");
    });
    // Also behind `if row and …`.
    let pieces = match &test.val.expr.kind {
        Kind::Logic(all) => all.as_slice(),
        _ => std::slice::from_ref(test.val.expr),
    };
    let mut is_presence = false;
    let asks_no_more = pieces.iter().all(|it| match &it.kind {
        Kind::Compare(Compare::Is | Compare::IsNot, both) => {
            is_presence = true;
            second(both).is_name(&["None"])
        }
        Kind::Name(_) => true,
        _ => false,
    });
    validates || is_presence && asks_no_more && !refuses(look, test.step)
}

/// `claimed = Order.objects.filter(status=…).update(…)`, and a test of it that turns away: between
/// the check and the change, one of two requests has won.
fn is_claimed(look: &Look<'_, '_>, test: u32, change: u32) -> bool {
    look.flow.calls().any(|call| {
        let span = call.val.expr.span;
        let is_condition =
            call.call.last() == "update" && call.call.func.chain().contains(&"filter");
        is_condition
            && call.step > test
            && call.step < change
            && look
                .test_between(call.step, change, |it| it.val.expr.span == span)
                .is_some()
    })
}

/// `if order.status == PAID:`, and `order.status = SHIPPED` in that branch.
fn is_transition<'a>(look: &Look<'_, 'a>, test: At<'a>, change: &Change<'a>) -> bool {
    let mut equal = None;
    test.val.expr.walk(&mut |it| {
        if let Kind::Compare(Compare::Equal, both) = &it.kind {
            equal = equal.or(Some(both));
        }
    });
    let Some([tested, before]) = equal.map(|it| &**it) else {
        return false;
    };
    let member = tested.chain().last().copied();
    let is_from = |text: &str| {
        let file = look.flow.project.files.get(look.flow.file(test.val.frame));
        file.and_then(|it| it.text.get(before.span.range())) == Some(text)
    };
    (test.step..=change.at.step).any(|number| {
        matches!(look.flow.step(number).map(|it| &it.what), Some(What::Set { target, value, .. })
            if matches!(target.kind, Kind::Member(_, name) if Some(name) == member)
                && matches!(value.expr.kind, Kind::Text(_) | Kind::Member(..) | Kind::Name(_))
                && !is_from(look.flow.text(*value)))
    })
}

/// `if order.status == PAID: return`, then `order.status = PAID`: done twice, this alone is done once.
fn sets_what_it_refuses<'a>(look: &Look<'_, 'a>, test: At<'a>, change: &Change<'a>) -> bool {
    let file = look.flow.project.files.get(look.flow.file(test.val.frame));
    let text = |expr: &Expr<'_>| file.and_then(|it| it.text.get(expr.span.range()));
    let Kind::Compare(Compare::Equal, both) = &test.val.expr.kind else {
        return false;
    };
    let [tested, refused] = &**both;
    let Some(member) = tested.chain().last().copied() else {
        return false;
    };
    (test.step..=change.at.step).any(|number| {
        matches!(look.flow.step(number).map(|it| &it.what), Some(What::Set { target, value, .. })
            if matches!(target.kind, Kind::Member(_, name) if name == member)
                && text(value.expr).is_some()
                && text(value.expr) == text(refused))
    })
}

/// Returns whether something else happens behind a check: another object changes, or a message goes
/// out.
fn has_effect<'a>(look: &Look<'_, 'a>, test: u32, fetched: At<'a>) -> bool {
    look.flow.calls().any(|call| {
        let last = call.call.last();
        let adds = last == "add"
            && call
                .call
                .receiver()
                .is_some_and(|it| is_session(&[it.chain().as_slice(), &["add"]].concat()));
        let is_own = call
            .call
            .receiver()
            .is_some_and(|it| is_of(look, look.at(call), it, fetched));
        call.step > test
            && (adds || words::changes(call.call) && !["commit", "flush"].contains(&last))
            && !is_own
            && !look.is_log(call.val.frame)
            && look.flow.decides(test, call.step)
    })
}

fn checked_hits(look: &Look<'_, '_>, wants_state: bool) -> Vec<Hit> {
    let mut hits = Vec::new();
    if runs_alone(look) {
        return hits;
    }
    let mut done = Vec::new();
    for change in changes(look) {
        let fetched = change.fetched.at.val.expr.span;
        let Some((test, is_state)) = checked(look, &change) else {
            continue;
        };
        if is_state != wants_state || done.contains(&fetched) {
            continue;
        }
        done.push(fetched);
        let message = if wants_state {
            "the object can change after the check: two requests at the same moment both pass it"
        } else {
            "the owner can change after the check, and nothing holds the object until it is changed"
        };
        hits.push(look.hit(
            (test, "checked here, without a lock on the row"),
            (
                change.at,
                if change.is_delete {
                    "and deleted here"
                } else {
                    "and changed here"
                },
            ),
            message,
        ));
    }
    hits
}

pub(super) fn checked_then_changed(look: &Look<'_, '_>) -> Vec<Hit> {
    checked_hits(look, true)
}

pub(super) fn owner_checked(look: &Look<'_, '_>) -> Vec<Hit> {
    checked_hits(look, false)
}
