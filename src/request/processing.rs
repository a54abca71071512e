//! The guarantee that is chosen for a request: how often its handler runs.

use std::time::Duration;

#[doc = include_str!("processing.md")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Processing {
    /// The nonce is claimed before the handler runs, and never given back. If the answer is lost,
    /// the outcome is unknown to the sender, who must sign again.
    AtMostOnce,
    /// The nonce is leased before the handler runs, completed by an answer of 2xx whose body comes
    /// to its end, and otherwise released, so that a sender who retries is served in the end. The
    /// handler runs detached from its connection; while it lives the lease is renewed. If the
    /// process ends before the outcome is known, the lease ends after `lease`, and the request may
    /// run again. Needs a Tokio runtime with its timer: without it, nothing is leased, and the
    /// answer is 500 (`store_misconfigured`).
    ///
    /// The handler begins in the task of its request. When the client hangs up, the handler goes on
    /// in a task of its own, without the task-locals that a middleware outside of the layer has set.
    /// Use extensions of the request instead.
    Retryable {
        /// For how long each renewal holds: between 1 second and 1 day. A store is waited for no
        /// longer than a third of it.
        lease: Duration,
    },
    /// The handler records the nonce in its own database transaction. Its effects in that database
    /// happen exactly once; if they are rolled back, the same request may come again. The handler
    /// gets a [`PendingPayload`](crate::PendingPayload), which it cannot read before. This
    /// processing takes no store, because the handler's database remembers.
    InTransaction,
}
