//! The access log: one line for each request, without what may be secret.

use std::{
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use countersign::{Clock as _, Rejection, Timestamp, clock::SystemClock, layer::WouldRefuse};
use http::{Response, request::Parts};
use serde_json::{Value, json};

use crate::time;

/// The longest path, method and reason that are logged, in bytes: lines that wait to be printed have
/// a bound.
const MAX_TEXT: usize = 2048;

/// A request that was answered. Fields and the query may hold secrets, and are left out.
#[derive(Debug)]
pub(super) struct Logged {
    at: Timestamp,
    client: Option<IpAddr>,
    route: Option<String>,
    method: String,
    path: String,
    status: u16,
    code: Option<&'static str>,
    reason: Option<String>,
    would: Option<&'static str>,
    key_id: Option<String>,
    took: Duration,
}

/// A request that is being answered.
#[derive(Debug)]
pub(super) struct Begun {
    at: Timestamp,
    started: Instant,
    client: Option<IpAddr>,
    method: String,
    path: String,
}

/// Says under which key a request was verified; on its answer.
#[derive(Clone, Debug)]
pub(super) struct VerifiedAs(pub(super) String);

/// The code of an answer of the proxy itself; on the answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Code(pub(super) &'static str);

impl Begun {
    pub(super) fn new(head: &Parts, client: Option<IpAddr>) -> Self {
        Self {
            at: SystemClock::default().now(),
            started: Instant::now(),
            client,
            method: shortened(head.method.as_str()),
            path: shortened(head.uri.path()),
        }
    }

    pub(super) fn answered(self, route: Option<&Arc<str>>, outcome: &Outcome<'_>) -> Logged {
        Logged {
            at: self.at,
            client: self.client,
            route: route.map(|route| route.to_string()),
            method: self.method,
            path: self.path,
            status: outcome.status,
            code: outcome.code,
            reason: outcome.reason.map(shortened),
            would: outcome.would,
            key_id: outcome.key_id.map(str::to_owned),
            took: self.started.elapsed(),
        }
    }
}

/// What an answer says of its request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Outcome<'a> {
    pub(super) status: u16,
    pub(super) code: Option<&'static str>,
    /// Why the library refused it, or that its client has gone.
    reason: Option<&'a str>,
    /// The code that a route which observes would have refused it with.
    pub(super) would: Option<&'static str>,
    key_id: Option<&'a str>,
}

impl<'a> Outcome<'a> {
    /// The client has gone before there was an answer. No server sends this status.
    pub(super) const CLIENT_GONE: Self = Self {
        status: 499,
        code: None,
        reason: Some("client_gone"),
        would: None,
        key_id: None,
    };

    pub(super) fn of<B>(answer: &'a Response<B>) -> Self {
        let extensions = answer.extensions();
        let own = extensions.get().map(|Code(code)| *code);
        let rejection = extensions.get::<Rejection>();
        let would = extensions.get::<WouldRefuse>().map(WouldRefuse::rejection);
        Self {
            status: answer.status().as_u16(),
            code: own.or(rejection.map(|rejection| rejection.kind().code())),
            reason: rejection.or(would).map(Rejection::reason),
            would: would.map(|rejection| rejection.kind().code()),
            key_id: extensions.get().map(|VerifiedAs(id)| id.as_str()),
        }
    }
}

impl Logged {
    /// The JSON object, as `cli/README.md` describes it. So many lines before it were left out.
    pub(super) fn object(&self, left_out: u64) -> Value {
        json!({
            "version": 1,
            "request": {
                "at": time::show(self.at),
                "client": self.client,
                "route": self.route,
                "method": self.method,
                "path": self.path,
                "status": self.status,
                "code": self.code,
                "reason": self.reason,
                "would_refuse": self.would,
                "key_id": self.key_id,
                "took_ms": self.took.as_secs_f64() * 1000.0,
                "left_out": left_out,
            },
        })
    }

    /// The line for people.
    pub(super) fn line(&self, left_out: u64) -> String {
        let Self {
            method,
            path,
            status,
            ..
        } = self;
        let mut line = format!("{} {status} {method} {path}", time::show(self.at));
        let client = self.client.map(|client| client.to_string());
        let named = [
            ("client", client.as_deref()),
            ("route", self.route.as_deref()),
            ("key", self.key_id.as_deref()),
            ("code", self.code),
            ("would-refuse", self.would),
        ];
        for (name, value) in named {
            if let Some(value) = value {
                line.push_str(&format!(" {name}={value}"));
            }
        }
        line.push_str(&format!(" {} ms", self.took.as_millis()));
        if let Some(reason) = &self.reason {
            line.push_str(&format!(" ({reason})"));
        }
        if left_out > 0 {
            line.push_str(&format!(" ({left_out} lines left out)"));
        }
        line
    }
}

fn shortened(text: &str) -> String {
    let begin = text
        .get(..text.floor_char_boundary(MAX_TEXT))
        .unwrap_or(text);
    match begin.len() == text.len() {
        true => text.to_owned(),
        false => format!("{begin}…"),
    }
}
