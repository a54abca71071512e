//! The whole file.

use std::{path::Path, sync::Arc};

use toml::Spanned;

use super::{
    super::{forwarders::Forwarders, keys::Owners, upstream::Upstream, written::Written},
    limits::Limits,
    listeners::{Entrance, Listen, Side},
    routes::{Reading, Route},
    signs::{ReadingSign, Sign},
    upstreams::Upstreams,
};
use crate::{
    page::page,
    toml_file::{Fault, Kind},
};

pub(crate) const KIND: Kind = Kind {
    name: "configuration",
    advice: concat!(page!("proxy.md"), " describes each key"),
};

/// The upstreams of the configuration before.
#[derive(Clone, Debug, Default)]
pub(crate) struct KnownUpstreams(pub(in crate::proxy) Vec<Arc<Upstream>>);

/// The meaning of a configuration.
#[derive(Debug)]
pub(crate) struct Plan {
    /// All addresses: those of clients, of operators, and of routes that sign.
    pub(crate) entrances: Vec<Entrance>,
    /// Settings that are valid, and will not be for long.
    pub(crate) warnings: Vec<String>,
    pub(crate) limits: Limits,
    pub(in crate::proxy) forwarders: Forwarders,
    pub(in crate::proxy) access_log: bool,
    pub(in crate::proxy) routes: Vec<Route>,
    pub(in crate::proxy) signs: Vec<Sign>,
}

impl Plan {
    /// Reads a configuration. Relative paths in it begin at its folder. Upstreams that are known
    /// stay, if their tables say the same.
    ///
    /// # Errors
    /// Returns the first fault, with its place in the text.
    pub(crate) fn parse(text: &str, folder: &Path, known: &KnownUpstreams) -> Result<Self, Fault> {
        let written: Written = toml::from_str(text)?;
        if written.routes.is_empty() && written.sign.is_empty() {
            return Err(
                Fault::at(0..0, "it has no route, so that every request is refused")
                    .advising("add a table [[routes]]"),
            );
        }
        Listen::refuse_twice(&written, folder)?;
        let (mut entrances, warnings) = Entrance::of_clients(&written, folder)?;
        if let Some(admin) = &written.admin {
            let listen = Listen::read(admin, folder)?;
            entrances.push(Entrance::plain(Side::Operators, listen));
        }
        let limits = Limits::read(&written.limits)?;
        let upstreams = Upstreams::read(&written.upstreams, folder, limits.requests, &known.0)?;
        let mut routes: Vec<Route> = Vec::new();
        let mut owners = Owners::default();
        let reading = |route| Reading {
            written: Spanned::get_ref(route),
            folder,
            body_bytes: limits.body_bytes,
            upstreams: &upstreams,
            store: written.store.as_ref(),
        };
        for route in &written.routes {
            let reading = reading(route);
            let read = reading.route(&mut owners)?;
            reading.check_against(&read, &routes)?;
            routes.push(read);
        }
        for route in &written.routes {
            reading(route).refuse_shared_secret(&owners)?;
        }
        let mut signs: Vec<Sign> = Vec::new();
        for sign in &written.sign {
            let reading = ReadingSign {
                written: sign.get_ref(),
                folder,
                body_bytes: limits.body_bytes,
                upstreams: &upstreams,
                owners: &owners,
            };
            let read = reading.sign()?;
            reading.check_against(&routes, &signs)?;
            let side = Side::Application(read.signing.name.as_str().into());
            entrances.push(Entrance::plain(side, read.listen.clone()));
            signs.push(read);
        }
        Ok(Self {
            entrances,
            warnings,
            limits,
            forwarders: Forwarders::read(written.forwarders.as_ref())?,
            access_log: written.access_log.unwrap_or(true),
            routes,
            signs,
        })
    }

    /// Returns whether somebody can ask for the state of the proxy.
    pub(crate) fn has_operators(&self) -> bool {
        let mut entrances = self.entrances.iter();
        entrances.any(|entrance| entrance.side == Side::Operators)
    }
}
