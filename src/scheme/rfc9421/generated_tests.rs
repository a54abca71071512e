//! Fields that are generated from a model: valid, nearly valid and hostile, in any of their
//! spellings.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use proptest::{collection::vec, prelude::*, sample::select};

/// A value, as it is meant.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Integer(i64),
    /// In thousandths.
    Decimal(i64),
    String(String),
    Token(String),
    Bytes(Vec<u8>),
    Boolean(bool),
    Date(i64),
    Display(String),
}

pub(super) type Parameters = Vec<(String, Value)>;

/// A member of `Signature-Input`, as it is meant.
#[derive(Clone, Debug)]
pub(super) struct Signature {
    pub(super) label: String,
    pub(super) components: Vec<(String, Parameters)>,
    pub(super) parameters: Parameters,
}

/// Which of the spellings of a value is written: a number for each choice, again and again. With
/// none it is the one that is signed.
#[derive(Clone, Debug)]
pub(super) struct Spelling(Vec<u8>, usize);

impl Spelling {
    pub(super) fn canonical() -> Self {
        Self(Vec::new(), 0)
    }

    fn choice(&mut self, of: usize) -> usize {
        self.1 += 1;
        let choices = self.0.len().max(1);
        self.0.get(self.1 % choices).map_or(0, |c| usize::from(*c)) % of
    }

    fn repeated(&mut self, text: &str) -> String {
        text.repeat(self.choice(3))
    }

    fn number(&mut self, number: i64) -> String {
        let sign = if number < 0 { "-" } else { "" };
        format!("{sign}{}{}", self.repeated("0"), number.unsigned_abs())
    }

    pub(super) fn value(&mut self, value: &Value) -> String {
        match value {
            Value::Integer(number) => self.number(*number),
            Value::Date(number) => format!("@{}", self.number(*number)),
            Value::Decimal(thousandths) => {
                let sign = if *thousandths < 0 { "-" } else { "" };
                let (whole, rest) = (thousandths.abs() / 1000, thousandths.abs() % 1000);
                let rest = format!("{rest:03}");
                let short = rest.trim_end_matches('0').len().max(1);
                let len = [short, 3][self.choice(2)];
                format!("{sign}{}{whole}.{}", self.repeated("0"), &rest[..len])
            }
            Value::String(text) => {
                format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
            }
            Value::Token(text) => text.clone(),
            Value::Bytes(bytes) => {
                let text = STANDARD.encode(bytes);
                let unpadded = text.trim_end_matches('=');
                format!(":{}:", [&*text, unpadded][self.choice(2)])
            }
            Value::Boolean(yes) => format!("?{}", u8::from(*yes)),
            Value::Display(text) => {
                let mut encoded = String::from("%\"");
                for byte in text.bytes() {
                    let plain = (0x20..0x7f).contains(&byte) && !b"%\"".contains(&byte);
                    if plain {
                        encoded.push(char::from(byte));
                    } else {
                        encoded += &format!("%{byte:02x}");
                    }
                }
                encoded + "\""
            }
        }
    }

    pub(super) fn parameters(&mut self, parameters: &[(String, Value)]) -> String {
        let mut text = String::new();
        for (key, value) in parameters {
            text += &format!(";{}{key}", self.repeated(" "));
            if *value != Value::Boolean(true) || self.choice(2) == 1 {
                text += &format!("={}", self.value(value));
            }
        }
        text
    }

    /// Without its label.
    pub(super) fn signature(&mut self, signature: &Signature) -> String {
        let mut text = format!("({}", self.repeated(" "));
        for (i, (name, parameters)) in signature.components.iter().enumerate() {
            if i > 0 {
                text.push(' ');
                text += &self.repeated(" ");
            }
            text += &self.value(&Value::String(name.clone()));
            text += &self.parameters(parameters);
        }
        text += &format!("{})", self.repeated(" "));
        text + &self.parameters(&signature.parameters)
    }

