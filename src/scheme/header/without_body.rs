//! How a format that signs JSON signs a request without a body.

use super::{
    element::Element,
    part::{Part, refuse},
};
use crate::{error::ConfigError, message::EmptyForm};

/// How a request without a body is signed by a format that signs the body as JSON: see
/// [`HeaderSchemeBuilder::without_body`](crate::scheme::HeaderSchemeBuilder::without_body).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WithoutBody {
    /// As an empty text: nothing, or `""` where the body is a member of an object.
    EmptyText,
    /// As `null`: in a string, as `"null"`.
    Null,
    /// The member of the object that would be the body is left out.
    LeftOut,
}

/// The elements of a message that has one body: in them, the body may be missing.
pub(super) fn allow(
    parts: &[Part],
    elements: &mut [Element],
    without: WithoutBody,
) -> Result<(), ConfigError> {
    let body = elements
        .iter()
        .position(|element| element.body_form().is_some());
    let Some(at) = body.filter(|at| elements.get(*at) != Some(&Element::Body)) else {
        return Err(refuse(
            "`without_body` is for a body that is signed as JSON; without it, an empty body is \
             signed as the empty text that it is",
        ));
    };
    let member = parts.iter().find_map(|part| match part {
        Part::Json(object) => object.body_member(),
        _ => None,
    });
    let Some(element) = elements.get(at).cloned() else {
        return Ok(());
    };
    let mut empty = EmptyForm {
        signed: Vec::new(),
        before: Vec::new(),
        after: Vec::new(),
    };
    match (without, &element, &member) {
        (WithoutBody::EmptyText, Element::Quoted(form, _), _) => empty.signed = form.string(""),
        (WithoutBody::EmptyText, Element::Document(form), Some(_)) => {
            empty.signed = form.string("");
        }
        (WithoutBody::EmptyText, ..) => {}
        (WithoutBody::Null, Element::Quoted(form, _), _) => empty.signed = form.string("null"),
        (WithoutBody::Null, ..) => empty.signed = b"null".to_vec(),
        (WithoutBody::LeftOut, _, Some((name, comma))) => {
            let comma = comma.as_bytes();
            let around = elements.get_mut(at.saturating_sub(1)..).unwrap_or_default();
            let [Element::Text(before), _, Element::Text(after), ..] = around else {
                return Err(refuse("the member of the body cannot be left out"));
            };
            leave_out(before, after, name, comma, &mut empty);
        }
        (WithoutBody::LeftOut, _, None) => {
            return Err(refuse("only a member of a JSON object can be left out"));
        }
    }
    if let Some(place) = elements.get_mut(at) {
        *place = Element::Optional(Box::new(element), empty);
    }
    Ok(())
}

/// Moves the name of the member, and the comma beside it, from the texts around the body into the
/// form of the body.
fn leave_out(
    before: &mut Vec<u8>,
    after: &mut Vec<u8>,
    name: &[u8],
    comma: &[u8],
    empty: &mut EmptyForm,
) {
    let mut from = before.len() - name.len();
    if after.starts_with(comma) {
        empty.after = after.drain(..comma.len()).collect();
    } else if before.get(..from).is_some_and(|rest| rest.ends_with(comma)) {
        from -= comma.len();
    }
    empty.before = before.split_off(from);
}
