//! The cost of a request before it is believed, as a scheme counts it that is asked for the work.

use std::{
    borrow::Cow,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    thread::{self, ThreadId},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderName, Request, request::Parts};
use http_body_util::Full;

use super::verifier::Verifier;
use crate::{
    clock::Timestamp,
    error::{Fault, RejectionKind, SignError},
    key::{self, KeyRing, KeySet, MacAlgorithm, Secret},
    message::{BodyForm, Formed, HashOutput, Head, Message, Part, TimeUnit},
    once::NonceKind,
    proof::{Build, Candidate, Parameters, Unsigned},
    scheme::{Describe, Profile, Reading, Signing},
    store::memory::MemoryStore,
    testing::ManualClock,
};

const NOW: u64 = 1_700_000_000;
const STALE: u64 = NOW - 1000;

/// A signature that a request claims: under a key, at a time, over a message of this length.
type Claimed = (&'static str, u64, usize);

/// Counts messages that are built.
#[derive(Clone, Debug, Default)]
struct Counting {
    claimed: Vec<Claimed>,
    covers_body: bool,
    built: Arc<AtomicUsize>,
}

impl Describe for Counting {
    fn profile(&self) -> &Profile {
        const {
            &Profile {
                algorithm: MacAlgorithm::HmacSha256,
                covers_authority: false,
                covers_place: true,
                covers_method: true,
                untimed_retention: None,
                event_horizon: None,
                retried_for: Duration::ZERO,
                may_repeat: false,
                key_id_is_own: false,
                max_age: None,
                sends_batches: false,
                sender_retries: false,
                signs_configured_url: false,
                malformed_is_unauthorized: false,
                bare_refusals: false,
            }
        }
    }

    fn name(&self) -> &str {
        "counting"
    }

    fn signature_headers(&self) -> Vec<HeaderName> {
        Vec::new()
    }

    fn read<'h>(&'h self, _: &Head<'h>) -> Result<Reading<'h>, Fault> {
        let candidates = self.claimed.iter().map(|(key, time, length)| Candidate {
            parameters: Parameters {
                delivery_id: None,
                key_id: Cow::Borrowed(key),
                signed_at: Timestamp::from_secs(*time),
                expires_at: None,
                nonce: Some((NonceKind::Covered, Cow::Borrowed(b"nonce"))),
            },
            mac: HashOutput::new(&[0; 32]),
            message: Box::new(move |_: &Head<'_>, _: &mut _| {
                self.built.fetch_add(1, SeqCst);
                let mut message = Message::with_room(*length, 3);
                message.part(Part::KeyId, key);
                message.part(Part::Time(TimeUnit::Seconds), time.to_string());
                message.part(Part::Nonce, b"nonce");
                message.text(vec![0; *length - message.head_len()]);
                if self.covers_body {
                    message.body(BodyForm::Canonical(sorted));
                }
                Ok(message)
            }) as Build<'h>,
        });
        Ok(Reading::InHead(candidates.collect()))
    }

    fn prepare(&self, _: &mut Parts, _: &Signing<'_>) -> Result<Unsigned, SignError> {
        Err(SignError::new("it signs nothing"))
    }

    fn write(&self, _: &mut Parts, _: &Unsigned, _: &HashOutput) -> Result<(), SignError> {
        Ok(())
    }
}

static SORTED: Mutex<Vec<(usize, ThreadId)>> = Mutex::new(Vec::new());

/// Notes which body was put into its form, by its length, and on which thread.
fn sorted(body: &Bytes) -> Result<Formed, Cow<'static, str>> {
    SORTED
        .lock()
        .unwrap()
        .push((body.len(), thread::current().id()));
    Ok(Formed {
        signed: body.clone(),
        given: body.clone(),
        uncovered: None,
    })
}

/// The verdict, how many messages were built, and how many MACs were begun.
async fn cost(scheme: &Counting, body: &'static [u8]) -> (RejectionKind, usize, usize) {
    cost_under(1, scheme, body).await
}

/// The same, with this many secrets under the known key.
async fn cost_under(
    secrets: usize,
    scheme: &Counting,
    body: &'static [u8],
) -> (RejectionKind, usize, usize) {
    let clock = ManualClock::at(Timestamp::from_secs(NOW).unwrap());
    let store = MemoryStore::builder()
        .clock(clock.clone())
        .danger_assume_no_history();
    let secret = |at| Secret::new(format!("secret {at} of a known key")).unwrap();
    let known = (0..secrets).fold(KeySet::new("known").unwrap(), |set, at| {
        set.with(secret(at))
    });
    let verifier = Verifier::builder(scheme.clone())
        .keys(KeyRing::new().with_set(known).unwrap())
        .store(store.build().unwrap())
        .clock(clock)
        .build()
        .unwrap();
    let (head, ()) = Request::post("/").body(()).unwrap().into_parts();
    let body = Full::new(Bytes::from_static(body));
    let begun = key::begun();
    let refused = verifier.verify(&head, body).await.unwrap_err().kind();
    (refused, scheme.built.load(SeqCst), key::begun() - begun)
}

