//! A scheme file that takes a sender of the library's catalogue, under a key id of its own.

use serde::Deserialize;
use toml::Spanned;

use super::{any::AnyScheme, chosen::Chosen};
use crate::toml_file::Fault;

/// The settings of a sender in a file: everything else is in the catalogue.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Sender {
    #[serde(rename = "kind")]
    _kind: String,
    #[serde(default, rename = "description")]
    _description: Option<String>,
    #[serde(default)]
    fixed_key_id: Option<Spanned<String>>,
}

impl Sender {
    pub(super) fn build(self, name: &str, scheme: AnyScheme) -> Result<Chosen, Fault> {
        let named = |scheme| Chosen::named(name, scheme);
        let Some(id) = self.fixed_key_id else {
            return Ok(named(scheme));
        };
        if let Err(error) = countersign::KeyId::new(id.get_ref().as_str()) {
            return Err(Fault::at(id.span(), error.to_string()));
        }
        Ok(named(scheme.under(id.get_ref())))
    }
}
