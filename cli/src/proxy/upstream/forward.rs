//! The service behind the layer: it sends a request to the upstream.

use std::{
    fmt, mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use countersign::VerifiedPayload;
use http::{
    Request, Response, Version,
    header::HOST,
    request::Parts,
    uri::{Authority, PathAndQuery},
};
use http_body::Body;
use http_body_util::{BodyExt as _, Full};
use tower_service::Service;

use super::{
    checkout::Checkout,
    connections::{Failed, Upstream},
    forward_signer::ForwardSigner,
    outgoing::Outgoing,
};
use crate::{
    http_client::causes,
    proxy::{
        answer::{AnswerBody, BoxError, Refused},
        fields::{self, Policy},
        forwarders::Client,
        identity::Identity,
        running::Handled,
        seats::Of,
    },
    serving::join_cookies,
};

/// Where a route sends its requests, and with which fields.
#[derive(Debug)]
pub(in crate::proxy) struct Target {
    pub(in crate::proxy) upstream: Arc<Upstream>,
    pub(in crate::proxy) policy: Policy,
    /// Signs what is forwarded, if the upstream wants to know that it came through the proxy.
    pub(in crate::proxy) signer: Option<ForwardSigner>,
}

/// Sends a request to the upstream. It is ready once it has a connection.
pub(in crate::proxy) struct Forward {
    target: Arc<Target>,
    of: Of,
    state: State,
}

enum State {
    Idle,
    Waiting(Waiting),
    Ready(Box<Checkout>),
}

type Waiting = Pin<Box<dyn Future<Output = Result<Checkout, Failed>> + Send>>;

impl Forward {
    pub(in crate::proxy) fn new(target: Arc<Target>, of: Of) -> Self {
        Self {
            target,
            of,
            state: State::Idle,
        }
    }
}

/// A clone must wait for a connection of its own.
impl Clone for Forward {
    fn clone(&self) -> Self {
        Self::new(Arc::clone(&self.target), self.of)
    }
}

impl fmt::Debug for Forward {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Forward")
            .field("target", &self.target)
            .finish_non_exhaustive()
    }
}

impl<B> Service<Request<B>> for Forward
where
    B: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    type Response = Response<AnswerBody>;
    type Error = Failed;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Failed>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Failed>> {
        loop {
            match &mut self.state {
                State::Ready(_) => return Poll::Ready(Ok(())),
                State::Idle => {
                    let upstream = Arc::clone(&self.target.upstream);
                    self.state = State::Waiting(Box::pin(upstream.check_out(self.of)));
                }
                State::Waiting(waiting) => {
                    let had = ready!(waiting.as_mut().poll(context));
                    self.state = State::Idle;
                    self.state = State::Ready(Box::new(had?));
                }
            }
        }
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let state = mem::replace(&mut self.state, State::Idle);
        let target = Arc::clone(&self.target);
        Box::pin(async move {
            let State::Ready(checkout) = state else {
                let cause = "the service was called before it was ready";
                return Err(Failed::new(Refused::Internal, cause));
            };
            let handled = request.extensions().get::<Handled>().cloned();
            let mut answer = match target.request(request).await? {
                Ok(request) => match checkout.answer(request).await {
                    // An answer releases a lease: nothing has happened.
                    Err(failed) if failed.refused == Refused::Undelivered => {
                        failed.refused.answer()
                    }
                    sent => sent?,
                },
                Err(refused) => refused.answer(),
            };
            // Until the lease of the request is settled.
            if let Some(handled) = handled {
                answer.extensions_mut().insert(handled);
            }
            Ok(answer)
        })
    }
}

impl Target {
    /// The request as the upstream gets it, or why it is refused.
    async fn request<B>(
        &self,
        request: Request<B>,
    ) -> Result<Result<Request<AnswerBody>, Refused>, Failed>
    where
        B: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
    {
        let (head, body) = request.into_parts();
        let outgoing = match self.outgoing(head) {
            Ok(outgoing) => outgoing,
            Err(refused) => return Ok(Err(refused)),
        };
        let Some(signer) = &self.signer else {
            return Ok(outgoing.with(body, &self.upstream));
        };
        // It is here already: the layer has verified it.
        let body = body
            .collect()
            .await
            .map_err(|error| Failed::new(Refused::BodyBroken, causes(&*error.into())))?;
        let (outgoing, body) = signer.sign(outgoing, body.to_bytes(), &self.upstream)?;
        Ok(outgoing.with(Full::new(body), &self.upstream))
    }

    fn outgoing(&self, mut head: Parts) -> Result<Outgoing, Refused> {
        if head.version == Version::HTTP_2 {
            join_cookies(&mut head.headers).map_err(|_| Refused::Unclear)?;
        }
        let payload = head.extensions.get::<VerifiedPayload>();
        let mut headers = self.policy.forwarded(&head.headers, payload);
        if let Some(payload) = payload {
            let written = Identity::of(payload)
                .and_then(|identity| identity.write(&head.headers, &mut headers));
            written.map_err(|_| Refused::Unwritable)?;
        }
        if let Some(client) = head.extensions.get::<Client>() {
            fields::say(client, &mut headers);
        }
        let path = head.uri.path_and_query().cloned();
        Ok(Outgoing {
            authority: authority(&head).ok_or(Refused::Unclear)?,
            path: path.unwrap_or_else(|| PathAndQuery::from_static("/")),
            method: head.method,
            headers,
        })
    }
}

fn authority(head: &Parts) -> Option<Authority> {
    let named = head.uri.authority().cloned();
    named.or_else(|| head.headers.get(HOST)?.to_str().ok()?.parse().ok())
}
