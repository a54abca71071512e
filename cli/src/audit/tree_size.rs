//! How many bytes a tree holds.

use std::mem::size_of;

use super::tree::{
    Act, Arg, Call, Class, Comment, Expr, Function, Handler, Kind, Param, Stmt, Tree,
};

impl Tree<'_> {
    /// The bytes behind the tree, without the text that it borrows from.
    pub(super) fn size(&self) -> usize {
        stmts(&self.body)
            + self.comments.capacity() * size_of::<Comment>()
            + self.imports.capacity() * size_of::<super::tree::Import<'_>>()
    }
}

fn stmts(all: &[Stmt<'_>]) -> usize {
    all.iter()
        .map(|it| size_of::<Stmt<'_>>() + act(&it.act))
        .sum()
}

fn act(act: &Act<'_>) -> usize {
    match act {
        Act::Set { target, value, .. } => behind(target) + behind(value),
        Act::Do(it) | Act::Yield(it) | Act::Return(Some(it)) | Act::Raise(Some(it)) => behind(it),
        Act::Return(None) | Act::Raise(None) | Act::Leave => 0,
        Act::If {
            test,
            body,
            otherwise,
        } => behind(test) + stmts(body) + stmts(otherwise),
        Act::Match { subject, arms } => {
            let arm = |it: &(Expr<'_>, Vec<Stmt<'_>>)| {
                size_of::<(Expr<'_>, Vec<Stmt<'_>>)>() + behind(&it.0) + stmts(&it.1)
            };
            behind(subject) + arms.iter().map(arm).sum::<usize>()
        }
        Act::Loop { head, test, body } => {
            let head = head
                .as_ref()
                .map_or(0, |(one, other)| behind(one) + behind(other));
            head + test.as_ref().map_or(0, behind) + stmts(body)
        }
        Act::With { items, body } => {
            let item = |it: &(Expr<'_>, Option<Expr<'_>>)| {
                size_of::<(Expr<'_>, Option<Expr<'_>>)>()
                    + behind(&it.0)
                    + it.1.as_ref().map_or(0, behind)
            };
            items.iter().map(item).sum::<usize>() + stmts(body)
        }
        Act::Try {
            body,
            handlers,
            finally,
        } => {
            let handler = |it: &Handler<'_>| {
                size_of::<Handler<'_>>() + it.kind.as_ref().map_or(0, behind) + stmts(&it.body)
            };
            stmts(body) + handlers.iter().map(handler).sum::<usize>() + stmts(finally)
        }
        Act::Function(it) => {
            let param = |it: &Param<'_>| {
                size_of::<Param<'_>>()
                    + behind(&it.target)
                    + it.annotation.as_ref().map_or(0, behind)
                    + it.default.as_ref().map_or(0, behind)
            };
            size_of::<Function<'_>>()
                + it.params.iter().map(param).sum::<usize>()
                + exprs(&it.decorators)
                + stmts(&it.body)
        }
        Act::Class(it) => {
            size_of::<Class<'_>>() + exprs(&it.bases) + exprs(&it.decorators) + stmts(&it.body)
        }
    }
}

fn exprs(all: &[Expr<'_>]) -> usize {
    all.iter()
        .map(|it| size_of::<Expr<'_>>() + behind(it))
        .sum()
}

/// The bytes behind an expression, without its own.
fn behind(expr: &Expr<'_>) -> usize {
    let mut size = match &expr.kind {
        Kind::Block(body) | Kind::Closure(body) => stmts(body),
        Kind::Call(call) => size_of::<Call<'_>>() + call.args.len() * size_of::<Arg<'_>>(),
        _ => 0,
    };
    let is_call = matches!(expr.kind, Kind::Call(_));
    expr.children(&mut |child| {
        // The function and the arguments of a call lie in the call.
        let own = if is_call { 0 } else { size_of::<Expr<'_>>() };
        size += own + behind(child);
    });
    size
}
