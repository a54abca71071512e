//! The trusted forwarders.

use countersign::request::Forwarded;
use http::{HeaderName, header::FORWARDED};
use toml::Spanned;

use super::super::{forwarders::Forwarders, written};
use crate::toml_file::Fault;

/// Where the host is, if the file names no field: it is not read then.
const HOST: &str = "x-forwarded-host";

impl Forwarders {
    pub(super) fn read(written: Option<&written::Forwarders>) -> Result<Self, Fault> {
        let Some(written) = written else {
            return Ok(Self::default());
        };
        let host = field(written.host.as_ref())?;
        if let (Some(written), true) = (&written.host, host == Some(FORWARDED)) {
            return Err(
                Fault::at(written.span(), "the host is read from a field of its own")
                    .advising("write host = \"x-forwarded-host\", or let `Host` be passed on"),
            );
        }
        let name = host.as_ref().map_or(HOST, HeaderName::as_str);
        let refused = |at: &Spanned<String>, error: countersign::ConfigError| {
            Fault::at(at.span(), error.to_string())
                .advising("write a network such as \"10.0.0.0/8\", or an address")
        };
        let mut trusted = Forwarded::host(name)
            .map_err(|error| Fault::at(written.networks.span(), error.to_string()))?;
        for network in written.networks.get_ref() {
            let added = trusted.trust_network(network.get_ref());
            trusted = added.map_err(|error| refused(network, error))?;
        }
        Ok(Self {
            trusted: Some(trusted),
            client: field(written.client.as_ref())?,
            scheme: field(written.scheme.as_ref())?,
            host: host.is_some(),
        })
    }
}

fn field(written: Option<&Spanned<String>>) -> Result<Option<HeaderName>, Fault> {
    let Some(written) = written else {
        return Ok(None);
    };
    let read = written.get_ref().parse();
    let read = read.map_err(|_| Fault::at(written.span(), "it is not the name of a header"))?;
    Ok(Some(read))
}
