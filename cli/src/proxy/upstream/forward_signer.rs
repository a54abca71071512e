//! Signs what is forwarded, so that the upstream can tell that a request came through the proxy.

use std::fmt;

use bytes::Bytes;
use countersign::{ConfigError, HttpMessageSignatures, Secret, Signer, rfc9421::Component};
use http::{HeaderMap, HeaderName, Request, Uri};

use super::{
    connections::{Failed, Upstream},
    outgoing::Outgoing,
};
use crate::proxy::{answer::Refused, identity};

/// The tag of the signatures, which keeps them apart from those of clients.
const TAG: &str = "countersign-proxy";

/// Those of the client go: a server is to find no signature beside ours, and the digest of ours alone.
const REPLACED: [&str; 3] = ["content-digest", "signature", "signature-input"];

/// Signs by RFC 9421: method, authority, path, query, body and our own fields.
#[derive(Clone)]
pub(in crate::proxy) struct ForwardSigner(Vec<Profile>);

/// A signer for requests with exactly these fields of ours.
#[derive(Clone)]
struct Profile {
    fields: Vec<HeaderName>,
    signer: Signer,
}

impl ForwardSigner {
    /// A signer under this key.
    ///
    /// # Errors
    /// Returns an error if the key id or the secret is not valid.
    pub(in crate::proxy) fn new(key_id: &str, secret: &Secret) -> Result<Self, ConfigError> {
        let profile = |fields: Vec<HeaderName>| {
            let mut scheme = HttpMessageSignatures::builder().tag(TAG);
            for name in &fields {
                scheme = scheme.covers(Component::header(name.as_str())?);
            }
            let signer = Signer::new(scheme.build()?, key_id, secret.clone())?;
            Ok(Profile { fields, signer })
        };
        let each = identity::combinations().map(profile);
        each.collect::<Result<_, _>>().map(Self)
    }

    /// Signs a request.
    pub(super) fn sign(
        &self,
        outgoing: Outgoing,
        body: Bytes,
        upstream: &Upstream,
    ) -> Result<(Outgoing, Bytes), Failed> {
        let Outgoing {
            method,
            authority,
            path,
            mut headers,
        } = outgoing;
        for name in REPLACED {
            headers.remove(name);
        }
        let mut request = Request::new(body);
        *request.method_mut() = method;
        *request.headers_mut() = headers;
        let uri = Uri::builder()
            .scheme(upstream.address.scheme())
            .authority(authority.clone())
            .path_and_query(path.clone());
        // Both were parts of a URI.
        *request.uri_mut() = uri.build().unwrap_or_default();
        let unsignable = |cause: String| Failed::new(Refused::Internal, cause);
        let signer = self.signer(request.headers());
        let signer = signer.ok_or_else(|| unsignable("no profile has its fields".to_owned()))?;
        let signed = signer.sign(request);
        let signed = signed.map_err(|error| unsignable(error.to_string()))?;
        let (head, body) = signed.into_parts();
        let outgoing = Outgoing {
            method: head.method,
            authority,
            path,
            headers: head.headers,
        };
        Ok((outgoing, body))
    }

    fn signer(&self, headers: &HeaderMap) -> Option<&Signer> {
        let ours = identity::fields(headers);
        let fits = |profile: &&Profile| {
            profile.fields.len() == ours.len() && ours.iter().all(|n| profile.fields.contains(n))
        };
        self.0.iter().find(fits).map(|profile| &profile.signer)
    }
}

impl fmt::Debug for ForwardSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ForwardSigner(redacted)")
    }
}
