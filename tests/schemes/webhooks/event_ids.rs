//! By what a delivery is told from another, and what a payload answers for.

use std::time::Duration;

use countersign::{
    Processing, VerifiedPayload, Verifier,
    store::NonceKind,
    webhooks::{
        Asana, CoinbaseCommerce, GitHub, HubSpot, Notion, Razorpay, Slack, Square,
        StandardWebhooks, Stripe, Vercel, Xero, Zoom,
    },
};

use super::{
    provider::{ID, Provider, Time, verify, with, with_body},
    rows::{
        ALL, INTERCOM, PADDLE, SLACK, STANDARD_WEBHOOKS, STRIPE, SVIX, ZOOM, alike, event, timed,
    },
    service::{ACKNOWLEDGED, MALFORMED, Service},
};
use crate::common::{self, NOW};

async fn payload(provider: &Provider, body: &str) -> VerifiedPayload {
    let clock = common::clock();
    let verifier = provider.verifier(&clock).store(common::store(&clock));
    let request = provider.sign(&clock, body.to_owned());
    let verified = verify(&verifier.build().unwrap(), &request).await.unwrap();
    verified.payload().unwrap().clone()
}

async fn nonce(provider: &Provider, body: &str) -> (NonceKind, Vec<u8>) {
    let payload = payload(provider, body).await;
    let nonce = payload.nonce().unwrap();
    (nonce.kind(), nonce.as_bytes().to_vec())
}

#[tokio::test]
async fn the_event_id_is_the_one_that_is_covered() {
    let body = r#"{"id":"the id","event_id":"the event","data":{"id":"x","event_id":"x"}}"#;
    let event = |id: &str| (NonceKind::Event, id.as_bytes().to_vec());
    assert_eq!(nonce(&STRIPE, body).await, event("the id"));
    assert_eq!(nonce(&PADDLE, body).await, event("the event"));
    assert_eq!(nonce(&SLACK, body).await, event("the event"));
    assert_eq!(nonce(&STANDARD_WEBHOOKS, body).await, event(ID));
    assert_eq!(nonce(&SVIX, body).await, event(ID));
    assert_eq!(nonce(&ZOOM, body).await.0, NonceKind::Event);
    for name in ["GitHub", "Shopify", "Meta", "Linear"] {
        let provider = ALL.into_iter().find(|p| p.name == name).unwrap();
        let body = super::rows::event(NOW);
        assert_eq!(nonce(provider, &body).await.0, NonceKind::Digest, "{name}");
    }
}

