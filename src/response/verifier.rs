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

use crate::{
    body::{self, BodyLimits},
    clock::{Clock, Timestamp},
    error::{Fault, FaultKind, ResponseError, ResponseErrorKind},
    key::{KeyId, KeyStore},
    message::{Head, Target},
    once::{Outcome, Signed, VerifiedAnswer},
    proof::{
        Arrived, Compared, Fed, Freshness, ProvenSignature, Several, Signature, Signatures, Trust,
        admit_over_head, look_up, prove,
    },
    scheme::{
        Describe as _,
        rfc9421::{Binding, HttpMessageSignatures, has_body, received_another_body, stated},
    },
};

/// Verifies responses, each against the request that was sent.
///
/// [`VerifyResponseLayer`](crate::response::VerifyResponseLayer) does so for a client.
/// [`HttpMessageSignatures`](HttpMessageSignatures#responses) lists the parts that a response must
/// cover.
///
/// ```
/// use bytes::Bytes;
/// use countersign::{
///     response::{ResponseSigner, ResponseVerifier}, HttpMessageSignatures, KeyRing, Signer,
/// };
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
/// - Everybody who has one of the keys can answer in place of the server. So give the verifier only
///   the keys of the server that the requests go to, and do not use these keys for another server.
/// - A response to a signed request is bound to that request by the request's signature, which a
///   nonce makes unique. For unsigned requests, a recorded response can be given again to another
///   request with the same method, target and body digest, for as long as the response is fresh.
/// - A response that is not verified says nothing about the outcome of the request. A verified
///   response states it in its [outcome](SignedBy::outcome), and not in its status.
#[derive(Clone)]
pub struct ResponseVerifier {
    pub(super) settings: Arc<Settings>,
}

pub(super) struct Settings {
    pub(super) scheme: HttpMessageSignatures,
    pub(super) keys: Box<dyn KeyStore>,
    pub(super) clock: Box<dyn Clock>,
    pub(super) freshness: Freshness,
    pub(super) key_timeout: Duration,
    pub(super) body: BodyLimits,
    pub(super) strip_uncovered: bool,
}

/// The key id and the time of a response's signature. A verified response has it among its
/// extensions.
#[derive(Clone, Debug)]
pub struct SignedBy {
    key_id: KeyId,
    signed_at: Timestamp,
    outcome: Outcome,
    covered: Arc<[HeaderName]>,
}

impl SignedBy {
    /// Returns the key id that the response was verified under.
    #[must_use]
    pub fn key_id(&self) -> &KeyId {
        &self.key_id
    }

    /// Returns the signed time, by the clock of the server.
    #[must_use]
    pub fn signed_at(&self) -> Timestamp {
        self.signed_at
    }

    /// Returns the outcome of the request. Only [`Outcome::Used`] and [`Outcome::Never`] are final;
    /// every other value, and every status, leaves it open.
    ///
    /// The outcome is [`Outcome::Open`] if the server states none, if the request has no signature
    /// of RFC 9421, or if the request head that [`verify`](ResponseVerifier::verify) was given is
    /// not the one that a [`Signer`](crate::Signer) returned, with its extensions.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        self.outcome
    }

    /// Returns whether the signature covers this header of the response with all its values.
    #[must_use]
    pub fn covers(&self, name: &HeaderName) -> bool {
        self.covered.contains(name)
    }
}

impl ResponseVerifier {
    /// Verifies the response to this request. Pass the request as it was sent, with its signature.
    ///
    /// The MAC is compared before any of the body is read. The response that is returned has
    /// [`SignedBy`] among its extensions, and a `Date` that can be believed: one that the signature
    /// does not cover is replaced by the signed time. Trailers are dropped.
    ///
    /// If the response has several signatures, one that holds is enough, and a bad signature blocks
    /// nothing. More than four signatures under known keys are refused.
    ///
    /// # Errors
    /// Returns an error if the response is not signed, with what is required, under a known key, in
    /// time; if it answers another request; or if its body is not the one that was signed, too
    /// large, or too slow.
    ///
    /// # Panics
    /// Panics if there is something to wait for, outside of a Tokio runtime with its timer.
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
        let verified = self.settings.verify(&sent, &mut head, body).await;
        let verified = verified.map_err(ResponseError::from).and_then(|body| {
            refuse_answer_to_another_body(&sent, &head)?;
            Ok(body)
        });
        match verified {
            Ok(body) => Ok(Response::from_parts(head, body)),
            Err(error) => Err(error.with_status(head.status)),
        }
    }

    /// Returns whether a response to this request could be verified, as far as that depends on the
    /// request.
    pub(crate) fn check(&self, request: &request::Parts) -> Result<(), ResponseError> {
        self.settings.bind(request).map(|_| ())
    }
}

