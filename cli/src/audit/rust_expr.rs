//! Reads the expressions of Rust; statements are in `rust_stmt.rs`, patterns and macros in
//! `rust_pattern.rs`.

use syn::{BinOp, Lit, UnOp};

use super::{
    aliases::Aliases,
    span::Span,
    tree::{Arg, Call, Compare, DEPTH, Expr, Kind, Operator},
};

/// How many segments of a path are read, from its end.
const PATH: usize = 16;

#[derive(Clone, Copy)]
pub(super) struct Reader<'r, 's> {
    pub(super) text: &'s str,
    /// How many bytes at the start of the text the parser has not seen.
    pub(super) skipped: usize,
    pub(super) aliases: &'r Aliases<'s>,
}

impl<'s> Reader<'_, 's> {
    pub(super) fn span_of(&self, span: proc_macro2::Span) -> Span {
        let range = span.byte_range();
        let place = |at: usize| u32::try_from(at + self.skipped).unwrap_or(u32::MAX);
        Span {
            start: place(range.start),
            end: place(range.end),
        }
    }

    pub(super) fn slice(&self, span: proc_macro2::Span) -> &'s str {
        let text = self
            .text
            .get(self.span_of(span).range())
            .unwrap_or_default();
        text.strip_prefix("r#").unwrap_or(text)
    }

    pub(super) fn name_at(&self, at: proc_macro2::Span) -> Expr<'s> {
        Expr {
            span: self.span_of(at),
            kind: Kind::Name(self.slice(at)),
        }
    }

    pub(super) fn path(&self, path: &syn::Path) -> Expr<'s> {
        let mut made: Option<Expr<'s>> = None;
        let skipped = path.segments.len().saturating_sub(PATH);
        for segment in path.segments.iter().skip(skipped) {
            let mut name = self.name_at(segment.ident.span());
            if made.is_none()
                && let Kind::Name(text) = name.kind
                && let Some(original) = self.aliases.original(text)
            {
                name.kind = Kind::Name(original.name);
            }
            made = Some(match (made, &name.kind) {
                (Some(before), Kind::Name(text)) => Expr {
                    span: before.span.to(name.span),
                    kind: Kind::Member(Box::new(before), text),
                },
                _ => name,
            });
        }
        made.unwrap_or_else(|| nothing(Span { start: 0, end: 0 }))
    }

    pub(super) fn expr(&self, expr: &syn::Expr, depth: usize) -> Expr<'s> {
        if depth >= DEPTH {
            return nothing(Span { start: 0, end: 0 });
        }
        let depth = depth + 1;
        let read = |it: &syn::Expr| self.expr(it, depth);
        match expr {
            syn::Expr::Paren(it) => read(&it.expr),
            syn::Expr::Group(it) => read(&it.expr),
            syn::Expr::Reference(it) => read(&it.expr),
            syn::Expr::Cast(it) => read(&it.expr),
            syn::Expr::Path(it) => self.path(&it.path),
            syn::Expr::Lit(it) => self.literal(&it.lit),
            syn::Expr::Unary(it) => {
                let inner = read(&it.expr);
                match &it.op {
                    UnOp::Not(token) => Expr {
                        span: self.span_of(token.span).to(inner.span),
                        kind: Kind::Not(Box::new(inner)),
                    },
                    UnOp::Deref(_) => inner,
                    _ => Expr {
                        span: inner.span,
                        kind: Kind::Many(vec![inner]),
                    },
                }
            }
            syn::Expr::Field(it) => {
                let base = read(&it.base);
                let (at, name) = match &it.member {
                    syn::Member::Named(ident) => {
                        (self.span_of(ident.span()), self.slice(ident.span()))
                    }
                    syn::Member::Unnamed(index) => {
                        (self.span_of(index.span), self.slice(index.span))
                    }
                };
                Expr {
                    span: base.span.to(at),
                    kind: Kind::Member(Box::new(base), name),
                }
            }
            syn::Expr::Index(it) => {
                let (base, index) = (read(&it.expr), read(&it.index));
                let span = base.span.to(self.span_of(it.bracket_token.span.close()));
                Expr {
                    span,
                    kind: Kind::Index(Box::new([base, index])),
                }
            }
            syn::Expr::Await(it) => {
                let base = read(&it.base);
                let span = base.span.to(self.span_of(it.await_token.span));
                Expr {
                    span,
                    kind: Kind::Await(Box::new(base)),
                }
            }
            syn::Expr::Try(it) => {
                let base = read(&it.expr);
                let span = base.span.to(self.span_of(it.question_token.span));
                Expr {
                    span,
                    kind: Kind::Try(Box::new(base)),
                }
            }
            syn::Expr::Call(it) => {
                let func = read(&it.func);
                let span = func.span.to(self.span_of(it.paren_token.span.close()));
                call(span, func, it.args.iter().map(read))
            }
            syn::Expr::MethodCall(it) => {
                let receiver = read(&it.receiver);
                let name = it.method.span();
                let func = Expr {
                    span: receiver.span.to(self.span_of(name)),
                    kind: Kind::Member(Box::new(receiver), self.slice(name)),
                };
                let span = func.span.to(self.span_of(it.paren_token.span.close()));
                call(span, func, it.args.iter().map(read))
            }
            syn::Expr::Macro(it) => self.macro_(&it.mac, depth),
            syn::Expr::Binary(it) => self.binary(it, depth),
            syn::Expr::Let(it) => {
                let (target, value) = (self.pattern(&it.pat, depth), read(&it.expr));
                let span = self.span_of(it.let_token.span).to(value.span);
                Expr {
                    span,
                    kind: Kind::Let(Box::new([target, value])),
                }
            }
            syn::Expr::Closure(it) => {
                let mut body = Vec::new();
                self.stmt_expr(&it.body, true, depth, &mut body);
                let start = self.span_of(it.inputs_begin.span);
                let span = body.last().map_or(start, |last| start.to(last.span));
                Expr {
                    span,
                    kind: Kind::Closure(body),
                }
            }
            syn::Expr::Async(it) => Expr {
                span: self.span_of(it.async_token.span),
                kind: Kind::Block(self.block(&it.block, depth)),
            },
            syn::Expr::Struct(it) => {
                let path = self.path(&it.path);
                let pairs = it.fields.iter().map(|field| {
                    let key = match &field.member {
                        syn::Member::Named(ident) => self.ident(ident),
                        syn::Member::Unnamed(index) => self.name_at(index.span),
                    };
                    (key, read(&field.expr))
                });
                let span = path.span.to(self.span_of(it.brace_token.span.close()));
                Expr {
                    span,
                    kind: Kind::Record(pairs.collect()),
                }
            }
            syn::Expr::Array(it) => Expr {
                span: self.span_of(it.bracket_token.span.join()),
                kind: Kind::Many(it.elems.iter().map(read).collect()),
            },
            syn::Expr::Tuple(it) => Expr {
                span: self.span_of(it.paren_token.span.join()),
                kind: Kind::Many(it.elems.iter().map(read).collect()),
            },
            syn::Expr::Repeat(it) => read(&it.expr),
            syn::Expr::Range(it) => {
                let many: Vec<_> = it.start.iter().chain(&it.end).map(|it| read(it)).collect();
                let span = many.first().map_or(Span { start: 0, end: 0 }, |it| it.span);
                Expr {
                    span,
                    kind: Kind::Many(many),
                }
            }
            syn::Expr::If(_)
            | syn::Expr::Match(_)
            | syn::Expr::Block(_)
            | syn::Expr::Unsafe(_)
            | syn::Expr::ForLoop(_)
            | syn::Expr::While(_)
            | syn::Expr::Loop(_)
            | syn::Expr::Return(_)
            | syn::Expr::Break(_)
            | syn::Expr::Continue(_)
            | syn::Expr::Assign(_) => {
                let mut body = Vec::new();
                self.stmt_expr(expr, true, depth, &mut body);
                let span = match (body.first(), body.last()) {
                    (Some(first), Some(last)) => first.span.to(last.span),
                    _ => Span { start: 0, end: 0 },
                };
                Expr {
                    span,
                    kind: Kind::Block(body),
                }
            }
            _ => nothing(Span { start: 0, end: 0 }),
        }
    }

    fn binary(&self, it: &syn::ExprBinary, depth: usize) -> Expr<'s> {
        let (left, right) = (self.expr(&it.left, depth), self.expr(&it.right, depth));
        let span = left.span.to(right.span);
        let both = Box::new([left, right]);
        let compared = |compare, both| Kind::Compare(compare, both);
        let kind = match it.op {
            BinOp::Eq(_) => compared(Compare::Equal, both),
            BinOp::Ne(_) => compared(Compare::NotEqual, both),
            BinOp::Lt(_) => compared(Compare::Less, both),
            BinOp::Le(_) => compared(Compare::LessOrEqual, both),
            BinOp::Gt(_) => compared(Compare::Greater, both),
            BinOp::Ge(_) => compared(Compare::GreaterOrEqual, both),
            BinOp::And(_) | BinOp::Or(_) => Kind::Logic(Vec::from(*both)),
            BinOp::Add(_) => Kind::Binary(Operator::Add, both),
            BinOp::Sub(_) => Kind::Binary(Operator::Subtract, both),
            BinOp::Mul(_) => Kind::Binary(Operator::Multiply, both),
            BinOp::Div(_) => Kind::Binary(Operator::Divide, both),
            _ => Kind::Binary(Operator::Other, both),
        };
        Expr { span, kind }
    }

    pub(super) fn literal(&self, lit: &Lit) -> Expr<'s> {
        let at = lit.span();
        let text = self.text.get(self.span_of(at).range()).unwrap_or_default();
        let kind = match lit {
            Lit::Str(_) | Lit::ByteStr(_) | Lit::CStr(_) | Lit::Char(_) | Lit::Byte(_) => {
                Kind::Text(text)
            }
            Lit::Int(_) | Lit::Float(_) => Kind::Number(text),
            _ => Kind::Name(text),
        };
        Expr {
            span: self.span_of(at),
            kind,
        }
    }
}

pub(super) fn nothing<'s>(span: Span) -> Expr<'s> {
    Expr {
        span,
        kind: Kind::Many(Vec::new()),
    }
}

pub(super) fn call<'s>(
    span: Span,
    func: Expr<'s>,
    args: impl Iterator<Item = Expr<'s>>,
) -> Expr<'s> {
    let args = args.map(|value| Arg { name: None, value }).collect();
    let is_macro = false;
    Expr {
        span,
        kind: Kind::Call(Box::new(Call {
            func,
            args,
            is_macro,
        })),
    }
}
