//! The table of senders: a row for each, written from the documentation of the sender, with the
//! deliveries that the sender publishes.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use countersign::{Signer, Verifier, scheme::Encoding, webhooks};

use super::provider::{Hash, IN_BODY, Provider, Published, Retries, Time};
use crate::common::NOW;

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

const PLAIN: Provider = Provider {
    name: "",
    begin: || Verifier::builder(webhooks::GitHub::new()),
    signer: |secret| Signer::with_secret(webhooks::GitHub::new(), secret),
    secrets: ["the secret of the sender", "the next secret of the sender"],
    key: |secret| secret.as_bytes().to_vec(),
    hash: Hash::Sha256,
    signature: "",
    value: "{mac}",
    list: None,
    encoding: Encoding::Hex,
    time: Time::None,
    id: None,
    message: "{body}",
    event,
    retries: Retries::SignedAnew,
    may_keep_time: false,
    schedule: &[MINUTE, HOUR],
    published: &[],
};

/// A delivery to `/hook`, to begin from.
const POSTED: Published = Published {
    source: "",
    secret: "",
    method: "POST",
    uri: "/hook",
    headers: &[],
    body: "",
    now: NOW,
};

const BOX_LIBRARY: Published = Published {
    source: "https://github.com/box/box-python-sdk, the tests of its webhooks",
    headers: &[
        ("box-delivery-timestamp", "2020-01-01T00:00:00-07:00"),
        (
            "box-signature-primary",
            "6TfeAW3A1PASkgboxxA5yqHNKOwFyMWuEXny/FPD5hI=",
        ),
        (
            "box-signature-secondary",
            "v+1CD1Jdo3muIcbpv5lxxgPglOqMfsNHPV899xWYydo=",
        ),
    ],
    body: r#"{"type":"webhook_event","webhook":{"id":"1234567890"},"trigger":"FILE.UPLOADED","source":{"id":"1234567890","type":"file","name":"Test.txt"}}"#,
    now: 1_577_862_000,
    ..POSTED
};

/// The secret that the tests of Contentful's library begin from; it signed their deliveries itself.
// The name does not say secret: a search for secrets in all that tests print would find this text.
const CONTENTFUL_KEY: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

fn decoded(secret: &str) -> Vec<u8> {
    STANDARD
        .decode(secret.strip_prefix("whsec_").unwrap_or(secret))
        .unwrap()
}

macro_rules! providers {
    ($($provider:ident = $name:literal $scheme:expr => { $($field:tt)* })*) => {
        $(
            pub static $provider: Provider = Provider {
                name: $name,
                begin: || Verifier::builder($scheme),
                signer: |secret| Signer::with_secret($scheme, secret),
                $($field)*
            };
        )*

        pub static ALL: [&Provider; [$($name),*].len()] = [$(&$provider),*];
    };
}

