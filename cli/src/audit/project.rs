//! All files that were read, and what can be found in them by name.

use std::{
    collections::{HashMap, HashSet},
    hash::Hash,
};

use super::tree::{Act, Class, Expr, Function, Kind, Language, Stmt, Tree, second};

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
    /// Whether the file is run by hand, and starts no server.
    pub(super) is_script: bool,
    /// All functions, also those inside others.
    pub(super) functions: Vec<&'a Function<'a>>,
    pub(super) classes: Vec<&'a Class<'a>>,
    /// The names that are set at the top of the file or of a class.
    pub(super) constants: HashMap<&'a str, &'a Expr<'a>>,
    by_name: Unique<(Option<&'a str>, &'a str), usize>,
}

/// A map in which a name that was put twice has no value: any other name identifies one thing.
#[derive(Debug)]
struct Unique<K, V>(HashMap<K, Option<V>>);

impl<K: Eq + Hash, V: Copy> Unique<K, V> {
    fn put(&mut self, name: K, value: V) {
        let is_new = !self.0.contains_key(&name);
        self.0.insert(name, Some(value).filter(|_| is_new));
    }

    fn get(&self, name: &K) -> Option<V> {
        self.0.get(name).copied().flatten()
    }
}

impl<K, V> Default for Unique<K, V> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

/// A function of the project.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Id {
    pub(super) file: usize,
    pub(super) function: usize,
}

/// The facts beyond single files.
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
    /// Functions by their class and name, by their module and name, and by their name alone.
    by_class: Unique<(Language, Option<&'a str>, &'a str), Id>,
    by_module: Unique<(Language, &'a str, &'a str), Id>,
    by_name: Unique<(Language, &'a str), Id>,
    classes: Unique<&'a str, (usize, &'a Class<'a>)>,
    called: HashSet<Id>,
    /// The calls whose function is not known: by name, of the modules and objects before the name.
    called_by_name: HashMap<(Language, &'a str), HashSet<Option<&'a str>>>,
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
            is_script: is_script(text),
            functions: Vec::new(),
            classes: Vec::new(),
            constants: HashMap::new(),
            by_name: Unique::default(),
        };
        file.collect(&tree.body, true);
        for (at, function) in file.functions.iter().enumerate() {
            file.by_name.put((function.class, function.name), at);
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
            let functions = file.functions.iter().enumerate();
            for (function, it) in functions.filter(|_| !file.is_test) {
                let (language, id) = (file.language, Id { file: at, function });
                project.by_class.put((language, it.class, it.name), id);
                if it.class.is_none() {
                    project.by_module.put((language, file.stem(), it.name), id);
                }
                project.by_name.put((language, it.name), id);
            }
            for class in &file.classes {
                project.classes.put(class.name, (at, class));
            }
        }
        let mut called = HashSet::new();
        let mut called_by_name: HashMap<_, HashSet<_>> = HashMap::new();
        let mut atomic_requests = facts.atomic_requests;
        for (at, file) in project.files.iter().enumerate() {
            let is_used = !file.is_test;
            each_expr(&file.tree.body, &mut |expr| {
                if let Kind::Call(call) = &expr.kind {
                    if let Some(id) = project.callee(&call.func, at, None) {
                        called.insert(id);
                    } else {
                        let owner = call.receiver().map(last_name);
                        let name = (file.language, call.last());
                        called_by_name.entry(name).or_default().insert(owner);
                    }
                }
                atomic_requests |= is_used && opens_transactions(expr);
            });
            atomic_requests |= is_used && sets_transactions(file);
        }
        Self {
            called,
            called_by_name,
            facts: Facts {
                atomic_requests,
                ..facts
            },
            ..project
        }
    }

    pub(super) fn function(&self, id: Id) -> Option<&'a Function<'a>> {
        self.files.get(id.file)?.functions.get(id.function).copied()
    }

    /// Returns whether something in the project calls this function, or may call it: a method of
    /// this name of an object of any class, a function of this name of a module on its path.
    pub(super) fn is_called(&self, id: Id) -> bool {
        let (Some(file), Some(function)) = (self.files.get(id.file), self.function(id)) else {
            return false;
        };
        let owners = self.called_by_name.get(&(file.language, function.name));
        let is_its = |owner: &Option<&str>| match (function.class, owner) {
            (Some(_), owner) => owner.is_some(),
            (None, None) => true,
            (None, Some(owner)) => file.path.split(['/', '.']).any(|it| it == *owner),
        };
        self.called.contains(&id) || owners.into_iter().flatten().any(is_its)
    }

    /// The class of this name, if there is one only.
    pub(super) fn class(&self, name: &str) -> Option<(usize, &'a Class<'a>)> {
        self.classes.get(&name)
    }

    /// The function that is called, if names tell.
    pub(super) fn callee(&self, func: &Expr<'a>, file: usize, class: Option<&str>) -> Option<Id> {
        let here = self.files.get(file)?;
        let language = here.language;
        let local = |class: Option<&str>, name: &str| {
            let function = here.by_name.get(&(class, name))?;
            Some(Id { file, function })
        };
        let by_class = |class, name| {
            local(class, name).or_else(|| self.by_class.get(&(language, class, name)))
        };
        match &func.kind {
            Kind::Name(name) => by_class(None, name),
            Kind::Member(inner, name) => match inner.kind {
                Kind::Name("self" | "cls" | "Self") => local(Some(class?), name),
                Kind::Name(owner) => by_class(Some(owner), name)
                    .or_else(|| self.by_module.get(&(language, owner, name)))
                    .or_else(|| self.by_long_name(name, language)),
                Kind::Member(_, owner) => self
                    .by_module
                    .get(&(language, owner, name))
                    .or_else(|| self.by_long_name(name, language)),
                _ => None,
            },
            _ => None,
        }
    }

    /// A method of some object: its name alone must say enough.
    fn by_long_name(&self, name: &str, language: Language) -> Option<Id> {
        let says_enough = name.len() >= 10 && name.contains('_');
        says_enough.then(|| self.by_name.get(&(language, name)))?
    }
}

