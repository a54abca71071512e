//! Examples of values: as the document gives them, or of the kind that it describes.

use std::cell::Cell;

use serde_json::{Map, Value};

use super::document::Document;

/// Schemas inside of schemas that are followed, and members of an object that are made.
const DEPTH: usize = 8;
const MEMBERS: usize = 200;

/// Schemas of one example: what refers to itself ends there.
const SCHEMAS: usize = 2000;

/// How much is made of one document, in bytes.
const ROOM: usize = 16 * 1024 * 1024;

/// Makes the examples of one document.
#[derive(Debug)]
pub(super) struct Examples<'d> {
    pub(super) document: &'d Document,
    schemas: Cell<usize>,
    room: Cell<usize>,
}

impl<'d> Examples<'d> {
    pub(super) fn of(document: &'d Document) -> Self {
        Self {
            document,
            schemas: Cell::new(0),
            room: Cell::new(ROOM),
        }
    }

    /// An example of a parameter, a content or a schema; `None` without one, and without room.
    pub(super) fn example(&self, of: &Value) -> Option<Value> {
        if let Some(given) = self.given(of) {
            return Some(given);
        }
        self.schemas.set(SCHEMAS);
        self.made(of.get("schema").unwrap_or(of), "", DEPTH)
    }

    /// Returns whether all that was asked for had room.
    pub(super) fn had_room(&self) -> bool {
        self.room.get() >= size_of::<Value>()
    }

    /// Takes room for a value.
    fn kept(&self, value: &Value) -> Option<Value> {
        let room = self.room.get().saturating_sub(size(value));
        self.room.set(room);
        (room > 0).then(|| value.clone())
    }

    /// An example that the document gives.
    fn given(&self, of: &Value) -> Option<Value> {
        if let Some(example) = of.get("example") {
            return self.kept(example);
        }
        match of.get("examples") {
            // Examples of a schema, from 3.1 on.
            Some(Value::Array(examples)) => self.kept(examples.first()?),
            Some(Value::Object(examples)) => {
                let example = self.document.resolved(examples.values().next()?)?;
                self.kept(example.get("value")?)
            }
            _ => None,
        }
    }

    /// A value of the kind that a schema describes. An identifier is new for each request.
    fn made(&self, schema: &Value, name: &str, depth: usize) -> Option<Value> {
        let depth = depth.checked_sub(1)?;
        self.schemas.set(self.schemas.get().checked_sub(1)?);
        self.room
            .set(self.room.get().checked_sub(size_of::<Value>())?);
        let schema = self.document.resolved(schema)?;
        if let Some(given) = self.given(schema) {
            return Some(given);
        }
        let fixed = [schema.get("const"), schema.get("default")]
            .into_iter()
            .flatten()
            .next();
        if let Some(fixed) = fixed.or_else(|| schema.get("enum")?.get(0)) {
            return self.kept(fixed);
        }
        if let Some(all) = schema.get("allOf").and_then(Value::as_array) {
            let mut members = Map::new();
            for part in all.iter().take(MEMBERS) {
                if let Some(Value::Object(part)) = self.made(part, name, depth) {
                    members.extend(part);
                }
            }
            return Some(members.into());
        }
        for choice in ["oneOf", "anyOf"] {
            if let Some(first) = schema.get(choice).and_then(|all| all.get(0)) {
                return self.made(first, name, depth);
            }
        }
        match kind(schema) {
            "object" => self.object(schema, depth),
            "array" => {
                let items = schema.get("items");
                let item = items.and_then(|items| self.made(items, name, depth));
                Some(item.into_iter().collect())
            }
            "integer" | "number" => {
                let least = schema.get("minimum").filter(|least| least.is_number());
                Some(least.cloned().unwrap_or_else(|| 1.into()))
            }
            "boolean" => Some(true.into()),
            "null" => Some(Value::Null),
            _ => self.kept(&text(schema, name).into()),
        }
    }

    fn object(&self, schema: &Value, depth: usize) -> Option<Value> {
        let mut members = Map::new();
        let properties = schema.get("properties").and_then(Value::as_object);
        for (name, schema) in properties.into_iter().flatten().take(MEMBERS) {
            if let Some(value) = self.made(schema, name, depth) {
                self.room.set(self.room.get().saturating_sub(name.len()));
                members.insert(name.clone(), value);
            }
        }
        self.had_room().then(|| members.into())
    }
}

/// About as many bytes as a value takes.
fn size(value: &Value) -> usize {
    let inner: usize = match value {
        Value::String(text) => text.len(),
        Value::Array(list) => list.iter().map(size).sum(),
        Value::Object(members) => members.iter().map(|(name, of)| name.len() + size(of)).sum(),
        _ => 0,
    };
    inner + size_of::<Value>()
}

fn kind(schema: &Value) -> &str {
    let kind = match schema.get("type") {
        Some(Value::Array(kinds)) => kinds.iter().find(|kind| *kind != "null"),
        kind => kind,
    };
    let implied = match schema.get("properties") {
        Some(_) => "object",
        None => "string",
    };
    kind.and_then(Value::as_str).unwrap_or(implied)
}

fn text(schema: &Value, name: &str) -> &'static str {
    let names = ["id", "uuid", "key", "nonce", "reference"];
    let is_name = names.iter().any(|known| {
        name == *known || name.ends_with(&format!("_{known}")) || name.ends_with("Id")
    });
    match schema.get("format").and_then(Value::as_str) {
        Some("uuid") => "{uuid}",
        Some("date-time") => "2026-01-01T00:00:00Z",
        Some("date") => "2026-01-01",
        Some("email") => "probe@example.com",
        Some("uri") => "https://example.com/",
        _ if is_name => "{uuid}",
        _ => "example",
    }
}
