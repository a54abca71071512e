//! Rules about what remembers that something was used.

use super::{
    look::{Hit, Look},
    mend,
    presence::presence,
    window::windows,
};
use crate::audit::{
    flow::{CallAt, RegionKind, What},
    tree::{Arg, Compare, Expr, Kind},
    values::At,
    words,
};

/// The names of collections of used things.
const USED: [&str; 6] = ["nonce", "seen", "used", "processed", "replay", "idempot"];

/// Methods of a collection of this process, or of a store, that keep their argument.
const KEEPS: [&str; 11] = [
    "add",
    "set",
    "setnx",
    "setex",
    "sadd",
    "insert",
    "append",
    "appendleft",
    "push",
    "push_back",
    "setdefault",
];

/// A look-up or a record of something that was used.
struct Memory<'a> {
    at: At<'a>,
    receiver: Option<&'a Expr<'a>>,
    key: At<'a>,
}

fn reads<'a>(look: &Look<'_, 'a>, call: &CallAt<'a>) -> Option<Memory<'a>> {
    let receiver = call.call.receiver();
    let key = call.call.args.first()?;
    let last = call.call.last();
    let shared =
        look.is_cache(call) && ["get", "exists", "has_key", "sismember", "aget"].contains(&last);
    let locked = ["contains", "contains_key", "get"].contains(&last)
        && receiver.is_some_and(|it| takes_lock(it) || is_concurrent(look, call, it));
    (shared || locked).then(|| Memory {
        at: look.at(call),
        receiver,
        key: of_a_key(look, call, &key.value),
    })
}

fn writes<'a>(look: &Look<'_, 'a>, call: &CallAt<'a>) -> Option<Memory<'a>> {
    let receiver = call.call.receiver();
    let key = call.call.args.first()?;
    let last = call.call.last();
    let shared = look.is_cache(call)
        && ["set", "setex", "psetex", "sadd", "aset"].contains(&last)
        && !call.call.args.iter().any(|arg| arg.name == Some("nx"))
        // Code that reads the answer of `SADD` checks and records in one step.
        && (last != "sadd" || is_statement(look, call));
    let locked = last == "insert"
        && receiver.is_some_and(|it| takes_lock(it) || is_concurrent(look, call, it));
    (shared || locked).then(|| Memory {
        at: look.at(call),
        receiver,
        key: of_a_key(look, call, &key.value),
    })
}

/// `nonce.to_owned()` is the nonce.
fn of_a_key<'a>(look: &Look<'_, 'a>, call: &CallAt<'a>, key: &'a Expr<'a>) -> At<'a> {
    let mut key = key;
    while let Some(copy) = key.call()
        && ["to_owned", "to_string", "clone", "into"].contains(&copy.last())
        && let Some(receiver) = copy.receiver()
    {
        key = receiver;
    }
    look.piece(call, key)
}

fn is_statement(look: &Look<'_, '_>, call: &CallAt<'_>) -> bool {
    matches!(
        look.flow.step(call.step).map(|it| &it.what),
        Some(What::Do(_))
    )
}

/// `self.seen.lock().unwrap()`: each such call takes and gives back the lock.
fn takes_lock(receiver: &Expr<'_>) -> bool {
    receiver.call().is_some()
        && receiver
            .chain()
            .iter()
            .skip(1)
            .any(|it| ["lock", "write", "read"].contains(it))
}

/// A map whose type locks by itself.
fn is_concurrent(look: &Look<'_, '_>, call: &CallAt<'_>, receiver: &Expr<'_>) -> bool {
    let Kind::Member(_, field) = receiver.kind else {
        return false;
    };
    let file = look.flow.project.files.get(look.flow.file(call.val.frame));
    file.into_iter().flat_map(|it| &it.classes).any(|class| {
        class.body.iter().any(|stmt| match &stmt.act {
            crate::audit::tree::Act::Set { target, value, .. } => {
                let mut is_map = false;
                value.walk(&mut |it| {
                    is_map |= matches!(
                        it.kind,
                        Kind::Name("DashMap" | "DashSet" | "SkipMap")
                            | Kind::Member(_, "DashMap" | "DashSet" | "Cache")
                    );
                });
                target.is_name(&[field]) && is_map
            }
            _ => false,
        })
    })
}

