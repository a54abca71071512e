//! One table of routes.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use http::HeaderName;
use toml::Spanned;

use super::{
    super::{
        fields::{self, Policy},
        keys::Owners,
        place::Place,
        upstream::{Target, Upstream},
        verified::Verified,
        written::{self, Forward},
    },
    values::{is_set, number},
};
use crate::{nearest::nearest, printer::escaped, toml_file::Fault};

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
    pub(super) upstreams: &'w BTreeMap<&'w str, Arc<Upstream>>,
    /// The store of routes that name none.
    pub(super) store: Option<&'w Spanned<String>>,
}

impl Reading<'_> {
    pub(super) fn route(&self, owners: &mut Owners) -> Result<Route, Fault> {
        let written = self.written;
        let name = written.name.get_ref();
        let is_name = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if name.is_empty() || name.len() > 64 || !name.chars().all(is_name) {
            return Err(Fault::at(
                written.name.span(),
                "a name has 1 to 64 letters, digits, `-`, `_` and `.`",
            ));
        }
        let target = Arc::new(Target {
            upstream: self.upstream()?,
            policy: self.policy()?,
        });
        let place = self.place()?;
        let max_body_bytes = number(written.max_body_bytes.as_ref(), 0..1_073_741_825, "bytes")?;
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
            name: name.clone(),
            place,
            target,
            verified,
            max_body_bytes: max_body_bytes.unwrap_or(1024 * 1024),
        })
    }

    fn upstream(&self) -> Result<Arc<Upstream>, Fault> {
        let wanted = &self.written.upstream;
        let found = self.upstreams.get(wanted.get_ref().as_str());
        found.map(Arc::clone).ok_or_else(|| {
            let near = nearest(wanted.get_ref(), self.upstreams.keys().copied());
            Fault::at(
                wanted.span(),
                format!("there is no upstream `{}`", escaped(wanted.get_ref())),
            )
            .advising(match near {
                Some(near) => format!("did you mean \"{near}\"?"),
                None => format!("add a table [upstreams.{}]", escaped(wanted.get_ref())),
            })
        })
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
