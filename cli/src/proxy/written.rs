//! The configuration, as the file writes it.

use std::collections::BTreeMap;

use serde::Deserialize;
use toml::Spanned;

/// The whole file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Written {
    #[serde(default)]
    pub(super) listen: Option<Spanned<Vec<Spanned<String>>>>,
    #[serde(default)]
    pub(super) tls: Vec<Tls>,
    #[serde(default)]
    pub(super) admin: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) access_log: Option<bool>,
    #[serde(default)]
    pub(super) store: Option<Spanned<Store>>,
    #[serde(default)]
    pub(super) limits: Limits,
    #[serde(default)]
    pub(super) forwarders: Option<Forwarders>,
    pub(super) upstreams: BTreeMap<Spanned<String>, Upstream>,
    #[serde(default)]
    pub(super) routes: Vec<Spanned<Route>>,
    #[serde(default)]
    pub(super) sign: Vec<Spanned<Sign>>,
}

/// Whom to believe who a client is.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Forwarders {
    pub(super) networks: Spanned<Vec<Spanned<String>>>,
    #[serde(default)]
    pub(super) client: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) scheme: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) host: Option<Spanned<String>>,
}

/// An address with TLS, and one of its certificates.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Tls {
    pub(super) listen: Spanned<String>,
    pub(super) certificate: Spanned<String>,
    pub(super) key: Spanned<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(super) struct Limits {
    pub(super) connections: Option<Spanned<u64>>,
    pub(super) per_client: Option<Spanned<u64>>,
    pub(super) head_bytes: Option<Spanned<u64>>,
    pub(super) head_deadline: Option<Spanned<u64>>,
    pub(super) idle_deadline: Option<Spanned<u64>>,
    pub(super) streams: Option<Spanned<u64>>,
    pub(super) drain: Option<Spanned<u64>>,
    pub(super) requests: Option<Spanned<u64>>,
    pub(super) body_bytes: Option<Spanned<u64>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Upstream {
    pub(super) address: Spanned<String>,
    #[serde(default)]
    pub(super) ca: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) http2: bool,
    #[serde(default)]
    pub(super) requests: Option<Spanned<u64>>,
    #[serde(default)]
    pub(super) connect_timeout: Option<Spanned<u64>>,
    #[serde(default)]
    pub(super) answer_timeout: Option<Spanned<u64>>,
    #[serde(default)]
    pub(super) stall_timeout: Option<Spanned<u64>>,
    #[serde(default)]
    pub(super) open_requests: Option<Spanned<u64>>,
    #[serde(default)]
    pub(super) idle_timeout: Option<Spanned<u64>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Route {
    pub(super) name: Spanned<String>,
    pub(super) upstream: Spanned<String>,
    #[serde(default)]
    pub(super) host: Option<Spanned<String>>,
    pub(super) path: Spanned<String>,
    #[serde(default)]
    pub(super) methods: Option<Spanned<Vec<Spanned<String>>>>,
    #[serde(default)]
    pub(super) danger_open: Option<Spanned<bool>>,

    #[serde(default)]
    pub(super) scheme: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) keys: Option<Spanned<Vec<Spanned<Key>>>>,
    #[serde(default)]
    pub(super) key_directory: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) tenant_directory: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) public_origin: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) danger_any_authority: Option<Spanned<bool>>,
    #[serde(default)]
    pub(super) danger_unsigned: Option<Spanned<Vec<Unsigned>>>,
    #[serde(default)]
    pub(super) max_age: Option<Spanned<u64>>,
    #[serde(default)]
    pub(super) max_skew: Option<Spanned<u64>>,
    #[serde(default)]
    pub(super) max_body_bytes: Option<Spanned<u64>>,
    #[serde(default)]
    pub(super) body_deadline: Option<Spanned<u64>>,
    #[serde(default)]
    pub(super) processing: Option<Spanned<Processing>>,
    #[serde(default)]
    pub(super) lease: Option<Spanned<u64>>,
    #[serde(default)]
    pub(super) on_duplicate: Option<Spanned<OnDuplicate>>,
    #[serde(default)]
    pub(super) danger_observe_only: Option<Spanned<bool>>,
    #[serde(default)]
    pub(super) store: Option<Spanned<Store>>,
    #[serde(default)]
    pub(super) forward: Option<Spanned<Forward>>,
    #[serde(default)]
    pub(super) forward_also: Option<Spanned<Vec<Spanned<String>>>>,
    #[serde(default)]
    pub(super) sign_forwarded: Option<Spanned<Key>>,
}

/// A route that signs requests of an application.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Sign {
    pub(super) name: Spanned<String>,
    pub(super) listen: Spanned<String>,
    #[serde(default)]
    pub(super) danger_listen_to_others: bool,
    pub(super) upstream: Spanned<String>,
    #[serde(default)]
    pub(super) danger_plain_upstream: bool,
    #[serde(default)]
    pub(super) origin: Option<Spanned<String>>,
    pub(super) scheme: Spanned<String>,
    pub(super) key: Spanned<Key>,
    #[serde(default)]
    pub(super) danger_shared_secret: bool,
    #[serde(default)]
    pub(super) id_header: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) max_body_bytes: Option<Spanned<u64>>,
    #[serde(default)]
    pub(super) body_deadline: Option<Spanned<u64>>,
}

/// The store of a route, or the variable of the environment that names it.
#[derive(Debug, Deserialize)]
#[serde(
    untagged,
    expecting = "a store is a text such as \"sqlite:FILE\", or { env = \"NAME\" }"
)]
pub(super) enum Store {
    Text(String),
    Variable(Variable),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Variable {
    pub(super) env: String,
}

/// One secret, and where it is.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Key {
    #[serde(default)]
    pub(super) id: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) file: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) env: Option<Spanned<String>>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Processing {
    AtMostOnce,
    Retryable,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum OnDuplicate {
    Reject,
    Acknowledge,
}

/// A part of a target.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Unsigned {
    Method,
    Path,
    Query,
}

/// Which of the client's fields are forwarded.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Forward {
    #[default]
    Covered,
    All,
}
