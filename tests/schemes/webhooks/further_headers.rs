//! Box and DocuSign, which write a MAC for each of several secrets, each into a header of its own.

use bytes::Bytes;
use http::Request;

use super::{
    provider::{Provider, get, set, with, without},
    rows::{BOX, DOCUSIGN},
    service::{ACKNOWLEDGED, INVALID, MALFORMED, MISSING, Service},
};

const SENDERS: [(&Provider, &[&str]); 2] = [
    (&BOX, &["box-signature-secondary"]),
    (
        &DOCUSIGN,
        &[
            "x-docusign-signature-2",
            "x-docusign-signature-3",
            "x-docusign-signature-4",
        ],
    ),
];

/// The delivery with a MAC under the first secret in the usual header, and one under the second in
/// this one.
fn signed_twice(provider: &Provider, service: &Service, header: &'static str) -> Request<Bytes> {
    let genuine = provider.delivery(&service.clock);
    let mac = provider.mac(provider.secrets[1], &genuine);
    with(&genuine, header, &mac)
}

#[tokio::test]
async fn a31_any_header_may_hold_the_mac_and_all_are_one_delivery() {
    for (provider, headers) in SENDERS {
        for header in headers {
            for secret in provider.secrets {
                let service = Service::with(provider, |builder| {
                    // The service knows only one of the two secrets.
                    match secret == provider.secrets[0] {
                        true => builder,
                        false => builder.secret(secret),
                    }
                });
                let both = signed_twice(provider, &service, header);
                service.handles(both.clone()).await;
                service
                    .refuses(both.clone(), ACKNOWLEDGED, provider.name)
                    .await;
                let first = without(&both, header);
                service.refuses(first, ACKNOWLEDGED, provider.name).await;
                if secret == provider.secrets[1] {
                    let second = without(&both, provider.signature);
                    service.refuses(second, ACKNOWLEDGED, provider.name).await;
                }
            }
        }
    }
}

#[tokio::test]
async fn a02_a_mac_that_is_wrong_blocks_no_other() {
    for (provider, headers) in SENDERS {
        for header in headers {
            for wrong in ["", "x", "AAAA", "A==="] {
                let service = Service::new(provider);
                let mut request = provider.delivery(&service.clock);
                let mac = get(&request, provider.signature);
                set(&mut request, header, &mac);
                set(&mut request, provider.signature, wrong);
                service.handles(request).await;
            }
            let service = Service::new(provider);
            let mut request = provider.delivery(&service.clock);
            let other = provider.mac("a secret that nobody has", &request);
            set(&mut request, header, &other);
            service.handles(request.clone()).await;
            // And where none is right, the request is refused.
            set(&mut request, provider.signature, &other);
            service.refuses(request, INVALID, header).await;
        }
    }
}

#[tokio::test]
async fn a11_a_further_header_that_appears_twice_is_refused() {
    for (provider, headers) in SENDERS {
        for header in headers {
            let service = Service::new(provider);
            let genuine = provider.delivery(&service.clock);
            let mac = get(&genuine, provider.signature);
            let mut twice = genuine.clone();
            for value in [&mac, "x"] {
                twice.headers_mut().append(*header, value.parse().unwrap());
            }
            service.refuses(twice, MALFORMED, header).await;
            let joined = with(
                &without(&genuine, provider.signature),
                header,
                &format!("{mac}, {mac}"),
            );
            service.refuses(joined, MALFORMED, header).await;
            service.handles(genuine).await;
        }
    }
}

/// A header that is not among those of the row says nothing.
#[tokio::test]
async fn a06_a_mac_under_another_name_is_not_read() {
    for (provider, name) in [
        (&BOX, "box-signature-tertiary"),
        (&DOCUSIGN, "x-docusign-signature-5"),
        (&DOCUSIGN, "x-docusign-signature"),
    ] {
        let service = Service::new(provider);
        let genuine = provider.delivery(&service.clock);
        let mac = get(&genuine, provider.signature);
        let moved = with(&without(&genuine, provider.signature), name, &mac);
        service.refuses(moved, MISSING, name).await;
        service.handles(genuine).await;
    }
}
