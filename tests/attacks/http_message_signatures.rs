//! The rows on what RFC 9421 has beside a scheme of one signature: labels, components and
//! parameters in dictionaries, and digests of the body.

use countersign::{
    HttpMessageSignatures, Signer, VerifyLayer, rfc9421::Component, scheme::MacAlgorithm,
};
use http::Request;
use sha2::{Digest as _, Sha256, Sha512};

use base64::{Engine as _, engine::general_purpose::STANDARD};

use crate::{
    common::{self, OTHER_KEY, OTHER_SECRET, SECRET, exchange},
    naive::{self, guard},
    subject::{
        Answer, BODY, Breach, Case, Finding, INSUFFICIENT, INVALID, MALFORMED, MISSING,
        NOT_COVERED, REPLAYED, RFC_9421, Subject, Target, accepted, app, assert_survived, breaches,
        case, effective, get, refused, set, to_wire, with, with_another, with_body, without,
    },
};

/// Returns what the signature says about itself, without its label.
fn description(request: &Request<String>) -> String {
    get(request, "signature-input")["sig1=".len()..].to_owned()
}

/// Another description, under the same MAC.
fn redescribed(genuine: &Request<String>, from: &str, to: &str) -> Request<String> {
    let text = get(genuine, "signature-input");
    assert!(text.contains(from), "{from}: {text}");
    with(genuine, "signature-input", text.replacen(from, to, 1))
}

/// Another description, and the MAC that a holder of the secret makes of it.
fn resigned(genuine: &Request<String>, from: &str, to: &str) -> Request<String> {
    let mut request = redescribed(genuine, from, to);
    RFC_9421.resign(&mut request);
    request
}

fn mac(request: &Request<String>, description: &str, secret: &str) -> String {
    let (parts, _) = request.clone().into_parts();
    let base = naive::base(&parts, description);
    let mac = naive::mac(MacAlgorithm::HmacSha256, secret.as_bytes(), &base);
    format!(":{}:", STANDARD.encode(mac))
}

/// With one more signature, under this label, in lines of its own.
fn co_signed(
    request: &Request<String>,
    label: &str,
    description: &str,
    secret: &str,
) -> Request<String> {
    let mac = mac(request, description, secret);
    let request = with_another(
        request,
        "signature-input",
        &format!("{label}={description}"),
    );
    with_another(&request, "signature", &format!("{label}={mac}"))
}

fn cases<const N: usize>(cases: [(&str, Request<String>, Answer); N]) -> Vec<Case> {
    let cases = cases.into_iter();
    cases
        .map(|(name, request, expected)| case(name, request, expected))
        .collect()
}

async fn survives(table: impl AsyncFn(&Request<String>) -> Vec<Case>) {
    let target = Target::new(&RFC_9421).on_a_socket().await;
    let genuine = RFC_9421.signed(&target.clock);
    let cases = table(&genuine).await;
    assert_survived(&RFC_9421, &breaches(&target, &genuine, cases).await);
}

#[tokio::test]
async fn a01_a_signature_that_is_no_byte_sequence() {
    survives(async |genuine| {
        let text = get(genuine, "signature");
        let mac = text["sig1=".len()..].to_owned();
        let values = [
            "sig1".into(),
            "sig1=?1".into(),
            "sig1=token".into(),
            "sig1=1".into(),
            "sig1=1.5".into(),
            "sig1=@1".into(),
            "sig1=::".into(),
            "sig1=()".into(),
            format!("sig1=({mac})"),
            format!("sig1=\"{}\"", &mac[1..mac.len() - 1]),
            format!("SIG1={mac}"),
            format!("sig2={mac}"),
            format!("sig1 ={mac}"),
            format!("sig1= {mac}"),
            format!("sig1:{mac}"),
            format!("{text},"),
            format!(",{text}"),
            format!("{text} {text}"),
            mac,
        ];
        values
            .map(|value| case(value.clone(), with(genuine, "signature", value), MALFORMED))
            .into()
    })
    .await;
}

