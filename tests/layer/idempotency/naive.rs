//! Idempotency as it is often written, with one fault each: what the tests must find.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::Request,
    middleware::{Next, from_fn},
    response::{IntoResponse as _, Response},
};
use countersign::VerifiedPayload;
use http::{HeaderValue, StatusCode};
use http_body_util::BodyExt as _;
use sha2::{Digest as _, Sha256};

use super::{Server, Work, verify};
use crate::common;

/// Its fault.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    SharedByTenants,
    QueryLeftOut,
    HeadersJoined,
    RefusalStored,
    RepeatedHeadersLost,
    BodyLimitLifted,
    StrangersFill,
    FailsOpen,
    CheckThenRecord,
}

/// The answers of a naive server, by their keys.
#[derive(Clone, Default)]
pub struct Answers {
    kept: Arc<Mutex<HashMap<String, Kept>>>,
    /// Requests that found no answer.
    found_none: Arc<AtomicUsize>,
}

#[derive(Clone)]
struct Kept {
    said: Vec<u8>,
    status: StatusCode,
    headers: Vec<(String, HeaderValue)>,
    body: Bytes,
}

impl Answers {
    pub fn len(&self) -> usize {
        self.kept.lock().unwrap().len()
    }

    fn find(&self, key: &str) -> Option<Kept> {
        self.kept.lock().unwrap().get(key).cloned()
    }

    fn keep(&self, key: String, kept: Kept) {
        self.kept.lock().unwrap().insert(key, kept);
    }
}

pub fn server(fault: Fault) -> (Server, Answers) {
    let (clock, work, answers) = (common::clock(), Work::new(), Answers::default());
    let kept = answers.clone();
    let naive = from_fn(move |request: Request, next: Next| {
        let kept = kept.clone();
        async move { answer(fault, &kept, request, next).await }
    });
    let verify = verify(&clock).build().unwrap();
    let router: Router = if fault == Fault::StrangersFill {
        // Outside, where nothing is verified yet.
        work.router().layer(verify).layer(naive)
    } else {
        work.router().layer(naive).layer(verify)
    };
    let server = Server {
        router,
        work,
        clock,
    };
    (server, answers)
}

async fn answer(fault: Fault, answers: &Answers, request: Request, next: Next) -> Response {
    if fault == Fault::FailsOpen {
        // The store is down, and "availability comes first".
        return next.run(request).await;
    }
    let Some(key) = request.headers().get("idempotency-key") else {
        return next.run(request).await;
    };
    let mut key = format!("{} {} {key:?}", request.method(), request.uri().path());
    let payload = request.extensions().get::<VerifiedPayload>().cloned();
    if let Some(payload) = &payload
        && fault != Fault::SharedByTenants
    {
        key = format!("{} {key}", payload.key_id());
    }
    let said = said(fault, &request, payload.as_ref());
    if let Some(kept) = answers.find(&key) {
        let (mut status, mut body) = (kept.status, kept.body.clone());
        if kept.said != said {
            (status, body) = (StatusCode::UNPROCESSABLE_ENTITY, "another request".into());
            if fault == Fault::RefusalStored {
                answers.keep(
                    key,
                    Kept {
                        said,
                        status,
                        body: body.clone(),
                        headers: Vec::new(),
                    },
                );
            }
        }
        let mut response = (status, body).into_response();
        for (name, value) in kept.headers {
            let name = http::HeaderName::from_bytes(name.as_bytes()).unwrap();
            response.headers_mut().append(name, value);
        }
        let replayed = HeaderValue::from_static("true");
        response
            .headers_mut()
            .insert("idempotency-replayed", replayed);
        return response;
    }
    if fault == Fault::CheckThenRecord {
        // Nothing is recorded until a second request has looked, so that one comes.
        answers.found_none.fetch_add(1, Ordering::SeqCst);
        while answers.found_none.load(Ordering::SeqCst) < 2 {
            tokio::task::yield_now().await;
        }
    }
    let (head, body) = next.run(request).await.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let mut headers: Vec<_> = head
        .headers
        .iter()
        .map(|(name, value)| (name.to_string(), value.clone()))
        .collect();
    if fault == Fault::RepeatedHeadersLost {
        let map: HashMap<_, _> = headers.drain(..).collect();
        headers = map.into_iter().collect();
    }
    let status = head.status;
    answers.keep(
        key,
        Kept {
            said,
            status,
            headers,
            body: body.clone(),
        },
    );
    Response::from_parts(head, Body::from(body))
}

fn said(fault: Fault, request: &Request, payload: Option<&VerifiedPayload>) -> Vec<u8> {
    let mut said = Sha256::new();
    if fault != Fault::QueryLeftOut {
        said.update(request.uri().query().unwrap_or_default());
    }
    for name in ["x-account", "x-amount"] {
        let value = request.headers().get(name);
        said.update(value.map(HeaderValue::as_bytes).unwrap_or_default());
        if fault != Fault::HeadersJoined {
            said.update(b"\0");
        }
    }
    if let Some(payload) = payload {
        said.update(payload.bytes());
    }
    said.finalize().to_vec()
}
