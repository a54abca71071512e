//! The packages of senders and we agree, over HTTP on loopback. We accept once what they sign, they
//! accept what we sign, and both refuse a delivery if any of its bytes was changed on the way.
//!
//! The packages are asked by scripts in `tests/peers`, and skipped, by name, where nothing says that
//! they are installed.

use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;
use countersign::{
    Clock as _, MemoryStore, VerifyLayer,
    clock::SystemClock,
    request::VerifierBuilder,
    testing::{self, Delivery, ManualClock},
    webhooks::{
        BoxWebhooks, CoinbaseCommerce, Contentful, GitHub, LemonSqueezy, Line, Notion, OpenAi,
        Razorpay, Sentry, Slack, StandardWebhooks, Stripe, Twilio, WooCommerce, Zoom,
    },
};
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use serde_json::json;

use super::{
    provider::ID,
    rows::{GITHUB, SLACK, STANDARD_WEBHOOKS, STRIPE},
};
use crate::{
    common::{self, Effects, at, echo},
    script::{Language, Script},
    wire::{Change, Wire},
};

const TOKEN: &str = "the auth token of the account";

const JSON: &str = "application/json";
const FORM: &str = "application/x-www-form-urlencoded";

const EVENT: &str =
    r#"{"id":"evt_1","event_id":"Ev1","object":"event","amount":7,"to":"Zo\u00eb, Zoë"}"#;

/// A change of what nobody signs: it is not for being changed that a delivery is refused.
fn uncovered() -> Change {
    ("x-other: 1".to_owned(), "x-other: 2".to_owned())
}

