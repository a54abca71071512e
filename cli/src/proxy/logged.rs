//! The access log: one line for each request, without what may be secret.

use std::{
    net::IpAddr,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use countersign::{Clock as _, Rejection, Timestamp, clock::SystemClock, layer::WouldRefuse};
use http::{Response, request::Parts};
use serde_json::{Value, json};

use super::{
    answer::{Code, Refused},
    words::in_file_words,
};
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

    pub(super) fn answered(
        self,
        route: Option<&Arc<str>>,
        key_id: Option<&str>,
        outcome: &Outcome<'_>,
    ) -> Logged {
        Logged {
            at: self.at,
            client: self.client,
            route: route.map(|route| route.to_string()),
            method: self.method,
            path: self.path,
            status: outcome.status,
            code: outcome.code,
            reason: outcome
                .reason
                .map(|reason| shortened(&in_file_words(reason))),
            would: outcome.would,
            key_id: key_id.map(str::to_owned),
            took: self.started.elapsed(),
        }
    }
}

/// The outcome of a request, as its answer says.
#[derive(Clone, Copy, Debug)]
pub(super) struct Outcome<'a> {
    pub(super) status: u16,
    pub(super) code: Option<&'static str>,
    /// Why the library refused it, or why it has no answer.
    reason: Option<&'a str>,
    /// The code that a route which observes would have refused it with.
    pub(super) would: Option<&'static str>,
}

/// No server sends this status: there was no answer.
const NO_ANSWER: u16 = 499;

impl<'a> Outcome<'a> {
    /// Returns the outcome of a request that is given up before there was an answer.
    pub(super) fn given_up(is_cut_off: bool) -> Self {
        let internal = Refused::Internal;
        let (status, code, reason) = match (thread::panicking(), is_cut_off) {
            (true, _) => (
                internal.status().as_u16(),
                Some(internal.code()),
                "panicked",
            ),
            (false, true) => (NO_ANSWER, None, "cut_off"),
            (false, false) => (NO_ANSWER, None, "client_gone"),
        };
        Self {
            status,
            code,
            reason: Some(reason),
            would: None,
        }
    }

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
        }
    }
}

impl Logged {
    /// Returns the JSON object, as `cli/README.md` describes it, with the number of lines before it
    /// that were left out.
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

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Sender, channel};

    use super::*;

    /// A request that is given up.
    struct GivenUp(Sender<Outcome<'static>>);

    impl Drop for GivenUp {
        fn drop(&mut self) {
            self.0.send(Outcome::given_up(false)).unwrap();
        }
    }

    #[test]
    fn a_panic_is_not_logged_as_a_client_that_has_gone() {
        let (sender, outcomes) = channel();
        let (panics, hangs_up) = (GivenUp(sender.clone()), GivenUp(sender));
        let panicked = thread::spawn(move || {
            let _panics = panics;
            panic!("a fault of the proxy");
        });
        panicked.join().unwrap_err();
        let of_panic = outcomes.recv().unwrap();
        assert_eq!(
            (of_panic.status, of_panic.code, of_panic.reason),
            (500, Some("internal_error"), Some("panicked"))
        );
        drop(hangs_up);
        let gone = outcomes.recv().unwrap();
        assert_eq!(
            (gone.status, gone.code, gone.reason),
            (499, None, Some("client_gone"))
        );
    }
}
