//! Members of a covered JSON body: the event id, and what a challenge is made of.

use std::{borrow::Cow, fmt, marker::PhantomData};

use serde::de::{
    Deserialize, DeserializeOwned, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess,
    Visitor,
};
use serde_json::{Value, de::SliceRead};

use crate::{
    error::{Fault, malformed},
    message::{DigestAlgorithm, Encoding, RunningDigest, behind_length, json::Leaf},
    once::NonceKind,
    proof::Parameters,
};

/// The greatest length of an event id, in bytes.
pub(super) const MAX_ID: usize = 256;

/// Takes the event id from this member of the body, by the names that lead to it. A body that begins
/// as no JSON object does, or has no such member, or `null` there, has no event id.
pub(super) fn read_event_id(
    parameters: &mut Parameters<'_>,
    body: &[u8],
    path: &[&str],
) -> Result<(), Fault> {
    let at = At {
        path,
        of_events: None,
    };
    match read_whole(body, b'{', |json| at.deserialize(json))? {
        None | Some(Found::Never) | Some(Found::Once(End::Leaf(Leaf(Some(Value::Null))))) => Ok(()),
        Some(Found::Once(End::Leaf(Leaf(Some(Value::String(id))))))
            if (1..=MAX_ID).contains(&id.len()) =>
        {
            parameters.nonce = Some((NonceKind::Event, Cow::Owned(id.into_bytes())));
            Ok(())
        }
        Some(_) => Err(malformed(format!(
            "`{}` of the body is not, once, a string of 1 to {MAX_ID} bytes",
            path.join(".")
        ))),
    }
}

/// Reads a body that begins with this bracket; `None` if it begins otherwise.
///
/// A body that begins so and cannot be read is refused, because another reader may be less strict,
/// and find an event id in it. The event would then be told from others by something else,
/// unnoticed.
fn read_whole<T>(
    body: &[u8],
    bracket: u8,
    read: impl FnOnce(&mut serde_json::Deserializer<SliceRead<'_>>) -> Result<T, serde_json::Error>,
) -> Result<Option<T>, Fault> {
    let text = body.strip_prefix("\u{feff}".as_bytes()).unwrap_or(body);
    if text.trim_ascii_start().first() != Some(&bracket) {
        return Ok(None);
    }
    let mut json = serde_json::Deserializer::from_slice(body);
    let found = read(&mut json).and_then(|found| json.end().map(|()| found));
    found.map(Some).map_err(|error| {
        malformed(format!(
            "the body begins as JSON, and cannot be read, so that its event id is not known: {error}"
        ))
    })
}

/// Takes the event ids of all events of a body that is a JSON array, or has one in this member, as a
/// set: of each event the member of the first of these names, and with it the others, without which
/// it is not unique.
///
/// A body that begins otherwise has no event id. A body in which an event lacks the first member
/// has none either: if the event were known by its other members, it could be lost.
pub(super) fn read_event_ids(
    parameters: &mut Parameters<'_>,
    body: &[u8],
    within: Option<&str>,
    names: &[&str],
) -> Result<(), Fault> {
    let bracket = if within.is_some() { b'{' } else { b'[' };
    let at = At {
        path: within.as_slice(),
        of_events: Some(names),
    };
    let events = match read_whole(body, bracket, |json| at.deserialize(json))? {
        None | Some(Found::Never | Found::Once(End::Leaf(_))) => return Ok(()),
        Some(Found::Once(End::Events(events))) => events,
        Some(Found::Often) => {
            let name = within.unwrap_or_default();
            return Err(malformed(format!("the body has `{name}` twice")));
        }
    };
    let mut ids = Vec::with_capacity(events.len());
    let mut lacks_one = false;
    for members in events {
        match event_id(members, names)? {
            Some(id) => ids.push(id),
            None => lacks_one = true,
        }
    }
    ids.sort_unstable();
    ids.dedup();
    let id = match &*ids {
        _ if lacks_one => return Ok(()),
        [] => return Ok(()),
        [one] => one.clone().into_bytes(),
        several => digest_of(several).into_bytes(),
    };
    parameters.nonce = Some((NonceKind::Event, Cow::Owned(id)));
    Ok(())
}

/// The digest of a set, which is sorted: each id behind its length.
fn digest_of(ids: &[String]) -> String {
    let mut digest = RunningDigest::new(DigestAlgorithm::Sha256);
    for id in ids {
        behind_length(|bytes| digest.update(bytes), id.as_bytes());
    }
    Encoding::Hex.encode(digest.finish().as_ref())
}

/// The id of one event, with these members; `None` if it lacks the first.
fn event_id(members: Vec<Found<Leaf>>, names: &[&str]) -> Result<Option<String>, Fault> {
    if matches!(members.first(), None | Some(Found::Never)) {
        return Ok(None);
    }
    let members = members.into_iter().map(|member| match member {
        Found::Never => Some(Value::Null),
        Found::Once(Leaf(value)) => value.filter(|value| value.is_u64() || value.is_string()),
        Found::Often => None,
    });
    let id: Option<Vec<_>> = members.collect();
    let id = id.map(|members| Value::from(members).to_string());
    match id.filter(|id| id.len() <= MAX_ID) {
        Some(id) => Ok(Some(id)),
        None => Err(malformed(format!(
            "{names:?} of an event are not each once a whole number or a string, of {MAX_ID} bytes \
             all together"
        ))),
    }
}

/// The member of this name, of a body that is a JSON object. A member that appears more than once
/// could be read in two ways, and is refused.
pub(super) fn member(body: &[u8], name: &str) -> Result<Option<Value>, Fault> {
    member_as(body, name)
}

/// Returns the same member if it has this shape, and `None` if it has another.
pub(super) fn member_as<T: DeserializeOwned>(body: &[u8], name: &str) -> Result<Option<T>, Fault> {
    let mut json = serde_json::Deserializer::from_slice(body);
    let found = json.deserialize_map(Members::of(&[name]));
    let found = found.and_then(|mut found| json.end().map(|()| found.pop()));
    match found.map(|found| found.unwrap_or(Found::Never)) {
        Ok(Found::Once(value)) => Ok(Some(value)),
        Ok(Found::Often) => Err(malformed(format!("the body has `{name}` twice"))),
        Ok(Found::Never) | Err(_) => Ok(None),
    }
}

/// How often an object has a member of one name, and its value.
enum Found<T> {
    Never,
    Once(T),
    Often,
}

/// Reads the values of the members of these names, and passes over all else.
#[derive(Clone, Copy)]
struct Members<'n, T> {
    names: &'n [&'n str],
    values: PhantomData<T>,
}

