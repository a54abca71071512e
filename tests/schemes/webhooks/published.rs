//! Deliveries as senders publish them, in their documentation or in the tests of their libraries: each
//! is accepted, and is refused once anything of it is changed.

use bytes::Bytes;
use countersign::{KeyRing, RejectionKind, Secret, Verifier, testing::ManualClock};
use http::{HeaderName, HeaderValue, Request};

use super::provider::{
    BOX, BUILDKITE, CIRCLECI, CONTENTFUL, LINE, OPENAI, Provider, QUICKBOOKS, verify, with,
    with_body,
};
use crate::common::{self, NOW, at};

struct Published {
    /// Where it was published.
    source: &'static str,
    provider: &'static Provider,
    key_id: &'static str,
    secret: &'static str,
    method: &'static str,
    uri: &'static str,
    headers: &'static [(&'static str, &'static str)],
    body: &'static str,
    /// Its signed time, in seconds.
    now: u64,
}

/// What most of them have.
const POSTED: Published = Published {
    source: "",
    provider: &CIRCLECI,
    key_id: "",
    secret: "",
    method: "POST",
    uri: "/hook",
    headers: &[],
    body: "",
    now: NOW,
};

const CIRCLECI_DOCUMENTATION: Published = Published {
    source: "https://circleci.com/docs/guides/integration/outbound-webhooks/#validate-webhooks",
    provider: &CIRCLECI,
    key_id: "circleci",
    ..POSTED
};

