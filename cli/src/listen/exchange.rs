//! One request and its answer: captured, verified by the layer, and sent on.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::{Duration, Instant},
};

use bytes::Bytes;
use countersign::{
    Clock as _, Rejection, VerifiedPayload, VerifyLayer,
    clock::SystemClock,
    layer::{BufferedLayer, ResponseBody},
};
use http::{HeaderName, Request, Response, StatusCode, request::Parts};
use http_body_util::{Either, Full};
use hyper::body::Incoming;
use tokio::sync::{OnceCell, OwnedSemaphorePermit, Semaphore, mpsc};
use tower_layer::Layer as _;
use tower_service::Service;

use super::{
    capture::{self, Capture, End, MAX_BODIES},
    record::{Record, Upstream, Verdict},
    search::Search,
    upstream::Target,
};
use crate::{
    scheme::Chosen,
    verification::{Facts, carriers, facts},
};

/// Requests that are answered and not yet printed; more must wait.
const MAX_REQUESTS: usize = 256;

/// Notices that wait to be printed.
const MAX_NOTICES: usize = 16;

pub(super) type AnswerBody = Either<Full<Bytes>, Incoming>;

/// A record on its way, which occupies its share until it is dropped.
#[derive(Debug)]
pub(crate) struct Happened {
    pub(crate) record: Arc<Record>,
    _request: Option<OwnedSemaphorePermit>,
    _body: Option<OwnedSemaphorePermit>,
}

/// Answers requests, and reports each.
#[derive(Debug)]
pub(crate) struct Exchanges {
    layer: BufferedLayer,
    /// The headers that hold the signature itself.
    carriers: Arc<[HeaderName]>,
    forward: Option<Target>,
    search: Search,
    next_id: AtomicU64,
    requests: Arc<Semaphore>,
    bodies: Arc<Semaphore>,
    reports: mpsc::Sender<Happened>,
    notices: mpsc::Sender<String>,
}

/// The records and notices that are to be printed.
#[derive(Debug)]
pub(crate) struct Hearing {
    pub(crate) happened: mpsc::Receiver<Happened>,
    /// Notices about bytes that were not a request.
    pub(crate) notices: mpsc::Receiver<String>,
}

impl Exchanges {
    pub(crate) fn new(
        chosen: &Chosen,
        layer: VerifyLayer,
        forward: Option<Target>,
        search: Search,
        first_id: u64,
    ) -> (Arc<Self>, Hearing) {
        let (reports, happened) = mpsc::channel(MAX_REQUESTS);
        let (notices, heard) = mpsc::channel(MAX_NOTICES);
        let exchanges = Self {
            layer: layer.buffered(),
            carriers: carriers(chosen).into(),
            forward,
            search,
            next_id: AtomicU64::new(first_id),
            requests: Arc::new(Semaphore::new(MAX_REQUESTS)),
            bodies: Arc::new(Semaphore::new(MAX_BODIES)),
            reports,
            notices,
        };
        let hearing = Hearing {
            happened,
            notices: heard,
        };
        (Arc::new(exchanges), hearing)
    }

    /// Says something about bytes that were not a request. More than can be printed is left out.
    pub(super) fn notice(&self, text: String) {
        let _ = self.notices.try_send(text);
    }

    /// Waits until nothing more is being answered.
    pub(crate) async fn idle(&self) {
        let all = u32::try_from(MAX_REQUESTS).unwrap_or(u32::MAX);
        let _ = self.requests.acquire_many(all).await;
    }

    /// Answers a request, also if its sender does not wait for the answer.
    pub(super) async fn answer(
        self: Arc<Self>,
        request: Request<Incoming>,
    ) -> Response<ResponseBody<AnswerBody>> {
        // A sender that hangs up ends the wait, and not the work.
        let answering = tokio::spawn(self.exchange(request));
        answering.await.unwrap_or_else(|_| {
            let mut response = Response::new(ResponseBody::default());
            *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
            response
        })
    }

