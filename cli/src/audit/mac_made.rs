//! Where a MAC is made, and what it is over.

use super::{
    flow::{Flow, Step, Val, What},
    tree::{Expr, Kind, Operator, first, second},
    values::{At, Go},
    words::has_word,
};

/// How many steps a MAC may be away from where it is compared.
const DEPTH: usize = 13;

/// How many expressions one question looks at.
const BUDGET: usize = 400;

/// The call that makes a MAC, if the value is the MAC itself or a form of it.
pub(super) fn made<'a>(flow: &Flow<'a>, at: At<'a>) -> Option<At<'a>> {
    made_within(flow, at, DEPTH, &mut { BUDGET })
}

/// Bounded in depth and in steps, because names have many definitions, and these many pieces.
fn made_within<'a>(
    flow: &Flow<'a>,
    at: At<'a>,
    depth: usize,
    budget: &mut usize,
) -> Option<At<'a>> {
    *budget = budget.checked_sub(1).filter(|_| flow.fuel.burn(1))?;
    let depth = depth.checked_sub(1)?;
    let Val { expr, frame } = at.val;
    let inner = |expr| At {
        val: Val { expr, frame },
        step: at.step,
    };
    if is_constructor(expr) || is_keyed_digest(flow, at) {
        return Some(at);
    }
    let mut of = |at| made_within(flow, at, depth, budget);
    match &expr.kind {
        Kind::Await(it) | Kind::Try(it) => of(inner(it)),
        Kind::Name(_) | Kind::Member(..) => {
            let name = expr.dotted()?;
            let all = flow.definitions_of(&name, frame, at.step);
            all.into_iter().find_map(&mut of).or_else(|| {
                // `STANDARD.encode_string(mac, &mut text)`
                let into = ["encode_string", "encode_to_slice", "encode_slice"];
                let mut written = flow.calls().filter(|it| {
                    it.step < at.step && it.val.frame == frame && into.contains(&it.call.last())
                });
                let found = written.find(|it| {
                    let target = it.call.args.get(1).and_then(|it| it.value.dotted());
                    target.as_ref() == Some(&name)
                })?;
                let expr = &found.call.args.first()?.value;
                let val = Val { expr, frame };
                of(At {
                    val,
                    step: found.step,
                })
            })
        }
        Kind::Format(all) | Kind::Many(all) => all.iter().find_map(|it| of(inner(it))),
        Kind::Binary(Operator::Add, both) => both.iter().find_map(|it| of(inner(it))),
        // `"sha256=%s" % mac`
        Kind::Binary(Operator::Other, both) if matches!(first(both).kind, Kind::Text(_)) => {
            of(inner(second(both)))
        }
        Kind::Choice(three) => three.iter().skip(1).find_map(|it| of(inner(it))),
        Kind::Index(both) => match &first(both).kind {
            // `mac[:32]`, `format!(…)[..]`
            Kind::Call(_) | Kind::Name(_) => of(inner(first(both))),
            _ => None,
        },
        Kind::Call(call) => {
            if let Some(helper) = flow.helper_of(at.val) {
                let returns = &flow.frames.get(helper as usize)?.returns;
                return returns.iter().find_map(|step| match flow.step(*step) {
                    Some(Step {
                        what: What::Return(Some(expr)),
                        ..
                    }) => {
                        let val = Val {
                            expr,
                            frame: helper,
                        };
                        of(At { val, step: *step })
                    }
                    _ => None,
                });
            }
            let last = call.last();
            let forms = [
                "hexdigest",
                "digest",
                "hex",
                "decode",
                "encode",
                "lower",
                "upper",
                "strip",
                "rstrip",
                "to_string",
                "as_bytes",
                "as_str",
                "as_ref",
                "as_slice",
                "to_vec",
                "to_owned",
                "into_bytes",
                "finalize",
                "to_lowercase",
                "to_uppercase",
                "clone",
                "unwrap",
                "expect",
                "ok",
                "map_err",
                "context",
                "into",
                "as_deref",
                "code_bytes",
                "replace",
                "finalize_fixed",
                "chain_update",
                // `["sha256=", &mac].concat()`, `bytes.iter().map(…).collect::<String>()`
                "concat",
                "join",
                "iter",
                "into_iter",
                "map",
                "collect",
            ];
            if forms.contains(&last)
                && let Some(receiver) = call.receiver()
                && let Some(found) = of(inner(receiver))
            {
                return Some(found);
            }
            let wraps = [
                "b64encode",
                "urlsafe_b64encode",
                "standard_b64encode",
                "encodebytes",
                "hexlify",
                "encode",
                "encode_string",
                "str",
                "bytes",
                "force_bytes",
                "force_str",
                "to_bytes",
                "from",
                "from_engine",
                "from_utf8",
                "unquote",
                "quote",
                "Some",
                "Ok",
                "hex_encode",
                "smart_bytes",
                "encode_upper",
            ];
            // `"sha256={}".format(mac)`, `"=".join(("sha256", mac))`
            let is_text = ["format", "join"].contains(&last)
                && call
                    .receiver()
                    .is_some_and(|it| matches!(it.kind, Kind::Text(_)));
            if is_text || wraps.contains(&last) {
                return call.args.iter().find_map(|it| of(inner(&it.value)));
            }
            None
        }
        _ => None,
    }
}

