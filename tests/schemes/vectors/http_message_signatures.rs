//! RFC 9421, RFC 9530 and structured fields.
//!
//! One example of RFC 9421 is made with HMAC. RFC 9421 prints the signature base of all others:
//! a MAC over that base is accepted if, and only if, ours is the same to the last byte.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use countersign::{
    HttpMessageSignatures, error::ResponseErrorKind, response::ResponseVerifier, rfc9421::FieldType,
};
use http::{HeaderValue, Response};

use super::*;

const OUR_SECRET: &str = "a secret that no RFC has printed";
const KEY: &str = "our-key";
const NOW: u64 = 1_618_884_473;

#[derive(Clone, Deserialize)]
struct Message {
    start_line: String,
    headers: Vec<(String, String)>,
    body: String,
}

impl Message {
    /// A request, with the folding of lines undone as HTTP does it.
    fn request(&self) -> Request<String> {
        let mut line = self.start_line.split(' ');
        let (method, target) = (line.next().unwrap(), line.next().unwrap());
        let mut request = Request::builder().method(method).uri(target);
        for (name, value) in &self.headers {
            let lines: Vec<_> = value.split('\n').collect();
            let value = if lines.len() > 1 {
                lines
                    .iter()
                    .map(|line| line.trim())
                    .collect::<Vec<_>>()
                    .join(" ")
            } else {
                value.clone()
            };
            request = request.header(name, value);
        }
        request.body(self.body.clone()).unwrap()
    }
}

/// The least that can be required, so that the base decides.
fn profile() -> countersign::rfc9421::HttpMessageSignaturesBuilder {
    HttpMessageSignatures::builder()
        .danger_require_only([])
        .danger_without_nonce()
        .structured_field("example-dict", FieldType::Dictionary)
}

/// The verdict on a request that is signed by this key with this secret.
async fn verdict(
    profile: countersign::rfc9421::HttpMessageSignaturesBuilder,
    (key, secret): (&str, &[u8]),
    origin: &str,
    request: &Request<String>,
) -> Result<(), RejectionKind> {
    let clock = ManualClock::at(Timestamp::from_secs(NOW).unwrap());
    let store = MemoryStore::builder()
        .clock(clock.clone())
        .danger_assume_no_history();
    let verifier = Verifier::builder(profile.build().unwrap())
        .public_origin(origin)
        .danger_any_authority()
        .methods([request.method().clone()])
        .keys(KeyRing::new().with(key, secret).unwrap())
        .store(store.build().unwrap())
        .clock(clock)
        .build()
        .unwrap();
    let (head, body) = request.clone().into_parts();
    let verified = verifier.verify(&head, Full::<Bytes>::from(body)).await;
    verified.map(|_| ()).map_err(|rejection| rejection.kind())
}

/// The request with a signature over this base.
fn signed(request: &Request<String>, input: &str, base: &str) -> Request<String> {
    let (label, _) = input.split_once('=').unwrap();
    let mut mac = Hmac::<Sha256>::new_from_slice(OUR_SECRET.as_bytes()).unwrap();
    mac.update(base.as_bytes());
    let mac = STANDARD.encode(mac.finalize().into_bytes());
    let mut request = request.clone();
    let headers = request.headers_mut();
    headers.insert("signature-input", input.parse().unwrap());
    headers.insert("signature", format!("{label}=:{mac}:").parse().unwrap());
    request
}

/// Returns whether this is our base, and whether one byte more or another one would be noticed.
async fn is_our_base(
    key: &str,
    origin: &str,
    request: &Request<String>,
    input: &str,
    base: &str,
) -> Result<(), RejectionKind> {
    let tag = input.split("tag=\"").nth(1);
    let tag = tag.and_then(|tag| tag.split('"').next());
    let of = async |base: &str| {
        let request = signed(request, input, base);
        let profile = tag.iter().fold(profile(), |profile, tag| profile.tag(*tag));
        verdict(profile, (key, OUR_SECRET.as_bytes()), origin, &request).await
    };
    let verdict = of(base).await;
    let other = base.replacen(": ", ":  ", 1);
    let misprinted = base.replace("\"@signature-params\"", "\"@signature-input\"");
    for other in [&other, &misprinted, &format!("{base}\n")] {
        assert!(of(other).await.is_err(), "{other}");
    }
    verdict
}

#[derive(Deserialize)]
struct AppendixB2 {
    shared_secret_base64: String,
    test_request: Message,
    test_response: Message,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    id: String,
    target: String,
    alg: String,
    signature_input: String,
    signature: String,
    expected_base: String,
}

