//! What a configuration means: everything that can be wrong with it is found here, with its place in
//! the file.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use countersign::{MemoryStore, OnDuplicate, Processing, store::NonceStore};
use http::{HeaderName, Method};
use toml::Spanned;

use super::{
    fields::{self, Policy},
    gate::{Gate, Unsigned},
    keys::{Owners, Place as KeyPlace, Source},
    path,
    place::{Part, Place, TENANT},
    upstream::{Address, Settings, Target, Upstream},
    verified::{Before, Guards, Refusal, RouteKeys, Verified},
    written::{self, Forward, Written},
};
use crate::{
    exit::Failure,
    nearest::nearest,
    printer::escaped,
    scheme,
    serving::ConnectionLimits,
    store,
    toml_file::{Fault, Kind},
};

pub(crate) const KIND: Kind = Kind {
    name: "configuration",
    advice: "`cli/proxy.md` describes each key",
};

/// Beside the configuration: a store that needs no server.
const DEFAULT_STORE_FILE: &str = "countersign.db";

/// For how long a lease of `retryable` holds, unless the file says otherwise.
const LEASE: Duration = Duration::from_secs(30);

/// What a configuration means.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) listen: Vec<Listen>,
    /// Where the state of the proxy is asked for.
    pub(crate) admin: Option<Listen>,
    pub(crate) limits: Limits,
    pub(super) access_log: bool,
    pub(super) routes: Vec<Route>,
}

/// An address to listen on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Listen {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

/// Limits of the whole proxy.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) connections: usize,
    pub(crate) connection: ConnectionLimits,
    /// How long requests that are being answered may take when the proxy ends.
    pub(crate) drain: Duration,
}

/// One route.
#[derive(Debug)]
pub(super) struct Route {
    pub(super) name: String,
    pub(super) place: Place,
    pub(super) target: Arc<Target>,
    /// `None` for a route that is open on purpose.
    pub(super) verified: Option<Verified>,
    pub(super) max_body_bytes: usize,
}

