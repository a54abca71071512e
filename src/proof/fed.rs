//! The MACs and digests that a body is fed to as it arrives, and whether it is the one that was
//! signed.

use std::fmt;

use bytes::Bytes;
use smallvec::SmallVec;

use super::signature::{Compared, Signature, invalid};
use crate::{
    error::{Fault, FaultKind},
    key::RunningMac,
    message::{BodyDigest, BodyForm, BodyPlace, DigestAlgorithm, HashOutput, RunningDigest},
};

/// The digests and MACs that the frames of the body are fed to as they arrive.
pub(crate) enum Fed {
    /// Nothing: the message is put together once the body is there.
    Nothing,
    /// The MAC of the first signature, under its first secret.
    Mac(RunningMac),
    /// The digests in a covered part of some head: of one algorithm or of both.
    Digests(SmallVec<[(DigestAlgorithm, RunningDigest); 1]>),
    /// No signature covers a body: there must be none.
    NoBody,
    /// The message cannot have a body, whatever its head says about one: there must be none.
    Absent,
}

/// A body that has arrived.
pub(crate) struct Arrived<'b> {
    pub(crate) fed: &'b Fed,
    pub(crate) body: &'b Bytes,
    /// The body in the form in which it is signed.
    pub(crate) signed: &'b Bytes,
}

impl fmt::Debug for Fed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nothing => "Nothing",
            Self::Mac(_) => "Mac",
            Self::Digests(_) => "Digests",
            Self::NoBody => "NoBody",
            Self::Absent => "Absent",
        })
    }
}

impl Fed {
    pub(crate) fn new(signatures: &[Signature<'_>]) -> Self {
        let Some(first) = signatures.first() else {
            return Self::Nothing;
        };
        match first.message.body_place() {
            BodyPlace::At {
                form: BodyForm::Raw,
                ..
            } if !first.message.is_open() => {
                let secret = first.secrets().next();
                secret.map_or(Self::Nothing, |secret| Self::Mac(first.start(secret)))
            }
            BodyPlace::At { .. } => Self::Nothing,
            BodyPlace::Digests(_) => Self::digests(signatures),
        }
    }

    /// The digests that the signatures name.
    pub(crate) fn digests(signatures: &[Signature<'_>]) -> Self {
        let mut digests: SmallVec<[(DigestAlgorithm, RunningDigest); 1]> = SmallVec::new();
        let named = signatures
            .iter()
            .flat_map(|s| s.message.digest_algorithms());
        for algorithm in named {
            if !digests.iter().any(|(known, _)| *known == algorithm) {
                digests.push((algorithm, RunningDigest::new(algorithm)));
            }
        }
        if digests.is_empty() {
            Self::NoBody
        } else {
            Self::Digests(digests)
        }
    }

    /// A digest of the whole body: one that was fed with it, or else SHA-256.
    pub(crate) fn digest(&self, body: &[u8]) -> (DigestAlgorithm, HashOutput) {
        if let Self::Digests(digests) = self
            && let Some((algorithm, digest)) = digests.first()
        {
            return (*algorithm, digest.clone().finish());
        }
        let algorithm = DigestAlgorithm::Sha256;
        let mut digest = RunningDigest::new(algorithm);
        digest.update(body);
        (algorithm, digest.finish())
    }

    /// Takes further bytes of the body, at least one.
    pub(crate) fn update(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        match self {
            Self::Nothing => {}
            Self::Mac(mac) => mac.update(bytes),
            Self::Digests(digests) => {
                for (_, digest) in digests {
                    digest.update(bytes);
                }
            }
            Self::NoBody | Self::Absent => return Err(body_not_covered()),
        }
        Ok(())
    }

    /// Each digest that the head claims must be that of the body; without one, there is no body.
    fn compare(&self, claimed: &[BodyDigest], body: &Bytes) -> Result<(), Fault> {
        if matches!(self, Self::Absent) {
            return Ok(());
        }
        if claimed.is_empty() && !body.is_empty() {
            return Err(body_not_covered());
        }
        let digests = match self {
            Self::Digests(digests) => digests.as_slice(),
            _ => &[],
        };
        for covered in claimed {
            let digest = digests
                .iter()
                .find(|(algorithm, _)| *algorithm == covered.algorithm)
                .map(|(_, digest)| digest.clone());
            if !digest.is_some_and(|digest| digest.verify(&covered.claimed)) {
                return Err(invalid(format!(
                    "the covered {:?} digest is not that of the body of {} bytes",
                    covered.algorithm,
                    body.len()
                )));
            }
        }
        Ok(())
    }
}

impl Arrived<'_> {
    /// Checks that the signature at this place accounts for the body.
    pub(super) fn check(&self, index: usize, signature: &Signature<'_>) -> Result<(), Fault> {
        let message = &signature.message;
        let passes = match (message.body_place(), self.fed) {
            // Nothing was compared over the head either.
            _ if message.is_open() => false,
            // The MAC has passed over the head; what is left is that the body is the one it names.
            (BodyPlace::Digests(claimed), fed) => return fed.compare(claimed, self.body),
            // The running MAC is that of the first signature under its first secret.
            (BodyPlace::At { .. }, Fed::Mac(mac)) if index == 0 => {
                let mut mac = mac.clone();
                mac.update(message.after_body());
                let mut others = signature.secrets().skip(1);
                signature.is(mac) || others.any(|secret| signature.passes(secret, self.body))
            }
            _ => {
                let mut secrets = signature.secrets();
                secrets.any(|secret| signature.passes(secret, self.signed))
            }
        };
        if passes {
            return Ok(());
        }
        Err(signature.mismatch(Compared::Body {
            arrived: self.body.len(),
            signed: self.signed.len(),
        }))
    }
}

fn body_not_covered() -> Fault {
    Fault::new(
        FaultKind::BodyNotCovered,
        "the signature covers no body, and there is one",
    )
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        clock::Timestamp,
        key::{KeySet, MacAlgorithm, Secret},
        message::{Message, Part},
        proof::candidate::Parameters,
    };

