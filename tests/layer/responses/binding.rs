//! The request that a response is bound to, and the parts of it that cannot be changed.

use std::{sync::Arc, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use countersign::{
    KeyRing, KeySet, Secret, Signer, Verifier,
    error::ResponseErrorKind::*,
    response::{ResponseSigner, ResponseVerifier, SignedBy},
    testing::ManualClock,
};
use hmac::{Hmac, KeyInit as _, Mac as _};
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, request::Parts,
};
use http_body_util::Full;
use sha2::{Digest as _, Sha256};

use super::world::*;
use crate::common::*;

fn verifier() -> ResponseVerifier {
    response_verifier(&clock()).build().unwrap()
}

/// A request that was sent, and the signed response to it.
fn exchange() -> (Parts, Response<Bytes>) {
    let request = sent(&clock());
    let response = response_signer(&clock()).sign(&request, moved()).unwrap();
    (request, response)
}

fn text(headers: &HeaderMap, name: &str) -> String {
    headers[name].to_str().unwrap().to_owned()
}

fn copy(response: &Response<Bytes>) -> Response<Bytes> {
    let mut copy = Response::new(response.body().clone());
    *copy.status_mut() = response.status();
    *copy.headers_mut() = response.headers().clone();
    copy
}

#[tokio::test]
async fn what_was_signed_is_given_back_with_who_signed_it() {
    let (request, response) = exchange();
    let verified = judge(&verifier(), &request, response).await.unwrap();
    assert_eq!(verified.status(), StatusCode::CREATED);
    assert_eq!(verified.body(), "moved 25");
    assert_eq!(verified.headers()["x-uncovered"], "1");
    let by: &SignedBy = verified.extensions().get().unwrap();
    assert_eq!(by.key_id().as_str(), SERVER_KEY);
    assert_eq!(by.signed_at(), at(NOW));
    for (name, covered) in [
        ("content-type", true),
        ("content-digest", true),
        ("location", true),
        ("x-uncovered", false),
        ("date", false),
    ] {
        let name: HeaderName = name.parse().unwrap();
        assert_eq!(by.covers(&name), covered, "{name}");
    }
}

/// The signature base, written by hand, and a MAC of our own: the format is that of RFC 9421.
#[tokio::test]
async fn what_others_sign_as_the_rfc_says_is_accepted_and_is_what_we_sign() {
    let (request, response) = exchange();
    let digest = |body: &str| STANDARD.encode(Sha256::digest(body));
    let signature = text(&request.headers, "signature");
    let input = text(&request.headers, "signature-input");
    let parameters = format!(
        "(\"@status\" \"@method\";req \"@authority\";req \"@path\";req \"@query\";req \
         \"content-digest\";req \"signature\";key=\"sig1\";req \"signature-input\";key=\"sig1\";req \
         \"content-digest\" \"content-type\" \"location\" \"countersign-outcome\");created={NOW};alg=\"hmac-sha256\";keyid=\"api\""
    );
    let base = format!(
        "\"@status\": 201\n\"@method\";req: POST\n\"@authority\";req: api.example.com\n\
         \"@path\";req: /transfer\n\"@query\";req: ?batch=7\n\
         \"content-digest\";req: sha-256=:{}:\n\"signature\";key=\"sig1\";req: {}\n\
         \"signature-input\";key=\"sig1\";req: {}\n\
         \"content-digest\": sha-256=:{}:\n\"content-type\": text/plain\n\
         \"location\": /transfers/9\n\"countersign-outcome\": open\n\
         \"@signature-params\": {parameters}",
        digest("{\"amount\":25}"),
        signature.strip_prefix("sig1=").unwrap(),
        input.strip_prefix("sig1=").unwrap(),
        digest("moved 25"),
    );
    assert_eq!(
        text(response.headers(), "signature-input"),
        format!("sig1={parameters}")
    );
    assert_eq!(
        text(response.headers(), "signature"),
        format!("sig1={}", mac(SERVER_SECRET, &base))
    );

    // Another order, more than is required, `@target-uri` for its parts, another label.
    let parameters = format!(
        "(\"x-uncovered\" \"location\" \"content-type\" \"content-digest\" \
         \"countersign-outcome\" \"signature-input\";req;key=\"sig1\" \
         \"signature\";req;key=\"sig1\" \"@target-uri\";req \"@method\";req \
         \"content-type\";req \"content-digest\";req;sf \"@status\");keyid=\"api\";created={NOW}"
    );
    let base = format!(
        "\"x-uncovered\": 1\n\"location\": /transfers/9\n\"content-type\": text/plain\n\
         \"content-digest\": sha-256=:{}:\n\"countersign-outcome\": open\n\
         \"signature-input\";req;key=\"sig1\": {}\n\"signature\";req;key=\"sig1\": {}\n\
         \"@target-uri\";req: https://api.example.com/transfer?batch=7\n\"@method\";req: POST\n\
         \"content-type\";req: application/json\n\"content-digest\";req;sf: sha-256=:{}:\n\
         \"@status\": 201\n\"@signature-params\": {parameters}",
        digest("moved 25"),
        input.strip_prefix("sig1=").unwrap(),
        signature.strip_prefix("sig1=").unwrap(),
        digest("{\"amount\":25}"),
    );
    let other = by_hand(&response, &parameters, &mac(SERVER_SECRET, &base));
    assert!(judge(&verifier(), &request, other).await.is_ok());
}

