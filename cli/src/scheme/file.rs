//! Scheme files: a house format in TOML, with everything that the library's builders can say.

use std::{collections::BTreeMap, fmt, fs, ops::Range, path::Path, time::Duration};

use countersign::{
    HeaderScheme, HttpMessageSignatures, Part,
    error::{ConfigError, ConfigErrorKind},
    rfc9421::{Component, FieldType},
    scheme::{DigestAlgorithm, Encoding, JsonForm, JsonObject, MacAlgorithm, PythonJson},
};
use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor, value::MapAccessDeserializer},
};
use toml::Spanned;

use super::{
    any::AnyScheme,
    names::{Chosen, SecretForm, nearest},
    refusal::Refusal,
};
use crate::exit::Failure;

/// Far more than a description is long.
const MAX_LEN: u64 = 256 * 1024;

/// What a scheme file says.
enum File {
    Header(Box<Header>),
    HttpMessageSignatures(Box<Profile>),
}

/// Which of the two it is; the rest of the file is read once this is known.
#[derive(Debug, Deserialize)]
struct Kinded {
    kind: Spanned<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Algorithm {
    HmacSha256,
    HmacSha512,
    HmacSha1,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum MacEncoding {
    Hex,
    Base64,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum SecretEncoding {
    #[default]
    Text,
    Hex,
    Base64,
}

/// Everything that the builder of `HeaderScheme` can say.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Header {
    #[serde(rename = "kind")]
    _kind: String,
    #[serde(default, rename = "description")]
    _description: Option<String>,
    #[serde(default)]
    secret: SecretEncoding,
    signature: Spanned<String>,
    #[serde(default)]
    prefix: Option<Spanned<String>>,
    #[serde(default)]
    algorithm: Option<Algorithm>,
    #[serde(default)]
    encoding: Option<MacEncoding>,
    #[serde(default)]
    key_id: Option<Spanned<String>>,
    #[serde(default)]
    fixed_key_id: Option<Spanned<String>>,
    #[serde(default)]
    time: Option<Spanned<String>>,
    #[serde(default)]
    time_millis: Option<Spanned<String>>,
    #[serde(default)]
    nonce: Option<Spanned<String>>,
    #[serde(default)]
    event_id: Option<Spanned<String>>,
    #[serde(default)]
    event_horizon: Option<Spanned<u64>>,
    #[serde(default)]
    danger_without_time: Option<Spanned<u64>>,
    #[serde(default)]
    join: Option<String>,
    signs: Spanned<Vec<Spanned<PartEntry>>>,
}

/// Everything that the builder of `HttpMessageSignatures` can say.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Profile {
    #[serde(rename = "kind")]
    _kind: String,
    #[serde(default, rename = "description")]
    _description: Option<String>,
    #[serde(default)]
    secret: SecretEncoding,
    #[serde(default)]
    label: Option<Spanned<String>>,
    #[serde(default)]
    tag: Option<Spanned<String>>,
    #[serde(default)]
    covers: Vec<Spanned<String>>,
    #[serde(default)]
    response_covers: Vec<Spanned<String>>,
    #[serde(default)]
    digest: Option<Digest>,
    #[serde(default)]
    expires_after: Option<Spanned<u64>>,
    #[serde(default)]
    structured_fields: BTreeMap<String, Kind>,
    #[serde(default)]
    danger_require_only: Option<Vec<Spanned<String>>>,
    #[serde(default)]
    danger_without_nonce: bool,
    #[serde(default)]
    danger_without_created: Option<Spanned<u64>>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
enum Digest {
    #[serde(rename = "sha-256")]
    Sha256,
    #[serde(rename = "sha-512")]
    Sha512,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Kind {
    Item,
    List,
    Dictionary,
}

/// A part of the signed message: a word such as `"body"`, or a table such as `{ text = "v0:" }`.
#[derive(Clone, Debug)]
enum PartEntry {
    Word(String),
    Table(PartTable),
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
enum PartTable {
    Text(String),
    Header(String),
    CanonicalBody(Form),
    Json(Object),
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Form {
    Jcs,
    Python,
    PythonCompact,
    PythonUnicode,
    PythonCompactUnicode,
}

/// A JSON object that both sides put together.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Object {
    form: Form,
    #[serde(default)]
    strings: BTreeMap<String, PartEntry>,
    #[serde(default)]
    values: BTreeMap<String, PartEntry>,
}

impl<'de> Deserialize<'de> for PartEntry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;

        impl<'de> Visitor<'de> for Either {
            type Value = PartEntry;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a part such as \"body\", or a table such as { text = \"v0:\" }")
            }

            fn visit_str<E>(self, word: &str) -> Result<PartEntry, E> {
                Ok(PartEntry::Word(word.to_owned()))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<PartEntry, A::Error> {
                PartTable::deserialize(MapAccessDeserializer::new(map)).map(PartEntry::Table)
            }
        }

        deserializer.deserialize_any(Either)
    }
}

/// The parts that a word names.
const WORDS: [(&str, Part); 9] = [
    ("method", Part::Method),
    ("authority", Part::Authority),
    ("path", Part::Path),
    ("query", Part::Query),
    ("path-and-query", Part::PathAndQuery),
    ("time", Part::Time),
    ("nonce", Part::Nonce),
    ("key-id", Part::KeyId),
    ("body", Part::Body),
];

/// Why a description is refused: what, and in which bytes of the file.
pub(super) struct Fault {
    pub(super) what: String,
    pub(super) at: Option<Range<usize>>,
    pub(super) advice: Option<String>,
}

impl Fault {
    fn at(span: Range<usize>, what: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            at: Some(span),
            advice: None,
        }
    }
}

