//! How many records each key has in a store that several servers share: counted in each process,
//! and put together in the store by a task of its own.
//!
//! A claim asks nobody. This process learns about the claims of others at the next exchange.

use std::{
    borrow::Cow,
    collections::HashMap,
    sync::{
        Arc, Mutex, RwLock,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::time::{MissedTickBehavior, interval};

use super::action::Answer;
use crate::{
    clock::{self, Clock as _, SystemClock},
    error::{ConfigError, StoreError, StoreErrorKind},
    lock::{lock, read, write},
    once::{Claim, ClaimOutcome, LeaseOutcome, MESSAGE_LEN},
};

/// A digest of namespace and key id.
pub(in crate::store) type Owner = [u8; MESSAGE_LEN];

/// How often counts are put together.
const EXCHANGE: Duration = Duration::from_secs(1);

/// The quota that keys have by default.
pub(in crate::store) const RECORDS_OF_A_KEY: u64 = 10_000_000;

pub(in crate::store) fn check_quota(records_of_a_key: u64) -> Result<(), ConfigError> {
    ConfigError::unless(
        records_of_a_key > 0,
        "`records_of_a_key` must be at least 1",
    )
}

/// A key with less than this part of its quota to tell can wait.
const PART: u64 = 256;

/// A key with little to report waits for this number of exchanges.
const PATIENCE: u64 = 60;

/// The number of claims of a key without an answer that are counted one by one.
const UNANSWERED: usize = 1 << 16;

/// A greater value than any count, for a key that is new in this process.
const AT_ONCE: u64 = u64::MAX / 2;

const ORDER: Ordering = Ordering::Relaxed;

/// The counts of this process.
#[derive(Debug)]
pub(in crate::store) struct Quota {
    limit: u64,
    keys: RwLock<HashMap<Owner, Arc<Own>>>,
}

/// The counts of one key in this process.
#[derive(Debug, Default)]
struct Own {
    /// Records of all processes, as the store knew last.
    total: AtomicU64,
    /// When some of them end, in milliseconds since the epoch.
    fewer_at: AtomicU64,
    /// Records that the store does not know of yet; below zero after a lease was released.
    untold: AtomicI64,
    /// The latest end of those, and the longest time for which any is kept, in milliseconds.
    end: AtomicU64,
    kept_for: AtomicU64,
    /// How many exchanges went by without this key.
    waited: AtomicU64,
    /// The claims whose answer nobody got, by their digest, and until when their records live.
    /// Locked only when an answer is missing.
    unanswered: Mutex<HashMap<[u8; 32], u64>>,
}

/// The news of one key for the store.
#[derive(Debug)]
pub(in crate::store) struct Report {
    pub(in crate::store) owner: Owner,
    pub(in crate::store) change: i64,
    /// When those records end, rounded up, so that there are some sixteen such moments.
    pub(in crate::store) end: u64,
    own: Arc<Own>,
}

/// A claim that is counted, whatever comes of it.
#[derive(Debug)]
#[must_use]
pub(super) struct Counted<'c> {
    own: Arc<Own>,
    claim: Cow<'c, Claim>,
    is_over: bool,
    is_settled: bool,
}

impl Quota {
    pub(in crate::store) fn new(limit: u64) -> Self {
        Self {
            limit,
            keys: RwLock::default(),
        }
    }

    /// Counts the claim before it is made. Beyond the quota it is made in a way that adds no
    /// record, so that a duplicate is still told one.
    pub(super) fn count<'c>(&self, claim: &'c Claim) -> Counted<'c> {
        let own = self.own(claim.owner());
        let is_over = own.count(claim, self.limit).is_err();
        let claim = if is_over {
            Cow::Owned(claim.clone().adding_no_record())
        } else {
            Cow::Borrowed(claim)
        };
        Counted {
            own,
            claim,
            is_over,
            is_settled: false,
        }
    }

    /// A lease was given back.
    pub(super) fn released(&self, claim: &Claim) {
        self.own(claim.owner()).untold.fetch_sub(1, ORDER);
    }

    fn own(&self, owner: Owner) -> Arc<Own> {
        let keys = read(&self.keys);
        if let Some(own) = keys.get(&owner) {
            return Arc::clone(own);
        }
        drop(keys);
        let mut keys = write(&self.keys);
        let own = keys.entry(owner).or_insert_with(|| {
            Arc::new(Own {
                waited: AtomicU64::new(AT_ONCE),
                ..Own::default()
            })
        });
        Arc::clone(own)
    }

    /// Returns the news for this exchange. A key that was idle, and has few records, is
    /// forgotten: the store knows them.
    fn reports(&self) -> Vec<Report> {
        let part = self.limit.div_ceil(PART);
        let now = SystemClock.now().as_millis();
        let mut reports = Vec::new();
        let mut keys = write(&self.keys);
        keys.retain(|owner, own| {
            let waited = own.waited.fetch_add(1, ORDER);
            let change = own.untold.load(ORDER);
            let total = own.total.load(ORDER);
            // Beyond half of the quota, others may be using up the rest.
            let is_due = waited >= PATIENCE
                || change.unsigned_abs() >= part
                || total.saturating_mul(2) >= self.limit;
            if is_due && change == 0 && total < part && waited < AT_ONCE {
                return Arc::strong_count(own) > 1;
            }
            if is_due {
                reports.push(Report {
                    owner: *owner,
                    change,
                    end: own.take_end(now),
                    own: Arc::clone(own),
                });
            }
            true
        });
        reports
    }
}

