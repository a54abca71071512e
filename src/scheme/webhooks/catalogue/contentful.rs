//! Contentful.

use std::borrow::Cow;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::{
    super::sender::{Part, Time},
    row::minutes,
};
use crate::message::TimeUnit::Millis;

sender! {
    /// Webhooks of
    /// [Contentful](https://www.contentful.com/developers/docs/webhooks/request-verification/), and the
    /// requests of its app events and app actions.
    ///
    /// | | |
    /// | --- | --- |
    /// | signature | `x-contentful-signature: <hex>`, with `x-contentful-signed-headers` and `x-contentful-timestamp` in milliseconds |
    /// | covered | the method, the path, the query, the listed headers with the time and the body. Not the authority |
    /// | secret | the signing secret of the space or of the app, as shown; the key id is `contentful` |
    /// | fresh for | 300 seconds. Contentful's library takes 30: see [`max_age`](crate::request::VerifierBuilder::max_age) |
    /// | used once by | the signed message: `X-Contentful-Idempotency-Key` may not be covered |
    /// | remembered for | as long as it is fresh: Contentful [retries](https://www.contentful.com/developers/docs/webhooks/retry-policy/) twice, after 30 seconds each, and for up to 24 hours where a space asks for it |
    ///
    /// The list of headers must be sorted and name each header once, `x-contentful-signed-headers` and
    /// `x-contentful-timestamp` among them. So that no header passes for two, a value with a `;` in front of
    /// a `:` is refused. A second `?` in the URL is refused, because nothing behind it is signed. A signer
    /// lists those two headers alone.
    ///
    /// The path that is signed is the one that arrives: do not rewrite it in front of the layer.
    ///
    /// # Limits
    /// - A retry that is signed again counts as another delivery.
    /// - The authority is not covered, and headers that are not listed are not: the payload has `None`
    ///   for them.
    ///
    /// The format is that of Contentful's library `@contentful/node-apps-toolkit` 3.16.1.
    Contentful = CONTENTFUL "contentful" {
        source: "https://www.contentful.com/developers/docs/webhooks/request-verification/",
        header: "x-contentful-signature",
        time: Time::Header("x-contentful-timestamp", Millis),
        before: &[
            Part::Method,
            Part::Text("\n"),
            Part::Target {
                path: encode_path,
                query: encode_query,
            },
            Part::Text("\n"),
            Part::SignedHeaders,
            Part::Text("\n"),
        ],
        signed_headers: Some("x-contentful-signed-headers"),
        retries: Some(minutes(1)),
    }
}

/// The characters that `encodeURI` leaves as they are.
const URI: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'!')
    .remove(b'~')
    .remove(b'*')
    .remove(b'\'')
    .remove(b'(')
    .remove(b')')
    .remove(b';')
    .remove(b'/')
    .remove(b'?')
    .remove(b':')
    .remove(b'@')
    .remove(b'&')
    .remove(b'=')
    .remove(b'+')
    .remove(b'$')
    .remove(b',')
    .remove(b'#');

/// The characters that `encodeURIComponent` leaves as they are.
const COMPONENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'!')
    .remove(b'~')
    .remove(b'*')
    .remove(b'\'')
    .remove(b'(')
    .remove(b')');

/// Encodes a path, which is encoded already, once more.
fn encode_path(path: &str) -> Cow<'_, str> {
    utf8_percent_encode(path, URI).into()
}

/// Encodes a query as a component, and that once more.
fn encode_query(query: &str) -> Cow<'_, str> {
    let component: Cow<'_, str> = utf8_percent_encode(query, COMPONENT).into();
    match component {
        Cow::Borrowed(_) => Cow::Borrowed(query),
        Cow::Owned(component) => Cow::Owned(component.replace('%', "%25")),
    }
}
