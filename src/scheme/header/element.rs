//! The elements of the signed message, and how each is written.

use http::HeaderName;
use percent_encoding::percent_decode_str;

use crate::{
    error::{Fault, FaultKind, malformed},
    message::{BodyForm, EmptyForm, Head, JsonForm, Message, Part, TimeUnit},
};

/// One element of the signed message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Element {
    Text(Vec<u8>),
    Method,
    /// One of these, of which none begins another.
    MethodOf(Vec<String>),
    Authority,
    Path,
    /// This path and no other.
    FixedPath(String),
    /// A path in which this byte is neither raw nor percent-encoded.
    PathWithout(u8),
    Query,
    PathAndQuery,
    Header(HeaderName),
    Time,
    /// The time, in exactly this number of digits.
    TimeOf(usize),
    Nonce,
    KeyId,
    /// A value of this name that is signed and not sent.
    Supplied(String),
    /// The same, if it is a whole number in canonical decimal digits.
    SuppliedNumber(String),
    Body,
    /// The body, as a document in this form.
    Document(JsonForm),
    /// One of the others, as a string in a document of this form.
    Quoted(JsonForm, Box<Self>),
    /// The body in a form of JSON, or this form if there is no body.
    Optional(Box<Self>, EmptyForm),
}

impl Element {
    pub(super) fn text(text: &str) -> Self {
        Self::Text(text.as_bytes().to_vec())
    }

    /// Returns the part of the request, without the quotes around it.
    pub(super) fn unquoted(&self) -> &Self {
        match self {
            Self::Quoted(_, part) => part,
            Self::Optional(body, _) => body.unquoted(),
            part => part,
        }
    }

    /// Returns whether this is that part of the request, restricted or not.
    pub(super) fn covers(&self, part: &Part) -> bool {
        matches!(
            (self.unquoted(), part),
            (Self::Method | Self::MethodOf(_), Part::Method)
                | (Self::Authority, Part::Authority)
                | (
                    Self::Path | Self::FixedPath(_) | Self::PathWithout(_) | Self::PathAndQuery,
                    Part::Path,
                )
        )
    }

    /// The form of the body, if this is the body.
    pub(super) fn body_form(&self) -> Option<BodyForm> {
        if let Self::Optional(body, empty) = self {
            return body.body_form().map(|form| form.or_empty(empty.clone()));
        }
        let string_in = match self {
            Self::Quoted(form, _) => Some(*form),
            _ => None,
        };
        match (self.unquoted(), string_in) {
            (Self::Body, None) => Some(BodyForm::Raw),
            (Self::Body, string_in) => Some(BodyForm::Json {
                document: None,
                string_in,
                empty: None,
            }),
            (Self::Document(form), string_in) => Some(BodyForm::Json {
                document: Some(*form),
                string_in,
                empty: None,
            }),
            _ => None,
        }
    }

    /// The name of the value, if this is one that is signed and not sent.
    pub(super) fn supplied(&self) -> Option<&str> {
        match self.unquoted() {
            Self::Supplied(name) | Self::SuppliedNumber(name) => Some(name),
            _ => None,
        }
    }

    /// Returns the part as an error names it.
    pub(super) fn in_words(&self) -> String {
        match self.unquoted() {
            Self::Text(_) => "a text".into(),
            Self::Method | Self::MethodOf(_) => "the method".into(),
            Self::Authority => "the authority".into(),
            Self::Path | Self::FixedPath(_) | Self::PathWithout(_) => "the path".into(),
            Self::Query => "the query".into(),
            Self::PathAndQuery => "the path and query".into(),
            Self::Header(name) => format!("header `{name}`"),
            Self::Time | Self::TimeOf(_) => "the time".into(),
            Self::Nonce => "the nonce".into(),
            Self::KeyId => "the key id".into(),
            Self::Supplied(name) | Self::SuppliedNumber(name) => {
                format!("the supplied value `{name}`")
            }
            Self::Body | Self::Document(_) | Self::Quoted(..) | Self::Optional(..) => {
                "the body".into()
            }
        }
    }

    /// Returns how many parts of a message it is, beside the body.
    pub(super) fn parts(&self) -> usize {
        match self.unquoted() {
            Self::Text(_)
            | Self::Body
            | Self::Document(_)
            | Self::Quoted(..)
            | Self::Optional(..) => 0,
            Self::Method
            | Self::MethodOf(_)
            | Self::Authority
            | Self::Path
            | Self::FixedPath(_)
            | Self::PathWithout(_)
            | Self::Query
            | Self::Header(_)
            | Self::Supplied(_)
            | Self::SuppliedNumber(_) => 1,
            Self::PathAndQuery | Self::Time | Self::TimeOf(_) | Self::Nonce | Self::KeyId => 2,
        }
    }

