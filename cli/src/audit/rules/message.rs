//! Rules about how a MAC is compared and what it is over.

use super::{
    look::{Hit, Look},
    mend,
};
use crate::audit::{
    flow::What,
    mac,
    tree::{Call, Compare, Expr, Kind, Param, first, second},
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

/// Calls that find rows, or change those that they find.
const FINDS: [&str; 16] = [
    "get",
    "filter",
    "filter_by",
    "where",
    "eq",
    "get_object_or_404",
    "aget",
    "find_one",
    "find_one_and_update",
    "update_one",
    "update_many",
    "delete_one",
    "delete_many",
    "execute",
    "query",
    "fetchrow",
];

/// An input of the request that a signature of the body does not cover.
struct Input<'a> {
    name: &'a str,
    what: &'static str,
}

/// The inputs of a handler that say whose rows it is about: of the path, of headers, the address.
fn inputs<'a>(look: &Look<'_, 'a>) -> Vec<Input<'a>> {
    let mut found = Vec::new();
    for (place, param) in look.flow.function.params.iter().enumerate() {
        let Some(name) = param.target.name() else {
            continue;
        };
        let is_header = param.default.as_ref().and_then(Expr::call);
        let what = if is_header.is_some_and(|it| it.last() == "Header") && names_owner(name) {
            "and a header chooses what is changed"
        } else if place > 0 && is_identifier(param) {
            "and the identifier of the path chooses what is changed"
        } else {
            continue;
        };
        found.push(Input { name, what });
    }
    for (_, step) in look.flow.steps() {
        if let What::Set {
            target,
            value,
            operator: None,
        } = &step.what
            && step.frame == 1
            && let Some(name) = target.name()
            && let Some(what) = read_beside_the_body(value.expr)
        {
            found.push(Input { name, what });
        }
    }
    found
}

fn is_identifier(param: &Param<'_>) -> bool {
    let is_plain = param.default.is_none()
        && param.annotation.as_ref().is_none_or(|it| {
            it.chain()
                .last()
                .is_some_and(|it| ["str", "int", "UUID"].contains(it))
        });
    is_plain
        && param.target.name().is_some_and(|name| {
            ["pk", "id", "slug"].contains(&name) || name.ends_with("_id") || name.ends_with("_pk")
        })
}

/// `request.headers.get("X-Shop-Domain")`, `request.META["HTTP_X_TENANT"]`, `request.remote_addr`
fn read_beside_the_body(value: &Expr<'_>) -> Option<&'static str> {
    let (holder, key) = match &value.kind {
        Kind::Member(_, "remote_addr") => {
            return Some("and the address of the sender chooses what is changed");
        }
        Kind::Index(both) => (first(both), second(both)),
        Kind::Call(call) if call.last() == "get" => (call.receiver()?, &call.args.first()?.value),
        _ => return None,
    };
    let is_header = ["headers", "META"].contains(holder.chain().last()?);
    (is_header && names_owner(key.text()?)).then_some("and a header chooses what is changed")
}

/// A header that says whose the data is.
fn names_owner(header: &str) -> bool {
    let owners = [
        "shop",
        "tenant",
        "account",
        "merchant",
        "store",
        "seller",
        "customer",
        "company",
        "workspace",
        "project",
        "user-id",
        "user_id",
        "org-id",
        "org_id",
        "client-id",
        "client_id",
    ];
    words::has_word(header, &owners)
        && !words::has_word(header, &["sig", "hmac", "secret", "topic", "webhook-id"])
}

/// A place that verifies the body, and all that goes into it.
fn signed_parts<'a>(look: &Look<'_, 'a>) -> Vec<(At<'a>, Vec<At<'a>>)> {
    let made = look.checks.iter().filter(|it| !it.message.is_empty());
    let own = made.map(|it| {
        let pieces = it.message.iter().chain(&it.key).chain(&it.other);
        (it.at, pieces.copied().collect())
    });
    let library = look
        .flow
        .calls()
        .filter(|it| mac::is_event_of_stripe(it.call));
    let library = library.map(|call| {
        let pieces = call.call.args.iter().map(|it| look.piece(call, &it.value));
        (look.at(call), pieces.collect())
    });
    own.chain(library).collect()
}

