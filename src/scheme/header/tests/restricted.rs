//! Parts that are restricted so that no delimiter is needed, and bodies that may be missing.

use std::time::Duration;

use super::{
    Values, builder,
    exhaustive::{distinct_messages, tiny},
    message, unchecked,
};
use crate::{
    message::{JsonForm, PythonJson},
    scheme::header::{
        HeaderScheme, WithoutBody,
        part::{JsonObject, Part},
    },
};

/// Restricted parts, with those that they must be told from, and delimiters.
const ALL: [fn() -> Part; 10] = [
    || Part::text("."),
    || Part::text("1"),
    || Part::Time,
    || Part::Method,
    || Part::method_of(["A1", "1", "A."]),
    || Part::Path,
    || Part::fixed_path("/1"),
    || Part::path_without('.'),
    || Part::Nonce,
    || Part::Body,
];

/// The values of each part, and times of two digits too.
fn values_of(part: &Part) -> Vec<String> {
    let mut values = tiny(part);
    match part {
        Part::Time => values.extend(["12".into(), "21".into()]),
        Part::Method | Part::MethodOf(_) => values.push("A.".into()),
        _ => {}
    }
    values
}

#[test]
fn no_description_with_restricted_parts_that_is_accepted_lets_two_requests_share_a_message() {
    let (mut accepted, mut by_restriction) = (0, 0);
    for len in 1..=3_u32 {
        for mut number in 0..ALL.len().pow(len) {
            let parts: Vec<_> = (0..len)
                .map(|_| {
                    let part = ALL[number % ALL.len()]();
                    number /= ALL.len();
                    part
                })
                .collect();
            let plain = builder(&parts);
            let mut described = vec![plain.clone()];
            if parts.contains(&Part::Time) {
                described.push(plain.clone().time_width(2));
            }
            for description in described {
                let Ok(scheme) = description.build() else {
                    continue;
                };
                accepted += 1;
                by_restriction += u32::from(plain.clone().build().is_err());
                let distinct = distinct_messages(&scheme, &parts, values_of);
                assert!(distinct.is_some(), "two of {parts:?}");
            }
        }
    }
    println!("{accepted} accepted, {by_restriction} for the width of their time alone");
    assert!(
        accepted > 500 && by_restriction > 20,
        "{accepted}, {by_restriction}"
    );
}

/// The twins: without the restriction, the search finds two requests.
#[test]
fn twin_the_same_formats_without_a_restriction_are_ambiguous_and_the_search_sees_it() {
    for parts in [
        vec![Part::Time, Part::Body],
        vec![Part::Time, Part::Method],
        vec![Part::Path, Part::Body],
        vec![Part::Path, Part::text("."), Part::Body],
    ] {
        assert!(builder(&parts).build().is_err(), "{parts:?}");
        let found = distinct_messages(&unchecked(&parts), &parts, values_of);
        assert_eq!(found, None, "{parts:?}");
    }
}

fn refusal(parts: &[Part]) -> String {
    builder(parts).build().expect_err("ambiguous").to_string()
}

#[test]
fn a_refusal_says_which_restriction_would_help_and_it_does() {
    let width = "this makes it unambiguous: `time_width`";
    assert!(refusal(&[Part::Time, Part::Body]).contains(width));
    builder(&[Part::Time, Part::Body])
        .time_width(10)
        .build()
        .unwrap();

    let colons = |path| Part::joined(":", [Part::Method, path, Part::Time, Part::Body]);
    let told = refusal(&colons(Part::Path));
    assert!(told.contains("`Part::path_without(':')`"), "{told}");
    assert!(
        !told.contains("method_of"),
        "no more than is needed: {told}"
    );
    builder(&colons(Part::path_without(':'))).build().unwrap();

    let bars = |method, path| Part::joined("|", [method, path, Part::Time, Part::Body]);
    let told = refusal(&bars(Part::Method, Part::Path));
    assert!(told.contains("`Part::path_without('|')`"), "{told}");
    builder(&bars(Part::Method, Part::path_without('|')))
        .build()
        .unwrap();

    let all = |method, path| [Part::Time, method, path, Part::Body];
    let told = refusal(&all(Part::Method, Part::Path));
    for part in ["time_width", "fixed_path"] {
        assert!(told.contains(part), "{part}: {told}");
    }
    let given = all(Part::method_of(["GET", "POST"]), Part::fixed_path("/hook"));
    builder(&given).time_width(10).build().unwrap();

    // Without a slash after it, a method needs a list.
    let told = refusal(&[Part::Method, Part::Body]);
    assert!(told.contains("method_of"), "{told}");
    builder(&[Part::method_of(["GET", "POST"]), Part::Body])
        .build()
        .unwrap();

    // Nothing helps here, and nothing is promised.
    let told = refusal(&[Part::Nonce, Part::Body]);
    assert!(!told.contains("unambiguous"), "{told}");
}

