//! A scheme file that describes a `HeaderScheme`.

use std::{ops::Range, time::Duration};

use countersign::{
    HeaderScheme, Part,
    error::{ConfigError, ConfigErrorKind},
    scheme::{Encoding, MacAlgorithm, WithoutBody},
};
use serde::Deserialize;
use toml::Spanned;

use super::{
    chosen::SecretForm,
    part::{PartEntry, PartTable, WORDS},
    refusal::in_words,
};
use crate::toml_file::Fault;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Algorithm {
    HmacSha256,
    HmacSha512,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum MacEncoding {
    Hex,
    Base64,
}

/// How a request without a body is signed.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Without {
    EmptyText,
    Null,
    LeftOut,
}

/// Everything that the builder of `HeaderScheme` can say.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Header {
    #[serde(rename = "kind")]
    _kind: String,
    #[serde(default, rename = "description")]
    _description: Option<String>,
    #[serde(default)]
    pub(super) secret: SecretForm,
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
    pub(super) fixed_key_id: Option<Spanned<String>>,
    #[serde(default)]
    time: Option<Spanned<String>>,
    #[serde(default)]
    time_millis: Option<Spanned<String>>,
    #[serde(default)]
    time_width: Option<Spanned<usize>>,
    #[serde(default)]
    nonce: Option<Spanned<String>>,
    #[serde(default)]
    event_id: Option<Spanned<String>>,
    #[serde(default)]
    event_horizon: Option<Spanned<u64>>,
    #[serde(default)]
    danger_without_time: Option<Spanned<u64>>,
    #[serde(default)]
    without_body: Option<Without>,
    #[serde(default)]
    join: Option<String>,
    signs: Spanned<Vec<Spanned<PartEntry>>>,
}

impl Header {
    /// The path that every request has.
    pub(super) fn fixed_path(&self) -> Option<String> {
        let mut parts = self.signs.get_ref().iter().map(Spanned::get_ref);
        parts.find_map(|part| match part {
            PartEntry::Table(PartTable::FixedPath(path)) => Some(path.clone()),
            _ => None,
        })
    }

    /// The headers that a request must have.
    pub(super) fn headers(&self) -> Vec<String> {
        let parts = self.signs.get_ref().iter().map(Spanned::get_ref);
        let names = parts.filter_map(|part| match part {
            PartEntry::Table(PartTable::Header(name)) => Some(name.clone()),
            _ => None,
        });
        names.collect()
    }

    /// The names of the values that are signed and not sent.
    pub(super) fn supplied(&self) -> Vec<String> {
        let parts = self.signs.get_ref().iter().map(Spanned::get_ref);
        parts.flat_map(PartEntry::supplied).collect()
    }

    pub(super) fn build(self) -> Result<HeaderScheme, Fault> {
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
        if let Some(width) = &self.time_width {
            builder = builder.time_width(*width.get_ref());
        }
        builder = match self.without_body {
            None => builder,
            Some(Without::EmptyText) => builder.without_body(WithoutBody::EmptyText),
            Some(Without::Null) => builder.without_body(WithoutBody::Null),
            Some(Without::LeftOut) => builder.without_body(WithoutBody::LeftOut),
        };
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

    /// Returns where the file says what the library refuses.
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
        let setting = setting
            .filter(|_| !text.contains(" and its neighbour"))
            .and_then(|(_, setting)| setting)
            .map(Spanned::span);
        let part = self
            .signs
            .get_ref()
            .iter()
            .find(|entry| match entry.get_ref() {
                PartEntry::Word(word) => WORDS.iter().any(|(known, part)| {
                    let words = word.replace('-', " ");
                    known == word
                        && (text.contains(&format!("between the {words} and its neighbour"))
                            || text.contains(&format!("`Part::{part:?}`")))
                }),
                PartEntry::Table(PartTable::Header(name)) => {
                    text.contains(&format!("`{}`", name.to_ascii_lowercase()))
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
