//! Checks that are skipped while no secret is set.

use super::{
    look::{Hit, Look},
    presence::{is_key, is_named, presence},
};
use crate::audit::{
    flow::{Exit, Flow, RegionKind, Step, Val, What},
    mac,
    tree::{Compare, Expr, Kind},
    values::At,
    words,
};

const NOBODY_NOTICES: &str =
    "a service whose secret was not set accepts everything, and nobody notices";

const ONLY_THEN: &str = "this check is skipped, and the request goes on";

/// A test of whether there is a secret, and what it leads to.
struct Asked<'a> {
    at: At<'a>,
    group: u32,
    /// The arm with a secret, and the arm without a secret.
    with: u32,
    without: u32,
}

/// A check of a signature, and its key if that is known.
#[derive(Clone, Copy)]
struct Check<'a> {
    at: At<'a>,
    key: Option<At<'a>>,
}

pub(super) fn without_secret(look: &Look<'_, '_>) -> Vec<Hit> {
    let mut hits = Vec::new();
    let checks = checks(look);
    if checks.is_empty() {
        return hits;
    }
    hits.extend(checks.iter().filter_map(|check| in_closure(look, check)));
    for (number, step) in look.flow.steps() {
        let What::Test(test, group) = step.what else {
            continue;
        };
        let val = Val {
            expr: test,
            frame: step.frame,
        };
        let at = At { val, step: number };
        let Some(asked) = asked(look, at, group, &checks) else {
            continue;
        };
        let skipped = checks.iter().find_map(|check| skips(look, &asked, check));
        if let Some(use_) = skipped {
            hits.push(look.hit((at, "without a secret"), use_, NOBODY_NOTICES));
        }
    }
    hits
}

/// `secret.is_none_or(|it| verify(it, …))`, `secret.map_or(true, |it| verify(it, …))`
fn in_closure(look: &Look<'_, '_>, check: &Check<'_>) -> Option<Hit> {
    look.flow.calls().find_map(|call| {
        let passes = match call.call.last() {
            "is_none_or" => true,
            "map_or" => call
                .call
                .args
                .first()
                .is_some_and(|it| it.value.is_name(&["true"])),
            _ => false,
        };
        let receiver = call.call.receiver().filter(|it| passes && is_named(it))?;
        let closure = &call.call.args.last()?.value;
        let seen = look.flow.seen_from(check.at.val, call.val.frame)?.expr;
        let (inner, outer) = (seen.span, closure.span);
        let is_inside = outer.start <= inner.start && inner.end <= outer.end;
        is_inside.then(|| {
            let [secret, check] = [receiver, seen].map(|it| look.piece(call, it));
            look.hit(
                (secret, "without a secret"),
                (check, ONLY_THEN),
                NOBODY_NOTICES,
            )
        })
    })
}

/// The checks of the function: those that compare MACs, those of libraries, and calls that take a
/// secret and say by their name that they check.
fn checks<'a>(look: &Look<'_, 'a>) -> Vec<Check<'a>> {
    let made = look.checks.iter().map(|it| Check {
        at: it.at,
        key: it.key,
    });
    let called = look.flow.calls().filter_map(|it| {
        let key = it.call.args.iter().find(|arg| {
            let names = arg.value.chain();
            names.last().is_some_and(|it| words::is_secret(it))
        });
        let key = key.map(|arg| look.piece(it, &arg.value));
        let chain = it.call.func.chain();
        let says = match chain.as_slice() {
            [.., "signature" | "hmac" | "webhook", "verify"] => true,
            [.., last] => {
                words::has_word(last, &["verif", "valid", "check"])
                    && words::has_word(last, &["sig", "hmac", "webhook"])
            }
            [] => false,
        };
        let is_check = mac::is_library_check(it) || says && key.is_some();
        is_check.then(|| Check {
            at: look.at(it),
            key,
        })
    });
    made.chain(called).collect()
}

fn asked<'a>(
    look: &Look<'_, 'a>,
    at: At<'a>,
    group: u32,
    checks: &[Check<'a>],
) -> Option<Asked<'a>> {
    let is_about = |secret: &'a Expr<'a>| {
        let val = Val {
            expr: secret,
            frame: at.val.frame,
        };
        let mut keys = checks.iter().filter_map(|it| it.key);
        is_named(secret) || keys.any(|key| is_key(look, key, look.flow.text(val)))
    };
    let is_there = presence(at.val.expr, &is_about)?;
    let (mut with, mut without) = if is_there { (0, 1) } else { (1, 0) };
    // The arms of a `match`: `Some(secret)`, `None`.
    let patterns = look.flow.steps().filter_map(|(_, step)| match step.what {
        What::Set { target, value, .. } if std::ptr::eq(value.expr, at.val.expr) => {
            Some((target, arm_of(look.flow, step, group)?))
        }
        _ => None,
    });
    for (pattern, arm) in patterns {
        match &pattern.kind {
            Kind::Call(call) if ["Some", "Ok"].contains(&call.last()) => with = arm,
            _ => without = arm,
        }
    }
    Some(Asked {
        at,
        group,
        with,
        without,
    })
}

