//! Servers and stores as they are often written, each with one fault: the rows must find it.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    extract::Request,
    middleware::{Next, from_fn},
    response::{IntoResponse as _, Response},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use countersign::{
    Clock as _, Timestamp,
    scheme::MacAlgorithm,
    store::{Claim, ClaimOutcome, LeaseStore, NonceStore, StoreFuture},
    testing::ManualClock,
};
use hmac::{Hmac, KeyInit as _, Mac as _};
use http::{StatusCode, request::Parts};
use http_body_util::BodyExt as _;
use sha2::{Sha256, Sha512};

use crate::{
    common::{Effects, SECRET},
    parameter::{Place, joined},
    subject::{Subject, app},
};

/// The secret after a rotation.
pub const NEXT_SECRET: &str = "the next secret of partner 1";

pub fn mac(algorithm: MacAlgorithm, secret: &[u8], message: &[u8]) -> Vec<u8> {
    match algorithm {
        MacAlgorithm::HmacSha256 => Hmac::<Sha256>::new_from_slice(secret)
            .unwrap()
            .chain_update(message)
            .finalize()
            .into_bytes()
            .to_vec(),
        MacAlgorithm::HmacSha512 => Hmac::<Sha512>::new_from_slice(secret)
            .unwrap()
            .chain_update(message)
            .finalize()
            .into_bytes()
            .to_vec(),
        other => panic!("{other:?}"),
    }
}

/// The signature that is expected, as it would be in its header.
pub fn expected(subject: &Subject, parts: &Parts, body: &[u8]) -> String {
    let message = (subject.message)(parts, body);
    subject.encode(&mac(subject.algorithm, SECRET.as_bytes(), &message))
}

/// The signature base of RFC 9421 for these signature parameters, as far as the rows need it: what
/// is not there is empty.
pub fn base(parts: &Parts, params: &str) -> Vec<u8> {
    let mut base = String::new();
    let end = params.find(')').unwrap_or(params.len());
    let components = params.get(1..end).unwrap_or_default();
    for component in components
        .split(' ')
        .filter(|component| !component.is_empty())
    {
        let (name, form) = component.split_once(';').unwrap_or((component, ""));
        let name = name.trim_matches('"');
        let (lines, whole) = (parts.headers.get_all(name), joined(&parts.headers, name));
        let value = match (name, form) {
            ("@method", _) => parts.method.to_string(),
            ("@authority", _) => header(parts, "host").to_ascii_lowercase(),
            ("@path", _) => parts.uri.path().to_owned(),
            ("@query", _) => format!("?{}", parts.uri.query().unwrap_or_default()),
            ("@target-uri", _) => {
                let host = header(parts, "host").to_ascii_lowercase();
                format!("https://{host}{}", parts.uri)
            }
            (_, "bs") => {
                let lines = lines
                    .iter()
                    .map(|line| format!(":{}:", STANDARD.encode(line)));
                lines.collect::<Vec<_>>().join(", ")
            }
            (_, form) if form.starts_with("key=") => {
                let key = format!("{}=", form["key=".len()..].trim_matches('"'));
                let mut members = whole.split(',').map(str::trim);
                let member = members.find_map(|member| member.strip_prefix(&key));
                member.unwrap_or_default().to_owned()
            }
            _ => whole,
        };
        base += &format!("{component}: {value}\n");
    }
    base += &format!("\"@signature-params\": {params}");
    base.into_bytes()
}

pub fn header<'p>(parts: &'p Parts, name: &str) -> &'p str {
    let value = parts.headers.get(name);
    value.and_then(|value| value.to_str().ok()).unwrap_or("")
}

/// A server that lets through whatever `admits` says.
pub fn guard(
    effects: &Effects,
    admits: impl Fn(&Parts, &Bytes) -> bool + Clone + Send + Sync + 'static,
) -> Router {
    app(effects).layer(from_fn(move |request: Request, next: Next| {
        let admits = admits.clone();
        async move {
            let (parts, body) = request.into_parts();
            let body = body.collect().await.unwrap().to_bytes();
            if admits(&parts, &body) {
                next.run(Request::from_parts(parts, Body::from(body))).await
            } else {
                refuse()
            }
        }
    }))
}

