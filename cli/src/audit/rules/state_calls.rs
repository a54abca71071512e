//! Rules about transactions, locks and rows that must be unique.

use super::{
    fetched::runs_alone,
    look::{Hit, Look},
    presence::presence,
    state::is_state,
};
use crate::audit::{
    flow::{CallAt, RegionKind, Val, What},
    tree::{Act, Class, Expr, Kind, second},
    values::At,
    words,
};

/// `select_for_update` outside a transaction.
pub(super) fn lock_outside_transaction(look: &Look<'_, '_>) -> Vec<Hit> {
    let mut hits = Vec::new();
    let function = look.flow.function;
    let is_end = look.is_handler || !look.flow.project.is_called(look.flow.root);
    let class = function
        .class
        .and_then(|name| look.flow.project.class(name));
    let in_class =
        class.is_some_and(|(_, class)| class.decorators.iter().any(words::is_transaction));
    // Django sends its signals within the transaction of what it saves and deletes.
    let is_receiver = function
        .decorators
        .iter()
        .any(|it| it.chain().last() == Some(&"receiver"));
    // Where no block is opened, the word tells of a transaction of somebody else.
    let opens = look.flow.regions.iter().any(|it| {
        it.frame == 1 && matches!(it.kind, RegionKind::With(val) if words::is_transaction(val.expr))
    });
    let elsewhere = look.mentions(&["set_autocommit"]) || !opens && look.mentions(&["atomic"]);
    if !is_end || in_class || is_receiver || elsewhere {
        return hits;
    }
    for call in look.flow.calls() {
        let chain = call.call.func.chain();
        let runs = [
            "get", "first", "last", "exists", "count", "update", "aget", "afirst",
        ]
        .contains(&call.call.last());
        if runs
            && chain.contains(&"select_for_update")
            && call.val.frame == 1
            && !look.in_transaction(call.step)
        {
            let at = look.at(call);
            hits.push(look.hit(
                (at, "rows are locked here"),
                (at, "and no transaction is open that would keep the lock"),
                "a lock lives as long as its transaction: outside one, Django refuses it, and other \
                 databases give it back at once",
            ));
        }
    }
    hits
}

/// A task that may run before what it needs is committed.
pub(super) fn task_before_commit(look: &Look<'_, '_>) -> Vec<Hit> {
    let mut hits = Vec::new();
    if look.mentions(&["on_commit", "after_commit"]) {
        return hits;
    }
    for task in look.flow.calls().filter(|call| hands_on(call)) {
        // A task that hands on its own next batch needs no row of this one.
        let frame = look.flow.frames.get(task.val.frame as usize);
        let function = frame.and_then(|it| it.function);
        let receiver = task.call.receiver().and_then(Expr::name);
        if receiver.is_some() && receiver == function.map(|it| it.name) {
            continue;
        }
        let Some(step) = look.flow.step(task.step) else {
            continue;
        };
        let opened = look
            .flow
            .around(step.region)
            .find_map(|(_, it)| match it.kind {
                RegionKind::With(val)
                    if words::is_transaction(val.expr) && val.expr.chain().contains(&"atomic") =>
                {
                    Some(val)
                }
                _ => None,
            });
        let decorated = look
            .flow
            .function
            .decorators
            .iter()
            .find(|it| words::is_transaction(it) && it.chain().contains(&"atomic"));
        let has_written = look
            .flow
            .calls()
            .filter(|call| {
                call.step < task.step
                    && [
                        "save",
                        "create",
                        "update",
                        "get_or_create",
                        "update_or_create",
                        "bulk_create",
                        "add",
                        "flush",
                    ]
                    .contains(&call.call.last())
                    && (call.call.func.chain().contains(&"objects")
                        || call.call.last() == "save"
                        || is_session(call))
                    && look.flow.reaches(call.step, task.step)
            })
            .last();
        let Some(written) = has_written else { continue };
        let committed_later = look.flow.calls().any(|call| {
            call.call.last() == "commit"
                && call.step > task.step
                && look.flow.reaches(task.step, call.step)
        });
        let committed_before = look.flow.calls().any(|call| {
            call.call.last() == "commit" && call.step > written.step && call.step <= task.step
        });
        let in_session = is_session(written) && committed_later && !committed_before;
        let in_django = !is_session(written) && (opened.is_some() || decorated.is_some());
        if in_session || in_django {
            hits.push(look.hit(
                (
                    look.at(written),
                    "written in a transaction that is still open",
                ),
                (
                    look.at(task),
                    "and a task is handed on that may run at once",
                ),
                "the task can start before the commit and not find the row, and runs although the \
                 transaction is rolled back",
            ));
        }
    }
    hits
}

