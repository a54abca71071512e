//! How a time is written, when it is fresh, and that what is fresh is remembered.

use std::{
    collections::VecDeque,
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use countersign::{RejectionKind, Timestamp, testing::ManualClock};
use http::Request;
use http_body::{Body, Frame};

use super::{
    coverage::concerned,
    provider::{Provider, Time, get},
    rows::{CONTENTFUL, LINEAR, SLACK, WEBFLOW},
    service::{EXPIRED, MALFORMED, NOT_YET_VALID, Service},
};
use crate::common::{self, NOW, at};

const MAX_AGE: Duration = Duration::from_secs(300);
const MAX_SKEW: Duration = Duration::from_secs(5);
const MILLI: Duration = Duration::from_millis(1);

/// A request with another time, under a valid MAC.
fn dated(provider: &Provider, genuine: &Request<Bytes>, time: &str) -> Request<Bytes> {
    let mut request = genuine.clone();
    provider.set_time(&mut request, time);
    provider.resign(&mut request);
    request
}

/// Times as nobody should write them.
const FORMS: &[&str] = &[
    "",
    "+1",
    " 1",
    "1.0",
    "1e9",
    "1abc",
    "-1",
    "+1700000000",
    "-1700000000",
    "1700000000.0",
    "1700000000.7",
    "1700000000abc",
    " 1700000000",
    "1700000000 ",
    "\t1700000000",
    "17e8",
    "1.7e9",
    "0x6553f100",
    "01700000000",
    "00001700000000",
    "1_700_000_000",
    "1 700 000 000",
    "1700000000s",
    "1700000000=",
    "1700000000000",
    "253402300800",
    "9223372036854775807",
    "18446744073709551616",
    "99999999999999999999999999999999999999999999",
    "NaN",
    "inf",
    "now",
    "null",
    "2023-11-14T22:13:20Z",
    "１７００００００００",
];

#[tokio::test]
async fn a14_a_time_is_plain_digits_and_nothing_else() {
    for provider in concerned(14) {
        let service = Service::new(provider);
        let genuine = provider.delivery(&service.clock);
        for time in FORMS {
            let request = dated(provider, &genuine, time);
            service
                .refuses(request, MALFORMED, (provider.name, time))
                .await;
        }
        for (time, expected) in [
            ("0", EXPIRED),
            ("1", EXPIRED),
            ("999999999", EXPIRED),
            ("253402300799", NOT_YET_VALID),
        ] {
            let request = dated(provider, &genuine, time);
            service
                .refuses(request, expected, (provider.name, time))
                .await;
        }
        // With another time in plain digits the MAC that the test makes is right: the forms were
        // refused for being what they are.
        service
            .handles(dated(provider, &genuine, "1700000001"))
            .await;
    }
}

#[tokio::test]
async fn a14_twin_a_verifier_that_reads_numbers_loosely_is_found() {
    let clock = common::clock();
    let genuine = SLACK.delivery(&clock);
    let is_accepted = |time: &&&str| {
        let request = dated(&SLACK, &genuine, time);
        let value = request.headers()["x-slack-request-timestamp"].as_bytes();
        let time = String::from_utf8_lossy(value).trim().parse::<f64>();
        let mac = SLACK.mac(SLACK.secrets[0], &request);
        time.is_ok_and(|time| (time - 1_700_000_000.0).abs() <= 300.0)
            && get(&request, SLACK.signature) == format!("v0={mac}")
    };
    let found: Vec<_> = FORMS.iter().filter(is_accepted).copied().collect();
    let expected = [
        "+1700000000",
        "1700000000.0",
        "1700000000.7",
        " 1700000000",
        "1700000000 ",
        "\t1700000000",
        "17e8",
        "1.7e9",
        "01700000000",
        "00001700000000",
    ];
    assert_eq!(found, expected);
}

#[tokio::test]
async fn a14_a_time_in_milliseconds_is_plain_digits() {
    for provider in [&CONTENTFUL, &WEBFLOW] {
        let service = Service::new(provider);
        let genuine = provider.delivery(&service.clock);
        for time in [
            "",
            "+1700000000000",
            "01700000000000",
            "1700000000000.0",
            "1.7e12",
            "1700000000000ms",
            "253402300800000",
            "2023-11-14T22:13:20Z",
        ] {
            let request = dated(provider, &genuine, time);
            service
                .refuses(request, MALFORMED, (provider.name, time))
                .await;
        }
        for (time, expected) in [
            (NOW * 1000 - 300_001, EXPIRED),
            (NOW * 1000 + 5_001, NOT_YET_VALID),
            // Seconds, taken for milliseconds.
            (NOW, EXPIRED),
        ] {
            let request = dated(provider, &genuine, &time.to_string());
            service
                .refuses(request, expected, (provider.name, time))
                .await;
        }
        let last = dated(provider, &genuine, &(NOW * 1000 - 300_000).to_string());
        service.handles(last).await;
        let ahead = Service::new(provider);
        let first = dated(provider, &genuine, &(NOW * 1000 + 5_000).to_string());
        ahead.handles(first).await;
    }
}

#[tokio::test]
async fn a14_a_time_in_the_body_is_a_whole_number() {
    let service = Service::new(&LINEAR);
    let genuine = LINEAR.delivery(&service.clock);
    for time in [
        "\"1700000000000\"",
        "1700000000000.0",
        "1700000000000.5",
        "1.7e12",
        "17e11",
        "-1700000000000",
        "-0",
        "+1700000000000",
        "01700000000000",
        "1700000000000000",
        "253402300800000",
        "18446744073709551616",
        "1e400",
        "null",
        "true",
        "[1700000000000]",
        "{}",
        "",
        "NaN",
        "1700000000000,\"webhookTimestamp\":1700000000000",
    ] {
        let request = dated(&LINEAR, &genuine, time);
        service.refuses(request, MALFORMED, time).await;
    }
    for body in [
        "",
        "{}",
        "[1700000000000]",
        r#"{"webhooktimestamp":1700000000000}"#,
    ] {
        let request = LINEAR.sign(&service.clock, body);
        service.refuses(request, MALFORMED, body).await;
    }
    // Seconds, taken for milliseconds.
    let request = dated(&LINEAR, &genuine, "1700000000");
    service.refuses(request, EXPIRED, "seconds").await;
    // The header beside it means nothing.
    let mut stale = dated(&LINEAR, &genuine, "1600000000000");
    stale
        .headers_mut()
        .insert("linear-timestamp", "1700000000000".parse().unwrap());
    service.refuses(stale, EXPIRED, "header").await;
    service.handles(genuine).await;
}

#[tokio::test]
async fn a15_the_edges_of_the_window_are_inside_on_both_sides() {
    for provider in concerned(15) {
        let (oldest, newest) = (
            at(NOW).saturating_add(MAX_AGE),
            at(NOW).saturating_sub(MAX_SKEW),
        );
        let case = async |now: Timestamp, expected| {
            let service = Service::new(provider);
            let genuine = provider.delivery(&service.clock);
            service.clock.set(now);
            match expected {
                None => service.handles(genuine).await,
                Some(answer) => service.refuses(genuine, answer, (provider.name, now)).await,
            }
        };
        case(oldest, None).await;
        case(oldest.saturating_add(MILLI), Some(EXPIRED)).await;
        case(newest, None).await;
        case(newest.saturating_sub(MILLI), Some(NOT_YET_VALID)).await;
    }
}

#[tokio::test]
async fn a16_a17_what_is_fresh_is_remembered_also_when_it_was_dated_ahead() {
    for provider in concerned(16) {
        let service = Service::new(provider);
        let genuine = provider.delivery(&service.clock);
        service.clock.set(at(NOW).saturating_sub(MAX_SKEW));
        service.handles(genuine.clone()).await;
        let mut answers = Vec::new();
        for _ in 0..80 {
            service.clock.advance(Duration::from_secs(5));
            answers.push(service.send(genuine.clone()).await.0);
        }
        assert_eq!(service.effects.count(), 1, "{}", provider.name);
        assert_eq!(answers.iter().filter(|a| **a == 200).count(), 61);
        assert_eq!(answers.iter().filter(|a| **a == 401).count(), 19);
    }
}

#[tokio::test]
async fn a17_what_has_no_time_is_remembered_for_its_retention() {
    let second = Duration::from_secs(1);
    for provider in concerned(17).filter(|provider| provider.time == Time::None) {
        // Twice its retries, because its distinct events may be alike.
        let hours = if provider.name == "Shopify" {
            8
        } else {
            30 * 24
        };
        let retention = Duration::from_secs(hours * 60 * 60);
        // With the margin for clocks that differ and claims that are on their way.
        let end = retention + Duration::from_secs(7);
        for (later, is_remembered) in [(end - second, true), (end + second, false)] {
            let service = Service::new(provider);
            let genuine = provider.delivery(&service.clock);
            service.handles(genuine.clone()).await;
            service.clock.advance(later);
            if is_remembered {
                service.refuses(genuine, (200, ""), provider.name).await;
            } else {
                // A limit that the page names.
                service.handles(genuine).await;
            }
        }
    }
}

#[tokio::test]
async fn a18_a_slow_body_does_not_outlive_its_window() {
    for provider in concerned(18) {
        for (pause, expected) in [
            (Duration::from_secs(299), Ok(())),
            (
                Duration::from_secs(301),
                Err(RejectionKind::SignatureExpired),
            ),
        ] {
            let clock = common::clock();
            let verifier = provider.verifier(&clock).store(common::store(&clock));
            let verifier = verifier.build().unwrap();
            let (head, body) = provider.delivery(&clock).into_parts();
            let body = SlowBody {
                halves: [body.slice(..10), body.slice(10..)].into(),
                clock: clock.clone(),
                pause,
            };
            let verified = verifier.verify(&head, body).await;
            let verdict = verified.map(|_| ()).map_err(|refused| refused.kind());
            assert_eq!(verdict, expected, "{}", provider.name);
        }
    }
}

/// The body comes in two halves, with a pause before the second.
struct SlowBody {
    halves: VecDeque<Bytes>,
    clock: ManualClock,
    pause: Duration,
}

impl Body for SlowBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let half = self.halves.pop_front();
        if self.halves.is_empty() && half.is_some() {
            self.clock.advance(self.pause);
        }
        Poll::Ready(half.map(|half| Ok(Frame::data(half))))
    }
}
