//! Row 35 at random: several ask for the leases of one nonce, and complete, release, renew or forget
//! them; after that they act as old holders. The store's answers are compared with what can be true
//! if one at a time holds a lease, and a completion is final.

use std::{
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use countersign::{
    Clock as _, KeyId, MemoryStore,
    clock::SystemClock,
    store::{
        Claim, ClaimOutcome, LeaseOutcome, LeaseStore, Nonce, NonceKind, NonceStore, Sharing,
        StepOutcome, StoreFuture,
    },
};
use proptest::{prelude::*, strategy::ValueTree as _, test_runner::TestRunner};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep, timeout},
};

use crate::common;

/// This many ask for each nonce, and so many nonces are asked for at once.
const CONTENDERS: usize = 3;
const NONCES_AT_ONCE: usize = 16;
const HOUR: Duration = Duration::from_secs(3600);
/// A lease that does not end while a test runs, and one that does.
const LONG: Duration = Duration::from_secs(300);
const SHORT: Duration = Duration::from_millis(40);
/// No store is so inexact.
const MARGIN: Duration = Duration::from_millis(5);

/// The end of a lease.
#[derive(Clone, Copy, Debug)]
enum Fate {
    Completed,
    /// Completed under a lease that was short, and then was renewed.
    Renewed,
    Released,
    Forgotten,
}

fn fates() -> impl Strategy<Value = Vec<Vec<Fate>>> {
    let fate = prop_oneof![
        2 => Just(Fate::Completed),
        1 => Just(Fate::Renewed),
        3 => Just(Fate::Released),
        2 => Just(Fate::Forgotten),
    ];
    prop::collection::vec(prop::collection::vec(fate, 1..4), CONTENDERS)
}

/// The leases of one nonce, as far as they are known. They are numbered as their answers come.
#[derive(Default)]
struct Known {
    leases: usize,
    /// The lease that cannot have ended before this moment, and was not given back.
    held: Option<(usize, Instant)>,
    /// Those up to this one were answered before a later one was asked for.
    taken_over: usize,
    given_back: Vec<usize>,
    completion_asked: bool,
    completions: usize,
}

impl Known {
    fn is_old(&self, number: usize) -> bool {
        number <= self.taken_over || self.given_back.contains(&number)
    }

    fn is_held(&self, number: usize) -> bool {
        self.held
            .is_some_and(|(held, end)| held == number && Instant::now() < end)
    }

    fn give_back(&mut self, number: usize) {
        self.given_back.push(number);
        self.held.take_if(|(held, _)| *held == number);
    }
}

struct Course {
    store: Arc<dyn NonceStore>,
    nonce: u64,
    known: Mutex<Known>,
}

