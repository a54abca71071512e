//! The interface between a scheme and the pipeline and signer that use it.

use std::{
    borrow::Cow,
    {fmt, time::Duration},
};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Response, Uri, header::WWW_AUTHENTICATE,
    request::Parts,
};

use crate::{
    clock::Timestamp,
    error::{ConfigError, Fault, FaultKind, SignError},
    key::{KeyId, MacAlgorithm, MacKey, Secret},
    message::{HashOutput, Head},
    proof::{Candidate, Candidates, Parameters, Unsigned},
};

/// How a request carries its signature, and what it signs.
///
/// The trait is sealed: a format of your own is a [`HeaderScheme`](crate::HeaderScheme). Each
/// scheme both verifies and signs, from one description.
///
/// ```compile_fail,E0277
/// struct Mine;
/// impl countersign::scheme::Scheme for Mine {}
/// ```
#[expect(
    private_bounds,
    reason = "what a scheme must do is not public, so that it may grow"
)]
pub trait Scheme: Format {}

impl<S: Format> Scheme for S {}

/// A format, or a name for one: a preset for webhooks is a row of the catalogue under a name.
pub(crate) trait Format: fmt::Debug + Send + Sync + 'static {
    type Described: Describe;

    fn format(self) -> Self::Described;
}

impl<D: Describe> Format for D {
    type Described = Self;

    fn format(self) -> Self {
        self
    }
}

/// The operations of a scheme that the pipeline and the signer need.
pub(crate) trait Describe: fmt::Debug + Send + Sync + 'static {
    /// Returns what is true of every request under this scheme.
    fn profile(&self) -> &Profile;

    /// Returns what a payload says that it was signed under.
    fn name(&self) -> &str;

    /// The headers of which any says that a request is signed under this scheme; none if the
    /// signature is in the body.
    fn signature_headers(&self) -> Vec<HeaderName>;

    /// Returns whether its messages hold values that are not sent, and that this side must supply.
    fn awaits_supply(&self) -> bool {
        false
    }

    /// The key id of a scheme whose requests name none.
    fn fixed_key_id(&self) -> Option<&str> {
        None
    }

    /// Returns whether a signature names its key in the signed message.
    fn names_key(&self) -> bool {
        self.fixed_key_id().is_none()
    }

    /// Reads a secret in the form in which its provider shows it.
    fn read_secret(&self, text: &str) -> Result<Secret, ConfigError> {
        Secret::try_from(text)
    }

    /// Returns what of a request decides what a 401 to it asks for.
    fn asked(&self, _request: &HeaderMap) -> Asked {
        Asked::default()
    }

    /// Adds to a 401 the headers that ask the client for a signature under this scheme.
    fn challenge(&self, _asked: Asked, headers: &mut HeaderMap) {
        headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Signature"));
    }

    /// Reads the signatures of a request: bounded, without I/O, without building a signed message
    /// or comparing a MAC.
    ///
    /// A scheme whose parameters are in the body answers [`Reading::AfterBody`], and its
    /// [`read_body`](Self::read_body) is called with the body and the key id of that answer.
    fn read<'h>(&'h self, head: &Head<'h>) -> Result<Reading<'h>, Fault>;

    /// Reads the signatures that a body holds.
    fn read_body(&self, _key_id: String, _body: &Bytes) -> Result<Vec<Candidate<'static>>, Fault> {
        Err(Fault::new(FaultKind::Missing, "no signature in the body"))
    }

    /// Reads parameters in a covered body, such as an event id, once its MAC has passed.
    fn read_covered_body(
        &self,
        _parameters: &mut Parameters<'_>,
        _body: &Bytes,
    ) -> Result<(), Fault> {
        Ok(())
    }

    /// Returns whether this scheme answers any unsigned request, from its head or from its body.
    fn answers_unsigned(&self) -> bool {
        false
    }

    /// Answers a request by which the sender asks, unsigned, whether this is the right place. The
    /// URI is the one that arrived, before a router took off a prefix.
    fn answer_unsigned(
        &self,
        _method: &Method,
        _uri: &Uri,
        _headers: &HeaderMap,
    ) -> Option<Response<Bytes>> {
        None
    }

    /// Returns whether the sender may ask the same in the body of this unsigned request, so that
    /// the body is read.
    fn asks_in_body(&self, _method: &Method, _uri: &Uri, _headers: &HeaderMap) -> bool {
        false
    }

    /// Answers that body.
    fn answer_unsigned_body(&self, _uri: &Uri, _body: &Bytes) -> Option<Response<Bytes>> {
        None
    }

    /// Answers a request of which the sender asks nothing but this answer, once it was verified.
    /// The path is the one that arrived, before a router took off a prefix. The secrets are those
    /// that made its MAC, found as they are asked for.
    fn answer_verified(
        &self,
        _path: &str,
        _body: &Bytes,
        _secrets: &mut dyn Iterator<Item = &MacKey>,
    ) -> Option<Response<Bytes>> {
        None
    }

    /// Signing, first half: writes the parameters into the head of an outgoing request and tells
    /// what is to be signed.
    fn prepare(&self, parts: &mut Parts, signing: &Signing<'_>) -> Result<Unsigned, SignError>;

    /// Signing, second half: writes the MAC.
    fn write(
        &self,
        parts: &mut Parts,
        unsigned: &Unsigned,
        mac: &HashOutput,
    ) -> Result<(), SignError>;

    /// Signing, second half, of a scheme whose signature is in the body: the body with it.
    fn write_body(
        &self,
        _body: &[u8],
        _unsigned: &Unsigned,
        _mac: &HashOutput,
    ) -> Result<Option<Bytes>, SignError> {
        Ok(None)
    }
}