impl Plan {
    /// Reads a configuration. Relative paths in it begin at its folder.
    ///
    /// # Errors
    /// Returns the first fault, with its place in the text.
    pub(crate) fn parse(text: &str, folder: &Path) -> Result<Self, Fault> {
        let written: Written = toml::from_str(text)?;
        let listen: Result<Vec<_>, _> = written.listen.get_ref().iter().map(listen).collect();
        let listen = listen?;
        if listen.is_empty() {
            return Err(Fault::at(written.listen.span(), "it names no address")
                .advising("write one such as \"127.0.0.1:8080\" or \"unix:countersign.sock\""));
        }
        let limits = limits(&written.limits)?;
        let mut upstreams = BTreeMap::new();
        for (name, upstream) in &written.upstreams {
            upstreams.insert(name.get_ref().as_str(), self::upstream(upstream, folder)?);
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
        Ok(Self {
            listen: listen
                .into_iter()
                .map(|listen| listen.beneath(folder))
                .collect(),
            admin: match &written.admin {
                Some(admin) => Some(self::listen(admin)?.beneath(folder)),
                None => None,
            },
            limits,
            access_log: written.access_log.unwrap_or(true),
            routes,
        })
    }
}

impl Listen {
    fn beneath(self, folder: &Path) -> Self {
        match self {
            Self::Unix(path) => Self::Unix(folder.join(path)),
            tcp => tcp,
        }
    }
}

fn listen(written: &Spanned<String>) -> Result<Listen, Fault> {
    let text = written.get_ref();
    if let Some(path) = text.strip_prefix("unix:").filter(|path| !path.is_empty()) {
        return Ok(Listen::Unix(path.into()));
    }
    text.parse().map(Listen::Tcp).map_err(|_| {
        Fault::at(
            written.span(),
            format!("`{}` is not an address to listen on", escaped(text)),
        )
        .advising("write an IP address with a port, such as \"127.0.0.1:8080\", or \"unix:PATH\"")
    })
}

/// A number within a range.
fn number<T: TryFrom<u64>>(
    written: Option<&Spanned<u64>>,
    range: Range<u64>,
    unit: &str,
) -> Result<Option<T>, Fault> {
    let Some(written) = written else {
        return Ok(None);
    };
    let wrong = || {
        let (first, last) = (range.start, range.end - 1);
        Fault::at(
            written.span(),
            format!("it is between {first} and {last} {unit}"),
        )
        .advising("choose a number within the range")
    };
    match range.contains(written.get_ref()) {
        true => T::try_from(*written.get_ref())
            .map(Some)
            .map_err(|_| wrong()),
        false => Err(wrong()),
    }
}

fn seconds(written: Option<&Spanned<u64>>, range: Range<u64>) -> Result<Option<Duration>, Fault> {
    let seconds = number(written, range, "seconds")?;
    Ok(seconds.map(Duration::from_secs))
}

fn limits(written: &written::Limits) -> Result<Limits, Fault> {
    let default = ConnectionLimits::default();
    let head_bytes = number(written.head_bytes.as_ref(), 8192..1_048_577, "bytes")?;
    let head_deadline = seconds(written.head_deadline.as_ref(), 1..301)?;
    let idle_deadline = seconds(written.idle_deadline.as_ref(), 1..3601)?;
    let streams = number(written.streams.as_ref(), 1..10_001, "requests")?;
    let connections = number(written.connections.as_ref(), 1..1_000_001, "connections")?;
    Ok(Limits {
        connections: connections.unwrap_or(1024),
        connection: ConnectionLimits {
            head_deadline: head_deadline.unwrap_or(default.head_deadline),
            idle_deadline: idle_deadline.unwrap_or(default.idle_deadline),
            head_bytes: head_bytes.unwrap_or(64 * 1024),
            streams: streams.unwrap_or(default.streams),
        },
        drain: seconds(written.drain.as_ref(), 0..3601)?.unwrap_or(Duration::from_secs(30)),
    })
}

fn upstream(written: &written::Upstream, folder: &Path) -> Result<Arc<Upstream>, Fault> {
    let address = written.address.get_ref();
    let resolved = match address.strip_prefix("unix:") {
        Some(path) if !path.is_empty() => format!("unix:{}", folder.join(path).display()),
        _ => address.clone(),
    };
    let address = Address::parse(&resolved, written.http2).map_err(|why| {
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
    let settings = Settings {
        http2: written.http2,
        requests: requests.unwrap_or(256),
        connect_timeout: timeout(&written.connect_timeout, 5)?,
        answer_timeout: timeout(&written.answer_timeout, 60)?,
        // Shorter than servers keep connections: gunicorn 2 s, uvicorn and Node.js 5 s.
        idle_timeout: timeout(&written.idle_timeout, 1)?,
    };
    Ok(Upstream::new(address, settings))
}

/// One table of routes, while it is read.
struct Reading<'w> {
    written: &'w written::Route,
    folder: &'w Path,
    upstreams: &'w BTreeMap<&'w str, Arc<Upstream>>,
    /// The store of routes that name none.
    store: Option<&'w Spanned<String>>,
}

impl Reading<'_> {
    fn route(&self, owners: &mut Owners) -> Result<Route, Fault> {
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

    /// Refuses a name that another route has, and a place that is another's too.
    fn check_against(&self, read: &Route, others: &[Route]) -> Result<(), Fault> {
        for other in others {
            if other.name == read.name {
                return Err(Fault::at(
                    self.written.name.span(),
                    format!("two routes have the name `{}`", read.name),
                )
                .advising("the name keeps the requests of one route apart from others"));
            }
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

    fn place(&self) -> Result<Place, Fault> {
        let written = self.written;
        let host = match &written.host {
            None => None,
            Some(host) => {
                let authority = host.get_ref().parse::<http::uri::Authority>();
                let is_host = authority.is_ok_and(|read| !read.as_str().contains('@'));
                if !is_host {
                    return Err(Fault::at(host.span(), "it is not the name of a host")
                        .advising("write a name such as \"api.example.com\""));
                }
                Some(host.get_ref().to_ascii_lowercase())
            }
        };
        let mut methods = Vec::new();
        for method in written.methods.iter().flat_map(Spanned::get_ref) {
            let read = Method::from_bytes(method.get_ref().as_bytes()).ok();
            let read = read.filter(|read| {
                *read != Method::CONNECT && !read.as_str().contains(char::is_lowercase)
            });
            methods.push(read.ok_or_else(|| {
                Fault::at(method.span(), "it is not a method that can be forwarded")
                    .advising("write methods in capital letters, such as \"POST\"")
            })?);
        }
        if let Some(listed) = &written.methods
            && methods.is_empty()
        {
            return Err(Fault::at(listed.span(), "the route names no method")
                .advising("leave out `methods` for a route of every method"));
        }
        Ok(Place {
            host,
            path: written.path.get_ref().clone(),
            prefix: self.prefix()?,
            methods,
        })
    }

    fn prefix(&self) -> Result<Vec<Part>, Fault> {
        let path = &self.written.path;
        let segments = path::segments(path.get_ref()).map_err(|unclear| {
            Fault::at(path.span(), unclear.to_string())
                .advising("write a path such as \"/transfers\", or \"/\" for every path")
        })?;
        let is_tenant = |segment: &path::Segment<'_>| segment.sent == TENANT;
        // They would be compared as they are, though they look like patterns.
        let mut plain = segments.iter().filter(|segment| !is_tenant(segment));
        if plain.any(|segment| segment.sent.contains(['*', '{', '}', '?', '#'])) {
            return Err(
                Fault::at(path.span(), "`{tenant}` is the only pattern of a path").advising(
                    "write the beginning of the path: a route serves all paths below its own",
                ),
            );
        }
        if segments.iter().filter(|segment| is_tenant(segment)).count() > 1 {
            return Err(Fault::at(path.span(), "a path names one tenant"));
        }
        let parts = segments
            .into_iter()
            .map(|segment| match is_tenant(&segment) {
                true => Part::Tenant,
                false => Part::Text(segment.compared),
            });
        Ok(parts.collect())
    }

    /// A setting that has a meaning only where requests are verified.
    fn refuse_settings_of_verified(&self) -> Result<(), Fault> {
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

    fn verified(
        &self,
        place: &Place,
        max_body_bytes: Option<usize>,
        upstream: &Upstream,
        owners: &mut Owners,
    ) -> Result<Verified, Fault> {
        let written = self.written;
        let Some(scheme) = &written.scheme else {
            return Err(Fault::at(written.name.span(), "the route names no scheme").advising(
                "add `scheme`; `countersign scheme list` lists them. A route that verifies nothing \
                 says `danger-open = true`",
            ));
        };
        let named = match scheme.get_ref().ends_with(".toml") {
            true => self.folder.join(scheme.get_ref()).display().to_string(),
            false => scheme.get_ref().clone(),
        };
        let chosen = scheme::resolve(&named)
            .and_then(|chosen| chosen.supplying_nothing("proxy"))
            .map_err(|failure| fault_of(scheme.span(), failure))?;
        let (keys, keys_at) = self.keys(place)?;
        let processing = self.processing()?;
        let verified = Verified {
            chosen,
            keys,
            store: self.store()?,
            namespace: written.name.get_ref().clone(),
            origin: written
                .public_origin
                .as_ref()
                .map(|origin| origin.get_ref().clone()),
            any_authority: is_set(written.danger_any_authority.as_ref()),
            gate: Gate {
                place: place.clone(),
                takes: self.takes_unsigned(),
            },
            max_age: seconds(written.max_age.as_ref(), 1..86_401)?,
            max_skew: seconds(written.max_skew.as_ref(), 0..86_401)?,
            max_body_bytes,
            body_deadline: seconds(written.body_deadline.as_ref(), 1..3601)?,
            processing,
            on_duplicate: written
                .on_duplicate
                .as_ref()
                .map(|set| match set.get_ref() {
                    written::OnDuplicate::Reject => OnDuplicate::Reject,
                    written::OnDuplicate::Acknowledge => OnDuplicate::Acknowledge,
                }),
            observe_only: is_set(written.danger_observe_only.as_ref()),
            connect_timeout: upstream.connect_timeout(),
        };
        let guards = self.check(&verified, keys_at.clone())?;
        if !verified.chosen.inspector(None).covers_place() {
            let owned = guards.owned_by(&verified.namespace, owners);
            owned.map_err(|failure| fault_of(keys_at, failure))?;
        }
        Ok(verified)
    }

    fn takes_unsigned(&self) -> Unsigned {
        let named = self.written.danger_unsigned.as_ref();
        let takes = |part| named.is_some_and(|named| named.get_ref().contains(&part));
        Unsigned {
            method: takes(written::Unsigned::Method),
            path: takes(written::Unsigned::Path),
            query: takes(written::Unsigned::Query),
        }
    }

    /// Makes the layers once, with a store that nobody uses: the library says what is wrong.
    fn check(&self, verified: &Verified, keys_at: Range<usize>) -> Result<Guards, Fault> {
        let at = |text: &str| {
            let written = self.written;
            let origin = written
                .public_origin
                .as_ref()
                .filter(|_| text.contains("origin"));
            let scheme = written.scheme.as_ref();
            let place = origin.or(scheme).map(Spanned::span);
            let age = written
                .max_age
                .as_ref()
                .filter(|_| text.contains("max_age"));
            let skew = written
                .max_skew
                .as_ref()
                .filter(|_| text.contains("max_skew"));
            age.or(skew).map(Spanned::span).or(place)
        };
        // Nothing is asked of this store.
        let store = MemoryStore::builder().danger_assume_no_history().build();
        let store = store.map_err(|error| Fault::at(0..0, error.to_string()))?;
        let store: Arc<dyn NonceStore> = Arc::new(store);
        verified
            .guards(&store, Before::Nothing)
            .map(|(guards, _)| guards)
            .map_err(|refusal| match refusal {
                Refusal::Failure(failure) => fault_of(keys_at, failure),
                Refusal::Config(error) => {
                    let text = in_file_words(&error.to_string());
                    let place = at(&error.to_string()).unwrap_or_else(|| self.written.name.span());
                    Fault::at(place, text)
                }
            })
    }

    /// The store of the route, with its file beneath the folder of the configuration.
    fn store(&self) -> Result<String, Fault> {
        let Some(written) = self.written.store.as_ref().or(self.store) else {
            return Ok(self.beneath(store::FILE, DEFAULT_STORE_FILE));
        };
        let named = written.get_ref().as_str();
        if named == store::MEMORY || store::is_server(named) {
            return Ok(named.to_owned());
        }
        let file = [store::FILE, store::WATERMARK]
            .into_iter()
            .find_map(|kind| {
                let file = named.strip_prefix(kind)?;
                let is_file = !file.is_empty() && !file.starts_with("//");
                is_file.then(|| self.beneath(kind, file))
            });
        // The text is not repeated, which may hold a password.
        file.ok_or_else(|| {
            Fault::at(written.span(), "it does not name a store").advising(
                "write \"sqlite:FILE\", \"memory\", \"memory:FILE\", \
                 \"postgres://USER@HOST/DATABASE\" or \"redis://HOST\"",
            )
        })
    }

    /// A file of a store, named in one way however the configuration writes it.
    fn beneath(&self, kind: &str, file: &str) -> String {
        let path: PathBuf = self.folder.join(file).components().collect();
        format!("{kind}{}", path.display())
    }

    fn processing(&self) -> Result<Option<Processing>, Fault> {
        let lease = seconds(self.written.lease.as_ref(), 1..86_401)?;
        let processing = self.written.processing.as_ref().map(Spanned::get_ref);
        match (processing, lease, &self.written.lease) {
            (Some(written::Processing::Retryable), lease, _) => Ok(Some(Processing::Retryable {
                lease: lease.unwrap_or(LEASE),
            })),
            (_, Some(_), Some(at)) => Err(Fault::at(
                at.span(),
                "only `processing = \"retryable\"` has leases",
            )),
            (Some(written::Processing::AtMostOnce), ..) => Ok(Some(Processing::AtMostOnce)),
            (None, ..) => Ok(None),
        }
    }

    /// Where the keys are, and where the file says so.
    fn keys(&self, place: &Place) -> Result<(RouteKeys, Range<usize>), Fault> {
        let written = self.written;
        let (keys, at) = match (
            &written.keys,
            &written.key_directory,
            &written.tenant_directory,
        ) {
            (Some(keys), None, None) => {
                let listed: Result<Vec<_>, _> =
                    keys.get_ref().iter().map(|key| self.key(key)).collect();
                (RouteKeys::One(Source::Listed(listed?)), keys.span())
            }
            (None, Some(folder), None) => (
                RouteKeys::One(Source::Directory(self.folder.join(folder.get_ref()))),
                folder.span(),
            ),
            (None, None, Some(folder)) => (
                RouteKeys::Tenants(self.folder.join(folder.get_ref())),
                folder.span(),
            ),
            _ => {
                return Err(Fault::at(
                    written.name.span(),
                    "a route has one of `keys`, `key-directory` and `tenant-directory`",
                )
                .advising("write keys = [{ file = \"app.secret\" }], for example"));
            }
        };
        let has_tenants = matches!(keys, RouteKeys::Tenants(_));
        if has_tenants != place.has_tenant() {
            return Err(Fault::at(
                written.path.span(),
                "`{tenant}` in the path and `tenant-directory` belong together",
            )
            .advising("write path = \"/hooks/{tenant}\" and tenant-directory = \"tenants\""));
        }
        Ok((keys, at))
    }

    fn key(&self, key: &Spanned<written::Key>) -> Result<(Option<String>, KeyPlace), Fault> {
        let id = key.get_ref().id.as_ref().map(|id| id.get_ref().clone());
        match (&key.get_ref().file, &key.get_ref().env) {
            (Some(file), None) => Ok((id, KeyPlace::File(self.folder.join(file.get_ref())))),
            (None, Some(name)) => Ok((id, KeyPlace::Env(name.get_ref().clone()))),
            _ => Err(Fault::at(key.span(), "a key has one of `file` and `env`")
                .advising("write { id = \"partner-1\", file = \"partner-1.secret\" }")),
        }
    }
}

fn is_set(written: Option<&Spanned<bool>>) -> bool {
    written.is_some_and(|set| *set.get_ref())
}

/// The library's words, with the keys of the file in place of its methods.
fn in_file_words(text: &str) -> String {
    let text = text.replace("call `", "set `");
    let mut words: Vec<String> = text.split('`').map(str::to_owned).collect();
    for name in words.iter_mut().skip(1).step_by(2) {
        if name.chars().all(|c| c.is_ascii_lowercase() || c == '_') {
            *name = name.replace('_', "-");
        }
    }
    words.join("`")
}

/// What another reader says of a value in the file.
fn fault_of(at: Range<usize>, failure: Failure) -> Fault {
    let Failure {
        what, why, advice, ..
    } = failure;
    let what = match why.is_empty() {
        true => what,
        false => format!("{what}: {why}"),
    };
    Fault::at(at, what).advising(advice)
}