/// The arm of a test in which a step lies.
fn arm_of(flow: &Flow<'_>, step: &Step<'_>, group: u32) -> Option<u32> {
    let mut around = flow.around(step.region).take_while(|_| flow.fuel.burn(1));
    around.find_map(|(_, it)| match it.kind {
        RegionKind::Branch { group: g, arm } if g == group => Some(arm),
        _ => None,
    })
}

/// Returns where a request passes without the check, if there is no secret.
fn skips<'a>(
    look: &Look<'_, 'a>,
    asked: &Asked<'a>,
    check: &Check<'a>,
) -> Option<(At<'a>, &'static str)> {
    let flow = look.flow;
    let frame = asked.at.val.frame;
    let seen = flow.seen_from(check.at.val, frame)?;
    let without = Arm::of(flow, asked, asked.without);
    if without.refuses {
        return None;
    }
    let passed = match without.left {
        Some((_, Exit::Return, value)) => match value {
            Some(expr) if passes(expr) => Some((at(expr, frame, check), "every request passes")),
            None if raises(flow, asked, check) => Some((check.at, ONLY_THEN)),
            _ => return None,
        },
        Some(_) => return None,
        None => None,
    };
    let step = flow.step(check.at.step)?;
    let inside = arm_of(flow, step, asked.group);
    if check.at.step == asked.at.step {
        // `if secret and not compare_digest(…)`: what is refused must be the arm.
        let with = Arm::of(flow, asked, asked.with);
        let is_negated = is_negated(asked.at.val.expr, seen.expr);
        return (is_negated && with.refuses).then_some((check.at, ONLY_THEN));
    }
    if inside.is_none() {
        return passed.filter(|_| flow.reaches(asked.at.step, check.at.step));
    }
    if inside != Some(asked.with) {
        return None;
    }
    passed.or_else(|| goes_on(look, asked, check, seen))
}

fn at<'a>(expr: &'a Expr<'a>, frame: u32, near: &Check<'a>) -> At<'a> {
    At {
        val: Val { expr, frame },
        step: near.at.step,
    }
}

/// An arm of a test.
struct Arm<'a> {
    /// How it ends, and with what value.
    left: Option<(u32, Exit, Option<&'a Expr<'a>>)>,
    /// Whether something in it turns requests away.
    refuses: bool,
    /// Whether something in it returns that all is well.
    accepts: bool,
}

impl<'a> Arm<'a> {
    fn of(flow: &Flow<'a>, asked: &Asked<'a>, arm: u32) -> Self {
        let mut this = Self {
            left: None,
            refuses: false,
            accepts: false,
        };
        let own = flow.steps().filter(|(_, step)| {
            step.frame == asked.at.val.frame && arm_of(flow, step, asked.group) == Some(arm)
        });
        for (number, step) in own {
            let is_last = matches!(
                flow.regions.get(step.region as usize).map(|it| it.kind),
                Some(RegionKind::Branch { group, .. }) if group == asked.group
            );
            match step.what {
                What::Raise(_) => this.refuses = true,
                What::Return(value) => {
                    if is_last {
                        this.left = Some((number, Exit::Return, value));
                    }
                    if let Some(value) = value {
                        this.refuses |= refuses(value);
                        this.accepts |= !refuses(value);
                    }
                }
                What::Leave if is_last => this.left = Some((number, Exit::Leave, None)),
                What::Do(expr) => this.refuses |= is_abort(expr),
                _ => {}
            }
        }
        this
    }
}

fn is_abort(expr: &Expr<'_>) -> bool {
    expr.call()
        .is_some_and(|it| ["abort", "fail", "exit", "_exit"].contains(&it.last()))
}

/// Returns whether a value says that a request is turned away.
fn refuses(value: &Expr<'_>) -> bool {
    let says = |it: &str| {
        words::has_word(
            it,
            &[
                "unauthor",
                "forbid",
                "bad_request",
                "badrequest",
                "error",
                "denied",
                "invalid",
                "reject",
                "fail",
                "internal",
                "unavailable",
                "missing",
                "not configured",
            ],
        )
    };
    let mut found = false;
    value.walk(&mut |it| {
        found |= match it.kind {
            Kind::Name(name) | Kind::Member(_, name) => {
                ["False", "false", "None", "Err"].contains(&name) || says(name)
            }
            Kind::Number(text) => text.len() == 3 && text.starts_with(['4', '5']),
            Kind::Text(text) => says(text),
            _ => false,
        };
    });
    found
}