impl Own {
    fn count(&self, claim: &Claim, limit: u64) -> Result<(), ()> {
        let kept_for = clock::millis(claim.retention());
        self.kept_for.fetch_max(kept_for, ORDER);
        self.end.fetch_max(claim.deadline().as_millis(), ORDER);
        let untold = self.untold.fetch_add(1, ORDER).saturating_add(1);
        if self.total.load(ORDER).saturating_add_signed(untold) <= limit {
            return Ok(());
        }
        self.untold.fetch_sub(1, ORDER);
        Err(())
    }

    /// Takes the count of a claim without an answer back, if an earlier copy of it counts already:
    /// all of them make one record at most, and copies can be sent, and given up, by anybody.
    fn unanswered(&self, claim: &Claim) {
        let mut unanswered = lock(&self.unanswered);
        if unanswered.len() >= UNANSWERED {
            let now = SystemClock.now().as_millis();
            unanswered.retain(|_, end| *end > now);
        }
        let end = claim.deadline().as_millis();
        if let Some(known) = unanswered.get_mut(&claim.digest()) {
            *known = end.max(*known);
            self.untold.fetch_sub(1, ORDER);
        } else if unanswered.len() < UNANSWERED {
            unanswered.insert(claim.digest(), end);
        }
    }

    fn take_end(&self, now: u64) -> u64 {
        const LEAST: u64 = 1024;
        let kept_for = self.kept_for.load(ORDER).min(1 << 52);
        let width = (kept_for / 16).next_power_of_two().max(LEAST);
        let end = self.end.swap(0, ORDER).max(now.saturating_add(kept_for));
        end.div_ceil(width).saturating_mul(width)
    }
}

impl Report {
    /// Records that the store took the report, and has `records` of the key. The number falls at
    /// `fewer_at`.
    pub(in crate::store) fn told(self, records: u64, fewer_at: u64) {
        // In this order: between the two, too many are counted, and never too few.
        self.own.total.store(records, ORDER);
        self.own.fewer_at.store(fewer_at, ORDER);
        self.own.untold.fetch_sub(self.change, ORDER);
        self.own.waited.store(0, ORDER);
    }
}

impl Counted<'_> {
    /// The claim to make.
    pub(super) fn claim(&self) -> &Claim {
        &self.claim
    }

    /// Takes the count back if nothing was recorded. If it is unknown whether something was, the
    /// claim counts once, however often it is made.
    pub(super) fn settle(
        mut self,
        answer: Result<Answer, StoreError>,
    ) -> Result<Answer, StoreError> {
        let is_unknown =
            matches!(&answer, Err(error) if error.kind() == StoreErrorKind::Unavailable);
        self.is_settled = !is_unknown;
        if self.is_over {
            return answer.map_err(|error| match error.kind() {
                StoreErrorKind::TooManyPlaces => self.over_quota(),
                _ => error,
            });
        }
        let is_new = matches!(
            &answer,
            Ok(Answer::Claimed(ClaimOutcome::New) | Answer::Leased(LeaseOutcome::Held))
        );
        if !is_unknown && !is_new {
            self.own.untold.fetch_sub(1, ORDER);
        }
        answer
    }

    fn over_quota(&self) -> StoreError {
        let now = SystemClock.now().as_millis();
        let wait = self.own.fewer_at.load(ORDER).saturating_sub(now);
        StoreError::new(
            StoreErrorKind::KeyOverQuota,
            "the key has as many records in this store as are allowed",
        )
        .with_retry_after(Duration::from_millis(wait).max(EXCHANGE))
    }
}

/// A way to the counts that all processes share.
pub(in crate::store) trait Exchange: Send {
    /// The name of the database, for the log.
    const DATABASE: &'static str;

    /// Returns the counts of this process, while its store is there.
    fn quota(&self) -> Option<Arc<Quota>>;

    /// Tells the store of one key, and takes note of what it answers.
    fn tell(&mut self, report: Report) -> impl Future<Output = Result<(), StoreError>> + Send;
}

/// Puts counts together every second, until the store is dropped.
pub(in crate::store) async fn put_together<E: Exchange>(mut exchange: E) {
    let database = E::DATABASE;
    let mut ticks = interval(EXCHANGE);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let Some(quota) = exchange.quota() else {
            return;
        };
        for report in quota.reports() {
            if let Err(error) = exchange.tell(report).await {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(error, "the records of a key were not counted in {database}");
                break;
            }
        }
    }
}

