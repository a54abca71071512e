//! Rules about statements of SQL that follow each other.

use super::look::{Hit, Look};
use crate::audit::{
    flow::{CallAt, RegionKind, Val},
    tree::Kind,
    values::At,
    words,
};

/// A statement of SQL in the code.
struct Statement<'a> {
    at: At<'a>,
    table: String,
    kind: Sort,
    text: String,
}

#[derive(Clone, Copy, PartialEq)]
enum Sort {
    Select,
    Change,
    Insert,
}

fn statement<'a>(look: &Look<'_, 'a>, call: &CallAt<'a>) -> Option<Statement<'a>> {
    let takes = [
        "query",
        "query_as",
        "query_scalar",
        "execute",
        "text",
        "fetchrow",
        "fetchval",
        "fetch",
        "fetch_one",
        "sql_query",
        "raw",
        "fetch_optional",
    ];
    if !takes.contains(&call.call.last()) {
        return None;
    }
    let text = call.call.args.iter().find_map(|arg| {
        let at = look.flow.resolved(look.piece(call, &arg.value));
        match &at.val.expr.kind {
            Kind::Text(text) => Some(*text),
            Kind::Call(inner) if inner.last() == "text" => inner.args.first()?.value.text(),
            _ => None,
        }
    })?;
    let lower = text
        .to_ascii_lowercase()
        .replace(['\n', '\t', '"', '`', '\\', '\''], " ");
    let mut words = lower.split_whitespace();
    let first = words.find(|it| !it.is_empty() && *it != "r#" && *it != "b")?;
    let after = |word: &str| {
        let mut words = lower.split_whitespace();
        words.find(|it| *it == word)?;
        let table = words.next()?.trim_end_matches([';', ',', '(']);
        Some(table.to_owned())
    };
    let (kind, table) = match first {
        "select" => (Sort::Select, after("from")?),
        "update" => (Sort::Change, after("update")?),
        "delete" => (Sort::Change, after("from")?),
        "insert" => (Sort::Insert, after("into")?.split('(').next()?.to_owned()),
        _ => return None,
    };
    Some(Statement {
        at: look.at(call),
        table,
        kind,
        text: lower,
    })
}

/// Whether a statement changes only rows that are still as they were checked.
fn is_conditional(text: &str) -> bool {
    let Some((_, condition)) = text.split_once(" where ") else {
        return false;
    };
    condition.contains(" and ")
        || condition.contains(" in (select")
        || condition.contains(" exists")
        || words::has_word(
            condition,
            &["status", "version", "balance", "state ", ">=", "is null"],
        )
}

pub(super) fn select_then_write(look: &Look<'_, '_>) -> Vec<Hit> {
    let mut hits = Vec::new();
    let path = look
        .flow
        .project
        .files
        .get(look.flow.root.file)
        .map_or("", |it| it.path);
    if words::has_word(path, &["migration", "alembic", "scripts/"]) {
        return hits;
    }
    let statements: Vec<_> = look
        .flow
        .calls()
        .filter_map(|it| statement(look, it))
        .collect();
    let locks = |it: &Statement<'_>| {
        words::has_word(
            &it.text,
            &[
                "for update",
                "for no key",
                "advisory",
                "serializable",
                "for share",
            ],
        )
    };
    if statements.iter().any(locks)
        || look.mentions(&[
            "serializable",
            "begin immediate",
            "isolation",
            "advisory_lock",
            "advisory_xact",
            "lock table",
        ])
    {
        return hits;
    }
    for (place, read) in statements.iter().enumerate() {
        // One row is looked up by its name; who reads all rows fills in or moves data.
        let is_one = read.text.contains(" where ") && !read.table.contains("migration");
        if !is_one
            || read.kind != Sort::Select
            || words::has_word(&read.text, &["count(*)", " join "])
                && !read.text.contains("balance")
        {
            continue;
        }
        let write = statements.iter().skip(place + 1).find(|it| {
            it.table == read.table
                && look.flow.reaches(read.at.step, it.at.step)
                && match it.kind {
                    Sort::Select => false,
                    Sort::Change => !is_conditional(&it.text),
                    Sort::Insert => !words::has_word(
                        &it.text,
                        &[
                            "on conflict",
                            "or ignore",
                            "or replace",
                            "on duplicate",
                            "where not exists",
                        ],
                    ),
                }
        });
        let Some(write) = write else { continue };
        if look.is_locked(write.at.step) || fills_in(look, read.at.step, write.at.step) {
            continue;
        }
        let span = read.at.val.expr.span;
        let decided = look
            .test_between(read.at.step, write.at.step, |it| it.val.expr.span == span)
            .or_else(|| fetched_in_cursor(look, read, write));
        if decided.is_none() {
            continue;
        }
        if write.kind == Sort::Insert
            && look.mentions(&[
                "integrityerror",
                "unique_violation",
                "is_unique_violation",
                "uniqueviolation",
                "23505",
            ])
        {
            continue;
        }
        hits.push(look.hit(
            (read.at, "a row is read here, without `FOR UPDATE`"),
            (
                write.at,
                if write.kind == Sort::Insert {
                    "and inserted here if it was not there"
                } else {
                    "and changed here, without a condition"
                },
            ),
            format!(
                "between the two statements another request changes `{}`: both pass the check",
                read.table
            ),
        ));
    }
    hits
}

/// Whether the write is in a loop over what was read.
fn fills_in(look: &Look<'_, '_>, read: u32, write: u32) -> bool {
    let loops = |step: u32| {
        let region = look.flow.step(step).map_or(0, |it| it.region);
        let all = look.flow.around(region);
        all.filter(|(_, it)| matches!(it.kind, RegionKind::Loop))
            .count()
    };
    loops(write) > loops(read)
}

/// `cursor.execute("SELECT …"); row = cursor.fetchone(); if row …`
fn fetched_in_cursor<'a>(
    look: &Look<'_, 'a>,
    read: &Statement<'a>,
    write: &Statement<'a>,
) -> Option<At<'a>> {
    let receiver = read.at.val.expr.call()?.receiver()?;
    let name = receiver.dotted()?;
    look.test_between(read.at.step, write.at.step, |it| {
        let Kind::Call(call) = &it.val.expr.kind else {
            return false;
        };
        let is_same = call
            .receiver()
            .and_then(crate::audit::tree::Expr::dotted)
            .as_deref()
            == Some(&name);
        ["fetchone", "fetchall", "fetchval"].contains(&call.last())
            && is_same
            && it.step > read.at.step
    })
    .map(|at| At {
        val: Val {
            expr: at.val.expr,
            frame: at.val.frame,
        },
        step: at.step,
    })
}
