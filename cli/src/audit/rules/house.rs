//! Rules about the use of this crate.

use super::look::{Hit, Look};
use crate::audit::{
    finding::Place,
    flow::{CallAt, Val},
    project::{Project, each_expr},
    span::Span,
    tree::{Call, Expr, Kind, Language},
    values::At,
};

/// A call of a chain, from the first to the last: `Router::new()`, `.route(…)`, `.layer(…)`.
fn links<'a>(expr: &'a Expr<'a>) -> Vec<&'a Expr<'a>> {
    let mut links = Vec::new();
    let mut at = expr.bare();
    while let Kind::Call(call) = &at.kind {
        links.push(at);
        let Some(receiver) = call.receiver() else {
            break;
        };
        at = receiver.bare();
    }
    links.reverse();
    links
}

/// Returns whether a layer verifies.
fn verifies<'a>(look: &Look<'_, 'a>, at: At<'a>) -> bool {
    look.flow
        .find(at, |it| {
            matches!(
                it.val.expr.kind,
                Kind::Name("VerifyLayer") | Kind::Member(_, "VerifyLayer")
            )
        })
        .is_some()
}

/// Calls of `.layer(…)` or `.route_layer(…)` with a layer that verifies; the outermost of a chain.
fn covered<'a>(look: &Look<'_, 'a>) -> Vec<(CallAt<'a>, Vec<&'a Expr<'a>>)> {
    let mut found = Vec::new();
    for call in look.flow.calls() {
        let is_layer = ["layer", "route_layer"].contains(&call.call.last());
        if is_layer
            && let Some(arg) = call.call.args.first()
            && verifies(look, look.piece(call, &arg.value))
        {
            found.push((*call, links(call.val.expr)));
        }
    }
    found
}

/// The handlers of a route: `post(transfer).get(read)` is `post`, `transfer` and `get`, `read`.
fn handlers<'a>(route: &'a Call<'a>) -> Vec<(&'a str, &'a Expr<'a>)> {
    let mut found = Vec::new();
    let Some(methods) = route.args.get(1) else {
        return found;
    };
    for link in links(&methods.value) {
        if let Kind::Call(call) = &link.kind
            && let Some(handler) = call.args.first()
            && ["post", "put", "patch", "delete", "get", "any"].contains(&call.last())
        {
            found.push((call.last(), &handler.value));
        }
    }
    found
}

pub(super) fn unverified_extractor(look: &Look<'_, '_>) -> Vec<Hit> {
    let mut hits = Vec::new();
    let plain = [
        "Json",
        "Form",
        "Path",
        "Query",
        "HeaderMap",
        "Bytes",
        "Uri",
        "RawForm",
        "RawQuery",
        "OriginalUri",
        "String",
    ];
    for (layer, links) in covered(look) {
        for link in links {
            let Kind::Call(route) = &link.kind else {
                continue;
            };
            if route.last() != "route" {
                continue;
            }
            for (_, handler) in handlers(route) {
                let Some(id) =
                    look.flow
                        .project
                        .callee(handler, look.flow.file(layer.val.frame), None)
                else {
                    continue;
                };
                let Some(function) = look.flow.project.function(id) else {
                    continue;
                };
                for param in &function.params {
                    let Some(annotation) = &param.annotation else {
                        continue;
                    };
                    let chain = annotation.chain();
                    let Some(last) = chain.last().filter(|it| plain.contains(it)) else {
                        continue;
                    };
                    let mut hit = look.hit(
                        (look.at(&layer), "the route is behind a layer that verifies"),
                        (look.at(&layer), ""),
                        format!("`{last}` reads what the signature may not cover: take `Verified{last}`, or `VerifiedPayload`"),
                    );
                    if [
                        "HeaderMap",
                        "Bytes",
                        "Uri",
                        "RawForm",
                        "RawQuery",
                        "OriginalUri",
                        "String",
                    ]
                    .contains(last)
                    {
                        hit.message = format!(
                            "`{last}` reads what the signature may not cover: take `VerifiedPayload`"
                        );
                    }
                    hit.use_ = Place {
                        file: id.file,
                        span: annotation.span,
                        what: "and its handler reads the request past it".to_owned(),
                    };
                    hits.push(hit);
                }
            }
        }
    }
    hits
}