/// Without an answer: the caller may have given up.
impl Drop for Counted<'_> {
    fn drop(&mut self) {
        if !self.is_settled && !self.is_over {
            self.own.unanswered(&self.claim);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        key::KeyId,
        once::{Nonce, NonceKind},
    };

    fn claim(key: &str) -> Claim {
        let deadline = SystemClock.now().saturating_add(Duration::from_secs(300));
        let nonce = Nonce::new(NonceKind::Covered, "1");
        Claim::new("tests".into(), KeyId::new(key).unwrap(), nonce, deadline)
            .with_retention(Duration::from_secs(300))
    }

    fn new(quota: &Quota, key: &str) -> Option<StoreErrorKind> {
        let claim = claim(key);
        let counted = quota.count(&claim);
        let answer = match counted.claim.most_records() {
            Some(0) => Err(StoreError::new(StoreErrorKind::TooManyPlaces, "")),
            _ => Ok(Answer::Claimed(ClaimOutcome::New)),
        };
        counted.settle(answer).err().map(|error| error.kind())
    }

    #[test]
    fn a_key_has_its_quota_and_no_more() {
        let quota = Quota::new(3);
        let over = Some(StoreErrorKind::KeyOverQuota);
        let answers: Vec<_> = (0..5).map(|_| new(&quota, "one")).collect();
        assert_eq!(answers, [None, None, None, over, over]);
        assert_eq!(new(&quota, "other"), None);
        quota.released(&claim("one"));
        assert_eq!(new(&quota, "one"), None);
        assert_eq!(new(&quota, "one"), over);
    }

    #[test]
    fn only_what_is_or_may_be_recorded_counts() {
        let refused = |kind| Err(StoreError::new(kind, ""));
        for (answer, counts) in [
            (Ok(ClaimOutcome::Replayed), false),
            (refused(StoreErrorKind::SignAgain), false),
            (refused(StoreErrorKind::Full), false),
            (refused(StoreErrorKind::Unavailable), true),
            (Ok(ClaimOutcome::New), true),
        ] {
            let quota = Quota::new(2);
            let claim = claim("one");
            let counted = quota.count(&claim);
            assert!(!counted.is_over);
            let own = Arc::clone(&counted.own);
            let before = own.untold.load(ORDER) - 1;
            let _ = counted.settle(answer.map(Answer::Claimed));
            assert_eq!(own.untold.load(ORDER) - before, i64::from(counts));
        }
    }

    #[test]
    fn a44_copies_of_one_claim_that_are_given_up_count_once() {
        let quota = Quota::new(3);
        let copies = claim("one");
        for _ in 0..100 {
            // Its sender hangs up, or the store is too slow.
            drop(quota.count(&copies));
            let counted = quota.count(&copies);
            let late = Err(StoreError::unavailable("late"));
            assert!(counted.settle(late).is_err());
        }
        assert_eq!(new(&quota, "one"), None);
        assert_eq!(new(&quota, "one"), None);
        assert_eq!(new(&quota, "one"), Some(StoreErrorKind::KeyOverQuota));
    }

    #[test]
    fn a44_twin_copies_that_count_each_use_the_quota_up() {
        let quota = Quota::new(3);
        let copies = claim("one");
        for _ in 0..3 {
            let given_up = quota.count(&copies);
            // Nobody learns that they are the same.
            given_up.own.unanswered.lock().unwrap().clear();
            drop(given_up);
        }
        assert_eq!(new(&quota, "one"), Some(StoreErrorKind::KeyOverQuota));
    }

    #[test]
    fn what_others_have_counts_once_it_is_known() {
        let quota = Quota::new(100);
        assert_eq!(new(&quota, "one"), None);
        let mut reports = quota.reports();
        let report = reports.pop().unwrap();
        assert!(reports.is_empty());
        assert_eq!(report.change, 1);
        // Made in the meantime.
        assert_eq!(new(&quota, "one"), None);
        report.told(99, 0);
        assert_eq!(new(&quota, "one"), Some(StoreErrorKind::KeyOverQuota));
        let report = quota.reports().pop().expect("it is close to its quota");
        assert_eq!(report.change, 1);
        report.told(50, 0);
        assert_eq!(new(&quota, "one"), None);
    }

    #[test]
    fn a_report_that_fails_is_made_again_and_an_idle_key_is_forgotten() {
        let quota = Quota::new(1000);
        assert_eq!(new(&quota, "one"), None);
        drop(quota.reports());
        let report = quota.reports().pop().unwrap();
        assert_eq!(report.change, 1);
        report.told(1, 0);
        for _ in 0..=PATIENCE {
            assert_eq!(quota.keys.read().unwrap().len(), 1);
            assert!(quota.reports().is_empty());
        }
        assert!(quota.keys.read().unwrap().is_empty());
    }
}
