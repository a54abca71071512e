//! Secrets: in their provider's form, never too short, and never shown.

use countersign::{
    KeyRing, Secret, Signer, Verifier, testing,
    webhooks::{GitHub, Meta, Square, StandardWebhooks, Twilio},
};
use http::Request;

use super::{
    coverage::concerned,
    provider::Provider,
    rows::{ALL, GITHUB, GITLAB, OPENAI, STANDARD_WEBHOOKS, SVIX, lists},
    service::{INVALID, MALFORMED, Service},
};
use crate::common::{
    self, NOW,
    log::{self, Log},
};

#[test]
fn a04_an_empty_or_short_secret_is_refused() {
    for provider in concerned(4) {
        for secret in ["", "short", "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", "whsec_"] {
            let clock = common::clock();
            let builder = provider
                .builder()
                .secret(secret)
                .store(common::store(&clock));
            let error = builder.build().unwrap_err();
            assert!((provider.signer)(secret).is_err(), "{}", provider.name);
            if !secret.is_empty() {
                assert!(!error.to_string().contains(secret), "{error}");
            }
        }
    }
}

/// `keys` takes a short secret of a partner that cannot be moved to a longer one.
#[tokio::test]
async fn a_short_secret_takes_the_word_danger() {
    let clock = common::clock();
    let secret = Secret::danger_short("mysecret").unwrap();
    let keys = KeyRing::new().with("github", secret.clone()).unwrap();
    let verifier = GITHUB
        .builder()
        .keys(keys)
        .store(common::store(&clock))
        .build()
        .unwrap();
    let signer = Signer::new(GitHub::new(), "github", secret).unwrap();
    let (head, body) = signer.sign(Request::new("{}")).unwrap().into_parts();
    let body = http_body_util::Full::<bytes::Bytes>::from(body);
    assert!(verifier.verify(&head, body).await.is_ok());
}

#[test]
fn a_preset_signs_under_its_own_key_id() {
    for provider in ALL {
        assert!((provider.signer)(provider.secrets[0]).is_ok());
    }
    let secret = "a secret of sixteen bytes";
    for signer in [
        Signer::new(StandardWebhooks::new(), "stripe", secret),
        Signer::new(GitHub::new(), "stripe", secret),
        Signer::new(Square::new(), "stripe", secret),
        Signer::new(Twilio::new(), "stripe", secret),
    ] {
        let request = Request::post("https://a.example/").body(bytes::Bytes::new());
        assert!(signer.unwrap().sign(request.unwrap()).is_err());
    }
}

#[test]
fn a_secret_of_standard_webhooks_is_base64_of_24_to_64_bytes() {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    for provider in [&STANDARD_WEBHOOKS, &SVIX, &GITLAB, &OPENAI] {
        let taken = |text: &str| (provider.signer)(text).is_ok();
        for (length, expected) in [
            (16, false),
            (23, false),
            (24, true),
            (64, true),
            (65, false),
        ] {
            let text = STANDARD.encode(vec![b'k'; length]);
            assert_eq!(taken(&text), expected, "{length}");
            for prefix in ["whsec_", "v1,whsec_"] {
                assert_eq!(taken(&format!("{prefix}{text}")), expected, "{length}");
            }
        }
        for text in [
            "whsec_whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            "v1,v1,whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            "v2,whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            "WHSEC_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            "whsec_MfKQ9r8GKYqr TwjUPD8ILPZIo2LaLaSw",
            "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaS\u{e9}",
            "whpk_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            "a plain secret that is long enough",
        ] {
            assert!(!taken(text), "{text}");
        }
    }
}

/// As dashboards show it, and as it is read from a file.
#[tokio::test]
async fn a_secret_is_taken_as_it_is_shown() {
    for provider in [&STANDARD_WEBHOOKS, &SVIX] {
        let clock = common::clock();
        let bare = "dGhlIG5leHQgc2VjcmV0IG9mIHRoZSBzZW5kZXI";
        let request = provider.sign_under(&format!("whsec_{bare}="), &clock, "{}");
        for text in [
            format!("v1,whsec_{bare}="),
            format!("v1,whsec_{bare}"),
            format!("whsec_{bare}"),
            format!("{bare}="),
            bare.to_owned(),
            format!("whsec_{bare}=\n"),
            format!(" v1,whsec_{bare}\r\n"),
        ] {
            let builder = provider.builder().secret(&text).clock(clock.clone());
            let verifier = builder.store(common::store(&clock)).build().unwrap();
            let (head, body) = request.clone().into_parts();
            let body = http_body_util::Full::<bytes::Bytes>::from(body);
            assert!(verifier.verify(&head, body).await.is_ok(), "{text:?}");
        }
    }
}

