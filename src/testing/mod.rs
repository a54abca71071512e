//! For the tests of users: deliveries as their senders sign them, duplicates at one moment, a clock
//! that can be set, and the suite that every store must pass.
//!
//! ```
//! use axum::{Router, routing::post};
//! use countersign::{MemoryStore, VerifiedPayload, VerifyLayer, testing, webhooks::Stripe};
//! use tower::ServiceExt as _;
//!
//! const SECRET: &str = "whsec_for tests and nothing else";
//!
//! # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
//! let layer = VerifyLayer::builder(Stripe::new())
//!     .secret(SECRET)
//!     .store(MemoryStore::new().danger_assume_no_history())
//!     .build()?;
//! let paid = async |payload: VerifiedPayload| payload.bytes().clone();
//! let app = Router::new().route("/stripe", post(paid)).layer(layer);
//!
//! // One line:
//! let paid = testing::delivery(Stripe::new(), SECRET, r#"{"id":"evt_1"}"#).to("/stripe").request();
//! assert_eq!(app.oneshot(paid).await?.status(), 200);
//! # Ok::<_, Box<dyn std::error::Error>>(()) })?;
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! ```
//!
//! [`at_once`] sends many duplicates of it to the same router, released together.

mod at_once;
#[cfg(test)]
mod cases_tests;
pub mod conformance;
mod delivery;
mod manual_clock;

pub use at_once::at_once;
#[cfg(test)]
pub(crate) use cases_tests::cases;
pub use delivery::{Delivery, delivery};
pub use manual_clock::ManualClock;
