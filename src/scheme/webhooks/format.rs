//! The format that a row of the catalogue describes, read and written.

use std::{borrow::Cow, time::Duration};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Response, Uri, request::Parts, uri::Scheme,
};
use serde_json::Value;

use super::{
    account::Account,
    challenge::AnswersAt,
    event::{member, read_event_id, read_event_ids},
    sender::{Macs, Once, Part, SecretForm, Sender, Time},
};
use crate::{
    clock::Timestamp,
    error::{ConfigError, ConfigErrorKind, Fault, FaultKind, SignError, malformed},
    key::{MacAlgorithm, MacKey, Secret},
    message::{
        self, BodyForm, DigestAlgorithm, Encoding, HashOutput, Head, MAX_LEN, Message,
        RunningDigest, Target, TimeUnit, read_time,
    },
    once::NonceKind,
    proof::{Build, Candidate, Parameters, Unsigned},
    scheme::{
        Describe, Profile, Reading, Signing,
        header::{check_nonce, header_value, required},
        signs_under,
    },
};

/// Senders that sign under several secrets at once have two, or a few more.
const MAX_ELEMENTS: usize = 16;

/// Beside a URL, a body begins with one of these bytes, and no path and no query has one: so that
/// there is one place only where the one can end and the other begin. Of a time after the body, no
/// digit can move: with one more or less it is of another century, and never fresh.
const BEGINNINGS: &[char] = &['{', '['];

/// What is true of every webhook: HMAC-SHA256, under one key, of a body that goes to no place in
/// particular, from a sender that retries.
pub(super) const PROFILE: Profile = Profile {
    algorithm: MacAlgorithm::HmacSha256,
    covers_authority: false,
    covers_place: false,
    covers_method: false,
    untimed_retention: None,
    event_horizon: None,
    may_repeat: false,
    key_id_is_own: true,
    max_age: None,
    sends_batches: false,
    sender_retries: true,
    signs_configured_url: false,
    malformed_is_unauthorized: true,
};

/// The webhooks of one sender, with the options that a user chose.
#[derive(Clone, Debug)]
pub(crate) struct Webhooks {
    sender: &'static Sender,
    account: Account,
    profile: Profile,
    signature: HeaderName,
    id: Option<HeaderName>,
    /// Of the uncovered id that tells deliveries apart that are alike, if that was chosen.
    delivery_id: Option<HeaderName>,
    time: Option<HeaderName>,
    /// How the URL is respelled, if it is covered.
    respell: Option<fn(&str) -> Cow<'_, str>>,
    answers_at: Option<AnswersAt>,
    checked_at: Option<AnswersAt>,
}

/// The parameters as they stand in the head, and go into the signed message.
#[derive(Clone, Copy, Default)]
struct Fields<'h> {
    id: &'h [u8],
    time: &'h [u8],
}

impl Webhooks {
    pub(super) fn of(sender: &'static Sender) -> Self {
        let id = match sender.once {
            Once::Header { name, .. } => Some(header_name(name)),
            _ => None,
        };
        let time = match sender.time {
            Time::Header(name, _) => Some(header_name(name)),
            _ => None,
        };
        let respell = sender.parts().find_map(|part| match part {
            Part::Url(respell) => Some(*respell),
            _ => None,
        });
        let covers_url = respell.is_some();
        let covers_method = sender.parts().any(|part| matches!(part, Part::Method));
        let is_timed = sender.time != Time::None;
        Self {
            sender,
            account: Account::new(sender.key_id),
            profile: Profile {
                algorithm: sender.algorithm,
                covers_authority: covers_url,
                covers_method,
                covers_place: covers_method && covers_url,
                untimed_retention: sender.remembered.filter(|_| !is_timed),
                event_horizon: sender.remembered.filter(|_| is_timed),
                may_repeat: sender.once == Once::Nothing,
                max_age: sender.max_age,
                sends_batches: matches!(sender.once, Once::Each(_)),
                ..PROFILE
            },
            signature: header_name(sender.header),
            id,
            delivery_id: None,
            time,
            respell,
            answers_at: None,
            checked_at: None,
        }
    }

    pub(super) fn set_key_parameter(&mut self, name: String) {
        self.account.set_parameter(name);
        self.profile.key_id_is_own = false;
    }

