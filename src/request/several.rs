//! The schemes that one layer accepts: their keys, and which of them a request is signed under.
//!
//! A request must pass under every scheme whose signature it carries, so that nobody gains by
//! adding, breaking or changing one. Its signatures must show that they belong together, so that
//! nobody can put two requests together. All its nonces are claimed, in the order of the schemes, so
//! that none of its signatures can be sent alone later.

use std::{fmt, future::Future, sync::Arc};

use bytes::Bytes;
use http::{HeaderMap, request::Parts};
use http_body::Body;
use tracing::Span;

use super::{
    authenticate::Authentic, claim::Verified, payload::VerifiedPayload, refused::Refused,
    verifier::Verifier,
};
use crate::{
    error::{ConfigError, ConfigErrorKind, Rejection, RejectionKind},
    key::{KeyRing, KeySet, KeyStore, Secret},
    proof::first_key,
    scheme::{Describe, Scheme},
};

/// A scheme that is accepted, and what is known of its keys.
pub(super) struct Accepted {
    pub(super) scheme: Box<dyn Describe>,
    pub(super) keys: Option<Arc<dyn KeyStore>>,
    pub(super) secrets: Vec<Result<Secret, ConfigError>>,
}

impl Accepted {
    pub(super) fn new(scheme: impl Scheme) -> Self {
        Self {
            scheme: Box::new(scheme.format()),
            keys: None,
            secrets: Vec::new(),
        }
    }

    /// The scheme, and where its keys are looked up.
    pub(super) fn with_keys(self) -> Result<Keyed, ConfigError> {
        let missing = |what| Err(ConfigErrorKind::Missing(what).into());
        let keys = match (self.keys, self.secrets) {
            (Some(keys), secrets) if secrets.is_empty() => keys,
            (None, secrets) if !secrets.is_empty() => {
                Arc::new(fixed_key(&*self.scheme, secrets)?) as Arc<dyn KeyStore>
            }
            (Some(_), _) => return missing("give either `keys` or `secret`, but not both"),
            (None, _) if self.scheme.fixed_key_id().is_some() => {
                return missing("no secret is given; call `secret`");
            }
            (None, _) => return missing("no keys are given; call `keys`"),
        };
        let (known, fixed) = (keys.known_keys(), self.scheme.fixed_key_id());
        fixed.map_or(Ok(()), |id| known.check_has(id))?;
        known.check_algorithm(self.scheme.profile().algorithm, fixed)?;
        Ok((self.scheme, keys))
    }
}

impl fmt::Debug for Accepted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.scheme.fmt(f)
    }
}

type Keyed = (Box<dyn Describe>, Arc<dyn KeyStore>);

/// The one key of a scheme whose requests name none.
fn fixed_key(
    scheme: &dyn Describe,
    secrets: Vec<Result<Secret, ConfigError>>,
) -> Result<KeyRing, ConfigError> {
    let id = scheme.fixed_key_id().ok_or(ConfigErrorKind::Missing(
        "requests of this scheme name their key; call `keys` with a key id for each secret",
    ))?;
    let mut set = KeySet::new(id)?;
    for secret in secrets {
        set = set.with(secret?);
    }
    KeyRing::new().with_set(set)
}

/// More are not needed for a change from one to another.
const MAX_SCHEMES: usize = 4;