#[tokio::test]
async fn a02_labels_that_are_swapped_renamed_or_too_many() {
    let target = Target::new(&RFC_9421).on_a_socket().await;
    let one = RFC_9421.signed(&target.clock);
    let by_nobody = description(&one).replace(common::KEY, "nobody");
    let genuine = co_signed(&one, "sig2", &by_nobody, "the secret of nobody known");
    let crossed = |name: &'static str| {
        let [first, second] = ["sig1", "sig2"].map(|label| {
            let lines = genuine.headers().get_all(name).iter();
            let mut lines = lines.map(|line| line.to_str().unwrap().to_owned());
            lines.find(|line| line.starts_with(label)).unwrap()
        });
        let swap = |line: &str, to: &str| format!("{to}{}", &line[4..]);
        format!("{}, {}", swap(&first, "sig2"), swap(&second, "sig1"))
    };
    let many = |n: usize| {
        let mut request = one.clone();
        for label in 1..n {
            request = co_signed(&request, &format!("l{label}"), &by_nobody, SECRET);
        }
        request
    };
    let renamed = |name| with(&one, name, get(&one, name).replacen("sig1", "sig2", 1));
    let table = cases([
        (
            "MACs swapped",
            with(&genuine, "signature", crossed("signature")),
            INVALID,
        ),
        (
            "descriptions swapped",
            with(&genuine, "signature-input", crossed("signature-input")),
            INVALID,
        ),
        ("renamed in `signature`", renamed("signature"), MALFORMED),
        (
            "renamed in `signature-input`",
            renamed("signature-input"),
            MALFORMED,
        ),
        ("seventeen", many(17), MALFORMED),
        (
            "none",
            with(&with(&one, "signature", ""), "signature-input", ""),
            MISSING,
        ),
    ]);
    assert_survived(&RFC_9421, &breaches(&target, &genuine, table).await);

    let sixteen = RFC_9421.sign(&target.clock, common::request("POST", "/", "16"));
    let mut sixteen_labels = sixteen.clone();
    let by_nobody = description(&sixteen).replace(common::KEY, "nobody");
    for label in 1..16 {
        sixteen_labels = co_signed(&sixteen_labels, &format!("l{label}"), &by_nobody, SECRET);
    }
    accepted(&target, sixteen_labels).await.unwrap();
}

#[tokio::test]
async fn a02_a_bad_extra_signature_blocks_nothing() {
    let mac = format!(":{}:", STANDARD.encode([7; 32]));
    let target = Target::new(&RFC_9421).on_a_socket().await;
    let genuine = RFC_9421.signed(&target.clock);
    let extras = [
        ("a=1", format!("a={mac}")),
        ("a", format!("a={mac}")),
        ("a=()", format!("a={mac}")),
        ("a=(1)", format!("a={mac}")),
        ("a=(\"@method\" \"@method\")", format!("a={mac}")),
        ("a=(\"@status\")", format!("a={mac}")),
        ("a=(\"content-type\";tr)", format!("a={mac}")),
        ("a=();tag=\"other\"", format!("a={mac}")),
        ("a=();alg=\"rsa-pss-sha512\"", "a=:YQ==:".into()),
        ("a=();created=1;created=2", format!("a={mac}")),
        (&format!("a={}", description(&genuine)), format!("a={mac}")),
        ("a=()", "a".into()),
    ];
    for (round, (input, signature)) in extras.iter().enumerate() {
        for in_front in [false, true] {
            let text = format!("{round} {in_front}");
            let mut request =
                RFC_9421.sign(&target.clock, common::request("POST", "/transfer", &text));
            for (name, extra) in [("signature-input", *input), ("signature", signature)] {
                let own = get(&request, name);
                let joined = match (extra, in_front) {
                    ("", _) => own,
                    (extra, true) => format!("{extra}, {own}"),
                    (extra, false) => format!("{own}, {extra}"),
                };
                set(&mut request, name, &joined);
            }
            let found = accepted(&target, request).await;
            found.unwrap_or_else(|breach| panic!("{input}: {breach:?}"));
        }
    }
}

/// RFC 9421, section 4, calls it an error.
#[tokio::test]
async fn a02_a_label_in_only_one_of_the_two_fields() {
    let mac = format!("a=:{}:", STANDARD.encode([7; 32]));
    let target = Target::new(&RFC_9421).on_a_socket().await;
    let genuine = RFC_9421.signed(&target.clock);
    let with_label = |name: &'static str, extra: &str, in_front: bool| {
        let own = get(&genuine, name);
        let joined = if in_front {
            format!("{extra}, {own}")
        } else {
            format!("{own}, {extra}")
        };
        with(&genuine, name, joined)
    };
    let mut table = Vec::new();
    for in_front in [false, true] {
        for (name, extra) in [
            ("signature", &*mac),
            ("signature", "a"),
            ("signature-input", "a=()"),
            ("signature-input", "a=();tag=\"other\""),
        ] {
            let request = with_label(name, extra, in_front);
            table.push(case(format!("{extra} {in_front}"), request, MALFORMED));
        }
        let request = with_label("signature-input", "a=()", in_front);
        let own = get(&request, "signature");
        let crossed = with(&request, "signature", format!("{own}, b"));
        table.push(case(format!("crossed {in_front}"), crossed, MALFORMED));
    }
    assert_survived(&RFC_9421, &breaches(&target, &genuine, table).await);
}

