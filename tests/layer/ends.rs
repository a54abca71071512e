//! A lease ends once and for all, wherever the body of its answer is taken.

use std::{
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Wake, Waker},
    thread::{self, Thread},
    time::Duration,
};

use axum::{Router, body::Body, routing::post};
use bytes::Bytes;
use countersign::{
    Processing, Verifier, VerifyLayer,
    request::{Verified, VerifierBuilder},
    store::StepOutcome,
    testing::ManualClock,
};
use http_body_util::{BodyExt as _, Full};
use tokio::runtime::Builder;
use tower::ServiceExt as _;

use crate::common::{
    parts::{Asked, Fault, FaultyStore, Script},
    *,
};

const RETRYABLE: Processing = Processing::Retryable {
    lease: Duration::from_secs(30),
};

/// The time that the store takes.
const PAUSE: Duration = Duration::from_millis(20);

fn retryable<T: 'static>(builder: VerifierBuilder<T>, store: &FaultyStore) -> VerifierBuilder<T> {
    builder.store(store.clone()).processing(RETRYABLE)
}

/// The answer to a renewal comes after the end of the lease.
#[tokio::test(start_paused = true)]
async fn a_lease_that_was_ended_is_never_held_again() {
    for ends in [Some(Asked::Complete), Some(Asked::Release), None] {
        let clock = clock();
        let store = FaultyStore::around(store(&clock));
        let builder = Verifier::builder(scheme())
            .public_origin(ORIGIN)
            .keys(keys())
            .clock(clock.clone());
        let verifier = retryable(builder, &store).build().unwrap();
        let signed = signer(&clock).sign(request("POST", "/orders", "{}"));
        let (head, body) = signed.unwrap().into_parts();
        let Verified::Leased(_, lease) = verifier
            .verify(&head, Full::<Bytes>::from(body))
            .await
            .unwrap()
        else {
            panic!("a lease");
        };
        let status = lease.status();
        assert!(status.is_held());
        store.fault(Asked::Renew, Fault::DelaysTheReply(PAUSE));
        let ending = async {
            match ends {
                Some(Asked::Complete) => lease.complete().await.unwrap(),
                Some(_) => lease.release().await.unwrap(),
                None => StepOutcome::Done,
            }
        };
        let (renewed, ended) = tokio::join!(lease.renew(), ending);
        let both = (renewed.unwrap(), ended);
        assert_eq!(both, (StepOutcome::Done, StepOutcome::Done));
        assert_eq!(status.is_held(), ends.is_none(), "{ends:?}");
    }
}

/// Polls a future on this thread, outside of every runtime.
fn block_on<F: Future>(future: F) -> F::Output {
    struct Unparks(Thread);
    impl Wake for Unparks {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unparks(thread::current())));
    let mut cx = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut cx) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}

/// Takes a body somewhere.
type Takes = fn(Body) -> Vec<u8>;

fn without_a_runtime(body: Body) -> Vec<u8> {
    block_on(body.collect()).unwrap().to_bytes().into()
}

/// Its runtime has no timer.
fn in_another_runtime(body: Body) -> Vec<u8> {
    let runtime = Builder::new_current_thread().build().unwrap();
    let collected = runtime.block_on(body.collect());
    collected.unwrap().to_bytes().into()
}

fn app(clock: &ManualClock, store: &FaultyStore) -> Router {
    let layer: VerifyLayer = retryable(layer(clock), store).build().unwrap();
    let answer = async || Body::new(Script::frames(["do", "ne"]));
    Router::new().route("/orders", post(answer)).layer(layer)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_body_that_is_taken_outside_of_the_runtime_completes_its_request() {
    for takes in [without_a_runtime as Takes, in_another_runtime] {
        let clock = clock();
        let store = FaultyStore::around(store(&clock));
        // A store that must be waited for.
        store.fault(Asked::Complete, Fault::Takes(PAUSE));
        let app = app(&clock, &store);
        let signed = signer(&clock).sign(request("POST", "/orders", "{}"));
        let signed = signed.unwrap().map(Body::from);
        let (head, body) = signed.into_parts();
        let send = async |body| {
            let request = http::Request::from_parts(head.clone(), body);
            app.clone().oneshot(request).await.unwrap()
        };
        let response = send(body).await;
        assert_eq!(response.status(), 200);
        let body = response.into_body();
        let taken = thread::spawn(move || takes(body)).join().unwrap();
        assert_eq!(taken, b"done");
        assert_eq!(store.times(Asked::Complete), 1);
        let (status, code) = verdict(send(Body::from("{}")).await).await;
        assert_eq!((status, code.as_str()), (409, "request_replayed"));
    }
}
