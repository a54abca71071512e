//! The format of a row of the catalogue, with the options that a user chose: its signed message.

use std::{iter, time::Duration};

use http::{HeaderMap, HeaderName, Method};

use super::{
    account::Account,
    challenge::AnswersAt,
    registration::Registrations,
    sender::{Once, Part, Sender, Time},
    signed_headers::push_headers,
    url::{Side, push_target, push_url},
};
use crate::{
    error::{ConfigError, Fault, malformed},
    key::{MacAlgorithm, Secret},
    message::{self, BodyForm, Message, Target, TimeUnit},
    scheme::{Profile, fields::check_nonce},
};

/// The profile of every webhook: HMAC-SHA256, under one key, of a body that goes to no place in
/// particular, from a sender that retries.
pub(super) const PROFILE: Profile = Profile {
    algorithm: MacAlgorithm::HmacSha256,
    covers_authority: false,
    covers_place: false,
    covers_method: false,
    untimed_retention: None,
    event_horizon: None,
    retried_for: Duration::ZERO,
    may_repeat: false,
    key_id_is_own: true,
    max_age: None,
    sends_batches: false,
    sender_retries: true,
    signs_configured_url: false,
    malformed_is_unauthorized: true,
    bare_refusals: false,
};

/// The webhooks of one sender, with the options that a user chose.
#[derive(Clone, Debug)]
pub(crate) struct Webhooks {
    pub(super) sender: &'static Sender,
    pub(super) account: Account,
    pub(super) profile: Profile,
    pub(super) signature: HeaderName,
    /// The further headers of signatures.
    pub(super) also: Vec<HeaderName>,
    /// The header that lists those which are signed.
    pub(super) signed_headers: Option<HeaderName>,
    pub(super) id: Option<HeaderName>,
    /// The header of the uncovered id that tells equal deliveries apart, if that was chosen.
    pub(super) delivery_id: Option<HeaderName>,
    pub(super) time: Option<HeaderName>,
    /// Where the URL is signed, if it is covered.
    pub(super) url: Option<Side>,
    pub(super) answers_at: Option<AnswersAt>,
    pub(super) checked_at: Option<AnswersAt>,
    /// The registrations that the application waits for, if the sender brings the secret itself.
    pub(super) registrations: Option<Registrations>,
}

/// The parameters as the head has them, and as they go into the signed message.
#[derive(Clone, Copy, Default)]
pub(super) struct Fields<'h> {
    pub(super) id: &'h [u8],
    pub(super) time: &'h [u8],
    /// The names of the headers that are signed, in their order, with a comma between them.
    pub(super) signed_headers: &'h str,
}

