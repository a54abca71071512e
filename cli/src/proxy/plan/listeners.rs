//! Addresses to listen on.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use toml::Spanned;

use crate::{printer::escaped, toml_file::Fault};

/// An address to listen on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Listen {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

impl Listen {
    /// Reads an address. A relative path of a socket begins at the folder of the configuration.
    pub(super) fn read(written: &Spanned<String>, folder: &Path) -> Result<Self, Fault> {
        let text = written.get_ref();
        if let Some(path) = text.strip_prefix("unix:").filter(|path| !path.is_empty()) {
            return Ok(Self::Unix(folder.join(path)));
        }
        text.parse().map(Self::Tcp).map_err(|_| {
            Fault::at(
                written.span(),
                format!("`{}` is not an address to listen on", escaped(text)),
            )
            .advising(
                "write an IP address with a port, such as \"127.0.0.1:8080\", or \"unix:PATH\"",
            )
        })
    }

    /// Whether no other host reaches it.
    pub(super) fn is_local(&self) -> bool {
        match self {
            Self::Tcp(address) => address.ip().is_loopback(),
            Self::Unix(_) => true,
        }
    }

    pub(super) fn is_tcp(&self) -> bool {
        matches!(self, Self::Tcp(_))
    }
}
