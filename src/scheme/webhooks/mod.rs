//! Presets: the formats in which senders sign their webhooks.
//!
//! Each preset verifies and signs. Give it the secret exactly as its provider shows it, with
//! [`secret`](crate::request::VerifierBuilder::secret). While a secret is rotated, call `secret`
//! once for each of the two.
//!
#![doc = include_str!("senders.md")]
//!
#![doc = include_str!("in_common.md")]

#[macro_use]
mod preset;

mod account;
mod any;
mod catalogue;
#[cfg(test)]
mod catalogue_tests;
mod challenge;
#[cfg(test)]
mod covered_tests;
mod described;
mod event;
#[cfg(test)]
mod event_tests;
mod format;
mod mailgun;
#[cfg(test)]
mod page_tests;
mod reading;
mod registration;
mod sender;
mod signed_headers;
#[cfg(test)]
mod table_tests;
mod twilio;
mod url;
mod writing;

pub use any::AnyPreset;
pub use catalogue::*;
pub use mailgun::Mailgun;
pub use registration::{Announced, Registrations};
pub use twilio::Twilio;
