//! Any `Signature-Input`: never a panic, never accepted for one that means something else, and where
//! another reading of it makes a signature base, ours is the same.
#![no_main]

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use countersign::{
    HttpMessageSignatures, RejectionKind,
    rfc9421::{AcceptSignature, Component, FieldType},
};
use countersign_fuzz::rfc9421::{HEADERS, KEY, SIGNED, Text, mac, unsigned, verify, with};
use http::HeaderMap;
use libfuzzer_sys::fuzz_target;
use sfv::{BareItem, Dictionary, FieldType as _, InnerList, Item, List, ListEntry, Parser};

fuzz_target!(|text: Text| {
    let genuine = SIGNED.headers()["signature-input"].to_str().expect("text");
    let field = text.of(genuine);
    let Some(request) = with(SIGNED.clone(), "signature-input", &field) else {
        return;
    };
    if verify(HttpMessageSignatures::default(), &request).is_ok() {
        let same = squeezed(&field).contains(&squeezed(genuine));
        assert!(same, "accepted `{field}`");
    }
    read_as_asked_for(&field);
    if let Some((label, base)) = reference(&field) {
        let signature = format!("{label}={}", mac(&base));
        let request = with(unsigned(""), "signature-input", &field);
        let request = request.and_then(|r| with(r, "signature", &signature));
        let refused = request.and_then(|request| verify(any_profile(), &request).err());
        let other = refused.filter(|refused| refused.kind() == RejectionKind::SignatureInvalid);
        assert!(other.is_none(), "another base than {}", base.escape_ascii());
    }
});

/// Removes the spellings that may differ: spaces, and zeros in front of a number.
fn squeezed(field: &str) -> String {
    let field = field.replace([' ', '\t'], "");
    let (before, after) = field.split_once(";created=").unwrap_or((&field, ""));
    format!("{before};created={}", after.trim_start_matches('0'))
}

/// `Accept-Signature` has the same grammar; what was read of it is written and read again.
fn read_as_asked_for(field: &str) {
    let read = |field: &str| {
        let value = field.parse().ok()?;
        AcceptSignature::read(&HeaderMap::from_iter([(
            http::HeaderName::from_static("accept-signature"),
            value,
        )]))
        .ok()
    };
    for asked in read(field).unwrap_or_default() {
        let components: Vec<_> = asked
            .components()
            .iter()
            .map(Component::to_string)
            .collect();
        for (component, text) in asked.components().iter().zip(&components) {
            assert_eq!(text.parse().as_ref(), Ok(component), "{text}");
        }
        let again = format!("{}=({})", asked.label(), components.join(" "));
        let again = read(&again).expect("it was written by ourselves");
        assert_eq!(again[0].components(), asked.components());
        let _ = asked.scheme();
    }
}

fn any_profile() -> HttpMessageSignatures {
    HttpMessageSignatures::builder()
        .danger_require_only([])
        .danger_without_nonce()
        .danger_without_created(Duration::from_secs(3600))
        .structured_field("x-dict", FieldType::Dictionary)
        .structured_field("x-list", FieldType::List)
        .build()
        .expect("a valid profile")
}

/// Label and base, as `sfv` reads the field, where there is one signature by our key.
fn reference(field: &str) -> Option<(String, Vec<u8>)> {
    let field: Dictionary = Parser::new(field.trim_matches([' ', '\t'])).parse().ok()?;
    let [(label, ListEntry::InnerList(list))] = &field.iter().collect::<Vec<_>>()[..] else {
        return None;
    };
    let string = |name: &str| list.params.get(name).map(BareItem::as_string);
    let key = string("keyid")??.as_str() == KEY;
    let alg = string("alg").is_none_or(|alg| alg.is_some_and(|alg| alg.as_str() == "hmac-sha256"));
    if !key || !alg {
        return None;
    }
    let mut base = String::new();
    for item in &list.items {
        base += &format!("{}: {}\n", item.serialize(), value(item)?);
    }
    let params = serialized(ListEntry::InnerList(InnerList::clone(list)));
    base += &format!("\"@signature-params\": {params}");
    Some((label.as_str().to_owned(), base.into_bytes()))
}

fn serialized(entry: ListEntry) -> String {
    List::from(vec![entry]).serialize().expect("a member")
}

/// The value of a component, as far as this reading goes.
fn value(component: &Item) -> Option<String> {
    let name = component.bare_item.as_string()?.as_str();
    let field = HEADERS
        .iter()
        .find(|(known, _)| *known == name)
        .map(|(_, value)| *value);
    let mut parameters = component.params.iter();
    let parameter = parameters.next().map(|(key, value)| (key.as_str(), value));
    match (name, parameter, parameters.next()) {
        (_, _, Some(_)) => None,
        ("@method", None, _) => Some("POST".into()),
        ("@authority", None, _) => Some("api.example.com".into()),
        ("@scheme", None, _) => Some("https".into()),
        ("@path", None, _) => Some("/a%2Fb".into()),
        ("@query", None, _) => Some("?x=1&y=%20+".into()),
        ("@request-target", None, _) => Some("/a%2Fb?x=1&y=%20+".into()),
        ("@target-uri", None, _) => Some("https://api.example.com/a%2Fb?x=1&y=%20+".into()),
        ("@query-param", Some(("name", name)), _) => match name.as_string()?.as_str() {
            "x" => Some("1".into()),
            "y" => Some("%20%20".into()),
            _ => None,
        },
        (_, None, _) => field.map(str::to_owned),
        (_, Some(("bs", BareItem::Boolean(true))), _) => {
            Some(format!(":{}:", STANDARD.encode(field?)))
        }
        ("x-list", Some(("sf", BareItem::Boolean(true))), _) => {
            Parser::new(field?).parse::<List>().ok()?.serialize()
        }
        ("x-dict" | "priority", Some(("sf", BareItem::Boolean(true))), _) => {
            Parser::new(field?).parse::<Dictionary>().ok()?.serialize()
        }
        ("x-dict" | "priority", Some(("key", key)), _) => {
            let field: Dictionary = Parser::new(field?).parse().ok()?;
            let member = field.get(key.as_string()?.as_str())?.clone();
            Some(serialized(member))
        }
        _ => None,
    }
}
