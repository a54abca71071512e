//! Envelopes: a verified payload that travels to a worker, and is verified again where it is used.
//!
//! **An envelope is authenticated, and not encrypted.** Anybody who can read the queue can read the
//! payload.
//!
//! Anybody who reaches the queue can alter, repeat and forge a job that is plain JSON, and nobody
//! can tell later what its request covered. An envelope keeps the whole snapshot: body, covered
//! text, key id, times and nonce. It is bound to a purpose and a namespace, has a deadline, and is
//! opened at the moment of use:
//!
//! 1. a handler [seals](Envelopes::seal) what it has verified, with a [`Deadline`];
//! 2. the bytes wait in a table, a queue or a cache, for as long as it takes;
//! 3. a worker [opens](Envelopes::open) them, and uses the payload
//!    [in the transaction of its effects](PayloadEnvelope::transact). A second delivery of the job,
//!    and a second sealing of the same request, are refused (`envelope_used`).
//!
//! ```
//! use countersign::{
//!     KeyRing, MemoryStore, VerifiedPayload,
//!     envelope::{Deadline, PayloadEnvelope},
//! };
//! use std::time::Duration;
//!
//! # async fn example(payload: VerifiedPayload) -> Result<(), Box<dyn std::error::Error>> {
//! # let store = MemoryStore::new();
//! let envelopes = PayloadEnvelope::builder("ship-order")
//!     .keys(KeyRing::new().with("2026-11", "a secret that no sender has")?)
//!     .seal_under("2026-11")
//!     .build()?;
//!
//! // In the handler:
//! let job: Vec<u8> = envelopes.seal(&payload, Deadline::after(Duration::from_secs(3600)))?;
//!
//! // In the worker:
//! let order = envelopes.open(&job)?.claim_in(&store).await?;
//! assert_eq!(order.bytes(), payload.bytes());
//! # Ok(()) }
//! ```
//!
//! # Where the nonce is recorded
//! - **At the door**, by the layer or in the handler's transaction. The worker then records the use
//!   of the envelope under the nonce of its request, in a namespace of these envelopes. A handler
//!   that runs again, because its lease ended or its answer was lost, may seal again: one job is
//!   done.
//! - **In the worker.** [`PendingPayload::leave`](crate::PendingPayload::leave) leaves it unread
//!   and unrecorded, and [`seal_unrecorded`](Envelopes::seal_unrecorded) seals it. The worker
//!   records the claim that the layer would have recorded. Until then each duplicate that arrives
//!   makes one more job, and only one job is done. Tell the layer by
//!   [`seals_for`](crate::request::VerifierBuilder::seals_for) how long such envelopes may live.
//!
//! Either record is kept, in every store, until the latest deadline that an envelope of the request
//! can have, and a margin: the [`longest_deadline`](EnvelopesBuilder::longest_deadline) of the
//! purpose, or the layer's `seals_for`, after the door can let the request in for the last time.
//!
//! # Size
//! The body, the covered text, and at most 120 bytes for the key id, the times, the places of the
//! covered parts and the MAC. Values that are neither in the text nor in the body add to it: a key id
//! or a scheme of a long name, a value that the text holds in another form, such as a decoded
//! parameter, and the place of a request whose nonce is left to the worker. A signature that covers
//! more than about ten parts adds three to four bytes for each further part.
//!
//! # Format
//! The format has a version. Envelopes of an earlier version of the crate can be opened; an envelope that
//! a later version seals is refused as [`EnvelopeNewer`](crate::RejectionKind::EnvelopeNewer). So
//! update workers first.
//!
//! # Security
//! - The keys are a ring of the service's own. Give no sender a secret of it, and no other use.
//! - Anybody who can write to the queue can delete jobs, delay them until their deadline, and
//!   deliver them again. They cannot alter one, or move one to another purpose.
//! - A worker's clock decides about the deadline, within the
//!   [`clock_difference`](EnvelopesBuilder::clock_difference).

mod builder;
mod deadline;
mod envelopes;
mod format;
mod payload_envelope;
mod pieces;
mod settings;
#[cfg(test)]
mod tests;

pub use crate::proof::Unrecorded;
pub use builder::EnvelopesBuilder;
pub use deadline::Deadline;
pub use envelopes::Envelopes;
pub use payload_envelope::PayloadEnvelope;
