//! `IdempotencyLayer`: what it is asked about a request.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::Response;
use tokio::time::Instant;

use super::{
    answer::StoredAnswer,
    held::Held,
    intention::{Intention, Said},
    key::IdempotencyKey,
    pending::PendingAnswer,
    settings::{Settings, WhenCutOff},
    unanswered::Unanswered,
};
use crate::{
    error::{ConfigError, Fault, Rejection, RejectionKind, StoreError, StoreErrorKind},
    future::{at_once, within},
    message::IDEMPOTENCY_KEY,
    once::{AnswerClaim, AnswerOutcome, Memory, StepOutcome, can_be_kept},
};

/// A layer behind which one intention is acted on once, however often its sender signs it.
///
#[doc = include_str!("semantics.md")]
#[derive(Clone, Debug)]
#[must_use]
pub struct IdempotencyLayer {
    pub(crate) settings: Arc<Settings>,
}

/// The fate of a request.
pub(crate) enum Asked {
    /// It was answered before.
    Answered(StoredAnswer),
    /// It is new, and its handler may run.
    New(Held),
}

impl IdempotencyLayer {
    pub(crate) fn is_in_transaction(&self) -> bool {
        self.settings.when_cut_off == WhenCutOff::RolledBack
    }

    /// Records the answer of an intention whose outcome is unknown (409, `outcome_unknown`), once
    /// somebody has found out what its attempt did. Retries get this answer from then on. Returns
    /// whether there was such an intention: `false` if the key is free, in flight or answered, or if
    /// its handler forgot to record (`answer_not_recorded`). A body over the limit is
    /// [not stored](super::IdempotencyLayerBuilder::max_body_bytes).
    ///
    /// ```
    /// use countersign::idempotency::{IdempotencyKey, IdempotencyLayer, Intention};
    /// use http::{Method, Response};
    ///
    /// # async fn f(layer: IdempotencyLayer) -> Result<(), Box<dyn std::error::Error>> {
    /// // The bank says that the transfer was made.
    /// let key = IdempotencyKey::new("8e03978e-40d5")?;
    /// let transfer = Intention::new("default", "partner-1", Method::POST, "/transfer", key)?;
    /// let answer = Response::builder().status(201).body("made")?;
    /// layer.resolve(&transfer, answer).await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// Returns an error if the store fails, or gives no answer in time.
    pub async fn resolve(
        &self,
        intention: &Intention,
        answer: Response<impl Into<Bytes>>,
    ) -> Result<bool, StoreError> {
        let settings = &*self.settings;
        let claim = intention.claim();
        let (head, body) = answer.into_parts();
        let answer = settings.answer(&head, Some(body.into())).to_bytes();
        let resolving = || settings.store.resolve(&claim, &answer);
        let resolved = within(settings.timeout, resolving).await?;
        Ok(resolved == StepOutcome::Done)
    }

    /// The claim on the key that the request names: `None` if it names none, and need not. Such a
    /// request is handled as if the layer were not there.
    pub(crate) fn named(&self, said: Said<'_>) -> Result<Option<AnswerClaim>, Rejection> {
        let Some(key) = self.key(said)? else {
            return Ok(None);
        };
        // All stores of the process are asked which they are.
        at_once(|| self.answers_for(said.memory))?.map_err(|error| {
            let detail = "answers of this verifier are not kept";
            Rejection::with_source(RejectionKind::StoreMisconfigured, detail, error)
        })?;
        Ok(Some(self.claim(said, &key)))
    }

    /// Checks that no other verifier means another sender by the same names, so that none gets the
    /// answers of the other.
    pub(crate) fn answers_for(&self, verifier: &Memory) -> Result<(), ConfigError> {
        let Settings {
            store, namespace, ..
        } = &*self.settings;
        let namespace = namespace.as_ref().unwrap_or(verifier.namespace());
        verifier.keep_answers_in(store, namespace)
    }

