//! The request that is probed: made again for each event, signed at any time under any nonce, and
//! judged as the scheme's own verifier judges it.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use countersign::{
    Clock as _, MemoryStore, Processing, Signer, Timestamp,
    clock::SystemClock,
    inspect::{Inspected, Source},
    store::NonceKind,
};
use http::{HeaderName, HeaderValue, Method, Request, Uri};
use http_body_util::Full;

use super::event::{Event, Source as Events, has_identifier};
use crate::{exit::Failure, scheme::Chosen, secret::SecretText, time::Fixed};

/// The texts of a request: texts with `{uuid}`, `{n}` and `{now}`.
#[derive(Clone, Debug)]
pub(crate) struct Template {
    pub(crate) method: Method,
    /// The whole URL, as clients write it.
    pub(crate) url: String,
    pub(crate) headers: Vec<(HeaderName, String)>,
    /// Bytes that are not text are sent as they are.
    pub(crate) body: Bytes,
}

impl Template {
    /// Makes the request of an event.
    pub(crate) fn request(&self, event: &Event, now: Timestamp) -> Result<Request<Bytes>, String> {
        let now = now.as_secs();
        let url: Uri = event
            .fill(&self.url, now)
            .parse()
            .map_err(|error| format!("the URL: {error}"))?;
        let mut request = Request::builder().method(self.method.clone()).uri(url);
        for (name, value) in &self.headers {
            request = request.header(name, event.fill(value, now));
        }
        let body = match std::str::from_utf8(&self.body) {
            Ok(text) => Bytes::from(event.fill(text, now)),
            Err(_) => self.body.clone(),
        };
        request.body(body).map_err(|error| error.to_string())
    }

    pub(crate) fn has_identifier(&self) -> bool {
        let headers = self.headers.iter().any(|(_, value)| has_identifier(value));
        let body = std::str::from_utf8(&self.body).is_ok_and(has_identifier);
        has_identifier(&self.url) || headers || body
    }
}

/// A request that has not been sent.
#[derive(Clone, Debug)]
pub(crate) struct Fresh {
    pub(crate) event: Event,
    pub(crate) nonce: String,
    pub(crate) at: Timestamp,
    pub(crate) request: Request<Bytes>,
}

/// The parts of the request that the scheme covers.
#[derive(Clone, Debug)]
pub(crate) struct Covered {
    pub(crate) sources: Vec<Source>,
    pub(crate) nonce: Option<NonceKind>,
    pub(crate) is_timed: bool,
    /// The parts that it leaves uncovered, in words.
    pub(crate) open: Vec<String>,
}

/// The request, its scheme and its secret.
pub(crate) struct Subject {
    pub(crate) chosen: Chosen,
    pub(crate) key_id: Option<String>,
    pub(crate) secrets: Arc<[SecretText]>,
    pub(crate) template: Template,
    pub(crate) max_age: Option<Duration>,
    pub(crate) events: Events,
}

impl std::fmt::Debug for Subject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Subject")
            .field("template", &self.template)
            .finish_non_exhaustive()
    }
}

impl Subject {
    /// A request of a new event, signed now.
    pub(crate) fn fresh(&self) -> Result<Fresh, Failure> {
        self.fresh_at(now())
    }

    /// A request of a new event, signed at this time.
    pub(crate) fn fresh_at(&self, at: Timestamp) -> Result<Fresh, Failure> {
        let (event, nonce) = (self.events.event(), self.events.nonce());
        self.signed(event, nonce, at)
    }

    /// The request of an event, signed at this time under this nonce.
    pub(crate) fn signed(
        &self,
        event: Event,
        nonce: String,
        at: Timestamp,
    ) -> Result<Fresh, Failure> {
        let request = self.template.request(&event, at);
        let request = request.map_err(|why| unsigned(&self.chosen.name, &why))?;
        let signed = self.signer()?.clock(Fixed(at)).sign_body(request, &nonce);
        let request = signed.map_err(|error| unsigned(&self.chosen.name, &error.to_string()))?;
        Ok(Fresh {
            event,
            nonce,
            at,
            request,
        })
    }

    fn signer(&self) -> Result<Signer, Failure> {
        let secret = self.secrets.first().ok_or_else(|| {
            Failure::usage("no secret is given", "requests are signed with it", "")
        })?;
        self.chosen.signer(self.key_id.as_deref(), secret)
    }

    /// The signature of a request that this subject has signed.
    pub(crate) fn signature(&self, request: &Request<Bytes>) -> Option<Inspected> {
        let (head, body) = request.clone().into_parts();
        let signatures = self.chosen.inspector(None).inspect(&head, &body).ok()?;
        signatures.into_iter().next()
    }

    /// Returns whether the scheme's own verifier refuses this request, at this time, when it comes
    /// first.
    pub(crate) async fn is_refused(&self, request: &Request<Bytes>) -> Result<bool, Failure> {
        Ok(self.verified(request, now()).await?.is_none())
    }

