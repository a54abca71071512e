//! What becomes of a delivery that comes again, as each sender delivers it again.

use std::time::Duration;

use bytes::Bytes;
use countersign::{HeaderScheme, Part, Processing, request::Verified, store::StepOutcome};
use http::{Request, StatusCode, header::RETRY_AFTER};

use super::{
    coverage::concerned,
    provider::{ALL, Provider, Retries, SLACK, at_path, event, get, verify, with},
    service::{ACKNOWLEDGED, IN_FLIGHT, INVALID, PANICS, Service},
};
use crate::common::{self, NOW, at};

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
                // What stays open, by its name.
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
    let anew = ALL.into_iter().filter(|p| p.retries == Retries::SignedAnew);
    for provider in anew {
        let service = Service::new(provider);
        service.handles(provider.delivery(&service.clock)).await;
        for _ in 0..4 {
            service.clock.advance(3 * DAY);
            let again = provider.redelivery(&service.clock);
            service.refuses(again, ACKNOWLEDGED, provider.name).await;
        }
        service.clock.advance(3 * DAY + HOUR);
        service.handles(provider.redelivery(&service.clock)).await;
    }
}

/// The same format, told apart by its message alone, handles what is signed anew a second time.
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
        let other = provider.sign_under(provider.secrets[1], &service.clock, event(NOW));
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
        let service = Service::with(provider, |builder| match provider.covers_url() {
            true => builder,
            false => builder.public_origin(common::ORIGIN),
        });
        let genuine = provider.delivery(&service.clock);
        let other = "other.example";
        let not_served = (421, "authority_not_served");
        let elsewhere = with(&genuine, "host", other);
        service.refuses(elsewhere, not_served, provider.name).await;
        if provider.covers_url() {
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
        // The handler ends by itself; until then a copy has to wait.
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