fn is_session(call: &CallAt<'_>) -> bool {
    call.call.receiver().is_some_and(|it| {
        it.chain()
            .last()
            .is_some_and(|it| ["session", "db", "db_session", "async_session"].contains(it))
    })
}

/// The model of a chain: `Coupon.objects.filter(…)`, `Coupon.query.filter_by(…)`,
/// `session.query(Coupon)`, `select(Coupon)`.
fn model<'a>(expr: &'a Expr<'a>) -> Option<&'a str> {
    let chain = expr.chain();
    let is_upper = |it: &&str| it.starts_with(char::is_uppercase);
    // Also `models.Coupon`.
    if let [first, "objects", ..] | [_, first, "objects", ..] = chain.as_slice() {
        return Some(first).filter(|it| is_upper(it)).copied();
    }
    if let [first, "query", ..] | [_, first, "query", ..] = chain.as_slice()
        && is_upper(first)
    {
        return Some(first);
    }
    let mut found = None;
    expr.walk(&mut |it| {
        if let Kind::Call(call) = &it.kind
            && ["query", "select"].contains(&call.last())
            && let Some(arg) = call.args.first()
        {
            found = found.or_else(|| arg.value.chain().into_iter().find(is_upper));
        }
    });
    found
}

/// Returns whether the row that is made has a field that was looked for.
fn share_a_field<'a>(
    look: &Look<'_, 'a>,
    lookup: &CallAt<'a>,
    made: &CallAt<'a>,
    model: &str,
) -> bool {
    // The value by which each field is looked up, if the look-up says so.
    let mut fields: Vec<(&str, Option<&str>)> = Vec::new();
    let text = |expr: &'a Expr<'a>| look.flow.text(look.piece(lookup, expr).val);
    lookup.val.expr.walk(&mut |it| match &it.kind {
        Kind::Call(call) => fields.extend(
            call.args
                .iter()
                .filter_map(|arg| Some((plain(arg.name?), Some(text(&arg.value))))),
        ),
        Kind::Member(inner, name) if inner.is_name(&[model]) => fields.push((plain(name), None)),
        _ => {}
    });
    let is_same = |name: &str, value: &'a Expr<'a>| {
        let value = is_constant_name(look.flow.text(look.piece(made, value).val));
        let is_here = lookup.val.frame == made.val.frame;
        let is_other = |wanted: &str| is_constant_name(wanted) != value && (value || is_here);
        fields
            .iter()
            .any(|(field, wanted)| *field == plain(name) && !wanted.is_some_and(is_other))
    };
    let constructor = match made.call.last() {
        "add" => made
            .call
            .args
            .first()
            .map(|it| look.flow.resolved(look.piece(made, &it.value))),
        "save" => made
            .call
            .receiver()
            .map(|it| look.flow.resolved(look.piece(made, it))),
        _ => Some(look.at(made)),
    };
    let Some(call) = constructor.and_then(|it| it.val.expr.call()) else {
        return false;
    };
    call.args.is_empty()
        || call.args.iter().any(|arg| {
            arg.name
                .is_none_or(|name| name == "**" || is_same(name, &arg.value))
        })
}

/// `NOTIFICATION_SEND` is the name of a constant.
fn is_constant_name(text: &str) -> bool {
    let word = |c: char| c.is_ascii_uppercase() || c == '_' || c.is_ascii_digit();
    text.starts_with(|c: char| c.is_ascii_uppercase()) && text.chars().all(word)
}

/// `email__iexact` and `user_id` name `email` and `user`.
fn plain(field: &str) -> &str {
    let field = field.split("__").next().unwrap_or(field);
    field.strip_suffix("_id").unwrap_or(field)
}

/// `Role.name == "superadmin"`: rows that a start fills in.
fn is_of_a_constant(lookup: &CallAt<'_>) -> bool {
    let (mut constants, mut others) = (0, 0);
    let mut count = |value: &Expr<'_>| match value.kind {
        Kind::Text(_) => constants += 1,
        _ => others += 1,
    };
    lookup.val.expr.walk(&mut |it| match &it.kind {
        Kind::Call(call) => {
            let named = call.args.iter().filter(|it| it.name.is_some());
            named.for_each(|it| count(&it.value));
        }
        Kind::Compare(_, both) => count(second(both)),
        _ => {}
    });
    constants > 0 && others == 0
}

