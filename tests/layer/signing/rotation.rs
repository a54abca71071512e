//! The key of a signer is replaced while requests are sent.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
};

use countersign::{KeyRing, KeySet, Secret, SignLayer, Signer, testing::ManualClock};
use http::Response;
use tokio::task::JoinSet;
use tower::{Layer as _, ServiceExt as _};

use super::server::*;
use crate::common::*;

const NEW_SECRET: &str = "a newer secret of partner 1";

fn set(id: &str, secrets: &[&str]) -> KeySet {
    let secrets = secrets.iter().map(|secret| Secret::new(*secret).unwrap());
    secrets.fold(KeySet::new(id).unwrap(), KeySet::with)
}

fn ring(sets: impl IntoIterator<Item = KeySet>) -> KeyRing {
    let mut sets = sets.into_iter();
    sets.try_fold(KeyRing::new(), KeyRing::with_set).unwrap()
}

/// Clients that send one request after the other, until they are told to stop.
struct Senders {
    running: JoinSet<()>,
    stop: Arc<AtomicBool>,
    /// How many requests each of them has had answered.
    answered: Arc<Vec<AtomicUsize>>,
}

impl Senders {
    const COUNT: usize = 8;

    /// `check` sees each answer, and what `before` showed when its request was begun.
    fn start<T: Send + 'static>(
        server: &Server,
        signer: &Signer,
        before: impl Fn() -> T + Clone + Send + 'static,
        check: impl Fn(T, &Response<bytes::Bytes>) + Clone + Send + 'static,
    ) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let answered: Arc<Vec<AtomicUsize>> =
            Arc::new((0..Self::COUNT).map(|_| AtomicUsize::new(0)).collect());
        let mut running = JoinSet::new();
        for i in 0..Self::COUNT {
            let protocol = Protocol::ALL[i % 2];
            let client = SignLayer::new(signer.clone()).layer(protocol.client());
            let (server, stop, answered) =
                (server.clone(), Arc::clone(&stop), Arc::clone(&answered));
            let (before, check) = (before.clone(), check.clone());
            running.spawn(async move {
                while !stop.load(SeqCst) {
                    let at_start = before();
                    let request = server.request(format!("{i}"));
                    let answer = read(client.clone().oneshot(request).await.unwrap()).await;
                    check(at_start, &answer);
                    answered[i].fetch_add(1, SeqCst);
                }
            });
        }
        Self {
            running,
            stop,
            answered,
        }
    }

    /// Until each has had two more answers, the second of which is to a request that was begun
    /// after this was.
    async fn each_sends_anew(&mut self) {
        let before: Vec<_> = self.answered.iter().map(|n| n.load(SeqCst)).collect();
        let done = |n: &AtomicUsize, before: &usize| n.load(SeqCst) >= before + 2;
        while !self
            .answered
            .iter()
            .zip(&before)
            .all(|(n, before)| done(n, before))
        {
            // A sender that has ended has failed.
            if let Some(ended) = self.running.try_join_next() {
                ended.unwrap();
            }
            tokio::task::yield_now().await;
        }
    }

    async fn stop(mut self) {
        self.stop.store(true, SeqCst);
        while let Some(ended) = self.running.join_next().await {
            ended.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rotation_in_its_order_costs_no_request() {
    let clock = ManualClock::at(at(NOW));
    for format in Format::ALL {
        for new_key in [KEY, "partner-1-new"] {
            let server = Server::start(format, &clock).await;
            let signer = format.signer(clock.clone());
            let rotated = Arc::new(AtomicBool::new(false));
            let seen = Arc::clone(&rotated);
            let mut senders = Senders::start(
                &server,
                &signer,
                move || seen.load(SeqCst),
                move |after_rotation, answer| {
                    assert_eq!(answer.status(), 200, "{answer:?}");
                    if after_rotation {
                        assert_eq!(answer.headers()["x-key"], new_key);
                    } else {
                        let key = &answer.headers()["x-key"];
                        assert!(key == KEY || key == new_key);
                    }
                },
            );
            senders.each_sends_anew().await;

            server.keys.replace(if new_key == KEY {
                ring([set(KEY, &[NEW_SECRET, SECRET])])
            } else {
                ring([set(KEY, &[SECRET]), set(new_key, &[NEW_SECRET])])
            });
            senders.each_sends_anew().await;

            signer.rotate(new_key, NEW_SECRET).unwrap();
            rotated.store(true, SeqCst);
            senders.each_sends_anew().await;

            server.keys.replace(ring([set(new_key, &[NEW_SECRET])]));
            senders.each_sends_anew().await;
            senders.stop().await;
        }
    }
}

/// The twin: in another order, requests are lost.
#[tokio::test]
async fn a_sender_that_rotates_first_is_refused() {
    let clock = clock();
    for format in Format::ALL {
        let server = Server::start(format, &clock).await;
        let signer = format.signer(clock.clone());
        let client = SignLayer::new(signer.clone()).layer(Protocol::Http1.client());
        signer.rotate(KEY, NEW_SECRET).unwrap();
        let answer = client
            .clone()
            .oneshot(server.request("{}".to_owned()))
            .await
            .unwrap();
        assert_eq!(said(&read(answer).await), refused(401, "signature_invalid"));

        server.keys.replace(ring([set(KEY, &[SECRET, NEW_SECRET])]));
        let answer = client
            .oneshot(server.request("{}".to_owned()))
            .await
            .unwrap();
        assert_eq!(said(&read(answer).await), accepted("{}"));
    }
}

#[test]
fn a_key_that_is_not_valid_leaves_the_one_that_was() {
    let signer = signer(&clock());
    let before = signer
        .sign_with_nonce(request("POST", "/", ""), "one")
        .unwrap();
    assert!(signer.rotate("", NEW_SECRET).is_err());
    assert!(signer.rotate("a key", NEW_SECRET).is_err());
    assert!(signer.rotate("partner-2", "short").is_err());
    let after = signer
        .sign_with_nonce(request("POST", "/", ""), "one")
        .unwrap();
    assert_eq!(before.headers(), after.headers());
}

#[test]
fn a_rotation_shows_the_key_id_and_nothing_of_the_secret() {
    let signer = signer(&clock());
    signer.rotate("partner-9", NEW_SECRET).unwrap();
    let text = format!("{signer:?}");
    assert!(
        text.contains("partner-9") && !text.contains("newer"),
        "{text}"
    );
}
