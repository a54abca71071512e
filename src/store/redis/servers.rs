//! Finds the servers: one, the master that a Sentinel names, or the masters of a cluster.

use std::time::Duration;

use redis::{Cmd, ConnectionAddr, ConnectionInfo, IntoConnectionInfo as _, Value};
use tokio::time::timeout;

use super::{
    error::{self, late, read},
    link::connect,
    slot::SLOTS,
};
use crate::error::{ConfigError, ConfigErrorKind, StoreError};

#[derive(Clone, Debug)]
pub(super) enum Servers {
    One(ConnectionInfo),
    /// The master has the settings of `like`, at another address.
    Sentinel {
        master: String,
        sentinels: Vec<ConnectionInfo>,
        like: ConnectionInfo,
    },
    Cluster(Vec<ConnectionInfo>),
}

/// A master, and the slots that it has.
#[derive(Clone, Debug)]
pub(super) struct Master {
    pub(super) slots: (u16, u16),
    pub(super) info: ConnectionInfo,
}

/// Reads a URL.
pub(super) fn info(url: &str) -> Result<ConnectionInfo, ConfigError> {
    let info = url.into_connection_info().map_err(|error| {
        let place = format!(
            "the URL of a Redis server cannot be read ({error}); write it as \
             `redis://user:password@host:6379`, `rediss://…` or `unix:///path`"
        );
        ConfigErrorKind::StorePlace(place.into())
    })?;
    // Without one, `rustls` would guess, or panic if two are built in. The choice is the application's,
    // because it holds for the whole process.
    let has_provider = || rustls::crypto::CryptoProvider::get_default().is_some();
    if matches!(info.addr(), ConnectionAddr::TcpTls { .. }) && !has_provider() {
        let place = "`rediss://` needs a provider of cryptography for TLS: call, once at the start of \
                     the process, `rustls::crypto::ring::default_provider().install_default()`";
        return Err(ConfigErrorKind::StorePlace(place.into()).into());
    }
    Ok(info)
}

impl Servers {
    /// Asks where the masters are at present.
    pub(super) async fn masters(&self, wait: Duration) -> Result<Vec<Master>, StoreError> {
        match self {
            Self::One(info) => Ok(vec![Master {
                slots: (0, SLOTS - 1),
                info: info.clone(),
            }]),
            Self::Sentinel {
                master,
                sentinels,
                like,
            } => {
                let mut ask = redis::cmd("SENTINEL");
                ask.arg("GET-MASTER-ADDR-BY-NAME").arg(master);
                let (_, answer) = first(sentinels, &ask, wait).await?;
                let (host, port): (String, u16) = read(answer)?;
                Ok(vec![Master {
                    slots: (0, SLOTS - 1),
                    info: at(like, host, port),
                }])
            }
            Self::Cluster(seeds) => {
                let mut ask = redis::cmd("CLUSTER");
                ask.arg("SLOTS");
                let (seed, answer) = first(seeds, &ask, wait).await?;
                masters_of_cluster(seed, answer)
            }
        }
    }
}

/// The first answer of any of them.
async fn first<'a>(
    servers: &'a [ConnectionInfo],
    command: &Cmd,
    wait: Duration,
) -> Result<(&'a ConnectionInfo, Value), StoreError> {
    let mut failed = StoreError::unavailable("no server is named");
    for server in servers {
        let asked = async {
            let mut connection = connect(server.clone(), wait).await?;
            let answer = connection.send_packed_command(command).await;
            let answer = answer.and_then(Value::extract_error);
            answer.map_err(error::unavailable)
        };
        match timeout(wait, asked).await {
            Ok(Ok(Value::Nil)) => {
                failed = StoreError::unavailable("the Sentinel knows no master of this name");
            }
            Ok(Ok(answer)) => return Ok((server, answer)),
            Ok(Err(error)) => failed = error,
            Err(_) => failed = late(wait),
        }
    }
    Err(failed)
}

/// `CLUSTER SLOTS`: ranges, each with its master first. A server that does not know its own host
/// leaves it out.
fn masters_of_cluster(seed: &ConnectionInfo, answer: Value) -> Result<Vec<Master>, StoreError> {
    let ranges: Vec<Vec<Value>> = read(answer)?;
    let mut masters = Vec::new();
    for range in ranges {
        let mut parts = range.into_iter();
        let mut part = || parts.next().ok_or_else(error::unexpected);
        let slots = (read(part()?)?, read(part()?)?);
        let mut server = read::<Vec<Value>>(part()?)?.into_iter();
        let mut part = || server.next().ok_or_else(error::unexpected);
        let host: Option<String> = read(part()?)?;
        let port: u16 = read(part()?)?;
        let host = host.filter(|host| !host.is_empty() && host != "?");
        let host = host.or_else(|| host_of(seed)).unwrap_or_default();
        masters.push(Master {
            slots,
            info: at(seed, host, port),
        });
    }
    if masters.is_empty() {
        return Err(StoreError::unavailable("the cluster serves no slots yet"));
    }
    Ok(masters)
}

fn host_of(info: &ConnectionInfo) -> Option<String> {
    match info.addr() {
        ConnectionAddr::Tcp(host, _) | ConnectionAddr::TcpTls { host, .. } => Some(host.clone()),
        _ => None,
    }
}

/// The same settings at another address.
fn at(like: &ConnectionInfo, host: String, port: u16) -> ConnectionInfo {
    let address = match like.addr() {
        ConnectionAddr::TcpTls {
            insecure,
            tls_params,
            ..
        } => ConnectionAddr::TcpTls {
            host,
            port,
            insecure: *insecure,
            tls_params: tls_params.clone(),
        },
        _ => ConnectionAddr::Tcp(host, port),
    };
    like.clone().set_addr(address)
}
