//! The port of the inspector, and its routes.

use std::{convert::Infallible, net::Ipv4Addr, sync::Arc, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use countersign::inspect::Inspector as Reader;
use http::{
    HeaderValue, Method, Request, Response, StatusCode,
    header::{
        CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY,
        X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
    },
};
use http_body_util::{BodyExt as _, Either, Full, Limited};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::json;
use sha2::{Digest as _, Sha256};
use tokio::{net::TcpListener, sync::Semaphore, task::spawn_blocking, time::sleep};

use super::{
    actions::Replays,
    details::details,
    guard::Guard,
    har::archive,
    log::Log,
    page::{Frame, SCRIPT, STYLE, page},
    query::Query,
    rows::rows,
    stream::{Events, find, stream},
};
use crate::{
    exit::Failure,
    listen::{Resigner, Target},
    scheme::Chosen,
};

const MAX_CONNECTIONS: usize = 64;
const MAX_STREAMS: usize = 32;
const MAX_POST: usize = 1024;
const HEAD_DEADLINE: Duration = Duration::from_secs(10);

type Answer = Response<Either<Full<Bytes>, Events>>;

/// The settings of `listen` that the inspector shows and uses.
#[derive(Debug)]
pub(crate) struct Surroundings {
    pub(crate) chosen: Chosen,
    pub(crate) origin: Option<String>,
    /// The URL that requests come to.
    pub(crate) listening: String,
    pub(crate) target: Option<Target>,
    pub(crate) resigner: Option<Resigner>,
}

#[derive(Debug)]
pub(crate) struct Inspector {
    listener: TcpListener,
    url: String,
    shared: Shared,
}

#[derive(Debug)]
struct Shared {
    guard: Guard,
    log: Arc<Log>,
    replays: Replays,
    scheme: String,
    reader: Reader,
    listening: String,
    streams: Arc<Semaphore>,
    policy: HeaderValue,
}

impl Inspector {
    /// Takes a free port on loopback.
    pub(crate) async fn bind(around: Surroundings, log: Arc<Log>) -> Result<Self, Failure> {
        let failed = |error: std::io::Error| {
            Failure::unable(
                "cannot open a port for the inspector",
                error.to_string(),
                "end other programs, or leave out --ui",
            )
        };
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
        let listener = listener.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let guard = Guard::new(address)?;
        let url = format!("http://{address}/{}/", guard.path);
        Ok(Self {
            listener,
            url,
            shared: Shared {
                guard,
                log,
                replays: Replays::new(around.target, around.resigner),
                scheme: around.chosen.name.clone(),
                reader: around.chosen.inspector(around.origin.as_deref()),
                listening: around.listening,
                streams: Arc::new(Semaphore::new(MAX_STREAMS)),
                policy: policy(),
            },
        })
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Answers the page's requests until it is dropped.
    pub(crate) async fn serve(self) {
        let connections = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        let shared = Arc::new(self.shared);
        loop {
            // The semaphore is never closed.
            let permit = Arc::clone(&connections).acquire_owned().await;
            let Ok((stream, _)) = self.listener.accept().await else {
                sleep(Duration::from_millis(50)).await;
                continue;
            };
            let shared = Arc::clone(&shared);
            tokio::spawn(async move {
                let _permit = permit;
                let service = service_fn(move |request| {
                    let shared = Arc::clone(&shared);
                    async move { Ok::<_, Infallible>(answer(&shared, request).await) }
                });
                let mut builder = http1::Builder::new();
                builder
                    .timer(TokioTimer::new())
                    .header_read_timeout(HEAD_DEADLINE);
                // A browser that breaks off is no failure.
                let _ = builder
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
            });
        }
    }
}

/// Its own script and style alone; nothing from elsewhere, no frame, no form.
fn policy() -> HeaderValue {
    let hash = |text: &str| STANDARD.encode(Sha256::digest(text));
    let policy = format!(
        "default-src 'none'; script-src 'sha256-{}'; style-src 'sha256-{}'; connect-src 'self'; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
         require-trusted-types-for 'script'; trusted-types fragments",
        hash(SCRIPT),
        hash(STYLE),
    );
    HeaderValue::try_from(policy).unwrap_or(HeaderValue::from_static("default-src 'none'"))
}

async fn answer(shared: &Shared, request: Request<Incoming>) -> Answer {
    let (head, body) = request.into_parts();
    let admitted = shared
        .guard
        .admit(&head.method, head.uri.path(), &head.headers);
    let mut answer = match admitted {
        Err(status) => plain(status, "this is not for you\n"),
        Ok(rest) => {
            let query = Query::parse(head.uri.query().unwrap_or_default());
            match head.method {
                Method::POST => post(shared, rest, body).await,
                _ => get(shared, rest, query).await,
            }
        }
    };
    let headers = answer.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, shared.policy.clone());
    for (name, value) in [
        (REFERRER_POLICY, "no-referrer"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (X_FRAME_OPTIONS, "DENY"),
        (CACHE_CONTROL, "no-store"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    for (name, value) in [
        ("cross-origin-opener-policy", "same-origin"),
        ("cross-origin-resource-policy", "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    answer
}

async fn get(shared: &Shared, path: &str, query: Query) -> Answer {
    match path {
        "" => {
            let frame = Frame {
                scheme: &shared.scheme,
                listening: &shared.listening,
                target: shared.replays.target(),
                token: &shared.guard.token,
            };
            full("text/html; charset=utf-8", page(&frame).into_string())
        }
        "events" => match Arc::clone(&shared.streams).try_acquire_owned() {
            Ok(permit) => {
                let events = stream(Arc::clone(&shared.log), query, permit);
                let mut answer = Response::new(Either::Right(events));
                let event_stream = HeaderValue::from_static("text/event-stream");
                answer.headers_mut().insert(CONTENT_TYPE, event_stream);
                answer
            }
            Err(_) => plain(StatusCode::SERVICE_UNAVAILABLE, "too many pages are open\n"),
        },
        "rows" => {
            let (records, _) = shared.log.after(0);
            let Ok((found, has_more)) = spawn_blocking(move || find(&query, records)).await else {
                return plain(StatusCode::INTERNAL_SERVER_ERROR, "the search failed\n");
            };
            let html = rows(found.iter()).into_string();
            let object = json!({"html": html, "has_more": has_more});
            full("application/json", object.to_string())
        }
        path => record(shared, path),
    }
}

/// `requests/ID` and `requests/ID/har`.
fn record(shared: &Shared, path: &str) -> Answer {
    let gone = || plain(StatusCode::NOT_FOUND, "this request is not here any more\n");
    let Some(rest) = path.strip_prefix("requests/") else {
        return gone();
    };
    let (id, what) = rest.split_once('/').unwrap_or((rest, ""));
    let record = id.parse().ok().and_then(|id| shared.log.find(id));
    match (record, what) {
        (Some(record), "") => {
            let html = details(&record, &shared.listening, &shared.replays, &shared.reader);
            full("text/html; charset=utf-8", html.into_string())
        }
        (Some(record), "har") => {
            let har = archive(&record).to_string();
            let mut answer = full("application/json", har);
            let file = format!("attachment; filename=\"request-{}.har\"", record.id);
            if let Ok(file) = HeaderValue::try_from(file) {
                answer.headers_mut().insert(CONTENT_DISPOSITION, file);
            }
            answer
        }
        _ => gone(),
    }
}

/// `requests/ID/replay`.
async fn post(shared: &Shared, path: &str, body: Incoming) -> Answer {
    let id = path
        .strip_prefix("requests/")
        .and_then(|rest| rest.strip_suffix("/replay"));
    let record = id
        .and_then(|id| id.parse().ok())
        .and_then(|id| shared.log.find(id));
    let Some(record) = record else {
        return plain(StatusCode::NOT_FOUND, "this request is not here any more\n");
    };
    let Ok(body) = Limited::new(body, MAX_POST).collect().await else {
        return plain(StatusCode::BAD_REQUEST, "the page is of another version\n");
    };
    match shared.replays.replay(&record, &body.to_bytes()).await {
        Ok(html) => full("text/html; charset=utf-8", html.into_string()),
        Err((status, why)) => plain(status, &why),
    }
}

fn full(content_type: &'static str, body: String) -> Answer {
    let mut answer = Response::new(Either::Left(Full::from(body)));
    let content_type = HeaderValue::from_static(content_type);
    answer.headers_mut().insert(CONTENT_TYPE, content_type);
    answer
}

fn plain(status: StatusCode, text: &str) -> Answer {
    let mut answer = full("text/plain; charset=utf-8", text.to_owned());
    *answer.status_mut() = status;
    answer
}
