//! One table of routes.

use std::{path::Path, sync::Arc};

use http::HeaderName;
use toml::Spanned;

use super::{
    super::{
        fields::{self, Policy},
        keys::Owners,
        place::Place,
        upstream::{ForwardSigner, Target},
        verified::Verified,
        written::{self, Forward},
    },
    upstreams::Upstreams,
    values::{self, is_set, max_body},
};
use crate::toml_file::Fault;

/// One route.
#[derive(Debug)]
pub(in crate::proxy) struct Route {
    pub(in crate::proxy) name: String,
    pub(in crate::proxy) place: Place,
    pub(in crate::proxy) target: Arc<Target>,
    /// `None` for a route that is open on purpose.
    pub(in crate::proxy) verified: Option<Verified>,
    pub(in crate::proxy) max_body_bytes: usize,
}

/// One table of routes, while it is read.
pub(super) struct Reading<'w> {
    pub(super) written: &'w written::Route,
    pub(super) folder: &'w Path,
    /// The room for the bodies of all routes.
    pub(super) body_bytes: usize,
    pub(super) upstreams: &'w Upstreams<'w>,
    /// The store of routes that name none.
    pub(super) store: Option<&'w Spanned<written::Store>>,
}

impl Reading<'_> {
    pub(super) fn route(&self, owners: &mut Owners) -> Result<Route, Fault> {
        let written = self.written;
        let name = values::name(&written.name)?;
        let target = Arc::new(Target {
            upstream: self.upstreams.find(&written.upstream)?,
            policy: self.policy()?,
            signer: self.forward_signer()?,
        });
        let place = self.place()?;
        let max_body_bytes = max_body(written.max_body_bytes.as_ref(), self.body_bytes)?;
        let verified = match is_set(written.danger_open.as_ref()) {
            true => {
                self.refuse_settings_of_verified()?;
                if place.has_tenant() {
                    return Err(Fault::at(
                        written.path.span(),
                        "a route that is open has no tenants",
                    )
                    .advising("leave out `{tenant}`, or leave out `danger-open`"));
                }
                None
            }
            false => Some(self.verified(&place, max_body_bytes, &target.upstream, owners)?),
        };
        Ok(Route {
            name,
            place,
            target,
            verified,
            max_body_bytes: max_body_bytes.unwrap_or(1024 * 1024),
        })
    }

    fn forward_signer(&self) -> Result<Option<ForwardSigner>, Fault> {
        let Some(key) = &self.written.sign_forwarded else {
            return Ok(None);
        };
        if is_set(self.written.danger_observe_only.as_ref()) {
            return Err(Fault::at(
                key.span(),
                "a route that observes forwards what nobody verified",
            )
            .advising("leave out `sign-forwarded`, or leave out `danger-observe-only`"));
        }
        let (id, secret) = self.forward_key(key)?;
        let signer = ForwardSigner::new(&id, &secret);
        let signer = signer.map_err(|error| Fault::at(key.span(), error.to_string()))?;
        Ok(Some(signer))
    }

    fn policy(&self) -> Result<Policy, Fault> {
        let forward = self.written.forward.as_ref().map(Spanned::get_ref);
        let mut also = Vec::new();
        for name in self.written.forward_also.iter().flat_map(Spanned::get_ref) {
            let read: HeaderName = name
                .get_ref()
                .parse()
                .map_err(|_| Fault::at(name.span(), "it is not the name of a header"))?;
            if fields::is_reserved(&read) {
                return Err(Fault::at(
                    name.span(),
                    format!("`{read}` is never forwarded unless it is signed"),
                )
                .advising("a client could give it any value, and servers believe it"));
            }
            also.push(read);
        }
        Ok(Policy {
            all: forward.copied().unwrap_or_default() == Forward::All,
            also,
        })
    }
}
