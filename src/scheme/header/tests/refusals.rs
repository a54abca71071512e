//! Which descriptions are refused, and what the refusal says.

use std::time::Duration;

use super::{Values, builder, message};
use crate::{
    message::PythonJson,
    scheme::header::{
        HeaderScheme,
        builder::HeaderSchemeBuilder,
        part::{JsonObject, Part},
    },
};

/// The formats that are in use, by the text between their parts.
#[test]
fn common_formats_are_accepted_where_they_are_safe() {
    let place = [Part::Method, Part::PathAndQuery];
    let place_and_time = [Part::Method, Part::PathAndQuery, Part::Time];
    let time_first = [Part::Time, Part::Method, Part::PathAndQuery];
    let body_last = [Part::Method, Part::Path, Part::Time, Part::Body];
    for (delimiter, parts, safe) in [
        ("\n", &body_last[..], true),
        ("\r\n", &body_last, true),
        (",\n", &body_last, true),
        ("", &place, true),
        (".", &place, true),
        ("|", &place, true),
        ("|", &place_and_time, true),
        (":", &place_and_time, true),
        (".", &time_first, true),
        // A path can hold all of these.
        ("", &body_last, false),
        (".", &body_last, false),
        ("|", &body_last, false),
        (":", &body_last, false),
        // A method can be `1GET`, and trade its digit with the time.
        ("", &time_first, false),
        ("-", &[Part::Method, Part::Nonce, Part::Body], false),
        (".", &[Part::Time, Part::Body], true),
        (".", &[Part::Nonce, Part::Time, Part::Body], false),
        (" ", &[Part::Nonce, Part::Time, Part::Body], true),
        (":", &[Part::header("x-a"), Part::Time], true),
        (":", &[Part::header("x-a"), Part::Time, Part::Body], false),
    ] {
        let parts = Part::joined(delimiter, parts.iter().cloned());
        assert_eq!(builder(&parts).build().is_ok(), safe, "{parts:?}");
    }
}

#[track_caller]
fn is_refused(builder: HeaderSchemeBuilder, why: &str) {
    let error = builder.build().expect_err(why).to_string();
    assert!(error.contains(why), "`{error}` does not say `{why}`");
}

const DAY: Duration = Duration::from_secs(86_400);

#[test]
fn what_is_named_has_to_be_covered_and_the_other_way_round() {
    let of = |parts: &[Part]| {
        HeaderScheme::builder("x-signature").signs(Part::lines(parts.iter().cloned()))
    };
    let timed = || of(&[Part::Time, Part::Body]).time("x-time");
    let fixed = || timed().fixed_key_id("k");
    assert!(fixed().build().is_ok());

    is_refused(
        timed().key_id("x-key-id"),
        "the key id is not covered; add `Part::KeyId`",
    );
    is_refused(timed(), "name the header of the key id");
    is_refused(fixed().key_id("x-key-id"), "but not both");
    let covered = || of(&[Part::KeyId, Part::Time, Part::Body]).time("x-time");
    assert!(covered().key_id("x-key-id").build().is_ok());
    is_refused(covered().fixed_key_id("k"), "but not both");
    is_refused(covered(), "name the header of the key id");

    is_refused(
        fixed().signs([Part::Body]),
        "the Time is not covered; add `Part::Time`",
    );
    let untimed = || of(&[Part::Body]).fixed_key_id("k");
    let unnamed = of(&[Part::Time]).fixed_key_id("k");
    is_refused(
        unnamed,
        "`Part::Time` is in the message, and no header is named that holds it",
    );
    is_refused(untimed(), "or say `danger_without_time`");
    assert!(untimed().danger_without_time(DAY).build().is_ok());
    is_refused(fixed().danger_without_time(DAY), "but not both");
    let uncovered = untimed().danger_without_time(DAY).time_millis("x-time");
    is_refused(uncovered, "the Time is not covered; add `Part::Time`");

    is_refused(
        fixed().nonce("x-nonce"),
        "the Nonce is not covered; add `Part::Nonce`",
    );
    is_refused(
        fixed().event_id("x-nonce"),
        "the Nonce is not covered; add `Part::Nonce`",
    );
    let nonce = of(&[Part::Time, Part::Nonce, Part::Body])
        .time("x-time")
        .fixed_key_id("k");
    is_refused(
        nonce.clone(),
        "`Part::Nonce` is in the message, and no header is named",
    );
    assert!(nonce.event_id("x-nonce").build().is_ok());
}

