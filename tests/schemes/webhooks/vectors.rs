//! Published vectors. They are not part of the repository: `COUNTERSIGN_VECTORS` names the folder
//! that holds them, and without it each test says which file it did not read.

use std::{collections::BTreeMap, env, fs, path::Path};

use bytes::Bytes;
use countersign::{
    KeyRing, RejectionKind, Secret, Verifier,
    request::VerifierBuilder,
    webhooks::{GitHub, HubSpot, Linear, Paddle, Shopify, Slack, Square, StandardWebhooks, Twilio},
};
use http::{HeaderMap, HeaderName, Request};
use serde::Deserialize;

use super::provider::verify;
use crate::common::{self, at, log};

fn vectors<T: for<'de> Deserialize<'de>>(file: &str) -> Option<T> {
    let Some(folder) = env::var_os("COUNTERSIGN_VECTORS") else {
        log::skipped(file, "COUNTERSIGN_VECTORS names no folder of vectors");
        return None;
    };
    let path = Path::new(&folder).join(file);
    let text = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    Some(serde_json::from_slice(&text).unwrap())
}

/// The verdict of a new verifier at this time.
async fn verdict(
    builder: VerifierBuilder<Verifier>,
    url: &str,
    headers: &HeaderMap,
    body: impl Into<Bytes>,
    now: u64,
) -> Result<(), RejectionKind> {
    let clock = common::clock();
    clock.set(at(now));
    let store = countersign::MemoryStore::builder()
        .clock(clock.clone())
        .danger_assume_no_history();
    let builder = builder.store(store.build().unwrap()).clock(clock);
    let mut request = Request::post(url).body(body.into()).unwrap();
    *request.headers_mut() = headers.clone();
    let verified = verify(&builder.build().unwrap(), &request).await;
    verified.map(|_| ()).map_err(|rejection| rejection.kind())
}

#[derive(Deserialize)]
struct Providers {
    vectors: Vec<ProviderVector>,
}

#[derive(Deserialize)]
struct ProviderVector {
    provider: String,
    #[serde(default)]
    secret: String,
    #[serde(default)]
    secrets: Vec<String>,
    #[serde(default)]
    body: String,
    #[serde(default)]
    now: u64,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    #[serde(default)]
    now_ms: u64,
    /// The URL of the delivery, for senders that sign it.
    #[serde(default, alias = "notification_url")]
    url: String,
    #[serde(default)]
    form: BTreeMap<String, Vec<String>>,
    valid: bool,
}

impl ProviderVector {
    fn body(&self) -> String {
        if self.form.is_empty() {
            return self.body.clone();
        }
        let pairs = self.form.iter().flat_map(|(name, values)| {
            let values = values.iter();
            values.map(move |value| format!("{name}={}", value.replace('+', "%2B")))
        });
        pairs.collect::<Vec<_>>().join("&")
    }
}

/// The preset, with the secrets of the vector, which may be short.
fn preset(vector: &ProviderVector) -> Option<VerifierBuilder<Verifier>> {
    let builder = match &*vector.provider {
        "github" => Verifier::builder(GitHub::new()),
        "slack" => Verifier::builder(Slack::new()),
        "shopify" => Verifier::builder(Shopify::new()),
        "linear" => Verifier::builder(Linear::new()),
        "paddle" => Verifier::builder(Paddle::new()),
        "twilio" if vector.form.is_empty() => {
            let url: http::Uri = vector.url.parse().unwrap();
            let (path, _) = url.path_and_query()?.as_str().split_once("&bodySHA256")?;
            Verifier::builder(Twilio::json_at(path).unwrap())
        }
        "twilio" => Verifier::builder(Twilio::new()),
        "square" => Verifier::builder(Square::new()),
        "hubspot-v3" => Verifier::builder(HubSpot::new()),
        _ => return None,
    };
    if !vector.secrets.is_empty() {
        return Some(vector.secrets.iter().fold(builder, VerifierBuilder::secret));
    }
    let secret = Secret::danger_short(vector.secret.as_str()).unwrap();
    let keys = KeyRing::new()
        .with(vector.provider.trim_end_matches("-v3"), secret)
        .unwrap();
    Some(builder.keys(keys))
}

