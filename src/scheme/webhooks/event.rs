//! Members of a covered JSON body: the event id, and what a challenge is made of.

use std::{borrow::Cow, fmt, marker::PhantomData};

use serde::de::{
    Deserialize, DeserializeOwned, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor,
};
use serde_json::Value;

use super::Parameters;
use crate::{
    nonce::NonceKind,
    rejection::{Rejection, malformed},
};

/// The greatest length of an event id, in bytes.
const MAX_ID: usize = 256;

/// Takes the event id from this member of the body. In a body that is no JSON object, or has no such
/// member, there is none.
pub(super) fn read_event_id(
    parameters: &mut Parameters<'_>,
    body: &[u8],
    name: &str,
) -> Result<(), Rejection> {
    match member(body, name)? {
        None => Ok(()),
        Some(Value::String(id)) if (1..=MAX_ID).contains(&id.len()) => {
            parameters.nonce = Some((NonceKind::Event, Cow::Owned(id.into_bytes())));
            Ok(())
        }
        Some(_) => Err(malformed(format!(
            "`{name}` of the body is not a string of 1 to {MAX_ID} bytes"
        ))),
    }
}

/// Takes the event id from the first event of a body that is a JSON array of objects: the member of the
/// first of these names, and with it the others, without which it is not unique. In any other body,
/// there is none.
pub(super) fn read_first_event_id(
    parameters: &mut Parameters<'_>,
    body: &[u8],
    names: &[&str],
) -> Result<(), Rejection> {
    let events: Vec<Object> = serde_json::from_slice(body).unwrap_or_default();
    let Some(mut event) = events.into_iter().next() else {
        return Ok(());
    };
    let Some(name) = names.first().filter(|name| event.has(name)) else {
        return Ok(());
    };
    let members = names.iter().map(|name| match event.take(name) {
        None if event.has(name) => None,
        None => Some(Value::Null),
        Some(value) => (value.is_u64() || value.is_string()).then_some(value),
    });
    let id: Option<Vec<_>> = members.collect();
    let id = id.map(|members| Value::from(members).to_string());
    match id.filter(|id| id.len() <= MAX_ID) {
        Some(id) => {
            parameters.nonce = Some((NonceKind::Event, Cow::Owned(id.into_bytes())));
            Ok(())
        }
        None => Err(malformed(format!(
            "`{name}` of the first event, or what stands beside it, is not once a whole number or a \
             string, of {MAX_ID} bytes all together"
        ))),
    }
}

/// The member of this name, of a body that is a JSON object. One that stands there twice could be
/// read in two ways, and is refused.
pub(super) fn member(body: &[u8], name: &str) -> Result<Option<Value>, Rejection> {
    member_as(body, name)
}

/// The same, of this shape; one of another shape is none.
pub(super) fn member_as<T: DeserializeOwned>(
    body: &[u8],
    name: &str,
) -> Result<Option<T>, Rejection> {
    let mut json = serde_json::Deserializer::from_slice(body);
    let found = json.deserialize_map(Member(name, PhantomData));
    match found {
        Ok(found) if json.end().is_ok() => match found {
            Found::Once(value) => Ok(Some(value)),
            Found::Never => Ok(None),
            Found::Often => Err(malformed(format!("the body has `{name}` twice"))),
        },
        _ => Ok(None),
    }
}

/// Reads the value of the member of this name.
struct Member<'n, T>(&'n str, PhantomData<T>);

enum Found<T> {
    Never,
    Once(T),
    Often,
}

impl<'de, T: Deserialize<'de>> Visitor<'de> for Member<'_, T> {
    type Value = Found<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Found<T>, A::Error> {
        let mut found = Found::Never;
        while let Some(is_it) = map.next_key_seed(Is(self.0))? {
            if is_it {
                let value = map.next_value()?;
                found = match found {
                    Found::Never => Found::Once(value),
                    Found::Once(_) | Found::Often => Found::Often,
                };
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }
}

/// Whether a string is this one: compared where it stands, and not copied.
struct Is<'n>(&'n str);

impl<'de> DeserializeSeed<'de> for Is<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Is<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E>(self, name: &str) -> Result<bool, E> {
        Ok(name == self.0)
    }
}

/// An object with all of its members, also with those of one name.
pub(super) struct Object(Vec<(String, Value)>);

impl Object {
    fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(key, _)| key == name)
    }

    /// The member of this name, if it stands there once.
    pub(super) fn take(&mut self, name: &str) -> Option<Value> {
        let mut of_name = self.0.iter_mut().filter(|(key, _)| key == name);
        let value = of_name.next().map(|(_, value)| value.take());
        value.filter(|_| of_name.next().is_none())
    }
}

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(AllMembers)
    }
}

struct AllMembers;

impl<'de> Visitor<'de> for AllMembers {
    type Value = Object;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = map.next_entry()? {
            members.push(member);
        }
        Ok(Object(members))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &str) -> Result<Option<Value>, ()> {
        member(body.as_bytes(), "id").map_err(|_| ())
    }

    #[test]
    fn a_member_is_found_at_the_top_of_an_object_alone() {
        let id = Some(Value::from("evt_1"));
        assert_eq!(read(r#"{"a":{"id":"x"},"id":"evt_1"}"#), Ok(id.clone()));
        assert_eq!(read(r#"{"i\u0064":"evt_1"}"#), Ok(id));
        for body in [
            "",
            "{}",
            "[]",
            r#"[{"id":"evt_1"}]"#,
            r#""id""#,
            "null",
            r#"{"a":{"id":"x"}}"#,
            r#"{"ID":"x"}"#,
        ] {
            assert_eq!(read(body), Ok(None), "{body}");
        }
    }

    #[test]
    fn a_member_that_stands_there_twice_is_refused_however_it_is_written() {
        for body in [
            r#"{"id":"1","id":"1"}"#,
            r#"{"id":"1","id":2}"#,
            r#"{"id":"1","i\u0064":"2"}"#,
        ] {
            assert_eq!(read(body), Err(()), "{body}");
        }
    }

    #[test]
    fn what_is_no_json_has_no_member() {
        for body in [
            r#"{"id":"1"} x"#,
            r#"{"id":"1""#,
            r#"{"id":'1'}"#,
            r#"{"id":"1",}"#,
            "\u{feff}{\"id\":\"1\"}",
            "id=1",
        ] {
            assert_eq!(read(body), Ok(None), "{body}");
        }
        assert_eq!(member(b"{\"id\":\"\xff\"}", "id").ok(), Some(None));
        let deep = format!(r#"{{"id":{}1{}}}"#, "[".repeat(1000), "]".repeat(1000));
        assert_eq!(read(&deep), Ok(None), "too deep to be read");
    }
}
