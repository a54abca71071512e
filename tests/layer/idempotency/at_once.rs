//! A thousand duplicates at once: one runs, and every other gets its answer or 409.

use std::sync::Arc;

use countersign::testing;
use http::{Request, Response};
use tokio::{sync::Barrier, task::JoinSet};
use tower::ServiceExt as _;

use super::{
    Server, keyed,
    naive::{self, Fault},
    sign,
};
use crate::common::{self, KEY, SECRET};

const DUPLICATES: usize = 1000;

/// How often the handler ran is told by the server; here, that nobody got anything else.
fn check<B: AsRef<[u8]>>(answers: &[Response<B>]) {
    assert_eq!(answers.len(), DUPLICATES);
    let mut ran = 0;
    for answer in answers {
        let body = common::code_or_body(answer.body().as_ref());
        match answer.status().as_u16() {
            201 => {
                assert_eq!(body, "partner-1 paid  {}");
                ran += usize::from(!answer.headers().contains_key("idempotency-replayed"));
            }
            409 => assert!(
                matches!(&*body, "request_in_flight" | "request_replayed"),
                "{body}"
            ),
            status => panic!("{status} {body}"),
        }
    }
    assert_eq!(ran, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_a_thousand_identical_requests_one_runs() {
    let server = Server::new();
    let signed = sign(&server.clock, (KEY, SECRET), keyed("k", "/pay", "{}"));
    let answers = testing::at_once(server.router.clone(), signed, DUPLICATES).await;
    check(&answers);
    assert_eq!(server.effects(), 1);
}

/// Each signed by itself: only the key says that they are one intention.
async fn at_once(server: &Server) -> Vec<Response<Vec<u8>>> {
    let requests: Vec<Request<String>> = (0..DUPLICATES)
        .map(|_| sign(&server.clock, (KEY, SECRET), keyed("k", "/pay", "{}")))
        .collect();
    let line = Arc::new(Barrier::new(DUPLICATES));
    let mut sending = JoinSet::new();
    for request in requests {
        let (router, line) = (server.router.clone(), Arc::clone(&line));
        sending.spawn(async move {
            line.wait().await;
            let response = router
                .oneshot(request.map(axum::body::Body::from))
                .await
                .unwrap();
            let (head, body) = response.into_parts();
            let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
            Response::from_parts(head, body.to_vec())
        });
    }
    sending.join_all().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_a_thousand_retries_that_are_signed_anew_one_runs() {
    let server = Server::new();
    check(&at_once(&server).await);
    assert_eq!(server.effects(), 1);
    let again = server.send("k", "/pay", "{}").await;
    assert!(again.is_replayed() && server.effects() == 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn twin_a_check_before_the_record_runs_several() {
    let (twin, _) = naive::server(Fault::CheckThenRecord);
    at_once(&twin).await;
    assert!(twin.effects() > 1);
}