/// Returns whether what is kept says no more than that something was used.
fn is_mark(look: &Look<'_, '_>, call: &CallAt<'_>, kept: &Memory<'_>) -> bool {
    let last = call.call.last();
    if ["sadd", "insert"].contains(&last) && call.call.args.len() < 3 {
        // `event.account` is about an account.
        let key = match kept.key.val.expr.kind {
            Kind::Member(_, field) => field,
            _ => look.flow.text(kept.key.val),
        };
        let holder = kept.receiver.and_then(|it| it.chain().last().copied());
        return call.call.args.len() == 1
            || call.call.args.get(1).is_some_and(|it| is_plain(&it.value))
            || words::is_about_use(key)
            || holder.is_some_and(|it| words::has_word(it, &USED));
    }
    value_of(call).is_some_and(is_plain)
}

/// The value of an entry that is set.
fn value_of<'a>(call: &CallAt<'a>) -> Option<&'a Expr<'a>> {
    match call.call.last() {
        "setex" | "psetex" => call.call.arg(2, "value"),
        _ => call.call.arg(1, "value"),
    }
}

/// Returns whether an entry counts, or shuts out: to set it twice is the same as once.
fn is_limit<'a>(look: &Look<'_, 'a>, call: &CallAt<'a>, kept: &Memory<'a>) -> bool {
    look.is_cache(call) && is_decided_by_a_number(look, call.step)
        || look.flow.calls().any(|call| {
            ["incr", "incrby", "aincr"].contains(&call.call.last())
                && call
                    .call
                    .args
                    .first()
                    .is_some_and(|key| look.flow.same(of_a_key(look, call, &key.value), kept.key))
        })
}

/// `if attempts >= 5: cache.set(…)` shuts somebody out: what was looked up does not decide it.
fn is_decided_by_a_number(look: &Look<'_, '_>, write: u32) -> bool {
    let Some(step) = look.flow.step(write) else {
        return false;
    };
    let groups: Vec<u32> = look
        .flow
        .around(step.region)
        .filter_map(|(_, it)| match it.kind {
            RegionKind::Branch { group, .. } => Some(group),
            _ => None,
        })
        .collect();
    look.flow.steps().any(|(_, step)| {
        matches!(step.what, What::Test(test, group) if groups.contains(&group)
            && matches!(
                test.kind,
                Kind::Compare(Compare::Less | Compare::LessOrEqual | Compare::Greater | Compare::GreaterOrEqual, _)
            ))
    })
}

/// Returns whether the same entry also says that something is not so: an answer is cached, nothing
/// is used.
fn is_cached_fact<'a>(look: &Look<'_, 'a>, mark: &Memory<'a>) -> bool {
    look.flow.calls().any(|call| {
        writes(look, call).is_some_and(|it| look.flow.same(it.key, mark.key))
            && value_of(call).is_some_and(|value| {
                // A list in a cache is an answer: `[]` says that nothing was found.
                let is_list = matches!(value.kind, Kind::Many(_)) && look.is_cache(call);
                is_list || value.is_name(&["False", "false", "None"]) || value.text() == Some("")
            })
    })
}

fn is_plain(value: &Expr<'_>) -> bool {
    match &value.kind {
        Kind::Number(_) | Kind::Text(_) => true,
        Kind::Name(name) => ["True", "true", "None"].contains(name),
        Kind::Many(all) => all.is_empty(),
        Kind::Call(call) => words::is_clock(call),
        _ => false,
    }
}

