//! A report in words, as JSON, as annotations of GitHub, and as SARIF.

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};
use serde::Serialize;
use serde_json::Value;

use super::{
    Report,
    finding::{Place, Severity},
    rules,
    span::line_of,
};
use crate::{
    printer::{escaped, harmless, one_line},
    sarif,
};

/// Line and column of a place, from 1; columns count characters.
fn position(text: &str, at: u32) -> (usize, usize) {
    let at = (at as usize).min(text.len());
    let before = text.get(..at).unwrap_or_default();
    let line_start = before.rfind('\n').map_or(0, |it| it + 1);
    let column = before.get(line_start..).unwrap_or_default().chars().count() + 1;
    (line_of(text, at), column)
}

impl Report {
    fn text_of(&self, place: &Place) -> (&str, &str) {
        let source = self.sources.get(place.file);
        source.map_or(("", ""), |it| (it.path.as_str(), it.text.as_str()))
    }

    /// Returns how many findings have this severity.
    pub(crate) fn count(&self, severity: Severity) -> usize {
        self.findings
            .iter()
            .filter(|it| it.rule.severity == severity)
            .count()
    }
}

/// Each finding in words: the lines of the check and of the use, as a compiler shows them.
pub(crate) fn text(report: &Report) -> impl Iterator<Item = String> {
    report.findings.iter().map(|finding| {
        let level = match finding.rule.severity {
            Severity::High => Level::ERROR,
            Severity::Medium => Level::WARNING,
            Severity::Low => Level::NOTE,
        };
        let level = level.with_name(finding.rule.severity.name());
        let (path, text) = report.text_of(&finding.use_);
        let message = escaped(&finding.message);
        let (path, shown) = (
            one_line(path),
            Lines::of(text, [&finding.use_, &finding.check]),
        );
        let mut snippet = Snippet::source(shown.text.as_str())
            .path(path)
            .line_start(shown.first)
            .annotation(
                AnnotationKind::Primary
                    .span(shown.span(&finding.use_))
                    .label(escaped(&finding.use_.what)),
            );
        let is_same = finding.check.file == finding.use_.file;
        if is_same && finding.check.span != finding.use_.span {
            let label = escaped(&finding.check.what);
            snippet = snippet.annotation(
                AnnotationKind::Context
                    .span(shown.span(&finding.check))
                    .label(label),
            );
        }
        let title = level.primary_title(message).id(finding.rule.id);
        let mut group = Group::with_title(title).element(snippet);
        let (check_path, check_text) = report.text_of(&finding.check);
        let check = Lines::of(check_text, [&finding.check, &finding.check]);
        if !is_same {
            let annotation = AnnotationKind::Context.span(check.span(&finding.check));
            group = group.element(
                Snippet::source(check.text.as_str())
                    .path(one_line(check_path))
                    .line_start(check.first)
                    .annotation(annotation.label(escaped(&finding.check.what))),
            );
        }
        Renderer::styled().render(&[group]).to_string()
    })
}

/// The lines around some places: the rest of a long file need not be rendered.
struct Lines {
    text: String,
    first: usize,
    start: usize,
}

impl Lines {
    fn of(text: &str, places: [&Place; 2]) -> Self {
        let own = |it: &&Place| it.file == places.first().map_or(0, |it| it.file);
        let spans = places.iter().filter(|it| own(it)).map(|it| it.span);
        let low = spans.clone().map(|it| it.start).min().unwrap_or(0) as usize;
        let high = spans
            .map(|it| it.end.min(it.start + 4096))
            .max()
            .unwrap_or(0) as usize;
        let start = text
            .get(..low)
            .and_then(|it| it.rfind('\n'))
            .map_or(0, |it| it + 1);
        let end = text
            .get(high.min(text.len())..)
            .and_then(|it| it.find('\n'))
            .map_or(text.len(), |it| it + high);
        Self {
            text: harmless(text.get(start..end).unwrap_or_default()),
            first: line_of(text, start),
            start,
        }
    }

    /// A place of several lines is shown by its first.
    fn span(&self, place: &Place) -> std::ops::Range<usize> {
        let start = (place.span.start as usize)
            .saturating_sub(self.start)
            .min(self.text.len());
        let end = (place.span.end as usize)
            .saturating_sub(self.start)
            .min(self.text.len());
        let line = self.text.get(start..end).and_then(|it| it.find('\n'));
        start..line.map_or(end, |it| start + it).max(start)
    }
}

#[derive(Serialize)]
struct PlaceObject<'r> {
    file: &'r str,
    line: usize,
    column: usize,
    what: &'r str,
}

#[derive(Serialize)]
struct FindingObject<'r> {
    rule: &'static str,
    severity: Severity,
    cwe: u16,
    owasp: &'static str,
    file: &'r str,
    line: usize,
    check: PlaceObject<'r>,
    #[serde(rename = "use")]
    use_: PlaceObject<'r>,
    message: &'r str,
    fixable: bool,
}

