//! How the signatures of a row of the catalogue are read.

use std::borrow::Cow;

use bytes::Bytes;
use http::HeaderValue;
use serde_json::Value;
use smallvec::SmallVec;

use super::{
    event::{member, read_event_id, read_event_ids},
    format::{Fields, Place, Webhooks},
    sender::{Macs, Once, Time},
    signed_headers::read_list as read_signed_headers,
    url::check_boundary,
};
use crate::{
    clock::Timestamp,
    error::{Fault, FaultKind, malformed},
    message::{DigestAlgorithm, Encoding, HashOutput, Head, RunningDigest, TimeUnit, read_time},
    once::NonceKind,
    proof::{Build, Candidate, Candidates, Parameters},
    scheme::{
        Reading,
        fields::{check_nonce, decode_mac, mac_form, missing, required, signature},
    },
};

/// Senders that sign under several secrets at once have two, or a few more.
const MAX_ELEMENTS: usize = 16;

/// The MACs that a head claims: seldom more than one.
type Claimed = SmallVec<[HashOutput; 1]>;

impl Webhooks {
    /// Reads the MACs, and the parameters in the head.
    pub(super) fn read_head<'h>(&'h self, head: &Head<'h>) -> Result<Reading<'h>, Fault> {
        match self.sender.macs {
            Macs::Single { prefix } => {
                let macs = self.read_single(prefix, head)?;
                self.announce(head, macs, None)
            }
            Macs::List {
                separator,
                name,
                binder,
            } => {
                let value = signature(head, &self.signature)?;
                let (macs, time) = self.read_list((separator, name, binder), value)?;
                self.announce(head, macs, time)
            }
        }
    }

    fn decode(&self, text: &[u8]) -> Option<HashOutput> {
        decode_mac(self.sender.algorithm, self.sender.encoding, text)
    }

    /// The MACs of headers that have one each. A MAC that cannot be read matches nothing, and
    /// blocks no other.
    fn read_single(&self, prefix: &str, head: &Head<'_>) -> Result<Claimed, Fault> {
        let (mut macs, mut is_there) = (Claimed::new(), false);
        for header in self.signatures() {
            let Some(value) = head.single(header)? else {
                continue;
            };
            is_there = true;
            let text = value.as_bytes().strip_prefix(prefix.as_bytes());
            macs.extend(text.and_then(|text| self.decode(text)));
        }
        let header = &self.signature;
        if !is_there {
            return Err(missing(header));
        }
        if macs.is_empty() {
            let form = mac_form(prefix, self.sender.algorithm, self.sender.encoding);
            return Err(malformed(format!("header `{header}` is not {form}")));
        }
        Ok(macs)
    }

