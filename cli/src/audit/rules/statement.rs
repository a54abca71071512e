//! Statements of a database: in SQL, or built by the methods of Diesel and SeaORM.

use super::look::Look;
use crate::audit::{
    flow::CallAt,
    tree::{Call, Expr, Kind, Language},
    values::At,
    words,
};

/// A statement in the code.
pub(super) struct Statement<'a> {
    pub(super) at: At<'a>,
    pub(super) table: String,
    pub(super) kind: Sort,
    /// In lower case. For a query builder, the SQL that its calls mean.
    pub(super) text: String,
}

#[derive(Clone, Copy, PartialEq)]
pub(super) enum Sort {
    Select,
    Change,
    Insert,
}

impl Statement<'_> {
    /// Returns whether a statement changes only rows that are still as they were checked.
    pub(super) fn is_conditional(&self) -> bool {
        let Some((_, condition)) = self.text.split_once(" where ") else {
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
}

/// The statement that a call runs.
pub(super) fn statement<'a>(look: &Look<'_, 'a>, call: &CallAt<'a>) -> Option<Statement<'a>> {
    written(look, call).or_else(|| built(look, call))
}

/// In words of SQL.
fn written<'a>(look: &Look<'_, 'a>, call: &CallAt<'a>) -> Option<Statement<'a>> {
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

/// By a builder: `accounts.find(id).first(conn)`,
/// `diesel::update(accounts.find(id)).set(…).execute(conn)`, `Order::find_by_id(id).one(db)`,
/// `Order::update_many().filter(…).exec(db)`.
fn built<'a>(look: &Look<'_, 'a>, call: &CallAt<'a>) -> Option<Statement<'a>> {
    let runs = [
        "first",
        "get_result",
        "load",
        "execute",
        "get_results",
        "one",
        "exec",
    ];
    let file = look
        .flow
        .project
        .files
        .get(look.flow.file(call.val.frame))?;
    let is_rust = file.language == Language::Rust;
    if !is_rust || call.call.args.len() != 1 || !runs.contains(&call.call.last()) {
        return None;
    }
    let links = links(call.call);
    let chain = call.call.func.chain();
    let start = |names: &[&str]| {
        let found = links.iter().find(|it| names.contains(&it.last()));
        found
            .copied()
            .filter(|it| it.receiver().is_none_or(|it| it.call().is_none()))
    };
    let of = |expr: &'a Expr<'a>| target(look, look.piece(call, expr));
    let (kind, (table, inner)) = if let Some(start) = start(&["update", "delete"]) {
        (Sort::Change, of(&start.args.first()?.value)?)
    } else if let Some(start) = start(&["insert_into"]) {
        (Sort::Insert, of(&start.args.first()?.value)?)
    } else if start(&["update_many", "delete_many", "delete_by_id"]).is_some() {
        (Sort::Change, (table(&chain)?, Vec::new()))
    } else {
        (Sort::Select, (table(&chain)?, Vec::new()))
    };
    // Each condition, in the words of SQL.
    let text = |it: &Expr<'_>| file.text.get(it.span.range()).unwrap_or_default();
    let mut words = String::new();
    for link in links.iter().copied().chain(inner) {
        let joint = if words.contains(" where ") {
            " and "
        } else {
            " where "
        };
        words += match link.last() {
            "find" | "find_by_id" | "delete_by_id" if !link.args.is_empty() => joint,
            "filter" => joint,
            "for_update" | "for_no_key_update" | "lock_exclusive" | "lock_with_behavior" => {
                " for update "
            }
            "for_share" | "lock_shared" => " for share ",
            "on_conflict" | "on_conflict_do_nothing" => " on conflict ",
            "count" => " count(*) ",
            "inner_join" | "left_join" => " join ",
            _ => continue,
        };
        for arg in link.args.iter().filter(|_| link.last() == "filter") {
            words += &text(&arg.value)
                .to_ascii_lowercase()
                .replace(".and(", " and ");
        }
    }
    Some(Statement {
        at: look.at(call),
        table,
        kind,
        text: words,
    })
}

/// The calls of a chain, from the last to the first.
fn links<'a>(call: &'a Call<'a>) -> Vec<&'a Call<'a>> {
    let mut links = vec![call];
    let mut at = call;
    while let Some(inner) = at.receiver().and_then(Expr::call) {
        links.push(inner);
        at = inner;
    }
    links
}

/// The table that a statement changes, and the conditions inside: `accounts.find(id)`, `&account`.
fn target<'a>(look: &Look<'_, 'a>, at: At<'a>) -> Option<(String, Vec<&'a Call<'a>>)> {
    let expr = at.val.expr;
    if let Some(name) = expr.name() {
        let all = look.flow.definitions_of(name, at.val.frame, at.step);
        let read = all.into_iter().find_map(|it| {
            let mut call = it.val.expr.call()?;
            while !["first", "get_result", "load"].contains(&call.last()) {
                call = call.receiver()?.call()?;
            }
            table(&call.func.chain())
        });
        return Some((
            read.unwrap_or_else(|| name.to_ascii_lowercase()),
            Vec::new(),
        ));
    }
    let links = expr.call().map_or_else(Vec::new, links);
    Some((table(&expr.chain())?, links))
}

/// `schema::accounts::table.filter` and `accounts.find` are of `accounts`, `Order::find_by_id` and
/// `order::Entity::find` of `order`.
fn table(chain: &[&str]) -> Option<String> {
    let methods = [
        "table",
        "find",
        "filter",
        "select",
        "find_by_id",
        "inner_join",
        "left_join",
        "order",
        "count",
        "for_update",
        "update_many",
        "delete_many",
        "delete_by_id",
        "Entity",
    ];
    let first = chain.iter().position(|it| methods.contains(it))?;
    let name = chain.get(first.checked_sub(1)?)?;
    Some(name.to_ascii_lowercase())
}
