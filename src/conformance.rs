//! What every store has to keep, as checks to run against it: feature `test-util`.
//!
//! ```
//! use countersign::{ManualClock, MemoryStore, Timestamp, conformance};
//!
//! # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
//! let clock = ManualClock::at(Timestamp::from_secs(1_700_000_000).unwrap());
//! let time = conformance::Time::manual(clock.clone());
//! let store = || MemoryStore::builder().clock(clock.clone()).build();
//! conformance::run(&time, async || store().unwrap()).await?;
//! # Ok::<_, conformance::Broken>(())
//! # }).unwrap();
//! # Ok::<_, std::io::Error>(())
//! ```

use std::{
    error::Error,
    fmt,
    future::poll_fn,
    pin::pin,
    sync::{Arc, Barrier},
    task::Poll,
    thread,
    time::Duration,
};

use http::Method;
use tokio::{runtime::Handle, time::timeout};

use crate::{
    clock::{Clock as _, ManualClock, SystemClock, Timestamp},
    error::StoreError,
    key::KeyId,
    nonce::{Claim, Claimed, Held, LeaseStore, Leased, Nonce, NonceKind, NonceStore},
};

/// The time that a store goes by.
#[derive(Clone, Debug)]
pub struct Time(Option<ManualClock>);

impl Time {
    /// That of the host, or of a server whose clock is within a second of it. Time passes by itself,
    /// and the checks take some 20 seconds.
    #[must_use]
    pub fn real() -> Self {
        Self(None)
    }

    /// That of this clock, which the store was given. Leases may go by a clock of their own.
    #[must_use]
    pub fn manual(clock: ManualClock) -> Self {
        Self(Some(clock))
    }

    fn now(&self) -> Timestamp {
        match &self.0 {
            Some(clock) => clock.now(),
            None => SystemClock.now(),
        }
    }

    async fn pass(&self, time: Duration) {
        match &self.0 {
            Some(clock) => clock.advance(time),
            None => tokio::time::sleep(time).await,
        }
    }

    /// Passes for leases too, where these go by a clock of their own.
    async fn pass_for_leases(&self, time: Duration) {
        if let Some(clock) = &self.0 {
            clock.advance(time);
        }
        tokio::time::sleep(time).await;
    }
}

/// The checks that a store did not pass.
#[derive(Clone, Debug)]
pub struct Broken(Vec<(&'static str, String)>);

impl Broken {
    /// The names of the checks, each a promise that was broken.
    pub fn checks(&self) -> impl Iterator<Item = &'static str> {
        self.0.iter().map(|(check, _)| *check)
    }
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the store does not keep its promises:")?;
        self.0
            .iter()
            .try_for_each(|(check, why)| write!(f, "\n{check}: {why}"))
    }
}

impl Error for Broken {}

/// Why a check failed.
type Check = Result<(), String>;

/// For how long one check may take.
const PATIENCE: Duration = Duration::from_secs(60);

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);

macro_rules! checks {
    ($($check:ident,)*) => {
        /// The names of all checks.
        pub const CHECKS: &[&str] = &[$(stringify!($check)),*];

        /// Runs all checks, one after the other, each on a store that `open` makes. The store may share
        /// its records with others: each check has a namespace of its own, drawn at random.
        ///
        /// Checks of leases are left out where the store has none, and those for which a clock has to
        /// step back with [`Time::real`].
        ///
        /// # Errors
        /// Which promises the store does not keep, and what it did instead.
        ///
        /// # Panics
        /// Outside of a Tokio runtime with its timer.
        pub async fn run<S: NonceStore>(
            time: &Time,
            open: impl AsyncFn() -> S,
        ) -> Result<(), Broken> {
            let mut broken = Vec::new();
            $(
                let subject = Subject {
                    store: Arc::new(open().await),
                    time,
                    namespace: format!("conformance-{:016x}", crate::random::u64()).into(),
                    key: key(),
                };
                match timeout(PATIENCE, Box::pin(subject.$check())).await {
                    Ok(Ok(())) => {}
                    Ok(Err(why)) => broken.push((stringify!($check), why)),
                    Err(_) => {
                        broken.push((stringify!($check), format!("no end within {PATIENCE:?}")));
                    }
                }
            )*
            if broken.is_empty() { Ok(()) } else { Err(Broken(broken)) }
        }
    };
}

