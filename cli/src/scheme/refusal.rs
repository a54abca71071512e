//! A scheme file that is refused: the line, the reason, and what to do.

use std::{ops::Range, path::Path};

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};
use countersign::ConfigError;

use super::nearest::nearest;
use crate::{
    exit::Failure,
    printer::{escaped, harmless},
};

/// Why a description is refused: what, and in which bytes of the file.
pub(super) struct Fault {
    pub(super) what: String,
    pub(super) at: Option<Range<usize>>,
    pub(super) advice: Option<String>,
}

impl Fault {
    pub(super) fn at(span: Range<usize>, what: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            at: Some(span),
            advice: None,
        }
    }
}

impl From<toml::de::Error> for Fault {
    fn from(error: toml::de::Error) -> Self {
        Self {
            what: error.message().to_owned(),
            at: error.span(),
            advice: meant(error.message()).map(|near| format!("did you mean `{near}`?")),
        }
    }
}

/// The known name that is nearest to the one that serde does not know: "unknown field `tim`,
/// expected one of `time`, `nonce`".
fn meant(message: &str) -> Option<&str> {
    let names = message.strip_prefix("unknown ")?;
    let mut names = names.split('`').skip(1).step_by(2);
    nearest(names.next()?, names)
}

pub(super) struct Refusal<'f> {
    pub(super) fault: Fault,
    pub(super) text: &'f str,
    pub(super) path: &'f Path,
}

impl Refusal<'_> {
    /// The failure, whose reason shows the line.
    pub(super) fn into_failure(self) -> Failure {
        let path = self.path.display().to_string();
        let Fault { what, at, advice } = self.fault;
        let place = at.clone().map_or(0, |at| at.start.min(self.text.len()));
        let before = self.text.get(..place).unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        let at = at.unwrap_or(0..0);
        let (shown_text, what) = (harmless(self.text), escaped(&what));
        let snippet = Snippet::source(&shown_text)
            .path(&path)
            .annotation(AnnotationKind::Primary.span(at));
        let group = Group::with_title(Level::ERROR.primary_title(&what)).element(snippet);
        let shown = Renderer::styled().render(&[group]).to_string();
        let mut failure = Failure::usage(
            format!("the scheme file `{path}` is refused in line {line}"),
            what,
            advice.unwrap_or_else(|| {
                "`cli/schemes/` has scheme files to begin with, and `cli/README.md` describes each \
                 key"
                .to_owned()
            }),
        );
        failure.report = Some(shown);
        failure
    }
}

/// The library's words, with the names of the file in place of Rust's.
pub(super) fn in_words(error: &ConfigError) -> String {
    let mut text = error.to_string();
    for (rust, file) in [
        ("the scheme's description: ", ""),
        ("`Part::text(\"\\n\")`", "`{ text = \"\\n\" }`"),
        ("`Part::Time`", "the part `time`"),
        ("`Part::Nonce`", "the part `nonce`"),
        ("`Part::KeyId`", "the part `key-id`"),
        ("`Part::Authority`", "the part `authority`"),
        ("the Time", "the time"),
        ("the Nonce", "the nonce"),
        ("danger_without_time", "danger-without-time"),
        ("fixed_key_id", "fixed-key-id"),
    ] {
        text = text.replace(rust, file);
    }
    text
}

/// The library's words on a request, with the names of the command in place of Rust's.
pub(crate) fn in_names(text: &str) -> String {
    text.replace("`Twilio::json_at()`", "the scheme `twilio:/path`")
        .replace("`Twilio::new()`", "the scheme `twilio`")
}
