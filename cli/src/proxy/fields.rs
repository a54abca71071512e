//! Which fields of a request are forwarded.
//!
//! A server behind the proxy may read names without case, and with `_` for `-` (CGI and WSGI do). So
//! names are compared as the loosest of them would: two names are one if their letters and digits are.

use std::borrow::Cow;

use countersign::VerifiedPayload;
use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{ACCEPT, CONTENT_LENGTH, EXPECT, HOST, PROXY_AUTHORIZATION, TE, USER_AGENT},
};

use super::{forwarders::Client, identity::PREFIX};
use crate::serving::{OF_ONE_CONNECTION, named_by_connection, strip};

const PROXY: HeaderName = HeaderName::from_static("proxy");

/// Fields that are forwarded even if they are not signed.
const SHARED: [HeaderName; 3] = [ACCEPT, HeaderName::from_static("traceparent"), USER_AGENT];

/// Fields that change how servers on the way read a request, or that only the proxy may set. They
/// are never forwarded, even if they are signed.
const NEVER: [&str; 12] = [
    "content-length",
    "expect",
    "host",
    "path-info",
    "proxy",
    "proxy-authorization",
    "script-name",
    "x-accel-mapping",
    "x-forwarded-prefix",
    "x-original-url",
    "x-rewrite-url",
    "x-sendfile-type",
];

/// Fields about a request that only a forwarder can know, or that change its method. They are
/// forwarded only if they are signed.
const IF_COVERED: [&str; 12] = [
    "forwarded",
    "true-client-ip",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-host",
    "x-http-host-override",
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
    "x-original-host",
    "x-original-method",
    "x-real-ip",
];

/// Beginnings of such names.
const IF_COVERED_PREFIX: &str = "x-forwarded-";

/// Which fields are forwarded that the signature does not cover.
#[derive(Clone, Debug, Default)]
pub(super) struct Policy {
    pub(super) all: bool,
    /// Names that are forwarded in any case.
    pub(super) also: Vec<HeaderName>,
}

/// Returns a name as the loosest server reads it.
fn loose(name: &HeaderName) -> Cow<'_, str> {
    let read = |c: char| match c.is_ascii_alphanumeric() {
        true => c,
        false => '-',
    };
    match is_plain(name) {
        true => Cow::Borrowed(name.as_str()),
        false => name.as_str().chars().map(read).collect(),
    }
}

