//! Row 51: strangers who name the one fixed key of a preset use up the memory for bodies.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinSet,
    time::MissedTickBehavior,
};

use crate::{
    common::{self, KEY},
    limits::{NO_BUDGET, believes_what_is_declared},
    subject::{OK, Target, WEBHOOK, to_wire},
};

const MAX: usize = 16 * 1024;
/// One key gets a quarter of it for bodies that have to be waited for: eight of the largest.
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

/// How many of so many genuine deliveries of each size pass under the attack.
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
