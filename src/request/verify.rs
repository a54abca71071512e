//! All stages, one after another.

use std::{
    convert::Infallible,
    future::{poll_fn, ready},
    pin::pin,
};

use bytes::Bytes;
use http::request::Parts;
use http_body::Body;
use tracing::{Span, field::Empty};

use super::{
    authenticate::Authentic,
    claim::Verified,
    payload::VerifiedPayload,
    refused::Refused,
    verifier::{Settings, Verifier},
};
use crate::{
    error::Rejection,
    future::noting_wait,
    message::{has_split_cookie, join_cookies},
    metrics::Stopwatch,
    proof::{SPAN, first_key},
};

impl Verifier {
    /// Takes a request through all stages: in a span of `tracing`, and with an event for a refusal,
    /// as [the front page](crate#logs) says.
    ///
    /// # Errors
    /// Returns an error if any of them refuses it.
    ///
    /// # Security
    /// An offer of `Upgrade` does not refuse a request, and nothing covers the bytes that would
    /// follow it. Before the request is passed on, call
    /// [`remove_upgrade`](crate::request::remove_upgrade), as the layer does.
    ///
    /// # Panics
    /// Panics if there is something to wait for, outside of a Tokio runtime with its timer.
    pub async fn verify<B>(&self, head: &Parts, body: B) -> Result<Verified, Rejection>
    where
        B: Body<Data: Into<Bytes>, Error: Into<Box<dyn std::error::Error + Send + Sync>>>,
    {
        let at_once = ready(Ok(Ok::<(), Infallible>(())));
        match self
            .verify_when(head, body, |_| None, at_once, Rejection::report)
            .await
            .map_err(|refused| refused.rejection)?
        {
            Ok((verified, _)) => Ok(verified),
            Err(never) => match never {},
        }
    }

    /// Takes a request through all stages, and before the claim waits until it may be handled:
    /// nothing is claimed for a request that nobody handles, and nothing that is scarce is held for
    /// one that is not believed yet. `refuse` is asked first. Nobody handles a request that the scheme answers by itself.
    /// A refusal is reported in the span.
    pub(crate) async fn verify_when<B, T, E>(
        &self,
        head: &Parts,
        body: B,
        refuse: impl FnOnce(&VerifiedPayload) -> Option<E>,
        ready: impl Future<Output = Result<Result<T, E>, Rejection>>,
        report: impl FnOnce(&Rejection),
    ) -> Result<Result<(Verified, Option<T>), E>, Refused>
    where
        B: Body<Data: Into<Bytes>, Error: Into<Box<dyn std::error::Error + Send + Sync>>>,
    {
        let joined;
        let head = if has_split_cookie(head) {
            joined = with_one_cookie(head);
            &joined
        } else {
            head
        };
        let span = self.settings.span();
        let started = Stopwatch::start();
        let mut taking = pin!(self.take_through(head, body, refuse, ready, &span));
        // `Instrument` would have the future moved into it.
        let verified = poll_fn(|context| {
            let _entered = span.enter();
            taking.as_mut().poll(context)
        })
        .await
        .map_err(|refused| Refused {
            rejection: refused.rejection.counted_by(&*self.settings.clock),
            ..refused
        });
        started.verified(verified.is_ok());
        match &verified {
            Ok(Ok((verified, _))) => {
                span.record("outcome", verified.outcome());
            }
            // The inner service failed, and says so itself.
            Ok(Err(_)) => {}
            Err(Refused { rejection, .. }) => {
                span.record("outcome", rejection.kind().code());
                span.in_scope(|| report(rejection));
            }
        }
        verified
    }

    async fn take_through<B, T, E>(
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
        if self.accepts_several() {
            // Boxed, so that what few layers do makes the future no larger for all.
            return Box::pin(self.take_through_several(head, body, refuse, ready, span)).await;
        }
        let admitted = self.parse(head)?.admit().await?;
        let in_head = &admitted.state.signatures;
        let signed_in_head = !in_head.is_empty();
        span.record("key_id", first_key(in_head));
        let received = admitted.receive(body).await?;
        if !signed_in_head {
            span.record("key_id", first_key(&received.state.signatures));
        }
        span.record("body_bytes", received.state.body.len());
        if self.awaits_supply() {
            let unproven = received.into_unproven(head);
            let ready = match ready.await? {
                Ok(ready) => ready,
                Err(error) => return Ok(Err(error)),
            };
            return Ok(Ok((Verified::Unproven(unproven), Some(ready))));
        }
        received.authenticate()?.take_through(refuse, ready).await
    }
}

impl Authentic {
    /// Waits until the request may be handled, and claims it.
    pub(super) async fn take_through<T, E>(
        mut self,
        refuse: impl FnOnce(&VerifiedPayload) -> Option<E>,
        ready: impl Future<Output = Result<Result<T, E>, Rejection>>,
    ) -> Result<Result<(Verified, Option<T>), E>, Refused> {
        if self.is_answered() {
            return Ok(Ok((self.claim().await?, None)));
        }
        if let Some(error) = refuse(&self.usable.unread().payload) {
            return Ok(Err(error));
        }
        let (ready, has_waited) = noting_wait(async {
            // Before the inner service is asked: a duplicate that waits holds no permit of it.
            self.wait_for_turn().await?;
            ready.await
        })
        .await;
        let ready = match ready? {
            Ok(ready) => ready,
            Err(error) => return Ok(Err(error)),
        };
        if has_waited {
            self.check_freshness()?;
        }
        let payload = self.usable.unread().payload.clone();
        let claimed = self.claim().await;
        let verified = claimed.map_err(|rejection| Refused::claim(rejection, payload))?;
        Ok(Ok((verified, Some(ready))))
    }
}

/// Boxed, so that what few requests need makes the future no larger for all.
fn with_one_cookie(head: &Parts) -> Box<Parts> {
    let mut head = Box::new(head.clone());
    join_cookies(&mut head.headers);
    head
}

impl Settings {
    /// The span of one verification.
    fn span(&self) -> Span {
        let span = tracing::info_span!(
            SPAN,
            namespace = &**self.memory.namespace(),
            key_id = Empty,
            body_bytes = Empty,
            outcome = Empty,
        );
        // A span that nobody wants would still be entered, and its fields be looked up.
        if span.is_disabled() {
            Span::none()
        } else {
            span
        }
    }
}
