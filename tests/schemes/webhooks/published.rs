//! Deliveries as senders publish them, in their documentation or in the tests of their libraries, and one
//! that a third party publishes: each is accepted, is what we sign ourselves, and is refused once anything
//! of it is changed.

use std::sync::Arc;

use bytes::Bytes;
use countersign::{
    KeySet, KeyStore, RejectionKind, Secret, Verifier, key::KeyFuture, testing::ManualClock,
};
use http::{HeaderName, HeaderValue, Request, Uri, uri::Authority};

use super::{
    provider::{IN_BODY, Provider, Published, Time, get, verify, with_body},
    rows::ALL,
    senders,
};
use crate::common::{self, at};

/// A store that has one secret, which may be short, under every key id.
struct AnyKey(Secret);

impl KeyStore for AnyKey {
    fn find<'a>(&'a self, key_id: &'a str) -> KeyFuture<'a> {
        let keys = KeySet::new(key_id).unwrap().with(self.0.clone());
        KeyFuture::ready(Ok(Some(Arc::new(keys))))
    }
}

fn request(published: &Published) -> Request<Bytes> {
    let uri: Uri = published.uri.parse().unwrap();
    let host = uri.authority().map_or(common::HOST, Authority::as_str);
    let mut request = Request::builder()
        .method(published.method)
        .uri(uri.path_and_query().unwrap().as_str())
        .header("host", host)
        .body(Bytes::from(published.body))
        .unwrap();
    for (name, value) in published.headers {
        let name = HeaderName::from_static(name);
        let value = HeaderValue::from_static(value);
        request.headers_mut().insert(name, value);
    }
    request
}

fn verifier(provider: &Provider, published: &Published) -> Verifier {
    let clock = ManualClock::at(at(published.now));
    let key = (provider.key)(published.secret);
    let builder = match provider.covers_authority() {
        true => {
            let host = get(&request(published), "host");
            (provider.begin)().public_origin(format!("https://{host}"))
        }
        false => (provider.begin)(),
    };
    builder
        .keys(AnyKey(Secret::danger_short(key).unwrap()))
        .store(common::store(&clock))
        .clock(clock)
        .build()
        .unwrap()
}

fn all() -> impl Iterator<Item = (&'static Provider, &'static Published)> {
    let of = |provider: &'static Provider| {
        let published = provider.published.iter();
        published.map(move |published| (provider, published))
    };
    ALL.into_iter().flat_map(of)
}

