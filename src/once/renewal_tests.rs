//! A hold is renewed or ended, and never both at once.

use std::{
    future::pending,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::time::{sleep, timeout};

use super::{
    renewal::{Ends as _, Held, Hold, Kept, Step, renew_for_ever},
    store::StepOutcome,
};
use crate::lock::lock;

type Events = Arc<Mutex<Vec<&'static str>>>;

const DURATION: Duration = Duration::from_secs(3);

/// Tells what it is asked; its renewals get no answer.
struct Recorded(Events);

struct WhenDropped(Events);

impl Drop for WhenDropped {
    fn drop(&mut self) {
        lock(&self.0).push("gives up");
    }
}

impl Hold for Recorded {
    type End = ();

    const NAME: &'static str = "hold";

    fn duration(&self) -> Duration {
        DURATION
    }

    async fn renew(&self) -> Step {
        lock(&self.0).push("renews");
        let _given_up = WhenDropped(Arc::clone(&self.0));
        pending().await
    }

    async fn end(&self, (): &()) -> Step {
        lock(&self.0).push("ends");
        Ok(StepOutcome::Done)
    }

    fn is_told_again((): &()) -> bool {
        false
    }

    fn cut_off() -> Option<()> {
        None
    }
}

#[tokio::test(start_paused = true)]
async fn a_hold_that_is_being_renewed_is_ended_once_the_renewal_is_given_up() {
    let events = Events::default();
    let kept = Kept::new(Recorded(Arc::clone(&events)));
    sleep(DURATION / 2).await;
    assert_eq!(*lock(&events), ["renews"]);
    let settled = kept.settle(());
    assert_eq!(*lock(&events), ["renews"]);
    settled.await;
    assert_eq!(*lock(&events), ["renews", "gives up", "ends"]);
}

#[tokio::test(start_paused = true)]
async fn another_is_ended_in_place_and_renewed_no_more() {
    let events = Events::default();
    let kept = Kept::new(Recorded(Arc::clone(&events)));
    let settled = kept.settle(());
    assert_eq!(*lock(&events), ["ends"]);
    settled.await;
    sleep(DURATION * 3).await;
    assert_eq!(*lock(&events), ["ends"]);
}

/// The keeper may be about to renew it on another thread.
#[tokio::test(start_paused = true)]
async fn a_hold_that_is_being_ended_is_not_renewed() {
    let events = Events::default();
    let held = Held::new(Recorded(Arc::clone(&events)));
    let renewing = || timeout(DURATION * 3, renew_for_ever(&held, || panic!("lost")));
    assert!(held.take_turn());
    assert!(renewing().await.is_err());
    assert!(lock(&events).is_empty());
    // The twin.
    held.leave_turn();
    assert!(renewing().await.is_err());
    assert_eq!(*lock(&events), ["renews", "gives up"]);
}