fn mac(secret: &str, base: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(base.as_bytes());
    format!(":{}:", STANDARD.encode(mac.finalize().into_bytes()))
}

fn by_hand(response: &Response<Bytes>, parameters: &str, mac: &str) -> Response<Bytes> {
    let mut response = copy(response);
    let headers = response.headers_mut();
    headers.insert(
        "signature-input",
        format!("x={parameters}").parse().unwrap(),
    );
    headers.insert("signature", format!("x={mac}").parse().unwrap());
    response
}

/// Each of what is required is left out in turn, and the rest is signed as it should be.
#[tokio::test]
async fn a_signature_that_covers_less_is_refused() {
    let (request, response) = exchange();
    let all = [
        ("\"@status\"", "201".to_owned()),
        ("\"@method\";req", "POST".to_owned()),
        ("\"@authority\";req", "api.example.com".to_owned()),
        ("\"@path\";req", "/transfer".to_owned()),
        ("\"@query\";req", "?batch=7".to_owned()),
        (
            "\"content-digest\";req",
            text(&request.headers, "content-digest"),
        ),
        (
            "\"signature\";req;key=\"sig1\"",
            text(&request.headers, "signature").replacen("sig1=", "", 1),
        ),
        (
            "\"signature-input\";req;key=\"sig1\"",
            text(&request.headers, "signature-input").replacen("sig1=", "", 1),
        ),
        (
            "\"content-digest\"",
            text(response.headers(), "content-digest"),
        ),
        ("\"content-type\"", "text/plain".to_owned()),
        ("\"location\"", "/transfers/9".to_owned()),
        ("\"countersign-outcome\"", "open".to_owned()),
    ];
    let signed = |left_out: Option<usize>, parameters: &str| {
        let covered: Vec<_> = all
            .iter()
            .enumerate()
            .filter(|(i, _)| Some(*i) != left_out)
            .map(|(_, covered)| covered)
            .collect();
        let names: Vec<_> = covered.iter().map(|(name, _)| *name).collect();
        let parameters = format!("({}){parameters}", names.join(" "));
        let mut base = String::new();
        for (name, value) in covered {
            base += &format!("{name}: {value}\n");
        }
        base += &format!("\"@signature-params\": {parameters}");
        by_hand(&response, &parameters, &mac(SERVER_SECRET, &base))
    };
    let whole = format!(";created={NOW};keyid=\"api\"");
    // The twin: with everything in its place it is accepted.
    assert!(
        judge(&verifier(), &request, signed(None, &whole))
            .await
            .is_ok()
    );
    for (i, (name, _)) in all.iter().enumerate() {
        let refused = judge(&verifier(), &request, signed(Some(i), &whole)).await;
        assert_eq!(refused.unwrap_err(), SignatureInsufficient, "{name}");
    }
    for parameters in [";keyid=\"api\"".to_owned(), format!(";created={NOW}")] {
        let refused = judge(&verifier(), &request, signed(None, &parameters)).await;
        assert_eq!(refused.unwrap_err(), SignatureInsufficient, "{parameters}");
    }
    for parameters in [
        format!("{whole};alg=\"hmac-sha512\""),
        format!(";created={NOW};keyid=\"stranger\""),
    ] {
        let refused = judge(&verifier(), &request, signed(None, &parameters)).await;
        assert_eq!(refused.unwrap_err(), SignatureInvalid, "{parameters}");
    }
    let tagged = signed(None, &format!("{whole};tag=\"other\""));
    let refused = judge(&verifier(), &request, tagged).await;
    assert_eq!(refused.unwrap_err(), SignatureMissing);
}

