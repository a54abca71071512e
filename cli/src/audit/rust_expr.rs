//! Reads the expressions, patterns and blocks of Rust.

use syn::{BinOp, Lit, Pat, UnOp, parse::Parser as _, punctuated::Punctuated};

use super::tree::{Act, Arg, Call, Compare, DEPTH, Expr, Kind, Operator, Span, Stmt};

/// How many segments of a path are read, from its end.
const PATH: usize = 16;

/// How much deeper the arguments of a macro lie: each macro in another is parsed by itself.
const MACRO: usize = 8;

#[derive(Clone, Copy)]
pub(super) struct Reader<'s> {
    text: &'s str,
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

    fn literal(&self, lit: &Lit) -> Expr<'s> {
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

    /// A macro is a call of its arguments, or of all names in it if they are no expressions.
    fn macro_(&self, mac: &syn::Macro, depth: usize) -> Expr<'s> {
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

    /// What a pattern binds: names, in calls of the variants around them.
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

fn nothing<'s>(span: Span) -> Expr<'s> {
    Expr {
        span,
        kind: Kind::Many(Vec::new()),
    }
}

fn call<'s>(span: Span, func: Expr<'s>, args: impl Iterator<Item = Expr<'s>>) -> Expr<'s> {
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
