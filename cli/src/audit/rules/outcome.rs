//! Rules about checks whose result does not count.

use super::look::{Hit, Look};
use crate::audit::{
    flow::{CallAt, Exit, RegionKind, Val, What},
    mac,
    tree::{Act, Call, Expr, Handler, Kind, Stmt, second},
    values::At,
    words,
};

/// A check that fails, and a request that goes on.
pub(super) fn failed_check_passes(look: &Look<'_, '_>) -> Vec<Hit> {
    let mut hits = caught(look);
    hits.extend(only_told(look));
    hits
}

/// An `except` that goes on.
fn caught(look: &Look<'_, '_>) -> Vec<Hit> {
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
        let names = kinds(handler);
        let is_broad = handler.kind.is_none()
            || names
                .iter()
                .any(|it| ["Exception", "BaseException"].contains(it));
        let of_checks = names
            .iter()
            .any(|it| words::has_word(it, &["signature", "verif", "invalid"]));
        let raising = || {
            let mut own = look.checks.iter().map(|it| it.at);
            own.find(|it| in_try(it.step) && raises(look, *it))
        };
        let of_library = || {
            let call = flow.calls().find(|it| {
                mac::is_library_check(it) && in_try(it.step) && is_statement(look, it.step)
            })?;
            Some(look.at(call))
        };
        // Without a header, or with one that is no text of hexadecimal digits, a check raises too.
        let any = || {
            let frame = flow.frame_of(*region);
            let mut all = verdicts(look).into_iter();
            all.find(|it| it.val.frame == frame && in_try(it.step))
        };
        let check = if is_broad {
            any().or_else(of_library)
        } else if of_checks {
            raising().or_else(of_library)
        } else if names.contains(&"KeyError") && reads_signature(look, &in_try) {
            any().or_else(of_library)
        } else {
            None
        };
        let Some(check) = check else { continue };
        let body = &handler.body;
        if passes(body) || goes_on(body) && acts_behind(look, (*region, group), check) {
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

/// The names of what a handler catches.
fn kinds<'a>(handler: &'a Handler<'a>) -> Vec<&'a str> {
    let mut names = Vec::new();
    if let Some(kind) = &handler.kind {
        kind.walk(&mut |it| {
            if let Kind::Name(name) | Kind::Member(_, name) = it.kind {
                names.push(name);
            }
        });
    }
    names
}

/// The calls that say whether a signature is right: comparisons, and helpers around them.
fn verdicts<'a>(look: &Look<'_, 'a>) -> Vec<At<'a>> {
    let mut found: Vec<At<'a>> = look.checks.iter().map(|it| it.at).collect();
    let compares = |frame: u32| {
        let mut frames = look.checks.iter().map(|it| it.at.val.frame);
        frames.any(|it| look.flow.is_within(it, frame))
    };
    let is_one = |call: &&CallAt<'a>| {
        let helper = look.flow.helper_of(call.val).filter(|_| {
            let of = ["verif", "valid", "check", "sign", "hmac", "auth"];
            words::has_word(call.call.last(), &of)
        });
        helper.is_some_and(compares) || names_check(call.call)
    };
    let calls = look.flow.calls().filter(is_one);
    found.extend(calls.map(|it| look.at(it)));
    found
}

/// `client.verify_payment_signature(…)`, `verify_slack_request(request)`
fn names_check(call: &Call<'_>) -> bool {
    let last = call.last();
    let has = |words: &[&str]| words.iter().any(|it| last.contains(it));
    has(&["signature", "hmac"]) && has(&["verify", "verified", "validate", "is_valid", "check"])
        || last.starts_with("verify_") && has(&["request", "webhook"])
}

/// `request.META["HTTP_X_HUB_SIGNATURE"]`, which raises if the header is not there.
fn reads_signature(look: &Look<'_, '_>, in_try: &impl Fn(u32) -> bool) -> bool {
    look.flow.steps().any(|(number, step)| {
        let mut reads = false;
        if in_try(number) {
            step.each(&mut |root| {
                root.expr.walk(&mut |it| {
                    reads |= matches!(&it.kind, Kind::Index(both)
                        if second(both).text().is_some_and(words::is_signature));
                });
            });
        }
        reads
    })
}

/// Returns whether a handler is followed by more than words, whatever the check returned.
fn acts_behind<'a>(look: &Look<'_, 'a>, handler: (u32, u32), check: At<'a>) -> bool {
    let flow = look.flow;
    let (region, group) = handler;
    let span = check.val.expr.span;
    let is_of_group = |region: u32| {
        flow.around(region).any(
            |(_, it)| matches!(it.kind, RegionKind::Try(g) | RegionKind::Handler(g) if g == group),
        )
    };
    let last = flow.steps().filter(|(_, it)| is_of_group(it.region));
    let last = last.map(|(number, _)| number).max().unwrap_or_default();
    flow.steps().any(|(number, step)| {
        // `if not event: return`: without a result there is nothing to do.
        let is_asked = || look.test_between(last + 1, number, |it| it.val.expr.span == span);
        number > last && acts(&step.what) && flow.leads(region, step.region) && is_asked().is_none()
    })
}