    pub(super) fn field(&mut self, members: impl IntoIterator<Item = (String, String)>) -> String {
        let mut text = self.repeated(" ");
        for (i, (label, value)) in members.into_iter().enumerate() {
            if i > 0 {
                text += [", ", ",", " \t,\t"][self.choice(3)];
            }
            text += &format!("{label}={value}");
        }
        text + &self.repeated(" ")
    }
}

pub(super) fn key() -> impl Strategy<Value = String> {
    "[a-z*][a-z0-9_.*-]{0,6}"
}

pub(super) fn text() -> impl Strategy<Value = String> {
    prop_oneof!["[ -~]{0,12}", "[\"\\\\]{0,4}"]
}

pub(super) fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        (-9_999_999_999_999_i64..=9_999_999_999_999).prop_map(Value::Integer),
        (-9_999_999_999_i64..=9_999_999_999).prop_map(Value::Decimal),
        text().prop_map(Value::String),
        "[A-Za-z*][A-Za-z0-9!#$%&'*+.^_`|~:/-]{0,8}".prop_map(Value::Token),
        vec(any::<u8>(), 0..40).prop_map(Value::Bytes),
        any::<bool>().prop_map(Value::Boolean),
        (-9_999_999_999_i64..=9_999_999_999).prop_map(Value::Date),
        any::<String>().prop_map(Value::Display),
    ]
}

pub(super) fn unique<T>(named: Vec<(String, T)>) -> Vec<(String, T)> {
    let mut unique: Vec<(String, T)> = Vec::new();
    for (name, value) in named {
        if !unique.iter().any(|(other, _)| *other == name) {
            unique.push((name, value));
        }
    }
    unique
}

pub(super) fn component() -> impl Strategy<Value = (String, Parameters)> {
    let flag = |name: &str| (name.to_owned(), Value::Boolean(true));
    let string = |name: &'static str| {
        text().prop_map(move |value| vec![(name.to_owned(), Value::String(value))])
    };
    let field = prop_oneof![Just("date"), Just("content-digest"), Just("x-1")];
    let form = prop_oneof![
        3 => Just(Vec::new()),
        1 => Just(vec![flag("sf")]),
        1 => Just(vec![flag("bs")]),
        1 => Just(vec![flag("req"), flag("sf")]),
        2 => string("key"),
    ];
    let derived = select(vec![
        "@method",
        "@authority",
        "@path",
        "@query",
        "@target-uri",
        "@scheme",
    ]);
    prop_oneof![
        3 => (field, form).prop_map(|(name, form)| (name.to_owned(), form)),
        3 => derived.prop_map(|name| (name.to_owned(), Vec::new())),
        1 => string("name").prop_map(|name| ("@query-param".to_owned(), name)),
    ]
}

pub(super) fn signature() -> impl Strategy<Value = Signature> {
    let known = prop_oneof![
        (
            select(vec!["created", "expires"]),
            0..=9_999_999_999_999_i64
        )
            .prop_map(|(key, time)| (key.to_owned(), Value::Integer(time))),
        (select(vec!["nonce", "alg", "keyid", "tag"]), text())
            .prop_map(|(key, text)| (key.to_owned(), Value::String(text))),
    ];
    let unknown = (
        key().prop_map(|key| format!("x-{}", key.replace('*', "_"))),
        value(),
    );
    let parameters = vec(prop_oneof![3 => known, 1 => unknown], 0..8).prop_map(unique);
    (key(), vec(component(), 0..6), parameters).prop_map(|(label, components, parameters)| {
        let mut listed: Vec<(String, Parameters)> = Vec::new();
        for (name, form) in components {
            let alike = |(other, its): &(String, Parameters)| {
                *other == name && (its == &form || (its.len() == form.len() && form.len() == 2))
            };
            if !listed.iter().any(alike) {
                listed.push((name, form));
            }
        }
        Signature {
            label,
            components: listed,
            parameters,
        }
    })
}

pub(super) fn signatures() -> impl Strategy<Value = Vec<Signature>> {
    vec(signature(), 1..4).prop_map(|signatures| {
        let named = signatures.into_iter().map(|s| (s.label.clone(), s));
        unique(named.collect())
            .into_iter()
            .map(|(_, s)| s)
            .collect()
    })
}

