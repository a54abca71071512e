//! Reads Python; expressions are in `python_expr.rs`. These files and
//! `python_import.rs` alone know the parser of Ruff,
//! whose interface may change with each version: its version is pinned.

use ruff_python_ast::{self as py, token::TokenKind};
use ruff_python_parser::{Mode, lexer::lex};
use ruff_text_size::Ranged;

use super::{
    aliases::Scope,
    nesting::Nesting,
    python_expr::{Reader, operator, span},
    python_import,
    tree::{
        Act, Broken, Class, Comment, DEPTH, Expr, Function, Handler, Kind, Param, Stmt, Tree,
        guarded,
    },
};

/// Reads a file.
pub(super) fn read(text: &str) -> Result<Tree<'_>, Broken> {
    if nesting(text).is_too_deep() {
        return Err(Broken::too_deep());
    }
    let parsed = ruff_python_parser::parse_module(text).map_err(|error| Broken {
        why: error.error.to_string(),
        at: Some(span(error.location)),
    })?;
    let comments = parsed
        .tokens()
        .iter()
        .filter(|token| token.kind() == TokenKind::Comment)
        .map(|token| Comment {
            span: span(token.range()),
        });
    let comments = comments.collect();
    let aliases = python_import::aliases(text, parsed.suite());
    let scope = Scope::of_file(&aliases);
    let reader = Reader {
        text,
        scope: &scope,
    };
    Ok(Tree {
        body: reader.body(parsed.suite(), None, 0),
        comments,
        imports: python_import::imports(text, parsed.suite()),
        import_at: import_at(parsed.suite()),
    })
}

/// The first statement that is neither the text that documents the file nor a change of the language.
fn import_at(suite: &[py::Stmt]) -> u32 {
    let is_before = |it: &py::Stmt| match it {
        py::Stmt::Expr(it) => it.value.is_string_literal_expr(),
        py::Stmt::ImportFrom(it) => it.module.as_ref().is_some_and(|it| it == "__future__"),
        _ => false,
    };
    let first = suite.iter().find(|it| !is_before(it));
    first.map_or(0, |it| span(it.range()).start)
}

fn nesting(text: &str) -> Nesting {
    const TEXT: u8 = b'"';
    const BLOCK: u8 = b':';
    let mut nesting = Nesting::new();
    let mut lexer = lex(text, Mode::Module);
    loop {
        match lexer.next_token() {
            TokenKind::EndOfFile => return nesting,
            TokenKind::Comment | TokenKind::NonLogicalNewline => {}
            TokenKind::Newline | TokenKind::Semi => nesting.end(),
            TokenKind::Comma => nesting.comma(),
            TokenKind::Lambda => nesting.reaching(),
            TokenKind::Lpar => nesting.open(b')'),
            TokenKind::Lsqb => nesting.open(b']'),
            TokenKind::Lbrace => nesting.open(b'}'),
            TokenKind::FStringStart | TokenKind::TStringStart => nesting.open(TEXT),
            TokenKind::Indent => nesting.open(BLOCK),
            TokenKind::Rpar => nesting.close(b')'),
            TokenKind::Rsqb => nesting.close(b']'),
            TokenKind::Rbrace => nesting.close(b'}'),
            TokenKind::FStringEnd | TokenKind::TStringEnd => nesting.close(TEXT),
            TokenKind::Dedent => nesting.close(BLOCK),
            _ => nesting.token(),
        }
    }
}

type Class_<'s> = Option<&'s str>;

