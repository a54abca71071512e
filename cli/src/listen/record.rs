//! A request that came, and its verdict and answer.

use std::time::Duration;

use bytes::Bytes;
use countersign::{Rejection, RejectionKind, Timestamp, store::NonceKind};
use http::{Request, StatusCode, header::HOST};
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use super::{capture::End, search::Searched};
use crate::{
    explain::Row,
    printer::visible,
    time,
    verification::{Facts, object_of_refused, reason},
};

/// A request that was answered.
#[derive(Debug)]
pub(crate) struct Record {
    pub(crate) id: u64,
    pub(crate) at: Timestamp,
    pub(crate) request: Request<Bytes>,
    pub(crate) end: End,
    pub(crate) verdict: Verdict,
    /// The status of the answer.
    pub(crate) status: StatusCode,
    pub(crate) took: Duration,
    pub(crate) upstream: Option<Upstream>,
    /// The result of the search for the cause, if there was one.
    pub(crate) searched: Option<Searched>,
}

/// The library's verdict on a request.
#[derive(Debug)]
pub(crate) enum Verdict {
    Verified(Facts),
    Refused(Rejection),
    /// A handshake of the scheme, which the library answers by itself.
    Handshake,
}

/// How the server behind answered, and how long it took; or why there is no answer.
#[derive(Clone, Debug)]
pub(crate) struct Upstream {
    pub(crate) answer: Result<StatusCode, String>,
    pub(crate) took: Duration,
}

impl Verdict {
    /// The verdict in one word.
    pub(crate) fn word(&self) -> &'static str {
        match self {
            Self::Verified(_) => "verified",
            Self::Handshake => "handshake",
            Self::Refused(rejection) => match rejection.kind() {
                RejectionKind::RequestReplayed => "duplicate",
                _ => "refused",
            },
        }
    }

    /// The library's code of a refused request.
    pub(crate) fn code(&self) -> Option<&'static str> {
        match self {
            Self::Refused(rejection) => Some(rejection.kind().code()),
            Self::Verified(_) | Self::Handshake => None,
        }
    }

    /// Why the request is refused.
    pub(crate) fn reason(&self) -> Option<String> {
        match self {
            Self::Refused(rejection) => Some(reason(rejection)),
            Self::Verified(_) | Self::Handshake => None,
        }
    }

    /// The JSON object of `verify`.
    pub(crate) fn object(&self) -> Value {
        match self {
            Self::Verified(facts) => facts.object(),
            Self::Refused(rejection) => object_of_refused(rejection),
            Self::Handshake => Facts::default().object(),
        }
    }
}

/// Returns whether this verdict says that the signature is good.
pub(crate) fn is_authentic(verdict: &str) -> bool {
    ["verified", "duplicate"].contains(&verdict)
}

impl Record {
    pub(crate) fn method(&self) -> &str {
        self.request.method().as_str()
    }

    /// Returns whether its signature is good, be it the first time or again.
    pub(crate) fn is_authentic(&self) -> bool {
        is_authentic(self.verdict.word())
    }

    /// The key id that the request was verified under.
    pub(crate) fn key_id(&self) -> Option<&str> {
        match &self.verdict {
            Verdict::Verified(facts) => Some(&facts.key_id),
            Verdict::Refused(_) | Verdict::Handshake => None,
        }
    }

    /// The event id of a verified request, which its sender keeps over retries.
    pub(crate) fn event_id(&self) -> Option<String> {
        let Verdict::Verified(Facts {
            nonce: Some((NonceKind::Event, id)),
            ..
        }) = &self.verdict
        else {
            return None;
        };
        String::from_utf8(id.clone()).ok()
    }

    /// Path and query, as they were sent.
    pub(crate) fn target(&self) -> &str {
        let target = self.request.uri().path_and_query();
        target.map_or("/", |target| target.as_str())
    }

    /// The host that the sender wrote.
    pub(crate) fn authority(&self) -> String {
        let host = self.request.headers().get(HOST);
        let host = host.map(|host| visible(host.as_bytes()));
        let of_target = || self.request.uri().authority().map(ToString::to_string);
        host.or_else(of_target).unwrap_or_default()
    }

    pub(crate) fn body_sha256(&self) -> String {
        let digest = Sha256::digest(self.request.body());
        digest.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Says why a part of the body is missing here.
    pub(crate) fn cut(&self) -> Option<&'static str> {
        match self.end {
            End::Whole => None,
            End::Open | End::Broken => Some("the sender broke off, or was too slow"),
            End::Full => Some("the body is longer than what is recorded"),
        }
    }

    /// The JSON object, as `cli/README.md` describes it.
    pub(crate) fn object(&self) -> Value {
        let mut object = self.verdict.object();
        let millis = |took: Duration| u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        let more = json!({
            "id": self.id,
            "at": time::show(self.at),
            "http": format!("{:?}", self.request.version()),
            "method": self.method(),
            "target": self.target(),
            "body_bytes": self.request.body().len(),
            "body_sha256": self.body_sha256(),
            "body_cut": self.cut(),
            "verdict": self.verdict.word(),
            "status": self.status.as_u16(),
            "took_ms": millis(self.took),
            "upstream": self.upstream.as_ref().map(|upstream| json!({
                "status": upstream.answer.as_ref().ok().map(StatusCode::as_u16),
                "error": upstream.answer.as_ref().err(),
                "took_ms": millis(upstream.took),
            })),
        });
        if let (Some(object), Value::Object(more)) = (object.as_object_mut(), more) {
            object.extend(more);
            object.extend(self.explanation());
        }
        object
    }

    /// The members that `explain` adds.
    fn explanation(&self) -> Map<String, Value> {
        let (rows, tried, not_searched): (&[&Row], _, _) = match &self.searched {
            None => (&[], 0, None),
            Some(Searched::Found(rows, tried)) => (rows, *tried, None),
            Some(Searched::Nothing(tried)) => (&[], *tried, None),
            Some(Searched::Skipped(why)) => (&[], 0, Some(*why)),
        };
        Map::from_iter([
            ("explained".to_owned(), (!rows.is_empty()).into()),
            (
                "changes".to_owned(),
                rows.iter().map(|row| row.object()).collect(),
            ),
            ("tried".to_owned(), tried.into()),
            ("not_searched".to_owned(), not_searched.into()),
        ])
    }
}
