//! One atomic step in place of a look-up and a record: `cache.add`, `SET … NX`.

use super::super::look::Look;
use crate::audit::{
    finding::Fix,
    flow::CallAt,
    span::Span,
    tree::{Act, Call, Compare, Expr, Kind, Language, Stmt, second},
    values::At,
    words,
};

/// The record is made if it is not there, and who finds it there is turned away as the look-up does.
/// The look-up stays: nothing is recorded earlier than before.
pub(in crate::audit::rules) fn recorded_in_one_step(
    look: &Look<'_, '_>,
    write: &CallAt<'_>,
    test: At<'_>,
) -> Option<Fix> {
    let file = look.flow.file(write.val.frame);
    let it = look.flow.project.files.get(file)?;
    let function = look.flow.frames.get(write.val.frame as usize)?.function?;
    if it.language != Language::Python || !says_it_was_there(test.val.expr) {
        return None;
    }
    let (refusal, record) = suite(&function.body, test.val.expr.span, write.val.expr.span)?;
    let (first, last) = (refusal.first()?, refusal.last()?);
    if !matches!(last.act, Act::Return(_) | Act::Raise(_) | Act::Leave) {
        return None;
    }
    let indent = |at: u32| {
        let before = it.text.get(..at as usize)?;
        let line = before.get(before.rfind('\n').map_or(0, |it| it + 1)..)?;
        line.trim().is_empty().then_some(line)
    };
    let outer = indent(record.start)?;
    let inner = indent(first.span.start).map_or_else(|| format!("{outer}    "), str::to_owned);
    let refused = it.text.get(first.span.to(last.span).range())?;
    let call = write.val.expr.span;
    let before = it.text.get(record.start as usize..call.start as usize)?;
    let once = once(look, it.text, write)?;
    Some(Fix {
        file,
        edits: vec![(record, format!("if not {before}{once}:\n{inner}{refused}"))],
        is_safe: false,
    })
}

/// `seen`, `cache.get(key)`, `seen is not None`.
fn says_it_was_there(test: &Expr<'_>) -> bool {
    match &test.kind {
        Kind::Name(_) | Kind::Call(_) | Kind::Await(_) => true,
        Kind::Compare(Compare::IsNot, both) => second(both).is_name(&["None"]),
        _ => false,
    }
}

/// Returns what is done if it was there, and the statement that records: both in one suite.
fn suite<'a>(body: &'a [Stmt<'a>], test: Span, write: Span) -> Option<(&'a [Stmt<'a>], Span)> {
    let refusal = body.iter().find_map(|it| match &it.act {
        Act::If {
            test: own,
            body,
            otherwise,
        } if own.span == test && otherwise.is_empty() => Some(body),
        _ => None,
    });
    if let Some(refusal) = refusal {
        let record = body
            .iter()
            .find(|it| matches!(&it.act, Act::Do(expr) if expr.bare().span == write));
        return Some((refusal, record?.span));
    }
    body.iter()
        .flat_map(Stmt::suites)
        .find_map(|it| suite(it, test, write))
}

/// The call that records only what is new, and says whether it was.
fn once(look: &Look<'_, '_>, text: &str, write: &CallAt<'_>) -> Option<String> {
    let call: &Call<'_> = write.call;
    let arg = |it: &Expr<'_>| text.get(it.span.range());
    let last = call.last();
    let func = text.get(call.func.span.range())?;
    let object = func.strip_suffix(last)?;
    let args = text.get(call.func.span.end as usize..write.val.expr.span.end as usize)?;
    let resolved = call
        .receiver()
        .map(|it| look.flow.resolved(look.piece(write, it)).val.expr);
    let is_redis = ["ex", "px"].iter().any(|it| call.named(it).is_some())
        || words::has_word(object, &["redis", "valkey", "rdb"])
        || resolved.is_some_and(|it| {
            let names = ["redis", "valkey", "rdb"];
            it.chain().iter().any(|it| words::has_word(it, &names))
        });
    Some(match last {
        "sadd" => format!("{func}{args}"),
        "setex" | "psetex" => {
            let (key, time, value) = (
                call.arg(0, "name")?,
                call.arg(1, "time")?,
                call.arg(2, "value")?,
            );
            let unit = if last == "setex" { "ex" } else { "px" };
            format!(
                "{object}set({}, {}, nx=True, {unit}={})",
                arg(key)?,
                arg(value)?,
                arg(time)?
            )
        }
        "set" if is_redis => {
            let open = args.strip_suffix(')')?.trim_end().trim_end_matches(',');
            format!("{func}{open}, nx=True)")
        }
        "set" | "aset" if is_of_django(look, write) => {
            format!("{object}{}{args}", last.replace("set", "add"))
        }
        _ => return None,
    })
}

fn is_of_django(look: &Look<'_, '_>, write: &CallAt<'_>) -> bool {
    let file = look.flow.project.files.get(look.flow.file(write.val.frame));
    file.is_some_and(|it| {
        it.tree
            .imports
            .iter()
            .any(|it| it.module.starts_with("django"))
    })
}
