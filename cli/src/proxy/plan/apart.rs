//! What does not go together.

use toml::Spanned;

use super::routes::{Reading, Route};
use crate::toml_file::Fault;

impl Reading<'_> {
    /// Refuses a name that another route has, and a place that is another's too.
    pub(super) fn check_against(&self, read: &Route, others: &[Route]) -> Result<(), Fault> {
        for other in others {
            if other.name == read.name {
                return Err(Fault::at(
                    self.written.name.span(),
                    format!("two routes have the name `{}`", read.name),
                )
                .advising("the name keeps the requests of one route apart from others"));
            }
            if other.place.collides(&read.place) {
                return Err(Fault::at(
                    self.written.path.span(),
                    format!(
                        "a request may be for this route and for the route `{}`, and neither is \
                         more specific",
                        other.name
                    ),
                )
                .advising("give one of the two another host, path or methods"));
            }
        }
        Ok(())
    }

    /// A setting that has a meaning only where requests are verified.
    pub(super) fn refuse_settings_of_verified(&self) -> Result<(), Fault> {
        let written = self.written;
        let places = [
            ("scheme", written.scheme.as_ref().map(Spanned::span)),
            ("keys", written.keys.as_ref().map(Spanned::span)),
            (
                "key-directory",
                written.key_directory.as_ref().map(Spanned::span),
            ),
            (
                "tenant-directory",
                written.tenant_directory.as_ref().map(Spanned::span),
            ),
            (
                "public-origin",
                written.public_origin.as_ref().map(Spanned::span),
            ),
            (
                "danger-any-authority",
                written.danger_any_authority.as_ref().map(Spanned::span),
            ),
            (
                "danger-unsigned",
                written.danger_unsigned.as_ref().map(Spanned::span),
            ),
            ("max-age", written.max_age.as_ref().map(Spanned::span)),
            ("max-skew", written.max_skew.as_ref().map(Spanned::span)),
            (
                "body-deadline",
                written.body_deadline.as_ref().map(Spanned::span),
            ),
            ("processing", written.processing.as_ref().map(Spanned::span)),
            ("lease", written.lease.as_ref().map(Spanned::span)),
            (
                "on-duplicate",
                written.on_duplicate.as_ref().map(Spanned::span),
            ),
            (
                "danger-observe-only",
                written.danger_observe_only.as_ref().map(Spanned::span),
            ),
            ("store", written.store.as_ref().map(Spanned::span)),
        ];
        let found = places.into_iter().find_map(|(name, at)| Some((name, at?)));
        match found {
            None => Ok(()),
            Some((name, at)) => Err(Fault::at(
                at,
                format!("`{name}` has no meaning on a route that is open"),
            )
            .advising("leave out the setting, or leave out `danger-open`")),
        }
    }
}
