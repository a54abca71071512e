//! Requests that share a signed message, searched for by taking messages apart in every way.

use std::{cell::Cell, collections::HashSet};

use http::{HeaderValue, Method};
use proptest::{prelude::*, strategy::ValueTree, test_runner::TestRunner};

use super::{
    super::{decodable::undelimited, part::elements},
    Values, any_part, any_parts, any_parts_of, any_values, builder, message, runner, unchecked,
};
use crate::{
    message::{JsonForm, PythonJson},
    scheme::header::{
        HeaderScheme,
        element::Element,
        part::{JsonObject, Part},
    },
};

/// Another request with the same message: every way to take the message apart is tried, up to a
/// bound, with the values that are not covered left as they are. `tried` counts the requests.
fn collision(
    scheme: &HeaderScheme,
    parts: &[Part],
    values: &Values,
    tried: &Cell<usize>,
) -> Option<Values> {
    let message_of_values = message(scheme, values)?;
    tried.set(tried.get() + 1);
    let elements = elements(parts).unwrap();
    let mut original = values.clone();
    for element in &elements {
        if let Element::Document(form) = element.unquoted() {
            original.body = form.rewrite(&original.body).ok()?;
        }
    }
    let mut search = Search {
        elements: &elements,
        scheme,
        message: &message_of_values,
        original: &original,
        tried,
        left: 2000,
    };
    search.from(0, 0, original.clone())
}

struct Search<'s> {
    elements: &'s [Element],
    scheme: &'s HeaderScheme,
    message: &'s [u8],
    original: &'s Values,
    tried: &'s Cell<usize>,
    left: usize,
}

impl Search<'_> {
    fn from(&mut self, element: usize, at: usize, values: Values) -> Option<Values> {
        let rest = &self.message[at..];
        let Some(here) = self.elements.get(element) else {
            let other = rest.is_empty() && values != *self.original;
            if !other || self.left == 0 {
                return None;
            }
            self.left -= 1;
            self.tried.set(self.tried.get() + 1);
            let same = message(self.scheme, &values).as_deref() == Some(self.message);
            return same.then_some(values);
        };
        if let Element::Text(text) = here {
            return rest
                .starts_with(text)
                .then(|| self.from(element + 1, at + text.len(), values))?;
        }
        let part = part_of(here.unquoted());
        (0..=rest.len()).find_map(|len| {
            readings(here, &rest[..len]).into_iter().find_map(|value| {
                let values = plausible(&part, &value)
                    .then(|| values.clone().with(&part, &value))
                    .flatten()?;
                self.from(element + 1, at + len, values)
            })
        })
    }
}

/// Returns what may have been written so; a string also if it was not escaped.
fn readings(element: &Element, written: &[u8]) -> Vec<Vec<u8>> {
    if !matches!(element, Element::Quoted(..)) {
        return vec![written.to_vec()];
    }
    let bare = written
        .strip_prefix(b"\"")
        .and_then(|rest| rest.strip_suffix(b"\""));
    let text = serde_json::from_slice(written).map(String::into_bytes);
    bare.map(<[u8]>::to_vec)
        .into_iter()
        .chain(text.ok())
        .collect()
}

fn part_of(element: &Element) -> Part {
    match element {
        Element::Text(text) => Part::text(str::from_utf8(text).unwrap()),
        Element::Method => Part::Method,
        Element::MethodOf(methods) => Part::method_of(methods),
        Element::FixedPath(path) => Part::fixed_path(path),
        Element::PathWithout(byte) => Part::path_without(char::from(*byte)),
        Element::Authority => Part::Authority,
        Element::Path => Part::Path,
        Element::Query => Part::Query,
        Element::PathAndQuery => Part::PathAndQuery,
        Element::Header(name) => Part::header(name.as_str()),
        Element::Time | Element::TimeOf(_) => Part::Time,
        Element::Nonce => Part::Nonce,
        Element::KeyId => Part::KeyId,
        Element::Supplied(name) | Element::SuppliedNumber(name) => Part::supplied(name),
        Element::Body => Part::Body,
        Element::Document(form) => Part::canonical_body(*form),
        Element::Quoted(_, part) | Element::Optional(part, _) => part_of(part),
    }
}

