//! The finding of a rule: where, how bad it is, and how to mend it.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use super::span::Span;

/// How bad it is if the finding is right.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Severity {
    /// Seldom harmful
    Low,
    /// Harmful under some conditions
    Medium,
    /// Harmful
    High,
}

impl Severity {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
        }
    }
}

/// A place in a file, and what happens there.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Place {
    pub(super) file: usize,
    pub(super) span: Span,
    pub(super) what: String,
}

/// A change that mends a finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fix {
    pub(super) file: usize,
    pub(super) edits: Vec<(Span, String)>,
    /// Whether the program does the same as before, except for the fault.
    pub(super) is_safe: bool,
}
