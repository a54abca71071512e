//! Where a MAC is made and where it is compared.

use super::{
    flow::{CallAt, Flow, Step, Val, What},
    tree::{Compare, Expr, Kind, first},
    values::{At, Go},
    words::{has_word, is_signature},
};

/// A MAC is compared with one that came from elsewhere.
#[derive(Clone, Debug)]
pub(super) struct Check<'a> {
    /// The comparison.
    pub(super) at: At<'a>,
    /// The MAC that was made here.
    pub(super) mac: At<'a>,
    /// What it is compared with.
    pub(super) other: Option<At<'a>>,
    /// The call that made it: `hmac.new(…)`.
    pub(super) made: Option<At<'a>>,
    /// What was signed, piece by piece.
    pub(super) message: Vec<At<'a>>,
    pub(super) key: Option<At<'a>>,
    /// In constant time.
    pub(super) is_constant: bool,
}

/// All checks of a flow, in order.
pub(super) fn checks<'a>(flow: &Flow<'a>) -> Vec<Check<'a>> {
    let mut found: Vec<Check<'a>> = Vec::new();
    let mut put = |check: Check<'a>| {
        let place = check.at.val.expr.span;
        if !found
            .iter()
            .any(|it| it.at.val.expr.span == place && it.at.val.frame == check.at.val.frame)
        {
            found.push(check);
        }
    };
    for (number, step) in (0_u32..).zip(&flow.steps) {
        step.each(&mut |root| {
            if root.frame != step.frame {
                return;
            }
            root.expr.walk(&mut |expr| {
                let at = |expr| At {
                    val: Val {
                        expr,
                        frame: root.frame,
                    },
                    step: number,
                };
                match &expr.kind {
                    Kind::Compare(Compare::Equal | Compare::NotEqual, both) => {
                        let [left, right] = &**both;
                        if is_constant(left) || is_constant(right) {
                            return;
                        }
                        for (mac, other) in [(left, right), (right, left)] {
                            if let Some(check) =
                                check(flow, at(expr), at(mac), Some(at(other)), false)
                            {
                                put(check);
                                return;
                            }
                        }
                    }
                    Kind::Call(call) => {
                        let last = call.last();
                        let constant = [
                            "compare_digest",
                            "constant_time_compare",
                            "constant_time_eq",
                            "safe_str_cmp",
                            "verify_slices_are_equal",
                            "ct_eq",
                            "const_compare",
                            "secure_compare",
                            "bytes_eq",
                            "constant_time_equals",
                        ];
                        if constant.contains(&last) {
                            let mut sides: Vec<&Expr<'a>> =
                                call.args.iter().map(|it| &it.value).collect();
                            if last == "ct_eq" {
                                sides.extend(call.receiver());
                            }
                            if let [left, right, ..] = sides.as_slice() {
                                for (mac, other) in [(left, right), (right, left)] {
                                    if let Some(check) =
                                        check(flow, at(expr), at(mac), Some(at(other)), true)
                                    {
                                        put(check);
                                        return;
                                    }
                                }
                            }
                        } else if ["verify_slice", "verify_truncated_left", "verify"]
                            .contains(&last)
                            && let Some(receiver) = call.receiver()
                            && let Some(other) = call.args.first()
                            && let Some(made) =
                                flow.find(at(receiver), |it| is_constructor(it.val.expr))
                        {
                            let (message, key) = signed(flow, made, number);
                            put(Check {
                                at: at(expr),
                                mac: at(receiver),
                                other: Some(at(&other.value)),
                                made: Some(made),
                                message,
                                key,
                                is_constant: true,
                            });
                        } else if call.func.chain().ends_with(&["hmac", "verify"])
                            && let [key, message, other, ..] = call.args.as_slice()
                        {
                            put(Check {
                                at: at(expr),
                                mac: at(expr),
                                other: Some(at(&other.value)),
                                made: Some(at(expr)),
                                message: vec![at(&message.value)],
                                key: Some(at(&key.value)),
                                is_constant: true,
                            });
                        }
                    }
                    _ => {}
                }
            });
        });
    }
    found
}

/// Calls of libraries that verify and raise if the MAC is wrong.
pub(super) fn is_library_check(call: &CallAt<'_>) -> bool {
    let chain = call.call.func.chain();
    matches!(
        chain.as_slice(),
        [
            ..,
            "construct_event" | "verify_webhook_signature" | "verify_header" | "verify_slice"
        ]
    ) || matches!(chain.as_slice(), [.., "Webhook", "verify"])
        || matches!(
            call.call.last(),
            "verify_signature"
                | "verify_webhook"
                | "verify_hmac"
                | "validate_signature"
                | "check_signature"
                | "verify_request"
                | "verify_webhook_signature"
                | "validate_webhook"
        )
}

