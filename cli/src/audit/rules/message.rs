//! Rules about how a MAC is compared and what it is over.

use super::{
    look::{Hit, Look},
    mend,
};
use crate::audit::{
    mac,
    tree::{Expr, Kind},
    values::{At, Go},
    words,
};

pub(super) fn compared_with_equals(look: &Look<'_, '_>) -> Vec<Hit> {
    let mut hits = Vec::new();
    for check in &look.checks {
        let Some(made) = check.made else { continue };
        let is_received = check
            .other
            .is_some_and(|other| mac::is_received(look.flow, other));
        // A salt is no secret: everybody who knows it makes the same MAC, as of hosts that SSH
        // knows.
        let is_public = check
            .key
            .is_some_and(|key| words::has_word(look.flow.text(key.val), &["salt"]));
        if check.is_constant || !is_received || is_public {
            continue;
        }
        let mut hit = look.hit(
            (made, "the MAC is made here"),
            (
                check.at,
                "and compared with `==`, which stops at the first byte that differs",
            ),
            "a MAC is compared with `==`: how long that takes tells how much of a forgery is right",
        );
        hit.fix =
            mend::in_constant_time(look, check).or_else(|| mend::with_verify_slice(look, check));
        hits.push(hit);
    }
    hits
}

/// The value that a call writes again: `json.dumps(…)`.
struct Written<'a> {
    data: &'a Expr<'a>,
    /// Keys are sorted: sender and verifier have agreed on a form.
    is_sorted: bool,
}

fn writes<'a>(expr: &'a Expr<'a>) -> Option<Written<'a>> {
    let call = expr.call()?;
    let data = match call.func.chain().as_slice() {
        [.., "json" | "simplejson" | "orjson" | "ujson", "dumps"] | ["dumps"] => {
            call.args.first().map(|it| &it.value)
        }
        [
            ..,
            "serde_json",
            "to_string" | "to_vec" | "to_string_pretty",
        ] => call.args.first().map(|it| &it.value),
        [.., "model_dump_json"] => call.receiver(),
        _ => None,
    };
    // The options of `orjson` are a number, which may ask for sorted keys.
    let is_sorted = ["sort_keys", "option"]
        .iter()
        .any(|it| call.named(it).is_some());
    data.map(|data| Written { data, is_sorted })
}

/// `sort_dict(payload)`, `{key: data[key] for key in sorted(data)}`
fn is_sorted_by_hand<'a>(look: &Look<'_, 'a>, data: At<'a>) -> bool {
    let sorts = |it: At<'a>| match it.val.expr.kind {
        Kind::Name(name) | Kind::Member(_, name) => words::has_word(name, &["sort", "canonical"]),
        _ => false,
    };
    look.flow.find(data, sorts).is_some()
}

/// Returns whether a value was read from the body of a request.
fn is_parsed<'a>(look: &Look<'_, 'a>, at: At<'a>) -> bool {
    let function = look.flow.function;
    let mut parsed = false;
    look.flow.sources(at, &mut |it| {
        let expr = it.val.expr;
        let reads = match &expr.kind {
            Kind::Call(call) => match call.func.chain().as_slice() {
                [.., "json" | "orjson" | "simplejson" | "ujson", "loads"] | ["loads"] => true,
                [.., "serde_json", "from_slice" | "from_str" | "from_value"] => true,
                [.., "json" | "get_json"] => call.receiver().is_some_and(|it| {
                    words::has_word(it.chain().last().unwrap_or(&""), &["request", "req"])
                }),
                [.., "pop"] => false,
                _ => false,
            },
            Kind::Member(inner, "data" | "json" | "POST") => inner.is_name(&["request", "req"]),
            // A parameter of the handler or of the verifier: it is data, not bytes.
            Kind::Name(name) => {
                it.val.frame == 1
                    && look.flow.definitions_of(name, 1, it.step).is_empty()
                    && function.params.iter().any(|param| param.binds(name))
                    && !words::has_word(
                        name,
                        &[
                            "request",
                            "self",
                            "req",
                            "raw",
                            "secret",
                            "key",
                            "bytes",
                            "url",
                            "path",
                            "method",
                            "nonce",
                            "timestamp",
                            "signature",
                        ],
                    )
            }
            _ => false,
        };
        parsed |= reads;
        if parsed { Go::Stop } else { Go::Deeper }
    });
    parsed
}

pub(super) fn over_rewritten_data(look: &Look<'_, '_>) -> Vec<Hit> {
    over_data(
        look,
        false,
        "the signed bytes are not those that were received: another writer of JSON makes \
         others, and two bodies can have the same form",
    )
}

pub(super) fn over_sorted_data(look: &Look<'_, '_>) -> Vec<Hit> {
    over_data(
        look,
        true,
        "the signed bytes are a form of the data: what the form leaves out, such as a key that \
         appears twice, is not signed",
    )
}

fn over_data(look: &Look<'_, '_>, is_sorted: bool, message: &str) -> Vec<Hit> {
    let mut hits = Vec::new();
    for check in look.checks.iter().filter(|it| !mac::is_own(look.flow, it)) {
        let is_received = check
            .other
            .is_none_or(|other| mac::is_received(look.flow, other));
        if !is_received {
            continue;
        }
        let written = check.message.iter().find_map(|piece| {
            look.flow.find(*piece, |it| {
                let frame = it.val.frame;
                writes(it.val.expr).is_some_and(|written| {
                    let val = crate::audit::flow::Val {
                        expr: written.data,
                        frame,
                    };
                    let data = At { val, step: it.step };
                    let sorts = written.is_sorted || is_sorted_by_hand(look, data);
                    sorts == is_sorted && is_parsed(look, data)
                })
            })
        });
        if let Some(written) = written {
            hits.push(look.hit(
                (check.at, "the MAC is checked here"),
                (
                    written,
                    "over data that is written again, and not over the bytes that came",
                ),
                message,
            ));
        }
    }
    hits
}

