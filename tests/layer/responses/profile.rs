//! Profiles: what else responses cover, other request schemes, and public origins.

use std::time::Duration;

use countersign::{
    HttpMessageSignatures, KeyRing, Signer,
    error::{ConfigErrorKind, ResponseErrorKind::*},
    request::Forwarded,
    response::{ResponseSigner, ResponseVerifier},
    rfc9421::Component,
};
use http::{Request, request::Parts};

use super::world::*;
use crate::common::*;

fn covering(components: impl IntoIterator<Item = Component>) -> HttpMessageSignatures {
    let builder = HttpMessageSignatures::builder();
    let builder = components.into_iter().fold(builder, |builder, component| {
        builder.response_covers(component)
    });
    builder.build().unwrap()
}

fn pair(scheme: &HttpMessageSignatures) -> (ResponseSigner, ResponseVerifier) {
    let signer = ResponseSigner::new(scheme.clone(), SERVER_KEY, SERVER_SECRET).unwrap();
    let verifier = ResponseVerifier::builder(scheme.clone()).keys(server_keys());
    (
        signer.clock(clock()),
        verifier.clock(clock()).build().unwrap(),
    )
}

#[tokio::test]
async fn what_a_profile_adds_has_to_be_covered_and_to_be_there() {
    let etag = Component::header("etag").unwrap();
    let tenant = Component::header("x-tenant").unwrap().of_request();
    let (signer, verifier) = pair(&covering([etag, tenant, Component::STATUS]));
    let mut request = sent(&clock());
    request.headers.insert("x-tenant", "acme".parse().unwrap());
    let mut versioned = moved();
    versioned
        .headers_mut()
        .insert("etag", "\"7\"".parse().unwrap());

    let response = signer.sign(&request, versioned).unwrap();
    let mut other_tenant = request.clone();
    other_tenant
        .headers
        .insert("x-tenant", "evil".parse().unwrap());
    let mut same = moved();
    *same.headers_mut() = response.headers().clone();
    let refused = judge(&verifier, &other_tenant, same).await;
    assert_eq!(refused.unwrap_err(), SignatureInvalid);
    assert!(judge(&verifier, &request, response).await.is_ok());

    assert!(signer.sign(&request, moved()).is_err(), "without `etag`");
    let by_default = response_signer(&clock()).sign(&request, moved()).unwrap();
    let refused = judge(&verifier, &request, by_default).await;
    assert_eq!(refused.unwrap_err(), SignatureInsufficient);
    let untenanted = sent(&clock());
    assert!(signer.sign(&untenanted, moved()).is_err());
    let refused = judge(&verifier, &untenanted, moved()).await;
    assert_eq!(refused.unwrap_err(), RequestNotBindable);
}

#[test]
fn components_of_the_wrong_message_are_refused_when_a_profile_is_built() {
    let header = |name: &str| Component::header(name).unwrap();
    for (component, fits) in [
        (Component::METHOD, false),
        (Component::METHOD.of_request(), true),
        (Component::STATUS, true),
        (Component::STATUS.of_request(), false),
        (Component::query_param("a").unwrap(), false),
        (Component::query_param("a").unwrap().of_request(), true),
        (header("etag"), true),
        (header("x-tenant").of_request(), true),
        (header("transfer-encoding"), false),
    ] {
        let name = component.to_string();
        let built = HttpMessageSignatures::builder()
            .response_covers(component)
            .build();
        assert_eq!(built.is_ok(), fits, "{name}");
    }
}

/// Requests in a house format: their responses are bound by the target, and by whatever is named.
#[tokio::test]
async fn a_request_of_another_scheme_is_bound_by_its_header_where_that_is_named() {
    let clock = clock();
    let signed = || -> Parts {
        let request = Request::post("https://api.example.com/transfer")
            .header("content-type", "application/json")
            .body("{}")
            .unwrap();
        head_of(&signer(&clock).sign(request).unwrap())
    };
    let (one, other) = (signed(), signed());
    let named = Component::header("x-signature").unwrap().of_request();
    for (scheme, told_apart) in [(rfc(), false), (covering([named]), true)] {
        let (signer, verifier) = pair(&scheme);
        let response = signer.sign(&one, moved()).unwrap();
        assert!(judge(&verifier, &one, response).await.is_ok());
        let response = signer.sign(&one, moved()).unwrap();
        let swapped = judge(&verifier, &other, response).await;
        assert_eq!(swapped.is_err(), told_apart);
    }
}

