//! The signature base (RFC 9421, section 2.5): the one place where the signed message is put
//! together, for verifying and for signing, of requests and of responses.

use std::{borrow::Cow, fmt::Write as _};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, uri::Scheme};

use super::{
    canonical::{FieldType, Wanted, push_field, read_members, registered},
    component::{Fault, Form, Identifier, Name},
    fields::{Listed, joined},
    query,
};
use crate::{
    message::{Coverage, CoveredPart, Head},
    proof::Room,
};

/// The message that a signature covers.
#[derive(Clone, Copy)]
pub(crate) enum Message<'m> {
    Request(&'m Head<'m>),
    /// A response, and the request that it answers.
    Response {
        status: StatusCode,
        headers: &'m HeaderMap,
        request: &'m Head<'m>,
    },
}

/// The kinds of structured fields that were declared beside those that are registered.
pub(crate) type FieldTypes = [(HeaderName, FieldType)];

/// The signature base, and what of a request it covers.
pub(crate) fn base(
    message: Message<'_>,
    listed: &Listed<'_>,
    types: &FieldTypes,
    room: &mut Room,
) -> Result<(Vec<u8>, Coverage), Fault> {
    // Room for each value beside what is known.
    let mut base = String::with_capacity(2 * listed.text.len() + 64 * listed.components.len());
    let mut coverage = Coverage::default();
    let mut inputs: Vec<((&Name, bool), Wanted<'_>)> = Vec::new();
    for (identifier, range) in &listed.components {
        base.push_str(listed.text.get(range.clone()).unwrap_or_default());
        base.push_str(": ");
        let start = base.len();
        let input = (&identifier.name, identifier.req);
        match (
            identifier.key(),
            inputs.iter_mut().find(|(i, _)| *i == input),
        ) {
            (Some(_), Some((_, wanted))) => push_taken(&mut base, identifier, wanted)?,
            (Some(_), None) => {
                room.read(message.len_to_read(identifier))?;
                let of_input = listed
                    .components
                    .iter()
                    .filter(|(other, _)| (&other.name, other.req) == input);
                let mut wanted = Wanted::new(of_input.filter_map(|(other, _)| other.key()));
                message.read_named(identifier, types, &mut wanted)?;
                push_taken(&mut base, identifier, &mut wanted)?;
                inputs.push((input, wanted));
            }
            (None, _) => {
                room.read(message.len_to_read(identifier))?;
                message.push_value(&mut base, identifier, types)?;
            }
        }
        if !identifier.req {
            let signed = base.get(start..).unwrap_or_default();
            coverage.add(identifier, message.headers(), signed);
        }
        base.push('\n');
    }
    base.push_str("\"@signature-params\": ");
    base.push_str(&listed.text);
    if !base.is_ascii() {
        return Err("what it covers is not ASCII".into());
    }
    Ok((base.into_bytes(), coverage))
}

impl<'m> Message<'m> {
    pub(super) fn headers(self) -> &'m HeaderMap {
        match self {
            Self::Request(head) => head.headers,
            Self::Response { headers, .. } => headers,
        }
    }

    /// How much is gone through for the value of a component: of what can be long, all.
    fn len_to_read(self, identifier: &Identifier<'_>) -> usize {
        let headers = match (self, identifier.req) {
            (Self::Response { request, .. }, true) => request.headers,
            _ => self.headers(),
        };
        match (&identifier.name, self) {
            (Name::Field(name), _) => headers.get_all(name).iter().map(HeaderValue::len).sum(),
            (Name::Method | Name::Authority | Name::Scheme | Name::Status, _) => 0,
            (_, Self::Request(request) | Self::Response { request, .. }) => {
                let target = &request.target;
                match identifier.name {
                    Name::Path => target.path().len(),
                    Name::Query | Name::QueryParam => target.query().map_or(0, str::len),
                    _ => target.path_and_query.as_str().len(),
                }
            }
        }
    }

    /// The head that a component is a part of, if it is that of a request, and its fields.
    fn source(
        self,
        identifier: &Identifier<'_>,
    ) -> Result<(Option<&'m Head<'m>>, &'m HeaderMap), Fault> {
        Ok(match (self, identifier.req) {
            (Self::Request(_), true) => {
                return Err(format!("{identifier}: a request answers no other").into());
            }
            (Self::Request(head), false) => (Some(head), head.headers),
            (Self::Response { request, .. }, true) => (Some(request), request.headers),
            (Self::Response { headers, .. }, false) => (None, headers),
        })
    }

    /// Reads the input of this component once, for all parameters or members that are wanted of it.
    fn read_named(
        self,
        identifier: &Identifier<'_>,
        types: &FieldTypes,
        wanted: &mut Wanted<'_>,
    ) -> Result<(), Fault> {
        match (&identifier.name, self.source(identifier)?) {
            (Name::QueryParam, (Some(head), _)) => {
                query::params(head.target.query().unwrap_or_default(), wanted)
            }
            (Name::Field(name), (_, headers)) => {
                let value = joined(headers, name)?.ok_or_else(|| absent(name))?;
                match field_type(name, types) {
                    Some(FieldType::Dictionary) | None => read_members(&value, wanted),
                    Some(_) => Err(format!("{identifier}: the field is no dictionary").into()),
                }
            }
            _ => Err(foreign(identifier)),
        }
    }

    pub(super) fn push_value(
        self,
        to: &mut String,
        identifier: &Identifier<'_>,
        types: &FieldTypes,
    ) -> Result<(), Fault> {
        if let Some(key) = identifier.key() {
            let mut wanted = Wanted::new([key]);
            self.read_named(identifier, types, &mut wanted)?;
            return push_taken(to, identifier, &mut wanted);
        }
        let (head, headers) = self.source(identifier)?;
        if let Name::Field(name) = &identifier.name {
            return push_field_value(to, headers, name, identifier, types);
        }
        match (head, self, &identifier.name) {
            (None, Self::Response { status, .. }, Name::Status) => to.push_str(status.as_str()),
            (Some(head), _, name) if *name != Name::Status => push_derived(to, head, identifier)?,
            _ => return Err(foreign(identifier)),
        }
        Ok(())
    }
}

