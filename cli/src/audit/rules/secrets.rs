//! A rule about secrets in code.

use super::look::{Hit, Look};
use crate::audit::{
    flow::CallAt,
    mac_made,
    tree::Kind,
    values::{At, Go},
    words,
};

/// Returns whether a file shows how something is done: its secrets are nobody's.
pub(super) fn is_example(path: &str) -> bool {
    let shown = ["example", "examples", "sample", "samples", "demo", "docs"];
    let mut folders = path.rsplit('/').skip(1);
    folders.any(|it| shown.contains(&it))
}

/// Returns whether a key is public by design: the secret is in the message, as when a wallet or a
/// key is derived, or there is no secret, as in a self-test.
fn has_public_key<'a>(look: &Look<'_, 'a>, call: &CallAt<'a>, key: At<'a>) -> bool {
    const DERIVED: [&str; 9] = [
        "seed",
        "entropy",
        "mnemonic",
        "master",
        "secret",
        "password",
        "passphrase",
        "ikm",
        "key",
    ];
    let mut says_so = false;
    look.flow.sources(key, &mut |it| {
        says_so |= match it.val.expr.kind {
            Kind::Name(name) | Kind::Member(_, name) => {
                words::has_word(name, &["salt", "label", "context", "seed"])
            }
            Kind::Text(text) => words::has_word(text, &["seed", "salt"]),
            _ => false,
        };
        Go::Deeper
    });
    let (message, _) = mac_made::signed(look.flow, look.at(call), u32::MAX);
    let is_constant = |it: &At<'a>| matches!(look.flow.resolved(*it).val.expr.kind, Kind::Text(_));
    says_so
        || !message.is_empty() && message.iter().all(is_constant)
        || message.iter().any(|it| {
            let name = it.val.expr.chain().last().copied().unwrap_or_default();
            words::has_word(name, &DERIVED)
        })
}

pub(super) fn in_code(look: &Look<'_, '_>) -> Vec<Hit> {
    let mut hits = Vec::new();
    for call in look.flow.calls() {
        if !mac_made::is_constructor(call.val.expr) {
            continue;
        }
        // The first argument of `salted_hmac` is a salt, which is public.
        let key = match call.call.last() {
            "salted_hmac" => call.call.named("secret"),
            _ => call.call.arg(0, "key"),
        };
        let Some(key) = key else {
            continue;
        };
        let key = look.piece(call, key);
        let file = look.flow.project.files.get(look.flow.file(key.val.frame));
        if file.is_some_and(|it| is_example(it.path)) || has_public_key(look, call, key) {
            continue;
        }
        // Behind `.encode()` and the like.
        let mut bare = look.flow.resolved(key);
        for _ in 0..4 {
            let Some(inner) = bare.val.expr.call() else {
                break;
            };
            let next = match (inner.last(), inner.receiver(), inner.args.first()) {
                ("encode" | "as_bytes" | "to_vec" | "into" | "as_ref", Some(receiver), _) => {
                    receiver
                }
                ("bytes" | "force_bytes" | "from", _, Some(arg)) => &arg.value,
                _ => break,
            };
            let val = crate::audit::flow::Val {
                expr: next,
                frame: bare.val.frame,
            };
            bare = look.flow.resolved(At {
                val,
                step: bare.step,
            });
        }
        let is_derived = bare
            .val
            .expr
            .text()
            .is_some_and(|it| it.len() < 4 || words::has_word(it, &["aws4", "webappdata"]));
        if matches!(bare.val.expr.kind, Kind::Text(_)) && !is_derived {
            hits.push(look.hit(
                (bare, "the secret is in the code"),
                (look.at(call), "and signs here"),
                "everybody who reads the code can sign, and the secret cannot be changed without a release",
            ));
        }
    }
    hits
}
