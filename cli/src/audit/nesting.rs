//! How deep a text may nest, told before a parser reads it: a parser that recurses must not meet a
//! text that was written to exhaust its stack.
//!
//! The count never lies below the depth of the tree. It holds, for each bracket that is open, the
//! tokens since the last comma or end of a statement: no operator binds across those.

/// The deepest text that is read. Code that people write stays far below.
const LIMIT: usize = 4096 * TOKEN;

/// Counted for a token.
const TOKEN: usize = 2;

/// Counts the tokens of a text by the brackets around them.
#[derive(Debug)]
pub(super) struct Nesting {
    levels: Vec<Level>,
    /// The sum over all levels.
    depth: usize,
    deepest: usize,
}

/// A bracket that is open, or the file itself.
#[derive(Debug, Default)]
struct Level {
    /// The token that closes it.
    close: u8,
    tokens: usize,
    /// The part of these that a comma leaves.
    kept: usize,
}

impl Nesting {
    pub(super) fn new() -> Self {
        Self {
            levels: vec![Level::default()],
            depth: 0,
            deepest: 0,
        }
    }

    /// Returns whether a parser may not read the text.
    pub(super) fn is_too_deep(&self) -> bool {
        self.deepest > LIMIT
    }

    pub(super) fn is_in_bracket(&self) -> bool {
        self.levels.len() > 1
    }

    /// Returns whether this token closes the innermost bracket.
    pub(super) fn is_closed_by(&self, close: u8) -> bool {
        self.is_in_bracket() && self.levels.last().is_some_and(|it| it.close == close)
    }

    pub(super) fn token(&mut self) {
        self.count(TOKEN, 0);
    }

    /// A token whose operand goes on behind commas: `lambda a, b: …`.
    pub(super) fn reaching(&mut self) {
        self.count(TOKEN, TOKEN);
    }

    /// One of the two tokens around a list, which may also be an operator: `|a, b| …`, `<A, B>`.
    /// A table of flags holds thousands.
    pub(super) fn half_reaching(&mut self) {
        self.count(TOKEN, TOKEN / 2);
    }

    fn count(&mut self, tokens: usize, kept: usize) {
        if let Some(level) = self.levels.last_mut() {
            level.tokens += tokens;
            level.kept += kept;
            self.depth += tokens;
            self.deepest = self.deepest.max(self.depth);
        }
    }

    pub(super) fn comma(&mut self) {
        if let Some(level) = self.levels.last_mut() {
            self.depth -= level.tokens - level.kept;
            level.tokens = level.kept;
        }
    }

    /// The end of a statement.
    pub(super) fn end(&mut self) {
        if let Some(level) = self.levels.last_mut() {
            self.depth -= level.tokens;
            (level.tokens, level.kept) = (0, 0);
        }
    }

    pub(super) fn open(&mut self, close: u8) {
        self.token();
        self.levels.push(Level {
            close,
            ..Level::default()
        });
        self.token();
    }

    /// A parser may skip a bracket that closes nothing: so does the count.
    pub(super) fn close(&mut self, close: u8) {
        if self.is_closed_by(close) {
            self.end();
            self.levels.pop();
        } else {
            self.token();
        }
    }
}
