//! Objects that are fetched from a database, and the steps that change them for good.

use super::look::Look;
use crate::audit::{
    flow::{Val, What},
    tree::{Expr, Kind},
    values::At,
    words,
};

/// An object that was fetched without a lock.
pub(super) struct Fetched<'a> {
    pub(super) at: At<'a>,
}

const LOCKS: [&str; 6] = [
    "select_for_update",
    "with_for_update",
    "lock_exclusive",
    "lock_with_behavior",
    "for_update",
    "for_no_key_update",
];

/// Returns whether an expression fetches one object from a database.
fn fetches(expr: &Expr<'_>) -> bool {
    let Some(call) = expr.bare().call() else {
        return false;
    };
    let chain = call.func.chain();
    let last = call.last();
    let starts_upper = chain
        .first()
        .is_some_and(|it| it.starts_with(char::is_uppercase));
    match last {
        "get_object_or_404" | "aget_object_or_404" | "get_object" => true,
        "get_or_404" | "first_or_404" | "one_or_404" => {
            chain.contains(&"query") || is_session(&chain)
        }
        "get" | "aget" | "first" | "afirst" | "last" | "latest" | "earliest"
            if chain.contains(&"objects") =>
        {
            true
        }
        "first" | "one" | "one_or_none" | "get" | "scalar" | "scalar_one"
        | "scalar_one_or_none" | "with_for_update"
            if chain.contains(&"query") || has_select(expr) =>
        {
            true
        }
        "get" => {
            is_session(&chain)
                && call.args.len() >= 2
                && call.args.first().is_some_and(|it| {
                    it.value
                        .name()
                        .is_some_and(|it| it.starts_with(char::is_uppercase))
                })
        }
        "scalar" | "scalar_one" | "scalar_one_or_none" => has_select(expr),
        "get_or_none" => starts_upper,
        "one" => chain.contains(&"find_by_id") || chain.contains(&"find"),
        _ => false,
    }
}

pub(super) fn is_session(chain: &[&str]) -> bool {
    chain
        .iter()
        .rev()
        .skip(1)
        .any(|it| ["session", "db", "db_session", "async_session", "sess"].contains(it))
}

fn has_select(expr: &Expr<'_>) -> bool {
    let mut has = false;
    expr.walk(&mut |it| {
        has |= it.call().is_some_and(|call| call.last() == "select");
    });
    has
}

/// The fetch that an object came from.
pub(super) fn origin<'a>(look: &Look<'_, 'a>, at: At<'a>) -> Option<At<'a>> {
    let mut at = at;
    for _ in 0..12 {
        let expr = at.val.expr.bare();
        let here = |expr| At {
            val: Val {
                expr,
                frame: at.val.frame,
            },
            step: at.step,
        };
        if fetches(expr) {
            return Some(here(expr));
        }
        at = if let Some(name) = expr.dotted() {
            let all = look.flow.definitions_of(&name, at.val.frame, at.step);
            all.into_iter().find(|it| it.val.expr.span != expr.span)?
        } else if let Some(call) = expr.call() {
            if let Some(helper) = look.flow.helper_of(here(expr).val) {
                let step = *look.flow.frames.get(helper as usize)?.returns.first()?;
                let What::Return(Some(expr)) = look.flow.step(step)?.what else {
                    return None;
                };
                At {
                    val: Val {
                        expr,
                        frame: helper,
                    },
                    step,
                }
            } else {
                let through = [
                    "into",
                    "into_active_model",
                    "unwrap",
                    "expect",
                    "clone",
                    "ok_or",
                    "ok_or_else",
                    "context",
                    "scalars",
                    "first",
                    "one",
                    "one_or_none",
                    "scalar_one_or_none",
                    "scalar_one",
                    "unwrap_or_else",
                    "scalar",
                    "all",
                ];
                if !through.contains(&call.last()) {
                    return None;
                }
                here(call.receiver()?)
            }
        } else {
            return None;
        };
    }
    None
}

