//! The vocabulary of the catalogue: what a row says about a sender. A row is data; `format` reads
//! it.

use std::{borrow::Cow, time::Duration};

use super::challenge::{Challenge, FormCheck};
use crate::{
    key::MacAlgorithm,
    message::{Encoding, TimeUnit},
};

/// A sender of webhooks: how it signs, and what tells its deliveries apart.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sender {
    /// The name in Rust, such as `Stripe`, or `StandardWebhooks::svix`.
    #[cfg_attr(not(test), expect(dead_code, reason = "for the documentation"))]
    pub(super) preset: &'static str,
    /// Where the sender's own documentation describes the format.
    #[cfg_attr(not(test), expect(dead_code, reason = "for the documentation"))]
    pub(super) source: &'static str,
    /// The key id, unless another is chosen: no request names one.
    pub(super) key_id: &'static str,
    pub(super) secret: SecretForm,
    /// The header of the signature, as the sender writes it.
    pub(super) header: &'static str,
    /// Further headers of the same form, each with a MAC under another secret of the account.
    pub(super) also: &'static [&'static str],
    pub(super) macs: Macs,
    pub(super) encoding: Encoding,
    pub(super) algorithm: MacAlgorithm,
    pub(super) time: Time,
    /// The parts that are signed before the body.
    pub(super) before: &'static [Part],
    /// The parts that are signed after the body.
    pub(super) after: &'static [Part],
    /// The header that lists the headers which are signed, itself and that of the time among them.
    pub(super) signed_headers: Option<&'static str>,
    /// How a body begins that the sender signed as a webhook, and not as something else.
    pub(super) body_begins: Option<&'static str>,
    pub(super) once: Once,
    /// How old a delivery may be, if its sender retries for longer than the usual 300 seconds and
    /// does not say that a retry is dated again.
    pub(super) max_age: Option<Duration>,
    /// A header that names the delivery and that no signature covers, if there is one.
    pub(super) delivery_id: Option<&'static str>,
    /// How long a delivery is remembered. `None`: as long as it is fresh, if it is claimed at all.
    ///
    /// The time counts from the last delivery of an event.
    pub(super) remembered: Option<Duration>,
    /// For how long the sender delivers again, as it documents: the least that it is remembered.
    pub(super) retries: Option<Duration>,
    /// Whether a delivery without a body is refused, because nothing that is signed tells it from
    /// others of its time: it is accepted once an id of the delivery does.
    pub(super) needs_body: bool,
    /// Whether a refusal has no body, because the sender wants none.
    pub(super) bare_refusals: bool,
    pub(super) challenge: Option<Challenge>,
    /// The question that a sender asks in an unsigned form: a parameter and its value, and another
    /// parameter that may be there. The answer is a success without a body.
    pub(super) form_check: Option<FormCheck>,
}

/// The form in which a sender shows its secret.
#[derive(Clone, Copy, Debug)]
pub(super) enum SecretForm {
    /// The text itself is the key.
    Text,
    /// Base64 of `min` to `max` bytes, after one of these prefixes, or without a prefix.
    Base64 {
        prefixes: &'static [&'static str],
        min: usize,
        max: usize,
    },
}

/// How the header holds MACs.
#[derive(Clone, Copy, Debug)]
pub(super) enum Macs {
    /// One, after a prefix.
    Single { prefix: &'static str },
    /// Any number of elements `name`, `binder`, value. The MACs have this name, one for each secret
    /// while secrets are rotated; elements with an unknown name are skipped.
    List {
        separator: char,
        name: &'static str,
        binder: char,
    },
}

/// Where the signed time is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Time {
    /// No time is covered.
    None,
    Header(&'static str, TimeUnit),
    /// In the header of the signature, as the element with this name, in seconds.
    Element(&'static str),
    /// In the body, as the member with this name.
    Member(&'static str, TimeUnit),
}

/// A part of the signed message that comes from the head of a request.
#[derive(Clone, Copy, Debug)]
pub(super) enum Part {
    Text(&'static str),
    Method,
    /// The URL, respelled by this function.
    Url(fn(&str) -> Cow<'_, str>),
    /// Path and query, each respelled by a function that never spells two texts the same.
    Target {
        path: fn(&str) -> Cow<'_, str>,
        query: fn(&str) -> Cow<'_, str>,
    },
    /// The headers that are listed, each as its name, `:` and its value, with `;` between them.
    SignedHeaders,
    Id,
    Time,
}

/// The identity of a delivery: how one is told from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Once {
    /// Nothing: two equal callbacks may both be meant, and none is claimed.
    Nothing,
    /// The signed message.
    Message,
    /// The event id in this covered header. The id does not hold the byte that ends it in the
    /// signed message.
    Header { name: &'static str, end: u8 },
    /// The event id in this member of the body, by the names that lead to it; without one, the
    /// signed message.
    Member(&'static [&'static str]),
    /// The event ids of all events of the body, or of this member of it, as a set: the first of
    /// these members of each event, and the others with it. If an event has none, the signed
    /// message.
    Each {
        within: Option<&'static str>,
        names: &'static [&'static str],
    },
    /// The SHA-256 of the body: a retry differs in its time alone.
    Body,
}

/// A row to begin with: the whole body, in hexadecimal digits, under the text of the secret.
pub(super) const PLAIN: Sender = Sender {
    preset: "",
    source: "",
    key_id: "",
    secret: SecretForm::Text,
    header: "",
    also: &[],
    macs: Macs::Single { prefix: "" },
    encoding: Encoding::Hex,
    algorithm: MacAlgorithm::HmacSha256,
    time: Time::None,
    before: &[],
    after: &[],
    signed_headers: None,
    body_begins: None,
    once: Once::Message,
    max_age: None,
    delivery_id: None,
    remembered: None,
    retries: None,
    needs_body: false,
    bare_refusals: false,
    challenge: None,
    form_check: None,
};

impl Sender {
    pub(super) fn parts(&self) -> impl Iterator<Item = &'static Part> {
        self.before.iter().chain(self.after)
    }
}
