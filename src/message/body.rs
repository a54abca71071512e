//! The body in a signed message: its place there, and its form.

use std::borrow::Cow;

use bytes::Bytes;
use smallvec::SmallVec;

use super::{
    canonical_json::JsonForm,
    digest::{DigestAlgorithm, HashOutput},
};

/// The place of the body in a signed message.
#[derive(Clone)]
pub(crate) enum BodyPlace {
    /// The head completes the message, and holds these digests of the body. Every one of them must
    /// match; with none, the request must have no body.
    Digests(BodyDigests),
    /// The body is after `offset` bytes of the message, in this form.
    At { offset: usize, form: BodyForm },
}

impl Default for BodyPlace {
    /// There is no body.
    fn default() -> Self {
        Self::Digests(BodyDigests::new())
    }
}

/// Nearly always there is one.
pub(crate) type BodyDigests = SmallVec<[BodyDigest; 1]>;

/// A digest of the body, in a covered part of the head.
#[derive(Clone)]
pub(crate) struct BodyDigest {
    pub(crate) algorithm: DigestAlgorithm,
    pub(crate) claimed: HashOutput,
}

/// The form of the body in the signed message.
#[derive(Clone)]
pub(crate) enum BodyForm {
    /// As it was received.
    Raw,
    /// As a document in this form, or as it was received; and where the message is itself a
    /// document, as a string in that one.
    Json {
        document: Option<JsonForm>,
        string_in: Option<JsonForm>,
        /// How a request without a body is signed, if it may come.
        empty: Option<Box<EmptyForm>>,
    },
    /// As this function writes it again.
    Canonical(fn(&Bytes) -> Result<Formed, Cow<'static, str>>),
    /// As it was taken apart when its signature was read.
    Extracted(Box<Formed>),
}

/// How the lack of a body is signed where a body is signed in a form of JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct EmptyForm {
    /// The bytes in the message instead of a body.
    pub(crate) signed: Vec<u8>,
    /// The bytes before and after a body, which are left out with it.
    pub(crate) before: Vec<u8>,
    pub(crate) after: Vec<u8>,
}

/// A body in its form.
#[derive(Clone)]
pub(crate) struct Formed {
    /// The bytes of it in the signed message.
    pub(crate) signed: Bytes,
    /// The bytes for the handler: made of nothing but signed bytes, and in a syntax that can be
    /// read, which a form's parameters set side by side cannot.
    pub(crate) given: Bytes,
    /// The whole body, if it holds more than this.
    pub(crate) uncovered: Option<Bytes>,
}

impl Formed {
    /// Returns how many bytes it takes up beside the body that it was made of.
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
    /// The same form, for requests without a body too.
    pub(crate) fn or_empty(self, form: EmptyForm) -> Self {
        match self {
            Self::Json {
                document,
                string_in,
                ..
            } => Self::Json {
                document,
                string_in,
                empty: Some(Box::new(form)),
            },
            other => other,
        }
    }

    pub(crate) fn rewrite(&self, body: &Bytes) -> Result<Option<Formed>, Cow<'static, str>> {
        match self {
            Self::Raw => Ok(None),
            Self::Json {
                document,
                string_in,
                empty,
            } => {
                if let Some(empty) = empty.as_ref().filter(|_| body.is_empty()) {
                    return Ok(Some(Formed {
                        signed: Bytes::copy_from_slice(&empty.signed),
                        given: Bytes::new(),
                        uncovered: None,
                    }));
                }
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
                let signed = match empty {
                    None => signed,
                    Some(empty) if *signed == *empty.signed => {
                        return Err("the body is signed as a request without a body is".into());
                    }
                    Some(empty) if empty.before.is_empty() && empty.after.is_empty() => signed,
                    Some(empty) => [&empty.before, &signed[..], &empty.after].concat().into(),
                };
                Ok(Some(Formed {
                    signed,
                    given,
                    uncovered: None,
                }))
            }
            Self::Canonical(rewrite) => rewrite(body).map(Some),
            Self::Extracted(formed) => Ok(Some(Formed::clone(formed))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Otherwise the budget for bodies would know of less than is in memory.
    #[test]
    fn a_form_takes_up_what_each_of_its_buffers_has() {
        let body = Bytes::from_static(b"as received");
        let made = |len| Bytes::from(vec![0; len]);
        let beside = |signed: &Bytes, given: &Bytes| {
            let formed = Formed {
                signed: signed.clone(),
                given: given.clone(),
                uncovered: None,
            };
            formed.len_beside(&body)
        };
        let (one, other) = (made(3), made(5));
        assert_eq!(beside(&body, &body), 0);
        assert_eq!(beside(&one, &one), 3);
        assert_eq!(beside(&one, &body), 3);
        assert_eq!(beside(&body, &other), 5);
        assert_eq!(beside(&one, &other), 8);
    }
}
