//! Numbers of a row that are read, changed and written back.

use super::{
    fetched::{changes, origin, runs_alone},
    look::{Hit, Look},
    mend,
    state::checked,
};
use crate::audit::{
    flow::{Val, What},
    tree::{Expr, Kind, Operator},
    values::At,
};

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
        if !counts || is_set_before(look, fetched, target_at) {
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

/// Returns whether the number was set to a constant after it was read: it starts again.
fn is_set_before<'a>(look: &Look<'_, 'a>, fetched: At<'a>, target: At<'a>) -> bool {
    let name = target.val.expr.dotted();
    (fetched.step + 1..target.step).any(|number| {
        look.flow.step(number).is_some_and(|step| {
            step.frame == target.val.frame
                && matches!(&step.what, What::Set { target, value, operator: None }
                    if target.dotted() == name && matches!(value.expr.kind, Kind::Number(_)))
        }) && look.flow.dominates(number, target.step)
    })
}
