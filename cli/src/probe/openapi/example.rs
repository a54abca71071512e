//! Examples of values: as the document gives them, or of the kind that it describes.

use serde_json::{Map, Value};

use super::document::Document;

/// Schemas inside of schemas that are followed, and members of an object that are made.
const DEPTH: usize = 8;
const MEMBERS: usize = 200;

/// An example of a parameter, a content or a schema.
pub(super) fn example(document: &Document, of: &Value) -> Option<Value> {
    if let Some(given) = given(document, of) {
        return Some(given);
    }
    made(document, of.get("schema").unwrap_or(of), "", DEPTH)
}

/// An example that the document gives.
fn given(document: &Document, of: &Value) -> Option<Value> {
    if let Some(example) = of.get("example") {
        return Some(example.clone());
    }
    match of.get("examples") {
        // Of a schema, from 3.1 on.
        Some(Value::Array(examples)) => examples.first().cloned(),
        Some(Value::Object(examples)) => {
            let example = document.resolved(examples.values().next()?)?;
            example.get("value").cloned()
        }
        _ => None,
    }
}

/// A value of the kind that a schema describes. What names something is new for each request.
fn made(document: &Document, schema: &Value, name: &str, depth: usize) -> Option<Value> {
    let depth = depth.checked_sub(1)?;
    let schema = document.resolved(schema)?;
    let known = given(document, schema)
        .or_else(|| schema.get("const").cloned())
        .or_else(|| schema.get("default").cloned())
        .or_else(|| schema.get("enum")?.get(0).cloned());
    if known.is_some() {
        return known;
    }
    if let Some(all) = schema.get("allOf").and_then(Value::as_array) {
        let mut members = Map::new();
        for part in all {
            if let Some(Value::Object(part)) = made(document, part, name, depth) {
                members.extend(part);
            }
        }
        return Some(members.into());
    }
    for choice in ["oneOf", "anyOf"] {
        if let Some(first) = schema.get(choice).and_then(|all| all.get(0)) {
            return made(document, first, name, depth);
        }
    }
    let kind = match schema.get("type") {
        Some(Value::Array(kinds)) => kinds.iter().find(|kind| *kind != "null"),
        kind => kind,
    };
    let kind = kind.and_then(Value::as_str);
    Some(
        match kind.unwrap_or(if schema.get("properties").is_some() {
            "object"
        } else {
            "string"
        }) {
            "object" => {
                let mut members = Map::new();
                let properties = schema.get("properties").and_then(Value::as_object);
                for (name, schema) in properties.into_iter().flatten().take(MEMBERS) {
                    if let Some(value) = made(document, schema, name, depth) {
                        members.insert(name.clone(), value);
                    }
                }
                members.into()
            }
            "array" => {
                let item = schema
                    .get("items")
                    .and_then(|items| made(document, items, name, depth));
                item.into_iter().collect()
            }
            "integer" | "number" => schema.get("minimum").cloned().unwrap_or_else(|| 1.into()),
            "boolean" => true.into(),
            "null" => Value::Null,
            _ => text(schema, name).into(),
        },
    )
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