#[tokio::test]
async fn without_an_event_id_the_message_tells_a_request_apart() {
    let form = "command=%2Fweather&text=94070&trigger_id=13345224609";
    for (provider, body) in [
        (&SLACK, form),
        (&SLACK, r#"{"type":"block_actions"}"#),
        (&SLACK, ""),
        (&STRIPE, r#"{"object":"event"}"#),
        // As Intercom's ping is.
        (
            &INTERCOM,
            r#"{"type":"notification_event","id":null,"topic":"ping"}"#,
        ),
        (&STRIPE, r#"[{"id":"evt_1"}]"#),
        (&PADDLE, "hello-world"),
    ] {
        let service = Service::new(provider);
        assert_eq!(nonce(provider, body).await.0, NonceKind::Digest, "{body}");
        let request = provider.sign(&service.clock, body);
        service.handles(request.clone()).await;
        service.refuses(request, ACKNOWLEDGED, body).await;
        let other = provider.sign(&service.clock, format!("{body} "));
        service.handles(other).await;
    }
}

#[tokio::test]
async fn a13_an_event_id_that_can_be_read_in_two_ways_is_refused() {
    for (provider, name) in [(&STRIPE, "id"), (&PADDLE, "event_id"), (&SLACK, "event_id")] {
        let service = Service::new(provider);
        for value in [
            format!(r#""evt_1","{name}":"evt_2""#),
            format!(r#""evt_1","{name}":"evt_1""#),
            format!(
                r#""evt_1","\u00{:x}{}":"evt_2""#,
                name.as_bytes()[0],
                &name[1..]
            ),
            format!(r#"null,"{name}":"evt_1""#),
            "1".into(),
            "true".into(),
            r#"["evt_1"]"#.into(),
            r#"{"id":"evt_1"}"#.into(),
            r#""""#.into(),
            format!(r#""{}""#, "e".repeat(257)),
        ] {
            let body = format!(r#"{{"{name}":{value}}}"#);
            let request = provider.sign(&service.clock, body.clone());
            service.refuses(request, MALFORMED, body).await;
        }
        let longest = format!(r#"{{"{name}":"{}"}}"#, "e".repeat(256));
        service
            .handles(provider.sign(&service.clock, longest))
            .await;
    }
}

#[tokio::test]
async fn an_event_id_that_is_not_covered_is_not_read() {
    // Ids in headers beside the signature.
    let headers = [
        "x-github-delivery",
        "x-shopify-webhook-id",
        "x-shopify-event-id",
        "linear-delivery",
        "x-slack-retry-num",
    ];
    for provider in alike() {
        let service = Service::new(provider);
        let genuine = provider.delivery(&service.clock);
        service.handles(genuine.clone()).await;
        for name in headers {
            let other = with(&genuine, name, "another");
            service
                .refuses(other, ACKNOWLEDGED, (provider.name, name))
                .await;
        }
    }
}

#[tokio::test]
async fn a_webhook_id_is_visible_ascii_without_a_dot() {
    for provider in [&STANDARD_WEBHOOKS, &SVIX] {
        let service = Service::new(provider);
        let genuine = provider.delivery(&service.clock);
        let name = provider.id.unwrap();
        for id in ["", "msg.1", ".", "msg 1", "msg\t1", "é", &"m".repeat(257)] {
            let request = genuine.clone();
            let mut request = if id.is_ascii() {
                with(&request, name, id)
            } else {
                request
            };
            if id.is_ascii() {
                provider.resign(&mut request);
            } else {
                let value = http::HeaderValue::from_bytes(id.as_bytes()).unwrap();
                request.headers_mut().insert(name, value);
            }
            service.refuses(request, MALFORMED, id).await;
            // The signer refuses the id too.
            let signer = (provider.signer)(provider.secrets[0]).unwrap();
            assert!(signer.sign_body(genuine.clone(), id).is_err(), "{id}");
        }
        let mut longest = with(&genuine, name, &"m".repeat(256));
        provider.resign(&mut longest);
        service.handles(longest).await;
    }
}

#[tokio::test]
async fn other_events_are_other_deliveries() {
    for provider in alike() {
        let service = Service::new(provider);
        service.handles(provider.delivery(&service.clock)).await;
        let mut other = with_body(
            &provider.delivery(&service.clock),
            event(NOW).replace("evt_1", "evt_2"),
        );
        if let Some(name) = provider.id {
            other = with(&other, name, "msg_2");
        }
        provider.resign(&mut other);
        service.handles(other).await;
    }
}

/// A second body under the id of an event is the same event, and has no second effect.
#[tokio::test]
async fn an_event_id_says_what_is_the_same_event_whatever_else_the_body_says() {
    for provider in [&STRIPE, &PADDLE, &SLACK, &STANDARD_WEBHOOKS] {
        let service = Service::new(provider);
        service.handles(provider.delivery(&service.clock)).await;
        let mut other = with_body(
            &provider.delivery(&service.clock),
            event(NOW).replace(":7", ":8"),
        );
        provider.resign(&mut other);
        service.refuses(other, ACKNOWLEDGED, provider.name).await;
    }
}

#[tokio::test]
async fn a_payload_answers_for_what_is_covered_and_nothing_else() {
    for provider in alike() {
        let body = event(NOW);
        let payload = payload(provider, &body).await;
        assert_eq!(payload.bytes(), body.as_bytes());
        assert_eq!(payload.method(), None);
        assert_eq!(payload.authority(), None);
        assert_eq!(payload.path(), None);
        assert_eq!(payload.query(), None);
        assert_eq!(payload.expires_at(), None);
        assert_eq!(payload.danger_uncovered_body(), None);
        let signed_at = payload.signed_at().map(countersign::Timestamp::as_secs);
        let expected = timed().any(|p| p.name == provider.name).then_some(NOW);
        assert_eq!(signed_at, expected, "{}", provider.name);
        for name in ["host", "content-type", "x-github-event", provider.signature] {
            assert_eq!(payload.header(name), None, "{} {name}", provider.name);
        }
        let time = match provider.time {
            Time::Header(name) => Some(name),
            _ => None,
        };
        for name in [time, provider.id].into_iter().flatten() {
            assert!(payload.header(name).is_some(), "{} {name}", provider.name);
        }
        let id = provider.name.to_lowercase().replace(' ', "-");
        let id = match &*id {
            "box-webhooks" => "box",
            id => id,
        };
        assert_eq!(payload.key_id().as_str(), id);
    }
}

#[test]
fn a_retention_out_of_its_range_is_refused() {
    fn built(builder: countersign::request::VerifierBuilder<Verifier>) -> bool {
        let builder = builder.secret(STANDARD_WEBHOOKS.secrets[0]);
        let builder = builder.public_origin(common::ORIGIN);
        let in_transaction = builder
            .namespace("a retention out of its range")
            .processing(Processing::InTransaction);
        in_transaction.build().is_ok()
    }
    let second = Duration::from_secs(1);
    let year = 366 * 24 * 60 * 60 * second;
    for (retention, is_event, is_untimed) in [
        (Duration::ZERO, false, false),
        (second, true, false),
        (3600 * second, true, true),
        (year, true, true),
        (year + second, false, false),
    ] {
        let event = Verifier::builder(StandardWebhooks::svix().retention(retention));
        assert_eq!(built(event), is_event, "{retention:?}");
        let untimed = Verifier::builder(GitHub::new().retention(retention));
        assert_eq!(built(untimed), is_untimed, "{retention:?}");
    }
    // A retention that ends before the sender's retries do is refused too.
    for (is_enough, retention) in [(false, 3600 * second), (true, 25 * 3600 * second)] {
        for builder in [
            Verifier::builder(Slack::new().retention(retention)),
            Verifier::builder(Zoom::new().retention(retention)),
            Verifier::builder(HubSpot::new().retention(retention)),
            Verifier::builder(Square::new().retention(retention)),
            Verifier::builder(Xero::new().retention(retention)),
            Verifier::builder(Asana::new().retention(retention)),
            Verifier::builder(Vercel::new().retention(retention)),
            Verifier::builder(Razorpay::new().retention(retention)),
            Verifier::builder(Notion::new().retention(retention)),
        ] {
            assert_eq!(built(builder), is_enough, "{retention:?}");
        }
        for builder in [
            Verifier::builder(Stripe::new().retention(retention)),
            Verifier::builder(CoinbaseCommerce::new().retention(retention)),
        ] {
            assert!(!built(builder), "{retention:?}");
        }
    }
}
