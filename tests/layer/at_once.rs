//! The helper that releases duplicates together finds a check that comes before the record.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex},
};

use axum::{Router, body::Bytes, http::StatusCode, routing::post};
use countersign::testing;
use http::Request;

use crate::common::{self, Effects};

fn request() -> Request<String> {
    let clock = common::clock();
    common::signer(&clock)
        .sign(common::request("POST", "/", "{}"))
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn of_duplicates_at_once_one_is_let_through() {
    let effects = Effects::default();
    let layer = common::layer(&common::clock()).build().unwrap();
    let app = common::echo(&effects).layer(layer);
    let answers = testing::at_once(app, request(), 200).await;
    assert_eq!(answers.len(), 200);
    let passed = answers.iter().filter(|answer| answer.status() == 200);
    assert!(passed.clone().all(|answer| answer.body() == "{}"));
    assert_eq!((passed.count(), effects.count()), (1, 1));
    assert!(answers.iter().filter(|a| a.status() == 409).count() == 199);
}

#[tokio::test(flavor = "multi_thread")]
async fn twin_a_check_before_the_record_lets_several_through() {
    let used = Arc::new(Mutex::new(HashSet::new()));
    let check_then_record = async move |body: Bytes| {
        if used.lock().unwrap().contains(&body) {
            return StatusCode::CONFLICT;
        }
        tokio::task::yield_now().await;
        used.lock().unwrap().insert(body);
        StatusCode::OK
    };
    let app = Router::new().route("/", post(check_then_record));
    let answers = testing::at_once(app, request(), 200).await;
    assert!(
        answers
            .iter()
            .filter(|answer| answer.status() == 200)
            .count()
            > 1
    );
}
