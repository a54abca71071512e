//! Each canonical form of JSON is the one that other libraries write, JSON without one is
//! refused, and no two documents share one unless they are equal: all through a signer and a
//! verifier.

use std::{
    cell::Cell,
    collections::BTreeMap,
    io::{BufRead, BufReader, Write as _},
    iter,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    thread,
    time::Duration,
};

use bytes::Bytes;
use countersign::{
    HeaderScheme, KeyRing, MemoryStore, Part, RejectionKind, Signer, Verifier,
    scheme::{JsonForm, PythonJson},
};
use http::{HeaderValue, Request};
use http_body_util::Full;
use proptest::{
    collection::{btree_map, vec},
    prelude::*,
    strategy::ValueTree as _,
    test_runner::{Config, TestRunner},
};

use crate::common::{self, KEY, SECRET};

const JCS: JsonForm = JsonForm::Jcs;

fn python_forms() -> [JsonForm; 4] {
    let sorted = PythonJson::sorted();
    [
        sorted,
        sorted.ensure_ascii(false),
        sorted.compact(),
        sorted.compact().ensure_ascii(false),
    ]
    .map(JsonForm::from)
}

fn all_forms() -> impl Iterator<Item = JsonForm> {
    python_forms().into_iter().chain([JCS])
}

/// A signer and a verifier over the body alone, in one form.
struct Parties {
    signer: Signer,
    verifier: Verifier,
}

impl Parties {
    fn new(form: JsonForm) -> Self {
        let scheme = HeaderScheme::builder("x-signature")
            .fixed_key_id(KEY)
            .nonce("x-nonce")
            .danger_without_time(Duration::from_secs(86_400))
            .signs(Part::lines([Part::Nonce, Part::canonical_body(form)]))
            .build()
            .unwrap();
        let verifier = Verifier::builder(scheme.clone())
            .keys(KeyRing::new().with(KEY, SECRET).unwrap())
            .store(MemoryStore::new().danger_assume_no_history())
            .build()
            .unwrap();
        Self {
            signer: Signer::new(scheme, KEY, SECRET).unwrap(),
            verifier,
        }
    }

    /// Returns what a handler is given of this body; `None` where both parties refuse it.
    fn canonical(&self, body: &[u8]) -> Option<Bytes> {
        let mut request = Request::post("/")
            .body(Bytes::copy_from_slice(body))
            .unwrap();
        let signed = self.signer.sign(request.clone());
        if let Ok(signed) = signed {
            return Some(self.verify(signed).unwrap());
        }
        let headers = request.headers_mut();
        headers.insert("x-nonce", HeaderValue::from_static("n"));
        headers.insert(
            "x-signature",
            HeaderValue::from_str(&"0".repeat(64)).unwrap(),
        );
        let refused = self.verify(request).unwrap_err();
        assert_eq!(refused, RejectionKind::SignatureMalformed);
        None
    }

    fn verify(&self, request: Request<Bytes>) -> Result<Bytes, RejectionKind> {
        let (head, body) = request.into_parts();
        let verified = common::ready(self.verifier.verify(&head, Full::new(body)));
        let verified = verified.map_err(|rejection| rejection.kind())?;
        Ok(verified.payload().unwrap().bytes().clone())
    }
}

fn canonical(form: JsonForm, body: impl AsRef<[u8]>) -> Option<String> {
    let canonical = Parties::new(form).canonical(body.as_ref())?;
    Some(String::from_utf8(canonical.into()).unwrap())
}

#[track_caller]
fn is_written(form: impl Into<JsonForm>, document: &str, expected: &str) {
    assert_eq!(
        canonical(form.into(), document).as_deref(),
        Some(expected),
        "{document}"
    );
}

