//! Rules about secrets in code.

use super::look::{Hit, Look};
use crate::audit::{
    finding::Place,
    mac_made,
    project::{File, Project, each_expr},
    tree::{Call, Expr, Kind},
    values::At,
    words,
};

/// `os.environ.get("WEBHOOK_SECRET") or "…"`
fn or_default<'a>(all: &'a [Expr<'a>]) -> Option<(&'a str, &'a Expr<'a>, bool)> {
    let [read, default] = all else { return None };
    let call = read.call()?;
    if !is_read_of_environment(&call.func.chain()) || call.args.len() > 1 {
        return None;
    }
    let name = call.args.first()?.value.text()?;
    let text = default.text()?;
    Some((name, default, text.is_empty()))
}

fn is_read_of_environment(chain: &[&str]) -> bool {
    matches!(chain, [.., "environ", "get"] | [.., "getenv"])
}

/// `os.environ.get("WEBHOOK_SECRET", "…")`, and `env::var(…).unwrap_or_default()`.
fn defaulted<'a>(call: &'a Call<'a>) -> Option<(&'a str, &'a Expr<'a>, bool)> {
    let chain = call.func.chain();
    let from_environment = is_read_of_environment(&chain)
        || matches!(chain.as_slice(), ["config" | "env"] | ["env", "str"]);
    if from_environment {
        let name = call.args.first()?.value.text()?;
        let default = call.arg(1, "default")?;
        let text = default.text()?;
        return Some((name, default, text.is_empty()));
    }
    if let [
        ..,
        "var",
        "unwrap_or_default" | "unwrap_or_else" | "unwrap_or",
    ]
    | [
        ..,
        "var",
        "ok",
        "unwrap_or_default" | "unwrap_or_else" | "unwrap_or",
    ] = chain.as_slice()
    {
        let mut receiver = call.receiver()?;
        if receiver.call()?.last() == "ok" {
            receiver = receiver.call()?.receiver()?;
        }
        let name = receiver.call()?.args.first()?.value.text()?;
        let Some(default) = call.args.first() else {
            return Some((name, &call.func, true));
        };
        let mut text = None;
        let mut literal = |it: &'a Expr<'a>| {
            if text.is_none() {
                text = it.text();
            }
        };
        default.value.walk(&mut literal);
        // A closure may first say in the log that there is no secret.
        if let Kind::Closure(body) = &default.value.kind
            && let Some(last) = body.last()
        {
            each_expr(std::slice::from_ref(last), &mut literal);
        }
        return text.map(|text| (name, &default.value, text.is_empty()));
    }
    None
}

fn is_signing(name: &str) -> bool {
    words::has_word(
        name,
        &["secret", "signing", "hmac", "webhook_key", "webhook_token"],
    ) && !words::has_word(
        name,
        &[
            "secret_name",
            "secret_path",
            "secret_file",
            "secret_id",
            "_arn",
            "client_secrets",
            "secret_version",
            "secretsmanager",
            // These open the door of another service: nobody signs with them here.
            "client_secret",
            "api_secret",
            "application_secret",
            "access_key",
            "encrypted",
            "oauth2_secret",
            // These say where a secret is, or of which kind.
            "_dir",
            "_folder",
            "_source",
            "_manager",
            "_type",
            "_provider",
        ],
    )
}

/// The name that a value is set to, on its line: `WEBHOOK_SECRET = …`, `"secret": …`.
fn set_to<'a>(text: &'a str, at: &Expr<'_>) -> Option<&'a str> {
    let before = text.get(..at.span.start as usize)?;
    let line = before.rsplit('\n').next()?;
    let target = line.trim_end().trim_end_matches(['=', ':']).trim_end();
    let word = |c: char| c.is_alphanumeric() || c == '_';
    let target = target.trim_end_matches(|c| !word(c));
    let name = target.rsplit(|c| !word(c)).next()?;
    (name.len() > 2).then_some(name)
}