const BOX_LIBRARY: Published = Published {
    source: "https://github.com/box/box-python-sdk, the tests of its webhooks",
    provider: &BOX,
    key_id: "box",
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

/// Signed by the library itself, with what its tests begin from.
const CONTENTFUL_LIBRARY: Published = Published {
    source: "https://github.com/contentful/node-apps-toolkit 3.16.1, `signRequest`",
    provider: &CONTENTFUL,
    key_id: "contentful",
    secret: "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    now: 1_603_379_941,
    ..POSTED
};

const ALL: &[Published] = &[
    Published {
        secret: "secret",
        headers: &[(
            "circleci-signature",
            "v1=734cc62f32841568f45715aeb9f4d7891324e6d948e4c6c60c0621cdac48623a",
        )],
        body: "hello world",
        ..CIRCLECI_DOCUMENTATION
    },
    Published {
        secret: "another-secret",
        headers: &[(
            "circleci-signature",
            "v1=daa220016c8f29a8b214fbfc3671aeec2145cfb1e6790184ffb38b6d0425fa00",
        )],
        body: "lalala",
        ..CIRCLECI_DOCUMENTATION
    },
    Published {
        secret: "hunter123",
        headers: &[(
            "circleci-signature",
            "v1=9be2242094a9a8c00c64306f382a7f9d691de910b4a266f67bd314ef18ac49fa",
        )],
        body: "an-important-request-payload",
        ..CIRCLECI_DOCUMENTATION
    },
    Published {
        source: "https://github.com/line/line-bot-sdk-python, the tests of its webhooks",
        provider: &LINE,
        key_id: "line",
        secret: "channel_secret",
        headers: &[(
            "x-line-signature",
            "/gg9a+LvFevTH1sd7XCQycD7tsWclCsInj7MhBHxN7k=",
        )],
        body: "bodybodybodybody",
        ..POSTED
    },
    Published {
        source: "https://github.com/intuit/QuickBooks-V3-Java-SDK, the tests of its webhooks",
        provider: &QUICKBOOKS,
        key_id: "quickbooks",
        secret: "b5771f19b12ddb4bcdb9f08bdc50bc63878a",
        headers: &[(
            "intuit-signature",
            "JC2GUwciPmRBwEO7WvrRmKqu9tGOKL8FFallocTFi8Q=",
        )],
        body: r#"{"eventNotifications":[{"realmId":"1185883450","dataChangeEvent":{"entities":[{"name":"Customer","id":"1","operation":"Create","lastUpdated":"2015-10-05T14:42:19-0700"}]}}]}"#,
        ..POSTED
    },
    Published {
        source: "https://github.com/openai/openai-python, the tests of its webhooks",
        provider: &OPENAI,
        key_id: "openai",
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
    Published {
        source: "https://github.com/buildkite/go-buildkite, the tests of its webhooks",
        provider: &BUILDKITE,
        key_id: "buildkite",
        secret: "29b1ff5779c76bd48ba6705eb99ff970",
        headers: &[(
            "x-buildkite-signature",
            "timestamp=1642080837,signature=582d496ac2d869dd97a3101c4cda346288c49a742592daf582ec64c86449f79c",
        )],
        body: r#"{"event":"ping","service":{"id":"c9f8372d-c0cd-43dc-9274-768a875cf6ca","provider":"webhook","settings":{"url":"https://server.com/webhooks"}},"organization":{"id":"49801950-1df0-474f-bb56-ad6a930c5cb9","graphql_id":"T3JnYW5pemF0aW9uLS0tZTBmMzk3MgsTksGkxOWYtZTZjNzczZTJiYjEy","url":"https://api.buildkite.com/v2/organizations/acme-inc","web_url":"https://buildkite.com/acme-inc","name":"ACME Inc","slug":"acme-inc","agents_url":"https://api.buildkite.com/v2/organizations/acme-inc/agents","emojis_url":"https://api.buildkite.com/v2/organizations/acme-inc/emojis","created_at":"2021-02-03T20:34:10.486Z","pipelines_url":"https://api.buildkite.com/v2/organizations/acme-inc/pipelines"},"sender":{"id":"c9f8372d-c0cd-43dc-9269-bcbb7f308e3f","name":"ACME Man"}}"#,
        now: 1_642_080_837,
        ..POSTED
    },
    Published {
        secret: "SamplePrimaryKey",
        ..BOX_LIBRARY
    },
    Published {
        secret: "SampleSecondaryKey",
        ..BOX_LIBRARY
    },
    Published {
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
        ..CONTENTFUL_LIBRARY
    },
    Published {
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
        ..CONTENTFUL_LIBRARY
    },
    Published {
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
        ..CONTENTFUL_LIBRARY
    },
];

impl Published {
    fn request(&self) -> Request<Bytes> {
        let mut request = Request::builder()
            .method(self.method)
            .uri(self.uri)
            .header("host", common::HOST)
            .body(Bytes::from(self.body))
            .unwrap();
        for (name, value) in self.headers {
            let name = HeaderName::from_static(name);
            let value = HeaderValue::from_static(value);
            request.headers_mut().insert(name, value);
        }
        request
    }

    /// Of the published secret, which may be short.
    fn verifier(&self) -> Verifier {
        let clock = ManualClock::at(at(self.now));
        let builder = self
            .provider
            .builder()
            .store(common::store(&clock))
            .clock(clock);
        let builder = if self.provider.id == Some("webhook-id") {
            builder.secret(self.secret)
        } else {
            let secret = Secret::danger_short(self.secret).unwrap();
            builder.keys(KeyRing::new().with(self.key_id, secret).unwrap())
        };
        builder.build().unwrap()
    }
}

#[tokio::test]
async fn what_senders_publish_is_accepted_and_refused_once_it_is_changed() {
    for published in ALL {
        let genuine = published.request();
        let of = async |request: &Request<Bytes>| {
            let verified = verify(&published.verifier(), request).await;
            verified.map(|_| ()).map_err(|rejection| rejection.kind())
        };
        let what = (published.provider.name, published.source);
        assert_eq!(of(&genuine).await, Ok(()), "{what:?}");
        let invalid = Err(RejectionKind::SignatureInvalid);
        let body = format!("{}!", published.body);
        assert_eq!(of(&with_body(&genuine, body)).await, invalid, "{what:?}");
        let signature = published.provider.signature;
        let only = genuine.headers()[signature].to_str().unwrap();
        let changed = match only.ends_with('0') {
            true => only.replacen('4', "5", 1),
            false => only.replacen(['1', '7', 'g', '6'], "2", 1),
        };
        if published.provider.name != "Box Webhooks" {
            let changed = of(&with(&genuine, signature, &changed)).await;
            assert!(changed.is_err(), "{what:?}");
        }
    }
}
