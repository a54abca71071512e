//! Operations, and the requests that they describe.

use bytes::Bytes;
use http::{HeaderName, Method, header::CONTENT_TYPE};
use serde_json::Value;

use super::{
    document::{Document, MAX_URL, filled},
    example::Examples,
};
use crate::{exit::Failure, probe::subject::Template};

/// The most operations that are probed.
const MAX: usize = 10_000;

/// An operation of a document.
#[derive(Clone, Debug)]
pub(crate) struct Operation {
    /// The method and the path, such as `POST /orders/{id}`.
    pub(crate) name: String,
    /// Its request; `None` if the document says too little to make one.
    pub(crate) template: Option<Template>,
}

impl Operation {
    /// The operations of a document that are wanted, by id and path, at this server. Fails if their
    /// examples are too large together.
    pub(crate) fn all(
        document: &Document,
        server: &str,
        is_wanted: &dyn Fn(Option<&str>, &str) -> bool,
    ) -> Result<Vec<Self>, Failure> {
        let examples = Examples::of(document);
        let paths = document.root().get("paths").and_then(Value::as_object);
        let mut found = Vec::new();
        for (path, item) in paths.into_iter().flatten() {
            let Some(item) = document.resolved(item) else {
                continue;
            };
            for method in ["get", "put", "post", "delete", "patch", "head", "options"] {
                let Some(operation) = item.get(method) else {
                    continue;
                };
                let id = operation.get("operationId").and_then(Value::as_str);
                if is_wanted(id, path) {
                    found.push(Self {
                        name: format!("{} {path}", method.to_uppercase()),
                        template: template(&examples, server, path, method, item, operation),
                    });
                }
            }
        }
        let fits = examples.had_room() && found.len() <= MAX;
        fits.then_some(found).ok_or_else(|| {
            Failure::usage(
                format!("`{}` has too many operations", document.name()),
                format!("there are more than {MAX}, or their examples are longer than 16 MiB"),
                "name operations with --operation or --path",
            )
        })
    }
}

fn template(
    examples: &Examples<'_>,
    server: &str,
    path: &str,
    method: &str,
    item: &Value,
    operation: &Value,
) -> Option<Template> {
    let document = examples.document;
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
        let value = match examples.example(parameter)? {
            Value::String(text) => text,
            other => other.to_string(),
        };
        match place {
            "path" => url = filled(&url, name, &encoded(&value))?,
            "query" => query.push(format!("{}={}", encoded(name), encoded(&value))),
            "header" => headers.push((name.parse::<HeaderName>().ok()?, value)),
            _ => {}
        }
    }
    let mut url = format!("{}{url}", server.trim_end_matches('/'));
    if !query.is_empty() {
        url = format!("{url}?{}", query.join("&"));
    }
    if url.len() > MAX_URL {
        return None;
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
            match examples.example(content.get(kind)?)? {
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

/// Percent-encoded, except the names of identifiers that are filled in later.
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
    use serde_json::json;

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
        let named = |wanted: &'static str| {
            let is_wanted = move |id: Option<&str>, _: &str| id == Some(wanted);
            let all = Operation::all(&document, "http://127.0.0.1:1/v1/", &is_wanted);
            let found = all.unwrap().pop().unwrap();
            (found.name, found.template.unwrap())
        };
        let (name, pay) = named("pay");
        assert_eq!(name, "POST /orders/{id}");
        assert_eq!(pay.url, "http://127.0.0.1:1/v1/orders/{uuid}?page=a%20b");
        let body: Value = serde_json::from_slice(&pay.body).unwrap();
        assert_eq!(body["order_id"], "{uuid}");
        assert_eq!(body["amount"], 5);
        assert_eq!(body["tags"], serde_json::json!(["one"]));
        assert_eq!(body["note"], "hello");
        assert_eq!(body["parent"]["amount"], 5);
        assert_eq!(pay.headers, [(CONTENT_TYPE, "application/json".to_owned())]);
        assert_eq!(named("look").1.method, Method::GET);
    }

    /// A schema each of whose members is the schema itself, and this number of operations with that
    /// body.
    fn tree(operations: usize, example: usize) -> Document {
        let itself = json!({"$ref": "#/components/schemas/Tree"});
        let members: serde_json::Map<_, _> = (0..50)
            .map(|at| (format!("m{at}"), itself.clone()))
            .collect();
        let body = json!({"content": {"application/json": {"schema": itself}}});
        let named =
            json!({"name": "a", "in": "query", "required": true, "example": "x".repeat(example)});
        let post = json!({"post": {"requestBody": body, "parameters": [{"$ref": "#/p"}]}});
        let paths: serde_json::Map<_, _> = (0..operations)
            .map(|at| (format!("/{at}"), post.clone()))
            .collect();
        let document = json!({
            "openapi": "3.0.0", "paths": paths, "p": named,
            "components": {"schemas": {"Tree": {"properties": members}}},
        });
        Document::parse(document.to_string().as_bytes(), "it").unwrap()
    }

    #[test]
    fn examples_of_what_refers_to_itself_and_of_many_operations_end() {
        let all = |document: &Document| Operation::all(document, "http://127.0.0.1", &|_, _| true);
        let one = all(&tree(1, 1)).unwrap();
        let body = one[0].template.as_ref().unwrap().body.len();
        assert!((1000..100_000).contains(&body), "{body}");
        assert!(all(&tree(100, 1)).is_ok());
        assert!(all(&tree(1000, 1)).is_err());
        // An operation whose URL is too long has no template.
        assert!(all(&tree(1, 9000)).unwrap()[0].template.is_none());
    }
}
