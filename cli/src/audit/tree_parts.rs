//! The parts of a piece of a tree by itself: its names, its text, and the pieces inside.

use super::tree::{Act, Call, Expr, Kind, Param, Stmt, first};

impl<'s> Expr<'s> {
    pub(super) fn is_name(&self, names: &[&str]) -> bool {
        matches!(self.kind, Kind::Name(name) if names.contains(&name))
    }

    /// The name behind awaits and `?`.
    pub(super) fn name(&self) -> Option<&'s str> {
        match self.bare().kind {
            Kind::Name(name) => Some(name),
            _ => None,
        }
    }

    /// Without awaits and `?`.
    pub(super) fn bare(&self) -> &Self {
        let mut bare = self;
        while let Kind::Await(inner) | Kind::Try(inner) = &bare.kind {
            bare = inner;
        }
        bare
    }

    pub(super) fn call(&self) -> Option<&Call<'s>> {
        match &self.bare().kind {
            Kind::Call(call) => Some(call),
            _ => None,
        }
    }

    /// The names of a path or a chain of calls: `Post.objects.filter(…).first()` is `Post`,
    /// `objects`, `filter`, `first`.
    pub(super) fn chain(&self) -> Vec<&'s str> {
        let mut names = Vec::new();
        let mut at = self;
        loop {
            at = match &at.kind {
                Kind::Name(name) => {
                    names.push(*name);
                    break;
                }
                Kind::Member(inner, name) => {
                    names.push(*name);
                    inner
                }
                Kind::Call(call) => &call.func,
                Kind::Index(both) => first(both),
                Kind::Await(inner) | Kind::Try(inner) => inner,
                _ => break,
            };
        }
        names.reverse();
        names
    }

    /// `object.member` in words, where it is made of names alone.
    pub(super) fn dotted(&self) -> Option<String> {
        match &self.kind {
            Kind::Name(name) => Some((*name).to_owned()),
            Kind::Member(inner, name) => Some(format!("{}.{name}", inner.dotted()?)),
            Kind::Await(inner) | Kind::Try(inner) => inner.dotted(),
            _ => None,
        }
    }

    /// The content of a literal: without prefix and quotes, escapes as they are written.
    pub(super) fn text(&self) -> Option<&'s str> {
        match self.kind {
            Kind::Text(text) => Some(content(text)),
            _ => None,
        }
    }

    /// Visits this expression and all in it, except the statements of blocks and closures.
    pub(super) fn walk<'a>(&'a self, visit: &mut impl FnMut(&'a Expr<'s>)) {
        visit(self);
        self.children(&mut |child| child.walk(visit));
    }

    pub(super) fn children<'a>(&'a self, visit: &mut impl FnMut(&'a Expr<'s>)) {
        match &self.kind {
            Kind::Name(_) | Kind::Text(_) | Kind::Number(_) | Kind::Block(_) | Kind::Closure(_) => {
            }
            Kind::Member(inner, _) | Kind::Not(inner) | Kind::Await(inner) | Kind::Try(inner) => {
                visit(inner);
            }
            Kind::Index(both)
            | Kind::Compare(_, both)
            | Kind::Binary(_, both)
            | Kind::Let(both) => both.iter().for_each(visit),
            Kind::Choice(three) => three.iter().for_each(visit),
            Kind::Call(call) => {
                visit(&call.func);
                call.args.iter().for_each(|arg| visit(&arg.value));
            }
            Kind::Format(all) | Kind::Logic(all) | Kind::Many(all) => all.iter().for_each(visit),
            Kind::Record(pairs) => {
                for (key, value) in pairs {
                    visit(key);
                    visit(value);
                }
            }
        }
    }
}

impl<'s> Stmt<'s> {
    /// The statements inside, suite by suite.
    pub(super) fn suites(&self) -> Vec<&[Stmt<'s>]> {
        match &self.act {
            Act::If {
                body, otherwise, ..
            } => vec![body, otherwise],
            Act::Match { arms, .. } => arms.iter().map(|it| it.1.as_slice()).collect(),
            Act::Loop { body, .. } | Act::With { body, .. } => vec![body],
            Act::Try {
                body,
                handlers,
                finally,
            } => {
                let handled = handlers.iter().map(|it| it.body.as_slice());
                [body.as_slice(), finally]
                    .into_iter()
                    .chain(handled)
                    .collect()
            }
            _ => Vec::new(),
        }
    }
}

impl Param<'_> {
    /// Returns whether the parameter sets this name.
    pub(super) fn binds(&self, name: &str) -> bool {
        let mut binds = false;
        self.target.walk(&mut |it| binds |= it.is_name(&[name]));
        binds
    }
}

impl<'s> Call<'s> {
    pub(super) fn arg(&self, place: usize, name: &str) -> Option<&Expr<'s>> {
        let named = self.args.iter().find(|arg| arg.name == Some(name));
        let placed = || self.args.iter().filter(|arg| arg.name.is_none()).nth(place);
        named.or_else(placed).map(|arg| &arg.value)
    }

    pub(super) fn named(&self, name: &str) -> Option<&Expr<'s>> {
        let named = self.args.iter().find(|arg| arg.name == Some(name));
        named.map(|arg| &arg.value)
    }

    /// The object of a method.
    pub(super) fn receiver(&self) -> Option<&Expr<'s>> {
        match &self.func.kind {
            Kind::Member(inner, _) => Some(inner),
            Kind::Index(both) => match &first(both).kind {
                Kind::Member(inner, _) => Some(inner),
                _ => None,
            },
            _ => None,
        }
    }

    /// The last name of the function.
    pub(super) fn last(&self) -> &'s str {
        match &self.func.kind {
            Kind::Name(name) | Kind::Member(_, name) => name,
            Kind::Index(both) => match first(both).kind {
                Kind::Name(name) | Kind::Member(_, name) => name,
                _ => "",
            },
            _ => "",
        }
    }
}

fn content(literal: &str) -> &str {
    let start = literal.find(['"', '\'']).unwrap_or(0);
    let (prefix, rest) = literal.split_at(start);
    let hashes = prefix.matches('#').count();
    let rest = rest.get(..rest.len().saturating_sub(hashes)).unwrap_or("");
    for quote in ["\"\"\"", "'''", "\"", "'"] {
        if let Some(inner) = rest.strip_prefix(quote) {
            return inner.strip_suffix(quote).unwrap_or(inner);
        }
    }
    literal
}
