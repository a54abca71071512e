//! A rule about secrets that have a default in code.

use std::ops::Range;

use super::{look::Hit, secrets::is_example};
use crate::audit::{
    finding::Place,
    project::{File, Piece, Project, each_expr, each_piece},
    span::Span,
    tree::{Act, Call, Class, Expr, Kind, Stmt},
    words,
};

/// A setting that is read, and what it is if it is not set.
struct Default<'a> {
    name: &'a str,
    read: &'a Expr<'a>,
    value: &'a Expr<'a>,
    is_empty: bool,
}

/// `os.environ.get("WEBHOOK_SECRET") or "…"`
fn or_default<'a>(all: &'a [Expr<'a>], whole: &'a Expr<'a>) -> Option<Default<'a>> {
    let [read, default] = all else { return None };
    let call = read.call()?;
    if !is_read_of_environment(&call.func.chain()) || call.args.len() > 1 {
        return None;
    }
    let name = call.args.first()?.value.text()?;
    Some(Default {
        name,
        read: whole,
        value: default,
        is_empty: default.text()?.is_empty(),
    })
}

fn is_read_of_environment(chain: &[&str]) -> bool {
    matches!(chain, [.., "environ", "get"] | [.., "getenv"])
}

/// `os.environ.get("WEBHOOK_SECRET", "…")`, and `env::var(…).unwrap_or_default()`.
fn defaulted<'a>(call: &'a Call<'a>, whole: &'a Expr<'a>) -> Option<Default<'a>> {
    let made = |name, value, is_empty| Default {
        name,
        read: whole,
        value,
        is_empty,
    };
    let chain = call.func.chain();
    let from_environment = is_read_of_environment(&chain)
        || matches!(chain.as_slice(), ["config" | "env"] | ["env", "str"]);
    if from_environment {
        let name = call.args.first()?.value.text()?;
        let default = call.arg(1, "default")?;
        return Some(made(name, default, default.text()?.is_empty()));
    }
    let takes_default = [
        "unwrap_or_default",
        "unwrap_or_else",
        "unwrap_or",
        "map_or",
        "map_or_else",
    ];
    if !takes_default.contains(&call.last()) {
        return None;
    }
    let name = variable(call.receiver()?)?;
    let Some(default) = call.args.first() else {
        return Some(made(name, &call.func, true));
    };
    let text = literal(&default.value)?;
    Some(made(name, &default.value, text.is_empty()))
}

/// The name in `env::var("NAME")`, also in `env::var("NAME").ok().filter(…)`.
fn variable<'a>(read: &'a Expr<'a>) -> Option<&'a str> {
    const SAME: [&str; 5] = ["ok", "filter", "map", "map_err", "inspect_err"];
    let mut call = read.call()?;
    while SAME.contains(&call.last()) {
        call = call.receiver()?.call()?;
    }
    let is_read = matches!(call.func.chain().as_slice(), [.., "env", "var"] | ["var"]);
    is_read.then(|| call.args.first()?.value.text())?
}

/// Returns the text that an expression evaluates to: `"…".to_owned()`, `String::from("…")`, a
/// closure or a block that ends with a text.
fn literal<'a>(expr: &'a Expr<'a>) -> Option<&'a str> {
    match &expr.bare().kind {
        Kind::Text(_) => expr.bare().text(),
        Kind::Closure(body) | Kind::Block(body) => {
            // The block may first log that there is no secret. If it has a test, it may refuse.
            let (_, before) = body.split_last()?;
            let asks = |it: &Stmt<'_>| !matches!(it.act, Act::Do(_) | Act::Set { .. });
            (!before.iter().any(asks)).then(|| literal(last(body)?))?
        }
        Kind::Call(call) if !call.is_macro => match (call.last(), call.args.as_slice()) {
            ("to_owned" | "to_string" | "into" | "to_vec" | "into_bytes", []) => {
                literal(call.receiver()?)
            }
            ("new", []) if call.func.chain().contains(&"String") => Some(""),
            ("from" | "new" | "Ok" | "Some", [only]) => literal(&only.value),
            _ => None,
        },
        _ => None,
    }
}

/// The value that some statements end with.
fn last<'a>(body: &'a [Stmt<'a>]) -> Option<&'a Expr<'a>> {
    match &body.last()?.act {
        Act::Yield(value) | Act::Return(Some(value)) => Some(value),
        _ => None,
    }
}

/// `match env::var("WEBHOOK_SECRET") { Ok(secret) => secret, Err(_) => "…" }`, and `if let`.
fn branched<'a>(stmt: &'a Stmt<'a>) -> Option<Default<'a>> {
    let (read, set, otherwise) = match &stmt.act {
        Act::Match { subject, arms } => {
            let [one, other] = arms.as_slice() else {
                return None;
            };
            let is_set = |it: &Expr<'_>| {
                it.call()
                    .is_some_and(|it| ["Ok", "Some"].contains(&it.last()))
            };
            let (set, otherwise) = if is_set(&one.0) {
                (one, other)
            } else {
                (other, one)
            };
            (subject, (&set.0, &set.1), &otherwise.1)
        }
        Act::If {
            test,
            body,
            otherwise,
        } => {
            let Kind::Let(both) = &test.kind else {
                return None;
            };
            let [target, value] = &**both;
            (value, (target, body), otherwise)
        }
        _ => return None,
    };
    let name = variable(read)?;
    // Otherwise the literal is another thing than the secret: an answer, a text for the log.
    let secret = set.0.call()?.args.first()?.value.name()?;
    let is_secret = last(set.1)?.chain().first() == Some(&secret);
    let value = last(otherwise).filter(|_| is_secret)?;
    Some(Default {
        name,
        read,
        value,
        is_empty: literal(value)?.is_empty(),
    })
}