#[tokio::test]
async fn the_examples_of_rfc_9421_appendix_b_2() {
    let file = "rfc9421/appendix-b2.json";
    let Some(vectors) = vectors::<AppendixB2>(file) else {
        return;
    };
    let secret = STANDARD.decode(&vectors.shared_secret_base64).unwrap();
    let mut same = Vec::new();
    for case in &vectors.cases {
        let Case {
            id,
            expected_base,
            signature_input,
            ..
        } = case;
        if case.target == "response" {
            is_our_base_of_a_response(&vectors, case).await;
            same.push(&**id);
            continue;
        }
        let key = signature_input.split("keyid=\"").nth(1).unwrap();
        let key = key.split('"').next().unwrap();
        let whole = vectors.test_request.request();
        // Each of these that is there must be covered; in the examples that is not always so.
        let mut request = whole.clone();
        for name in ["content-type", "content-digest"] {
            if !signature_input.contains(&format!("\"{name}\"")) {
                request.headers_mut().remove(name);
            }
        }
        if !request.headers().contains_key("content-digest") {
            request.body_mut().clear();
        }
        let origin = "https://example.com";
        let ours = is_our_base(key, origin, &request, signature_input, expected_base).await;
        assert_eq!(ours, Ok(()), "{id}");
        same.push(&**id);
        if request.headers() != whole.headers() {
            let whole = is_our_base(key, origin, &whole, signature_input, expected_base).await;
            assert_eq!(whole, Err(RejectionKind::SignatureInsufficient), "{id}");
        }
        // The signature that is printed: right for the one, and none for us for the others.
        let headers = request.headers_mut();
        headers.insert("signature-input", signature_input.parse().unwrap());
        headers.insert("signature", case.signature.parse().unwrap());
        let printed = verdict(profile(), (key, &secret), origin, &request).await;
        let expected = match case.alg.as_str() {
            "hmac-sha256" => Ok(()),
            _ if signature_input.contains("tag=") => Err(RejectionKind::SignatureMissing),
            _ => Err(RejectionKind::SignatureMalformed),
        };
        assert_eq!(printed, expected, "{id}");
    }
    assert_eq!(same, ["B.2.1", "B.2.2", "B.2.3", "B.2.4", "B.2.5", "B.2.6"]);
}

/// The printed example is not bound to its request, so it is refused. With the components that bind
/// it, a MAC over all lines is accepted.
async fn is_our_base_of_a_response(vectors: &AppendixB2, case: &Case) {
    let mut request = Request::new(()).into_parts().0;
    let sent = vectors.test_request.request();
    request.method = sent.method().clone();
    request.uri = sent.uri().clone();
    request.headers = sent.headers().clone();
    let (printed, _) = case.expected_base.rsplit_once('\n').unwrap();
    let printed: Vec<_> = printed.lines().map(str::to_owned).collect();
    let digest = request.headers["content-digest"].to_str().unwrap();
    let binding = [
        "\"@method\";req: POST".to_owned(),
        "\"@authority\";req: example.com".to_owned(),
        "\"@path\";req: /foo".to_owned(),
        "\"@query\";req: ?param=Value&Pet=dog".to_owned(),
        format!("\"content-digest\";req: {digest}"),
    ];
    let clock = ManualClock::at(Timestamp::from_secs(NOW).unwrap());
    let keys = KeyRing::new().with(KEY, OUR_SECRET).unwrap();
    let verifier = ResponseVerifier::builder(HttpMessageSignatures::default())
        .keys(keys)
        .clock(clock)
        .build()
        .unwrap();
    for (lines, expected) in [
        (
            printed.clone(),
            Err(ResponseErrorKind::SignatureInsufficient),
        ),
        ([printed, binding.to_vec()].concat(), Ok(())),
    ] {
        let (input, base) = described(&lines);
        for base in [base.clone(), base.replacen(": ", ":  ", 1)] {
            let mut response =
                Response::new(Full::<Bytes>::from(vectors.test_response.body.clone()));
            let headers = response.headers_mut();
            for (name, value) in &vectors.test_response.headers {
                let name: HeaderName = name.parse().unwrap();
                headers.insert(name, value.parse().unwrap());
            }
            let mut mac = Hmac::<Sha256>::new_from_slice(OUR_SECRET.as_bytes()).unwrap();
            mac.update(base.as_bytes());
            let mac = STANDARD.encode(mac.finalize().into_bytes());
            headers.insert("signature-input", input.parse().unwrap());
            headers.insert("signature", format!("sig=:{mac}:").parse().unwrap());
            let verified = verifier.verify(&request, response).await;
            let verdict = verified.map(|_| ()).map_err(|error| error.kind());
            let misprinted = base.contains(":  ");
            let invalid = Err(ResponseErrorKind::SignatureInvalid);
            let expected = if misprinted && expected.is_ok() {
                invalid
            } else {
                expected
            };
            assert_eq!(verdict, expected, "{}: {base}", case.id);
        }
    }
}

