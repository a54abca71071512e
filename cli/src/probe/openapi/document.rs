//! Reading a document, and following its references.

use serde_json::Value;

use crate::exit::Failure;

/// The longest document that is read.
pub(crate) const MAX_LEN: usize = 16 * 1024 * 1024;

/// The longest URL that is made of a document.
pub(super) const MAX_URL: usize = 8 * 1024;

/// References of references that are followed.
const DEPTH: usize = 16;

/// An OpenAPI document.
#[derive(Debug)]
pub(crate) struct Document {
    root: Value,
    name: String,
}

impl Document {
    /// Reads JSON or YAML.
    pub(crate) fn parse(text: &[u8], name: &str) -> Result<Self, Failure> {
        let wrong = |why: String| {
            Failure::usage(
                format!("`{name}` is not an OpenAPI document"),
                why,
                "--openapi takes OpenAPI 3.0 or 3.1, in JSON or YAML",
            )
        };
        if text.len() > MAX_LEN {
            return Err(wrong(format!("it is longer than {MAX_LEN} bytes")));
        }
        let text = std::str::from_utf8(text).map_err(|error| wrong(error.to_string()))?;
        let root: Value = match text.trim_start().starts_with('{') {
            true => serde_json::from_str(text).map_err(|error| wrong(error.to_string()))?,
            false => serde_saphyr::from_str(text).map_err(|error| wrong(error.to_string()))?,
        };
        let version = match root.get("openapi") {
            Some(Value::String(version)) => version.clone(),
            Some(Value::Number(version)) => version.to_string(),
            _ => return Err(wrong("it has no `openapi`".to_owned())),
        };
        if !version.starts_with("3.0") && !version.starts_with("3.1") {
            return Err(wrong(format!("its version is {version}")));
        }
        Ok(Self {
            root,
            name: name.to_owned(),
        })
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn root(&self) -> &Value {
        &self.root
    }

    /// Returns what a value is, if it is a reference into this document; or the value itself.
    pub(super) fn resolved<'d>(&'d self, value: &'d Value) -> Option<&'d Value> {
        let mut value = value;
        for _ in 0..DEPTH {
            match value.get("$ref").and_then(Value::as_str) {
                None => return Some(value),
                Some(reference) => value = self.root.pointer(reference.strip_prefix('#')?)?,
            }
        }
        None
    }

    /// The first server, with the defaults of its variables; `None` if it is too long for a URL.
    pub(crate) fn server(&self) -> Option<String> {
        let server = self.root.get("servers")?.get(0)?;
        let mut url = server.get("url")?.as_str()?.to_owned();
        let variables = server.get("variables").and_then(Value::as_object);
        for (name, variable) in variables.into_iter().flatten() {
            let default = variable.get("default").and_then(Value::as_str);
            url = filled(&url, name, default.unwrap_or_default())?;
        }
        Some(url)
    }
}

/// A URL with this value for a name in braces; `None` if it gets too long: values that name each other
/// would double it each time.
pub(super) fn filled(url: &str, name: &str, value: &str) -> Option<String> {
    let name = format!("{{{name}}}");
    let more = url.matches(&name).count().saturating_mul(value.len());
    (url.len().saturating_add(more) <= MAX_URL).then(|| url.replace(&name, value))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn json_and_yaml_are_read_and_other_documents_are_refused() {
        let json = br#"{"openapi": "3.1.0", "servers": [{"url": "http://{h}/v1", "variables":
            {"h": {"default": "127.0.0.1"}}}]}"#;
        let read = Document::parse(json, "it").unwrap();
        assert_eq!(read.server().as_deref(), Some("http://127.0.0.1/v1"));
        let yaml =
            b"openapi: 3.0.3\npaths:\n  /a:\n    get:\n      responses: {200: {description: x}}\n";
        let read = Document::parse(yaml, "it").unwrap();
        assert!(
            read.root()
                .pointer("/paths/~1a/get/responses/200")
                .is_some()
        );
        for wrong in [
            "",
            "a: [",
            "swagger: '2.0'",
            "openapi: 4.0.0",
            "{\"openapi\": 2}",
            "- 1",
        ] {
            assert!(Document::parse(wrong.as_bytes(), "it").is_err(), "{wrong}");
        }
    }

    #[test]
    fn documents_that_grow_or_turn_in_circles_end() {
        let mut bomb = String::from("openapi: 3.0.0\nx0: &x0 [a, a, a, a, a, a, a, a, a]\n");
        for at in 1..12 {
            let of = at - 1;
            let list = vec![format!("*x{of}"); 9].join(", ");
            bomb += &format!("x{at}: &x{at} [{list}]\n");
        }
        assert!(Document::parse(bomb.as_bytes(), "it").is_err());
        let deep = format!(
            "openapi: 3.0.0\nx: {}{}",
            "[".repeat(20_000),
            "]".repeat(20_000)
        );
        assert!(Document::parse(deep.as_bytes(), "it").is_err());
        let mut variables = serde_json::Map::new();
        for at in 0..60 {
            let next = at + 1;
            let default = format!("{{v{next:02}}}{{v{next:02}}}");
            variables.insert(format!("v{at:02}"), json!({"default": default}));
        }
        let doubling =
            json!({"openapi": "3.0.0", "servers": [{"url": "{v00}", "variables": variables}]});
        let read = Document::parse(doubling.to_string().as_bytes(), "it").unwrap();
        assert_eq!(read.server(), None);
        let circle = br##"{"openapi": "3.0.0", "a": {"$ref": "#/b"}, "b": {"$ref": "#/a"}}"##;
        let read = Document::parse(circle, "it").unwrap();
        assert!(read.resolved(read.root().get("a").unwrap()).is_none());
    }
}
