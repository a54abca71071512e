//! The elements of the signed message, and how each is written.

use http::HeaderName;

use crate::{
    error::{Rejection, RejectionKind, malformed},
    message::{BodyForm, Head, JsonForm, Message, Part, TimeUnit},
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

    /// How many parts of a message it is, beside the body.
    pub(super) fn parts(&self) -> usize {
        match self.unquoted() {
            Self::Text(_) | Self::Body | Self::Document(_) | Self::Quoted(..) => 0,
            Self::Method | Self::Authority | Self::Path | Self::Query | Self::Header(_) => 1,
            Self::PathAndQuery | Self::Time | Self::Nonce | Self::KeyId => 2,
        }
    }

    /// Appends this element to a message.
    pub(super) fn write(
        &self,
        head: &Head<'_>,
        fields: &Fields<'_>,
        message: &mut Message,
    ) -> Result<(), Rejection> {
        if let Some(form) = self.body_form() {
            message.body(form);
            return Ok(());
        }
        match self {
            Self::Text(text) => message.text(text),
            Self::Method => message.part(Part::Method, head.method.as_str()),
            Self::Authority => message.part(Part::Authority, &*head.target.authority),
            Self::Path => message.part(Part::Path, plain_path(head)?),
            Self::Query => message.part(Part::Query, plain_query(head)?),
            Self::PathAndQuery => message.path_and_query(plain_path(head)?, head.target.query()),
            Self::Header(name) => {
                let value = head.single(name)?.ok_or_else(|| {
                    Rejection::new(
                        RejectionKind::SignatureInsufficient,
                        format!("header `{name}` must be covered, and is not there"),
                    )
                })?;
                message.part(Part::Header(name.clone()), value);
            }
            Self::Time => {
                if let Some((field, unit)) = &fields.time {
                    field.write(Part::Time(*unit), message);
                }
            }
            Self::Nonce => {
                if let Some(field) = &fields.nonce {
                    field.write(Part::Nonce, message);
                }
            }
            Self::KeyId => {
                if let Some(field) = &fields.key_id {
                    field.write(Part::KeyId, message);
                }
            }
            Self::Quoted(form, part) => {
                let mut value = Message::with_room(64, 2);
                part.write(head, fields, &mut value)?;
                // Other bytes are one text by one encoding here, and another by another there.
                message.quoted(*form, value).ok_or_else(|| {
                    malformed(format!("{part:?} is signed as a string, and is not ASCII"))
                })?;
            }
            Self::Body | Self::Document(_) => {}
        }
        Ok(())
    }
}

/// The parameters that stand in headers.
pub(super) struct Fields<'f> {
    pub(super) key_id: Option<Field<'f>>,
    pub(super) time: Option<(Field<'f>, TimeUnit)>,
    pub(super) nonce: Option<Field<'f>>,
}

/// A header that holds a parameter.
pub(super) struct Field<'f> {
    pub(super) name: &'f HeaderName,
    pub(super) value: &'f [u8],
}

impl Field<'_> {
    fn write(&self, parameter: Part, message: &mut Message) {
        message.part(Part::Header(self.name.clone()), self.value);
        message.also(parameter);
    }
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
