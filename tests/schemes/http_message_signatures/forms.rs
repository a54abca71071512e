//! Every form of every component, there and back; and what each of them leaves open.

use countersign::{HttpMessageSignatures, VerifiedPayload, rfc9421::FieldType};
use http::Request;

use super::{BODY, and, covering, sign, verifier, verify, with, with_uri, without};
use crate::common::{HOST, request};

/// With fields of each kind.
fn rich() -> Request<String> {
    let uri = "https://api.example.com/a%2Fb?x=1&name=%61+b&empty=&y";
    let mut rich = request("POST", uri, BODY);
    for (name, value) in [
        ("x-plain", "a value"),
        ("x-lines", "a"),
        ("x-empty", ""),
        ("x-dict", " a=1,    b=2;x=1;y=2,   c=(a   b   c), d"),
        ("x-list", "a,  (b c);x , ?1"),
        ("x-item", "  01.50;a=?1"),
        ("priority", "u=3,   i"),
    ] {
        rich = with(&rich, name, value);
    }
    and(&rich, "x-lines", "b, c")
}

fn scheme(components: &[&str]) -> HttpMessageSignatures {
    covering(components)
        .structured_field("x-dict", FieldType::Dictionary)
        .structured_field("x-list", FieldType::List)
        .structured_field("x-item", FieldType::Item)
        .build()
        .unwrap()
}

type Tell = fn(&VerifiedPayload) -> Option<&str>;

fn header<'p>(payload: &'p VerifiedPayload, name: &str) -> Option<&'p str> {
    payload.header(name).map(|value| value.to_str().unwrap())
}

/// Each component, what the payload tells when it is covered, and how.
const FORMS: [(&str, Option<&str>, Tell); 24] = [
    ("\"@method\"", Some("POST"), |p| {
        p.method().map(|m| m.as_str())
    }),
    ("\"@authority\"", Some(HOST), |p| p.authority()),
    ("\"@path\"", Some("/a%2Fb"), |p| p.path()),
    ("\"@query\"", Some("x=1&name=%61+b&empty=&y"), |p| p.query()),
    ("\"@target-uri\"", Some("/a%2Fb"), |p| p.path()),
    ("\"@request-target\"", Some("/a%2Fb"), |p| p.path()),
    ("\"@scheme\"", None, |_| None),
    ("\"@query-param\";name=\"x\"", Some("1"), |p| {
        p.query_param("x")
    }),
    ("\"@query-param\";name=\"name\"", Some("a b"), |p| {
        p.query_param("name")
    }),
    ("\"@query-param\";name=\"empty\"", Some(""), |p| {
        p.query_param("empty")
    }),
    ("\"@query-param\";name=\"y\"", Some(""), |p| {
        p.query_param("y")
    }),
    ("\"x-plain\"", Some("a value"), |p| header(p, "X-Plain")),
    ("\"x-lines\"", Some("a, b, c"), |p| header(p, "x-lines")),
    ("\"x-empty\"", Some(""), |p| header(p, "x-empty")),
    (
        "\"x-dict\"",
        Some("a=1,    b=2;x=1;y=2,   c=(a   b   c), d"),
        |p| header(p, "x-dict"),
    ),
    (
        "\"x-dict\";sf",
        Some("a=1, b=2;x=1;y=2, c=(a b c), d"),
        |p| header(p, "x-dict"),
    ),
    ("\"x-list\";sf", Some("a, (b c);x, ?1"), |p| {
        header(p, "x-list")
    }),
    ("\"x-item\";sf", Some("1.5;a"), |p| header(p, "x-item")),
    ("\"priority\";sf", Some("u=3, i"), |p| header(p, "priority")),
    ("\"x-dict\";key=\"b\"", Some("2;x=1;y=2"), |p| {
        p.header_member("X-Dict", "b")
    }),
    ("\"x-dict\";key=\"c\"", Some("(a b c)"), |p| {
        p.header_member("x-dict", "c")
    }),
    ("\"x-dict\";key=\"d\"", Some("?1"), |p| {
        p.header_member("x-dict", "d")
    }),
    ("\"x-lines\";bs", Some("a, b, c"), |p| header(p, "x-lines")),
    ("\"x-plain\";bs", Some("a value"), |p| header(p, "x-plain")),
];

#[tokio::test]
async fn every_form_of_every_component_is_signed_verified_and_told() {
    for (text, told, tell) in FORMS {
        let scheme = scheme(&[text]);
        let signed = sign(&scheme, rich());
        let input = signed.headers()["signature-input"].to_str().unwrap();
        assert!(input.contains(text), "{input}");
        let payload = verify(&verifier(&scheme), &signed).await;
        let payload =
            payload.unwrap_or_else(|refused| panic!("{text}: {refused} {}", refused.reason()));
        assert_eq!(tell(&payload), told, "{text}");
    }
    let all: Vec<_> = FORMS.iter().map(|(text, _, _)| *text).collect();
    let scheme = scheme(&all);
    verify(&verifier(&scheme), &sign(&scheme, rich()))
        .await
        .unwrap();
}