    /// Returns what the scheme covers of this request.
    pub(crate) async fn covered(&self, fresh: &Fresh) -> Result<Covered, Failure> {
        let (nonce, is_timed, mut open) = self
            .verified(&fresh.request, fresh.at)
            .await?
            .ok_or_else(|| {
                unsigned(
                    &self.chosen.name,
                    "the scheme's own verifier refuses the request; with a URL that clients write \
                     otherwise, --origin names it",
                )
            })?;
        // These headers say how the body is sent, or come from the client's library.
        let own = ["content-length", "host", "user-agent", "accept"];
        open.retain(|part| {
            let name = part.strip_prefix("header ").unwrap_or_default();
            !own.contains(&name) && !self.is_of_signature(&fresh.request, name)
        });
        let sources = self
            .signature(&fresh.request)
            .map_or_else(Vec::new, |signature| {
                let pieces = signature.pieces();
                pieces
                    .iter()
                    .flat_map(|piece| piece.sources().to_vec())
                    .collect()
            });
        Ok(Covered {
            sources,
            nonce,
            is_timed,
            open,
        })
    }

    /// Returns whether signing wrote this header.
    fn is_of_signature(&self, request: &Request<Bytes>, name: &str) -> bool {
        !name.is_empty()
            && request.headers().contains_key(name)
            && !self.template.headers.iter().any(|(own, _)| own == name)
    }

    /// The kind of the nonce, whether a time is covered, and what is not; `None` if it is refused.
    async fn verified(
        &self,
        request: &Request<Bytes>,
        now: Timestamp,
    ) -> Result<Option<(Option<NonceKind>, bool, Vec<String>)>, Failure> {
        let wrong = |error: countersign::ConfigError| {
            Failure::usage(
                "requests of this scheme cannot be verified with these options",
                error.to_string(),
                "check --origin and --max-age",
            )
        };
        let clock = Fixed(now);
        let store = MemoryStore::builder()
            // The probe asks what the scheme refuses, and not what was accepted before.
            .danger_assume_no_history()
            .clock(clock);
        let mut builder = self
            .chosen
            .verifier(self.key_id.as_deref(), &self.secrets)?
            .store(store.build().map_err(wrong)?)
            .processing(Processing::AtMostOnce)
            .clock(clock)
            .max_body_bytes(MAX_BODY)
            .body_budget_bytes(4 * MAX_BODY);
        let url: Result<Uri, _> = self
            .template
            .url
            .split(['{', '?', '#'])
            .next()
            .unwrap_or_default()
            .parse();
        builder = match url
            .ok()
            .and_then(|url| Some((url.scheme_str()?.to_owned(), url.authority()?.clone())))
        {
            Some((scheme, authority)) => builder.public_origin(format!("{scheme}://{authority}")),
            // The probe verifies its own requests, whose URL it has just made.
            None => builder.danger_any_authority(),
        };
        if let Some(max_age) = self.max_age {
            builder = builder.max_age(max_age).max_skew(MAX_SKEW.min(max_age));
        }
        let verifier = builder.build().map_err(wrong)?;
        let (head, body) = request.clone().into_parts();
        let verified = verifier.verify(&head, Full::new(body)).await;
        Ok(verified.ok().map(|verified| {
            let payload = verified.payload();
            let carriers = crate::verification::carriers(&self.chosen);
            let facts = crate::verification::facts(payload, request, &carriers);
            (
                payload.and_then(|payload| payload.nonce().map(|nonce| nonce.kind())),
                facts.signed_at.is_some(),
                facts.uncovered,
            )
        }))
    }
}

/// How far ahead a signed time may be.
const MAX_SKEW: Duration = Duration::from_secs(5);

/// The longest body that is signed.
const MAX_BODY: usize = 16 * 1024 * 1024;

pub(crate) fn now() -> Timestamp {
    SystemClock::default().now()
}

/// A time that is this far away.
pub(crate) fn shifted(time: Timestamp, seconds: i64) -> Timestamp {
    let of = Duration::from_secs(seconds.unsigned_abs());
    let millis = u64::try_from(of.as_millis()).unwrap_or(u64::MAX);
    let millis = match seconds < 0 {
        true => time.as_millis().saturating_sub(millis),
        false => time.as_millis().saturating_add(millis),
    };
    Timestamp::from_millis(millis).unwrap_or(time)
}

fn unsigned(name: &str, why: &str) -> Failure {
    Failure::usage(
        format!("`{name}` cannot sign this request"),
        why,
        "add what the scheme covers, such as a header with -H, a whole URL or a body",
    )
}

/// Puts a header in place of all of that name.
pub(crate) fn with_header(
    mut request: Request<Bytes>,
    name: &HeaderName,
    value: &str,
) -> Option<Request<Bytes>> {
    let value = HeaderValue::from_bytes(value.as_bytes()).ok()?;
    request.headers_mut().insert(name, value);
    Some(request)
}
