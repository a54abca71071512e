//! A check: a row of the table, and the cases that it makes.

use std::time::Duration;

use bytes::Bytes;
use countersign::Timestamp;
use http::Request;

use super::{event::Event, lab::Lab, mend::Mend, subject::Fresh};
use crate::{args::Severity, exit::Failure};

/// A row of the table of checks.
#[derive(Debug)]
pub(crate) struct Check {
    /// Stable: reports and command lines name it.
    pub(crate) id: &'static str,
    pub(crate) title: &'static str,
    pub(crate) severity: Severity,
    pub(crate) cwe: u16,
    pub(crate) owasp: Owasp,
    /// The gain of an attacker.
    pub(crate) gain: &'static str,
    pub(crate) mend: &'static Mend,
    pub(crate) how: How,
}

/// A category of the OWASP API Security Top 10 of 2023.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Owasp {
    ObjectLevel,
    Authentication,
    Resources,
    BusinessFlows,
    Misconfiguration,
}

impl Owasp {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::ObjectLevel => "API1:2023 Broken Object Level Authorization",
            Self::Authentication => "API2:2023 Broken Authentication",
            Self::Resources => "API4:2023 Unrestricted Resource Consumption",
            Self::BusinessFlows => "API6:2023 Unrestricted Access to Sensitive Business Flows",
            Self::Misconfiguration => "API8:2023 Security Misconfiguration",
        }
    }
}

/// Makes the cases of a check, with fresh requests each time it is called, in the same order.
pub(crate) type Make = fn(&Lab) -> Result<Vec<Case>, Failure>;

/// How a check finds something.
#[derive(Clone, Copy, Debug)]
pub(crate) enum How {
    /// Says what the scheme leaves open, without a request.
    Read(fn(&Lab) -> Option<String>),
    /// Each case once, and again if it finds something.
    Once(Make),
    /// Each case in each round.
    Raced(Make),
    /// Cases in each round, if the first case, which comes one after the other, finds nothing: the
    /// application knows the event then.
    RacedIfKnown(Make),
    /// A case that waits for minutes; only with `--wait`.
    Waits(Make),
}

/// The requests that are sent, and how many effects they may have.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) what: String,
    /// Whose state is read.
    pub(crate) event: Event,
    /// Sent first, and not counted. The first request must be accepted, and so must others.
    pub(crate) setup: Vec<Step>,
    /// Sent then, and counted.
    pub(crate) probe: Vec<Step>,
    pub(crate) allowed: u64,
    /// The scheme's own verifier must refuse what is probed, or the case says nothing.
    pub(crate) is_forged: bool,
    /// The case shows a fault only if the state of this one event changes.
    pub(crate) needs_own_state: bool,
    /// Only the status matters: a success is the finding.
    pub(crate) by_status: bool,
    /// The case says nothing if it is answered later: its time is at an edge of the window.
    pub(crate) until: Option<Timestamp>,
}

#[derive(Clone, Debug)]
pub(crate) enum Step {
    Send(Request<Bytes>),
    Together(Vec<Request<Bytes>>),
    HangUp(Request<Bytes>),
    /// Whether the server reads all of it before it answers.
    Patiently(Request<Bytes>),
    /// Whether the server still waits after this time.
    Slowly(Request<Bytes>, Duration),
    /// Fresh requests, each signed when it is sent.
    Others(u16),
    WaitUntil(Timestamp),
}

impl Case {
    /// A request that the scheme refuses.
    pub(crate) fn forged(what: impl Into<String>, event: &Event, request: Request<Bytes>) -> Self {
        Self {
            is_forged: true,
            ..Self::again(what, event, Vec::new(), vec![Step::Send(request)], 0)
        }
    }

    /// Requests that have no more effects than allowed.
    pub(crate) fn again(
        what: impl Into<String>,
        event: &Event,
        setup: Vec<Step>,
        probe: Vec<Step>,
        allowed: u64,
    ) -> Self {
        Self {
            what: what.into(),
            event: event.clone(),
            setup,
            probe,
            allowed,
            is_forged: false,
            needs_own_state: false,
            by_status: false,
            until: None,
        }
    }

    /// Says nothing if it is answered after this time.
    pub(crate) fn until(self, until: Option<Timestamp>) -> Self {
        Self { until, ..self }
    }
}

/// The request of a fresh one, to be sent.
pub(crate) fn send(fresh: &Fresh) -> Step {
    Step::Send(fresh.request.clone())
}
