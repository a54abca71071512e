//! The parts of a signed message, as a scheme file names them.

use std::{collections::BTreeMap, fmt};

use countersign::{
    Part,
    scheme::{JsonForm, JsonObject, PythonJson},
};
use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor, value::MapAccessDeserializer},
};

use crate::nearest::nearest;

/// A part of the signed message: a word such as `"body"`, or a table such as `{ text = "v0:" }`.
#[derive(Clone, Debug)]
pub(super) enum PartEntry {
    Word(String),
    Table(PartTable),
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) enum PartTable {
    Text(String),
    Header(String),
    MethodOf(Vec<String>),
    FixedPath(String),
    PathWithout(char),
    Supplied(String),
    CanonicalBody(Form),
    Json(Object),
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Form {
    Jcs,
    Python,
    PythonCompact,
    PythonUnicode,
    PythonCompactUnicode,
}

/// A JSON object that both sides put together.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Object {
    pub(super) form: Form,
    #[serde(default)]
    strings: BTreeMap<String, PartEntry>,
    #[serde(default)]
    values: BTreeMap<String, PartEntry>,
}

impl<'de> Deserialize<'de> for PartEntry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;

        impl<'de> Visitor<'de> for Either {
            type Value = PartEntry;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a part such as \"body\", or a table such as { text = \"v0:\" }")
            }

            fn visit_str<E>(self, word: &str) -> Result<PartEntry, E> {
                Ok(PartEntry::Word(word.to_owned()))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<PartEntry, A::Error> {
                PartTable::deserialize(MapAccessDeserializer::new(map)).map(PartEntry::Table)
            }
        }

        deserializer.deserialize_any(Either)
    }
}

/// The parts that a word names.
pub(super) const WORDS: [(&str, Part); 9] = [
    ("method", Part::Method),
    ("authority", Part::Authority),
    ("path", Part::Path),
    ("query", Part::Query),
    ("path-and-query", Part::PathAndQuery),
    ("time", Part::Time),
    ("nonce", Part::Nonce),
    ("key-id", Part::KeyId),
    ("body", Part::Body),
];

impl From<Form> for JsonForm {
    fn from(form: Form) -> Self {
        let sorted = PythonJson::sorted();
        match form {
            Form::Jcs => Self::Jcs,
            Form::Python => sorted.into(),
            Form::PythonCompact => sorted.compact().into(),
            Form::PythonUnicode => sorted.ensure_ascii(false).into(),
            Form::PythonCompactUnicode => sorted.compact().ensure_ascii(false).into(),
        }
    }
}

impl PartEntry {
    /// The names of the values that are signed and not sent.
    pub(super) fn supplied(&self) -> Vec<String> {
        match self {
            Self::Table(PartTable::Supplied(name)) => vec![name.clone()],
            Self::Table(PartTable::Json(object)) => {
                let members = object.strings.values().chain(object.values.values());
                members.flat_map(Self::supplied).collect()
            }
            _ => Vec::new(),
        }
    }

    pub(super) fn part(&self) -> Result<Part, (String, Option<String>)> {
        match self {
            Self::Word(word) => {
                let known = WORDS.iter().find(|(known, _)| known == word);
                known.map(|(_, part)| part.clone()).ok_or_else(|| {
                    let near = nearest(word, WORDS.iter().map(|(word, _)| *word));
                    let advice = near.map(|near| format!("did you mean \"{near}\"?"));
                    let advice = advice
                        .unwrap_or_else(|| format!("fixed text is a table: {{ text = {word:?} }}"));
                    (format!("there is no part `{word}`"), Some(advice))
                })
            }
            Self::Table(PartTable::Text(text)) => Ok(Part::text(text)),
            Self::Table(PartTable::Header(name)) => Ok(Part::header(name)),
            Self::Table(PartTable::MethodOf(methods)) => Ok(Part::method_of(methods.clone())),
            Self::Table(PartTable::FixedPath(path)) => Ok(Part::fixed_path(path)),
            Self::Table(PartTable::PathWithout(delimiter)) => Ok(Part::path_without(*delimiter)),
            Self::Table(PartTable::Supplied(name)) => Ok(Part::supplied(name)),
            Self::Table(PartTable::CanonicalBody(form)) => Ok(Part::canonical_body(*form)),
            Self::Table(PartTable::Json(object)) => {
                let mut made = JsonObject::new(object.form);
                for (name, entry) in &object.strings {
                    made = made.string(name, entry.part()?);
                }
                for (name, entry) in &object.values {
                    made = made.value(name, entry.part()?);
                }
                Ok(Part::Json(made))
            }
        }
    }
}
