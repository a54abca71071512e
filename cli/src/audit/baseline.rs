//! A file of findings that are known: they are not reported again.

use std::{collections::BTreeMap, fs, path::Path};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{Report, rules::Finding, span::line_of};
use crate::exit::Failure;

const MAX_BYTES: u64 = 64 * 1024 * 1024;

/// How often each finding is known, under its fingerprint.
#[derive(Debug, Default, Deserialize, Serialize)]
pub(crate) struct Baseline {
    version: u8,
    findings: BTreeMap<String, u32>,
}

impl Baseline {
    /// Reads a baseline.
    ///
    /// # Errors
    /// Returns a failure if the file cannot be read or is not a baseline.
    pub(crate) fn read(path: &Path) -> Result<Self, Failure> {
        let shown = path.display();
        let length = fs::metadata(path).map_or(0, |it| it.len());
        let text = if length > MAX_BYTES {
            Err(std::io::Error::other("it is too long"))
        } else {
            fs::read_to_string(path)
        };
        let text = text.map_err(|error| {
            Failure::unable(
                format!("the baseline `{shown}` cannot be read"),
                error.to_string(),
                "make it with `countersign audit --write-baseline FILE PATH…`",
            )
        })?;
        let read: Self = serde_json::from_str(&text).map_err(|error| {
            Failure::usage(
                format!("`{shown}` is not a baseline"),
                error.to_string(),
                "make it again with --write-baseline",
            )
        })?;
        if read.version != 1 {
            return Err(Failure::usage(
                format!("`{shown}` is of another version"),
                "",
                "make it again with --write-baseline",
            ));
        }
        Ok(read)
    }

    /// The findings of a report.
    pub(crate) fn of(report: &Report) -> Self {
        let mut findings = BTreeMap::new();
        for finding in &report.findings {
            *findings.entry(report.fingerprint(finding)).or_default() += 1;
        }
        Self {
            version: 1,
            findings,
        }
    }

    /// Writes the baseline.
    ///
    /// # Errors
    /// Returns a failure if the file cannot be written.
    pub(crate) fn write(&self, path: &Path) -> Result<(), Failure> {
        let text = serde_json::to_string_pretty(self).unwrap_or_default() + "\n";
        fs::write(path, text).map_err(|error| {
            Failure::unable(
                format!("`{}` cannot be written", path.display()),
                error.to_string(),
                "",
            )
        })
    }
}

impl Report {
    /// Returns what stays the same of a finding if lines move: its rule, its file, and the words of
    /// both lines.
    pub(super) fn fingerprint(&self, finding: &Finding) -> String {
        let mut hash = Sha256::new();
        hash.update(finding.rule.id);
        for place in [&finding.check, &finding.use_] {
            let Some(source) = self.sources.get(place.file) else {
                continue;
            };
            let line = line_of(&source.text, place.span.start as usize);
            let words = source.text.lines().nth(line - 1).unwrap_or_default().trim();
            for part in [source.path.as_str(), words] {
                hash.update([0]);
                hash.update(part);
            }
        }
        let digest = hash.finalize();
        digest
            .iter()
            .take(12)
            .map(|byte| format!("{byte:02x}"))
            .collect()
    }

    /// Takes out what a baseline knows.
    pub(crate) fn without(&mut self, mut baseline: Baseline) {
        let marks: Vec<String> = self
            .findings
            .iter()
            .map(|it| self.fingerprint(it))
            .collect();
        let mut marks = marks.into_iter();
        let before = self.findings.len();
        self.findings.retain(|_| {
            let known = marks.next().and_then(|it| baseline.findings.get_mut(&it));
            match known {
                Some(left) if *left > 0 => {
                    *left -= 1;
                    false
                }
                _ => true,
            }
        });
        self.known = before - self.findings.len();
    }

    /// Returns whether nothing is left to report.
    pub(crate) fn is_clean(&self) -> bool {
        self.findings.is_empty()
    }
}
