//! The elements of the signed message, and how each is written.

use http::HeaderName;

use crate::{
    error::{Rejection, RejectionKind, malformed},
    message::{BodyForm, Head, JsonForm},
};

/// One element of the signed message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Element {
    Text(Vec<u8>),
    Method,
    Authority,
    Path,
    Query,
    PathAndQuery,
    Header(HeaderName),
    Time,
    Nonce,
    KeyId,
    Body,
    /// The body, as a document in this form.
    Document(JsonForm),
    /// One of the others, as a string in a document of this form.
    Quoted(JsonForm, Box<Self>),
}

impl Element {
    pub(super) fn text(text: &str) -> Self {
        Self::Text(text.as_bytes().to_vec())
    }

    /// What it is of the request, however it is written.
    pub(super) fn unquoted(&self) -> &Self {
        match self {
            Self::Quoted(_, part) => part,
            part => part,
        }
    }

    /// The form of the body, if this is the body.
    pub(super) fn body_form(&self) -> Option<BodyForm> {
        let string_in = match self {
            Self::Quoted(form, _) => Some(*form),
            _ => None,
        };
        match (self.unquoted(), string_in) {
            (Self::Body, None) => Some(BodyForm::Raw),
            (Self::Body, string_in) => Some(BodyForm::Json {
                document: None,
                string_in,
            }),
            (Self::Document(form), string_in) => Some(BodyForm::Json {
                document: Some(*form),
                string_in,
            }),
            _ => None,
        }
    }

    /// Writes what stands in the head of a request; of the body nothing.
    pub(super) fn write(
        &self,
        head: &Head<'_>,
        fields: &Fields<'_>,
        message: &mut Vec<u8>,
    ) -> Result<(), Rejection> {
        match self {
            Self::Text(text) => message.extend_from_slice(text),
            Self::Method => message.extend_from_slice(head.method.as_str().as_bytes()),
            Self::Authority => {
                message.extend_from_slice(head.target.authority.as_bytes());
            }
            Self::Path => message.extend_from_slice(plain_path(head)?.as_bytes()),
            Self::Query => message.extend_from_slice(plain_query(head)?.as_bytes()),
            Self::PathAndQuery => {
                message.extend_from_slice(plain_path(head)?.as_bytes());
                if let Some(query) = head.target.query() {
                    message.push(b'?');
                    message.extend_from_slice(query.as_bytes());
                }
            }
            Self::Header(name) => {
                let value = head.single(name)?.ok_or_else(|| {
                    Rejection::new(
                        RejectionKind::SignatureInsufficient,
                        format!("header `{name}` must be covered, and is not there"),
                    )
                })?;
                message.extend_from_slice(value.as_bytes());
            }
            Self::Time => message.extend_from_slice(fields.time),
            Self::Nonce => message.extend_from_slice(fields.nonce),
            Self::KeyId => message.extend_from_slice(fields.key_id),
            Self::Body | Self::Document(_) => {}
            Self::Quoted(form, part) => {
                let mut value = Vec::new();
                part.write(head, fields, &mut value)?;
                // Other bytes are one text by one encoding here, and another by another there.
                let text = str::from_utf8(&value).ok().filter(|text| text.is_ascii());
                let text = text.ok_or_else(|| {
                    malformed(format!("{part:?} is signed as a string, and is not ASCII"))
                })?;
                message.extend_from_slice(&form.string(text));
            }
        }
        Ok(())
    }
}

/// The parameters as they go into the message.
pub(super) struct Fields<'f> {
    pub(super) key_id: &'f [u8],
    pub(super) time: &'f [u8],
    pub(super) nonce: &'f [u8],
}

/// A path begins with `/`; `*` (RFC 9110, section 7.1) names no resource.
fn plain_path<'a>(head: &'a Head<'_>) -> Result<&'a str, Rejection> {
    let path = head.target.path();
    if path.starts_with('/') {
        Ok(path)
    } else {
        Err(malformed("the target has no path"))
    }
}

/// An empty query would have the same message as none.
fn plain_query<'a>(head: &'a Head<'_>) -> Result<&'a str, Rejection> {
    match head.target.query() {
        Some("") => Err(malformed("the target ends in `?`, with an empty query")),
        query => Ok(query.unwrap_or_default()),
    }
}
