//! A request for a layer that accepts several schemes: under which of them it is signed.
//!
//! A request must pass under every scheme whose signature it carries, so that nobody gains by
//! adding, breaking or changing one. Its signatures must show that they belong together, so that
//! nobody can put two requests together. All its nonces are claimed, in the order of the schemes, so
//! that none of its signatures can be sent alone later.

use std::future::Future;

use bytes::Bytes;
use http::{HeaderMap, request::Parts};
use http_body::Body;
use tracing::Span;

use super::{
    authenticate::Authentic, claim::Verified, payload::VerifiedPayload, refused::Refused,
    verifier::Verifier,
};
use crate::{
    error::{Rejection, RejectionKind},
    proof::first_key,
};

impl Verifier {
    /// Returns whether requests may be signed under one of several schemes.
    pub(super) fn accepts_several(&self) -> bool {
        !self.settings.others.is_empty()
    }

    /// The verifiers of all schemes, in their order.
    pub(super) fn each(&self) -> impl DoubleEndedIterator<Item = &Self> {
        [self].into_iter().chain(&self.settings.others)
    }

    /// The verifiers whose signature is there, readable or not.
    fn carried<'v>(&'v self, headers: &HeaderMap) -> Vec<&'v Self> {
        let is_there = |verifier: &&Self| {
            let mut names = verifier.settings.signature_headers.iter();
            names.any(|name| headers.contains_key(name))
        };
        self.each().filter(is_there).collect()
    }

    /// Takes a request through all stages, under every scheme whose signature it carries.
    pub(super) async fn take_through_several<B, T, E>(
        &self,
        head: &Parts,
        body: B,
        refuse: impl FnOnce(&VerifiedPayload) -> Option<E>,
        ready: impl Future<Output = Result<Result<T, E>, Rejection>>,
        span: &Span,
    ) -> Result<Result<(Verified, Option<T>), E>, Refused>
    where
        B: Body<Data: Into<Bytes>, Error: Into<Box<dyn std::error::Error + Send + Sync>>>,
    {
        let carried = self.carried(&head.headers);
        let Some((first, others)) = carried.split_first() else {
            let refused = match self.parse(head) {
                Err(rejection) => rejection,
                Ok(_) => Rejection::new(RejectionKind::SignatureMissing, "no signature"),
            };
            return Err(refused.into());
        };
        // Each must count before any of the body is read. With one that is stale or used, the
        // request could still be accepted under another, so that nothing is stated for good.
        let mut parsed = first.parse(head)?;
        parsed.state.report = None;
        let admitted = parsed.admit().await?;
        span.record("key_id", first_key(&admitted.state.signatures));
        let mut admitted_beside = Vec::with_capacity(others.len());
        for other in others {
            let mut parsed = other.parse(head)?;
            parsed.state.report = None;
            admitted_beside.push(parsed.admit().await?);
        }
        let received = admitted.receive(body).await?;
        let bytes = received.state.body.clone();
        span.record("body_bytes", bytes.len());
        let mut authentic = received.authenticate()?;
        for admitted in admitted_beside {
            let received = admitted.take_over(&bytes).await?;
            let other = received.authenticate()?;
            if !self.settings.unrelated_signatures && !authentic.usable.is_one_with(&other.usable) {
                return Err(unrelated(&authentic, &other).into());
            }
            authentic.usable.and(other.usable);
        }
        authentic.take_through(refuse, ready).await
    }
}

/// Nothing shows that one sender signed the request twice.
fn unrelated(one: &Authentic, other: &Authentic) -> Rejection {
    let [one, other] = [one, other].map(|authentic| authentic.usable.unread().payload.scheme());
    Rejection::new(
        RejectionKind::SignatureInsufficient,
        format!(
            "signed under `{one}` and `{other}`, and neither signature says that the other belongs \
             to it: let one cover the header of the other, or both name one nonce under one key id; \
             `danger_unrelated_signatures` accepts it as it is"
        ),
    )
}