    const BODY: Bytes = Bytes::from_static(b"{}");

    fn message(nonce: &str) -> Message {
        let mut message = Message::default();
        message.part(Part::Nonce, nonce);
        message
    }

    /// The message with the body behind it.
    fn before_body(nonce: &str) -> Message {
        let mut message = message(nonce);
        message.body(BodyForm::Raw);
        message
    }

    /// A signature that claims `message`, with the MAC of `signed`.
    fn signature(message: Message, signed: &Message) -> Signature<'static> {
        let secret = Secret::new("a secret of 23 bytes...").unwrap();
        let mut signature = Signature {
            parameters: Parameters {
                key_id: "k".into(),
                signed_at: None,
                expires_at: None,
                nonce: None,
                delivery_id: None,
            },
            message,
            mac: HashOutput::new(&[]),
            other_macs: Vec::new(),
            keys: Arc::new(KeySet::new("k").unwrap().with(secret)),
            algorithm: MacAlgorithm::HmacSha256,
            admitted_at: Timestamp::EPOCH,
        };
        let mut mac = signature
            .secrets()
            .next()
            .unwrap()
            .start(signature.algorithm);
        signed.feed(&BODY, |bytes| mac.update(bytes));
        signature.mac = mac.finish();
        signature
    }

    /// Returns which of these signatures account for the body.
    fn accounts(signatures: &[Signature<'_>]) -> Vec<bool> {
        let mut fed = Fed::new(signatures);
        if !matches!(fed, Fed::NoBody) {
            fed.update(&BODY).unwrap();
        }
        let body = match fed {
            Fed::NoBody => Bytes::new(),
            _ => BODY,
        };
        let arrived = Arrived {
            fed: &fed,
            body: &body,
            signed: &body,
        };
        let each = signatures.iter().enumerate();
        each.map(|(index, signature)| arrived.check(index, signature).is_ok())
            .collect()
    }

    /// The body is fed to the MAC of the first signature. If that were compared with the MAC of the
    /// second signature, an observer could put any nonce beside the MAC of a genuine request.
    #[test]
    fn the_mac_of_one_signature_proves_no_other_message() {
        let genuine = |nonce| signature(before_body(nonce), &before_body(nonce));
        let forged = signature(before_body("2"), &before_body("1"));
        assert_eq!(accounts(&[genuine("1"), forged]), [true, false]);
        assert_eq!(accounts(&[genuine("1"), genuine("2")]), [true, true]);
    }

    /// A value that this side must supply is missing: nobody can have signed what is there.
    #[test]
    fn a_message_without_its_supplied_value_proves_no_body() {
        for form in [message, before_body] {
            let mut open = form("1");
            open.leave_open();
            assert_eq!(accounts(&[signature(form("1"), &form("1"))]), [true]);
            assert_eq!(accounts(&[signature(open, &form("1"))]), [false]);
        }
    }
}
