//! Reads the expressions and patterns of Python.

use std::mem;

use ruff_python_ast::{self as py, helpers::any_over_expr};
use ruff_text_size::{Ranged, TextRange};

use super::{
    aliases::Scope,
    span::Span,
    tree::{Act, Arg, Call, Compare, DEPTH, Expr, Kind, Operator, Stmt},
};

pub(super) fn span(range: TextRange) -> Span {
    Span {
        start: range.start().to_u32(),
        end: range.end().to_u32(),
    }
}

#[derive(Clone, Copy)]
pub(super) struct Reader<'r, 's> {
    pub(super) text: &'s str,
    pub(super) scope: &'r Scope<'r, 's>,
}

impl<'s> Reader<'_, 's> {
    pub(super) fn slice(self, range: TextRange) -> &'s str {
        self.text.get(span(range).range()).unwrap_or_default()
    }

    pub(super) fn name(self, range: TextRange) -> Expr<'s> {
        Expr {
            span: span(range),
            kind: self.named(range),
        }
    }

    /// Reads a name: an alias of an import becomes its full name.
    fn named(self, range: TextRange) -> Kind<'s> {
        let text = self.slice(range);
        let Some(original) = self.scope.original(text) else {
            return Kind::Name(text);
        };
        let Some(module) = original.module else {
            return Kind::Name(original.name);
        };
        let module = Expr {
            span: span(range),
            kind: Kind::Name(module),
        };
        Kind::Member(Box::new(module), original.name)
    }

    pub(super) fn pattern(self, pattern: &py::Pattern, depth: usize) -> Expr<'s> {
        let at = span(pattern.range());
        let many = |kind| Expr { span: at, kind };
        if depth >= DEPTH {
            return many(Kind::Many(Vec::new()));
        }
        let inner = |all: &[py::Pattern]| {
            all.iter()
                .map(|it| self.pattern(it, depth + 1))
                .collect::<Vec<_>>()
        };
        match pattern {
            py::Pattern::MatchValue(it) => self.expr(&it.value, depth + 1),
            py::Pattern::MatchSequence(it) => many(Kind::Many(inner(&it.patterns))),
            py::Pattern::MatchMapping(it) => many(Kind::Many(inner(&it.patterns))),
            py::Pattern::MatchOr(it) => many(Kind::Many(inner(&it.patterns))),
            py::Pattern::MatchAs(it) => {
                let mut names: Vec<_> = it.name.iter().map(|it| self.name(it.range)).collect();
                names.extend(it.pattern.iter().map(|it| self.pattern(it, depth + 1)));
                many(Kind::Many(names))
            }
            py::Pattern::MatchClass(it) => {
                let mut all = inner(&it.arguments.patterns);
                let keywords = it.arguments.keywords.iter();
                all.extend(keywords.map(|it| self.pattern(&it.pattern, depth + 1)));
                many(Kind::Many(all))
            }
            py::Pattern::MatchSingleton(_) | py::Pattern::MatchStar(_) => {
                many(Kind::Many(Vec::new()))
            }
        }
    }

    #[expect(clippy::too_many_lines, reason = "one arm for each kind of expression")]
    pub(super) fn expr(self, expr: &py::Expr, depth: usize) -> Expr<'s> {
        let at = span(expr.range());
        let made = |kind| Expr { span: at, kind };
        if depth >= DEPTH {
            return made(Kind::Many(Vec::new()));
        }
        let depth = depth + 1;
        let read = |it: &py::Expr| self.expr(it, depth);
        let boxed = |it: &py::Expr| Box::new(self.expr(it, depth));
        let all = |many: &[py::Expr]| many.iter().map(read).collect::<Vec<_>>();
        let comprehension = |first: Vec<Expr<'s>>, generators: &[py::Comprehension]| {
            let mut many = first;
            for generator in generators {
                many.push(read(&generator.iter));
                many.extend(generator.ifs.iter().map(read));
            }
            Kind::Many(many)
        };
        made(match expr {
            py::Expr::BoolOp(it) => Kind::Logic(all(&it.values)),
            py::Expr::Named(it) => Kind::Let(Box::new([read(&it.target), read(&it.value)])),
            py::Expr::BinOp(it) => {
                Kind::Binary(operator(it.op), Box::new([read(&it.left), read(&it.right)]))
            }
            py::Expr::UnaryOp(it) => match it.op {
                py::UnaryOp::Not => Kind::Not(boxed(&it.operand)),
                _ => Kind::Many(vec![read(&it.operand)]),
            },
            py::Expr::Lambda(it) => {
                let value = Stmt {
                    span: span(it.body.range()),
                    act: Act::Yield(read(&it.body)),
                };
                Kind::Closure(vec![value])
            }
            py::Expr::If(it) => {
                Kind::Choice(Box::new([read(&it.test), read(&it.body), read(&it.orelse)]))
            }
            py::Expr::Dict(it) => Kind::Record(
                it.items
                    .iter()
                    .map(|item| {
                        let key = item.key.as_ref().map_or_else(
                            || Expr {
                                span: span(item.value.range()),
                                kind: Kind::Many(Vec::new()),
                            },
                            read,
                        );
                        (key, read(&item.value))
                    })
                    .collect(),
            ),
            py::Expr::Set(it) => Kind::Many(all(&it.elts)),
            py::Expr::List(it) => Kind::Many(all(&it.elts)),
            py::Expr::Tuple(it) => Kind::Many(all(&it.elts)),
            py::Expr::ListComp(it) => comprehension(vec![read(&it.elt)], &it.generators),
            py::Expr::SetComp(it) => comprehension(vec![read(&it.elt)], &it.generators),
            py::Expr::Generator(it) => comprehension(vec![read(&it.elt)], &it.generators),
            py::Expr::DictComp(it) => {
                let mut first: Vec<_> = it.key.iter().map(|it| read(it)).collect();
                first.push(read(&it.value));
                comprehension(first, &it.generators)
            }
            py::Expr::Await(it) => Kind::Await(boxed(&it.value)),
            py::Expr::Yield(it) => Kind::Many(it.value.iter().map(|it| read(it)).collect()),
            py::Expr::YieldFrom(it) => Kind::Many(vec![read(&it.value)]),
            py::Expr::Compare(it) => {
                // `a < b < c` is two comparisons. Their middle is read for both, unless it holds
                // comparisons itself: such sources could be made to be read forever.
                let holds_some = |it: &py::Expr| any_over_expr(it, py::Expr::is_compare_expr);
                let mut left = read(&it.left);
                let mut pairs = Vec::with_capacity(it.ops.len());
                for (op, right) in it.ops.iter().zip(&it.comparators) {
                    let again = if holds_some(right) {
                        made(Kind::Many(Vec::new()))
                    } else {
                        read(right)
                    };
                    let left = mem::replace(&mut left, again);
                    let both = Box::new([left, read(right)]);
                    pairs.push(made(Kind::Compare(compare(*op), both)));
                }
                match (pairs.pop(), pairs.is_empty()) {
                    (Some(one), true) => one.kind,
                    (Some(last), false) => {
                        pairs.push(last);
                        Kind::Logic(pairs)
                    }
                    (None, _) => Kind::Many(Vec::new()),
                }
            }
            py::Expr::Call(it) => {
                let mut args = Vec::with_capacity(it.arguments.len());
                args.extend(it.arguments.args.iter().map(|value| Arg {
                    name: None,
                    value: read(value),
                }));
                args.extend(it.arguments.keywords.iter().map(|keyword| Arg {
                    name: Some(keyword.arg.as_ref().map_or("**", |it| self.slice(it.range))),
                    value: read(&keyword.value),
                }));
                Kind::Call(Box::new(Call {
                    func: read(&it.func),
                    args,
                    is_macro: false,
                }))
            }
            py::Expr::FString(it) => {
                let mut pieces = Vec::new();
                for part in &it.value {
                    match part {
                        py::FStringPart::Literal(literal) => pieces.push(Expr {
                            span: span(literal.range),
                            kind: Kind::Text(self.slice(literal.range)),
                        }),
                        py::FStringPart::FString(inner) => {
                            for element in &inner.elements {
                                match element {
                                    py::InterpolatedStringElement::Literal(it) => {
                                        pieces.push(Expr {
                                            span: span(it.range),
                                            kind: Kind::Text(self.slice(it.range)),
                                        });
                                    }
                                    py::InterpolatedStringElement::Interpolation(it) => {
                                        pieces.push(read(&it.expression));
                                    }
                                }
                            }
                        }
                    }
                }
                Kind::Format(pieces)
            }
            py::Expr::StringLiteral(it) => Kind::Text(self.slice(it.range)),
            py::Expr::BytesLiteral(it) => Kind::Text(self.slice(it.range)),
            py::Expr::NumberLiteral(it) => Kind::Number(self.slice(it.range)),
            py::Expr::BooleanLiteral(it) => Kind::Name(self.slice(it.range)),
            py::Expr::NoneLiteral(it) => Kind::Name(self.slice(it.range)),
            py::Expr::Attribute(it) => Kind::Member(boxed(&it.value), self.slice(it.attr.range)),
            py::Expr::Subscript(it) => Kind::Index(Box::new([read(&it.value), read(&it.slice)])),
            py::Expr::Starred(it) => Kind::Many(vec![read(&it.value)]),
            py::Expr::Name(it) => self.named(it.range),
            py::Expr::TString(_)
            | py::Expr::EllipsisLiteral(_)
            | py::Expr::Slice(_)
            | py::Expr::IpyEscapeCommand(_) => Kind::Many(Vec::new()),
        })
    }
}

pub(super) fn operator(operator: py::Operator) -> Operator {
    match operator {
        py::Operator::Add => Operator::Add,
        py::Operator::Sub => Operator::Subtract,
        py::Operator::Mult => Operator::Multiply,
        py::Operator::Div | py::Operator::FloorDiv => Operator::Divide,
        _ => Operator::Other,
    }
}

fn compare(compare: py::CmpOp) -> Compare {
    match compare {
        py::CmpOp::Eq => Compare::Equal,
        py::CmpOp::NotEq => Compare::NotEqual,
        py::CmpOp::Lt => Compare::Less,
        py::CmpOp::LtE => Compare::LessOrEqual,
        py::CmpOp::Gt => Compare::Greater,
        py::CmpOp::GtE => Compare::GreaterOrEqual,
        py::CmpOp::Is => Compare::Is,
        py::CmpOp::IsNot => Compare::IsNot,
        py::CmpOp::In => Compare::In,
        py::CmpOp::NotIn => Compare::NotIn,
    }
}