    pub(super) fn set_key_id(&mut self, id: String) {
        self.account.set_id(id);
        self.profile.key_id_is_own = false;
    }

    pub(super) fn set_retention(&mut self, retention: Duration) {
        let Profile {
            untimed_retention,
            event_horizon,
            ..
        } = &mut self.profile;
        if let Some(remembered) = untimed_retention.as_mut().or(event_horizon.as_mut()) {
            *remembered = retention;
        }
    }

    pub(super) fn take_delivery_id(&mut self) {
        self.delivery_id = self.sender.delivery_id.map(header_name);
    }

    pub(super) fn answer_at(
        &mut self,
        path: impl Into<String>,
        token: Option<Secret>,
    ) -> Result<(), ConfigError> {
        self.answers_at = Some(AnswersAt::new(path, token)?);
        Ok(())
    }

    pub(super) fn answer_check_at(&mut self, path: impl Into<String>) -> Result<(), ConfigError> {
        self.checked_at = Some(AnswersAt::new(path, None)?);
        Ok(())
    }

    fn answer_check(&self, path: &str, body: &Bytes) -> Option<Response<Bytes>> {
        let check = self.sender.form_check.as_ref()?;
        self.checked_at.as_ref()?.answer_form(check, path, body)
    }

    fn decode(&self, text: &[u8]) -> Option<HashOutput> {
        decode_mac(self.sender.algorithm, self.sender.encoding, text)
    }