pub(super) fn get_then_set(look: &Look<'_, '_>) -> Vec<Hit> {
    let mut hits = looked_then_kept(look);
    for (place, read) in look.flow.calls().enumerate() {
        let Some(was) = reads(look, read) else {
            continue;
        };
        if look.is_locked(read.step) && !was.receiver.is_some_and(takes_lock) {
            continue;
        }
        let later = look.flow.calls_after(place);
        let write = later
            .filter_map(|call| Some((call, writes(look, call)?)))
            .find(|(call, kept)| {
                let same_receiver = match (was.receiver, kept.receiver) {
                    (Some(one), Some(other)) => {
                        one.chain() == other.chain()
                            || takes_lock(one)
                                && one.chain().iter().take(2).eq(other.chain().iter().take(2))
                    }
                    _ => false,
                };
                same_receiver
                    && look.flow.same(was.key, kept.key)
                    && is_mark(look, call, kept)
                    && !is_cached_fact(look, kept)
                    && !is_limit(look, call, kept)
                    && look.flow.reaches(read.step, call.step)
                    && decided(look, read, call.step)
                        .is_some_and(|test| !is_renewed(look, read, test, call.step))
            });
        if let Some((call, kept)) = write.filter(|_| !is_one_for_all(look, was.key)) {
            let mut hit = look.hit(
                (was.at, "looked up here"),
                (kept.at, "and recorded here, in a second step"),
                "two requests at the same moment both find nothing: what is used once needs one \
                 atomic step",
            );
            hit.fix = decided(look, read, call.step)
                .and_then(|test| mend::recorded_in_one_step(look, call, test));
            hits.push(hit);
        }
    }
    hits
}

/// Returns whether an entry is set only if it is there already: `if cache.get(key): cache.set(key, 1)`.
fn is_renewed<'a>(look: &Look<'_, 'a>, read: &CallAt<'a>, test: At<'a>, write: u32) -> bool {
    let span = read.val.expr.span;
    let is_read = |expr: &'a Expr<'a>| {
        let val = crate::audit::flow::Val { expr, ..test.val };
        let of = |it: At<'a>| it.val.expr.span == span;
        look.flow.find(At { val, ..test }, of).is_some()
    };
    let is_there = presence(test.val.expr, &is_read);
    is_there.is_some() && is_there == look.flow.answer(test.step, write)
}

/// Returns whether a key is the same for all requests, and not of a lock: `cache.get(CATALOG_FAILED)`.
fn is_one_for_all<'a>(look: &Look<'_, 'a>, key: At<'a>) -> bool {
    let expr = look.flow.resolved(key).val.expr;
    let name = key.val.expr.chain().last().copied().unwrap_or_default();
    let is_constant = matches!(expr.kind, Kind::Text(_))
        || name.len() > 1 && !name.contains(|it: char| it.is_ascii_lowercase());
    is_constant && !is_about(look, key, &["lock", "nonce", "seen", "used", "token"])
}

/// `if nonce in nonces: …`, and then `nonces.append(nonce)`, where something else runs in between.
fn looked_then_kept(look: &Look<'_, '_>) -> Vec<Hit> {
    let mut hits = Vec::new();
    let is_async = look.flow.function.is_async;
    if !is_async && !in_threads(look) {
        return hits;
    }
    let is_of_requests = |holder: At<'_>| {
        let name = holder.val.expr.chain().last().copied().unwrap_or_default();
        words::has_word(name, &["nonce", "replay", "jti"])
            || !look.checks.is_empty() && words::has_word(name, &USED)
    };
    for asked in looked_for(look) {
        if !is_of_requests(asked.holder) || look.is_locked(asked.at.step) {
            continue;
        }
        let kept = records(look).into_iter().find(|it| {
            let (from, to) = (asked.at.step, it.at.step);
            let span = asked.at.val.expr.span;
            it.holder.val.expr.chain() == asked.holder.val.expr.chain()
                && look.flow.same(asked.key, it.key)
                && look.flow.reaches(from, to)
                && (!is_async || look.waits_between(from, to))
                && look
                    .test_between(from, to, |it| it.val.expr.span == span)
                    .is_some()
        });
        if let Some(kept) = kept {
            hits.push(look.hit(
                (asked.at, "looked up here"),
                (kept.at, "and recorded here, in a second step"),
                "two requests at the same moment both find nothing: what is used once needs one \
                 atomic step",
            ));
        }
    }
    hits
}

