//! The builder of `HttpMessageSignatures`: other profiles than the default one.

use std::{borrow::Cow, sync::Arc, time::Duration};

use http::{
    HeaderName, HeaderValue,
    header::{CONTENT_ENCODING, CONTENT_RANGE, CONTENT_TYPE, LOCATION, TRANSFER_ENCODING},
};
use sfv::{KeyRef, StringRef};

use super::{
    canonical::FieldType,
    component::{Component, Form, Identifier, Name},
    names::{CONTENT_DIGEST, OUTCOME, RECEIVED, SIGNATURE, SIGNATURE_INPUT},
    scheme::{ALGORITHM, HttpMessageSignatures, Settings},
    signature::push_string,
};
use crate::{
    error::{ConfigError, ConfigErrorKind},
    key::{KeyId, MacAlgorithm},
    message::{DigestAlgorithm, IDEMPOTENCY_KEY},
    scheme::Profile,
};

impl HttpMessageSignatures {
    /// Makes another profile than the default.
    pub fn builder() -> HttpMessageSignaturesBuilder {
        HttpMessageSignaturesBuilder::new()
    }
}

/// Makes a profile of [`HttpMessageSignatures`].
///
/// ```
/// use countersign::{rfc9421::Component, HttpMessageSignatures};
///
/// let scheme = HttpMessageSignatures::builder()
///     .tag("payments")
///     .covers(Component::header("x-tenant")?)
///     .build()?;
/// # Ok::<_, countersign::ConfigError>(())
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct HttpMessageSignaturesBuilder {
    label: String,
    tag: Option<String>,
    key_id: Option<String>,
    required: Vec<Component>,
    response_required: Vec<Component>,
    nonce_required: bool,
    digest: DigestAlgorithm,
    expires_after: Option<Duration>,
    types: Vec<(String, FieldType)>,
    untimed_retention: Option<Duration>,
}

impl HttpMessageSignaturesBuilder {
    pub(super) fn new() -> Self {
        Self {
            label: "sig1".to_owned(),
            tag: None,
            key_id: None,
            required: vec![
                Component::METHOD,
                Component::AUTHORITY,
                Component::PATH,
                Component::QUERY,
            ],
            response_required: vec![Component::STATUS],
            nonce_required: true,
            digest: DigestAlgorithm::Sha256,
            expires_after: None,
            types: Vec::new(),
            untimed_retention: None,
        }
    }

