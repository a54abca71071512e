//! All files that were read, and what can be found in them by name.

use std::collections::HashMap;

use super::{
    nesting::Language,
    tree::{Act, Call, Class, Expr, Function, Kind, Stmt, Tree},
};

/// A file that was read.
#[derive(Debug)]
pub(super) struct File<'a> {
    /// As it is shown: from the folder of the command, with `/`.
    pub(super) path: &'a str,
    pub(super) text: &'a str,
    pub(super) language: Language,
    pub(super) tree: &'a Tree<'a>,
    /// Whether the file holds tests: their secrets are no secrets, and nobody races them.
    pub(super) is_test: bool,
    /// All functions, also those inside others.
    pub(super) functions: Vec<&'a Function<'a>>,
    pub(super) classes: Vec<&'a Class<'a>>,
    /// What is set at the top of the file or of a class.
    pub(super) constants: HashMap<&'a str, &'a Expr<'a>>,
    by_name: HashMap<&'a str, Vec<usize>>,
}

/// A function of the project.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Id {
    pub(super) file: usize,
    pub(super) function: usize,
}

/// What is known beyond single files.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Facts {
    /// Django opens a transaction for each request.
    pub(super) atomic_requests: bool,
    /// A configuration starts more than one worker.
    pub(super) has_workers: bool,
}

#[derive(Debug, Default)]
pub(super) struct Project<'a> {
    pub(super) files: Vec<File<'a>>,
    pub(super) facts: Facts,
    functions: HashMap<&'a str, Vec<Id>>,
    classes: HashMap<&'a str, Vec<(usize, &'a Class<'a>)>>,
    callers: HashMap<&'a str, u32>,
}

impl<'a> File<'a> {
    pub(super) fn new(
        path: &'a str,
        text: &'a str,
        language: Language,
        is_test: bool,
        tree: &'a Tree<'a>,
    ) -> Self {
        let mut file = Self {
            path,
            text,
            language,
            tree,
            is_test,
            functions: Vec::new(),
            classes: Vec::new(),
            constants: HashMap::new(),
            by_name: HashMap::new(),
        };
        file.collect(&tree.body, true);
        for (at, function) in file.functions.iter().enumerate() {
            file.by_name.entry(function.name).or_default().push(at);
        }
        file
    }

    fn collect(&mut self, body: &'a [Stmt<'a>], is_top: bool) {
        for stmt in body {
            match &stmt.act {
                Act::Function(function) => {
                    self.functions.push(function);
                    self.collect(&function.body, false);
                }
                Act::Class(class) => {
                    self.classes.push(class);
                    self.collect(&class.body, false);
                }
                Act::Set {
                    target,
                    value,
                    operator: None,
                } if is_top => {
                    if let Kind::Name(name) = target.kind {
                        self.constants.insert(name, value);
                    }
                }
                Act::If {
                    body, otherwise, ..
                } => {
                    self.collect(body, is_top);
                    self.collect(otherwise, is_top);
                }
                Act::Try { body, handlers, .. } => {
                    self.collect(body, is_top);
                    handlers
                        .iter()
                        .for_each(|it| self.collect(&it.body, is_top));
                }
                Act::With { body, .. } | Act::Loop { body, .. } => self.collect(body, false),
                _ => {}
            }
        }
    }

    fn named(&self, name: &str, fits: impl Fn(&Function<'a>) -> bool) -> Option<usize> {
        let all = self.by_name.get(name)?;
        let mut fitting = all.iter().filter(|at| {
            self.functions
                .get(**at)
                .is_some_and(|function| fits(function))
        });
        match (fitting.next(), fitting.next()) {
            (Some(one), None) => Some(*one),
            _ => None,
        }
    }

    /// The last part of the path, without its ending.
    pub(super) fn stem(&self) -> &'a str {
        let name = self.path.rsplit('/').next().unwrap_or(self.path);
        name.split('.').next().unwrap_or(name)
    }
}

impl<'a> Project<'a> {
    pub(super) fn new(files: Vec<File<'a>>, facts: Facts) -> Self {
        let mut project = Self {
            files,
            facts,
            ..Self::default()
        };
        for (at, file) in project.files.iter().enumerate() {
            for (function, it) in file.functions.iter().enumerate() {
                let id = Id { file: at, function };
                project.functions.entry(it.name).or_default().push(id);
            }
            for class in &file.classes {
                project
                    .classes
                    .entry(class.name)
                    .or_default()
                    .push((at, class));
            }
        }
        for file in &project.files {
            for function in &file.functions {
                each_call(&function.body, &mut |call| {
                    *project.callers.entry(call.last()).or_default() += 1;
                });
                // `Depends(verify)`, `get(handler)`: who is named is called, too.
            }
        }
        project
    }

    pub(super) fn function(&self, id: Id) -> Option<&'a Function<'a>> {
        self.files.get(id.file)?.functions.get(id.function).copied()
    }

    /// Whether some function of the project calls a function of this name.
    pub(super) fn is_called(&self, name: &str) -> bool {
        self.callers.contains_key(name)
    }

    /// The class of this name, if there is one only.
    pub(super) fn class(&self, name: &str) -> Option<(usize, &'a Class<'a>)> {
        match self.classes.get(name)?.as_slice() {
            [one] => Some(*one),
            _ => None,
        }
    }

