//! Generated fields, valid, nearly valid and hostile: each is read in one way or refused, and never
//! with a panic. The meaning of a field is known from a model that it was written from; the values of
//! any other text are compared with those that `sfv` reads.

use http::HeaderMap;
use proptest::prelude::*;
use sfv::{Dictionary, FieldType as _, Item, List, ListEntry, Parser};

use super::{
    canonical::{FieldType, push_field, read_members},
    fields::read_signatures,
    generated_tests::{
        Signature, Spelling, Value, algorithms, byte_sequences, dictionary, hostile, inputs, key,
        signature, signatures, spelling,
    },
    input::{Input, read_accepted},
    names::CONTENT_DIGEST,
    usual::read_inputs,
};
use crate::{message::query::Wanted, scheme::rfc9421::digest, testing::cases};

/// Returns what `sfv` reads, where nobody looks for duplicates.
fn reference(field: &str) -> Option<Dictionary> {
    Parser::new(field).parse().ok()
}

fn serialized(entry: &ListEntry) -> String {
    List::from(vec![entry.clone()]).serialize().unwrap()
}

fn bytes_of(entry: &ListEntry) -> Option<&[u8]> {
    match entry {
        ListEntry::Item(Item { bare_item, .. }) => bare_item.as_byte_sequence(),
        ListEntry::InnerList(_) => None,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(cases(256)) })]

    #[test]
    fn a_signature_is_read_as_it_is_meant(signatures in signatures(), mut spelling in spelling()) {
        let canonical = |s: &Signature| Spelling::canonical().signature(s);
        let written: Vec<_> =
            signatures.iter().map(|s| (s.label.clone(), spelling.signature(s))).collect();
        let field = spelling.field(written);
        let members = read_inputs(&field).unwrap();
        prop_assert_eq!(members.len(), signatures.len());
        for (member, meant) in members.iter().zip(&signatures) {
            prop_assert_eq!(member.label, &meant.label);
            let input = member.input.as_ref().map_err(|f| TestCaseError::fail(format!("{field}: {f}")))?;
            prop_assert_eq!(&input.listed.text, &canonical(meant));
            for ((identifier, range), (name, parameters)) in input.listed.components.iter().zip(&meant.components) {
                let mut own = Spelling::canonical();
                let text = own.value(&Value::String(name.clone())) + &own.parameters(parameters);
                prop_assert_eq!(&input.listed.text[range.clone()], &text);
                prop_assert_eq!(identifier.req, parameters.iter().any(|(key, _)| key == "req"));
            }
            let meant = |key: &str| meant.parameters.iter().find(|(k, _)| k == key).map(|(_, v)| v.clone());
            let number = |key: &str| match meant(key) {
                Some(Value::Integer(number)) => u64::try_from(number).ok(),
                _ => None,
            };
            let string = |key: &str| match meant(key) {
                Some(Value::String(text)) => Some(text),
                _ => None,
            };
            let read = &input.parameters;
            prop_assert_eq!(read.created, number("created"));
            prop_assert_eq!(read.expires, number("expires"));
            prop_assert_eq!(read.nonce.clone().map(Into::into), string("nonce"));
            prop_assert_eq!(read.alg.clone().map(Into::into), string("alg"));
            prop_assert_eq!(read.key_id.clone().map(Into::into), string("keyid"));
            prop_assert_eq!(read.tag.clone().map(Into::into), string("tag"));
            prop_assert_eq!(&member.tag, &read.tag);
        }
    }

    #[test]
    fn what_stands_there_twice_is_refused(
        signature in signature(), which in any::<prop::sample::Index>(), mut spelling in spelling(),
    ) {
        let fails = |field: &str| {
            let members = read_inputs(field);
            members.is_err() || members.is_ok_and(|members| members.iter().any(|m| m.input.is_err()))
        };
        let text = spelling.signature(&signature);
        let label = &signature.label;
        let labels = format!("{label}={text}, {label}={text}");
        prop_assert!(fails(&labels));
        if !signature.parameters.is_empty() {
            let mut twice = signature.clone();
            let (key, value) = which.get(&signature.parameters).clone();
            twice.parameters.push((key, value));
            let field = format!("{label}={}", spelling.signature(&twice));
            prop_assert!(fails(&field), "{field}");
        }
        if !signature.components.is_empty() {
            let mut twice = signature.clone();
            let (name, mut parameters) = which.get(&signature.components).clone();
            parameters.reverse();
            twice.components.push((name, parameters));
            let field = format!("{label}={}", spelling.signature(&twice));
            prop_assert!(fails(&field), "{field}");
        }
    }

    #[test]
    fn any_signature_input_has_one_reading_or_none(field in hostile(inputs())) {
        let read = read_inputs(&field);
        let accepted = read_accepted(&field);
        let Ok(members) = read else { return Ok(()) };
        prop_assert!(accepted.is_ok());
        let reference = reference(&field);
        prop_assert!(reference.is_some(), "`{field}` was read");
        let reference = reference.unwrap();
        prop_assert_eq!(members.len(), reference.len());
        for (member, (label, entry)) in members.iter().zip(&reference) {
            prop_assert_eq!(member.label, label.as_str());
            let Ok(input) = &member.input else { continue };
            prop_assert_eq!(&input.listed.text, &serialized(entry), "{}", field);
            // And what is signed means the same again.
            let again = format!("a={}", input.listed.text);
            let again = read_inputs(&again).unwrap().remove(0).input.unwrap();
            prop_assert_eq!(&again.listed.text, &input.listed.text);
            let identifiers = |i: &Input<'_>| {
                i.listed.components.iter().map(|(c, _)| c.clone().into_owned()).collect::<Vec<_>>()
            };
            prop_assert_eq!(identifiers(&again), identifiers(input));
        }
    }

    #[test]
    fn any_signature_has_one_reading_or_none(field in hostile(byte_sequences(key()))) {
        let Ok(signatures) = read_signatures(&field) else { return Ok(()) };
        let reference = reference(&field);
        prop_assert!(reference.is_some(), "`{field}` was read");
        let reference = reference.unwrap();
        prop_assert_eq!(signatures.len(), reference.len());
        for ((label, mac), (other, entry)) in signatures.iter().zip(&reference) {
            prop_assert_eq!(*label, other.as_str());
            let bytes = bytes_of(entry).filter(|bytes| bytes.len() <= 64);
            prop_assert_eq!(mac.as_ref().map(AsRef::as_ref), bytes);
        }
    }

    #[test]
    fn any_content_digest_has_one_reading_or_none(field in hostile(byte_sequences(algorithms()))) {
        let mut headers = HeaderMap::new();
        let Ok(value) = field.parse() else { return Ok(()) };
        headers.insert(CONTENT_DIGEST, value);
        let Ok(digests) = digest::read(&headers) else { return Ok(()) };
        let reference = reference(field.trim_matches([' ', '\t']));
        prop_assert!(reference.is_some(), "`{field}` was read");
        let expected: Vec<_> = reference
            .as_ref()
            .unwrap()
            .iter()
            .filter(|(name, _)| ["sha-256", "sha-512"].contains(&name.as_str()))
            .map(|(name, entry)| (name.as_str().to_owned(), bytes_of(entry).map(<[u8]>::to_vec)))
            .collect();
        let digests = digests.unwrap();
        let read: Vec<_> = digests
            .iter()
            .map(|d| (d.algorithm.name().to_owned(), Some(d.claimed.as_ref().to_vec())))
            .collect();
        prop_assert_eq!(read, expected);
    }

    #[test]
    fn any_structured_field_is_serialized_in_one_way_or_not_at_all(
        field in prop_oneof![dictionary(), hostile(dictionary())],
    ) {
        let push = |kind| {
            let mut text = String::new();
            push_field(&mut text, &field, kind).map(|()| text)
        };
        if let Ok(text) = push(FieldType::Dictionary) {
            let reference = reference(&field).expect("it was read");
            prop_assert_eq!(&text, &reference.serialize().unwrap_or_default());
            let names = reference.keys().map(|key| key.as_str());
            let mut members = Wanted::new(names.chain(["not-there"]));
            read_members(&field, &mut members).unwrap();
            for (key, entry) in &reference {
                prop_assert_eq!(members.take(key.as_str()), Some(serialized(entry)));
            }
            prop_assert_eq!(members.take("not-there"), None);
        }
        if let Ok(text) = push(FieldType::List) {
            let reference: List = Parser::new(&field).parse().expect("it was read");
            prop_assert_eq!(text, reference.serialize().unwrap_or_default());
        }
        if let Ok(text) = push(FieldType::Item) {
            let reference: Item = Parser::new(&field).parse().expect("it was read");
            prop_assert_eq!(text, reference.serialize());
        }
    }

    #[test]
    fn a_valid_dictionary_is_serialized(field in dictionary()) {
        let mut text = String::new();
        push_field(&mut text, &field, FieldType::Dictionary)
            .map_err(|fault| TestCaseError::fail(format!("{field}: {fault}")))?;
        let mut again = String::new();
        push_field(&mut again, &text, FieldType::Dictionary).unwrap();
        prop_assert_eq!(again, text);
    }
}