#[test]
fn names_have_to_be_valid_and_stand_for_one_thing_each() {
    let signs = |name: &str| {
        Part::lines([
            Part::KeyId,
            Part::Time,
            Part::Nonce,
            Part::header(name),
            Part::Body,
        ])
    };
    let of = |signature: &str, key: &str, time: &str, nonce: &str| {
        let builder = HeaderScheme::builder(signature)
            .key_id(key)
            .time(time)
            .nonce(nonce);
        builder.signs(signs("x-a"))
    };
    assert!(of("s", "k", "t", "n").build().is_ok());
    for bad in ["", "a b", "a:", "\u{e9}", "a\n"] {
        let why = format!("`{bad}` is not the name of a header");
        is_refused(of(bad, "k", "t", "n"), &why);
        is_refused(of("s", bad, "t", "n"), &why);
        is_refused(of("s", "k", bad, "n"), &why);
        is_refused(of("s", "k", "t", bad), &why);
        is_refused(of("s", "k", "t", "n").signs(signs(bad)), &why);
    }
    for [signature, key, time, nonce] in [
        ["k", "k", "t", "n"],
        ["T", "k", "t", "n"],
        ["s", "n", "t", "N"],
        ["s", "k", "k", "n"],
        ["x-a", "k", "t", "n"],
        ["s", "X-A", "t", "n"],
        ["s", "k", "t", "x-a"],
    ] {
        is_refused(of(signature, key, time, nonce), "is named twice");
    }
    let mut twice = signs("x-a");
    twice.extend([Part::text("\n"), Part::header("X-A")]);
    is_refused(
        of("s", "k", "t", "n").signs(twice),
        "header `x-a` is named twice",
    );

    let host = of("s", "k", "t", "n").signs(signs("Host"));
    is_refused(host, "cover `Part::Authority` instead of `host`");
    let hop = of("s", "k", "t", "n").signs(signs("transfer-encoding"));
    is_refused(hop, "`transfer-encoding` changes from one hop to the next");
    for prefix in ["a b", "v1,\t", "\u{e9}", "\n"] {
        is_refused(
            of("s", "k", "t", "n").prefix(prefix),
            "the prefix is not visible ASCII",
        );
    }
    for id in ["", "a b", &"k".repeat(129)] {
        let builder = HeaderScheme::builder("s")
            .fixed_key_id(id)
            .danger_without_time(DAY);
        is_refused(
            builder.signs([Part::Body]),
            "a key id is 1 to 128 visible ASCII characters",
        );
    }
}

#[test]
fn a_message_has_parts_of_the_request_and_the_body_once() {
    for parts in [
        &[][..],
        &[Part::text("")],
        &[Part::text("v0"), Part::text(":")],
    ] {
        is_refused(builder(parts), "the message has no part of the request");
    }
    for parts in [
        &[Part::Body, Part::Body][..],
        &[Part::Body, Part::text("\n"), Part::Body],
    ] {
        is_refused(builder(parts), "the body is in the message twice");
    }
    let bare = builder(&[Part::Time, Part::Body]);
    is_refused(bare, "bytes could move between the time and its neighbour");
    let colon = Part::joined(":", [Part::Method, Part::header("x-a"), Part::Body]);
    is_refused(builder(&colon), "bytes could move between header `x-a` and");
}

#[test]
fn a_json_object_has_each_member_once_and_values_that_are_json() {
    let body = || Part::canonical_body(PythonJson::sorted());
    let of = |object: JsonObject| {
        builder(&[Part::Time]).signs([Part::Json(object.value("t", Part::Time))])
    };
    let object = || JsonObject::new(PythonJson::sorted());
    assert!(of(object().string("b", body())).build().is_ok());
    assert!(of(object().value("b", body())).build().is_ok());
    is_refused(
        of(object().string("t", Part::Method)),
        "two members of a JSON object have one name",
    );
    let compact = Part::canonical_body(PythonJson::sorted().compact());
    for part in [
        Part::Nonce,
        Part::Body,
        compact,
        Part::text("1"),
        Part::Json(object()),
    ] {
        is_refused(
            of(object().value("b", part)),
            "member `b` is not a value by itself",
        );
    }
    let nested = object().string("b", Part::Json(object()));
    is_refused(of(nested), "a JSON object cannot be a member of another");
    let twice = object().string("b", body()).value("c", body());
    is_refused(of(twice), "the body is in the message twice");
    let named = object().string("b", Part::header("host"));
    is_refused(of(named), "cover `Part::Authority` instead of `host`");
    let named = object().string("b", Part::Nonce);
    is_refused(of(named), "`Part::Nonce` is in the message, and no header");
}

#[test]
fn what_is_a_string_in_json_is_ascii_or_a_body_in_utf_8() {
    let object = JsonObject::new(PythonJson::sorted());
    let object = object
        .string("a", Part::header("x-a"))
        .string("b", Part::Body);
    let scheme = builder(&[Part::Json(object)]).build().unwrap();
    let of = |a: &str, body: &[u8]| {
        let mut values = Values::plain();
        (values.a, values.body) = (a.into(), body.into());
        Some(String::from_utf8(message(&scheme, &values)?).unwrap())
    };
    let expected = r#"{"a": "\"\\\t", "b": "\u00e9\n\""}"#;
    assert_eq!(of("\"\\\t", "é\n\"".as_bytes()).as_deref(), Some(expected));
    assert_eq!(of("é", b""), None);
    assert_eq!(of("a", b"\xe9"), None);
    assert_eq!(of("a", b"").as_deref(), Some(r#"{"a": "a", "b": ""}"#));
}
