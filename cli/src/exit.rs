//! The exit codes of the command, and the failures that lead to them.

use std::process::ExitCode;

/// The exit codes, as `countersign help` states them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// 0: the request is verified, or the command has done what it was asked for.
    Done = 0,
    /// 1: the request is refused, or the command has found something.
    Found = 1,
    /// 2: the command line, or what a file or a secret holds, is wrong.
    Usage = 2,
    /// 3: the network or another program failed, or a file cannot be read or written.
    Unable = 3,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// A failure: what is wrong, why, and what to do. No failure holds a secret.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) exit: Exit,
    pub(crate) what: String,
    pub(crate) why: String,
    pub(crate) advice: String,
    /// A report that shows the place, formatted for a terminal.
    pub(crate) report: Option<String>,
}

impl Failure {
    /// A failure that another command line, file or secret avoids.
    pub(crate) fn usage(
        what: impl Into<String>,
        why: impl Into<String>,
        advice: impl Into<String>,
    ) -> Self {
        Self::new(Exit::Usage, what, why, advice)
    }

    /// A failure of the network, a file or another program.
    pub(crate) fn unable(
        what: impl Into<String>,
        why: impl Into<String>,
        advice: impl Into<String>,
    ) -> Self {
        Self::new(Exit::Unable, what, why, advice)
    }

    fn new(
        exit: Exit,
        what: impl Into<String>,
        why: impl Into<String>,
        advice: impl Into<String>,
    ) -> Self {
        Self {
            exit,
            what: what.into(),
            why: why.into(),
            advice: advice.into(),
            report: None,
        }
    }
}
