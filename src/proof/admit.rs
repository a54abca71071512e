//! Whether signatures count: fresh, under a known key, and where the head decides, with the right
//! MAC. A message is built only for a signature that is fresh and under a known key.

use std::{sync::Arc, time::Duration};

use http::{
    HeaderMap, HeaderName,
    header::{CONNECTION, CONTENT_ENCODING},
};
use smallvec::SmallVec;

use super::{
    candidate::{Build, Candidate, Candidates},
    freshness::Freshness,
    room::Room,
    signature::{Compared, Signature, Signatures, invalid},
};
use crate::{
    clock::{Clock, Timestamp},
    error::{Fault, FaultKind, malformed},
    future::within,
    key::{KeySet, KeyStore, MacAlgorithm},
    message::{HashOutput, Head, Message, connection_options, is_present},
};

/// Signatures that are looked at; what goes beyond is refused.
const MAX_SIGNATURES: usize = 16;

/// Signatures under a known key that are verified; what goes beyond is refused.
const MAX_CANDIDATES: usize = 4;

/// Different keys that are looked up for one request; a request that names more is refused.
const MAX_LOOK_UPS: usize = 4;

/// Options of `Connection`; a request that has more is refused.
const MAX_OPTIONS: usize = 32;

/// Decides whether a signature counts, be it of a request, of a response or of a token.
#[derive(Clone, Copy)]
pub(crate) struct Trust<'s> {
    pub(crate) algorithm: MacAlgorithm,
    /// Whether signatures name their key; otherwise all are under one.
    pub(crate) names_key: bool,
    pub(crate) keys: &'s dyn KeyStore,
    pub(crate) clock: &'s dyn Clock,
    pub(crate) freshness: &'s Freshness,
    /// How long a key look-up may take.
    pub(crate) timeout: Duration,
    /// The name of the compared bytes if no body is part of the message, for the log.
    pub(crate) whole: Compared,
}

/// Takes out the signatures that are not fresh, and looks up the keys of the others.
pub(crate) async fn look_up<M>(
    trust: &Trust<'_>,
    candidates: &mut Candidates<'_, M>,
) -> Result<Keys, Refused> {
    if candidates.len() > MAX_SIGNATURES {
        return Err(malformed(format!("more than {MAX_SIGNATURES} signatures")).into());
    }
    let now = trust.clock.now();
    let mut first_fault = None;
    let mut too_old = None;
    candidates.retain(
        |Candidate {
             parameters, mac, ..
         }| {
            let (signed_at, expires_at) = (parameters.signed_at, parameters.expires_at);
            let fresh = trust.freshness.check(now, signed_at, expires_at);
            if let Err(fault) = &fresh
                && let Some(since) = fault.final_since()
            {
                too_old.get_or_insert_with(|| Box::new(TooOld { since, mac: *mac }));
            }
            fresh
                .map_err(|fault| first_fault.get_or_insert(fault))
                .is_ok()
        },
    );
    let found = find_all(trust, candidates).await?;
    // The look-up may have taken a while, in which secrets expire or begin to be valid.
    let is_timed = found.iter().flatten().any(|keys| keys.is_timed());
    Ok(Keys {
        found,
        known_at: if is_timed { trust.clock.now() } else { now },
        first_fault,
        too_old,
    })
}

/// The keys of the signatures that are fresh.
pub(crate) struct Keys {
    found: Found,
    known_at: Timestamp,
    /// Why the first of those that were taken out does not count.
    first_fault: Option<Fault>,
    too_old: Option<Box<TooOld>>,
}

/// Admits signatures of a request, or of a response, with these headers. The messages are built from
/// the head of the request, also those of a response.
pub(crate) fn admit_over_head<'h>(
    trust: &Trust<'_>,
    head: &Head<'_>,
    headers: &HeaderMap,
    candidates: &mut Candidates<'h>,
    keys: Keys,
    admitted: &mut Signatures<'h>,
) -> Result<(), Refused> {
    let mut names = headers.keys();
    let is_plain = !names.any(|name| *name == CONNECTION || *name == CONTENT_ENCODING);
    // Read once, and only for a signature under a known key.
    let mut nominated = None;
    let build = |build: Build<'h>, room: &mut Room| {
        let message = build(head, room)?;
        if is_plain {
            return Ok(message);
        }
        check_encoding(headers, &message)?;
        let nominated = match &nominated {
            Some(known) => known,
            None => &*nominated.insert(nominated_fields(headers)?),
        };
        check_connection(nominated, &message)?;
        Ok(message)
    };
    admit(trust, candidates, keys, build, admitted)
}

