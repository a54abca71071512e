//! One request as an upstream gets it, and its answer as the client does.

use std::time::Instant;

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, Version,
    header::{CONTENT_LENGTH, TRAILER, TRANSFER_ENCODING},
    uri::{Authority, PathAndQuery},
};
use http_body::Body;
use http_body_util::BodyExt as _;

use super::{
    super::{
        answer::{AnswerBody, BoxError, Refused},
        fields, measures,
    },
    checkout::Checkout,
    connections::{Failed, Upstream},
    data::Data,
    streamed::Streamed,
};
use crate::serving::{host, strip};

/// A request, before it has the form of its upstream.
#[derive(Debug)]
pub(in crate::proxy) struct Outgoing {
    pub(in crate::proxy) method: Method,
    pub(in crate::proxy) authority: Authority,
    pub(in crate::proxy) path: PathAndQuery,
    /// Without the host and the length.
    pub(in crate::proxy) headers: HeaderMap,
}

impl Outgoing {
    /// Gives the request the form that the upstream takes.
    pub(super) fn with<B>(
        mut self,
        body: B,
        upstream: &Upstream,
    ) -> Result<Request<AnswerBody>, Refused>
    where
        B: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
    {
        let is_http2 = upstream.settings.http2;
        let host = match is_http2 {
            true => None,
            false => Some(host(&self.authority).map_err(|_| Refused::Unclear)?),
        };
        let length = body.size_hint().exact();
        let length = length.filter(|length| *length > 0 || takes_body(&self.method));
        fields::frame(&mut self.headers, host, length);
        let uri = match is_http2 {
            true => Uri::builder()
                .scheme(upstream.address.scheme())
                .authority(self.authority)
                .path_and_query(self.path)
                .build()
                .map_err(|_| Refused::Unclear)?,
            false => Uri::from(self.path),
        };
        let body = Data(Box::pin(body)).map_err(Into::into);
        let mut request = Request::new(body.boxed_unsync());
        *request.method_mut() = self.method;
        *request.uri_mut() = uri;
        *request.headers_mut() = self.headers;
        *request.version_mut() = match is_http2 {
            true => Version::HTTP_2,
            false => Version::HTTP_11,
        };
        Ok(request)
    }
}

impl Checkout {
    /// Sends a request. The body of its answer is passed on as it comes.
    pub(super) async fn answer(
        self,
        request: Request<AnswerBody>,
    ) -> Result<Response<AnswerBody>, Failed> {
        let (started, upstream) = (Instant::now(), self.name());
        let (answer, held) = self.send(request).await?;
        measures::upstream_answered(&upstream, started.elapsed());
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

/// Returns whether servers expect a length of requests with this method, though there is no body.
fn takes_body(method: &Method) -> bool {
    [Method::POST, Method::PUT, Method::PATCH].contains(method)
}