    /// The MACs of a list, and the time if it is an element.
    fn read_list<'h>(
        &self,
        (separator, mac_name, binder): (char, &str, char),
        value: &'h HeaderValue,
    ) -> Result<(impl Iterator<Item = HashOutput>, Option<&'h str>), Fault> {
        let header = &self.signature;
        let text = value
            .to_str()
            .map_err(|_| malformed(format!("header `{header}` is not visible ASCII")))?;
        if text.split(separator).count() > MAX_ELEMENTS {
            return Err(malformed(format!(
                "header `{header}` has more than {MAX_ELEMENTS} elements"
            )));
        }
        let time_name = match self.sender.time {
            Time::Element(name) => Some(name),
            _ => None,
        };
        // There is seldom more than one.
        let (mut first, mut others) = (None, Vec::new());
        let (mut time, mut has_mac) = (None, false);
        for element in text.split(separator) {
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
                let mac = self.decode(value.as_bytes());
                if first.is_none() {
                    first = mac;
                } else {
                    others.extend(mac);
                }
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
        if first.is_none() {
            return Err(malformed(format!(
                "header `{header}` has no MAC of {} bytes in {:?}",
                self.sender.algorithm.mac_len(),
                self.sender.encoding,
            )));
        }
        Ok((first.into_iter().chain(others), time))
    }

    /// Reads the parameters that stand beside these MACs.
    fn announce<'h>(
        &'h self,
        head: &Head<'h>,
        macs: impl IntoIterator<Item = HashOutput>,
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
            signed_at = Some(read_time(fields.time, unit).ok_or_else(|| {
                malformed(format!(
                    "header `{name}` is not plain digits: {unit:?} since 1970"
                ))
            })?);
        }
        if let Time::Element(name) = self.sender.time {
            fields.time = element.unwrap_or_default().as_bytes();
            signed_at = Some(read_time(fields.time, TimeUnit::Seconds).ok_or_else(|| {
                malformed(format!(
                    "`{name}` of header `{}` is not plain digits: seconds since 1970",
                    self.signature
                ))
            })?);
        }
        let key_id = self.account.of(head)?;
        let mut delivery_id = None;
        if let Some(name) = &self.delivery_id {
            let id = required(head, name)?.as_bytes();
            check_nonce(name, id)?;
            delivery_id = Some(id);
        }
        let candidates = macs.into_iter().map(|mac| Candidate {
            parameters: Parameters {
                delivery_id: delivery_id.map(Cow::Borrowed),
                key_id: key_id.clone(),
                signed_at,
                expires_at: None,
                nonce: (self.id.is_some()).then_some((NonceKind::Event, Cow::Borrowed(fields.id))),
            },
            mac,
            message: Box::new(move |head: &Head<'_>, _: &mut _| {
                self.message(head.method, Some(&head.target), fields)
            }) as Build<'h>,
        });
        Ok(Reading::InHead(candidates.collect()))
    }

    /// An id does not hold the byte that ends it in the signed message.
    fn check_id(&self, name: &HeaderName, id: &[u8]) -> Result<(), Fault> {
        check_nonce(name, id)?;
        match self.sender.once {
            Once::Header { end, .. } if id.contains(&end) => Err(malformed(format!(
                "header `{name}` holds a `{}`, which ends it in the signed message",
                char::from(end)
            ))),
            _ => Ok(()),
        }
    }

    /// The one place where the signed message is put together, for verifying and for signing. The
    /// target is needed if the URL is covered.
    fn message(
        &self,
        method: &Method,
        target: Option<&Target<'_>>,
        fields: Fields<'_>,
    ) -> Result<Message, Fault> {
        let room = self.sender.parts().map(|part| match part {
            Part::Text(text) => [text.len(), 0],
            Part::Method => [method.as_str().len(), 1],
            Part::Url(_) => [128, 3],
            Part::Id => [fields.id.len(), 2],
            Part::Time => [fields.time.len(), 2],
        });
        let [bytes, parts] = room.fold([0, 0], |[a, b], [c, d]| [a + c, b + d]);
        let mut message = Message::with_room(bytes, parts);
        for part in self.sender.before {
            self.push(part, method, target, fields, &mut message)?;
        }
        message.body(BodyForm::Raw);
        for part in self.sender.after {
            self.push(part, method, target, fields, &mut message)?;
        }
        Ok(message)
    }

    fn push(
        &self,
        part: &Part,
        method: &Method,
        target: Option<&Target<'_>>,
        fields: Fields<'_>,
        to: &mut Message,
    ) -> Result<(), Fault> {
        match (part, target) {
            (Part::Text(text), _) => to.text(text),
            (Part::Method, _) => to.part(message::Part::Method, method.as_str()),
            (Part::Url(respell), Some(target)) => push_url(to, target, *respell)?,
            (Part::Url(_), None) => {}
            (Part::Id, _) => {
                to.part(message::Part::Nonce, fields.id);
                if let Some(name) = &self.id {
                    to.also(message::Part::Header(name.clone()));
                }
            }
            (Part::Time, _) => {
                let unit = match self.sender.time {
                    Time::Header(_, unit) => unit,
                    _ => TimeUnit::Seconds,
                };
                to.part(message::Part::Time(unit), fields.time);
                if let Some(name) = &self.time {
                    to.also(message::Part::Header(name.clone()));
                }
            }
        }
        Ok(())
    }

    fn check_beginning(&self, body: &[u8]) -> Result<(), Fault> {
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

/// A body beside a URL begins where the URL ends.
fn check_boundary(body: &[u8]) -> Result<(), Fault> {
    match body.first() {
        None | Some(b'{' | b'[') => Ok(()),
        Some(_) => Err(malformed(
            "the body is neither empty nor a JSON object or array from its first byte",
        )),
    }
}

#[expect(
    clippy::expect_used,
    reason = "it depends on nothing from outside of this crate, whose tests build every row"
)]
fn header_name(name: &str) -> HeaderName {
    name.parse().expect("the name of a header")
}

fn digits(time: Timestamp, unit: TimeUnit) -> String {
    match unit {
        TimeUnit::Seconds => time.as_secs().to_string(),
        TimeUnit::Millis => time.as_millis().to_string(),
    }
}

impl Describe for Webhooks {
    fn profile(&self) -> &Profile {
        &self.profile
    }

    fn name(&self) -> &str {
        self.sender.key_id
    }

    fn signature_headers(&self) -> Vec<HeaderName> {
        vec![self.signature.clone()]
    }

    fn fixed_key_id(&self) -> Option<&str> {
        self.account.fixed()
    }

    fn names_key(&self) -> bool {
        false
    }

    fn read_secret(&self, text: &str) -> Result<Secret, ConfigError> {
        let SecretForm::Base64 { prefixes, min, max } = self.sender.secret else {
            return Secret::try_from(text);
        };
        let text = text.trim();
        let mut bare = prefixes.iter().filter_map(|known| text.strip_prefix(known));
        let secret = Secret::from_base64(bare.next().unwrap_or(text))?;
        let found = secret.expose().len();
        if !(min..=max).contains(&found) {
            return Err(ConfigErrorKind::SecretLength { found, min, max }.into());
        }
        Ok(secret)
    }