/// The parts of a message besides the parameters: the target is needed if any of it is covered.
#[derive(Clone, Copy)]
pub(super) struct Place<'h> {
    pub(super) method: &'h Method,
    pub(super) target: Option<&'h Target<'h>>,
    pub(super) headers: &'h HeaderMap,
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
        let is_url = |part: &Part| matches!(part, Part::Url(_));
        let url = match (
            sender.before.iter().any(is_url),
            sender.after.iter().any(is_url),
        ) {
            (true, _) => Some(Side::Before),
            (false, true) => Some(Side::After),
            (false, false) => None,
        };
        let covers_target = sender
            .parts()
            .any(|part| matches!(part, Part::Target { .. }));
        let covers_url = url.is_some();
        let covers_method = sender.parts().any(|part| matches!(part, Part::Method));
        let is_timed = sender.time != Time::None;
        Self {
            sender,
            account: Account::new(sender.key_id),
            profile: Profile {
                algorithm: sender.algorithm,
                covers_authority: covers_url,
                covers_method,
                covers_place: covers_method && (covers_url || covers_target),
                untimed_retention: sender.remembered.filter(|_| !is_timed),
                event_horizon: sender.remembered.filter(|_| is_timed),
                retried_for: sender.retries.unwrap_or_default(),
                may_repeat: sender.once == Once::Nothing,
                max_age: sender.max_age,
                sends_batches: matches!(sender.once, Once::Each { .. }),
                bare_refusals: sender.bare_refusals,
                ..PROFILE
            },
            signature: header_name(sender.header),
            also: sender.also.iter().map(|name| header_name(name)).collect(),
            signed_headers: sender.signed_headers.map(header_name),
            id,
            delivery_id: None,
            time,
            url,
            answers_at: None,
            checked_at: None,
            registrations: None,
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

    pub(super) fn answer_registrations(&mut self, registrations: &Registrations) {
        self.registrations = Some(registrations.clone());
    }

    pub(super) fn answer_check_at(&mut self, path: impl Into<String>) -> Result<(), ConfigError> {
        self.checked_at = Some(AnswersAt::new(path, None)?);
        Ok(())
    }

    /// An id does not hold the byte that ends it in the signed message.
    pub(super) fn check_id(&self, name: &HeaderName, id: &[u8]) -> Result<(), Fault> {
        check_nonce(name, id)?;
        match self.sender.once {
            Once::Header { end, .. } if id.contains(&end) => Err(malformed(format!(
                "header `{name}` holds a `{}`, which ends it in the signed message",
                char::from(end)
            ))),
            _ => Ok(()),
        }
    }

    /// The one place where the signed message is put together, for verifying and for signing.
    pub(super) fn message(&self, place: Place<'_>, fields: Fields<'_>) -> Result<Message, Fault> {
        let room = self.sender.parts().map(|part| match part {
            Part::Text(text) => [text.len(), 0],
            Part::Method => [place.method.as_str().len(), 1],
            Part::Url(_) | Part::Target { .. } | Part::SignedHeaders => [128, 3],
            Part::Id => [fields.id.len(), 2],
            Part::Time => [fields.time.len(), 2],
        });
        let [bytes, parts] = room.fold([0, 0], |[a, b], [c, d]| [a + c, b + d]);
        let mut message = Message::with_room(bytes, parts);
        for part in self.sender.before {
            self.push(part, place, fields, &mut message)?;
        }
        message.body(BodyForm::Raw);
        for part in self.sender.after {
            self.push(part, place, fields, &mut message)?;
        }
        Ok(message)
    }

    fn push(
        &self,
        part: &Part,
        place: Place<'_>,
        fields: Fields<'_>,
        to: &mut Message,
    ) -> Result<(), Fault> {
        match (part, place.target) {
            (Part::Text(text), _) => to.text(text),
            (Part::Method, _) => to.part(message::Part::Method, place.method.as_str()),
            (Part::Url(respell), Some(target)) => {
                push_url(to, target, *respell, self.url.unwrap_or(Side::Before))?;
            }
            (Part::Target { path, query }, Some(target)) => push_target(to, target, *path, *query)?,
            (Part::Url(_) | Part::Target { .. }, None) => {}
            (Part::SignedHeaders, _) => {
                let time = self.time.as_ref().map(|name| (name, self.time_unit()));
                push_headers(to, fields.signed_headers, place.headers, time)?;
            }
            (Part::Id, _) => {
                to.part(message::Part::Nonce, fields.id);
                if let Some(name) = &self.id {
                    to.also(message::Part::Header(name.clone()));
                }
            }
            (Part::Time, _) => {
                to.part(message::Part::Time(self.time_unit()), fields.time);
                if let Some(name) = &self.time {
                    to.also(message::Part::Header(name.clone()));
                }
            }
        }
        Ok(())
    }
}

impl Webhooks {
    /// Returns how the time in the head is written.
    pub(super) fn time_unit(&self) -> TimeUnit {
        match self.sender.time {
            Time::Header(_, unit) => unit,
            _ => TimeUnit::Seconds,
        }
    }

    /// The headers that hold a signature.
    pub(super) fn signatures(&self) -> impl Iterator<Item = &HeaderName> {
        iter::once(&self.signature).chain(&self.also)
    }
}

#[expect(
    clippy::expect_used,
    reason = "it depends on nothing from outside of this crate, whose tests build every row"
)]
fn header_name(name: &str) -> HeaderName {
    name.parse().expect("the name of a header")
}
