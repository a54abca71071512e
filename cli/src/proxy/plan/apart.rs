//! Settings that do not go together.

use std::ops::Range;

use toml::Spanned;

use super::{
    super::keys::Owners,
    routes::{Reading, Route},
    signs::{ReadingSign, Sign},
};
use crate::toml_file::Fault;

impl Reading<'_> {
    /// Refuses a name that another route has, and a place that is another's too.
    pub(super) fn check_against(&self, read: &Route, others: &[Route]) -> Result<(), Fault> {
        for other in others {
            refuse_same_name(&self.written.name, &other.name)?;
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
            set("scheme", &written.scheme),
            set("keys", &written.keys),
            set("key-directory", &written.key_directory),
            set("tenant-directory", &written.tenant_directory),
            set("public-origin", &written.public_origin),
            set("danger-any-authority", &written.danger_any_authority),
            set("danger-unsigned", &written.danger_unsigned),
            set("max-age", &written.max_age),
            set("max-skew", &written.max_skew),
            set("body-deadline", &written.body_deadline),
            set("processing", &written.processing),
            set("lease", &written.lease),
            set("on-duplicate", &written.on_duplicate),
            set("danger-observe-only", &written.danger_observe_only),
            set("store", &written.store),
            set("sign-forwarded", &written.sign_forwarded),
        ];
        let found = places.into_iter().flatten().next();
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

impl Reading<'_> {
    /// Refuses to sign with a secret that a route accepts: its clients could sign in the place of the
    /// proxy, and what the proxy signs could be sent to that route.
    pub(super) fn refuse_shared_secret(&self, owners: &Owners) -> Result<(), Fault> {
        let Some(key) = &self.written.sign_forwarded else {
            return Ok(());
        };
        let (_, secret) = self.forward_key(key)?;
        match owners.owner_of(&secret) {
            None => Ok(()),
            Some(owner) => Err(Fault::at(
                key.span(),
                format!("the route `{owner}` accepts what is signed with this secret"),
            )
            .advising("sign with a secret that the server behind the proxy alone knows")),
        }
    }
}

impl ReadingSign<'_> {
    /// Refuses a name that another route has.
    pub(super) fn check_against(&self, routes: &[Route], signs: &[Sign]) -> Result<(), Fault> {
        let names = routes.iter().map(|route| &route.name);
        let mut names = names.chain(signs.iter().map(|sign| &sign.signing.name));
        names.try_for_each(|name| refuse_same_name(&self.written.name, name))
    }
}

/// A setting that the file has, and where.
fn set<T>(
    name: &'static str,
    written: &Option<Spanned<T>>,
) -> Option<(&'static str, Range<usize>)> {
    Some((name, written.as_ref()?.span()))
}

fn refuse_same_name(name: &Spanned<String>, other: &str) -> Result<(), Fault> {
    match name.get_ref() == other {
        false => Ok(()),
        true => Err(
            Fault::at(name.span(), format!("two routes have the name `{other}`"))
                .advising("the name keeps the requests of one route apart from others"),
        ),
    }
}