/// A field `Signature` that is not one of RFC 9421 is bound whole.
#[tokio::test]
async fn a_signature_in_another_format_binds_too() {
    let (signer, verifier) = pair(&rfc());
    let with = |value: &str| {
        let mut request = head_of(&transfer());
        request.headers.insert("signature", value.parse().unwrap());
        request
    };
    for value in [
        "keyId=\"a\",signature=\"YQ==\"",
        "0a1b2c",
        "",
        "sig1=:YQ==:, sig1=:YQ==:",
        "sig1=:YQ==:",
        "sig1=5",
        "(",
    ] {
        let response = signer.sign(&with(value), moved()).unwrap();
        let refused = judge(&verifier, &with("sig1=:Yg==:"), response).await;
        assert!(refused.is_err(), "{value}");
        let response = signer.sign(&with(value), moved()).unwrap();
        let verdict = judge(&verifier, &with(value), response).await;
        assert!(verdict.is_ok(), "{value}: {verdict:?}");
    }
}

/// The view of a server behind a proxy that takes off a prefix, and sets a `Host` of its own.
#[tokio::test]
async fn a_public_origin_says_what_the_client_asked_for() {
    let (signer, verifier) = pair(&rfc());
    let request = request_signer(&clock());
    let asked = Request::get("https://example.com/api/orders?a=1").body("");
    let asked = head_of(&request.sign(asked.unwrap()).unwrap());
    let arrived = |host: &str, forwarded: Option<&str>| {
        let mut arrived = asked.clone();
        arrived.uri = "/orders?a=1".parse().unwrap();
        arrived.headers.insert("host", host.parse().unwrap());
        if let Some(forwarded) = forwarded {
            let value = forwarded.parse().unwrap();
            arrived.headers.insert("x-forwarded-host", value);
            let peer: std::net::SocketAddr = "10.0.0.1:9".parse().unwrap();
            arrived
                .extensions
                .insert(countersign::request::PeerAddr::from(peer));
        }
        arrived
    };
    let behind = signer
        .clone()
        .public_origin("https://example.com/api")
        .unwrap();
    let response = behind.sign(&arrived("example.com", None), moved()).unwrap();
    assert!(judge(&verifier, &asked, response).await.is_ok());
    // The twin: without it, another place is signed.
    let response = signer.sign(&arrived("example.com", None), moved()).unwrap();
    let refused = judge(&verifier, &asked, response).await;
    assert_eq!(refused.unwrap_err(), SignatureInvalid);
    // For others it does not answer.
    assert!(
        behind
            .sign(&arrived("other.example.com", None), moved())
            .is_err()
    );

    let forwarded = Forwarded::host("x-forwarded-host").unwrap();
    assert!(
        behind.clone().forwarded(forwarded.clone()).is_err(),
        "trusts nobody"
    );
    let trusting = behind
        .forwarded(forwarded.trust_network("10.0.0.0/8").unwrap())
        .unwrap();
    let response = trusting.sign(&arrived("internal", Some("example.com")), moved());
    assert!(judge(&verifier, &asked, response.unwrap()).await.is_ok());
    assert!(
        trusting
            .clone()
            .public_origin("https://example.com")
            .is_err(),
        "twice"
    );
    assert!(trusting.public_origin("example.com").is_err());
}

#[test]
fn a_verifier_that_would_not_be_safe_is_refused() {
    let builder = || ResponseVerifier::builder(rfc()).keys(KeyRing::new());
    let (second, day) = (Duration::from_secs(1), Duration::from_secs(24 * 60 * 60));
    assert!(builder().build().is_ok());
    assert!(builder().max_age(day).max_skew(day).build().is_ok());
    for refused in [
        builder().max_age(day + second),
        builder().max_age(Duration::ZERO).max_skew(Duration::ZERO),
        builder().max_age(second).max_skew(2 * second),
        builder().key_timeout(Duration::ZERO),
        builder().body_deadline(Duration::ZERO),
        builder().body_deadline(day),
    ] {
        let error = refused.build().unwrap_err();
        assert!(matches!(error.kind(), ConfigErrorKind::Range(_)), "{error}");
    }
    let error = ResponseVerifier::builder(rfc()).build().unwrap_err();
    assert!(matches!(error.kind(), ConfigErrorKind::Missing(_)));
}

#[test]
fn tags_keep_the_responses_of_two_applications_apart() {
    let tagged = HttpMessageSignatures::builder()
        .tag("payments")
        .build()
        .unwrap();
    let signer = Signer::new(tagged.clone(), KEY, SECRET).unwrap();
    let request = head_of(&signer.sign(transfer()).unwrap());
    let response = pair(&tagged).0.sign(&request, moved()).unwrap();
    let input = response.headers()["signature-input"].to_str().unwrap();
    assert!(input.ends_with(";tag=\"payments\""), "{input}");
}