/// Keeps the search small; what is let through is still made into a real request.
fn plausible(part: &Part, value: &[u8]) -> bool {
    match part {
        Part::Method | Part::MethodOf(_) => Method::from_bytes(value).is_ok(),
        Part::Path | Part::FixedPath(_) | Part::PathWithout(_) | Part::PathAndQuery => {
            value.starts_with(b"/")
        }
        Part::Time => !value.is_empty() && value.iter().all(u8::is_ascii_digit),
        Part::Nonce | Part::KeyId | Part::Supplied(_) => {
            !value.is_empty() && HeaderValue::from_bytes(value).is_ok()
        }
        Part::Header(_) | Part::Authority => HeaderValue::from_bytes(value).is_ok(),
        Part::CanonicalBody(_) => serde_json::from_slice::<serde_json::Value>(value).is_ok(),
        Part::Text(_) | Part::Query | Part::Body | Part::Json(_) => true,
    }
}

#[track_caller]
fn none_is_found(parts: impl Strategy<Value = Vec<Part>>, values: impl Strategy<Value = Values>) {
    let (searched, tried) = (Cell::new(0), Cell::new(0));
    let outcome = runner(4000).run(&(parts, values), |(parts, values)| {
        let Ok(scheme) = builder(&parts).build() else {
            return Ok(());
        };
        if message(&scheme, &values).is_some() {
            searched.set(searched.get() + 1);
        }
        let other = collision(&scheme, &parts, &values, &tried);
        prop_assert_eq!(other, None, "{:?}", parts);
        Ok(())
    });
    outcome.unwrap();
    let (searched, tried) = (searched.get(), tried.get());
    println!("{searched} accepted descriptions, {tried} requests");
    assert!(searched > 500 && tried > searched, "{searched}: {tried}");
}

#[test]
fn no_two_requests_share_a_message_under_a_description_that_is_accepted() {
    none_is_found(any_parts(), any_values());
}

#[test]
fn no_two_requests_share_a_message_with_a_value_that_is_supplied() {
    let part = proptest::prop_oneof![2 => any_part(), 1 => Just(Part::supplied("v"))];
    none_is_found(any_parts_of(part), any_values());
}

/// One or two objects, or a document beside other parts; members of all kinds.
fn any_json_parts() -> impl Strategy<Value = Vec<Part>> {
    let form = prop::sample::select(&FORMS[..]);
    let member = (any_part(), form.clone(), "[a-c]\"?", 0..4);
    let object = (form.clone(), prop::collection::vec(member, 1..5)).prop_map(|(form, members)| {
        let mut object = JsonObject::new(form);
        let mut names = HashSet::new();
        for (part, body_form, name, kind) in members {
            if !names.insert(name.clone()) {
                continue;
            }
            object = match (kind, part) {
                (0, Part::Body) => object.value(name, Part::canonical_body(form)),
                (1, Part::Body) => object.string(name, Part::canonical_body(body_form)),
                (0, Part::Time) => object.value(name, Part::Time),
                (2, _) => object.string(name, Part::text("1\"")),
                (_, part) => object.string(name, part),
            };
        }
        Part::Json(object)
    });
    let part = prop_oneof![
        5 => object,
        1 => form.prop_map(Part::canonical_body),
        2 => any_part(),
    ];
    let delimiter = prop_oneof![
        2 => Just("\n"),
        4 => prop::sample::select(&["", ",", "1", ".", "\"", ":"][..]),
    ];
    prop::collection::vec((part, delimiter.prop_map(Part::text)), 1..4)
        .prop_map(|parts| parts.into_iter().flat_map(<[Part; 2]>::from).collect())
}

const FORMS: [JsonForm; 5] = [
    JsonForm::Jcs,
    JsonForm::Python(PythonJson::sorted()),
    JsonForm::Python(PythonJson::sorted().compact()),
    JsonForm::Python(PythonJson::sorted().ensure_ascii(false)),
    JsonForm::Python(PythonJson::sorted().compact().ensure_ascii(false)),
];

