//! The only code that prints: for people, in colour where the terminal has it, or as JSON.
//!
//! Text of a request, a file or another program may hold control characters. The
//! printer escapes them, so that no text can move the cursor or change the colour.

use std::{
    cell::Cell,
    fmt::Write as _,
    io::{ErrorKind, Write as _},
};

use anstyle::{AnsiColor, Color, Style};
use serde::Serialize;

use crate::exit::{Exit, Failure};

const WIDTH_OF_LABELS: usize = 12;

/// A piece of a line, and how it looks.
#[derive(Clone, Debug)]
pub(crate) struct Span {
    style: Style,
    text: String,
}

const fn colour(colour: AnsiColor) -> Style {
    Style::new().fg_color(Some(Color::Ansi(colour)))
}

macro_rules! spans {
    ($($(#[$docs:meta])* $name:ident = $style:expr;)*) => {
        impl Span {
            $($(#[$docs])* pub(crate) fn $name(text: impl Into<String>) -> Self {
                Self { style: $style, text: text.into() }
            })*
        }
    };
}

spans! {
    plain = Style::new();
    strong = Style::new().bold();
    faint = Style::new().dimmed();
    good = colour(AnsiColor::Green).bold();
    bad = colour(AnsiColor::Red).bold();
    noted = colour(AnsiColor::Cyan);
    added = colour(AnsiColor::Green);
    removed = colour(AnsiColor::Red);
}

/// Prints for people, or as JSON.
#[derive(Debug)]
pub(crate) struct Printer {
    is_json: bool,
    /// Why nothing more can be printed.
    broken: Cell<Option<ErrorKind>>,
}

impl Printer {
    pub(crate) fn new(is_json: bool) -> Self {
        Self {
            is_json,
            broken: Cell::new(None),
        }
    }

    pub(crate) fn is_json(&self) -> bool {
        self.is_json
    }

    /// Prints a line for people.
    pub(crate) fn line(&self, spans: impl IntoIterator<Item = Span>) {
        if !self.is_json {
            self.write(&styled(spans));
        }
    }

    /// Prints a line that somebody may paste or pipe, whatever the format.
    pub(crate) fn text(&self, text: &str) {
        self.write(&escaped(text));
    }

    /// Prints bytes as they are, for a file or a pipe.
    pub(crate) fn raw(&self, bytes: &[u8]) {
        let mut out = anstream::stdout().into_inner().lock();
        self.note(out.write_all(bytes).and_then(|()| out.flush()));
    }

    /// Prints a text that is styled already, and that holds nothing else that a terminal obeys.
    pub(crate) fn styled(&self, text: &str) {
        if !self.is_json {
            self.write(text);
        }
    }

    /// Prints a label and its value, for people.
    pub(crate) fn row(&self, label: &str, value: impl Into<String>) {
        self.row_of(label, [Span::plain(value)]);
    }

    pub(crate) fn row_of(&self, label: &str, value: impl IntoIterator<Item = Span>) {
        let label = Span::faint(format!("{label:WIDTH_OF_LABELS$} "));
        self.line(std::iter::once(label).chain(value));
    }

    /// Prints one object on one line, if the output is JSON.
    pub(crate) fn object(&self, object: &impl Serialize) {
        if self.is_json
            && let Ok(text) = serde_json::to_string(object)
        {
            self.write(&escaped_json(&text));
        }
    }

    /// Prints a warning on standard error.
    pub(crate) fn warn(&self, text: &str) {
        let label = Span {
            style: colour(AnsiColor::Yellow).bold(),
            text: "warning".to_owned(),
        };
        self.note(complain(&styled([label, Span::plain(format!(": {text}"))])));
    }

    /// Says on standard error why the command failed, and what to do.
    pub(crate) fn failure(&self, failure: &Failure) {
        let Failure {
            what,
            why,
            advice,
            report,
            ..
        } = failure;
        let mut text = styled([Span::bad("error"), Span::plain(format!(": {what}"))]);
        let labelled = |label: &str, line: &str| {
            styled([
                Span::noted(format!("\n  {label}")),
                Span::plain(format!(": {line}")),
            ])
        };
        match report {
            Some(report) => text = format!("{text}\n{report}"),
            None if why.is_empty() => {}
            None => text.push_str(&labelled("why", why)),
        }
        if !advice.is_empty() {
            text.push_str(&labelled("help", advice));
        }
        self.note(complain(&text));
    }

    /// Turns an output that broke into an exit code. A closed pipe is not a failure.
    pub(crate) fn finish(&self, exit: Exit) -> Exit {
        match self.broken.get() {
            None | Some(ErrorKind::BrokenPipe) => exit,
            Some(_) => Exit::Unable,
        }
    }

    fn write(&self, text: &str) {
        if self.broken.get().is_none() {
            self.note(writeln!(anstream::stdout().lock(), "{text}"));
        }
    }

    fn note(&self, written: std::io::Result<()>) {
        if let Err(error) = written {
            self.broken.set(Some(error.kind()));
        }
    }
}

fn complain(text: &str) -> std::io::Result<()> {
    writeln!(anstream::stderr().lock(), "{text}")
}

fn styled(spans: impl IntoIterator<Item = Span>) -> String {
    let mut line = String::new();
    for Span { style, text } in spans {
        let _ = write!(line, "{style}{}{style:#}", escaped(&text));
    }
    line
}

/// Returns whether a terminal obeys this character, or shows nothing for it. Line feeds and tabs
/// are our own.
pub(crate) fn is_harmful(c: char) -> bool {
    let is_hidden = matches!(
        c,
        '\u{61c}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{2069}'
            | '\u{feff}'
    );
    is_hidden || (c.is_control() && !matches!(c, '\n' | '\t'))
}

/// Escapes the characters that a terminal obeys.
pub(crate) fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        if is_harmful(c) {
            escaped.extend(c.escape_unicode());
        } else {
            escaped.push(c);
        }
    }
    escaped
}

/// The same on one line: line feeds and tabs are escaped, too.
pub(crate) fn one_line(text: &str) -> String {
    escaped(text).replace('\n', "\\n").replace('\t', "\\t")
}

/// Escapes them in JSON, where only strings can have them.
fn escaped_json(json: &str) -> String {
    let mut escaped = String::with_capacity(json.len());
    for c in json.chars() {
        if is_harmful(c) {
            let _ = write!(escaped, "\\u{:04x}", u32::from(c));
        } else {
            escaped.push(c);
        }
    }
    escaped
}

/// The text with other characters in place of those that a terminal obeys, each as long as it was:
/// places in it stay where they are.
pub(crate) fn harmless(text: &str) -> String {
    let replaced = text.chars().map(|c| match (is_harmful(c), c.len_utf8()) {
        (false, _) => c,
        (true, 1) => '?',
        (true, 2) => '\u{bf}',
        (true, _) => '\u{fffd}',
    });
    replaced.collect()
}

/// Bytes as text on one line: control characters, line feeds and bytes that are not UTF-8 escaped.
pub(crate) fn visible(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\\' => text.push_str("\\\\"),
                c if c.is_control() => text.extend(c.escape_default()),
                c => text.push(c),
            }
        }
        for byte in chunk.invalid() {
            let _ = write!(text, "\\x{byte:02x}");
        }
    }
    text
}
