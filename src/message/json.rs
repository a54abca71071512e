//! Reads a JSON document, or a value at one place of it, in a way that no other reader can read
//! differently.

use std::{borrow::Cow, fmt, iter::Peekable, str::Split};

use memchr::{memchr2, memchr3};
use serde::de::{
    Deserialize, DeserializeOwned, DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess,
    SeqAccess, Visitor,
};
use serde_json::Value;

/// Reads a document as this type.
///
/// Fails if an object of the document, at any depth, has two members of one name. `serde` refuses
/// them for the fields of a struct alone: a map takes the last one, and other readers take the
/// first.
pub(crate) fn read<T: DeserializeOwned>(document: &[u8]) -> Result<T, serde_json::Error> {
    let read = || {
        let value = serde_json::from_slice(document)?;
        check_names(document)?;
        Ok(value)
    };
    read().map_err(|error: serde_json::Error| {
        // `serde_json` gives its errors no finer kinds.
        let text = error.to_string();
        if !["surrogate", "end of hex escape"]
            .iter()
            .any(|said| text.contains(said))
        {
            return error;
        }
        let (line, column) = (error.line(), error.column());
        Error::custom(format_args!(
            "line {line}, column {column}: `\\u` names one half of a surrogate pair without the \
             other, which no text can hold; the sender must write both halves, or U+FFFD"
        ))
    })
}

/// Refuses a name that appears twice in one object. The text is known to be JSON, so that only
/// quotes and braces must be looked for, and nothing is read by recursion.
fn check_names(json: &[u8]) -> Result<(), serde_json::Error> {
    // The names in the objects that are open, and where those of each object begin.
    let mut names: Vec<Cow<'_, [u8]>> = Vec::new();
    let mut objects = Vec::new();
    let mut rest = json;
    while let Some(at) = memchr3(b'"', b'{', b'}', rest) {
        let (_, found) = rest.split_at_checked(at).unwrap_or_default();
        rest = found.get(1..).unwrap_or_default();
        match found.first() {
            Some(b'{') => objects.push(names.len()),
            Some(b'}') => {
                let start = objects.pop().unwrap_or(0);
                let of_object = names.get_mut(start..).unwrap_or_default();
                of_object.sort_unstable();
                let mut neighbours = of_object.iter().zip(of_object.iter().skip(1));
                if let Some((name, _)) = neighbours.find(|(one, next)| one == next) {
                    let name = String::from_utf8_lossy(name);
                    return Err(Error::custom(format_args!("{name:?} appears twice")));
                }
                names.truncate(start);
            }
            _ => {
                let (string, after) = found
                    .split_at_checked(string_len(found))
                    .unwrap_or_default();
                rest = after;
                if after.trim_ascii_start().starts_with(b":") {
                    names.push(unescape(string)?);
                }
            }
        }
    }
    Ok(())
}

/// Returns the length of the string at the beginning of this text, with its quotes.
fn string_len(text: &[u8]) -> usize {
    let mut len = 1;
    while let Some(at) = memchr2(b'"', b'\\', text.get(len..).unwrap_or_default()) {
        len += at + 1;
        if text.get(len - 1) == Some(&b'"') {
            return len;
        }
        len += 1;
    }
    text.len()
}

fn unescape(string: &[u8]) -> Result<Cow<'_, [u8]>, serde_json::Error> {
    if string.contains(&b'\\') {
        return serde_json::from_slice(string).map(|name: String| Cow::Owned(name.into_bytes()));
    }
    let quotes = string
        .strip_prefix(b"\"")
        .and_then(|s| s.strip_suffix(b"\""));
    Ok(Cow::Borrowed(quotes.unwrap_or(string)))
}

/// Holds a string, number, boolean or `null`; `None` is an object or array. An object or
/// array is skipped without recursion, because reading it as a [`Value`] fails if it is nested too
/// deep.
pub(crate) struct Leaf(pub(crate) Option<Value>);