checks! {
    the_first_claim_wins_and_copies_are_refused,
    an_attempt_wins_once,
    of_copies_at_once_exactly_one_wins,
    of_copies_in_one_batch_exactly_one_wins,
    what_differs_in_any_part_is_another_nonce,
    a_deadline_that_has_passed_is_refused,
    a_late_copy_is_refused,
    a_clock_that_steps_back_reopens_nothing,
    a_duplicate_extends_an_event_and_never_shortens_it,
    a_claim_that_is_given_up_wins_at_most_once,
    a_claim_has_no_holder,
    a_lease_is_held_by_one,
    a_completed_lease_is_final,
    a_released_lease_is_free,
    a_lease_ends_by_itself,
    a_renewed_lease_goes_on,
    an_old_holder_changes_nothing,
}

/// One store, in the midst of a check.
struct Subject<'t, S> {
    store: Arc<S>,
    time: &'t Time,
    namespace: Arc<str>,
    key: KeyId,
}

impl<S: NonceStore> Subject<'_, S> {
    async fn the_first_claim_wins_and_copies_are_refused(&self) -> Check {
        for nonce in ["one", "two"] {
            self.claims(&self.nonce(nonce), Claimed::New).await?;
        }
        for nonce in ["one", "two", "one"] {
            self.claims(&self.nonce(nonce), Claimed::Replayed).await?;
        }
        Ok(())
    }

    /// Whoever presents an attempt again, as after a reply that was lost, gets no second `New`. That
    /// is for the store to settle within one call, if it can.
    async fn an_attempt_wins_once(&self) -> Check {
        let claim = self.nonce("one");
        self.claims(&claim, Claimed::New).await?;
        for _ in 0..2 {
            self.claims(&claim.clone(), Claimed::Replayed).await?;
        }
        Ok(())
    }

    async fn of_copies_at_once_exactly_one_wins(&self) -> Check {
        for (copies, times) in [(2, 30), (3, 30), (10, 10), (100, 3), (1000, 1)] {
            for time in 0..times {
                let nonce = format!("{copies} copies, {time}");
                let claims = (0..copies).map(|_| self.nonce(&nonce)).collect();
                let answers = self
                    .ask_at_once(claims, async |store: &S, claim: &Claim| {
                        store.claim(claim).await
                    })
                    .await;
                exactly_one(&answers, &Claimed::New, &nonce)?;
            }
        }
        Ok(())
    }

    async fn of_copies_in_one_batch_exactly_one_wins(&self) -> Check {
        const NONCES: usize = 64;
        let nonces: Vec<_> = (0..NONCES).map(|nonce| nonce.to_string()).collect();
        // Copies side by side, and copies far apart.
        for copies in [2, 4] {
            let nonces = nonces.iter().map(|nonce| format!("{copies} of {nonce}"));
            let beside: Vec<_> = nonces.flat_map(|nonce| vec![nonce; copies]).collect();
            let apart = (0..copies).flat_map(|copy| beside.iter().skip(copy).step_by(copies));
            let apart = apart.map(|nonce| format!("apart, {nonce}")).collect();
            for nonces in [beside, apart] {
                let claims: Vec<_> = nonces.iter().map(|nonce| self.nonce(nonce)).collect();
                let answers = join(claims.iter().map(|claim| self.store.claim(claim))).await;
                let won = |nonce: &String| {
                    let of_nonce = nonces.iter().zip(&answers).filter(|(n, _)| *n == nonce);
                    of_nonce
                        .filter(|(_, a)| matches!(a, Ok(Claimed::New)))
                        .count()
                };
                if let Some(nonce) = nonces.iter().find(|nonce| won(nonce) != 1) {
                    return Err(format!("{} of `{nonce}` won", won(nonce)));
                }
            }
        }
        Ok(())
    }

    async fn what_differs_in_any_part_is_another_nonce(&self) -> Check {
        let claim = |namespace: &str, key: &str, kind, nonce: &str| {
            let namespace = format!("{}{namespace}", self.namespace);
            let nonce = Nonce::new(kind, nonce);
            let key = KeyId::new(key).map_err(|error| error.to_string())?;
            Ok::<_, String>(Claim::new(namespace.into(), key, nonce, self.in_an_hour()))
        };
        let covered = NonceKind::Covered;
        let plain = || claim("", "key", covered, "nonce");
        let posted = |path: &str| Ok::<_, String>(plain()?.at_place(Method::POST, path));
        let claims = [
            plain()?,
            claim("x", "key", covered, "nonce")?,
            claim("", "other", covered, "nonce")?,
            claim("", "key", covered, "other")?,
            claim("", "key", covered, "NONCE")?,
            claim("", "key", covered, "nonce ")?,
            claim("", "key", covered, "nonce\0")?,
            claim("", "key", covered, "")?,
            claim("", "key", NonceKind::Event, "nonce")?,
            claim("", "key", NonceKind::Digest, "nonce")?,
            posted("/")?,
            posted("/a")?,
            plain()?.at_place(Method::PUT, "/a"),
            // What stands at the end of one part, at the beginning of the next.
            claim("", "keyn", covered, "once")?,
            claim("k", "ey", covered, "nonce")?,
            claim("", "key:nonce", covered, "")?,
            claim("", "key", covered, ":nonce")?,
            claim("", "key", covered, "n\u{1f}nonce")?,
            claim("", "key", covered, "noncePOST/a")?,
            claim("", "key", covered, "nonce\0\0\0\0\0\0\0\x04POST")?,
        ];
        for claim in &claims {
            self.claims(claim, Claimed::New).await?;
        }
        for claim in &claims {
            self.claims(claim, Claimed::Replayed).await?;
        }
        Ok(())
    }

    async fn a_deadline_that_has_passed_is_refused(&self) -> Check {
        let mut deadlines = vec![Timestamp::EPOCH, self.time.now().minus(2 * SECOND)];
        if self.time.0.is_some() {
            deadlines.push(self.time.now());
        }
        for deadline in deadlines {
            for copy in 1..=2 {
                let claim = self.nonce_until("late", deadline);
                if let Ok(answer) = self.store.claim(&claim).await {
                    return Err(format!(
                        "{answer:?} to copy {copy} of a claim until {deadline}"
                    ));
                }
                if let Some(leases) = self.store.leases()
                    && let Ok(answer) = leases.lease(&claim, HOUR).await
                {
                    return Err(format!(
                        "{answer:?} to copy {copy} of a lease until {deadline}"
                    ));
                }
            }
        }
        Ok(())
    }

    async fn a_late_copy_is_refused(&self) -> Check {
        let deadline = self.time.now().plus(3 * SECOND);
        let claim = |nonce: u32| self.nonce_until(&nonce.to_string(), deadline);
        for nonce in 0..100 {
            self.claims(&claim(nonce), Claimed::New).await?;
        }
        self.time.pass(5 * SECOND).await;
        self.give_time_to_sweep().await?;
        for nonce in 0..100 {
            self.does_not_win(&claim(nonce)).await?;
        }
        Ok(())
    }

    async fn a_clock_that_steps_back_reopens_nothing(&self) -> Check {
        let Some(clock) = &self.time.0 else {
            return Ok(());
        };
        let start = clock.now();
        let deadline = start.plus(60 * SECOND);
        let claim = |nonce: u32| self.nonce_until(&nonce.to_string(), deadline);
        for nonce in 0..100 {
            self.claims(&claim(nonce), Claimed::New).await?;
        }
        clock.advance(61 * SECOND);
        self.give_time_to_sweep().await?;
        let ahead = clock.now();
        clock.set(start);
        for nonce in 0..100 {
            self.does_not_win(&claim(nonce)).await?;
        }
        // The store may be shared with the checks that follow.
        clock.set(ahead);
        Ok(())
    }

    async fn a_duplicate_extends_an_event_and_never_shortens_it(&self) -> Check {
        let event = |event: &str, deadline| {
            let nonce = Nonce::new(NonceKind::Event, event);
            Claim::new(
                Arc::clone(&self.namespace),
                self.key.clone(),
                nonce,
                deadline,
            )
        };
        let (soon, late) = (self.time.now().plus(3 * SECOND), self.in_an_hour());
        self.claims(&event("extended", soon), Claimed::New).await?;
        self.claims(&event("extended", late), Claimed::Replayed)
            .await?;
        self.claims(&event("not shortened", late), Claimed::New)
            .await?;
        self.claims(&event("not shortened", soon), Claimed::Replayed)
            .await?;
        if let Some(leases) = self.store.leases() {
            let handled = event("handled", soon);
            self.leases(leases, &handled, HOUR, Leased::Held).await?;
            is_held(leases.complete(&handled).await, Held::Done, "completing")?;
            self.leases(leases, &event("handled", late), HOUR, Leased::Completed)
                .await?;
        }
        self.time.pass(5 * SECOND).await;
        self.give_time_to_sweep().await?;
        for name in ["extended", "not shortened"] {
            self.claims(&event(name, self.in_an_hour()), Claimed::Replayed)
                .await?;
        }
        if let Some(leases) = self.store.leases() {
            let again = event("handled", self.in_an_hour());
            self.leases(leases, &again, HOUR, Leased::Completed).await?;
        }
        Ok(())
    }

    async fn a_claim_that_is_given_up_wins_at_most_once(&self) -> Check {
        for nonce in 0..20 {
            let nonce = format!("given up, {nonce}");
            let (first, second) = (self.nonce(&nonce), self.nonce(&nonce));
            let mut won = 0;
            {
                let mut given_up = pin!(self.store.claim(&first));
                let polled = poll_fn(|cx| Poll::Ready(given_up.as_mut().poll(cx))).await;
                won += usize::from(matches!(polled, Poll::Ready(Ok(Claimed::New))));
                let answer = self.store.claim(&second).await;
                won += usize::from(matches!(answer, Ok(Claimed::New)));
            }
            for _ in 0..2 {
                let answer = self.store.claim(&self.nonce(&nonce)).await;
                won += usize::from(matches!(answer, Ok(Claimed::New)));
            }
            if won > 1 {
                return Err(format!("{won} copies won"));
            }
        }
        Ok(())
    }

    async fn a_claim_has_no_holder(&self) -> Check {
        let Some(leases) = self.store.leases() else {
            return Ok(());
        };
        let claim = self.nonce("one");
        self.claims(&claim, Claimed::New).await?;
        is_held(leases.renew(&claim, HOUR).await, Held::Lost, "renewing")?;
        is_held(leases.release(&claim).await, Held::Lost, "releasing")?;
        self.leases(leases, &self.nonce("one"), HOUR, Leased::Completed)
            .await
    }

    async fn a_lease_is_held_by_one(&self) -> Check {
        let Some(leases) = self.store.leases() else {
            return Ok(());
        };
        self.leases(leases, &self.nonce("one"), HOUR, Leased::Held)
            .await?;
        match leases.lease(&self.nonce("one"), HOUR).await {
            Ok(Leased::InFlight { remaining })
                if remaining > HOUR - 30 * SECOND && remaining <= HOUR => {}
            answer => return Err(format!("{answer:?} to a copy of a lease of an hour")),
        }
        self.claims(&self.nonce("one"), Claimed::Replayed).await?;
        for copies in [2, 10, 200] {
            let nonce = format!("{copies} copies");
            let claims = (0..copies).map(|_| self.nonce(&nonce)).collect();
            let lease = async |store: &S, claim: &Claim| match store.leases() {
                Some(leases) => leases.lease(claim, HOUR).await,
                None => Err(StoreError::unavailable("the store has no leases any more")),
            };
            let answers = self.ask_at_once(claims, lease).await;
            exactly_one(&answers, &Leased::Held, &nonce)?;
        }
        Ok(())
    }

    async fn a_completed_lease_is_final(&self) -> Check {
        let Some(leases) = self.store.leases() else {
            return Ok(());
        };
        let holder = self.nonce("one");
        self.leases(leases, &holder, SECOND, Leased::Held).await?;
        is_held(leases.complete(&holder).await, Held::Done, "completing")?;
        for _ in 0..2 {
            self.leases(leases, &self.nonce("one"), HOUR, Leased::Completed)
                .await?;
            self.claims(&self.nonce("one"), Claimed::Replayed).await?;
            is_held(
                leases.renew(&holder, HOUR).await,
                Held::Lost,
                "renewing what is completed",
            )?;
            is_held(
                leases.release(&holder).await,
                Held::Lost,
                "releasing what is completed",
            )?;
            self.time.pass_for_leases(2 * SECOND).await;
        }
        Ok(())
    }

    async fn a_released_lease_is_free(&self) -> Check {
        let Some(leases) = self.store.leases() else {
            return Ok(());
        };
        for _ in 0..3 {
            let holder = self.nonce("one");
            self.leases(leases, &holder, HOUR, Leased::Held).await?;
            is_held(leases.release(&holder).await, Held::Done, "releasing")?;
            is_held(
                leases.complete(&holder).await,
                Held::Lost,
                "completing what is released",
            )?;
        }
        self.claims(&self.nonce("one"), Claimed::New).await
    }

    async fn a_lease_ends_by_itself(&self) -> Check {
        let Some(leases) = self.store.leases() else {
            return Ok(());
        };
        for nonce in ["one", "two"] {
            self.leases(leases, &self.nonce(nonce), SECOND, Leased::Held)
                .await?;
        }
        self.time.pass_for_leases(2 * SECOND).await;
        self.leases(leases, &self.nonce("one"), HOUR, Leased::Held)
            .await?;
        self.claims(&self.nonce("two"), Claimed::New).await?;
        self.claims(&self.nonce("two"), Claimed::Replayed).await
    }

    async fn a_renewed_lease_goes_on(&self) -> Check {
        let Some(leases) = self.store.leases() else {
            return Ok(());
        };
        let holder = self.nonce("one");
        self.leases(leases, &holder, SECOND, Leased::Held).await?;
        is_held(leases.renew(&holder, HOUR).await, Held::Done, "renewing")?;
        self.time.pass_for_leases(2 * SECOND).await;
        match leases.lease(&self.nonce("one"), HOUR).await {
            Ok(Leased::InFlight { .. }) => {}
            answer => return Err(format!("{answer:?} to a copy of what was renewed")),
        }
        is_held(leases.complete(&holder).await, Held::Done, "completing")
    }

    async fn an_old_holder_changes_nothing(&self) -> Check {
        let Some(leases) = self.store.leases() else {
            return Ok(());
        };
        let (old, new) = (self.nonce("one"), self.nonce("one"));
        self.leases(leases, &old, SECOND, Leased::Held).await?;
        self.time.pass_for_leases(2 * SECOND).await;
        self.leases(leases, &new, HOUR, Leased::Held).await?;
        let by_old = async || {
            is_held(
                leases.renew(&old, HOUR).await,
                Held::Lost,
                "renewing, by the old holder",
            )?;
            is_held(
                leases.complete(&old).await,
                Held::Lost,
                "completing, by the old holder",
            )?;
            is_held(
                leases.release(&old).await,
                Held::Lost,
                "releasing, by the old holder",
            )
        };
        by_old().await?;
        match leases.lease(&self.nonce("one"), HOUR).await {
            Ok(Leased::InFlight { .. }) => {}
            answer => {
                return Err(format!(
                    "{answer:?} to a copy, after steps of the old holder"
                ));
            }
        }
        is_held(
            leases.complete(&new).await,
            Held::Done,
            "completing, by the new holder",
        )?;
        by_old().await?;
        self.leases(leases, &self.nonce("one"), HOUR, Leased::Completed)
            .await
    }

    fn in_an_hour(&self) -> Timestamp {
        self.time.now().plus(HOUR)
    }

    /// An attempt of its own on this nonce, for an hour.
    fn nonce(&self, nonce: &str) -> Claim {
        self.nonce_until(nonce, self.in_an_hour())
    }

    fn nonce_until(&self, nonce: &str, deadline: Timestamp) -> Claim {
        let nonce = Nonce::new(NonceKind::Covered, nonce);
        Claim::new(
            Arc::clone(&self.namespace),
            self.key.clone(),
            nonce,
            deadline,
        )
    }

    async fn claims(&self, claim: &Claim, expected: Claimed) -> Check {
        match self.store.claim(claim).await {
            Ok(answer) if answer == expected => Ok(()),
            answer => Err(format!(
                "{answer:?} instead of {expected:?} to a claim on {:?} of `{}`",
                claim.nonce(),
                claim.key_id()
            )),
        }
    }

    async fn does_not_win(&self, claim: &Claim) -> Check {
        match self.store.claim(claim).await {
            Ok(Claimed::New) => Err(format!("{:?} was claimed again", claim.nonce())),
            _ => Ok(()),
        }
    }

    async fn leases(
        &self,
        leases: &dyn LeaseStore,
        claim: &Claim,
        duration: Duration,
        expected: Leased,
    ) -> Check {
        match leases.lease(claim, duration).await {
            Ok(answer) if answer == expected => Ok(()),
            answer => Err(format!(
                "{answer:?} instead of {expected:?} to a lease on {:?}",
                claim.nonce()
            )),
        }
    }

    /// Stores sweep when they are asked, or by themselves now and then.
    async fn give_time_to_sweep(&self) -> Check {
        for round in 0..12 {
            for nonce in 0..10 {
                let nonce = format!("to sweep {round} {nonce} {}", crate::random::u64());
                self.claims(&self.nonce(&nonce), Claimed::New).await?;
            }
            if let Some(clock) = &self.time.0 {
                clock.advance(2 * SECOND);
            }
            tokio::time::sleep(SECOND / 10).await;
        }
        Ok(())
    }

    /// The answers to these claims, asked for at once from as many threads as there may be.
    async fn ask_at_once<T: Send + 'static>(
        &self,
        claims: Vec<Claim>,
        ask: impl AsyncFn(&S, &Claim) -> Result<T, StoreError> + Clone + Send + 'static,
    ) -> Vec<Result<T, StoreError>> {
        const THREADS: usize = 16;
        let shares = claims.chunks(claims.len().div_ceil(THREADS));
        let line = Arc::new(Barrier::new(shares.len()));
        let threads: Vec<_> = shares
            .map(|claims| {
                let (store, ask) = (Arc::clone(&self.store), ask.clone());
                let (claims, line) = (claims.to_vec(), Arc::clone(&line));
                let runtime = Handle::current();
                thread::spawn(move || {
                    line.wait();
                    runtime.block_on(join(claims.iter().map(|claim| ask(&store, claim))))
                })
            })
            .collect();
        while !threads.iter().all(thread::JoinHandle::is_finished) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let answers = threads.into_iter().map(thread::JoinHandle::join);
        answers.flat_map(Result::unwrap_or_default).collect()
    }
}