/// Returns whether a value lets a request through: `True`, `Ok(())`, the next service, the parsed
/// body.
fn passes(value: &Expr<'_>) -> bool {
    let value = value.bare();
    let Kind::Call(call) = &value.kind else {
        return value.is_name(&["True", "true"])
            || matches!(&value.kind, Kind::Many(all) if all.first().is_some_and(passes));
    };
    let hands_on = call.args.iter().any(|it| it.name == Some("**"));
    match call.func.chain().as_slice() {
        ["Ok" | "Some"] => call.args.first().is_some_and(|arg| {
            passes(&arg.value) || matches!(&arg.value.kind, Kind::Many(all) if all.is_empty())
        }),
        ["call_next"] | [.., "next", "run"] | [.., "get_response" | "oneshot"] => true,
        [
            ..,
            "loads" | "construct_from" | "from_slice" | "from_str" | "json" | "get_json",
        ] => true,
        _ => hands_on,
    }
}

/// Returns whether a failed check raises. Then a return without a value means that it passed.
fn raises(flow: &Flow<'_>, asked: &Asked<'_>, check: &Check<'_>) -> bool {
    let frame = asked.at.val.frame;
    let later = |(number, step): (u32, &Step<'_>)| {
        number > check.at.step
            && step.frame == frame
            && match step.what {
                What::Raise(_) => true,
                What::Do(expr) => is_abort(expr),
                _ => false,
            }
    };
    flow.steps().any(later)
}

/// Returns whether a comparison in a test is negated, by `not` or by `!=`.
fn is_negated(test: &Expr<'_>, check: &Expr<'_>) -> bool {
    let mut found = false;
    test.walk(&mut |it| {
        let negated = match &it.kind {
            Kind::Not(inner) => Some(&**inner),
            Kind::Compare(Compare::NotEqual, _) => Some(it),
            Kind::Call(call) if call.last() == "is_err" => Some(it),
            _ => None,
        };
        if let Some(inner) = negated {
            inner.walk(&mut |it| found |= std::ptr::eq(it, check));
        }
    });
    found
}

/// Returns whether the code behind the test does what it does for requests that were checked.
fn goes_on<'a>(
    look: &Look<'_, 'a>,
    asked: &Asked<'a>,
    check: &Check<'a>,
    seen: Val<'a>,
) -> Option<(At<'a>, &'static str)> {
    let flow = look.flow;
    let frame = asked.at.val.frame;
    let found = Some((check.at, ONLY_THEN));
    let with = Arm::of(flow, asked, asked.with);
    // The answer of the check is kept: what is it otherwise?
    let kept = flow.steps().find_map(|(_, step)| match &step.what {
        What::Set { target, value, .. } if step.frame == frame && holds(value.expr, seen.expr) => {
            target.dotted()
        }
        _ => None,
    });
    if let Some(name) = kept {
        let others = flow.definitions.get(&(frame, name));
        let is_set = others.into_iter().flatten().any(|number| {
            let Some(step) = flow.step(*number) else {
                return false;
            };
            let What::Set { value, .. } = &step.what else {
                return false;
            };
            arm_of(flow, step, asked.group) != Some(asked.with) && passes(value.expr)
        });
        return found.filter(|_| is_set);
    }
    let in_handler = |step: &Step<'_>| {
        let handlers = |region: u32| {
            flow.around(region)
                .filter(|(_, it)| matches!(it.kind, RegionKind::Handler(_)))
                .count()
        };
        let own = flow.step(asked.at.step).map_or(0, |it| handlers(it.region));
        handlers(step.region) > own
    };
    let next = flow.steps().find(|(number, step)| {
        *number > asked.at.step
            && step.frame == frame
            && arm_of(flow, step, asked.group).is_none()
            && !in_handler(step)
            && !matches!(step.what, What::Do(expr) if tells(expr))
    });
    let goes_on = match next.map(|(_, step)| &step.what) {
        None => !with.accepts && raises(flow, asked, check),
        Some(What::Return(Some(value))) if with.accepts => passes(value),
        Some(What::Return(Some(value))) => !refuses(value),
        Some(What::Return(None)) => !with.accepts && raises(flow, asked, check),
        Some(What::Raise(_)) => false,
        Some(What::Do(expr)) => !with.accepts && !is_abort(expr),
        Some(_) => !with.accepts,
    };
    found.filter(|_| goes_on)
}

fn tells(expr: &Expr<'_>) -> bool {
    expr.call().is_some_and(|call| {
        let chain = call.func.chain();
        let says = |it: &&str| words::has_word(it, &["log", "print", "warn", "info", "debug"]);
        chain.iter().any(says)
    })
}

fn holds(outer: &Expr<'_>, inner: &Expr<'_>) -> bool {
    let mut found = false;
    outer.walk(&mut |it| found |= std::ptr::eq(it, inner));
    found
}
