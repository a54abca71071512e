//! Everything that a payload hands out is in the signed message, whichever parts a description names.

use bytes::Bytes;
use http::{HeaderValue, Request, header::HOST};
use proptest::prelude::*;

use super::{any_parts, any_values, builder, covers};
use crate::{
    message::PythonJson,
    scheme::{
        covered_tests::holds,
        header::part::{JsonObject, Part},
    },
};

/// Parts as they are, or as strings of one JSON object.
fn any_description() -> impl Strategy<Value = Vec<Part>> {
    let object = (any_parts(), any::<bool>()).prop_map(|(parts, has_document)| {
        let object = JsonObject::new(PythonJson::sorted().compact());
        let parts = parts.into_iter().enumerate();
        let object = parts.fold(object, |object, (index, part)| match part {
            Part::Body if has_document => object.string(
                index.to_string(),
                Part::canonical_body(PythonJson::sorted()),
            ),
            part => object.string(index.to_string(), part),
        });
        vec![Part::Json(object)]
    });
    prop_oneof![3 => any_parts(), 1 => object]
}

#[test]
fn whatever_is_handed_out_is_in_the_message() {
    let schemes_and_requests = (any_description(), any_values()).prop_filter_map(
        "a description that is refused, or a request that HTTP cannot carry",
        |(parts, mut values)| {
            let scheme = builder(&parts).build().ok()?;
            values.body = if covers(&parts, Part::Body) {
                br#"{"id":"evt-1"}"#.to_vec()
            } else {
                Vec::new()
            };
            let mut head = values.request()?;
            for name in ["x-signature", "x-time", "x-nonce", "x-key-id"] {
                head.headers.remove(name);
            }
            head.headers
                .insert(HOST, HeaderValue::from_static("a.example"));
            Some((scheme, Request::from_parts(head, Bytes::from(values.body))))
        },
    );
    holds(2000, schemes_and_requests);
}