#[tokio::test]
async fn what_senders_publish_is_accepted_and_refused_once_it_is_changed() {
    let mut tried = 0;
    for (provider, published) in all() {
        tried += 1;
        let genuine = request(published);
        let of = async |request: &Request<Bytes>| {
            let verified = verify(&verifier(provider, published), request).await;
            verified.map(|_| ()).map_err(|rejection| rejection.kind())
        };
        let what = (provider.name, published.source);
        assert_eq!(of(&genuine).await, Ok(()), "{what:?}");
        let invalid = Err(RejectionKind::SignatureInvalid);
        // If the signature is in the body, the token is the covered part.
        let body = match provider.signature {
            IN_BODY => published.body.replace(r#""token":""#, r#""token":"0"#),
            _ => format!("{}}}", published.body),
        };
        assert_eq!(of(&with_body(&genuine, body)).await, invalid, "{what:?}");
        if provider.name != "Box Webhooks" {
            let other = provider.mac(provider.secrets[1], &genuine);
            let changed = of(&provider.with_mac(&genuine, &other)).await;
            assert_eq!(changed, invalid, "{what:?}");
        }
    }
    assert!(tried >= 18, "{tried}");
}

/// Our signer makes the published header itself, if only the body is signed, and a time in the
/// header of the signature. The signer takes no secret that is as short as some published ones.
#[tokio::test]
async fn what_we_sign_is_what_senders_publish() {
    let mut tried = 0;
    for (provider, published) in all() {
        let is_plain = matches!(provider.time, Time::None | Time::Listed(_))
            && provider.id.is_none()
            && !provider.covers_url()
            && (provider.signer)(published.secret).is_ok();
        if is_plain {
            tried += 1;
            let clock = ManualClock::at(at(published.now));
            let signed = provider.sign_under(published.secret, &clock, published.body);
            let ours = get(&signed, provider.signature);
            let theirs = get(&request(published), provider.signature);
            assert_eq!(ours, theirs, "{}", published.source);
        }
    }
    assert!(tried >= 4, "{tried}");
}

/// Senders whose vectors are read by `vectors`.
const IN_FILES: &[&str] = &[
    "Paddle", "Slack", "Linear", "Shopify", "HubSpot", "Square", "Twilio",
];

/// Senders that publish no secret, delivery and signature together, and whose libraries neither sign nor
/// verify: what was looked through. Their rows are checked against a second writing of the format, in
/// `rows`.
const UNPUBLISHED: &[(&str, &str)] = &[
    (
        "Intercom",
        "The example of its documentation shows no secret. `intercom-client` 7.0.3 for Node and \
         `python-intercom` 5.0.1 read no webhooks.",
    ),
    (
        "Zendesk",
        "An example of 2021 is of body and time, an order that its documentation gave up. It has \
         no library; `zenpy` 2.0.57 and `zdesk` 2.8.1, which others write, read no webhooks.",
    ),
    (
        "Xero",
        "The example of its documentation shows neither key nor signature. `xero-node` 20.0.0 and \
         `xero-python` 15.2.0 read no webhooks.",
    ),
    (
        "Meta",
        "Its documentation shows no secret. `facebook-nodejs-business-sdk` 24.0.1, \
         `facebook-business` 26.0.3 and `whatsapp` 1.0.0 read no webhooks.",
    ),
    (
        "Dropbox",
        "Its documentation shows code without values. `dropbox` 10.34.0 for Node and 12.2.4 for \
         Python read no webhooks.",
    ),
    (
        "Calendly",
        "The signature that its documentation shows is the one of Stripe's documentation, without \
         a key. It has no library.",
    ),
    (
        "Asana",
        "Its documentation shows a secret without a delivery. `asana` 3.2.0 for Node and 5.4.0 \
         for Python read no webhooks, and its repository of examples holds no values.",
    ),
    (
        "DocuSign",
        "Its documentation and its repositories of examples show code and made-up values. \
         `docusign-esign` 10.0.0 for Node and 6.1.0 for Python do not verify.",
    ),
    (
        "Terraform Cloud",
        "Its documentation names the hash, without an example. Its library `go-tfe` sets the \
         token of a notification, and verifies none.",
    ),
    (
        "Vercel",
        "Its documentation shows code without values. `@vercel/sdk` 1.28.35 reads no webhooks.",
    ),
    (
        "Trello",
        "Its documentation shows code without values, and it has no library. The tests of ASP.NET \
         hold a delivery of a real member, whose name is not ours to repeat. The signature that \
         `verify-trello-webhook` shows has 27 characters, and is none.",
    ),
    (
        "Cal Com",
        "Its documentation shows code without values. The tests of its source look only whether \
         there is a signature.",
    ),
];

#[test]
fn each_row_has_a_published_delivery_or_a_peer_or_a_reason() {
    for provider in ALL {
        let is_compared = !provider.published.is_empty()
            || IN_FILES.contains(&provider.name)
            || senders::is_peer(provider.name);
        let reasons = UNPUBLISHED.iter();
        let reasons = reasons.filter(|(name, why)| *name == provider.name && !why.is_empty());
        let expected = usize::from(!is_compared);
        assert_eq!(reasons.count(), expected, "{}", provider.name);
    }
    let names = UNPUBLISHED.iter().map(|(name, _)| name).chain(IN_FILES);
    for name in names {
        let is_row = ALL.iter().any(|provider| provider.name == *name);
        assert!(is_row, "{name}");
    }
}
