//! The forms of JSON in which a body can be signed.

use std::cmp::Ordering;

/// The depth to which `serde_json` reads: what is deeper, no handler could.
pub(super) const MAX_DEPTH: usize = 127;

/// A canonical form of JSON: how a document is written again before it is signed.
///
/// The forms differ, and a signature over one form is not valid for another:
///
/// | document | [`Jcs`](Self::Jcs) | [`PythonJson::sorted`] |
/// | --- | --- | --- |
/// | `{"b":1,"a":2}` | `{"a":2,"b":1}` | `{"a": 2, "b": 1}` |
/// | `"é"` | `"é"` | `"\u00e9"` |
/// | `1.0`, `-0.0`, `1e16`, `1e-7` | `1`, `0`, `10000000000000000`, `1e-7` | `1.0`, `-0.0`, `1e+16`, `1e-07` |
/// | 2<sup>53</sup> + 1 | refused | `9007199254740993` |
/// | order of keys | by UTF-16 unit | by code point |
///
/// ```
/// use countersign::{scheme::JsonForm, HeaderScheme, Part};
///
/// let scheme = HeaderScheme::builder("x-signature")
///     .fixed_key_id("sender")
///     .time("x-timestamp")
///     .signs([Part::Time, Part::text("."), Part::canonical_body(JsonForm::Jcs)])
///     .build()?;
/// # Ok::<_, countersign::ConfigError>(())
/// ```
///
/// # Refused texts
/// A text that two libraries could read differently has no canonical form here, even if each
/// library would write one:
/// - two members of one name in an object, at any depth, also where only escapes tell the names
///   apart;
/// - `NaN`, `Infinity`, and numbers so large that they become infinite, such as `1e400`;
/// - an integer that JCS would write as another number, as is every one beyond 2<sup>53</sup>
///   that a double does not hold. Python's forms keep each integer to the digit;
/// - escapes of lone surrogates;
/// - objects and arrays nested more than 127 deep;
/// - invalid UTF-8, a byte order mark, bytes behind the document, and whatever else is not JSON
///   (RFC 8259). An empty body is not a document.
///
/// Numbers with a fraction or an exponent are read as doubles, the nearest one counts, and are
/// written with the fewest digits that tell it from others: `0.10` is `0.1`. Integers are kept as
/// above, and it is for the handler to read them into a type that holds them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum JsonForm {
    /// The JSON Canonicalization Scheme, RFC 8785.
    Jcs,
    /// The form that Python's `json.dumps` writes.
    Python(PythonJson),
}

/// The form that Python writes with `json.dumps(…, sort_keys=True)`, encoded as UTF-8.
///
/// ```
/// use countersign::scheme::PythonJson;
///
/// // json.dumps(body, sort_keys=True)
/// let default = PythonJson::sorted();
/// // json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
/// let compact = PythonJson::sorted().compact().ensure_ascii(false);
/// # assert_ne!(default, compact);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct PythonJson {
    compact: bool,
    ensure_ascii: bool,
}

impl PythonJson {
    /// Sorted keys, and Python's defaults for the rest: a space behind each comma and colon, and
    /// `\u` escapes for whatever is not ASCII.
    pub const fn sorted() -> Self {
        Self {
            compact: false,
            ensure_ascii: true,
        }
    }

    /// `separators=(",", ":")`: no spaces.
    pub const fn compact(mut self) -> Self {
        self.compact = true;
        self
    }

    /// `ensure_ascii=…`: whether characters outside of ASCII are written as `\u` escapes. Default:
    /// `true`.
    pub const fn ensure_ascii(mut self, ensure_ascii: bool) -> Self {
        self.ensure_ascii = ensure_ascii;
        self
    }
}

impl From<PythonJson> for JsonForm {
    fn from(form: PythonJson) -> Self {
        Self::Python(form)
    }
}

impl JsonForm {
    /// This text as a string.
    pub(crate) fn string(self, text: &str) -> Vec<u8> {
        let mut string = Vec::with_capacity(text.len() + 2);
        self.write_string(text, &mut string);
        string
    }

    pub(super) fn write_string(self, text: &str, out: &mut Vec<u8>) {
        out.push(b'"');
        let mut rest = text;
        // The first byte of a character tells whether it is escaped.
        while let Some(plain) = rest.bytes().position(|b| self.escapes(b)) {
            let (before, from) = rest.split_at_checked(plain).unwrap_or_default();
            out.extend_from_slice(before.as_bytes());
            let mut chars = from.chars();
            if let Some(c) = chars.next() {
                write_escape(c, out);
            }
            rest = chars.as_str();
        }
        out.extend_from_slice(rest.as_bytes());
        out.push(b'"');
    }

    fn escapes(self, byte: u8) -> bool {
        byte < b' ' || matches!(byte, b'"' | b'\\') || byte > b'~' && self.is_ascii()
    }

    /// Returns whether every byte of a document is printable ASCII; in the other forms, no byte is
    /// a control character of ASCII, except U+007F.
    pub(crate) fn is_ascii(self) -> bool {
        matches!(self, Self::Python(form) if form.ensure_ascii)
    }

    /// The order of the keys of an object.
    pub(crate) fn order(self, one: &str, other: &str) -> Ordering {
        match self {
            Self::Jcs => one.encode_utf16().cmp(other.encode_utf16()),
            // UTF-8 sorts as code points do.
            Self::Python(_) => one.cmp(other),
        }
    }

    /// Returns the texts between two members, and between a name and its value.
    pub(crate) fn separators(self) -> (&'static str, &'static str) {
        match self {
            Self::Python(form) if !form.compact => (", ", ": "),
            _ => (",", ":"),
        }
    }
}

fn write_escape(c: char, out: &mut Vec<u8>) {
    let short = match c {
        '"' => b'"',
        '\\' => b'\\',
        '\x08' => b'b',
        '\t' => b't',
        '\n' => b'n',
        '\x0c' => b'f',
        '\r' => b'r',
        c => {
            for unit in c.encode_utf16(&mut [0; 2]) {
                out.extend_from_slice(b"\\u");
                let mut digits = [0; 4];
                let hex = base16ct::lower::encode(&unit.to_be_bytes(), &mut digits);
                out.extend_from_slice(hex.unwrap_or_default());
            }
            return;
        }
    };
    out.extend_from_slice(&[b'\\', short]);
}