impl From<Form> for JsonForm {
    fn from(form: Form) -> Self {
        let sorted = PythonJson::sorted();
        match form {
            Form::Jcs => Self::Jcs,
            Form::Python => sorted.into(),
            Form::PythonCompact => sorted.compact().into(),
            Form::PythonUnicode => sorted.ensure_ascii(false).into(),
            Form::PythonCompactUnicode => sorted.compact().ensure_ascii(false).into(),
        }
    }
}

impl PartEntry {
    fn part(&self) -> Result<Part, (String, Option<String>)> {
        match self {
            Self::Word(word) => {
                let known = WORDS.iter().find(|(known, _)| known == word);
                known.map(|(_, part)| part.clone()).ok_or_else(|| {
                    let near = nearest(word, WORDS.iter().map(|(word, _)| *word));
                    let advice = near.map(|near| format!("did you mean \"{near}\"?"));
                    let advice = advice
                        .unwrap_or_else(|| format!("fixed text is a table: {{ text = {word:?} }}"));
                    (format!("there is no part `{word}`"), Some(advice))
                })
            }
            Self::Table(PartTable::Text(text)) => Ok(Part::text(text)),
            Self::Table(PartTable::Header(name)) => Ok(Part::header(name)),
            Self::Table(PartTable::CanonicalBody(form)) => Ok(Part::canonical_body(*form)),
            Self::Table(PartTable::Json(object)) => {
                let mut made = JsonObject::new(object.form);
                for (name, entry) in &object.strings {
                    made = made.string(name, entry.part()?);
                }
                for (name, entry) in &object.values {
                    made = made.value(name, entry.part()?);
                }
                Ok(Part::Json(made))
            }
        }
    }
}

/// Reads a scheme file. Its name is the scheme's.
pub(crate) fn read(path: &Path) -> Result<Chosen, Failure> {
    let unable = |why: String, advice: &str| {
        Failure::unable(
            format!("cannot read the scheme file `{}`", path.display()),
            why,
            advice,
        )
    };
    let length = fs::metadata(path).map(|metadata| metadata.len());
    if length.as_ref().is_ok_and(|length| *length > MAX_LEN) {
        return Err(unable(
            format!("it is longer than {MAX_LEN} bytes"),
            "check the path",
        ));
    }
    let text = fs::read_to_string(path).map_err(|error| {
        unable(
            error.to_string(),
            "check the path, and that the file is a text in UTF-8",
        )
    })?;
    parse(&text, path).map_err(|fault| {
        Refusal {
            fault,
            text: &text,
            path,
        }
        .into_failure()
    })
}

fn parse(text: &str, path: &Path) -> Result<Chosen, Fault> {
    let file = File::parse(text)?;
    let name = path
        .file_stem()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    let headers = file.headers();
    let (scheme, secret, key_id) = match file {
        File::Header(header) => {
            let (secret, key_id) = (header.secret, header.fixed_key_id.clone());
            let key_id = key_id.map(Spanned::into_inner);
            (AnyScheme::Header(header.build()?), secret, key_id)
        }
        File::HttpMessageSignatures(profile) => {
            let secret = profile.secret;
            (
                AnyScheme::HttpMessageSignatures(profile.build()?),
                secret,
                None,
            )
        }
    };
    let secret = match secret {
        SecretEncoding::Text => SecretForm::OfScheme,
        SecretEncoding::Hex => SecretForm::Hex,
        SecretEncoding::Base64 => SecretForm::Base64,
    };
    Ok(Chosen {
        name,
        scheme,
        secret,
        key_id,
        headers,
    })
}

impl From<toml::de::Error> for Fault {
    fn from(error: toml::de::Error) -> Self {
        Self {
            what: error.message().to_owned(),
            at: error.span(),
            advice: None,
        }
    }
}

