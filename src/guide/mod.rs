//! The book: from the first request to operation, in the order in which you need it.
//!
//! **Begin**
//! 1. [Start](start): the first verified request.
//! 2. [Choose](choosing) a scheme, a store and a processing.
//!
//! **Who signs**
//!
//! 3. [Senders](senders) of webhooks, each with its setup.
//! 4. [Service to service](service_to_service): both directions.
//! 5. [Other languages](other_languages): programs that sign.
//! 6. [Keys and rotation](keys).
//! 7. [Tenants](tenants): one layer for many accounts.
//! 8. [A signature that does not match](mismatch).
//!
//! **Handlers and stores**
//!
//! 9. [Patterns](patterns): mistakes that a valid signature leaves open, and how to avoid them.
//! 10. [Operating](operating) each store.
//!
//! **Tools**
//!
//! 11. [The command](command).
//! 12. [The proxy](proxy), for servers in other languages.
//! 13. [Observing](observing): logs, metrics and alerts.
//! 14. `testing_handlers`: tests of your handlers (feature `test-util`).
//! 15. [Migrating](migrating) from a check written by hand.
//!
//! **To judge it**
//!
//! 16. [Threat model](threat_model) and [side channels](side_channels).
//! 17. [What we got wrong](what_we_got_wrong).
//! 18. [Comparison](comparison) with other crates.
//! 19. [Stability](stability), [dependencies] and [platforms].

#[doc = include_str!("start.md")]
pub mod start {}

#[doc = include_str!("choosing.md")]
pub mod choosing {}

#[doc = include_str!("senders.md")]
pub mod senders {}

#[doc = include_str!("service_to_service.md")]
pub mod service_to_service {}

pub mod other_languages;

#[doc = include_str!("keys.md")]
pub mod keys {}

#[doc = include_str!("tenants.md")]
pub mod tenants {}

#[doc = include_str!("mismatch.md")]
pub mod mismatch {}

pub mod patterns;

#[doc = include_str!("operating.md")]
pub mod operating {}

#[doc = include_str!("command.md")]
pub mod command {}

#[doc = include_str!("proxy.md")]
pub mod proxy {}

#[doc = include_str!("observing.md")]
pub mod observing {}

#[cfg(any(test, feature = "test-util"))]
#[doc = include_str!("testing_handlers.md")]
pub mod testing_handlers {}

#[doc = include_str!("migrating.md")]
pub mod migrating {}

#[doc = include_str!("threat_model.md")]
pub mod threat_model {}

#[doc = include_str!("side_channels.md")]
pub mod side_channels {}

#[doc = include_str!("what_we_got_wrong.md")]
pub mod what_we_got_wrong {}

#[doc = include_str!("comparison.md")]
pub mod comparison {}

#[doc = include_str!("stability.md")]
pub mod stability {}

#[doc = include_str!("dependencies.md")]
pub mod dependencies {}

#[doc = include_str!("platforms.md")]
pub mod platforms {}
