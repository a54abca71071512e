//! Pages to read: what to choose, what is promised and what is not, what we got wrong, what to do
//! where a signature does not match, what goes wrong after a signature matched, how each sender of
//! webhooks is received, how a client in another language signs, and what other crates do.

pub mod other_languages;
pub mod patterns;

#[doc = include_str!("choosing.md")]
pub mod choosing {}

#[doc = include_str!("threat_model.md")]
pub mod threat_model {}

#[doc = include_str!("side_channels.md")]
pub mod side_channels {}

#[doc = include_str!("dependencies.md")]
pub mod dependencies {}

#[doc = include_str!("what_we_got_wrong.md")]
pub mod what_we_got_wrong {}

#[doc = include_str!("migrating.md")]
pub mod migrating {}

#[doc = include_str!("observing.md")]
pub mod observing {}

#[cfg(any(test, feature = "test-util"))]
#[doc = include_str!("testing_handlers.md")]
pub mod testing_handlers {}

#[doc = include_str!("mismatch.md")]
pub mod mismatch {}

#[doc = include_str!("stability.md")]
pub mod stability {}

#[doc = include_str!("senders.md")]
pub mod senders {}

#[doc = include_str!("comparison.md")]
pub mod comparison {}
