//! Scans a text of Rust before the parser reads it: how deep it nests, and its comments, which the
//! parser leaves out.

use super::{nesting::Nesting, span::Span, tree::Comment};

/// A text, as far as its brackets and comments tell.
#[derive(Debug)]
pub(super) struct Scan {
    pub(super) nesting: Nesting,
    pub(super) comments: Vec<Comment>,
}

/// Scans a text, in one pass.
pub(super) fn scan(text: &str) -> Scan {
    let mut scanner = Scanner {
        bytes: text.as_bytes(),
        at: 0,
        nesting: Nesting::new(),
        comments: Vec::new(),
    };
    while scanner.at < scanner.bytes.len() {
        scanner.step();
    }
    Scan {
        nesting: scanner.nesting,
        comments: scanner.comments,
    }
}

struct Scanner<'t> {
    bytes: &'t [u8],
    at: usize,
    nesting: Nesting,
    comments: Vec<Comment>,
}

impl<'t> Scanner<'t> {
    fn rest(&self) -> &'t [u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    fn peek(&self, ahead: usize) -> u8 {
        self.bytes.get(self.at + ahead).copied().unwrap_or(0)
    }

    fn step(&mut self) {
        match (self.peek(0), self.peek(1)) {
            (b' ' | b'\t' | b'\r' | b'\n', _) => self.at += 1,
            (b'/', b'/' | b'*') => self.comment(),
            (b'"', _) => self.string(),
            (b'\'', _) => self.character(),
            (b'(', _) => self.open(b')'),
            (b'[', _) => self.open(b']'),
            (b'{', _) => self.open(b'}'),
            (close @ (b')' | b']' | b'}'), _) => {
                self.nesting.close(close);
                self.at += 1;
                if close == b'}' && !goes_on(self.rest()) {
                    self.nesting.end();
                }
            }
            (b',', _) => {
                self.nesting.comma();
                self.at += 1;
            }
            (b';', _) => {
                self.nesting.end();
                self.at += 1;
            }
            (b'|' | b'<', _) => {
                self.nesting.half_reaching();
                self.at += 1;
            }
            (byte, _) if is_of_word(byte) => self.word(),
            _ => {
                self.nesting.token();
                self.at += 1;
            }
        }
    }

    fn open(&mut self, close: u8) {
        self.nesting.open(close);
        self.at += 1;
    }

    fn comment(&mut self) {
        let place = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
        let start = place(self.at);
        self.at += comment(self.rest());
        let end = place(self.at);
        self.comments.push(Comment {
            span: Span { start, end },
        });
    }

    /// A word, or the prefix of a raw string.
    fn word(&mut self) {
        let rest = self.rest();
        let len = rest.iter().take_while(|b| is_of_word(**b)).count();
        let (word, rest) = rest.split_at(len);
        self.at += len;
        self.nesting.token();
        if matches!(word, b"r" | b"br" | b"cr") {
            let hashes = rest.iter().take_while(|b| **b == b'#').count();
            if rest.get(hashes) == Some(&b'"') {
                self.raw(hashes);
            }
        }
    }

    /// `r##"…"##`
    fn raw(&mut self, hashes: usize) {
        self.at += hashes + 1;
        let mut end = vec![b'"'];
        end.resize(hashes + 1, b'#');
        let rest = self.rest();
        self.at += memchr::memmem::find(rest, &end).map_or(rest.len(), |at| at + end.len());
    }

    fn string(&mut self) {
        self.nesting.token();
        self.at += 1;
        while let Some(found) = memchr::memchr2(b'"', b'\\', self.rest()) {
            self.at += found + 1;
            if self.bytes.get(self.at - 1) == Some(&b'"') {
                return;
            }
            self.at += 1;
        }
        self.at = self.bytes.len();
    }

    /// A character, or the `'` of a lifetime.
    fn character(&mut self) {
        self.nesting.token();
        if self.peek(1) == b'\\' {
            self.at += 3;
            let rest = self.rest();
            self.at += memchr::memchr(b'\'', rest).map_or(rest.len(), |at| at + 1);
            return;
        }
        let width = match self.peek(1) {
            0xf0.. => 4,
            0xe0.. => 3,
            0xc0.. => 2,
            _ => 1,
        };
        let is_character = self.peek(1 + width) == b'\'';
        self.at += if is_character { width + 2 } else { 1 };
    }
}