    /// The function that is called, if names tell.
    pub(super) fn callee(&self, func: &Expr<'a>, file: usize, class: Option<&str>) -> Option<Id> {
        let here = self.files.get(file)?;
        let local = |function: Option<usize>| {
            Some(Id {
                file,
                function: function?,
            })
        };
        match &func.kind {
            Kind::Name(name) => local(here.named(name, |it| it.class.is_none()))
                .or_else(|| self.only(name, here.language, |it| it.class.is_none())),
            Kind::Member(inner, name) => match inner.kind {
                Kind::Name("self" | "cls" | "Self") => {
                    let class = class?;
                    local(here.named(name, |it| it.class == Some(class)))
                }
                Kind::Name(owner) => local(here.named(name, |it| it.class == Some(owner)))
                    .or_else(|| self.only(name, here.language, |it| it.class == Some(owner)))
                    .or_else(|| self.in_module(owner, name, here.language))
                    .or_else(|| self.by_long_name(name, here.language)),
                Kind::Member(_, owner) => self
                    .in_module(owner, name, here.language)
                    .or_else(|| self.by_long_name(name, here.language)),
                _ => None,
            },
            _ => None,
        }
    }

    fn only(
        &self,
        name: &str,
        language: Language,
        fits: impl Fn(&Function<'a>) -> bool,
    ) -> Option<Id> {
        let mut fitting = self.functions.get(name)?.iter().filter(|id| {
            let file = self.files.get(id.file);
            let function = self.function(**id);
            file.is_some_and(|it| it.language == language && !it.is_test)
                && function.is_some_and(&fits)
        });
        match (fitting.next(), fitting.next()) {
            (Some(one), None) => Some(*one),
            _ => None,
        }
    }

    fn in_module(&self, module: &str, name: &str, language: Language) -> Option<Id> {
        let ids = self.functions.get(name)?;
        let mut fitting = ids.iter().filter(|id| {
            let file = self.files.get(id.file);
            file.is_some_and(|it| it.stem() == module && it.language == language && !it.is_test)
                && self.function(**id).is_some_and(|it| it.class.is_none())
        });
        match (fitting.next(), fitting.next()) {
            (Some(one), None) => Some(*one),
            _ => None,
        }
    }

    /// A method of some object: its name alone must say enough.
    fn by_long_name(&self, name: &str, language: Language) -> Option<Id> {
        (name.len() >= 10 && name.contains('_')).then(|| self.only(name, language, |_| true))?
    }
}

/// Visits each call in some statements, also in functions inside.
fn each_call<'a>(body: &'a [Stmt<'a>], visit: &mut impl FnMut(&'a Call<'a>)) {
    each_expr(body, &mut |expr| {
        if let Kind::Call(call) = &expr.kind {
            visit(call);
        }
    });
}

/// Visits each expression of some statements, in the order of the text.
pub(super) fn each_expr<'a>(body: &'a [Stmt<'a>], visit: &mut impl FnMut(&'a Expr<'a>)) {
    fn deep<'a>(expr: &'a Expr<'a>, visit: &mut impl FnMut(&'a Expr<'a>)) {
        visit(expr);
        if let Kind::Block(body) | Kind::Closure(body) = &expr.kind {
            each_expr_dyn(body, visit);
        }
        let mut children = Vec::new();
        expr.children(&mut |child| children.push(child));
        for child in children {
            deep(child, visit);
        }
    }
    fn each_expr_dyn<'a>(body: &'a [Stmt<'a>], visit: &mut impl FnMut(&'a Expr<'a>)) {
        for stmt in body {
            match &stmt.act {
                Act::Set { target, value, .. } => {
                    deep(target, visit);
                    deep(value, visit);
                }
                Act::Do(it) | Act::Yield(it) | Act::Return(Some(it)) | Act::Raise(Some(it)) => {
                    deep(it, visit);
                }
                Act::If {
                    test,
                    body,
                    otherwise,
                } => {
                    deep(test, visit);
                    each_expr_dyn(body, visit);
                    each_expr_dyn(otherwise, visit);
                }
                Act::Match { subject, arms } => {
                    deep(subject, visit);
                    for (pattern, body) in arms {
                        deep(pattern, visit);
                        each_expr_dyn(body, visit);
                    }
                }
                Act::Loop { head, test, body } => {
                    if let Some((target, from)) = head {
                        deep(target, visit);
                        deep(from, visit);
                    }
                    if let Some(test) = test {
                        deep(test, visit);
                    }
                    each_expr_dyn(body, visit);
                }
                Act::With { items, body } => {
                    for (item, target) in items {
                        deep(item, visit);
                        if let Some(target) = target {
                            deep(target, visit);
                        }
                    }
                    each_expr_dyn(body, visit);
                }
                Act::Try {
                    body,
                    handlers,
                    finally,
                } => {
                    each_expr_dyn(body, visit);
                    for handler in handlers {
                        each_expr_dyn(&handler.body, visit);
                    }
                    each_expr_dyn(finally, visit);
                }
                Act::Function(it) => each_expr_dyn(&it.body, visit),
                Act::Class(it) => each_expr_dyn(&it.body, visit),
                Act::Return(None) | Act::Raise(None) | Act::Leave => {}
            }
        }
    }
    each_expr_dyn(body, visit);
}
