//! Row 51: strangers who name the one fixed key of a preset use up the memory for bodies.

use std::{
    fmt::Debug,
    pin::Pin,
    task::{Context, Poll, Waker},
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use countersign::{
    KeyStore, Rejection, RejectionKind, Signer, Verifier,
    key::KeyFuture,
    request::VerifierBuilder,
    scheme::Scheme,
    store::StoreFuture,
    webhooks::{Mailgun, Slack, Twilio},
};
use http::Request;
use http_body_util::Full;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinSet,
    time::MissedTickBehavior,
};

use crate::{
    common::{
        self, KEY, SECRET,
        parts::{Script, Step},
    },
    limits::{NO_BUDGET, believes_what_is_declared},
    subject::{OK, Target, WEBHOOK, to_wire},
};

const MAX: usize = 16 * 1024;
/// One key gets a quarter of it for bodies that must be waited for: eight of the largest.
const BUDGET: usize = 512 * 1024;

/// Sends, every ten milliseconds at most, the most of a body under the known key with a wrong MAC, and keeps the
/// connection open. Ends with the number of those that were told to go.
struct Strangers {
    attack: tokio::task::JoinHandle<usize>,
    stop: tokio::sync::oneshot::Sender<()>,
}

impl Strangers {
    /// Returns when they hold more than a key may have, or have been refused.
    async fn start(target: &Target) -> Self {
        let request = common::request("POST", "/transfer", &"x".repeat(MAX));
        let forger = (WEBHOOK.signer)(KEY, "a secret of strangers").clock(target.clock.clone());
        let mut wire = to_wire(&forger.sign(request).unwrap());
        wire.truncate(wire.len() - 100);
        let addr = target.addr.unwrap();
        let (stop, mut stopped) = tokio::sync::oneshot::channel();
        let (filled, full) = tokio::sync::oneshot::channel();
        let attack = tokio::spawn(async move {
            let mut filled = Some(filled);
            let mut bodies = JoinSet::new();
            let mut tick = tokio::time::interval(Duration::from_millis(10));
            tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
            let mut displaced = 0;
            for sent in 0.. {
                tokio::select! {
                    _ = &mut stopped => break,
                    _ = tick.tick() => {}
                }
                let wire = wire.clone();
                bodies.spawn(async move {
                    let mut stream = TcpStream::connect(addr).await.unwrap();
                    let _ = stream.write_all(&wire).await;
                    let mut answer = Vec::new();
                    let _ = stream.read_to_end(&mut answer).await;
                    let (status, code) = common::parse_answer(&answer);
                    // The naive one has no code.
                    (status, code.as_str()) == NO_BUDGET || (status, code.as_str()) == (503, "")
                });
                while let Some(answer) = bodies.try_join_next() {
                    displaced += usize::from(answer.unwrap());
                }
                if (displaced > 0 || sent > BUDGET / MAX)
                    && let Some(filled) = filled.take()
                {
                    let _ = filled.send(());
                }
            }
            displaced
        });
        full.await.unwrap();
        Self { attack, stop }
    }

    async fn end(self) -> usize {
        self.stop.send(()).unwrap();
        self.attack.await.unwrap()
    }
}

/// Returns how many of this many genuine deliveries of each size pass under the attack.
async fn served_under_attack(target: &Target, each: usize) -> [usize; 2] {
    let strangers = Strangers::start(target).await;
    let mut served = [0; 2];
    for n in 0..each {
        for (served, len) in served.iter_mut().zip([10, 10 * 1024]) {
            let body = format!("{n:>len$}");
            let request = common::request("POST", "/transfer", &body);
            let (status, _) = target.send(WEBHOOK.sign(&target.clock, request)).await;
            *served += usize::from(status == OK);
        }
    }
    let displaced = strangers.end().await;
    assert!(displaced > 0, "the attack used up nothing");
    served
}

#[tokio::test]
async fn a51_strangers_under_the_known_key_keep_no_genuine_delivery_out() {
    const EACH: usize = 1000;
    let target = Target::with(&WEBHOOK, |layer| {
        layer.max_body_bytes(MAX).body_budget_bytes(BUDGET)
    });
    let target = target.on_a_socket().await;
    assert_eq!(served_under_attack(&target, EACH).await, [EACH; 2]);
    assert_eq!(target.effects.count(), 2 * EACH);
}

#[tokio::test]
async fn a51_twin_a_budget_that_refuses_the_new_one_is_found() {
    let target = Target::of(&common::clock(), believes_what_is_declared);
    let target = target.on_a_socket().await;
    assert_eq!(served_under_attack(&target, 20).await, [0; 2]);
}