/// A route added after the layer: Axum's layers cover the routes before them.
pub(super) fn route_without_verification(look: &Look<'_, '_>) -> Vec<Hit> {
    let mut hits = Vec::new();
    for (layer, _) in covered(look) {
        let covers_some = links(layer.val.expr)
            .iter()
            .any(|it| it.call().is_some_and(|it| it.last() == "route"));
        // The chain may go on, in this step.
        let Some(step) = look.flow.step(layer.step) else {
            continue;
        };
        let (mut longest, mut later): (usize, Vec<&Expr<'_>>) = (0, Vec::new());
        step.each(&mut |root| {
            if root.frame == layer.val.frame {
                root.expr.walk(&mut |expr| {
                    let links = links(expr);
                    if let Some(at) = links.iter().position(|it| it.span == layer.val.expr.span)
                        && links.len() > longest
                    {
                        longest = links.len();
                        later = links.into_iter().skip(at + 1).collect();
                    }
                });
            }
        });
        let is_verified_later = later.iter().any(|it| {
            it.call().is_some_and(|call| {
                ["layer", "route_layer"].contains(&call.last())
                    && call
                        .args
                        .first()
                        .is_some_and(|arg| verifies(look, look.piece(&layer, &arg.value)))
            })
        });
        if !covers_some || is_verified_later {
            continue;
        }
        for link in later {
            let Kind::Call(route) = &link.kind else {
                continue;
            };
            if route.last() != "route" {
                continue;
            }
            let changing = handlers(route)
                .into_iter()
                .find(|(method, _)| ["post", "put", "patch", "delete"].contains(method));
            if let Some((_, handler)) = changing {
                let val = Val {
                    expr: handler,
                    frame: layer.val.frame,
                };
                hits.push(look.hit(
                    (look.at(&layer), "this layer covers the routes before it"),
                    (
                        At {
                            val,
                            step: layer.step,
                        },
                        "and this one comes after it",
                    ),
                    "a route that changes something is not verified, in a router where others are",
                ));
            }
        }
    }
    hits
}

/// `pending.transact(&pool, async |tx, payload| …)` whose work uses the pool.
pub(super) fn effects_outside_transaction(look: &Look<'_, '_>) -> Vec<Hit> {
    let mut hits = Vec::new();
    for call in look.flow.calls() {
        let (Some(pool), Some(work)) = (call.call.args.first(), call.call.args.get(1)) else {
            continue;
        };
        if call.call.last() != "transact" {
            continue;
        }
        let Some(name) = pool.value.dotted() else {
            continue;
        };
        let Kind::Closure(body) = &work.value.kind else {
            continue;
        };
        let mut used = None;
        each_expr(body, &mut |expr| {
            if used.is_none() && expr.dotted().as_deref() == Some(&name) {
                used = Some(expr);
            }
        });
        if let Some(expr) = used {
            let val = Val {
                expr,
                frame: call.val.frame,
            };
            hits.push(look.hit(
                (look.at(call), "the nonce is used in this transaction"),
                (At { val, step: call.step }, "and the work is done on the pool, outside it"),
                "what is done on the pool stays when the transaction is rolled back, and is done again \
                 with the next copy",
            ));
        }
    }
    // `let payload = pending.consume(&mut tx)`, then work on the pool.
    for consumed in look.flow.calls() {
        if consumed.call.last() != "consume" || consumed.call.args.len() != 1 {
            continue;
        }
        let Some(pool) = began_on(look, consumed) else {
            continue;
        };
        let later = look.flow.calls().find(|call| {
            call.step > consumed.step
                && ["execute", "fetch_one", "fetch_optional", "fetch_all"]
                    .contains(&call.call.last())
                && call
                    .call
                    .args
                    .first()
                    .is_some_and(|it| it.value.dotted().as_deref() == Some(&pool))
        });
        if let Some(later) = later {
            hits.push(look.hit(
                (look.at(consumed), "the nonce is used in this transaction"),
                (
                    look.at(later),
                    "and the work is done on the pool, outside it",
                ),
                "what is done on the pool stays when the transaction is rolled back",
            ));
        }
    }
    hits
}

/// The pool whose transaction a nonce is consumed in.
fn began_on(look: &Look<'_, '_>, consumed: &CallAt<'_>) -> Option<String> {
    let transaction = consumed.call.args.first()?.value.dotted()?;
    let all = look
        .flow
        .definitions_of(&transaction, consumed.val.frame, consumed.step);
    all.into_iter().find_map(|it| {
        let call = it.val.expr.bare().call()?;
        if call.last() != "begin" {
            return None;
        }
        call.receiver()?.dotted()
    })
}

/// A `danger_…` call without a comment on its line or above it.
pub(super) fn danger_without_reason(project: &Project<'_>, file: usize) -> Vec<Hit> {
    let mut hits = Vec::new();
    let Some(it) = project
        .files
        .get(file)
        .filter(|it| it.language == Language::Rust && !it.is_test)
    else {
        return hits;
    };
    let uses_crate = it.text.contains("countersign");
    let mut functions = it.functions.iter().filter(|it| it.is_test);
    let tests: Vec<Span> = functions.by_ref().map(|it| it.span).collect();
    each_expr(&it.tree.body, &mut |expr| {
        let Kind::Call(call) = &expr.kind else { return };
        let Kind::Member(_, name) = &call.func.kind else {
            return;
        };
        if !name.starts_with("danger_")
            || !uses_crate
            || tests
                .iter()
                .any(|it| it.start <= expr.span.start && expr.span.end <= it.end)
        {
            return;
        }
        // The span of the call ends with its arguments, so its name is found before them.
        let end = call.func.span.end;
        let name_at = Span {
            start: end.saturating_sub(u32::try_from(name.len()).unwrap_or(0)),
            end,
        };
        if has_comment(it.text, name_at.start as usize) || is_passed_on(it.text, name_at, name) {
            return;
        }
        let place = |what: &str| Place {
            file,
            span: name_at,
            what: what.to_owned(),
        };
        hits.push(Hit {
            check: place("this weakens a promise"),
            use_: place("and no comment says why that is right here"),
            message: format!("`{name}` has no comment: say beside it why it is safe here"),
            fix: None,
        });
    });
    hits
}

/// Returns whether the lines above name the same thing: a method that passes it on, or a setting.
fn is_passed_on(text: &str, at: Span, name: &str) -> bool {
    let before = text.get(..at.start as usize).unwrap_or_default();
    let mut lines = before.lines().rev().skip(1).take(2);
    lines.any(|line| line.contains(name))
}

/// Returns whether a comment is on the line, directly above it, or above the statement.
fn has_comment(text: &str, at: usize) -> bool {
    let before = text.get(..at).unwrap_or_default();
    let line_start = before.rfind('\n').map_or(0, |it| it + 1);
    let line_end = text
        .get(at..)
        .and_then(|it| it.find('\n'))
        .map_or(text.len(), |it| at + it);
    if text
        .get(line_start..line_end)
        .is_some_and(|it| it.contains("//"))
    {
        return true;
    }
    // Lines above, up to the one that begins the statement.
    for line in before
        .get(..line_start)
        .unwrap_or_default()
        .lines()
        .rev()
        .take(16)
    {
        let line = line.trim();
        if line.starts_with("//") || line.contains(" // ") {
            return true;
        }
        if line.is_empty() || line.ends_with(';') || line.ends_with('{') || line.ends_with('}') {
            return false;
        }
    }
    false
}
