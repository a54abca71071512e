//! However often, and on whichever way, a request is sealed for a purpose: one use is recorded.

use super::*;
use crate::{Processing, VerifiedPayload, request::Verified, webhooks::StandardWebhooks};

const DAY: Duration = Duration::from_secs(24 * 3600);
const SECRET: &str = "the secret of partner 1";
/// Base64.
const WHSEC: &str = "whsec_dGhlIHNlY3JldCBvZiBhIHNlbmRlciBvZiBldmVudHM=";

fn store(clock: &ManualClock) -> MemoryStore {
    let store = MemoryStore::builder().clock(clock.clone());
    store.danger_assume_no_history().build().unwrap()
}

async fn order(clock: &ManualClock) -> VerifiedPayload {
    verified(house(), "partner-1", SECRET, clock, BODY).await
}

async fn used(envelopes: &Envelopes, job: &[u8], store: &MemoryStore) -> Option<RejectionKind> {
    let used = envelopes.open(job).unwrap().claim_in(store).await;
    used.err().map(|refused| refused.kind())
}

const USED: Option<RejectionKind> = Some(RejectionKind::EnvelopeUsed);

/// The handler failed after it had sealed, the worker was quick, and the sender sent again.
#[tokio::test]
async fn a_later_sealing_does_not_outlive_the_record_of_an_earlier_one() {
    let clock = clock();
    let (envelopes, store) = (envelopes(&clock), store(&clock));
    let payload = order(&clock).await;
    let first = envelopes.seal(&payload, Deadline::after(HOUR)).unwrap();
    assert_eq!(used(&envelopes, &first, &store).await, None);
    clock.advance(Duration::from_secs(200));
    let second = envelopes.seal(&payload, Deadline::after(HOUR)).unwrap();
    clock.advance(HOUR - Duration::from_secs(100));
    assert_eq!(used(&envelopes, &second, &store).await, USED);
}

#[tokio::test]
async fn nor_does_an_event_that_was_signed_again_after_days() {
    let clock = clock();
    let (envelopes, store) = (envelopes(&clock), store(&clock));
    let event = verified(Stripe::new(), "stripe", SECRET, &clock, BODY).await;
    let first = envelopes.seal(&event, Deadline::after(MINUTE)).unwrap();
    assert_eq!(used(&envelopes, &first, &store).await, None);
    clock.advance(3 * DAY);
    let again = verified(Stripe::new(), "stripe", SECRET, &clock, BODY).await;
    let second = envelopes.seal(&again, Deadline::after(DAY)).unwrap();
    clock.advance(DAY);
    assert_eq!(used(&envelopes, &second, &store).await, USED);
}

/// A cache that is read at the end of its deadline, and an envelope that is sealed out of itself.
#[tokio::test]
async fn nor_does_what_came_through_other_envelopes() {
    let clock = clock();
    let (envelopes, store) = (envelopes(&clock), store(&clock));
    let cache = builder("cache", &clock).build().unwrap();
    let payload = order(&clock).await;
    let first = envelopes.seal(&payload, Deadline::after(MINUTE)).unwrap();
    assert_eq!(used(&envelopes, &first, &store).await, None);
    clock.advance(5 * MINUTE);
    let cached = cache.seal(&payload, Deadline::after(12 * HOUR)).unwrap();
    let own = envelopes
        .seal(&payload, Deadline::after(12 * HOUR))
        .unwrap();
    clock.advance(12 * HOUR);
    let read = [cache.read(&cached).unwrap(), envelopes.read(&own).unwrap()];
    clock.advance(MINUTE);
    let second = read.map(|read| {
        let longer = Deadline::after(12 * HOUR);
        assert!(envelopes.seal(&read, longer).is_err());
        let most = Deadline::after(12 * HOUR - MINUTE);
        envelopes.seal(&read, most).unwrap()
    });
    clock.advance(12 * HOUR - MINUTE);
    for job in second {
        assert_eq!(used(&envelopes, &job, &store).await, USED);
    }
}

