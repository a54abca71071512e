//! Verifying the responses of a server, each against the request that was sent.

use std::{
    error::Error as StdError,
    fmt,
    sync::Arc,
    time::{Duration, UNIX_EPOCH},
};

use bytes::Bytes;
use http::{
    HeaderName, HeaderValue, Response,
    header::{CONTENT_LENGTH, DATE},
    request, response,
};
use http_body::Body;

use super::{
    Freshness,
    admit::{Signature, Trust, admit_candidates},
    receive::Fed,
};
use crate::{
    body::{self, BodyLimits},
    clock::{Clock, SystemClock, Timestamp},
    error::{ConfigError, ConfigErrorKind, ResponseError, ResponseErrorKind},
    key::{KeyId, KeyStore},
    rejection::{Rejection, RejectionKind},
    scheme::{
        Coverage, Head, SigningInput,
        http_message_signatures::{Binding, HttpMessageSignatures, has_body},
    },
    target::Target,
};

/// Verifies responses, each against the request that was sent.
///
/// [`VerifyResponseLayer`](crate::VerifyResponseLayer) does so for a client. What a response has to
/// cover is said at [`HttpMessageSignatures`](HttpMessageSignatures#responses).
///
/// ```
/// use bytes::Bytes;
/// use countersign::{HttpMessageSignatures, KeyRing, ResponseSigner, ResponseVerifier, Signer};
/// use http::{Request, Response};
/// use http_body_util::Full;
///
/// # tokio::runtime::Builder::new_current_thread().enable_time().build()?.block_on(async {
/// let scheme = HttpMessageSignatures::default();
/// let verifier = ResponseVerifier::builder(scheme.clone())
///     .keys(KeyRing::new().with("api", "the secret of the api")?)
///     .build()?;
///
/// let signer = Signer::new(scheme.clone(), "partner-1", "the secret of partner 1")?;
/// let request = Request::post("https://api.example.com/transfer").body("{}")?;
/// let (sent, _) = signer.sign(request)?.into_parts();
/// # let server = ResponseSigner::new(scheme, "api", "the secret of the api")?;
/// # let answer = server.sign(&sent, Response::new(Bytes::from("moved")))?.map(Full::new);
///
/// // The answer of the server:
/// let response = verifier.verify(&sent, answer).await?;
/// assert_eq!(response.body(), "moved");
/// # Ok::<_, Box<dyn std::error::Error>>(()) })?;
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
///
/// # Security
/// - Whoever has one of the keys can answer in place of the server. So give it the keys of the one
///   server that the requests go to, and see that neither this client nor another has a use for them
///   as a server.
/// - A response to a signed request is bound to that very request by its signature, which a nonce
///   makes unique. A request that is not signed has none: a response that was recorded can be given
///   again to another one with the same method, target and body digest, for as long as it is fresh.
/// - A response that is not verified says nothing about what became of the request.
#[derive(Clone)]
pub struct ResponseVerifier {
    settings: Arc<Settings>,
}

struct Settings {
    scheme: HttpMessageSignatures,
    keys: Box<dyn KeyStore>,
    clock: Box<dyn Clock>,
    freshness: Freshness,
    key_timeout: Duration,
    body: BodyLimits,
    strip_uncovered: bool,
}

/// Under which key a response was signed, and when: among the extensions of a response that was
/// verified.
#[derive(Clone, Debug)]
pub struct SignedBy {
    key_id: KeyId,
    signed_at: Timestamp,
    coverage: Arc<Coverage>,
}

impl SignedBy {
    /// The key.
    #[must_use]
    pub fn key_id(&self) -> &KeyId {
        &self.key_id
    }

    /// The signed time, by the clock of the server.
    #[must_use]
    pub fn signed_at(&self) -> Timestamp {
        self.signed_at
    }

    /// Whether the signature covers this header of the response with all its values.
    #[must_use]
    pub fn covers(&self, name: &HeaderName) -> bool {
        self.coverage.has_header(name)
    }
}

impl ResponseVerifier {
    /// Configures a verifier; every setting states its default.
    pub fn builder(scheme: HttpMessageSignatures) -> ResponseVerifierBuilder {
        ResponseVerifierBuilder {
            scheme,
            keys: None,
            clock: Box::new(SystemClock),
            freshness: Freshness {
                max_age: Duration::from_secs(300),
                max_skew: Duration::from_secs(5),
            },
            key_timeout: Duration::from_secs(2),
            body: BodyLimits::default(),
            strip_uncovered: false,
        }
    }

