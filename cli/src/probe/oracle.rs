//! How effects are counted: by a state that is read before and after; by identifiers in the answers;
//! or by answers that accept.

use bytes::Bytes;
use http::{HeaderName, Request, header::LOCATION};
use regex_lite::Regex;
use serde_json::Value;

use super::{
    event::{Event, has_identifier},
    subject::{Template, now},
    wire::{Answer, Wire},
};
use crate::exit::Failure;

/// Words in the body by which answers say that they acknowledge a duplicate.
const MARKS: [&str; 6] = [
    "duplicate",
    "already",
    "replay",
    "seen before",
    "idempotent",
    "ignored",
];

/// Headers by which answers say that they are repeated.
const MARKING_HEADERS: [&str; 3] = [
    "idempotent-replayed",
    "idempotency-replayed",
    "x-idempotent-replayed",
];

/// Which answers say that the request was accepted.
#[derive(Clone, Debug)]
pub(crate) enum Acceptance {
    /// 2xx, and not marked as a duplicate.
    Unmarked,
    /// All of these.
    All(Vec<Condition>),
}

#[derive(Clone, Debug)]
pub(crate) enum Condition {
    Status(Vec<String>),
    Header(HeaderName, String),
    Body(String),
}

impl Acceptance {
    pub(crate) fn parse(conditions: &[String]) -> Result<Self, Failure> {
        if conditions.is_empty() {
            return Ok(Self::Unmarked);
        }
        let read = |text: &String| {
            Condition::parse(text).ok_or_else(|| {
                Failure::usage(
                    format!("`{text}` is not a condition of --accepted-if"),
                    "it is neither a list of statuses, nor a header, nor a text of the body",
                    "write it as status:200,2xx, header:x-result: done, or body:\"ok\":true",
                )
            })
        };
        conditions
            .iter()
            .map(read)
            .collect::<Result<_, _>>()
            .map(Self::All)
    }

    pub(crate) fn accepts(&self, answer: &Answer) -> bool {
        match self {
            Self::Unmarked => answer.status.is_success() && !is_marked(answer),
            Self::All(conditions) => conditions.iter().all(|condition| condition.holds(answer)),
        }
    }
}

impl Condition {
    fn parse(text: &str) -> Option<Self> {
        let (kind, text) = text.split_once(':')?;
        match kind {
            "status" => {
                let statuses: Vec<String> =
                    text.split(',').map(|s| s.trim().to_lowercase()).collect();
                let is_status =
                    |s: &String| s.len() == 3 && (s.ends_with("xx") || s.parse::<u16>().is_ok());
                statuses
                    .iter()
                    .all(is_status)
                    .then_some(Self::Status(statuses))
            }
            "header" => {
                let (name, value) = text.split_once(':')?;
                Some(Self::Header(
                    name.trim().parse().ok()?,
                    value.trim().to_owned(),
                ))
            }
            "body" => Some(Self::Body(text.to_owned())),
            _ => None,
        }
    }

    fn holds(&self, answer: &Answer) -> bool {
        match self {
            Self::Status(statuses) => statuses.iter().any(|wanted| {
                let status = answer.status.as_str();
                let class = status.get(..1).zip(wanted.get(..1));
                wanted == status
                    || (wanted.ends_with("xx") && class.is_some_and(|(one, other)| one == other))
            }),
            Self::Header(name, wanted) => answer
                .headers
                .get_all(name)
                .iter()
                .any(|value| value == wanted.as_str()),
            Self::Body(text) => memchr::memmem::find(&answer.body, text.as_bytes()).is_some(),
        }
    }
}

fn is_marked(answer: &Answer) -> bool {
    let body = String::from_utf8_lossy(&answer.body).to_lowercase();
    MARKS.iter().any(|mark| body.contains(mark))
        || MARKING_HEADERS.iter().any(|name| {
            let value = answer.headers.get(*name);
            value.is_some_and(|value| value != "false")
        })
}