#[test]
fn restrictions_that_restrict_nothing_are_refused() {
    for (part, why) in [
        (
            Part::method_of(["GET", "GETS"]),
            "method `GET` begins `GETS`",
        ),
        (Part::method_of(["GET", "GET"]), "method `GET` begins `GET`"),
        (Part::method_of([""; 0]), "1 to 16"),
        (Part::method_of(["G T"]), "not a method"),
        (Part::fixed_path("hook"), "not a path"),
        (Part::fixed_path("/a?b"), "not a path"),
        (Part::path_without('/'), "not a delimiter"),
        (Part::path_without('%'), "not a delimiter"),
        (Part::path_without('a'), "not a delimiter"),
        (Part::path_without('\u{e9}'), "not a delimiter"),
    ] {
        let error = HeaderScheme::builder("x-signature")
            .fixed_key_id("k")
            .danger_without_time(Duration::from_secs(86_400))
            .signs([part])
            .build()
            .expect_err(why);
        assert!(error.to_string().contains(why), "{error}");
    }
    let with_width = |width| builder(&[Part::Time]).time_width(width).build();
    // No time of 16 digits is read.
    for width in [0, 16] {
        with_width(width).unwrap_err();
    }
    with_width(15).unwrap();
    builder(&[Part::Body]).time_width(10).build().unwrap_err();
}

#[test]
fn a_delimiter_is_refused_in_a_path_raw_or_encoded() {
    let parts = Part::joined(":", [Part::Method, Part::path_without(':'), Part::Body]);
    let scheme = builder(&parts).build().unwrap();
    let to = |path: &str| Values {
        path: path.into(),
        ..Values::plain()
    };
    assert!(message(&scheme, &to("/a%3B")).is_some());
    for path in ["/a:b", "/a%3ab", "/a%3Ab"] {
        assert!(message(&scheme, &to(path)).is_none(), "{path}");
    }
}

/// A format that signs JSON, and what it signs without a body, and with one.
#[test]
fn a_missing_body_is_signed_as_is_said_and_nothing_else_is_signed_alike() {
    let form = PythonJson::sorted().compact();
    let object = |member: fn(JsonObject, Part) -> JsonObject, body| {
        let object = JsonObject::new(form).string("m", Part::Method);
        [Part::Json(member(object, body))]
    };
    let string: fn(JsonObject, Part) -> JsonObject = |object, part| object.string("b", part);
    let value: fn(JsonObject, Part) -> JsonObject = |object, part| object.value("b", part);
    let last: fn(JsonObject, Part) -> JsonObject = |object, part| object.string("z", part);
    let canonical = || Part::canonical_body(form);
    for (parts, without, empty, with) in [
        (
            object(string, canonical()),
            WithoutBody::EmptyText,
            r#"{"b":"","m":"POST"}"#,
            r#"{"b":"[1]","m":"POST"}"#,
        ),
        (
            object(string, canonical()),
            WithoutBody::Null,
            r#"{"b":"null","m":"POST"}"#,
            r#"{"b":"[1]","m":"POST"}"#,
        ),
        (
            object(string, canonical()),
            WithoutBody::LeftOut,
            r#"{"m":"POST"}"#,
            r#"{"b":"[1]","m":"POST"}"#,
        ),
        (
            object(last, canonical()),
            WithoutBody::LeftOut,
            r#"{"m":"POST"}"#,
            r#"{"m":"POST","z":"[1]"}"#,
        ),
        (
            object(value, canonical()),
            WithoutBody::EmptyText,
            r#"{"b":"","m":"POST"}"#,
            r#"{"b":[1],"m":"POST"}"#,
        ),
        (
            object(value, canonical()),
            WithoutBody::Null,
            r#"{"b":null,"m":"POST"}"#,
            r#"{"b":[1],"m":"POST"}"#,
        ),
        (
            object(value, canonical()),
            WithoutBody::LeftOut,
            r#"{"m":"POST"}"#,
            r#"{"b":[1],"m":"POST"}"#,
        ),
        ([canonical()], WithoutBody::EmptyText, "", "[1]"),
        ([canonical()], WithoutBody::Null, "null", "[1]"),
    ] {
        let scheme = builder(&parts).without_body(without).build().unwrap();
        let signed = |body: &str| {
            let values = Values {
                body: body.into(),
                ..Values::plain()
            };
            message(&scheme, &values).map(|message| String::from_utf8(message).unwrap())
        };
        let told = format!("{parts:?}, {without:?}");
        assert_eq!(signed("").as_deref(), Some(empty), "{told}");
        assert_eq!(signed("[ 1 ]").as_deref(), Some(with), "{told}");
        // No body is signed as none is: it is refused instead.
        for body in ["null", "\"\"", " null ", "\"null\"", "{}"] {
            assert_ne!(signed(body).as_deref(), Some(empty), "{body}, {told}");
        }
        let is_alike = without == WithoutBody::Null;
        assert_eq!(signed("null").is_none(), is_alike, "{told}");
        // The twin: without the setting, a missing body is refused.
        let strict = builder(&parts).build().unwrap();
        assert_eq!(message(&strict, &Values::plain()), None, "{told}");
    }
}

#[test]
fn a_missing_body_has_a_form_only_where_the_body_is_json() {
    let refused = |parts: &[Part], without, why: &str| {
        let built = builder(parts).without_body(without).build();
        let error = built.expect_err(why).to_string();
        assert!(error.contains(why), "{error}");
    };
    refused(&[Part::Body], WithoutBody::Null, "signed as JSON");
    refused(&[Part::Method], WithoutBody::Null, "signed as JSON");
    let document = Part::canonical_body(JsonForm::Jcs);
    let delimited = |document| vec![document, Part::text("x"), Part::Method];
    refused(
        std::slice::from_ref(&document),
        WithoutBody::LeftOut,
        "only a member",
    );
    // A document tells where it ends; nothing at all does not.
    builder(&delimited(document.clone())).build().unwrap();
    refused(
        &delimited(document),
        WithoutBody::EmptyText,
        "bytes could move",
    );
}