/// Whether one layer can accept these schemes. One by itself can always be.
pub(super) fn check(accepted: &[Keyed], processing_is_open: bool) -> Result<(), ConfigError> {
    if accepted.len() < 2 {
        return Ok(());
    }
    let refuse = |what: String| Err(ConfigErrorKind::SeveralSchemes(what).into());
    if accepted.len() > MAX_SCHEMES {
        return refuse(format!("more than {MAX_SCHEMES} schemes"));
    }
    for (at, (scheme, keys)) in accepted.iter().enumerate() {
        let name = scheme.name();
        let headers = scheme.signature_headers();
        if headers.is_empty() {
            return refuse(format!(
                "the signature of `{name}` stands in the body, so that no header tells whether a \
                 request is signed under it; give it a route of its own"
            ));
        }
        if scheme.awaits_supply() {
            return refuse(format!(
                "`{name}` signs a value that is not sent, so that its MAC is compared in the \
                 handler's transaction; give it a route of its own"
            ));
        }
        if scheme.profile().may_repeat {
            return refuse(format!(
                "requests of `{name}` may be alike, and none is claimed; give it a route of its own"
            ));
        }
        for (earlier, earlier_keys) in accepted.iter().take(at) {
            let other = earlier.name();
            if earlier
                .signature_headers()
                .iter()
                .any(|header| headers.contains(header))
            {
                return refuse(format!(
                    "`{other}` and `{name}` have their signatures in one header, so that nothing \
                     tells them apart; give each a route of its own"
                ));
            }
            if earlier_keys
                .known_keys()
                .may_share_a_secret(&keys.known_keys())
            {
                return refuse(format!(
                    "`{other}` and `{name}` have a secret in common, or one key store for both, so \
                     that a message signed under one scheme could be read under the other; give \
                     each scheme its own secrets"
                ));
            }
            if processing_is_open
                && earlier.profile().sender_retries != scheme.profile().sender_retries
            {
                return refuse(format!(
                    "senders of `{other}` and of `{name}` do not retry alike, so that no processing \
                     is the default of both; call `processing`"
                ));
            }
        }
    }
    Ok(())
}

impl Verifier {
    /// Whether requests may be signed under one of several schemes.
    pub(super) fn accepts_several(&self) -> bool {
        !self.settings.others.is_empty()
    }

    /// Those of all schemes, in their order.
    pub(super) fn each(&self) -> impl DoubleEndedIterator<Item = &Self> {
        [self].into_iter().chain(&self.settings.others)
    }

    /// Those whose signature is there, readable or not.
    fn carried<'v>(&'v self, headers: &HeaderMap) -> Vec<&'v Self> {
        let is_there = |verifier: &&Self| {
            let mut names = verifier.settings.signature_headers.iter();
            names.any(|name| headers.contains_key(name))
        };
        self.each().filter(is_there).collect()
    }

    /// Takes a request through all stages, under every scheme whose signature it carries.
    pub(super) async fn take_through_several<B, T, E>(
        &self,
        head: &Parts,
        body: B,
        refuse: impl FnOnce(&VerifiedPayload) -> Option<E>,
        ready: impl Future<Output = Result<Result<T, E>, Rejection>>,
        span: &Span,
    ) -> Result<Result<(Verified, Option<T>), E>, Refused>
    where
        B: Body<Data: Into<Bytes>, Error: Into<Box<dyn std::error::Error + Send + Sync>>>,
    {
        let carried = self.carried(&head.headers);
        let Some((first, others)) = carried.split_first() else {
            let refused = match self.parse(head) {
                Err(rejection) => rejection,
                Ok(_) => Rejection::new(RejectionKind::SignatureMissing, "no signature"),
            };
            return Err(refused.into());
        };
        // Each has to count before any of the body is read. With one that is stale or used, the
        // request could still be accepted under another, so that nothing is stated for good.
        let mut parsed = first.parse(head)?;
        parsed.state.report = None;
        let admitted = parsed.admit().await?;
        span.record("key_id", first_key(admitted.state.admission.signatures()));
        let mut admitted_beside = Vec::with_capacity(others.len());
        for other in others {
            let mut parsed = other.parse(head)?;
            parsed.state.report = None;
            admitted_beside.push(parsed.admit().await?);
        }
        let received = admitted.receive(body).await?;
        let bytes = received.state.body.clone();
        span.record("body_bytes", bytes.len());
        let mut authentic = received.authenticate()?;
        for admitted in admitted_beside {
            let received = admitted.take_over(&bytes).await?;
            let other = received.authenticate()?;
            if !self.settings.unrelated_signatures && !authentic.usable.is_one_with(&other.usable) {
                return Err(unrelated(&authentic, &other).into());
            }
            authentic.usable.and(other.usable);
        }
        authentic.take_through(refuse, ready).await
    }
}

/// Nothing shows that one sender signed the request twice.
fn unrelated(one: &Authentic, other: &Authentic) -> Rejection {
    let [one, other] = [one, other].map(|authentic| authentic.usable.unread().payload.scheme());
    Rejection::new(
        RejectionKind::SignatureInsufficient,
        format!(
            "signed under `{one}` and `{other}`, and neither signature says that the other belongs \
             to it: let one cover the header of the other, or both name one nonce under one key id; \
             `danger_unrelated_signatures` accepts it as it is"
        ),
    )
}