providers! {
    STANDARD_WEBHOOKS = "Standard Webhooks" webhooks::StandardWebhooks::new() => {
        secrets: [
            "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            "whsec_dGhlIG5leHQgc2VjcmV0IG9mIHRoZSBzZW5kZXI=",
        ],
        key: decoded,
        signature: "webhook-signature",
        value: "v1,{mac}",
        list: Some(" "),
        encoding: Encoding::Base64,
        time: Time::Header("webhook-timestamp"),
        id: Some("webhook-id"),
        message: "{id}.{time}.{body}",
        schedule: &[
            5,
            5 + 5 * MINUTE,
            5 + 35 * MINUTE,
            5 + 155 * MINUTE,
            5 + 455 * MINUTE,
            5 + 1055 * MINUTE,
            28 * HOUR,
        ],
        published: &[Published {
            source: "https://github.com/standard-webhooks/standard-webhooks, the tests of its libraries",
            secret: "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            headers: &[("webhook-id", "msg_p5jXN8AQM9LWM0D4loKWxJek"),
("webhook-timestamp", "1614265330"),
("webhook-signature", "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=")],
            body: r#"{"test": 2432232314}"#,
            now: 1_614_265_330,
..POSTED
        }],
        ..PLAIN
    }
    SVIX = "Svix" webhooks::StandardWebhooks::svix() => {
        signature: "svix-signature",
        time: Time::Header("svix-timestamp"),
        id: Some("svix-id"),
        published: &[Published {
            source: "https://docs.svix.com/receiving/verifying-payloads/how-manual",
            secret: "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            headers: &[("svix-id", "msg_p5jXN8AQM9LWM0D4loKWxJek"),
("svix-timestamp", "1614265330"),
("svix-signature", "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=")],
            body: r#"{"test": 2432232314}"#,
            now: 1_614_265_330,
..POSTED
        }],
        ..STANDARD_WEBHOOKS
    }
    STRIPE = "Stripe" webhooks::Stripe::new() => {
        secrets: ["whsec_is not decoded", "whsec_the next secret of the sender"],
        signature: "stripe-signature",
        value: "t={time},v1={mac}",
        list: Some(","),
        time: Time::Listed("t"),
        message: "{time}.{body}",
        schedule: &[MINUTE, HOUR, 12 * HOUR, DAY, 2 * DAY, 3 * DAY],
        // Made by the library of Stripe.
        published: &[Published {
            source: "https://github.com/stripe/stripe-node 23.1.0, `generateTestHeaderString`",
            secret: "whsec_test_secret",
            headers: &[("stripe-signature", "t=1700000000,v1=d95c6b7477fbd7e9f90b1b0ef5f9c7ac25abca5382460e0d988c2b2a5b71b990")],
            body: r#"{"id":"evt_test_webhook","object":"event"}"#,
            now: 1_700_000_000,
..POSTED
        }],
        ..PLAIN
    }
    PADDLE = "Paddle" webhooks::Paddle::new() => {
        signature: "paddle-signature",
        value: "ts={time};h1={mac}",
        list: Some(";"),
        time: Time::Listed("ts"),
        message: "{time}:{body}",
        schedule: &[MINUTE, HOUR, 12 * HOUR, DAY, 2 * DAY, 3 * DAY],
        ..PLAIN
    }
    SLACK = "Slack" webhooks::Slack::new() => {
        signature: "x-slack-signature",
        value: "v0={mac}",
        time: Time::Header("x-slack-request-timestamp"),
        message: "v0:{time}:{body}",
        schedule: &[1, MINUTE, 6 * MINUTE, DAY + 6 * MINUTE],
        ..PLAIN
    }
    ZOOM = "Zoom" webhooks::Zoom::new() => {
        signature: "x-zm-signature",
        value: "v0={mac}",
        time: Time::Header("x-zm-request-timestamp"),
        message: "v0:{time}:{body}",
        may_keep_time: true,
        schedule: &[5 * MINUTE, 25 * MINUTE, 85 * MINUTE],
        ..PLAIN
    }
    LINEAR = "Linear" webhooks::Linear::new() => {
        signature: "linear-signature",
        time: Time::Body("webhookTimestamp"),
        retries: Retries::Redated,
        may_keep_time: true,
        schedule: &[MINUTE, 61 * MINUTE, 421 * MINUTE],
        ..PLAIN
    }
    GITHUB = "GitHub" webhooks::GitHub::new() => {
        signature: "x-hub-signature-256",
        value: "sha256={mac}",
        retries: Retries::Identical,
        schedule: &[HOUR, 3 * DAY, 7 * DAY],
        published: &[Published {
            source: "https://docs.github.com/webhooks/using-webhooks/validating-webhook-deliveries",
            secret: "It's a Secret to Everybody",
            headers: &[("x-hub-signature-256", "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17")],
            body: "Hello, World!",
            ..POSTED
        }],
        ..PLAIN
    }
    BITBUCKET = "Bitbucket" webhooks::Bitbucket::new() => {
        signature: "x-hub-signature",
        value: "sha256={mac}",
        retries: Retries::Identical,
        published: &[Published {
            source: "https://support.atlassian.com/bitbucket-cloud/docs/manage-webhooks/",
            secret: "It's a Secret to Everybody",
            headers: &[("x-hub-signature", "sha256=a4771c39fbe90f317c7824e83ddef3caae9cb3d976c214ace1f2937e133263c9")],
            body: "Hello World!",
            ..POSTED
        }],
        ..PLAIN
    }
    SHOPIFY = "Shopify" webhooks::Shopify::new() => {
        signature: "x-shopify-hmac-sha256",
        encoding: Encoding::Base64,
        retries: Retries::Identical,
        schedule: &[MINUTE, HOUR, 4 * HOUR],
        ..PLAIN
    }
    META = "Meta" webhooks::Meta::new() => {
        signature: "x-hub-signature-256",
        value: "sha256={mac}",
        retries: Retries::Identical,
        schedule: &[1, HOUR, 36 * HOUR, 7 * DAY],
        ..PLAIN
    }
    HUBSPOT = "HubSpot" webhooks::HubSpot::new() => {
        signature: "x-hubspot-signature-v3",
        encoding: Encoding::Base64,
        time: Time::Header("x-hubspot-request-timestamp"),
        message: "{method}{url}{body}{time}",
        event: |_| r#"[{"eventId":1,"portalId":2,"amount":7},{"eventId":9}]"#.to_owned(),
        schedule: &[MINUTE, HOUR, DAY],
        ..PLAIN
    }
    SQUARE = "Square" webhooks::Square::new() => {
        signature: "x-square-hmacsha256-signature",
        encoding: Encoding::Base64,
        message: "{url}{body}",
        retries: Retries::Identical,
        schedule: &[MINUTE, HOUR, DAY],
        ..PLAIN
    }
    MAILGUN = "Mailgun" webhooks::Mailgun::new() => {
        signature: IN_BODY,
        time: Time::Body("timestamp"),
        message: "{timestamp}{token}",
        retries: Retries::Redated,
        schedule: &[5 * MINUTE, 15 * MINUTE, 30 * MINUTE, 90 * MINUTE, 8 * HOUR],
        // The library takes the three strings out of the body.
        published: &[Published {
            source: "https://github.com/mailgun/mailgun-php, the tests of its webhooks",
            secret: "key-3ax6xnjp29jd6fds4gc373sgvjxteol0",
            body: r#"{"signature":{"timestamp":"1403645220","token":"5egbgr1vjgqxtrnp65xfznchgdccwh5d6i09vijqi3whgowmn6","signature":"9cfc5c41582e51246e73c88d34db3af0a3a2692a76fbab81492842f000256d33"}}"#,
            now: 1_403_645_220,
            ..POSTED
        }],
        ..PLAIN
    }
    // With JSON bodies, whose digest the URL names.
    TWILIO = "Twilio" webhooks::Twilio::json_at("/hook").unwrap() => {
        hash: Hash::Sha1,
        signature: "x-twilio-signature",
        encoding: Encoding::Base64,
        message: "{url}",
        retries: Retries::Unclaimed,
        ..PLAIN
    }
    DROPBOX = "Dropbox" webhooks::Dropbox::new() => {
        signature: "x-dropbox-signature",
        retries: Retries::Unclaimed,
        ..PLAIN
    }
    GITLAB = "GitLab" webhooks::GitLab::new() => { ..STANDARD_WEBHOOKS }
    OPENAI = "OpenAi" webhooks::OpenAi::new() => {
        schedule: &[MINUTE, HOUR, DAY, 3 * DAY],
        published: &[
            Published {
        source: "https://github.com/openai/openai-python, the tests of its webhooks",
        secret: "whsec_RdvaYFYUXuIFuEbvZHwMfYFhUf7aMYjYcmM24+Aj40c=",
        headers: &[
            ("webhook-id", "wh_685c059ae39c8190af8c71ed1022a24d"),
            ("webhook-timestamp", "1750861210"),
            (
                "webhook-signature",
                "v1,gUAg4R2hWouRZqRQG4uJypNS8YK885G838+EHb4nKBY=",
            ),
        ],
        body: r#"{"id": "evt_685c059ae3a481909bdc86819b066fb6", "object": "event", "created_at": 1750861210, "type": "response.completed", "data": {"id": "resp_123"}}"#,
        now: 1_750_861_210,
        ..POSTED
            },
        ],
        ..STANDARD_WEBHOOKS
    }
    INTERCOM = "Intercom" webhooks::Intercom::new() => {
        hash: Hash::Sha1,
        signature: "x-hub-signature",
        value: "sha1={mac}",
        retries: Retries::Identical,
        ..PLAIN
    }
    TYPEFORM = "Typeform" webhooks::Typeform::new() => {
        signature: "typeform-signature",
        value: "sha256={mac}",
        encoding: Encoding::Base64,
        retries: Retries::Identical,
        schedule: &[5 * MINUTE, 35 * MINUTE, 10 * HOUR],
        published: &[Published {
            source: "https://github.com/Typeform/js-api-client, the tests of `verifySignature`",
            secret: "my-webook-secret",
            headers: &[("typeform-signature", "sha256=X2b3nUhiGjaWHxmPO/YQzUvHXBNac4gPjZ5/bjXrhQY=")],
            body: r#"{"foo":"bar"}"#,
            ..POSTED
        }],
        ..PLAIN
    }
    CALENDLY = "Calendly" webhooks::Calendly::new() => {
        signature: "calendly-webhook-signature",
        value: "t={time},v1={mac}",
        list: Some(","),
        time: Time::Listed("t"),
        message: "{time}.{body}",
        may_keep_time: true,
        schedule: &[MINUTE, HOUR, DAY],
        ..PLAIN
    }
    WOOCOMMERCE = "WooCommerce" webhooks::WooCommerce::new() => {
        signature: "x-wc-webhook-signature",
        encoding: Encoding::Base64,
        retries: Retries::Identical,
        ..PLAIN
    }
    ZENDESK = "Zendesk" webhooks::Zendesk::new() => {
        signature: "x-zendesk-webhook-signature",
        encoding: Encoding::Base64,
        time: Time::Header("x-zendesk-webhook-signature-timestamp"),
        message: "{time}{body}",
        retries: Retries::Redated,
        ..PLAIN
    }
    PAGERDUTY = "PagerDuty" webhooks::PagerDuty::new() => {
        signature: "x-pagerduty-signature",
        value: "v1={mac}",
        list: Some(","),
        event: nested_event,
        retries: Retries::Identical,
        published: &[Published {
            source: "https://github.com/PagerDuty/go-pagerduty, the tests of its webhooks",
            secret: "lDQHScfUeXUKaQRNF+8XIiDKZ7XX3itBAYzwU0TARw8lJqRnkKl2iB1anSb0Z+IK",
            headers: &[("x-pagerduty-signature", "v1=0c0b9495b893a39e70d1fea2fe11fbe0a825f88b9f67846f6cc07dd2bc5476cd")],
            body: r#"{"event":{"id":"01BWDWL3NYY7LUFPZCC28QUCMK","event_type":"incident.priority_updated","resource_type":"incident","occurred_at":"2021-04-26T17:36:27.458Z","agent":{"html_url":"https://acme.pagerduty.com/users/PLH1HKV","id":"PLH1HKV","self":"https://api.pagerduty.com/users/PLH1HKV","summary":"Tenex Engineer","type":"user_reference"},"client":null,"data":{"id":"PGR0VU2","type":"incident","self":"https://api.pagerduty.com/incidents/PGR0VU2","html_url":"https://acme.pagerduty.com/incidents/PGR0VU2","number":2,"status":"triggered","title":"A little bump in the road","service":{"html_url":"https://acme.pagerduty.com/services/PF9KMXH","id":"PF9KMXH","self":"https://api.pagerduty.com/services/PF9KMXH","summary":"API Service","type":"service_reference"},"assignees":[{"html_url":"https://acme.pagerduty.com/users/PTUXL6G","id":"PTUXL6G","self":"https://api.pagerduty.com/users/PTUXL6G","summary":"User 123","type":"user_reference"}],"escalation_policy":{"html_url":"https://acme.pagerduty.com/escalation_policies/PUS0KTE","id":"PUS0KTE","self":"https://api.pagerduty.com/escalation_policies/PUS0KTE","summary":"Default","type":"escalation_policy_reference"},"teams":[{"html_url":"https://acme.pagerduty.com/teams/PFCVPS0","id":"PFCVPS0","self":"https://api.pagerduty.com/teams/PFCVPS0","summary":"Engineering","type":"team_reference"}],"priority":{"html_url":"https://acme.pagerduty.com/account/incident_priorities","id":"PSO75BM","self":"https://api.pagerduty.com/priorities/PSO75BM","summary":"P1","type":"priority_reference"},"urgency":"high","conference_bridge":{"conference_number":1000,"conference_url":"https://example.com"},"resolve_reason":null}}}"#,
            ..POSTED
        }],
        ..PLAIN
    }
    SENTRY = "Sentry" webhooks::Sentry::new() => {
        signature: "sentry-hook-signature",
        retries: Retries::Identical,
        ..PLAIN
    }
    ASANA = "Asana" webhooks::Asana::new() => {
        signature: "x-hook-signature",
        retries: Retries::Identical,
        schedule: &[MINUTE, HOUR, DAY],
        ..PLAIN
    }
    BOX = "Box Webhooks" webhooks::BoxWebhooks::new() => {
        signature: "box-signature-primary",
        encoding: Encoding::Base64,
        time: Time::Header("box-delivery-timestamp"),
        message: "{body}{time}",
        schedule: &[5 * MINUTE, HOUR, 2 * HOUR],
        published: &[
            Published {
        secret: "SamplePrimaryKey",
        ..BOX_LIBRARY
            },
            Published {
        secret: "SampleSecondaryKey",
        ..BOX_LIBRARY
            },
        ],
        ..PLAIN
    }
    DOCUSIGN = "DocuSign" webhooks::DocuSign::new() => {
        signature: "x-docusign-signature-1",
        encoding: Encoding::Base64,
        event: |secs| format!(r#"{{"event":"envelope-completed","retryCount":{}}}"#, secs - NOW),
        retries: Retries::Redated,
        ..PLAIN
    }
    XERO = "Xero" webhooks::Xero::new() => {
        signature: "x-xero-signature",
        encoding: Encoding::Base64,
        retries: Retries::Identical,
        schedule: &[MINUTE, HOUR, DAY],
        ..PLAIN
    }
    QUICKBOOKS = "QuickBooks" webhooks::QuickBooks::new() => {
        signature: "intuit-signature",
        encoding: Encoding::Base64,
        event: |_| r#"[{"id":"evt_1","source":"intuit.x","amount":7},{"id":"evt_2"}]"#.to_owned(),
        retries: Retries::Identical,
        schedule: &[10, MINUTE, HOUR, DAY],
        published: &[
            Published {
        source: "https://github.com/intuit/QuickBooks-V3-Java-SDK, the tests of its webhooks",
        secret: "b5771f19b12ddb4bcdb9f08bdc50bc63878a",
        headers: &[(
            "intuit-signature",
            "JC2GUwciPmRBwEO7WvrRmKqu9tGOKL8FFallocTFi8Q=",
        )],
        body: r#"{"eventNotifications":[{"realmId":"1185883450","dataChangeEvent":{"entities":[{"name":"Customer","id":"1","operation":"Create","lastUpdated":"2015-10-05T14:42:19-0700"}]}}]}"#,
        ..POSTED
            },
        ],
        ..PLAIN
    }
    RAZORPAY = "Razorpay" webhooks::Razorpay::new() => {
        signature: "x-razorpay-signature",
        retries: Retries::Identical,
        schedule: &[HOUR, DAY, 15 * DAY],
        published: &[Published {
            source: "https://github.com/razorpay/razorpay-python, the tests of its utility",
            secret: "key_secret",
            headers: &[("x-razorpay-signature", "d60e67fd884556c045e9be7dad57903e33efc7172c17c6e3ef77db42d2b366e9")],
            body: r#"{
  "event": "payment.authorized",
  "entity": "event",
  "contains": [
    "payment"
  ],
  "payload": {
    "payment": {
      "entity": {
        "id": "pay_6koWN7bvxujzxM",
        "entity": "payment",
        "amount": 1000000,
        "currency": "INR",
        "status": "captured",
        "order_id": "order_100000000order",
        "international": false,
        "method": "card",
        "amount_refunded": 0,
        "refund_status": null,
        "captured": true,
        "description": "random description",
        "card_id": "card_6koWNAT6LASUqy",
        "bank": null,
        "wallet": null,
        "vpa": null,
        "email": "a@b.com",
        "contact": "+919999999999",
        "notes": {
          "merchant_order_id": "random order id"
        },
        "fee": 23000,
        "service_tax": 3000,
        "error_code": null,
        "error_description": null,
        "created_at": 1479978483
      }
    }
  },
  "created_at": 1400826760
}
"#,
            ..POSTED
        }],
        ..PLAIN
    }
    LEMON_SQUEEZY = "Lemon Squeezy" webhooks::LemonSqueezy::new() => {
        signature: "x-signature",
        retries: Retries::Identical,
        schedule: &[5, 30, 155],
        ..PLAIN
    }
    COINBASE_COMMERCE = "Coinbase Commerce" webhooks::CoinbaseCommerce::new() => {
        signature: "x-cc-webhook-signature",
        event: nested_event,
        retries: Retries::Identical,
        schedule: &[HOUR, DAY, 3 * DAY],
        published: &[Published {
            source: "https://github.com/coinbase/coinbase-commerce-node, the tests of its webhooks",
            secret: "30291a20-0bd1-4267-9b0f-e6e7b123c0bf",
            headers: &[("x-cc-webhook-signature", "8be7742c7d372f08a6a3224edadf18a22b65fa9e28f3f2de97376cdaa092590d")],
            body: r#"{"id":1,"scheduled_for":"2017-01-31T20:50:02Z","attempt_number":1,"event":{"id":"24934862-d980-46cb-9402-43c81b0cdba6","type":"charge:created","api_version":"2018-03-22","created_at":"2017-01-31T20:49:02Z","data":{"code":"66BEOV2A","name":"The Sovereign Individual","description":"Mastering the Transition to the Information Age","hosted_url":"https://commerce.coinbase.com/charges/66BEOV2A","created_at":"2017-01-31T20:49:02Z","expires_at":"2017-01-31T21:04:02Z","timeline":[{"time":"2017-01-31T20:49:02Z","status":"NEW"}],"metadata":{},"pricing_type":"no_price","payments":[],"addresses":{"bitcoin":"0000000000000000000000000000000000","ethereum":"0x0000000000000000000000000000000000000000","litecoin":"3000000000000000000000000000000000","bitcoincash":"bitcoincash:000000000000000000000000000000000000000000"}}}}"#,
            ..POSTED
        }],
        ..PLAIN
    }
    CONTENTFUL = "Contentful" webhooks::Contentful::new() => {
        signature: "x-contentful-signature",
        time: Time::Header("x-contentful-timestamp"),
        id: Some("x-contentful-signed-headers"),
        message: "{method}\n{target}\n{listed}\n{body}",
        retries: Retries::Redated,
        schedule: &[30, 60],
        published: &[
            Published {
        source: "https://github.com/contentful/node-apps-toolkit 3.16.1, `signRequest`",
        secret: CONTENTFUL_KEY,
        method: "GET",
        uri: "/api/resources/1",
        headers: &[
            (
                "x-contentful-signature",
                "3b21d63c31a2a92d38945394da0b1a2a0dc2d9bf13ef4dfd91b9f3fa1440b404",
            ),
            (
                "x-contentful-signed-headers",
                "x-contentful-signed-headers,x-contentful-timestamp",
            ),
            ("x-contentful-timestamp", "1603379941037"),
        ],
        now: 1_603_379_941,
        ..POSTED
            },
            Published {
        source: "https://github.com/contentful/node-apps-toolkit 3.16.1, `signRequest`",
        secret: CONTENTFUL_KEY,
        uri: "/hook?a=1&b=x%20y",
        headers: &[
            (
                "x-contentful-signature",
                "9b1febb846e5910ca92395e63cb22cffb4a886d7dfa3ac3fab2d3c6faa3cb65f",
            ),
            (
                "x-contentful-signed-headers",
                "x-contentful-signed-headers,x-contentful-timestamp",
            ),
            ("x-contentful-timestamp", "1603379941037"),
        ],
        body: r#"{"sys":{"id":"1"}}"#,
        now: 1_603_379_941,
        ..POSTED
            },
            Published {
        source: "https://github.com/contentful/node-apps-toolkit 3.16.1, `signRequest`",
        secret: CONTENTFUL_KEY,
        uri: "/h%2Fo~k",
        headers: &[
            (
                "content-type",
                "application/vnd.contentful.management.v1+json; charset=utf-8",
            ),
            ("x-contentful-topic", "ContentManagement.Entry.publish"),
            (
                "x-contentful-signature",
                "ba9f8e3ba652d46ccef48f786eb8b829f7621594c5c976aab71963b43c27e61d",
            ),
            (
                "x-contentful-signed-headers",
                "content-type,x-contentful-signed-headers,x-contentful-timestamp,x-contentful-topic",
            ),
            ("x-contentful-timestamp", "1603379941037"),
        ],
        body: "{}",
        now: 1_603_379_941,
        ..POSTED
            },
        ],
        ..PLAIN
    }
    CIRCLECI = "CircleCi" webhooks::CircleCi::new() => {
        signature: "circleci-signature",
        value: "v1={mac}",
        list: Some(","),
        retries: Retries::Identical,
        published: &[
            Published {
        source: "https://circleci.com/docs/guides/integration/outbound-webhooks/#validate-webhooks",
        secret: "secret",
        headers: &[(
            "circleci-signature",
            "v1=734cc62f32841568f45715aeb9f4d7891324e6d948e4c6c60c0621cdac48623a",
        )],
        body: "hello world",
        ..POSTED
            },
            Published {
        source: "https://circleci.com/docs/guides/integration/outbound-webhooks/#validate-webhooks",
        secret: "another-secret",
        headers: &[(
            "circleci-signature",
            "v1=daa220016c8f29a8b214fbfc3671aeec2145cfb1e6790184ffb38b6d0425fa00",
        )],
        body: "lalala",
        ..POSTED
            },
            Published {
        source: "https://circleci.com/docs/guides/integration/outbound-webhooks/#validate-webhooks",
        secret: "hunter123",
        headers: &[(
            "circleci-signature",
            "v1=9be2242094a9a8c00c64306f382a7f9d691de910b4a266f67bd314ef18ac49fa",
        )],
        body: "an-important-request-payload",
        ..POSTED
            },
        ],
        ..PLAIN
    }
    BUILDKITE = "Buildkite" webhooks::Buildkite::new() => {
        signature: "x-buildkite-signature",
        value: "timestamp={time},signature={mac}",
        list: Some(","),
        time: Time::Listed("timestamp"),
        message: "{time}.{body}",
        retries: Retries::Redated,
        published: &[
            Published {
        source: "https://github.com/buildkite/go-buildkite, the tests of its webhooks",
        secret: "29b1ff5779c76bd48ba6705eb99ff970",
        headers: &[(
            "x-buildkite-signature",
            "timestamp=1642080837,signature=582d496ac2d869dd97a3101c4cda346288c49a742592daf582ec64c86449f79c",
        )],
        body: r#"{"event":"ping","service":{"id":"c9f8372d-c0cd-43dc-9274-768a875cf6ca","provider":"webhook","settings":{"url":"https://server.com/webhooks"}},"organization":{"id":"49801950-1df0-474f-bb56-ad6a930c5cb9","graphql_id":"T3JnYW5pemF0aW9uLS0tZTBmMzk3MgsTksGkxOWYtZTZjNzczZTJiYjEy","url":"https://api.buildkite.com/v2/organizations/acme-inc","web_url":"https://buildkite.com/acme-inc","name":"ACME Inc","slug":"acme-inc","agents_url":"https://api.buildkite.com/v2/organizations/acme-inc/agents","emojis_url":"https://api.buildkite.com/v2/organizations/acme-inc/emojis","created_at":"2021-02-03T20:34:10.486Z","pipelines_url":"https://api.buildkite.com/v2/organizations/acme-inc/pipelines"},"sender":{"id":"c9f8372d-c0cd-43dc-9269-bcbb7f308e3f","name":"ACME Man"}}"#,
        now: 1_642_080_837,
        ..POSTED
            },
        ],
        ..PLAIN
    }
    TERRAFORM_CLOUD = "Terraform Cloud" webhooks::TerraformCloud::new() => {
        hash: Hash::Sha512,
        signature: "x-tfe-notification-signature",
        retries: Retries::Identical,
        ..PLAIN
    }
    VERCEL = "Vercel" webhooks::Vercel::new() => {
        hash: Hash::Sha1,
        signature: "x-vercel-signature",
        retries: Retries::Identical,
        schedule: &[MINUTE, HOUR, DAY],
        ..PLAIN
    }
    TRELLO = "Trello" webhooks::Trello::new() => {
        hash: Hash::Sha1,
        signature: "x-trello-webhook",
        encoding: Encoding::Base64,
        message: "{body}{url}",
        event: |_| r#"{"action":{"id":"evt_1"},"amount":7}"#.to_owned(),
        retries: Retries::Identical,
        schedule: &[30, 90, 210],
        ..PLAIN
    }
    NOTION = "Notion" webhooks::Notion::new() => {
        signature: "x-notion-signature",
        value: "sha256={mac}",
        retries: Retries::Identical,
        schedule: &[MINUTE, HOUR, DAY],
        // Made by the library of Notion.
        published: &[Published {
            source: "https://github.com/makenotion/notion-sdk-js 5.26.0, `signWebhookPayload`",
            secret: "secret_tMrlL1qK5vuQAh1b6cZGhFChZTSYJlce98V0pYn7yBl",
            headers: &[("x-notion-signature", "sha256=a9f3bc04fffb7637c73122a14826ab7d3034fbcf05131fc29bcac57a6e23e6c2")],
            body: r#"{"id":"367cba44-b6f3-4c92-81e7-6a2e9659efd4","type":"page.created","attempt_number":1}"#,
            ..POSTED
        }],
        ..PLAIN
    }
    LINE = "Line" webhooks::Line::new() => {
        signature: "x-line-signature",
        encoding: Encoding::Base64,
        event: |_| r#"{"events":[{"webhookEventId":"evt_1"}],"amount":7}"#.to_owned(),
        retries: Retries::Identical,
        published: &[
            Published {
        source: "https://github.com/line/line-bot-sdk-python, the tests of its webhooks",
        secret: "channel_secret",
        headers: &[(
            "x-line-signature",
            "/gg9a+LvFevTH1sd7XCQycD7tsWclCsInj7MhBHxN7k=",
        )],
        body: "bodybodybodybody",
        ..POSTED
            },
        ],
        ..PLAIN
    }
    CAL_COM = "Cal Com" webhooks::CalCom::new() => {
        signature: "x-cal-signature-256",
        retries: Retries::Identical,
        ..PLAIN
    }
    CLERK = "Clerk" webhooks::Clerk::new() => { ..SVIX }
    RESEND = "Resend" webhooks::Resend::new() => { ..SVIX }
    JIRA = "Jira" webhooks::Jira::new() => {
        signature: "x-hub-signature",
        value: "sha256={mac}",
        retries: Retries::Identical,
        published: &[Published {
            source: "https://developer.atlassian.com/cloud/jira/platform/webhooks/",
            secret: "It's a Secret to Everybody",
            headers: &[(
                "x-hub-signature",
                "sha256=a4771c39fbe90f317c7824e83ddef3caae9cb3d976c214ace1f2937e133263c9",
            )],
            body: "Hello World!",
            ..POSTED
        }],
        ..PLAIN
    }
    MUX = "Mux" webhooks::Mux::new() => {
        signature: "mux-signature",
        value: "t={time},v1={mac}",
        list: Some(","),
        time: Time::Listed("t"),
        message: "{time}.{body}",
        may_keep_time: true,
        schedule: &[MINUTE, HOUR, DAY],
        published: &[Published {
            source: "https://github.com/muxinc/mux-node-sdk, the tests of its webhooks",
            secret: "SuperSecret123",
            headers: &[(
                "mux-signature",
                "t=1565125718,v1=854ece4c22acef7c66b57d4e504153bc512595e8e9c772ece2a68150548c19a7",
            )],
            body: r#"{"test":"body"}"#,
            now: 1_565_125_718,
            ..POSTED
        }],
        ..PLAIN
    }
    WEBFLOW = "Webflow" webhooks::Webflow::new() => {
        signature: "x-webflow-signature",
        time: Time::Header("x-webflow-timestamp"),
        message: "{time}:{body}",
        may_keep_time: true,
        schedule: &[10 * MINUTE, 20 * MINUTE, 30 * MINUTE],
        // The library of Webflow accepts it.
        published: &[Published {
            source: "https://github.com/webflow/js-webflow-api 3.3.4, `verifySignature`",
            secret: "the client secret of an app",
            headers: &[
                ("x-webflow-timestamp", "1663849649733"),
                ("x-webflow-signature", "fb5fd3ce6700ea5c04fc1b63a2d5dd60fe65fc3b3b8b5d3f108e2c185f1ba715"),
            ],
            body: r#"{"triggerType":"form_submission","payload":{"name":"Contact Us","siteId":"65427cf400e02b306eaa049c","data":{"First Name":"Zaphod"},"submittedAt":"2022-09-14T12:35:16.117Z","id":"6321ca84df3949bfc6752327"}}"#,
            now: 1_663_849_649,
            ..POSTED
        }],
        ..PLAIN
    }
}

/// The senders that sign the body, with a time or an id at most, and whose deliveries are claimed.
/// The other senders have files of their own.
pub fn alike() -> impl Iterator<Item = &'static Provider> {
    ALL.into_iter().filter(|provider| {
        let in_headers = provider.signature != IN_BODY && !provider.covers_url();
        in_headers && provider.retries != Retries::Unclaimed
    })
}

/// The senders whose header may hold several MACs.
pub fn lists() -> impl Iterator<Item = &'static Provider> {
    ALL.into_iter().filter(|provider| provider.list.is_some())
}

/// The senders that cover a time.
pub fn timed() -> impl Iterator<Item = &'static Provider> {
    ALL.into_iter()
        .filter(|provider| provider.time != Time::None)
}

/// A body whose event has its id below the top.
fn nested_event(_: u64) -> String {
    r#"{"id":"1","attempt_number":1,"event":{"id":"evt_1","amount":7}}"#.to_owned()
}

/// A body that is an event for most of them.
pub fn event(secs: u64) -> String {
    format!(r#"{{"id":"evt_1","event_id":"evt_1","webhookTimestamp":{secs}000,"amount":7}}"#)
}