fn claiming(claimed: &[Claimed]) -> Counting {
    Counting {
        claimed: claimed.to_vec(),
        ..Counting::default()
    }
}

#[tokio::test]
async fn a47_no_message_is_built_for_a_stale_time_or_an_unknown_key() {
    use RejectionKind::{SignatureExpired, SignatureInvalid};
    let stale = claiming(&[("known", STALE, 100); 16]);
    assert_eq!(cost(&stale, b"").await, (SignatureExpired, 0, 0));
    let unknown = claiming(&[("nobody", NOW, 100); 16]);
    assert_eq!(cost(&unknown, b"").await, (SignatureInvalid, 0, 0));
}

#[tokio::test]
async fn a47_twin_a_fresh_signature_under_a_known_key_has_its_message_built_once() {
    let mixed = claiming(&[
        ("nobody", NOW, 100),
        ("known", STALE, 100),
        ("known", NOW, 100),
    ]);
    let invalid = RejectionKind::SignatureExpired;
    assert_eq!(cost(&mixed, b"").await, (invalid, 1, 1));
}

#[tokio::test]
async fn a47_the_bytes_that_are_authenticated_for_one_head_are_bounded() {
    use RejectionKind::{SignatureInvalid, SignatureMalformed};
    let fits = claiming(&[("known", NOW, 32 * 1024); 2]);
    assert_eq!(cost(&fits, b"").await, (SignatureInvalid, 2, 2));
    let too_much = claiming(&[("known", NOW, 32 * 1024 + 1); 16]);
    assert_eq!(cost(&too_much, b"").await, (SignatureMalformed, 2, 1));
}

#[tokio::test]
async fn a47_a_body_is_put_into_its_form_once_for_all_signatures() {
    let scheme = Counting {
        covers_body: true,
        ..claiming(&[("known", NOW, 100), ("known", NOW, 101)])
    };
    let (verdict, _, compared) = cost(&scheme, &[b'x'; 1001]).await;
    assert_eq!((verdict, compared), (RejectionKind::SignatureInvalid, 2));
    assert_eq!(threads(1001), [thread::current().id()]);
}

/// Each of the MACs would else be compared under each of the secrets, over the whole body.
#[tokio::test]
async fn a47_macs_over_one_message_cost_one_for_each_secret() {
    let scheme = Counting {
        covers_body: true,
        ..claiming(&[("known", NOW, 100); 4])
    };
    let (verdict, built, begun) = cost_under(8, &scheme, b"a body").await;
    assert_eq!(verdict, RejectionKind::SignatureInvalid);
    assert_eq!((built, begun), (4, 8));
}

/// Messages that differ have nothing in common: the count sees each MAC.
#[tokio::test]
async fn a47_twin_macs_over_different_messages_are_each_computed() {
    let claimed = [100, 101, 102, 103].map(|length| ("known", NOW, length));
    let scheme = Counting {
        covers_body: true,
        ..claiming(&claimed)
    };
    let (_, _, begun) = cost_under(8, &scheme, b"a body").await;
    assert_eq!(begun, 4 * 8);
}

/// The threads on which a body of this length was put into its form.
fn threads(length: usize) -> Vec<ThreadId> {
    let sorted = SORTED.lock().unwrap();
    let of_length = sorted.iter().filter(|(other, _)| *other == length);
    of_length.map(|(_, thread)| *thread).collect()
}

#[tokio::test]
async fn a47_a_long_body_is_put_into_its_form_on_another_thread() {
    let scheme = Counting {
        covers_body: true,
        ..claiming(&[("known", NOW, 100)])
    };
    cost(&scheme, &[b'x'; 64 * 1024]).await;
    assert_eq!(threads(64 * 1024), [thread::current().id()]);
    cost(&scheme, &[b'x'; 64 * 1024 + 1]).await;
    assert_eq!(threads(64 * 1024 + 1).len(), 1);
    assert_ne!(threads(64 * 1024 + 1), [thread::current().id()]);
}

#[tokio::test]
async fn a47_a_long_body_under_a_stale_time_or_an_unknown_key_is_not_put_into_its_form() {
    for claimed in [("known", STALE, 100), ("nobody", NOW, 100)] {
        let scheme = Counting {
            covers_body: true,
            ..claiming(&[claimed])
        };
        cost(&scheme, &[b'x'; 70_001]).await;
    }
    assert_eq!(threads(70_001), []);
}
