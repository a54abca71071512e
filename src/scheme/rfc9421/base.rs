//! The signature base (RFC 9421, section 2.5): the one place where the signed message is put
//! together, for verifying and for signing, of requests and of responses.

use std::borrow::Cow;

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, uri::Scheme};

use super::{
    canonical::Why,
    canonical::{FieldType, push_field, read_members, registered},
    component::{Form, Identifier, Name},
    fields::joined,
    input::Listed,
};
use crate::{
    message::{
        Head, Message, Part,
        query::{self, Wanted},
    },
    proof::Room,
};

/// The message that a signature is over.
#[derive(Clone, Copy)]
pub(crate) enum Source<'m> {
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

/// The signature base.
pub(crate) fn base(
    source: Source<'_>,
    listed: &Listed<'_>,
    types: &FieldTypes,
    room: &mut Room,
) -> Result<Message, Why> {
    // Room for each value beside what is known, and for three parameters.
    let components = listed.components.len();
    let mut message = Message::with_room(2 * listed.text.len() + 32 * components, components + 3);
    let mut inputs: Vec<((&Name, bool), Wanted<'_>)> = Vec::new();
    for (identifier, range) in &listed.components {
        message.text(listed.text.get(range.clone()).unwrap_or_default());
        message.text(": ");
        let input = (&identifier.name, identifier.req);
        match (
            identifier.key(),
            inputs.iter_mut().find(|(i, _)| *i == input),
        ) {
            (Some(_), Some((_, wanted))) => push_taken(&mut message, identifier, wanted)?,
            (Some(_), None) => {
                room.read(source.len_to_read(identifier))?;
                let of_input = listed
                    .components
                    .iter()
                    .filter(|(other, _)| (&other.name, other.req) == input);
                let mut wanted = Wanted::new(of_input.filter_map(|(other, _)| other.key()));
                source.read_named(identifier, types, &mut wanted)?;
                push_taken(&mut message, identifier, &mut wanted)?;
                inputs.push((input, wanted));
            }
            (None, _) => {
                room.read(source.len_to_read(identifier))?;
                source.push_value(&mut message, identifier, types)?;
            }
        }
        message.text("\n");
    }
    message.text("\"@signature-params\": ");
    message.text_with(&listed.text, listed.parts());
    if !message.before_body().is_ascii() {
        return Err("what it covers is not ASCII".into());
    }
    Ok(message)
}

impl<'m> Source<'m> {
    pub(super) fn headers(self) -> &'m HeaderMap {
        match self {
            Self::Request(head) => head.headers,
            Self::Response { headers, .. } => headers,
        }
    }

    /// Returns how much is gone through for the value of a component: of what can be long, all.
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
    ) -> Result<(Option<&'m Head<'m>>, &'m HeaderMap), Why> {
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
    ) -> Result<(), Why> {
        match (&identifier.name, self.source(identifier)?) {
            (Name::QueryParam, (Some(head), _)) => {
                query::params(head.target.query().unwrap_or_default(), wanted)
            }
            (Name::Field(name), (_, headers)) => {
                let value = joined(headers, name)?.ok_or_else(|| absent(name))?;
                match field_type(name, types) {
                    Some(FieldType::Dictionary) | None => read_members(&value, wanted),
                    Some(_) => Err(format!("{identifier}: the field is not a dictionary").into()),
                }
            }
            _ => Err(foreign(identifier)),
        }
    }

    /// Appends the value of a component. One of the request that a response answers is no part of
    /// that response.
    pub(super) fn push_value(
        self,
        to: &mut Message,
        identifier: &Identifier<'_>,
        types: &FieldTypes,
    ) -> Result<(), Why> {
        if let Some(key) = identifier.key() {
            let mut wanted = Wanted::new([key]);
            self.read_named(identifier, types, &mut wanted)?;
            return push_taken(to, identifier, &mut wanted);
        }
        let (head, headers) = self.source(identifier)?;
        push_own(to, identifier, |to| match (head, self, &identifier.name) {
            (_, _, Name::Field(name)) => push_field_value(to, headers, name, identifier, types),
            (None, Self::Response { status, .. }, Name::Status) => {
                to.text(status.as_str());
                Ok(())
            }
            (Some(head), _, name) if *name != Name::Status => push_derived(to, head, identifier),
            _ => Err(foreign(identifier)),
        })
    }
}

fn foreign(identifier: &Identifier<'_>) -> Why {
    format!("{identifier} is not a part of the message that is signed").into()
}

