//! Rules about secrets in code.

use super::look::{Hit, Look};
use crate::audit::{
    finding::Place,
    mac_made,
    project::{Project, each_expr},
    tree::{Call, Expr, Kind},
    values::At,
    words,
};

/// `os.environ.get("WEBHOOK_SECRET", "…")`, and `env::var(…).unwrap_or_default()`.
fn defaulted<'a>(call: &'a Call<'a>) -> Option<(&'a str, &'a Expr<'a>, bool)> {
    let chain = call.func.chain();
    let from_environment = matches!(
        chain.as_slice(),
        [.., "environ", "get"] | [.., "getenv"] | ["config" | "env"] | ["env", "str"]
    );
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
    ] = chain.as_slice()
    {
        let receiver = call.receiver()?;
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
        if let Kind::Closure(body) = &default.value.kind {
            each_expr(body, &mut literal);
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
        ],
    )
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
        if let Kind::Call(call) = &expr.kind
            && let Some((name, default, is_empty)) = defaulted(call)
            && is_signing(name)
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

pub(super) fn in_code(look: &Look<'_, '_>) -> Vec<Hit> {
    let mut hits = Vec::new();
    for call in look.flow.calls() {
        if !mac_made::is_constructor(call.val.expr) {
            continue;
        }
        let Some(key) = call.call.arg(0, "key") else {
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
