//! Faults of tokens, in the words of tokens.

use crate::error::{Fault, FaultKind, Rejection, RejectionKind};

/// Refuses a token for a fault that was found in it.
pub(super) fn of_token(fault: Fault) -> Rejection {
    let kind = match fault.kind() {
        FaultKind::Invalid | FaultKind::NotServed => RejectionKind::TokenInvalid,
        FaultKind::Expired => RejectionKind::TokenExpired,
        FaultKind::NotYetValid => RejectionKind::TokenNotYetValid,
        FaultKind::KeysUnavailable => RejectionKind::StoreUnavailable,
        FaultKind::Missing
        | FaultKind::Malformed
        | FaultKind::Insufficient
        | FaultKind::BodyTooLarge
        | FaultKind::BodyTimeout
        | FaultKind::BodyUnreadable
        | FaultKind::BodyNotCovered
        | FaultKind::NotSupplied => RejectionKind::TokenMalformed,
    };
    Rejection::of_fault(kind, fault)
}
