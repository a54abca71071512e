//! Used once: the nonce, the claim on it, and what becomes of both.

mod claim;
mod history;
mod lease;
mod nonce;
mod outcome;
mod renewal;
mod sharing;
mod store;
mod turns;
mod unconsumed;

#[cfg(any(feature = "postgres", feature = "redis", feature = "sqlite"))]
pub(crate) use claim::MESSAGE_LEN;
pub use claim::{AttemptId, Claim};
pub use history::{Forgotten, History};
pub use lease::{Lease, LeaseStatus};
pub use nonce::{Nonce, NonceKind};
pub use outcome::Outcome;
pub(crate) use outcome::{Facts, Report, Signed, Statement, Subject, VerifiedAnswer};
pub(crate) use renewal::{Handled, KeptLease, Settled};
pub(crate) use sharing::User;
pub(crate) use store::claimed_outcome;
pub use store::{Claimed, ConsumeIn, Held, LeaseStore, Leased, NonceStore, Sharing, TransactIn};
pub(crate) use turns::{Turn, Turns};
pub(crate) use unconsumed::{Fate, FateCell, Unconsumed, Unread, lock};