#[tokio::test]
async fn every_changed_byte_of_what_is_covered_is_refused() {
    let (request, response) = exchange();
    let verifier = verifier();
    let mut changes = 0;
    for name in [
        "content-type",
        "location",
        "content-digest",
        "signature-input",
        "signature",
    ] {
        let value = response.headers()[name].as_bytes();
        for i in 0..value.len() {
            for bit in 0..7 {
                let mut changed = value.to_vec();
                changed[i] ^= 1 << bit;
                // Unused bits at the end of base64 make no other MAC.
                let is_same_mac = name == "signature" && value[i + 1..] == *b"=:" && bit < 2;
                let Ok(changed) = HeaderValue::from_bytes(&changed) else {
                    continue;
                };
                let mut response = copy(&response);
                response.headers_mut().insert(name, changed.clone());
                let outcome = judge(&verifier, &request, response).await;
                assert!(outcome.is_err() || is_same_mac, "{name}: {changed:?}");
                changes += 1;
            }
        }
    }
    for i in 0..response.body().len() {
        for bit in 0..8 {
            let mut changed = response.body().to_vec();
            changed[i] ^= 1 << bit;
            let mut response = copy(&response);
            *response.body_mut() = changed.into();
            let refused = judge(&verifier, &request, response).await;
            assert_eq!(refused.unwrap_err(), SignatureInvalid);
            changes += 1;
        }
    }
    for status in 200..1000 {
        let mut response = copy(&response);
        *response.status_mut() = StatusCode::from_u16(status).unwrap();
        let outcome = judge(&verifier, &request, response).await;
        assert_eq!(outcome.is_ok(), status == 201, "{status}");
    }
    assert!(changes > 2000, "{changes}");
}

#[tokio::test]
async fn a_body_that_is_cut_off_or_goes_on_is_refused() {
    let (request, response) = exchange();
    for body in ["", "moved 2", "moved 25\n"] {
        let mut changed = copy(&response);
        *changed.body_mut() = body.into();
        let refused = judge(&verifier(), &request, changed).await;
        assert_eq!(refused.unwrap_err(), SignatureInvalid, "{body:?}");
    }
    let empty = Response::new(Bytes::new());
    let mut filled = response_signer(&clock()).sign(&request, empty).unwrap();
    assert!(!filled.headers().contains_key("content-digest"));
    *filled.body_mut() = "x".into();
    let refused = judge(&verifier(), &request, filled).await;
    assert_eq!(refused.unwrap_err(), BodyNotCovered);
}

#[tokio::test]
async fn covered_headers_cannot_be_taken_out_or_put_in_or_doubled() {
    let (request, response) = exchange();
    for name in ["content-type", "location", "content-digest"] {
        let mut changed = copy(&response);
        changed.headers_mut().remove(name);
        let refused = judge(&verifier(), &request, changed).await;
        assert_eq!(refused.unwrap_err(), SignatureMalformed, "{name}");
        let mut doubled = copy(&response);
        let value = doubled.headers()[name].clone();
        doubled.headers_mut().append(name, value);
        assert!(
            judge(&verifier(), &request, doubled).await.is_err(),
            "{name}"
        );
    }
    for name in ["signature", "signature-input"] {
        let mut changed = copy(&response);
        changed.headers_mut().remove(name);
        let refused = judge(&verifier(), &request, changed).await;
        assert_eq!(refused.unwrap_err(), SignatureMalformed, "{name}");
    }
    let bare = response_signer(&clock()).sign(&request, Response::new(Bytes::new()));
    let bare = bare.unwrap();
    for name in [
        "content-type",
        "content-encoding",
        "content-range",
        "location",
        "content-digest",
    ] {
        let mut changed = copy(&bare);
        let value = if name == "content-digest" {
            response.headers()[name].clone()
        } else {
            "gzip".parse().unwrap()
        };
        changed.headers_mut().insert(name, value);
        let refused = judge(&verifier(), &request, changed).await;
        assert_eq!(refused.unwrap_err(), SignatureInsufficient, "{name}");
    }
    assert!(judge(&verifier(), &request, bare).await.is_ok());
}

