//! Published test vectors verify: HMAC itself, the examples of webhook providers, as far as a
//! `HeaderScheme` can express them, canonical JSON, and those of RFC 9421, RFC 9530 and structured
//! fields.
//!
//! The vectors are not part of the repository; the variable `COUNTERSIGN_VECTORS` names the folder
//! that holds them. Without it, each test says which file it did not read.

mod http_message_signatures;
mod jcs;

use std::{env, fs, path::Path, time::Duration};

use bytes::Bytes;
use countersign::{
    ConfigError, HeaderScheme, KeyRing, MemoryStore, Part, RejectionKind, Secret, Timestamp,
    Verifier,
    scheme::{Encoding, HeaderSchemeBuilder, MacAlgorithm},
    testing::ManualClock,
};
use hmac::{Hmac, KeyInit as _, Mac as _};
use http::{HeaderMap, HeaderName, Request};
use http_body_util::Full;
use serde::Deserialize;
use sha2::Sha256;

use crate::common::log;

const SENDER: &str = "sender";
const DAY: Duration = Duration::from_secs(86_400);

/// The text of this file; `None`, and a word about it, where the folder is not given.
fn text(file: &str) -> Option<Vec<u8>> {
    let Some(folder) = env::var_os("COUNTERSIGN_VECTORS") else {
        log::skipped(file, "COUNTERSIGN_VECTORS names no folder of vectors");
        return None;
    };
    let path = Path::new(&folder).join(file);
    Some(fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display())))
}

/// The vectors of this file.
fn vectors<T: for<'de> Deserialize<'de>>(file: &str) -> Option<T> {
    Some(serde_json::from_slice(&text(file)?).unwrap())
}

fn hex(text: &str) -> Vec<u8> {
    base16ct::mixed::decode_vec(text).unwrap()
}

fn over_body(header: &str) -> HeaderSchemeBuilder {
    log::listen();
    HeaderScheme::builder(header)
        .fixed_key_id(SENDER)
        .danger_without_time(DAY)
        .signs([Part::Body])
}

/// The verdict of a new verifier whose clock shows `now`.
async fn verdict(
    scheme: &HeaderScheme,
    secret: impl Into<Vec<u8>>,
    headers: &HeaderMap,
    body: impl Into<Bytes>,
    now: u64,
) -> Result<(), RejectionKind> {
    let clock = ManualClock::at(Timestamp::from_secs(now).unwrap());
    let store = MemoryStore::builder()
        .clock(clock.clone())
        .danger_assume_no_history();
    let secret = Secret::danger_short(secret).unwrap();
    let verifier = Verifier::builder(scheme.clone())
        .keys(KeyRing::new().with(SENDER, secret).unwrap())
        .store(store.build().unwrap())
        .clock(clock)
        .build()
        .unwrap();
    let mut head = Request::post("/").body(()).unwrap().into_parts().0;
    head.headers = headers.clone();
    let verified = verifier.verify(&head, Full::new(body.into())).await;
    verified.map(|_| ()).map_err(|rejection| rejection.kind())
}

fn header(name: &str, value: &str) -> HeaderMap {
    let name: HeaderName = name.parse().unwrap();
    HeaderMap::from_iter([(name, value.parse().unwrap())])
}

#[derive(Deserialize)]
struct Rfc4231 {
    tests: Vec<Rfc4231Test>,
}

#[derive(Deserialize)]
struct Rfc4231Test {
    key_hex: String,
    data_hex: String,
    sha256: String,
    sha512: String,
}