pub(super) fn spelling() -> impl Strategy<Value = Spelling> {
    vec(any::<u8>(), 0..20).prop_map(|choices| Spelling(choices, 0))
}

/// A text with some of it cut out, repeated, or replaced by what means something here.
pub(super) fn damaged(text: String) -> impl Strategy<Value = String> {
    let pieces = vec![
        "\"",
        "\\",
        ";",
        ",",
        "=",
        ":",
        "(",
        ")",
        " ",
        "\t",
        "?",
        "?1",
        "@",
        "%",
        "%\"",
        "0",
        "-",
        ".",
        "999999999999999",
        "1.5",
        "a",
        "A",
        "*",
        "sf",
        "bs",
        ";req",
        ";key=\"a\"",
        ";tag=\"a\"",
        ";created",
        ";created=1",
        ", a=()",
        "sig1=",
        "()",
        "(((",
        "::",
        "\u{7f}",
        "é",
        "\0",
        "%ff",
    ];
    let edit = (
        any::<prop::sample::Index>(),
        0..4_usize,
        select(pieces),
        0..4_usize,
    );
    vec(edit, 1..4).prop_map(move |edits| {
        let mut text: Vec<char> = text.chars().collect();
        for (at, len, piece, times) in edits {
            let at = at.index(text.len() + 1);
            let end = (at + len).min(text.len());
            text.splice(at..end, piece.repeat(times).chars());
        }
        text.into_iter().collect()
    })
}

pub(super) fn hostile(valid: impl Strategy<Value = String>) -> impl Strategy<Value = String> {
    let alphabet = "[a1sigkeyfb=:;,()\" \\\\?@%.*\t-]{0,60}";
    prop_oneof![
        6 => valid.prop_flat_map(damaged),
        2 => alphabet,
        1 => any::<String>(),
    ]
}

pub(super) fn inputs() -> impl Strategy<Value = String> {
    (signatures(), spelling()).prop_map(|(signatures, mut spelling)| {
        let members = signatures
            .iter()
            .map(|s| (s.label.clone(), spelling.signature(s)));
        let members: Vec<_> = members.collect();
        spelling.field(members)
    })
}

/// A dictionary of values, with parameters and inner lists among them.
pub(super) fn dictionary() -> impl Strategy<Value = String> {
    let parameters = || vec((key(), value()), 0..3).prop_map(unique);
    let item = || (value(), parameters());
    let member = prop_oneof![
        3 => item().prop_map(|item| (vec![item], None)),
        1 => (vec(item(), 0..3), parameters()).prop_map(|(items, p)| (items, Some(p))),
    ];
    (vec((key(), member), 0..5), spelling()).prop_map(|(members, mut spelling)| {
        let mut text = Vec::new();
        for (key, (items, of_list)) in unique(members) {
            let items: Vec<_> = items
                .iter()
                .map(|(value, p)| spelling.value(value) + &spelling.parameters(p))
                .collect();
            let value = match of_list {
                None => items.concat(),
                Some(p) => format!("({}){}", items.join(" "), spelling.parameters(&p)),
            };
            text.push((key, value));
        }
        spelling.field(text)
    })
}

/// `Signature`, or `Content-Digest`: names with byte sequences.
pub(super) fn byte_sequences(
    names: impl Strategy<Value = String>,
) -> impl Strategy<Value = String> {
    let len = prop_oneof![Just(32), Just(64), 0..70_usize];
    let bytes = len.prop_flat_map(|len| vec(any::<u8>(), len));
    (vec((names, bytes), 0..4), spelling()).prop_map(|(members, mut spelling)| {
        let members: Vec<_> = unique(members)
            .into_iter()
            .map(|(name, bytes)| (name, spelling.value(&Value::Bytes(bytes))))
            .collect();
        spelling.field(members)
    })
}

pub(super) fn algorithms() -> impl Strategy<Value = String> {
    let names = vec!["sha-256", "sha-512", "md5", "sha", "sha-256x"];
    select(names).prop_map(str::to_owned)
}
