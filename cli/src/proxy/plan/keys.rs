//! The keys of a route that verifies.

use std::{ops::Range, path::Path};

use countersign::Secret;
use toml::Spanned;

use super::{
    super::{
        keys::{Place as KeyPlace, Source},
        place::Place,
        verified::RouteKeys,
        written,
    },
    routes::Reading,
    values::fault_of,
};
use crate::{exit::Failure, toml_file::Fault};

impl Reading<'_> {
    /// Returns where the keys are, and where the file says so.
    pub(super) fn keys(&self, place: &Place) -> Result<(RouteKeys, Range<usize>), Fault> {
        let written = self.written;
        let (keys, at) = match (
            &written.keys,
            &written.key_directory,
            &written.tenant_directory,
        ) {
            (Some(keys), None, None) => {
                let listed: Result<Vec<_>, _> = keys
                    .get_ref()
                    .iter()
                    .map(|key| place_of(key, self.folder))
                    .collect();
                (RouteKeys::One(Source::Listed(listed?)), keys.span())
            }
            (None, Some(folder), None) => (
                RouteKeys::One(Source::Directory(self.folder.join(folder.get_ref()))),
                folder.span(),
            ),
            (None, None, Some(folder)) => (
                RouteKeys::Tenants(self.folder.join(folder.get_ref())),
                folder.span(),
            ),
            _ => {
                return Err(Fault::at(
                    written.name.span(),
                    "a route has one of `keys`, `key-directory` and `tenant-directory`",
                )
                .advising("write keys = [{ file = \"app.secret\" }], for example"));
            }
        };
        let has_tenants = matches!(keys, RouteKeys::Tenants(_));
        if has_tenants != place.has_tenant() {
            return Err(Fault::at(
                written.path.span(),
                "`{tenant}` in the path and `tenant-directory` belong together",
            )
            .advising("write path = \"/hooks/{tenant}\" and tenant-directory = \"tenants\""));
        }
        Ok((keys, at))
    }

    /// The key under which the proxy signs what it forwards.
    pub(super) fn forward_key(
        &self,
        key: &Spanned<written::Key>,
    ) -> Result<(String, Secret), Fault> {
        let (id, place) = place_of(key, self.folder)?;
        let id = id.ok_or_else(|| {
            Fault::at(
                key.span(),
                "the signature of the proxy names its key, and it has no id",
            )
            .advising("add `id`, with the id that the upstream knows the secret by")
        })?;
        let refused = |failure: Failure| fault_of(key.span(), failure);
        let secret = place.read().map_err(refused)?;
        let secret = Secret::new(secret.as_bytes());
        let secret = secret.map_err(|error| Fault::at(key.span(), error.to_string()))?;
        Ok((id, secret))
    }
}

/// The id of a key, and where its secret is.
pub(super) fn place_of(
    key: &Spanned<written::Key>,
    folder: &Path,
) -> Result<(Option<String>, KeyPlace), Fault> {
    let id = key.get_ref().id.as_ref().map(|id| id.get_ref().clone());
    match (&key.get_ref().file, &key.get_ref().env) {
        (Some(file), None) => Ok((id, KeyPlace::File(folder.join(file.get_ref())))),
        (None, Some(name)) => Ok((id, KeyPlace::Env(name.get_ref().clone()))),
        _ => Err(Fault::at(key.span(), "a key has one of `file` and `env`")
            .advising("write { id = \"partner-1\", file = \"partner-1.secret\" }")),
    }
}