/// Never answers.
struct Silent;

impl KeyStore for Silent {
    fn find<'a>(&'a self, _: &'a str) -> KeyFuture<'a> {
        StoreFuture::new(std::future::pending())
    }
}

fn verifier(scheme: impl Scheme) -> VerifierBuilder<Verifier> {
    let clock = common::clock();
    Verifier::builder(scheme)
        .public_origin(common::ORIGIN)
        .store(common::store(&clock))
        .clock(clock)
        .max_body_bytes(256 * 1024)
        .body_budget_bytes(1024 * 1024)
}

/// Sends so many copies of a request, all of whose body is at hand. Returns how many wait to be verified;
/// the others were refused because there was no room.
fn waiting(verifier: &Verifier, request: &http::Request<Bytes>, copies: usize) -> usize {
    let (head, body) = request.clone().into_parts();
    let verify = || Box::pin(verifier.verify(&head, Full::new(body.clone())));
    still_waiting((0..copies).map(|_| verify()).collect())
}

/// Returns how many of these wait when all of them have been begun.
fn still_waiting<T: Debug>(
    mut verifying: Vec<impl Future<Output = Result<T, Rejection>> + Unpin>,
) -> usize {
    // Once more, for those that gave way to a later one.
    for _ in 0..2 {
        verifying.retain_mut(|verifying| {
            let mut cx = Context::from_waker(Waker::noop());
            let Poll::Ready(refused) = Pin::new(verifying).poll(&mut cx) else {
                return true;
            };
            let refused = refused.unwrap_err().kind();
            assert_eq!(refused, RejectionKind::BodyBudgetExhausted);
            false
        });
    }
    verifying.len()
}

#[tokio::test]
async fn a51_bodies_that_wait_for_the_key_that_they_name_are_counted() {
    let clock = common::clock();
    let signer = Signer::with_secret(Mailgun::new(), SECRET).unwrap();
    let body = format!(r#"{{"x":"{}"}}"#, "x".repeat(50 * 1024));
    let request = Request::post("/").header("host", common::HOST);
    let request = request.body(Bytes::from(body)).unwrap();
    let request = signer.clock(clock).sign_body(request, "a-token").unwrap();
    let verifier = verifier(Mailgun::new()).keys(Silent).build().unwrap();
    // One key, and a key that is not known yet, get 256 KiB.
    assert_eq!(waiting(&verifier, &request, 5), 5);
    assert_eq!(waiting(&verifier, &request, 100), 5);
}

#[test]
fn a51_bodies_that_wait_for_their_turn_are_counted() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .max_blocking_threads(1)
        .build()
        .unwrap();
    let (go_on, held) = std::sync::mpsc::channel::<()>();
    runtime.spawn_blocking(move || held.recv());
    runtime.block_on(async {
        let verifier = verifier(Twilio::new()).secret(SECRET).build().unwrap();
        let request = Request::post("/sms")
            .header("host", common::HOST)
            .header("content-type", "application/x-www-form-urlencoded")
            .header("x-twilio-signature", STANDARD.encode([7; 20]))
            .body(Bytes::from(format!("a={}", "x".repeat(100 * 1024))));
        // It is the turn of as many as there are processors.
        let turns = std::thread::available_parallelism().unwrap().get();
        assert_eq!(waiting(&verifier, &request.unwrap(), turns + 20), turns + 2);
    });
    drop(go_on);
}

/// Without a signature, and all but its end is there.
#[tokio::test]
async fn a51_questions_of_strangers_are_counted() {
    const LEN: usize = 1000;
    let slack = Slack::new().answer_ssl_check_at("/hook").unwrap();
    let verifier = verifier(slack).secret(SECRET);
    let verifier = verifier.max_body_bytes(2 * LEN).body_budget_bytes(16 * LEN);
    let verifier = verifier.build().unwrap();
    let head = Request::post("/hook").header("content-type", "application/x-www-form-urlencoded");
    let (head, ()) = head.body(()).unwrap().into_parts();
    let question = || Script::new([Step::Data("x".repeat(LEN).into()), Step::Hangs]);
    let ask = || Box::pin(verifier.handshake_in_body(&head, question()));
    // They are of one key: nobody's.
    assert_eq!(still_waiting((0..4).map(|_| ask()).collect()), 4);
    assert_eq!(still_waiting((0..100).map(|_| ask()).collect()), 4);
}