/// Returns whether every server reads the name in one way. `content_encoding` would be one that the
/// signature covers when it is present, under another name.
fn is_plain(name: &HeaderName) -> bool {
    // Every name is in lower case.
    let mut bytes = name.as_str().bytes();
    bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

/// Returns whether no policy can forward this name unsigned.
pub(super) fn is_reserved(name: &HeaderName) -> bool {
    let loose = loose(name);
    is_ours(&loose) || NEVER.contains(&&*loose) || is_if_covered(&loose)
}

fn is_ours(loose: &str) -> bool {
    loose.starts_with(PREFIX)
}

fn is_if_covered(loose: &str) -> bool {
    IF_COVERED.contains(&loose) || loose.starts_with(IF_COVERED_PREFIX)
}

impl Policy {
    /// Returns the client's fields that are forwarded, without the host and the length. Without a
    /// payload nothing is known to be covered.
    pub(super) fn forwarded(
        &self,
        sent: &HeaderMap,
        payload: Option<&VerifiedPayload>,
    ) -> HeaderMap {
        let covered = |name: &HeaderName| payload.and_then(|payload| payload.header(name));
        let named = named_by_connection(sent);
        let signed: Vec<Cow<'_, str>> = sent
            .keys()
            .filter(|name| covered(name).is_some())
            .map(loose)
            .collect();
        // With room for what is added, unless a map cannot have so much: one name may have more
        // values than there may be names.
        let mut fields = HeaderMap::try_with_capacity(sent.len() + 8).unwrap_or_default();
        for name in sent.keys() {
            let loose = loose(name);
            let is_of_connection = || OF_ONE_CONNECTION.iter().any(|name| name.as_str() == loose);
            if is_ours(&loose) || NEVER.contains(&&*loose) || is_of_connection() {
                continue;
            }
            if let Some(value) = covered(name) {
                // `Connection` does not name it: the library refuses such a request.
                fields.insert(name, value.clone());
                continue;
            }
            let is_taken = signed.contains(&loose);
            let is_wanted = match self.all {
                true => is_plain(name) && !is_if_covered(&loose),
                false => SHARED.contains(name),
            };
            let is_wanted = is_wanted || self.also.contains(name);
            if is_wanted && !is_taken && !named.contains(name) {
                for value in sent.get_all(name) {
                    fields.append(name, value.clone());
                }
            }
        }
        if offers_trailers(sent) {
            fields.insert(TE, HeaderValue::from_static("trailers"));
        }
        fields
    }
}

/// Returns the fields of an application's request, without the host and the length.
pub(super) fn of_an_application(sent: &HeaderMap) -> HeaderMap {
    let mut fields = sent.clone();
    strip(&mut fields);
    for name in [CONTENT_LENGTH, EXPECT, HOST, PROXY, PROXY_AUTHORIZATION] {
        fields.remove(name);
    }
    if offers_trailers(sent) {
        fields.insert(TE, HeaderValue::from_static("trailers"));
    }
    fields
}

/// Says who sent a request, and how, unless a signature does.
pub(super) fn say(client: &Client, fields: &mut HeaderMap) {
    let address = client.address.map(|address| address.to_string());
    let said = [
        ("x-forwarded-for", address.as_deref()),
        ("x-forwarded-proto", client.scheme),
    ];
    for (name, value) in said {
        let is_signed = fields.keys().any(|known| loose(known) == name);
        if let Some(Ok(value)) = value.map(HeaderValue::from_str)
            && !is_signed
        {
            fields.insert(HeaderName::from_static(name), value);
        }
    }
}

/// Returns whether the client takes trailers. The proxy passes them on.
fn offers_trailers(sent: &HeaderMap) -> bool {
    let mut offers = sent
        .get_all(TE)
        .iter()
        .filter_map(|value| value.to_str().ok());
    offers.any(|offer| {
        let mut codings = offer.split(',').map(str::trim);
        codings.any(|coding| coding.eq_ignore_ascii_case("trailers"))
    })
}

/// Adds the host, and the length of a body.
pub(super) fn frame(fields: &mut HeaderMap, host: Option<HeaderValue>, length: Option<u64>) {
    if let Some(host) = host {
        fields.insert(HOST, host);
    }
    if let Some(length) = length {
        fields.insert(CONTENT_LENGTH, length.into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn forwarded(policy: &Policy, fields: &[(&str, &str)]) -> Vec<String> {
        let mut sent = HeaderMap::new();
        for (name, value) in fields {
            let name: HeaderName = name.parse().unwrap();
            sent.append(name, value.parse().unwrap());
        }
        let fields = policy.forwarded(&sent, None);
        let lines = fields
            .iter()
            .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()));
        lines.collect()
    }

    const ALL: Policy = Policy {
        all: true,
        also: Vec::new(),
    };

    #[test]
    fn identity_fields_of_a_client_are_dropped_in_every_spelling() {
        for name in [
            "countersign-key-id",
            "Countersign-Key-Id",
            "COUNTERSIGN_KEY_ID",
            "countersign_signed-at",
            "countersign-signed_at",
            "countersign.nonce",
            "countersign-anything",
            "countersign~covered",
        ] {
            assert!(forwarded(&ALL, &[(name, "a")]).is_empty(), "{name}");
        }
        // The twin: a name that no server takes for ours.
        assert_eq!(forwarded(&ALL, &[("x-countersign", "a")]).len(), 1);
    }

    /// HTTP/2 allows so many in a head of 1 MiB.
    #[test]
    fn a_head_with_more_values_than_a_map_has_room_for_names_is_forwarded() {
        let values = vec![("accept", "a"); 25_000];
        assert_eq!(forwarded(&ALL, &values).len(), values.len());
    }

    #[test]
    fn dangerous_fields_are_dropped_in_every_spelling() {
        for name in [
            "script_name",
            "script-name",
            "x-original-url",
            "x_original_url",
            "x-rewrite-url",
            "x-forwarded-prefix",
            "x_forwarded_prefix",
            "proxy",
            "content_length",
            "transfer_encoding",
            "transfer-encoding",
            "x-forwarded-for",
            "x_forwarded_for",
            "forwarded",
            "x-http-method-override",
            "x_http_method_override",
            "content_encoding",
            "if_match",
            "idempotency.key",
            "x-original-method",
            "x-original-host",
            "x-host",
            "x-http-host-override",
            "x-client-ip",
            "true-client-ip",
            "x-sendfile-type",
            "x-accel-mapping",
            "keep-alive",
            "upgrade",
            "http2-settings",
            "expect",
            "host",
            "path_info",
        ] {
            assert!(forwarded(&ALL, &[(name, "a")]).is_empty(), "{name}");
        }
        // The twin: a name that every server reads in one way.
        assert_eq!(forwarded(&ALL, &[("x-plain-2", "a")]), ["x-plain-2: a"]);
    }

    #[test]
    fn fields_that_connection_names_are_dropped() {
        let fields = [("connection", "close, X-A"), ("x-a", "1"), ("x-b", "2")];
        assert_eq!(forwarded(&ALL, &fields), ["x-b: 2"]);
        // Beside an option that is no name, and not ASCII.
        let fields = [("connection", "\u{e9}, X-A ,"), ("x-a", "1"), ("x-b", "2")];
        assert_eq!(forwarded(&ALL, &fields), ["x-b: 2"]);
    }

    #[test]
    fn without_a_signature_the_stated_fields_are_forwarded() {
        let fields = [
            ("accept", "a"),
            ("cookie", "b"),
            ("traceparent", "c"),
            ("user-agent", "d"),
            ("x-also", "e"),
            ("te", "gzip, Trailers"),
        ];
        let policy = Policy {
            all: false,
            also: vec![HeaderName::from_static("x-also")],
        };
        let mut lines = forwarded(&policy, &fields);
        lines.sort();
        assert_eq!(
            lines,
            [
                "accept: a",
                "te: trailers",
                "traceparent: c",
                "user-agent: d",
                "x-also: e"
            ]
        );
    }
}