#[tokio::test]
async fn no_deadline_is_beyond_the_longest_of_the_purpose() {
    let clock = clock();
    let payload = order(&clock).await;
    let short = builder("p", &clock).longest_deadline(MINUTE);
    let short = short.build().unwrap();
    let longer = Deadline::after(MINUTE + Duration::from_millis(1));
    assert!(short.seal(&payload, longer).is_err());
    let fresh = short.seal(&payload, Deadline::freshness()).unwrap();
    let until = short.open(&fresh).unwrap().deadline();
    assert_eq!(until.as_secs(), NOW + 60);
    for longest in [Duration::ZERO, Deadline::LONGEST + MINUTE] {
        assert!(
            builder("p", &clock)
                .longest_deadline(longest)
                .build()
                .is_err()
        );
    }
}

/// Leaves an event to a worker, and seals it.
async fn left(
    envelopes: &Envelopes,
    clock: &ManualClock,
    seals_for: Duration,
    lives: Duration,
) -> Option<Vec<u8>> {
    let request = Request::post("https://api.example.com/hooks");
    let signer = Signer::with_secret(StandardWebhooks::new(), WHSEC).unwrap();
    let signed = signer.clock(clock.clone());
    let signed = signed
        .sign_with_nonce(request.body(BODY.to_owned()).unwrap(), "msg_1")
        .unwrap();
    let (head, body) = signed.into_parts();
    let verifier = Verifier::builder(StandardWebhooks::new())
        .secret(WHSEC)
        .namespace("hooks of envelopes")
        .processing(Processing::InTransaction)
        .seals_for(seals_for)
        .clock(clock.clone())
        .build()
        .unwrap();
    let body = Full::<bytes::Bytes>::from(body);
    let Ok(Verified::Pending(pending)) = verifier.verify(&head, body).await else {
        panic!("not left to the handler");
    };
    let unrecorded = pending.leave().unwrap();
    envelopes
        .seal_unrecorded(&unrecorded, Deadline::after(lives))
        .ok()
}

/// The days for which a sender may sign an event again are not a time for which it can be sealed.
#[tokio::test]
async fn what_is_left_to_the_worker_does_not_outlive_the_record_of_an_event() {
    let clock = clock();
    let hooks = builder("ship-order", &clock).namespace("hooks of envelopes");
    let (envelopes, store) = (hooks.build().unwrap(), store(&clock));
    assert!(
        left(&envelopes, &clock, Duration::ZERO, MINUTE)
            .await
            .is_some()
    );
    assert!(
        left(&envelopes, &clock, Duration::ZERO, 2 * DAY)
            .await
            .is_none()
    );
    let first = left(&envelopes, &clock, 2 * DAY, 2 * DAY).await.unwrap();
    assert_eq!(used(&envelopes, &first, &store).await, None);
    clock.advance(2 * DAY + 12 * HOUR);
    let second = left(&envelopes, &clock, 2 * DAY, 2 * DAY).await.unwrap();
    clock.advance(2 * DAY);
    assert_eq!(used(&envelopes, &second, &store).await, USED);
}

#[tokio::test]
async fn an_envelope_is_sealed_with_a_secret_that_is_valid_until_its_deadline() {
    let clock = clock();
    let payload = order(&clock).await;
    let end = Timestamp::from_secs(NOW + 1800).unwrap();
    let ending = || {
        let secret = Secret::new("a secret of envelopes that ends").unwrap();
        KeySet::new("2026-11").unwrap().with_until(secret, end)
    };
    let of = |set: KeySet| {
        let ring = KeyRing::new();
        ring.insert(set).unwrap();
        builder("ship-order", &clock).keys(ring).build().unwrap()
    };
    let alone = of(ending());
    assert!(alone.seal(&payload, Deadline::after(HOUR)).is_err());
    assert!(alone.seal(&payload, Deadline::after(HOUR / 2)).is_ok());
    let next = Secret::new("the next secret of envelopes").unwrap();
    let both = of(ending().with(next));
    let sealed = both.seal(&payload, Deadline::after(HOUR)).unwrap();
    clock.advance(HOUR);
    assert!(both.open(&sealed).is_ok());
}