impl<'s> Reader<'_, 's> {
    fn body(self, body: &[py::Stmt], class: Class_<'s>, depth: usize) -> Vec<Stmt<'s>> {
        if depth >= DEPTH {
            return Vec::new();
        }
        let mut read = Vec::with_capacity(body.len());
        for stmt in body {
            self.stmt(stmt, class, depth + 1, &mut read);
        }
        read
    }

    fn stmt(self, stmt: &py::Stmt, class: Class_<'s>, depth: usize, into: &mut Vec<Stmt<'s>>) {
        let at = span(stmt.range());
        let mut put = |act| into.push(Stmt { span: at, act });
        let expr = |it: &py::Expr| self.expr(it, depth);
        let body = |it: &[py::Stmt]| self.body(it, class, depth);
        match stmt {
            py::Stmt::FunctionDef(it) => {
                put(Act::Function(Box::new(self.function(it, class, depth))));
            }
            py::Stmt::ClassDef(it) => {
                let name = self.slice(it.name.range);
                let bases = it.arguments.iter().flat_map(|all| all.args.iter());
                put(Act::Class(Box::new(Class {
                    name,
                    bases: bases.map(expr).collect(),
                    decorators: it
                        .decorator_list
                        .iter()
                        .map(|it| expr(&it.expression))
                        .collect(),
                    body: self.body(&it.body, Some(name), depth),
                })));
            }
            py::Stmt::Return(it) => put(Act::Return(it.value.as_deref().map(expr))),
            py::Stmt::Assign(it) => {
                // In `a = b = value` the value is read once: `b` is set to what `a` was set to.
                let mut from: &py::Expr = &it.value;
                for target in &it.targets {
                    put(Act::Set {
                        target: expr(target),
                        value: expr(from),
                        operator: None,
                    });
                    from = target;
                }
            }
            py::Stmt::AugAssign(it) => put(Act::Set {
                target: expr(&it.target),
                value: expr(&it.value),
                operator: Some(operator(it.op)),
            }),
            py::Stmt::AnnAssign(it) => {
                if let Some(value) = &it.value {
                    put(Act::Set {
                        target: expr(&it.target),
                        value: expr(value),
                        operator: None,
                    });
                }
            }
            py::Stmt::For(it) => {
                put(Act::Loop {
                    head: Some((expr(&it.target), expr(&it.iter))),
                    test: None,
                    body: body(&it.body),
                });
                into.extend(body(&it.orelse));
            }
            py::Stmt::While(it) => {
                put(Act::Loop {
                    head: None,
                    test: Some(expr(&it.test)),
                    body: body(&it.body),
                });
                into.extend(body(&it.orelse));
            }
            py::Stmt::If(it) => {
                put(Act::If {
                    test: expr(&it.test),
                    body: body(&it.body),
                    otherwise: self.otherwise(&it.elif_else_clauses, class, depth),
                });
            }
            py::Stmt::With(it) => {
                let items = it.items.iter().map(|item| {
                    let target = item.optional_vars.as_deref().map(expr);
                    (expr(&item.context_expr), target)
                });
                put(Act::With {
                    items: items.collect(),
                    body: body(&it.body),
                });
            }
            py::Stmt::Match(it) => {
                let arms = it.cases.iter().map(|case| {
                    let pattern = self.pattern(&case.pattern, depth);
                    let guard = case.guard.as_deref().map(expr);
                    (pattern, guarded(guard, body(&case.body)))
                });
                put(Act::Match {
                    subject: expr(&it.subject),
                    arms: arms.collect(),
                });
            }
            py::Stmt::Raise(it) => put(Act::Raise(it.exc.as_deref().map(expr))),
            py::Stmt::Try(it) => {
                let handlers = it.handlers.iter().map(|handler| {
                    let py::ExceptHandler::ExceptHandler(handler) = handler;
                    Handler {
                        span: span(handler.range),
                        kind: handler.type_.as_deref().map(expr),
                        body: body(&handler.body),
                    }
                });
                let mut inner = body(&it.body);
                inner.extend(body(&it.orelse));
                put(Act::Try {
                    body: inner,
                    handlers: handlers.collect(),
                    finally: body(&it.finalbody),
                });
            }
            py::Stmt::Assert(it) => put(Act::Do(expr(&it.test))),
            py::Stmt::Expr(it) => put(Act::Do(expr(&it.value))),
            py::Stmt::Delete(it) => {
                let targets = it.targets.iter().map(expr).collect();
                put(Act::Do(Expr {
                    span: at,
                    kind: Kind::Many(targets),
                }));
            }
            py::Stmt::Break(_) | py::Stmt::Continue(_) => put(Act::Leave),
            py::Stmt::TypeAlias(_)
            | py::Stmt::Import(_)
            | py::Stmt::ImportFrom(_)
            | py::Stmt::Global(_)
            | py::Stmt::Nonlocal(_)
            | py::Stmt::Pass(_)
            | py::Stmt::IpyEscapeCommand(_) => {}
        }
    }

    /// Each clause is what the one before does otherwise, and lies deeper.
    fn otherwise(
        self,
        clauses: &[py::ElifElseClause],
        class: Class_<'s>,
        depth: usize,
    ) -> Vec<Stmt<'s>> {
        let Some((first, others)) = clauses.split_first() else {
            return Vec::new();
        };
        let Some(test) = &first.test else {
            return self.body(&first.body, class, depth);
        };
        if depth >= DEPTH {
            return Vec::new();
        }
        let act = Act::If {
            test: self.expr(test, depth + 1),
            body: self.body(&first.body, class, depth + 1),
            otherwise: self.otherwise(others, class, depth + 1),
        };
        vec![Stmt {
            span: span(first.range),
            act,
        }]
    }

    fn function(self, it: &py::StmtFunctionDef, class: Class_<'s>, depth: usize) -> Function<'s> {
        let name = self.slice(it.name.range);
        let decorators = it.decorator_list.iter();
        let own = python_import::bound(self.text, &it.body).into_iter();
        let params = it.parameters.iter();
        let own = own.chain(params.map(|it| self.slice(it.name().range)));
        let scope = self.scope.inside(own);
        let inside = Reader {
            text: self.text,
            scope: &scope,
        };
        Function {
            name,
            span: span(it.range),
            class,
            params: inside.params(&it.parameters, depth),
            decorators: decorators
                .map(|decorator| self.expr(&decorator.expression, depth))
                .collect(),
            is_async: it.is_async,
            is_test: name.starts_with("test_"),
            // A class inside a function is its own; a function inside a method is not a method.
            body: inside.body(&it.body, None, depth),
        }
    }

    fn params(self, all: &py::Parameters, depth: usize) -> Vec<Param<'s>> {
        let with_default = all.iter_non_variadic_params().map(|it| Param {
            target: self.name(it.parameter.name.range),
            annotation: it
                .parameter
                .annotation
                .as_deref()
                .map(|it| self.expr(it, depth)),
            default: it.default.as_deref().map(|it| self.expr(it, depth)),
        });
        with_default.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_deep(text: &str) -> bool {
        nesting(text).is_too_deep()
    }

    #[test]
    fn text_that_nests_is_deep() {
        for (open, close) in [("(", ")"), ("[", "]"), ("f(", ")"), ("f'{", "}'")] {
            let text = format!("x = {}1{}", open.repeat(5000), close.repeat(5000));
            assert!(is_deep(&text), "{open}");
        }
        for chain in [
            "not ",
            "not \\\r\n",
            "-",
            "a.",
            "1+",
            "lambda: ",
            "lambda a, b: ",
            "x if y else ",
        ] {
            for before in ["", "f'\\{a}' if\"{\" else ", "f\"{a:'}\" + ", "# (\r"] {
                let text = format!("x = {before}{}1", chain.repeat(5000));
                assert!(is_deep(&text), "{before}{chain}");
            }
        }
        let skipped = format!("x = {}", "[a ) ".repeat(5000));
        assert!(is_deep(&skipped), "a parser skips what closes nothing");
    }

    #[test]
    fn long_text_that_does_not_nest_is_not_deep() {
        for line in [
            "x = 1\n",
            "x = ['(', \"[\", '''{''']\n",
            "x = f'({a}'\n",
            "# ((((\n",
            "if a:\n    pass\nelif b:\n    pass\n",
        ] {
            assert!(!is_deep(&line.repeat(5000)), "{line}");
        }
        let list = format!("x = [{}]", "f(1) + 2, ".repeat(5000));
        assert!(!is_deep(&list));
    }
}