fn other_algorithms(genuine: &Request<String>) -> Vec<Case> {
    let own = "alg=\"hmac-sha256\"";
    let mut cases: Vec<_> = [
        "none",
        "",
        "hmac-sha512",
        "hmac-sha1",
        "HMAC-SHA256",
        "hmac-sha256 ",
        "ed25519",
        "rsa-v1_5-sha256",
        "rsa-pss-sha512",
        "ecdsa-p256-sha256",
    ]
    .into_iter()
    .map(|alg| {
        let request = resigned(genuine, own, &format!("alg=\"{alg}\""));
        case(alg, request, INVALID)
    })
    .collect();
    for alg in ["alg=hmac-sha256", "alg", "alg=1", "alg=?0", "alg=:YQ==:"] {
        cases.push(case(alg, resigned(genuine, own, alg), MALFORMED));
    }
    let unsigned = redescribed(genuine, &format!(";{own}"), "");
    cases.push(case("taken out", unsigned, INVALID));
    cases
}

#[tokio::test]
async fn a05_a_request_does_not_choose_the_algorithm() {
    survives(async |genuine| other_algorithms(genuine)).await;
    let target = Target::new(&RFC_9421);
    let genuine = RFC_9421.signed(&target.clock);
    let silent = resigned(&genuine, ";alg=\"hmac-sha256\"", "");
    accepted(&target, silent).await.unwrap();
}

#[tokio::test]
async fn a05_twin_a_server_that_believes_alg_is_found() {
    let target = Target::of(&common::clock(), |effects| {
        guard(effects, |parts, body| {
            naive::header(parts, "signature-input").contains("alg=\"none\"")
                || (naive::header(parts, "signature-input").contains("alg=\"hmac-sha256\"")
                    && naive::header(parts, "signature") == naive::expected(&RFC_9421, parts, body))
        })
    });
    let genuine = RFC_9421.signed(&target.clock);
    let found = breaches(&target, &genuine, other_algorithms(&genuine)).await;
    assert_eq!(effective(&found), ["none"]);
}

/// Two covered headers, each of which could be taken for the other.
static FROM_TO: Subject = Subject {
    builder: || VerifyLayer::builder(from_to()),
    signer: |key, secret| Signer::new(from_to(), key, secret).unwrap(),
    ..RFC_9421
};

fn from_to() -> HttpMessageSignatures {
    let builder = ["x-from", "x-to"]
        .map(|name| Component::header(name).unwrap())
        .into_iter()
        .fold(HttpMessageSignatures::builder(), |b, c| b.covers(c));
    builder.build().unwrap()
}

fn from_alice_to_bob() -> Request<String> {
    let request = common::request("POST", "/transfer", BODY);
    with(&with(&request, "x-from", "alice"), "x-to", "bob")
}

