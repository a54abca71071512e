//! One small tree for both languages: what the rules read, and no more.
//!
//! Names and literals borrow from the text of the file. Both parsers bound the depth of what they
//! build, so that all code behind them may walk a tree by recursion.

use super::span::Span;

/// How deep a tree can be. Expressions below this depth are read as [`Kind::Many`] of nothing.
pub(super) const DEPTH: usize = 120;

/// A language that is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Language {
    Python,
    Rust,
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
        /// The names that each round sets, and their source.
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
