//! Rules about objects of a database that are fetched, checked and changed.

use super::{
    look::{Hit, Look},
    mend,
};
use crate::audit::{
    flow::{CallAt, Exit, Val, What},
    tree::{Compare, Expr, Kind, Operator},
    values::{At, Go},
    words,
};

/// An object that was fetched without a lock.
struct Fetched<'a> {
    at: At<'a>,
}

const LOCKS: [&str; 6] = [
    "select_for_update",
    "with_for_update",
    "lock_exclusive",
    "lock_with_behavior",
    "for_update",
    "for_no_key_update",
];

/// Whether an expression fetches one object from a database.
fn fetches(expr: &Expr<'_>) -> bool {
    let Some(call) = expr.bare().call() else {
        return false;
    };
    let chain = call.func.chain();
    let last = call.last();
    let starts_upper = chain
        .first()
        .is_some_and(|it| it.starts_with(char::is_uppercase));
    match last {
        "get_object_or_404" | "aget_object_or_404" | "get_object" => true,
        "get" | "aget" | "first" | "afirst" | "last" | "latest" | "earliest"
            if chain.contains(&"objects") =>
        {
            true
        }
        "first" | "one" | "one_or_none" | "get" | "scalar" | "scalar_one"
        | "scalar_one_or_none" | "with_for_update"
            if chain.contains(&"query") || has_select(expr) =>
        {
            true
        }
        "get" => {
            is_session(&chain)
                && call.args.len() >= 2
                && call.args.first().is_some_and(|it| {
                    it.value
                        .name()
                        .is_some_and(|it| it.starts_with(char::is_uppercase))
                })
        }
        "scalar" | "scalar_one" | "scalar_one_or_none" => has_select(expr),
        "get_or_none" => starts_upper,
        "one" => chain.contains(&"find_by_id") || chain.contains(&"find"),
        _ => false,
    }
}

fn is_session(chain: &[&str]) -> bool {
    chain
        .iter()
        .rev()
        .skip(1)
        .any(|it| ["session", "db", "db_session", "async_session", "sess"].contains(it))
}

fn has_select(expr: &Expr<'_>) -> bool {
    let mut has = false;
    expr.walk(&mut |it| {
        has |= it.call().is_some_and(|call| call.last() == "select");
    });
    has
}

/// The fetch that an object came from.
fn origin<'a>(look: &Look<'_, 'a>, at: At<'a>) -> Option<At<'a>> {
    let mut at = at;
    for _ in 0..12 {
        let expr = at.val.expr.bare();
        let here = |expr| At {
            val: Val {
                expr,
                frame: at.val.frame,
            },
            step: at.step,
        };
        if fetches(expr) {
            return Some(here(expr));
        }
        at = if let Some(name) = expr.dotted() {
            let all = look.flow.definitions_of(&name, at.val.frame, at.step);
            all.into_iter().find(|it| it.val.expr.span != expr.span)?
        } else if let Some(call) = expr.call() {
            if let Some(helper) = look.flow.helper_of(here(expr).val) {
                let step = *look.flow.frames.get(helper as usize)?.returns.first()?;
                let What::Return(Some(expr)) = look.flow.step(step)?.what else {
                    return None;
                };
                At {
                    val: Val {
                        expr,
                        frame: helper,
                    },
                    step,
                }
            } else {
                let through = [
                    "into",
                    "into_active_model",
                    "unwrap",
                    "expect",
                    "clone",
                    "ok_or",
                    "ok_or_else",
                    "context",
                    "scalars",
                    "first",
                    "one",
                    "one_or_none",
                    "scalar_one_or_none",
                    "scalar_one",
                    "unwrap_or_else",
                    "scalar",
                    "all",
                ];
                if !through.contains(&call.last()) {
                    return None;
                }
                here(call.receiver()?)
            }
        } else {
            return None;
        };
    }
    None
}

/// Whether a lock of the rows is in what a fetch is made of.
fn is_locked(look: &Look<'_, '_>, fetched: At<'_>) -> bool {
    look.is_locked(fetched.step)
}

fn takes_lock<'a>(look: &Look<'_, 'a>, fetched: At<'a>) -> bool {
    look.flow
        .find(fetched, |it| match &it.val.expr.kind {
            Kind::Call(call) => {
                LOCKS.contains(&call.last())
                    || call.named("with_for_update").is_some()
                    || call.func.chain().iter().any(|it| LOCKS.contains(it))
            }
            _ => false,
        })
        .is_some()
}

/// A step that changes a fetched object for good.
struct Change<'a> {
    at: At<'a>,
    fetched: Fetched<'a>,
    is_delete: bool,
}

/// A place where one process runs alone.
pub(super) fn runs_alone(look: &Look<'_, '_>) -> bool {
    let path = look
        .flow
        .project
        .files
        .get(look.flow.root.file)
        .map_or("", |it| it.path);
    let name = path.rsplit('/').next().unwrap_or(path);
    words::has_word(name, &["seed", "load_test", "populate"])
        || path.split('/').any(|part| {
            [
                "migrations",
                "management",
                "scripts",
                "seeds",
                "alembic",
                "examples_of_data",
                "admin.py",
                "fixtures",
            ]
            .contains(&part)
        })
}