/// Reads an input of the request that a signature may not cover.
fn input<'a>(look: &Look<'_, 'a>, name: &str) -> bool {
    let function = look.flow.function;
    let is_param = function.params.iter().skip(1).any(|param| {
        param.target.is_name(&[name])
            && param.default.is_none()
            && param.annotation.as_ref().is_none_or(|it| {
                it.chain()
                    .last()
                    .is_some_and(|it| ["str", "int", "UUID"].contains(it))
            })
    });
    is_param
        && (name == "pk"
            || name == "id"
            || name.ends_with("_id")
            || name.ends_with("_pk")
            || name == "slug")
}

/// An identifier of the path that the MAC does not cover and that chooses what is changed.
pub(super) fn unsigned_input_used(look: &Look<'_, '_>) -> Vec<Hit> {
    let mut hits = Vec::new();
    if !look.is_handler {
        return hits;
    }
    for check in &look.checks {
        if check.message.is_empty() {
            continue;
        }
        let covers = |name: &str| {
            let pieces = check.message.iter().chain(&check.key).chain(&check.other);
            pieces.copied().any(|piece| {
                look.flow
                    .find(piece, |it| match it.val.expr.kind {
                        Kind::Name(other) => other == name,
                        Kind::Member(_, member) => {
                            ["path", "full_path", "path_info", "url", "uri"].contains(&member)
                        }
                        Kind::Call(ref call) => matches!(
                            call.last(),
                            "get_full_path" | "build_absolute_uri" | "uri" | "path"
                        ),
                        _ => false,
                    })
                    .is_some()
            })
        };
        for param in &look.flow.function.params {
            let Some(name) = param.target.name() else {
                continue;
            };
            if !input(look, name) || covers(name) || compared(look, name) {
                continue;
            }
            let mut lookups = look.flow.calls().filter(|call| {
                [
                    "get",
                    "filter",
                    "get_object_or_404",
                    "aget",
                    "find_one",
                    "execute",
                    "query",
                ]
                .contains(&call.call.last())
                    && call.val.frame == 1
                    && !words::is_cache(&call.call.func)
                    && call.call.args.iter().any(|arg| arg.value.is_name(&[name]))
            });
            let Some(lookup) = lookups.next() else {
                continue;
            };
            let changed = look.flow.calls().any(|call| {
                call.step >= lookup.step && call.step > check.at.step && words::changes(call.call)
            });
            if changed {
                hits.push(look.hit(
                    (
                        check.at,
                        "the MAC is checked here, over a message without it",
                    ),
                    (
                        look.at(lookup),
                        "and the identifier of the path chooses what is changed",
                    ),
                    format!(
                        "`{name}` is not signed: who has one signed request can name another object"
                    ),
                ));
            }
        }
    }
    hits
}

/// Returns whether the function compares the input with something else.
fn compared(look: &Look<'_, '_>, name: &str) -> bool {
    look.flow.steps().any(|(_, step)| {
        let mut found = false;
        step.each(&mut |root| {
            root.expr.walk(&mut |expr| {
                if let Kind::Compare(_, both) = &expr.kind {
                    found |= both.iter().any(|side| {
                        let mut has = false;
                        side.walk(&mut |it| has |= it.is_name(&[name]));
                        has
                    });
                }
            });
        });
        found
    })
}

pub(super) fn body_read_again(look: &Look<'_, '_>) -> Vec<Hit> {
    let mut hits = Vec::new();
    let reads = |expr: &Expr<'_>| match &expr.kind {
        Kind::Member(inner, "body" | "data" | "json" | "form" | "values" | "POST") => {
            inner.is_name(&["request", "req"])
        }
        Kind::Call(call) => {
            matches!(
                call.last(),
                "json" | "body" | "form" | "get_json" | "get_data"
            ) && call
                .receiver()
                .is_some_and(|it| it.is_name(&["request", "req"]))
        }
        _ => false,
    };
    for check in &look.checks {
        // The read that is checked. It can be an argument of the helper that checks it.
        let checked: Vec<_> = check
            .message
            .iter()
            .filter_map(|piece| look.flow.find(*piece, |it| reads(it.val.expr)))
            .map(|it| it.val.expr.span)
            .collect();
        if checked.is_empty() {
            continue;
        }
        for (number, step) in look.flow.steps() {
            if number <= check.at.step || !look.flow.reaches(check.at.step, number) {
                continue;
            }
            let mut again = None;
            step.each(&mut |root| {
                root.expr.walk(&mut |expr| {
                    if again.is_none() && reads(expr) && !checked.contains(&expr.span) {
                        again = Some(At {
                            val: crate::audit::flow::Val {
                                expr,
                                frame: root.frame,
                            },
                            step: number,
                        });
                    }
                });
            });
            if let Some(again) = again {
                hits.push(look.hit(
                    (check.at, "the MAC of the body is checked here"),
                    (again, "and the body is read again from the request"),
                    "what is used is read from the request again, and not the bytes that were verified",
                ));
                break;
            }
        }
    }
    hits
}