/// Admits signatures whose messages are built by `build`: puts them where they stay, without a copy.
pub(crate) fn admit<'h, M>(
    trust: &Trust<'_>,
    candidates: &mut Candidates<'h, M>,
    keys: Keys,
    mut build: impl FnMut(M, &mut Room) -> Result<Message, Fault>,
    admitted: &mut Signatures<'h>,
) -> Result<(), Refused> {
    let Keys {
        found,
        known_at,
        mut first_fault,
        too_old,
    } = keys;
    let mut room = Room::new();
    let mut macs = 0;
    for (candidate, keys) in candidates.drain(..).zip(found) {
        let Candidate {
            parameters,
            mac,
            message,
        } = candidate;
        let known = known(keys, &parameters.key_id, trust.algorithm);
        let described = known.and_then(|keys| {
            let message = build(message, &mut room)?;
            parameters.check(&message, trust.names_key)?;
            Ok((message, keys))
        });
        let (message, keys) = match described {
            Ok(described) => described,
            Err(fault) if room.is_exceeded() => return Err(fault.into()),
            Err(fault) => {
                first_fault.get_or_insert(fault);
                continue;
            }
        };
        let same = admitted.iter_mut().find(|other| {
            other.keys.id() == keys.id() && other.message.is_same_around_body(&message)
        });
        match same {
            Some(other) => other.other_macs.push(mac),
            None => {
                // Where it stays: a copy of it costs more than to take it out again.
                admitted.push(Signature {
                    parameters,
                    message,
                    mac,
                    other_macs: Vec::new(),
                    keys,
                    algorithm: trust.algorithm,
                    admitted_at: known_at,
                });
                if let Some(signature) = admitted.last()
                    && !signature.passes_over_head(&mut room)?
                {
                    first_fault.get_or_insert_with(|| signature.mismatch(trust.whole));
                    admitted.pop();
                    continue;
                }
            }
        }
        macs += 1;
        if macs > MAX_CANDIDATES {
            return Err(malformed(format!(
                "more than {MAX_CANDIDATES} signatures under known keys"
            ))
            .into());
        }
    }
    if !admitted.is_empty() {
        return Ok(());
    }
    let fault = first_fault.unwrap_or_else(|| Fault::new(FaultKind::Missing, "no signature"));
    Err(Refused { fault, too_old })
}

/// Says why no signature was admitted.
pub(crate) struct Refused {
    /// Why the first signature does not count.
    pub(crate) fault: Fault,
    /// The first signature that is too old for every server.
    pub(crate) too_old: Option<Box<TooOld>>,
}

/// Says that a signature is too old for every server since a moment.
///
/// This follows from the parameters that a response is bound to. It is true even if the MAC is
/// wrong, or another part of the request was altered.
pub(crate) struct TooOld {
    pub(crate) since: Timestamp,
    pub(crate) mac: HashOutput,
}

impl From<Fault> for Refused {
    fn from(fault: Fault) -> Self {
        Self {
            fault,
            too_old: None,
        }
    }
}

impl From<Refused> for Fault {
    fn from(refused: Refused) -> Self {
        refused.fault
    }
}

/// The keys of one signature after the other; nearly always of one.
type Found = SmallVec<[Option<Arc<KeySet>>; 1]>;

/// Looks up the keys of all signatures, each key once.
async fn find_all<M>(trust: &Trust<'_>, candidates: &[Candidate<'_, M>]) -> Result<Found, Fault> {
    let mut found = Found::new();
    let mut look_ups = 0;
    for (at, Candidate { parameters, .. }) in candidates.iter().enumerate() {
        let key_id = &*parameters.key_id;
        let mut earlier = candidates.iter().take(at);
        let same = earlier.position(|other| other.parameters.key_id == key_id);
        let keys = match same.and_then(|same| found.get(same)) {
            Some(known) => Option::clone(known),
            // Were the others ignored, they could hide a signature that counts when it comes alone.
            None if look_ups == MAX_LOOK_UPS => {
                return Err(malformed(format!(
                    "signatures under more than {MAX_LOOK_UPS} different keys"
                )));
            }
            None => {
                look_ups += 1;
                within(trust.timeout, || trust.keys.find(key_id)).await?
            }
        };
        found.push(keys);
    }
    Ok(found)
}

/// An encoding that is not covered would change what the covered bytes mean.
fn check_encoding(headers: &HeaderMap, message: &Message) -> Result<(), Fault> {
    if !is_present(headers, &CONTENT_ENCODING) || message.covers_header(&CONTENT_ENCODING) {
        return Ok(());
    }
    Err(Fault::new(
        FaultKind::Insufficient,
        "`content-encoding` changes what the body means, and is not covered",
    ))
}

/// Returns what `Connection` nominates. No client sends more than a few options.
fn nominated_fields(headers: &HeaderMap) -> Result<Vec<HeaderName>, Fault> {
    let options: Vec<_> = connection_options(headers).take(MAX_OPTIONS + 1).collect();
    if options.len() > MAX_OPTIONS {
        return Err(malformed(format!(
            "`connection` has more than {MAX_OPTIONS} options"
        )));
    }
    Ok(options)
}

/// A field that `Connection` nominates is for the next hop alone (RFC 9110, section 7.6.1), and any
/// proxy takes it out: nobody can rely on it, signed or not.
fn check_connection(nominated: &[HeaderName], message: &Message) -> Result<(), Fault> {
    let covered = nominated.iter().find(|name| message.covers_any_of(name));
    match covered {
        None => Ok(()),
        Some(name) => Err(malformed(format!(
            "`connection` nominates `{name}`, which the signature covers: it is for the next hop alone"
        ))),
    }
}

fn known(
    keys: Option<Arc<KeySet>>,
    key_id: &str,
    algorithm: MacAlgorithm,
) -> Result<Arc<KeySet>, Fault> {
    let keys = keys.ok_or_else(|| invalid(format!("no key `{key_id}`")))?;
    if keys.id().as_str() != key_id {
        return Err(invalid(format!(
            "asked for key `{key_id}`, the key store answered with `{}`",
            keys.id()
        )));
    }
    // The key decides, and not the request: a key of another algorithm is a mistake of the keys.
    if let Some(other) = keys.other_algorithm(algorithm) {
        let detail = format!(
            "a secret of key `{key_id}` is tied to {}, and the scheme has {}",
            other.name(),
            algorithm.name()
        );
        return Err(Fault::new(FaultKind::KeysUnavailable, detail));
    }
    Ok(keys)
}
