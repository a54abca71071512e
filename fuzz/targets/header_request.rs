//! Any request through a verifier: what was not signed is refused, and never with a panic.
#![no_main]

use std::{collections::VecDeque, convert::Infallible, pin::Pin, sync::LazyLock, task};

use arbitrary::Arbitrary;
use bytes::Bytes;
use countersign::{
    HeaderScheme, KeyRing, MemoryStore, Part, RejectionKind, Signer, Timestamp, Verifier,
    testing::ManualClock,
};
use countersign_fuzz::ready;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, request, uri::PathAndQuery};
use http_body::{Body, Frame};
use libfuzzer_sys::fuzz_target;

#[derive(Arbitrary, Debug)]
enum Input {
    /// A request of the fuzzer's own; it does not know the secret.
    Unsigned(Changes),
    /// A request that was signed, and then changed.
    Changed {
        path: String,
        body: Vec<u8>,
        changes: Changes,
    },
}

#[derive(Arbitrary, Debug)]
struct Changes {
    method: Option<String>,
    target: Option<String>,
    headers: Vec<HeaderChange>,
    body: Option<Vec<Vec<u8>>>,
    trailers: bool,
}

#[derive(Arbitrary, Debug)]
enum HeaderChange {
    Insert(Name, Vec<u8>),
    Append(Name, Vec<u8>),
    Remove(Name),
    /// At this place in the value, this is added to the byte.
    Byte(Name, u8, u8),
}

#[derive(Arbitrary, Debug)]
enum Name {
    Signature,
    KeyId,
    Timestamp,
    Nonce,
    ContentType,
    Host,
    ContentEncoding,
    ContentLength,
    TransferEncoding,
    Upgrade,
    Other(String),
}

const KEY: &str = "partner-1";
const SECRET: &str = "the secret of partner 1";

/// The headers that are covered, and the authority.
const COVERED: [&str; 4] = ["x-key-id", "x-timestamp", "x-nonce", "content-type"];

static SCHEME: LazyLock<HeaderScheme> = LazyLock::new(|| {
    HeaderScheme::builder("x-signature")
        .prefix("sha256=")
        .key_id("x-key-id")
        .time("x-timestamp")
        .nonce("x-nonce")
        .signs(Part::lines([
            Part::Method,
            Part::Authority,
            Part::PathAndQuery,
            Part::KeyId,
            Part::Time,
            Part::Nonce,
            Part::header("content-type"),
            Part::Body,
        ]))
        .build()
        .expect("a description that is safe")
});

fuzz_target!(|input: Input| {
    let clock = ManualClock::at(Timestamp::from_secs(1_700_000_000).expect("a valid time"));
    let verifier = Verifier::builder(SCHEME.clone())
        .public_origin("https://api.example.com")
        .keys(KeyRing::new().with(KEY, SECRET).expect("a valid key"))
        .store(store(&clock))
        .clock(clock.clone())
        .max_body_bytes(4096)
        .build()
        .expect("a valid configuration");

    let (signed, changes) = match input {
        Input::Unsigned(changes) => (None, changes),
        Input::Changed {
            path,
            body,
            changes,
        } => {
            let request = Request::post(format!("/{path}"))
                .header("host", "api.example.com")
                .header("content-type", "application/json")
                .body(body);
            let Ok(request) = request else { return };
            let signer = Signer::new(SCHEME.clone(), KEY, SECRET).expect("a valid key");
            let signer = signer.clock(clock.clone());
            let Ok(signed) = signer.sign_with_nonce(request, "a-nonce") else {
                return;
            };
            (Some(signed.into_parts()), changes)
        }
    };
    let (mut head, body) = signed
        .clone()
        .unwrap_or_else(|| Request::new(Vec::new()).into_parts());
    let Some(frames) = changes.apply(&mut head, body) else {
        return;
    };
    let whole = frames.concat();
    let frames = || Frames {
        data: frames.iter().cloned().map(Bytes::from).collect(),
        trailers: changes.trailers,
    };

    let answer = ready(verifier.verify(&head, frames()));
    let is_as_signed = signed
        .as_ref()
        .is_some_and(|(signed, body)| *body == whole && covered(signed) == covered(&head));
    match answer {
        Ok(verified) => {
            assert!(is_as_signed, "accepted what was not signed");
            let payload = verified.payload().expect("it is claimed");
            assert_eq!(payload.bytes(), &whole);
            assert_eq!(payload.method(), Some(&head.method));
            let target = target(&head);
            assert_eq!(payload.path(), Some(target.path()));
            assert_eq!(payload.query(), Some(target.query().unwrap_or_default()));
            assert_eq!(payload.key_id().as_str(), KEY);
            for name in COVERED {
                assert_eq!(payload.header(name), head.headers.get(name));
            }
            let copy = ready(verifier.verify(&head, frames()));
            let refused = copy.expect_err("a copy");
            assert_eq!(refused.kind(), RejectionKind::RequestReplayed);
        }
        Err(refused) => {
            let nothing_was_changed = signed.is_some_and(|(signed, _)| {
                is_as_signed && signed.headers == head.headers && signed.uri == head.uri
            });
            let too_large = refused.kind() == RejectionKind::BodyTooLarge && whole.len() > 4096;
            assert!(
                !nothing_was_changed || too_large,
                "refused what was signed: {refused}"
            );
            assert_eq!(refused.to_response().status(), refused.kind().status());
        }
    }
});

