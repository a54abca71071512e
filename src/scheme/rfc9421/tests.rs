//! The scheme against the examples and the errors of RFC 9421.

use std::time::Duration;

use http::{
    HeaderMap, HeaderName, Method, Request, StatusCode, Version, header::HOST, request::Parts,
};

use super::{
    AcceptSignature, Component, FieldType, HttpMessageSignatures,
    base::{Source, base},
    canonical::Why,
    fields,
    names::ACCEPT_SIGNATURE,
    usual,
};
use crate::{
    message::{Head, Message, Origin, Origins, Routed},
    scheme::Describe as _,
};

const URL: &str = "https://example.com/foo?param=Value&Pet=dog";

fn head_of(request: &Request<()>) -> (Parts, Origins) {
    let mut parts = Request::new(()).into_parts().0;
    parts.method = request.method().clone();
    parts.uri = request.uri().clone();
    parts.version = request.version();
    parts.headers = request.headers().clone();
    let mut origins = Origins::default();
    origins.allow_any();
    origins
        .add(Origin::parse("https://example.com").unwrap())
        .unwrap();
    (parts, origins)
}

fn with_head<T>(request: &Request<()>, run: impl FnOnce(&Head<'_>) -> T) -> T {
    let (parts, origins) = head_of(request);
    run(&origins.head(&parts, Routed::nowhere(&parts)).unwrap())
}

fn input(text: &str) -> Result<(String, usize), Why> {
    let field = format!("sig={text}");
    let member = usual::read_inputs(&field)?.remove(0);
    member.input.map(|input| {
        (
            input.listed.text.into_owned(),
            input.listed.components.len(),
        )
    })
}

/// The base of a request, as far as there is one.
fn base_of(request: &Request<()>, text: &str) -> Result<String, Why> {
    let types = [(
        HeaderName::from_static("example-dict"),
        FieldType::Dictionary,
    )];
    let field = format!("sig={text}");
    let input = usual::read_inputs(&field)?.remove(0).input?;
    with_head(request, |head| {
        let message = base(
            Source::Request(head),
            &input.listed,
            &types,
            &mut crate::proof::Room::new(),
        )?;
        Ok(written(&message))
    })
}

fn written(message: &Message) -> String {
    String::from_utf8(message.before_body().to_vec()).unwrap()
}

fn request(headers: &[(&'static str, &str)]) -> Request<()> {
    let mut request = Request::post("/foo?param=Value&Pet=dog")
        .header(HOST, "example.com")
        .header("date", "Tue, 20 Apr 2021 02:07:55 GMT")
        .header("content-type", "application/json")
        .body(())
        .unwrap();
    for (name, value) in headers {
        request.headers_mut().append(*name, value.parse().unwrap());
    }
    request
}

/// RFC 9421, B.2.5.
#[test]
fn the_base_is_that_of_the_rfc() {
    let params =
        r#"("date" "@authority" "content-type");created=1618884473;keyid="test-shared-secret""#;
    let expected = format!(
        "\"date\": Tue, 20 Apr 2021 02:07:55 GMT\n\"@authority\": example.com\n\
         \"content-type\": application/json\n\"@signature-params\": {params}"
    );
    assert_eq!(base_of(&request(&[]), params).unwrap(), expected);
}

#[test]
fn every_derived_component_of_a_request_has_its_value() {
    let lines = |request: &Request<()>, components: &str| {
        let base = base_of(request, &format!("({components})")).unwrap();
        let (lines, _) = base.rsplit_once('\n').unwrap();
        lines.to_owned()
    };
    let request = request(&[]);
    for (component, value) in [
        ("\"@method\"", "POST"),
        ("\"@target-uri\"", URL),
        ("\"@authority\"", "example.com"),
        ("\"@scheme\"", "https"),
        ("\"@request-target\"", "/foo?param=Value&Pet=dog"),
        ("\"@path\"", "/foo"),
        ("\"@query\"", "?param=Value&Pet=dog"),
        ("\"@query-param\";name=\"Pet\"", "dog"),
    ] {
        assert_eq!(lines(&request, component), format!("{component}: {value}"));
    }
    let mut absolute = Request::get("https://EXAMPLE.com:443/?").body(()).unwrap();
    *absolute.version_mut() = Version::HTTP_11;
    let asked = r#""@request-target" "@path" "@query" "@authority""#;
    assert_eq!(
        lines(&absolute, asked),
        "\"@request-target\": https://EXAMPLE.com:443/?\n\"@path\": /\n\"@query\": ?\n\
         \"@authority\": example.com"
    );
    *absolute.version_mut() = Version::HTTP_2;
    assert_eq!(
        lines(&absolute, "\"@request-target\""),
        "\"@request-target\": /?"
    );
}

/// RFC 9421, sections 2.1 and 2.1.1 to 2.1.3.
#[test]
fn fields_have_their_value_in_each_form() {
    let request = request(&[
        ("cache-control", "max-age=60"),
        ("cache-control", "   must-revalidate"),
        ("x-empty-header", ""),
        ("example-dict", " a=1,    b=2;x=1;y=2,   c=(a   b   c), d"),
        ("example-header", "value, with, lots"),
        ("example-header", "of, commas"),
    ]);
    for (component, value) in [
        ("\"cache-control\"", "max-age=60, must-revalidate"),
        ("\"x-empty-header\"", ""),
        (
            "\"example-dict\"",
            "a=1,    b=2;x=1;y=2,   c=(a   b   c), d",
        ),
        ("\"example-dict\";sf", "a=1, b=2;x=1;y=2, c=(a b c), d"),
        ("\"example-dict\";key=\"d\"", "?1"),
        ("\"example-dict\";key=\"b\"", "2;x=1;y=2"),
        ("\"example-dict\";key=\"c\"", "(a b c)"),
        (
            "\"example-header\";bs",
            ":dmFsdWUsIHdpdGgsIGxvdHM=:, :b2YsIGNvbW1hcw==:",
        ),
    ] {
        let base = base_of(&request, &format!("({component})")).unwrap();
        let expected = format!("{component}: {value}\n\"@signature-params\": ({component})");
        assert_eq!(base, expected);
    }
}

#[test]
fn whatever_the_rfc_calls_an_error_is_one() {
    let request = request(&[
        ("example-dict", "a=1, b=2"),
        ("twice", "a=1"),
        ("twice", "a=2"),
        ("x-unknown", "1"),
        ("priority", "(1"),
    ]);
    for text in [
        r#"("@method" "@method")"#,
        r#"("example-dict";key="a" "example-dict";sf;key="a")"#,
        r#"("@status")"#,
        r#"("@method";req)"#,
        r#"("date";req)"#,
        r#"("date";tr)"#,
        r#"("date";unknown)"#,
        r#"("date";bs;sf)"#,
        r#"("example-dict";bs;key="a")"#,
        r#"("example-dict";key="a";key="b")"#,
        r#"("example-dict";key=a)"#,
        r#"("example-dict";key)"#,
        r#"("date";sf=?0)"#,
        r#"("x-unknown";sf)"#,
        r#"("priority";sf)"#,
        r#"("twice";key="a")"#,
        r#"("absent")"#,
        r#"("absent";bs)"#,
        r#"("example-dict";key="c")"#,
        r#"("@query-param")"#,
        r#"("@query-param";name="absent")"#,
        r#"("@method";name="x")"#,
        r#"("@path";sf)"#,
        r#"("@unknown")"#,
        r#"("@signature-params")"#,
        r#"("Date")"#,
        r#"("")"#,
        "(date)",
        "(1)",
        r#"("date");created=1;created=1"#,
        r#"("date");created="1""#,
        r#"("date");created=-1"#,
        r#"("date");created=1.0"#,
        r#"("date");created"#,
        r#"("date");expires=?1"#,
        r#"("date");nonce=1"#,
        r#"("date");keyid=token"#,
        r#"("date");alg"#,
        r#"("date");tag=:YQ==:"#,
        "token",
        "\"date\"",
    ] {
        assert!(base_of(&request, text).is_err(), "{text}");
    }
    let many = (0..=64).map(|i| format!("\"x-{i}\"")).collect::<Vec<_>>();
    assert!(input(&format!("({})", many.join(" "))).is_err());
    assert!(input(&format!("({})", many[..64].join(" "))).is_ok());
}

/// The work that somebody without a key can cause is bounded.
#[test]
fn a_signature_does_not_make_much_work() {
    let list = |n: usize, of: &dyn Fn(usize) -> String, delimiter: &str| {
        (0..n).map(of).collect::<Vec<_>>().join(delimiter)
    };
    let members = |n| list(n, &|i| format!("m{i}"), ", ");
    let covered = |n| list(n, &|i| format!("\"example-dict\";key=\"m{i}\""), " ");
    let with_members = |n| request(&[("example-dict", &members(n))]);
    let sf = r#"("example-dict";sf)"#;
    assert!(
        base_of(&with_members(1024), sf).is_ok(),
        "RFC 9651, section 3.2"
    );
    assert!(base_of(&with_members(20_000), sf).is_err());
    assert!(base_of(&with_members(64), &format!("({})", covered(64))).is_ok());
    let long = request(&[(
        "example-dict",
        &format!("{};x=\"{}\"", members(64), "x".repeat(2000)),
    )]);
    // Each input is read once, however many of its members are covered.
    assert!(base_of(&long, &format!("({})", covered(64))).is_ok());
    let long = request(&[("example-dict", &"x".repeat(40 * 1024))]);
    assert!(base_of(&long, r#"("example-dict")"#).is_ok());
    assert!(base_of(&long, r#"("example-dict" "example-dict";bs)"#).is_err());

    let parameters = |n| format!("(){}", list(n, &|i| format!(";p{i}"), ""));
    assert!(input(&parameters(64)).is_ok());
    assert!(input(&parameters(65)).is_err());
    assert!(input(&format!("();x=\"{}\"", "x".repeat(16 * 1024 - 20))).is_ok());
    assert!(input(&format!("();x=\"{}\"", "x".repeat(16 * 1024))).is_err());
}

#[test]
fn parameters_are_signed_as_they_are_serialized() {
    for (given, signed) in [
        (
            r#"(  "date"   "@path" );created=01"#,
            r#"("date" "@path");created=1"#,
        ),
        (
            r#"("date";req;sf);x=1.50;y=?1"#,
            r#"("date";req;sf);x=1.5;y"#,
        ),
        (
            r#"();nonce="\"\\";created=1"#,
            r#"();nonce="\"\\";created=1"#,
        ),
        ("();b=:YQ:;c=tok;d=?0", "();b=:YQ==:;c=tok;d=?0"),
    ] {
        assert_eq!(input(given).unwrap().0, signed);
    }
}

#[test]
fn labels_and_members_are_told_apart() {
    let labels = |field: &str| {
        let members = usual::read_inputs(field)?;
        Ok::<_, Why>(
            members
                .iter()
                .map(|member| (member.label.to_owned(), member.input.is_ok()))
                .collect::<Vec<_>>(),
        )
    };
    assert_eq!(
        labels("a=(), b=1, c=(\"x\" \"x\"), d").unwrap(),
        [
            ("a".to_owned(), true),
            ("b".to_owned(), false),
            ("c".to_owned(), false),
            ("d".to_owned(), false),
        ]
    );
    for field in ["a=(), a=()", "a=(),", "a=(", "a=()b", "A=()", "a=(\"x\"y)"] {
        assert!(labels(field).is_err(), "{field}");
    }
    let many = |n| {
        (0..n)
            .map(|i| format!("l{i}=()"))
            .collect::<Vec<_>>()
            .join(", ")
    };
    assert!(labels(&many(16)).is_ok());
    assert!(labels(&many(17)).is_err());

    let signature = |field| {
        fields::read_signatures(field).map(|found| {
            found
                .iter()
                .map(|(_, mac)| mac.is_some())
                .collect::<Vec<_>>()
        })
    };
    assert_eq!(
        signature("a=:YQ==:, b=1, c, d=(:YQ==:)").unwrap(),
        [true, false, false, false]
    );
    for field in ["a=:YQ==:, a=:YQ==:", "a=:YQ==", "a=:Y?==:"] {
        assert!(signature(field).is_err(), "{field}");
    }
}

/// RFC 9421, B.2.4.
#[test]
fn the_base_of_a_response_is_that_of_the_rfc() {
    const DIGEST: &str = "sha-512=:mEWXIS7MaLRuGgxOBdODa3xqM1XdEvxoYhvlCFJ41QJgJc4GTsPp29l5oGX69wWdXymyU0rjJuahq4l5aGgfLQ==:";
    let params = r#"("@status" "content-type" "content-digest" "content-length");created=1618884473;keyid="test-key-ecc-p256""#;
    let mut headers = HeaderMap::new();
    headers.insert("date", "Tue, 20 Apr 2021 02:07:56 GMT".parse().unwrap());
    headers.insert("content-type", "application/json".parse().unwrap());
    headers.insert("content-digest", DIGEST.parse().unwrap());
    headers.insert("content-length", "23".parse().unwrap());
    let field = format!("sig-b24={params}");
    let input = usual::read_inputs(&field).unwrap().remove(0).input.unwrap();
    let message = with_head(&request(&[]), |request| {
        let response = Source::Response {
            status: StatusCode::OK,
            headers: &headers,
            request,
        };
        base(response, &input.listed, &[], &mut crate::proof::Room::new()).unwrap()
    });
    let expected = format!(
        "\"@status\": 200\n\"content-type\": application/json\n\"content-digest\": {DIGEST}\n\
         \"content-length\": 23\n\"@signature-params\": {params}"
    );
    assert_eq!(written(&message), expected);
}

#[test]
fn a_response_is_bound_to_the_request_that_it_answers() {
    let request = request(&[("signature", "sig1=:YQ==:")]);
    let mut headers = HeaderMap::new();
    headers.insert("content-type", "text/plain".parse().unwrap());
    let components = r#"("@status" "content-type" "@method";req "signature";req;key="sig1")"#;
    let field = format!("sig={components}");
    let input = usual::read_inputs(&field).unwrap().remove(0).input.unwrap();
    let message = with_head(&request, |request| {
        let response = Source::Response {
            status: StatusCode::OK,
            headers: &headers,
            request,
        };
        base(response, &input.listed, &[], &mut crate::proof::Room::new()).unwrap()
    });
    let expected = format!(
        "\"@status\": 200\n\"content-type\": text/plain\n\"@method\";req: POST\n\
         \"signature\";req;key=\"sig1\": :YQ==:\n\"@signature-params\": {components}"
    );
    assert_eq!(written(&message), expected);

    let field = r#"sig=("@method")"#;
    let input = usual::read_inputs(field).unwrap().remove(0).input.unwrap();
    let refused = with_head(&request, |request| {
        let response = Source::Response {
            status: StatusCode::OK,
            headers: &headers,
            request,
        };
        base(response, &input.listed, &[], &mut crate::proof::Room::new()).is_err()
    });
    assert!(refused, "a response has no method");
}

#[test]
fn components_are_read_and_written_as_the_rfc_does() {
    for text in [
        r#""@method""#,
        r#""x-tenant""#,
        r#""example-dict";sf"#,
        r#""example-dict";key="a""#,
        r#""x-binary";bs"#,
        r#""@query-param";name="fa%C3%A7ade%22%3A%20""#,
        r#""signature";key="sig1";req"#,
    ] {
        assert_eq!(text.parse::<Component>().unwrap().to_string(), text);
    }
    for text in [
        "@method",
        r#""@nothing""#,
        r#""Date""#,
        r#""date";tr"#,
        "",
        "\"a\" \"b\"",
    ] {
        assert!(text.parse::<Component>().is_err(), "{text}");
    }
    assert_eq!(
        Component::query_param("façade\": ").unwrap().to_string(),
        r#""@query-param";name="fa%C3%A7ade%22%3A%20""#
    );
    assert!(Component::header("not a header").is_err());
}

#[test]
fn a_profile_that_cannot_be_is_refused() {
    let builder = HttpMessageSignatures::builder;
    assert!(builder().build().is_ok());
    assert!(builder().label("Sig").build().is_err());
    assert!(builder().label("").build().is_err());
    assert!(builder().tag("é").build().is_err());
    assert!(builder().covers(Component::STATUS).build().is_err());
    assert!(
        builder()
            .covers(Component::METHOD.of_request())
            .build()
            .is_err()
    );
    for (own, valid) in [
        (r#""signature""#, false),
        (r#""signature-input";sf"#, false),
        (r#""signature";key="other""#, true),
    ] {
        let profile = builder().covers(own.parse().unwrap());
        assert_eq!(profile.build().is_ok(), valid, "{own}");
    }
    let hop = Component::header("transfer-encoding").unwrap();
    assert!(builder().covers(hop).build().is_err());
    assert!(
        builder()
            .expires_after(Duration::from_millis(999))
            .build()
            .is_err()
    );
    assert!(
        builder()
            .structured_field("no header", FieldType::Item)
            .build()
            .is_err()
    );
}

#[test]
fn what_a_client_is_asked_for_can_be_read_and_signed() {
    let scheme = HttpMessageSignatures::builder()
        .label("app")
        .tag("payments")
        .covers(Component::header("x-tenant").unwrap())
        .build()
        .unwrap();
    let mut challenge = HeaderMap::new();
    scheme.challenge(scheme.asked(&HeaderMap::new()), &mut challenge);
    let accept = &challenge[ACCEPT_SIGNATURE];
    assert_eq!(
        accept,
        r#"app=("@method" "@authority" "@path" "@query" "x-tenant" "content-digest");created;alg="hmac-sha256";tag="payments""#
    );
    let mut headers = HeaderMap::new();
    assert!(AcceptSignature::read(&headers).unwrap().is_empty());
    headers.insert(ACCEPT_SIGNATURE, accept.clone());
    let asked = &AcceptSignature::read(&headers).unwrap()[0];
    assert_eq!((asked.label(), asked.tag()), ("app", Some("payments")));
    assert_eq!(asked.components().len(), 6);

    let signer =
        crate::client::Signer::new(asked.scheme().unwrap(), "a", "the secret of key a").unwrap();
    let request = Request::builder()
        .method(Method::GET)
        .uri(URL)
        .header("x-tenant", "7")
        .body("")
        .unwrap();
    let signed = signer.sign(request).unwrap();
    let input = signed.headers()["signature-input"].to_str().unwrap();
    assert!(
        input.starts_with(
            r#"app=("@method" "@authority" "@path" "@query" "x-tenant" "content-digest");created="#
        ),
        "{input}"
    );
    assert!(input.ends_with(r#";tag="payments""#), "{input}");

    headers.insert(
        ACCEPT_SIGNATURE,
        r#"s=();nonce="n";keyid="k";expires"#.parse().unwrap(),
    );
    let asked = &AcceptSignature::read(&headers).unwrap()[0];
    assert_eq!((asked.nonce(), asked.key_id()), (Some("n"), Some("k")));
    for text in ["s=();alg=\"ed25519\"", "s=(\"@status\")"] {
        headers.insert(ACCEPT_SIGNATURE, text.parse().unwrap());
        assert!(
            AcceptSignature::read(&headers).unwrap()[0]
                .scheme()
                .is_err(),
            "{text}"
        );
    }
    for text in ["s=(), s=()", "s", "s=(\"a\" \"a\")", "("] {
        headers.insert(ACCEPT_SIGNATURE, text.parse().unwrap());
        assert!(AcceptSignature::read(&headers).is_err(), "{text}");
    }
}
