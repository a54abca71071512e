//! One signature, read from a message or written into one: what requests and responses have in
//! common.

use std::{borrow::Cow, fmt::Write as _};

use http::{HeaderMap, HeaderName, HeaderValue};
use sfv::StringRef;

use super::{
    base::{Source, base},
    canonical::Why,
    canonical::push_quoted,
    component::{Form, Identifier, Name},
    fields::{joined, read_signatures},
    input::{Input, Listed, Member, SignatureParameters},
    names::{CONTENT_DIGEST, SIGNATURE, SIGNATURE_INPUT},
    scheme::{ALGORITHM, Settings},
    usual::read_inputs,
};
use crate::{
    clock::Timestamp,
    error::{Fault, FaultKind, SignError, malformed},
    key::KeyId,
    message::{DigestAlgorithm, Encoding, HashOutput, Message, is_present},
    once::NonceKind,
    proof::{Build, Candidate, Candidates, Parameters, Room, Unsigned},
    scheme::{Signing, fields::MAX_NONCE, rfc9421::digest, signs_under},
};

/// The rules for a signature, beside being readable.
pub(super) struct Required<'s, C> {
    pub(super) created: bool,
    pub(super) nonce: bool,
    /// The fields that it must cover whenever they are there.
    pub(super) if_present: &'s [HeaderName],
    /// The components that it must cover.
    pub(super) covered: C,
}