fn foreign(identifier: &Identifier<'_>) -> Fault {
    format!("{identifier} is no part of the message that is signed").into()
}

/// Appends one of the values that were wanted of an input.
fn push_taken(
    to: &mut String,
    identifier: &Identifier<'_>,
    wanted: &mut Wanted<'_>,
) -> Result<(), Fault> {
    match (
        &identifier.form,
        identifier.key().and_then(|key| wanted.take(key)),
    ) {
        (Form::Param(_), Some(value)) => to.push_str(&query::encode(&value)),
        (_, Some(value)) => to.push_str(&value),
        (Form::Param(name), None) => return Err(query::absent(name)),
        (_, None) => return Err(format!("{identifier}: the field has no such member").into()),
    }
    Ok(())
}

fn field_type(name: &HeaderName, types: &FieldTypes) -> Option<FieldType> {
    let declared = types.iter().find(|(known, _)| known == name);
    declared.map_or_else(|| registered(name.as_str()), |(_, kind)| Some(*kind))
}

fn push_derived(
    to: &mut String,
    head: &Head<'_>,
    identifier: &Identifier<'_>,
) -> Result<(), Fault> {
    let target = &head.target;
    match &identifier.name {
        Name::Method => to.push_str(head.method.as_str()),
        Name::Authority => to.push_str(authority(head)?),
        Name::Scheme => to.push_str(&scheme(head)?),
        Name::Path => to.push_str(path(head)?),
        Name::Query => {
            to.push('?');
            to.push_str(target.query().unwrap_or_default());
        }
        Name::TargetUri => {
            path(head)?;
            let (scheme, authority) = (scheme(head)?, authority(head)?);
            let _ = write!(to, "{scheme}://{authority}{}", target.path_and_query);
        }
        Name::RequestTarget => {
            let _ = match target.absolute_form {
                Some(uri) => write!(to, "{uri}"),
                None => write!(to, "{}", target.path_and_query),
            };
        }
        // A parameter of the query is read by its name.
        Name::Status | Name::Field(_) | Name::QueryParam => {}
    }
    Ok(())
}

fn authority<'h>(head: &'h Head<'_>) -> Result<&'h str, Fault> {
    let authority = &*head.target.authority;
    if authority.is_empty() {
        return Err("the request names no authority, in its URI or in `Host`".into());
    }
    Ok(authority)
}

fn scheme(head: &Head<'_>) -> Result<String, Fault> {
    let scheme = head.target.scheme.map(Scheme::as_str);
    scheme.map(str::to_ascii_lowercase).ok_or_else(|| {
        "it is not known whether this is `https`: a verifier needs a public origin, and a signer the \
         whole URI"
            .into()
    })
}

