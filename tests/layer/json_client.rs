//! Requests that Python signed over sorted JSON, as house formats do, are verified over a real
//! socket, and altered ones refused.

use std::time::Duration;

use axum::Router;
use countersign::{
    HeaderScheme, KeyRing, MemoryStore, Part, VerifyLayer,
    scheme::{HeaderSchemeBuilder, JsonObject, PythonJson},
};

use crate::common::{self, Effects, KEY, SECRET};

fn scheme() -> HeaderSchemeBuilder {
    HeaderScheme::builder("x-signature").fixed_key_id(KEY)
}

fn body() -> Part {
    Part::canonical_body(PythonJson::sorted().compact())
}

/// `json.dumps(body, sort_keys=True, separators=(",", ":"))`
fn compact() -> HeaderSchemeBuilder {
    scheme()
        .danger_without_time(Duration::from_secs(86_400))
        .signs([body()])
}

/// `json.dumps({"method": …, "path": …, "body": …, "timestamp": …}, sort_keys=True)`
fn of_request() -> JsonObject {
    JsonObject::new(PythonJson::sorted())
        .string("method", Part::Method)
        .string("path", Part::Path)
}

/// The body and the time are strings.
fn strings() -> HeaderSchemeBuilder {
    let object = of_request()
        .string("body", body())
        .string("timestamp", Part::Time);
    scheme()
        .time("x-request-timestamp")
        .signs([Part::Json(object)])
}

/// The body is a document in the document, and the time a number.
fn values() -> HeaderSchemeBuilder {
    let object = of_request()
        .value("body", Part::canonical_body(PythonJson::sorted()))
        .value("timestamp", Part::Time);
    scheme()
        .time("x-request-timestamp")
        .signs([Part::Json(object)])
}

fn verified(scheme: HeaderSchemeBuilder, effects: &Effects) -> Router {
    let layer = VerifyLayer::builder(scheme.build().unwrap())
        .keys(KeyRing::new().with(KEY, SECRET).unwrap())
        .store(MemoryStore::new().danger_assume_no_history())
        .build()
        .unwrap();
    common::echo(effects).layer(layer)
}

#[tokio::test]
async fn what_python_signs_over_sorted_json_is_verified_and_what_is_altered_is_refused() {
    let test = "what_python_signs_over_sorted_json_is_verified_and_what_is_altered_is_refused";
    let Some(python) = common::python(test) else {
        return;
    };
    let effects = Effects::default();
    let server = common::serve(
        Router::new()
            .nest("/compact", verified(compact(), &effects))
            .nest("/strings", verified(strings(), &effects))
            .nest("/values", verified(values(), &effects)),
    )
    .await;

    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/layer/json_client.py");
    let mut client = tokio::process::Command::from(python);
    let client = client
        .arg(script)
        .arg(format!("http://{server}"))
        .arg(SECRET);
    let output = client.output().await.unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{error}");

    let printed = String::from_utf8(output.stdout).unwrap();
    let mut formats = Vec::new();
    for line in printed.lines() {
        let [format, name, status, said] = *line.split('\t').collect::<Vec<_>>() else {
            panic!("{line}");
        };
        let expected = match name {
            // The handler is given the signed bytes, in the form in which they were signed.
            "genuine" if format == "/values" => ("200", "given"),
            "genuine" => ("200", "canonical"),
            "copy" | "pretty copy" | "unescaped copy" => ("409", "request_replayed"),
            "unsigned" => ("401", "signature_missing"),
            "old" => ("401", "signature_expired"),
            "short" | "amount first" | "amount escaped" | "not a number" | "two documents"
            | "mark" | "no body" => ("400", "signature_malformed"),
            "other amount" | "other type" | "float" | "nearest double" | "one more" | "later"
            | "method" | "path" => ("401", "signature_invalid"),
            _ => panic!("{line}"),
        };
        assert_eq!((status, said), expected, "{line}");
        formats.push((format, name));
    }
    let of = |format: &str| formats.iter().filter(|(other, _)| *other == format).count();
    assert_eq!(
        [of("/compact"), of("/strings"), of("/values")],
        [17, 21, 21]
    );
    assert_eq!(effects.count(), 3);
}
