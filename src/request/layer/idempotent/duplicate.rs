//! A duplicate whose nonce was used: it gets the answer that is kept for its intention, and no
//! handler runs for it.

use bytes::Bytes;
use http::{HeaderValue, Response, header::CACHE_CONTROL, request::Parts};

use crate::{
    error::Rejection,
    idempotency::Said,
    request::{VerifiedPayload, layer::settings::LayerSettings, refused::Refused},
};

/// Returns what was verified, as the layer is asked about it.
pub(in crate::request::layer) fn said<'r>(
    payload: &'r VerifiedPayload,
    head: &'r Parts,
) -> Said<'r> {
    Said {
        memory: payload.memory(),
        proven: payload.as_ref(),
        head,
    }
}

impl LayerSettings {
    /// Looks up the answer to a request that is refused because it was used before. A request that
    /// is refused for another reason, or has no answer on record, stays refused.
    pub(in crate::request::layer) async fn answer_to_duplicate(
        &self,
        head: &Parts,
        refused: Refused,
    ) -> Result<Response<Bytes>, Rejection> {
        let (Some(idempotency), Some(duplicate)) = (&self.idempotency, refused.duplicate) else {
            return Err(refused.rejection);
        };
        let found = idempotency.look_up(said(&duplicate.payload, head)).await;
        duplicate.span.in_scope(|| {
            let rejection = match found {
                Ok(Some(answer)) => {
                    tracing::info!("stored answer replayed");
                    let mut response = answer.replayed();
                    response
                        .headers_mut()
                        .entry(CACHE_CONTROL)
                        .or_insert(HeaderValue::from_static("private, no-store"));
                    return Ok(response);
                }
                Ok(None) => refused.rejection,
                Err(rejection) => rejection,
            };
            self.report(&rejection);
            Err(rejection)
        })
    }
}
