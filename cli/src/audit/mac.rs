//! Where a MAC is compared.

use super::{
    flow::{CallAt, Flow, Val},
    mac_made::{is_constructor, made, signed},
    tree::{Call, Compare, Expr, Kind},
    values::At,
    words::{has_word, is_signature},
};

/// A function compares few MACs; a text that was written to be read forever, many.
const MAX_CHECKS: usize = 64;

/// Functions that compare in constant time.
const CONSTANT: [&str; 10] = [
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

/// A MAC is compared with one that came from elsewhere.
#[derive(Clone, Debug)]
pub(super) struct Check<'a> {
    /// The comparison.
    pub(super) at: At<'a>,
    /// The MAC that was made here.
    pub(super) mac: At<'a>,
    /// The value that it is compared with.
    pub(super) other: Option<At<'a>>,
    /// The call that made it: `hmac.new(…)`.
    pub(super) made: Option<At<'a>>,
    /// The signed message, piece by piece.
    pub(super) message: Vec<At<'a>>,
    pub(super) key: Option<At<'a>>,
    /// In constant time.
    pub(super) is_constant: bool,
}

/// All checks of a flow, in order.
pub(super) fn checks<'a>(flow: &Flow<'a>) -> Vec<Check<'a>> {
    let mut found: Vec<Check<'a>> = Vec::new();
    for (step, it) in flow.steps() {
        it.each(&mut |root| {
            if root.frame != it.frame {
                return;
            }
            let frame = root.frame;
            root.expr.walk(&mut |expr| {
                let val = Val { expr, frame };
                let is_known =
                    |it: &Check<'a>| it.at.val.expr.span == expr.span && it.at.val.frame == frame;
                if found.len() < MAX_CHECKS
                    && let Some(check) = compares(flow, At { val, step })
                    && !found.iter().any(is_known)
                {
                    found.push(check);
                }
            });
        });
    }
    found
}

/// The check that an expression is.
fn compares<'a>(flow: &Flow<'a>, at: At<'a>) -> Option<Check<'a>> {
    let of = |expr| At {
        val: Val {
            expr,
            frame: at.val.frame,
        },
        step: at.step,
    };
    let either = |left: &'a Expr<'a>, right: &'a Expr<'a>, is_constant| {
        check(flow, at, of(left), of(right), is_constant)
            .or_else(|| check(flow, at, of(right), of(left), is_constant))
    };
    let call = match &at.val.expr.kind {
        Kind::Compare(Compare::Equal | Compare::NotEqual, both) => {
            let [left, right] = &**both;
            if is_constant(left) || is_constant(right) {
                return None;
            }
            return either(left, right, false);
        }
        // `mine in signatures` compares with each of them.
        Kind::Compare(Compare::In | Compare::NotIn, both) => {
            let [left, right] = &**both;
            return check(flow, at, of(left), of(right), false);
        }
        Kind::Call(call) => call,
        _ => return None,
    };
    let last = call.last();
    if CONSTANT.contains(&last) {
        let receiver = call.receiver().filter(|_| last == "ct_eq");
        let mut sides = call.args.iter().map(|it| &it.value).chain(receiver);
        return either(sides.next()?, sides.next()?, true);
    }
    if ["eq", "ne", "eq_ignore_ascii_case"].contains(&last)
        && let (Some(receiver), [other]) = (call.receiver(), call.args.as_slice())
    {
        return either(receiver, &other.value, false);
    }
    if ["verify_slice", "verify_truncated_left", "verify"].contains(&last)
        && let (Some(receiver), Some(other)) = (call.receiver(), call.args.first())
        && let Some(made) = flow.find(of(receiver), |it| is_constructor(it.val.expr))
    {
        let (message, key) = signed(flow, made, at.step);
        return Some(Check {
            at,
            mac: of(receiver),
            other: Some(of(&other.value)),
            made: Some(made),
            message,
            key,
            is_constant: true,
        });
    }
    if call.func.chain().ends_with(&["hmac", "verify"])
        && let [key, message, other, ..] = call.args.as_slice()
    {
        return Some(Check {
            at,
            mac: at,
            other: Some(of(&other.value)),
            made: Some(at),
            message: vec![of(&message.value)],
            key: Some(of(&key.value)),
            is_constant: true,
        });
    }
    None
}

/// Calls of libraries that verify and raise if the MAC is wrong.
pub(super) fn is_library_check(call: &CallAt<'_>) -> bool {
    let chain = call.call.func.chain();
    matches!(
        chain.as_slice(),
        [
            ..,
            "verify_webhook_signature" | "verify_header" | "verify_slice"
        ]
    ) || is_event_of_stripe(call.call)
        || matches!(chain.as_slice(), [.., "Webhook", "verify"])
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

/// `stripe.Webhook.construct_event(payload, header, secret)`
pub(super) fn is_event_of_stripe(call: &Call<'_>) -> bool {
    call.last() == "construct_event" && call.args.len() > 1
}

fn is_constant(expr: &Expr<'_>) -> bool {
    matches!(expr.kind, Kind::Text(_) | Kind::Number(_))
        || expr.is_name(&["None", "True", "False", "true", "false"])
}

fn check<'a>(
    flow: &Flow<'a>,
    at: At<'a>,
    mac: At<'a>,
    other: At<'a>,
    is_constant: bool,
) -> Option<Check<'a>> {
    let made = made(flow, mac)?;
    // Two MACs of our own: that is how strings are compared in constant time.
    if self::made(flow, other).is_some_and(|it| {
        it.val.expr.span != made.val.expr.span && is_constructor(it.val.expr) && !is_named(other)
    }) {
        return None;
    }
    let (message, key) = signed(flow, made, at.step);
    Some(Check {
        at,
        mac,
        other: Some(other),
        made: Some(made),
        message,
        key,
        is_constant,
    })
}

/// Returns whether the other side was made here too: a text that this service signed is read again.
pub(super) fn is_own(flow: &Flow<'_>, check: &Check<'_>) -> bool {
    check
        .other
        .is_some_and(|other| flow.find(other, |it| is_constructor(it.val.expr)).is_some())
}

fn is_named(at: At<'_>) -> bool {
    at.val
        .expr
        .dotted()
        .is_some_and(|it| has_word(&it, &["received", "provided", "header"]))
}

/// Returns whether the other side of a comparison may come from a request: a name that says
/// signature.
pub(super) fn is_received<'a>(flow: &Flow<'a>, other: At<'a>) -> bool {
    // The framework has checked the signature of these, or there is none.
    let is_trusted = flow
        .find(other, |it| match &it.val.expr.kind {
            Kind::Name("session") | Kind::Member(_, "session") => true,
            // Everybody may know the tag of a page.
            Kind::Text(text) => has_word(text, &["none-match"]),
            Kind::Call(call) => ["unsign", "unsign_object", "unserialize"].contains(&call.last()),
            _ => false,
        })
        .is_some();
    // `Session.token == hash` in a query compares in the database, and on an index.
    let chain = other.val.expr.chain();
    let is_column = matches!(other.val.expr.kind, Kind::Member(..))
        && chain
            .first()
            .is_some_and(|it| it.starts_with(char::is_uppercase));
    if is_trusted || is_column {
        return false;
    }
    flow.find(other, |it| match it.val.expr.kind {
        Kind::Name(name) | Kind::Member(_, name) => {
            is_signature(name) || ["request", "headers", "header", "token"].contains(&name)
        }
        Kind::Text(text) => is_signature(text) || has_word(text, &["sign", "auth"]),
        _ => false,
    })
    .is_some()
}
