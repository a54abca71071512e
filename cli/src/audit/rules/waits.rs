//! A rule about values that are read before an `await` and written after it.

use super::look::{Hit, Look};
use crate::audit::{
    flow::{Val, What},
    tree::{Act, Expr, Kind, Language, Operator, first, second},
    values::At,
};

/// How many expressions a written value is made of at most.
const PIECES: usize = 64;

/// How many calls and names lie between a value and the lock that lends it.
const LENT: usize = 16;

/// Calls that make a number of numbers.
const NUMBERS: [&str; 9] = [
    "int",
    "float",
    "round",
    "abs",
    "max",
    "min",
    "Decimal",
    "saturating_add",
    "saturating_sub",
];

/// A write in the function itself, and the value that it puts there.
struct Write<'a> {
    target: At<'a>,
    value: At<'a>,
    operator: Option<Operator>,
}

/// A value that other tasks see and that is read, awaited upon, and written.
pub(super) fn changed_across_await(look: &Look<'_, '_>) -> Vec<Hit> {
    if !look.flow.function.is_async {
        return Vec::new();
    }
    let file = look.flow.project.files.get(look.flow.root.file);
    let is_python = file.is_some_and(|it| it.language == Language::Python);
    let hit = |write: Write<'_>| {
        let read = if is_python {
            read_before(look, &write)
        } else {
            read_under_another_lock(look, &write)
        };
        Some(look.hit(
            (read?, "read here, before a wait"),
            (write.target, "and written here, after it"),
            "another task changes the value in between, and its change is lost",
        ))
    };
    writes(look).into_iter().filter_map(hit).collect()
}

fn writes<'a>(look: &Look<'_, 'a>) -> Vec<Write<'a>> {
    let write = |(number, step): (u32, &crate::audit::flow::Step<'a>)| match &step.what {
        What::Set {
            target,
            value,
            operator,
        } if step.frame == 1 => Some(Write {
            target: own(target, number),
            value: At {
                val: *value,
                step: number,
            },
            operator: *operator,
        }),
        _ => None,
    };
    look.flow.steps().filter_map(write).collect()
}

/// An expression of the function itself.
fn own<'a>(expr: &'a Expr<'a>, step: u32) -> At<'a> {
    let val = Val { expr, frame: 1 };
    At { val, step }
}

/// The read of Python that a written value is made of, if something waits in between.
fn read_before<'a>(look: &Look<'_, 'a>, write: &Write<'a>) -> Option<At<'a>> {
    let target = write.target.val.expr;
    if !is_shared(look, target) {
        return None;
    }
    let read = if write.operator.is_some() {
        // `self.x += await …` reads before it waits.
        waits_behind(write.value.val.expr, 0).then_some(write.target)?
    } else {
        let reads_it = |it: At<'a>| reads(look, it, target);
        let read = old_value(look, write.value, &reads_it, false, &mut { PIECES })?;
        is_waited_for(look, read, write).then_some(read)?
    };
    (!look.is_locked_through(read.step, write.target.step)).then_some(read)
}

/// The read of Rust that a written value is made of, if it was under another lock of the same
/// object: that lock was given back before.
fn read_under_another_lock<'a>(look: &Look<'_, 'a>, write: &Write<'a>) -> Option<At<'a>> {
    let lock = lender(look, write.target, LENT).filter(|_| write.operator.is_none())?;
    let object = object_of(look, lock)?;
    let is_old = |it: At<'a>| {
        // A name was read where it was set.
        let lock_of_it = lender(look, it, LENT).filter(|_| it.val.expr.name().is_none());
        lock_of_it.is_some_and(|it| {
            it.val.expr.span != lock.val.expr.span && object_of(look, it) == Some(object)
        })
    };
    let read = old_value(look, write.value, &is_old, false, &mut { PIECES })?;
    let is_compared = (lock.step..write.target.step).any(|number| {
        matches!(look.flow.step(number).map(|it| &it.what), Some(What::Test(test, _))
            if compares_lent(look, own(test, number), lock))
    });
    (is_waited_for(look, read, write) && !is_compared).then_some(read)
}

/// Returns whether other tasks see a target: it is of an object, or of the module.
fn is_shared(look: &Look<'_, '_>, target: &Expr<'_>) -> bool {
    let chain = target.chain();
    match (&target.kind, chain.first()) {
        (Kind::Name(name), _) => is_global(look, name),
        (_, Some(root)) => *root == "self" && chain.len() > 1 || is_of_module(look, root),
        _ => false,
    }
}

/// `global total`
fn is_global(look: &Look<'_, '_>, name: &str) -> bool {
    let file = look.flow.project.files.get(look.flow.root.file);
    let text = file.and_then(|it| it.text.get(look.flow.function.span.range()));
    let mut lines = text.unwrap_or_default().lines();
    lines.any(|line| {
        let names = line.trim_start().strip_prefix("global ");
        names.is_some_and(|it| it.split(',').any(|it| it.trim() == name))
    })
}

/// Returns whether a name is set at the top of the file, and not again in the function.
fn is_of_module(look: &Look<'_, '_>, name: &str) -> bool {
    let file = look.flow.project.files.get(look.flow.root.file);
    let is_own = || {
        look.flow.function.params.iter().any(|it| it.binds(name))
            || writes(look)
                .iter()
                .any(|it| it.target.val.expr.is_name(&[name]))
    };
    file.is_some_and(|it| it.constants.contains_key(name)) && !is_own()
}

