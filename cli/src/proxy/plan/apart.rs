//! Settings that do not go together.

use toml::Spanned;

use super::{
    super::keys::Owners,
    listeners::Listen,
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
            (
                "sign-forwarded",
                written.sign_forwarded.as_ref().map(Spanned::span),
            ),
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
    /// Refuses a name that another route has, and an address of another route that signs.
    pub(super) fn check_against(
        &self,
        read: &Sign,
        routes: &[Route],
        signs: &[Sign],
    ) -> Result<(), Fault> {
        let names = routes.iter().map(|route| &route.name);
        let mut names = names.chain(signs.iter().map(|sign| &sign.signing.name));
        names.try_for_each(|name| refuse_same_name(&self.written.name, name))?;
        let mut others = signs.iter();
        let is_other = |other: &Listen| matches!(other, Listen::Tcp(at) if at.port() == 0);
        match others.find(|other| other.listen == read.listen && !is_other(&other.listen)) {
            None => Ok(()),
            Some(other) => Err(Fault::at(
                self.written.listen.span(),
                format!("the route `{}` listens there", other.signing.name),
            )
            .advising("give each route that signs an address of its own")),
        }
    }
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