impl Course {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap()
    }

    fn claim(&self) -> Claim {
        let now = SystemClock::default().now();
        let nonce = Nonce::new(NonceKind::Covered, self.nonce.to_be_bytes());
        let (key, deadline) = (KeyId::new("k").unwrap(), now.saturating_add(HOUR));
        let claim = Claim::new("holders".into(), key, nonce, deadline);
        // Signed as late as can be: nothing is refused because of when the store was made.
        claim.signed(deadline, Duration::from_secs(5))
    }

    fn leases(&self) -> &dyn LeaseStore {
        self.store.leases().unwrap()
    }

    /// Asks until there is a lease, and for its number; `None` once there cannot be one.
    async fn lease(&self, duration: Duration) -> Result<Option<(Claim, usize)>, String> {
        loop {
            let claim = self.claim();
            let (was_completed, before) = {
                let known = self.known();
                (known.completions > 0, known.leases)
            };
            let end = Instant::now() + duration - MARGIN;
            let answer = self.leases().lease(&claim, duration).await;
            let pause = match answer {
                Ok(LeaseOutcome::Held) if was_completed => {
                    return Err("a lease after a completion".into());
                }
                Ok(LeaseOutcome::Held) => {
                    let (now, mut known) = (Instant::now(), self.known());
                    known.leases += 1;
                    known.taken_over = known.taken_over.max(before);
                    let number = known.leases;
                    if now < end {
                        if known.held.is_some_and(|(_, end)| now < end) {
                            return Err("a lease while another held it".into());
                        }
                        known.held = Some((number, end));
                    }
                    return Ok(Some((claim, number)));
                }
                // A store may count from when the question came, before it waited for its turn.
                Ok(LeaseOutcome::InFlight { remaining, .. }) if remaining <= 2 * LONG => {
                    remaining.min(Duration::from_millis(3))
                }
                Ok(LeaseOutcome::Completed) if self.known().completion_asked => return Ok(None),
                other => return Err(format!("{other:?} to who asks for a lease")),
            };
            sleep(pause).await;
        }
    }

    /// A step of a holder is done if its lease cannot have ended; that of an old one is lost.
    async fn step(
        &self,
        number: usize,
        step: StoreFuture<'_, StepOutcome>,
        done: impl FnOnce(&mut Known),
    ) -> Result<(), String> {
        let was_old = self.known().is_old(number);
        let answer = step.await;
        let mut known = self.known();
        match answer {
            Ok(StepOutcome::Done) if was_old => Err("done for an old holder".into()),
            Ok(StepOutcome::Done) => {
                done(&mut known);
                Ok(())
            }
            Ok(StepOutcome::Lost) if known.is_held(number) => Err("lost to a holder".into()),
            Ok(StepOutcome::Lost) => Ok(()),
            other => Err(format!("{other:?} to a holder")),
        }
    }

    async fn complete(&self, claim: &Claim, number: usize) -> Result<(), String> {
        {
            let known = &mut *self.known();
            known.completion_asked |= !known.is_old(number);
        }
        let step = self.leases().complete(claim);
        let done = |known: &mut Known| {
            known.completions += 1;
            known.give_back(number);
        };
        self.step(number, step, done).await
    }

    async fn renew(&self, claim: &Claim, number: usize) -> Result<(), String> {
        let end = Instant::now() + LONG - MARGIN;
        let step = self.leases().renew(claim, LONG);
        let done = |known: &mut Known| known.held = Some((number, end));
        self.step(number, step, done).await
    }

    async fn release(&self, claim: &Claim, number: usize) -> Result<(), String> {
        let was_held = self.known().is_held(number);
        // From here on, another may be given it.
        self.known().held.take_if(|(held, _)| *held == number);
        let step = self.leases().release(claim);
        let mut released = false;
        let done = |known: &mut Known| {
            released = true;
            known.give_back(number);
        };
        self.step(number, step, done).await?;
        match was_held && !released {
            true => Err("lost to a holder that released".into()),
            false => Ok(()),
        }
    }

    /// One of those who ask: leases it this many times, and in the end tries all as an old holder.
    async fn contend(self: Arc<Self>, fates: Vec<Fate>) -> Result<(), String> {
        let mut held = Vec::new();
        for fate in fates {
            let is_short = matches!(fate, Fate::Forgotten | Fate::Renewed);
            let duration = if is_short { SHORT } else { LONG };
            let Some((claim, number)) = self.lease(duration).await? else {
                break;
            };
            match fate {
                Fate::Forgotten => {}
                Fate::Completed => self.complete(&claim, number).await?,
                Fate::Released => self.release(&claim, number).await?,
                Fate::Renewed => {
                    self.renew(&claim, number).await?;
                    // Beyond the end that it had.
                    sleep(SHORT).await;
                    self.complete(&claim, number).await?;
                }
            }
            held.push((claim, number));
        }
        for (claim, number) in held {
            // A holder that forgot its lease may hold it still.
            if self.known().is_old(number) {
                self.renew(&claim, number).await?;
                self.release(&claim, number).await?;
                self.complete(&claim, number).await?;
            }
        }
        Ok(())
    }
}

