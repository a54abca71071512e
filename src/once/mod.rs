//! Used once: the nonce, the claim on it, and what happens to both.

mod answers;
mod claim;
mod confirm;
mod ending;
mod fate;
mod history;
mod lease;
mod memory;
mod nonce;
mod outcome;
mod renewal;
#[cfg(test)]
mod renewal_tests;
mod sharing;
mod store;
mod ticket;
mod turns;
mod verdict;

pub use answers::{AnswerClaim, AnswerIn, AnswerOutcome, AnswerRecord, AnswerStore};
#[cfg(any(feature = "postgres", feature = "redis", feature = "sqlite"))]
pub(crate) use claim::MESSAGE_LEN;
pub use claim::{AttemptId, Claim};
pub(crate) use confirm::Confirm;
pub(crate) use fate::FateCell;
pub use history::{Forgotten, History};
pub use lease::{Lease, LeaseStatus, UntilSettled};
pub(crate) use memory::{Memory, MemorySettings};
pub use nonce::{Nonce, NonceKind};
pub use outcome::Outcome;
pub(crate) use outcome::{Facts, Report, Signed, Statement, Subject, VerifiedAnswer};
pub(crate) use renewal::{Handled, Hold, Kept, KeptLease, Settled, Step, can_be_kept, until};
pub(crate) use sharing::{Entered, Private};
pub use store::{
    ClaimOutcome, ConsumeIn, LeaseOutcome, LeaseStore, NonceStore, Sharing, StepOutcome, TransactIn,
};
pub(crate) use ticket::{Guarded, Ticket, counted, for_good};
pub(crate) use turns::{Turn, Turns};
pub(crate) use verdict::Verdict;
