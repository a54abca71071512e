//! A delivery comes again, as each sender delivers it again.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use countersign::{
    Clock as _, HeaderScheme, Part, Processing, RejectionKind, Verifier,
    request::Verified,
    store::StepOutcome,
    testing::ManualClock,
    webhooks::{GitHub, Shopify},
};
use http::{Request, StatusCode, header::RETRY_AFTER};

use super::{
    coverage::concerned,
    provider::{Provider, Retries, at_path, get, verify, with},
    rows::{ALL, CALENDLY, GITHUB, LINEAR, MAILGUN, SHOPIFY, SLACK, ZOOM},
    service::{ACKNOWLEDGED, IN_FLIGHT, INVALID, PANICS, Service},
};
use crate::common::{self, NOW, at, log::Log};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(60 * 60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn schedule(provider: &Provider) -> impl Iterator<Item = Duration> {
    provider.schedule.iter().copied().map(Duration::from_secs)
}

fn claiming() -> impl Iterator<Item = &'static Provider> {
    ALL.into_iter()
        .filter(|provider| provider.retries != Retries::Unclaimed)
}

/// As the documentation of `key_id` says: a key id is not to be renamed while its records count.
#[tokio::test]
async fn a55_a_delivery_is_new_under_a_key_id_that_was_renamed() {
    let clock = common::clock();
    let store = Arc::new(common::store(&clock));
    let delivery = GITHUB.delivery(&clock);
    let claim = async |scheme: GitHub| {
        let verifier = Verifier::builder(scheme)
            .secret(GITHUB.secrets[0])
            .namespace("tests")
            .store(Arc::clone(&store))
            .clock(clock.clone())
            .processing(Processing::AtMostOnce)
            .build()
            .unwrap();
        let verified = verify(&verifier, &delivery).await;
        verified.map(drop).map_err(|rejection| rejection.kind())
    };
    let replayed = Err(RejectionKind::RequestReplayed);
    assert_eq!(claim(GitHub::new()).await, Ok(()));
    assert_eq!(claim(GitHub::new()).await, replayed);
    assert_eq!(claim(GitHub::new().key_id("github")).await, replayed);
    assert_eq!(claim(GitHub::new().key_id("renamed")).await, Ok(()));
    assert_eq!(claim(GitHub::new()).await, replayed);
}

#[tokio::test]
async fn a36_after_a_failure_a_redelivery_is_handled() {
    for provider in concerned(36) {
        let service = Service::new(provider);
        let failures = [StatusCode::INTERNAL_SERVER_ERROR, StatusCode::BAD_REQUEST];
        service.handler.answer_next(failures);
        let mut answers = vec![service.send(provider.delivery(&service.clock)).await.0];
        for later in schedule(provider) {
            service.clock.set(at(NOW).saturating_add(later));
            answers.push(service.send(provider.redelivery(&service.clock)).await.0);
            if answers.ends_with(&[200]) {
                break;
            }
        }
        assert_eq!(answers, [500, 400, 200], "{}", provider.name);
        assert_eq!(service.effects.count(), 3, "{}", provider.name);
    }
}

#[tokio::test]
async fn a32_after_a_success_every_redelivery_is_acknowledged() {
    for provider in concerned(32) {
        let service = Service::new(provider);
        let first = provider.delivery(&service.clock);
        service.handles(first.clone()).await;
        for later in schedule(provider) {
            service.clock.set(at(NOW).saturating_add(later));
            let again = provider.redelivery(&service.clock);
            match provider.retries {
                Retries::SignedAnew => assert_ne!(again.headers(), first.headers()),
                Retries::Identical => assert_eq!(again.headers(), first.headers()),
                // A limit that the page names.
                Retries::Redated | Retries::Unclaimed => {
                    service.handles(again).await;
                    continue;
                }
            }
            service
                .refuses(again, ACKNOWLEDGED, (provider.name, later))
                .await;
        }
    }
}

#[tokio::test]
async fn a32_the_record_of_an_event_is_extended_by_each_redelivery() {
    let again = ALL.into_iter().filter(|p| p.retries == Retries::SignedAnew);
    for provider in again {
        let service = Service::new(provider);
        service.handles(provider.delivery(&service.clock)).await;
        for _ in 0..4 {
            service.clock.advance(3 * DAY);
            let again = provider.redelivery(&service.clock);
            service.refuses(again, ACKNOWLEDGED, provider.name).await;
        }
        service.clock.advance(4 * DAY + HOUR);
        service.handles(provider.redelivery(&service.clock)).await;
    }
}