impl File {
    fn parse(text: &str) -> Result<Self, Fault> {
        const KINDS: [&str; 2] = ["header", "http-message-signatures"];
        let kind = toml::from_str::<Kinded>(text)?.kind;
        match kind.get_ref().as_str() {
            "header" => Ok(Self::Header(toml::from_str(text)?)),
            "http-message-signatures" => Ok(Self::HttpMessageSignatures(toml::from_str(text)?)),
            other => Err(Fault {
                advice: nearest(other, KINDS).map(|near| format!("did you mean \"{near}\"?")),
                ..Fault::at(
                    kind.span(),
                    format!("`{other}` is neither \"header\" nor \"http-message-signatures\""),
                )
            }),
        }
    }

    /// The headers that a request must have.
    fn headers(&self) -> Vec<String> {
        match self {
            Self::Header(header) => {
                let parts = header.signs.get_ref().iter().map(Spanned::get_ref);
                let names = parts.filter_map(|part| match part {
                    PartEntry::Table(PartTable::Header(name)) => Some(name.clone()),
                    _ => None,
                });
                names.collect()
            }
            Self::HttpMessageSignatures(profile) => {
                let only = profile.danger_require_only.iter().flatten();
                let names = only.chain(&profile.covers).map(Spanned::get_ref);
                let fields = names.map(|name| name.trim_matches('"'));
                let fields = fields.filter(|name| !name.contains(['@', ';']));
                fields.map(str::to_owned).collect()
            }
        }
    }
}

impl Header {
    fn build(self) -> Result<HeaderScheme, Fault> {
        let mut parts = Vec::new();
        for entry in self.signs.get_ref() {
            let part = entry.get_ref().part().map_err(|(what, advice)| Fault {
                what,
                at: Some(entry.span()),
                advice,
            })?;
            parts.push(part);
        }
        let parts = match &self.join {
            Some(delimiter) => Part::joined(delimiter, parts),
            None => parts,
        };
        let mut builder = HeaderScheme::builder(self.signature.get_ref()).signs(parts);
        if let Some(prefix) = &self.prefix {
            builder = builder.prefix(prefix.get_ref());
        }
        builder = match self.algorithm {
            None | Some(Algorithm::HmacSha256) => builder,
            Some(Algorithm::HmacSha512) => builder.algorithm(MacAlgorithm::HmacSha512),
            Some(Algorithm::HmacSha1) => builder.algorithm(MacAlgorithm::HmacSha1),
        };
        if let Some(MacEncoding::Base64) = self.encoding {
            builder = builder.encoding(Encoding::Base64);
        }
        if let Some(header) = &self.key_id {
            builder = builder.key_id(header.get_ref());
        }
        if let Some(id) = &self.fixed_key_id {
            builder = builder.fixed_key_id(id.get_ref());
        }
        if let Some(header) = &self.time {
            builder = builder.time(header.get_ref());
        }
        if let Some(header) = &self.time_millis {
            if self.time.is_some() {
                return Err(Fault::at(
                    header.span(),
                    "`time` and `time-millis` are both given",
                ));
            }
            builder = builder.time_millis(header.get_ref());
        }
        if let Some(header) = &self.nonce {
            builder = builder.nonce(header.get_ref());
        }
        if let Some(header) = &self.event_id {
            if self.nonce.is_some() {
                return Err(Fault::at(
                    header.span(),
                    "`nonce` and `event-id` are both given",
                ));
            }
            builder = builder.event_id(header.get_ref());
        }
        if let Some(seconds) = &self.event_horizon {
            builder = builder.event_horizon(Duration::from_secs(*seconds.get_ref()));
        }
        if let Some(seconds) = &self.danger_without_time {
            builder = builder.danger_without_time(Duration::from_secs(*seconds.get_ref()));
        }
        builder
            .build()
            .map_err(|error| Fault::at(self.place_of(&error), in_words(&error)))
    }

    /// Where the file says what the library refuses.
    fn place_of(&self, error: &ConfigError) -> Range<usize> {
        let text = error.to_string();
        let quoted = |wanted: &Spanned<String>| text.contains(&format!("`{}`", wanted.get_ref()));
        let headers = [
            &self.key_id,
            &self.time,
            &self.time_millis,
            &self.nonce,
            &self.event_id,
        ];
        let headers = headers.into_iter().flatten().chain([&self.signature]);
        let named = headers
            .clone()
            .find(|header| quoted(header))
            .map(Spanned::span);
        if matches!(error.kind(), ConfigErrorKind::KeyId)
            && let Some(id) = &self.fixed_key_id
        {
            return id.span();
        }
        let setting = [
            ("the prefix", self.prefix.as_ref()),
            (
                "the key id",
                self.key_id.as_ref().or(self.fixed_key_id.as_ref()),
            ),
            ("the Time", self.time.as_ref().or(self.time_millis.as_ref())),
            ("the Nonce", self.nonce.as_ref().or(self.event_id.as_ref())),
        ];
        let setting = setting.into_iter().find(|(what, _)| text.contains(what));
        let setting = setting.and_then(|(_, setting)| setting).map(Spanned::span);
        let part = self
            .signs
            .get_ref()
            .iter()
            .find(|entry| match entry.get_ref() {
                PartEntry::Word(word) => WORDS.iter().any(|(known, part)| {
                    known == word
                        && (text.contains(&format!("between {part:?} "))
                            || text.contains(&format!("`Part::{part:?}`")))
                }),
                PartEntry::Table(PartTable::Header(name)) => {
                    let name = name.to_ascii_lowercase();
                    text.contains(&format!("`{name}`"))
                        || text.contains(&format!("Header(\"{name}\")"))
                }
                PartEntry::Table(_) => false,
            });
        let part = part.map(Spanned::span);
        setting
            .or(named)
            .or(part)
            .unwrap_or_else(|| self.signs.span())
    }
}

