//! The signed message: which bytes go into the MAC, and where the body stands among them.

use std::{borrow::Cow, fmt};

use bytes::Bytes;

use super::{
    digest::{DigestAlgorithm, HashOutput, RunningDigest},
    encoding::Encoding,
};
use crate::message::canonical_json::JsonForm;

/// The description of a signed message.
#[derive(Clone)]
pub(crate) enum SigningInput {
    /// The head completes the message and, where the body is covered, holds its digests. Every one
    /// of them must match; with none, the request must have no body.
    Head {
        message: Vec<u8>,
        body: Vec<BodyDigest>,
    },
    /// The body stands in the message, in this form.
    AroundBody {
        before: Vec<u8>,
        form: BodyForm,
        after: Vec<u8>,
    },
    /// The message is `prefix`, then the hexadecimal SHA-256 of: `before`, then the hexadecimal
    /// SHA-256 of the body.
    #[cfg_attr(
        not(test),
        expect(dead_code, reason = "for schemes that are proven by `scheme::shapes`")
    )]
    NestedDigest { prefix: Vec<u8>, before: Vec<u8> },
}

/// A digest of the body that stands in a covered part of the head.
#[derive(Clone)]
pub(crate) struct BodyDigest {
    pub(crate) algorithm: DigestAlgorithm,
    pub(crate) claimed: HashOutput,
}

/// In which form the body stands in the signed message.
#[derive(Clone)]
pub(crate) enum BodyForm {
    /// As it was received.
    Raw,
    /// As a document in this form, or as it was received; and where the message is itself a
    /// document, as a string in that one.
    Json {
        document: Option<JsonForm>,
        string_in: Option<JsonForm>,
    },
    /// As this function writes it anew.
    Canonical(fn(&Bytes) -> Result<Formed, Cow<'static, str>>),
    /// In a form that was extracted from the body together with its signature.
    Extracted(Formed),
}

/// A body in its form.
#[derive(Clone)]
pub(crate) struct Formed {
    /// What of it stands in the signed message.
    pub(crate) signed: Bytes,
    /// What the handler is given: made of nothing but what is signed, and in a syntax that can be
    /// read, which a form's parameters set side by side cannot.
    pub(crate) given: Bytes,
    /// The whole body, where more than this stands in it.
    pub(crate) uncovered: Option<Bytes>,
}

impl Formed {
    /// How many bytes it takes up beside the body that it was made of.
    pub(crate) fn len_beside(&self, body: &Bytes) -> usize {
        let is_own = |bytes: &&Bytes| bytes.as_ptr() != body.as_ptr();
        let given = Some(&self.given).filter(is_own).map_or(0, Bytes::len);
        if self.signed.as_ptr() == self.given.as_ptr() {
            return given;
        }
        given + Some(&self.signed).filter(is_own).map_or(0, Bytes::len)
    }
}

impl BodyForm {
    pub(crate) fn rewrite(&self, body: &Bytes) -> Result<Option<Formed>, Cow<'static, str>> {
        match self {
            Self::Raw => Ok(None),
            Self::Json {
                document,
                string_in,
            } => {
                let given = match document {
                    Some(form) => form.rewrite(body)?.into(),
                    None => body.clone(),
                };
                let signed = match string_in {
                    Some(form) => {
                        let text = str::from_utf8(&given).map_err(|_| "the body is not UTF-8")?;
                        form.string(text).into()
                    }
                    None => given.clone(),
                };
                Ok(Some(Formed {
                    signed,
                    given,
                    uncovered: None,
                }))
            }
            Self::Canonical(rewrite) => rewrite(body).map(Some),
            Self::Extracted(formed) => Ok(Some(formed.clone())),
        }
    }
}

impl SigningInput {
    /// The bytes that stand before the body, or the whole message where the head completes it.
    pub(crate) fn before_body(&self) -> &[u8] {
        match self {
            Self::Head { message, .. } => message,
            Self::AroundBody { before, .. } => before,
            Self::NestedDigest { prefix, .. } => prefix,
        }
    }

    /// The digests of the body that decide whether it is the one that was signed.
    pub(crate) fn body_digests(&self) -> impl Iterator<Item = DigestAlgorithm> {
        let (claimed, nested) = match self {
            Self::Head { body, .. } => (body.as_slice(), None),
            Self::NestedDigest { .. } => (&[] as &[BodyDigest], Some(DigestAlgorithm::Sha256)),
            Self::AroundBody { .. } => (&[] as &[BodyDigest], None),
        };
        claimed.iter().map(|digest| digest.algorithm).chain(nested)
    }

    /// The form of the body, where that is not the one in which it was received.
    pub(crate) fn body_form(&self) -> Option<&BodyForm> {
        match self {
            Self::AroundBody {
                form: BodyForm::Raw,
                ..
            } => None,
            Self::AroundBody { form, .. } => Some(form),
            Self::Head { .. } | Self::NestedDigest { .. } => None,
        }
    }

    /// How long the message is without the body.
    pub(crate) fn head_len(&self) -> usize {
        match self {
            Self::Head { message, .. } => message.len(),
            Self::AroundBody { before, after, .. } => before.len() + after.len(),
            Self::NestedDigest { prefix, before } => prefix.len() + before.len(),
        }
    }

    /// The body in the form in which it is signed, where that is not the one in which it is sent.
    pub(crate) fn rewrite_body(&self, body: &[u8]) -> Result<Option<Bytes>, Cow<'static, str>> {
        let Some(form) = self.body_form() else {
            return Ok(None);
        };
        let formed = form.rewrite(&Bytes::copy_from_slice(body))?;
        Ok(formed.map(|formed| formed.signed))
    }

    /// Feeds the signed message to `sink`; `body` is in the form in which it is signed.
    pub(crate) fn feed(&self, body: &[u8], mut sink: impl FnMut(&[u8])) {
        match self {
            Self::Head { message, .. } => sink(message),
            Self::AroundBody { before, after, .. } => {
                sink(before);
                sink(body);
                sink(after);
            }
            Self::NestedDigest { .. } => {
                let mut digest = RunningDigest::new(DigestAlgorithm::Sha256);
                digest.update(body);
                self.feed_nested(digest, sink);
            }
        }
    }

    /// Feeds the signed message from the finished digest of the body.
    pub(crate) fn feed_nested(&self, body: RunningDigest, mut sink: impl FnMut(&[u8])) {
        if let Self::NestedDigest { prefix, before } = self {
            let mut digest = RunningDigest::new(DigestAlgorithm::Sha256);
            digest.update(before);
            digest.update(Encoding::Hex.encode(body.finish().as_ref()).as_bytes());
            sink(prefix);
            sink(Encoding::Hex.encode(digest.finish().as_ref()).as_bytes());
        }
    }
}

/// Without the message: covered headers may be confidential.
impl fmt::Debug for SigningInput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self {
            Self::Head { .. } => "Head",
            Self::AroundBody { .. } => "AroundBody",
            Self::NestedDigest { .. } => "NestedDigest",
        };
        write!(f, "{name}({} bytes)", self.before_body().len())
    }
}