#[tokio::test]
async fn what_is_not_covered_is_not_told() {
    let nothing = HttpMessageSignatures::builder().danger_require_only([]);
    let scheme = nothing.build().unwrap();
    let payload = verify(&verifier(&scheme), &sign(&scheme, rich()))
        .await
        .unwrap();
    for (text, told, tell) in FORMS {
        if told.is_some() {
            assert_eq!(tell(&payload), None, "{text}");
        }
    }
    assert_eq!(payload.bytes(), BODY, "by its digest");
    assert!(
        payload.header("content-type").is_some(),
        "whenever it is there"
    );
    assert!(payload.header("signature").is_none() && payload.header("host").is_none());

    // One member, one parameter: no other one, and not the whole.
    let parts = ["\"x-dict\";key=\"a\"", "\"@query-param\";name=\"x\""];
    let only = HttpMessageSignatures::builder()
        .danger_require_only(parts.map(|text| text.parse().unwrap()));
    let scheme = only.build().unwrap();
    let payload = verify(&verifier(&scheme), &sign(&scheme, rich()))
        .await
        .unwrap();
    assert_eq!(payload.header_member("x-dict", "a"), Some("1"));
    assert_eq!(payload.header_member("x-dict", "b"), None);
    assert_eq!(payload.header_member("priority", "a"), None);
    assert_eq!(payload.header("x-dict"), None);
    assert_eq!(payload.query_param("x"), Some("1"));
    assert_eq!(payload.query_param("y"), None);
    assert_eq!(
        (payload.query(), payload.path(), payload.method()),
        (None, None, None)
    );
}