/// Returns whether the framework of a file runs each request in a thread.
fn in_threads(look: &Look<'_, '_>) -> bool {
    const THREADED: [&str; 4] = ["bottle", "django", "flask", "rest_framework"];
    let file = look.flow.project.files.get(look.flow.root.file);
    file.into_iter().flat_map(|it| &it.tree.imports).any(|it| {
        let package = it.module.split('.').next().unwrap_or(it.module);
        THREADED.contains(&package)
    })
}

/// Returns whether the look-up decides if the record is made, and turns away what was seen.
fn decided<'a>(look: &Look<'_, 'a>, read: &CallAt<'a>, write: u32) -> Option<At<'a>> {
    let span = read.val.expr.span;
    look.test_between(read.step, write, |it| it.val.expr.span == span)
}

/// Returns whether a key or its value contains one of these words.
fn is_about<'a>(look: &Look<'_, 'a>, key: At<'a>, words: &[&str]) -> bool {
    [key, look.flow.resolved(key)]
        .iter()
        .any(|it| words::has_word(look.flow.text(it.val), words))
}

/// Something that is put into a collection, or looked for in it.
struct Entry<'a> {
    at: At<'a>,
    holder: At<'a>,
    key: At<'a>,
}

/// The records of a flow that others see: in a cache, or in a collection whose name says that it
/// holds used things.
fn records<'a>(look: &Look<'_, 'a>) -> Vec<Entry<'a>> {
    let mut found = Vec::new();
    for call in look.flow.calls() {
        if let (Some(holder), Some(key)) = (call.call.receiver(), call.call.args.first())
            && KEEPS.contains(&call.call.last())
        {
            let (at, holder) = (look.at(call), look.piece(call, holder));
            let key = look.piece(call, &key.value);
            found.push((look.is_cache(call), Entry { at, holder, key }));
        }
    }
    for (number, step) in look.flow.steps() {
        if let What::Set { target, .. } = &step.what
            && let Kind::Index(both) = &target.kind
        {
            found.push((false, entry(target, both, step.frame, number)));
        }
    }
    found.retain(|(is_cache, it)| {
        let name = it.holder.val.expr.chain().last().copied();
        let is_shared =
            || takes_lock(it.holder.val.expr) || words::has_word(name.unwrap_or_default(), &USED);
        *is_cache || is_shared() && !is_made_here(look, it.holder)
    });
    found.into_iter().map(|it| it.1).collect()
}

/// `nonce in nonces`
fn looked_for<'a>(look: &Look<'_, 'a>) -> Vec<Entry<'a>> {
    let mut found = Vec::new();
    for (number, step) in look.flow.steps() {
        step.each(&mut |root| {
            root.expr.walk(&mut |expr| {
                if let Kind::Compare(Compare::In | Compare::NotIn, both) = &expr.kind
                    && root.frame == step.frame
                {
                    let Entry { at, holder, key } = entry(expr, both, root.frame, number);
                    let (holder, key) = (key, holder);
                    found.push(Entry { at, holder, key });
                }
            });
        });
    }
    found
}

