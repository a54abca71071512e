//! A record as an HTTP archive (HAR 1.2), which `countersign verify` reads.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use crate::{listen::Record, time};

/// The archive of one record.
pub(super) fn archive(record: &Record) -> Value {
    let request = &record.request;
    let headers: Vec<Value> = request
        .headers()
        .iter()
        .map(|(name, value)| {
            json!({"name": name.as_str(), "value": String::from_utf8_lossy(value.as_bytes())})
        })
        .collect();
    let content_type = request.headers().get("content-type");
    let content_type = content_type.and_then(|value| value.to_str().ok());
    let mime_type = content_type.unwrap_or_default();
    let post_data = match std::str::from_utf8(request.body()) {
        Ok(text) => json!({"mimeType": mime_type, "text": text}),
        Err(_) => json!({
            "mimeType": mime_type,
            "text": STANDARD.encode(request.body()),
            "encoding": "base64",
        }),
    };
    let query: Vec<Value> = request
        .uri()
        .query()
        .unwrap_or_default()
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            json!({"name": name, "value": value})
        })
        .collect();
    let millis = u64::try_from(record.took.as_millis()).unwrap_or(u64::MAX);
    json!({"log": {
        "version": "1.2",
        "creator": {"name": "countersign", "version": env!("CARGO_PKG_VERSION")},
        "entries": [{
            "startedDateTime": time::show(record.at),
            "time": millis,
            "request": {
                "method": record.method(),
                "url": format!("http://{}{}", record.authority(), record.target()),
                "httpVersion": format!("{:?}", request.version()),
                "cookies": [],
                "headers": headers,
                "queryString": query,
                "postData": post_data,
                "headersSize": -1,
                "bodySize": request.body().len(),
            },
            "response": {
                "status": record.status.as_u16(),
                "statusText": record.status.canonical_reason().unwrap_or_default(),
                "httpVersion": format!("{:?}", request.version()),
                "cookies": [],
                "headers": [],
                "content": {"size": -1, "mimeType": ""},
                "redirectURL": "",
                "headersSize": -1,
                "bodySize": -1,
            },
            "cache": {},
            "timings": {"send": 0, "wait": millis, "receive": 0},
            "comment": format!("request {} of countersign listen: {}", record.id, record.verdict.word()),
        }],
    }})
}
