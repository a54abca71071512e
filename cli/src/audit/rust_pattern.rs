//! Reads the patterns and macros of Rust.

use syn::{Pat, parse::Parser as _, punctuated::Punctuated};

use super::{
    rust_expr::{Reader, call, nothing},
    span::Span,
    tree::{Arg, Call, DEPTH, Expr, Kind},
};

/// How much deeper the arguments of a macro lie: each macro in another is parsed by itself.
const MACRO: usize = 8;

impl<'s> Reader<'_, 's> {
    /// A macro is a call of its arguments, or of all names in it if they are no expressions.
    pub(super) fn macro_(&self, mac: &syn::Macro, depth: usize) -> Expr<'s> {
        let func = self.path(&mac.path);
        let span = func.span.to(self.span_of(mac.delimiter.span().close()));
        let parsed =
            Punctuated::<syn::Expr, syn::Token![,]>::parse_terminated.parse2(mac.tokens.clone());
        let mut args: Vec<Expr<'s>> = match &parsed {
            Ok(args) => args.iter().map(|it| self.expr(it, depth + MACRO)).collect(),
            Err(_) => self.names(mac.tokens.clone(), depth),
        };
        let name = func.chain().last().copied().unwrap_or_default();
        if ["format", "format_args", "println", "write", "info", "debug"].contains(&name) {
            let captured: Vec<_> = args.iter().flat_map(captured).collect();
            args.extend(captured);
            if name.starts_with("format") {
                return Expr {
                    span,
                    kind: Kind::Format(args),
                };
            }
        }
        let args = args
            .into_iter()
            .map(|value| Arg { name: None, value })
            .collect();
        let is_macro = true;
        Expr {
            span,
            kind: Kind::Call(Box::new(Call {
                func,
                args,
                is_macro,
            })),
        }
    }

    fn names(&self, tokens: proc_macro2::TokenStream, depth: usize) -> Vec<Expr<'s>> {
        let mut names = Vec::new();
        if depth >= DEPTH {
            return names;
        }
        for token in tokens {
            match token {
                proc_macro2::TokenTree::Ident(ident) => names.push(self.name_at(ident.span())),
                proc_macro2::TokenTree::Group(group) => {
                    names.extend(self.names(group.stream(), depth + 1));
                }
                proc_macro2::TokenTree::Literal(literal) => {
                    let span = self.span_of(literal.span());
                    let text = self.text.get(span.range()).unwrap_or_default();
                    names.push(Expr {
                        span,
                        kind: Kind::Text(text),
                    });
                }
                proc_macro2::TokenTree::Punct(_) => {}
            }
        }
        names
    }

    /// Returns what a pattern binds: names, in calls of the variants around them.
    pub(super) fn pattern(&self, pat: &Pat, depth: usize) -> Expr<'s> {
        if depth >= DEPTH {
            return nothing(Span { start: 0, end: 0 });
        }
        let depth = depth + 1;
        let all = |pats: &Punctuated<Pat, syn::Token![,]>| {
            pats.iter()
                .map(|it| self.pattern(it, depth))
                .collect::<Vec<_>>()
        };
        match pat {
            Pat::Ident(it) => self.ident(&it.ident),
            Pat::Type(it) => self.pattern(&it.pat, depth),
            Pat::Reference(it) => self.pattern(&it.pat, depth),
            Pat::Paren(it) => self.pattern(&it.pat, depth),
            Pat::Guard(it) => self.pattern(&it.pat, depth),
            Pat::Lit(it) => self.literal(&it.lit),
            Pat::Path(it) => {
                let func = self.path(&it.path);
                call(func.span, func, std::iter::empty())
            }
            Pat::Tuple(it) => Expr {
                span: self.span_of(it.paren_token.span.join()),
                kind: Kind::Many(all(&it.elems)),
            },
            Pat::Slice(it) => Expr {
                span: self.span_of(it.bracket_token.span.join()),
                kind: Kind::Many(all(&it.elems)),
            },
            Pat::TupleStruct(it) => {
                let func = self.path(&it.path);
                let span = func.span.to(self.span_of(it.paren_token.span.close()));
                call(span, func, all(&it.elems).into_iter())
            }
            Pat::Struct(it) => {
                let func = self.path(&it.path);
                let span = func.span.to(self.span_of(it.brace_token.span.close()));
                let fields = it.fields.iter().map(|it| self.pattern(&it.pat, depth));
                call(span, func, fields.collect::<Vec<_>>().into_iter())
            }
            Pat::Or(it) => {
                let cases: Vec<_> = it.cases.iter().map(|it| self.pattern(it, depth)).collect();
                let span = cases
                    .first()
                    .map_or(Span { start: 0, end: 0 }, |it| it.span);
                Expr {
                    span,
                    kind: Kind::Many(cases),
                }
            }
            _ => nothing(Span { start: 0, end: 0 }),
        }
    }
}

/// The names in `"{name}.{other:?}"`.
fn captured<'s>(format: &Expr<'s>) -> Vec<Expr<'s>> {
    let Kind::Text(text) = format.kind else {
        return Vec::new();
    };
    let mut names = Vec::new();
    for (at, _) in text.match_indices('{') {
        let rest = text.get(at + 1..).unwrap_or_default();
        let end = rest
            .find(|c: char| !c.is_alphanumeric() && c != '_')
            .unwrap_or(0);
        let name = rest.get(..end).unwrap_or_default();
        let closes = rest.get(end..).is_some_and(|it| it.starts_with(['}', ':']));
        let begins = name
            .chars()
            .next()
            .is_some_and(|c| c.is_alphabetic() || c == '_');
        if closes && begins {
            let start = format.span.start + u32::try_from(at + 1).unwrap_or(0);
            let end = start + u32::try_from(end).unwrap_or(0);
            names.push(Expr {
                span: Span { start, end },
                kind: Kind::Name(name),
            });
        }
    }
    names
}