#[test]
fn a_secret_that_is_text_has_no_white_space_at_its_ends() {
    let decoded = [
        "Standard Webhooks",
        "Svix",
        "GitLab",
        "OpenAi",
        "Clerk",
        "Resend",
    ];
    for provider in ALL
        .iter()
        .filter(|provider| !decoded.contains(&provider.name))
    {
        let secret = provider.secrets[0];
        for (text, said) in [
            (format!("{secret}\n"), "ends with a line feed"),
            (format!("{secret} "), "ends with a space"),
            (format!(" {secret}"), "begins with a space"),
            (format!("{secret}\t"), "ends with a tab"),
        ] {
            let clock = common::clock();
            let builder = provider.builder().secret(&text);
            let error = builder.store(common::store(&clock)).build().unwrap_err();
            let error = error.to_string();
            assert!(error.contains(said), "{}: {error}", provider.name);
            assert!(!error.contains(secret), "{}: {error}", provider.name);
            assert!((provider.signer)(&text).is_err(), "{}", provider.name);
        }
    }
}

fn hides_secrets(provider: &Provider, text: &str) -> bool {
    let bare = |secret: &'static str| secret.strip_prefix("whsec_").unwrap_or(secret);
    !provider
        .secrets
        .map(bare)
        .iter()
        .any(|secret| text.contains(secret))
}

#[tokio::test]
async fn a30_neither_secret_nor_expected_mac_is_shown() {
    for provider in concerned(30) {
        let log = Log::captured();
        let service = Service::new(provider);
        let genuine = provider.delivery(&service.clock);
        let expected = provider.mac(provider.secrets[0], &genuine);
        log::hide("an expected MAC", expected.as_bytes());
        let stranger =
            provider.sign_under(provider.secrets[1], &service.clock, (provider.event)(NOW));
        let response = service.response(stranger).await;
        let shown = format!("{:?} {response:?}", service.app);
        let answer = common::verdict(response).await;
        assert_eq!((answer.0, answer.1.as_str()), INVALID);
        service
            .refuses(provider.with_mac(&genuine, "x"), MALFORMED, "x")
            .await;
        let clock = common::clock();
        let builder = provider.verifier(&clock).store(common::store(&clock));
        let shown = format!("{shown} {builder:?}");
        let shown = format!("{shown} {:?}", builder.build().unwrap());
        let log = log.text();
        assert!(log.contains("request refused"), "{log}");
        for (text, what) in [(&shown, "Debug"), (&log, "the log")] {
            assert!(hides_secrets(provider, text), "{} in {what}", provider.name);
            assert!(!text.contains(&expected), "{} in {what}", provider.name);
        }
    }
    let token = "the verify token of the dashboard";
    let meta = Meta::new().answer_subscription_at("/meta", token).unwrap();
    assert!(!format!("{meta:?}").contains("verify token"), "{meta:?}");
}

#[test]
fn the_twin_of_hidden_finds_what_is_shown() {
    for provider in lists() {
        let shown = format!("{:?}", provider.secrets);
        assert!(!hides_secrets(provider, &shown), "{}", provider.name);
    }
}

/// A user's test makes a delivery in one line.
#[tokio::test]
async fn a_delivery_for_tests_is_what_the_sender_would_send() {
    let clock = common::clock();
    let verifier = Verifier::builder(StandardWebhooks::new())
        .secret(STANDARD_WEBHOOKS.secrets[0])
        .store(common::store(&clock))
        .clock(clock.clone())
        .build()
        .unwrap();
    let delivery = testing::delivery(StandardWebhooks::new(), STANDARD_WEBHOOKS.secrets[0], "{}")
        .to("/hook?x=1")
        .header("x-other", "1")
        .clock(clock.clone())
        .nonce("msg_1");
    let request = delivery.request();
    assert_eq!(request.uri(), "/hook?x=1");
    assert_eq!(request.headers()["content-type"], "application/json");
    assert_eq!(request.headers()["webhook-id"], "msg_1");
    assert_eq!(request.headers()["webhook-timestamp"], NOW.to_string());
    let (head, body) = request.into_parts();
    let first = verifier.verify(&head, body).await.unwrap();
    let countersign::request::Verified::Leased(payload, lease) = first else {
        panic!("{first:?}");
    };
    assert_eq!(payload.bytes(), "{}");
    assert!(lease.complete().await.is_ok());

    // A redelivery, and another message.
    clock.advance(std::time::Duration::from_secs(60));
    let (head, body) = delivery.request().into_parts();
    let again = verifier.verify(&head, body).await.unwrap_err();
    assert_eq!(again.kind(), countersign::RejectionKind::RequestReplayed);
    let (head, body) = delivery.nonce("msg_2").request().into_parts();
    assert!(verifier.verify(&head, body).await.is_ok());
}
