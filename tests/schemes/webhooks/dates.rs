//! Zendesk and Box, which date a delivery as RFC 3339 writes a date, beside the body without a
//! delimiter.

use bytes::Bytes;
use countersign::webhooks::Zendesk;
use http::Request;

use super::{
    provider::{Provider, Time, verify, with, with_body},
    rows::{BOX, ZENDESK},
    service::{ACKNOWLEDGED, EXPIRED, MALFORMED, NOT_YET_VALID, Service},
};
use crate::common;

const SENDERS: [&Provider; 2] = [&ZENDESK, &BOX];

fn header(provider: &Provider) -> &'static str {
    match provider.time {
        Time::Header(name) => name,
        other => panic!("{other:?}"),
    }
}

/// A request with another time, under a valid MAC.
fn dated(provider: &Provider, genuine: &Request<Bytes>, time: &str) -> Request<Bytes> {
    let mut request = with(genuine, header(provider), time);
    provider.resign(&mut request);
    request
}

#[tokio::test]
async fn a14_a_date_is_written_in_one_form() {
    for provider in SENDERS {
        let service = Service::new(provider);
        let genuine = provider.delivery(&service.clock);
        for time in [
            "",
            "1700000000",
            "1700000000000",
            "2023-11-14",
            "2023-11-14T22:13:20",
            "2023-11-14T22:13Z",
            "2023-11-14t22:13:20Z",
            "2023-11-14T22:13:20z",
            "2023-11-14 22:13:20Z",
            "2023-11-14T22:13:20Z ",
            " 2023-11-14T22:13:20Z",
            "2023-11-14T22:13:20.Z",
            "2023-11-14T22:13:20+0000",
            "2023-11-14T22:13:20 UTC",
            "2023-11-14T22:13:60Z",
            "2023-11-31T22:13:20Z",
            "2023-W46-2T22:13:20Z",
            "Tue, 14 Nov 2023 22:13:20 GMT",
            "+2023-11-14T22:13:20Z",
            "12023-11-14T22:13:20Z",
            "now",
            "null",
        ] {
            let request = dated(provider, &genuine, time);
            service
                .refuses(request, MALFORMED, (provider.name, time))
                .await;
        }
        for (time, expected) in [
            ("1970-01-01T00:00:00Z", EXPIRED),
            ("2023-11-14T22:08:19Z", EXPIRED),
            ("2023-11-14T22:13:20+00:06", EXPIRED),
            ("2023-11-14T22:13:26Z", NOT_YET_VALID),
            ("9999-12-31T23:59:59Z", NOT_YET_VALID),
        ] {
            let request = dated(provider, &genuine, time);
            service
                .refuses(request, expected, (provider.name, time))
                .await;
        }
        // All of these name the same moment.
        for time in [
            "2023-11-14T22:13:20Z",
            "2023-11-14T14:13:20-08:00",
            "2023-11-14T22:13:20.000Z",
            "2023-11-15T04:43:20+06:30",
        ] {
            let service = Service::new(provider);
            service.handles(dated(provider, &genuine, time)).await;
        }
    }
}

/// The message is split at every place into a date and a body.
#[tokio::test]
async fn a07_bytes_cannot_move_between_date_and_body() {
    let date = "2023-11-14T22:13:20Z";
    for (provider, is_first) in [(&ZENDESK, true), (&BOX, false)] {
        let clock = common::clock();
        let verifier = provider
            .verifier(&clock)
            .namespace("tests")
            .processing(countersign::Processing::InTransaction)
            .build()
            .unwrap();
        for body in [
            String::new(),
            "{}".to_owned(),
            date.to_owned(),
            format!("{date}{date}"),
            "2".to_owned(),
            "0Z".to_owned(),
            "2023-11-14T22:13:20.5".to_owned(),
            "2023-11-14T22:13:20+00:00".to_owned(),
            ".5Z".to_owned(),
        ] {
            let genuine = provider.sign(&clock, body.clone());
            let whole = if is_first {
                format!("{date}{body}")
            } else {
                format!("{body}{date}")
            };
            let mut accepted = Vec::new();
            for split in 0..=whole.len() {
                let (one, other) = whole.split_at(split);
                let (time, rest) = if is_first { (one, other) } else { (other, one) };
                let moved = with_body(&with(&genuine, header(provider), time), rest.to_owned());
                if verify(&verifier, &moved).await.is_ok() {
                    accepted.push(time.to_owned());
                }
            }
            // Zendesk's deliveries without a body are not told from each other.
            let expected: &[_] = match is_first && body.is_empty() {
                true => &[],
                false => &[date],
            };
            assert_eq!(accepted, expected, "{} {body}", provider.name);
        }
    }
}

/// Two deliveries of one second without a body have one signature: neither is taken for the other.
#[tokio::test]
async fn a_delivery_of_zendesk_without_a_body_needs_its_id() {
    const ID: &str = "x-zendesk-webhook-invocation-id";
    let service = Service::new(&ZENDESK);
    let bodiless = ZENDESK.sign(&service.clock, "");
    service.refuses(bodiless.clone(), MALFORMED, "").await;
    service
        .refuses(with(&bodiless, ID, "1"), MALFORMED, "not asked for")
        .await;
    let service = Service::of_scheme(Zendesk::new().danger_delivery_id(), ZENDESK.secrets[0]);
    service.handles(with(&bodiless, ID, "1")).await;
    service.handles(with(&bodiless, ID, "2")).await;
    service
        .refuses(with(&bodiless, ID, "1"), ACKNOWLEDGED, "a duplicate")
        .await;
    for id in ["", "a b"] {
        service
            .refuses(with(&bodiless, ID, id), MALFORMED, id)
            .await;
    }
    service.refuses(bodiless, MALFORMED, "without an id").await;
    assert_eq!(service.effects.count(), 2);
}

/// Box takes a delivery without a body: the second one of a second counts as the first.
#[tokio::test]
async fn twin_a_row_without_the_rule_takes_two_deliveries_for_one() {
    let service = Service::new(&BOX);
    let (one, other) = (BOX.sign(&service.clock, ""), BOX.sign(&service.clock, ""));
    service.handles(one).await;
    service.refuses(other, ACKNOWLEDGED, "another one").await;
}

/// A reader that takes any number of digits for a time finds two requests in one message.
#[test]
fn a07_twin_a_reader_of_digits_finds_two_requests_in_one_message() {
    let whole = "17000000001{}";
    let times = (1..whole.len()).filter(|split| whole[..*split].parse::<u64>().is_ok());
    assert!(times.count() > 1);
}