    /// Verifies the response to this request, as it was sent: with the signature, and before whatever
    /// the client changes that no signature covers.
    ///
    /// The MAC is compared before any of the body is read. What is given back has
    /// [`SignedBy`] among its extensions, and a `Date` that can be believed: one that the signature
    /// does not cover is replaced by the signed time. Trailers are dropped.
    ///
    /// Of several signatures one that holds is enough, and a bad one blocks nothing; under known keys
    /// there may be four.
    ///
    /// # Errors
    /// When the response is not signed, with what is required, under a known key, in time; when it
    /// answers another request; or when its body is not the one that was signed, too large, or too
    /// slow.
    ///
    /// # Panics
    /// When there is something to wait for, outside of a Tokio runtime with its timer.
    pub async fn verify<B>(
        &self,
        request: &request::Parts,
        response: Response<B>,
    ) -> Result<Response<Bytes>, ResponseError>
    where
        B: Body<Data: Into<Bytes>, Error: Into<Box<dyn StdError + Send + Sync>>>,
    {
        let (mut head, body) = response.into_parts();
        let sent = self.settings.bind(request)?;
        match self.settings.verify(&sent, &mut head, body).await {
            Ok(body) => Ok(Response::from_parts(head, body)),
            Err(rejection) => Err(ResponseError::from(rejection).with_status(head.status)),
        }
    }

    /// Whether a response to this request could be verified, as far as that depends on the request.
    pub(crate) fn check(&self, request: &request::Parts) -> Result<(), ResponseError> {
        self.settings.bind(request).map(|_| ())
    }
}

/// A request as it was sent, and what of it binds its response.
struct Sent<'h> {
    head: Head<'h>,
    binding: Binding,
}

impl Settings {
    fn bind<'h>(&self, request: &'h request::Parts) -> Result<Sent<'h>, ResponseError> {
        let bound = Target::of_outgoing(&request.uri, &request.headers).and_then(|target| {
            let head = Head {
                method: &request.method,
                target,
                headers: &request.headers,
            };
            let binding = self.scheme.bind(&head)?;
            Ok(Sent { head, binding })
        });
        bound.map_err(|rejection| {
            let reason = rejection.detail().to_owned();
            ResponseError::new(ResponseErrorKind::RequestNotBindable, reason)
        })
    }

    async fn verify<B>(
        &self,
        sent: &Sent<'_>,
        head: &mut response::Parts,
        body: B,
    ) -> Result<Bytes, Rejection>
    where
        B: Body<Data: Into<Bytes>, Error: Into<Box<dyn StdError + Send + Sync>>>,
    {
        let candidates =
            self.scheme
                .read_response(&sent.head, &sent.binding, head.status, &head.headers)?;
        let signatures = admit_candidates(self.trust(), &head.headers, candidates).await?;

        let has_body = has_body(sent.head.method, head.status);
        let mut fed = if has_body {
            Fed::digests(&signatures)
        } else {
            Fed::NoBody
        };
        let body = body::read(body, &self.body, |bytes| fed.update(bytes)).await?;

        let signature = self.still_fresh(signatures)?;
        if let SigningInput::Head { body: claimed, .. } = &signature.candidate.input
            && has_body
        {
            fed.compare(claimed, &body)?;
        }
        self.settle(head, signature)?;
        Ok(body)
    }

    fn trust(&self) -> Trust<'_> {
        Trust {
            scheme: &self.scheme,
            keys: &*self.keys,
            clock: &*self.clock,
            freshness: &self.freshness,
            timeout: self.key_timeout,
        }
    }

    /// The first signature that is fresh now that the body is there.
    fn still_fresh<'h>(&self, signatures: Vec<Signature<'h>>) -> Result<Signature<'h>, Rejection> {
        let now = self.clock.now();
        let mut stale = None;
        for signature in signatures {
            let parameters = &signature.candidate.parameters;
            let fresh = self
                .freshness
                .check(now, parameters.signed_at, parameters.expires_at);
            match fresh {
                Ok(()) => return Ok(signature),
                Err(rejection) => stale = stale.or(Some(rejection)),
            }
        }
        Err(stale
            .unwrap_or_else(|| Rejection::new(RejectionKind::SignatureMissing, "no signature")))
    }

    /// What is given back says nothing that could be taken for verified and is not.
    fn settle(
        &self,
        head: &mut response::Parts,
        signature: Signature<'_>,
    ) -> Result<(), Rejection> {
        let Signature {
            candidate, keys, ..
        } = signature;
        let signed_at = candidate.parameters.signed_at.ok_or_else(|| {
            Rejection::new(RejectionKind::SignatureInsufficient, "there is no time")
        })?;
        let by = SignedBy {
            key_id: keys.id().clone(),
            signed_at,
            coverage: Arc::new(candidate.coverage.into_owned()),
        };
        if self.strip_uncovered {
            let names: Vec<_> = head.headers.keys().cloned().collect();
            for name in names {
                if !by.covers(&name) && name != CONTENT_LENGTH {
                    head.headers.remove(name);
                }
            }
        }
        if !by.covers(&DATE) {
            let date = UNIX_EPOCH + Duration::from_secs(signed_at.as_secs());
            if let Ok(date) = HeaderValue::try_from(httpdate::fmt_http_date(date)) {
                head.headers.insert(DATE, date);
            }
        }
        head.extensions.insert(by);
        Ok(())
    }
}

