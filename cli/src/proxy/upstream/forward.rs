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
    HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, Version,
    header::{CONTENT_LENGTH, HOST, TRAILER, TRANSFER_ENCODING},
    request::Parts,
    uri::{Authority, PathAndQuery},
};
use http_body::Body;
use http_body_util::BodyExt as _;
use tower_service::Service;

use super::{
    connections::{Checkout, Failed, Upstream},
    data::Data,
    streamed::Streamed,
};
use crate::{
    proxy::{
        answer::{AnswerBody, BoxError, Refused},
        fields::{self, Policy},
        identity,
        logged::VerifiedAs,
        running::Handled,
    },
    serving::{host, join_cookies, strip},
};

/// Where a route sends its requests, and with which fields.
#[derive(Debug)]
pub(in crate::proxy) struct Target {
    pub(in crate::proxy) upstream: Arc<Upstream>,
    pub(in crate::proxy) policy: Policy,
}

/// Sends a request to the upstream. It is ready once it has a connection.
pub(in crate::proxy) struct Forward {
    target: Arc<Target>,
    state: State,
}

enum State {
    Idle,
    Waiting(Waiting),
    Ready(Box<Checkout>),
}

type Waiting = Pin<Box<dyn Future<Output = Result<Checkout, Failed>> + Send>>;

impl Forward {
    pub(in crate::proxy) fn new(target: Arc<Target>) -> Self {
        Self {
            target,
            state: State::Idle,
        }
    }
}

/// A clone has to wait for a connection of its own.
impl Clone for Forward {
    fn clone(&self) -> Self {
        Self::new(Arc::clone(&self.target))
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
                    self.state = State::Waiting(Box::pin(upstream.check_out()));
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
            let payload = request.extensions().get::<VerifiedPayload>();
            let key_id = payload.map(|payload| payload.key_id().to_string());
            let mut answer = match target.request(request) {
                Ok(request) => match target.send(*checkout, request).await {
                    // An answer releases a lease: nothing has happened.
                    Err(failed) if failed.refused == Refused::Undelivered => {
                        failed.refused.answer()
                    }
                    sent => sent?,
                },
                Err(refused) => refused.answer(),
            };
            if let Some(key_id) = key_id {
                answer.extensions_mut().insert(VerifiedAs(key_id));
            }
            // Until the lease of the request is settled.
            if let Some(handled) = handled {
                answer.extensions_mut().insert(handled);
            }
            Ok(answer)
        })
    }
}

impl Target {
    /// The request as the upstream gets it.
    fn request<B>(&self, request: Request<B>) -> Result<Request<AnswerBody>, Refused>
    where
        B: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
    {
        let (mut head, body) = request.into_parts();
        if head.version == Version::HTTP_2 {
            join_cookies(&mut head.headers).map_err(|_| Refused::Unclear)?;
        }
        let payload = head.extensions.get::<VerifiedPayload>();
        let mut headers = self.policy.forwarded(&head.headers, payload);
        if let Some(payload) = payload {
            let written = identity::write(payload, &head.headers, &mut headers);
            written.map_err(|_| Refused::Unwritable)?;
        }
        let authority = authority(&head).ok_or(Refused::Unclear)?;
        let is_http2 = self.upstream.settings.http2;
        let host = match is_http2 {
            true => None,
            false => Some(host(&authority).map_err(|_| Refused::Unclear)?),
        };
        let length = body.size_hint().exact();
        let length = length.filter(|length| *length > 0 || takes_body(&head.method));
        fields::frame(&mut headers, host, length);
        let path = head.uri.path_and_query().cloned();
        let path = path.unwrap_or_else(|| PathAndQuery::from_static("/"));
        let uri = match is_http2 {
            true => Uri::builder()
                .scheme(self.upstream.address.scheme())
                .authority(authority)
                .path_and_query(path)
                .build()
                .map_err(|_| Refused::Unclear)?,
            false => Uri::from(path),
        };
        let body = Data(Box::pin(body)).map_err(Into::into);
        let mut request = Request::new(body.boxed_unsync());
        *request.method_mut() = head.method;
        *request.uri_mut() = uri;
        *request.headers_mut() = headers;
        *request.version_mut() = match is_http2 {
            true => Version::HTTP_2,
            false => Version::HTTP_11,
        };
        Ok(request)
    }

    async fn send(
        &self,
        checkout: Checkout,
        request: Request<AnswerBody>,
    ) -> Result<Response<AnswerBody>, Failed> {
        let (answer, held) = checkout.send(request).await?;
        let (head, body) = answer.into_parts();
        if head.status == StatusCode::SWITCHING_PROTOCOLS {
            // Nobody asked it to. The connection is closed.
            let cause = "the upstream switches protocols";
            return Err(Failed::new(Refused::Broken, cause));
        }
        let mut answer = Response::new(Streamed::new(body, held).boxed_unsync());
        *answer.status_mut() = head.status;
        *answer.headers_mut() = answered(head.headers);
        Ok(answer)
    }
}

/// The fields of an answer that are passed on: with the names of its trailers, which follow.
fn answered(mut headers: HeaderMap) -> HeaderMap {
    if headers.contains_key(TRANSFER_ENCODING) {
        // The length was not that of the body (RFC 9112, 6.3), which would be cut off.
        headers.remove(CONTENT_LENGTH);
    }
    let trailers: Vec<HeaderValue> = headers.get_all(TRAILER).iter().cloned().collect();
    strip(&mut headers);
    for names in trailers {
        headers.append(TRAILER, names);
    }
    headers
}

fn authority(head: &Parts) -> Option<Authority> {
    let named = head.uri.authority().cloned();
    named.or_else(|| head.headers.get(HOST)?.to_str().ok()?.parse().ok())
}

/// Whether servers expect a length of requests with this method, though there is no body.
fn takes_body(method: &Method) -> bool {
    [Method::POST, Method::PUT, Method::PATCH].contains(method)
}