impl Settings {
    /// All signatures of a message that have our tag and say about themselves what is required. A
    /// bad one blocks nothing, as long as there is a good one.
    pub(super) fn read<'h, C>(
        &self,
        headers: &'h HeaderMap,
        required: &Required<'_, C>,
        build: impl Fn(Listed<'h>) -> Build<'h>,
    ) -> Result<Candidates<'h>, Fault> {
        let inputs = joined(headers, &SIGNATURE_INPUT).map_err(malformed)?;
        let signatures = joined(headers, &SIGNATURE).map_err(malformed)?;
        match (inputs, signatures) {
            (Some(Cow::Borrowed(inputs)), Some(signatures)) => {
                self.candidates(inputs, &signatures, required, build)
            }
            // Values of lines that were joined here must not borrow from them.
            (Some(Cow::Owned(inputs)), Some(signatures)) => {
                let build = |listed: Listed<'_>| build(listed.into_owned());
                let candidates = self.candidates(&inputs, &signatures, required, build)?;
                let owned = |candidate: Candidate<'_, Build<'h>>| Candidate {
                    parameters: candidate.parameters.into_owned(),
                    mac: candidate.mac,
                    message: candidate.message,
                };
                Ok(candidates.into_iter().map(owned).collect())
            }
            (None, None) => Err(missing("there is no `signature-input`")),
            _ => Err(malformed("only one of `signature-input` and `signature`")),
        }
    }

    fn candidates<'i, M, C>(
        &self,
        inputs: &'i str,
        signatures: &str,
        required: &Required<'_, C>,
        build: impl Fn(Listed<'i>) -> M,
    ) -> Result<Candidates<'i, M>, Fault> {
        let inputs = read_inputs(inputs).map_err(malformed)?;
        let signatures = read_signatures(signatures).map_err(malformed)?;

        let mut candidates = Candidates::new();
        let mut first_fault = None;
        // RFC 9421, section 4, makes this an error, even if the label is not for this verifier.
        for (label, _) in &signatures {
            if !inputs.iter().any(|member| member.label == *label) {
                return Err(malformed(format!(
                    "`signature` has the label `{label}`, and `signature-input` does not"
                )));
            }
        }
        let unsigned = |member: &&Member<'_>| {
            let mut labels = signatures.iter().map(|(label, _)| *label);
            labels.all(|label| label != member.label)
        };
        if let Some(Member { label, .. }) = inputs.iter().find(unsigned) {
            return Err(malformed(format!(
                "`signature-input` has the label `{label}`, and `signature` does not"
            )));
        }
        let mac_len = self.profile.algorithm.mac_len();
        for Member { label, tag, input } in inputs {
            if tag != self.tag.as_deref().map(Cow::Borrowed) {
                first_fault.get_or_insert_with(|| self.other_tag(label, tag.as_deref()));
                continue;
            }
            let mac = signatures.iter().find(|(other, _)| *other == label);
            let read = match (input, mac) {
                (Ok(Input { listed, parameters }), Some((_, Some(mac))))
                    if mac.as_ref().len() == mac_len =>
                {
                    let parameters = self.parameters(label, parameters, required);
                    parameters.map(|parameters| Candidate {
                        parameters,
                        mac: *mac,
                        message: build(listed),
                    })
                }
                (Err(fault), _) => Err(malformed(format!("signature `{label}`: {fault}"))),
                _ => Err(malformed(format!(
                    "signature `{label}` is not a MAC of {mac_len} bytes"
                ))),
            };
            match read {
                Ok(signature) => candidates.push(signature),
                Err(fault) => {
                    first_fault.get_or_insert(fault);
                }
            }
        }
        match first_fault {
            Some(fault) if candidates.is_empty() => Err(fault),
            None if candidates.is_empty() => Err(missing("`signature-input` is empty")),
            _ => Ok(candidates),
        }
    }

    fn parameters<'i, C>(
        &self,
        label: &str,
        given: SignatureParameters<'i>,
        required: &Required<'_, C>,
    ) -> Result<Parameters<'i>, Fault> {
        if let Some(alg) = given.alg.as_deref().filter(|alg| *alg != ALGORITHM) {
            return Err(Fault::new(
                FaultKind::Invalid,
                format!("signature `{label}` is made with `{alg}`, and not with `{ALGORITHM}`"),
            ));
        }
        let lacks = |what| insufficient(format!("signature `{label}` has no `{what}`"));
        let fixed = self.key_id.as_deref();
        let unnamed = || fixed.map(|fixed| Cow::Owned(fixed.to_owned()));
        let key_id = given.key_id.or_else(unnamed);
        let key_id = key_id.ok_or_else(|| lacks("keyid"))?;
        if !KeyId::is_valid(key_id.as_bytes()) {
            return Err(malformed(format!(
                "signature `{label}`: its `keyid` is not 1 to 128 visible characters"
            )));
        }
        if fixed.is_some_and(|fixed| fixed != key_id) {
            return Err(Fault::new(
                FaultKind::Invalid,
                format!("signature `{label}` names key `{key_id}`, and the one key has another id"),
            ));
        }
        if required.created && given.created.is_none() {
            return Err(lacks("created"));
        }
        let time = |seconds: Option<u64>| match seconds.map(Timestamp::from_secs) {
            Some(None) => Err(malformed(format!(
                "signature `{label}`: a time that is out of range"
            ))),
            time => Ok(time.flatten()),
        };
        let nonce = match given.nonce {
            Some(nonce) => {
                check_nonce(&nonce).map_err(malformed)?;
                let nonce = match nonce {
                    Cow::Borrowed(nonce) => Cow::Borrowed(nonce.as_bytes()),
                    Cow::Owned(nonce) => Cow::Owned(nonce.into_bytes()),
                };
                Some((NonceKind::Covered, nonce))
            }
            None if required.nonce => return Err(lacks("nonce")),
            None => None,
        };
        Ok(Parameters {
            delivery_id: None,
            key_id,
            signed_at: time(given.created)?,
            expires_at: time(given.expires)?,
            nonce,
        })
    }

    fn other_tag(&self, label: &str, tag: Option<&str>) -> Fault {
        let quoted = |tag: Option<&str>| match tag {
            Some(tag) => format!("the tag `{}`", tag.escape_debug()),
            None => "no tag".to_owned(),
        };
        missing(format!(
            "signature `{label}` has {}, and those that count here have {}",
            quoted(tag),
            quoted(self.tag.as_deref()),
        ))
    }

    /// Builds the message of one signature, and checks what it covers.
    pub(super) fn describe<C>(
        &self,
        source: Source<'_>,
        listed: &Listed<'_>,
        required: &Required<'_, C>,
        room: &mut Room,
    ) -> Result<Message, Fault>
    where
        C: Fn(&Listed<'_>, &Message) -> Result<(), Fault>,
    {
        let label = &*listed.label;
        let mut message = base(source, listed, &self.types, room)
            .map_err(|fault| malformed(format!("signature `{label}`: {fault}")))?;
        (required.covered)(listed, &message)?;
        for name in required.if_present {
            if is_present(source.headers(), name) && !message.covers_header(name) {
                return Err(insufficient(format!(
                    "signature `{label}` does not cover `{name}`, which is there"
                )));
            }
        }
        if let Some(digests) = digest::read(source.headers()).map_err(malformed)? {
            let covers = |algorithm: DigestAlgorithm| {
                message.covers_header(&CONTENT_DIGEST)
                    || message.covers_member(&CONTENT_DIGEST, algorithm.name())
            };
            if !digests.iter().any(|digest| covers(digest.algorithm)) {
                return Err(insufficient(format!(
                    "signature `{label}` does not cover `content-digest` with sha-256 or sha-512"
                )));
            }
            message.digests(digests);
        }
        Ok(message)
    }

    /// Writes `Content-Digest` where there is a body, or where the field is there or wanted.
    pub(super) fn write_digest(&self, headers: &mut HeaderMap, body: &[u8], wanted: bool) {
        if (wanted || !body.is_empty() || headers.contains_key(CONTENT_DIGEST))
            && let Some(digest) = digest::write(self.digest, body)
        {
            headers.insert(CONTENT_DIGEST, digest);
        }
    }

    /// Returns what a new signature covers and says about itself, in the form of `Signature-Input`.
    pub(super) fn describe_new(
        &self,
        headers: &HeaderMap,
        required: &[Identifier<'_>],
        if_present: &[HeaderName],
        signing: &Signing<'_>,
        nonce: Option<&str>,
    ) -> Result<String, SignError> {
        if let Some(fixed) = &self.key_id {
            signs_under(fixed, signing)?;
        }
        let mut text = format!("{}=(", self.label);
        let mut delimiter = "";
        let mut cover = |component: &Identifier<'_>| {
            let _ = write!(text, "{delimiter}{component}");
            delimiter = " ";
        };
        required.iter().for_each(&mut cover);
        for name in [&CONTENT_DIGEST].into_iter().chain(if_present) {
            let field = Identifier::of(Name::Field(name.clone()));
            let covered = required.iter().any(|required| required.includes(&field));
            if headers.contains_key(name) && !covered {
                cover(&field);
            }
        }
        let created = signing.now.as_secs();
        let _ = write!(text, ");created={created}");
        if let Some(expires_after) = self.expires_after {
            let expires = created.saturating_add(expires_after.as_secs());
            let _ = write!(text, ";expires={expires}");
        }
        if let Some(nonce) = nonce {
            push_string(&mut text, "nonce", nonce);
        }
        push_string(&mut text, "alg", ALGORITHM);
        if self.key_id.is_none() {
            push_string(&mut text, "keyid", signing.key_id.as_str());
        }
        if let Some(tag) = &self.tag {
            push_string(&mut text, "tag", tag);
        }
        Ok(text)
    }

    /// The message that is about to be signed, read from its description as a verifier
    /// would read it.
    pub(super) fn described<C>(
        &self,
        source: Source<'_>,
        description: &str,
        required: &Required<'_, C>,
    ) -> Result<Unsigned, SignError>
    where
        C: Fn(&Listed<'_>, &Message) -> Result<(), Fault>,
    {
        let mut members = read_inputs(description).map_err(SignError::new)?;
        let input = members.pop().map(|member| member.input);
        let input = input
            .unwrap_or_else(|| Err("there is no label".into()))
            .map_err(SignError::new)?;
        let Input { listed, parameters } = input;
        let parameters = self.parameters(&listed.label, parameters, required)?;
        let message = self.describe(source, &listed, required, &mut Room::new())?;
        Ok(Unsigned {
            parameters: parameters.into_owned(),
            message,
        })
    }

    pub(super) fn write_mac(
        &self,
        headers: &mut HeaderMap,
        mac: &HashOutput,
    ) -> Result<(), SignError> {
        let mac = Encoding::Base64.encode(mac.as_ref());
        self.append(headers, &SIGNATURE, &format!("{}=:{mac}:", self.label))
    }

    /// Adds a member beside those that others made, under a label of its own.
    pub(super) fn append(
        &self,
        headers: &mut HeaderMap,
        name: &HeaderName,
        member: &str,
    ) -> Result<(), SignError> {
        if let Some(others) = joined(headers, name).map_err(SignError::new)? {
            let others = read_signatures(&others).map_err(SignError::new)?;
            if others.iter().any(|(label, _)| *label == self.label) {
                return Err(SignError::new(format!(
                    "`{name}` has a signature `{}` already; sign under another label",
                    self.label
                )));
            }
        }
        let value = HeaderValue::from_str(member)
            .map_err(|_| SignError::new("the signature cannot be a header"))?;
        headers.append(name, value);
        Ok(())
    }
}

impl Identifier<'static> {
    /// A component without parameters.
    pub(super) fn of(name: Name) -> Self {
        Self {
            name,
            form: Form::Plain,
            req: false,
        }
    }
}

/// A parameter that is a string; what such a string cannot hold was refused before.
pub(super) fn push_string(to: &mut String, key: &str, value: &str) {
    if let Ok(value) = StringRef::from_str(value) {
        to.push(';');
        to.push_str(key);
        to.push('=');
        push_quoted(to, value);
    }
}

pub(super) fn check_nonce(nonce: &str) -> Result<(), Why> {
    let plain = nonce.bytes().all(|b| (0x20..0x7f).contains(&b));
    if plain && (1..=MAX_NONCE).contains(&nonce.len()) {
        return Ok(());
    }
    Err(format!("the nonce is not 1 to {MAX_NONCE} characters of ASCII").into())
}

pub(super) fn insufficient(detail: String) -> Fault {
    Fault::new(FaultKind::Insufficient, detail)
}

fn missing(detail: impl Into<Cow<'static, str>>) -> Fault {
    Fault::new(FaultKind::Missing, detail)
}