    /// Appends this element to a message.
    pub(super) fn write(
        &self,
        head: &Head<'_>,
        fields: &Fields<'_>,
        message: &mut Message,
    ) -> Result<(), Fault> {
        match self {
            Self::Text(text) => message.text(text),
            Self::Method => message.part(Part::Method, head.method.as_str()),
            Self::MethodOf(methods) => {
                let method = head.method.as_str();
                if !methods.iter().any(|listed| listed == method) {
                    return Err(malformed(
                        "the method is none of those that the scheme lists",
                    ));
                }
                message.part(Part::Method, method);
            }
            Self::Authority => message.part(Part::Authority, &*head.target.authority),
            Self::Path => message.part(Part::Path, plain_path(head)?),
            Self::FixedPath(fixed) => {
                let path = plain_path(head)?;
                if path != fixed {
                    return Err(malformed(format!(
                        "the path is not `{fixed}`, the one that the scheme signs"
                    )));
                }
                message.part(Part::Path, path);
            }
            Self::PathWithout(delimiter) => {
                let path = plain_path(head)?;
                if percent_decode_str(path).any(|byte| byte == *delimiter) {
                    return Err(malformed(format!(
                        "the path has a `{}`, raw or percent-encoded, which delimits it in the \
                         signed message",
                        char::from(*delimiter)
                    )));
                }
                message.part(Part::Path, path);
            }
            Self::Query => message.part(Part::Query, plain_query(head)?),
            Self::PathAndQuery => message.path_and_query(plain_path(head)?, head.target.query()),
            Self::Header(name) => {
                let value = head.single(name)?.ok_or_else(|| {
                    Fault::new(
                        FaultKind::Insufficient,
                        format!("header `{name}` must be covered, and is not there"),
                    )
                })?;
                message.part(Part::Header(name.clone()), value);
            }
            Self::Time | Self::TimeOf(_) => {
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
            Self::Quoted(_, part) if matches!(**part, Self::Body | Self::Document(_)) => {
                self.write_body(message);
            }
            Self::Supplied(name) | Self::SuppliedNumber(name) => {
                let Some(supplied) = head.supplied else {
                    message.leave_open();
                    return Ok(());
                };
                let refuse = |detail: String| Fault::new(FaultKind::NotSupplied, detail);
                let value = supplied.value(name).map_err(refuse)?;
                if matches!(self, Self::SuppliedNumber(_)) && !is_whole_number(value) {
                    return Err(refuse(format!(
                        "the value that is supplied for `{name}` is not a whole number"
                    )));
                }
                message.part(Part::Supplied(name.as_str().into()), value);
            }
            Self::Quoted(form, part) => {
                let mut value = Message::with_room(64, 2);
                part.write(head, fields, &mut value)?;
                // Other bytes are one text by one encoding here, and another by another there.
                message.quoted(*form, value).ok_or_else(|| {
                    let part = part.in_words();
                    malformed(format!("{part} is signed as a string, and is not ASCII"))
                })?;
            }
            Self::Body | Self::Document(_) | Self::Optional(..) => self.write_body(message),
        }
        Ok(())
    }

    fn write_body(&self, message: &mut Message) {
        if let Some(form) = self.body_form() {
            message.body(form);
        }
    }
}

/// The parameters in headers.
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

/// As every language writes it: `-7`, and not `-0`, `07` or `+7`.
fn is_whole_number(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let is_canonical = !digits.starts_with('0') || text == "0";
    is_canonical && !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
}

/// A path begins with `/`; `*` (RFC 9110, section 7.1) names no resource.
fn plain_path<'a>(head: &'a Head<'_>) -> Result<&'a str, Fault> {
    let path = head.target.path();
    if path.starts_with('/') {
        Ok(path)
    } else {
        Err(malformed("the target has no path"))
    }
}

/// An empty query would have the same message as none.
fn plain_query<'a>(head: &'a Head<'_>) -> Result<&'a str, Fault> {
    match head.target.query() {
        Some("") => Err(malformed("the target ends in `?`, with an empty query")),
        query => Ok(query.unwrap_or_default()),
    }
}
