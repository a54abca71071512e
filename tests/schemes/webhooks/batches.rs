//! A delivery that holds several events: it is used once as a whole, and each of its events once.

use std::sync::{Arc, Mutex};

use axum::{Router, body::Body, routing::post};
use bytes::Bytes;
use countersign::{
    Processing, RejectionKind, VerifiedPayload, Verifier, VerifyLayer,
    request::Verified,
    testing::ManualClock,
    webhooks::{GitHub, HubSpot},
};
use http::{Request, StatusCode};
use tower::ServiceExt as _;

use super::{
    provider::verify,
    rows::{GITHUB, HUBSPOT},
};
use crate::common::{self, log::Log};

fn batch(ids: &[u64]) -> String {
    let events = ids
        .iter()
        .map(|id| format!(r#"{{"eventId":{id},"portalId":2}}"#));
    format!("[{}]", events.collect::<Vec<_>>().join(","))
}

fn delivery(clock: &ManualClock, ids: &[u64]) -> Request<Bytes> {
    HUBSPOT.sign(clock, batch(ids))
}

fn verifier(clock: &ManualClock) -> Verifier {
    let verifier = HUBSPOT.verifier(clock).store(common::store(clock));
    verifier.processing(Processing::AtMostOnce).build().unwrap()
}

/// The events that the handler has handled, in order.
type Handled = Arc<Mutex<Vec<u64>>>;

/// Asks for each event, as the documentation says.
async fn handle(payload: VerifiedPayload, handled: Handled) -> StatusCode {
    let events: Vec<serde_json::Value> = payload.json().unwrap();
    for event in events {
        let id = event["eventId"].as_u64().unwrap();
        match payload.once(format!("2/{id}")).await {
            Ok(true) => handled.lock().unwrap().push(id),
            Ok(false) => {}
            Err(rejection) => return rejection.status(),
        }
    }
    StatusCode::OK
}

fn served(clock: &ManualClock) -> (Router, Handled) {
    let layer = VerifyLayer::builder(HubSpot::new())
        .public_origin(common::ORIGIN)
        .secret(HUBSPOT.secrets[0])
        .store(common::store(clock))
        .clock(clock.clone());
    let handled = Handled::default();
    let state = Arc::clone(&handled);
    let handler = move |payload| handle(payload, Arc::clone(&state));
    let router = Router::new().route("/hook", post(handler));
    (router.layer(layer.build().unwrap()), handled)
}

async fn send(app: &Router, request: Request<Bytes>) -> u16 {
    let response = app.clone().oneshot(request.map(Body::from)).await.unwrap();
    response.status().as_u16()
}

/// A batch that shares its first event with another is another batch: its other events are not lost.
#[tokio::test]
async fn no_event_of_a_batch_is_lost_because_another_was_handled() {
    let clock = common::clock();
    let verifier = verifier(&clock);
    let mut seconds = 0;
    let mut fresh = |ids: &[u64]| {
        // Each delivery is signed at its own time: only its events tell what it is.
        seconds += 1;
        clock.set(common::at(common::NOW + seconds));
        delivery(&clock, ids)
    };
    for ids in [&[1, 2][..], &[1, 3], &[1], &[2], &[1, 2, 3], &[3]] {
        let request = fresh(ids);
        assert!(verify(&verifier, &request).await.is_ok(), "{ids:?}");
    }
    // As a set: in another order, and with one twice, it is the same.
    for ids in [
        &[2, 1][..],
        &[1, 2],
        &[3, 1],
        &[2, 1, 1],
        &[3, 2, 1],
        &[3, 3],
    ] {
        let request = fresh(ids);
        let again = verify(&verifier, &request).await.unwrap_err();
        assert_eq!(again.kind(), RejectionKind::RequestReplayed, "{ids:?}");
    }
}

#[tokio::test]
async fn each_event_is_handled_once_whichever_batch_it_comes_with() {
    let clock = common::clock();
    let (app, handled) = served(&clock);
    for ids in [&[1, 2][..], &[1, 3], &[3, 2, 1], &[4], &[4, 4]] {
        assert_eq!(send(&app, delivery(&clock, ids)).await, 200, "{ids:?}");
    }
    assert_eq!(*handled.lock().unwrap(), [1, 2, 3, 4]);
    // For as long as the sender goes on.
    for day in [1, 2, 4] {
        clock.set(common::at(common::NOW + day * 24 * 60 * 60));
        assert_eq!(send(&app, delivery(&clock, &[1, 10 + day])).await, 200);
    }
    assert_eq!(*handled.lock().unwrap(), [1, 2, 3, 4, 11, 12, 14]);
}

#[cfg(feature = "metrics")]
#[tokio::test]
async fn each_event_is_counted_as_a_claim() {
    let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
    let _local = metrics::set_default_local_recorder(&recorder);
    let clock = common::clock();
    let (app, _) = served(&clock);
    for ids in [&[1, 2][..], &[1, 3]] {
        assert_eq!(send(&app, delivery(&clock, ids)).await, 200);
    }
    let exposed = recorder.handle().render();
    // Two deliveries have four events, and one of the events was recorded before.
    for count in ["{outcome=\"new\"} 5", "{outcome=\"replayed\"} 1"] {
        let series = format!("countersign_claims_total{count}");
        assert!(exposed.contains(&series), "{series} in:\n{exposed}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_that_many_batches_share_has_one_effect_at_once() {
    let clock = common::clock();
    let (app, handled) = served(&clock);
    let batches = (1..=64).map(|id| {
        let (app, request) = (app.clone(), delivery(&clock, &[0, id]));
        tokio::spawn(async move { send(&app, request).await })
    });
    for batch in batches.collect::<Vec<_>>() {
        assert_eq!(batch.await.unwrap(), 200);
    }
    let mut handled = handled.lock().unwrap().clone();
    handled.sort_unstable();
    assert_eq!(handled, (0..=64).collect::<Vec<_>>());
}

/// A handler that goes by the batch alone handles a shared event twice.
#[tokio::test]
async fn twin_a_handler_that_does_not_ask_is_found() {
    let clock = common::clock();
    let verifier = verifier(&clock);
    let mut handled = Vec::new();
    for ids in [[1, 2], [1, 3]] {
        let request = delivery(&clock, &ids);
        assert!(verify(&verifier, &request).await.is_ok());
        handled.extend(ids);
    }
    assert_eq!(handled, [1, 2, 1, 3]);
}

async fn claimed(verifier: &Verifier, request: &Request<Bytes>) -> VerifiedPayload {
    match verify(verifier, request).await.unwrap() {
        Verified::Claimed(payload) => payload,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn an_event_is_of_one_key_and_no_request() {
    let clock = common::clock();
    let verifier = verifier(&clock);
    let payload = claimed(&verifier, &delivery(&clock, &[7])).await;
    // The id of the only event of a batch is no event that was recorded.
    let nonce = payload.nonce().unwrap().as_bytes().to_vec();
    assert!(payload.once(&nonce).await.unwrap());
    assert!(!payload.once(&nonce).await.unwrap());
    for id in [&b""[..], &[b'x'; 257]] {
        let refused = payload.once(id).await.unwrap_err();
        assert_eq!(refused.kind(), RejectionKind::SignatureMalformed);
    }
    // A delivery that holds one event has its own identity, and no others.
    let github = GITHUB.verifier(&clock).store(common::store(&clock));
    let github = github.processing(Processing::AtMostOnce).build().unwrap();
    let payload = claimed(&github, &GITHUB.sign(&clock, "{}")).await;
    let refused = payload.once("a").await.unwrap_err();
    assert_eq!(refused.kind(), RejectionKind::StoreMisconfigured);
}

#[tokio::test]
async fn a_sender_of_batches_is_told_of_at_build() {
    let warned = |build: &dyn Fn()| {
        let log = Log::captured();
        build();
        log.text().contains("VerifiedPayload::once")
    };
    let store = || common::store(&common::clock());
    assert!(warned(&|| {
        let builder = Verifier::builder(HubSpot::new()).public_origin(common::ORIGIN);
        builder
            .secret(HUBSPOT.secrets[0])
            .store(store())
            .build()
            .unwrap();
    }));
    assert!(!warned(&|| {
        let builder = Verifier::builder(GitHub::new()).secret(GITHUB.secrets[0]);
        builder.store(store()).build().unwrap();
    }));
}

/// In the handler's own transaction an event is recorded with its effect, or not at all.
#[cfg(feature = "sqlite")]
#[tokio::test]
async fn an_event_is_recorded_in_the_transaction_of_its_effect() {
    use countersign::store::SqliteStore;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("events.db");
    let options = sqlx::sqlite::SqliteConnectOptions::new()
        .filename(&file)
        .create_if_missing(true);
    let pool = sqlx::SqlitePool::connect_with(options).await.unwrap();
    SqliteStore::migrate(&pool).await.unwrap();
    SqliteStore::danger_assume_no_history(&pool).await.unwrap();
    // The database goes by its own clock.
    let now = std::time::SystemTime::now();
    let now = now.duration_since(std::time::UNIX_EPOCH).unwrap();
    let clock = ManualClock::at(common::at(now.as_secs()));
    let verifier = HUBSPOT
        .verifier(&clock)
        .namespace("batches")
        .processing(Processing::InTransaction)
        .build()
        .unwrap();
    let run = async |ids: &[u64], commits: bool| {
        let request = delivery(&clock, ids);
        let Verified::Pending(pending) = verify(&verifier, &request).await.unwrap() else {
            panic!("it waits for a transaction");
        };
        let mut transaction = pool.begin().await.unwrap();
        let payload = pending.consume(&mut transaction).await.unwrap();
        // There is no store to ask.
        assert!(payload.once("2/1").await.is_err());
        let mut new = Vec::new();
        for id in ids {
            if payload
                .once_in(&mut transaction, format!("2/{id}"))
                .await
                .unwrap()
            {
                new.push(*id);
            }
        }
        if commits {
            transaction.commit().await.unwrap();
        } else {
            transaction.rollback().await.unwrap();
        }
        new
    };
    assert_eq!(run(&[1, 2], false).await, [1, 2]);
    assert_eq!(run(&[1, 2], true).await, [1, 2]);
    assert_eq!(run(&[1, 3], true).await, [3]);
}
