//! Servers behind the proxy.

use std::{collections::BTreeMap, path::Path, sync::Arc, time::Duration};

use toml::Spanned;

use super::{
    super::{
        tls,
        upstream::{Address, Settings, Upstream},
        written,
    },
    values::{fault_of, number, seconds},
};
use crate::{nearest::nearest, printer::escaped, toml_file::Fault};

/// The upstreams of a file, by their names.
pub(super) struct Upstreams<'w>(BTreeMap<&'w str, Arc<Upstream>>);

impl<'w> Upstreams<'w> {
    pub(super) fn read(
        written: &'w BTreeMap<Spanned<String>, written::Upstream>,
        folder: &Path,
        seats: usize,
        known: &[Arc<Upstream>],
    ) -> Result<Self, Fault> {
        let each = written.iter();
        let each = each.map(|(name, written)| {
            let name = name.get_ref().as_str();
            Ok((name, upstream(name, written, folder, seats, known)?))
        });
        each.collect::<Result<_, _>>().map(Self)
    }

    /// Finds the upstream that a route names.
    pub(super) fn find(&self, wanted: &Spanned<String>) -> Result<Arc<Upstream>, Fault> {
        let found = self.0.get(wanted.get_ref().as_str());
        found.map(Arc::clone).ok_or_else(|| {
            let near = nearest(wanted.get_ref(), self.0.keys().copied());
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
}

fn upstream(
    name: &str,
    written: &written::Upstream,
    folder: &Path,
    seats: usize,
    known: &[Arc<Upstream>],
) -> Result<Arc<Upstream>, Fault> {
    let address = written.address.get_ref();
    let resolved = match address.strip_prefix("unix:") {
        Some(path) if !path.is_empty() => format!("unix:{}", folder.join(path).display()),
        _ => address.clone(),
    };
    let authorities = written.ca.as_ref().map(|file| {
        let read = tls::authorities(&folder.join(file.get_ref()));
        read.map_err(|failure| fault_of(file.span(), failure))
    });
    let read = Address::parse(&resolved, written.http2, authorities.transpose()?);
    let address = read.map_err(|why| {
        Fault::at(
            written.address.span(),
            format!(
                "`{}` is not the address of a server: {why}",
                escaped(address)
            ),
        )
        .advising("write one such as \"http://127.0.0.1:3000\" or \"unix:/run/app.sock\"")
    })?;
    let timeout = |written: &Option<Spanned<u64>>, default| {
        seconds(written.as_ref(), 1..3601).map(|set| set.unwrap_or(Duration::from_secs(default)))
    };
    let requests = number(written.requests.as_ref(), 1..100_001, "requests")?;
    let requests = requests.unwrap_or(256);
    let open_requests = number(written.open_requests.as_ref(), 1..100_001, "requests")?;
    let settings = Settings {
        http2: written.http2,
        seats,
        requests,
        open_requests: open_requests.unwrap_or(requests.div_ceil(2)),
        stall_timeout: timeout(&written.stall_timeout, 60)?,
        connect_timeout: timeout(&written.connect_timeout, 5)?,
        answer_timeout: timeout(&written.answer_timeout, 60)?,
        // Shorter than servers keep connections: gunicorn 2 s, uvicorn and Node.js 5 s.
        idle_timeout: timeout(&written.idle_timeout, 1)?,
    };
    // An upstream that did not change keeps its connections, and counts its requests on.
    let mut known = known.iter();
    let known = known.find(|known| known.is_of(name, &address, &settings));
    Ok(match known {
        Some(known) => Arc::clone(known),
        None => Upstream::new(name, address, settings),
    })
}
