//! One small tree for both languages: what the rules read, and no more.
//!
//! Names and literals borrow from the text of the file. Both parsers bound the depth of what they
//! build, so that all code behind them may walk a tree by recursion.

/// How deep a tree can be. Expressions below this depth are read as [`Kind::Many`] of nothing.
pub(super) const DEPTH: usize = 120;

/// A language that is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Language {
    Python,
    Rust,
}

/// Bytes of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Span {
    pub(super) start: u32,
    pub(super) end: u32,
}

impl Span {
    pub(super) fn to(self, end: Self) -> Self {
        Self {
            start: self.start,
            end: end.end.max(self.start),
        }
    }

    pub(super) fn range(self) -> std::ops::Range<usize> {
        self.start as usize..self.end as usize
    }
}

#[derive(Debug)]
pub(super) struct Expr<'s> {
    pub(super) span: Span,
    pub(super) kind: Kind<'s>,
}

/// References, dereferences, casts and parentheses are left out: they change no value.
#[derive(Debug)]
pub(super) enum Kind<'s> {
    /// Also `None`, `True`, `false` and the like.
    Name(&'s str),
    Member(Box<Expr<'s>>, &'s str),
    /// Also `object.0`, and type arguments.
    Index(Box<[Expr<'s>; 2]>),
    Call(Box<Call<'s>>),
    /// A literal as it is written, with its quotes.
    Text(&'s str),
    Number(&'s str),
    /// A string that is made of pieces: an f-string, `format!`.
    Format(Vec<Expr<'s>>),
    Compare(Compare, Box<[Expr<'s>; 2]>),
    Binary(Operator, Box<[Expr<'s>; 2]>),
    /// `and`, `or`
    Logic(Vec<Expr<'s>>),
    Not(Box<Expr<'s>>),
    Await(Box<Expr<'s>>),
    /// `expression?`
    Try(Box<Expr<'s>>),
    /// Test, then, otherwise.
    Choice(Box<[Expr<'s>; 3]>),
    /// A dictionary or a struct: keys and values.
    Record(Vec<(Expr<'s>, Expr<'s>)>),
    /// Lists, tuples, comprehensions, and whatever the rules do not read closer.
    Many(Vec<Expr<'s>>),
    /// A target that is set inside an expression: `:=`, `if let`.
    Let(Box<[Expr<'s>; 2]>),
    /// Statements, and the value that they yield.
    Block(Vec<Stmt<'s>>),
    /// The statements of a closure.
    Closure(Vec<Stmt<'s>>),
}

#[derive(Debug)]
pub(super) struct Call<'s> {
    pub(super) func: Expr<'s>,
    pub(super) args: Vec<Arg<'s>>,
    /// `name!(…)`
    pub(super) is_macro: bool,
}

#[derive(Debug)]
pub(super) struct Arg<'s> {
    pub(super) name: Option<&'s str>,
    pub(super) value: Expr<'s>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Compare {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    In,
    NotIn,
    Is,
    IsNot,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operator {
    Add,
    Subtract,
    Multiply,
    Divide,
    Other,
}

#[derive(Debug)]
pub(super) struct Stmt<'s> {
    pub(super) span: Span,
    pub(super) act: Act<'s>,
}

#[derive(Debug)]
pub(super) enum Act<'s> {
    /// `target = value`, or with an operator `target += value`.
    Set {
        target: Expr<'s>,
        value: Expr<'s>,
        operator: Option<Operator>,
    },
    Do(Expr<'s>),
    /// The value of the block around it.
    Yield(Expr<'s>),
    If {
        test: Expr<'s>,
        body: Vec<Stmt<'s>>,
        otherwise: Vec<Stmt<'s>>,
    },
    Match {
        subject: Expr<'s>,
        arms: Vec<(Expr<'s>, Vec<Stmt<'s>>)>,
    },
    Loop {
        /// What is set in each round, and from what.
        head: Option<(Expr<'s>, Expr<'s>)>,
        test: Option<Expr<'s>>,
        body: Vec<Stmt<'s>>,
    },
    With {
        items: Vec<(Expr<'s>, Option<Expr<'s>>)>,
        body: Vec<Stmt<'s>>,
    },
    Try {
        body: Vec<Stmt<'s>>,
        handlers: Vec<Handler<'s>>,
        finally: Vec<Stmt<'s>>,
    },
    Return(Option<Expr<'s>>),
    Raise(Option<Expr<'s>>),
    /// `break`, `continue`
    Leave,
    Function(Box<Function<'s>>),
    Class(Box<Class<'s>>),
}

#[derive(Debug)]
pub(super) struct Handler<'s> {
    pub(super) span: Span,
    pub(super) kind: Option<Expr<'s>>,
    pub(super) body: Vec<Stmt<'s>>,
}

#[derive(Debug)]
pub(super) struct Function<'s> {
    pub(super) name: &'s str,
    pub(super) span: Span,
    /// The class, or the type of the `impl`.
    pub(super) class: Option<&'s str>,
    pub(super) params: Vec<Param<'s>>,
    pub(super) decorators: Vec<Expr<'s>>,
    pub(super) is_async: bool,
    pub(super) is_test: bool,
    pub(super) body: Vec<Stmt<'s>>,
}

#[derive(Debug)]
pub(super) struct Param<'s> {
    /// In Rust, a pattern.
    pub(super) target: Expr<'s>,
    pub(super) annotation: Option<Expr<'s>>,
    pub(super) default: Option<Expr<'s>>,
}

#[derive(Debug)]
pub(super) struct Class<'s> {
    pub(super) name: &'s str,
    pub(super) bases: Vec<Expr<'s>>,
    pub(super) decorators: Vec<Expr<'s>>,
    /// Fields, methods and inner classes.
    pub(super) body: Vec<Stmt<'s>>,
}

/// A comment: its bytes, with the sign that begins it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Comment {
    pub(super) span: Span,
}

/// A name that an import at the top of a file of Python makes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Import<'s> {
    pub(super) module: &'s str,
    /// In `from module import part`.
    pub(super) part: Option<&'s str>,
    pub(super) name: &'s str,
}

/// A file that was read.
#[derive(Debug, Default)]
pub(super) struct Tree<'s> {
    pub(super) body: Vec<Stmt<'s>>,
    pub(super) comments: Vec<Comment>,
    pub(super) imports: Vec<Import<'s>>,
    /// Where another import can be put: behind the text that documents the file.
    pub(super) import_at: u32,
}

/// Why a file cannot be read, and where.
#[derive(Debug)]
pub(super) struct Broken {
    pub(super) why: String,
    pub(super) at: Option<Span>,
}

impl Broken {
    pub(super) fn too_much() -> Self {
        Self {
            why: "all files together hold too much: audit their folders one by one".to_owned(),
            at: None,
        }
    }

    pub(super) fn too_deep() -> Self {
        Self {
            why: "it nests too deeply".to_owned(),
            at: None,
        }
    }
}

impl<'s> Expr<'s> {
    pub(super) fn is_name(&self, names: &[&str]) -> bool {
        matches!(self.kind, Kind::Name(name) if names.contains(&name))
    }

    /// The name behind awaits and `?`.
    pub(super) fn name(&self) -> Option<&'s str> {
        match self.bare().kind {
            Kind::Name(name) => Some(name),
            _ => None,
        }
    }

    /// Without awaits and `?`.
    pub(super) fn bare(&self) -> &Self {
        let mut bare = self;
        while let Kind::Await(inner) | Kind::Try(inner) = &bare.kind {
            bare = inner;
        }
        bare
    }

    pub(super) fn call(&self) -> Option<&Call<'s>> {
        match &self.bare().kind {
            Kind::Call(call) => Some(call),
            _ => None,
        }
    }

    /// The names of a path or a chain of calls: `Post.objects.filter(…).first()` is `Post`,
    /// `objects`, `filter`, `first`.
    pub(super) fn chain(&self) -> Vec<&'s str> {
        let mut names = Vec::new();
        let mut at = self;
        loop {
            at = match &at.kind {
                Kind::Name(name) => {
                    names.push(*name);
                    break;
                }
                Kind::Member(inner, name) => {
                    names.push(*name);
                    inner
                }
                Kind::Call(call) => &call.func,
                Kind::Index(both) => first(both),
                Kind::Await(inner) | Kind::Try(inner) => inner,
                _ => break,
            };
        }
        names.reverse();
        names
    }

    /// `object.member` in words, where it is made of names alone.
    pub(super) fn dotted(&self) -> Option<String> {
        match &self.kind {
            Kind::Name(name) => Some((*name).to_owned()),
            Kind::Member(inner, name) => Some(format!("{}.{name}", inner.dotted()?)),
            Kind::Await(inner) | Kind::Try(inner) => inner.dotted(),
            _ => None,
        }
    }

    /// The content of a literal: without prefix and quotes, escapes as they are written.
    pub(super) fn text(&self) -> Option<&'s str> {
        match self.kind {
            Kind::Text(text) => Some(content(text)),
            _ => None,
        }
    }

    /// Visits this expression and all in it, but for the statements of blocks and closures.
    pub(super) fn walk<'a>(&'a self, visit: &mut impl FnMut(&'a Expr<'s>)) {
        visit(self);
        self.children(&mut |child| child.walk(visit));
    }

    pub(super) fn children<'a>(&'a self, visit: &mut impl FnMut(&'a Expr<'s>)) {
        match &self.kind {
            Kind::Name(_) | Kind::Text(_) | Kind::Number(_) | Kind::Block(_) | Kind::Closure(_) => {
            }
            Kind::Member(inner, _) | Kind::Not(inner) | Kind::Await(inner) | Kind::Try(inner) => {
                visit(inner);
            }
            Kind::Index(both)
            | Kind::Compare(_, both)
            | Kind::Binary(_, both)
            | Kind::Let(both) => both.iter().for_each(visit),
            Kind::Choice(three) => three.iter().for_each(visit),
            Kind::Call(call) => {
                visit(&call.func);
                call.args.iter().for_each(|arg| visit(&arg.value));
            }
            Kind::Format(all) | Kind::Logic(all) | Kind::Many(all) => all.iter().for_each(visit),
            Kind::Record(pairs) => {
                for (key, value) in pairs {
                    visit(key);
                    visit(value);
                }
            }
        }
    }
}

/// The object of an index, or the left side.
pub(super) fn first<'e, 's>(both: &'e [Expr<'s>; 2]) -> &'e Expr<'s> {
    let [first, _] = both;
    first
}

/// The index, or the right side.
pub(super) fn second<'e, 's>(both: &'e [Expr<'s>; 2]) -> &'e Expr<'s> {
    let [_, second] = both;
    second
}

/// The body of an arm of a `match`, which may ask for more than its pattern.
pub(super) fn guarded<'s>(guard: Option<Expr<'s>>, body: Vec<Stmt<'s>>) -> Vec<Stmt<'s>> {
    let Some(test) = guard else { return body };
    let span = test.span;
    let otherwise = Vec::new();
    let act = Act::If {
        test,
        body,
        otherwise,
    };
    vec![Stmt { span, act }]
}

impl<'s> Stmt<'s> {
    /// The statements inside, suite by suite.
    pub(super) fn suites(&self) -> Vec<&[Stmt<'s>]> {
        match &self.act {
            Act::If {
                body, otherwise, ..
            } => vec![body, otherwise],
            Act::Match { arms, .. } => arms.iter().map(|it| it.1.as_slice()).collect(),
            Act::Loop { body, .. } | Act::With { body, .. } => vec![body],
            Act::Try {
                body,
                handlers,
                finally,
            } => {
                let handled = handlers.iter().map(|it| it.body.as_slice());
                [body.as_slice(), finally]
                    .into_iter()
                    .chain(handled)
                    .collect()
            }
            _ => Vec::new(),
        }
    }
}

impl Param<'_> {
    /// Returns whether the parameter sets this name.
    pub(super) fn binds(&self, name: &str) -> bool {
        let mut binds = false;
        self.target.walk(&mut |it| binds |= it.is_name(&[name]));
        binds
    }
}

impl<'s> Call<'s> {
    pub(super) fn arg(&self, place: usize, name: &str) -> Option<&Expr<'s>> {
        let named = self.args.iter().find(|arg| arg.name == Some(name));
        let placed = || self.args.iter().filter(|arg| arg.name.is_none()).nth(place);
        named.or_else(placed).map(|arg| &arg.value)
    }

    pub(super) fn named(&self, name: &str) -> Option<&Expr<'s>> {
        let named = self.args.iter().find(|arg| arg.name == Some(name));
        named.map(|arg| &arg.value)
    }

    /// The object of a method.
    pub(super) fn receiver(&self) -> Option<&Expr<'s>> {
        match &self.func.kind {
            Kind::Member(inner, _) => Some(inner),
            Kind::Index(both) => match &first(both).kind {
                Kind::Member(inner, _) => Some(inner),
                _ => None,
            },
            _ => None,
        }
    }

    /// The last name of the function.
    pub(super) fn last(&self) -> &'s str {
        match &self.func.kind {
            Kind::Name(name) | Kind::Member(_, name) => name,
            Kind::Index(both) => match first(both).kind {
                Kind::Name(name) | Kind::Member(_, name) => name,
                _ => "",
            },
            _ => "",
        }
    }
}

fn content(literal: &str) -> &str {
    let start = literal.find(['"', '\'']).unwrap_or(0);
    let (prefix, rest) = literal.split_at(start);
    let hashes = prefix.matches('#').count();
    let rest = rest.get(..rest.len().saturating_sub(hashes)).unwrap_or("");
    for quote in ["\"\"\"", "'''", "\"", "'"] {
        if let Some(inner) = rest.strip_prefix(quote) {
            return inner.strip_suffix(quote).unwrap_or(inner);
        }
    }
    literal
}
