//! The server behind the proxy.
//!
//! A connection is had before a request is claimed, and the request is sent on it once. It is sent on
//! another connection only if hyper hands it back, because not a byte of it was written.

mod address;
mod checkout;
mod connections;
mod data;
mod forward;
mod forward_signer;
mod outgoing;
mod sign;
mod slots;
mod streamed;
mod unread;

pub(super) use address::{Address, is_local};
pub(super) use connections::{Failed, Settings, Upstream};
pub(super) use forward::{Forward, Target};
pub(super) use forward_signer::ForwardSigner;
pub(super) use sign::{Origin, Signs};
