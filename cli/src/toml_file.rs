//! Files in TOML that a person writes: read whole, and refused with the line, the reason, and what to
//! do.

use std::{fs, ops::Range, path::Path};

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};

use crate::{
    exit::Failure,
    nearest::nearest,
    printer::{escaped, harmless},
};

/// Far more than such a file is long.
const MAX_LEN: u64 = 256 * 1024;

/// A kind of file.
#[derive(Debug)]
pub(crate) struct Kind {
    /// As in "the scheme file".
    pub(crate) name: &'static str,
    /// Where to look, if a fault has no advice of its own.
    pub(crate) advice: &'static str,
}

/// Why a file is refused: what, and in which bytes of the file.
#[derive(Debug)]
pub(crate) struct Fault {
    pub(crate) what: String,
    pub(crate) at: Option<Range<usize>>,
    pub(crate) advice: Option<String>,
}

impl Fault {
    pub(crate) fn at(span: Range<usize>, what: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            at: Some(span),
            advice: None,
        }
    }

    pub(crate) fn advising(self, advice: impl Into<String>) -> Self {
        Self {
            advice: Some(advice.into()),
            ..self
        }
    }
}

impl From<toml::de::Error> for Fault {
    fn from(error: toml::de::Error) -> Self {
        Self {
            what: in_toml_words(error.message()),
            at: error.span(),
            advice: meant(error.message()).map(|near| format!("did you mean `{near}`?")),
        }
    }
}

/// The words of the reader, with those of TOML in place of Rust's.
fn in_toml_words(message: &str) -> String {
    let whole = "expected a whole number, and none below zero";
    let said = [
        ("unknown field ", "unknown key "),
        ("missing field ", "missing key "),
        ("unknown variant ", "unknown value "),
        ("expected a sequence", "expected a list"),
        ("expected u64", whole),
        ("expected usize", whole),
    ];
    let said = said.iter().fold(message.to_owned(), |text, (rust, toml)| {
        text.replace(rust, toml)
    });
    match said.split_once("expected struct ") {
        Some((before, _)) => format!("{before}expected a table"),
        None => said,
    }
}

/// The known name that is nearest to the one that serde does not know: "unknown field `tim`,
/// expected one of `time`, `nonce`".
fn meant(message: &str) -> Option<&str> {
    let names = message.strip_prefix("unknown ")?;
    let mut names = names.split('`').skip(1).step_by(2);
    nearest(names.next()?, names)
}

/// The text with stars in place of what may be a password in a URL: its user, and its query. No byte
/// moves.
fn without_passwords(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, url) = rest.split_at(at + 3);
        let ends = |c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '`');
        let (url, after) = url.split_at(url.find(ends).unwrap_or(url.len()));
        let user = url.rfind('@').unwrap_or(0);
        let query = url.find('?').map_or(url.len(), |at| (at + 1).max(user));
        shown.push_str(before);
        shown.push_str(&"*".repeat(user));
        shown.push_str(url.get(user..query).unwrap_or_default());
        shown.push_str(&"*".repeat(url.len() - query));
        rest = after;
    }
    shown + rest
}

impl Kind {
    /// Reads a file.
    pub(crate) fn read<T>(
        &self,
        path: &Path,
        parse: impl FnOnce(&str) -> Result<T, Fault>,
    ) -> Result<T, Failure> {
        let unable = |why: String, advice: &str| {
            Failure::unable(
                format!("cannot read the {} `{}`", self.name, path.display()),
                why,
                advice,
            )
        };
        let length = fs::metadata(path).map(|metadata| metadata.len());
        if length.as_ref().is_ok_and(|length| *length > MAX_LEN) {
            return Err(unable(
                format!("it is longer than {MAX_LEN} bytes"),
                "check the path",
            ));
        }
        let text = fs::read_to_string(path).map_err(|error| {
            unable(
                error.to_string(),
                "check the path, and that the file is a text in UTF-8",
            )
        })?;
        parse(&text).map_err(|fault| self.refusal(fault, &text, path))
    }

    /// The failure, whose reason shows the line.
    pub(crate) fn refusal(&self, fault: Fault, text: &str, path: &Path) -> Failure {
        let path = path.display().to_string();
        let Fault { what, at, advice } = fault;
        let place = at.clone().map_or(0, |at| at.start.min(text.len()));
        let before = text.get(..place).unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        let at = at.unwrap_or(0..0);
        let shown_text = harmless(&without_passwords(text));
        let what = escaped(&without_passwords(&what));
        let snippet = Snippet::source(&shown_text)
            .path(&path)
            .annotation(AnnotationKind::Primary.span(at));
        let group = Group::with_title(Level::ERROR.primary_title(&what)).element(snippet);
        let shown = Renderer::styled().render(&[group]).to_string();
        let mut failure = Failure::usage(
            format!("the {} `{path}` is refused in line {line}", self.name),
            what,
            advice.unwrap_or_else(|| self.advice.to_owned()),
        );
        failure.report = Some(shown);
        failure
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_fault_shows_a_password() {
        for (text, shown) in [
            ("a = 1", "a = 1"),
            ("\"http://host:1/a\"", "\"http://host:1/a\""),
            (
                "\"postgres://me:p@ss@host/db?password=a&b\" # x",
                "\"postgres://*******@host/db?************\" # x",
            ),
            ("redis://:pä/ss@host", "redis://*******@host"),
            ("x://a?b@c", "x://*****"),
            ("a://b@c d://e?f", "a://*@c d://e?*"),
        ] {
            assert_eq!(without_passwords(text), shown);
            assert_eq!(text.len(), shown.len());
        }
    }
}