    /// Claims the key. A client that goes away meanwhile, or gets no answer, leaves no claim
    /// behind. `waits` is called before a wait for other requests with the key.
    pub(crate) async fn ask(
        &self,
        claim: AnswerClaim,
        waits: impl FnOnce(),
    ) -> Result<Asked, Rejection> {
        can_be_kept()?;
        let settings = &self.settings;
        let (claiming, turn) = settings
            .in_turn(&settings.claiming, &claim, waits, || {
                settings.store.claim(&claim)
            })
            .await?;
        let unanswered = Unanswered::new(settings, &claim);
        let asked = Instant::now();
        let mut outcome = within(settings.timeout, || claiming).await;
        drop(turn);
        use StoreErrorKind::{Full, KeyOverQuota};
        let refused = |error: &StoreError| matches!(error.kind(), Full | KeyOverQuota);
        let is_refused = outcome.as_ref().is_err_and(refused);
        // A slow answer leaves a hold that may end before its first renewal.
        if matches!(outcome, Ok(AnswerOutcome::Claimed)) && asked.elapsed() > settings.lease / 3 {
            let renewing = || settings.store.renew(&claim, settings.lease);
            outcome = match within(settings.renewal_timeout(), renewing).await {
                Ok(StepOutcome::Done) => outcome,
                Ok(StepOutcome::Lost) => Ok(AnswerOutcome::in_flight(settings.lease)),
                Err(error) => Err(error),
            };
        }
        if outcome.is_ok() || is_refused {
            unanswered.leave();
        } else {
            // The claim may have been made, and no handler runs for it.
            drop(unanswered);
        }
        match outcome? {
            AnswerOutcome::Claimed => Ok(Asked::New(Held::new(Arc::clone(settings), claim))),
            found => answered(&found).map(Asked::Answered),
        }
    }

    /// Looks up the answer to a duplicate, for which no handler runs: `None` if there is nothing on
    /// record of its intention.
    pub(crate) async fn look_up(&self, said: Said<'_>) -> Result<Option<StoredAnswer>, Rejection> {
        let Some(claim) = self.named(said)? else {
            return Ok(None);
        };
        let settings = &self.settings;
        let (finding, _turn) = settings
            .in_turn(
                &settings.looking_up,
                &claim,
                || {},
                || settings.store.find(&claim),
            )
            .await?;
        let found = within(settings.timeout, || finding).await?;
        found.as_ref().map(answered).transpose()
    }

    /// The slot for a handler that records its answer in its transaction.
    pub(crate) fn pending(&self, claim: Option<&AnswerClaim>) -> PendingAnswer {
        PendingAnswer::new(Arc::clone(&self.settings), claim.cloned())
    }

    fn claim(&self, said: Said<'_>, key: &IdempotencyKey) -> AnswerClaim {
        let settings = &*self.settings;
        let claim = said
            .claim(settings.namespace.as_ref(), key)
            .with_lease(settings.lease)
            .with_retention(settings.retention);
        match settings.when_cut_off {
            WhenCutOff::Unknown => claim,
            WhenCutOff::RunsAgain | WhenCutOff::RolledBack => claim.running_again(),
        }
    }

    fn key(&self, said: Said<'_>) -> Result<Option<IdempotencyKey>, Rejection> {
        if said.is_safe() {
            return Ok(None);
        }
        match said.covered_key() {
            Some(value) => IdempotencyKey::read(value).map(Some),
            None if said.sends_key() => Err(Rejection::new(
                RejectionKind::SignatureInsufficient,
                "the signature does not cover `idempotency-key`: anybody on the way could have \
                 changed it; let the sender cover the header",
            )),
            None if self.settings.is_required => Err(Rejection::new(
                RejectionKind::IdempotencyKeyMissing,
                format!("the request has no `{IDEMPOTENCY_KEY}`"),
            )),
            None => Ok(None),
        }
    }
}

