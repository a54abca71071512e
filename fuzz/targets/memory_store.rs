//! Any sequence of steps on a memory store: no nonce is accepted twice before its deadline, and no
//! lease is taken from its holder.
#![no_main]

use std::{collections::HashMap, time::Duration};

use arbitrary::Arbitrary;
use countersign::{
    Clock as _, KeyId, MemoryStore, Timestamp,
    store::{
        Claim, ClaimOutcome, LeaseOutcome, LeaseStore as _, Nonce, NonceKind, NonceStore as _,
        StepOutcome,
    },
    testing::ManualClock,
};
use countersign_fuzz::ready;
use libfuzzer_sys::fuzz_target;

#[derive(Arbitrary, Debug)]
enum Step {
    Claim(Asked),
    Lease(Asked, Length),
    /// The number says which of the earlier claims.
    Renew(u8, Length),
    Complete(u8),
    Release(u8),
    Advance(u16),
    Back(u16),
}

#[derive(Arbitrary, Debug)]
struct Asked {
    nonce: u8,
    key: bool,
    event: bool,
    /// In milliseconds from now.
    deadline: i16,
    /// In milliseconds from when the store was made.
    signed_at: Option<i16>,
}

/// Leases end by the monotonic clock: one ends at once, the other not while we look.
#[derive(Arbitrary, Clone, Copy, Debug, PartialEq)]
enum Length {
    Nothing,
    Hour,
}

/// The promises of a store for a nonce.
enum Record {
    /// Nobody is let through before the deadline, and never with this deadline.
    Final { deadline: Timestamp },
    /// Nobody is let through while the lease of this claim lasts.
    Leased {
        deadline: Timestamp,
        holder: usize,
        length: Length,
    },
}

const START: u64 = 1_700_000_000_500;
const SKEW: Duration = Duration::from_secs(5);

fn at(offset: i64) -> Timestamp {
    Timestamp::from_millis(START.saturating_add_signed(offset)).expect("before the year 9999")
}

impl Asked {
    fn claim(&self, now: Timestamp) -> Claim {
        let kind = if self.event {
            NonceKind::Event
        } else {
            NonceKind::Covered
        };
        let key = KeyId::new(if self.key { "key-1" } else { "key-2" }).expect("valid");
        let since = now.as_millis().cast_signed() - START.cast_signed();
        let deadline = at(since + i64::from(self.deadline));
        let claim = Claim::new(
            "fuzz".into(),
            key,
            Nonce::new(kind, vec![self.nonce]),
            deadline,
        );
        match self.signed_at {
            Some(signed_at) => claim.signed(at(signed_at.into()), SKEW),
            None => claim,
        }
    }
}

#[derive(Default)]
struct Model {
    claims: Vec<Claim>,
    records: HashMap<[u8; 32], Record>,
}

impl Model {
    /// `latest` is the latest moment that the clock has shown.
    fn accepted(&mut self, claim: &Claim, now: Timestamp, latest: Timestamp, new: Record) {
        assert!(claim.deadline() > now, "accepted past its deadline");
        if let Some(signed_at) = claim.signed_at() {
            assert!(
                signed_at > at(0).saturating_add(SKEW),
                "may have been accepted earlier"
            );
        }
        match self.records.insert(claim.digest(), new) {
            Some(Record::Final { deadline }) => {
                assert!(deadline <= latest, "accepted twice before its deadline");
                assert!(
                    deadline < claim.deadline(),
                    "accepted twice with one deadline"
                );
            }
            Some(Record::Leased { length, .. }) => {
                assert_eq!(length, Length::Nothing, "accepted while another holds it");
            }
            None => {}
        }
    }

    fn refused(&mut self, claim: &Claim) -> &Record {
        let record = self
            .records
            .get_mut(&claim.digest())
            .expect("a nonce that was seen before");
        if claim.extends() {
            let (Record::Final { deadline } | Record::Leased { deadline, .. }) = record;
            *deadline = claim.deadline().max(*deadline);
        }
        record
    }