#[tokio::test]
async fn without_a_signature_nothing_is_believed() {
    let (request, mut response) = exchange();
    response.headers_mut().remove("signature");
    response.headers_mut().remove("signature-input");
    let refused = judge(&verifier(), &request, response).await;
    assert_eq!(refused.unwrap_err(), SignatureMissing);
}

/// Two requests that ask for the same: each has a nonce, and by it a signature of its own.
#[tokio::test]
async fn the_response_to_one_request_is_none_to_another() {
    let clock = clock();
    let verifier = response_verifier(&clock).build().unwrap();
    let (one, other) = (sent(&clock), sent(&clock));
    let to_one = response_signer(&clock).sign(&one, moved()).unwrap();
    let to_other = response_signer(&clock).sign(&other, moved()).unwrap();
    for (request, swapped) in [(&one, &to_other), (&other, &to_one)] {
        let refused = judge(&verifier, request, copy(swapped)).await;
        assert_eq!(refused.unwrap_err(), SignatureInvalid);
    }
    // Nor is it one to a later request.
    clock.advance(Duration::from_secs(1));
    let refused = judge(&verifier, &sent(&clock), copy(&to_one)).await;
    assert_eq!(refused.unwrap_err(), SignatureInvalid);
    // The twin: each is one to its own.
    assert!(judge(&verifier, &one, to_one).await.is_ok());
    assert!(judge(&verifier, &other, to_other).await.is_ok());
}

/// The documented case of requests that are not signed, and the twin of the test above.
#[tokio::test]
async fn requests_without_a_signature_that_are_alike_share_their_responses_while_fresh() {
    let clock = clock();
    let verifier = response_verifier(&clock).build().unwrap();
    let unsigned = head_of(&transfer());
    let response = response_signer(&clock).sign(&unsigned, moved()).unwrap();
    clock.advance(Duration::from_secs(300));
    assert!(judge(&verifier, &unsigned, copy(&response)).await.is_ok());

    for change in changes() {
        let other = head_of(&change(transfer()));
        let refused = judge(&verifier, &other, copy(&response)).await;
        assert!(refused.is_err(), "{other:?}");
    }
    // To a request that is signed it is none.
    let refused = judge(&verifier, &sent(&clock), copy(&response)).await;
    assert_eq!(refused.unwrap_err(), SignatureInsufficient);
    clock.advance(Duration::from_millis(1));
    let refused = judge(&verifier, &unsigned, response).await;
    assert_eq!(refused.unwrap_err(), SignatureExpired);
}

type Change = fn(Request<&'static str>) -> Request<&'static str>;

/// Other requests, each different in one respect.
fn changes() -> [Change; 4] {
    fn with_uri(mut request: Request<&'static str>, uri: &'static str) -> Request<&'static str> {
        *request.uri_mut() = uri.parse().unwrap();
        request
    }
    [
        |mut request| {
            *request.method_mut() = Method::PUT;
            request
        },
        |request| with_uri(request, "https://other.example.com/transfer?batch=7"),
        |request| with_uri(request, "https://api.example.com/echo?batch=7"),
        |request| with_uri(request, "https://api.example.com/transfer?batch=8"),
    ]
}

