//! A rule about locks that end by themselves.

use super::look::{Hit, Look};
use crate::audit::{tree::Expr, words};

/// Finds a lock of Redis or a cache that is deleted without a check of who holds it.
pub(super) fn released_without_token(look: &Look<'_, '_>) -> Vec<Hit> {
    let mut hits = Vec::new();
    for (place, taken) in look.flow.calls().enumerate() {
        let last = taken.call.last();
        let is_shared = look.is_cache(taken);
        let Some(key) = taken.call.args.first() else {
            continue;
        };
        let key_at = look.piece(taken, &key.value);
        let key_text = look.flow.text(key_at.val);
        let resolved = look.flow.text(look.flow.resolved(key_at).val);
        let is_lock = words::has_word(key_text, &["lock"]) || words::has_word(resolved, &["lock"]);
        let takes = match last {
            "set" => taken
                .call
                .named("nx")
                .is_some_and(|it| it.is_name(&["True"])),
            "setnx" | "add" => true,
            _ => false,
        };
        // Without an end the lock is nobody else's before it is deleted.
        let ends = match last {
            "set" => taken
                .call
                .named("ex")
                .or_else(|| taken.call.named("px"))
                .is_some(),
            "add" => taken.call.args.len() > 2,
            _ => false,
        };
        if !is_shared || !takes || !is_lock || !ends {
            continue;
        }
        let released = look.flow.calls_after(place).find(|call| {
            call.call.last() == "delete"
                && look.is_cache(call)
                && call
                    .call
                    .args
                    .first()
                    .is_some_and(|it| look.flow.same(key_at, look.piece(call, &it.value)))
        });
        if let Some(released) = released {
            let token = look.test_between(taken.step, released.step, |it| {
                it.val.expr.call().is_some_and(|call| {
                    call.last() == "get"
                        && call.receiver().is_some_and(|it| {
                            it.chain() == taken.call.receiver().map_or_else(Vec::new, Expr::chain)
                        })
                })
            });
            if token.is_none() {
                hits.push(look.hit(
                    (look.at(taken), "the lock is taken here, and ends by itself"),
                    (look.at(released), "and is deleted here, whoever holds it by then"),
                    "a holder that was slow deletes the lock of the next: compare a token, in one step",
                ));
            }
        }
    }
    hits
}
