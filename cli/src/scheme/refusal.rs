//! A scheme file that is refused: the line, the reason, and what to do.

use std::path::Path;

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};

use super::file::Fault;
use crate::exit::Failure;

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
        let snippet = Snippet::source(self.text)
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