    /// The MACs of a list, and the time if it is an element.
    fn read_list<'h>(
        &self,
        (separator, mac_name, binder): (char, &str, char),
        value: &'h HeaderValue,
    ) -> Result<(Claimed, Option<&'h str>), Fault> {
        let header = &self.signature;
        let text = value
            .to_str()
            .map_err(|_| malformed(format!("header `{header}` is not visible ASCII")))?;
        let time_name = match self.sender.time {
            Time::Element(name) => Some(name),
            _ => None,
        };
        let mut macs = Claimed::new();
        let (mut time, mut has_mac) = (None, false);
        for (index, element) in text.split(separator).enumerate() {
            if index == MAX_ELEMENTS {
                return Err(malformed(format!(
                    "header `{header}` has more than {MAX_ELEMENTS} elements"
                )));
            }
            let (name, value) = element.split_once(binder).ok_or_else(|| {
                malformed(format!(
                    "header `{header}` has an element without `{binder}`"
                ))
            })?;
            if is_joined(name) || is_joined(value) {
                return Err(malformed(format!(
                    "header `{header}` has an element with a space or a comma"
                )));
            }
            if name == mac_name {
                has_mac = true;
                // A MAC that cannot be read matches nothing, and blocks nothing either.
                macs.extend(self.decode(value.as_bytes()));
            } else if Some(name) == time_name && time.replace(value).is_some() {
                return Err(malformed(format!("header `{header}` has `{name}` twice")));
            }
        }
        if !has_mac {
            return Err(Fault::new(
                FaultKind::Missing,
                format!("header `{header}` has no signature of the version that is accepted"),
            ));
        }
        if macs.is_empty() {
            return Err(malformed(format!(
                "header `{header}` has no MAC of {} bytes in {:?}",
                self.sender.algorithm.mac_len(),
                self.sender.encoding,
            )));
        }
        Ok((macs, time))
    }

    /// Reads the parameters beside these MACs.
    fn announce<'h>(
        &'h self,
        head: &Head<'h>,
        macs: Claimed,
        element: Option<&'h str>,
    ) -> Result<Reading<'h>, Fault> {
        let mut fields = Fields::default();
        if let Some(name) = &self.id {
            fields.id = required(head, name)?.as_bytes();
            self.check_id(name, fields.id)?;
        }
        let mut signed_at = None;
        if let (Time::Header(_, unit), Some(name)) = (self.sender.time, &self.time) {
            fields.time = required(head, name)?.as_bytes();
            signed_at = Some(
                read_time(fields.time, unit)
                    .ok_or_else(|| malformed(format!("header `{name}` is not {}", unit.form())))?,
            );
        }
        if let Time::Element(name) = self.sender.time {
            fields.time = element.unwrap_or_default().as_bytes();
            signed_at = Some(read_time(fields.time, TimeUnit::Seconds).ok_or_else(|| {
                malformed(format!(
                    "`{name}` of header `{}` is not {}",
                    self.signature,
                    TimeUnit::Seconds.form(),
                ))
            })?);
        }
        if let Some(name) = &self.signed_headers {
            let value = required(head, name)?.to_str();
            let text = value.map_err(|_| malformed(format!("header `{name}` is not ASCII")))?;
            let required: Vec<_> = self.time.iter().chain([name]).collect();
            fields.signed_headers = read_signed_headers(name, text, &required)?;
        }
        let key_id = self.account.of(head)?;
        let mut delivery_id = None;
        if let Some(name) = &self.delivery_id {
            let id = required(head, name)?.as_bytes();
            check_nonce(name, id)?;
            delivery_id = Some(id);
        }
        let candidate = |mac| Candidate {
            parameters: Parameters {
                delivery_id: delivery_id.map(Cow::Borrowed),
                key_id: key_id.clone(),
                signed_at,
                expires_at: None,
                nonce: (self.id.is_some()).then_some((NonceKind::Event, Cow::Borrowed(fields.id))),
            },
            mac,
            message: Box::new(move |head: &Head<'_>, _: &mut _| {
                let place = Place {
                    method: head.method,
                    target: Some(&head.target),
                    headers: head.headers,
                };
                self.message(place, fields)
            }) as Build<'h>,
        };
        let mut candidates = Candidates::new();
        for mac in macs {
            candidates.push(candidate(mac));
        }
        Ok(Reading::InHead(candidates))
    }

    /// Reads the parameters in the body.
    pub(super) fn read_members(
        &self,
        parameters: &mut Parameters<'_>,
        body: &Bytes,
    ) -> Result<(), Fault> {
        self.check_body(body)?;
        if let Some(side) = self.url {
            check_boundary(body, side)?;
        }
        if let Time::Member(name, unit) = self.sender.time {
            let time = member(body, name)?;
            let time = time.as_ref().and_then(Value::as_u64);
            let time = time.and_then(|time| match unit {
                TimeUnit::Seconds => Timestamp::from_secs(time),
                TimeUnit::Millis => Timestamp::from_millis(time),
                // No sender writes one into a body.
                TimeUnit::Rfc3339 => None,
            });
            parameters.signed_at = Some(time.ok_or_else(|| {
                malformed(format!(
                    "`{name}` of the body is not a whole number: {}",
                    unit.form()
                ))
            })?);
        }
        match self.sender.once {
            Once::Nothing | Once::Message | Once::Header { .. } => {}
            Once::Member(path) => read_event_id(parameters, body, path)?,
            Once::Each { within, names } => read_event_ids(parameters, body, within, names)?,
            Once::Body => {
                let mut digest = RunningDigest::new(DigestAlgorithm::Sha256);
                digest.update(body);
                let id = Encoding::Hex.encode(digest.finish().as_ref());
                parameters.nonce = Some((NonceKind::Event, Cow::Owned(id.into_bytes())));
            }
        }
        Ok(())
    }

    fn check_body(&self, body: &[u8]) -> Result<(), Fault> {
        if self.sender.needs_body && body.is_empty() && self.delivery_id.is_none() {
            return Err(malformed(
                "without a body, nothing that is signed tells the delivery from others of its time; \
                 see `danger_delivery_id`",
            ));
        }
        if let Some(beginning) = self.sender.body_begins
            && !body.starts_with(beginning.as_bytes())
        {
            return Err(malformed(format!(
                "the body does not begin with `{beginning}`, so that it could be something else that \
                 the sender signed"
            )));
        }
        Ok(())
    }
}

/// Whether an element looks as if two lines were joined to one.
fn is_joined(text: &str) -> bool {
    // Without a way out of the loop, so that it takes many bytes at a time.
    let is_joint = |b: u8| matches!(b, b' ' | b'\t' | b',');
    text.bytes().fold(false, |any, b| any | is_joint(b))
}
