//! The whole file.

use std::{collections::BTreeMap, path::Path};

use super::{
    super::{keys::Owners, written::Written},
    limits::Limits,
    listeners::Listen,
    routes::{Reading, Route},
    upstreams,
};
use crate::toml_file::{Fault, Kind};

pub(crate) const KIND: Kind = Kind {
    name: "configuration",
    advice: "`cli/proxy.md` describes each key",
};

/// What a configuration means.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) listen: Vec<Listen>,
    /// Where the state of the proxy is asked for.
    pub(crate) admin: Option<Listen>,
    pub(crate) limits: Limits,
    pub(in crate::proxy) access_log: bool,
    pub(in crate::proxy) routes: Vec<Route>,
}

impl Plan {
    /// Reads a configuration. Relative paths in it begin at its folder.
    ///
    /// # Errors
    /// Returns the first fault, with its place in the text.
    pub(crate) fn parse(text: &str, folder: &Path) -> Result<Self, Fault> {
        let written: Written = toml::from_str(text)?;
        let listen = &written.listen;
        let each = listen.get_ref().iter();
        let each = each.map(|listen| Listen::read(listen, folder));
        let addresses = each.collect::<Result<Vec<_>, _>>()?;
        if addresses.is_empty() {
            return Err(Fault::at(listen.span(), "it names no address")
                .advising("write one such as \"127.0.0.1:8080\" or \"unix:countersign.sock\""));
        }
        let limits = Limits::read(&written.limits)?;
        let mut upstreams = BTreeMap::new();
        for (name, upstream) in &written.upstreams {
            upstreams.insert(
                name.get_ref().as_str(),
                upstreams::upstream(upstream, folder)?,
            );
        }
        let mut routes: Vec<Route> = Vec::new();
        let mut owners = Owners::default();
        for route in &written.routes {
            let reading = Reading {
                written: route.get_ref(),
                folder,
                upstreams: &upstreams,
                store: written.store.as_ref(),
            };
            let read = reading.route(&mut owners)?;
            reading.check_against(&read, &routes)?;
            routes.push(read);
        }
        if routes.is_empty() {
            return Err(
                Fault::at(0..0, "it has no route, so that every request is refused")
                    .advising("add a table [[routes]]"),
            );
        }
        let admin = written.admin.as_ref();
        let admin = admin.map(|admin| Listen::read(admin, folder));
        Ok(Self {
            listen: addresses,
            admin: admin.transpose()?,
            limits,
            access_log: written.access_log.unwrap_or(true),
            routes,
        })
    }
}
