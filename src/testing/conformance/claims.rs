//! The promises of a claim.

use std::{future::poll_fn, pin::pin, task::Poll};

use http::Method;

use super::{
    subject::{Subject, exactly_one, is_held, join, too_many},
    time::{Check, HOUR, SECOND},
};
use crate::{
    clock::{Clock as _, Timestamp},
    error::StoreErrorKind,
    key::KeyId,
    once::{Claim, ClaimOutcome, LeaseOutcome, Nonce, NonceKind, NonceStore, StepOutcome},
};

impl<S: NonceStore> Subject<'_, S> {
    pub(super) async fn the_first_claim_wins_and_copies_are_refused(&self) -> Check {
        for nonce in ["one", "two"] {
            self.claims(&self.nonce(nonce), ClaimOutcome::New).await?;
        }
        for nonce in ["one", "two", "one"] {
            self.claims(&self.nonce(nonce), ClaimOutcome::Replayed)
                .await?;
        }
        Ok(())
    }

    /// An attempt that is presented again, as after a lost reply, gets no second `New`.
    /// The store settles this within one call, if it can.
    pub(super) async fn an_attempt_wins_once(&self) -> Check {
        let claim = self.nonce("one");
        self.claims(&claim, ClaimOutcome::New).await?;
        for _ in 0..2 {
            self.claims(&claim.clone(), ClaimOutcome::Replayed).await?;
        }
        Ok(())
    }

    pub(super) async fn of_copies_at_once_exactly_one_wins(&self) -> Check {
        for (copies, times) in [(2, 30), (3, 30), (10, 10), (100, 3), (1000, 1)] {
            for time in 0..times {
                let nonce = format!("{copies} copies, {time}");
                let claims = (0..copies).map(|_| self.nonce(&nonce)).collect();
                let answers = self
                    .ask_at_once(claims, async |store: &S, claim: &Claim| {
                        store.claim(claim).await
                    })
                    .await;
                exactly_one(&answers, &ClaimOutcome::New, &nonce)?;
            }
        }
        Ok(())
    }

    pub(super) async fn of_copies_in_one_batch_exactly_one_wins(&self) -> Check {
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
                        .filter(|(_, a)| matches!(a, Ok(ClaimOutcome::New)))
                        .count()
                };
                if let Some(nonce) = nonces.iter().find(|nonce| won(nonce) != 1) {
                    return Err(format!("{} of `{nonce}` won", won(nonce)));
                }
            }
        }
        Ok(())
    }

    pub(super) async fn what_differs_in_any_part_is_another_nonce(&self) -> Check {
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
            // Bytes move from the end of one part to the beginning of the next.
            claim("", "keyn", covered, "once")?,
            claim("k", "ey", covered, "nonce")?,
            claim("", "key:nonce", covered, "")?,
            claim("", "key", covered, ":nonce")?,
            claim("", "key", covered, "n\u{1f}nonce")?,
            claim("", "key", covered, "noncePOST/a")?,
            claim("", "key", covered, "nonce\0\0\0\0\0\0\0\x04POST")?,
        ];
        for claim in &claims {
            self.claims(claim, ClaimOutcome::New).await?;
        }
        for claim in &claims {
            self.claims(claim, ClaimOutcome::Replayed).await?;
        }
        Ok(())
    }

    /// A captured message is sent to one made-up path after the other.
    pub(super) async fn a_message_leaves_no_more_records_than_it_may(&self) -> Check {
        for place in 0..Claim::OPEN_PLACES {
            self.claims(&self.at_open("one", place), ClaimOutcome::New)
                .await?;
        }
        for _ in 0..2 {
            let beyond = self.at_open("one", Claim::OPEN_PLACES);
            too_many(self.store.claim(&beyond).await)?;
        }
        for place in 0..Claim::OPEN_PLACES {
            self.claims(&self.at_open("one", place), ClaimOutcome::Replayed)
                .await?;
        }
        // A place is known or open; it is one place.
        let known = self.nonce("one").at_place(Method::POST, "/0");
        self.claims(&known, ClaimOutcome::Replayed).await?;
        let known = self.nonce("one").at_place(Method::POST, "/known");
        self.claims(&known, ClaimOutcome::New).await?;
        self.claims(&self.at_open("two", 0), ClaimOutcome::New)
            .await
    }

    pub(super) async fn of_places_at_once_no_more_than_may_be_win(&self) -> Check {
        for round in 0..5 {
            let nonce = format!("round {round}");
            // Each twice.
            let claims = (0..128).map(|place| self.at_open(&nonce, place / 2));
            let answers = self
                .ask_at_once(claims.collect(), async |store: &S, claim: &Claim| {
                    store.claim(claim).await
                })
                .await;
            let won = answers
                .iter()
                .filter(|a| matches!(a, Ok(ClaimOutcome::New)));
            match won.count() {
                Claim::OPEN_PLACES => {}
                won => return Err(format!("{won} places of one message")),
            }
        }
        Ok(())
    }

    pub(super) async fn a_deadline_that_has_passed_is_refused(&self) -> Check {
        let mut deadlines = vec![Timestamp::EPOCH, self.time.now().saturating_sub(2 * SECOND)];
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

    pub(super) async fn a_late_copy_is_refused(&self) -> Check {
        let claim = |nonce: u32, deadline: Timestamp| {
            let nonce = format!("{nonce} until {deadline}");
            self.nonce_until(&nonce, deadline)
        };
        let deadline = self
            .in_time(async |deadline| {
                for nonce in 0..100 {
                    self.claims(&claim(nonce, deadline), ClaimOutcome::New)
                        .await?;
                }
                Ok(())
            })
            .await?;
        self.time.pass_beyond(deadline).await;
        self.give_time_to_sweep().await?;
        for nonce in 0..100 {
            self.does_not_win(&claim(nonce, deadline)).await?;
        }
        Ok(())
    }

    pub(super) async fn a_clock_that_steps_back_reopens_nothing(&self) -> Check {
        let Some(clock) = &self.time.0 else {
            return Ok(());
        };
        let start = clock.now();
        let deadline = start.saturating_add(60 * SECOND);
        let claim = |nonce: u32| self.nonce_until(&nonce.to_string(), deadline);
        for nonce in 0..100 {
            self.claims(&claim(nonce), ClaimOutcome::New).await?;
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

    pub(super) async fn a_namespace_that_remembers_for_less_refuses(&self) -> Check {
        let first = self.nonce("first").with_retention(60 * SECOND);
        self.claims(&first, ClaimOutcome::New).await?;
        for nonce in ["first", "second"] {
            let longer = self.nonce(nonce).with_retention(HOUR);
            let mut answers = vec![self.store.claim(&longer).await.map(|a| format!("{a:?}"))];
            if let Some(leases) = self.store.leases() {
                let leased = leases.lease(&longer, HOUR).await;
                answers.push(leased.map(|a| format!("{a:?}")));
            }
            for answer in answers {
                match answer {
                    Err(error) if error.kind() == StoreErrorKind::Misconfigured => {}
                    answer => return Err(format!("{answer:?} to a claim that needs longer")),
                }
            }
        }
        let second = self.nonce("second").with_retention(60 * SECOND);
        self.claims(&second, ClaimOutcome::New).await
    }

    pub(super) async fn a_claim_that_needs_less_is_remembered_for_as_long_as_its_namespace(
        &self,
    ) -> Check {
        let first = self.nonce("first").with_retention(HOUR);
        self.claims(&first, ClaimOutcome::New).await?;
        let named = |name: &str, soon: Timestamp| format!("{name} until {soon}");
        let soon = self
            .in_time(async |soon| {
                let claim = |name| {
                    let claim = self.nonce_until(&named(name, soon), soon);
                    claim.with_retention(2 * SECOND)
                };
                self.claims(&claim("claimed"), ClaimOutcome::New).await?;
                let Some(leases) = self.store.leases() else {
                    return Ok(());
                };
                let handled = claim("handled");
                self.leases(leases, &handled, HOUR, LeaseOutcome::Held)
                    .await?;
                let completed = leases.complete(&handled).await;
                is_held(completed, StepOutcome::Done, "completing")
            })
            .await?;
        self.time.pass_beyond(soon).await;
        self.give_time_to_sweep().await?;
        let copy = |name| self.nonce(&named(name, soon)).with_retention(HOUR);
        self.claims(&copy("claimed"), ClaimOutcome::Replayed)
            .await?;
        match self.store.leases() {
            None => Ok(()),
            Some(leases) => {
                self.leases(leases, &copy("handled"), HOUR, LeaseOutcome::Completed)
                    .await
            }
        }
    }

    pub(super) async fn a_duplicate_extends_an_event_and_never_shortens_it(&self) -> Check {
        let late = self.in_an_hour();
        let event = |name: &str, soon: Timestamp, deadline| {
            let event = format!("{name} until {soon}");
            self.attempt(NonceKind::Event, &event, deadline)
        };
        let soon = self
            .in_time(async |soon| {
                let event = |name, deadline| event(name, soon, deadline);
                for (name, first, second) in
                    [("extended", soon, late), ("not shortened", late, soon)]
                {
                    self.claims(&event(name, first), ClaimOutcome::New).await?;
                    self.claims(&event(name, second), ClaimOutcome::Replayed)
                        .await?;
                }
                let Some(leases) = self.store.leases() else {
                    return Ok(());
                };
                let handled = event("handled", soon);
                self.leases(leases, &handled, HOUR, LeaseOutcome::Held)
                    .await?;
                let completed = leases.complete(&handled).await;
                is_held(completed, StepOutcome::Done, "completing")?;
                let again = event("handled", late);
                self.leases(leases, &again, HOUR, LeaseOutcome::Completed)
                    .await
            })
            .await?;
        self.time.pass_beyond(soon).await;
        self.give_time_to_sweep().await?;
        let again = |name| event(name, soon, self.in_an_hour());
        for name in ["extended", "not shortened"] {
            self.claims(&again(name), ClaimOutcome::Replayed).await?;
        }
        match self.store.leases() {
            None => Ok(()),
            Some(leases) => {
                self.leases(leases, &again("handled"), HOUR, LeaseOutcome::Completed)
                    .await
            }
        }
    }

    pub(super) async fn a_claim_that_is_given_up_wins_at_most_once(&self) -> Check {
        for nonce in 0..20 {
            let nonce = format!("given up, {nonce}");
            let (first, second) = (self.nonce(&nonce), self.nonce(&nonce));
            let mut won = 0;
            {
                let mut given_up = pin!(self.store.claim(&first));
                let polled = poll_fn(|cx| Poll::Ready(given_up.as_mut().poll(cx))).await;
                won += usize::from(matches!(polled, Poll::Ready(Ok(ClaimOutcome::New))));
                let answer = self.store.claim(&second).await;
                won += usize::from(matches!(answer, Ok(ClaimOutcome::New)));
            }
            for _ in 0..2 {
                let answer = self.store.claim(&self.nonce(&nonce)).await;
                won += usize::from(matches!(answer, Ok(ClaimOutcome::New)));
            }
            if won > 1 {
                return Err(format!("{won} copies won"));
            }
        }
        Ok(())
    }
}