fn is_of_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80
}

/// The length of a comment.
fn comment(text: &[u8]) -> usize {
    if text.starts_with(b"//") {
        return memchr::memchr(b'\n', text).unwrap_or(text.len());
    }
    let (mut at, mut open) = (0, 0_usize);
    while let Some(found) = memchr::memchr2(b'/', b'*', text.get(at..).unwrap_or_default()) {
        at += found;
        match text.get(at..at + 2) {
            Some(b"/*") => {
                open += 1;
                at += 2;
            }
            Some(b"*/") => {
                open -= 1;
                at += 2;
                if open == 0 {
                    return at;
                }
            }
            _ => at += 1,
        }
    }
    text.len()
}

/// Returns whether a statement can go on behind its `}`, with what follows.
fn goes_on(rest: &[u8]) -> bool {
    let mut rest = rest.trim_ascii_start();
    while rest.starts_with(b"//") || rest.starts_with(b"/*") {
        let len = comment(rest);
        rest = rest.get(len..).unwrap_or_default().trim_ascii_start();
    }
    let len = rest.iter().take_while(|b| is_of_word(**b)).count();
    match rest.get(..len) {
        Some(b"") | None => !matches!(rest, [] | [b'}' | b'#' | b'"' | b'\'', ..]),
        Some(word) => matches!(word, b"else" | b"as" | b"in"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_deep(text: &str) -> bool {
        scan(text).nesting.is_too_deep()
    }

    #[test]
    fn text_that_nests_is_deep() {
        for (open, close) in [("(", ")"), ("[", "]"), ("f(", ")"), ("x.a(|| ", ")")] {
            let text = format!("x = {}1{}", open.repeat(5000), close.repeat(5000));
            assert!(is_deep(&text), "{open}");
        }
        for chain in [
            "!",
            "&",
            "a.",
            "1+",
            "|| ",
            "|a, b| ",
            "|a, b,| ",
            "move |_, (a, b)| ",
            "if a {} else ",
            "if a {} /* b */ else ",
            "if a {} // b\n else ",
            "for S {} in ",
            "{}+",
            "Vec<",
            "Vec<u8, ",
            "a::<b, c>().",
        ] {
            let text = format!("fn f() {{ {}1 }}", chain.repeat(9000));
            assert!(is_deep(&text), "{chain}");
        }
    }

    #[test]
    fn long_text_that_does_not_nest_is_not_deep() {
        for line in [
            "fn f() {}\n",
            "f('(', \"[\\\"\", r#\"{\"#, b'(', '\\'', '\u{20ac}');\n",
            "// ((((\n",
            "/* {{ /* ** */ ( */\n",
            "if a { b() } ",
            "const F: u8 = A | B | 1 << 3;\n",
        ] {
            let text = format!("fn f<'a>() {{ {} }}", line.repeat(5000));
            assert!(!is_deep(&text), "{line}");
        }
        let table = format!(
            "const T: [u8; 3000] = [{}];",
            "A | B, 1 << 3, ".repeat(1500)
        );
        assert!(!is_deep(&table));
    }

    #[test]
    fn comments_are_found() {
        let text = "// one\nlet a = \"// none\"; /* two */ let b = '\"'; // three";
        let found = scan(text).comments;
        let found: Vec<_> = found.iter().map(|it| &text[it.span.range()]).collect();
        assert_eq!(found, ["// one", "/* two */", "// three"]);
    }
}