/// The same format, told apart by its message alone, handles what is signed again a second time.
#[tokio::test]
async fn a32_twin_a_verifier_without_event_ids_is_found() {
    let scheme = HeaderScheme::builder("x-slack-signature")
        .prefix("v0=")
        .fixed_key_id("slack")
        .time("x-slack-request-timestamp")
        .signs(Part::joined(
            ":",
            [Part::text("v0"), Part::Time, Part::Body],
        ))
        .build()
        .unwrap();
    let service = Service::of_scheme(scheme, SLACK.secrets[0]);
    service.handles(SLACK.delivery(&service.clock)).await;
    service.clock.advance(MINUTE);
    let again = SLACK.redelivery(&service.clock);
    service.handles(again.clone()).await;
    assert_eq!(service.effects.count(), 2, "handled twice");
    // And it takes a copy for an attack, where a sender that retries wants to be told of success.
    let replayed = (409, "request_replayed");
    service.refuses(again, replayed, "a copy").await;
}

#[tokio::test]
async fn during_handling_a_redelivery_is_told_to_come_back() {
    for provider in claiming() {
        let service = Service::new(provider);
        let closed = service.handler.close().await;
        let first = service.begin(provider.delivery(&service.clock)).await;
        if provider.retries == Retries::SignedAnew {
            service.clock.advance(Duration::from_secs(1));
        }
        let again = provider.redelivery(&service.clock);
        let response = service.response(again.clone()).await;
        assert_eq!(response.status(), 409, "{}", provider.name);
        let pause = response.headers()[RETRY_AFTER].to_str().unwrap();
        assert!((1..=30).contains(&pause.parse().unwrap()), "{pause}");
        service
            .refuses(again.clone(), IN_FLIGHT, provider.name)
            .await;
        drop(closed);
        assert_eq!(first.await.unwrap().status(), 200);
        service.refuses(again, ACKNOWLEDGED, provider.name).await;
    }
}

#[tokio::test]
async fn a31_two_macs_over_one_message_are_one_delivery() {
    for provider in concerned(2) {
        let service = Service::with(provider, |builder| builder.secret(provider.secrets[1]));
        let one = provider.delivery(&service.clock);
        let other = provider.sign_under(provider.secrets[1], &service.clock, (provider.event)(NOW));
        let separator = provider.list.unwrap();
        let both = {
            let other = get(&other, provider.signature);
            let other = other.rsplit_once(separator).map_or(&*other, |(_, mac)| mac);
            let both = format!("{}{separator}{other}", get(&one, provider.signature));
            with(&one, provider.signature, &both)
        };
        service.handles(both).await;
        for alone in [one, other] {
            service.refuses(alone, ACKNOWLEDGED, provider.name).await;
        }
    }
}

#[tokio::test]
async fn a31_both_secrets_are_valid_while_they_are_rotated() {
    for provider in concerned(31) {
        for secret in provider.secrets {
            let service = Service::with(provider, |builder| builder.secret(provider.secrets[1]));
            let request = provider.sign_under(secret, &service.clock, (provider.event)(NOW));
            service.handles(request).await;
        }
    }
}

#[tokio::test]
async fn a33_what_is_for_another_authority_is_refused_and_uses_nothing_up() {
    for provider in concerned(33) {
        let service = Service::with(provider, |builder| match provider.covers_authority() {
            true => builder,
            false => builder.public_origin(common::ORIGIN),
        });
        let genuine = provider.delivery(&service.clock);
        let other = "other.example";
        let not_served = (421, "authority_not_served");
        let elsewhere = with(&genuine, "host", other);
        service.refuses(elsewhere, not_served, provider.name).await;
        if provider.covers_authority() {
            let event = (provider.event)(NOW);
            let secret = provider.secrets[0];
            let for_other = provider.sign_for(other, secret, &service.clock, event);
            let respelled = with(&for_other, "host", common::HOST);
            service.refuses(respelled, INVALID, provider.name).await;
        }
        service.handles(genuine).await;
    }
}

