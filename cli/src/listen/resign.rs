//! Signing a recorded request again, as its sender would for a retry.

use bytes::Bytes;
use http::{
    HeaderValue, Request,
    header::{CONTENT_LENGTH, TRANSFER_ENCODING},
};

use crate::{
    exit::Failure,
    request::at_origin,
    scheme::Chosen,
    secret::{self, SecretText},
};

#[derive(Clone, Debug)]
pub(crate) struct Resigner {
    chosen: Chosen,
    key_id: Option<String>,
    secret: SecretText,
    origin: Option<String>,
}

impl Resigner {
    /// Signs under the secret that was given first.
    pub(crate) fn new(
        chosen: &Chosen,
        key_id: Option<&str>,
        secrets: &[SecretText],
        origin: Option<&str>,
    ) -> Option<Self> {
        Some(Self {
            chosen: chosen.clone(),
            key_id: key_id.filter(|_| chosen.names_key()).map(str::to_owned),
            secret: secrets.first()?.clone(),
            origin: origin.map(str::to_owned),
        })
    }

    /// Signs the request with the current time, under its event id or a new nonce, and under the
    /// key id that it had unless another one was named.
    pub(crate) fn sign(
        &self,
        request: &Request<Bytes>,
        key_id: Option<&str>,
        event_id: Option<&str>,
    ) -> Result<Request<Bytes>, String> {
        let key_id = key_id.filter(|_| self.chosen.names_key());
        let key_id = self.key_id.as_deref().or(key_id);
        let signer = self.chosen.signer(key_id, &self.secret);
        let signer = signer.map_err(|Failure { what, why, .. }| format!("{what}: {why}"))?;
        let nonce = match event_id {
            Some(id) => id.to_owned(),
            None => secret::random()?,
        };
        let mut request = request.clone();
        // A request can have several signatures of RFC 9421. The signatures of other schemes are
        // replaced.
        if request.headers_mut().remove("signature-input").is_some() {
            request.headers_mut().remove("signature");
        }
        let target = request.uri().clone();
        if let Some(origin) = &self.origin {
            let whole = at_origin(origin, &target);
            *request.uri_mut() = whole.map_err(|error| error.to_string())?;
        }
        let mut signed = signer
            .sign_body(request, &nonce)
            .map_err(|error| error.to_string())?;
        *signed.uri_mut() = target;
        // A scheme that signs in the body has changed its length.
        if !signed.headers().contains_key(TRANSFER_ENCODING) {
            let length = HeaderValue::from(signed.body().len());
            signed.headers_mut().insert(CONTENT_LENGTH, length);
        }
        Ok(signed)
    }
}