/// The signature of a request that was seen is sent along with a request of the attacker's own, which
/// the server answers: with a refusal, or, at a place that is not verified, with whatever.
#[tokio::test]
async fn a_signature_that_is_sent_along_with_another_request_binds_no_answer_to_the_first() {
    let request = sent(&clock());
    let theirs = changes().into_iter().map(|change| {
        let mut other = head_of(&change(transfer()));
        other.headers = request.headers.clone();
        other
    });
    let mut other_digest = head_of(&transfer());
    other_digest.headers = request.headers.clone();
    let digest = STANDARD.encode(Sha256::digest("{\"amount\":9}"));
    let digest = format!("sha-256=:{digest}:").parse().unwrap();
    other_digest.headers.insert("content-digest", digest);
    let mut without_digest = other_digest.clone();
    without_digest.headers.remove("content-digest");

    for other in theirs.chain([other_digest, without_digest]) {
        let answer = response_signer(&clock()).sign(&other, moved()).unwrap();
        let accepted = judge(&verifier(), &other, copy(&answer)).await;
        assert!(accepted.is_ok(), "the twin: it answers theirs");
        let refused = judge(&verifier(), &request, answer).await;
        assert!(refused.is_err(), "{other:?}");
    }
}

/// One secret for both directions, which nobody should have: a signature still says what it is of.
#[tokio::test]
async fn a_reflected_signature_is_refused_in_either_direction() {
    let clock = clock();
    let request = sent(&clock);
    let verifier = ResponseVerifier::builder(rfc())
        .keys(keys())
        .clock(clock.clone())
        .build()
        .unwrap();
    // The request's own signature, as that of its response, also one that covers little.
    for covers_little in [false, true] {
        let signer = if covers_little {
            let scheme = countersign::HttpMessageSignatures::builder().danger_require_only([]);
            Signer::new(scheme.build().unwrap(), KEY, SECRET).unwrap()
        } else {
            request_signer(&clock)
        };
        let request = signer.clock(clock.clone()).sign(transfer()).unwrap();
        let mut reflected = Response::new(Bytes::from(*request.body()));
        *reflected.headers_mut() = request.headers().clone();
        let refused = judge(&verifier, &head_of(&request), reflected).await;
        let expected = if covers_little {
            SignatureInsufficient
        } else {
            SignatureMalformed
        };
        assert_eq!(refused.unwrap_err(), expected);
    }

    // The response's signature, as that of a request, to a verifier that requires nothing.
    let signer = ResponseSigner::new(rfc(), KEY, SECRET).unwrap();
    let response = signer.clock(clock.clone()).sign(&request, moved()).unwrap();
    let lax = countersign::HttpMessageSignatures::builder()
        .danger_require_only([])
        .danger_without_nonce()
        .build()
        .unwrap();
    let requests = Verifier::builder(lax.clone())
        .keys(keys())
        .store(store(&clock))
        .clock(clock.clone())
        .build()
        .unwrap();
    let mut reflected = head_of(&transfer());
    reflected.headers = response.headers().clone();
    let refused = requests
        .verify(&reflected, Full::new(response.body().clone()))
        .await;
    let kind = refused.unwrap_err().kind();
    assert_eq!(kind, countersign::RejectionKind::SignatureMalformed);

    // The twins: each passes as what it is.
    assert!(judge(&verifier, &request, response).await.is_ok());
    let signer = Signer::new(lax, KEY, SECRET).unwrap().clock(clock.clone());
    let (head, body) = signer.sign(transfer()).unwrap().into_parts();
    assert!(
        requests
            .verify(&head, Full::<Bytes>::from(body))
            .await
            .is_ok()
    );
}

#[tokio::test]
async fn a_response_is_fresh_up_to_both_edges_and_until_it_expires() {
    let (request, response) = exchange();
    for (millis, outcome) in [
        (-5001, Some(SignatureNotYetValid)),
        (-5000, None),
        (300_000, None),
        (300_001, Some(SignatureExpired)),
    ] {
        let now = (NOW * 1000).checked_add_signed(millis).unwrap();
        let clock = ManualClock::at(countersign::Timestamp::from_millis(now).unwrap());
        let verifier = response_verifier(&clock).build().unwrap();
        let verdict = judge(&verifier, &request, copy(&response)).await;
        assert_eq!(verdict.err(), outcome, "{millis}");
    }

    let scheme = countersign::HttpMessageSignatures::builder()
        .expires_after(Duration::from_secs(10))
        .build()
        .unwrap();
    let signer = ResponseSigner::new(scheme, SERVER_KEY, SERVER_SECRET).unwrap();
    let signer = signer.clock(clock());
    let response = signer.sign(&request, moved()).unwrap();
    for (seconds, outcome) in [(10, None), (11, Some(SignatureExpired))] {
        let clock = ManualClock::at(at(NOW + seconds));
        let verifier = response_verifier(&clock).build().unwrap();
        let verdict = judge(&verifier, &request, copy(&response)).await;
        assert_eq!(verdict.err(), outcome, "{seconds}");
    }
}

