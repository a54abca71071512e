//! Any bytes as a body that is signed in a canonical form of JSON: refused in all forms, or exactly
//! where another library cannot read them in one way only; and else of the same meaning.
#![no_main]

use std::{collections::HashSet, fmt, time::Duration};

use bytes::Bytes;
use countersign::{
    HeaderScheme, KeyRing, MemoryStore, Part, Signer, Verifier,
    scheme::{JsonForm, PythonJson},
};
use countersign_fuzz::ready;
use http::Request;
use http_body_util::Full;
use libfuzzer_sys::fuzz_target;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

const SECRET: &str = "the secret of the sender";

fuzz_target!(|body: &[u8]| {
    let sorted = PythonJson::sorted();
    let python = [
        sorted,
        sorted.compact(),
        sorted.ensure_ascii(false),
        sorted.compact().ensure_ascii(false),
    ];
    let read = serde_json::from_slice::<Strict>(body);
    let digits = body.split(|b| !b.is_ascii_digit()).map(<[u8]>::len).max();
    for form in python.map(JsonForm::from) {
        let canonical = canonical(form, body);
        // Python has integers of any size.
        if digits.is_none_or(|digits| digits < 300) {
            assert_eq!(canonical.is_some(), read.is_ok(), "{form:?}: {read:?}");
        }
        check(form, body, canonical.as_ref());
    }
    let canonical = canonical(JsonForm::Jcs, body);
    let is_large = digits.is_some_and(|digits| digits >= 16);
    assert!(canonical.is_some() || read.is_err() || is_large, "{read:?}");
    assert!(canonical.is_none() || read.is_ok(), "{read:?}");
    check(JsonForm::Jcs, body, canonical.as_ref());
});

/// Returns what a handler is given, if it is given anything.
fn canonical(form: JsonForm, body: &[u8]) -> Option<Bytes> {
    let scheme = HeaderScheme::builder("x-signature")
        .fixed_key_id("sender")
        .danger_without_time(Duration::from_secs(3600))
        .signs([Part::canonical_body(form)])
        .build()
        .expect("a description that is safe");
    let signer = Signer::new(scheme.clone(), "sender", SECRET).expect("a valid key");
    let request = Request::post("/").body(Bytes::copy_from_slice(body));
    let signed = signer.sign(request.expect("a valid request")).ok()?;
    let (head, body) = signed.into_parts();
    let store = MemoryStore::builder().capacity_bytes(64 * 1024);
    let verifier = Verifier::builder(scheme)
        .keys(KeyRing::new().with("sender", SECRET).expect("a valid key"))
        .store(
            store
                .danger_assume_no_history()
                .build()
                .expect("a valid capacity"),
        )
        .build()
        .expect("a valid configuration");
    let verified = ready(verifier.verify(&head, Full::new(body)));
    let verified = verified.expect("what was signed is verified");
    let payload = verified.payload().expect("it is claimed");
    Some(payload.bytes().clone())
}

fn check(form: JsonForm, body: &[u8], written: Option<&Bytes>) {
    let Some(written) = written else {
        return;
    };
    assert_eq!(canonical(form, written).as_ref(), Some(written));
    assert!(
        written.len() <= 6 * body.len() + 32,
        "it is bounded by the body"
    );
    let (Ok(one), Ok(other)) = (
        serde_json::from_slice(body),
        serde_json::from_slice(written),
    ) else {
        return;
    };
    assert!(same(&one, &other), "{one} became {other}");
}

/// Equal; doubles nearly, for they are not read to the last bit.
fn same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => {
            let (one, other) = (one.as_f64().unwrap_or(0.0), other.as_f64().unwrap_or(0.0));
            (one - other).abs() <= one.abs() * 1e-14 + f64::MIN_POSITIVE
        }
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| same(one, other))
        }
        (Value::Object(one), Value::Object(other)) => {
            let equal = |(name, one)| other.get(name).is_some_and(|other| same(one, other));
            one.len() == other.len() && one.iter().all(equal)
        }
        (one, other) => one == other,
    }
}

/// Text that can be read in one way only, by another library: no name appears twice in an object.
#[derive(Debug)]
struct Strict;

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self, E> {
        Ok(Self)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self, E> {
        Ok(Self)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self, E> {
        Ok(Self)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self, E> {
        Ok(Self)
    }

    fn visit_str<E>(self, _: &str) -> Result<Self, E> {
        Ok(Self)
    }

    fn visit_unit<E>(self) -> Result<Self, E> {
        Ok(Self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Self, A::Error> {
        while elements.next_element::<Self>()?.is_some() {}
        Ok(Self)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self, A::Error> {
        let mut names = HashSet::new();
        while let Some((name, Self)) = members.next_entry::<String, Self>()? {
            if !names.insert(name) {
                return Err(A::Error::custom("a name appears twice"));
            }
        }
        Ok(Self)
    }
}
