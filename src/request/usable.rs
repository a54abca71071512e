//! How often an authentic request may be used: once, or again and again.

use std::iter;

use super::payload::VerifiedPayload;
use crate::{
    error::{Fault, Rejection},
    once::{Claim, Guarded, Subject, Ticket},
};

/// The effect that an authentic request allows.
pub(super) enum Usable {
    Once(Box<Ticket<Unread>>),
    /// Its scheme's requests may be alike.
    Again(Unread),
}

/// A payload that nobody has read.
pub(super) struct Unread {
    pub(super) payload: VerifiedPayload,
    /// The statements of the request under the other schemes that it is signed under.
    beside: Vec<Unread>,
}

impl Unread {
    fn covers_signature_of(&self, other: &Self) -> bool {
        let mut headers = other.payload.verifier().settings.signature_headers.iter();
        headers.all(|name| self.payload.header(name).is_some())
    }
}

impl Guarded for Unread {
    type Content = VerifiedPayload;
    type Refusal = Rejection;

    fn check_freshness(&self) -> Result<(), Fault> {
        let settings = &self.payload.verifier().settings;
        let now = settings.clock.now();
        let (signed_at, expires_at) = (self.payload.signed_at(), self.payload.expires_at());
        settings.freshness.check(now, signed_at, expires_at)?;
        self.beside.iter().try_for_each(Self::check_freshness)
    }

    fn refuse(fault: Fault) -> Rejection {
        fault.into()
    }

    fn hand_out(self) -> VerifiedPayload {
        self.payload
    }
}

impl Usable {
    /// Without a claim, it may be used again.
    pub(super) fn new(payload: VerifiedPayload, claim: Option<Claim>, subject: Subject) -> Self {
        let timeout = payload.memory().timeout();
        let unread = Unread {
            payload,
            beside: Vec::new(),
        };
        match claim {
            Some(claim) => Self::Once(Ticket::new(unread, claim, timeout, subject)),
            None => Self::Again(unread),
        }
    }

    /// The same request, as it is signed under another scheme: it is used under both, or not at
    /// all. Schemes whose requests may be alike are accepted by themselves alone.
    pub(super) fn and(&mut self, other: Self) {
        if let (Self::Once(ticket), Self::Once(other)) = (self, other) {
            ticket.and(*other, |unread, other| unread.beside.push(other));
        }
    }

    /// Returns whether the two are known to be one request: they are one claim, or the signature of
    /// one covers that of the other. Otherwise anybody could have put signatures of two requests
    /// with one body together.
    pub(super) fn is_one_with(&self, other: &Self) -> bool {
        let is_one_claim = match (self, other) {
            (Self::Once(ticket), Self::Once(other)) => ticket.records(other.to_record()),
            _ => false,
        };
        let (own, other) = (self.unread(), other.unread());
        is_one_claim
            || iter::once(own)
                .chain(&own.beside)
                .any(|own| own.covers_signature_of(other) || other.covers_signature_of(own))
    }

    pub(super) fn claim(&self) -> Option<&Claim> {
        match self {
            Self::Once(ticket) => Some(ticket.to_record()),
            Self::Again(_) => None,
        }
    }

    pub(super) fn unread(&self) -> &Unread {
        match self {
            Self::Once(ticket) => ticket.guarded(),
            Self::Again(unread) => unread,
        }
    }
}
