//! The twin that compiles: every stage, each once, in order. It is built as a part of the test, to
//! spare the cases a build of every dependency for the machine.

use std::time::Duration;

use bytes::Bytes;
use countersign::{
    HeaderScheme, Rejection, VerifiedPayload, Verifier,
    error::{StoreError, StoreErrorKind},
    request::{Admitted, Authentic, Parsed, Received, Verified},
    scheme::Scheme,
    store::{Claim, ClaimOutcome, ConsumeIn, StoreFuture},
};
use http::request::Parts;
use http_body_util::Full;

async fn verify(verifier: &Verifier, head: &Parts) -> Result<VerifiedPayload, Rejection> {
    let parsed: Parsed<'_> = verifier.parse(head)?;
    let admitted: Admitted<'_> = parsed.admit().await?;
    let received: Received<'_> = admitted.receive(Full::<Bytes>::default()).await?;
    let authentic: Authentic = received.authenticate()?;
    match authentic.claim().await? {
        Verified::Claimed(payload) => Ok(payload),
        Verified::Leased(payload, lease) => {
            drop(lease);
            Ok(payload)
        }
        Verified::Pending(pending) => pending.consume(&mut Always).await,
        _ => Err(StoreError::unavailable("a processing of later").into()),
    }
}

/// A transaction of others can take part.
struct Always;

impl ConsumeIn for Always {
    fn consume<'a>(&'a mut self, _: &'a Claim, _: Duration) -> StoreFuture<'a, ClaimOutcome> {
        StoreFuture::ready(Ok(ClaimOutcome::New))
    }

    fn is_recorded<'a>(&'a mut self, _: &'a Claim) -> StoreFuture<'a, bool> {
        StoreFuture::ready(Ok(true))
    }
}

fn store(claim: &Claim) -> StoreFuture<'static, ClaimOutcome> {
    let Claim { .. } = claim;
    StoreFuture::ready(Err(StoreError::new(StoreErrorKind::Full, "no room")))
}

fn matched(claimed: ClaimOutcome) -> bool {
    match claimed {
        ClaimOutcome::New => true,
        ClaimOutcome::Replayed => false,
        _ => false,
    }
}

fn is_scheme<S: Scheme>() {}

fn may_be_cloned<T: Clone>() {}

pub(super) fn all() {
    is_scheme::<HeaderScheme>();
    may_be_cloned::<VerifiedPayload>();
    let _ = (verify, store, matched);
}