/// Something that the MAC does not cover chooses what is changed.
pub(super) fn unsigned_input_used(look: &Look<'_, '_>) -> Vec<Hit> {
    let mut hits = Vec::new();
    if !look.is_handler {
        return hits;
    }
    let signed = signed_parts(look);
    if signed.is_empty() {
        return hits;
    }
    let inputs = inputs(look);
    for (check, pieces) in signed {
        for input in &inputs {
            if covers(look, &pieces, input.name) || compared(look, input.name) {
                continue;
            }
            let Some(found) = chosen_by(look, input.name) else {
                continue;
            };
            let changed = look.flow.calls().any(|call| {
                let changes = words::changes(call.call) || call.call.last() == "dump";
                call.step >= found.step && call.step > check.step && changes
            });
            if changed {
                hits.push(look.hit(
                    (check, "the MAC is checked here, over a message without it"),
                    (found, input.what),
                    format!(
                        "`{}` is not signed: who has one signed request can name another object",
                        input.name
                    ),
                ));
            }
        }
    }
    hits
}

fn covers<'a>(look: &Look<'_, 'a>, pieces: &[At<'a>], name: &str) -> bool {
    let is_of_it = |it: At<'a>| match it.val.expr.kind {
        Kind::Name(other) => other == name,
        Kind::Member(_, member) => {
            ["path", "full_path", "path_info", "url", "uri"].contains(&member)
        }
        Kind::Call(ref call) => matches!(
            call.last(),
            "get_full_path" | "build_absolute_uri" | "uri" | "path"
        ),
        _ => false,
    };
    pieces
        .iter()
        .any(|piece| look.flow.find(*piece, is_of_it).is_some())
}

/// The place at which an input chooses a row, or an entry.
fn chosen_by<'a>(look: &Look<'_, 'a>, name: &str) -> Option<At<'a>> {
    let mut lookups = look.flow.calls().filter(|call| {
        FINDS.contains(&call.call.last())
            && call.val.frame == 1
            && !words::is_cache(&call.call.func)
            && call
                .call
                .args
                .iter()
                .enumerate()
                .any(|(place, arg)| chooses(&arg.value, name, place, has_where(call.call)))
    });
    let entry = || {
        look.flow.steps().find_map(|(number, step)| {
            let What::Set { target, .. } = &step.what else {
                return None;
            };
            let is_entry =
                matches!(&target.kind, Kind::Index(both) if second(both).is_name(&[name]));
            (is_entry && step.frame == 1).then_some(At {
                val: crate::audit::flow::Val {
                    expr: target,
                    frame: 1,
                },
                step: number,
            })
        })
    };
    lookups.next().map(|it| look.at(it)).or_else(entry)
}

fn has_where(call: &Call<'_>) -> bool {
    let statement = call.args.first().and_then(|it| it.value.text());
    statement.is_some_and(|it| words::has_word(it, &["where "]))
}

/// `shop`, `{"shop": shop}` as a filter, `Shop.domain == shop`, `(shop,)` of a statement.
fn chooses(arg: &Expr<'_>, name: &str, place: usize, is_statement: bool) -> bool {
    match &arg.kind {
        Kind::Name(_) => arg.is_name(&[name]),
        Kind::Record(pairs) if place == 0 => pairs.iter().any(|it| it.1.is_name(&[name])),
        Kind::Compare(Compare::Equal, both) => both.iter().any(|it| it.is_name(&[name])),
        Kind::Many(all) if is_statement => all.iter().any(|it| it.is_name(&[name])),
        _ => false,
    }
}

/// Returns whether the function compares the input with something, other than in a query.
fn compared(look: &Look<'_, '_>, name: &str) -> bool {
    fn compares(expr: &Expr<'_>, name: &str) -> bool {
        let mut found = false;
        match &expr.kind {
            // `if shop in shops` is a look-up.
            Kind::Compare(Compare::In | Compare::NotIn, both) if second(both).name().is_some() => {}
            Kind::Compare(_, both) => {
                for side in both.iter() {
                    side.walk(&mut |it| found |= it.is_name(&[name]));
                }
            }
            Kind::Call(call) if FINDS.contains(&call.last()) => found = compares(&call.func, name),
            _ => expr.children(&mut |it| found |= compares(it, name)),
        }
        found
    }
    look.flow.steps().any(|(_, step)| {
        let mut found = false;
        step.each(&mut |root| found |= compares(root.expr, name));
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