/// `self.total`, `balances[name]` or `balances.get(name, 0)`: what a target holds before.
fn reads<'a>(look: &Look<'_, 'a>, read: At<'a>, target: &Expr<'_>) -> bool {
    let file = look.flow.project.files.get(look.flow.root.file);
    let text = |it: &Expr<'_>| file.and_then(|file| file.text.get(it.span.range()));
    let expr = read.val.expr;
    read.val.frame == 1
        && match (&target.kind, expr.call()) {
            (Kind::Index(both), Some(call)) if call.last() == "get" => {
                let key = call.args.first().map(|it| text(&it.value));
                call.receiver().map(text) == Some(text(first(both)))
                    && key == Some(text(second(both)))
            }
            _ => text(expr) == text(target),
        }
}

/// The old value in a new one that is made of it: `before + 1`, `max(before - 1, 0)`.
fn old_value<'a>(
    look: &Look<'_, 'a>,
    value: At<'a>,
    is_old: &impl Fn(At<'a>) -> bool,
    is_changed: bool,
    pieces: &mut usize,
) -> Option<At<'a>> {
    *pieces = pieces.checked_sub(1).filter(|_| look.flow.fuel.burn(1))?;
    let Val { expr, frame } = value.val;
    let expr = expr.bare();
    let inner = |expr| At {
        val: Val { expr, frame },
        step: value.step,
    };
    if is_old(inner(expr)) {
        return is_changed.then_some(inner(expr));
    }
    let mut of = |at, is_changed| old_value(look, at, is_old, is_changed, pieces);
    match &expr.kind {
        Kind::Binary(operator, both) if *operator != Operator::Other => {
            both.iter().find_map(|it| of(inner(it), true))
        }
        Kind::Name(name) => {
            let all = look.flow.definitions_of(name, frame, value.step);
            let adds = |it: &At<'a>| {
                let step = look.flow.step(it.step).map(|it| &it.what);
                matches!(
                    step,
                    Some(What::Set {
                        operator: Some(_),
                        ..
                    })
                )
            };
            let is_changed = is_changed || all.iter().any(adds);
            all.into_iter().find_map(|it| of(it, is_changed))
        }
        Kind::Choice(three) => three
            .iter()
            .skip(1)
            .find_map(|it| of(inner(it), is_changed)),
        Kind::Logic(all) => all.iter().find_map(|it| of(inner(it), is_changed)),
        Kind::Block(body) => match body.last().map(|it| &it.act) {
            Some(Act::Yield(it)) => of(inner(it), is_changed),
            _ => None,
        },
        Kind::Call(call) if NUMBERS.contains(&call.last()) => {
            let args = call.args.iter().map(|it| &it.value);
            let is_changed = is_changed || call.last().starts_with("saturating");
            args.chain(call.receiver())
                .find_map(|it| of(inner(it), is_changed))
        }
        _ => None,
    }
}

/// Returns whether something waits after a read, and before the write of it is done.
fn is_waited_for<'a>(look: &Look<'_, 'a>, read: At<'a>, write: &Write<'a>) -> bool {
    let (from, to) = (read.step, write.target.step);
    let behind = read.val.expr.span.end;
    if from == to {
        return waits_behind(write.value.val.expr, behind);
    }
    let waits_in = |step: u32, behind: u32| {
        let mut waits = false;
        if let Some(step) = look.flow.step(step) {
            step.each(&mut |root| waits |= waits_behind(root.expr, behind));
        }
        waits
    };
    waits_in(from, behind) || waits_in(to, 0) || look.waits_between(from, to)
}

/// Returns whether an expression waits behind a place of its text.
fn waits_behind(expr: &Expr<'_>, behind: u32) -> bool {
    let mut waits = false;
    expr.walk(&mut |it| waits |= matches!(it.kind, Kind::Await(_)) && it.span.end > behind);
    waits
}

/// The call that locks an object of which a value is a part: `ledger.write().await` for an entry.
fn lender<'a>(look: &Look<'_, 'a>, of: At<'a>, names: usize) -> Option<At<'a>> {
    let mut at = of;
    for _ in 0..LENT {
        let Val { expr, frame } = at.val;
        let next = match &expr.kind {
            Kind::Member(inner, _) | Kind::Await(inner) | Kind::Try(inner) => inner,
            Kind::Index(both) => first(both),
            Kind::Call(call) => {
                if ["lock", "read", "write"].contains(&call.last()) && call.args.is_empty() {
                    return Some(at);
                }
                call.receiver()?
            }
            Kind::Name(name) => {
                let names = names.checked_sub(1).filter(|_| look.flow.fuel.burn(1))?;
                let mut all = look.flow.definitions_of(name, frame, at.step).into_iter();
                return all.find_map(|it| lender(look, it, names));
            }
            _ => return None,
        };
        at.val = Val { expr: next, frame };
    }
    None
}

/// The object that a call locks, as it is written.
fn object_of<'a>(look: &Look<'_, 'a>, lock: At<'a>) -> Option<(&'a str, u32)> {
    let frame = lock.val.frame;
    let expr = lock.val.expr.call()?.receiver()?;
    Some((look.flow.text(Val { expr, frame }), frame))
}

/// `if account.balance == before`: the value is looked at again under the lock.
fn compares_lent<'a>(look: &Look<'_, 'a>, test: At<'a>, lock: At<'a>) -> bool {
    let mut compares = false;
    test.val.expr.walk(&mut |it| {
        if let Kind::Compare(_, both) = &it.kind {
            compares |= both.iter().any(|side| {
                let of = lender(look, own(side, test.step), LENT);
                of.is_some_and(|it| it.val.expr.span == lock.val.expr.span)
            });
        }
    });
    compares
}