#[tokio::test]
async fn examples_of_providers() {
    let file = "providers/vectors.json";
    let Some(Providers { vectors }) = vectors(file) else {
        return;
    };
    let (mut verified, mut refused) = (Vec::new(), Vec::new());
    for vector in &vectors {
        let name = &*vector.provider;
        if preset(vector).is_none() {
            log::say(&format!("{file}: {name}: there is no preset here"));
            continue;
        }
        let headers: HeaderMap = vector
            .headers
            .iter()
            .map(|(name, value)| {
                let name: HeaderName = name.parse().unwrap();
                (name, value.parse().unwrap())
            })
            .collect();
        let uri: http::Uri = vector.url.parse().unwrap_or_default();
        let origin = uri
            .authority()
            .map(|authority| format!("{}://{authority}", uri.scheme_str().unwrap_or_default()));
        let of = async |body: String, now| {
            let builder = preset(vector).unwrap();
            let builder = origin
                .iter()
                .fold(builder, |b, origin| b.public_origin(origin));
            let url = if origin.is_some() {
                &vector.url
            } else {
                "/hook"
            };
            verdict(builder, url, &headers, body, now).await
        };
        let (body, now) = (vector.body(), vector.now + vector.now_ms / 1000);
        let first = of(body.clone(), now).await;
        if !vector.valid {
            assert_eq!(first, Err(RejectionKind::SignatureMalformed), "{name}");
            refused.push(name);
            continue;
        }
        // The vector of Linear has no time in its body, which its own library wants too: what is
        // verified is the MAC.
        let expected = match name {
            "linear" => Err(RejectionKind::SignatureMalformed),
            _ => Ok(()),
        };
        assert_eq!(first, expected, "{name}");
        let changed = of(format!("{body} "), now).await;
        assert_eq!(changed, Err(RejectionKind::SignatureInvalid), "{name}");
        if now > 0 {
            let late = of(body, now + 301).await;
            assert_eq!(late, Err(RejectionKind::SignatureExpired), "{name}");
        }
        verified.push(name);
    }
    let expected = [
        "github",
        "github",
        "slack",
        "square",
        "paddle",
        "hubspot-v3",
        "twilio",
        "twilio",
        "twilio",
        "twilio",
        "shopify",
        "linear",
    ];
    assert_eq!(verified, expected);
    assert_eq!(refused, ["github"]);
}

#[derive(Deserialize)]
struct StandardVectors {
    sign: Vec<StandardVector>,
    multi_signature_valid: Several,
    must_reject: Vec<MustReject>,
    secrets_unpadded_python_only: Vec<Unpadded>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct StandardVector {
    secret: String,
    webhook_id: String,
    webhook_timestamp: String,
    payload: String,
    signature: String,
}

#[derive(Deserialize)]
struct Several {
    base: usize,
    header_template: String,
}

#[derive(Deserialize)]
struct MustReject {
    why: String,
    signature: Option<String>,
    truncate_signature_to: Option<usize>,
}

#[derive(Deserialize)]
struct Unpadded {
    secret: String,
}

#[tokio::test]
async fn examples_of_standard_webhooks() {
    let file = "standard-webhooks/vectors.json";
    let Some(vectors) = vectors::<StandardVectors>(file) else {
        return;
    };
    let [vector] = &vectors.sign[..] else {
        panic!("{} vectors", vectors.sign.len());
    };
    let now: u64 = vector.webhook_timestamp.parse().unwrap();
    let genuine = |prefix: &str| {
        let entries = [
            ("id", &vector.webhook_id),
            ("timestamp", &vector.webhook_timestamp),
            ("signature", &vector.signature),
        ];
        let entries = entries.map(|(name, value)| {
            let name: HeaderName = format!("{prefix}-{name}").parse().unwrap();
            (name, value.parse().unwrap())
        });
        entries.into_iter().collect::<HeaderMap>()
    };
    let of = async |headers: &HeaderMap, now: u64| {
        let builder = Verifier::builder(StandardWebhooks::new()).secret(&vector.secret);
        verdict(builder, "/hook", headers, vector.payload.clone(), now).await
    };
    let with = |name: &'static str, value: Option<&str>| {
        let mut headers = genuine("webhook");
        headers.remove(name);
        headers.extend(value.map(|value| {
            (
                HeaderName::from_static(name),
                value.parse::<http::HeaderValue>().unwrap(),
            )
        }));
        headers
    };

