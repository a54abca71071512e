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
};
use crate::common::{self, at};

/// One secret, which may be short, under whatever key id the preset has.
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
        // Of a body with the signature in it, the token is covered.
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

/// Where nothing is signed but the body, and a time in the header of the signature, our signer makes
/// the very header that was published. It takes no secret as short as some of them.
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

/// Senders of which nobody was found to publish a secret, a delivery and its signature together:
/// neither their documentation, nor a library of theirs or its tests. Their rows are checked against
/// a second writing of the format, in `rows`, and against the peers of `senders`.
const UNPUBLISHED: &[&str] = &[
    // The example of its documentation does not show its secret.
    "Intercom",
    // An example of 2021 is of body and time, an order that its documentation gave up.
    "Zendesk",
    // The example of its documentation shows neither key nor signature.
    "Xero",
    "Zoom",
    "Meta",
    "Dropbox",
    "Calendly",
    // Its tests sign under an empty secret, which we do not take.
    "WooCommerce",
    "Sentry",
    "Asana",
    "DocuSign",
    "Lemon Squeezy",
    "Terraform Cloud",
    "Vercel",
    // What the tests of ASP.NET hold is of a real member, whose name is not ours to repeat.
    "Trello",
    "Cal Com",
];

#[test]
fn a_row_without_a_published_delivery_is_named() {
    for provider in ALL {
        let ways = [
            !provider.published.is_empty(),
            IN_FILES.contains(&provider.name),
            UNPUBLISHED.contains(&provider.name),
        ];
        let count = ways.into_iter().filter(|way| *way).count();
        assert_eq!(count, 1, "{}: {ways:?}", provider.name);
    }
}