/// A delivery of a sender.
struct Case {
    /// The first segment of the path, by which the scripts know it.
    sender: &'static str,
    secret: &'static str,
    builder: fn() -> VerifierBuilder<VerifyLayer>,
    /// Signed by us.
    delivery: fn(&'static str) -> Delivery,
    content_type: &'static str,
    body: &'static str,
    /// The text that the handler is given.
    verified: &'static str,
    /// Texts on the wire, and the texts that replace them there; `{}` is the time.
    changes: &'static [(&'static str, &'static str)],
    /// Whether the delivery is the same event when it is signed again later, and so not handled.
    is_an_event: bool,
    /// Whether the sender's package signs too. Otherwise it is asked only whether it accepts what
    /// we sign.
    signs: bool,
}

const STRIPE_EVENT: Case = Case {
    sender: "stripe",
    secret: STRIPE.secrets[0],
    builder: || VerifyLayer::builder(Stripe::new()),
    delivery: |body| testing::delivery(Stripe::new(), STRIPE.secrets[0], body),
    content_type: JSON,
    body: EVENT,
    verified: EVENT,
    changes: &[
        (":7,", ":8,"),
        ("Zoë", "Zoé"),
        ("t={}", "t={-1}"),
        (",v1=", ",v1=00000000"),
    ],
    is_an_event: true,
    signs: true,
};

const STANDARD_EVENT: Case = Case {
    sender: "standardwebhooks",
    secret: STANDARD_WEBHOOKS.secrets[0],
    builder: || VerifyLayer::builder(StandardWebhooks::new()),
    delivery: |body| testing::delivery(StandardWebhooks::new(), STANDARD_WEBHOOKS.secrets[0], body),
    changes: &[
        (":7,", ":8,"),
        ("Zoë", "Zoé"),
        ("webhook-id: msg_1", "webhook-id: msg_2"),
        ("webhook-timestamp: {}", "webhook-timestamp: {-1}"),
        (" v1,", " v1,AAAA"),
    ],
    ..STRIPE_EVENT
};

const SVIX_EVENT: Case = Case {
    sender: "svix",
    builder: || VerifyLayer::builder(StandardWebhooks::svix()),
    delivery: |body| {
        testing::delivery(StandardWebhooks::svix(), STANDARD_WEBHOOKS.secrets[0], body)
    },
    changes: &[
        (":7,", ":8,"),
        ("Zoë", "Zoé"),
        ("svix-id: msg_1", "svix-id: msg_2"),
        ("svix-timestamp: {}", "svix-timestamp: {-1}"),
        (" v1,", " v1,AAAA"),
    ],
    ..STANDARD_EVENT
};

const OPENAI_EVENT: Case = Case {
    sender: "openai",
    builder: || VerifyLayer::builder(OpenAi::new()),
    delivery: |body| testing::delivery(OpenAi::new(), STANDARD_WEBHOOKS.secrets[0], body),
    signs: false,
    ..STANDARD_EVENT
};

const SLACK_EVENT: Case = Case {
    sender: "slack",
    secret: SLACK.secrets[0],
    builder: || VerifyLayer::builder(Slack::new()),
    delivery: |body| testing::delivery(Slack::new(), SLACK.secrets[0], body),
    changes: &[
        (":7,", ":8,"),
        ("Zoë", "Zoé"),
        ("-timestamp: {}", "-timestamp: {-1}"),
        ("v0=", "v0=00000000"),
    ],
    ..STRIPE_EVENT
};

const SLACK_COMMAND: Case = Case {
    content_type: FORM,
    body: "command=%2Fweather&text=94070&trigger_id=1.2",
    verified: "command=%2Fweather&text=94070&trigger_id=1.2",
    changes: &[
        ("=94070", "=94071"),
        ("-timestamp: {}", "-timestamp: {-1}"),
        ("v0=", "v0=00000000"),
    ],
    is_an_event: false,
    ..SLACK_EVENT
};

const GITHUB_EVENT: Case = Case {
    sender: "github",
    secret: GITHUB.secrets[0],
    builder: || VerifyLayer::builder(GitHub::new()),
    delivery: |body| testing::delivery(GitHub::new(), GITHUB.secrets[0], body),
    changes: &[
        (":7,", ":8,"),
        ("Zoë", "Zoé"),
        ("sha256=", "sha256=00000000"),
    ],
    ..STRIPE_EVENT
};

const KEY: &str = "the key of the webhook";

const NOTION_EVENT: Case = Case {
    sender: "notion",
    secret: KEY,
    builder: || VerifyLayer::builder(Notion::new()),
    delivery: |body| testing::delivery(Notion::new(), KEY, body),
    ..GITHUB_EVENT
};

const LINE_EVENT: Case = Case {
    sender: "line",
    secret: KEY,
    builder: || VerifyLayer::builder(Line::new()),
    delivery: |body| testing::delivery(Line::new(), KEY, body),
    changes: &[
        (":7,", ":8,"),
        ("Zoë", "Zoé"),
        ("-signature: ", "-signature: AAAA"),
    ],
    signs: false,
    ..STRIPE_EVENT
};

const WOOCOMMERCE_EVENT: Case = Case {
    sender: "woocommerce",
    builder: || VerifyLayer::builder(WooCommerce::new()),
    delivery: |body| testing::delivery(WooCommerce::new(), KEY, body),
    ..LINE_EVENT
};

const LEMON_SQUEEZY_EVENT: Case = Case {
    sender: "lemon-squeezy",
    builder: || VerifyLayer::builder(LemonSqueezy::new()),
    delivery: |body| testing::delivery(LemonSqueezy::new(), KEY, body),
    ..LINE_EVENT
};

/// Two libraries verify the body as they write it again, so that it is written in their way.
const WRITTEN_AGAIN: &str =
    r#"{"event":"meeting.started","event_ts":1700000000123,"payload":{"amount":7,"to":"Zoë"}}"#;

const SENTRY_EVENT: Case = Case {
    sender: "sentry",
    builder: || VerifyLayer::builder(Sentry::new()),
    delivery: |body| testing::delivery(Sentry::new(), KEY, body),
    body: WRITTEN_AGAIN,
    verified: WRITTEN_AGAIN,
    ..LINE_EVENT
};

const ZOOM_EVENT: Case = Case {
    sender: "zoom",
    builder: || VerifyLayer::builder(Zoom::new()),
    delivery: |body| testing::delivery(Zoom::new(), KEY, body),
    changes: &[
        (":7,", ":8,"),
        ("Zoë", "Zoé"),
        ("-timestamp: {}", "-timestamp: {-1}"),
        ("v0=", "v0=00000000"),
    ],
    ..SENTRY_EVENT
};

const BOX_EVENT: Case = Case {
    sender: "box",
    builder: || VerifyLayer::builder(BoxWebhooks::new()),
    delivery: |body| testing::delivery(BoxWebhooks::new(), KEY, body),
    changes: &[
        (":7,", ":8,"),
        ("Zoë", "Zoé"),
        ("-primary: ", "-primary: AAAA"),
    ],
    signs: true,
    ..LINE_EVENT
};

/// Has the length that Contentful's library asks for.
const CONTENTFUL_KEY: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

const CONTENTFUL_EVENT: Case = Case {
    sender: "contentful",
    secret: CONTENTFUL_KEY,
    builder: || VerifyLayer::builder(Contentful::new()),
    delivery: |body| testing::delivery(Contentful::new(), CONTENTFUL_KEY, body),
    changes: &[
        (":7,", ":8,"),
        ("Zoë", "Zoé"),
        ("/hook", "/hock"),
        ("?a=1", "?a=2"),
        ("-timestamp: {}", "-timestamp: {-1}"),
        ("contentful-signature: ", "contentful-signature: 00000000"),
    ],
    is_an_event: false,
    signs: true,
    ..LINE_EVENT
};

const RAZORPAY_EVENT: Case = Case {
    sender: "razorpay",
    builder: || VerifyLayer::builder(Razorpay::new()),
    delivery: |body| testing::delivery(Razorpay::new(), KEY, body),
    ..LINE_EVENT
};

const COINBASE_EVENT: Case = Case {
    sender: "coinbase-commerce",
    builder: || VerifyLayer::builder(CoinbaseCommerce::new()),
    delivery: |body| testing::delivery(CoinbaseCommerce::new(), KEY, body),
    ..LINE_EVENT
};

const TWILIO_FORM: Case = Case {
    sender: "twilio",
    secret: TOKEN,
    builder: || VerifyLayer::builder(Twilio::new()),
    delivery: |body| testing::delivery(Twilio::new(), TOKEN, body),
    content_type: FORM,
    body: "To=12&From=%2B1415&Body=a+b%26c+%C3%AB&AccountSid=AC1",
    verified: "AccountSid=AC1&Body=a%20b%26c%20%C3%AB&From=%2B1415&To=12",
    changes: &[
        ("=%2B1415", "=%2B1416"),
        ("%26c", "%26d"),
        ("Body=", "BODY="),
        ("/hook", "/hock"),
        ("?a=1", "?a=2"),
        ("-signature: ", "-signature: AAAA"),
    ],
    is_an_event: false,
    signs: true,
};

fn twilio_json() -> Twilio {
    Twilio::json_at("/twilio/hook?a=1").unwrap()
}

const TWILIO_JSON: Case = Case {
    builder: || VerifyLayer::builder(twilio_json()),
    delivery: |body| testing::delivery(twilio_json(), TOKEN, body),
    content_type: JSON,
    body: EVENT,
    verified: EVENT,
    changes: &[
        (":7,", ":8,"),
        ("/hook", "/hock"),
        ("?a=1", "?a=2"),
        ("bodySHA256=", "bodySHA256=00000000"),
        ("-signature: ", "-signature: AAAA"),
    ],
    ..TWILIO_FORM
};

const PYTHON: &[Case] = &[
    STRIPE_EVENT,
    STANDARD_EVENT,
    SLACK_EVENT,
    SLACK_COMMAND,
    TWILIO_FORM,
    TWILIO_JSON,
    RAZORPAY_EVENT,
    COINBASE_EVENT,
    BOX_EVENT,
    OPENAI_EVENT,
];

const NODE: &[Case] = &[
    STRIPE_EVENT,
    STANDARD_EVENT,
    GITHUB_EVENT,
    NOTION_EVENT,
    LINE_EVENT,
    SVIX_EVENT,
    CONTENTFUL_EVENT,
    WOOCOMMERCE_EVENT,
    LEMON_SQUEEZY_EVENT,
    SENTRY_EVENT,
    ZOOM_EVENT,
];

/// Returns whether a package for the sender with this name in `rows` is among the peers.
pub fn is_peer(name: &str) -> bool {
    let name = name.to_lowercase().replace(' ', "-");
    let mut cases = PYTHON.iter().chain(NODE);
    cases.any(|case| case.sender == name)
}

/// The scripts go by the clock of the host.
fn now() -> u64 {
    SystemClock::default().now().as_secs()
}

impl Case {
    fn url(&self, server: SocketAddr) -> String {
        format!("http://{server}/{}/hook?a=1", self.sender)
    }

