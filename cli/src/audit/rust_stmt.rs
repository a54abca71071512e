//! Reads the blocks and statements of Rust.

use syn::BinOp;

use super::{
    rust_expr::Reader,
    tree::{Act, DEPTH, Expr, Kind, Operator, Stmt, guarded},
};

impl<'s> Reader<'_, 's> {
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
    pub(super) fn stmt_expr(
        &self,
        expr: &syn::Expr,
        yields: bool,
        depth: usize,
        into: &mut Vec<Stmt<'s>>,
    ) {
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
                    let guard = match &arm.pat {
                        syn::Pat::Guard(it) => Some(self.expr(&it.guard, depth)),
                        _ => None,
                    };
                    (pattern, guarded(guard, body))
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