/// `#[arg(env = "WEBHOOK_SECRET", default_value = "…")] secret: String`: clap fills the field.
fn of_arguments<'a>(class: &'a Class<'a>) -> Vec<Default<'a>> {
    let behind = class.body.windows(2).filter_map(|pair| {
        let [
            Stmt {
                act: Act::Do(attribute),
                ..
            },
            Stmt {
                act: Act::Set { target, .. },
                ..
            },
        ] = pair
        else {
            return None;
        };
        let call = attribute.call()?;
        if !["arg", "clap"].contains(&call.last()) {
            return None;
        }
        let value = call
            .named("default_value")
            .or_else(|| call.named("default_value_t"))?;
        let variable = call.named("env").and_then(Expr::text);
        Some(Default {
            name: variable.or_else(|| target.name())?,
            read: target,
            value,
            is_empty: literal(value)?.is_empty(),
        })
    });
    behind.collect()
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
            "_source",
            "_manager",
            "_type",
            "_provider",
            "_dir",
            "_folder",
            "_root",
            "_url",
            "_header",
            "_prefix",
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
/// without it. The read itself, with its default, does not count.
fn is_tested(text: &str, names: &[&str], read: Range<usize>) -> bool {
    let asks = [
        "if ", "not ", "assert", "is_empty", " or ", " and ", "ensure!",
    ];
    names.iter().any(|name| {
        memchr::memmem::find_iter(text.as_bytes(), name.as_bytes()).any(|at| {
            let before = text.get(..at).and_then(|it| it.chars().next_back());
            if read.contains(&at) || before.is_some_and(|it| it.is_alphanumeric() || it == '_') {
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

/// `@field_validator("webhook_secret")`
fn is_validated(text: &str, name: &str) -> bool {
    let mut lines = text.lines().filter(|it| it.contains("validator("));
    lines.any(|it| it.contains(&format!("\"{name}\"")) || it.contains(&format!("'{name}'")))
}

/// Returns whether the code notices that the secret was not set. An empty one is noticed wherever
/// it is used; a literal one only where it is set.
fn is_guarded(project: &Project<'_>, file: &File<'_>, found: &Default<'_>) -> bool {
    let mut names = vec![found.name];
    names.extend(set_to(file.text, found.read));
    is_tested(file.text, &names, found.read.span.range())
        || is_validated(file.text, found.name)
        || found.is_empty
            && (refuses_without(file.text)
                || project
                    .files
                    .iter()
                    .filter(|it| it.language == file.language && !it.is_test)
                    .any(|it| is_tested(it.text, &names, 0..0)))
}

/// `class Settings(BaseSettings): webhook_secret: str = "…"`: pydantic fills each field from a
/// variable of its name.
fn of_settings<'a>(class: &'a Class<'a>) -> Vec<Default<'a>> {
    let is_settings = class
        .bases
        .iter()
        .any(|it| it.chain().last() == Some(&"BaseSettings"));
    let fields = class.body.iter().filter(|_| is_settings);
    fields
        .filter_map(|stmt| {
            let Act::Set { target, value, .. } = &stmt.act else {
                return None;
            };
            let default = match value.call() {
                Some(call) => match call.last() {
                    "Field" | "SecretStr" => call.arg(0, "default")?,
                    _ => return None,
                },
                None => value,
            };
            let text = match default.call() {
                Some(call) if call.last() == "SecretStr" => call.args.first()?.value.text()?,
                _ => default.text()?,
            };
            Some(Default {
                name: target.name()?,
                read: target,
                value: default,
                is_empty: text.is_empty(),
            })
        })
        .collect()
}

/// `{**os.environ, "SECRET": os.environ.get("SECRET", "…")}` is what a script hands to a child.
fn handed_to_children(body: &[Stmt<'_>]) -> Vec<Span> {
    let mut spans = Vec::new();
    each_expr(body, &mut |expr| {
        if let Kind::Record(pairs) = &expr.kind
            && pairs
                .iter()
                .any(|it| it.1.chain().contains(&"environ") && it.0.text().is_none())
        {
            spans.extend(pairs.iter().map(|it| it.1.span));
        }
    });
    spans
}

pub(super) fn has_default(project: &Project<'_>, file: usize) -> Vec<Hit> {
    let file_of = project.files.get(file);
    let Some(it) = file_of.filter(|it| !it.is_test && !is_example(it.path)) else {
        return Vec::new();
    };
    let children = handed_to_children(&it.tree.body);
    let mut found = Vec::new();
    each_piece(&it.tree.body, &mut |piece| {
        found.extend(match piece {
            Piece::Stmt(stmt) => branched(stmt),
            Piece::Expr(expr) => match &expr.kind {
                Kind::Call(call) => defaulted(call, expr),
                Kind::Logic(all) => or_default(all, expr),
                _ => None,
            },
        });
    });
    let classes = it.classes.iter().copied();
    found.extend(classes.flat_map(|it| of_settings(it).into_iter().chain(of_arguments(it))));
    let is_fault = |found: &Default<'_>| {
        let has_webhook = words::has_word(found.name, &["webhook", "signing", "hmac"]);
        let is_path = found.value.text().is_some_and(|it| it.starts_with('/'));
        is_signing(found.name)
            && (!found.is_empty || has_webhook)
            && !is_path
            && !children.contains(&found.read.span)
            && !is_guarded(project, it, found)
    };
    let place = |expr: &Expr<'_>, what: &str| Place {
        file,
        span: expr.span,
        what: what.to_owned(),
    };
    let hits = found.into_iter().filter(is_fault).map(|found| {
        let name = found.name;
        let message = if found.is_empty {
            format!("if `{name}` is not set, the secret is empty: everybody can sign")
        } else {
            format!(
                "if `{name}` is not set, the secret is the one in this file: everybody who reads it can sign"
            )
        };
        Hit {
            check: place(found.read, "the secret is read here"),
            use_: place(found.value, "and this is what it is without a setting"),
            message,
            fix: None,
        }
    });
    hits.collect()
}