/// A call that makes a MAC.
pub(super) fn is_constructor(expr: &Expr<'_>) -> bool {
    let Some(call) = expr.call() else {
        return false;
    };
    let chain = call.func.chain();
    match chain.as_slice() {
        ["hmac", "new" | "digest" | "HMAC"]
        | [.., "salted_hmac"]
        | [.., "hmac", "sign"]
        | ["HMAC", "new"] => true,
        [.., owner, "new_from_slice" | "new"] => {
            // `HmacMiddleware::new(…)` makes no MAC.
            let name = owner.to_ascii_lowercase();
            let of = ["sha", "md5", "engine"];
            name.strip_prefix("hmac")
                .is_some_and(|it| it.is_empty() || of.iter().any(|of| it.starts_with(of)))
        }
        [.., "new_from_slice"] => call.func.span.start < call.func.span.end,
        _ => false,
    }
}

/// A digest over a secret and a message: `sha256(secret + body)`.
fn is_keyed_digest<'a>(flow: &Flow<'a>, at: At<'a>) -> bool {
    let Some(call) = at.val.expr.call() else {
        return false;
    };
    let chain = call.func.chain();
    let is_digest = matches!(
        chain.as_slice(),
        ["hashlib", "sha256" | "sha1" | "sha512" | "md5"]
            | ["md5" | "sha256" | "sha1"]
            | [.., "Sha256" | "Sha512" | "Sha1", "digest"]
    );
    is_digest
        && call.args.first().is_some_and(|arg| {
            let from = At {
                val: Val {
                    expr: &arg.value,
                    frame: at.val.frame,
                },
                step: at.step,
            };
            let mut has_secret = false;
            let mut pieces = 0;
            let mut look_at = |expr: &Expr<'_>| {
                if let Kind::Name(name) | Kind::Member(_, name) = expr.kind {
                    pieces += 1;
                    has_secret |= names_secret(name);
                }
            };
            flow.sources(from, &mut |it| {
                // A secret that another function put into a part of the text makes no key of it.
                if it.val.frame != at.val.frame && flow.helper_of(it.val).is_some() {
                    it.val.expr.walk(&mut look_at);
                    return Go::Past;
                }
                look_at(it.val.expr);
                Go::Deeper
            });
            has_secret && pieces > 1
        })
}

fn names_secret(name: &str) -> bool {
    let words = [
        "secret",
        "signing_key",
        "sign_key",
        "api_key",
        "salt",
        "private_key",
    ];
    !name.starts_with("is_") && has_word(name, &words)
}

/// The text that a MAC is made over, and its key.
pub(super) fn signed<'a>(
    flow: &Flow<'a>,
    made: At<'a>,
    until: u32,
) -> (Vec<At<'a>>, Option<At<'a>>) {
    let mut message = Vec::new();
    let Some(call) = made.val.expr.call() else {
        return (message, None);
    };
    let frame = made.val.frame;
    let at = |expr| At {
        val: Val { expr, frame },
        step: made.step,
    };
    let chain = call.func.chain();
    let is_digest = chain.iter().any(|it| {
        [
            "hashlib", "md5", "sha256", "sha1", "Sha256", "Sha512", "Sha1",
        ]
        .contains(it)
    });
    let (key, first) = if is_digest {
        (None, call.arg(0, "data"))
    } else if chain.last() == Some(&"salted_hmac") {
        (call.named("secret"), call.arg(1, "value"))
    } else {
        (call.arg(0, "key"), call.arg(1, "msg"))
    };
    message.extend(
        first
            .filter(|it| {
                !it.chain()
                    .iter()
                    .any(|it| ["hashlib", "sha256"].contains(it))
            })
            .map(at),
    );
    // Text may be fed later, to the variable that holds the object.
    for fed in flow.calls() {
        if fed.step <= until
            && ["update", "input", "chain_update"].contains(&fed.call.last())
            && let Some(receiver) = fed.call.receiver()
            && let Some(arg) = fed.call.args.first()
        {
            let receiver = At {
                val: Val {
                    expr: receiver,
                    frame: fed.val.frame,
                },
                step: fed.step,
            };
            if self::made(flow, receiver)
                .is_some_and(|it| it.val.expr.span == made.val.expr.span && it.val.frame == frame)
            {
                let val = Val {
                    expr: &arg.value,
                    frame: fed.val.frame,
                };
                message.push(At {
                    val,
                    step: fed.step,
                });
            }
        }
    }
    (message, key.map(at))
}
