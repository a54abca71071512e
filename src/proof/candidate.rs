//! One signature as a carrier claims it, and what is about to be signed.

use std::{borrow::Cow, fmt};

use smallvec::SmallVec;

use super::room::Room;
use crate::{
    clock::Timestamp,
    error::{Fault, FaultKind},
    key::{MacAlgorithm, MacKey},
    message::{HashOutput, Head, Message},
    once::NonceKind,
};

/// One signature, as a carrier claims it. Anybody can claim one, so that its message is built only
/// once its time and its key have been checked.
pub(crate) struct Candidate<'h, M = Build<'h>> {
    pub(crate) parameters: Parameters<'h>,
    pub(crate) mac: HashOutput,
    /// The signed message, or what builds it.
    pub(crate) message: M,
}

/// Nearly always there is one.
pub(crate) type Candidates<'h, M = Build<'h>> = SmallVec<[Candidate<'h, M>; 1]>;

/// Builds the signed message from the head of the request.
pub(crate) type Build<'h> =
    Box<dyn FnOnce(&Head<'_>, &mut Room) -> Result<Message, Fault> + Send + Sync + 'h>;

impl<M> fmt::Debug for Candidate<'_, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Candidate")
            .field("parameters", &self.parameters)
            .finish_non_exhaustive()
    }
}

/// A message that is about to be signed, with what its signature will say about itself.
#[derive(Debug)]
pub(crate) struct Unsigned {
    pub(crate) parameters: Parameters<'static>,
    pub(crate) message: Message,
}

impl Unsigned {
    /// Makes the MAC; `body` is in the form in which it is signed.
    pub(crate) fn sign(&self, key: &MacKey, algorithm: MacAlgorithm, body: &[u8]) -> HashOutput {
        let mut mac = key.start(algorithm);
        self.message.feed(body, |bytes| mac.update(bytes));
        mac.finish()
    }
}

/// The parameters of a signature: its statements about itself.
#[derive(Clone, Debug)]
pub(crate) struct Parameters<'h> {
    pub(crate) key_id: Cow<'h, str>,
    pub(crate) signed_at: Option<Timestamp>,
    pub(crate) expires_at: Option<Timestamp>,
    pub(crate) nonce: Option<(NonceKind, Cow<'h, [u8]>)>,
    /// Another value that tells equal messages apart, and is not covered.
    pub(crate) delivery_id: Option<Cow<'h, [u8]>>,
}

impl Parameters<'_> {
    pub(crate) fn into_owned(self) -> Parameters<'static> {
        Parameters {
            key_id: Cow::Owned(self.key_id.into_owned()),
            signed_at: self.signed_at,
            expires_at: self.expires_at,
            nonce: self
                .nonce
                .map(|(kind, nonce)| (kind, Cow::Owned(nonce.into_owned()))),
            delivery_id: self.delivery_id.map(|id| Cow::Owned(id.into_owned())),
        }
    }

    /// Checks that the message says the same: time, nonce and key id count only if they are
    /// covered.
    ///
    /// # Errors
    /// Returns 401, `signature_insufficient`.
    pub(crate) fn check(&self, message: &Message, names_key: bool) -> Result<(), Fault> {
        let covered = message.parameters();
        let nonce = self.nonce.as_ref().map(|(_, nonce)| &**nonce);
        let is_own = |key_id: &[u8]| key_id == self.key_id.as_bytes();
        let differs = if covered.signed_at != self.signed_at {
            "signed time"
        } else if covered.expires_at != self.expires_at {
            "time of expiry"
        } else if covered.nonce != nonce {
            "nonce"
        } else if !covered.key_id.map_or(!names_key, is_own) {
            "key id"
        } else {
            return Ok(());
        };
        Err(Fault::new(
            FaultKind::Insufficient,
            format!("the {differs} is not covered"),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{Part, TimeUnit};

    /// Every scheme claims what its message says. Should one of them not, this is where it fails.
    #[test]
    fn a_parameter_counts_only_if_the_message_says_the_same() {
        let at = Timestamp::from_secs;
        let mut message = Message::default();
        message.part(Part::Time(TimeUnit::Seconds), "10");
        message.part(Part::Expires(TimeUnit::Seconds), "20");
        message.part(Part::Nonce, "n");
        message.part(Part::KeyId, "k");
        let claimed = Parameters {
            key_id: "k".into(),
            signed_at: at(10),
            expires_at: at(20),
            nonce: Some((NonceKind::Covered, b"n".into())),
            delivery_id: None,
        };
        let verdict = |change: &dyn Fn(&mut Parameters<'_>)| {
            let mut changed = claimed.clone();
            change(&mut changed);
            let checked = changed.check(&message, true);
            checked.map_err(|fault| fault.kind())
        };
        const REFUSED: Result<(), FaultKind> = Err(FaultKind::Insufficient);
        assert_eq!(verdict(&|_| {}), Ok(()));
        assert_eq!(verdict(&|p| p.signed_at = at(11)), REFUSED);
        assert_eq!(verdict(&|p| p.expires_at = None), REFUSED);
        assert_eq!(verdict(&|p| p.nonce = None), REFUSED);
        assert_eq!(verdict(&|p| p.key_id = "other".into()), REFUSED);
        // A message without a key id is enough only for a scheme that has one key.
        let unnamed = Message::default();
        let nothing = Parameters {
            signed_at: None,
            expires_at: None,
            nonce: None,
            ..claimed
        };
        assert!(nothing.check(&unnamed, false).is_ok());
        assert!(nothing.check(&unnamed, true).is_err());
    }
}