    fn changes(&self, time: u64) -> impl Iterator<Item = Change> {
        let filled = move |text: &str| {
            let text = text.replace("{}", &time.to_string());
            text.replace("{-1}", &(time - 1).to_string())
        };
        let changes = self.changes.iter();
        changes.map(move |(from, to)| (filled(from), filled(to)))
    }

    /// Our layer, behind these wires.
    async fn serve<const N: usize>(&self, wires: [(Wire, Option<Change>); N]) -> Effects {
        let effects = Effects::default();
        let mut layer = (self.builder)().secret(self.secret);
        for (wire, _) in &wires {
            layer = layer.public_origin(format!("http://{}", wire.addr()));
        }
        let layer = layer.store(MemoryStore::new().danger_assume_no_history());
        let server = common::serve(echo(&effects).layer(layer.build().unwrap())).await;
        for (wire, change) in wires {
            wire.to(server, change);
        }
        effects
    }

    /// The delivery, signed by their package and sent by their client.
    async fn they_send(&self, script: &mut Script, to: SocketAddr, time: u64) -> (u16, String) {
        let answer = script
            .ask(&json!({
                "sender": self.sender,
                "url": self.url(to),
                "content_type": self.content_type,
                "body": self.body,
                "id": ID,
                "time": time,
            }))
            .await;
        let status = answer["status"].as_u64().unwrap();
        let body = answer["body"].as_str().unwrap();
        (
            status.try_into().unwrap(),
            common::code_or_body(body.as_bytes()),
        )
    }