/// `self.client` is `client`.
fn last_name<'a>(owner: &Expr<'a>) -> &'a str {
    owner.chain().last().copied().unwrap_or_default()
}

fn is_script(text: &str) -> bool {
    let has = |word: &str| memchr::memmem::find(text.as_bytes(), word.as_bytes()).is_some();
    has("if __name__ == ") && !["uvicorn", ".run(", "app."].into_iter().any(has)
}

/// `"ATOMIC_REQUESTS": True`, `dict(ATOMIC_REQUESTS=True)`: as settings of Django write it.
fn opens_transactions(expr: &Expr<'_>) -> bool {
    const NAME: &str = "ATOMIC_REQUESTS";
    match &expr.kind {
        Kind::Record(pairs) => pairs
            .iter()
            .any(|(key, value)| key.text() == Some(NAME) && is_true(value)),
        Kind::Call(call) => call.named(NAME).is_some_and(is_true),
        _ => false,
    }
}

/// `DATABASES["default"]["ATOMIC_REQUESTS"] = True`, at the top of a file.
fn sets_transactions(file: &File<'_>) -> bool {
    file.tree.body.iter().any(|stmt| match &stmt.act {
        Act::Set { target, value, .. } => {
            matches!(&target.kind, Kind::Index(both)
                if second(both).text() == Some("ATOMIC_REQUESTS") && is_true(value))
        }
        _ => false,
    })
}

/// `True`, or a setting that is so by default.
fn is_true(value: &Expr<'_>) -> bool {
    let is_true = |it: &Expr<'_>| it.is_name(&["True"]);
    is_true(value)
        || value
            .call()
            .is_some_and(|call| call.arg(1, "default").is_some_and(is_true))
}

/// A statement or an expression.
#[derive(Clone, Copy)]
pub(super) enum Piece<'a> {
    Stmt(&'a Stmt<'a>),
    Expr(&'a Expr<'a>),
}

/// Visits each expression of some statements, in the order of the text.
pub(super) fn each_expr<'a>(body: &'a [Stmt<'a>], visit: &mut impl FnMut(&'a Expr<'a>)) {
    each_piece(body, &mut |piece| {
        if let Piece::Expr(expr) = piece {
            visit(expr);
        }
    });
}

/// Visits all statements and all in them, in the order of the text.
pub(super) fn each_piece<'a>(body: &'a [Stmt<'a>], visit: &mut impl FnMut(Piece<'a>)) {
    fn deep<'a>(expr: &'a Expr<'a>, visit: &mut impl FnMut(Piece<'a>)) {
        visit(Piece::Expr(expr));
        if let Kind::Block(body) | Kind::Closure(body) = &expr.kind {
            each_stmt(body, visit);
        }
        let mut children = Vec::new();
        expr.children(&mut |child| children.push(child));
        for child in children {
            deep(child, visit);
        }
    }
    fn each_stmt<'a>(body: &'a [Stmt<'a>], visit: &mut impl FnMut(Piece<'a>)) {
        for stmt in body {
            visit(Piece::Stmt(stmt));
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
                    each_stmt(body, visit);
                    each_stmt(otherwise, visit);
                }
                Act::Match { subject, arms } => {
                    deep(subject, visit);
                    for (pattern, body) in arms {
                        deep(pattern, visit);
                        each_stmt(body, visit);
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
                    each_stmt(body, visit);
                }
                Act::With { items, body } => {
                    for (item, target) in items {
                        deep(item, visit);
                        if let Some(target) = target {
                            deep(target, visit);
                        }
                    }
                    each_stmt(body, visit);
                }
                Act::Try {
                    body,
                    handlers,
                    finally,
                } => {
                    each_stmt(body, visit);
                    for handler in handlers {
                        each_stmt(&handler.body, visit);
                    }
                    each_stmt(finally, visit);
                }
                Act::Function(it) => each_stmt(&it.body, visit),
                Act::Class(it) => each_stmt(&it.body, visit),
                Act::Return(None) | Act::Raise(None) | Act::Leave => {}
            }
        }
    }
    each_stmt(body, visit);
}
