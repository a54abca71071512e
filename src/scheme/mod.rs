//! A scheme: how a request carries its signature, and what it signs.

use std::{borrow::Cow, fmt, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, Uri, request::Parts};

use crate::{
    clock::Timestamp,
    error::{ConfigError, SignError},
    key::KeyId,
    mac::{HashOutput, MacAlgorithm, MacKey, RunningMac},
    nonce::NonceKind,
    rejection::{Rejection, RejectionKind},
    secret::Secret,
    target::{self, Target},
};

mod announced;
pub(crate) mod header;
pub(crate) mod http_message_signatures;
mod input;
#[cfg(test)]
mod shapes;
pub mod webhooks;

pub(crate) use announced::{Announced, Build, Described, Room};
pub(crate) use input::{BodyDigest, BodyForm, Formed, SigningInput};

/// Returns how many cases a test tries: this many, or as many as `tests/long.sh` asks for.
#[cfg(test)]
fn cases(usual: u32) -> u32 {
    let asked = std::env::var("COUNTERSIGN_CASES").ok();
    asked.map_or(usual, |asked| asked.parse().expect("a number"))
}

/// How a request carries its signature, and what it signs.
///
/// The trait is sealed: a format of your own is a [`HeaderScheme`](crate::HeaderScheme). Each
/// scheme both verifies and signs, from one description.
///
/// ```compile_fail,E0277
/// struct Mine;
/// impl countersign::Scheme for Mine {}
/// ```
#[expect(
    private_bounds,
    reason = "what a scheme has to do is not public, so that it may grow"
)]
pub trait Scheme: Describe {}

impl<S: Describe> Scheme for S {}

/// What the pipeline and the signer need of a scheme.
pub(crate) trait Describe: fmt::Debug + Send + Sync + 'static {
    /// What is true of every request under this scheme.
    fn profile(&self) -> &Profile;

    /// The key id of a scheme whose requests name none.
    fn fixed_key_id(&self) -> Option<&str> {
        None
    }

    /// Reads a secret in the form in which its provider shows it.
    fn read_secret(&self, text: &str) -> Result<Secret, ConfigError> {
        Secret::new(text)
    }

    /// What a 401 asks the client for, in `Accept-Signature`.
    fn accept_signature(&self) -> Option<&HeaderValue> {
        None
    }

    /// Reads the signatures of a request: bounded, without I/O, without building a signed message or
    /// comparing a MAC.
    ///
    /// A scheme whose parameters stand in the body answers [`Reading::AfterBody`], and its
    /// [`read_body`](Self::read_body) is called with the body.
    fn read<'h>(&'h self, head: &Head<'h>) -> Result<Reading<'h>, Rejection>;

    /// Reads the signatures that a body holds.
    fn read_body(&self, _body: &Bytes) -> Result<Vec<Announced<'static>>, Rejection> {
        Err(Rejection::new(
            RejectionKind::SignatureMissing,
            "no signature in the body",
        ))
    }

    /// Starts the MAC; a scheme that derives a key from the secret does so here.
    fn start(&self, key: &MacKey, _parameters: &Parameters<'_>) -> RunningMac {
        key.start(self.profile().algorithm)
    }

    /// Reads parameters that stand in a covered body, such as an event id, once its MAC has passed.
    fn read_covered_body(
        &self,
        _parameters: &mut Parameters<'_>,
        _body: &Bytes,
    ) -> Result<(), Rejection> {
        Ok(())
    }

    /// Answers a request by which the sender asks, unsigned, whether this is the right place. The URI
    /// is the one that arrived, before a router took off a prefix.
    fn answer_unsigned(&self, _method: &Method, _uri: &Uri) -> Option<Response<Bytes>> {
        None
    }

    /// Answers a request of which the sender asks nothing but this answer, once it was verified.
    /// The path is the one that arrived, before a router took off a prefix. The secrets are those that
    /// made its MAC, found as they are asked for.
    fn answer_verified(
        &self,
        _path: &str,
        _body: &Bytes,
        _secrets: &mut dyn Iterator<Item = &MacKey>,
    ) -> Option<Response<Bytes>> {
        None
    }

    /// Signing, first half: writes the parameters into the head of an outgoing request and tells
    /// what is to be signed. The MAC of the candidate is left empty.
    fn prepare(
        &self,
        parts: &mut Parts,
        signing: &Signing<'_>,
    ) -> Result<Candidate<'static>, SignError>;

    /// Signing, second half: writes the MAC.
    fn write(
        &self,
        parts: &mut Parts,
        candidate: &Candidate<'_>,
        mac: &HashOutput,
    ) -> Result<(), SignError>;

    /// Signing, second half, of a scheme whose signature stands in the body: the body with it.
    fn write_body(
        &self,
        _body: &[u8],
        _candidate: &Candidate<'_>,
        _mac: &HashOutput,
    ) -> Result<Option<Bytes>, SignError> {
        Ok(None)
    }
}