fn is_constant(expr: &Expr<'_>) -> bool {
    matches!(expr.kind, Kind::Text(_) | Kind::Number(_))
        || expr.is_name(&["None", "True", "False", "true", "false"])
}

fn check<'a>(
    flow: &Flow<'a>,
    at: At<'a>,
    mac: At<'a>,
    other: Option<At<'a>>,
    is_constant: bool,
) -> Option<Check<'a>> {
    let made = made(flow, mac, 0)?;
    // Two MACs of our own: that is how strings are compared in constant time.
    if let Some(other) = other
        && self::made(flow, other, 0).is_some_and(|it| {
            it.val.expr.span != made.val.expr.span
                && is_constructor(it.val.expr)
                && !is_named(other)
        })
    {
        return None;
    }
    let (message, key) = signed(flow, made, at.step);
    Some(Check {
        at,
        mac,
        other,
        made: Some(made),
        message,
        key,
        is_constant,
    })
}

fn is_named(at: At<'_>) -> bool {
    at.val
        .expr
        .dotted()
        .is_some_and(|it| has_word(&it, &["received", "provided", "header"]))
}

/// The call that makes a MAC, if the value is the MAC itself or a form of it.
pub(super) fn made<'a>(flow: &Flow<'a>, at: At<'a>, depth: usize) -> Option<At<'a>> {
    if depth > 12 {
        return None;
    }
    let Val { expr, frame } = at.val;
    let inner = |expr| At {
        val: Val { expr, frame },
        step: at.step,
    };
    if is_constructor(expr) || is_keyed_digest(flow, at) {
        return Some(at);
    }
    let any = |all: &'a [Expr<'a>]| all.iter().find_map(|it| made(flow, inner(it), depth + 1));
    match &expr.kind {
        Kind::Await(it) | Kind::Try(it) => made(flow, inner(it), depth + 1),
        Kind::Name(_) | Kind::Member(..) => {
            let name = expr.dotted()?;
            let all = flow.definitions_of(&name, frame, at.step);
            all.into_iter().find_map(|it| made(flow, it, depth + 1))
        }
        Kind::Format(all) | Kind::Many(all) => any(all),
        Kind::Binary(super::tree::Operator::Add, both) => any(&**both),
        Kind::Choice(three) => three.get(1..).and_then(any),
        Kind::Index(both) => match &first(both).kind {
            // `mac[:32]`, `format!(…)[..]`
            Kind::Call(_) | Kind::Name(_) => made(flow, inner(first(both)), depth + 1),
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
                        made(flow, At { val, step: *step }, depth + 1)
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
                "into",
                "as_deref",
                "code_bytes",
                "replace",
                "finalize_fixed",
            ];
            if forms.contains(&last)
                && let Some(receiver) = call.receiver()
                && let Some(found) = made(flow, inner(receiver), depth + 1)
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
                "from_utf8",
                "unquote",
                "quote",
                "Some",
                "Ok",
                "hex_encode",
                "smart_bytes",
                "encode_upper",
            ];
            if wraps.contains(&last) {
                return call
                    .args
                    .iter()
                    .find_map(|it| made(flow, inner(&it.value), depth + 1));
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
        [.., owner, "new_from_slice" | "new"] => owner.to_ascii_lowercase().contains("hmac"),
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
            flow.sources(from, &mut |it| {
                if let Kind::Name(name) | Kind::Member(_, name) = it.val.expr.kind {
                    pieces += 1;
                    has_secret |= has_word(
                        name,
                        &[
                            "secret",
                            "signing_key",
                            "sign_key",
                            "api_key",
                            "salt",
                            "private_key",
                        ],
                    );
                }
                Go::Deeper
            });
            has_secret && pieces > 1
        })
}

/// What a MAC is over, and its key.
fn signed<'a>(flow: &Flow<'a>, made: At<'a>, until: u32) -> (Vec<At<'a>>, Option<At<'a>>) {
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
    // What is fed later: the object has the name that it was set to.
    for fed in &flow.calls {
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
            if self::made(flow, receiver, 4)
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

/// Whether the other side of a comparison may come from a request: a name that says signature.
pub(super) fn is_received<'a>(flow: &Flow<'a>, other: At<'a>) -> bool {
    flow.find(other, |it| match it.val.expr.kind {
        Kind::Name(name) | Kind::Member(_, name) => {
            is_signature(name) || ["request", "headers", "header", "token"].contains(&name)
        }
        Kind::Text(text) => is_signature(text) || has_word(text, &["sign", "auth"]),
        _ => false,
    })
    .is_some()
}