/// The library's words, with the names of the file in place of Rust's.
fn in_words(error: &ConfigError) -> String {
    let mut text = error.to_string();
    for (rust, file) in [
        ("the scheme's description: ", ""),
        ("`Part::text(\"\\n\")`", "`{ text = \"\\n\" }`"),
        ("`Part::Time`", "the part `time`"),
        ("`Part::Nonce`", "the part `nonce`"),
        ("`Part::KeyId`", "the part `key-id`"),
        ("`Part::Authority`", "the part `authority`"),
        ("the Time", "the time"),
        ("the Nonce", "the nonce"),
        ("danger_without_time", "danger-without-time"),
        ("fixed_key_id", "fixed-key-id"),
    ] {
        text = text.replace(rust, file);
    }
    text
}

impl Profile {
    fn build(self) -> Result<HttpMessageSignatures, Fault> {
        let mut builder = HttpMessageSignatures::builder();
        if let Some(only) = &self.danger_require_only {
            builder = builder.danger_require_only(components(only)?);
        }
        for component in components(&self.covers)? {
            builder = builder.covers(component);
        }
        for component in components(&self.response_covers)? {
            builder = builder.response_covers(component);
        }
        if let Some(label) = &self.label {
            builder = builder.label(label.get_ref());
        }
        if let Some(tag) = &self.tag {
            builder = builder.tag(tag.get_ref());
        }
        builder = match self.digest {
            None | Some(Digest::Sha256) => builder,
            Some(Digest::Sha512) => builder.digest(DigestAlgorithm::Sha512),
        };
        if let Some(seconds) = &self.expires_after {
            builder = builder.expires_after(Duration::from_secs(*seconds.get_ref()));
        }
        for (name, kind) in &self.structured_fields {
            let kind = match kind {
                Kind::Item => FieldType::Item,
                Kind::List => FieldType::List,
                Kind::Dictionary => FieldType::Dictionary,
            };
            builder = builder.structured_field(name, kind);
        }
        if self.danger_without_nonce {
            builder = builder.danger_without_nonce();
        }
        if let Some(seconds) = &self.danger_without_created {
            builder = builder.danger_without_created(Duration::from_secs(*seconds.get_ref()));
        }
        builder.build().map_err(|error| Fault {
            at: self.place_of(&error.to_string()),
            what: in_words(&error),
            advice: None,
        })
    }

    /// Where the file says what the library refuses.
    fn place_of(&self, text: &str) -> Option<Range<usize>> {
        let only = self.danger_require_only.iter().flatten();
        let mut listed = only.chain(&self.covers).chain(&self.response_covers);
        let named = listed.find(|component| {
            let name = component.get_ref();
            let name = name
                .trim_matches('"')
                .split(['"', ';'])
                .next()
                .unwrap_or_default();
            text.contains(&format!("\"{name}\"")) || text.contains(&format!("`{name}`"))
        });
        let label = || self.label.as_ref().filter(|_| text.contains("as a label"));
        let tag = || self.tag.as_ref().filter(|_| text.contains("the tag"));
        let expiry = || {
            self.expires_after
                .as_ref()
                .filter(|_| text.contains("at least 1 second"))
        };
        let place = named.or_else(label).or_else(tag).map(Spanned::span);
        place.or_else(|| expiry().map(Spanned::span))
    }
}

/// Reads components: `@method`, `x-tenant`, or as RFC 9421 writes them with parameters.
fn components(listed: &[Spanned<String>]) -> Result<Vec<Component>, Fault> {
    let read = |entry: &Spanned<String>| {
        let text = entry.get_ref();
        let component: Result<Component, _> = if text.starts_with('"') {
            text.parse()
        } else if text.starts_with('@') {
            format!("\"{text}\"").parse()
        } else {
            Component::header(text)
        };
        component.map_err(|error| Fault::at(entry.span(), in_words(&error)))
    };
    listed.iter().map(read).collect()
}
