//! A scheme file that describes a profile of `HttpMessageSignatures`.

use std::{collections::BTreeMap, ops::Range, time::Duration};

use countersign::{
    HttpMessageSignatures,
    rfc9421::{Component, FieldType},
    scheme::DigestAlgorithm,
};
use serde::Deserialize;
use toml::Spanned;

use super::{chosen::SecretForm, refusal::in_words};
use crate::toml_file::Fault;

/// Everything that the builder of `HttpMessageSignatures` can say.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Profile {
    #[serde(rename = "kind")]
    _kind: String,
    #[serde(default, rename = "description")]
    _description: Option<String>,
    #[serde(default)]
    pub(super) secret: SecretForm,
    #[serde(default)]
    label: Option<Spanned<String>>,
    #[serde(default)]
    tag: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) fixed_key_id: Option<Spanned<String>>,
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

impl Profile {
    /// The headers that a request must have.
    pub(super) fn headers(&self) -> Vec<String> {
        let only = self.danger_require_only.iter().flatten();
        let names = only.chain(&self.covers).map(Spanned::get_ref);
        let fields = names.map(|name| name.trim_matches('"'));
        let fields = fields.filter(|name| !name.contains(['@', ';']));
        fields.map(str::to_owned).collect()
    }

    pub(super) fn build(self) -> Result<HttpMessageSignatures, Fault> {
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
        if let Some(id) = &self.fixed_key_id {
            builder = builder.fixed_key_id(id.get_ref());
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

    /// Returns where the file says what the library refuses.
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
        let key = || {
            self.fixed_key_id
                .as_ref()
                .filter(|_| text.contains("key id"))
        };
        let place = named
            .or_else(label)
            .or_else(key)
            .or_else(tag)
            .map(Spanned::span);
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
