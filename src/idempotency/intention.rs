//! The intention of a request: which key it names, in which scope, and the digest of what it says.

use std::sync::Arc;

use http::{Method, header::DATE, request::Parts};
use sha2::{Digest as _, Sha256};
use smallvec::SmallVec;

use super::key::IdempotencyKey;
use crate::{
    error::ConfigError,
    key::KeyId,
    message::{IDEMPOTENCY_KEY, Part, behind_length, length},
    once::{AnswerClaim, Memory},
    proof::Proven,
    routed::original_uri,
};

/// One intention of a sender: what identifies the record of its answer.
///
/// A key counts for one namespace, one signed key id, one method and one path: the same key from
/// another sender, or for another path, is another intention. A secret that is rotated within its
/// key set changes nothing.
///
/// [`resolve`](super::IdempotencyLayer::resolve) takes one.
#[derive(Clone, Debug)]
pub struct Intention {
    pub(super) namespace: Arc<str>,
    pub(super) key_id: KeyId,
    pub(super) method: Method,
    pub(super) path: Box<str>,
    pub(super) key: IdempotencyKey,
}

impl Intention {
    /// Describes an intention. `namespace` is that of the verifier, unless the layer has one of its
    /// own; `path` is the one that was signed, with its percent-encoding, or without a covered path
    /// the one that arrived.
    ///
    /// # Errors
    /// Returns an error if the key id is not valid.
    pub fn new(
        namespace: &str,
        key_id: &str,
        method: Method,
        path: &str,
        key: IdempotencyKey,
    ) -> Result<Self, ConfigError> {
        Ok(Self {
            namespace: namespace.into(),
            key_id: KeyId::new(key_id)?,
            method,
            path: path.into(),
            key,
        })
    }

    /// The claim on it, whatever its request says.
    pub(super) fn claim(&self) -> AnswerClaim {
        let digest = scope(
            &self.namespace,
            &self.key_id,
            &self.method,
            &self.path,
            &self.key,
        );
        let namespace = Arc::clone(&self.namespace);
        AnswerClaim::new(namespace, self.key_id.clone(), digest, [0; 32])
    }
}

/// The digest of what identifies an intention, each part behind its length.
fn scope(
    namespace: &str,
    key_id: &KeyId,
    method: &Method,
    path: &str,
    key: &IdempotencyKey,
) -> [u8; 32] {
    let mut scope = Vec::with_capacity(GATHERED);
    for part in [
        namespace,
        key_id.as_str(),
        method.as_str(),
        path,
        key.as_str(),
    ] {
        behind_length(|bytes| scope.extend_from_slice(bytes), part.as_bytes());
    }
    Sha256::digest(&scope).into()
}

/// The room in which the short parts of a digest are gathered: to hash each by itself takes more time
/// than the hash.
const GATHERED: usize = 512;

/// Says in the extensions of a request that it had a key which is not covered, and was taken out.
#[derive(Clone, Copy, Debug)]
pub(crate) struct KeyTakenOut;

/// The verified part of a request, and its head for the rest.
#[derive(Clone, Copy)]
pub(crate) struct Said<'r> {
    pub(crate) memory: &'r Memory,
    pub(crate) proven: &'r Proven,
    pub(crate) head: &'r Parts,
}

impl Said<'_> {
    /// The covered value of the key, if it is covered.
    pub(super) fn covered_key(&self) -> Option<&[u8]> {
        self.proven.header_bytes(&IDEMPOTENCY_KEY)
    }

    /// The claim on the intention that the request names by this key.
    pub(super) fn claim(&self, namespace: Option<&Arc<str>>, key: &IdempotencyKey) -> AnswerClaim {
        let namespace = namespace.unwrap_or(self.memory.namespace());
        let (key_id, method, path) = (self.proven.key_id(), self.method(), self.path());
        let digest = scope(namespace, key_id, method, path, key);
        let fingerprint = self.fingerprint(method, path);
        AnswerClaim::new(Arc::clone(namespace), key_id.clone(), digest, fingerprint)
    }

    /// Returns whether the request changes nothing, so that its key means nothing.
    pub(super) fn is_safe(&self) -> bool {
        self.method().is_safe()
    }

    /// Returns whether the request has a key at all.
    pub(super) fn sends_key(&self) -> bool {
        let head = self.head;
        head.headers.contains_key(IDEMPOTENCY_KEY) || head.extensions.get::<KeyTakenOut>().is_some()
    }

    fn method(&self) -> &Method {
        self.proven.method().unwrap_or(&self.head.method)
    }

    fn path(&self) -> &str {
        let path = self.proven.path();
        path.unwrap_or_else(|| original_uri(self.head).path())
    }

    /// The digest of what the request says: method, path, query, everything that is covered beside
    /// them, and the body, without what belongs to one signature alone. Each is behind its length
    /// and its name, so that no two requests are fed the same bytes.
    ///
    /// `Date` says when a request was made, and is another one with each retry.
    fn fingerprint(&self, method: &Method, path: &str) -> [u8; 32] {
        let mut head = Vec::with_capacity(GATHERED);
        let query = self.proven.query();
        let query = query.unwrap_or_else(|| original_uri(self.head).query().unwrap_or_default());
        for part in [method.as_str(), path, query] {
            behind_length(|bytes| head.extend_from_slice(bytes), part.as_bytes());
        }
        let content = self.proven.content().filter_map(|(part, value)| {
            let (kind, name, member) = match part {
                Part::Authority => (b'a', "", ""),
                Part::Header(name) => (b'h', name.as_str(), ""),
                Part::Member(named) => (b'm', named.0.as_str(), &*named.1),
                Part::QueryParam(name) => (b'q', &**name, ""),
                // They are fed above, or describe no content.
                _ => return None,
            };
            let of_signature = matches!(name, "signature" | "signature-input") || DATE == *name;
            (kind == b'q' || !of_signature).then_some((kind, name, member, value))
        });
        // A sender may list its components in another order when it signs again.
        let mut content: SmallVec<[_; 8]> = content.collect();
        content.sort_unstable();
        for (kind, name, member, value) in content {
            head.push(kind);
            for part in [name.as_bytes(), member.as_bytes(), value] {
                behind_length(|bytes| head.extend_from_slice(bytes), part);
            }
        }
        head.push(b'b');
        head.extend_from_slice(&length(self.proven.bytes()));
        let mut digest = Sha256::new();
        digest.update(&head);
        digest.update(self.proven.bytes());
        digest.finalize().into()
    }
}
