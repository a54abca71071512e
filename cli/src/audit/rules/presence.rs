//! Whether a test asks if a secret is there.

use super::look::Look;
use crate::audit::{
    mac_made,
    tree::{Compare, Expr, Kind},
    values::{At, Go},
    words,
};

/// Returns whether a test holds if there is something, and not if it is missing or empty.
pub(super) fn presence<'a>(
    test: &'a Expr<'a>,
    is_about: &impl Fn(&'a Expr<'a>) -> bool,
) -> Option<bool> {
    let about = |it: &'a Expr<'a>, is_there| is_about(it).then_some(is_there);
    match &test.kind {
        Kind::Not(inner) => presence(inner, is_about).map(|it| !it),
        Kind::Compare(compare, both) => {
            let [left, right] = &**both;
            let is_nothing = right.is_name(&["None"]) || right.text() == Some("");
            match compare {
                Compare::Is | Compare::Equal if is_nothing => about(left, false),
                Compare::IsNot | Compare::NotEqual if is_nothing => about(left, true),
                _ => None,
            }
        }
        Kind::Let(both) => {
            let [target, value] = &**both;
            let is_there = match &target.kind {
                Kind::Call(call) => ["Some", "Ok"].contains(&call.last()),
                Kind::Name(_) => true,
                _ => false,
            };
            (is_there && (is_about(value) || is_about(target))).then_some(true)
        }
        // With `and`: one that is missing is enough.
        Kind::Logic(all) => {
            let mut pieces = all.iter().filter_map(|it| presence(it, is_about));
            pieces.find(|it| *it)
        }
        Kind::Call(call) => match (call.last(), call.receiver(), call.args.first()) {
            ("is_empty" | "is_none", Some(receiver), _) => about(receiver, false),
            ("is_some", Some(receiver), _) => about(receiver, true),
            ("bool" | "len", None, Some(arg)) => about(&arg.value, true),
            ("get" | "getenv" | "as_ref" | "as_deref" | "clone" | "var", ..) => about(test, true),
            _ => None,
        },
        Kind::Name(_) | Kind::Member(..) | Kind::Index(_) => about(test, true),
        Kind::Await(inner) | Kind::Try(inner) => presence(inner, is_about),
        _ => None,
    }
}

/// Returns whether an expression is a secret by its names.
pub(super) fn is_named(secret: &Expr<'_>) -> bool {
    let mut names = secret.chain();
    secret.walk(&mut |it| names.extend(it.text()));
    let mut makes_one = false;
    secret.walk(&mut |it| makes_one |= mac_made::is_constructor(it));
    !makes_one
        && names.iter().any(|it| {
            (words::is_secret(it) || words::has_word(it, &["signing", "hmac"]))
                && !words::has_word(it, &["signature", "header"])
        })
}

/// Returns whether a key is this secret, in some form; a piece of a configuration is not all of it.
pub(super) fn is_key<'a>(look: &Look<'_, 'a>, key: At<'a>, secret: &str) -> bool {
    const FORMS: [&str; 12] = [
        "encode",
        "as_bytes",
        "as_ref",
        "as_str",
        "into_bytes",
        "to_owned",
        "clone",
        "unwrap",
        "expect",
        "bytes",
        "force_bytes",
        "expose_secret",
    ];
    let mut found = false;
    look.flow.sources(key, &mut |it| {
        found |= look.flow.text(it.val) == secret;
        let goes_deeper = match &it.val.expr.kind {
            Kind::Member(..) | Kind::Index(_) => false,
            Kind::Call(call) => FORMS.contains(&call.last()),
            _ => true,
        };
        match (found, goes_deeper) {
            (true, _) => Go::Stop,
            (false, true) => Go::Deeper,
            (false, false) => Go::Past,
        }
    });
    found
}
