//! A delivery that was changed on the way is refused, and uses up no genuine one.

use std::collections::HashSet;

use bytes::Bytes;
use countersign::{HeaderScheme, Part, Signer, Verifier, scheme::Encoding};
use http::{HeaderValue, Request};

use super::{
    coverage::concerned,
    provider::{Hash, ID, IN_BODY, Provider, Time, get, set, verify, with, with_body, without},
    rows::{
        ALL, DROPBOX, GITHUB, HUBSPOT, LINEAR, META, PADDLE, SHOPIFY, SLACK, SQUARE,
        STANDARD_WEBHOOKS, STRIPE, SVIX, TWILIO, ZOOM, alike, event,
    },
    service::{INVALID, MALFORMED, MISSING, Service},
};
use crate::common::{self, NOW, log};

/// The presets sign the messages that the tests put together themselves.
#[tokio::test]
async fn what_is_signed_is_the_message_of_the_test() {
    for provider in ALL {
        let clock = common::clock();
        let mut request = provider.delivery(&clock);
        let signed = request.clone();
        let mac = provider.mac(provider.secrets[0], &request);
        if provider.signature != IN_BODY {
            let header = provider.value.replace("{time}", &NOW.to_string());
            let header = header.replace("{mac}", &mac);
            assert_eq!(get(&signed, provider.signature), header);
        }
        provider.resign(&mut request);
        assert_eq!(signed.headers(), request.headers(), "{}", provider.name);
        assert_eq!(signed.body(), request.body(), "{}", provider.name);
        Service::new(provider).handles(request).await;
    }
}

/// Every byte of `text` replaced by every other, left out, and doubled.
pub fn changes(text: &[u8]) -> impl Iterator<Item = (usize, Vec<u8>)> + '_ {
    changes_by(1..=u8::MAX, text)
}

/// Every byte of `text` with one bit of it flipped, left out, and doubled.
fn flips(text: &[u8]) -> impl Iterator<Item = (usize, Vec<u8>)> + '_ {
    changes_by((0..8).map(|bit| 1 << bit), text)
}

fn changes_by<'t>(
    masks: impl Iterator<Item = u8> + Clone + 't,
    text: &'t [u8],
) -> impl Iterator<Item = (usize, Vec<u8>)> + 't {
    (0..text.len()).flat_map(move |at| {
        let replaced = masks.clone().map(move |mask| {
            let mut changed = text.to_vec();
            changed[at] ^= mask;
            (at, changed)
        });
        let lacking = [&text[..at], &text[at + 1..]].concat();
        let doubled = [&text[..=at], &text[at..]].concat();
        replaced.chain([(at, lacking), (at, doubled)])
    })
}

