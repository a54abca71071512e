//! The settings that a layer adds to a verifier, and how it says that a request is refused.

use std::{fmt, sync::Arc};

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header::CONTENT_TYPE, request::Parts};
use http_body::Body;

use super::{left_over::LeftOver, response::ResponseBody};
use crate::{
    error::{Rejection, RejectionKind},
    idempotency::IdempotencyLayer,
    once::Confirm,
    request::{VerifiedPayload, Verifier},
    scheme::Asked,
};

#[derive(Clone)]
pub(super) struct LayerSettings {
    pub(super) verifier: Verifier,
    pub(super) on_duplicate: OnDuplicate,
    pub(super) strip_uncovered: bool,
    pub(super) renderer: Option<Arc<Renderer>>,
    pub(super) refuse: Option<Arc<Refuse>>,
    pub(super) confirm: Option<Confirm>,
    pub(super) left_over: Arc<LeftOver>,
    /// The source of answers to duplicates.
    pub(super) idempotency: Option<IdempotencyLayer>,
}

pub(super) type Refuse = dyn Fn(&Parts, &VerifiedPayload) -> Option<Response<Bytes>> + Send + Sync;

pub(super) type Renderer = dyn Fn(&Rejection) -> (HeaderValue, Bytes) + Send + Sync;

/// The answer to a duplicate of a request that was handled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum OnDuplicate {
    /// 409, `request_replayed`.
    #[default]
    Reject,
    /// 200 without a body: for senders that count any other answer as a failure, and go on retrying.
    ///
    /// With [`Processing::Retryable`](crate::Processing::Retryable), the earlier request was then
    /// completed. With [`Processing::InTransaction`](crate::Processing::InTransaction), it was
    /// committed. With [`Processing::AtMostOnce`](crate::Processing::AtMostOnce), it may still be
    /// running, or have failed.
    Acknowledge,
}

impl LayerSettings {
    pub(super) fn new(verifier: Verifier) -> Self {
        Self {
            on_duplicate: if verifier.sender_retries() {
                OnDuplicate::Acknowledge
            } else {
                OnDuplicate::Reject
            },
            left_over: LeftOver::new(&verifier),
            verifier,
            strip_uncovered: false,
            renderer: None,
            refuse: None,
            confirm: None,
            idempotency: None,
        }
    }

    /// Counts and logs what became of a request that is not let through.
    pub(super) fn report(&self, rejection: &Rejection) {
        if self.acknowledges(rejection) {
            rejection.report_acknowledged();
        } else {
            rejection.report();
        }
    }

    /// Returns whether the request is a duplicate that is answered with 200.
    pub(super) fn acknowledges(&self, rejection: &Rejection) -> bool {
        rejection.kind() == RejectionKind::RequestReplayed
            && self.on_duplicate == OnDuplicate::Acknowledge
    }

    /// Returns whether the answer to this duplicate may be on record, so that it is not refused
    /// yet.
    pub(super) fn may_have_answered(&self, rejection: &Rejection) -> bool {
        rejection.kind() == RejectionKind::RequestReplayed && self.idempotency.is_some()
    }

    pub(super) fn render<R: Body>(
        &self,
        rejection: &Rejection,
        asked: Asked,
    ) -> Response<ResponseBody<R>> {
        let mut response = match &self.renderer {
            None => rejection.to_response(),
            Some(render) => {
                let (content_type, body) = render(rejection);
                rejection.to_response_with(content_type, body)
            }
        };
        if rejection.status() == StatusCode::UNAUTHORIZED {
            self.verifier
                .challenge_as_asked(asked, response.headers_mut());
        }
        if self.acknowledges(rejection) {
            *response.status_mut() = StatusCode::OK;
            *response.body_mut() = Bytes::new();
            response.headers_mut().remove(CONTENT_TYPE);
        }
        response.map(ResponseBody::of_layer)
    }
}

impl fmt::Debug for LayerSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LayerSettings")
            .field("verifier", &self.verifier)
            .field("on_duplicate", &self.on_duplicate)
            .field("strip_uncovered", &self.strip_uncovered)
            .finish_non_exhaustive()
    }
}
