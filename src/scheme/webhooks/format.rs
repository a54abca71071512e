//! The format of a row of the catalogue, with the options that a user chose: its signed message.

use std::{borrow::Cow, time::Duration};

use http::{HeaderName, Method};

use super::{
    account::Account,
    challenge::AnswersAt,
    sender::{Once, Part, Sender, Time},
    url::push_url,
};
use crate::{
    error::{ConfigError, Fault, malformed},
    key::{MacAlgorithm, Secret},
    message::{self, BodyForm, Message, Target, TimeUnit},
    scheme::{Profile, fields::check_nonce},
};

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
    pub(super) sender: &'static Sender,
    pub(super) account: Account,
    pub(super) profile: Profile,
    pub(super) signature: HeaderName,
    pub(super) id: Option<HeaderName>,
    /// Of the uncovered id that tells deliveries apart that are alike, if that was chosen.
    pub(super) delivery_id: Option<HeaderName>,
    pub(super) time: Option<HeaderName>,
    /// How the URL is respelled, if it is covered.
    pub(super) respell: Option<fn(&str) -> Cow<'_, str>>,
    pub(super) answers_at: Option<AnswersAt>,
    pub(super) checked_at: Option<AnswersAt>,
}

/// The parameters as they stand in the head, and go into the signed message.
#[derive(Clone, Copy, Default)]
pub(super) struct Fields<'h> {
    pub(super) id: &'h [u8],
    pub(super) time: &'h [u8],
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

    /// The one place where the signed message is put together, for verifying and for signing. The
    /// target is needed if the URL is covered.
    pub(super) fn message(
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
}

#[expect(
    clippy::expect_used,
    reason = "it depends on nothing from outside of this crate, whose tests build every row"
)]
fn header_name(name: &str) -> HeaderName {
    name.parse().expect("the name of a header")
}
