//! The words by which the rules know a thing: of Python, Rust and their libraries.

use super::{
    flow::Flow,
    tree::{Call, Expr, Kind},
    values::At,
};

/// Returns whether a call reads the clock of this machine.
pub(super) fn is_clock(call: &Call<'_>) -> bool {
    let chain = call.func.chain();
    match chain.as_slice() {
        [.., "time", "time" | "time_ns"] | [.., "now_utc" | "utcnow"] => true,
        [.., owner, "now"] => [
            "datetime",
            "timezone",
            "SystemTime",
            "Utc",
            "Local",
            "OffsetDateTime",
            "Timestamp",
            "arrow",
            "pendulum",
            "DateTime",
        ]
        .contains(owner),
        ["time" | "now"] => call.args.is_empty(),
        _ => false,
    }
}

/// Returns whether a value is made of the clock of this machine.
pub(super) fn has_clock<'a>(flow: &Flow<'a>, at: At<'a>) -> Option<At<'a>> {
    flow.find(at, |it| it.val.expr.call().is_some_and(is_clock))
}

/// Returns whether a text has one of these words, in lower case.
pub(super) fn has_word(text: &str, words: &[&str]) -> bool {
    let text = text.to_ascii_lowercase();
    words.iter().any(|word| text.contains(word))
}

/// The names of memories of used things.
pub(super) const MEMORY: [&str; 22] = [
    "nonce",
    "seen",
    "idempot",
    "dedup",
    "duplicate",
    "processed",
    "already",
    "event_id",
    "eventid",
    "delivery",
    "used",
    "once",
    "get_or_create",
    "update_or_create",
    "integrityerror",
    "unique",
    "on conflict",
    "on_conflict",
    "ignore_conflicts",
    "exists()",
    "claim",
    "version",
];

/// Returns whether a name says that it is about what was used.
pub(super) fn is_about_use(text: &str) -> bool {
    has_word(
        text,
        &[
            "nonce",
            "seen",
            "replay",
            "idempot",
            "dedup",
            "used",
            "processed",
            "handled",
            "sig",
            "event",
            "delivery",
            "webhook",
            "token",
            "jti",
            "request_id",
            "lock",
        ],
    )
}

/// Returns whether a receiver is a cache or a store that several requests share.
pub(super) fn is_cache(receiver: &Expr<'_>) -> bool {
    let chain = receiver.chain();
    chain.iter().any(|name| {
        let name = name.to_ascii_lowercase();
        ["cache", "caches", "redis", "memcache", "valkey", "rdb"]
            .iter()
            .any(|it| name.contains(it))
    })
}

/// A secret by its name.
pub(super) fn is_secret(name: &str) -> bool {
    has_word(
        name,
        &[
            "secret",
            "signing_key",
            "hmac_key",
            "webhook_key",
            "private_key",
            "api_key",
            "app_key",
            "sign_key",
        ],
    )
}

/// Returns whether a name is that of a signature that came with a request.
pub(super) fn is_signature(name: &str) -> bool {
    has_word(name, &["sig", "hmac", "mac", "digest", "checksum", "hash"])
}

/// A signed time by its name.
pub(super) fn is_time(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    name.contains("timestamp")
        || name == "ts"
        || name.ends_with("_ts")
        || name == "t"
        || name.contains("request_time")
        || name.contains("signed_at")
        || name == "iat"
}

/// A time at which something ends: it is compared on one side.
pub(super) fn is_end(name: &str) -> bool {
    has_word(
        name,
        &["exp", "deadline", "until", "not_after", "valid_to", "ttl"],
    )
}

/// Calls that change the state of the service.
pub(super) fn changes(call: &Call<'_>) -> bool {
    let last = call.last();
    let changing = [
        "save",
        "asave",
        "create",
        "acreate",
        "delete",
        "adelete",
        "update",
        "aupdate",
        "bulk_create",
        "bulk_update",
        "commit",
        "execute",
        "insert",
        "insert_one",
        "update_one",
        "update_many",
        "delete_one",
        "delete_many",
        "delay",
        "apply_async",
        "send_task",
        "enqueue",
        "publish",
        "add_task",
        "send_email",
        "send_mail",
        "transfer",
        "refund",
        "capture",
        "charge",
        "fulfill_order",
        "credit",
        "debit",
        "spawn",
        "get_or_create",
        "update_or_create",
    ];
    changing.contains(&last)
        && !(last == "update" && call.receiver().is_some_and(is_hasher))
        && !(last == "execute" && call.args.first().is_some_and(|it| is_select(&it.value)))
}

/// `h.update(…)` of a MAC or a digest changes nothing.
fn is_hasher(receiver: &Expr<'_>) -> bool {
    let chain = receiver.chain();
    chain.iter().any(|name| {
        has_word(
            name,
            &[
                "mac", "hash", "digest", "sha", "md5", "hasher", "ctx", "dict", "context",
                "headers", "params", "data",
            ],
        )
    })
}

fn is_select(expr: &Expr<'_>) -> bool {
    match &expr.kind {
        Kind::Text(_) => expr
            .text()
            .is_some_and(|it| it.trim_start().to_ascii_lowercase().starts_with("select")),
        Kind::Call(_) => expr.chain().contains(&"select"),
        _ => false,
    }
}

/// The calls that open a transaction of a database.
pub(super) fn is_transaction(expr: &Expr<'_>) -> bool {
    let opens = [
        "atomic",
        "in_transaction",
        "begin",
        "begin_nested",
        "transaction",
        "commit_on_success",
    ];
    let mut found = false;
    expr.walk(&mut |it| {
        found |=
            matches!(it.kind, Kind::Name(name) | Kind::Member(_, name) if opens.contains(&name));
    });
    found
}

/// A lock that is held, by its name.
pub(super) fn is_lock(expr: &Expr<'_>) -> bool {
    expr.chain()
        .iter()
        .any(|it| has_word(it, &["lock", "mutex", "semaphore", "exclusive"]))
        && !expr
            .chain()
            .iter()
            .any(|it| has_word(it, &["block", "clock", "unlock"]))
}