fn looks_up(call: &CallAt<'_>) -> bool {
    let chain = call.call.func.chain();
    match call.call.last() {
        "exists" | "aexists" => chain.contains(&"objects"),
        "first" | "one_or_none" | "scalar_one_or_none" | "scalar" => true,
        _ => false,
    }
}

/// Returns whether a failure of uniqueness is handled around a step.
fn is_caught(look: &Look<'_, '_>, step: u32) -> bool {
    look.mentions(&[
        "integrityerror",
        "uniqueviolation",
        "unique_violation",
        "on_conflict",
        "is_unique_violation",
        "duplicatekey",
        "validationerror(e",
        "ignore_conflicts",
    ]) || look.is_locked(step)
}

pub(super) fn unique_checked_then_inserted(look: &Look<'_, '_>) -> Vec<Hit> {
    let mut hits = Vec::new();
    if runs_alone(look) {
        return hits;
    }
    for (place, lookup) in look.flow.calls().enumerate() {
        if !looks_up(lookup) {
            continue;
        }
        let Some(name) = model(lookup.val.expr) else {
            continue;
        };
        let insert = look.flow.calls_after(place).find(|call| {
            let chain = call.call.func.chain();
            let creates = match call.call.last() {
                "create" | "acreate" | "create_user" => {
                    chain.contains(&name) && chain.contains(&"objects")
                }
                // `session.add(Coupon(…))`, or what was made before.
                "add" => call.call.args.first().is_some_and(|it| {
                    let made = look.flow.resolved(look.piece(call, &it.value));
                    made.val.expr.call().is_some_and(|made| made.last() == name)
                }),
                "save" => call.call.receiver().is_some_and(|it| {
                    let made = look.flow.resolved(look.piece(call, it));
                    made.val.expr.call().is_some_and(|made| made.last() == name)
                }),
                _ => false,
            };
            creates
                && look.flow.reaches(lookup.step, call.step)
                && share_a_field(look, lookup, call, name)
                && is_inserted_if_missing(look, lookup, call)
        });
        let Some(insert) = insert else { continue };
        if is_of_a_constant(lookup) {
            continue;
        }
        if !is_caught(look, insert.step) && !in_loop(look, lookup.step) {
            hits.push(look.hit(
                (look.at(lookup), "looked for here"),
                (look.at(insert), "and inserted here if it was not there"),
                "two requests at the same moment both find nothing: a unique constraint decides, and \
                 its error is handled",
            ));
        }
    }
    hits
}

/// Returns whether a test of what was looked up decides on the insert, and not in favour of it if a
/// row is there.
fn is_inserted_if_missing<'a>(
    look: &Look<'_, 'a>,
    lookup: &CallAt<'a>,
    insert: &CallAt<'a>,
) -> bool {
    let span = lookup.val.expr.span;
    let decided = look.test_between(lookup.step, insert.step, |it| it.val.expr.span == span);
    decided.is_some_and(|test| {
        let is_row = |expr: &'a Expr<'a>| {
            let val = Val {
                expr,
                frame: test.val.frame,
            };
            let row = look.flow.resolved(At {
                val,
                step: test.step,
            });
            row.val.expr.span == span
        };
        let is_there = match &test.val.expr.kind {
            // One of several questions may decide alone.
            Kind::Logic(_) => None,
            Kind::Not(inner) if is_row(inner) => Some(false),
            _ if is_row(test.val.expr) => Some(true),
            _ => presence(test.val.expr, &is_row),
        };
        is_there.is_none() || is_there != look.flow.answer(test.step, insert.step)
    })
}

fn in_loop(look: &Look<'_, '_>, step: u32) -> bool {
    look.flow.step(step).is_some_and(|it| {
        look.flow
            .around(it.region)
            .any(|(_, it)| matches!(it.kind, RegionKind::Loop))
    })
}