/// `holder[key]`, in the order of its text.
fn entry<'a>(expr: &'a Expr<'a>, both: &'a [Expr<'a>; 2], frame: u32, step: u32) -> Entry<'a> {
    let at = |expr: &'a Expr<'a>| At {
        val: crate::audit::flow::Val { expr, frame },
        step,
    };
    let [holder, key] = both;
    Entry {
        at: at(expr),
        holder: at(holder),
        key: at(key),
    }
}

/// Returns whether something keeps what a request says is used once, or asks if it is kept.
pub(super) fn remembers<'a>(look: &Look<'_, 'a>) -> bool {
    const ONCE: [&str; 7] = [
        "nonce",
        "seen",
        "replay",
        "processed",
        "idempot",
        "claim",
        "dedup",
    ];
    // These read a nonce, or make a text of it.
    const READS: [&str; 14] = [
        "get",
        "encode",
        "decode",
        "strip",
        "to_str",
        "as_bytes",
        "format",
        "join",
        "str",
        "int",
        "bytes",
        "update",
        "new",
        "compare_digest",
    ];
    let names = |it: &Expr<'_>| it.chain().iter().any(|it| words::has_word(it, &ONCE));
    let is_kept = |call: &CallAt<'a>| {
        let is_known = look.flow.helper_of(call.val).is_some();
        let runs_sql = ["execute", "query", "fetchrow", "fetchval"].contains(&call.call.last());
        let is_handed = |arg: &'a Arg<'a>| {
            let text = look.flow.text(look.piece(call, &arg.value).val);
            let is_value = match arg.value.kind {
                Kind::Name(_) | Kind::Member(..) | Kind::Index(_) | Kind::Call(_) => true,
                Kind::Text(_) => runs_sql,
                _ => false,
            };
            is_value && words::has_word(text, &ONCE)
        };
        !is_known
            && !call.call.is_macro
            && !READS.contains(&call.call.last())
            && (names(&call.call.func) || call.call.args.iter().any(is_handed))
    };
    look.flow.calls().any(is_kept)
        || looked_for(look).iter().any(|it| names(it.holder.val.expr))
        || records(look).iter().any(|it| is_about(look, it.key, &ONCE))
}

/// Returns what records a nonce in one step or two, before the MAC is compared.
pub(super) fn recorded_before_check(look: &Look<'_, '_>) -> Vec<Hit> {
    let mut hits = Vec::new();
    if look.checks.is_empty() {
        return hits;
    }
    let records = records(look);
    for check in &look.checks {
        let before = records.iter().find(|it| {
            let about = is_about(
                look,
                it.key,
                &[
                    "nonce",
                    "sig",
                    "seen",
                    "jti",
                    "event",
                    "request_id",
                    "replay",
                    "used",
                ],
            ) || words::has_word(
                it.holder.val.expr.chain().last().unwrap_or(&""),
                &["nonce", "seen", "used"],
            );
            // A helper of the same expression may be called behind the check.
            let seen = look.flow.seen_from(it.at.val, check.at.val.frame);
            let is_before = seen.is_none_or(|it| it.expr.span.start < check.at.val.expr.span.start);
            it.at.step < check.at.step
                && is_before
                && about
                && look.flow.reaches(it.at.step, check.at.step)
        });
        if let Some(before) = before {
            hits.push(look.hit(
                (before.at, "recorded as used here"),
                (check.at, "and the MAC is checked only here"),
                "who cannot sign can still use up a nonce, and fill the memory",
            ));
        }
    }
    hits
}

/// Returns whether an object was made in the function itself: nobody else sees it.
fn is_made_here<'a>(look: &Look<'_, 'a>, object: At<'a>) -> bool {
    let function = look
        .flow
        .frames
        .get(object.val.frame as usize)
        .and_then(|it| it.function);
    let made = look.flow.resolved(object).val.expr;
    // `let nonces = self.nonces.lock()` is made elsewhere.
    let is_lent = made
        .chain()
        .iter()
        .any(|it| ["self", "lock", "write"].contains(it));
    object.val.expr.name().is_some()
        && !is_lent
        && !matches!(made.kind, Kind::Name(_))
        && function
            .is_some_and(|it| it.span.start <= made.span.start && made.span.end <= it.span.end)
}