fn store(clock: &ManualClock) -> MemoryStore {
    let store = MemoryStore::builder().capacity_bytes(64 * 1024);
    store
        .clock(clock.clone())
        .danger_assume_no_history()
        .build()
        .expect("a valid capacity")
}

/// Returns what the scheme covers, as it is in the head.
fn covered(head: &request::Parts) -> impl PartialEq {
    let headers = COVERED.map(|name| values(&head.headers, name));
    // The authority is compared without its case and default port.
    let authority = match (head.uri.authority(), &values(&head.headers, "host")[..]) {
        (Some(authority), _) => authority.to_string(),
        (None, [host]) => String::from_utf8_lossy(host.as_bytes()).into_owned(),
        (None, _) => String::new(),
    };
    let authority = authority.to_ascii_lowercase();
    let authority = authority
        .strip_suffix(":443")
        .unwrap_or(&authority)
        .to_owned();
    (head.method.clone(), authority, target(head), headers)
}

/// Returns the target: `/` if there is an authority alone.
fn target(head: &request::Parts) -> PathAndQuery {
    let target = head.uri.path_and_query().cloned();
    target.unwrap_or_else(|| PathAndQuery::from_static("/"))
}

fn values(headers: &HeaderMap, name: &str) -> Vec<HeaderValue> {
    headers.get_all(name).iter().cloned().collect()
}

impl Changes {
    /// The frames of the body; `None` if this makes no HTTP request.
    fn apply(&self, head: &mut request::Parts, body: Vec<u8>) -> Option<Vec<Vec<u8>>> {
        if let Some(method) = &self.method {
            head.method = Method::from_bytes(method.as_bytes()).ok()?;
        }
        if let Some(target) = &self.target {
            head.uri = target.parse::<Uri>().ok()?;
        }
        for change in &self.headers {
            change.apply(&mut head.headers)?;
        }
        Some(self.body.clone().unwrap_or_else(|| vec![body]))
    }
}

impl HeaderChange {
    fn apply(&self, headers: &mut HeaderMap) -> Option<()> {
        match self {
            Self::Insert(name, value) => {
                headers.insert(name.get()?, HeaderValue::from_bytes(value).ok()?);
            }
            Self::Append(name, value) => {
                headers.append(name.get()?, HeaderValue::from_bytes(value).ok()?);
            }
            Self::Remove(name) => _ = headers.remove(name.get()?),
            Self::Byte(name, at, add) => {
                let name = name.get()?;
                let mut value = headers.get(&name)?.as_bytes().to_vec();
                let at = usize::from(*at).checked_rem(value.len())?;
                value[at] = value[at].wrapping_add(*add);
                headers.insert(name, HeaderValue::from_bytes(&value).ok()?);
            }
        }
        Some(())
    }
}

impl Name {
    fn get(&self) -> Option<HeaderName> {
        let name = match self {
            Self::Signature => "x-signature",
            Self::KeyId => "x-key-id",
            Self::Timestamp => "x-timestamp",
            Self::Nonce => "x-nonce",
            Self::ContentType => "content-type",
            Self::Host => "host",
            Self::ContentEncoding => "content-encoding",
            Self::ContentLength => "content-length",
            Self::TransferEncoding => "transfer-encoding",
            Self::Upgrade => "upgrade",
            Self::Other(name) => name,
        };
        name.parse().ok()
    }
}

/// A body that arrives in these frames.
struct Frames {
    data: VecDeque<Bytes>,
    trailers: bool,
}

impl Body for Frames {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut task::Context<'_>,
    ) -> task::Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let data = self.data.pop_front().map(Frame::data);
        let frame = data.or_else(|| {
            std::mem::take(&mut self.trailers).then(|| Frame::trailers(HeaderMap::new()))
        });
        task::Poll::Ready(frame.map(Ok))
    }
}
