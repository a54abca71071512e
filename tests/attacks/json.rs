//! Row 13, where a document is signed and no text of it: other texts of it are the same request,
//! other documents are refused, and so is whatever two libraries could read as two documents.

use crate::{
    common,
    naive::{self, guard},
    subject::{
        Case, INVALID, MALFORMED, OK, REPLAYED, SORTED, Target, assert_survived, breaches, case,
        effective, refused, with_body,
    },
};

/// In its canonical form.
const DOCUMENT: &str =
    r#"{"a":2,"amount":1.0,"big":12345678901234567890,"to":"Zoë é","z":{"":[]}}"#;

fn other_documents(genuine: &http::Request<String>) -> Vec<Case> {
    let is = |from: &str, to: &str| DOCUMENT.replacen(from, to, 1);
    [
        ("another value", is("2", "3"), INVALID),
        ("a value more", is("[]", "[0]"), INVALID),
        ("a member more", is("{\"a\"", "{\"A\":1,\"a\""), INVALID),
        ("a member less", is("\"a\":2,", ""), INVALID),
        ("a member moved inwards", is(":2,", ":{\"b\":2},"), INVALID),
        ("decomposed", is("é", "e\u{301}"), INVALID),
        ("integer for a float", is("1.0", "1"), INVALID),
        ("float for an integer", is(":2", ":2.0"), INVALID),
        ("an integer off by one", is("890,", "891,"), INVALID),
        ("null", "null".into(), INVALID),
        ("duplicate key behind", is("]}}", "]},\"a\":3}"), MALFORMED),
        (
            "duplicate key before",
            is("{\"a\"", "{\"a\":3,\"a\""),
            MALFORMED,
        ),
        (
            "duplicate key, same value",
            is("{\"a\"", "{\"a\":2,\"a\""),
            MALFORMED,
        ),
        (
            "duplicate key, escaped",
            is("{\"a\"", "{\"\\u0061\":3,\"a\""),
            MALFORMED,
        ),
        (
            "duplicate key, deeper",
            is("\"\":[]", "\"\":0,\"\":[]"),
            MALFORMED,
        ),
        ("lone surrogate", is("Zo", "\\ud83d"), MALFORMED),
        ("NaN", is("1.0", "NaN"), MALFORMED),
        ("infinite", is("1.0", "1e999"), MALFORMED),
        ("byte order mark", format!("\u{feff}{DOCUMENT}"), MALFORMED),
        ("two documents", format!("{DOCUMENT}{DOCUMENT}"), MALFORMED),
        ("NUL behind", format!("{DOCUMENT}\0"), MALFORMED),
        ("comment behind", format!("{DOCUMENT}//"), MALFORMED),
        ("comma behind", is("]}}", "]},}"), MALFORMED),
        ("cut short", is("}}", "}"), MALFORMED),
        ("nothing", String::new(), MALFORMED),
    ]
    .into_iter()
    .map(|(name, body, expected)| {
        assert_ne!(body, DOCUMENT, "{name}");
        case(name, with_body(genuine, &body), expected)
    })
    .collect()
}

fn other_texts() -> Vec<String> {
    let is = |from: &str, to: &str| DOCUMENT.replacen(from, to, 1);
    let value: serde_json::Value = serde_json::from_str(DOCUMENT).unwrap();
    let texts = vec![
        is("ë", "\\u00eb"),
        is("ë", "\\u00EB"),
        is("Z", "\\u005a"),
        is("\"a\"", "\"\\u0061\""),
        is("1.0", "1.00"),
        is("1.0", "10E-1"),
        is("{\"a\":2,", "{").replace("]}}", "]},\"a\":2}"),
        DOCUMENT.replace(':', " : "),
        format!("\r\n\t {DOCUMENT}\n"),
        serde_json::to_string_pretty(&value).unwrap(),
    ];
    assert!(texts.iter().all(|text| text != DOCUMENT));
    texts
}

#[tokio::test]
async fn a13_where_a_document_is_signed_another_document_is_refused() {
    let target = Target::new(&SORTED).on_a_socket().await;
    let genuine = SORTED.sign(
        &target.clock,
        common::request("POST", "/transfer", DOCUMENT),
    );
    let cases = other_documents(&genuine);
    assert_survived(&SORTED, &breaches(&target, &genuine, cases).await);
    for text in other_texts() {
        let outcome = refused(&target, with_body(&genuine, &text), REPLAYED).await;
        assert!(outcome.is_ok(), "{text}: {outcome:?}");
    }
}

#[tokio::test]
async fn a13_where_a_document_is_signed_the_handler_is_given_the_text_that_was() {
    for text in other_texts() {
        let target = Target::new(&SORTED);
        let genuine = SORTED.sign(
            &target.clock,
            common::request("POST", "/transfer", DOCUMENT),
        );
        let answer = target.send(with_body(&genuine, &text)).await;
        assert_eq!(answer, (OK, DOCUMENT.into()), "{text}");
        let copy = refused(&target, genuine, REPLAYED).await;
        assert!(copy.is_ok(), "{text}: {copy:?}");
    }
}

/// A verifier that parses, signs the parsed value, and hands on the bytes that arrived.
#[tokio::test]
async fn a13_twin_a_server_that_takes_the_last_of_two_members_is_found() {
    let clock = common::clock();
    let target = Target::of(&clock, |effects| {
        guard(effects, |parts, body| {
            let expected = naive::expected(&SORTED, parts, body);
            naive::header(parts, SORTED.signature) == expected
        })
    });
    let genuine = SORTED.sign(&clock, common::request("POST", "/transfer", DOCUMENT));
    let found = breaches(&target, &genuine, other_documents(&genuine)).await;
    let found = effective(&found);
    for smuggled in [
        "duplicate key before",
        "duplicate key, escaped",
        "duplicate key, deeper",
    ] {
        assert!(found.contains(&smuggled), "{smuggled}: {found:?}");
    }
    assert!(
        !found.contains(&"duplicate key behind"),
        "that has another meaning"
    );
}