/// Appends a component: what is of another message covers nothing of this one.
fn push_own(
    to: &mut Message,
    identifier: &Identifier<'_>,
    push: impl FnOnce(&mut Message) -> Result<(), Why>,
) -> Result<(), Why> {
    if identifier.req {
        to.of_another(push)
    } else {
        push(to)
    }
}

/// Appends one of the values that were wanted of an input.
fn push_taken(
    to: &mut Message,
    identifier: &Identifier<'_>,
    wanted: &mut Wanted<'_>,
) -> Result<(), Why> {
    let value = identifier.key().and_then(|key| wanted.take(key));
    push_own(to, identifier, |to| {
        match (&identifier.name, &identifier.form, value) {
            (_, Form::Param(name), Some(value)) => to.query_param(name, &value),
            (Name::Field(name), Form::Member(key), Some(value)) => {
                let member = (name.clone(), key.as_ref().into());
                to.part(Part::Member(member.into()), value);
            }
            (_, Form::Param(name), None) => return Err(query::absent(name)),
            _ => return Err(format!("{identifier}: the field has no such member").into()),
        }
        Ok(())
    })
}

fn field_type(name: &HeaderName, types: &FieldTypes) -> Option<FieldType> {
    let declared = types.iter().find(|(known, _)| known == name);
    declared.map_or_else(|| registered(name.as_str()), |(_, kind)| Some(*kind))
}

fn push_derived(to: &mut Message, head: &Head<'_>, identifier: &Identifier<'_>) -> Result<(), Why> {
    let target = &head.target;
    match &identifier.name {
        Name::Method => to.part(Part::Method, head.method.as_str()),
        Name::Authority => to.part(Part::Authority, authority(head)?),
        Name::Scheme => to.text(&*scheme(head)?),
        Name::Path => to.part(Part::Path, path(head)?),
        Name::Query => {
            to.text("?");
            to.part(Part::Query, target.query().unwrap_or_default());
        }
        Name::TargetUri => {
            path(head)?;
            let (scheme, authority) = (scheme(head)?, authority(head)?);
            to.text(&*scheme);
            to.text("://");
            to.part(Part::Authority, authority);
            to.path_and_query(target.path(), target.query());
        }
        Name::RequestTarget => match target.absolute_form {
            // Only the origin form: the other forms (RFC 9112, section 3.2) name more, or no path.
            None if target.path().starts_with('/') => {
                to.path_and_query(target.path(), target.query());
            }
            None => to.text(target.path_and_query.as_str()),
            Some(uri) => to.text(uri.to_string()),
        },
        // A parameter of the query is read by its name.
        Name::Status | Name::Field(_) | Name::QueryParam => {}
    }
    Ok(())
}

fn authority<'h>(head: &'h Head<'_>) -> Result<&'h str, Why> {
    Ok(head.target.named_authority()?)
}

fn scheme<'h>(head: &'h Head<'_>) -> Result<Cow<'h, str>, Why> {
    let scheme = head.target.scheme.map(Scheme::as_str);
    let scheme = scheme.ok_or(
        "it is not known whether this is `https`: a verifier needs a public origin, and a signer the \
         whole URI",
    )?;
    Ok(if scheme.bytes().any(|b| b.is_ascii_uppercase()) {
        scheme.to_ascii_lowercase().into()
    } else {
        scheme.into()
    })
}

/// `*` (RFC 9110, section 7.1) names no resource, and would be signed like `/`.
fn path<'h>(head: &'h Head<'_>) -> Result<&'h str, Why> {
    let path = head.target.path();
    if path.starts_with('/') {
        Ok(path)
    } else {
        Err("the target has no path".into())
    }
}

fn push_field_value(
    to: &mut Message,
    headers: &HeaderMap,
    name: &HeaderName,
    identifier: &Identifier<'_>,
    types: &FieldTypes,
) -> Result<(), Why> {
    if let Form::Binary = identifier.form {
        let lines = headers.get_all(name).iter();
        if !headers.contains_key(name) {
            return Err(absent(name));
        }
        to.byte_sequences(name.clone(), lines.map(|line| line.as_bytes().trim_ascii()));
        return Ok(());
    }
    let mut value = joined(headers, name)?.ok_or_else(|| absent(name))?;
    if let Form::Structured = identifier.form {
        let kind = field_type(name, types).ok_or_else(|| {
            format!(
                "{identifier}: it is not known what kind of structured field this is; declare it \
                 with `structured_field`"
            )
        })?;
        let mut strict = String::new();
        push_field(&mut strict, &value, kind)?;
        value = strict.into();
    }
    to.part(Part::Header(name.clone()), &*value);
    Ok(())
}

fn absent(name: &HeaderName) -> Why {
    format!("it covers `{name}`, which is not there").into()
}
