//! Any bytes, an envelope with bytes replaced, and any content under a valid MAC: opened only as it was
//! sealed, and used once.
#![no_main]

use std::time::Duration;

use arbitrary::Arbitrary;
use countersign::{
    KeyRing, MemoryStore, Timestamp, Verifier,
    envelope::{Deadline, Envelopes, PayloadEnvelope},
    testing::{Delivery, ManualClock},
    webhooks::StandardWebhooks,
};
use countersign_fuzz::ready;
use hmac::{Hmac, KeyInit as _, Mac as _};
use libfuzzer_sys::fuzz_target;
use sha2::Sha256;

const SECRET: &str = "a secret of envelopes alone";
const SENDERS: &str = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3";

#[derive(Arbitrary, Debug)]
enum Input {
    Bytes(Vec<u8>),
    /// Sealed, and then a part is replaced.
    Altered {
        body: Vec<u8>,
        from: u16,
        to: u16,
        by: Vec<u8>,
    },
    /// An envelope that the holder of the key could write.
    Authentic(Vec<u8>),
}

fn envelopes(clock: &ManualClock) -> Envelopes {
    PayloadEnvelope::builder("fuzz")
        .keys(KeyRing::new().with("a", SECRET).expect("a key"))
        .seal_under("a")
        .clock(clock.clone())
        .build()
        .expect("a valid configuration")
}

fn sealed(envelopes: &Envelopes, clock: &ManualClock, body: &[u8]) -> Vec<u8> {
    let signer = countersign::Signer::with_secret(StandardWebhooks::new(), SENDERS);
    let request = Delivery::by(signer.expect("a secret"), body.to_vec()).clock(clock.clone());
    let (head, body) = request.request().into_parts();
    let verifier = Verifier::builder(StandardWebhooks::new())
        .secret(SENDERS)
        .store(store(clock))
        .clock(clock.clone())
        .build()
        .expect("a valid configuration");
    let verified = ready(verifier.verify(&head, body)).expect("a genuine request");
    let payload = verified.payload().expect("one that is leased");
    envelopes
        .seal(payload, Deadline::after(Duration::from_secs(60)))
        .expect("an envelope")
}

fn store(clock: &ManualClock) -> MemoryStore {
    let store = MemoryStore::builder()
        .clock(clock.clone())
        .danger_assume_no_history();
    store.build().expect("a store")
}

/// As the crate derives it: from the namespace, and from the purpose.
fn authentic(content: &[u8]) -> Vec<u8> {
    let mut label = b"countersign envelope\0".to_vec();
    for name in ["default", "fuzz"] {
        label.extend_from_slice(&(name.len() as u64).to_be_bytes());
        label.extend_from_slice(name.as_bytes());
    }
    let mac = |key: &[u8], bytes: &[u8]| {
        let mac = Hmac::<Sha256>::new_from_slice(key)
            .expect("a key")
            .chain_update(bytes);
        mac.finalize().into_bytes()
    };
    let tag = <Sha256 as sha2::Digest>::digest(&label);
    let mut bytes = [&b"\xce\xfe\x01"[..], &tag[..4], b"\x01a", content].concat();
    let mac = mac(&mac(SECRET.as_bytes(), &label), &bytes);
    bytes.extend_from_slice(&mac);
    bytes
}

fuzz_target!(|input: Input| {
    let clock = ManualClock::at(Timestamp::from_secs(1_700_000_000).expect("a time"));
    let envelopes = envelopes(&clock);
    match input {
        Input::Bytes(bytes) => assert!(envelopes.open(&bytes).is_err(), "forged"),
        Input::Authentic(content) => {
            let Ok(opened) = envelopes.open(&authentic(&content)) else {
                return;
            };
            // An envelope that can be read can be sealed and read again.
            let Ok(proven) = ready(opened.claim_in(&store(&clock))) else {
                return;
            };
            let hour = Deadline::after(Duration::from_secs(3600));
            // Except one that says it was first sealed long ago, or is remembered for years.
            let Ok(again) = envelopes.seal(&proven, hour) else {
                return;
            };
            let read = envelopes.read(&again).expect("what was sealed");
            assert_eq!(read.bytes(), proven.bytes());
            assert_eq!(
                read.nonce().map(|n| n.as_bytes()),
                proven.nonce().map(|n| n.as_bytes())
            );
            assert_eq!(format!("{read:?}"), format!("{proven:?}"));
        }
        Input::Altered { body, from, to, by } => {
            let genuine = sealed(&envelopes, &clock, &body);
            let at = |place: u16| usize::from(place).min(genuine.len());
            let (from, to) = (at(from.min(to)), at(to.max(from)));
            let altered = [&genuine[..from], &by, &genuine[to..]].concat();
            let Ok(opened) = envelopes.open(&altered) else {
                assert_ne!(altered, genuine, "a genuine one is refused");
                return;
            };
            assert_eq!(altered, genuine, "altered");
            let store = store(&clock);
            assert_eq!(
                ready(opened.claim_in(&store)).expect("a first use").bytes(),
                &body
            );
            let again = envelopes.open(&genuine).expect("a genuine one");
            assert!(ready(again.claim_in(&store)).is_err(), "used twice");
        }
    }
});