pub(super) fn shorter_than_window(look: &Look<'_, '_>) -> Vec<Hit> {
    let mut hits = Vec::new();
    if look.checks.is_empty() {
        return hits;
    }
    let windows = windows(look);
    let Some((window, width)) = windows.iter().find_map(|it| Some((it, it.width?))) else {
        return hits;
    };
    let needed = if window.is_two_sided {
        2.0 * width
    } else {
        width
    };
    for call in look.flow.calls() {
        if !look.is_cache(call) {
            continue;
        }
        let ttl = match call.call.last() {
            "add" => call.call.arg(2, "timeout"),
            "set" | "aset" => call
                .call
                .named("ex")
                .or_else(|| call.call.named("timeout"))
                .or_else(|| call.call.arg(2, "ex")),
            "setex" => call.call.arg(1, "time"),
            "set_ex" => call.call.arg(2, "seconds"),
            _ => None,
        };
        let in_milliseconds = call.call.named("px");
        let Some(ttl) = ttl.or(in_milliseconds).map(|it| look.piece(call, it)) else {
            continue;
        };
        let unit = if in_milliseconds.is_some() {
            1000.0
        } else {
            1.0
        };
        let about = call.call.args.first().is_some_and(|key| {
            is_about(
                look,
                look.piece(call, &key.value),
                &["nonce", "sig", "seen", "jti", "event", "replay", "used"],
            )
        });
        if let Some(kept) = look.flow.number(ttl).map(|it| it / unit)
            && about
            && kept < needed
        {
            let message = if window.is_two_sided {
                format!(
                    "a request is good from {width} s before its time to {width} s after: {needed} s in all, and it is remembered for {kept} s"
                )
            } else {
                format!("a request is good for {width} s, and remembered for {kept} s")
            };
            hits.push(look.hit(
                (window.at, "a request is good for this long"),
                (look.at(call), "and forgotten before that"),
                message,
            ));
        }
    }
    hits
}

/// Returns what was used, kept where it can be lost: a structure that evicts, or one process of
/// several.
pub(super) fn can_forget(look: &Look<'_, '_>) -> Vec<Hit> {
    let mut hits = Vec::new();
    if look.checks.is_empty() {
        return hits;
    }
    let workers = look.flow.project.facts.has_workers;
    for Entry { holder: place, .. } in looked_for(look) {
        let Some(name) = place.val.expr.dotted() else {
            continue;
        };
        let last = name.rsplit('.').next().unwrap_or(&name);
        if !words::has_word(
            last,
            &["nonce", "seen", "used", "replay", "processed", "signatures"],
        ) {
            continue;
        }
        let file = look.flow.project.files.get(look.flow.file(place.val.frame));
        let Some(made) = file.and_then(|it| it.constants.get(last)) else {
            continue;
        };
        let chain = made.chain();
        let evicts = chain
            .last()
            .is_some_and(|it| ["TTLCache", "LRUCache", "LFUCache", "deque"].contains(it));
        let is_local = evicts
            || chain
                .last()
                .is_some_and(|it| ["set", "dict", "OrderedDict", "defaultdict"].contains(it))
            || matches!(&made.kind, Kind::Record(all) if all.is_empty())
            || matches!(&made.kind, Kind::Many(all) if all.is_empty());
        if evicts || is_local && workers {
            let val = crate::audit::flow::Val {
                expr: made,
                frame: place.val.frame,
            };
            let what = if evicts {
                "a full structure forgets what was used"
            } else {
                "each worker has a memory of its own"
            };
            hits.push(look.hit(
                (At { val, step: 0 }, what),
                (place, "and this is all that remembers it"),
                "a signed request is accepted again once it is forgotten, or by another worker",
            ));
        }
    }
    hits
}