    fn read<'h>(&'h self, head: &Head<'h>) -> Result<Reading<'h>, Fault> {
        let header = &self.signature;
        let value = signature(head, header)?;
        match self.sender.macs {
            Macs::Single { prefix } => {
                let text = value.as_bytes().strip_prefix(prefix.as_bytes());
                let mac = text.and_then(|text| self.decode(text)).ok_or_else(|| {
                    malformed(format!(
                        "header `{header}` is not `{prefix}` and a MAC of {} bytes in {:?}",
                        self.sender.algorithm.mac_len(),
                        self.sender.encoding,
                    ))
                })?;
                self.announce(head, [mac], None)
            }
            Macs::List {
                separator,
                name,
                binder,
            } => {
                let (macs, time) = self.read_list((separator, name, binder), value)?;
                self.announce(head, macs, time)
            }
        }
    }

    fn read_covered_body(
        &self,
        parameters: &mut Parameters<'_>,
        body: &Bytes,
    ) -> Result<(), Fault> {
        self.check_beginning(body)?;
        if self.respell.is_some() {
            check_boundary(body)?;
        }
        if let Time::Member(name, unit) = self.sender.time {
            let time = member(body, name)?;
            let time = time.as_ref().and_then(Value::as_u64);
            let time = time.and_then(|time| match unit {
                TimeUnit::Seconds => Timestamp::from_secs(time),
                TimeUnit::Millis => Timestamp::from_millis(time),
            });
            parameters.signed_at = Some(time.ok_or_else(|| {
                malformed(format!(
                    "`{name}` of the body is no whole number: {unit:?} since 1970"
                ))
            })?);
        }
        match self.sender.once {
            Once::Nothing | Once::Message | Once::Header { .. } => {}
            Once::Member(name) => read_event_id(parameters, body, name)?,
            Once::Each(names) => read_event_ids(parameters, body, names)?,
            Once::Body => {
                let mut digest = RunningDigest::new(DigestAlgorithm::Sha256);
                digest.update(body);
                let id = Encoding::Hex.encode(digest.finish().as_ref());
                parameters.nonce = Some((NonceKind::Event, Cow::Owned(id.into_bytes())));
            }
        }
        Ok(())
    }

    fn answer_unsigned(&self, method: &Method, uri: &Uri) -> Option<Response<Bytes>> {
        let challenge = self.sender.challenge.as_ref()?;
        self.answers_at.as_ref()?.unsigned(challenge, method, uri)
    }

    fn answer_verified(
        &self,
        path: &str,
        body: &Bytes,
        secrets: &mut dyn Iterator<Item = &MacKey>,
    ) -> Option<Response<Bytes>> {
        if let Some(answer) = self.answer_check(path, body) {
            return Some(answer);
        }
        let challenge = self.sender.challenge.as_ref()?;
        self.answers_at
            .as_ref()?
            .verified(challenge, path, body, secrets)
    }

    fn asks_in_body(&self, method: &Method, uri: &Uri, headers: &HeaderMap) -> bool {
        let checked_at = self.checked_at.as_ref();
        checked_at.is_some_and(|at| at.asks_in_form(method, uri, headers))
    }

    fn answer_unsigned_body(&self, uri: &Uri, body: &Bytes) -> Option<Response<Bytes>> {
        self.answer_check(uri.path(), body)
    }

    fn prepare(&self, parts: &mut Parts, signing: &Signing<'_>) -> Result<Unsigned, SignError> {
        if let Some(id) = self.account.fixed() {
            signs_under(id, signing)?;
        }
        let mut fields = Fields::default();
        if let Some(name) = &self.id {
            self.check_id(name, signing.nonce)?;
            fields.id = signing.nonce;
            parts.headers.insert(name, header_value(fields.id)?);
        }
        let time = match self.sender.time {
            Time::Header(_, unit) => digits(signing.now, unit),
            Time::Element(_) => digits(signing.now, TimeUnit::Seconds),
            Time::None | Time::Member(..) => String::new(),
        };
        fields.time = time.as_bytes();
        if let Some(name) = &self.time {
            parts.headers.insert(name, header_value(fields.time)?);
        }
        let target = match self.respell {
            Some(_) => {
                check_boundary(signing.body)?;
                Some(outgoing_target(parts)?)
            }
            None => None,
        };
        let message = self.message(&parts.method, target.as_ref(), fields)?;
        Ok(Unsigned {
            parameters: Parameters {
                delivery_id: None,
                key_id: self.account.id().clone(),
                signed_at: Some(signing.now),
                expires_at: None,
                nonce: None,
            },
            message,
        })
    }