/// The changes of one byte that are not refused.
async fn accepted_changes<'t, C: Iterator<Item = (usize, Vec<u8>)>>(
    verifier: &Verifier,
    genuine: &'t Request<Bytes>,
    headers: &[&'static str],
    changes: impl Fn(&'t [u8]) -> C,
) -> Vec<String> {
    let _quiet = log::quiet();
    let mut accepted = Vec::new();
    for name in headers {
        for (at, changed) in changes(genuine.headers()[*name].as_bytes()) {
            let Ok(header) = HeaderValue::from_bytes(&changed) else {
                continue;
            };
            let mut request = genuine.clone();
            request.headers_mut().insert(*name, header);
            if verify(verifier, &request).await.is_ok() {
                let text = String::from_utf8_lossy(&changed).into_owned();
                accepted.push(format!("{name}[{at}]: {text}"));
            }
        }
    }
    for (at, changed) in changes(genuine.body()) {
        if verify(verifier, &with_body(genuine, changed)).await.is_ok() {
            accepted.push(format!("body[{at}]"));
        }
    }
    accepted
}

/// Each byte is replaced by every other, for the first sender of each shape. Senders of the same
/// shape have each bit flipped.
#[tokio::test]
async fn every_change_of_one_byte_is_refused_but_for_the_case_of_hexadecimal_digits() {
    let mut shapes = HashSet::new();
    for provider in alike() {
        let clock = common::clock();
        let genuine = provider.sign(&clock, event(NOW));
        let mac = provider.mac(provider.secrets[0], &genuine);
        let header = get(&genuine, provider.signature);
        // A letter of hexadecimal digits means the same in either case, and is no part of the
        // message.
        let either_case: Vec<_> = (0..mac.len())
            .filter(|at| {
                provider.encoding == Encoding::Hex && mac.as_bytes()[*at].is_ascii_lowercase()
            })
            .map(|at| {
                let at = header.len() - mac.len() + at;
                let mut changed = header.clone();
                changed[at..=at].make_ascii_uppercase();
                format!("{}[{at}]: {changed}", provider.signature)
            })
            .collect();

        // Each request is verified as if nothing had been claimed, so that a second spelling is not
        // refused as a replay of the first.
        let verifier = provider
            .verifier(&clock)
            .namespace("tests")
            .processing(countersign::Processing::InTransaction)
            .build()
            .unwrap();
        let headers = provider.headers();
        let accepted = if shapes.insert(provider.shape()) {
            accepted_changes(&verifier, &genuine, &headers, changes).await
        } else {
            accepted_changes(&verifier, &genuine, &headers, flips).await
        };
        assert_eq!(accepted, either_case, "{}", provider.name);

        // Another spelling of the MAC is no second request.
        let service = Service::new(provider);
        service.handles(genuine.clone()).await;
        let upper = header.replace(&mac, &mac.to_ascii_uppercase());
        if provider.encoding == Encoding::Hex {
            let respelled = with(&genuine, provider.signature, &upper);
            service.refuses(respelled, (200, ""), provider.name).await;
        }
    }
}

/// Without the time in the message, changes of the time are found.
#[tokio::test]
async fn twin_a_header_that_is_not_covered_is_found() {
    let scheme = HeaderScheme::builder("x-slack-signature")
        .prefix("v0=")
        .fixed_key_id("slack")
        .danger_without_time(std::time::Duration::from_secs(3600))
        .signs([Part::text("v0:"), Part::Body])
        .build()
        .unwrap();
    let secret = SLACK.secrets[0];
    let clock = common::clock();
    let verifier = Verifier::builder(scheme.clone())
        .secret(secret)
        .namespace("tests")
        .processing(countersign::Processing::InTransaction)
        .build()
        .unwrap();
    let mut request = Request::post("/hook").body(Bytes::from("{}")).unwrap();
    set(&mut request, "x-slack-request-timestamp", "1700000000");
    let signer = Signer::with_secret(scheme, secret).unwrap().clock(clock);
    let genuine = signer.sign(request).unwrap();
    let found =
        accepted_changes(&verifier, &genuine, &["x-slack-request-timestamp"], changes).await;
    assert!(found.len() > 1000, "{}", found.len());
}

#[tokio::test]
async fn a01_an_empty_or_truncated_mac_is_none() {
    for provider in concerned(1) {
        let service = Service::new(provider);
        let genuine = provider.delivery(&service.clock);
        let mac = provider.mac(provider.secrets[0], &genuine);
        for length in [0, 1, 8, 16, mac.len() - 8, mac.len() - 1] {
            let request = provider.with_mac(&genuine, &mac[..length]);
            service
                .refuses(request, MALFORMED, (provider.name, length))
                .await;
        }
        for surplus in ["0", "00", "=", "\t", "A==="] {
            let request = provider.with_mac(&genuine, &format!("{mac}{surplus}"));
            service
                .refuses(request, MALFORMED, (provider.name, surplus))
                .await;
        }
        service.handles(genuine).await;
    }
}

/// The separator of a list, and the text before each MAC in it.
fn list(provider: &Provider) -> (&'static str, &'static str) {
    (provider.list.unwrap(), provider.version())
}

#[tokio::test]
async fn a02_of_several_macs_in_a_header_any_may_be_the_right_one() {
    for provider in concerned(2) {
        let (separator, version) = list(provider);
        let wrong = match provider.encoding {
            Encoding::Hex => "00".repeat(32),
            _ => format!("{}=", "A".repeat(43)),
        };
        let other = format!("x{version}");
        for before in [
            vec![format!("{version}{wrong}")],
            vec![format!("{version}{wrong}"); 3],
            vec![format!("{version}dummy"), format!("{version}")],
            vec![format!("{other}{wrong}"); 14],
        ] {
            let service = Service::new(provider);
            let genuine = provider.delivery(&service.clock);
            let header = get(&genuine, provider.signature);
            let (time, mac) = match header.rsplit_once(separator) {
                Some((time, mac)) => (Some(time), mac),
                None => (None, header.as_str()),
            };
            let all: Vec<_> = time
                .into_iter()
                .chain(before.iter().map(String::as_str))
                .chain([mac])
                .collect();
            let several = with(&genuine, provider.signature, &all.join(separator));
            service.handles(several).await;
            // And it was this event.
            service.refuses(genuine, (200, ""), provider.name).await;
        }
    }
}

#[tokio::test]
async fn a02_of_a_list_that_is_too_long_nothing_is_tried() {
    for provider in concerned(2) {
        let (separator, version) = list(provider);
        let service = Service::new(provider);
        let genuine = provider.delivery(&service.clock);
        let header = get(&genuine, provider.signature);
        let other = format!("x{version}");
        for (added, count) in [(format!("{other}x"), 16), (mac_of(provider, &genuine), 4)] {
            let added = vec![added; count].join(separator);
            let request = with(
                &genuine,
                provider.signature,
                &format!("{header}{separator}{added}"),
            );
            service
                .refuses(request, MALFORMED, (provider.name, count))
                .await;
        }
        service.handles(genuine).await;
    }
}

fn mac_of(provider: &Provider, request: &Request<Bytes>) -> String {
    format!(
        "{}{}",
        list(provider).1,
        provider.mac(provider.secrets[0], request)
    )
}

#[tokio::test]
async fn a05_another_version_or_algorithm_is_no_signature() {
    for (provider, header) in [
        (&STRIPE, "t=1700000000,v0={}"),
        (&STRIPE, "t=1700000000,V1={}"),
        (&PADDLE, "ts=1700000000;h0={}"),
        (&STANDARD_WEBHOOKS, "v1a,{}"),
        (&STANDARD_WEBHOOKS, "v2,{} v1a,{}"),
        (&SVIX, "v0,{}"),
    ] {
        let service = Service::new(provider);
        let genuine = provider.delivery(&service.clock);
        let mac = provider.mac(provider.secrets[0], &genuine);
        let request = with(&genuine, provider.signature, &header.replace("{}", &mac));
        service.refuses(request, MISSING, header).await;
        service.handles(genuine).await;
    }
    for (provider, prefix) in [
        (&SLACK, "v1="),
        (&ZOOM, "V0="),
        (&GITHUB, "sha1="),
        (&GITHUB, "SHA256="),
        (&META, "sha512="),
        (&LINEAR, "sha256="),
        (&DROPBOX, "sha256="),
        (&HUBSPOT, "sha256="),
        (&SQUARE, "sha256="),
        (&TWILIO, "sha1="),
        (&STRIPE, "t=1700000000, v1="),
        (&PADDLE, "ts=1700000000; h1="),
        (&STANDARD_WEBHOOKS, "v1, "),
    ] {
        let service = Service::new(provider);
        let genuine = provider.delivery(&service.clock);
        let mac = provider.mac(provider.secrets[0], &genuine);
        let request = with(&genuine, provider.signature, &format!("{prefix}{mac}"));
        service.refuses(request, MALFORMED, prefix).await;
        service.handles(genuine).await;
    }
    // The header with SHA-1, which GitHub and Meta send beside it, does not count.
    for provider in [&GITHUB, &META] {
        let service = Service::new(provider);
        let genuine = provider.delivery(&service.clock);
        let sha1 = with(
            &genuine,
            "x-hub-signature",
            &format!("sha1={}", "0".repeat(40)),
        );
        let alone = without(&sha1, provider.signature);
        service.refuses(alone, MISSING, provider.name).await;
        service.handles(sha1).await;
    }
}

#[tokio::test]
async fn a05_a_mac_by_another_algorithm_is_none() {
    for provider in concerned(5) {
        let service = Service::new(provider);
        let genuine = provider.delivery(&service.clock);
        for hash in [Hash::Sha1, Hash::Sha256, Hash::Sha512] {
            let mac = provider.mac_by(hash, provider.secrets[0], &genuine);
            let request = provider.with_mac(&genuine, &mac);
            if hash == provider.hash {
                assert_eq!(get_all(&request), get_all(&genuine), "{}", provider.name);
            } else {
                service
                    .refuses(request, MALFORMED, (provider.name, hash))
                    .await;
            }
        }
        service.handles(genuine).await;
    }
}

fn get_all(request: &Request<Bytes>) -> (&http::HeaderMap, &Bytes) {
    (request.headers(), request.body())
}

#[tokio::test]
async fn a06_a_value_under_another_name_is_not_read() {
    for provider in concerned(6) {
        let service = Service::new(provider);
        let genuine = provider.delivery(&service.clock);
        for name in provider.headers() {
            let value = get(&genuine, name);
            let moved = with(&without(&genuine, name), "x-other-signature", &value);
            let expected = if name == provider.signature {
                MISSING
            } else {
                MALFORMED
            };
            service
                .refuses(moved, expected, (provider.name, name))
                .await;
        }
        service.handles(genuine).await;
    }
    let service = Service::new(&STANDARD_WEBHOOKS);
    let genuine = STANDARD_WEBHOOKS.delivery(&service.clock);
    let swapped = with(&genuine, "webhook-id", &get(&genuine, "webhook-timestamp"));
    let swapped = with(&swapped, "webhook-timestamp", ID);
    service
        .refuses(swapped, MALFORMED, "id and time swapped")
        .await;
    // Svix's names and those of the standard are two formats.
    let svix = SVIX.delivery(&service.clock);
    service.refuses(svix, MISSING, "svix").await;
}

#[tokio::test]
async fn a07_bytes_cannot_move_between_id_time_and_body() {
    for provider in concerned(7) {
        let service = Service::new(provider);
        // The body begins as a time does. The delimiter is the text behind the time.
        let (_, rest) = provider.message.split_once("{time}").unwrap();
        let delimiter = rest.strip_suffix("{body}").unwrap();
        let genuine = provider.sign(&service.clock, format!("{NOW}{delimiter}{{}}"));
        let mut moved = with_body(&genuine, "{}");
        provider.set_time(&mut moved, &format!("{NOW}{delimiter}{NOW}"));
        service.refuses(moved, MALFORMED, provider.name).await;
        service.handles(genuine).await;
    }
    for provider in [&STANDARD_WEBHOOKS, &SVIX] {
        let service = Service::new(provider);
        let genuine = provider.sign(&service.clock, format!("{NOW}.{{}}"));
        let id = provider.id.unwrap();
        let mut moved = with(&genuine, id, &format!("{ID}.{NOW}"));
        *moved.body_mut() = "{}".into();
        assert_eq!(
            provider.mac(provider.secrets[0], &moved),
            provider.mac(provider.secrets[0], &genuine),
            "one message"
        );
        service.refuses(moved, MALFORMED, provider.name).await;
        service.handles(genuine).await;
    }
}

#[tokio::test]
async fn a10_no_part_of_a_signature_may_be_missing() {
    for provider in concerned(10) {
        let service = Service::new(provider);
        let genuine = provider.delivery(&service.clock);
        for name in provider.headers() {
            let expected = if name == provider.signature {
                MISSING
            } else {
                MALFORMED
            };
            let request = without(&genuine, name);
            service
                .refuses(request, expected, (provider.name, name))
                .await;
            let request = with(&genuine, name, "");
            service
                .refuses(request, MALFORMED, (provider.name, name))
                .await;
        }
        if let (Time::Listed(_), Some(separator)) = (provider.time, provider.list) {
            let header = get(&genuine, provider.signature);
            let (time, mac) = header.split_once(separator).unwrap();
            for (header, expected) in [(mac, MALFORMED), (time, MISSING)] {
                let request = with(&genuine, provider.signature, header);
                service.refuses(request, expected, header).await;
            }
        }
        service.handles(genuine).await;
    }
}

#[tokio::test]
async fn a11_a_header_or_a_time_that_stands_there_twice_is_refused() {
    for provider in concerned(11) {
        let service = Service::new(provider);
        let genuine = provider.delivery(&service.clock);
        for name in provider.headers() {
            let value = get(&genuine, name);
            for other in [value.clone(), "x".to_owned()] {
                let mut request = genuine.clone();
                request.headers_mut().append(name, other.parse().unwrap());
                service
                    .refuses(request, MALFORMED, (provider.name, name))
                    .await;
            }
            let joined = with(&genuine, name, &format!("{value}, {value}"));
            let answer = service.send(joined).await;
            assert_eq!(answer.0 / 100, 4, "{} {name}: {answer:?}", provider.name);
        }
        if let (Time::Listed(name), Some(separator)) = (provider.time, provider.list) {
            let header = get(&genuine, provider.signature);
            for time in [NOW, NOW - 1] {
                let twice = format!("{header}{separator}{name}={time}");
                let request = with(&genuine, provider.signature, &twice);
                service.refuses(request, MALFORMED, twice).await;
            }
        }
        assert_eq!(service.effects.count(), 0, "{}", provider.name);
        service.handles(genuine).await;
    }
}

#[tokio::test]
async fn a13_a_body_that_was_written_anew_is_another() {
    for provider in concerned(13) {
        let service = Service::new(provider);
        let body = r#"{ "id": "evt_1", "event_id": "evt_1", "webhookTimestamp": 1700000000000, "name": "\u00e9", "n": 1.0 }"#;
        let genuine = provider.sign(&service.clock, body);
        let value: serde_json::Value = serde_json::from_str(body).unwrap();
        let again = with_body(&genuine, value.to_string());
        service.refuses(again, INVALID, provider.name).await;
        let compressed = with(&genuine, "content-encoding", "gzip");
        let insufficient = (401, "signature_insufficient");
        service
            .refuses(compressed, insufficient, provider.name)
            .await;
        service.handles(genuine).await;
    }
}

#[tokio::test]
async fn a_body_need_not_be_utf_8() {
    for provider in alike() {
        let service = Service::new(provider);
        let mut body = event(NOW).into_bytes();
        body.truncate(body.len() - 1);
        body.extend_from_slice(b",\"raw\":\"\xff\xfe\"}");
        service.handles(provider.sign(&service.clock, body)).await;
        if provider.time == Time::Body("webhookTimestamp") || provider.name == "Shopify" {
            continue;
        }
        for body in [&b"\xff\xfe"[..], b"", b"\0", &[b'x'; 100_000]] {
            if body.is_empty() && provider.name == "Zendesk" {
                continue; // It needs one.
            }
            let service = Service::new(provider);
            service
                .handles(provider.sign(&service.clock, body.to_vec()))
                .await;
        }
    }
}

/// Query strings, sorted by name, as Shopify signs them under the secret of its webhooks. In the first two,
/// the names of the first and the last parameter are a visitor's.
const QUERIES: [&str; 3] = [
    " {\"id\":7,\"x\":\"=&shop=a.example&timestamp=1&z=\"}",
    "[\"=&shop=a.example&timestamp=1&z=\"]",
    "code=1&shop=a.example&state={}&timestamp=1",
];

#[tokio::test]
async fn a41_a_query_string_that_shopify_signed_is_no_delivery() {
    let service = Service::new(&SHOPIFY);
    for query in QUERIES {
        let request = SHOPIFY.sign(&service.clock, query);
        service.refuses(request, MALFORMED, query).await;
    }
    service.handles(SHOPIFY.delivery(&service.clock)).await;
}

#[test]
fn a41_twin_a_reader_of_every_signed_body_is_found() {
    let naive = |query: &str| serde_json::from_str::<serde_json::Value>(query);
    assert_eq!(naive(QUERIES[0]).unwrap()["id"], 7);
    assert!(naive(QUERIES[1]).is_ok());
}

#[tokio::test]
async fn a19_what_a_stranger_sends_uses_nothing_up() {
    for provider in concerned(19) {
        let service = Service::new(provider);
        let genuine = provider.delivery(&service.clock);
        // The id and the body are known to the stranger; the secret is not.
        let stranger = provider.secrets[1];
        let forged = provider.sign_under(stranger, &service.clock, (provider.event)(NOW));
        for _ in 0..3 {
            service
                .refuses(forged.clone(), INVALID, provider.name)
                .await;
        }
        service.handles(genuine).await;
    }
}