#[derive(Serialize)]
struct SkippedObject<'r> {
    file: &'r str,
    line: Option<usize>,
    why: &'r str,
}

/// The report as one object.
#[derive(Serialize)]
pub(crate) struct Object<'r> {
    version: u8,
    findings: Vec<FindingObject<'r>>,
    skipped: Vec<SkippedObject<'r>>,
    files: usize,
    lines: usize,
    allowed: usize,
    known: usize,
}

/// The report as one object.
pub(crate) fn object(report: &Report) -> Object<'_> {
    let place = |it: &'_ Place| {
        let (_, text) = report.text_of(it);
        position(text, it.span.start)
    };
    let findings = report.findings.iter().map(|it| {
        let ((check_line, check_column), (line, column)) = (place(&it.check), place(&it.use_));
        let (check_file, file) = (report.text_of(&it.check).0, report.text_of(&it.use_).0);
        FindingObject {
            rule: it.rule.id,
            severity: it.rule.severity,
            cwe: it.rule.cwe,
            owasp: it.rule.owasp,
            file,
            line,
            check: PlaceObject {
                file: check_file,
                line: check_line,
                column: check_column,
                what: &it.check.what,
            },
            use_: PlaceObject {
                file,
                line,
                column,
                what: &it.use_.what,
            },
            message: &it.message,
            fixable: it.fix.is_some(),
        }
    });
    let skipped = report.skipped.iter().map(|it| SkippedObject {
        file: &it.path,
        line: it.line,
        why: &it.why,
    });
    Object {
        version: 1,
        findings: findings.collect(),
        skipped: skipped.collect(),
        files: report.files,
        lines: report.lines,
        allowed: report.allowed,
        known: report.known,
    }
}

/// The files that were left out, each with its reason.
pub(crate) fn skipped(report: &Report) -> impl Iterator<Item = String> {
    report.skipped.iter().map(|it| {
        let line = it.line.map_or(String::new(), |it| format!(":{it}"));
        format!("`{}{line}` is skipped: {}", one_line(&it.path), it.why)
    })
}

/// Workflow commands of GitHub, which become annotations of the lines.
pub(crate) fn annotation(report: &Report) -> impl Iterator<Item = String> {
    report.findings.iter().map(|it| {
        let (path, text) = report.text_of(&it.use_);
        let (line, column) = position(text, it.use_.span.start);
        let kind = match it.rule.severity {
            Severity::High => "error",
            Severity::Medium => "warning",
            Severity::Low => "notice",
        };
        let (check_path, check_text) = report.text_of(&it.check);
        let (check_line, _) = position(check_text, it.check.span.start);
        let message = format!(
            "{}. {check_path}:{check_line}: {}; {}",
            it.message, it.check.what, it.use_.what
        );
        format!(
            "::{kind} file={},line={line},col={column},title={}::{}",
            property(path),
            it.rule.id,
            data(&message)
        )
    })
}

fn data(text: &str) -> String {
    text.replace('%', "%25")
        .replace('\r', "%0D")
        .replace('\n', "%0A")
}

fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

/// The report as SARIF, with a flow of code from the check to the use.
pub(crate) fn sarif(report: &Report) -> Value {
    let level = |severity| match severity {
        Severity::High => sarif::Level::Error,
        Severity::Medium => sarif::Level::Warning,
        Severity::Low => sarif::Level::Note,
    };
    let score = |severity| match severity {
        Severity::High => "8.0",
        Severity::Medium => "5.5",
        Severity::Low => "3.0",
    };
    let kinds: Vec<sarif::Rule> = rules::TABLE
        .iter()
        .map(|it| {
            sarif::Rule::new(it.id, level(it.severity), it.title, it.title, it.page)
                .tags([
                    format!("external/cwe/cwe-{:03}", it.cwe),
                    it.owasp.to_owned(),
                ])
                .security_severity(score(it.severity))
        })
        .collect();
    let location = |place: &Place| {
        let (path, text) = report.text_of(place);
        let (line, column) = position(text, place.span.start);
        let words = text.lines().nth(line - 1).map(str::trim);
        sarif::Location::of(percent_encoded(path))
            .at(line, Some(column), words)
            .says(place.what.clone())
    };
    let findings: Vec<sarif::Finding> = report
        .findings
        .iter()
        .map(|it| {
            let found = sarif::Finding::new(
                it.rule.id,
                level(it.rule.severity),
                it.message.clone(),
                location(&it.use_),
                report.fingerprint(it),
            );
            found.steps([location(&it.check), location(&it.use_)])
        })
        .collect();
    sarif::log(&kinds, &findings, None)
}

fn percent_encoded(path: &str) -> String {
    use std::fmt::Write as _;
    let mut encoded = String::with_capacity(path.len());
    for byte in path.bytes() {
        if byte.is_ascii_alphanumeric() || b"/-_.~+@".contains(&byte) {
            encoded.push(byte as char);
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}