    assert_eq!(of(&genuine("webhook"), now).await, Ok(()));
    let svix = Verifier::builder(StandardWebhooks::svix()).secret(&vector.secret);
    let svix = verdict(svix, "/hook", &genuine("svix"), vector.payload.clone(), now).await;
    assert_eq!(svix, Ok(()));

    let Several {
        base,
        header_template,
    } = &vectors.multi_signature_valid;
    let several = header_template.replace("{VALID}", &vectors.sign[*base].signature);
    let several = with("webhook-signature", Some(&several));
    assert_eq!(of(&several, now).await, Ok(()));

    for MustReject {
        why,
        signature,
        truncate_signature_to,
    } in &vectors.must_reject
    {
        let (malformed, missing) = (
            RejectionKind::SignatureMalformed,
            RejectionKind::SignatureMissing,
        );
        let refused = |kind| Err(kind);
        match (&**why, signature, truncate_signature_to) {
            (_, Some(signature), _) => {
                let kind = if signature == "v1," {
                    malformed
                } else {
                    RejectionKind::SignatureInvalid
                };
                let headers = with("webhook-signature", Some(signature));
                assert_eq!(of(&headers, now).await, refused(kind), "{why}");
            }
            (_, _, Some(length)) => {
                let headers = with("webhook-signature", Some(&vector.signature[..*length]));
                assert_eq!(of(&headers, now).await, refused(malformed), "{why}");
            }
            ("missing id", ..) => {
                assert_eq!(of(&with("webhook-id", None), now).await, refused(malformed));
            }
            ("missing timestamp", ..) => {
                let headers = with("webhook-timestamp", None);
                assert_eq!(of(&headers, now).await, refused(malformed));
            }
            ("missing signature", ..) => {
                let headers = with("webhook-signature", None);
                assert_eq!(of(&headers, now).await, refused(missing));
            }
            ("timestamp \"hello\"", ..) => {
                let headers = with("webhook-timestamp", Some("hello"));
                assert_eq!(of(&headers, now).await, refused(malformed));
            }
            ("older than 300 s", ..) => {
                let late = of(&genuine("webhook"), now + 301).await;
                assert_eq!(late, refused(RejectionKind::SignatureExpired));
            }
            ("newer than 300 s", ..) => {
                let early = of(&genuine("webhook"), now - 301).await;
                assert_eq!(early, refused(RejectionKind::SignatureNotYetValid));
            }
            (why, ..) if why.starts_with("empty secret") => {
                for secret in ["", "whsec_"] {
                    let builder = Verifier::builder(StandardWebhooks::new()).secret(secret);
                    assert!(builder.build().is_err(), "{secret}");
                }
            }
            (why, ..) => panic!("not tested: {why}"),
        }
    }
    for Unpadded { secret } in &vectors.secrets_unpadded_python_only {
        let builder = Verifier::builder(StandardWebhooks::new()).secret(secret);
        let padded = secret.len() % 4 == 0;
        let built = builder
            .namespace("tests")
            .processing(countersign::Processing::InTransaction);
        assert_eq!(built.build().is_ok(), padded, "{secret}");
    }
}