#[derive(Deserialize)]
struct Components {
    derived: Vec<Derived>,
    fields: Vec<Fields>,
    trailer_example: Trailer,
}

#[derive(Deserialize)]
struct Derived {
    section: String,
    message: Message,
    scheme: String,
    expected_lines: Vec<String>,
}

#[derive(Deserialize)]
struct Fields {
    section: String,
    field_lines: Vec<(String, String)>,
    expected_lines: Vec<String>,
}

#[derive(Deserialize)]
struct Trailer {
    expected_lines: Vec<String>,
}

/// A description that covers what these lines name, and the base that they make.
fn described(lines: &[String]) -> (String, String) {
    let components = lines.iter().map(|line| line.split_once(": ").unwrap().0);
    let components = components.collect::<Vec<_>>().join(" ");
    let params = format!("({components});created={NOW};keyid=\"{KEY}\"");
    let base = format!("{}\n\"@signature-params\": {params}", lines.join("\n"));
    (format!("sig={params}"), base)
}

#[tokio::test]
async fn the_components_of_rfc_9421_section_2() {
    let file = "rfc9421/components.json";
    let Some(vectors) = vectors::<Components>(file) else {
        return;
    };
    let (mut derived, mut fields) = (0, 0);
    for vector in &vectors.derived {
        let Derived {
            section,
            message,
            expected_lines,
            ..
        } = vector;
        if message.start_line.starts_with("HTTP/") {
            log::say(&format!(
                "{file}: {section} is of a response, and not verified here"
            ));
            continue;
        }
        let (input, base) = described(expected_lines);
        let origin = format!("{}://www.example.com", vector.scheme);
        let ours = is_our_base(KEY, &origin, &message.request(), &input, &base).await;
        // A tunnel is refused, whatever its signature covers.
        let expected = match message.start_line.starts_with("CONNECT ") {
            true => Err(RejectionKind::BodyNotCovered),
            false => Ok(()),
        };
        assert_eq!(ours, expected, "{section}: {base}");
        derived += 1;
    }
    for Fields {
        section,
        field_lines,
        expected_lines,
    } in &vectors.fields
    {
        let message = Message {
            start_line: "GET / HTTP/1.1".into(),
            headers: field_lines.clone(),
            body: String::new(),
        };
        let (input, base) = described(expected_lines);
        let origin = "https://www.example.com";
        let ours = is_our_base(KEY, origin, &message.request(), &input, &base).await;
        assert_eq!(ours, Ok(()), "{section}: {base}");
        fields += 1;
    }
    assert_eq!((derived, fields), (14, 6));

    // Trailers are dropped: a signature that covers one is refused.
    let trailer = vectors.trailer_example.expected_lines;
    let trailer = trailer.iter().filter(|line| line.contains(";tr:")).cloned();
    let (input, base) = described(&trailer.collect::<Vec<_>>());
    let request = Request::get("/").header("expires", "Wed, 9 Nov 2022 07:28:00 GMT");
    let request = request.body(String::new()).unwrap();
    let refused = is_our_base(KEY, "https://www.example.com", &request, &input, &base).await;
    assert_eq!(refused, Err(RejectionKind::SignatureMalformed));
}

#[derive(Deserialize)]
struct Digests {
    vectors: Vec<Digest>,
    malformed_in_rfc: Malformed,
}

#[derive(Deserialize)]
struct Digest {
    section: String,
    algorithm: String,
    content: String,
    digest_base64: String,
    valid: bool,
}

#[derive(Deserialize)]
struct Malformed {
    value: String,
}