/// Returns how many leases were given, or what was wrong. The stores are several connections to
/// one.
pub async fn one_holds_at_a_time(
    stores: &[Arc<dyn NonceStore>],
    nonces: u32,
) -> Result<usize, String> {
    let mut runner = TestRunner::deterministic();
    let (mut courses, mut leases) = (JoinSet::new(), 0);
    let nonces = (0..nonces).zip(stores.iter().cycle());
    for (nonce, store) in nonces {
        if courses.len() == NONCES_AT_ONCE {
            leases += courses.join_next().await.unwrap().unwrap()?;
        }
        let fates = fates().new_tree(&mut runner).unwrap().current();
        let course = Arc::new(Course {
            store: Arc::clone(store),
            nonce: nonce.into(),
            known: Mutex::default(),
        });
        courses.spawn(async move {
            let what = format!("nonce {nonce}, {fates:?}");
            let contending = fates
                .into_iter()
                .map(|fates| tokio::spawn(Arc::clone(&course).contend(fates)));
            for contender in contending.collect::<Vec<_>>() {
                let outcome = timeout(Duration::from_secs(60), contender).await;
                let outcome = outcome.map_err(|_| format!("{what}: it hangs"))?;
                outcome
                    .unwrap()
                    .map_err(|wrong| format!("{what}: {wrong}"))?;
            }
            let known = course.known();
            match known.completions {
                0 | 1 => Ok(known.leases),
                n => Err(format!("{what}: completed {n} times")),
            }
        });
    }
    while let Some(course) = courses.join_next().await {
        leases += course.unwrap()?;
    }
    Ok(leases)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a35_of_several_at_random_one_at_a_time_holds_a_lease() {
    let store: Arc<dyn NonceStore> = Arc::new(MemoryStore::new().danger_assume_no_history());
    let leases = one_holds_at_a_time(&[store], common::cases(80))
        .await
        .unwrap();
    println!("{leases} leases");
    assert!(leases > 80, "{leases}");
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    LeasesToEverybody,
    ForgetsCompletions,
    DoesNotFence,
    DoesNotRenew,
}

struct Faulty(MemoryStore, Fault);

impl NonceStore for Faulty {
    fn claim<'a>(&'a self, claim: &'a Claim) -> StoreFuture<'a, ClaimOutcome> {
        self.0.claim(claim)
    }

    fn leases(&self) -> Option<&dyn LeaseStore> {
        Some(self)
    }

    fn survives_restart(&self) -> bool {
        self.0.survives_restart()
    }

    fn sharing(&self) -> Sharing {
        self.0.sharing()
    }
}

impl LeaseStore for Faulty {
    fn lease<'a>(&'a self, claim: &'a Claim, duration: Duration) -> StoreFuture<'a, LeaseOutcome> {
        StoreFuture::new(async move {
            let leased = self.0.lease(claim, duration).await?;
            Ok(match leased {
                LeaseOutcome::InFlight { .. } if self.1 == Fault::LeasesToEverybody => {
                    LeaseOutcome::Held
                }
                leased => leased,
            })
        })
    }

    fn renew<'a>(&'a self, claim: &'a Claim, duration: Duration) -> StoreFuture<'a, StepOutcome> {
        match self.1 {
            Fault::DoesNotRenew => self.0.renew(claim, Duration::ZERO),
            _ => self.0.renew(claim, duration),
        }
    }

    fn complete<'a>(&'a self, claim: &'a Claim) -> StoreFuture<'a, StepOutcome> {
        StoreFuture::new(async move {
            let held = match self.1 {
                Fault::ForgetsCompletions => self.0.release(claim).await?,
                _ => self.0.complete(claim).await?,
            };
            let is_fenced = self.1 != Fault::DoesNotFence;
            Ok(if is_fenced { held } else { StepOutcome::Done })
        })
    }

    fn release<'a>(&'a self, claim: &'a Claim) -> StoreFuture<'a, StepOutcome> {
        self.0.release(claim)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a35_twin_a_store_that_keeps_leases_badly_is_found() {
    for fault in [
        Fault::LeasesToEverybody,
        Fault::ForgetsCompletions,
        Fault::DoesNotFence,
        Fault::DoesNotRenew,
    ] {
        let store = Faulty(MemoryStore::new().danger_assume_no_history(), fault);
        let found = one_holds_at_a_time(&[Arc::new(store)], 80).await;
        assert!(found.is_err(), "{fault:?}: {found:?}");
    }
}