/// The identifier that an answer gives to what was made.
pub(crate) fn identifier(answer: &Answer, pointer: Option<&str>) -> Option<String> {
    let of_body = |pointer: &str| {
        let body: Value = serde_json::from_slice(&answer.body).ok()?;
        match body.pointer(pointer)? {
            Value::String(text) => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            _ => None,
        }
    };
    match pointer {
        Some(pointer) => of_body(pointer),
        None => {
            let location = answer
                .headers
                .get(LOCATION)
                .filter(|_| answer.status.is_success());
            let location = location.and_then(|location| location.to_str().ok().map(str::to_owned));
            location.or_else(|| of_body("/id"))
        }
    }
}

/// A state of the application.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum State {
    /// A number, or how many members a list has.
    Number(f64),
    Text(String),
    /// The application knows nothing about the event.
    Nothing,
}

impl State {
    /// A number, if it is one. `nan` and `inf` are words: as a number, `nan` differs from itself.
    fn of_text(text: &str) -> Self {
        match text.parse::<f64>() {
            Ok(number) if number.is_finite() => Self::Number(number),
            _ => Self::Text(text.to_owned()),
        }
    }

    /// Returns how far away another state is, if both are numbers.
    pub(crate) fn distance(&self, other: &Self) -> Option<f64> {
        let number = |state: &Self| match state {
            Self::Number(number) => Some(*number),
            Self::Nothing => Some(0.0),
            Self::Text(_) => None,
        };
        Some(number(other)? - number(self)?)
    }

    pub(crate) fn shown(&self) -> String {
        match self {
            Self::Number(number) => number.to_string(),
            Self::Text(text) => text.chars().take(80).collect(),
            Self::Nothing => "nothing".to_owned(),
        }
    }
}

/// How the state is read off an answer.
#[derive(Clone, Debug)]
pub(crate) enum Reading {
    Json(String),
    Regex(Regex),
    /// The whole body.
    Whole,
}

/// A request whose answer tells the state.
#[derive(Clone, Debug)]
pub(crate) struct Effect {
    pub(crate) template: Template,
    pub(crate) reading: Reading,
    pub(crate) wire: Wire,
}

impl Effect {
    /// Returns whether it tells the state of one event.
    pub(crate) fn is_of_event(&self) -> bool {
        has_identifier(&self.template.url)
    }

    pub(crate) async fn read(&self, event: &Event) -> Result<State, String> {
        let request: Request<Bytes> = self.template.request(event, now())?;
        let sent = self.wire.one(&request).await;
        let answer = sent
            .answer
            .map_err(|why| format!("--effect has no answer: {why}"))?;
        if self.is_of_event() && [404, 410].contains(&answer.status.as_u16()) {
            return Ok(State::Nothing);
        }
        if !answer.status.is_success() {
            return Err(format!("--effect is answered with {}", answer.status));
        }
        self.reading.of(&answer.body)
    }
}