#[tokio::test]
async fn the_digests_of_rfc_9530() {
    let Some(Digests {
        vectors,
        malformed_in_rfc,
    }) = vectors("rfc9530/digests.json")
    else {
        return;
    };
    let of = async |field: &str, body: &str| {
        let request = Request::post("/").header("content-digest", field);
        let request = request.body(body.to_owned()).unwrap();
        let (input, base) = described(&[format!("\"content-digest\": {field}")]);
        let request = signed(&request, &input, &base);
        verdict(
            profile(),
            (KEY, OUR_SECRET.as_bytes()),
            "https://a.example",
            &request,
        )
        .await
    };
    for Digest {
        section,
        algorithm,
        content,
        digest_base64,
        valid,
    } in &vectors
    {
        let field = format!("{algorithm}=:{digest_base64}:");
        assert_eq!(of(&field, content).await.is_ok(), *valid, "{section}");
        let other = of(&field, &format!("{content} ")).await;
        assert_eq!(other, Err(RejectionKind::SignatureInvalid), "{section}");
    }
    assert_eq!(vectors.len(), 7);
    // The surplus padding of B.5, B.6, B.11 and C.1, and what they mean.
    let body = "{\"hello\": \"world\"}\n";
    let surplus = malformed_in_rfc.value;
    assert_eq!(
        of(&surplus, body).await,
        Err(RejectionKind::SignatureMalformed)
    );
    assert_eq!(of(&surplus.replace("==", "="), body).await, Ok(()));
}

#[derive(Deserialize)]
struct StructuredField {
    name: String,
    raw: Vec<String>,
    header_type: String,
    #[serde(default)]
    must_fail: bool,
    #[serde(default)]
    can_fail: bool,
    canonical: Option<Vec<String>>,
}

/// A field that is refused although it could be read: two libraries could take different values.
const DOUBTFUL: [&str; 4] = [
    "dictionary: duplicate key dictionary",
    "key-generated: 0x2c in dictionary key",
    "key-generated: 0x3b in parameterised list key",
    "param-list: duplicate parameter with different positions",
];

#[tokio::test]
async fn structured_fields_are_serialized_as_rfc_9651_wants_it() {
    let files = [
        "binary",
        "boolean",
        "date",
        "dictionary",
        "display-string",
        "examples",
        "item",
        "key-generated",
        "large-generated",
        "list",
        "listlist",
        "number-generated",
        "number",
        "param-dict",
        "param-list",
        "param-listlist",
        "string-generated",
        "string",
        "token-generated",
        "token",
    ];
    let (mut serialized, mut refused, mut not_http, mut doubtful) = (0, 0, 0, Vec::new());
    let mut wrong = Vec::new();
    for file in files {
        let Some(cases) =
            vectors::<Vec<StructuredField>>(&format!("structured-fields/{file}.json"))
        else {
            return;
        };
        for case in &cases {
            let StructuredField {
                name,
                raw,
                canonical,
                ..
            } = case;
            let mut request = Request::get("/").body(String::new()).unwrap();
            // Tabs around a field HTTP takes off, before anyone looks.
            let tab = |line: &String| {
                let line = line.trim_matches(' ');
                line.starts_with('\t') || line.ends_with('\t')
            };
            if case.must_fail && raw.iter().any(tab) {
                not_http += 1;
                continue;
            }
            let lines = raw
                .iter()
                .map(|line| HeaderValue::from_bytes(line.as_bytes()));
            let Ok(lines) = lines.collect::<Result<Vec<_>, _>>() else {
                assert!(case.must_fail, "{name}");
                not_http += 1;
                continue;
            };
            for line in lines {
                request.headers_mut().append("x-field", line);
            }
            let kind = match &*case.header_type {
                "item" => FieldType::Item,
                "list" => FieldType::List,
                "dictionary" => FieldType::Dictionary,
                other => panic!("{other}"),
            };
            let expected = canonical.as_ref().unwrap_or(raw).join(", ");
            let (input, base) = described(&[format!("\"x-field\";sf: {expected}")]);
            let request = signed(&request, &input, &base);
            let profile = profile().structured_field("x-field", kind);
            let key = (KEY, OUR_SECRET.as_bytes());
            let verdict = verdict(profile, key, "https://a.example", &request).await;
            match verdict {
                Ok(()) if !case.must_fail => serialized += 1,
                Err(RejectionKind::SignatureMalformed) if case.must_fail || case.can_fail => {
                    refused += 1;
                }
                Err(RejectionKind::SignatureMalformed) => doubtful.push(format!("{file}: {name}")),
                verdict => wrong.push(format!("{file}: {name}: {verdict:?} {raw:?}")),
            }
        }
    }
    log::say(&format!(
        "structured-fields: {serialized} serialized, {refused} refused, {not_http} that HTTP \
         cannot carry, {} doubtful and refused",
        doubtful.len()
    ));
    assert_eq!(wrong, [""; 0]);
    assert_eq!(doubtful, DOUBTFUL);
}