impl<'n, T> Members<'n, T> {
    fn of(names: &'n [&'n str]) -> Self {
        Self {
            names,
            values: PhantomData,
        }
    }
}

impl<'de, T: Deserialize<'de>> Visitor<'de> for Members<'_, T> {
    type Value = Vec<Found<T>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members: Vec<_> = self.names.iter().map(|_| Found::Never).collect();
        while let Some(place) = map.next_key_seed(Place(self.names))? {
            match place.and_then(|place| members.get_mut(place)) {
                Some(member) => {
                    let value = map.next_value()?;
                    *member = match member {
                        Found::Never => Found::Once(value),
                        Found::Once(_) | Found::Often => Found::Often,
                    };
                }
                None => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(members)
    }
}

impl<'de, T: Deserialize<'de>> DeserializeSeed<'de> for Members<'_, T> {
    type Value = Vec<Found<T>>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

/// Reads a name, and says which of these it is: compared in place, and not copied.
struct Place<'n>(&'n [&'n str]);

impl<'de> DeserializeSeed<'de> for Place<'_> {
    type Value = Option<usize>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Place<'_> {
    type Value = Option<usize>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
        Ok(self.0.iter().position(|known| *known == name))
    }
}

/// Follows names into objects, and reads the value there. A value on the way that is not an object
/// has no such member.
struct At<'n> {
    path: &'n [&'n str],
    /// The names of the members to read of each event, if there is an array of events.
    of_events: Option<&'n [&'n str]>,
}

/// The value at the end of a path.
enum End {
    Leaf(Leaf),
    Events(Vec<Vec<Found<Leaf>>>),
}

impl<'de> DeserializeSeed<'de> for At<'_> {
    type Value = Found<End>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Found<End>, D::Error> {
        if self.path.is_empty() && self.of_events.is_none() {
            return Leaf::deserialize(deserializer).map(|leaf| Found::Once(End::Leaf(leaf)));
        }
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for At<'_> {
    type Value = Found<End>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Found<End>, A::Error> {
        let (names, rest) = self.path.split_at_checked(1).unwrap_or_default();
        let (mut found, mut is_there) = (Found::Never, false);
        while let Some(place) = map.next_key_seed(Place(names))? {
            if place.is_none() {
                map.next_value::<IgnoredAny>()?;
                continue;
            }
            let value = map.next_value_seed(At { path: rest, ..self })?;
            found = if is_there { Found::Often } else { value };
            is_there = true;
        }
        Ok(found)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<Found<End>, A::Error> {
        let Some(names) = self.of_events.filter(|_| self.path.is_empty()) else {
            while array.next_element::<IgnoredAny>()?.is_some() {}
            return Ok(Found::Never);
        };
        let mut events = Vec::new();
        while let Some(event) = array.next_element_seed(Members::of(names))? {
            events.push(event);
        }
        Ok(Found::Once(End::Events(events)))
    }

    fn visit_unit<E>(self) -> Result<Found<End>, E> {
        Ok(Found::Never)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Found<End>, E> {
        Ok(Found::Never)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Found<End>, E> {
        Ok(Found::Never)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Found<End>, E> {
        Ok(Found::Never)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Found<End>, E> {
        Ok(Found::Never)
    }

    fn visit_str<E>(self, _: &str) -> Result<Found<End>, E> {
        Ok(Found::Never)
    }
}

/// An object with all of its members, also with those of one name.
pub(super) struct Object(Vec<(String, Value)>);

impl Object {
    /// Returns the member of this name, if it appears once.
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
