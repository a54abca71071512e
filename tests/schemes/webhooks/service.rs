//! A service behind a preset, and what it answers.

use std::{
    collections::VecDeque,
    fmt::Debug,
    panic::Location,
    sync::{Arc, Mutex},
};

use axum::{Router, body::Body, response::IntoResponse as _, routing::any};
use bytes::Bytes;
use countersign::{
    MemoryStore, VerifiedPayload, Verifier, VerifyLayer, request::VerifierBuilder, scheme::Scheme,
    testing::ManualClock,
};
use http::{Request, Response, StatusCode};
use tokio::{
    sync::{OwnedRwLockWriteGuard, RwLock},
    task::JoinHandle,
};
use tower::ServiceExt as _;
use tower_http::catch_panic::CatchPanicLayer;

use super::provider::Provider;
use crate::common::{self, Effects};

/// Status, and code or body.
pub type Answer = (u16, &'static str);

pub const OK: u16 = 200;
/// A delivery that was handled before.
pub const ACKNOWLEDGED: Answer = (200, "");
pub const IN_FLIGHT: Answer = (409, "request_in_flight");
pub const MISSING: Answer = (401, "signature_missing");
/// Providers' own checks of an endpoint want 401 for it.
pub const MALFORMED: Answer = (401, "signature_malformed");
pub const INVALID: Answer = (401, "signature_invalid");
pub const EXPIRED: Answer = (401, "signature_expired");
pub const NOT_YET_VALID: Answer = (401, "signature_not_yet_valid");

/// A service behind a preset, that handles what comes to any path.
pub struct Service {
    pub clock: ManualClock,
    pub effects: Effects,
    pub handler: Handler,
    pub app: Router,
}

/// Told to answer so, a handler panics instead, and is answered for with 500.
pub const PANICS: StatusCode = StatusCode::IM_A_TEAPOT;

/// Has an effect, then answers with `handled` unless it is told otherwise.
#[derive(Clone, Default)]
pub struct Handler {
    /// The answers to the next deliveries.
    answers: Arc<Mutex<VecDeque<StatusCode>>>,
    /// The handler waits while this is closed.
    gate: Arc<RwLock<()>>,
}

impl Handler {
    pub fn answer_next(&self, answers: impl IntoIterator<Item = StatusCode>) {
        self.answers.lock().unwrap().extend(answers);
    }

    pub async fn close(&self) -> OwnedRwLockWriteGuard<()> {
        Arc::clone(&self.gate).write_owned().await
    }

    async fn answer(&self) -> Response<Body> {
        drop(self.gate.read().await);
        // The lock must not be held by what panics.
        let answer = self.answers.lock().unwrap().pop_front();
        match answer {
            Some(PANICS) => panic!("as it was told"),
            Some(status) => status.into_response(),
            None => "handled".into_response(),
        }
    }
}

impl Service {
    pub fn new(provider: &Provider) -> Self {
        Self::with(provider, |builder| builder)
    }

    pub fn with(
        provider: &Provider,
        settings: impl FnOnce(VerifierBuilder<Verifier>) -> VerifierBuilder<Verifier>,
    ) -> Self {
        let clock = common::clock();
        let store = common::store(&clock);
        Self::with_store(provider, &clock, store, settings)
    }

    pub fn with_store(
        provider: &Provider,
        clock: &ManualClock,
        store: MemoryStore,
        settings: impl FnOnce(VerifierBuilder<Verifier>) -> VerifierBuilder<Verifier>,
    ) -> Self {
        let verifier = settings(provider.verifier(clock).store(store));
        Self::behind(clock, VerifyLayer::new(verifier.build().unwrap()))
    }

    /// With a scheme that is no preset.
    pub fn of_scheme(scheme: impl Scheme, secret: &str) -> Self {
        let clock = common::clock();
        let layer = VerifyLayer::builder(scheme)
            .secret(secret)
            .store(common::store(&clock))
            .clock(clock.clone());
        Self::behind(&clock, layer.build().unwrap())
    }

    fn behind(clock: &ManualClock, layer: VerifyLayer) -> Self {
        let (effects, handler) = (Effects::default(), Handler::default());
        let state = (effects.clone(), handler.clone());
        let handle = move |_: VerifiedPayload| {
            let (effects, handler) = state.clone();
            async move {
                effects.happened();
                handler.answer().await
            }
        };
        let app = Router::new().route("/{*path}", any(handle));
        Self {
            clock: clock.clone(),
            effects,
            handler,
            app: app.layer(layer).layer(CatchPanicLayer::new()),
        }
    }

    /// Sends a request, and comes back once it is being handled.
    pub async fn begin(&self, request: Request<Bytes>) -> JoinHandle<Response<Body>> {
        let effects = self.effects.count();
        let request = request.map(Body::from);
        let answered = self.app.clone().oneshot(request);
        let answered = tokio::spawn(async { answered.await.unwrap() });
        while self.effects.count() == effects {
            tokio::task::yield_now().await;
        }
        answered
    }

    pub async fn send(&self, request: Request<Bytes>) -> (u16, String) {
        common::verdict(self.response(request).await).await
    }

    pub async fn response(&self, request: Request<Bytes>) -> Response<Body> {
        let request = request.map(Body::from);
        self.app.clone().oneshot(request).await.unwrap()
    }

    /// It is handled, once.
    #[track_caller]
    pub fn handles(&self, request: Request<Bytes>) -> impl Future<Output = ()> + '_ {
        let caller = Location::caller();
        async move {
            let effects = self.effects.count();
            let answer = self.send(request).await;
            assert_eq!(answer, (OK, "handled".to_owned()), "at {caller}");
            assert_eq!(self.effects.count(), effects + 1, "at {caller}");
        }
    }

    /// It is answered so, without an effect.
    #[track_caller]
    pub fn refuses(
        &self,
        request: Request<Bytes>,
        expected: Answer,
        what: impl Debug,
    ) -> impl Future<Output = ()> + '_ {
        let caller = Location::caller();
        let what = format!("{what:?}");
        async move {
            let effects = self.effects.count();
            let answer = self.send(request).await;
            assert_eq!(
                (answer.0, answer.1.as_str()),
                expected,
                "{what} at {caller}"
            );
            assert_eq!(self.effects.count(), effects, "{what} at {caller}");
        }
    }
}