fn exactly_one<T: PartialEq + fmt::Debug>(
    answers: &[Result<T, StoreError>],
    winner: &T,
    what: &str,
) -> Check {
    let is = |answer: &&Result<T, StoreError>| answer.as_ref().is_ok_and(|a| a == winner);
    match answers.iter().filter(is).count() {
        1 => Ok(()),
        won => Err(format!("{what}: {won} answers are {winner:?}")),
    }
}

fn is_held(answer: Result<Held, StoreError>, expected: Held, what: &str) -> Check {
    match answer {
        Ok(answer) if answer == expected => Ok(()),
        answer => Err(format!("{answer:?} instead of {expected:?} to {what}")),
    }
}

#[expect(clippy::expect_used, reason = "it is a constant")]
fn key() -> KeyId {
    KeyId::new("key").expect("a valid key id")
}

/// Polls all of them from one task, in their order.
async fn join<F: Future>(futures: impl Iterator<Item = F>) -> Vec<F::Output> {
    let mut all: Vec<_> = futures.map(|future| (Box::pin(future), None)).collect();
    poll_fn(|cx| {
        let mut next = Poll::Ready(());
        for (future, output) in all.iter_mut().filter(|(_, output)| output.is_none()) {
            match future.as_mut().poll(cx) {
                Poll::Ready(answer) => *output = Some(answer),
                Poll::Pending => next = Poll::Pending,
            }
        }
        next
    })
    .await;
    all.into_iter().filter_map(|(_, output)| output).collect()
}
