//! Idempotency keys: one intention, acted on once, however often its sender signs it.
//!
//! A signed request is used once. A sender that got no answer, and signs its order again, has made
//! another request. `Idempotency-Key` ([draft-ietf-httpapi-idempotency-key-header-07]) is the name
//! that the sender gives to the order itself, and [`IdempotencyLayer`] answers for it once.
//!
//! The stores are in [`store`](crate::store): `MemoryAnswers`, `SqliteAnswers`, `PostgresAnswers`
//! and `RedisAnswers`, with the trait [`AnswerStore`](crate::store::AnswerStore) for one of your
//! own.
//!
//! [draft-ietf-httpapi-idempotency-key-header-07]:
//! https://www.ietf.org/archive/id/draft-ietf-httpapi-idempotency-key-header-07.html

mod answer;
mod builder;
mod going_on;
mod held;
mod intention;
mod key;
mod layer;
mod pending;
mod settings;
mod unanswered;

pub(crate) use answer::{StoredAnswer, is_stored};
pub use builder::IdempotencyLayerBuilder;
pub(crate) use going_on::Applicant;
pub(crate) use held::Held;
pub use intention::Intention;
pub(crate) use intention::{KeyTakenOut, Said};
pub use key::IdempotencyKey;
pub(crate) use layer::Asked;
pub use layer::IdempotencyLayer;
pub use pending::PendingAnswer;
