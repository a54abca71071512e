//! Act on an HMAC-signed HTTP request **exactly once, on exactly the bytes that were signed**.
//!
//! `countersign` is a Tower layer with first-class Axum support. It buffers the body, checks
//! signature and time, records the nonce, and hands the verified bytes to handlers as an immutable
//! [`VerifiedPayload`].
//!
//! [The book](guide) begins with [a first request](guide::start) and helps to
//! [choose](guide::choosing) a scheme, a store and a processing. The
//! [threat model](guide::threat_model) states each promise, against whom it holds, and its limits.
//!
//! ```
//! # tokio::runtime::Builder::new_current_thread().enable_time().build()?.block_on(async {
//! use countersign::{HttpMessageSignatures, KeyRing, MemoryStore, Signer, Verifier};
//! use http_body_util::Full;
//!
//! let signer = Signer::new(HttpMessageSignatures::default(), "shop", "the secret of the shop")?;
//! let request = http::Request::post("https://api.example.com/pay?order=7").body("5 EUR")?;
//! let (head, body) = signer.sign(request)?.into_parts();
//!
//! // A `VerifyLayer` does this for a Tower service, and an extractor gives the payload to a handler.
//! let verifier = Verifier::builder(HttpMessageSignatures::default())
//!     .public_origin("https://api.example.com")
//!     .keys(KeyRing::new().with("shop", "the secret of the shop")?)
//!     .store(MemoryStore::new().danger_assume_no_history()) // this program has just started
//!     .build()?;
//! let verified = verifier.verify(&head, Full::<bytes::Bytes>::from(body)).await?;
//! let payload = verified.payload().expect("at most once is the default");
//! assert_eq!((payload.path(), payload.query()), (Some("/pay"), Some("order=7")));
//! assert_eq!(payload.header("user-agent"), None); // not covered by the signature
//!
//! let again = verifier.verify(&head, Full::<bytes::Bytes>::from(body)).await;
//! assert_eq!(again.unwrap_err().kind().code(), "request_replayed");
//! # Ok::<_, Box<dyn std::error::Error>>(()) })?;
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! ```
//!
//! # Schemes
//! - [`HttpMessageSignatures`]: RFC 9421 with `hmac-sha256`, the one to use between services.
//! - [`HeaderScheme`]: a house format, described part by part.
//! - [`webhooks`]: presets for Standard Webhooks, Stripe, GitHub, Slack and other senders, with a
//!   table of all of them.
//!
//! # Both directions
//! - [`SignLayer`] signs what a client sends; [`VerifyLayer`] verifies it on the server.
//! - [`SignResponseLayer`](crate::response::SignResponseLayer), outside of `VerifyLayer`, signs the
//!   server's responses, rejections included.
//!   [`VerifyResponseLayer`](crate::response::VerifyResponseLayer), inside of `SignLayer`, refuses
//!   a response that is not the server's answer to the request that was sent.
//!   [`SignedBy::outcome`](crate::response::SignedBy::outcome) says what became of the request.
//!
//! # Intentions
//! [`idempotency::IdempotencyLayer`] lets the handler run once for each covered `Idempotency-Key`,
//! however often its sender signs the request again, and gives each retry the stored answer.
//!
//! # Later and elsewhere
//! - [`envelope::PayloadEnvelope`] brings a verified payload to a worker, which verifies it again.
//! - `file::VerifiedFile` (feature `fs`) serves exactly the bytes of the file whose digest the
//!   request named.
//!
//! # One-time tokens
//! [`OneTimeToken`] issues and redeems signed tokens that expire and work once: for confirmation
//! links and the like.
//!
//! # Defaults
//! | what | default | set by |
//! | --- | --- | --- |
//! | age of a signed time | 300 seconds | [`max_age`](crate::request::VerifierBuilder::max_age) |
//! | time ahead | 5 seconds | [`max_skew`](crate::request::VerifierBuilder::max_skew) |
//! | difference of clocks | 5 seconds | [`clock_difference`](crate::request::VerifierBuilder::clock_difference) |
//! | length of a body | 1 MiB | [`max_body_bytes`](crate::request::VerifierBuilder::max_body_bytes) |
//! | time for the whole body | 10 seconds | [`body_deadline`](crate::request::VerifierBuilder::body_deadline) |
//! | bodies in flight | 64 MiB | [`body_budget_bytes`](crate::request::VerifierBuilder::body_budget_bytes) |
//! | answer of a store | within 2 seconds | [`store_timeout`](crate::request::VerifierBuilder::store_timeout) |
//! | wait for the inner service to be ready | 5 seconds | [`readiness_timeout`](crate::request::VerifierBuilder::readiness_timeout) |
//! | handlers at once, if retryable | 1024 | [`max_running`](crate::request::VerifierBuilder::max_running) |
//! | requests in handlers before their MAC is compared (with a [supplied part](Part::supplied)) | 16 | [`max_unproven`](crate::request::VerifierBuilder::max_unproven) |
//! | length of a secret | at least 16 bytes | [`Secret`] |
//! | processing | at most once; for webhooks, retryable | [`processing`](crate::request::VerifierBuilder::processing) |
//!
//! [`Processing`] says what each choice promises, and what happens at each point of failure.
//!
//! # Logs
//! Every verification is a span of `tracing`, `countersign.verify`, at level `INFO`:
//!
//! | field | meaning |
//! | --- | --- |
//! | `namespace` | the namespace of the verifier |
//! | `key_id` | the key id of the first signature that is fresh and under a known key, also if its MAC does not match |
//! | `body_bytes` | the length of the body, once all of it has arrived |
//! | `outcome` | `claimed`, `leased`, `unclaimed`, `pending`, `unproven`, or the code of the rejection (also of an acknowledged duplicate) |
//!
//! Every refused request is one event, `request refused`, with `code`, `status`, `reason` and
//! [`advice`](RejectionKind::advice). Its level is `ERROR` if the status is 5xx, otherwise `INFO`.
//! If the reason has a cause, such as an error of a database, `cause` has the texts of all errors
//! in the chain. Reasons name key ids and nonces, and never a secret or an expected MAC. If a MAC
//! does not match, an event at `DEBUG` shows the beginning of the message that was expected, before
//! and after the body, covered headers included.
//!
//! A duplicate that is [acknowledged](OnDuplicate::Acknowledge) with 200 is not a refusal: its
//! event is `duplicate acknowledged`, at level `INFO`. With [`Processing::InTransaction`], the span
//! ends when the handler is called. The events of its transaction still name the span as their
//! parent.
//!
//! A layer that [only observes](VerifyLayer::danger_observe_only) writes `request would be refused`
//! (at `WARN` where the status would be 5xx) and `duplicate would be acknowledged`, with the same
//! fields.
//!
//! With the feature `metrics`, the module `metrics` lists what is counted and timed.
//!
//! # Features
//! - `axum` (default): extractors, and the original URI of nested routers.
//! - `inspect`: the signed message of a request, piece by piece, for tools that explain why a
//!   signature does not match.
//! - `cached-keys`: `key::CachedKeys`, a bounded cache in front of keys that are slow to look up.
//! - `fs` (Unix only): `file::VerifiedFile`, files that are served as they were signed.
//! - `metrics`: counters, histograms and gauges, through the facade of the crate `metrics`.
//! - `postgres`: a store in PostgreSQL, for all servers of a service, and nonces in the handler's
//!   own transaction.
//! - `reqwest`: signing for the client `reqwest`.
//! - `redis`: a store in Redis 7 or Valkey, for all servers of a service.
//! - `sqlite`: a store in a file, for the processes of one host, and nonces in the handler's own
//!   transaction.
//! - `test-util`: for your tests: a clock that you can set, `testing::delivery`, which signs
//!   requests as their sender would, and `testing::conformance`, the checks that every store must
//!   pass.

#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(feature = "axum")]
pub mod axum;
mod body;
pub mod client;
pub mod clock;
pub mod envelope;
pub mod error;
#[cfg(feature = "fs")]
pub mod file;
mod future;
pub mod guide;
pub mod idempotency;
#[cfg(feature = "inspect")]
pub mod inspect;
pub mod key;
mod lock;
mod message;
#[cfg(not(feature = "metrics"))]
mod metrics;
#[cfg(feature = "metrics")]
pub mod metrics;
mod once;
mod proof;
mod random;
pub mod request;
pub mod response;
mod routed;
pub mod scheme;
pub mod store;
#[cfg(any(test, feature = "test-util"))]
pub mod testing;
pub mod token;

#[cfg(feature = "axum")]
#[doc(inline)]
pub use axum::{VerifiedForm, VerifiedJson, VerifiedPath, VerifiedQuery};
#[doc(inline)]
pub use client::{SignLayer, Signer};
#[doc(inline)]
pub use clock::{Clock, Timestamp};
#[doc(inline)]
pub use error::{ConfigError, Rejection, RejectionKind};
#[doc(inline)]
pub use key::{KeyId, KeyRing, KeySet, KeyStore, Secret};
#[doc(inline)]
pub use request::{
    PendingPayload, Processing, SignedVersion, VerifiedPayload, Verifier,
    layer::{self, OnDuplicate, VerifyLayer},
};
#[doc(inline)]
pub use scheme::{
    header::{HeaderScheme, Part},
    rfc9421::{self, HttpMessageSignatures},
    webhooks,
};
#[doc(inline)]
pub use store::MemoryStore;
#[doc(inline)]
pub use token::OneTimeToken;

/// Compiles the examples of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