#[tokio::test]
async fn hmac_of_rfc_4231() {
    let Some(Rfc4231 { tests }) = vectors("hmac/rfc4231.json") else {
        return;
    };
    let sha256 = over_body("x-signature").build().unwrap();
    let sha512 = over_body("x-signature")
        .algorithm(MacAlgorithm::HmacSha512)
        .build()
        .unwrap();
    for test in &tests {
        for (scheme, mac) in [(&sha256, &test.sha256), (&sha512, &test.sha512)] {
            let (key, data) = (hex(&test.key_hex), hex(&test.data_hex));
            let headers = header("x-signature", mac);
            let right = verdict(scheme, key.clone(), &headers, data.clone(), 0).await;
            assert_eq!(right, Ok(()), "{mac}");
            let other = [&data[..], b"."].concat();
            let wrong = verdict(scheme, key, &headers, other, 0).await;
            assert_eq!(wrong, Err(RejectionKind::SignatureInvalid), "{mac}");
        }
    }
    assert_eq!(tests.len(), 6);
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wycheproof {
    number_of_tests: usize,
    test_groups: Vec<Group>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Group {
    tag_size: usize,
    tests: Vec<MacTest>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct MacTest {
    tc_id: u32,
    key: String,
    msg: String,
    tag: String,
    result: String,
}

#[tokio::test]
async fn hmac_sha256_of_wycheproof() {
    let file = "hmac/wycheproof_hmac_sha256_test.json";
    let Some(Wycheproof {
        number_of_tests,
        test_groups,
    }) = vectors(file)
    else {
        return;
    };
    let scheme = over_body("x-signature").build().unwrap();
    let (mut valid, mut invalid, mut truncated, mut refused_keys) = (0, 0, 0, Vec::new());
    for group in &test_groups {
        for MacTest {
            tc_id,
            key,
            msg,
            tag,
            result,
        } in &group.tests
        {
            let (key, msg) = (hex(key), hex(msg));
            if Secret::danger_short(key.clone()).is_err() {
                refused_keys.push(tc_id);
                continue;
            }
            let verdict = async |tag: &str| {
                verdict(
                    &scheme,
                    key.clone(),
                    &header("x-signature", tag),
                    msg.clone(),
                    0,
                )
                .await
            };
            match (group.tag_size, &**result) {
                (256, "valid") => {
                    valid += 1;
                    assert_eq!(verdict(tag).await, Ok(()), "{tc_id}");
                }
                (256, "invalid") => {
                    invalid += 1;
                    let refused = verdict(tag).await;
                    assert_eq!(refused, Err(RejectionKind::SignatureInvalid), "{tc_id}");
                }
                // A truncated tag is none, be it right or wrong.
                (128, result) => {
                    truncated += 1;
                    let refused = verdict(tag).await;
                    assert_eq!(refused, Err(RejectionKind::SignatureMalformed), "{tc_id}");
                    let mut mac = Hmac::<Sha256>::new_from_slice(&key).unwrap();
                    mac.update(&msg);
                    let whole = base16ct::lower::encode_string(&mac.finalize().into_bytes());
                    assert_eq!(whole.starts_with(tag), result == "valid", "{tc_id}");
                    assert_eq!(verdict(&whole).await, Ok(()), "{tc_id}, not truncated");
                }
                other => panic!("{tc_id}: {other:?}"),
            }
        }
    }
    log::say(&format!(
        "{file}: {valid} valid, {invalid} invalid, {truncated} truncated; keys that a `Secret` \
         refuses, as empty or all zero: {refused_keys:?}"
    ));
    assert_eq!(
        valid + invalid + truncated + refused_keys.len(),
        number_of_tests
    );
    assert!(valid > 30 && invalid > 50 && truncated > 80);
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
    body: String,
    #[serde(default)]
    now: u64,
    #[serde(default)]
    headers: std::collections::BTreeMap<String, String>,
    valid: bool,
}

/// The format of a provider, or why no `HeaderScheme` is it.
fn provider(name: &str) -> Result<HeaderSchemeBuilder, &'static str> {
    Ok(match name {
        "github" => over_body("x-hub-signature-256").prefix("sha256="),
        "shopify" => over_body("x-shopify-hmac-sha256").encoding(Encoding::Base64),
        "linear" => over_body("linear-signature"),
        "slack" => HeaderScheme::builder("x-slack-signature")
            .prefix("v0=")
            .fixed_key_id(SENDER)
            .time("x-slack-request-timestamp")
            .signs(Part::joined(
                ":",
                [Part::text("v0"), Part::Time, Part::Body],
            )),
        "square" | "hubspot-v3" => return Err("its URL and body have no delimiter"),
        "paddle" => return Err("its time is inside of the signature's header"),
        "twilio" => return Err("it is HMAC-SHA1 over sorted parameters"),
        name if name.contains("not HMAC") => return Err("it is no HMAC"),
        other => panic!("a provider that this test does not know: {other}"),
    })
}

#[tokio::test]
async fn examples_of_webhook_providers() {
    let file = "providers/vectors.json";
    let Some(Providers { vectors }) = vectors(file) else {
        return;
    };
    let mut verified = Vec::new();
    for vector in &vectors {
        let name = &vector.provider;
        let scheme = match provider(name) {
            Ok(builder) => builder.build().unwrap(),
            Err(why) => {
                log::say(&format!("{file}: {name} is not expressed: {why}"));
                continue;
            }
        };
        let mut headers = HeaderMap::new();
        for (name, value) in &vector.headers {
            let name: HeaderName = name.parse().unwrap();
            headers.insert(name, value.parse().unwrap());
        }
        let of = async |headers: &HeaderMap, body: String, now| {
            verdict(&scheme, vector.secret.clone(), headers, body, now).await
        };
        let first = of(&headers, vector.body.clone(), vector.now).await;
        assert_eq!(first.is_ok(), vector.valid, "{name}: {first:?}");
        if vector.valid {
            let changed = of(&headers, format!("{} ", vector.body), vector.now).await;
            assert_eq!(changed, Err(RejectionKind::SignatureInvalid), "{name}");
            verified.push(&**name);
        }
        if name == "slack" {
            let late = of(&headers, vector.body.clone(), vector.now + 301).await;
            assert_eq!(late, Err(RejectionKind::SignatureExpired));
        }
    }
    assert_eq!(verified, ["github", "github", "slack", "shopify", "linear"]);
}

#[derive(Deserialize)]
struct StandardWebhooks {
    sign: Vec<StandardWebhook>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct StandardWebhook {
    secret: String,
    webhook_id: String,
    webhook_timestamp: String,
    payload: String,
    signature: String,
}

/// `id.timestamp.body`, where an id could hold a dot: that format is refused. The part that is verified here
/// is the MAC of the example, with its id as fixed text.
#[tokio::test]
async fn the_example_of_standard_webhooks() {
    let file = "standard-webhooks/vectors.json";
    let Some(StandardWebhooks { sign }) = vectors(file) else {
        return;
    };
    let builder = |id: Part| -> Result<HeaderScheme, ConfigError> {
        let builder = HeaderScheme::builder("webhook-signature")
            .prefix("v1,")
            .encoding(Encoding::Base64)
            .fixed_key_id(SENDER)
            .time("webhook-timestamp");
        let builder = if id == Part::Nonce {
            builder.event_id("webhook-id")
        } else {
            builder
        };
        builder
            .signs(Part::joined(".", [id, Part::Time, Part::Body]))
            .build()
    };
    let refused = builder(Part::Nonce).unwrap_err().to_string();
    assert!(
        refused.contains("between the nonce and its neighbour"),
        "{refused}"
    );
    log::say(&format!(
        "{file}: the format is not expressed: a dot in the id would make it ambiguous"
    ));

    for vector in &sign {
        let scheme = builder(Part::text(&vector.webhook_id)).unwrap();
        let secret = vector.secret.strip_prefix("whsec_").unwrap();
        let key = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, secret);
        let mut headers = header("webhook-signature", &vector.signature);
        headers.extend(header("webhook-timestamp", &vector.webhook_timestamp));
        let now = vector.webhook_timestamp.parse().unwrap();
        let body = vector.payload.clone();
        let verdict = verdict(&scheme, key.unwrap(), &headers, body, now).await;
        assert_eq!(verdict, Ok(()), "{}", vector.signature);
    }
    assert_eq!(sign.len(), 1);
}