    /// The delivery, signed by us.
    async fn we_send(&self, to: SocketAddr, time: u64) -> (u16, String) {
        let delivery = (self.delivery)(self.body)
            .to(&self.url(to))
            .header("content-type", self.content_type)
            .header("x-other", "1")
            .clock(ManualClock::at(at(time)))
            .nonce(ID);
        common::verdict(send(delivery.request()).await).await
    }

    async fn what_they_sign_we_accept(&self, script: &mut Script) {
        let (one, other, time) = (Wire::new().await, Wire::new().await, now());
        let addrs = [one.addr(), other.addr()];
        let wires = [(one, None), (other, Some(uncovered()))];
        let effects = self.serve(wires).await;
        let first = self.they_send(script, addrs[0], time).await;
        assert_eq!(first, (200, self.verified.to_owned()), "{}", self.sender);
        let again = self.they_send(script, addrs[1], time + 1).await;
        assert_eq!(again.0, 200, "{}: {}", self.sender, again.1);
        let expected = if self.is_an_event { 1 } else { 2 };
        assert_eq!(effects.count(), expected, "{}", self.sender);
    }

    async fn what_was_altered_we_refuse(&self, script: &mut Script) {
        let time = now();
        for change in self.changes(time) {
            let what = format!("{}, with {change:?}", self.sender);
            let wire = Wire::new().await;
            let addr = wire.addr();
            let effects = self.serve([(wire, Some(change))]).await;
            let refused = self.they_send(script, addr, time).await;
            assert_eq!(refused, (401, "signature_invalid".to_owned()), "{what}");
            assert_eq!(effects.count(), 0, "{what}");
        }
    }

    async fn what_we_sign_they_accept(&self, peer: SocketAddr) {
        for change in [None, Some(uncovered())] {
            let (wire, time) = (Wire::new().await, now());
            let addr = wire.addr();
            wire.to(peer, change);
            let answer = self.we_send(addr, time).await;
            assert_eq!(answer, (200, String::new()), "{}", self.sender);
        }
    }

    async fn what_was_altered_they_refuse(&self, peer: SocketAddr) {
        let time = now();
        for change in self.changes(time) {
            let wire = Wire::new().await;
            let addr = wire.addr();
            let what = format!("{}, with {change:?}", self.sender);
            wire.to(peer, Some(change));
            let answer = self.we_send(addr, time).await;
            assert_eq!(answer, (401, String::new()), "{what}");
        }
    }
}

async fn send(request: Request<Full<Bytes>>) -> Response<Incoming> {
    let client = Client::builder(TokioExecutor::new()).build_http();
    let answer = tokio::time::timeout(Duration::from_secs(30), client.request(request)).await;
    answer.expect("an answer within 30 seconds").unwrap()
}

async fn agree(language: Language, cases: &[Case]) {
    let secrets: serde_json::Map<_, _> = cases
        .iter()
        .map(|case| (case.sender.to_owned(), case.secret.into()))
        .collect();
    let secrets = serde_json::Value::from(secrets).to_string();
    let Some(mut script) = Script::start(language, "senders", &[&secrets]) else {
        return;
    };
    let port = script.answer().await["port"].as_u64().expect("its port");
    let peer = SocketAddr::from(([127, 0, 0, 1], port.try_into().expect("a port")));
    for case in cases {
        if case.signs {
            case.what_they_sign_we_accept(&mut script).await;
            case.what_was_altered_we_refuse(&mut script).await;
        }
        case.what_we_sign_they_accept(peer).await;
        case.what_was_altered_they_refuse(peer).await;
    }
}

#[tokio::test]
async fn the_packages_for_python_and_we_accept_what_the_other_signs_and_nothing_else() {
    agree(Language::Python, PYTHON).await;
}

#[tokio::test]
async fn the_packages_for_node_and_we_accept_what_the_other_signs_and_nothing_else() {
    agree(Language::Node, NODE).await;
}
