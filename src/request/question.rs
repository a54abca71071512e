//! The question of a sender in the body of an unsigned request: whether this is the right place.

use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Response, request::Parts};
use http_body::Body;

use super::{
    budget::Charge,
    verifier::{Settings, Verifier},
};
use crate::{
    body::{self, Arriving, BodyLimits, BoxError},
    error::{Rejection, RejectionKind},
    routed::original_uri,
};

/// Longer than any question, in bytes.
const MAX_QUESTION: usize = 1024;

impl Verifier {
    /// Returns whether the body of this unsigned request may hold the question of a sender that
    /// [`handshake`](Self::handshake) answers from the head. If so,
    /// [`handshake_in_body`](Self::handshake_in_body) has the answer. The layer does so by itself.
    #[must_use]
    pub fn asks_in_body(&self, head: &Parts) -> bool {
        if !self.settings.answers_unsigned {
            return false;
        }
        let uri = original_uri(head);
        let mut each = self.each().map(|verifier| &verifier.settings.scheme);
        if !each.any(|scheme| scheme.asks_in_body(&head.method, uri, &head.headers)) {
            return false;
        }
        let mut signatures = self
            .each()
            .flat_map(|verifier| &verifier.settings.signature_headers);
        !signatures.any(|name| head.headers.contains_key(name))
    }

    /// Reads the body of a request that has no signature and may be such a question: up to 1 KiB,
    /// within the deadline and the share of the budget for bodies that were not verified.
    ///
    /// # Errors
    /// Returns an error if the body is too slow or breaks off. If the body is not such a question,
    /// the error says that the request has no signature.
    ///
    /// # Panics
    /// Panics if the body is not ready at once, outside of a Tokio runtime with its timer.
    pub async fn handshake_in_body<B>(
        &self,
        head: &Parts,
        body: B,
    ) -> Result<Response<Bytes>, Rejection>
    where
        B: Body<Data: Into<Bytes>, Error: Into<Box<dyn std::error::Error + Send + Sync>>>,
    {
        let unsigned = || match self.parse(head) {
            Err(rejection) => rejection,
            Ok(_) => Rejection::new(RejectionKind::SignatureMissing, "no signature"),
        };
        if !self.asks_in_body(head) {
            return Err(unsigned());
        }
        let uri = original_uri(head);
        let body = self.settings.read_question(body).await?;
        let mut each = self.each().map(|verifier| &verifier.settings.scheme);
        let answer = body.and_then(|body| each.find_map(|s| s.answer_unsigned_body(uri, &body)));
        answer.ok_or_else(unsigned)
    }
}

impl Settings {
    /// The body, unless it is longer than a question.
    async fn read_question<B>(&self, body: B) -> Result<Option<Bytes>, Rejection>
    where
        B: Body<Data: Into<Bytes>, Error: Into<BoxError>>,
    {
        let limits = BodyLimits {
            max_bytes: self.body.max_bytes.min(MAX_QUESTION),
            ..self.body
        };
        let read = body::read(body, &limits, OfNobody(Charge::new(&self.budget))).await;
        match read {
            Ok(body) => Ok(Some(body)),
            Err(refused) if refused.kind() == RejectionKind::BodyTooLarge => Ok(None),
            Err(refused) => Err(refused),
        }
    }
}

/// Charges a body that no key is named for.
struct OfNobody(Charge);

impl Arriving for OfNobody {
    type Refusal = Rejection;

    fn arrived(&mut self, _: &[u8], more: usize) -> Result<(), Rejection> {
        self.0.add(more, "")
    }

    fn poll_refused(&mut self, cx: &mut Context<'_>) -> Poll<Rejection> {
        self.0.poll_displaced("", cx)
    }
}