/// Returns whether a step does something: a request that goes on comes to it.
fn acts(what: &What<'_>) -> bool {
    match what {
        What::Do(expr) => expr.call().is_some_and(|it| !tells(it)),
        What::Set { target, value, .. } => {
            matches!(target.kind, Kind::Member(..) | Kind::Index(_))
                || value.expr.is_name(&["True"])
                || value.expr.call().is_some_and(words::changes)
        }
        What::Return(Some(value)) => {
            let hands_on = |call: &Call<'_>| {
                call.args
                    .iter()
                    .any(|it| it.value.is_name(&["request", "event", "payload", "body"]))
            };
            value.is_name(&["True"]) || value.call().is_some_and(hands_on)
        }
        _ => false,
    }
}

/// A test of a check, with arms that only tell how it ended.
fn only_told(look: &Look<'_, '_>) -> Vec<Hit> {
    let flow = look.flow;
    let verdicts = verdicts(look);
    if verdicts.is_empty() {
        return Vec::new();
    }
    let is_verdict = |it: At<'_>| {
        verdicts.iter().any(|verdict| {
            verdict.val.frame == it.val.frame && verdict.val.expr.span == it.val.expr.span
        })
    };
    let about = |expr, number| {
        let at = At {
            val: Val { expr, frame: 1 },
            step: number,
        };
        flow.find(at, is_verdict)
    };
    let mut hits = Vec::new();
    for (number, step) in flow.steps() {
        let (What::Test(test, group), 1) = (&step.what, step.frame) else {
            continue;
        };
        if !flow.exits_of(*group).is_empty() {
            continue;
        }
        let Some(check) = about(*test, number) else {
            continue;
        };
        let in_arm = |region: u32| {
            flow.around(region).any(
                |(_, it)| matches!(it.kind, RegionKind::Branch { group: g, .. } if g == *group),
            )
        };
        let own = || flow.steps().filter(|(_, it)| it.frame == 1);
        let mut arms = own().filter(|(_, it)| in_arm(it.region)).peekable();
        let tells_alone = arms.peek().is_some() && arms.all(|(_, it)| is_told(&it.what));
        // Nothing else asks how the check ended.
        let is_asked = || {
            own().any(|(at, it)| {
                let mut asks = false;
                if at > check.step.min(number)
                    && at != number
                    && !in_arm(it.region)
                    && !is_told(&it.what)
                {
                    it.each(&mut |root| {
                        asks |= root.frame == 1
                            && root.expr.span != check.val.expr.span
                            && about(root.expr, at).is_some();
                    });
                }
                asks
            })
        };
        let goes_on = || {
            own().any(|(at, it)| {
                at > number && !in_arm(it.region) && acts(&it.what) && flow.reaches(number, at)
            })
        };
        if tells_alone && goes_on() && !is_asked() {
            let test = At {
                val: Val {
                    expr: test,
                    frame: 1,
                },
                step: number,
            };
            hits.push(look.hit(
                (check, "the check is made here"),
                (test, "and how it ended is only told here"),
                "a failed check is noted, and the request goes on as if it had passed",
            ));
        }
    }
    hits
}

/// Returns whether a step only tells something.
fn is_told(what: &What<'_>) -> bool {
    matches!(what, What::Do(expr) if expr.call().is_none_or(tells))
}

/// A call that writes a log, a message or a warning.
fn tells(call: &Call<'_>) -> bool {
    const WORDS: [&str; 8] = [
        "logg", "print", "warn", "capture", "sentry", "debug", "metric", "stdout",
    ];
    const NAMES: [&str; 4] = ["log", "_log", "LOG", "messages"];
    let adds_warning = || {
        let mut warns = false;
        call.func.walk(&mut |it| {
            warns |= matches!(it.kind, Kind::Text(text) if words::has_word(text, &["warning"]));
        });
        call.last() == "append" && warns
    };
    let chain = call.func.chain();
    let is_log =
        |it: &&str| NAMES.contains(it) || it.starts_with("log_") || words::has_word(it, &WORDS);
    chain.iter().any(is_log) || adds_warning()
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

/// Returns whether a handler says that all is well.
fn passes(body: &[Stmt<'_>]) -> bool {
    let returns =
        |it: &Stmt<'_>| matches!(&it.act, Act::Return(Some(value)) if value.is_name(&["True"]));
    body.iter().any(returns)
}

/// Returns whether a handler neither leaves nor notes that the check failed.
fn goes_on(body: &[Stmt<'_>]) -> bool {
    body.iter().all(|stmt| match &stmt.act {
        Act::Do(expr) => expr.call().is_none_or(tells),
        // The event is read although nothing has verified it.
        Act::Set { value, .. } => reads_anyway(value),
        _ => false,
    })
}