/// With what JSON is made of in the values, and bodies that are JSON, mostly.
fn any_json_values() -> impl Strategy<Value = Values> {
    let text = || {
        prop_oneof![
            2 => "[\"\\\\,:{} 1a]{0,4}",
            1 => "1\", ?\"[a-c]\": ?\"1",
        ]
    };
    let visible = || "[\"\\\\,:{}1a]{1,4}";
    let body = prop_oneof![
        4 => prop::sample::select(&[
            "1", "11", "1.5", "1e1", "1,1", " 1", "\"\"", "\"1\"", "\"\\\"\"", "[]", "[1,1]", "{}",
            "{\"a\":1}", "{\"a\":\"\\\",\\\"b\\\":1}\"}", "\"é\"", "null",
        ][..]).prop_map(str::to_owned),
        1 => text(),
    ];
    (any_values(), text(), text(), visible(), visible(), body).prop_map(
        |(values, a, b, nonce, key_id, body)| Values {
            a,
            b,
            nonce,
            key_id,
            body: body.into(),
            ..values
        },
    )
}

#[test]
fn no_two_requests_share_a_message_under_a_description_with_json_that_is_accepted() {
    none_is_found(any_json_parts(), any_json_values());
}

/// The search of the tests above finds what it looks for, where there is something to find.
#[test]
fn the_search_finds_collisions_under_descriptions_that_are_refused() {
    let mut runner = TestRunner::deterministic();
    let (mut refused, mut found) = (0, 0);
    while refused < 300 {
        let parts = any_parts().new_tree(&mut runner).unwrap().current();
        if undelimited(&elements(&parts).unwrap()).is_none() {
            continue;
        }
        refused += 1;
        let scheme = unchecked(&parts);
        found += usize::from((0..20).any(|_| {
            let values = any_values().new_tree(&mut runner).unwrap().current();
            collision(&scheme, &parts, &values, &Cell::default()).is_some()
        }));
    }
    assert!(found * 2 > refused, "{found} of {refused}");
}

#[test]
fn the_search_finds_the_collisions_that_are_well_known() {
    let cases = [
        vec![Part::Time, Part::Body],
        vec![
            Part::Nonce,
            Part::text("."),
            Part::Time,
            Part::text("."),
            Part::Body,
        ],
        vec![Part::Method, Part::PathAndQuery, Part::Body],
        vec![Part::Path, Part::Query],
        vec![Part::header("x-a"), Part::text(":"), Part::header("x-b")],
        vec![Part::Nonce, Part::KeyId, Part::text("\n")],
        vec![
            Part::Body,
            Part::text("\n"),
            Part::header("x-a"),
            Part::Time,
        ],
    ];
    for parts in cases {
        is_refused_and_found(&parts, any_values());
    }
}

#[test]
fn the_search_finds_collisions_of_json_that_is_put_together_by_hand() {
    let a = || Part::header("x-a");
    let b = || Part::header("x-b");
    let document = || Part::canonical_body(JsonForm::Jcs);
    let cases = [
        vec![
            Part::text("[\""),
            a(),
            Part::text("\",\""),
            b(),
            Part::text("\"]"),
        ],
        // A number goes on.
        vec![document(), Part::text("1"), Part::Time],
        vec![Part::Time, document()],
        vec![document(), b()],
    ];
    for parts in cases {
        is_refused_and_found(&parts, any_json_values());
    }
}

#[track_caller]
fn is_refused_and_found(parts: &[Part], values: impl Strategy<Value = Values>) {
    assert!(builder(parts).build().is_err(), "{parts:?}");
    let scheme = unchecked(parts);
    let mut runner = TestRunner::deterministic();
    let found = (0..2000).any(|_| {
        let values = values.new_tree(&mut runner).unwrap().current();
        collision(&scheme, parts, &values, &Cell::default()).is_some()
    });
    assert!(found, "{parts:?}");
}