    async fn exchange(
        self: Arc<Self>,
        request: Request<Incoming>,
    ) -> Response<ResponseBody<AnswerBody>> {
        // The semaphore is never closed.
        let permit = Arc::clone(&self.requests).acquire_owned().await.ok();
        let at = SystemClock::default().now();
        let started = Instant::now();
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let (head, body) = request.into_parts();
        let capture = Capture::new(body, Arc::clone(&self.bodies));
        let exchange = Arc::new(Exchange {
            head: head.clone(),
            captured: OnceCell::new(),
            body_permit: Mutex::default(),
            carriers: Arc::clone(&self.carriers),
            forward: self.forward.clone(),
            verified: OnceLock::new(),
            upstream: OnceLock::new(),
            capture,
        });
        let captured = exchange.capture.body();
        let mut service = self.layer.layer(Behind(Arc::clone(&exchange)));
        let answering = service.call(Request::from_parts(head, captured));
        let response = answering.await.unwrap_or_else(|never| match never {});
        let rejection = response.extensions().get::<Rejection>();
        let patience = match rejection {
            Some(_) => capture::OF_REFUSED,
            None => capture::DEADLINE,
        };
        let (request, end) = exchange.request(patience).await;
        let verdict = match (rejection, exchange.verified.get()) {
            (Some(rejection), _) => Verdict::Refused(rejection.clone()),
            (None, Some(facts)) => Verdict::Verified(facts.clone()),
            (None, None) => Verdict::Handshake,
        };
        let mut record = Record {
            id,
            at,
            request,
            end,
            verdict,
            status: response.status(),
            took: started.elapsed(),
            upstream: exchange.upstream.get().cloned(),
            searched: None,
        };
        let body = exchange.take_body_permit();
        tokio::spawn(async move {
            // The sender has its answer, and does not wait for this.
            if let Verdict::Refused(rejection) = &record.verdict {
                record.searched = self.search.explain(rejection, &record.request).await;
            }
            let happened = Happened {
                record: Arc::new(record),
                _request: permit,
                _body: body,
            };
            // Nobody prints it if the command is ending.
            let _ = self.reports.send(happened).await;
        });
        response
    }
}

/// One request, for those who answer it.
struct Exchange {
    head: Parts,
    capture: Capture,
    captured: OnceCell<(Bytes, End)>,
    body_permit: Mutex<Option<OwnedSemaphorePermit>>,
    carriers: Arc<[HeaderName]>,
    forward: Option<Target>,
    verified: OnceLock<Facts>,
    upstream: OnceLock<Upstream>,
}

impl Exchange {
    /// The request with what was captured of its body.
    async fn request(&self, patience: Duration) -> (Request<Bytes>, End) {
        let capturing = async {
            let (body, end, permit) = self.capture.finish(patience).await;
            *self.permit() = permit;
            (body, end)
        };
        let (body, end) = self.captured.get_or_init(|| capturing).await;
        (Request::from_parts(self.head.clone(), body.clone()), *end)
    }

    fn permit(&self) -> MutexGuard<'_, Option<OwnedSemaphorePermit>> {
        self.body_permit
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn take_body_permit(&self) -> Option<OwnedSemaphorePermit> {
        self.permit().take()
    }

    /// The answer to a verified request: the upstream's, or an empty one.
    async fn answer(&self, payload: Option<VerifiedPayload>) -> Response<AnswerBody> {
        let (request, end) = self.request(capture::DEADLINE).await;
        let _ = self
            .verified
            .set(facts(payload.as_ref(), &request, &self.carriers));
        let Some(target) = &self.forward else {
            return empty(StatusCode::OK);
        };
        let started = Instant::now();
        let sent = match end {
            End::Whole => {
                let (head, body) = request.into_parts();
                target.send(&head, body).await
            }
            _ => Err("too many bodies are on their way at once".to_owned()),
        };
        let _ = self.upstream.set(Upstream {
            answer: sent.as_ref().map(Response::status).map_err(Clone::clone),
            took: started.elapsed(),
        });
        match sent {
            Ok(answer) => answer.map(Either::Right),
            Err(_) => empty(StatusCode::BAD_GATEWAY),
        }
    }
}

fn empty(status: StatusCode) -> Response<AnswerBody> {
    let mut response = Response::new(Either::Left(Full::default()));
    *response.status_mut() = status;
    response
}

/// The service behind the layer.
#[derive(Clone)]
struct Behind(Arc<Exchange>);

impl Service<Request<Full<Bytes>>> for Behind {
    type Response = Response<AnswerBody>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<Full<Bytes>>) -> Self::Future {
        let exchange = Arc::clone(&self.0);
        let payload = request.extensions_mut().remove::<VerifiedPayload>();
        Box::pin(async move { Ok(exchange.answer(payload).await) })
    }
}
