//! Generated fields, valid, nearly valid and hostile: each is read in one way or refused, and never
//! with a panic. What a field means is known from a model that it was written from; what is read of
//! any other text is compared with what `sfv` makes of it, and implementations in two other
//! languages.

use std::{
    env,
    io::{BufRead as _, BufReader, Write as _},
    iter,
    process::{Command, Stdio},
    thread,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::HeaderMap;
use proptest::{
    collection::vec, prelude::*, sample::select, strategy::ValueTree as _, test_runner::TestRunner,
};
use serde_json::json;
use sfv::{Dictionary, FieldType as _, Item, List, ListEntry, Parser};

use super::{
    canonical::{FieldType, push_field, read_members},
    fields::{Input, read_accepted, read_inputs, read_signatures},
    names::CONTENT_DIGEST,
};
use crate::{message::query::Wanted, scheme::rfc9421::digest, testing::cases};

/// A value, as it is meant.
#[derive(Clone, Debug, PartialEq)]
enum Value {
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

type Parameters = Vec<(String, Value)>;

/// A member of `Signature-Input`, as it is meant.
#[derive(Clone, Debug)]
struct Signature {
    label: String,
    components: Vec<(String, Parameters)>,
    parameters: Parameters,
}

/// Which of the spellings of a value is written: a number for each choice, again and again. With
/// none it is the one that is signed.
#[derive(Clone, Debug)]
struct Spelling(Vec<u8>, usize);

impl Spelling {
    fn canonical() -> Self {
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

    fn value(&mut self, value: &Value) -> String {
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

    fn parameters(&mut self, parameters: &[(String, Value)]) -> String {
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
    fn signature(&mut self, signature: &Signature) -> String {
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

    fn field(&mut self, members: impl IntoIterator<Item = (String, String)>) -> String {
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

fn key() -> impl Strategy<Value = String> {
    "[a-z*][a-z0-9_.*-]{0,6}"
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof!["[ -~]{0,12}", "[\"\\\\]{0,4}"]
}

fn value() -> impl Strategy<Value = Value> {
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

fn unique<T>(named: Vec<(String, T)>) -> Vec<(String, T)> {
    let mut unique: Vec<(String, T)> = Vec::new();
    for (name, value) in named {
        if !unique.iter().any(|(other, _)| *other == name) {
            unique.push((name, value));
        }
    }
    unique
}

fn component() -> impl Strategy<Value = (String, Parameters)> {
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

fn signature() -> impl Strategy<Value = Signature> {
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

fn signatures() -> impl Strategy<Value = Vec<Signature>> {
    vec(signature(), 1..4).prop_map(|signatures| {
        let named = signatures.into_iter().map(|s| (s.label.clone(), s));
        unique(named.collect())
            .into_iter()
            .map(|(_, s)| s)
            .collect()
    })
}

fn spelling() -> impl Strategy<Value = Spelling> {
    vec(any::<u8>(), 0..20).prop_map(|choices| Spelling(choices, 0))
}

/// A text with some of it cut out, repeated, or replaced by what means something here.
fn damaged(text: String) -> impl Strategy<Value = String> {
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

fn hostile(valid: impl Strategy<Value = String>) -> impl Strategy<Value = String> {
    let alphabet = "[a1sigkeyfb=:;,()\" \\\\?@%.*\t-]{0,60}";
    prop_oneof![
        6 => valid.prop_flat_map(damaged),
        2 => alphabet,
        1 => any::<String>(),
    ]
}

fn inputs() -> impl Strategy<Value = String> {
    (signatures(), spelling()).prop_map(|(signatures, mut spelling)| {
        let members = signatures
            .iter()
            .map(|s| (s.label.clone(), spelling.signature(s)));
        let members: Vec<_> = members.collect();
        spelling.field(members)
    })
}

/// A dictionary of values, with parameters and inner lists among them.
fn dictionary() -> impl Strategy<Value = String> {
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
fn byte_sequences(names: impl Strategy<Value = String>) -> impl Strategy<Value = String> {
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

fn algorithms() -> impl Strategy<Value = String> {
    let names = vec!["sha-256", "sha-512", "md5", "sha", "sha-256x"];
    select(names).prop_map(str::to_owned)
}

/// What `sfv` reads, where nobody looks for duplicates.
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

/// A reading of `Signature-Input`: the labels, and each member as it is signed. `None` is refused.
type Read = Option<Vec<(String, Option<String>)>>;

fn ours(field: &str) -> Read {
    let members = read_inputs(field).ok()?;
    let member = |input: Input<'_>| input.listed.text;
    let members = members
        .into_iter()
        .map(|m| (m.label.to_owned(), m.input.ok().map(member)));
    Some(members.collect())
}

/// A script of `tests/peers` that reads dictionaries.
struct Peer {
    command: Command,
    /// Fields that it is known to read otherwise.
    differs: fn(&str) -> bool,
}

/// `http-sf` of PyPI. It reads no date after the year 9999.
fn python() -> Option<Peer> {
    let (python, script) = script("COUNTERSIGN_PEERS_PYTHON", "py")?;
    let mut command = Command::new(python);
    command.arg(script);
    Some(Peer {
        command,
        differs: |field| {
            let is_late = |date: &str| {
                let digits = date.trim_start_matches('-').bytes();
                digits.take_while(u8::is_ascii_digit).count() > 10
            };
            field.split('@').skip(1).any(is_late)
        },
    })
}

/// `structured-headers` of npm. It reads no parameter behind a date and writes some bytes of a
/// display string with one digit; it has one kind of number, so that it writes `1.0` as `1`; and it
/// refuses half of a padding.
fn node() -> Option<Peer> {
    let (_, script) = script("COUNTERSIGN_PEERS_NODE_PATH", "mjs")?;
    let mut command = Command::new("node");
    command.arg(script);
    Some(Peer {
        command,
        differs: |field| {
            let is_half_padded =
                |bytes: &str| bytes.ends_with('=') && !bytes.len().is_multiple_of(4);
            ["=@", "=%\"", ".0"].iter().any(|it| field.contains(it))
                || field.split(':').any(is_half_padded)
        },
    })
}

/// The value of the variable, and the script, where what it needs is installed: `tests/run.sh` says
/// so. Without that the test is skipped, and says so.
fn script(variable: &str, extension: &str) -> Option<(String, String)> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/peers");
    if let Ok(value) = env::var(variable) {
        return Some((value, format!("{folder}/inputs.{extension}")));
    }
    let is_failure = env::var_os("COUNTERSIGN_NO_SKIP").is_some();
    assert!(!is_failure, "{variable} is not set");
    println!("skipped: {variable} is not set");
    None
}

/// Reads fields that are valid, and hostile ones, here and with a peer: each that is read here is
/// read there, in the same way. The first that is not; or how many were read here, and refused.
fn compare(mut peer: Peer, ours: impl Fn(&str) -> Read) -> Result<[usize; 2], String> {
    let mut runner = TestRunner::deterministic();
    let valid = inputs().prop_map(|field| (field, true));
    let hostile = hostile(inputs()).prop_map(|field| (field, false));
    let strategy = prop_oneof![valid, hostile];
    let fields: Vec<_> = iter::repeat_with(|| strategy.new_tree(&mut runner).unwrap().current())
        .filter(|(field, _)| !(peer.differs)(field))
        .take(usize::try_from(cases(1000)).unwrap())
        .collect();
    let lines = fields
        .iter()
        .map(|(field, _)| json!(field).to_string() + "\n");
    let lines: String = lines.collect();

    let command = peer.command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    let writer = thread::spawn(move || input.write_all(lines.as_bytes()));
    let answers: Vec<_> = BufReader::new(child.stdout.take().unwrap())
        .lines()
        .collect::<Result<_, _>>()
        .unwrap();
    writer.join().unwrap().unwrap();
    child.wait().unwrap();
    assert_eq!(answers.len(), fields.len(), "an answer to each line");

    let mut counts = [0, 0];
    for ((field, is_valid), answer) in fields.iter().zip(&answers) {
        let theirs: Option<Vec<(String, String)>> = serde_json::from_str(answer).unwrap();
        let ours = ours(field);
        counts[usize::from(ours.is_none())] += 1;
        let agree = match (&ours, &theirs) {
            (None, _) => !is_valid,
            (Some(_), None) => false,
            (Some(ours), Some(theirs)) => {
                let labels = ours.iter().map(|(label, _)| label);
                // A member that is refused here alone is taken for no other.
                let mut texts = ours.iter().map(|(_, text)| text.as_ref()).zip(theirs);
                labels.eq(theirs.iter().map(|(label, _)| label))
                    && texts.all(|(ours, (_, theirs))| ours.is_none_or(|ours| ours == theirs))
            }
        };
        if !agree {
            return Err(format!("`{field}`: {ours:?}, and not {theirs:?}"));
        }
    }
    Ok(counts)
}

fn agrees(peer: Peer) {
    let [read, refused] = compare(peer, ours).unwrap();
    println!("{read} were read, {refused} refused");
    assert!(read > 300 && refused > 100, "{read}, {refused}");
}

#[test]
fn python_reads_each_signature_input_that_is_read_and_in_the_same_way() {
    if let Some(peer) = python() {
        agrees(peer);
    }
}

#[test]
fn node_reads_each_signature_input_that_is_read_and_in_the_same_way() {
    if let Some(peer) = node() {
        agrees(peer);
    }
}

/// The twin of both: a reader that signs what the sender spelled is found.
#[test]
fn twin_a_signature_input_that_is_signed_as_it_was_spelled_is_found() {
    let spelled = |field: &str| {
        let mut members = ours(field)?;
        if let [(_, Some(text))] = &mut *members {
            field.trim().split_once('=')?.1.clone_into(text);
        }
        Some(members)
    };
    for peer in [python(), node()].into_iter().flatten() {
        assert!(compare(peer, spelled).is_err());
    }
}