/// A request as it was sent, and what of it binds its response.
struct Sent<'h> {
    head: Head<'h>,
    binding: Binding,
    /// When it was signed.
    signed: Option<Signed>,
}

/// The verified head says which body the server received.
fn refuse_answer_to_another_body(
    sent: &Sent<'_>,
    head: &response::Parts,
) -> Result<(), ResponseError> {
    if received_another_body(sent.head.headers, &head.headers)? {
        return Err(ResponseError::new(
            ResponseErrorKind::RequestAltered,
            "the server received another body than the one whose digest the request has",
        ));
    }
    Ok(())
}

impl Settings {
    fn bind<'h>(&self, request: &'h request::Parts) -> Result<Sent<'h>, ResponseError> {
        let bound = Target::of_outgoing(&request.uri, &request.headers).and_then(|target| {
            let head = Head {
                method: &request.method,
                target,
                headers: &request.headers,
                supplied: None,
            };
            let binding = self.scheme.bind(&head, None)?;
            Ok(Sent {
                head,
                binding,
                signed: request.extensions.get().copied(),
            })
        });
        bound.map_err(|fault: Fault| {
            let reason = fault.reason().to_owned();
            ResponseError::new(ResponseErrorKind::RequestNotBindable, reason)
        })
    }

    async fn verify<B>(
        &self,
        sent: &Sent<'_>,
        head: &mut response::Parts,
        body: B,
    ) -> Result<Bytes, Fault>
    where
        B: Body<Data: Into<Bytes>, Error: Into<Box<dyn StdError + Send + Sync>>>,
    {
        let mut candidates =
            self.scheme
                .read_response(&sent.binding, head.status, &head.headers)?;
        let trust = self.trust();
        let keys = look_up(&trust, &mut candidates).await?;
        let (headers, mut admitted) = (&head.headers, Signatures::new());
        admit_over_head(
            &trust,
            &sent.head,
            headers,
            &mut candidates,
            keys,
            &mut admitted,
        )?;
        let mut signatures: Signatures<'_> =
            admitted.into_iter().map(Signature::into_owned).collect();
        drop(candidates);

        let mut fed = if has_body(sent.head.method, head.status) {
            Fed::digests(&signatures)
        } else {
            Fed::Absent
        };
        let body = body::read(body, &self.body, |bytes: &[u8], _| fed.update(bytes)).await?;

        let arrived = Arrived {
            fed: &fed,
            body: &body,
            signed: &body,
        };
        let (now, any) = (self.clock.now(), Several::Any);
        let proven = prove(&mut signatures, &arrived, any, &self.freshness, now, |_| {
            Ok(())
        });
        self.settle(sent, head, &proven?.0)?;
        Ok(body)
    }

    fn trust(&self) -> Trust<'_> {
        Trust {
            algorithm: self.scheme.profile().algorithm,
            names_key: self.scheme.fixed_key_id().is_none(),
            keys: &*self.keys,
            clock: &*self.clock,
            freshness: &self.freshness,
            timeout: self.key_timeout,
            whole: Compared::Head,
        }
    }

    /// Removes what could be taken for verified and is not.
    fn settle(
        &self,
        sent: &Sent<'_>,
        head: &mut response::Parts,
        proven: &ProvenSignature<'_, '_>,
    ) -> Result<(), Fault> {
        let signed_at = proven.parameters().signed_at;
        let signed_at =
            signed_at.ok_or_else(|| Fault::new(FaultKind::Insufficient, "there is no time"))?;
        let on_its_way = sent.signed.map(|signed| signed.ago(self.clock.now()));
        let statement = stated(proven.message(), &sent.binding);
        let outcome = statement.outcome(signed_at, on_its_way);
        let by = SignedBy {
            key_id: proven.key_id().clone(),
            signed_at,
            outcome,
            covered: proven.message().headers().cloned().collect(),
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
        head.extensions
            .insert(VerifiedAnswer { outcome, signed_at });
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
