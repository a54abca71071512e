//! Reads a value at one place of a JSON document, in a way that no other reader can read differently.

use std::{fmt, iter::Peekable, str::Split};

use serde::de::{
    Deserialize, DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor,
};
use serde_json::Value;

/// Holds a string, number, boolean or `null`; `None` stands for an object or array. An object or array
/// is skipped without recursion, because reading it as a [`Value`] fails if it is nested too deep.
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
