//! Rules about statements of SQL that follow each other.

use super::{
    look::{Hit, Look},
    statement::{Sort, Statement, statement},
};
use crate::audit::{
    flow::{RegionKind, Val},
    tree::Kind,
    values::At,
    words,
};

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
                    Sort::Change => !it.is_conditional(),
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
            (read.at, "a row is read here, without a lock"),
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

/// Returns whether the write is in a loop over what was read.
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