impl<'de> Deserialize<'de> for Leaf {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(LeafVisitor)
    }
}

struct LeafVisitor;

impl<'de> Visitor<'de> for LeafVisitor {
    type Value = Leaf;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Leaf, E> {
        Ok(Leaf(Some(Value::Null)))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Leaf, E> {
        Ok(Leaf(Some(value.into())))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Leaf, E> {
        Ok(Leaf(Some(value.into())))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Leaf, E> {
        Ok(Leaf(Some(value.into())))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Leaf, E> {
        Ok(Leaf(Some(value.into())))
    }

    fn visit_str<E>(self, value: &str) -> Result<Leaf, E> {
        Ok(Leaf(Some(value.into())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<Leaf, A::Error> {
        while array.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Leaf(None))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Leaf, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Leaf(None))
    }
}

/// Returns the leaf at a JSON pointer (RFC 6901), if there is one.
///
/// Fails if a name of the pointer appears twice in an object on the way, because readers differ in
/// which of the two members they take.
pub(crate) fn leaf_at(body: &[u8], pointer: &str) -> Result<Option<Value>, serde_json::Error> {
    let mut names = pointer.split('/').peekable();
    if names.next().is_some_and(|before| !before.is_empty()) {
        return Ok(None);
    }
    let mut json = serde_json::Deserializer::from_slice(body);
    let found = At(names).deserialize(&mut json)?;
    json.end()?;
    Ok(found)
}

/// Returns whether a document names a resource so at a JSON pointer.
///
/// A string equals exactly its characters, and an integer its canonical decimal text alone. Anything
/// else names nothing: another type, and a name of the pointer that appears twice.
#[cfg(feature = "axum")]
pub(crate) fn names(document: &[u8], pointer: &str, resource: &str) -> bool {
    leaf_at(document, pointer).is_ok_and(|leaf| leaf.is_some_and(|leaf| is_named(&leaf, resource)))
}

/// Returns whether a value is this name of a resource.
pub(crate) fn is_named(value: &Value, resource: &str) -> bool {
    match value {
        Value::String(name) => !name.is_empty() && name == resource,
        Value::Number(number) => {
            // As it is written by us, whatever digits were sent.
            let canonical = number.as_u64().map(|number| number.to_string());
            let canonical = canonical.or_else(|| number.as_i64().map(|number| number.to_string()));
            canonical.is_some_and(|canonical| canonical == resource)
        }
        _ => false,
    }
}

/// Follows these names, and skips everything else.
struct At<'p>(Peekable<Split<'p, char>>);

impl<'de> DeserializeSeed<'de> for At<'_> {
    type Value = Option<Value>;

    fn deserialize<D: Deserializer<'de>>(
        mut self,
        deserializer: D,
    ) -> Result<Self::Value, D::Error> {
        if self.0.peek().is_none() {
            return Leaf::deserialize(deserializer).map(|leaf| leaf.0);
        }
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for At<'_> {
    type Value = Option<Value>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_str<E>(self, _: &str) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut array: A) -> Result<Self::Value, A::Error> {
        let name = self.0.next().unwrap_or_default();
        // RFC 6901 allows neither a sign nor leading zeros.
        let index = name.parse::<usize>().ok();
        let index = index.filter(|index| index.to_string() == name);
        for _ in 0..index.unwrap_or(0) {
            if array.next_element::<IgnoredAny>()?.is_none() {
                return Ok(None);
            }
        }
        let found = match index {
            Some(_) => array.next_element_seed(self)?.flatten(),
            None => None,
        };
        while array.next_element::<IgnoredAny>()?.is_some() {}
        Ok(found)
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<Self::Value, A::Error> {
        let name = self.0.next().unwrap_or_default();
        let name = name.replace("~1", "/").replace("~0", "~");
        let mut found = None;
        while let Some(key) = map.next_key::<String>()? {
            if key != name {
                map.next_value::<IgnoredAny>()?;
            } else if found.is_none() {
                found = Some(map.next_value_seed(At(self.0.clone()))?);
            } else {
                return Err(A::Error::custom(format_args!("`{name}` appears twice")));
            }
        }
        Ok(found.flatten())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn twice(body: &[u8]) -> bool {
        read::<IgnoredAny>(body).is_err()
    }

    #[test]
    fn a50_a_name_that_appears_twice_in_one_object_is_refused_at_any_depth() {
        for body in [
            r#"{"a":1,"a":2}"#,
            r#"{"a":1,"a":1}"#,
            r#"{"":1,"":2}"#,
            r#"{"a" : 1 , "a" : 2}"#,
            r#"{"a":1,"b":2,"a":3}"#,
            r#"{"a":1,"\u0061":2}"#,
            r#"{"\"":1,"\u0022":2}"#,
            r#"{"é":1,"\u00e9":2}"#,
            r#"{"\ud83d\ude00":1,"😀":2}"#,
            r#"{"x":{"a":1,"a":2}}"#,
            r#"[[{"a":1,"a":2}]]"#,
            r#"{"a":{"a":{}},"b":[],"a":2}"#,
            r#"{"a":[{"b":1},{"b":1}],"a":2}"#,
            // One reader refuses the name, and another replaces what it cannot read.
            r#"{"x":{"\ud800":1}}"#,
        ] {
            assert!(twice(body.as_bytes()), "{body}");
        }
        assert!(twice(b"{\"x\":{\"\xff\":1,\"\xff\":2}}"));
        let deep = |inner: &str| format!("{}{inner}{}", "[".repeat(90_000), "]".repeat(90_000));
        assert!(twice(deep(r#"{"a":1,"a":2}"#).as_bytes()));
        assert!(!twice(deep(r#"{"a":1,"b":2}"#).as_bytes()));
        let nested = format!("{}1{}", r#"{"a":"#.repeat(90_000), "}".repeat(90_000));
        assert!(!twice(nested.as_bytes()));
    }

    #[test]
    fn a50_what_only_looks_like_a_second_name_is_read() {
        for body in [
            r#"{"a":"a","b":"a"}"#,
            r#"{"a":["a","a"],"b":{"a":{"a":1}}}"#,
            r#"[{"a":1},{"a":1},"a","a"]"#,
            r#"{"a":"\"a\":1,{","b":"}{","c":"\\","d":"\\\""}"#,
            r#"{"a":1,"A":1,"a ":1,"\\u0061":1,"á":1,"a\u0301":1}"#,
            r#""a""#,
            "[]",
            "{}",
            "7",
        ] {
            assert!(!twice(body.as_bytes()), "{body}");
        }
    }

    /// Most readers take the last one.
    #[test]
    fn a50_twin_a_reader_that_takes_the_last_of_two_members_is_found() {
        let body = br#"{"a":1,"a":2}"#;
        let naive: Value = serde_json::from_slice(body).unwrap();
        assert_eq!(naive["a"], 2);
    }

    #[test]
    fn a_pointer_is_followed_as_serde_json_follows_it() {
        let body = r#"{"a":[1,{"b/~":"x"},-2],"":{"":true},"f":1.5,"n":null}"#;
        let value: Value = serde_json::from_str(body).unwrap();
        for pointer in [
            "/a/0",
            "/a/1/b~1~0",
            "/a/2",
            "/a/3",
            "/a/00",
            "/a/+1",
            "/a/-",
            "//",
            "/f",
            "/n",
            "/f/x",
            "a/0",
            "/a/0/0",
            "/z",
        ] {
            let found = leaf_at(body.as_bytes(), pointer).unwrap();
            assert_eq!(found.as_ref(), value.pointer(pointer), "{pointer}");
        }
        for pointer in ["", "/", "/a", "/a/1"] {
            assert_eq!(
                leaf_at(body.as_bytes(), pointer).unwrap(),
                None,
                "{pointer}"
            );
        }
        assert_eq!(leaf_at(b"7", "").unwrap(), Some(7.into()));
    }
}
