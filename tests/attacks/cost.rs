//! Row 47: what a request costs before it is believed. The tests count, and measure no time.

use std::{
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use countersign::{
    HeaderScheme, HttpMessageSignatures, KeyRing, KeyStore, Part, RejectionKind, Signer, Verifier,
    key::KeyFuture,
    request::{Verified, VerifierBuilder},
    scheme::{JsonForm, PythonJson, Scheme},
    webhooks::Twilio,
};
use http::{Request, request::Parts};
use http_body_util::Full;

use crate::common::{
    self, KEY, NOW, SECRET, clock, keys,
    parts::{Script, Step},
    store,
};

/// Counts look-ups.
#[derive(Clone)]
struct Counting(KeyRing, Arc<AtomicUsize>);

impl Counting {
    fn new() -> Self {
        Self(keys(), Arc::default())
    }
}

impl KeyStore for Counting {
    fn find<'a>(&'a self, key_id: &'a str) -> KeyFuture<'a> {
        self.1.fetch_add(1, SeqCst);
        self.0.find(key_id)
    }
}

fn verifier(scheme: impl Scheme) -> VerifierBuilder<Verifier> {
    let clock = clock();
    Verifier::builder(scheme)
        .public_origin(common::ORIGIN)
        .store(store(&clock))
        .clock(clock)
}

/// A head with these members of `Signature-Input`, each with a MAC that is readable.
fn head(members: &[String]) -> Parts {
    let label = |at: usize| format!("l{at}");
    let mac = STANDARD.encode([7; 32]);
    let inputs = members.iter().enumerate();
    let inputs: Vec<_> = inputs.map(|(at, m)| format!("{}={m}", label(at))).collect();
    let macs: Vec<_> = (0..members.len())
        .map(|at| format!("{}=:{mac}:", label(at)))
        .collect();
    let request = Request::post("/transfer")
        .header("host", common::HOST)
        .header("signature-input", inputs.join(", "))
        .header("signature", macs.join(", "))
        .body(());
    request.unwrap().into_parts().0
}

fn member(components: &str, created: u64, key: &str) -> String {
    format!(
        "(\"@method\" \"@authority\" \"@path\" \"@query\" {components});created={created}\
         ;nonce=\"n\";keyid=\"{key}\""
    )
}

/// The verdict over a head, and how many keys were looked up.
async fn verdict(head: &Parts) -> (RejectionKind, usize) {
    let keys = Counting::new();
    let verifier = verifier(HttpMessageSignatures::default()).keys(keys.clone());
    let verified = verifier.build().unwrap();
    let verified = verified.verify(head, Full::<Bytes>::default()).await;
    (verified.unwrap_err().kind(), keys.1.load(SeqCst))
}

#[tokio::test]
async fn a47_time_and_key_are_checked_before_the_message_is_built() {
    use RejectionKind::{SignatureExpired, SignatureInvalid};
    // No message can be built of it: the fields that it covers are not there.
    let absent = "\"x-absent\" \"@query-param\";name=\"absent\" \"x-dictionary\";key=\"absent\"";
    let stale = head(&vec![member(absent, 1, KEY); 16]);
    assert_eq!(verdict(&stale).await, (SignatureExpired, 0));
    let unknown = head(&vec![member(absent, NOW, "nobody"); 16]);
    assert_eq!(verdict(&unknown).await, (SignatureInvalid, 1));
}

#[tokio::test]
async fn a47_twin_the_same_signature_is_unreadable_when_its_message_is_built() {
    let absent = "\"x-absent\"";
    let fresh = head(&[member(absent, NOW, KEY)]);
    let malformed = RejectionKind::SignatureMalformed;
    assert_eq!(verdict(&fresh).await, (malformed, 1));
}

fn under_keys(names: impl IntoIterator<Item = String>) -> Parts {
    let members: Vec<_> = names.into_iter().map(|key| member("", NOW, &key)).collect();
    head(&members)
}

#[tokio::test]
async fn a47_one_request_causes_at_most_four_key_look_ups() {
    use RejectionKind::{SignatureInvalid, SignatureMalformed};
    let four = (0..16).map(|at| format!("nobody-{}", at % 4));
    assert_eq!(verdict(&under_keys(four)).await, (SignatureInvalid, 4));
    let sixteen = (0..16).map(|at| format!("nobody-{at}"));
    assert_eq!(verdict(&under_keys(sixteen)).await, (SignatureMalformed, 4));
}

/// Signatures with another tag are for somebody else: their keys are not looked up at all, so that
/// they cannot use up the look-ups of those that count.
#[tokio::test]
async fn a47_signatures_with_another_tag_cause_no_look_up() {
    let mut members: Vec<_> = (0..15)
        .map(|at| member("", NOW, &format!("nobody-{at}")) + ";tag=\"other\"")
        .collect();
    members.push(member("", NOW, KEY));
    assert_eq!(verdict(&head(&members)).await.1, 1);
}

#[tokio::test]
async fn a47_twin_a_look_up_for_each_signature_is_found() {
    let keys = Counting::new();
    let names = (0..16).map(|at| format!("nobody-{at}"));
    let head = under_keys(names);
    // As a naive server does it: whatever is named is asked for.
    let inputs = head.headers["signature-input"].to_str().unwrap();
    for key in inputs.split("keyid=\"").skip(1) {
        let key = key.split('"').next().unwrap();
        assert!(keys.find(key).await.unwrap().is_none());
    }
    assert_eq!(keys.1.load(SeqCst), 16);
}

#[tokio::test]
async fn a47_fields_are_read_within_a_bound_over_all_signatures() {
    // Each alone is within the bound, and only all together are not.
    let long = "a".repeat(20 * 1024);
    let with = |members: &[String]| {
        let mut head = head(members);
        head.headers.insert("x-long", long.parse().unwrap());
        head
    };
    let one = member("\"x-long\"", NOW, KEY);
    let invalid = RejectionKind::SignatureInvalid;
    assert_eq!(verdict(&with(std::slice::from_ref(&one))).await.0, invalid);
    let keys = Counting::new();
    let verifier = verifier(HttpMessageSignatures::default()).keys(keys);
    let four = with(&vec![one; 4]);
    let refused = verifier.build().unwrap();
    let refused = refused.verify(&four, Full::<Bytes>::default()).await;
    let refused = refused.unwrap_err();
    assert_eq!(refused.kind(), RejectionKind::SignatureMalformed);
    assert!(refused.reason().contains("65536 bytes"), "{refused:?}");
}

/// Unsigned, but with a MAC that can be read: nothing but the sorted form tells that it is wrong.
fn form(pairs: usize) -> Request<Bytes> {
    let pairs: Vec<_> = (0..pairs).rev().map(|at| format!("name{at}=v")).collect();
    Request::post("/sms")
        .header("host", common::HOST)
        .header("content-type", "application/x-www-form-urlencoded")
        .header("x-twilio-signature", STANDARD.encode([7; 20]))
        .body(pairs.join("&").into())
        .unwrap()
}

#[tokio::test]
async fn a47_a_long_form_is_not_sorted_on_the_thread_of_the_runtime() {
    let verifier = verifier(Twilio::new()).secret(SECRET).build().unwrap();
    let (head, body) = form(20_000).into_parts();
    assert!(body.len() > 64 * 1024);
    let mut verifying = pin!(verifier.verify(&head, Full::new(body)));
    // All of it has arrived, and yet there is something to wait for: the sorting.
    let first = verifying
        .as_mut()
        .poll(&mut Context::from_waker(Waker::noop()));
    assert!(first.is_pending());
    let refused = verifying.await.unwrap_err().kind();
    assert_eq!(refused, RejectionKind::SignatureInvalid);
}

#[tokio::test]
async fn a47_twin_what_is_done_on_the_thread_of_the_runtime_is_done_in_one_poll() {
    let verifier = verifier(Twilio::new()).secret(SECRET).build().unwrap();
    let (head, body) = form(1000).into_parts();
    let mut verifying = pin!(verifier.verify(&head, Full::new(body)));
    let first = verifying
        .as_mut()
        .poll(&mut Context::from_waker(Waker::noop()));
    let Poll::Ready(refused) = first else {
        panic!("a short form is sorted at once");
    };
    assert_eq!(refused.unwrap_err().kind(), RejectionKind::SignatureInvalid);
}

fn canonical() -> HeaderScheme {
    let form = JsonForm::Python(PythonJson::sorted());
    HeaderScheme::builder("x-signature")
        .fixed_key_id(KEY)
        .time("x-timestamp")
        .nonce("x-nonce")
        .signs(Part::lines([
            Part::Time,
            Part::Nonce,
            Part::canonical_body(form),
        ]))
        .build()
        .unwrap()
}

/// A canonical form is charged beside its body: escapes make it three times as long. The
/// verdict over such a body beside another one.
async fn with_budget(bytes: usize) -> Result<Verified, RejectionKind> {
    let verifier = verifier(canonical())
        .keys(keys())
        .max_body_bytes(64 * 1024)
        .body_budget_bytes(bytes)
        .build()
        .unwrap();
    let signer = Signer::new(canonical(), KEY, SECRET)
        .unwrap()
        .clock(clock());
    let send = async |body: &str| {
        let request = common::request("POST", "/transfer", body);
        let (head, body) = signer.sign(request).unwrap().into_parts();
        // A body that must be waited for: a body at hand is never refused.
        let waits = Step::Waits(Duration::from_millis(1));
        let body = Script::new([Step::Data(body.into()), waits]);
        let verified = verifier.verify(&head, body).await;
        verified.map_err(|rejection| rejection.kind())
    };
    let body = format!("[\"{}\"]", "é".repeat(20 * 1024));
    drop(send(&body).await?);
    let _other = send("[]").await?;
    send(&body).await
}

#[tokio::test]
async fn a47_the_canonical_form_of_a_body_is_charged_to_the_budget() {
    // A body of 40 KiB fits into this budget, and its form of 120 KiB does not, unless it is alone.
    let refused = with_budget(128 * 1024).await.unwrap_err();
    assert_eq!(refused, RejectionKind::BodyBudgetExhausted);
}

#[tokio::test]
async fn a47_twin_with_room_for_its_form_the_body_is_accepted() {
    let _ = with_budget(1024 * 1024).await.unwrap();
}