pub(super) fn get_or_create_without_unique(look: &Look<'_, '_>) -> Vec<Hit> {
    let mut hits = Vec::new();
    if runs_alone(look) {
        return hits;
    }
    for call in look.flow.calls() {
        let chain = call.call.func.chain();
        let ([name, "objects", "get_or_create" | "update_or_create"], false) =
            (chain.as_slice(), look.is_locked(call.step))
        else {
            continue;
        };
        let Some((file, class)) = look.flow.project.class(name) else {
            continue;
        };
        let fields: Vec<_> = call
            .call
            .args
            .iter()
            .filter_map(|arg| arg.name)
            .filter(|it| *it != "defaults")
            .collect();
        let is_model = class.bases.len() == 1
            && class
                .bases
                .iter()
                .any(|it| it.chain() == ["models", "Model"]);
        if fields.is_empty()
            || !is_model
            || fields.iter().any(|it| it.contains("__") || *it == "**")
            || is_unique(class, &fields)
        {
            continue;
        }
        let at = look.at(call);
        let mut hit = look.hit(
            (at, ""),
            (at, "looked for and made here, by these fields"),
            format!("`{name}` has no unique constraint on {}: two requests at the same moment make two rows", fields.join(", ")),
        );
        if let Some(first) = class.body.first() {
            hit.check.file = file;
            hit.check.span = first.span;
            hit.check.what = "the model, without a unique constraint on them".to_owned();
        }
        hits.push(hit);
    }
    hits
}

/// Returns whether a constraint of the model says that the fields are unique.
fn is_unique(class: &Class<'_>, fields: &[&str]) -> bool {
    class.body.iter().any(|stmt| match &stmt.act {
        Act::Set { target, value, .. } => {
            let Some(call) = value.call() else { return false };
            let unique = ["unique", "primary_key"].iter().any(|it| call.named(it).is_some_and(|it| it.is_name(&["True"])));
            let is_field = target.name().is_some_and(|name| fields.contains(&name) || fields.iter().any(|it| it.strip_suffix("_id") == Some(name)));
            is_field && (unique || call.last() == "OneToOneField") || call.named("unique_for_date").is_some()
        }
        Act::Class(meta) => meta.name == "Meta" && meta.body.iter().any(|it| {
            matches!(&it.act, Act::Set { target, .. } if target.is_name(&["unique_together", "constraints", "abstract"]))
        }),
        _ => false,
    }) || fields.iter().any(|it| ["id", "pk"].contains(it))
}

/// `update` of a serializer that checks the instance which the view has fetched.
pub(super) fn serializer_checks_instance(look: &Look<'_, '_>) -> Vec<Hit> {
    let mut hits = Vec::new();
    let function = look.flow.function;
    let class = function
        .class
        .and_then(|name| look.flow.project.class(name));
    let is_serializer = class.is_some_and(|(_, class)| {
        class.bases.iter().any(|it| {
            it.chain()
                .last()
                .is_some_and(|it| it.ends_with("Serializer"))
        })
    });
    if !is_serializer || function.name != "update" || look.mentions(&["select_for_update"]) {
        return hits;
    }
    // The fields that the update sets, or that say how far something has come.
    let mut set = Vec::new();
    for (_, step) in look.flow.steps() {
        if let What::Set { target, .. } = &step.what
            && let Kind::Member(inner, name) = &target.kind
            && inner.is_name(&["instance"])
        {
            set.push(*name);
        }
    }
    let is_instance = |it: At<'_>| {
        matches!(&it.val.expr.kind, Kind::Member(inner, name)
            if inner.is_name(&["instance"]) && (set.contains(name) || is_state(name)))
    };
    let change = look.flow.calls().find(|call| {
        let of_instance = call
            .call
            .receiver()
            .is_some_and(|it| it.is_name(&["instance"]));
        (call.call.last() == "save" && of_instance)
            || (call.call.last() == "update" && call.call.func.chain() == ["super", "update"])
    });
    if let Some(change) = change
        && let Some(test) = look.test_between(0, change.step, is_instance)
    {
        hits.push(look.hit(
            (test, "the instance is checked as the view fetched it, without a lock"),
            (look.at(change), "and is changed here"),
            "the row can change between the view's fetch and this save: two requests both pass the check",
        ));
    }
    hits
}

/// The call that a task is handed on with. An outbox is a table of the same transaction.
fn hands_on(call: &CallAt<'_>) -> bool {
    let chain = call.call.func.chain();
    let is_outbox = chain.iter().any(|it| words::has_word(it, &["outbox"]));
    !is_outbox
        && [
            "delay",
            "apply_async",
            "send_task",
            "enqueue",
            "enqueue_job",
        ]
        .contains(&call.call.last())
}
