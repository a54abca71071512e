//! A route that signs: who may ask it, and what it takes in.

use http::{HeaderName, Method, Request, Response, header::ORIGIN, request::Parts};
use hyper::body::Incoming;

use super::{
    answer::{AnswerBody, Refused},
    buffered::{Buffered, Rooms},
    place,
    upstream::{Failed, Signs, is_local},
};

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// A route that signs requests of an application.
#[derive(Debug)]
pub(super) struct Signing {
    pub(super) name: String,
    pub(super) bodies: Buffered,
    pub(super) signs: Signs,
}

impl Signing {
    /// Signs a request, and sends it. A client that is slow with its body takes no turn of the
    /// upstream. On loopback, each request must name this host: one of a page whose name was made to
    /// lead here (DNS rebinding) names its own.
    pub(super) async fn answer(
        &self,
        request: Request<Incoming>,
        is_on_loopback: bool,
        rooms: &Rooms,
    ) -> Result<Response<AnswerBody>, Failed> {
        let (head, body) = request.into_parts();
        if !self.is_of_an_application(&head, is_on_loopback) {
            return Ok(Refused::Client.answer());
        }
        let (body, _room) = match self.bodies.read(body, &rooms.to_sign).await {
            Ok(read) => read,
            Err(refused) => return Ok(refused.answer()),
        };
        self.signs.send(head, body).await
    }

    /// Returns whether no page in a browser can have sent it, which reaches this host too.
    fn is_of_an_application(&self, head: &Parts, is_on_loopback: bool) -> bool {
        let is_of_a_page =
            head.headers.contains_key(ORIGIN) || head.headers.contains_key(SEC_FETCH_SITE);
        let names_us = || {
            let named = place::authority(&head.uri, &head.headers).ok();
            let named = named.and_then(|named| named.parse().ok());
            named.is_some_and(|named| is_local(&named) || named == self.signs.origin.authority)
        };
        head.method != Method::CONNECT && !is_of_a_page && (!is_on_loopback || names_us())
    }
}