/// The answer that was found, or why there is none.
fn answered(found: &AnswerOutcome) -> Result<StoredAnswer, Rejection> {
    match found {
        AnswerOutcome::Answered(answer) => match StoredAnswer::from_bytes(answer)? {
            answer if answer.is_unknown() => Err(Rejection::new(
                RejectionKind::OutcomeUnknown,
                "the handler of an earlier attempt with this `Idempotency-Key` answered with \
                 success, and recorded nothing in a transaction",
            )),
            answer => Ok(answer),
        },
        AnswerOutcome::InFlight { remaining } => {
            let detail = "an attempt with this `Idempotency-Key` is at work";
            Err(Fault::in_flight(detail, *remaining).into())
        }
        AnswerOutcome::Unknown => Err(Rejection::new(
            RejectionKind::OutcomeUnknown,
            "an attempt with this `Idempotency-Key` was cut off, and recorded no answer",
        )),
        AnswerOutcome::OtherContent => Err(Rejection::new(
            RejectionKind::IdempotencyKeyReused,
            "this `Idempotency-Key` was used for a request that said something else",
        )),
        // A store that finds its own claim has made it twice.
        AnswerOutcome::Claimed => Err(Fault::in_flight("claimed twice", Duration::ZERO).into()),
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use crate::{
        key::KeyRing,
        once::{Memory, MemorySettings},
        store::MemoryAnswers,
    };

    use super::*;

    fn verifier() -> Memory {
        let keys = KeyRing::new()
            .with("k", "a secret of sixteen bytes")
            .unwrap();
        let settings = MemorySettings {
            may_repeat: true,
            ..MemorySettings::new("rebuilt layers".into())
        };
        let keys = Arc::new(keys);
        settings
            .remember(std::time::Duration::from_secs(60), [(None, keys as _)])
            .unwrap()
    }

    /// However often a layer is built again, its verifier enters its senders once. The twin has
    /// another store each time, which others have as well.
    #[test]
    fn layers_that_are_built_again_leave_no_entries() {
        let (verifier, second, twin) = (verifier(), verifier(), verifier());
        let answers = Arc::new(MemoryAnswers::new());
        let others: Vec<_> = (0..50).map(|_| Arc::new(MemoryAnswers::new())).collect();
        for other in &others {
            let rebuilt = IdempotencyLayer::new(Arc::clone(&answers));
            rebuilt.answers_for(&verifier).unwrap();
            // A layer that has its store for itself takes it away when it is dropped, also from two
            // verifiers.
            let own = IdempotencyLayer::new(MemoryAnswers::new());
            own.answers_for(&verifier).unwrap();
            own.answers_for(&second).unwrap();
            // Two over one store, each for a verifier: neither keeps the store for the other.
            let store = Arc::new(MemoryAnswers::new());
            let one = IdempotencyLayer::new(Arc::clone(&store));
            one.answers_for(&verifier).unwrap();
            IdempotencyLayer::new(store).answers_for(&second).unwrap();
            let shared = IdempotencyLayer::new(Arc::clone(other));
            shared.answers_for(&twin).unwrap();
        }
        for verifier in [verifier, second] {
            assert!(verifier.answering() <= 3, "{}", verifier.answering());
        }
        assert_eq!(twin.answering(), others.len());
    }

    /// A layer has not ended because another verifier enters its senders for it just now.
    #[test]
    fn a_layer_that_lives_is_not_left_out_while_others_enter() {
        let (layer, first) = (IdempotencyLayer::new(MemoryAnswers::new()), verifier());
        layer.answers_for(&first).unwrap();
        thread::scope(|scope| {
            let enter = || (0..1000).for_each(|_| layer.answers_for(&verifier()).unwrap());
            let entering = scope.spawn(enter);
            while !entering.is_finished() {
                // For each new one, the verifier looks which have ended.
                let other = IdempotencyLayer::new(MemoryAnswers::new());
                other.answers_for(&first).unwrap();
                assert_eq!(first.answering(), 2);
            }
        });
    }
}