/// Returns whether a lock of the rows is in what a fetch is made of.
fn is_locked(look: &Look<'_, '_>, fetched: At<'_>) -> bool {
    look.is_locked(fetched.step)
}

fn takes_lock<'a>(look: &Look<'_, 'a>, fetched: At<'a>) -> bool {
    look.flow
        .find(fetched, |it| match &it.val.expr.kind {
            Kind::Call(call) => {
                LOCKS.contains(&call.last())
                    || call.named("with_for_update").is_some()
                    || call.func.chain().iter().any(|it| LOCKS.contains(it))
            }
            _ => false,
        })
        .is_some()
}

/// A step that changes a fetched object for good.
pub(super) struct Change<'a> {
    pub(super) at: At<'a>,
    pub(super) fetched: Fetched<'a>,
    pub(super) is_delete: bool,
}

/// Returns whether one process runs alone here: a script, a migration, a job of one host.
pub(super) fn runs_alone(look: &Look<'_, '_>) -> bool {
    const ALONE: [&str; 11] = [
        "migrations",
        "management",
        "scripts",
        "seeds",
        "alembic",
        "examples_of_data",
        "admin.py",
        "fixtures",
        "batch",
        "cron",
        "importers.py",
    ];
    let Some(file) = look.flow.project.files.get(look.flow.root.file) else {
        return false;
    };
    let name = file.path.rsplit('/').next().unwrap_or(file.path);
    words::has_word(
        name,
        &["seed", "load_test", "populate", "superadmin", "superuser"],
    ) || file.path.split('/').any(|part| ALONE.contains(&part))
        || !look.is_handler && file.is_script
}

pub(super) fn changes<'a>(look: &Look<'_, 'a>) -> Vec<Change<'a>> {
    let mut found = Vec::new();
    for call in look.flow.calls() {
        let last = call.call.last();
        let (object, is_delete) = match last {
            "save" | "asave" => (call.call.receiver(), false),
            "delete" | "adelete" | "remove" => match call.call.receiver() {
                Some(receiver)
                    if is_session(&[receiver.chain().as_slice(), &["delete"]].concat()) =>
                {
                    (call.call.args.first().map(|it| &it.value), true)
                }
                receiver => (receiver, true),
            },
            "update" => (call.call.receiver(), false),
            "commit" | "flush" => {
                // The fields that were set on a fetched object before.
                for (number, step) in look.flow.steps() {
                    if number >= call.step {
                        break;
                    }
                    if let What::Set { target, .. } = &step.what
                        && let Kind::Member(object, _) = &target.kind
                        && call.call.receiver().is_some_and(|it| {
                            is_session(&[it.chain().as_slice(), &["commit"]].concat())
                        })
                        && look.flow.reaches(number, call.step)
                    {
                        let object = At {
                            val: Val {
                                expr: object,
                                frame: step.frame,
                            },
                            step: number,
                        };
                        if let Some(at) = origin(look, object) {
                            let at = Fetched { at };
                            let set = At {
                                val: Val {
                                    expr: target,
                                    frame: step.frame,
                                },
                                step: number,
                            };
                            found.push(Change {
                                at: set,
                                fetched: at,
                                is_delete: false,
                            });
                        }
                    }
                }
                continue;
            }
            _ => continue,
        };
        let Some(object) = object else { continue };
        if last == "update"
            && !object
                .chain()
                .iter()
                .any(|it| it.contains("active") || it.contains("model"))
        {
            continue;
        }
        if let Some(at) = origin(look, look.piece(call, object)) {
            let fetched = Fetched { at };
            found.push(Change {
                at: look.at(call),
                fetched,
                is_delete,
            });
        }
    }
    found.retain(|it| {
        it.fetched.at.step < it.at.step
            && !takes_lock(look, it.fetched.at)
            && !is_locked(look, it.at)
            && !is_locked(look, it.fetched.at)
    });
    found
}