    fn write(
        &self,
        parts: &mut Parts,
        unsigned: &Unsigned,
        mac: &HashOutput,
    ) -> Result<(), SignError> {
        let mac = self.sender.encoding.encode(mac.as_ref());
        let value = match self.sender.macs {
            Macs::Single { prefix } => format!("{prefix}{mac}"),
            Macs::List {
                separator,
                name,
                binder,
            } => {
                let signed_at = unsigned.parameters.signed_at;
                let time = match (self.sender.time, signed_at) {
                    (Time::Element(time), Some(signed_at)) => {
                        format!("{time}{binder}{}{separator}", signed_at.as_secs())
                    }
                    _ => String::new(),
                };
                format!("{time}{name}{binder}{mac}")
            }
        };
        let value = header_value(value.as_bytes())?;
        parts.headers.insert(&self.signature, value);
        Ok(())
    }
}

/// The header of the signature.
pub(super) fn signature<'h>(
    head: &Head<'h>,
    header: &HeaderName,
) -> Result<&'h HeaderValue, Fault> {
    head.single(header)?
        .ok_or_else(|| Fault::new(FaultKind::Missing, format!("header `{header}` is missing")))
}

pub(super) fn decode_mac(
    algorithm: MacAlgorithm,
    encoding: Encoding,
    text: &[u8],
) -> Option<HashOutput> {
    let mut bytes = [0; MAX_LEN];
    let mac = bytes.get_mut(..algorithm.mac_len())?;
    encoding.decode_exact(text, mac)?;
    Some(HashOutput::new(mac))
}

/// Appends a URL as it is respelled.
fn push_url(
    to: &mut Message,
    target: &Target<'_>,
    respell: fn(&str) -> Cow<'_, str>,
) -> Result<(), Fault> {
    if target.path_and_query.as_str().contains(BEGINNINGS) {
        return Err(malformed("the URL has a byte with which a body begins"));
    }
    push_url_scheme(to, target);
    match respell(&target.authority) {
        Cow::Borrowed(authority) => to.part(message::Part::Authority, authority),
        Cow::Owned(changed) => to.text(changed),
    }
    match respell(target.path_and_query.as_str()) {
        Cow::Borrowed(_) => to.path_and_query(target.path(), target.query()),
        Cow::Owned(changed) => push_changed(to, target, &changed),
    }
    Ok(())
}

/// Appends path and query as they are respelled. The query that is covered is the one of this text,
/// whichever of its spellings was sent: behind the first `?`. The path is covered if it stands there
/// as it was sent.
fn push_changed(to: &mut Message, target: &Target<'_>, text: &str) {
    let path_end = text.find('?').unwrap_or(text.len());
    let query = text.len().min(path_end + 1)..text.len();
    let path = text.get(..path_end).filter(|path| *path == target.path());
    let path = path.map(|_| (message::Part::Path, 0..path_end, None));
    let query = (message::Part::Query, query, None);
    to.text_with(text, path.into_iter().chain([query]));
}

/// Appends what a URL begins with.
pub(super) fn push_url_scheme(to: &mut Message, target: &Target<'_>) {
    to.text(target.scheme.unwrap_or(&Scheme::HTTPS).as_str());
    to.text("://");
}

/// The target of a request that is to be signed with its URL.
pub(super) fn outgoing_target(parts: &Parts) -> Result<Target<'_>, SignError> {
    let target = Target::of_outgoing(&parts.uri, &parts.headers)?;
    if target.authority.is_empty() {
        return Err(SignError::new(
            "the request names no authority, in its URI or in `Host`",
        ));
    }
    Ok(target)
}
