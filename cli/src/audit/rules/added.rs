//! Changes that do more if they happen twice.

use super::{look::Look, presence::presence};
use crate::audit::{
    flow::{CallAt, Val, What},
    tree::{Call, Expr, Kind, Operator, first},
    values::At,
    words,
};

/// How many names and calls lie between a value and the row that it is of.
const ROOT: usize = 16;

/// Returns whether a change does more if it happens twice: to store the same values again does not.
pub(super) fn adds_up(look: &Look<'_, '_>, call: &CallAt<'_>) -> bool {
    let stores = [
        "save",
        "asave",
        "update",
        "aupdate",
        "commit",
        "update_one",
        "delete",
    ];
    let mut args = call.call.args.iter();
    if !stores.contains(&call.call.last())
        || args.any(|it| matches!(it.value.kind, Kind::Binary(..)))
    {
        return true;
    }
    look.flow.steps().any(|(number, step)| match &step.what {
        What::Set {
            target,
            value,
            operator,
        } if number < call.step && matches!(target.kind, Kind::Member(..)) => {
            operator.is_some() || matches!(value.expr.kind, Kind::Binary(..))
        }
        What::Do(expr) => {
            let last = expr.call().map_or("", Call::last);
            number < call.step && ["add", "create", "insert", "append"].contains(&last)
        }
        _ => false,
    })
}

/// The place behind a check at which a number that is kept is added to, whatever was kept before.
pub(super) fn to_a_number<'a>(look: &Look<'_, 'a>, check: At<'a>) -> Option<At<'a>> {
    let is_behind = |step: u32| {
        step > check.step
            && look.flow.reaches(check.step, step)
            && !asks_what_is_kept(look, check.step, step)
    };
    let is_kept_later = |step: u32| {
        look.flow.calls().any(|it| {
            let keeps = words::changes(it.call) || ["dump", "flush"].contains(&it.call.last());
            it.step >= step && keeps && (it.step == step || look.flow.reaches(step, it.step))
        })
    };
    let set = look.flow.steps().find_map(|(number, step)| {
        let What::Set {
            target,
            value,
            operator,
        } = &step.what
        else {
            return None;
        };
        let target_at = At {
            val: Val {
                expr: target,
                frame: step.frame,
            },
            step: number,
        };
        let value_at = At {
            val: *value,
            step: number,
        };
        let adds = match operator {
            Some(operator) => *operator == Operator::Add && is_number(value.expr),
            None => adds_to(look, value_at, target),
        };
        let is_part = matches!(target.kind, Kind::Member(..) | Kind::Index(_));
        let found = adds && is_part && is_looked_up(look, target_at);
        (found && is_behind(number) && is_kept_later(number)).then_some(target_at)
    });
    set.or_else(|| {
        let mut calls = look.flow.calls();
        let adds = calls.find(|it| {
            ["update", "update_one", "execute"].contains(&it.call.last())
                && adds_in_place(it.call)
                && is_behind(it.step)
        });
        adds.map(|it| look.at(it))
    })
}

fn is_number(value: &Expr<'_>) -> bool {
    !matches!(
        value.kind,
        Kind::Text(_) | Kind::Format(_) | Kind::Many(_) | Kind::Record(_)
    )
}

/// `account.credits + 100`, `coins.get(name, 0) + 5`
fn adds_to<'a>(look: &Look<'_, 'a>, value: At<'a>, target: &Expr<'_>) -> bool {
    let Kind::Binary(Operator::Add, both) = &value.val.expr.kind else {
        return false;
    };
    let file = look.flow.project.files.get(look.flow.file(value.val.frame));
    let text = |it: &Expr<'_>| file.and_then(|file| file.text.get(it.span.range()));
    let is_old = |side: &Expr<'_>| {
        let mut is_old = false;
        side.walk(&mut |it| {
            is_old |= text(it) == text(target);
            if let (Some(call), Kind::Index(of)) = (it.call(), &target.kind) {
                is_old |=
                    call.last() == "get" && call.receiver().map(text) == Some(text(first(of)));
            }
        });
        is_old
    };
    both.iter().any(is_old)
}

/// `update(credits=F("credits") + 1)`, `{"$inc": …}`, `SET credits = credits + ?`
fn adds_in_place(call: &Call<'_>) -> bool {
    call.args.iter().any(|arg| match &arg.value.kind {
        Kind::Binary(Operator::Add, both) => both
            .iter()
            .any(|it| it.call().is_some_and(|it| it.last() == "F")),
        Kind::Record(pairs) => pairs.iter().any(|it| it.0.text() == Some("$inc")),
        Kind::Text(text) => words::has_word(text, &["update "]) && words::has_word(text, &[" + "]),
        _ => false,
    })
}

/// Returns whether a test between two steps is about what is kept: `if order.paid: return`, `if not
/// payment: payment = create(…)`.
fn asks_what_is_kept(look: &Look<'_, '_>, from: u32, to: u32) -> bool {
    (from..to).any(|number| {
        let step = look.flow.step(number).filter(|_| look.flow.fuel.burn(1));
        let Some((What::Test(test, _), frame)) = step.map(|it| (&it.what, it.frame)) else {
            return false;
        };
        if !look.flow.decides(number, to) {
            return false;
        }
        let kept = |expr| {
            let val = Val { expr, frame };
            is_looked_up(look, At { val, step: number })
        };
        let mut of_its_state = false;
        test.walk(&mut |it| {
            of_its_state |= matches!(it.kind, Kind::Member(..) | Kind::Index(_)) && kept(it);
        });
        // Once there is a row, nothing is added.
        let is_there = presence(test, &|it| it.name().is_some() && kept(it));
        of_its_state || is_there.is_some_and(|it| look.flow.answer(number, to) == Some(!it))
    })
}

/// Returns whether a value is a part of something that was looked up, and not of the event.
fn is_looked_up<'a>(look: &Look<'_, 'a>, of: At<'a>) -> bool {
    const MAKES: [&str; 11] = [
        "construct_event",
        "int",
        "float",
        "str",
        "dict",
        "list",
        "len",
        "round",
        "loads",
        "getattr",
        "Decimal",
    ];
    let mut at = of;
    let mut is_called = false;
    for _ in 0..ROOT {
        let Val { expr, frame } = at.val;
        let next = match &expr.kind {
            Kind::Member(inner, _) | Kind::Await(inner) | Kind::Try(inner) => inner,
            Kind::Index(both) => first(both),
            Kind::Call(call) => {
                if MAKES.contains(&call.last()) {
                    return false;
                }
                is_called = true;
                match call.receiver() {
                    Some(receiver) => receiver,
                    None => return true,
                }
            }
            Kind::Name(name) => match look.flow.definitions_of(name, frame, at.step).first() {
                Some(set) if set.step < at.step => {
                    at = *set;
                    continue;
                }
                _ => return is_called && !["request", "req"].contains(name),
            },
            _ => return false,
        };
        at.val = Val { expr: next, frame };
    }
    false
}
