//! The command line of `countersign audit`.

use std::path::PathBuf;

use clap::{Args as ClapArgs, ValueEnum, ValueHint};

use crate::audit::Severity;

/// Search source code for checks that can be bypassed
///
/// Finds places where Rust or Python (Django, DRF, FastAPI, Flask, SQLAlchemy) checks something and
/// then uses it in another state, and shows both lines. The code need not build. Hidden files,
/// `target`, `node_modules`, virtual environments and what `.gitignore` names are not read. A
/// comment `countersign: allow(RULE) reason` on the line or above it allows a finding.
#[derive(ClapArgs, Debug)]
#[command(after_help = "\
Examples:
  countersign audit src
  countersign audit --explain used-get-then-set
  countersign audit --diff --unsafe-fixes service
  countersign audit --format sarif . > audit.sarif
  countersign audit --write-baseline known.json . && countersign audit --baseline known.json .")]
pub(crate) struct AuditArgs {
    /// Files and folders
    #[arg(value_name = "PATH", value_hint = ValueHint::AnyPath, required_unless_present_any = ["explain", "list_rules"])]
    pub(crate) paths: Vec<PathBuf>,

    /// Show the page of a rule: why it matters, bad and good code, and when it is a false alarm
    #[arg(long, value_name = "RULE")]
    pub(crate) explain: Option<String>,

    /// List the rules
    #[arg(long)]
    pub(crate) list_rules: bool,

    /// Turn a rule on; may be repeated
    #[arg(long, value_name = "RULE")]
    pub(crate) enable: Vec<String>,

    /// Turn a rule off; may be repeated
    #[arg(long, value_name = "RULE")]
    pub(crate) disable: Vec<String>,

    /// Turn all rules on, also those that are off by default
    #[arg(long)]
    pub(crate) all_rules: bool,

    /// Report only findings that are at least this severe
    #[arg(long, value_name = "SEVERITY")]
    pub(crate) min_severity: Option<Severity>,

    /// Leave out files, by a glob as in .gitignore; may be repeated
    #[arg(long, value_name = "GLOB")]
    pub(crate) exclude: Vec<String>,

    /// Do not read countersign.toml and pyproject.toml
    #[arg(long)]
    pub(crate) no_config: bool,

    /// A file of known findings, which are not reported
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) baseline: Option<PathBuf>,

    /// Write the findings to a file of known findings, and report nothing
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, conflicts_with_all = ["baseline", "fix", "diff"])]
    pub(crate) write_baseline: Option<PathBuf>,

    /// How to print the findings
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub(crate) format: AuditFormat,

    /// Fix findings whose fix does not change what the program does
    #[arg(long)]
    pub(crate) fix: bool,

    /// Print the changes as a difference, and write nothing
    #[arg(long)]
    pub(crate) diff: bool,

    /// With --fix or --diff: also apply fixes that can change what the program does
    #[arg(long)]
    pub(crate) unsafe_fixes: bool,
}

/// How findings are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum AuditFormat {
    /// With the lines, for people
    Text,
    /// Workflow commands of GitHub, which become annotations
    Github,
    /// SARIF 2.1.0, with a flow from the check to the use
    Sarif,
}