impl fmt::Debug for ResponseVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseVerifier")
            .field("scheme", &self.settings.scheme)
            .field("freshness", &self.settings.freshness)
            .finish_non_exhaustive()
    }
}

/// Configures a [`ResponseVerifier`].
///
/// Keys have to be given; everything else has a default that is safe.
#[must_use]
pub struct ResponseVerifierBuilder {
    scheme: HttpMessageSignatures,
    keys: Option<Box<dyn KeyStore>>,
    clock: Box<dyn Clock>,
    freshness: Freshness,
    key_timeout: Duration,
    body: BodyLimits,
    strip_uncovered: bool,
}

impl ResponseVerifierBuilder {
    /// The keys of the server: a [`KeyRing`](crate::KeyRing), or a store of your own. No default.
    pub fn keys(mut self, keys: impl KeyStore) -> Self {
        self.keys = Some(Box::new(keys));
        self
    }

    /// How old a signed time may be: between 1 second and 1 day. Default: 300 seconds.
    pub fn max_age(mut self, max_age: Duration) -> Self {
        self.freshness.max_age = max_age;
        self
    }

    /// How far ahead of the clock a signed time may be: at most `max_age`. Default: 5 seconds.
    ///
    /// A client that [signs anew](crate::SignAgainLayer) after its clock was found to be behind reads
    /// that in a response which is dated ahead by as much. With requests that are signed under a
    /// nonce of their own, a longer time here lets nothing else pass.
    pub fn max_skew(mut self, max_skew: Duration) -> Self {
        self.freshness.max_skew = max_skew;
        self
    }

    /// How long a key look-up may take to answer: between 1 millisecond and 1 hour. Default: 2
    /// seconds.
    pub fn key_timeout(mut self, timeout: Duration) -> Self {
        self.key_timeout = timeout;
        self
    }

    /// The greatest length of a body, in bytes. Default: 1 MiB.
    pub fn max_body_bytes(mut self, max: usize) -> Self {
        self.body.max_bytes = max;
        self
    }

    /// The time in which the whole body has to arrive: between 1 millisecond and 1 hour. Default: 10
    /// seconds.
    pub fn body_deadline(mut self, deadline: Duration) -> Self {
        self.body.deadline = deadline;
        self
    }

    /// Takes every header that the signature does not cover out of the response that is given back,
    /// but for `content-length`; it has the signed time as its `Date`. Default: headers are left, and
    /// [`SignedBy::covers`] tells which count.
    pub fn strip_uncovered_headers(mut self) -> Self {
        self.strip_uncovered = true;
        self
    }

    /// The clock. Default: the [system's](SystemClock).
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Box::new(clock);
        self
    }

    /// Checks the configuration.
    ///
    /// # Errors
    /// When keys are missing, or a time is out of its range.
    pub fn build(self) -> Result<ResponseVerifier, ConfigError> {
        const MILLISECOND: Duration = Duration::from_millis(1);
        const SECOND: Duration = Duration::from_secs(1);
        const HOUR: Duration = Duration::from_secs(60 * 60);
        const DAY: Duration = Duration::from_secs(24 * 60 * 60);
        let keys = self.keys.ok_or(ConfigErrorKind::Missing(
            "no keys are given; call `keys` with those of the server",
        ))?;
        let Freshness { max_age, max_skew } = self.freshness;
        for (holds, what) in [
            (
                (SECOND..=DAY).contains(&max_age),
                "`max_age` has to be between 1 second and 1 day",
            ),
            (
                max_skew <= max_age,
                "`max_skew` has to be at most `max_age`",
            ),
            (
                (MILLISECOND..=HOUR).contains(&self.key_timeout),
                "`key_timeout` has to be between 1 millisecond and 1 hour",
            ),
            (
                (MILLISECOND..=HOUR).contains(&self.body.deadline),
                "`body_deadline` has to be between 1 millisecond and 1 hour",
            ),
        ] {
            if !holds {
                return Err(ConfigErrorKind::Range(what).into());
            }
        }
        Ok(ResponseVerifier {
            settings: Arc::new(Settings {
                scheme: self.scheme,
                keys,
                clock: self.clock,
                freshness: self.freshness,
                key_timeout: self.key_timeout,
                body: self.body,
                strip_uncovered: self.strip_uncovered,
            }),
        })
    }
}

impl fmt::Debug for ResponseVerifierBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseVerifierBuilder")
            .field("scheme", &self.scheme)
            .finish_non_exhaustive()
    }
}
