//! `Accept-Signature` (RFC 9421, section 5): what a server asks a client to sign.

use std::time::Duration;

use http::HeaderMap;

use super::{
    component::Component,
    fields::joined,
    input::read_accepted,
    names::ACCEPT_SIGNATURE,
    scheme::{ALGORITHM, HttpMessageSignatures},
};
use crate::error::{ConfigError, ConfigErrorKind, SignError};

/// For how long a signature is valid where the server wants it to expire and does not say when.
const EXPIRES_AFTER: Duration = Duration::from_secs(300);

/// A signature that a server asks for, in the `Accept-Signature` of its answer.
///
/// ```
/// use countersign::{rfc9421::AcceptSignature, Signer};
///
/// # let mut response = http::Response::new(());
/// # response.headers_mut().insert("accept-signature", r#"sig1=("@method" "x-tenant");created"#.parse()?);
/// let asked = AcceptSignature::read(response.headers())?;
/// let scheme = asked[0].scheme()?;
/// let signer = Signer::new(scheme, "partner-1", "the secret of partner 1")?;
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct AcceptSignature {
    label: String,
    components: Vec<Component>,
    expires: bool,
    nonce: Option<String>,
    alg: Option<String>,
    key_id: Option<String>,
    tag: Option<String>,
}

impl AcceptSignature {
    /// Reads all signatures that are asked for; none where the field is not there.
    ///
    /// # Errors
    /// Returns an error if the field cannot be read, or one of its members can be read in two ways.
    pub fn read(headers: &HeaderMap) -> Result<Vec<Self>, SignError> {
        let Some(field) = joined(headers, &ACCEPT_SIGNATURE).map_err(SignError::new)? else {
            return Ok(Vec::new());
        };
        let members = read_accepted(&field).map_err(SignError::new)?;
        let read = members.into_iter().map(|member| {
            let input = member.input.map_err(SignError::new)?;
            let parameters = input.parameters;
            let components = input.listed.components.into_iter();
            Ok(Self {
                label: input.listed.label.into_owned(),
                components: components.map(|(c, _)| Component(c.into_owned())).collect(),
                expires: parameters.expires.is_some() || parameters.wanted.contains(&"expires"),
                nonce: parameters.nonce.map(Into::into),
                alg: parameters.alg.map(Into::into),
                key_id: parameters.key_id.map(Into::into),
                tag: parameters.tag.map(Into::into),
            })
        });
        read.collect()
    }

    /// Returns the label under which the signature is wanted.
    #[must_use]
    pub fn label(&self) -> &str {
        &self.label
    }

    /// Returns the components that the signature should cover.
    #[must_use]
    pub fn components(&self) -> &[Component] {
        &self.components
    }

    /// Returns the nonce that the signature should have, for
    /// [`Signer::sign_with_nonce`](crate::Signer::sign_with_nonce): a challenge of this server.
    #[must_use]
    pub fn nonce(&self) -> Option<&str> {
        self.nonce.as_deref()
    }

    /// Returns the key that the signature should be made with.
    #[must_use]
    pub fn key_id(&self) -> Option<&str> {
        self.key_id.as_deref()
    }

    /// Returns the tag that the signature should have.
    #[must_use]
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// Returns a scheme that signs what is asked for, and what the default profile covers.
    ///
    /// # Errors
    /// Returns an error if another algorithm than `hmac-sha256` is asked for, or a component of a
    /// response.
    pub fn scheme(&self) -> Result<HttpMessageSignatures, ConfigError> {
        if let Some(alg) = self.alg.as_deref().filter(|alg| *alg != ALGORITHM) {
            let what = format!("the server asks for `{alg}`, and this is `{ALGORITHM}`");
            return Err(ConfigErrorKind::Scheme(what.into()).into());
        }
        let mut builder = HttpMessageSignatures::builder().label(&self.label);
        if let Some(tag) = &self.tag {
            builder = builder.tag(tag);
        }
        if self.expires {
            builder = builder.expires_after(EXPIRES_AFTER);
        }
        let components = self.components.iter().cloned();
        components.fold(builder, |b, c| b.covers(c)).build()
    }
}