/// Returns whether a line of the text asks if one of the names is there: then nothing is verified
/// without it.
fn is_tested(text: &str, names: &[&str]) -> bool {
    let asks = [
        "if ", "not ", "assert", "is_empty", " or ", " and ", "ensure!",
    ];
    names.iter().any(|name| {
        memchr::memmem::find_iter(text.as_bytes(), name.as_bytes()).any(|at| {
            let before = text.get(..at).and_then(|it| it.chars().next_back());
            if before.is_some_and(|it| it.is_alphanumeric() || it == '_') {
                return false;
            }
            let start = text
                .get(..at)
                .and_then(|it| it.rfind('\n'))
                .map_or(0, |it| it + 1);
            let line = text
                .get(start..)
                .and_then(|it| it.lines().next())
                .unwrap_or_default();
            let is_set =
                line.contains("environ") || line.contains("getenv") || line.contains("env::var");
            !is_set && asks.iter().any(|it| line.contains(it))
        })
    })
}

/// A helper of the same file that turns away who has no secret, whatever it calls it.
fn refuses_without(text: &str) -> bool {
    let mut lines = text.lines().map(str::trim);
    while let Some(line) = lines.next() {
        let asks = line.contains("not secret")
            || line.contains("secret.is_empty()")
            || line.contains("not signing_secret")
            || line.contains("not webhook_secret");
        let mut next = lines.clone().take(3);
        if asks
            && next.any(|it| {
                ["raise", "return False", "return None", "abort(", "Err("]
                    .iter()
                    .any(|word| it.starts_with(word) || it.contains(&format!("return {word}")))
            })
        {
            return true;
        }
    }
    false
}

/// Returns whether the code notices that the secret was not set. An empty one is noticed wherever
/// it is used; a literal one only where it is set.
fn is_guarded(
    project: &Project<'_>,
    file: &File<'_>,
    name: &str,
    at: &Expr<'_>,
    is_empty: bool,
) -> bool {
    let mut names = vec![name];
    names.extend(set_to(file.text, at));
    is_tested(file.text, &names)
        || is_empty
            && (refuses_without(file.text)
                || project
                    .files
                    .iter()
                    .filter(|it| it.language == file.language && !it.is_test)
                    .any(|it| is_tested(it.text, &names)))
}

pub(super) fn has_default(project: &Project<'_>, file: usize) -> Vec<Hit> {
    let mut hits = Vec::new();
    let Some(it) = project.files.get(file).filter(|it| !it.is_test) else {
        return hits;
    };
    let place = |expr: &Expr<'_>, what: &str| Place {
        file,
        span: expr.span,
        what: what.to_owned(),
    };
    each_expr(&it.tree.body, &mut |expr| {
        let found = match &expr.kind {
            Kind::Call(call) => defaulted(call),
            Kind::Logic(all) => or_default(all),
            _ => None,
        };
        if let Some((name, default, is_empty)) = found
            && is_signing(name)
            && (!is_empty || words::has_word(name, &["webhook", "signing", "hmac"]))
            && !is_guarded(project, it, name, expr, is_empty)
        {
            let message = if is_empty {
                format!("if `{name}` is not set, the secret is empty: everybody can sign")
            } else {
                format!(
                    "if `{name}` is not set, the secret is the one in this file: everybody who reads it can sign"
                )
            };
            hits.push(Hit {
                check: place(expr, "the secret is read here"),
                use_: place(default, "and this is what it is without a setting"),
                message,
                fix: None,
            });
        }
    });
    hits
}

/// `hmac.new(b"Bitcoin seed", seed)`: the key is a public name, and the secret is the message.
fn derives_key(call: &Call<'_>) -> bool {
    let mut found = false;
    if let Some(message) = call.arg(1, "msg") {
        message.walk(&mut |it| {
            if let Kind::Name(name) | Kind::Member(_, name) = it.kind {
                let words = ["seed", "entropy", "mnemonic", "ikm", "password", "private"];
                found |= words::has_word(name, &words);
            }
        });
    }
    found
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
        let is_derived =
            bare.val.expr.text().is_some_and(|it| {
                it.len() < 4 || words::has_word(it, &["aws4", "webappdata", "seed"])
            });
        if matches!(bare.val.expr.kind, Kind::Text(_)) && !is_derived && !derives_key(call.call) {
            hits.push(look.hit(
                (bare, "the secret is in the code"),
                (look.at(call), "and signs here"),
                "everybody who reads the code can sign, and the secret cannot be changed without a release",
            ));
        }
    }
    hits
}