/// The request that was signed, and one that is signed alike: it is accepted, and what the payload
/// tells is the same.
#[tokio::test]
async fn what_stays_open_is_what_the_documentation_says() {
    let base = with_uri(&rich(), "/a%2Fb?x=1&name=%61+b&empty=&y");
    let lines = |lines: &[&str]| {
        let first = without(&base, "x-lines");
        lines
            .iter()
            .fold(first, |request, line| and(&request, "x-lines", line))
    };
    let target = |to: &str| with_uri(&base, to);
    let query = "/a%2Fb?x=1&name=%61+b&empty=&y";
    let cases: Vec<(&str, Request<String>, bool)> = vec![
        // A field in two lines, and in one.
        ("\"x-lines\"", lines(&["a, b, c"]), true),
        ("\"x-lines\"", lines(&["a", "b", "c"]), true),
        ("\"x-lines\"", lines(&["a, b", " c "]), true),
        ("\"x-lines\"", lines(&["a,b, c"]), false),
        ("\"x-lines\"", lines(&["a", "c", "b"]), false),
        ("\"x-lines\"", lines(&["a, ", "b, c"]), false),
        // With `bs` the lines are covered too.
        ("\"x-lines\";bs", lines(&["a", " b, c\t"]), true),
        ("\"x-lines\";bs", lines(&["a, b, c"]), false),
        ("\"x-lines\";bs", lines(&["a", "b", "c"]), false),
        // Spellings of a structured field.
        (
            "\"x-dict\";sf",
            with(&base, "x-dict", "a=01,b=2;x=1;  y=2.0,c=(a b c), d=?1"),
            false,
        ),
        (
            "\"x-dict\";sf",
            with(&base, "x-dict", "a=01,b=2;x=1;  y=2,c=( a b  c), d=?1"),
            true,
        ),
        (
            "\"x-dict\";sf",
            with(&base, "x-dict", "b=2;x=1;y=2, a=1, c=(a b c), d"),
            false,
        ),
        (
            "\"x-dict\";sf",
            with(&base, "x-dict", "a=1, b=2;y=2;x=1, c=(a b c), d"),
            false,
        ),
        ("\"x-item\";sf", with(&base, "x-item", "1.500;a"), true),
        ("\"x-item\";sf", with(&base, "x-item", "1.5;a=?0"), false),
        (
            "\"x-list\";sf",
            with(&base, "x-list", "a,(b c);x=?1,?1"),
            true,
        ),
        (
            "\"x-list\";sf",
            with(&base, "x-list", "a, (b c), ?1"),
            false,
        ),
        (
            "\"x-dict\"",
            with(&base, "x-dict", "a=1, b=2;x=1;y=2, c=(a b c), d"),
            false,
        ),
        // And of one member, whatever the others are.
        (
            "\"x-dict\";key=\"b\"",
            with(&base, "x-dict", "other, b=002;x=1; y=2"),
            true,
        ),
        (
            "\"x-dict\";key=\"b\"",
            with(&base, "x-dict", "b=2;x=1;y=3"),
            false,
        ),
        ("\"x-dict\";key=\"b\"", with(&base, "x-dict", "a=1"), false),
        (
            "\"x-dict\";key=\"b\"",
            with(&base, "x-dict", "b=2;x=1;y=2, b=2;x=1;y=2"),
            false,
        ),
        // Spellings of a parameter, its place, and all the others.
        (
            "\"@query-param\";name=\"name\"",
            target("/a%2Fb?name=a%20b"),
            true,
        ),
        (
            "\"@query-param\";name=\"name\"",
            target("/a%2Fb?z&n%61me=%61%20%62&x=2"),
            true,
        ),
        (
            "\"@query-param\";name=\"name\"",
            target("/a%2Fb?name=a%2Bb"),
            false,
        ),
        (
            "\"@query-param\";name=\"name\"",
            target("/a%2Fb?name=a+b&name=a+b"),
            false,
        ),
        (
            "\"@query-param\";name=\"name\"",
            target("/a%2Fb?Name=a+b"),
            false,
        ),
        (
            "\"@query-param\";name=\"name\"",
            target("/a%2Fb?name=a+b+"),
            false,
        ),
        ("\"@query-param\";name=\"name\"", target("/a%2Fb"), false),
        // A query that is empty, or not there.
        ("\"@query\"", target(query), true),
        ("\"@query\"", target("/a%2Fb?x=1&name=a+b&empty=&y"), false),
        (
            "\"@query\"",
            target("/a%2Fb?x=1&name=%61+b&empty=&y&"),
            false,
        ),
    ];
    let mut open = 0;
    for (text, other, expected) in cases {
        // With the query out of the way, for its parameters.
        let mut components: Vec<_> = ["\"@method\"", "\"@authority\"", "\"@path\""].into();
        if !text.contains("query-param") {
            components.push("\"@query\"");
        }
        components.push(text);
        let components = components.iter().map(|text| text.parse().unwrap());
        let scheme = HttpMessageSignatures::builder()
            .danger_require_only(components)
            .structured_field("x-dict", FieldType::Dictionary)
            .structured_field("x-list", FieldType::List)
            .structured_field("x-item", FieldType::Item);
        let scheme = scheme.build().unwrap();
        let signed = sign(&scheme, base.clone());
        let mut sent = other;
        for name in ["signature-input", "signature", "content-digest"] {
            sent = with(&sent, name, signed.headers()[name].as_bytes());
        }
        let payload = verify(&verifier(&scheme), &sent).await;
        assert_eq!(payload.is_ok(), expected, "{text}: {:?}", sent.headers());
        if let Ok(payload) = payload {
            let (_, told, tell) = FORMS.iter().find(|(form, _, _)| *form == text).unwrap();
            assert_eq!(tell(&payload), *told, "{text}");
            open += 1;
        }
    }
    assert_eq!(open, 11);
}

#[tokio::test]
async fn a_request_that_cannot_be_covered_is_not_signed() {
    for (component, request) in [
        ("\"x-absent\"", rich()),
        ("\"x-plain\";sf", rich()),
        ("\"x-dict\";key=\"e\"", rich()),
        ("\"x-list\";key=\"a\"", rich()),
        ("\"x-dict\";sf", with(&rich(), "x-dict", "a=1, a=2")),
        ("\"x-dict\";sf", with(&rich(), "x-dict", "a=")),
        ("\"x-plain\"", with(&rich(), "x-plain", "é")),
        ("\"@query-param\";name=\"absent\"", rich()),
        (
            "\"@query-param\";name=\"x\"",
            with_uri(&rich(), "/?x=1&x=2"),
        ),
        ("\"@query-param\";name=\"x\"", with_uri(&rich(), "/?x=%ff")),
        ("\"@path\"", with_uri(&rich(), "*")),
        ("\"@authority\"", without(&with_uri(&rich(), "/"), "host")),
        ("\"@scheme\"", with_uri(&rich(), "/")),
    ] {
        let refused = super::signer(&scheme(&[component])).sign(request);
        assert!(refused.is_err(), "{component}");
    }
    let binary = with(&rich(), "x-plain", "é");
    let scheme = scheme(&["\"x-plain\";bs"]);
    let payload = verify(&verifier(&scheme), &sign(&scheme, binary))
        .await
        .unwrap();
    assert_eq!(
        payload.header("x-plain").unwrap().as_bytes(),
        "é".as_bytes()
    );
}