    /// Sets the label under which requests are signed: lower-case letters, digits and `_-.*`,
    /// beginning with a letter or `*`. It is not covered, and any is accepted. Default: `sig1`.
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = label.into();
        self
    }

    /// Sets the tag of the application: signatures of another tag, or of none, are passed over.
    /// Default: none, and signatures that have one are passed over.
    ///
    /// Two services that share a key keep their signatures apart by it.
    pub fn tag(mut self, tag: impl Into<String>) -> Self {
        self.tag = Some(tag.into());
        self
    }

    /// Sets the key id of signatures without `keyid`, under one agreed key: 1 to 128 visible ASCII
    /// characters. Default: none, and every signature must name its key.
    ///
    /// A signature that names another key is refused. A signature that is made under this profile names
    /// none. The secret is given by
    /// [`secret`](crate::request::VerifierBuilder::secret), or by
    /// [`keys`](crate::request::VerifierBuilder::keys) under this id.
    ///
    /// ```
    /// use countersign::{HttpMessageSignatures, MemoryStore, VerifyLayer};
    ///
    /// let scheme = HttpMessageSignatures::builder().fixed_key_id("partner-1").build()?;
    /// let layer = VerifyLayer::builder(scheme)
    ///     .public_origin("https://api.example.com")
    ///     .secret("the secret of partner 1")
    ///     .store(MemoryStore::new())
    ///     .build()?;
    /// # Ok::<_, countersign::ConfigError>(())
    /// ```
    pub fn fixed_key_id(mut self, id: impl Into<String>) -> Self {
        self.key_id = Some(id.into());
        self
    }

    /// Adds one more component that every signature must cover, and which therefore must be there.
    pub fn covers(mut self, component: Component) -> Self {
        if !self.required.contains(&component) {
            self.required.push(component);
        }
        self
    }

    /// Adds one more component that every response must cover, and which therefore must be there: a
    /// field of the response, or, with [`of_request`](Component::of_request), anything of the
    /// request that it answers.
    ///
    /// ```
    /// # use countersign::{rfc9421::Component, HttpMessageSignatures};
    /// let scheme = HttpMessageSignatures::builder()
    ///     .response_covers(Component::header("etag")?)
    ///     .response_covers(Component::header("x-tenant")?.of_request())
    ///     .build()?;
    /// # Ok::<_, countersign::ConfigError>(())
    /// ```
    pub fn response_covers(mut self, component: Component) -> Self {
        if !self.response_required.contains(&component) {
            self.response_required.push(component);
        }
        self
    }

    /// Sets the digest that is written when signing; both are accepted. Default:
    /// [`DigestAlgorithm::Sha256`].
    pub fn digest(mut self, algorithm: DigestAlgorithm) -> Self {
        self.digest = algorithm;
        self
    }

    /// Sets after what time a signature that is made expires by its own word: at least 1 second, in
    /// whole seconds. Default: none is said, and the receiver's window decides.
    pub fn expires_after(mut self, expires_after: Duration) -> Self {
        self.expires_after = Some(expires_after);
        self
    }

    /// Declares that a field is a structured field of this kind, for signatures that cover it with
    /// `sf` or `key`. Default: those that their RFCs declare, such as `content-digest`.
    pub fn structured_field(mut self, name: impl Into<String>, kind: FieldType) -> Self {
        self.types.push((name.into(), kind));
        self
    }

    /// Requires these components, and no longer those of the default profile. An attacker who
    /// captured a request can change everything that its signature does not cover; the payload
    /// has `None` for it. A body, a content type and a content encoding must still be covered
    /// if the request has them.
    pub fn danger_require_only(mut self, components: impl IntoIterator<Item = Component>) -> Self {
        self.required.clear();
        components.into_iter().fold(self, Self::covers)
    }

    /// Accepts signatures without `nonce`. The SHA-256 of the signed message then serves as the
    /// nonce: two requests alike that are signed within one second are one, and the second is
    /// refused.
    pub fn danger_without_nonce(mut self) -> Self {
        self.nonce_required = false;
        self
    }

    /// Accepts signatures without `created`. Such a request is always fresh, and is remembered for
    /// `retention`. Anybody who captured it can send it again after that time, or after a restart
    /// of a store that does not survive restarts. Range: 1 hour to 1 year, checked when a verifier
    /// is built.
    pub fn danger_without_created(mut self, retention: Duration) -> Self {
        self.untimed_retention = Some(retention);
        self
    }

    /// Checks the profile.
    ///
    /// # Errors
    /// Returns an error if the label, the tag, the key id or the name of a field is not valid; if a
    /// component does not exist for requests, or for responses; or if a signature would expire at
    /// once.
    pub fn build(self) -> Result<HttpMessageSignatures, ConfigError> {
        if KeyRef::from_str(&self.label).is_err() {
            return Err(refuse(format!("`{}` is not usable as a label", self.label)));
        }
        if let Some(tag) = &self.tag
            && StringRef::from_str(tag).is_err()
        {
            return Err(refuse("the tag is not visible ASCII"));
        }
        let key_id = self.key_id.map(KeyId::new).transpose()?;
        if self.expires_after.is_some_and(|after| after.as_secs() == 0) {
            return Err(refuse("a signature must be valid for at least 1 second"));
        }
        for component in &self.required {
            let identifier = &component.0;
            if identifier.req || identifier.name == Name::Status {
                return Err(refuse(format!(
                    "{component} is not a component of a request"
                )));
            }
        }
        for component in &self.response_required {
            let fits = match (&component.0.name, component.0.req) {
                (Name::Status, req) => !req,
                (Name::Field(_), _) => true,
                (_, req) => req,
            };
            if !fits {
                return Err(refuse(format!(
                    "{component} is not a component of a response"
                )));
            }
        }
        for component in self.required.iter().chain(&self.response_required) {
            let identifier = &component.0;
            let ours = [SIGNATURE, SIGNATURE_INPUT].map(Name::Field);
            let whole = !identifier.req && !matches!(identifier.form, Form::Member(_));
            if whole && ours.contains(&identifier.name) {
                return Err(refuse(format!(
                    "{component} changes as the signature is added; cover one member of it"
                )));
            }
            if identifier.name == Name::Field(TRANSFER_ENCODING) {
                return Err(refuse(
                    "`transfer-encoding` changes from one hop to the next",
                ));
            }
        }
        let required: Vec<_> = self.required.into_iter().map(|c| c.0).collect();
        let response_required = self.response_required.into_iter().map(|c| c.0).collect();
        let types = self.types.into_iter().map(|(name, kind)| {
            let parsed = name.parse();
            let parsed = parsed.map_err(|_| refuse(format!("`{name}` is not a header")))?;
            Ok((parsed, kind))
        });
        let types = types.collect::<Result<_, ConfigError>>()?;

        let requires = |names: &[Name]| required.iter().any(|r| names.contains(&r.name));
        let profile = Profile {
            algorithm: MacAlgorithm::HmacSha256,
            covers_authority: requires(&[Name::Authority, Name::TargetUri]),
            covers_method: requires(&[Name::Method]),
            covers_place: requires(&[Name::Method]) && requires(&[Name::Path, Name::TargetUri]),
            untimed_retention: self.untimed_retention,
            event_horizon: None,
            retried_for: Duration::ZERO,
            may_repeat: false,
            key_id_is_own: false,
            max_age: None,
            sends_batches: false,
            sender_retries: false,
            signs_configured_url: false,
            malformed_is_unauthorized: false,
            bare_refusals: false,
        };
        let if_present = vec![CONTENT_TYPE, CONTENT_ENCODING];
        let accept =
            |present: &[HeaderName]| accept(&self.label, &required, present, self.tag.as_deref());
        let accept = [
            accept(&[])?,
            accept(&[CONTENT_TYPE])?,
            accept(&[CONTENT_ENCODING])?,
            accept(&[CONTENT_TYPE, CONTENT_ENCODING])?,
            accept(&[IDEMPOTENCY_KEY])?,
            accept(&[CONTENT_TYPE, IDEMPOTENCY_KEY])?,
            accept(&[CONTENT_ENCODING, IDEMPOTENCY_KEY])?,
            accept(&[CONTENT_TYPE, CONTENT_ENCODING, IDEMPOTENCY_KEY])?,
        ];
        Ok(HttpMessageSignatures(Arc::new(Settings {
            label: self.label,
            tag: self.tag,
            key_id: key_id.map(|id| id.to_string()),
            required,
            if_present,
            response_required,
            response_if_present: vec![
                CONTENT_TYPE,
                CONTENT_ENCODING,
                CONTENT_RANGE,
                LOCATION,
                OUTCOME,
                RECEIVED,
            ],
            nonce_required: self.nonce_required,
            digest: self.digest,
            expires_after: self.expires_after,
            types,
            accept,
            profile,
        })))
    }
}