#[tokio::test]
async fn keys_are_those_of_the_server_and_rotate() {
    let (request, _) = exchange();
    let signer = response_signer(&clock());
    let ring = server_keys();
    let verifier = response_verifier(&clock())
        .keys(ring.clone())
        .build()
        .unwrap();
    let judged = async || {
        let response = signer.sign(&request, moved()).unwrap();
        let verified = judge(&verifier, &request, response).await?;
        let by: &SignedBy = verified.extensions().get().unwrap();
        Ok(by.key_id().to_string())
    };
    assert_eq!(judged().await, Ok("api".to_owned()));

    signer.rotate("api", "another secret of the api").unwrap();
    assert_eq!(judged().await, Err(SignatureInvalid), "in the wrong order");
    let both = KeySet::new("api")
        .unwrap()
        .with(Secret::new(SERVER_SECRET).unwrap())
        .with(Secret::new("another secret of the api").unwrap());
    ring.replace(KeyRing::new().with_set(both).unwrap());
    assert_eq!(judged().await, Ok("api".to_owned()));

    signer.rotate("api-2", "a third secret of the api").unwrap();
    assert_eq!(judged().await, Err(SignatureInvalid), "an unknown key");
    ring.replace(
        KeyRing::new()
            .with("api-2", "a third secret of the api")
            .unwrap(),
    );
    assert_eq!(judged().await, Ok("api-2".to_owned()));

    assert!(signer.rotate("", "a third secret of the api").is_err());
    assert!(signer.rotate("api-3", "short").is_err());
    assert_eq!(judged().await, Ok("api-2".to_owned()), "as it was");
    let shown = format!("{signer:?} {verifier:?}");
    assert!(
        shown.contains("api-2") && !shown.contains("third"),
        "{shown}"
    );
}

/// A gateway has a signature of its own in front of ours.
#[tokio::test]
async fn of_several_signatures_of_a_request_the_one_under_our_label_binds() {
    let gateway = countersign::HttpMessageSignatures::builder().label("gw");
    let gateway = Signer::new(gateway.build().unwrap(), "gateway", OTHER_SECRET).unwrap();
    let request = gateway.clock(clock()).sign(transfer()).unwrap();
    let request = head_of(&request_signer(&clock()).sign(request).unwrap());
    let response = response_signer(&clock()).sign(&request, moved()).unwrap();
    let input = text(response.headers(), "signature-input");
    assert!(input.contains("\"signature-input\";key=\"sig1\";req"));
    assert!(!input.contains("gw"));
    assert!(judge(&verifier(), &request, response).await.is_ok());
}

#[tokio::test]
async fn of_several_signatures_one_that_holds_is_enough() {
    let (request, _) = exchange();
    let labelled = |label: &str, key: &str, secret: &str| {
        let scheme = countersign::HttpMessageSignatures::builder().label(label);
        let signer = ResponseSigner::new(scheme.build().unwrap(), key, secret).unwrap();
        signer.clock(clock())
    };
    let mut response = moved();
    for (label, key) in [("a", "stranger"), ("b", SERVER_KEY), ("c", "other")] {
        let secret = if key == SERVER_KEY {
            SERVER_SECRET
        } else {
            "the secret of somebody"
        };
        response = labelled(label, key, secret)
            .sign(&request, response)
            .unwrap();
    }
    let verified = judge(&verifier(), &request, copy(&response)).await.unwrap();
    let by: &SignedBy = verified.extensions().get().unwrap();
    assert_eq!(by.key_id().as_str(), SERVER_KEY);

    // Under a label that is taken nothing is signed.
    assert!(
        labelled("b", SERVER_KEY, SERVER_SECRET)
            .sign(&request, response)
            .is_err()
    );

    let mut many = moved();
    for label in ["a", "b", "c", "d", "e"] {
        many = labelled(label, SERVER_KEY, SERVER_SECRET)
            .sign(&request, many)
            .unwrap();
    }
    let refused = judge(&verifier(), &request, many).await;
    assert_eq!(refused.unwrap_err(), SignatureMalformed, "more than four");
}

