//! Comments that allow a finding: `# countersign: allow(RULE) reason`.

use super::{
    project::File,
    rules,
    span::{Span, line_of},
};
use crate::printer::one_line;

/// The rule that a comment allows.
#[derive(Debug)]
pub(super) struct Allowed {
    rules: Vec<String>,
    /// The line of code beside or below the comment.
    line: usize,
}

impl Allowed {
    pub(super) fn allows(&self, rule: &str, line: usize) -> bool {
        self.line == line && self.rules.iter().any(|it| it == rule)
    }
}

/// The comments of a file. A comment without a reason or without a rule allows nothing.
pub(super) fn read(file: &File<'_>, warnings: &mut Vec<String>) -> Vec<Allowed> {
    let mut all = Vec::new();
    for comment in &file.tree.comments {
        let text = file.text.get(comment.span.range()).unwrap_or_default();
        let text = text.trim_start_matches(['#', '/', '*', '!', ' ', '\t']);
        let Some(rest) = text.strip_prefix("countersign:") else {
            continue;
        };
        if !rest.trim_start().starts_with("allow") {
            continue;
        }
        let line = line_of(file.text, comment.span.start as usize);
        let place = format!("{}:{line}", one_line(file.path));
        let Some((names, reason)) = rest
            .trim_start()
            .strip_prefix("allow(")
            .and_then(|it| it.split_once(')'))
        else {
            warnings.push(format!("{place}: write `countersign: allow(RULE) reason`"));
            continue;
        };
        let rules: Vec<String> = names.split(',').map(|it| it.trim().to_owned()).collect();
        if let Some(unknown) = rules.iter().find(|it| rules::find(it).is_none()) {
            warnings.push(format!("{place}: `{unknown}` is not a rule"));
        }
        let reason = reason
            .trim_end_matches("*/")
            .trim_matches([' ', ':', '-', '\t']);
        if reason.chars().filter(|c| c.is_alphabetic()).count() < 3 {
            warnings.push(format!(
                "{place}: the comment gives no reason, and allows nothing"
            ));
            continue;
        }
        all.push(Allowed {
            rules,
            line: line + lines_to_code(file.text, comment.span),
        });
    }
    all
}

/// Returns how many lines below a comment its code is: 0 if both are on one line.
fn lines_to_code(text: &str, comment: Span) -> usize {
    let before = text.get(..comment.start as usize).unwrap_or_default();
    let beside = before.rsplit('\n').next().unwrap_or_default();
    if !beside.trim().is_empty() {
        return 0;
    }
    let is_comment = |it: &str| {
        it.is_empty() || it.starts_with('#') && !it.starts_with("#[") || it.starts_with("//")
    };
    let below = text.get(comment.start as usize..).unwrap_or_default();
    let inside = text
        .get(comment.range())
        .unwrap_or_default()
        .matches('\n')
        .count();
    let lines = below.split('\n').skip(1 + inside);
    1 + inside + lines.take_while(|it| is_comment(it.trim())).count()
}
