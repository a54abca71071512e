//! A message holds no byte which the check of descriptions does not reckon with.

use std::collections::{HashMap, HashSet};

use http::{HeaderValue, Method, Request, Uri, uri};

use super::{
    super::{
        decodable::{alphabet, is_never_empty},
        part::elements,
    },
    builder, message_of, no_mac, unchecked,
};
use crate::{
    message::Supplied,
    scheme::header::{element::Element, part::Part},
};

/// Every byte, in every place of every value, as far as HTTP lets it through: what reaches the
/// message is of the alphabet that the check goes by.
#[test]
fn no_value_in_a_message_has_a_byte_outside_of_its_alphabet() {
    let mut let_through: HashMap<String, HashSet<u8>> = HashMap::new();
    for byte in 0..=u8::MAX {
        // A byte beyond ASCII is no text by itself; the character is, of which it is a part.
        for character in [vec![byte], char::from(byte).to_string().into()] {
            let c = &*character;
            for raw in [
                c,
                b"",
                &[c, b"a"].concat(),
                &[b"a", c].concat(),
                &[b"/", c].concat(),
            ] {
                for (element, message) in every_message(raw) {
                    assert!(
                        !message.is_empty() || !is_never_empty(&element),
                        "{element:?}"
                    );
                    for &byte in &message {
                        assert!(alphabet(&element)(byte), "{element:?} with {byte:#x}");
                    }
                    if matches!(element, Element::Path | Element::PathAndQuery) {
                        assert_eq!(message[0], b'/', "{element:?}");
                    }
                    let seen = let_through.entry(format!("{element:?}")).or_default();
                    seen.extend(message);
                }
            }
        }
    }
    for (element, part) in elements(&SINGLE.map(|part| part()))
        .unwrap()
        .iter()
        .zip(SINGLE)
    {
        let seen = &let_through[&format!("{element:?}")];
        let unseen = (0..=u8::MAX).filter(|&b| alphabet(element)(b) && !seen.contains(&b));
        let unseen: Vec<_> = unseen.collect();
        println!(
            "{:?}: allowed and never seen: `{}`",
            part(),
            unseen.escape_ascii()
        );
        // Bytes that no UTF-8 has, and some that the parser of URIs refuses.
        assert!(
            unseen.len() < 80,
            "the test lets through too little of {element:?}"
        );
    }
}

const SINGLE: [fn() -> Part; 10] = [
    || Part::Method,
    || Part::Authority,
    || Part::Path,
    || Part::Query,
    || Part::PathAndQuery,
    || Part::header("x-a"),
    || Part::Time,
    || Part::Nonce,
    || Part::KeyId,
    || Part::supplied("v"),
];

/// Returns what `raw` becomes in a message, in whichever place of a request it is accepted.
fn every_message(raw: &[u8]) -> Vec<(Element, Vec<u8>)> {
    let mut requests: Vec<Request<()>> = Vec::new();
    let uris = [
        raw,
        &[b"http://a.example", raw].concat(),
        &[b"http://", raw, b"/"].concat(),
        &[b"/?", raw].concat(),
    ];
    for uri in uris.into_iter().filter_map(|uri| Uri::try_from(uri).ok()) {
        requests.push(Request::builder().uri(uri).body(()).unwrap());
    }
    // As it comes with HTTP/2.
    if let Ok(path_and_query) = uri::PathAndQuery::try_from(raw) {
        let uri = Uri::builder()
            .path_and_query(path_and_query)
            .build()
            .unwrap();
        requests.push(Request::builder().uri(uri).body(()).unwrap());
    }
    if let Ok(method) = Method::from_bytes(raw) {
        requests.push(Request::builder().method(method).body(()).unwrap());
    }
    if let Ok(value) = HeaderValue::from_bytes(raw) {
        for name in ["host", "x-a", "x-time", "x-nonce", "x-key-id"] {
            requests.push(Request::builder().header(name, &value).body(()).unwrap());
        }
    }

    let mut messages = Vec::new();
    for request in requests {
        let mut parts = request.into_parts().0;
        parts.headers.insert("x-signature", no_mac());
        let text = str::from_utf8(raw).unwrap_or_default();
        parts.extensions.insert(Supplied::new().with("v", text));
        for part in SINGLE.map(|part| part()) {
            let scheme = unchecked(std::slice::from_ref(&part));
            if let Some(message) = message_of(&scheme, &parts, b"") {
                messages.push((elements(&[part]).unwrap().remove(0), message));
            }
        }
    }
    messages
}

/// `http` keeps the target of `http://a.example?x` without the slash that goes over the wire.
#[test]
fn an_empty_path_is_signed_as_the_slash_that_is_sent() {
    let scheme = builder(&[Part::PathAndQuery]).build().unwrap();
    let of = |uri: &str| {
        let request = Request::builder().uri(uri).header("x-signature", no_mac());
        let parts = request.body(()).unwrap().into_parts().0;
        String::from_utf8(message_of(&scheme, &parts, b"").unwrap()).unwrap()
    };
    assert_eq!(of("http://a.example?x=1"), "/?x=1");
    assert_eq!(of("http://a.example"), "/");
    assert_eq!(of("/?x=1"), "/?x=1");
    assert_eq!(of("/?"), "/?");
}
