//! Reads the expressions and blocks of Rust; patterns and macros are in `rust_pattern.rs`.

use syn::{BinOp, Lit, UnOp};

use super::tree::{Act, Arg, Call, Compare, DEPTH, Expr, Kind, Operator, Span, Stmt};

/// How many segments of a path are read, from its end.
const PATH: usize = 16;

#[derive(Clone, Copy)]
pub(super) struct Reader<'s> {
    pub(super) text: &'s str,
    skipped: usize,
}

impl<'s> Reader<'s> {
    /// Reads a text whose first bytes the parser has not seen.
    pub(super) fn new(text: &'s str, skipped: usize) -> Self {
        Self { text, skipped }
    }

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
            let name = self.name_at(segment.ident.span());
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

    pub(super) fn block(&self, block: &syn::Block, depth: usize) -> Vec<Stmt<'s>> {
        let mut body = Vec::with_capacity(block.stmts.len());
        if depth >= DEPTH {
            return body;
        }
        let depth = depth + 1;
        for stmt in &block.stmts {
            match stmt {
                syn::Stmt::Local(it) => {
                    let Some(init) = &it.init else { continue };
                    let target = self.pattern(&it.pat, depth);
                    let value = self.expr(&init.expr, depth);
                    let span = self.span_of(it.let_token.span).to(value.span);
                    if let Some((_, otherwise)) = &init.diverge {
                        // `let … else { … }`: the block leaves.
                        let test = Expr {
                            span,
                            kind: Kind::Let(Box::new([target, value])),
                        };
                        let mut left = Vec::new();
                        self.stmt_expr(otherwise, false, depth, &mut left);
                        let act = Act::If {
                            test,
                            body: Vec::new(),
                            otherwise: left,
                        };
                        body.push(Stmt { span, act });
                    } else {
                        let act = Act::Set {
                            target,
                            value,
                            operator: None,
                        };
                        body.push(Stmt { span, act });
                    }
                }
                syn::Stmt::Item(it) => self.item(it, None, depth, &mut body),
                syn::Stmt::Expr(it, semi) => {
                    self.stmt_expr(it, semi.is_none(), depth, &mut body);
                }
                syn::Stmt::Macro(it) => {
                    let made = self.macro_(&it.mac, depth);
                    let span = made.span;
                    let name = it.mac.path.segments.last().map(|it| it.ident.to_string());
                    let leaves = ["panic", "unreachable", "todo", "bail", "unimplemented"];
                    let act = match name {
                        Some(name) if leaves.contains(&name.as_str()) => Act::Raise(Some(made)),
                        _ if it.semi_token.is_none() => Act::Yield(made),
                        _ => Act::Do(made),
                    };
                    body.push(Stmt { span, act });
                }
            }
        }
        body
    }

    /// An expression as a statement: what branches becomes a statement of its own.
    fn stmt_expr(&self, expr: &syn::Expr, yields: bool, depth: usize, into: &mut Vec<Stmt<'s>>) {
        if depth >= DEPTH {
            return;
        }
        let depth = depth + 1;
        let (span, act) = match expr {
            syn::Expr::If(it) => {
                let test = self.expr(&it.cond, depth);
                let mut otherwise = Vec::new();
                if let Some((_, other)) = &it.else_branch {
                    self.stmt_expr(other, yields, depth, &mut otherwise);
                }
                let body = self.block(&it.then_branch, depth);
                let span = self.span_of(it.if_token.span).to(test.span);
                (
                    span,
                    Act::If {
                        test,
                        body,
                        otherwise,
                    },
                )
            }
            syn::Expr::Match(it) => {
                let subject = self.expr(&it.expr, depth);
                let arms = it.arms.iter().map(|arm| {
                    let pattern = self.pattern(&arm.pat, depth);
                    let mut body = Vec::new();
                    self.stmt_expr(&arm.body, true, depth, &mut body);
                    (pattern, body)
                });
                let span = self.span_of(it.match_token.span).to(subject.span);
                let arms = arms.collect();
                (span, Act::Match { subject, arms })
            }
            syn::Expr::ForLoop(it) => {
                let head = (self.pattern(&it.pat, depth), self.expr(&it.expr, depth));
                let span = self.span_of(it.for_token.span).to(head.1.span);
                let body = self.block(&it.body, depth);
                (
                    span,
                    Act::Loop {
                        head: Some(head),
                        test: None,
                        body,
                    },
                )
            }
            syn::Expr::While(it) => {
                let test = self.expr(&it.cond, depth);
                let span = self.span_of(it.while_token.span).to(test.span);
                let body = self.block(&it.body, depth);
                (
                    span,
                    Act::Loop {
                        head: None,
                        test: Some(test),
                        body,
                    },
                )
            }
            syn::Expr::Loop(it) => {
                let span = self.span_of(it.loop_token.span);
                let body = self.block(&it.body, depth);
                (
                    span,
                    Act::Loop {
                        head: None,
                        test: None,
                        body,
                    },
                )
            }
            syn::Expr::Block(it) => {
                into.extend(self.block(&it.block, depth));
                return;
            }
            syn::Expr::Unsafe(it) => {
                into.extend(self.block(&it.block, depth));
                return;
            }
            syn::Expr::Return(it) => {
                let value = it.expr.as_ref().map(|it| self.expr(it, depth));
                (self.span_of(it.return_token.span), Act::Return(value))
            }
            syn::Expr::Break(it) => (self.span_of(it.break_token.span), Act::Leave),
            syn::Expr::Continue(it) => (self.span_of(it.continue_token.span), Act::Leave),
            syn::Expr::Assign(it) => {
                let target = self.expr(&it.left, depth);
                let value = self.expr(&it.right, depth);
                let span = target.span.to(value.span);
                (
                    span,
                    Act::Set {
                        target,
                        value,
                        operator: None,
                    },
                )
            }
            syn::Expr::Binary(it) if assigns(&it.op).is_some() => {
                let target = self.expr(&it.left, depth);
                let value = self.expr(&it.right, depth);
                let span = target.span.to(value.span);
                let operator = assigns(&it.op);
                (
                    span,
                    Act::Set {
                        target,
                        value,
                        operator,
                    },
                )
            }
            _ => {
                let made = self.expr(expr, depth);
                let span = made.span;
                (
                    span,
                    if yields {
                        Act::Yield(made)
                    } else {
                        Act::Do(made)
                    },
                )
            }
        };
        into.push(Stmt { span, act });
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

fn assigns(op: &BinOp) -> Option<Operator> {
    Some(match op {
        BinOp::AddAssign(_) => Operator::Add,
        BinOp::SubAssign(_) => Operator::Subtract,
        BinOp::MulAssign(_) => Operator::Multiply,
        BinOp::DivAssign(_) => Operator::Divide,
        BinOp::RemAssign(_)
        | BinOp::BitAndAssign(_)
        | BinOp::BitOrAssign(_)
        | BinOp::BitXorAssign(_)
        | BinOp::ShlAssign(_)
        | BinOp::ShrAssign(_) => Operator::Other,
        _ => return None,
    })
}
