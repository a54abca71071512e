//! Signing the responses of a server, each bound to the request that it answers.

use std::{fmt, sync::Arc};

use http::{Response, request, response};

use crate::{
    clock::{Clock, SystemClock},
    error::{ConfigError, Fault, SignError},
    key::{RotatingKey, Secret, SigningKey},
    message::{Forwarded, Origin, Origins},
    once::Report,
    routed::routed,
    scheme::{Describe, Signing, rfc9421::HttpMessageSignatures},
};

/// Signs responses under one key, each bound to the request that it answers.
///
/// [`SignResponseLayer`](crate::response::SignResponseLayer) does so for a whole service.
/// [`HttpMessageSignatures`](HttpMessageSignatures#responses) lists the parts that a response
/// covers.
///
/// # Security
/// - A MAC is made and verified with one secret, so a client that verifies responses under a key
///   can also make them. Use one key for each client, or for clients that trust each other, and not
///   the key with which the client signs its requests.
/// - The signature only proves that this server answered, also for requests that it did not verify.
///   Only [`countersign-outcome`](HttpMessageSignatures#statements-of-a-response) states the
///   outcome of the request.
///
/// ```
/// use countersign::{response::ResponseSigner, HttpMessageSignatures};
/// use http::{Request, Response};
///
/// let scheme = HttpMessageSignatures::default();
/// let signer = ResponseSigner::new(scheme, "api", "the secret of the api")?;
///
/// let (request, _) = Request::get("https://api.example.com/orders/7").body(())?.into_parts();
/// let response = signer.sign(&request, Response::new("{}"))?;
/// assert!(response.headers().contains_key("signature"));
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct ResponseSigner {
    scheme: HttpMessageSignatures,
    key: RotatingKey,
    clock: Arc<dyn Clock>,
    origins: Arc<Origins>,
}

impl ResponseSigner {
    /// Returns a signer under this profile and key.
    ///
    /// # Errors
    /// Returns an error if the key id or the secret is not valid, or the secret is tied to another
    /// algorithm than HMAC with SHA-256.
    pub fn new<T>(
        scheme: HttpMessageSignatures,
        key_id: impl AsRef<str>,
        secret: T,
    ) -> Result<Self, ConfigError>
    where
        T: TryInto<Secret>,
        ConfigError: From<T::Error>,
    {
        Ok(Self {
            key: RotatingKey::new(key_id, secret, scheme.profile().algorithm)?,
            scheme,
            clock: Arc::new(SystemClock),
            origins: Arc::default(),
        })
    }

    /// Sets the clock that signed times are taken from. Default: the [system's](SystemClock).
    #[must_use]
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Adds a URL at which clients reach this service, as
    /// [`VerifierBuilder::public_origin`](crate::request::VerifierBuilder::public_origin) does.
    /// Default: the authority and path of each request, which is right if no proxy changes them.
    ///
    /// Nothing is signed for any other authority: in a layer, such a request is answered with 421.
    ///
    /// # Errors
    /// Returns an error if this is not an origin, or one of this authority was given.
    pub fn public_origin(mut self, origin: impl AsRef<str>) -> Result<Self, ConfigError> {
        Arc::make_mut(&mut self.origins).add(Origin::parse(origin.as_ref())?)?;
        Ok(self)
    }

    /// Takes the authority from a header that a trusted proxy sets, as
    /// [`VerifierBuilder::forwarded`](crate::request::VerifierBuilder::forwarded) does. Default:
    /// from `Host` or `:authority` only.
    ///
    /// # Errors
    /// Returns an error if no network is trusted.
    pub fn forwarded(mut self, forwarded: Forwarded) -> Result<Self, ConfigError> {
        Arc::make_mut(&mut self.origins).trust(forwarded)?;
        Ok(self)
    }

    /// Replaces the key, for every clone at once, in the order that
    /// [`Signer::rotate`](crate::Signer::rotate) tells: here the clients are the receivers.
    ///
    /// # Errors
    /// Returns an error as [`ResponseSigner::new`] does. The key then stays the same.
    pub fn rotate<T>(&self, key_id: impl AsRef<str>, secret: T) -> Result<(), ConfigError>
    where
        T: TryInto<Secret>,
        ConfigError: From<T::Error>,
    {
        self.key
            .rotate(key_id, secret, self.scheme.profile().algorithm)
    }

    /// Has a verifier of this request note what happens to it, for [`sign`](Self::sign) to state in
    /// `countersign-outcome` and `countersign-received`. Call it before the request is verified; a
    /// [`SignResponseLayer`](crate::response::SignResponseLayer) does so by itself. Without it,
    /// every outcome is `open`.
    pub fn ask_for_outcome(&self, request: &mut request::Parts) {
        request.extensions.get_or_insert_default::<Report>();
    }

    /// Signs the response to this request, as it arrived, with the current time.
    ///
    /// `content-digest` is written if the response has a body. A response that cannot have a body
    /// (to `HEAD`, or with 204 or 304) keeps the digest that it has, which is of another response.
    ///
    /// # Errors
    /// Returns an error if something that is covered is missing or cannot be read one way only, in
    /// the request or in the response, if the response switches protocols, or if it has a signature
    /// of this label already.
    pub fn sign<B: AsRef<[u8]>>(
        &self,
        request: &request::Parts,
        response: Response<B>,
    ) -> Result<Response<B>, SignError> {
        let (mut parts, body) = response.into_parts();
        self.write(request, &mut parts, body.as_ref())?;
        Ok(Response::from_parts(parts, body))
    }

    fn write(
        &self,
        request: &request::Parts,
        parts: &mut response::Parts,
        body: &[u8],
    ) -> Result<(), SignError> {
        let facts = request.extensions.get::<Report>().map(Report::facts);
        let facts = facts.unwrap_or_default();
        let request = self.origins.head(request, routed(request))?;
        let SigningKey { id, key } = &*self.key.current();
        let signing = Signing {
            key_id: id,
            now: self.clock.now(),
            nonce: &[],
            body,
        };
        let unsigned = self
            .scheme
            .prepare_response(&request, parts, &signing, &facts)?;
        let mac = unsigned.sign(key, self.scheme.profile().algorithm, body);
        self.scheme.write_response(parts, &mac)
    }

    /// Returns whether a response to this request could be signed, as far as that depends on the
    /// request.
    pub(super) fn check(&self, request: &request::Parts) -> Result<(), Fault> {
        let request = self.origins.head(request, routed(request))?;
        self.scheme.bind(&request, None).map(|_| ())
    }
}

impl fmt::Debug for ResponseSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseSigner")
            .field("scheme", &self.scheme)
            .field("key_id", &self.key)
            .finish_non_exhaustive()
    }
}
