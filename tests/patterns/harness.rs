//! The parts that all pages share: clients at once, the gap of a twin, and who is let in.

use std::{sync::Arc, time::Duration};

use axum::{Router, body::Body};
use countersign::{
    KeyRing, MemoryStore, Processing, VerifyLayer, request::VerifierBuilder, scheme::Scheme,
};
use http::Request;
use tokio::{sync::Barrier, time::timeout};
use tower::ServiceExt as _;

use crate::common::{KEY, SECRET, cases, log, verdict};

/// How many clients ask at once.
pub const CLIENTS: usize = 32;

/// This many rounds make 500 attempts, or as many as `tests/long.sh` asks for.
pub fn rounds() -> std::ops::Range<usize> {
    0..(cases(500) as usize).div_ceil(CLIENTS)
}

pub fn keys() -> KeyRing {
    log::listen();
    KeyRing::new().with(KEY, SECRET).unwrap()
}

/// All clients wait for one database here.
pub fn patient(layer: VerifierBuilder<VerifyLayer>) -> VerifyLayer {
    layer
        .store_timeout(Duration::from_secs(60))
        .build()
        .unwrap()
}

/// Returns the layer in front of a twin: it has the same scheme, and lets each request through
/// once, before its handler begins.
pub fn middleware_alone(scheme: impl Scheme) -> VerifyLayer {
    patient(
        VerifyLayer::builder(scheme)
            .public_origin("https://api.example.com")
            .keys(keys())
            .processing(Processing::AtMostOnce)
            .store(MemoryStore::new().danger_assume_no_history()),
    )
}

/// Sends the requests of one round at once. Returns what each was answered, in the same order: the
/// status, and the code or body.
pub async fn at_once(
    app: &Router,
    requests: impl IntoIterator<Item = Request<String>>,
) -> Vec<(u16, String)> {
    let requests: Vec<_> = requests.into_iter().collect();
    let released = Arc::new(Barrier::new(requests.len()));
    let clients = requests.into_iter().map(|request| {
        let (app, released) = (app.clone(), Arc::clone(&released));
        tokio::spawn(async move {
            released.wait().await;
            let answer = app.oneshot(request.map(Body::from)).await;
            verdict(answer.unwrap()).await
        })
    });
    // All of them are begun before the first is waited for.
    let clients: Vec<_> = clients.collect();
    let mut answers = Vec::new();
    for client in clients {
        answers.push(client.await.unwrap());
    }
    answers
}

/// Returns how many clients were answered with this status.
pub fn count(answers: &[(u16, String)], status: u16) -> usize {
    answers.iter().filter(|(seen, _)| *seen == status).count()
}

/// The time between the check of a twin and its use: open until all clients of the round are in it.
#[derive(Clone)]
pub struct Gap(Arc<Barrier>);

impl Gap {
    pub fn of(clients: usize) -> Self {
        Self(Arc::new(Barrier::new(clients)))
    }

    /// Waits for the others, with no connection in hand.
    pub async fn hold(&self) {
        let all = timeout(Duration::from_secs(60), self.0.wait()).await;
        all.expect("all clients between their check and their use");
    }
}
