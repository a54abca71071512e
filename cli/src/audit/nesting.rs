//! How deep a text may nest, told before a parser reads it: a parser that recurses must not meet a
//! text that was written to exhaust its stack.
//!
//! The estimate never lies below the depth of the tree. It counts, for each bracket that is open,
//! the tokens since the last comma or end of a statement: no operator binds across those.

use super::tree::{Comment, Span};

/// The deepest text that is read. Code that people write stays far below.
pub(super) const LIMIT: usize = 4096;

/// A language, as far as its strings and comments differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Language {
    Python,
    Rust,
}

#[derive(Clone, Copy, PartialEq)]
enum Level {
    /// A bracket, or the file itself.
    Code,
    /// The text of an f-string: its quote, and whether there are three.
    Text(u8, bool),
}

/// What a text holds, as far as its brackets tell.
#[derive(Debug, Default)]
pub(super) struct Scan {
    pub(super) deepest: usize,
    /// In Rust.
    pub(super) comments: Vec<Comment>,
}

/// Scans a text, in one pass.
pub(super) fn scan(text: &str, language: Language) -> Scan {
    let mut scanner = Scanner {
        bytes: text.as_bytes(),
        at: 0,
        language,
        levels: vec![(Level::Code, 0)],
        depth: 0,
        indent: 0,
        found: Scan::default(),
    };
    while scanner.at < scanner.bytes.len() {
        scanner.step();
    }
    scanner.found
}

struct Scanner<'t> {
    bytes: &'t [u8],
    at: usize,
    language: Language,
    /// The open levels, and how many tokens each has since its last end.
    levels: Vec<(Level, usize)>,
    /// The sum of these tokens.
    depth: usize,
    indent: usize,
    found: Scan,
}

