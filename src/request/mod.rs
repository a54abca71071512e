//! The way of a request, without a framework: five stages, each made from the one before.
//!
//! ```text
//! parse         the scheme reads the head                          -> Parsed
//! admit         freshness, key; where the head decides, the MAC    -> Admitted
//! receive       the body, within its limits                        -> Received
//! authenticate  MAC or digest over what arrived; freshness again   -> Authentic
//! claim         the store's one atomic step; freshness once more   -> Verified
//! ```
//!
//! Each stage consumes the one before and has no other way to be made, so that none can be left out
//! or taken twice:
//!
//! ```compile_fail,E0599
//! # async fn f(verifier: countersign::Verifier, head: http::request::Parts) {
//! // A request whose MAC was not compared cannot be claimed:
//! verifier.parse(&head).unwrap().claim().await;
//! # }
//! ```

mod accepted;
mod admit;
mod authenticate;
mod budget;
mod build;
mod builder;
mod changed;
mod claim;
#[cfg(test)]
mod cost_tests;
mod events;
mod forwarded;
pub mod layer;
mod methods;
mod parse;
mod payload;
mod pending;
mod processing;
mod question;
mod receive;
mod refused;
mod several;
mod slot;
mod state;
mod unproven;
mod upgrade;
mod usable;
mod verifier;
mod verify;
mod version;

pub use crate::{
    message::{Forwarded, MatchedPlace, Supplied},
    once::{Lease, LeaseStatus, UntilSettled},
    proof::Proven,
    routed::PeerAddr,
};
pub use admit::Admitted;
pub use authenticate::Authentic;
pub use budget::BodyBudget;
pub use builder::VerifierBuilder;
pub use changed::{Unchanged, require_changed};
pub use claim::Verified;
pub use parse::Parsed;
pub use payload::VerifiedPayload;
pub use pending::PendingPayload;
pub use processing::Processing;
pub use receive::Received;
pub use slot::{PendingSlot, UnprovenSlot};
pub use unproven::UnprovenPayload;
pub use upgrade::remove_upgrade;
pub use verifier::Verifier;
pub use version::SignedVersion;
