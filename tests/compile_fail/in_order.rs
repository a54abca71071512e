//! The twin that compiles: every stage, each once, in order. It is built as a part of the test, to
//! spare the cases a build of every dependency for the machine.

use bytes::Bytes;
use countersign::{
    Claim, Claimed, HeaderScheme, Rejection, Scheme, StoreError, StoreErrorKind, StoreFuture,
    Verified, VerifiedPayload, Verifier,
    verify::{Admitted, Authentic, Parsed, Received},
};
use http::request::Parts;
use http_body_util::Full;

async fn verify(verifier: &Verifier, head: &Parts) -> Result<VerifiedPayload, Rejection> {
    let parsed: Parsed<'_> = verifier.parse(head)?;
    let admitted: Admitted<'_> = parsed.admit().await?;
    let received: Received<'_> = admitted.receive(Full::<Bytes>::default()).await?;
    let authentic: Authentic = received.authenticate()?;
    let Verified { payload, lease, .. } = authentic.claim().await?;
    drop(lease);
    Ok(payload)
}

fn store(claim: &Claim) -> StoreFuture<'static, Claimed> {
    let Claim { .. } = claim;
    StoreFuture::ready(Err(StoreError::new(StoreErrorKind::Full, "no room")))
}

fn matched(claimed: Claimed) -> bool {
    match claimed {
        Claimed::New => true,
        Claimed::Replayed => false,
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