#[tokio::test]
async fn a34_what_was_posted_elsewhere_uses_nothing_up() {
    for provider in concerned(34) {
        let service = Service::new(provider);
        let genuine = provider.delivery(&service.clock);
        let query = genuine.uri().query().map(|query| format!("?{query}"));
        let query = query.unwrap_or_default();
        for path in ["/other", "/nowhere/at/all", "/hook/"] {
            let captured = at_path(&genuine, &format!("{path}{query}"));
            if provider.covers_url() {
                service.refuses(captured, INVALID, provider.name).await;
            } else {
                assert_eq!(service.send(captured).await.0, 200);
            }
        }
        service.handles(genuine).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a35_a_lease_that_ended_changes_nothing_any_more() {
    for provider in concerned(35) {
        let clock = common::clock();
        let verifier = provider.verifier(&clock).store(common::store(&clock));
        let verifier = verifier.build().unwrap();
        let request = provider.delivery(&clock);
        let leased = async |request: &Request<Bytes>| match verify(&verifier, request).await {
            Ok(Verified::Leased(_, lease)) => lease,
            other => panic!("{}: {other:?}", provider.name),
        };
        let old = leased(&request).await;
        tokio::time::sleep(old.duration() + Duration::from_secs(1)).await;
        let new = leased(&request).await;
        assert_eq!(old.complete().await.unwrap(), StepOutcome::Lost);
        assert_eq!(old.release().await.unwrap(), StepOutcome::Lost);
        assert_eq!(new.complete().await.unwrap(), StepOutcome::Done);
    }
}

#[tokio::test]
async fn a36_a_sender_that_hangs_up_does_not_stop_the_handler() {
    for provider in claiming() {
        let service = Service::new(provider);
        let closed = service.handler.close().await;
        let first = service.begin(provider.delivery(&service.clock)).await;
        first.abort();
        assert!(first.await.unwrap_err().is_cancelled());
        drop(closed);
        let again = provider.delivery(&service.clock);
        // The handler ends by itself; until then a copy must wait.
        let mut answer = service.send(again.clone()).await;
        while answer.0 == 409 {
            tokio::task::yield_now().await;
            answer = service.send(again.clone()).await;
        }
        assert_eq!(answer, (200, String::new()), "{}", provider.name);
        assert_eq!(service.effects.count(), 1, "{}", provider.name);
    }
}

/// Nobody knows how far it came: copies wait until the lease has ended.
#[tokio::test(start_paused = true)]
async fn a36_after_a_handler_that_panicked_a_redelivery_waits() {
    for provider in claiming() {
        let service = Service::new(provider);
        service.handler.answer_next([PANICS]);
        let delivery = provider.delivery(&service.clock);
        assert_eq!(service.send(delivery.clone()).await.0, 500);
        service
            .refuses(delivery.clone(), IN_FLIGHT, provider.name)
            .await;
        tokio::time::sleep(Duration::from_secs(31)).await;
        service.handles(delivery).await;
    }
}

#[tokio::test]
async fn that_senders_retry_makes_processing_retryable() {
    for provider in claiming() {
        let clock = common::clock();
        let builder = provider.verifier(&clock).store(common::store(&clock));
        let verifier = builder.build().unwrap();
        assert!(
            matches!(verifier.processing(), Processing::Retryable { .. }),
            "{}",
            provider.name
        );
    }
}

/// Retries that are the same delivery, hours later: with the preset's own age they are fresh,
/// and known.
#[tokio::test]
async fn by_default_a_delivery_is_fresh_for_as_long_as_it_is_retried() {
    for (provider, schedule) in [
        (&LINEAR, [60, 61 * 60, 421 * 60]),
        (&ZOOM, [5 * 60, 25 * 60, 85 * 60]),
        (&CALENDLY, [60, 60 * 60, 23 * 60 * 60]),
    ] {
        let clock = common::clock();
        let layer = |clock: &ManualClock| {
            let builder = (provider.begin)().secret(provider.secrets[0]);
            let builder = builder.clock(clock.clone()).store(common::store(clock));
            builder.build().unwrap()
        };
        let delivery = provider.delivery(&clock);
        let (verifier, start) = (layer(&clock), clock.now());
        let first = verify(&verifier, &delivery).await.unwrap();
        let Verified::Leased(_, lease) = first else {
            panic!("{first:?}");
        };
        assert!(lease.complete().await.is_ok());
        for after in schedule.map(Duration::from_secs) {
            clock.set(start.saturating_add(after));
            let again = verify(&verifier, &delivery).await.unwrap_err();
            let kind = again.kind();
            assert_eq!(
                kind,
                RejectionKind::RequestReplayed,
                "{} {after:?}",
                provider.name
            );
            // A delivery is handled if the first attempt at it failed.
            let other = verify(&layer(&clock), &delivery).await;
            assert!(other.is_ok(), "{} {after:?}", provider.name);
        }
        clock.set(start.saturating_add(Duration::from_secs(25 * 60 * 60)));
        let stale = verify(&layer(&clock), &delivery).await.unwrap_err();
        assert_eq!(stale.kind(), RejectionKind::SignatureExpired);
    }
    // The configuration that the documentation of Mailgun shows.
    let clock = common::clock();
    let verifier = |max_age: Option<u64>| {
        let builder = (MAILGUN.begin)().secret(MAILGUN.secrets[0]);
        let builder = match max_age {
            Some(hours) => builder.max_age(Duration::from_secs(hours * 60 * 60)),
            None => builder,
        };
        let builder = builder.clock(clock.clone()).store(common::store(&clock));
        builder.build().unwrap()
    };
    let delivery = MAILGUN.delivery(&clock);
    let (short, long) = (verifier(None), verifier(Some(9)));
    clock.advance(Duration::from_secs(8 * 60 * 60));
    assert!(verify(&short, &delivery).await.is_err());
    assert!(verify(&long, &delivery).await.is_ok());
}

/// A store that forgets would refuse, after a restart, what its sender delivers again unchanged.
#[tokio::test]
async fn a_store_that_forgets_is_warned_of_where_retries_are_not_dated_anew() {
    for provider in ALL {
        let log = Log::captured();
        let builder = (provider.begin)().secret(provider.secrets[0]);
        let builder = if provider.covers_authority() {
            builder.public_origin(common::ORIGIN)
        } else {
            builder
        };
        let clock = common::clock();
        builder.store(common::store(&clock)).build().unwrap();
        let warned = log.text().contains("high_watermark");
        assert_eq!(warned, provider.may_keep_time, "{}", provider.name);
    }
}

/// Shopify asks twice to erase the data of one customer, with one body.
#[tokio::test]
async fn distinct_events_with_one_body_are_told_apart_after_the_retries_or_by_name() {
    const ID: &str = "x-shopify-webhook-id";
    const HOUR: u64 = 60 * 60;
    let body = r#"{"shop_id":1,"customer":{"id":2},"orders_to_redact":[]}"#;
    let delivery = |id: &str| {
        let mut request = SHOPIFY.sign(&common::clock(), body);
        request.headers_mut().insert(ID, id.parse().unwrap());
        request
    };
    let verifier = |scheme: Shopify, clock: &ManualClock| {
        let builder = Verifier::builder(scheme).secret(SHOPIFY.secrets[0]);
        let builder = builder.clock(clock.clone()).store(common::store(clock));
        builder
            .processing(countersign::Processing::AtMostOnce)
            .build()
            .unwrap()
    };
    let replayed = RejectionKind::RequestReplayed;
    let clock = common::clock();
    let by_body = verifier(Shopify::new(), &clock);
    assert!(verify(&by_body, &delivery("a")).await.is_ok());
    // All of Shopify's retries, and a second event with the same body, count as the first delivery.
    for hours in [1, 4, 7] {
        clock.set(common::at(NOW + hours * HOUR));
        let again = verify(&by_body, &delivery("b")).await.unwrap_err();
        assert_eq!(again.kind(), replayed, "{hours}");
    }
    clock.set(common::at(NOW + 5 * 24 * HOUR));
    assert!(verify(&by_body, &delivery("b")).await.is_ok());

    let clock = common::clock();
    let by_id = verifier(Shopify::new().danger_delivery_id(), &clock);
    for id in ["a", "b"] {
        assert!(verify(&by_id, &delivery(id)).await.is_ok(), "{id}");
        let again = verify(&by_id, &delivery(id)).await.unwrap_err();
        assert_eq!(again.kind(), replayed, "{id}");
    }
    // The id is no part of what is covered, and must be there, once.
    let payload = verify(&by_id, &delivery("c")).await.unwrap();
    assert_eq!(payload.payload().unwrap().header(ID), None);
    let mut twice = delivery("d");
    twice.headers_mut().append(ID, "e".parse().unwrap());
    let mut without = delivery("d");
    without.headers_mut().remove(ID);
    let mut empty = delivery("d");
    empty.headers_mut().insert(ID, "".parse().unwrap());
    for request in [twice, without, empty] {
        let refused = verify(&by_id, &request).await.unwrap_err();
        assert_eq!(refused.kind(), RejectionKind::SignatureMalformed);
    }
    let other_body = SHOPIFY.sign(&common::clock(), r#"{"shop_id":2}"#);
    let mut other_body = other_body;
    other_body.headers_mut().insert(ID, "a".parse().unwrap());
    assert!(
        verify(&by_id, &other_body).await.is_ok(),
        "another body is another delivery"
    );
}
