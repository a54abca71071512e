//! Operations, and the requests that they describe.

use bytes::Bytes;
use http::{HeaderName, Method, header::CONTENT_TYPE};
use serde_json::Value;

use super::{document::Document, example::example};
use crate::probe::subject::Template;

/// The most operations that are looked at.
const MAX: usize = 10_000;

/// An operation of a document.
#[derive(Clone, Debug)]
pub(crate) struct Operation {
    pub(crate) id: Option<String>,
    pub(crate) path: String,
    pub(crate) template: Template,
}

impl Operation {
    /// Whether it only reads.
    pub(crate) fn is_safe(&self) -> bool {
        self.template.method.is_safe()
    }

    /// All operations of a document whose requests can be made, at this server.
    pub(crate) fn all(document: &Document, server: &str) -> Vec<Self> {
        let paths = document.root().get("paths").and_then(Value::as_object);
        let mut found = Vec::new();
        for (path, item) in paths.into_iter().flatten() {
            let Some(item) = document.resolved(item) else {
                continue;
            };
            for method in ["get", "put", "post", "delete", "patch", "head", "options"] {
                if let Some(operation) = item.get(method)
                    && let Some(template) =
                        template(document, server, path, method, item, operation)
                {
                    let id = operation.get("operationId").and_then(Value::as_str);
                    found.push(Self {
                        id: id.map(str::to_owned),
                        path: path.clone(),
                        template,
                    });
                }
            }
        }
        found.truncate(MAX);
        found
    }
}

fn template(
    document: &Document,
    server: &str,
    path: &str,
    method: &str,
    item: &Value,
    operation: &Value,
) -> Option<Template> {
    let mut url = path.to_owned();
    let mut query = Vec::new();
    let mut headers = Vec::new();
    let lists = [item, operation].map(|of| of.get("parameters").and_then(Value::as_array));
    for parameter in lists.into_iter().flatten().flatten() {
        let parameter = document.resolved(parameter)?;
        let name = parameter.get("name")?.as_str()?;
        let place = parameter.get("in")?.as_str()?;
        let is_required = parameter.get("required") == Some(&true.into());
        if place != "path" && !is_required {
            continue;
        }
        let value = match example(document, parameter)? {
            Value::String(text) => text,
            other => other.to_string(),
        };
        match place {
            "path" => url = url.replace(&format!("{{{name}}}"), &encoded(&value)),
            "query" => query.push(format!("{}={}", encoded(name), encoded(&value))),
            "header" => headers.push((name.parse::<HeaderName>().ok()?, value)),
            _ => {}
        }
    }
    let mut url = format!("{}{url}", server.trim_end_matches('/'));
    if !query.is_empty() {
        url = format!("{url}?{}", query.join("&"));
    }
    let body = match operation.get("requestBody") {
        Some(body) => {
            let content = document.resolved(body)?.get("content")?.as_object()?;
            let is_json =
                |kind: &&String| kind.split(';').next().is_some_and(|k| k.ends_with("json"));
            let kind = content
                .keys()
                .find(is_json)
                .or_else(|| content.keys().next())?;
            headers.push((CONTENT_TYPE, kind.clone()));
            match example(document, content.get(kind)?)? {
                Value::String(text) if !is_json(&kind) => Bytes::from(text),
                value => serde_json::to_vec(&value).ok()?.into(),
            }
        }
        None => Bytes::new(),
    };
    Some(Template {
        method: Method::from_bytes(method.to_uppercase().as_bytes()).ok()?,
        url,
        headers,
        body,
    })
}

/// Percent-encoded, but for the names of identifiers that are filled in later.
fn encoded(text: &str) -> String {
    if ["{uuid}", "{n}", "{now}"].contains(&text) {
        return text.to_owned();
    }
    let mut encoded = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                encoded.push(byte.into());
            }
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    const YAML: &str = "
openapi: 3.1.0
info: {title: it, version: '1'}
paths:
  /orders/{id}:
    parameters:
      - {name: id, in: path, required: true, schema: {type: string, format: uuid}}
      - $ref: '#/components/parameters/Page'
    post:
      operationId: pay
      requestBody:
        content:
          text/plain: {schema: {type: string}}
          application/json:
            schema: {$ref: '#/components/schemas/Payment'}
      responses: {200: {description: x}}
    get: {operationId: look, responses: {200: {description: x}}}
components:
  parameters:
    Page: {name: page, in: query, required: true, example: 'a b', schema: {type: string}}
  schemas:
    Payment:
      allOf:
        - {$ref: '#/components/schemas/Named'}
        - type: object
          properties:
            amount: {type: [integer, 'null'], minimum: 5}
            tags: {type: array, items: {enum: [one, two]}}
            note: {type: string, examples: [hello]}
            parent: {$ref: '#/components/schemas/Payment'}
    Named: {type: object, properties: {order_id: {type: string}}}
";

    #[test]
    fn requests_are_made_of_examples_and_of_kinds() {
        let document = Document::parse(YAML.as_bytes(), "it").unwrap();
        let all = Operation::all(&document, "http://127.0.0.1:1/v1/");
        let pay = all
            .iter()
            .find(|one| one.id.as_deref() == Some("pay"))
            .unwrap();
        assert!(!pay.is_safe());
        assert_eq!(
            pay.template.url,
            "http://127.0.0.1:1/v1/orders/{uuid}?page=a%20b"
        );
        let body: Value = serde_json::from_slice(&pay.template.body).unwrap();
        assert_eq!(body["order_id"], "{uuid}");
        assert_eq!(body["amount"], 5);
        assert_eq!(body["tags"], serde_json::json!(["one"]));
        assert_eq!(body["note"], "hello");
        assert_eq!(body["parent"]["amount"], 5);
        assert_eq!(
            pay.template.headers,
            [(CONTENT_TYPE, "application/json".to_owned())]
        );
        assert!(
            all.iter()
                .any(|one| one.id.as_deref() == Some("look") && one.is_safe())
        );
    }
}
