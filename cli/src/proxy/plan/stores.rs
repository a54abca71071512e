//! The store of a route.

use std::path::PathBuf;

use super::{super::written, routes::Reading, values::fault_of};
use crate::{store, toml_file::Fault};

/// Beside the configuration: a store that needs no server.
const DEFAULT_STORE_FILE: &str = "countersign.db";

impl Reading<'_> {
    /// The store of the route, with its file beneath the folder of the configuration.
    pub(super) fn store(&self) -> Result<String, Fault> {
        let Some(written) = self.written.store.as_ref().or(self.store) else {
            return Ok(self.beneath(store::FILE, DEFAULT_STORE_FILE));
        };
        let named = match written.get_ref() {
            written::Store::Text(named) => named.clone(),
            written::Store::Variable(variable) => store::from_env(&variable.env)
                .map_err(|failure| fault_of(written.span(), failure))?,
        };
        if named == store::MEMORY || store::is_server(&named) {
            return Ok(named);
        }
        let file = [store::FILE, store::WATERMARK]
            .into_iter()
            .find_map(|kind| {
                let file = named.strip_prefix(kind)?;
                let is_file = !file.is_empty() && !file.starts_with("//");
                is_file.then(|| self.beneath(kind, file))
            });
        // The text is not repeated, which may hold a password.
        file.ok_or_else(|| {
            Fault::at(written.span(), "it does not name a store").advising(
                "write \"sqlite:FILE\", \"memory\", \"memory:FILE\", \
                 \"postgres://USER@HOST/DATABASE\" or \"redis://HOST\"",
            )
        })
    }

    /// A file of a store, named in one way however the configuration writes it.
    fn beneath(&self, kind: &str, file: &str) -> String {
        let path: PathBuf = self.folder.join(file).components().collect();
        format!("{kind}{}", path.display())
    }
}