/// What is true of every request under a scheme; the layer's configuration is checked against it.
#[derive(Clone, Debug)]
pub(crate) struct Profile {
    pub(crate) algorithm: MacAlgorithm,
    /// Authority, method and path are covered by every signature.
    pub(crate) covers_authority: bool,
    pub(crate) covers_place: bool,
    /// The method is, whatever else.
    pub(crate) covers_method: bool,
    /// Where no time is covered: how long a claim is remembered.
    pub(crate) untimed_retention: Option<Duration>,
    /// Where the nonce is an event id: how long its sender may go on retrying.
    pub(crate) event_horizon: Option<Duration>,
    /// Requests that are alike are legitimate: none is claimed.
    pub(crate) may_repeat: bool,
    /// The fixed key id is a preset's own: everybody who takes the preset has it, unless they choose one.
    pub(crate) key_id_is_own: bool,
    /// The sender retries until it is answered with 2xx.
    pub(crate) sender_retries: bool,
}

/// The head of a request, as a scheme reads it.
pub(crate) struct Head<'h> {
    pub(crate) method: &'h Method,
    pub(crate) target: Target<'h>,
    pub(crate) headers: &'h HeaderMap,
}

impl<'h> Head<'h> {
    pub(crate) fn single(&self, name: &HeaderName) -> Result<Option<&'h HeaderValue>, Rejection> {
        target::single(self.headers, name)
    }
}

/// Without the headers: a signature that is not used yet may stand among them, and other secrets.
impl fmt::Debug for Head<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Head")
            .field("method", self.method)
            .field("target", &self.target)
            .finish_non_exhaustive()
    }
}

/// What a scheme found in a request.
#[derive(Debug)]
pub(crate) enum Reading<'h> {
    /// At least one signature.
    Announced(Vec<Announced<'h>>),
    /// The signature stands in the body.
    AfterBody,
}

/// One signature, with the message that it claims to sign.
pub(crate) struct Candidate<'h> {
    pub(crate) parameters: Parameters<'h>,
    pub(crate) mac: HashOutput,
    pub(crate) input: SigningInput,
    pub(crate) coverage: Cow<'h, Coverage>,
}

impl fmt::Debug for Candidate<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Candidate")
            .field("parameters", &self.parameters)
            .field("input", &self.input)
            .field("coverage", &self.coverage)
            .finish_non_exhaustive()
    }
}

/// What a signature says about itself.
#[derive(Clone, Debug)]
pub(crate) struct Parameters<'h> {
    pub(crate) key_id: Cow<'h, str>,
    pub(crate) signed_at: Option<Timestamp>,
    pub(crate) expires_at: Option<Timestamp>,
    pub(crate) nonce: Option<(NonceKind, Cow<'h, [u8]>)>,
}

/// Which parts of a request a signature covers, each wholly.
#[derive(Clone, Debug, Default)]
pub(crate) struct Coverage {
    pub(crate) method: bool,
    pub(crate) authority: bool,
    pub(crate) path: bool,
    pub(crate) query: bool,
    /// Each of one line, as it stands there.
    pub(crate) headers: Vec<HeaderName>,
    /// What is covered in another form.
    pub(crate) parts: Vec<CoveredPart>,
}

/// A part of a request whose value is not told by the name of a header alone.
#[derive(Clone, Debug)]
pub(crate) enum CoveredPart {
    /// A header, in the form in which it was signed.
    Header(HeaderName, HeaderValue),
    /// One member of a header that is a dictionary, by its key.
    Member(HeaderName, Box<str>, Box<str>),
    /// One parameter of the query, by its name.
    QueryParam(Box<str>, Box<str>),
}

impl Coverage {
    pub(crate) fn has_header(&self, name: &HeaderName) -> bool {
        let rewritten =
            |part: &CoveredPart| matches!(part, CoveredPart::Header(other, _) if other == name);
        self.headers.contains(name) || self.parts.iter().any(rewritten)
    }

    pub(crate) fn has_member(&self, name: &HeaderName, key: &str) -> bool {
        self.parts
            .iter()
            .any(|part| matches!(part, CoveredPart::Member(n, k, _) if n == name && **k == *key))
    }
}

/// What the signer gives to a scheme.
#[derive(Debug)]
pub(crate) struct Signing<'s> {
    pub(crate) key_id: &'s KeyId,
    pub(crate) now: Timestamp,
    pub(crate) nonce: &'s [u8],
    pub(crate) body: &'s [u8],
}

/// A scheme with a fixed key id signs under no other.
fn signs_under(fixed: &str, signing: &Signing<'_>) -> Result<(), SignError> {
    if signing.key_id.as_str() == fixed {
        return Ok(());
    }
    Err(SignError::new(format!(
        "the scheme has the fixed key id `{fixed}`, and the signer another"
    )))
}
