//! Rules about checks whose result does not count.

use super::look::{Hit, Look};
use crate::audit::{
    flow::{Exit, RegionKind, What},
    mac,
    tree::{Act, Expr, Kind, Stmt},
    values::At,
    words,
};

/// An `except` that goes on.
pub(super) fn failed_check_passes(look: &Look<'_, '_>) -> Vec<Hit> {
    let mut hits = Vec::new();
    let flow = look.flow;
    for (region, handler) in &flow.handlers {
        let Some(RegionKind::Handler(group)) = flow.regions.get(*region as usize).map(|it| it.kind)
        else {
            continue;
        };
        let in_try = |step: u32| {
            flow.step(step).is_some_and(|it| {
                flow.around(it.region)
                    .any(|(_, it)| matches!(it.kind, RegionKind::Try(g) if g == group))
            })
        };
        let check = look
            .checks
            .iter()
            .map(|it| it.at)
            .find(|it| in_try(it.step) && raises(look, *it))
            .or_else(|| {
                let call = flow.calls().find(|it| {
                    mac::is_library_check(it) && in_try(it.step) && is_statement(look, it.step)
                })?;
                Some(look.at(call))
            });
        let Some(check) = check else { continue };
        let kinds = handler.kind.as_ref().map_or_else(Vec::new, |kind| {
            let mut names = Vec::new();
            kind.walk(&mut |it| {
                if let Kind::Name(name) | Kind::Member(_, name) = it.kind {
                    names.push(name);
                }
            });
            names
        });
        let catches = handler.kind.is_none()
            || kinds.iter().any(|it| {
                ["Exception", "BaseException"].contains(it)
                    || words::has_word(it, &["signature", "verif", "invalid"])
            });
        if catches && goes_on(&handler.body) {
            let mut hit = look.hit(
                (check, "the check fails by raising"),
                (check, ""),
                "a failed check is caught, and the request goes on as if it had passed",
            );
            hit.use_.span = handler.span;
            hit.use_.what = "and is caught here".to_owned();
            hit.use_.file = flow.file(flow.frame_of(*region));
            hits.push(hit);
        }
    }
    hits
}

/// Returns whether a failed check leaves by raising: its test raises.
fn raises(look: &Look<'_, '_>, check: At<'_>) -> bool {
    let flow = look.flow;
    (check.step..check.step + 2).any(|number| {
        let Some(What::Test(_, group)) = flow.step(number).map(|it| &it.what) else {
            return false;
        };
        flow.exits_of(*group).contains(&Exit::Raise)
    })
}

/// A check whose result is not looked at can only fail by raising.
fn is_statement(look: &Look<'_, '_>, step: u32) -> bool {
    matches!(
        look.flow.step(step).map(|it| &it.what),
        Some(What::Do(_) | What::Set { .. })
    )
}

/// Returns whether a value is read from the request itself: `json.loads(payload)`, `await
/// request.json()`.
fn reads_anyway(value: &Expr<'_>) -> bool {
    value
        .bare()
        .call()
        .is_some_and(|call| ["loads", "json", "get_json"].contains(&call.last()))
}

/// Returns whether a handler neither leaves nor notes that the check failed.
fn goes_on(body: &[Stmt<'_>]) -> bool {
    let mut only_tells = true;
    for stmt in body {
        match &stmt.act {
            Act::Return(Some(value)) if value.is_name(&["True"]) => return true,
            Act::Do(expr) => {
                let tells = expr.call().is_some_and(|call| {
                    call.func.chain().iter().any(|it| {
                        words::has_word(it, &["log", "print", "warn", "capture", "sentry", "debug"])
                    })
                });
                only_tells &= tells || expr.call().is_none();
            }
            // The event is read although nothing has verified it.
            Act::Set { value, .. } if reads_anyway(value) => {}
            _ => return false,
        }
    }
    only_tells
}
