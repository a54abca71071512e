//! Members of a covered JSON body: the event id, and what a challenge is made of.

use std::{borrow::Cow, fmt, marker::PhantomData};

use serde::de::{
    Deserialize, DeserializeOwned, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess,
    Visitor,
};
use serde_json::{Value, de::SliceRead};

use crate::{
    error::{Fault, malformed},
    message::{DigestAlgorithm, Encoding, RunningDigest, json::Leaf},
    once::NonceKind,
    proof::Parameters,
};

/// The greatest length of an event id, in bytes.
const MAX_ID: usize = 256;

/// Takes the event id from this member of the body. A body that begins as no JSON object does, or
/// has no such member, has no event id.
pub(super) fn read_event_id(
    parameters: &mut Parameters<'_>,
    body: &[u8],
    name: &str,
) -> Result<(), Fault> {
    let members = read_whole(body, b'{', |json| json.deserialize_map(Members::of([name])))?;
    match members {
        None | Some([Found::Never]) => Ok(()),
        Some([Found::Once(Leaf(Some(Value::String(id))))]) if (1..=MAX_ID).contains(&id.len()) => {
            parameters.nonce = Some((NonceKind::Event, Cow::Owned(id.into_bytes())));
            Ok(())
        }
        Some(_) => Err(malformed(format!(
            "`{name}` of the body is not, once, a string of 1 to {MAX_ID} bytes"
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

/// Takes the event ids of all events of a body that is a JSON array, as a set: of each event the
/// member of the first of these names, and with it the others, without which it is not unique.
///
/// A body that begins as no array does has no event id. Neither has one in which an event lacks the
/// first member: were it known by the others, it could be lost.
pub(super) fn read_event_ids<const N: usize>(
    parameters: &mut Parameters<'_>,
    body: &[u8],
    names: [&str; N],
) -> Result<(), Fault> {
    let Some(events) = read_whole(body, b'[', |json| json.deserialize_seq(Each(names)))? else {
        return Ok(());
    };
    let mut ids = Vec::with_capacity(events.len());
    let mut lacks_one = false;
    for members in events {
        match event_id(members, &names)? {
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
        digest.update(&(id.len() as u64).to_be_bytes());
        digest.update(id.as_bytes());
    }
    Encoding::Hex.encode(digest.finish().as_ref())
}

/// The id of one event, with these members; `None` if it lacks the first.
fn event_id<const N: usize>(
    members: [Found<Leaf>; N],
    names: &[&str; N],
) -> Result<Option<String>, Fault> {
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

/// The member of this name, of a body that is a JSON object. One that stands there twice could be
/// read in two ways, and is refused.
pub(super) fn member(body: &[u8], name: &str) -> Result<Option<Value>, Fault> {
    member_as(body, name)
}

/// The same, of this shape; one of another shape is none.
pub(super) fn member_as<T: DeserializeOwned>(body: &[u8], name: &str) -> Result<Option<T>, Fault> {
    let mut json = serde_json::Deserializer::from_slice(body);
    let found = json.deserialize_map(Members::of([name]));
    match found.and_then(|[found]| json.end().map(|()| found)) {
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
struct Members<'n, T, const N: usize> {
    names: [&'n str; N],
    values: PhantomData<T>,
}

impl<'n, T, const N: usize> Members<'n, T, N> {
    fn of(names: [&'n str; N]) -> Self {
        Self {
            names,
            values: PhantomData,
        }
    }
}

impl<'de, T: Deserialize<'de>, const N: usize> Visitor<'de> for Members<'_, T, N> {
    type Value = [Found<T>; N];

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = [const { Found::Never }; N];
        while let Some(place) = map.next_key_seed(Place(&self.names))? {
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

impl<'de, T: Deserialize<'de>, const N: usize> DeserializeSeed<'de> for Members<'_, T, N> {
    type Value = [Found<T>; N];

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

/// Reads a name, and says which of these it is: compared where it stands, and not copied.
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

/// Reads the members of these names of each element of an array.
struct Each<'n, const N: usize>([&'n str; N]);

impl<'de, const N: usize> Visitor<'de> for Each<'_, N> {
    type Value = Vec<[Found<Leaf>; N]>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<Self::Value, A::Error> {
        let mut events = Vec::new();
        while let Some(event) = array.next_element_seed(Members::of(self.0))? {
            events.push(event);
        }
        Ok(events)
    }
}

/// An object with all of its members, also with those of one name.
pub(super) struct Object(Vec<(String, Value)>);

impl Object {
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

    /// Deeper than `serde_json` reads a value.
    fn nested(body: &str) -> String {
        body.replace('…', &format!("{}1{}", "[".repeat(200), "]".repeat(200)))
    }

    fn read_id(
        body: &str,
        read: impl Fn(&mut Parameters<'_>, &[u8]) -> Result<(), Fault>,
    ) -> Result<Option<String>, ()> {
        let mut parameters = Parameters {
            delivery_id: None,
            key_id: "key".into(),
            signed_at: None,
            expires_at: None,
            nonce: None,
        };
        read(&mut parameters, body.as_bytes()).map_err(|_| ())?;
        let nonce = parameters.nonce.map(|(_, id)| id.into_owned());
        Ok(nonce.map(|id| String::from_utf8(id).unwrap()))
    }

    /// Else what is nested would choose by what the event is told from others.
    #[test]
    fn a50_an_id_is_read_or_refused_however_deep_its_neighbours_are() {
        let read = |body: &str| read_id(&nested(body), |to, body| read_event_id(to, body, "id"));
        for body in [r#"{"x":…,"id":"1"}"#, r#"{"id":"1","x":[{"id":…}]}"#] {
            assert_eq!(read(body), Ok(Some("1".into())), "{body}");
        }
        for body in [
            r#"{"id":…}"#,
            r#"{"id":"1","id":…}"#,
            r#"{"id":…,"id":"1"}"#,
        ] {
            assert_eq!(read(body), Err(()), "{body}");
        }
        assert_eq!(
            read_all(&nested(r#"[{"x":…,"id":7}]"#)),
            Ok(Some("[7,null]".into()))
        );
    }

    /// Readers differ in how they take these. No reading of them is an event without an id.
    #[test]
    fn a50_an_id_that_cannot_be_read_is_no_missing_id() {
        let read = |body: &[u8]| {
            let body = body.to_vec();
            read_id("", move |to, _| read_event_id(to, &body, "id"))
        };
        for body in [
            r#"{"id":1e999}"#,
            r#"{"id":-1e999,"x":1}"#,
            r#"{"id":"\ud800"}"#,
            r#"{"id":"\udc00\ud800"}"#,
            r#"{"\ud800":1,"id":"1"}"#,
            r#"{"id":"1","x":NaN}"#,
            r#"{"id":"1","x":01}"#,
            r#"{"id":"1","x":'y'}"#,
            r#"{"id":"1",}"#,
            r#"{"id":"1"} x"#,
            r#"{"id":"1"}{"id":"2"}"#,
            r#"{"id":"1""#,
            r#"{id:"1"}"#,
            "{\"id\":\"a\nb\"}",
            "{/**/\"id\":\"1\"}",
            " \r\n\t{\"id\":\"1\"",
            "\u{feff}{\"id\":\"1\"}",
            "\u{feff} {}",
        ] {
            assert_eq!(read(body.as_bytes()), Err(()), "{body}");
        }
        assert_eq!(read(b"{\"id\":\"\xff\"}"), Err(()));
        // Neighbours say nothing of the id.
        for body in [
            &br#"{"x":1e999,"id":"1"}"#[..],
            br#"{"x":{"\ud800":"\ud800"},"id":"1"}"#,
            b"{\"x\":\"\xff\",\"id\":\"1\"}",
        ] {
            assert_eq!(read(body), Ok(Some("1".into())), "{body:?}");
        }
        for body in [
            "",
            "null",
            "[]",
            "[{\"id\":\"1\"}]",
            "\"{\"",
            "id=1&x={",
            "\u{feff}",
        ] {
            assert_eq!(read(body.as_bytes()), Ok(None), "{body}");
        }
    }

    /// A reader for which everything unreadable is an event without an id.
    #[test]
    fn a50_twin_a_reader_that_passes_over_what_it_cannot_read_is_found() {
        let naive = |body: &str| {
            let value: Option<Value> = serde_json::from_str(body).ok();
            value.and_then(|value| Some(value.get("id")?.as_str()?.to_owned()))
        };
        assert_eq!(naive(r#"{"id":"1"}"#), Some("1".into()));
        for body in [
            r#"{"id":1e999}"#,
            r#"{"id":"\ud800"}"#,
            r#"{"x":1e999,"id":"1"}"#,
        ] {
            assert_eq!(naive(body), None, "{body}");
        }
    }

    /// One that reads whole values finds no id beside what is too deep for it.
    #[test]
    fn a50_twin_a_reader_of_whole_values_is_found() {
        let naive = |body: &str| member(nested(body).as_bytes(), "id").map_err(|_| ());
        for body in [r#"{"id":…}"#, r#"{"id":"1","id":…}"#] {
            assert_eq!(naive(body), Ok(None), "{body}");
        }
    }

    fn read_all(body: &str) -> Result<Option<String>, ()> {
        read_id(body, |to, body| read_event_ids(to, body, ["id", "of"]))
    }

    #[test]
    fn the_events_of_an_array_count_as_a_set() {
        for (body, id) in [
            (r#"[{"of":"a","id":7,"x":{"id":8}}]"#, Some(r#"[7,"a"]"#)),
            (r#"[{"i\u0064":7},{"id":7}]"#, Some("[7,null]")),
            (r#"[{"of":"a"},{"id":8}]"#, None),
            (r#"[{"id":8},{"of":"a"}]"#, None),
            (r#"{"id":7}"#, None),
            ("[]", None),
            ("", None),
        ] {
            assert_eq!(read_all(body), Ok(id.map(Into::into)), "{body}");
        }
        let of = |body: &str| read_all(body).unwrap().unwrap();
        let two = of(r#"[{"id":1},{"id":2}]"#);
        for same in [
            r#"[{"id":2},{"id":1}]"#,
            r#"[{"id":1},{"id":2,"x":1},{"id":1}]"#,
        ] {
            assert_eq!(of(same), two, "{same}");
        }
        for other in [
            r#"[{"id":1}]"#,
            r#"[{"id":1},{"id":3}]"#,
            r#"[{"id":1},{"id":2},{"id":3}]"#,
            r#"[{"id":1},{"id":"2"}]"#,
            r#"[{"id":1},{"id":2,"of":1}]"#,
            r#"[{"id":12}]"#,
        ] {
            assert_ne!(of(other), two, "{other}");
        }
    }

    #[test]
    fn an_event_whose_id_can_be_read_in_two_ways_is_refused() {
        let long = format!(r#"[{{"id":"{}"}}]"#, "x".repeat(MAX_ID));
        for body in [
            r#"[{"id":7,"id":7}]"#,
            r#"[{"id":7,"i\u0064":8}]"#,
            r#"[{"id":7,"of":1,"of":2}]"#,
            r#"[{"id":-7}]"#,
            r#"[{"id":null}]"#,
            r#"[{"id":7,"of":[]}]"#,
            &nested(r#"[{"id":7,"of":…}]"#),
            &nested(r#"[{"id":7,"id":…}]"#),
            &long,
            r#"[7,{"id":8}]"#,
            r#"[{"id":8},7]"#,
            r#"[{"id":8},{"id":-7}]"#,
            r#"[{"of":1},{"id":7,"id":7}]"#,
            r#"[{"id":7}] x"#,
            r#"[{"id":7},"#,
            r#"[{"id":1e999}]"#,
            r#"[{"id":7},{"x":NaN}]"#,
            r#"[{"id":"\ud800"}]"#,
        ] {
            assert_eq!(read_all(body), Err(()), "{body}");
        }
    }
}
