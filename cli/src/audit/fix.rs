//! Changes that mend findings: as a difference, or in the files.

use std::{collections::BTreeMap, fmt::Write as _, fs};

use super::{Report, run::Source, span::Span};
use crate::{
    exit::Failure,
    printer::{escaped, one_line},
};

/// Files with their mended texts.
fn mended(report: &Report, with_unsafe: bool) -> Vec<(&Source, String, usize)> {
    let mut edits: BTreeMap<usize, Vec<(Span, &str)>> = BTreeMap::new();
    let mut counts: BTreeMap<usize, usize> = BTreeMap::new();
    for fix in report.findings.iter().filter_map(|it| it.fix.as_ref()) {
        if !fix.is_safe && !with_unsafe {
            continue;
        }
        let own = edits.entry(fix.file).or_default();
        // An import is added once; places that overlap are mended one after the other.
        let is_new = |(span, _): &&(Span, String)| span.start != span.end;
        let overlaps = |span: Span| {
            own.iter()
                .any(|(it, _)| it.start < span.end && span.start < it.end)
        };
        if fix
            .edits
            .iter()
            .filter(is_new)
            .any(|(span, _)| overlaps(*span))
        {
            continue;
        }
        for (span, text) in &fix.edits {
            let is_there = own
                .iter()
                .any(|(it, other)| it == span && *other == text.as_str());
            if !is_there {
                own.push((*span, text));
            }
        }
        *counts.entry(fix.file).or_default() += 1;
    }
    let mut all = Vec::new();
    for (file, mut edits) in edits {
        let Some(source) = report.sources.get(file) else {
            continue;
        };
        edits.sort_by_key(|(span, _)| std::cmp::Reverse((span.start, span.end)));
        let mut text = source.text.clone();
        for (span, new) in edits {
            if text.get(span.range()).is_some() {
                text.replace_range(span.range(), new);
            }
        }
        all.push((source, text, counts.get(&file).copied().unwrap_or(0)));
    }
    all
}

/// The changes as a unified difference, with what a terminal obeys escaped.
pub(crate) fn difference(report: &Report, with_unsafe: bool) -> String {
    let mut all = String::new();
    for (source, new, _) in mended(report, with_unsafe) {
        let path = one_line(&source.path);
        let _ = write!(all, "--- a/{path}\n+++ b/{path}\n");
        all.push_str(&hunks(&source.text, &new));
    }
    escaped(&all)
}

/// Writes the changes.
///
/// # Errors
/// Returns a failure if a file has changed since it was read, or cannot be written.
pub(crate) fn apply(report: &Report, with_unsafe: bool) -> Result<usize, Failure> {
    let mut count = 0;
    for (source, new, fixes) in mended(report, with_unsafe) {
        let fail =
            |why: String| Failure::unable(format!("`{}` is not mended", source.path), why, "");
        let now = fs::read_to_string(&source.file).map_err(|error| fail(error.to_string()))?;
        if now != source.text {
            return Err(fail("it has changed since it was read".to_owned()));
        }
        fs::write(&source.file, new).map_err(|error| fail(error.to_string()))?;
        count += fixes;
    }
    Ok(count)
}

/// Hunks of lines that differ. An edit changes, adds or takes few lines: the texts are aligned by
/// the next line that both share.
fn hunks(old: &str, new: &str) -> String {
    const AHEAD: usize = 64;
    const CONTEXT: usize = 3;
    let old: Vec<&str> = old.lines().collect();
    let new: Vec<&str> = new.lines().collect();
    let mut all = String::new();
    let (mut a, mut b) = (0, 0);
    while a < old.len() || b < new.len() {
        if a < old.len() && old.get(a) == new.get(b) {
            a += 1;
            b += 1;
            continue;
        }
        // The nearest pair of equal lines ahead.
        let (mut gone, mut come) = (old.len() - a, new.len() - b);
        'search: for total in 1..AHEAD {
            for skip in 0..=total {
                let (left, right) = (a + skip, b + total - skip);
                if left < old.len() && old.get(left) == new.get(right) {
                    (gone, come) = (skip, total - skip);
                    break 'search;
                }
            }
        }
        let before = a.min(CONTEXT);
        let after = (old.len() - a - gone).min(CONTEXT);
        let first = a - before + 1;
        let _ = writeln!(
            all,
            "@@ -{first},{} +{},{} @@",
            before + gone + after,
            b + 1 - before.min(b),
            before + come + after
        );
        let mut put = |sign: char, lines: &[&str]| {
            for line in lines {
                let _ = writeln!(all, "{sign}{line}");
            }
        };
        put(' ', old.get(a - before..a).unwrap_or_default());
        put('-', old.get(a..a + gone).unwrap_or_default());
        put('+', new.get(b..b + come).unwrap_or_default());
        put(' ', old.get(a + gone..a + gone + after).unwrap_or_default());
        a += gone;
        b += come;
    }
    all
}