impl Scanner<'_> {
    fn peek(&self, ahead: usize) -> u8 {
        self.bytes.get(self.at + ahead).copied().unwrap_or(0)
    }

    fn starts(&self, with: &[u8]) -> bool {
        self.bytes
            .get(self.at..)
            .is_some_and(|rest| rest.starts_with(with))
    }

    fn step(&mut self) {
        if let Some((Level::Text(quote, three), _)) = self.levels.last().copied() {
            return self.text(quote, three);
        }
        let byte = self.peek(0);
        match byte {
            b'\n' if self.language == Language::Python => {
                self.at += 1;
                if self.levels.len() == 1 {
                    self.reset();
                    let rest = self.bytes.get(self.at..).unwrap_or_default();
                    let blanks = rest
                        .iter()
                        .take_while(|b| matches!(b, b' ' | b'\t'))
                        .count();
                    if rest
                        .get(blanks)
                        .is_some_and(|b| !matches!(b, b'\n' | b'\r' | b'#'))
                    {
                        self.indent = blanks;
                    }
                }
            }
            b' ' | b'\t' | b'\r' | b'\n' => self.at += 1,
            b'\\' if self.language == Language::Python => self.at += 2,
            b'#' if self.language == Language::Python => self.line(),
            b'/' if self.language == Language::Rust && self.peek(1) == b'/' => {
                let start = self.at;
                self.line();
                self.comment(start);
            }
            b'/' if self.language == Language::Rust && self.peek(1) == b'*' => self.block(),
            b'"' => self.string(b'"', false),
            b'\'' if self.language == Language::Python => self.string(b'\'', false),
            b'\'' => self.character(),
            b'(' | b'[' | b'{' => {
                self.token();
                self.levels.push((Level::Code, 0));
                self.token();
                self.at += 1;
            }
            b')' | b']' | b'}' => {
                self.close();
                self.at += 1;
                let is_end = byte == b'}' && self.language == Language::Rust && !self.goes_on();
                if is_end {
                    self.reset();
                }
            }
            b',' | b';' => {
                self.reset();
                self.at += 1;
            }
            _ if byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80 => self.word(),
            _ => {
                self.token();
                self.at += 1;
            }
        }
    }

    fn token(&mut self) {
        if let Some((_, tokens)) = self.levels.last_mut() {
            *tokens += 1;
            self.depth += 1;
            self.found.deepest = self.found.deepest.max(self.depth + self.indent);
        }
    }

    fn reset(&mut self) {
        if let Some((_, tokens)) = self.levels.last_mut() {
            self.depth -= *tokens;
            *tokens = 0;
        }
    }

    fn close(&mut self) {
        self.reset();
        if self.levels.len() > 1 {
            self.levels.pop();
        }
    }

    /// Whether a statement of Rust can go on behind its `}`.
    fn goes_on(&self) -> bool {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let blanks = rest.iter().take_while(|b| b.is_ascii_whitespace()).count();
        let rest = rest.get(blanks..).unwrap_or_default();
        if rest.starts_with(b"else") || rest.starts_with(b"as ") {
            return true;
        }
        match rest {
            [] | [b'}' | b'#' | b'_' | b'"' | b'\'', ..] | [b'/', b'/' | b'*', ..] => false,
            [first, ..] => !first.is_ascii_alphanumeric() && *first < 0x80,
        }
    }

    fn line(&mut self) {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        self.at += memchr::memchr(b'\n', rest).unwrap_or(rest.len());
    }

    fn comment(&mut self, start: usize) {
        let place = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
        let span = Span {
            start: place(start),
            end: place(self.at),
        };
        self.found.comments.push(Comment { span });
    }

    fn block(&mut self) {
        let (start, mut open) = (self.at, 0_usize);
        while self.at < self.bytes.len() {
            if self.starts(b"/*") {
                open += 1;
                self.at += 2;
            } else if self.starts(b"*/") {
                open -= 1;
                self.at += 2;
                if open == 0 {
                    break;
                }
            } else {
                self.at += 1;
            }
        }
        self.at = self.at.min(self.bytes.len());
        self.comment(start);
    }

    /// A word, or the prefix of a string.
    fn word(&mut self) {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let len = rest
            .iter()
            .take_while(|b| b.is_ascii_alphanumeric() || **b == b'_' || **b >= 0x80)
            .count();
        let word = rest.get(..len).unwrap_or_default();
        self.at += len;
        let next = self.peek(0);
        let is_prefix = len <= 2 && word.iter().all(u8::is_ascii_alphabetic);
        if is_prefix && matches!(next, b'"' | b'\'') && self.language == Language::Python {
            let has = |c: u8| word.iter().any(|b| b.eq_ignore_ascii_case(&c));
            if has(b'f') || has(b't') {
                self.token();
                let three = self.starts(&[next; 3]);
                self.at += if three { 3 } else { 1 };
                self.levels.push((Level::Text(next, three), 0));
                return;
            }
            if [b'r', b'b', b'u'].into_iter().any(has) {
                return self.string(next, has(b'r'));
            }
        }
        if self.language == Language::Rust && matches!(word, b"r" | b"br" | b"cr") {
            let hashes = self.bytes.get(self.at..).unwrap_or_default();
            let hashes = hashes.iter().take_while(|b| **b == b'#').count();
            if self.peek(hashes) == b'"' {
                return self.raw(hashes);
            }
        }
        self.token();
    }

    /// `r##"…"##`
    fn raw(&mut self, hashes: usize) {
        self.token();
        self.at += hashes + 1;
        let mut end = vec![b'"'];
        end.resize(hashes + 1, b'#');
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        self.at += memchr::memmem::find(rest, &end).map_or(rest.len(), |at| at + end.len());
    }

    fn string(&mut self, quote: u8, is_raw: bool) {
        self.token();
        let three = self.language == Language::Python && self.starts(&[quote; 3]);
        self.at += if three { 3 } else { 1 };
        while self.at < self.bytes.len() {
            let byte = self.peek(0);
            if byte == b'\\' {
                // In a raw string too, a quote behind it does not end the string.
                let _ = is_raw;
                self.at += 2;
            } else if three && self.starts(&[quote; 3]) {
                self.at += 3;
                return;
            } else if byte == quote && !three {
                self.at += 1;
                return;
            } else if byte == b'\n' && !three && self.language == Language::Python {
                return;
            } else {
                self.at += 1;
            }
        }
        self.at = self.bytes.len();
    }

    /// The text of an f-string, up to its end or to the next `{`.
    fn text(&mut self, quote: u8, three: bool) {
        let byte = self.peek(0);
        let ends = if three {
            self.starts(&[quote; 3])
        } else {
            byte == quote || byte == b'\n'
        };
        if ends {
            self.at += if three { 3 } else { 1 };
            self.close();
        } else if byte == b'{' && self.peek(1) == b'{' || byte == b'\\' {
            self.at += 2;
        } else if byte == b'{' {
            self.token();
            self.at += 1;
            self.levels.push((Level::Code, 0));
        } else {
            self.at += 1;
        }
    }

    /// A character, or the `'` of a lifetime.
    fn character(&mut self) {
        self.token();
        if self.peek(1) == b'\\' {
            self.at += 3;
            let rest = self.bytes.get(self.at..).unwrap_or_default();
            self.at += memchr::memchr(b'\'', rest).map_or(rest.len(), |at| at + 1);
            return;
        }
        let rest = self.bytes.get(self.at + 1..).unwrap_or_default();
        let width = match rest.first() {
            Some(0xf0..) => 4,
            Some(0xe0..) => 3,
            Some(0xc0..) => 2,
            _ => 1,
        };
        let is_character = rest.get(width) == Some(&b'\'');
        self.at += if is_character { width + 2 } else { 1 };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deepest(text: &str, language: Language) -> usize {
        scan(text, language).deepest
    }

    #[test]
    fn what_nests_is_deep_in_either_language() {
        for (open, close) in [("(", ")"), ("[", "]"), ("f(", ")"), ("x.a(|| ", ")")] {
            let text = format!("x = {}1{}", open.repeat(5000), close.repeat(5000));
            assert!(deepest(&text, Language::Rust) > LIMIT, "{open}");
            assert!(deepest(&text, Language::Python) > LIMIT, "{open}");
        }
        for chain in ["not ", "-", "a.", "1+", "lambda: ", "x if y else "] {
            let text = format!("x = {}1", chain.repeat(5000));
            assert!(deepest(&text, Language::Python) > LIMIT, "{chain}");
        }
        for chain in ["!", "&", "a.", "1+", "|| ", "if a {} else ", "{}+", "Vec<"] {
            let text = format!("fn f() {{ {}1 }}", chain.repeat(5000));
            assert!(deepest(&text, Language::Rust) > LIMIT, "{chain}");
        }
        let text = format!("x = {}1{}", "f'{".repeat(5000), "}'".repeat(5000));
        assert!(deepest(&text, Language::Python) > LIMIT);
    }

    #[test]
    fn long_texts_that_do_not_nest_are_not_deep() {
        for line in [
            "x = 1\n",
            "x = ['(', \"[\", '''{''']\n",
            "x = f'({a}'\n",
            "# ((((\n",
        ] {
            assert!(deepest(&line.repeat(5000), Language::Python) < 30, "{line}");
        }
        let list = format!("x = [{}]", "f(1) + 2, ".repeat(5000));
        assert!(deepest(&list, Language::Python) < 30);
        for line in [
            "fn f() {}\n",
            "f('(', \"[\", r#\"{\"#);\n",
            "// ((((\n",
            "/* {{ */\n",
        ] {
            assert!(deepest(&line.repeat(5000), Language::Rust) < 30, "{line}");
        }
        assert!(
            deepest(
                &format!("fn f<'a>() {{ {} }}", "if a { b() } ".repeat(5000)),
                Language::Rust
            ) < 30
        );
    }

    #[test]
    fn comments_of_rust_are_found() {
        let text = "// one\nlet a = \"// none\"; /* two */ let b = '\"'; // three";
        let found = scan(text, Language::Rust).comments;
        let found: Vec<_> = found.iter().map(|it| &text[it.span.range()]).collect();
        assert_eq!(found, ["// one", "/* two */", "// three"]);
    }
}