impl Default for HttpMessageSignatures {
    /// The profile that [`HttpMessageSignatures`] describes.
    #[expect(clippy::expect_used, reason = "nothing of it depends on the caller")]
    fn default() -> Self {
        Self::builder().build().expect("a profile that is valid")
    }
}

/// Returns what a client is asked for on a 401 (RFC 9421, section 5.1): the required components,
/// those fields that the request has and that are required then, and the digest of the body. No
/// `nonce` and no `keyid`, which would ask for that very one.
fn accept(
    label: &str,
    required: &[Identifier<'_>],
    present: &[HeaderName],
    tag: Option<&str>,
) -> Result<HeaderValue, ConfigError> {
    let also = present.iter().cloned().chain([CONTENT_DIGEST]);
    let also = also.map(|name| Identifier::of(Name::Field(name)));
    let also = also.filter(|also| !required.iter().any(|r| r.includes(also)));
    let components: Vec<_> = required
        .iter()
        .map(ToString::to_string)
        .chain(also.map(|also| also.to_string()))
        .collect();
    let mut text = format!("{label}=({});created", components.join(" "));
    push_string(&mut text, "alg", ALGORITHM);
    if let Some(tag) = tag {
        push_string(&mut text, "tag", tag);
    }
    text.parse()
        .map_err(|_| refuse("a component that cannot be named in a header"))
}

fn refuse(what: impl Into<Cow<'static, str>>) -> ConfigError {
    ConfigErrorKind::Scheme(what.into()).into()
}