fn moved_components(genuine: &Request<String>) -> Vec<Case> {
    let swapped = with(&with(genuine, "x-from", "bob"), "x-to", "alice");
    let (from, to) = (r#""x-from" "x-to""#, r#""x-to" "x-from""#);
    let mut cases = cases([
        ("swapped", swapped.clone(), INVALID),
        (
            "listed the other way",
            redescribed(genuine, from, to),
            INVALID,
        ),
        (
            "swapped, and listed the other way",
            redescribed(&swapped, from, to),
            INVALID,
        ),
        ("both the same", with(genuine, "x-from", "bob"), INVALID),
        (
            "renamed",
            with(&without(genuine, "x-to"), "x-too", "bob"),
            MALFORMED,
        ),
        (
            "renamed, and so listed",
            redescribed(
                &with(&without(genuine, "x-to"), "x-too", "bob"),
                "\"x-to\"",
                "\"x-too\"",
            ),
            INSUFFICIENT,
        ),
        ("emptied", with(genuine, "x-to", ""), INVALID),
        (
            "moved to a parameter",
            redescribed(genuine, " \"x-to\"", ""),
            INSUFFICIENT,
        ),
    ]);
    for (form, expected) in [
        (";bs", INVALID),
        (";sf", MALFORMED),
        (";key=\"bob\"", INSUFFICIENT),
        (";key=\"b\"", MALFORMED),
        (";bs;sf", MALFORMED),
        (";bs;key=\"bob\"", MALFORMED),
        (";req", MALFORMED),
        (";tr", MALFORMED),
        (";name=\"bob\"", MALFORMED),
        (";other", MALFORMED),
        (";bs;bs", MALFORMED),
        (";bs=?0", MALFORMED),
        (";bs=1", MALFORMED),
    ] {
        let request = redescribed(genuine, "\"x-to\"", &format!("\"x-to\"{form}"));
        cases.push(case(form, request, expected));
    }
    cases
}

#[tokio::test]
async fn a06_a_value_moved_under_another_component() {
    let target = Target::new(&FROM_TO).on_a_socket().await;
    let genuine = FROM_TO.sign(&target.clock, from_alice_to_bob());
    let cases = moved_components(&genuine);
    assert_survived(&FROM_TO, &breaches(&target, &genuine, cases).await);
}

#[tokio::test]
async fn a06_twin_a_server_that_signs_values_without_their_names_is_found() {
    let values = |parts: &http::request::Parts| {
        let input = naive::header(parts, "signature-input");
        let from = input.find("\"x-from\"").unwrap_or(usize::MAX);
        let order = if from < input.find("\"x-to\"").unwrap_or(usize::MAX) {
            ["x-from", "x-to"]
        } else {
            ["x-to", "x-from"]
        };
        let values = order.map(|name| naive::header(parts, name)).join("\n");
        RFC_9421.encode(&naive::mac(
            MacAlgorithm::HmacSha256,
            SECRET.as_bytes(),
            values.as_bytes(),
        ))
    };
    let target = Target::of(&common::clock(), |effects| {
        guard(effects, move |parts, _| {
            naive::header(parts, "signature") == values(parts)
        })
    });
    let mut genuine = FROM_TO.sign(&target.clock, from_alice_to_bob());
    let signature = values(&genuine.clone().into_parts().0);
    set(&mut genuine, "signature", &signature);
    let found = breaches(&target, &genuine, moved_components(&genuine)).await;
    assert!(effective(&found).contains(&"swapped, and listed the other way"));
}

fn sha_256(body: &str) -> String {
    format!("sha-256=:{}:", STANDARD.encode(Sha256::digest(body)))
}

fn sha_512(body: &str) -> String {
    format!("sha-512=:{}:", STANDARD.encode(Sha512::digest(body)))
}

/// Returns what a holder of the key might sign about the body, and what it is worth.
fn digests(genuine: &Request<String>) -> Vec<Case> {
    const MD5: &str = "md5=:1B2M2Y8AsgTpgAmY7PhCfg==:";
    let plain = "\"content-digest\"";
    let with_digest = |field: &str| {
        let mut request = with(genuine, "content-digest", field);
        RFC_9421.resign(&mut request);
        request
    };
    let with_key = |field: &str, key: &str| {
        let request = with(genuine, "content-digest", field);
        resigned(&request, plain, &format!("{plain};key=\"{key}\""))
    };
    let uncovered = resigned(genuine, " \"content-digest\"", "");
    let (right, wrong) = ([sha_256(BODY), sha_512(BODY)], [sha_256("-"), sha_512("-")]);
    let surplus = right[0].replace("=:", "==:").replacen("==:", "=:", 1);
    let two_lines = |one: &str, other: &str| {
        let mut request = with_another(
            &with(genuine, "content-digest", one),
            "content-digest",
            other,
        );
        RFC_9421.resign(&mut request);
        request
    };
    cases([
        ("there, and not covered", uncovered.clone(), INSUFFICIENT),
        (
            "not covered, and not there",
            without(&uncovered, "content-digest"),
            NOT_COVERED,
        ),
        (
            "of a representation",
            with(
                &without(&uncovered, "content-digest"),
                "repr-digest",
                &right[0],
            ),
            NOT_COVERED,
        ),
        (
            "covered, and not there",
            without(genuine, "content-digest"),
            MALFORMED,
        ),
        ("of another body", with_digest(&wrong[0]), INVALID),
        ("sha-512 of another body", with_digest(&wrong[1]), INVALID),
        (
            "sha-512 wrong beside sha-256 right",
            with_digest(&format!("{}, {}", right[0], wrong[1])),
            INVALID,
        ),
        (
            "sha-512 right beside sha-256 wrong",
            with_digest(&format!("{}, {}", right[1], wrong[0])),
            INVALID,
        ),
        (
            "in two lines, one wrong",
            two_lines(&wrong[1], &right[0]),
            INVALID,
        ),
        (
            "one covered and right, the other wrong",
            with_key(&format!("{}, {}", right[0], wrong[1]), "sha-256"),
            INVALID,
        ),
        (
            "one covered and wrong, the other right",
            with_key(&format!("{}, {}", right[0], wrong[1]), "sha-512"),
            INVALID,
        ),
        (
            "only md5 covered",
            with_key(&format!("{}, {MD5}", right[0]), "md5"),
            INSUFFICIENT,
        ),
        ("md5 alone", with_digest(MD5), INSUFFICIENT),
        ("sha alone", with_digest("sha=:YQ==:"), INSUFFICIENT),
        ("none", with_digest(""), INSUFFICIENT),
        (
            "twice the same",
            with_digest(&format!("{0}, {0}", right[0])),
            MALFORMED,
        ),
        (
            "twice, the last one right",
            two_lines(&wrong[0], &right[0]),
            MALFORMED,
        ),
        ("surplus padding", with_digest(&surplus), MALFORMED),
        ("short", with_digest("sha-256=:YQ==:"), MALFORMED),
        ("empty", with_digest("sha-256=::"), MALFORMED),
        (
            "a string",
            with_digest(&right[0].replace(':', "\"")),
            MALFORMED,
        ),
        (
            "in a list",
            with_digest(&format!("sha-256=({})", &right[0]["sha-256=".len()..])),
            MALFORMED,
        ),
        (
            "in hex",
            with_digest(&format!(
                "sha-256=:{}:",
                base16ct::lower::encode_string(&Sha256::digest(BODY))
            )),
            MALFORMED,
        ),
    ])
}

#[tokio::test]
async fn a09_a39_a_digest_counts_only_if_it_is_covered_and_all_of_them_match() {
    survives(async |genuine| digests(genuine)).await;
    let plain = "\"content-digest\"";
    let both = format!("{}, {}, md5=:YQ==:", sha_256(BODY), sha_512(BODY));
    for (form, field) in [
        ("", sha_512(BODY)),
        ("", both.clone()),
        (";sf", both.clone()),
        (";bs", both.clone()),
        (";key=\"sha-256\"", both.clone()),
        (";key=\"sha-512\"", both),
    ] {
        let target = Target::new(&RFC_9421).on_a_socket().await;
        let request = with(&RFC_9421.signed(&target.clock), "content-digest", field);
        let genuine = resigned(&request, plain, &format!("{plain}{form}"));
        let cases = vec![case(form, with_body(&genuine, "another"), INVALID)];
        assert_survived(&RFC_9421, &breaches(&target, &genuine, cases).await);
    }
}

#[tokio::test]
async fn a09_a39_twins_that_compare_no_digest_or_the_first_one_are_found() {
    let signed = |parts: &http::request::Parts, body: &[u8]| {
        naive::header(parts, "signature") == naive::expected(&RFC_9421, parts, body)
    };
    let target = Target::of(&common::clock(), |effects| {
        guard(effects, move |p, b| signed(p, b))
    });
    let genuine = RFC_9421.signed(&target.clock);
    let found = breaches(&target, &genuine, digests(&genuine)).await;
    let found = effective(&found);
    assert!(
        found.contains(&"of another body") && found.contains(&"md5 alone"),
        "{found:?}"
    );

    let target = Target::of(&common::clock(), |effects| {
        guard(effects, move |parts, body| {
            let digest = sha_256(std::str::from_utf8(body).unwrap());
            signed(parts, body) && naive::header(parts, "content-digest").contains(&digest)
        })
    });
    let found = breaches(&target, &genuine, digests(&genuine)).await;
    let found = effective(&found);
    assert!(
        found.contains(&"sha-512 wrong beside sha-256 right"),
        "{found:?}"
    );
    assert!(found.contains(&"there, and not covered"), "{found:?}");
    assert!(!found.contains(&"of another body"));
}

fn fewer(genuine: &Request<String>) -> Vec<Case> {
    let listed = r#"("@method" "@authority" "@path" "@query" "content-digest" "content-type")"#;
    let mut cases: Vec<_> = [
        r#""@method" "#,
        r#""@authority" "#,
        r#""@path" "#,
        r#""@query" "#,
        r#""content-digest" "#,
        r#" "content-type""#,
    ]
    .into_iter()
    .map(|component| {
        let less = listed.replace(component, "");
        case(component, resigned(genuine, listed, &less), INSUFFICIENT)
    })
    .collect();
    cases.push(case("all", resigned(genuine, listed, "()"), INSUFFICIENT));
    cases
}

#[tokio::test]
async fn a10_less_is_covered_than_is_required() {
    survives(async |genuine| {
        let mut cases = fewer(genuine);
        for (from, to, expected) in [
            ("\"@query\"", "\"@query-param\";name=\"x\"", MALFORMED),
            ("\"@query\"", "\"@query-param\"", MALFORMED),
            ("\"@method\"", "\"@method\";req", MALFORMED),
            ("\"@method\"", "\"@method\";sf", MALFORMED),
            ("\"@method\"", "\"@Method\"", MALFORMED),
            ("\"@method\"", "\"@signature-params\"", MALFORMED),
            ("\"@method\"", "\"@unknown\"", MALFORMED),
            ("\"@method\"", "\"host\"", INSUFFICIENT),
            ("\"@authority\"", "\"host\"", INSUFFICIENT),
            ("\"content-type\"", "\"Content-Type\"", MALFORMED),
            ("\"content-type\"", "\"content-type\";tr", MALFORMED),
            ("\"content-type\"", "content-type", MALFORMED),
        ] {
            let request = resigned(genuine, from, to);
            cases.push(case(format!("{to} for {from}"), request, expected));
        }
        cases
    })
    .await;
}

#[tokio::test]
async fn a10_what_holds_as_much_may_stand_for_it() {
    let target = Target::new(&RFC_9421);
    for to in [
        "\"@method\" \"@target-uri\"",
        "\"@target-uri\" \"@method\" \"@path\" \"host\"",
    ] {
        let genuine = RFC_9421.signed(&target.clock);
        let from = r#""@method" "@authority" "@path" "@query""#;
        accepted(&target, resigned(&genuine, from, to))
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn a10_twin_a_server_that_lets_the_signature_say_what_it_covers_is_found() {
    let target = Target::of(&common::clock(), |effects| {
        guard(effects, |parts, body| {
            naive::header(parts, "signature") == naive::expected(&RFC_9421, parts, body)
        })
    });
    let genuine = RFC_9421.signed(&target.clock);
    let cases = fewer(&genuine);
    let all: Vec<_> = cases.iter().map(|case| case.name.clone()).collect();
    assert_eq!(effective(&breaches(&target, &genuine, cases).await), all);
}

fn twice(genuine: &Request<String>) -> Vec<Case> {
    let mut cases = Vec::new();
    // Signed by a holder of the key, so that it is not the MAC that decides.
    for (what, from, to) in [
        ("a component", "\"@method\"", "\"@method\" \"@method\""),
        (
            "a component, in two spellings",
            "\"content-digest\"",
            "\"content-digest\";key=\"sha-256\";sf \"content-digest\";sf;key=\"sha-256\"",
        ),
        (
            "a parameter of a component",
            "\"content-type\"",
            "\"content-type\";bs;bs",
        ),
        ("an unknown parameter", ";created", ";x=1;x=2;created"),
        ("alg", ";alg=", ";alg=\"none\";alg="),
        ("tag", ";alg=", ";tag=\"a\";tag=\"a\";alg="),
        ("expires", ";alg=", ";expires=1;expires=1900000000;alg="),
    ] {
        let expected = if what == "tag" { MISSING } else { MALFORMED };
        cases.push(case(what, resigned(genuine, from, to), expected));
    }
    // Labels are signed by nobody.
    for name in ["signature-input", "signature"] {
        let own = get(genuine, name);
        let other = own.replace("/transfer", "/other").replace(['a', 'e'], "b");
        for (order, first, second) in [
            ("first", own.as_str(), other.as_str()),
            ("last", &other, &own),
            ("and last", &own, &own),
        ] {
            let joined = with(genuine, name, format!("{first}, {second}"));
            cases.push(case(format!("{name}, {order}"), joined, MALFORMED));
            let lines = with_another(&with(genuine, name, first), name, second);
            cases.push(case(format!("{name}, {order} line"), lines, MALFORMED));
        }
    }
    cases
}

#[tokio::test]
async fn a11_what_stands_there_twice_is_refused() {
    survives(async |genuine| twice(genuine)).await;
}

#[tokio::test]
async fn a11_twin_a_dictionary_whose_last_member_counts_is_found() {
    // As structured fields are read, where nobody looks for duplicates.
    let target = Target::of(&common::clock(), |effects| {
        guard(effects, |parts, body| {
            let mut parts = parts.clone();
            for name in ["signature-input", "signature"] {
                let joined = crate::parameter::joined(&parts.headers, name);
                let last = joined.rfind("sig1=").unwrap_or_default();
                parts.headers.insert(name, joined[last..].parse().unwrap());
            }
            naive::header(&parts, "signature") == naive::expected(&RFC_9421, &parts, body)
        })
    });
    let genuine = RFC_9421.signed(&target.clock);
    let found = breaches(&target, &genuine, twice(&genuine)).await;
    let found = effective(&found);
    assert!(
        found.contains(&"signature, last line") && found.contains(&"alg"),
        "{found:?}"
    );
}

#[tokio::test]
async fn a11_several_lines_are_one_dictionary() {
    let target = Target::new(&RFC_9421).on_a_socket().await;
    let genuine = RFC_9421.signed(&target.clock);
    let by_nobody = description(&genuine).replace(common::KEY, "nobody");
    let both = co_signed(&genuine, "sig2", &by_nobody, SECRET);
    accepted(&target, both).await.unwrap();
    refused(&target, genuine, REPLAYED).await.unwrap();
}

#[tokio::test]
async fn a13_a_covered_content_encoding_cannot_be_changed() {
    let target = Target::new(&RFC_9421).on_a_socket().await;
    let request = common::request("POST", "/transfer", BODY);
    let genuine = RFC_9421.sign(&target.clock, with(&request, "content-encoding", "zstd"));
    let table = cases([
        ("gzip", with(&genuine, "content-encoding", "gzip"), INVALID),
        ("empty", with(&genuine, "content-encoding", ""), INVALID),
        (
            "two",
            with_another(&genuine, "content-encoding", "gzip"),
            INVALID,
        ),
        ("none", without(&genuine, "content-encoding"), MALFORMED),
    ]);
    assert_survived(&RFC_9421, &breaches(&target, &genuine, table).await);
}

#[tokio::test]
async fn a14_a31_another_spelling_is_the_same_request() {
    // Everything that is serialized to the same text was signed, and is used up with it.
    for (what, from, to) in [
        (
            "zeros in front",
            "created=1700000000",
            "created=0001700000000",
        ),
        ("spaces in the list", "(\"@method\" ", "(  \"@method\"   "),
        ("a space behind `;`", ";created", ";  created"),
        ("a label", "sig1=", "other=*"),
        ("padding left out", "=:", ":"),
    ] {
        let target = Target::new(&RFC_9421).on_a_socket().await;
        let genuine = RFC_9421.signed(&target.clock);
        let respelled = match what {
            "a label" => {
                let rename = |name| get(&genuine, name).replacen("sig1", "a.b-c_*1", 1);
                let input = with(&genuine, "signature-input", rename("signature-input"));
                with(&input, "signature", rename("signature"))
            }
            "padding left out" => {
                let text = get(&genuine, "signature");
                assert!(text.ends_with(from));
                with(
                    &genuine,
                    "signature",
                    text.replace(from, to).replace("sig1:", "sig1=:"),
                )
            }
            _ => redescribed(&genuine, from, to),
        };
        let found = accepted(&target, respelled).await;
        found.unwrap_or_else(|breach| panic!("{what}: {breach:?}"));
        refused(&target, genuine, REPLAYED).await.unwrap();
    }
}

#[tokio::test]
async fn a29_bytes_that_are_no_text_cannot_be_covered() {
    let target = Target::new(&RFC_9421).on_a_socket().await;
    let genuine = RFC_9421.signed(&target.clock);
    for value in [&b"\xff"[..], b"a\x80b", "é".as_bytes()] {
        for name in ["content-type", "content-digest", "signature-input"] {
            refused(&target, with(&genuine, name, value), MALFORMED)
                .await
                .unwrap();
        }
    }
    accepted(&target, genuine).await.unwrap();
}

/// One request under two labels: both at once, and then one at a time.
async fn two_labels(target: &Target, subject: &Subject, input: fn(&str) -> String) -> Finding {
    let one = subject.signed(&target.clock);
    let description = input(&description(&one));
    let mut one = with(&one, "signature-input", format!("sig1={description}"));
    subject.resign(&mut one);
    let both = co_signed(&one, "other", &description, SECRET);
    let alone = |label: &str| {
        let mut request = both.clone();
        for name in ["signature-input", "signature"] {
            let lines = both.headers().get_all(name).iter();
            let mut lines = lines.map(|line| line.to_str().unwrap());
            let line = lines.find(|line| line.starts_with(label)).unwrap();
            set(&mut request, name, line);
        }
        request
    };
    accepted(target, both.clone()).await?;
    refused(target, alone("other="), REPLAYED).await?;
    refused(target, alone("sig1="), REPLAYED).await?;
    refused(target, both.clone(), REPLAYED).await
}

static WITHOUT_NONCE: Subject = Subject {
    builder: || VerifyLayer::builder(without_nonce()),
    ..RFC_9421
};

fn without_nonce() -> HttpMessageSignatures {
    let builder = HttpMessageSignatures::builder().danger_without_nonce();
    builder.build().unwrap()
}

fn no_nonce(description: &str) -> String {
    let (before, nonce) = description.split_once(";nonce=\"").unwrap();
    let (_, after) = nonce.split_once('"').unwrap();
    format!("{before}{after}")
}

#[tokio::test]
async fn a31_two_labels_over_one_message_are_one_request() {
    let target = Target::new(&RFC_9421).on_a_socket().await;
    two_labels(&target, &RFC_9421, str::to_owned).await.unwrap();
    let target = Target::new(&WITHOUT_NONCE).on_a_socket().await;
    two_labels(&target, &WITHOUT_NONCE, no_nonce).await.unwrap();
}

#[tokio::test]
async fn a31_twin_a_server_whose_nonce_is_the_label_is_found() {
    let clock = common::clock();
    let target = Target::of(&clock, |effects| {
        let seen = std::sync::Mutex::new(std::collections::HashSet::new());
        let seen = std::sync::Arc::new(seen);
        guard(effects, move |parts, _| {
            let input = crate::parameter::joined(&parts.headers, "signature-input");
            let label = input.split_once('=').unwrap_or_default().0.to_owned();
            seen.lock().unwrap().insert(label)
        })
    });
    let found = two_labels(&target, &RFC_9421, str::to_owned).await;
    assert!(matches!(found, Err(Breach::Effect(_))), "{found:?}");
}

#[tokio::test]
async fn a31_two_valid_signatures_that_differ_in_key_nonce_or_time_are_refused() {
    // Were one of them let through, the other, sent alone, would be a second request.
    let target = Target::new(&RFC_9421).on_a_socket().await;
    let genuine = RFC_9421.signed(&target.clock);
    let own = description(&genuine);
    let nonce = no_nonce(&own) + ";nonce=\"another\"";
    let time = own.replace("=1700000000", "=1700000001");
    let key = own.replace(common::KEY, OTHER_KEY);
    let mut table = Vec::new();
    for (what, description, secret) in [
        ("nonce", nonce, SECRET),
        ("time", time, SECRET),
        ("key", key, OTHER_SECRET),
    ] {
        let both = co_signed(&genuine, "other", &description, secret);
        table.push(case(what, both, MALFORMED));
    }
    let many = (1..=4).fold(genuine.clone(), |request, label| {
        co_signed(&request, &format!("l{label}"), &own, SECRET)
    });
    table.push(case("five alike", many, MALFORMED));
    assert_survived(&RFC_9421, &breaches(&target, &genuine, table).await);

    // Four that make one claim are one request.
    let genuine = RFC_9421.sign(&target.clock, common::request("POST", "/", "four"));
    let own = description(&genuine);
    let four = (1..=3).fold(genuine.clone(), |request, label| {
        co_signed(&request, &format!("l{label}"), &own, SECRET)
    });
    accepted(&target, four).await.unwrap();
    refused(&target, genuine, REPLAYED).await.unwrap();
}

#[tokio::test]
async fn a33_the_signature_of_a_response_is_none_of_a_request() {
    survives(async |genuine| {
        let mut cases = Vec::new();
        for component in [
            "\"@status\"",
            "\"@status\";req",
            "\"@method\";req",
            "\"signature\";req;key=\"sig1\"",
            "\"content-type\";req",
        ] {
            let request = resigned(
                genuine,
                "(\"@method\"",
                &format!("({component} \"@method\""),
            );
            cases.push(case(component, request, MALFORMED));
        }
        cases
    })
    .await;
}

#[tokio::test]
async fn a02_another_tag_is_another_application() {
    // Two services that share a key: what is signed for the one is nothing for the other.
    let tagged = || {
        HttpMessageSignatures::builder()
            .tag("payments")
            .build()
            .unwrap()
    };
    let clock = common::clock();
    let layer = VerifyLayer::builder(tagged()).public_origin(common::ORIGIN);
    let layer = layer.keys(common::keys()).clock(clock.clone());
    let layer = layer.store(common::store(&clock)).build().unwrap();
    let target = Target::of(&clock, |effects| app(effects).layer(layer))
        .on_a_socket()
        .await;
    let untagged = RFC_9421.signed(&clock);
    let genuine = Signer::new(tagged(), common::KEY, SECRET)
        .unwrap()
        .clock(clock.clone())
        .sign(common::request("POST", "/transfer", BODY))
        .unwrap();
    let retagged = |to: &str| redescribed(&genuine, ";tag=\"payments\"", to);
    let table = cases([
        ("none", untagged.clone(), MISSING),
        ("taken out", retagged(""), MISSING),
        ("another", retagged(";tag=\"other\""), MISSING),
        ("in capitals", retagged(";tag=\"Payments\""), MISSING),
        ("a token", retagged(";tag=payments"), MISSING),
        (
            "put in",
            redescribed(&untagged, ";alg", ";tag=\"payments\";alg"),
            INVALID,
        ),
    ]);
    assert_survived(&RFC_9421, &breaches(&target, &genuine, table).await);
    let (status, _) = exchange(target.addr.unwrap(), &to_wire(&genuine)).await;
    assert_eq!(status, REPLAYED.0);

    let target = Target::new(&RFC_9421);
    refused(&target, genuine, MISSING).await.unwrap();
}