#[tokio::test]
async fn a_date_that_is_not_covered_is_replaced_by_the_signed_time() {
    let date_of = |response: &Response<Bytes>| text(response.headers(), "date");
    let (request, mut response) = exchange();
    for date in ["Thu, 01 Jan 1970 00:00:00 GMT", "yesterday"] {
        response.headers_mut().append("date", date.parse().unwrap());
    }
    let verified = judge(&verifier(), &request, copy(&response)).await.unwrap();
    assert_eq!(date_of(&verified), "Tue, 14 Nov 2023 22:13:20 GMT");
    assert_eq!(verified.headers().get_all("date").iter().count(), 1);

    // The twin: one that is covered is what the server said.
    let scheme = countersign::HttpMessageSignatures::builder()
        .response_covers(countersign::rfc9421::Component::header("date").unwrap())
        .build()
        .unwrap();
    let signer = ResponseSigner::new(scheme, SERVER_KEY, SERVER_SECRET).unwrap();
    let mut dated = moved();
    let date = HeaderValue::from_static("Tue, 14 Nov 2023 22:13:21 GMT");
    dated.headers_mut().insert("date", date);
    let dated = signer.clock(clock()).sign(&request, dated).unwrap();
    let verified = judge(&verifier(), &request, dated).await.unwrap();
    assert_eq!(date_of(&verified), "Tue, 14 Nov 2023 22:13:21 GMT");
}

#[tokio::test]
async fn headers_that_are_not_covered_can_be_taken_out() {
    let (request, mut response) = exchange();
    response.headers_mut().insert("content-length", 8.into());
    let verifier = response_verifier(&clock())
        .strip_uncovered_headers()
        .build();
    let verified = judge(&verifier.unwrap(), &request, response).await.unwrap();
    let mut names: Vec<_> = verified.headers().keys().map(HeaderName::as_str).collect();
    names.sort_unstable();
    let covered = [
        "content-digest",
        "content-length",
        "content-type",
        "countersign-outcome",
        "date",
        "location",
    ];
    assert_eq!(names, covered);
}

/// A client whose own request cannot be read one way only would accept nothing.
#[tokio::test]
async fn a_request_that_nothing_can_be_bound_to_is_told_as_such() {
    let (request, response) = exchange();
    let mut two_hosts = request.clone();
    two_hosts
        .headers
        .append("host", "a.example".parse().unwrap());
    two_hosts
        .headers
        .append("host", "b.example".parse().unwrap());
    let mut for_nobody = request;
    for_nobody.uri = "/transfer?batch=7".parse().unwrap();
    for request in [two_hosts, for_nobody] {
        assert!(response_signer(&clock()).sign(&request, moved()).is_err());
        let refused = judge(&verifier(), &request, copy(&response)).await;
        assert_eq!(refused.unwrap_err(), RequestNotBindable);
    }
}

#[tokio::test]
async fn a_switch_of_protocols_is_neither_signed_nor_accepted() {
    let (request, mut response) = exchange();
    let mut switching = moved();
    *switching.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    assert!(response_signer(&clock()).sign(&request, switching).is_err());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let refused = judge(&verifier(), &request, response).await;
    assert_eq!(refused.unwrap_err(), BodyNotCovered);
}

#[test]
fn signers_and_verifiers_are_shared_between_threads() {
    fn is_shared<T: Send + Sync + Clone + 'static>(_: &Arc<T>) {}
    is_shared(&Arc::new(verifier()));
    is_shared(&Arc::new(response_signer(&clock())));
}