impl Reading {
    fn of(&self, body: &[u8]) -> Result<State, String> {
        match self {
            Self::Whole => {
                let text = String::from_utf8_lossy(body);
                Ok(State::of_text(text.trim()))
            }
            Self::Regex(regex) => {
                let text = String::from_utf8_lossy(body);
                if regex.captures_len() == 1 {
                    let count = u32::try_from(regex.find_iter(&text).count());
                    return Ok(State::Number(count.unwrap_or(u32::MAX).into()));
                }
                let group = regex.captures(&text).and_then(|found| found.get(1));
                Ok(group.map_or(State::Nothing, |group| State::of_text(group.as_str())))
            }
            Self::Json(pointer) => {
                let value: Value = serde_json::from_slice(body)
                    .map_err(|error| format!("the answer of --effect is not JSON: {error}"))?;
                let count =
                    |count: usize| State::Number(u32::try_from(count).unwrap_or(u32::MAX).into());
                Ok(match value.pointer(pointer) {
                    None | Some(Value::Null) => State::Nothing,
                    Some(Value::Number(number)) => {
                        State::Number(number.as_f64().unwrap_or_default())
                    }
                    Some(Value::Array(list)) => count(list.len()),
                    Some(Value::Object(members)) => count(members.len()),
                    Some(other) => State::Text(other.to_string()),
                })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, headers: &[(&'static str, &'static str)], body: &'static str) -> Answer {
        let headers = headers
            .iter()
            .map(|(n, v)| (n.parse().unwrap(), v.parse().unwrap()));
        Answer {
            status: status.try_into().unwrap(),
            headers: headers.collect(),
            body: Bytes::from_static(body.as_bytes()),
        }
    }

    #[test]
    fn a_success_counts_unless_it_is_marked_as_a_duplicate() {
        let accepts = |answer: &Answer| Acceptance::Unmarked.accepts(answer);
        assert!(accepts(&answer(201, &[], "{\"id\": 1}")));
        assert!(!accepts(&answer(409, &[], "")));
        assert!(!accepts(&answer(302, &[], "")));
        assert!(!accepts(&answer(
            200,
            &[],
            "{\"status\": \"Already processed\"}"
        )));
        assert!(!accepts(&answer(
            200,
            &[("idempotent-replayed", "true")],
            ""
        )));
        assert!(accepts(&answer(
            200,
            &[("idempotent-replayed", "false")],
            ""
        )));
    }

    #[test]
    fn conditions_hold_together() {
        let parse = |conditions: &[&str]| {
            let conditions: Vec<String> = conditions.iter().map(|c| (*c).to_owned()).collect();
            Acceptance::parse(&conditions)
        };
        let all = parse(&[
            "status:2xx,409",
            "header:x-result: done",
            "body:\"ok\":true",
        ])
        .unwrap();
        let good = answer(409, &[("x-result", "done")], "{\"ok\":true}");
        assert!(all.accepts(&good));
        assert!(!all.accepts(&Answer {
            status: http::StatusCode::FOUND,
            ..good.clone()
        }));
        assert!(!all.accepts(&answer(200, &[], "{\"ok\":true}")));
        assert!(!all.accepts(&answer(200, &[("x-result", "done")], "")));
        for wrong in ["status:2", "status:", "code:200", "header:a", "200"] {
            assert!(parse(&[wrong]).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_state_is_a_number_a_count_or_a_text() {
        let json = |pointer: &str| Reading::Json(pointer.to_owned());
        let regex = |regex: &str| Reading::Regex(Regex::new(regex).unwrap());
        let body = br#"{"a": {"b": [1, 2], "c": -1.5, "d": "x"}}"#;
        for (reading, state) in [
            (json("/a/b"), State::Number(2.0)),
            (json("/a/c"), State::Number(-1.5)),
            (json("/a/d"), State::Text("\"x\"".to_owned())),
            (json("/x"), State::Nothing),
            (regex("[abc]\":"), State::Number(3.0)),
            (regex("c\": (.[0-9.]+)"), State::Number(-1.5)),
            (regex("nothing (.)"), State::Nothing),
        ] {
            assert_eq!(reading.of(body).unwrap(), state, "{reading:?}");
        }
        assert_eq!(Reading::Whole.of(b" 7\n").unwrap(), State::Number(7.0));
        for word in ["nan", "NaN", "inf", "-infinity", "1e999"] {
            let state = Reading::Whole.of(word.as_bytes()).unwrap();
            assert_eq!(state, State::Text(word.to_owned()));
            let state = regex("=(.*)").of(format!("={word}").as_bytes()).unwrap();
            assert_eq!(state, State::Text(word.to_owned()));
        }
        assert!(json("/a").of(b"<html>").is_err());
        assert_eq!(State::Nothing.distance(&State::Number(2.0)), Some(2.0));
    }

    #[test]
    fn an_identifier_is_a_location_or_a_member() {
        let located = answer(201, &[("location", "/orders/1")], "{\"id\": 2}");
        assert_eq!(identifier(&located, None).as_deref(), Some("/orders/1"));
        assert_eq!(identifier(&located, Some("/id")).as_deref(), Some("2"));
        let redirect = answer(302, &[("location", "/login")], "");
        assert_eq!(identifier(&redirect, None), None);
    }
}