/// The kind of request, which decides what a 401 asks for: a number that the scheme gave out.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Asked(pub(crate) usize);

impl Asked {
    /// Joins what two schemes ask for: at most one of them asks for anything.
    pub(crate) fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// The properties of every request under a scheme; the layer's configuration is checked against them.
#[derive(Clone, Debug)]
pub(crate) struct Profile {
    pub(crate) algorithm: MacAlgorithm,
    /// Authority, method and path are covered by every signature.
    pub(crate) covers_authority: bool,
    pub(crate) covers_place: bool,
    /// The method is, whatever else.
    pub(crate) covers_method: bool,
    /// For how long a claim is remembered, if no time is covered.
    pub(crate) untimed_retention: Option<Duration>,
    /// For how long the sender may go on retrying, if the nonce is an event id.
    pub(crate) event_horizon: Option<Duration>,
    /// For how long the sender delivers again, as it documents: the least that either may be.
    pub(crate) retried_for: Duration,
    /// Requests that are alike are legitimate: none is claimed.
    pub(crate) may_repeat: bool,
    /// The fixed key id is a preset's own: everybody who takes the preset has it, unless they
    /// choose one.
    pub(crate) key_id_is_own: bool,
    /// How old a signed time may be, if the scheme has a default of its own: its sender retries for
    /// as long, and does not say that a retry is dated again.
    pub(crate) max_age: Option<Duration>,
    /// A request may hold several events, each with an id of its own.
    pub(crate) sends_batches: bool,
    /// The sender retries until it is answered with 2xx.
    pub(crate) sender_retries: bool,
    /// The URL that is signed is the one that was configured at the sender, which may begin with
    /// `wss://`, and have user information.
    pub(crate) signs_configured_url: bool,
    /// A signature that cannot be read is answered with 401, and not with 400.
    pub(crate) malformed_is_unauthorized: bool,
    /// A refusal has no body, because the sender wants none.
    pub(crate) bare_refusals: bool,
}

/// The values that a scheme found in a request.
#[derive(Debug)]
pub(crate) enum Reading<'h> {
    /// At least one signature.
    InHead(Candidates<'h>),
    /// The signature is in the body, and is under this key id.
    AfterBody(Cow<'h, str>),
}

/// The values that the signer gives to a scheme.
#[derive(Debug)]
pub(crate) struct Signing<'s> {
    pub(crate) key_id: &'s KeyId,
    pub(crate) now: Timestamp,
    pub(crate) nonce: &'s [u8],
    pub(crate) body: &'s [u8],
}

/// A scheme with a fixed key id signs under no other.
pub(crate) fn signs_under(fixed: &str, signing: &Signing<'_>) -> Result<(), SignError> {
    if signing.key_id.as_str() == fixed {
        return Ok(());
    }
    Err(SignError::new(format!(
        "the scheme has the fixed key id `{fixed}`, and the signer another"
    )))
}
