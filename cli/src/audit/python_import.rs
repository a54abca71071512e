//! Reads the imports of Python, and the names that they make.

use ruff_python_ast as py;
use ruff_text_size::TextRange;

use super::{aliases::Aliases, python_expr::span, tree::Import};

fn slice(text: &str, range: TextRange) -> &str {
    text.get(span(range).range()).unwrap_or_default()
}

/// The imports at the top of a file.
pub(super) fn imports<'s>(text: &'s str, suite: &[py::Stmt]) -> Vec<Import<'s>> {
    let mut imports = Vec::new();
    for stmt in suite {
        match stmt {
            py::Stmt::Import(it) => {
                imports.extend(it.names.iter().map(|alias| module(text, alias)));
            }
            py::Stmt::ImportFrom(it) if it.level == 0 => imports.extend(parts(text, it)),
            _ => {}
        }
    }
    imports
}

fn module<'s>(text: &'s str, alias: &py::Alias) -> Import<'s> {
    let module = slice(text, alias.name.range);
    let top = module.split('.').next().unwrap_or(module);
    let part = None;
    match &alias.asname {
        Some(name) => Import {
            module,
            part,
            name: slice(text, name.range),
        },
        None => Import {
            module: top,
            part,
            name: top,
        },
    }
}

fn parts<'s>(text: &'s str, it: &py::StmtImportFrom) -> impl Iterator<Item = Import<'s>> {
    let module = it.module.as_ref().map_or("", |it| slice(text, it.range));
    it.names.iter().map(move |alias| Import {
        module,
        part: Some(slice(text, alias.name.range)),
        name: slice(text, alias.asname.as_ref().unwrap_or(&alias.name).range),
    })
}

/// Returns what the imports of a file name, also those inside functions.
pub(super) fn aliases<'s>(text: &'s str, suite: &[py::Stmt]) -> Aliases<'s> {
    let mut aliases = Aliases::default();
    each(suite, true, &mut |stmt| match stmt {
        py::Stmt::Import(it) => {
            for it in it.names.iter().map(|alias| module(text, alias)) {
                aliases.import(it.module, it.part, it.name);
            }
        }
        py::Stmt::ImportFrom(it) => {
            for it in parts(text, it) {
                aliases.import(it.module, it.part, it.name);
            }
        }
        _ => {}
    });
    for name in bound(text, suite) {
        aliases.bind(name);
    }
    aliases
}

/// The names that a suite gives to things, except its imports and the functions inside it.
pub(super) fn bound<'s>(text: &'s str, suite: &[py::Stmt]) -> Vec<&'s str> {
    let mut names = Vec::new();
    each(suite, false, &mut |stmt| {
        let mut bind = |target: &py::Expr| {
            if let py::Expr::Name(it) = target {
                names.push(slice(text, it.range));
            }
        };
        match stmt {
            py::Stmt::Assign(it) => it.targets.iter().for_each(bind),
            py::Stmt::AnnAssign(it) => bind(&it.target),
            py::Stmt::For(it) => bind(&it.target),
            py::Stmt::With(it) => {
                let targets = it.items.iter().filter_map(|it| it.optional_vars.as_deref());
                targets.for_each(bind);
            }
            py::Stmt::FunctionDef(it) => names.push(slice(text, it.name.range)),
            py::Stmt::ClassDef(it) => names.push(slice(text, it.name.range)),
            _ => {}
        }
    });
    names
}

/// Visits each statement, and those in functions and classes if asked to.
fn each(suite: &[py::Stmt], is_deep: bool, visit: &mut impl FnMut(&py::Stmt)) {
    for stmt in suite {
        visit(stmt);
        let mut inner: Vec<&[py::Stmt]> = Vec::new();
        match stmt {
            py::Stmt::FunctionDef(it) if is_deep => inner.push(&it.body),
            py::Stmt::ClassDef(it) if is_deep => inner.push(&it.body),
            py::Stmt::For(it) => inner.extend([&*it.body, &*it.orelse]),
            py::Stmt::While(it) => inner.extend([&*it.body, &*it.orelse]),
            py::Stmt::If(it) => {
                inner.push(&it.body);
                inner.extend(it.elif_else_clauses.iter().map(|it| &*it.body));
            }
            py::Stmt::With(it) => inner.push(&it.body),
            py::Stmt::Match(it) => inner.extend(it.cases.iter().map(|it| &*it.body)),
            py::Stmt::Try(it) => {
                inner.extend([&*it.body, &*it.orelse, &*it.finalbody]);
                inner.extend(it.handlers.iter().map(|handler| {
                    let py::ExceptHandler::ExceptHandler(handler) = handler;
                    &*handler.body
                }));
            }
            _ => {}
        }
        for suite in inner {
            each(suite, is_deep, visit);
        }
    }
}