fn changes<'a>(look: &Look<'_, 'a>) -> Vec<Change<'a>> {
    let mut found = Vec::new();
    for call in look.flow.calls() {
        let last = call.call.last();
        let (object, is_delete) = match last {
            "save" | "asave" => (call.call.receiver(), false),
            "delete" | "adelete" | "remove" => match call.call.receiver() {
                Some(receiver)
                    if is_session(&[receiver.chain().as_slice(), &["delete"]].concat()) =>
                {
                    (call.call.args.first().map(|it| &it.value), true)
                }
                receiver => (receiver, true),
            },
            "update" => (call.call.receiver(), false),
            "commit" | "flush" => {
                // What was set on a fetched object before.
                for (number, step) in look.flow.steps() {
                    if number >= call.step {
                        break;
                    }
                    if let What::Set { target, .. } = &step.what
                        && let Kind::Member(object, _) = &target.kind
                        && call.call.receiver().is_some_and(|it| {
                            is_session(&[it.chain().as_slice(), &["commit"]].concat())
                        })
                        && look.flow.reaches(number, call.step)
                    {
                        let object = At {
                            val: Val {
                                expr: object,
                                frame: step.frame,
                            },
                            step: number,
                        };
                        if let Some(at) = origin(look, object) {
                            let at = Fetched { at };
                            let set = At {
                                val: Val {
                                    expr: target,
                                    frame: step.frame,
                                },
                                step: number,
                            };
                            found.push(Change {
                                at: set,
                                fetched: at,
                                is_delete: false,
                            });
                        }
                    }
                }
                continue;
            }
            _ => continue,
        };
        let Some(object) = object else { continue };
        if last == "update"
            && !object
                .chain()
                .iter()
                .any(|it| it.contains("active") || it.contains("model"))
        {
            continue;
        }
        if let Some(at) = origin(look, look.piece(call, object)) {
            let fetched = Fetched { at };
            found.push(Change {
                at: look.at(call),
                fetched,
                is_delete,
            });
        }
    }
    found.retain(|it| {
        it.fetched.at.step < it.at.step
            && !takes_lock(look, it.fetched.at)
            && !is_locked(look, it.at)
            && !is_locked(look, it.fetched.at)
    });
    found
}

/// What is spent once, or counted.
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
        // What another call answers is not the object's own state.
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

/// Whether the object of a method is the one that was fetched.
fn is_of<'a>(look: &Look<'_, 'a>, at: At<'a>, receiver: &'a Expr<'a>, fetched: At<'a>) -> bool {
    let val = Val {
        expr: receiver,
        frame: at.val.frame,
    };
    let object = At { val, step: at.step };
    origin(look, object).is_some_and(|it| it.val.expr.span == fetched.val.expr.span)
}

/// Whether a test turns somebody away: one of its branches returns or raises.
fn refuses(look: &Look<'_, '_>, test: u32) -> bool {
    let Some(What::Test(_, group)) = look.flow.step(test).map(|it| &it.what) else {
        return false;
    };
    let exits = look.flow.exits_of(*group);
    exits.iter().any(|it| *it != Exit::Leave)
}

/// What is set on the object between two steps.
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

fn checked<'a>(look: &Look<'_, 'a>, change: &Change<'a>) -> Option<(At<'a>, bool)> {
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
        if !look.flow.decides(number, change.at.step) {
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
                        || has_effect(look, number, fetched)));
        if is_spent || is_stage {
            return Some((test, true));
        }
        if is_owner && owner.is_none() {
            owner = Some((test, false));
        }
    }
    owner
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

/// Whether something else happens behind a check: another object changes, or a message goes out.
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
            && look.flow.reaches(test, call.step)
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

/// `account.balance -= amount; account.save()`
pub(super) fn read_modify_write(look: &Look<'_, '_>) -> Vec<Hit> {
    let mut hits = Vec::new();
    if runs_alone(look) {
        return hits;
    }
    let changes = changes(look);
    let mut done = Vec::new();
    for (number, step) in look.flow.steps() {
        let What::Set {
            target,
            value,
            operator,
        } = &step.what
        else {
            continue;
        };
        let Kind::Member(object, name) = &target.kind else {
            continue;
        };
        let frame = step.frame;
        let object_at = At {
            val: Val {
                expr: object,
                frame,
            },
            step: number,
        };
        let target_at = At {
            val: Val {
                expr: target,
                frame,
            },
            step: number,
        };
        let counts = match operator {
            Some(Operator::Add | Operator::Subtract) => !matches!(
                value.expr.kind,
                Kind::Text(_) | Kind::Format(_) | Kind::Many(_)
            ),
            Some(_) => false,
            None => is_sum(value.expr, name, object),
        };
        let Some(fetched) = origin(look, object_at) else {
            continue;
        };
        if !counts {
            continue;
        }
        let change = changes.iter().find(|it| {
            it.fetched.at.val.expr.span == fetched.val.expr.span
                && it.at.step >= number
                && !it.is_delete
                && (it.at.step == number || look.flow.reaches(number, it.at.step))
        });
        let Some(change) = change else { continue };
        if done.contains(&fetched.val.expr.span) || checked(look, change).is_some_and(|it| it.1) {
            continue;
        }
        done.push(fetched.val.expr.span);
        let mut hit = look.hit(
            (fetched, "read here, without a lock on the row"),
            (target_at, "and written back as a sum"),
            "two requests at the same moment read the same value, and one of the changes is lost",
        );
        hit.fix = mend::in_the_database(look, fetched, (target, *value, *operator), change.at);
        hits.push(hit);
    }
    hits
}

/// `object.name + …`
fn is_sum(value: &Expr<'_>, name: &str, object: &Expr<'_>) -> bool {
    let Kind::Binary(Operator::Add | Operator::Subtract, both) = &value.kind else {
        return false;
    };
    both.iter().any(|side| match &side.kind {
        Kind::Member(inner, member) => *member == name && inner.dotted() == object.dotted(),
        Kind::Binary(..) => is_sum(side, name, object),
        _ => false,
    })
}

/// The call that a task is handed on with.
pub(super) fn hands_on(call: &CallAt<'_>) -> bool {
    [
        "delay",
        "apply_async",
        "send_task",
        "enqueue",
        "enqueue_job",
    ]
    .contains(&call.call.last())
}