    /// Checks the answer to a step of a holder, or of who takes himself for it.
    fn step(
        &mut self,
        which: u8,
        ask: impl FnOnce(&Claim) -> StepOutcome,
    ) -> Option<(usize, Claim)> {
        let which = usize::from(which).checked_rem(self.claims.len())?;
        let claim = self.claims[which].clone();
        let held = ask(&claim);
        let lease = match self.records.get(&claim.digest()) {
            Some(Record::Leased { holder, length, .. }) if *holder == which => Some(*length),
            _ => None,
        };
        if held == StepOutcome::Done {
            assert!(lease.is_some(), "done by who does not hold it");
            return Some((which, claim));
        }
        assert_ne!(lease, Some(Length::Hour), "lost while it was held");
        None
    }

    fn deadline(&self, claim: &Claim) -> Timestamp {
        match self.records[&claim.digest()] {
            Record::Final { deadline } | Record::Leased { deadline, .. } => {
                deadline.max(claim.deadline())
            }
        }
    }
}

fuzz_target!(|steps: Vec<Step>| {
    let clock = ManualClock::at(at(0));
    let store = MemoryStore::builder()
        .capacity_bytes(64 * 1024)
        .clock(clock.clone())
        .build()
        .expect("a capacity within range");
    let duration = |length| match length {
        Length::Nothing => Duration::ZERO,
        Length::Hour => Duration::from_secs(3600),
    };
    let mut model = Model::default();
    let mut latest = clock.now();

    for step in steps {
        match step {
            Step::Claim(asked) => {
                let claim = asked.claim(clock.now());
                let deadline = claim.deadline();
                match ready(store.claim(&claim)) {
                    Ok(ClaimOutcome::New) => {
                        model.accepted(&claim, clock.now(), latest, Record::Final { deadline });
                    }
                    Ok(_) => _ = model.refused(&claim),
                    Err(_) => {}
                }
                model.claims.push(claim);
            }
            Step::Lease(asked, length) => {
                let claim = asked.claim(clock.now());
                let deadline = claim.deadline();
                let holder = model.claims.len();
                match ready(store.lease(&claim, duration(length))) {
                    Ok(LeaseOutcome::Held) => {
                        let record = Record::Leased {
                            deadline,
                            holder,
                            length,
                        };
                        model.accepted(&claim, clock.now(), latest, record);
                    }
                    Ok(LeaseOutcome::InFlight { .. }) => {
                        let record = model.refused(&claim);
                        assert!(matches!(
                            record,
                            Record::Leased {
                                length: Length::Hour,
                                ..
                            }
                        ));
                    }
                    Ok(_) => assert!(matches!(model.refused(&claim), Record::Final { .. })),
                    Err(_) => {}
                }
                model.claims.push(claim);
            }
            Step::Renew(which, length) => {
                let renew = |claim: &Claim| {
                    ready(store.renew(claim, duration(length))).expect("memory answers")
                };
                if let Some((holder, claim)) = model.step(which, renew) {
                    let Record::Leased { deadline, .. } = model.records[&claim.digest()] else {
                        panic!("renewed what is no lease");
                    };
                    let record = Record::Leased {
                        deadline,
                        holder,
                        length,
                    };
                    model.records.insert(claim.digest(), record);
                }
            }
            Step::Complete(which) => {
                let complete =
                    |claim: &Claim| ready(store.complete(claim)).expect("memory answers");
                if let Some((_, claim)) = model.step(which, complete) {
                    let deadline = model.deadline(&claim);
                    model
                        .records
                        .insert(claim.digest(), Record::Final { deadline });
                }
            }
            Step::Release(which) => {
                let release = |claim: &Claim| ready(store.release(claim)).expect("memory answers");
                if let Some((_, claim)) = model.step(which, release) {
                    model.records.remove(&claim.digest());
                }
            }
            Step::Advance(millis) => clock.advance(Duration::from_millis(millis.into())),
            Step::Back(millis) => clock.step_back(Duration::from_millis(millis.into())),
        }
        latest = latest.max(clock.now());
    }
});
