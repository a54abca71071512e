//! A rule about values that are read before an `await` and written after it.

use super::look::{Hit, Look};
use crate::audit::{
    flow::{Val, What},
    tree::{Expr, Kind, first, second},
    values::At,
};

/// A value of an object that is read, awaited upon, and written.
pub(super) fn changed_across_await(look: &Look<'_, '_>) -> Vec<Hit> {
    let mut hits = Vec::new();
    if !look.flow.function.is_async {
        return hits;
    }
    for (number, step) in look.flow.steps() {
        let What::Set {
            target,
            value,
            operator,
        } = &step.what
        else {
            continue;
        };
        let own = match &target.kind {
            Kind::Index(both) => first(both),
            _ => target,
        };
        let Kind::Member(inner, _) = &own.kind else {
            continue;
        };
        if step.frame != 1 || !inner.is_name(&["self"]) || look.is_locked(number) {
            continue;
        }
        if operator.is_some() {
            // `self.x += await …` reads before it waits.
            let mut awaits = false;
            value.expr.walk(&mut |it| {
                awaits |= matches!(it.kind, Kind::Await(_));
            });
            if awaits {
                let at = At {
                    val: Val {
                        expr: target,
                        frame: 1,
                    },
                    step: number,
                };
                let waited = At {
                    val: *value,
                    step: number,
                };
                hits.push(look.hit(
                    (at, "read here, before the wait"),
                    (waited, "and written after it"),
                    "another task changes the value in between, and its change is lost",
                ));
            }
            continue;
        }
        // A local that was read from the same field before an await.
        let mut from = None;
        value.expr.walk(&mut |it| {
            if let Kind::Name(local) = it.kind {
                for read in look.flow.definitions_of(local, 1, number) {
                    if reads(look, read, target) {
                        from = Some(read);
                    }
                }
            }
        });
        let is_changed = matches!(value.expr.kind, Kind::Binary(..));
        if let Some(read) = from
            && is_changed
            && look.waits_between(read.step, number)
        {
            let at = At {
                val: Val {
                    expr: target,
                    frame: 1,
                },
                step: number,
            };
            hits.push(look.hit(
                (read, "read here, before a wait"),
                (at, "and written here, after it"),
                "another task changes the value in between, and its change is lost",
            ));
        }
    }
    hits
}

/// `self.total`, `self.balances[name]` or `self.balances.get(name, 0)`: what a target holds before.
fn reads<'a>(look: &Look<'_, 'a>, read: At<'a>, target: &Expr<'_>) -> bool {
    let file = look.flow.project.files.get(look.flow.root.file);
    let text = |it: &Expr<'_>| file.and_then(|file| file.text.get(it.span.range()));
    let expr = read.val.expr.bare();
    match (&target.kind, expr.call()) {
        (Kind::Index(both), Some(call)) if call.last() == "get" => {
            let key = call.args.first().map(|it| text(&it.value));
            call.receiver().map(text) == Some(text(first(both))) && key == Some(text(second(both)))
        }
        _ => text(expr) == text(target),
    }
}