fn refuse() -> Response {
    (StatusCode::UNAUTHORIZED, r#"{"code":"signature_invalid"}"#).into_response()
}

fn replayed() -> Response {
    (StatusCode::CONFLICT, r#"{"code":"request_replayed"}"#).into_response()
}

/// In what a naive server that does check signature, time and nonce fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// In nothing that the rows it is used for could find.
    None,
    /// The time is checked once, before the body is read.
    FreshOnlyBeforeTheBody,
    /// The time is checked before the claim, which may take long.
    FreshOnlyBeforeTheClaim,
    /// Ages are compared in whole seconds, and on one side only.
    WholeSecondsOneSided,
    /// The nonce is recorded before the MAC is compared.
    NonceBeforeMac,
    /// The signature's text serves as the nonce.
    SignatureIsNonce,
    /// A request that did not come to its end gives its nonce back.
    GivesBackOnDrop,
}

/// A naive server, with `claiming` run at each claim.
pub fn server(
    subject: &'static Subject,
    clock: &ManualClock,
    app: Router,
    fault: Fault,
    claiming: impl Fn() + Clone + Send + Sync + 'static,
) -> Router {
    let clock = clock.clone();
    let seen = Seen::default();
    app.layer(from_fn(move |request: Request, next: Next| {
        let (clock, seen, claiming) = (clock.clone(), seen.clone(), claiming.clone());
        async move {
            let (parts, body) = request.into_parts();
            let nonce = match (fault, subject.nonce) {
                (Fault::SignatureIsNonce, _) | (_, None) => Place::Header(subject.signature),
                (_, Some(nonce)) => nonce,
            };
            let nonce = nonce.get(&parts.headers).unwrap_or_default();
            let time = subject.time.get(&parts.headers).unwrap_or_default();
            let fresh = || is_fresh(&time, clock.now(), fault);
            if !fresh() || (fault == Fault::NonceBeforeMac && !seen.insert(&nonce)) {
                return refuse();
            }
            let body = body.collect().await.unwrap().to_bytes();
            let message = (subject.message)(&parts, &body);
            let matches = |secret: &str| {
                let mac = mac(subject.algorithm, secret.as_bytes(), &message);
                header(&parts, subject.signature) == subject.encode(&mac)
            };
            if ![SECRET, NEXT_SECRET].into_iter().any(matches) {
                return refuse();
            }
            if fault != Fault::FreshOnlyBeforeTheBody && !fresh() {
                return refuse();
            }
            claiming();
            if fault != Fault::NonceBeforeMac && !seen.insert(&nonce) {
                return replayed();
            }
            let late = [
                Fault::FreshOnlyBeforeTheBody,
                Fault::FreshOnlyBeforeTheClaim,
            ];
            if !late.contains(&fault) && !fresh() {
                return refuse();
            }
            let give_back = GiveBack {
                seen: (fault == Fault::GivesBackOnDrop).then_some(seen),
                nonce,
            };
            let response = next.run(Request::from_parts(parts, Body::from(body))).await;
            give_back.keep();
            response
        }
    }))
}

fn is_fresh(time: &str, now: Timestamp, fault: Fault) -> bool {
    let Some(signed) = time.parse().ok().and_then(Timestamp::from_secs) else {
        return false;
    };
    if fault == Fault::WholeSecondsOneSided {
        return now.as_secs().saturating_sub(signed.as_secs()) <= 300;
    }
    let (age, ahead) = (now.saturating_since(signed), signed.saturating_since(now));
    age <= Duration::from_secs(300) && ahead <= Duration::from_secs(5)
}

#[derive(Clone, Default)]
struct Seen(Arc<Mutex<HashSet<String>>>);

impl Seen {
    fn insert(&self, nonce: &str) -> bool {
        self.0.lock().unwrap().insert(nonce.to_owned())
    }
}

struct GiveBack {
    seen: Option<Seen>,
    nonce: String,
}

impl GiveBack {
    fn keep(mut self) {
        self.seen = None;
    }
}

impl Drop for GiveBack {
    fn drop(&mut self) {
        if let Some(seen) = &self.seen {
            seen.0.lock().unwrap().remove(&self.nonce);
        }
    }
}

/// A store in a map, which drops what has passed its deadline. By itself it has no fault but that
/// it is unbounded, and that a clock which steps back reopens what it dropped.
pub struct MapStore {
    clock: ManualClock,
    seen: Mutex<HashMap<Vec<u8>, Timestamp>>,
    identity: fn(&Claim) -> Vec<u8>,
    deadline: fn(&Claim, Timestamp) -> Timestamp,
    capacity: usize,
}

impl MapStore {
    pub fn new(clock: &ManualClock) -> Self {
        Self {
            clock: clock.clone(),
            seen: Mutex::default(),
            identity: |claim| claim.digest().to_vec(),
            deadline: |claim, _| claim.deadline(),
            capacity: usize::MAX,
        }
    }

    /// Sets what tells claims apart.
    pub fn identity(mut self, identity: fn(&Claim) -> Vec<u8>) -> Self {
        self.identity = identity;
        self
    }

    /// Sets until when a claim made now is remembered.
    pub fn deadline(mut self, deadline: fn(&Claim, Timestamp) -> Timestamp) -> Self {
        self.deadline = deadline;
        self
    }

    /// Beyond this many, the one that ends first is evicted.
    pub fn capacity(mut self, capacity: usize) -> Self {
        self.capacity = capacity;
        self
    }
}

impl NonceStore for MapStore {
    fn claim<'a>(&'a self, claim: &'a Claim) -> StoreFuture<'a, ClaimOutcome> {
        let now = self.clock.now();
        let mut seen = self.seen.lock().unwrap();
        seen.retain(|_, deadline| *deadline > now);
        let identity = (self.identity)(claim);
        if seen.contains_key(&identity) {
            return StoreFuture::ready(Ok(ClaimOutcome::Replayed));
        }
        if seen.len() >= self.capacity {
            let first = seen.iter().min_by_key(|(_, deadline)| **deadline);
            let first = first.map(|(identity, _)| identity.clone()).unwrap();
            seen.remove(&first);
        }
        seen.insert(identity, (self.deadline)(claim, now));
        StoreFuture::ready(Ok(ClaimOutcome::New))
    }

    fn leases(&self) -> Option<&dyn LeaseStore> {
        None
    }

    fn survives_restart(&self) -> bool {
        true
    }

    fn sharing(&self) -> countersign::store::Sharing {
        countersign::store::Sharing::between_processes(self)
    }
}