/// `*` (RFC 9110, section 7.1) names no resource, and would be signed like `/`.
fn path<'h>(head: &'h Head<'_>) -> Result<&'h str, Fault> {
    let path = head.target.path();
    if path.starts_with('/') {
        Ok(path)
    } else {
        Err("the target has no path".into())
    }
}

fn push_field_value(
    to: &mut String,
    headers: &HeaderMap,
    name: &HeaderName,
    identifier: &Identifier<'_>,
    types: &FieldTypes,
) -> Result<(), Fault> {
    if let Form::Binary = identifier.form {
        return push_binary(to, headers, name);
    }
    let value = joined(headers, name)?.ok_or_else(|| absent(name))?;
    if let Form::Plain = identifier.form {
        to.push_str(&value);
        return Ok(());
    }
    match (&identifier.form, field_type(name, types)) {
        (Form::Structured, Some(kind)) => push_field(to, &value, kind),
        (Form::Structured, None) => Err(format!(
            "{identifier}: it is not known what kind of structured field this is; declare it with \
             `structured_field`"
        )
        .into()),
        _ => {
            to.push_str(&value);
            Ok(())
        }
    }
}

fn push_binary(to: &mut String, headers: &HeaderMap, name: &HeaderName) -> Result<(), Fault> {
    let mut lines = headers.get_all(name).iter().peekable();
    if lines.peek().is_none() {
        return Err(absent(name));
    }
    while let Some(line) = lines.next() {
        to.push(':');
        STANDARD.encode_string(line.as_bytes().trim_ascii(), to);
        to.push(':');
        if lines.peek().is_some() {
            to.push_str(", ");
        }
    }
    Ok(())
}

/// The lines of a field as one value, without the white space around them, which is not signed;
/// `None` where it stands there so.
fn trimmed(headers: &HeaderMap, name: &HeaderName) -> Option<HeaderValue> {
    let mut lines = headers.get_all(name).iter().map(HeaderValue::as_bytes);
    if let (Some(line), None) = (lines.next(), lines.next())
        && line.trim_ascii().len() == line.len()
    {
        return None;
    }
    let lines = headers.get_all(name).iter();
    let lines: Vec<_> = lines.map(|line| line.as_bytes().trim_ascii()).collect();
    HeaderValue::from_bytes(&lines.join(&b", "[..])).ok()
}

fn absent(name: &HeaderName) -> Fault {
    format!("it covers `{name}`, which is not there").into()
}

impl Coverage {
    /// Adds what a component covers, with the value that was signed.
    fn add(&mut self, identifier: &Identifier<'_>, headers: &HeaderMap, signed: &str) {
        match (&identifier.name, &identifier.form) {
            (Name::Method, _) => self.method = true,
            (Name::Authority, _) => self.authority = true,
            (Name::Path, _) => self.path = true,
            (Name::Query, _) => self.query = true,
            (Name::TargetUri, _) => {
                self.authority = true;
                self.path = true;
                self.query = true;
            }
            (Name::Field(name), Form::Plain | Form::Binary) => match trimmed(headers, name) {
                None if self.headers.contains(name) => {}
                None => self.headers.push(name.clone()),
                Some(value) => self.parts.push(CoveredPart::Header(name.clone(), value)),
            },
            (Name::Field(name), Form::Structured) => {
                if let Ok(value) = HeaderValue::from_str(signed) {
                    self.parts.push(CoveredPart::Header(name.clone(), value));
                }
            }
            (Name::Field(name), Form::Member(key)) => self.parts.push(CoveredPart::Member(
                name.clone(),
                key.as_ref().into(),
                signed.into(),
            )),
            (Name::QueryParam, Form::Param(name)) => {
                let decoded = |text: &str| {
                    let text = percent_encoding::percent_decode_str(text);
                    text.decode_utf8().unwrap_or(Cow::Borrowed("")).into()
                };
                self.parts
                    .push(CoveredPart::QueryParam(decoded(name), decoded(signed)));
            }
            // Not in its other forms (RFC 9112, section 3.2), which name more, or no path.
            (Name::RequestTarget, _) if signed.starts_with('/') => {
                self.path = true;
                self.query = true;
            }
            (Name::RequestTarget | Name::Scheme | Name::Status | Name::QueryParam, _)
            | (Name::Field(_), Form::Param(_)) => {}
        }
    }
}