#[test]
fn the_forms_differ_as_documented() {
    let document = " {\"b\" : [ 1,{ } ,[\t]],\r\n\"a\": {\"é\\u007f\":\"\\u20AC\\/\\ud83d\\ude02\\n\\u001F\"} } ";
    let sorted = PythonJson::sorted();
    for (form, expected) in [
        (
            JCS,
            "{\"a\":{\"é\u{7f}\":\"€/😂\\n\\u001f\"},\"b\":[1,{},[]]}",
        ),
        (
            sorted.into(),
            r#"{"a": {"\u00e9\u007f": "\u20ac/\ud83d\ude02\n\u001f"}, "b": [1, {}, []]}"#,
        ),
        (
            sorted.compact().into(),
            r#"{"a":{"\u00e9\u007f":"\u20ac/\ud83d\ude02\n\u001f"},"b":[1,{},[]]}"#,
        ),
        (
            sorted.ensure_ascii(false).into(),
            "{\"a\": {\"é\u{7f}\": \"€/😂\\n\\u001f\"}, \"b\": [1, {}, []]}",
        ),
        (
            sorted.compact().ensure_ascii(false).into(),
            "{\"a\":{\"é\u{7f}\":\"€/😂\\n\\u001f\"},\"b\":[1,{},[]]}",
        ),
    ] {
        assert_eq!(
            canonical(form, document).as_deref(),
            Some(expected),
            "{form:?}"
        );
    }
}

#[test]
fn keys_are_sorted_by_utf_16_units_in_jcs_and_by_code_points_in_python() {
    // U+FB33 and U+1F600, which begins with the lesser unit 0xD83D.
    let document = "{\"\u{fb33}\":1,\"\u{1f600}\":2}";
    is_written(JCS, document, "{\"\u{1f600}\":2,\"\u{fb33}\":1}");
    let python = PythonJson::sorted().compact().ensure_ascii(false);
    is_written(python, document, document);
    // The escapes have no part in the order.
    is_written(
        PythonJson::sorted(),
        "{\"é\":1,\"z\":2}",
        r#"{"z": 2, "\u00e9": 1}"#,
    );
    is_written(
        JCS,
        r#"{"aa":1,"":2,"a":3,"A":4}"#,
        r#"{"":2,"A":4,"a":3,"aa":1}"#,
    );
}

#[test]
fn numbers_are_written_as_python_and_as_ecmascript_write_them() {
    for (number, python, jcs) in [
        ("0", "0", "0"),
        ("-0", "0", "0"),
        ("0.0", "0.0", "0"),
        ("-0.0", "-0.0", "0"),
        ("-0e5", "-0.0", "0"),
        ("-1", "-1", "-1"),
        ("1.0", "1.0", "1"),
        ("0.10", "0.1", "0.1"),
        ("100E-2", "1.0", "1"),
        ("123.456", "123.456", "123.456"),
        ("1e15", "1000000000000000.0", "1000000000000000"),
        ("1e16", "1e+16", "10000000000000000"),
        ("1.5e16", "1.5e+16", "15000000000000000"),
        (
            "9007199254740993.0",
            "9007199254740992.0",
            "9007199254740992",
        ),
        ("1e20", "1e+20", "100000000000000000000"),
        ("1e21", "1e+21", "1e+21"),
        ("1.25e21", "1.25e+21", "1.25e+21"),
        ("0.0001", "0.0001", "0.0001"),
        ("0.00001", "1e-05", "0.00001"),
        ("0.000001", "1e-06", "0.000001"),
        ("1e-7", "1e-07", "1e-7"),
        ("-12.5e-9", "-1.25e-08", "-1.25e-8"),
        ("5e-324", "5e-324", "5e-324"),
        ("1e-400", "0.0", "0"),
        // Two texts are equally short and near: the even one.
        (
            "911017913752810.25",
            "911017913752810.2",
            "911017913752810.2",
        ),
        (
            "911017913752810.75",
            "911017913752810.8",
            "911017913752810.8",
        ),
        (
            "1.7976931348623157e308",
            "1.7976931348623157e+308",
            "1.7976931348623157e+308",
        ),
    ] {
        is_written(PythonJson::sorted(), number, python);
        is_written(JCS, number, jcs);
    }
}

