//! Faults of tokens, in the words of tokens.

use crate::error::{Fault, FaultKind, Rejection, RejectionKind};

/// Refuses a token for a fault that was found in it, or in its use.
pub(super) fn of_token(fault: Fault) -> Rejection {
    let kind = match fault.kind() {
        FaultKind::Invalid | FaultKind::NotServed => RejectionKind::TokenInvalid,
        FaultKind::Expired => RejectionKind::TokenExpired,
        FaultKind::NotYetValid => RejectionKind::TokenNotYetValid,
        FaultKind::Used => RejectionKind::TokenRedeemed,
        FaultKind::Missing
        | FaultKind::Malformed
        | FaultKind::Insufficient
        | FaultKind::BodyTooLarge
        | FaultKind::BodyTimeout
        | FaultKind::BodyUnreadable
        | FaultKind::BodyNotCovered
        | FaultKind::NotSupplied => RejectionKind::TokenMalformed,
        FaultKind::KeysUnavailable
        | FaultKind::InFlight
        | FaultKind::NotRecorded
        | FaultKind::Store(_) => return fault.into(),
    };
    Rejection::of_fault(kind, fault)
}
