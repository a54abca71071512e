//! A server behind `VerifyLayer` on a real socket, in either format, and clients to reach it.

use std::{
    convert::Infallible,
    sync::{Arc, Mutex},
    time::{Duration, UNIX_EPOCH},
};

use axum::{
    Router,
    body::Body,
    extract::Request as AxumRequest,
    middleware::{Next, from_fn},
    response::{IntoResponse, Response as AxumResponse},
};
use bytes::Bytes;
use countersign::{
    Clock, HttpMessageSignatures, KeyRing, MemoryStore, Signer, VerifiedPayload, VerifyLayer,
    request::VerifierBuilder, testing::ManualClock,
};
use http::{HeaderMap, Request, Response, header::DATE};
use http_body_util::BodyExt as _;
use tokio::net::TcpListener;

use crate::common::*;
pub use crate::protocol::{HttpClient, Protocol};

/// In which format requests are signed.
#[derive(Clone, Copy, Debug)]
pub enum Format {
    House,
    Rfc9421,
}

impl Format {
    pub const ALL: [Self; 2] = [Self::House, Self::Rfc9421];

    pub fn signer(self, clock: impl Clock) -> Signer {
        self.signer_for(KEY, SECRET).clock(clock)
    }

    pub fn signer_for(self, key: &str, secret: &str) -> Signer {
        match self {
            Self::House => Signer::new(scheme(), key, secret),
            Self::Rfc9421 => Signer::new(HttpMessageSignatures::default(), key, secret),
        }
        .unwrap()
    }

    fn layer(self) -> VerifierBuilder<VerifyLayer> {
        match self {
            Self::House => VerifyLayer::builder(scheme()),
            Self::Rfc9421 => VerifyLayer::builder(HttpMessageSignatures::default()),
        }
    }
}

/// The `Date` of a server's answers.
#[derive(Clone, Debug)]
pub enum Dated {
    /// The time of the server's clock.
    ByItsClock,
    /// The time of another clock.
    By(ManualClock),
    /// The time of the system, as hyper writes it.
    ByHyper,
}

impl Dated {
    fn date(&self, clock: &dyn Clock) -> Option<String> {
        let now = match self {
            Self::ByItsClock => clock.now(),
            Self::By(clock) => clock.now(),
            Self::ByHyper => return None,
        };
        let since_epoch = Duration::from_millis(now.as_millis());
        Some(httpdate::fmt_http_date(UNIX_EPOCH + since_epoch))
    }
}

/// A server that echoes what it verified, and says which key signed it, and when.
#[derive(Clone)]
pub struct Server {
    pub origin: String,
    pub keys: KeyRing,
    pub effects: Effects,
    attempts: Arc<Mutex<Vec<HeaderMap>>>,
}

impl Server {
    pub async fn start(format: Format, clock: &ManualClock) -> Self {
        Self::start_with(format, clock.clone(), store(clock), Dated::ByItsClock).await
    }

    pub async fn start_with(
        format: Format,
        clock: impl Clock + Clone,
        store: MemoryStore,
        dated: Dated,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Self {
            origin: format!("http://{}", listener.local_addr().unwrap()),
            keys: keys(),
            effects: Effects::default(),
            attempts: Arc::default(),
        };
        let layer = format
            .layer()
            .public_origin(&server.origin)
            .keys(server.keys.clone())
            .store(store)
            .clock(clock.clone())
            .build()
            .unwrap();
        let effects = server.effects.clone();
        let handler = move |payload: VerifiedPayload| {
            effects.happened();
            let key = payload.key_id().to_string();
            let signed_at = payload.signed_at().unwrap().as_secs().to_string();
            let headers = [("x-key", key), ("x-signed-at", signed_at)];
            async move { (headers, payload.bytes().clone()).into_response() }
        };
        let attempts = Arc::clone(&server.attempts);
        let outermost = from_fn(move |request: AxumRequest, next: Next| {
            attempts.lock().unwrap().push(request.headers().clone());
            let date = dated.date(&clock);
            async move {
                let mut response = next.run(request).await;
                if let Some(date) = date {
                    response.headers_mut().insert(DATE, date.parse().unwrap());
                }
                Ok::<AxumResponse, Infallible>(response)
            }
        });
        let app = Router::new()
            .fallback(handler)
            .layer(layer)
            .layer(outermost);
        tokio::spawn(async move { axum::serve(listener, app).await });
        server
    }

    /// A request that either format can cover, not yet signed.
    pub fn request<B>(&self, body: B) -> Request<B> {
        Request::put(format!("{}/orders/7?a=1", self.origin))
            .header("content-type", "application/json")
            .body(body)
            .unwrap()
    }

    /// The headers of every request that has arrived since this was last asked.
    pub fn attempts(&self) -> Vec<HeaderMap> {
        std::mem::take(&mut *self.attempts.lock().unwrap())
    }
}

/// An answer with its body read.
pub async fn read<B>(response: Response<B>) -> Response<Bytes>
where
    B: http_body::Body<Error: std::fmt::Debug>,
{
    let (head, body) = response.into_parts();
    Response::from_parts(head, body.collect().await.unwrap().to_bytes())
}

/// The status, and the code of a rejection or the echo.
pub fn said(response: &Response<Bytes>) -> (u16, String) {
    (response.status().as_u16(), code_or_body(response.body()))
}

pub fn accepted(body: &str) -> (u16, String) {
    (200, body.to_owned())
}

pub fn refused(status: u16, code: &str) -> (u16, String) {
    (status, code.to_owned())
}

/// A body of Axum, which is a stream to anybody who takes it.
pub fn stream(
    body: impl http_body::Body<Data = Bytes, Error = parts::BoxError> + Send + 'static,
) -> Body {
    Body::new(body)
}