#[test]
fn an_integer_survives_or_is_refused() {
    let python = JsonForm::from(PythonJson::sorted());
    for (integer, in_jcs) in [
        ("9007199254740991", true),
        ("9007199254740992", true),
        ("9007199254740993", false),
        ("9007199254740994", true),
        ("-9007199254740993", false),
        ("18446744073709551616", false),
        // As ECMAScript writes 2^68 and 10^20: what was canonical once must remain so.
        ("295147905179352830000", true),
        ("295147905179352825856", false),
        ("100000000000000000000", true),
        // From here on, it writes an exponent.
        ("1000000000000000000000", false),
        (&"9".repeat(400), false),
    ] {
        assert_eq!(canonical(python, integer).as_deref(), Some(integer));
        assert_eq!(
            canonical(JCS, integer).as_deref(),
            in_jcs.then_some(integer),
            "{integer}"
        );
    }
}

#[test]
fn what_could_be_read_in_two_ways_is_refused() {
    let nested = |depth: usize| [r#"{"a":["#.repeat(depth), "]}".repeat(depth)].concat();
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("nothing", b"".into()),
        ("space", b" \n".into()),
        ("one key twice", br#"{"a":1,"a":2}"#.into()),
        ("one key twice, one value", br#"{"a":1,"b":0,"a":1}"#.into()),
        ("one key but for an escape", br#"{"a":1,"\u0061":2}"#.into()),
        (
            "one key but for a short escape",
            br#"{"/":1,"\/":2}"#.into(),
        ),
        (
            "one key but for a pair of escapes",
            "{\"😂\":1,\"\\ud83d\\ude02\":2}".into(),
        ),
        (
            "one key twice, deeper",
            br#"[{"b":[{"a":1,"c":3,"a":2}]}]"#.into(),
        ),
        ("one empty key twice", br#"{"":1,"":2}"#.into()),
        ("infinite", b"1e400".into()),
        ("infinite, negative", b"[-1e309]".into()),
        ("NaN", b"[NaN]".into()),
        ("Infinity", b"[Infinity]".into()),
        ("-Infinity", b"[-Infinity]".into()),
        ("leading surrogate", br#""\ud83d""#.into()),
        ("trailing surrogate", br#""\ude02""#.into()),
        ("surrogates in the wrong order", br#""\ude02\ud83d""#.into()),
        ("surrogate and another", br#""\ud83d\u0061""#.into()),
        ("surrogate in a key", br#"{"\ud83d":1}"#.into()),
        ("surrogate in UTF-8", b"\"\xed\xa0\xbd\"".into()),
        ("overlong UTF-8", b"\"\xc0\xaf\"".into()),
        ("Latin-1", b"\"\xe9\"".into()),
        ("UTF-16", b"\"\0a\0\"\0".into()),
        ("byte order mark", "\u{feff}{}".into()),
        ("too deep", nested(64).into()),
        ("far too deep", "[".repeat(1_000_000).into()),
        ("two documents", b"{} {}".into()),
        ("a comma behind", b"[1,]".into()),
        ("a comma behind a member", br#"{"a":1,}"#.into()),
        ("a comma before", b"[,1]".into()),
        ("no comma", b"[1 2]".into()),
        ("no colon", br#"{"a" 1}"#.into()),
        ("no value", br#"{"a":}"#.into()),
        ("no name", b"{1:2}".into()),
        ("bare name", b"{a:2}".into()),
        ("not closed", br#"{"a":1"#.into()),
        ("closed otherwise", b"[1}".into()),
        ("quotes of another kind", b"'a'".into()),
        ("string without end", br#""a"#.into()),
        ("string that ends in a backslash", br#""a\"#.into()),
        ("escape of no kind", br#""\x41""#.into()),
        ("escape cut short", br#""\u12""#.into()),
        ("tab in a string", b"\"\t\"".into()),
        ("line feed in a string with an escape", b"\"\\t\n\"".into()),
        ("comment", b"[1]//".into()),
        ("other space", "\u{a0}1".into()),
        ("vertical tab", b"\x0b1".into()),
        ("literal in upper case", b"True".into()),
        ("literal cut short", b"nul".into()),
        ("literal run on", b"nulls".into()),
        ("leading zero", b"01".into()),
        ("leading plus", b"+1".into()),
        ("two signs", b"--1".into()),
        ("sign alone", b"-".into()),
        ("no digit before the point", b".5".into()),
        ("no digit behind the point", b"5.".into()),
        ("no digit in the exponent", b"5e".into()),
        ("no digit behind the sign", b"5e+".into()),
        ("hexadecimal", b"0x10".into()),
        ("two points", b"1.2.3".into()),
    ];
    for form in all_forms() {
        let parties = Parties::new(form);
        for (name, body) in &cases {
            assert_eq!(parties.canonical(body), None, "{form:?}: {name}");
        }
        // As deep as `serde_json` reads.
        let deepest = format!("[{}]", nested(63));
        let canonical = parties.canonical(deepest.as_bytes()).unwrap();
        assert!(serde_json::from_slice::<serde_json::Value>(&canonical).is_ok());
        let deeper = format!("[{deepest}]");
        assert_eq!(parties.canonical(deeper.as_bytes()), None);
        assert!(serde_json::from_str::<serde_json::Value>(&deeper).is_err());
    }
}

/// A document by its meaning.
#[derive(Clone, Debug, PartialEq)]
enum Document {
    Literal(&'static str),
    Integer(String),
    Decimal(String),
    String(String),
    Array(Vec<Self>),
    Object(BTreeMap<String, Self>),
}

impl Document {
    /// Few and short, so that two are often equal, or nearly.
    fn tiny() -> impl Strategy<Value = Self> {
        let text = || "[a\"\\\\,: {}\n1é]{0,2}";
        let leaf = prop_oneof![
            prop::sample::select(&["true", "false", "null"]).prop_map(Self::Literal),
            prop::sample::select(&["0", "1", "-1", "10", "9007199254740992"])
                .prop_map(|number| Self::Integer(number.into())),
            prop::sample::select(&["0.0", "-0.0", "1.0", "0.1", "1e1", "1e16", "1e-7"])
                .prop_map(|number| Self::Decimal(number.into())),
            text().prop_map(Self::String),
        ];
        leaf.prop_recursive(3, 8, 3, move |inner| {
            prop_oneof![
                vec(inner.clone(), 0..3).prop_map(Self::Array),
                btree_map(text(), inner, 0..3).prop_map(Self::Object),
            ]
        })
    }

    /// Numbers, characters and sizes of all kinds.
    fn any() -> impl Strategy<Value = Self> {
        let text = || prop_oneof![any::<String>(), "[ -~\u{0}-\u{1f}\u{7f}-\u{ff}]{0,6}"];
        let decimal = prop_oneof![
            any::<f64>().prop_map(|number| format!("{number:e}")),
            any::<u64>().prop_map(|bits| format!("{:e}", f64::from_bits(bits))),
            "-?(0|[1-9][0-9]{0,20})(\\.[0-9]{1,20})?([eE][+-]?[0-9]{1,3})?",
        ];
        let leaf = prop_oneof![
            prop::sample::select(&["true", "false", "null"]).prop_map(Self::Literal),
            "-?(0|[1-9][0-9]{0,40})".prop_map(Self::Integer),
            decimal.prop_map(Self::Decimal),
            text().prop_map(Self::String),
        ];
        leaf.prop_recursive(4, 24, 6, move |inner| {
            prop_oneof![
                vec(inner.clone(), 0..6).prop_map(Self::Array),
                btree_map(text(), inner, 0..6).prop_map(Self::Object),
            ]
        })
    }

    /// One of its texts: `choices` decides about space, escapes and the order of members.
    fn write(&self, choices: &mut impl Iterator<Item = u8>, out: &mut String) {
        let space = ["", "", "", " ", "\n", "\t", "\r", " \n"];
        let pad = |choices: &mut dyn Iterator<Item = u8>, out: &mut String| {
            out.push_str(space[usize::from(choices.next().unwrap()) % 8]);
        };
        match self {
            Self::Literal(text) => out.push_str(text),
            Self::Integer(text) | Self::Decimal(text) => out.push_str(text),
            Self::String(text) => write_string(text, choices, out),
            Self::Array(elements) => {
                out.push('[');
                pad(choices, out);
                for (index, element) in elements.iter().enumerate() {
                    if index > 0 {
                        out.push(',');
                        pad(choices, out);
                    }
                    element.write(choices, out);
                    pad(choices, out);
                }
                out.push(']');
            }
            Self::Object(members) => {
                out.push('{');
                pad(choices, out);
                let mut members: Vec<_> = members.iter().collect();
                if !members.is_empty() {
                    let len = members.len();
                    members.rotate_left(usize::from(choices.next().unwrap()) % len);
                }
                if choices.next().unwrap().is_multiple_of(2) {
                    members.reverse();
                }
                for (index, (name, value)) in members.into_iter().enumerate() {
                    if index > 0 {
                        out.push(',');
                        pad(choices, out);
                    }
                    write_string(name, choices, out);
                    pad(choices, out);
                    out.push(':');
                    pad(choices, out);
                    value.write(choices, out);
                    pad(choices, out);
                }
                out.push('}');
            }
        }
    }

    fn number(&self) -> Option<f64> {
        match self {
            Self::Integer(text) | Self::Decimal(text) => text.parse().ok(),
            _ => None,
        }
    }

    /// Equal, as far as the form tells numbers apart.
    fn equals(&self, other: &Self, form: JsonForm) -> bool {
        match (self, other) {
            (Self::Array(one), Self::Array(other)) => {
                let mut pairs = one.iter().zip(other);
                one.len() == other.len() && pairs.all(|(one, other)| one.equals(other, form))
            }
            (Self::Object(one), Self::Object(other)) => {
                let mut pairs = one.iter().zip(other);
                let equal = |(one, other): ((&String, &Self), (&String, &Self))| {
                    one.0 == other.0 && one.1.equals(other.1, form)
                };
                one.len() == other.len() && pairs.all(equal)
            }
            (Self::Decimal(_), Self::Decimal(_)) if form != JCS => {
                self.number().map(f64::to_bits) == other.number().map(f64::to_bits)
            }
            (one, other) => match (one.number(), other.number()) {
                (Some(one), Some(other)) if form == JCS => {
                    one.total_cmp(&other).is_eq() || one == other
                }
                _ => one == other,
            },
        }
    }
}

fn write_string(text: &str, choices: &mut impl Iterator<Item = u8>, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        let choice = choices.next().unwrap() % 8;
        let short = "\"\\/\x08\x0c\n\r\t".find(c).map(|at| b"\"\\/bfnrt"[at]);
        match short {
            Some(short) if choice < 6 => out.extend(['\\', char::from(short)]),
            None if choice < 6 && c >= ' ' => out.push(c),
            _ => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    *out += &match choice % 2 {
                        0 => format!("\\u{unit:04x}"),
                        _ => format!("\\u{unit:04X}"),
                    };
                }
            }
        }
    }
    out.push('"');
}

/// Many texts of one document.
fn text(document: &Document, choices: &[u8]) -> String {
    let mut out = String::new();
    document.write(&mut choices.iter().copied().cycle(), &mut out);
    out
}

fn choices() -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), 1..40)
}

/// With this many cases, unless `tests/long.sh` asks for more.
fn runner(usual: u32) -> TestRunner {
    TestRunner::new(Config {
        cases: common::cases(usual),
        ..Config::default()
    })
}

#[test]
fn documents_share_a_canonical_form_exactly_if_they_are_equal() {
    let (equal, different) = (Cell::new(0), Cell::new(0));
    for form in all_forms() {
        let parties = Parties::new(form);
        let two = (Document::tiny(), Document::tiny(), choices(), choices());
        let outcome = runner(500).run(&two, |(one, other, choices, others)| {
            let of = |document, choices: &[u8]| {
                let text = text(document, choices);
                parties
                    .canonical(text.as_bytes())
                    .ok_or(TestCaseError::fail(text))
            };
            let canonical = of(&one, &choices)?;
            prop_assert_eq!(&canonical, &of(&one, &others)?);
            prop_assert_eq!(parties.canonical(&canonical), Some(canonical.clone()));
            let equals = one.equals(&other, form);
            prop_assert_eq!(canonical == of(&other, &choices)?, equals, "{:?}", form);
            let count = if equals { &equal } else { &different };
            count.set(count.get() + 1);
            Ok(())
        });
        outcome.unwrap();
    }
    assert!(
        equal.get() > 20 && different.get() > 500,
        "{equal:?} {different:?}"
    );
}

#[test]
fn a_canonical_form_of_any_document_is_its_own() {
    let accepted = Cell::new(0);
    for form in all_forms() {
        let parties = Parties::new(form);
        let outcome = runner(400).run(&(Document::any(), choices()), |(document, choices)| {
            let text = text(&document, &choices);
            let Some(canonical) = parties.canonical(text.as_bytes()) else {
                return Ok(());
            };
            accepted.set(accepted.get() + 1);
            prop_assert_eq!(parties.canonical(&canonical), Some(canonical.clone()));
            Ok(())
        });
        outcome.unwrap();
    }
    assert!(accepted.get() > 400, "{accepted:?}");
}

/// Reads documents line by line, in hexadecimal, and answers with each form, or that it has none.
const DUMPS: &str = r#"
import json, sys

def once(pairs):
    members = dict(pairs)
    if len(members) < len(pairs):
        raise ValueError("one key twice")
    return members

def canonical(line):
    document = json.loads(bytes.fromhex(line).decode(), object_pairs_hook=once)
    for separators in None, (",", ":"):
        for ensure_ascii in True, False:
            yield json.dumps(document, sort_keys=True, allow_nan=False,
                             separators=separators, ensure_ascii=ensure_ascii)

for line in sys.stdin:
    try:
        print(*(form.encode().hex() for form in canonical(line)), flush=True)
    except ValueError:
        print("refused", flush=True)
"#;

/// The same in JavaScript: its `JSON` writes what JCS prescribes, except the order of members. It
/// is told to refuse what it would read in silence: a name twice, an integer that is not exact,
/// what becomes infinite, and half a character.
const STRINGIFY: &str = r#"
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const refuse = () => { throw new SyntaxError(); };

let members;
function write(value) {
  if (typeof value === "number" && !Number.isFinite(value)) refuse();
  if (typeof value !== "object" || value === null) return JSON.stringify(value);
  if (Array.isArray(value)) return `[${value.map(write).join(",")}]`;
  const names = Object.keys(value).sort();
  members += names.length;
  return `{${names.map((name) => `${write(name)}:${write(value[name])}`).join(",")}}`;
}

function canonical(line) {
  const text = decoder.decode(Buffer.from(line, "hex"));
  const document = JSON.parse(text);
  const withoutStrings = text.replace(/"(?:[^"\\]|\\.)*"/g, "");
  for (const token of withoutStrings.match(/-?[0-9][0-9.eE+-]*/g) ?? []) {
    if (/[.eE]/.test(token)) continue;
    const written = String(Number(token));
    if (!/^-?[0-9]+$/.test(written) || BigInt(written) !== BigInt(token)) refuse();
  }
  members = 0;
  const form = write(document);
  if (members !== withoutStrings.split(":").length - 1) refuse();
  if (/\\u[dD][89a-fA-F]/.test(form.replace(/\\\\/g, ""))) refuse();
  return Buffer.from(form).toString("hex");
}

require("readline").createInterface({ input: process.stdin }).on("line", (line) => {
  let answer = "refused";
  try {
    answer = canonical(line);
  } catch (error) {
    if (!(error instanceof SyntaxError || error instanceof TypeError)) throw error;
  }
  process.stdout.write(`${answer}\n`);
});
"#;

/// A program that answers line by line.
struct Peer {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Peer {
    fn start(mut program: Command) -> Self {
        let mut child = program
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        Self {
            input: child.stdin.take().unwrap(),
            output: BufReader::new(child.stdout.take().unwrap()),
            child,
        }
    }

    /// Many at once, so that neither party waits for the other at each.
    fn ask(&mut self, documents: &[Vec<u8>]) -> Vec<Option<Vec<Bytes>>> {
        let line = |document: &Vec<u8>| base16ct::lower::encode_string(document) + "\n";
        let lines: String = documents.iter().map(line).collect();
        let Self { input, output, .. } = self;
        thread::scope(|scope| {
            // A pipe is soon full, if nobody reads the answers meanwhile.
            scope.spawn(|| input.write_all(lines.as_bytes()).unwrap());
            documents.iter().map(|_| read_answer(output)).collect()
        })
    }
}

fn read_answer(output: &mut impl BufRead) -> Option<Vec<Bytes>> {
    let mut answer = String::new();
    output.read_line(&mut answer).unwrap();
    assert!(answer.ends_with('\n'), "the program has ended");
    let forms = answer
        .split_whitespace()
        .map(|form| base16ct::lower::decode_vec(form).map(Bytes::from));
    forms.collect::<Result<_, _>>().ok()
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A byte that is lost, changed or said twice makes most documents unreadable, and some others.
fn damage() -> impl Strategy<Value = Option<(prop::sample::Index, u8, u8)>> {
    let bytes = &b"\"\\{}[],:0-+.eEud \n\x00\x7f\xc3"[..];
    prop_oneof![
        3 => Just(None),
        1 => (any::<prop::sample::Index>(), 0..3_u8, prop::sample::select(bytes)).prop_map(Some),
    ]
}

/// Asks a program for the canonical forms of many documents, and compares them with what `ours`
/// makes of each: the first that differs, or how many were accepted and refused.
fn compare(
    program: Command,
    usual: u32,
    ours: impl Fn(&[u8]) -> Option<Vec<Bytes>>,
) -> Result<(u32, u32), String> {
    let mut peer = Peer::start(program);
    let strategy = (Document::any(), choices(), damage());
    let mut runner = runner(1);
    let (mut accepted, mut refused) = (0, 0);
    let mut document = || {
        let (document, choices, damage) = strategy.new_tree(&mut runner).unwrap().current();
        let mut document = text(&document, &choices).into_bytes();
        if let Some((at, how, byte)) = damage {
            let at = at.index(document.len());
            match how {
                0 => drop(document.remove(at)),
                1 => document[at] = byte,
                _ => document.insert(at, byte),
            }
        }
        document
    };
    let mut left = usize::try_from(common::cases(usual)).unwrap();
    while left > 0 {
        let documents: Vec<_> = iter::repeat_with(&mut document)
            .take(left.min(500))
            .collect();
        left -= documents.len();
        for (document, expected) in documents.iter().zip(peer.ask(&documents)) {
            let count = if expected.is_some() {
                &mut accepted
            } else {
                &mut refused
            };
            *count += 1;
            let ours = ours(document);
            if ours != expected {
                let shown = document.escape_ascii();
                return Err(format!("{shown}: {ours:?}, and not {expected:?}"));
            }
        }
    }
    Ok((accepted, refused))
}

fn agrees(program: Command, usual: u32, forms: impl IntoIterator<Item = JsonForm>) {
    let forms: Vec<_> = forms.into_iter().map(Parties::new).collect();
    let ours = |document: &[u8]| forms.iter().map(|form| form.canonical(document)).collect();
    let (accepted, refused) = compare(program, usual, ours).unwrap();
    println!("{accepted} accepted, {refused} refused");
    assert!(accepted > 800 && refused > 150, "{accepted}, {refused}");
}

/// Python, told not to take what is refused here by intent: a name twice, and what is no number.
#[test]
fn python_writes_the_same_bytes_and_refuses_the_same_documents() {
    let test = "python_writes_the_same_bytes_and_refuses_the_same_documents";
    if let Some(mut python) = common::python(test) {
        python.args(["-c", DUMPS]);
        agrees(python, 2500, python_forms());
    }
}

#[test]
fn node_writes_the_same_bytes_as_jcs_and_refuses_the_same_documents() {
    let test = "node_writes_the_same_bytes_as_jcs_and_refuses_the_same_documents";
    if let Some(mut node) = common::node(test) {
        node.args(["-e", STRINGIFY]);
        agrees(node, 1500, [JCS]);
    }
}

/// A form that differs in the order of some names alone, or in some numbers alone, is found.
#[test]
fn twin_of_node_another_form_is_found() {
    let test = "twin_of_node_another_form_is_found";
    let compact = PythonJson::sorted().compact().ensure_ascii(false);
    let other = Parties::new(compact.into());
    if let Some(mut node) = common::node(test) {
        node.args(["-e", STRINGIFY]);
        let found = compare(node, 2500, |document| {
            Some(vec![other.canonical(document)?])
        });
        assert!(found.is_err());
    }
}
