//! The outcome of a signed request: what a signed response says became of it.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use crate::{
    clock::Timestamp,
    error::{Fault, FaultKind},
    lock::lock,
    message::{DigestAlgorithm, HashOutput},
};

/// The outcome of a signed request, as a signed response states it in `countersign-outcome`.
///
/// [`SignedBy::outcome`](crate::response::SignedBy::outcome) returns it. Only [`Used`](Self::Used)
/// and [`Never`](Self::Never) are final. A client must treat every other value, also one that a
/// later version adds, as [`Open`](Self::Open).
///
/// A status is not final, even if it is signed. Somebody on the way, without a key, can alter a
/// request so that the server refuses it, pass the signed refusal on, and deliver the genuine
/// request later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Outcome {
    /// The nonce of this signed request is recorded for good. The request was handled, or is being
    /// handled, or was lost after it was recorded. It is not handled again.
    Used,
    /// This signed request was not accepted, and no server of the namespace will ever accept it.
    /// The same order can be signed again: it then has one effect at most.
    Never,
    /// Nothing is final: the same signed request may be accepted later, or may have been accepted.
    Open,
}

/// The statements of a server about a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Statement {
    Used,
    /// Since this moment, no server of the namespace accepts the request.
    Never {
        since: Timestamp,
    },
    Open,
}

impl Statement {
    /// The outcome for a client whose request had been on its way for this long when the response
    /// arrived, which the server signed at `answered_at`.
    ///
    /// A request that the server did not accept any more may have been accepted before, and its
    /// answer been kept back. So `never` counts only if no server accepted the request when it was
    /// sent.
    pub(crate) fn outcome(self, answered_at: Timestamp, on_its_way: Option<Duration>) -> Outcome {
        match (self, on_its_way) {
            (Self::Used, _) => Outcome::Used,
            (Self::Never { since }, Some(on_its_way))
                if answered_at.saturating_sub(on_its_way) >= since =>
            {
                Outcome::Never
            }
            (Self::Never { .. } | Self::Open, _) => Outcome::Open,
        }
    }
}

/// The facts about one request, shared by the signer of its response, which asks for them, and the
/// verifier, which states them: an extension of the request.
#[derive(Clone, Default)]
pub(crate) struct Report(Arc<Mutex<Facts>>);

/// The facts that a response may state.
#[derive(Clone, Copy, Default)]
pub(crate) struct Facts {
    /// A final statement, and the MAC of the one signature that it is about.
    pub(crate) settled: Option<(Statement, HashOutput)>,
    /// The digest of the body, if all of it arrived.
    pub(crate) received: Option<(DigestAlgorithm, HashOutput)>,
}

impl Report {
    /// Notes that the body arrived whole, and its digest.
    pub(crate) fn received(&self, algorithm: DigestAlgorithm, digest: HashOutput) {
        lock(&self.0).received.get_or_insert((algorithm, digest));
    }

    /// Notes that no server accepts the request with this signature since a moment.
    pub(crate) fn never(&self, since: Timestamp, signature: &HashOutput) {
        self.settle(Statement::Never { since }, signature);
    }

    pub(crate) fn facts(&self) -> Facts {
        *lock(&self.0)
    }

    /// The first final statement stays, because it does not become less true. But a request that one
    /// verifier never accepts may be used with another, and then it is used.
    fn settle(&self, statement: Statement, signature: &HashOutput) {
        let settled = &mut lock(&self.0).settled;
        if settled.is_none() || statement == Statement::Used {
            *settled = Some((statement, *signature));
        }
    }
}

fn final_statement(fault: &Fault) -> Option<Statement> {
    if fault.kind() == FaultKind::Used {
        return Some(Statement::Used);
    }
    fault.final_since().map(|since| Statement::Never { since })
}

/// A [`Report`] on one verified signature. It is empty if nobody asked for a report.
#[derive(Clone, Default)]
pub(crate) struct Subject(Option<Box<(Report, HashOutput)>>);

impl Subject {
    pub(crate) fn new(report: Option<&Report>, signature: HashOutput) -> Self {
        Self(report.map(|report| Box::new((report.clone(), signature))))
    }

    /// Notes that the nonce is recorded for good.
    pub(crate) fn used(&self) {
        if let Some(subject) = &self.0 {
            subject.0.settle(Statement::Used, &subject.1);
        }
    }

    /// Notes what a refusal says for good.
    pub(crate) fn refused(&self, fault: &Fault) {
        if let Some(subject) = &self.0
            && let Some(statement) = final_statement(fault)
        {
            subject.0.settle(statement, &subject.1);
        }
    }
}

/// When a request was signed, by both clocks of the client: an extension of the request.
#[derive(Clone, Copy)]
pub(crate) struct Signed {
    clock: Timestamp,
    elapsing: Instant,
}

impl Signed {
    pub(crate) fn at(now: Timestamp) -> Self {
        Self {
            clock: now,
            elapsing: Instant::now(),
        }
    }

    /// The time since then, by the clock that shows more.
    pub(crate) fn ago(&self, now: Timestamp) -> Duration {
        now.saturating_since(self.clock)
            .max(self.elapsing.elapsed())
    }
}

/// The verified answer, for the layer that signs again: an extension of the response.
#[derive(Clone, Copy)]
pub(crate) struct VerifiedAnswer {
    pub(crate) outcome: Outcome,
    pub(crate) signed_at: Timestamp,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_secs(seconds).unwrap()
    }

    /// Two verifiers may be asked in turn, such as one with the old settings and one with the new.
    #[test]
    fn a42_what_one_verifier_used_is_used_whatever_another_said() {
        let signature = HashOutput::new(&[7; 32]);
        let never = Statement::Never { since: at(8) };
        let settled = |statements: &[Statement]| {
            let report = Report::default();
            for statement in statements {
                report.settle(*statement, &signature);
            }
            report.facts().settled.unwrap().0
        };
        assert_eq!(settled(&[never, Statement::Used]), Statement::Used);
        assert_eq!(settled(&[Statement::Used, never]), Statement::Used);
        // The twin: without a use, the first statement stays.
        let later = Statement::Never { since: at(9) };
        assert_eq!(settled(&[never, later]), never);
    }

    #[test]
    fn never_counts_only_for_a_request_that_was_sent_later() {
        let never = Statement::Never { since: at(1000) };
        let outcome = |seconds| never.outcome(at(1010), Some(Duration::from_secs(seconds)));
        assert_eq!(outcome(10), Outcome::Never);
        assert_eq!(outcome(11), Outcome::Open);
        assert_eq!(never.outcome(at(1010), None), Outcome::Open);
    }
}
