//! The body arrives within its limits, is copied at most once, and is not read before it must be.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{Router, body::Body, routing::post};
use bytes::{Bytes, BytesMut};
use countersign::{
    HeaderScheme, MemoryStore, Part, Rejection, RejectionKind, Signer, VerifiedPayload, Verifier,
    VerifyLayer,
    request::{Verified, VerifierBuilder},
    testing::ManualClock,
};
use http::{HeaderMap, HeaderValue, Request, request::Parts};
use http_body_util::{BodyExt as _, Full, Limited};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::Instant,
};
use tower::ServiceExt as _;

use crate::common::{
    parts::{BoxError, Script, Step},
    *,
};

fn verifier(clock: &ManualClock) -> VerifierBuilder<Verifier> {
    Verifier::builder(scheme())
        .public_origin(ORIGIN)
        .keys(keys())
        .store(store(clock))
        .clock(clock.clone())
}

/// The head of a request whose body was signed.
fn head_for(clock: &ManualClock, body: &str) -> Parts {
    head_by(&signer(clock), body)
}

fn head_by(signer: &Signer, body: &str) -> Parts {
    let signed = signer.sign(request("POST", "/orders", body)).unwrap();
    signed.into_parts().0
}

fn kind(result: Result<Verified, Rejection>) -> RejectionKind {
    result.expect_err("a rejection").kind()
}

/// A scheme whose head completes the signed message: it covers no body.
fn head_only() -> HeaderScheme {
    HeaderScheme::builder("x-signature")
        .key_id("x-key-id")
        .time("x-timestamp")
        .nonce("x-nonce")
        .signs(Part::lines([
            Part::Method,
            Part::Authority,
            Part::PathAndQuery,
            Part::KeyId,
            Part::Time,
            Part::Nonce,
        ]))
        .build()
        .unwrap()
}

// Copies

/// Sends a body through the layer: the payload's bytes, and those of the inner service's body.
async fn through_the_layer(clock: &ManualClock, head: Parts, body: Script) -> (Bytes, Bytes) {
    let seen: Arc<Mutex<Option<(Bytes, Bytes)>>> = Arc::default();
    let sink = Arc::clone(&seen);
    let handler = move |payload: VerifiedPayload, body: Body| {
        let sink = Arc::clone(&sink);
        async move {
            let frame = body.into_one_frame().await;
            *sink.lock().unwrap() = Some((payload.bytes().clone(), frame));
        }
    };
    let app: Router = Router::new()
        .route("/orders", post(handler))
        .layer(layer(clock).build().unwrap());
    let response = app
        .oneshot(Request::from_parts(head, Body::new(body)))
        .await
        .unwrap();
    assert_eq!(response.status(), 200);
    let seen = seen.lock().unwrap().take();
    seen.expect("the handler ran")
}

trait OneFrame {
    async fn into_one_frame(self) -> Bytes;
}

impl OneFrame for Body {
    /// The one frame of a body, as it is: no collecting, which could copy.
    async fn into_one_frame(mut self) -> Bytes {
        let Some(frame) = self.frame().await else {
            return Bytes::new();
        };
        let data = frame.unwrap().into_data().unwrap();
        assert!(self.frame().await.is_none(), "a body of one frame");
        data
    }
}

#[tokio::test]
async fn a_body_of_one_frame_is_never_copied() {
    let clock = clock();
    let sent = Bytes::from(b"{\"amount\":1}".to_vec());
    for around in [
        vec![Step::Data(sent.clone())],
        vec![
            Step::Data(Bytes::new()),
            Step::Data(sent.clone()),
            Step::Data(Bytes::new()),
        ],
    ] {
        let head = head_for(&clock, "{\"amount\":1}");
        let (payload, inner) = through_the_layer(&clock, head, Script::new(around)).await;
        assert_eq!(payload, sent);
        assert_eq!(payload.as_ptr(), sent.as_ptr(), "the frame itself");
        assert_eq!(inner.as_ptr(), sent.as_ptr(), "the frame itself");
    }
}

/// The twin: a body that is collected and copied would be seen by its address.
#[test]
fn a_copy_has_another_address() {
    let sent = Bytes::from(b"{}".to_vec());
    assert_ne!(Bytes::copy_from_slice(&sent).as_ptr(), sent.as_ptr());
}

/// Data that counts how often it is taken.
struct Counted(Bytes, Arc<AtomicUsize>);

impl bytes::Buf for Counted {
    fn remaining(&self) -> usize {
        self.0.remaining()
    }
    fn chunk(&self) -> &[u8] {
        self.0.chunk()
    }
    fn advance(&mut self, n: usize) {
        self.0.advance(n);
    }
}

impl From<Counted> for Bytes {
    fn from(counted: Counted) -> Self {
        counted.1.fetch_add(1, Ordering::SeqCst);
        counted.0
    }
}

#[tokio::test]
async fn each_frame_is_taken_once() {
    let clock = clock();
    let verifier = verifier(&clock).build().unwrap();
    let taken = Arc::new(AtomicUsize::new(0));
    let counts = Arc::clone(&taken);
    let body = Script::frames(["one", "two", "three"])
        .map_frame(move |frame| frame.map_data(|data| Counted(data, Arc::clone(&counts))));
    let verified = verifier
        .verify(&head_for(&clock, "onetwothree"), body)
        .await
        .unwrap();
    assert_eq!(verified.payload().unwrap().bytes(), "onetwothree");
    assert_eq!(taken.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn frames_are_copied_once_into_one_buffer_of_the_right_size() {
    let clock = clock();
    let verifier = verifier(&clock).build().unwrap();
    let frame = "x".repeat(1000);
    let head = head_for(&clock, &frame.repeat(7));
    let body = Script::frames((0..7).map(|_| frame.clone())).declaring(7000);
    let verified = verifier.verify(&head, body).await.unwrap();

    let bytes = verified.payload().unwrap().bytes().clone();
    let address = bytes.as_ptr();
    drop(verified);
    let buffer: BytesMut = bytes.try_into_mut().expect("one buffer, without sharers");
    assert_eq!(buffer.as_ptr(), address);
    // A buffer that had grown on the way would have moved, and would be longer than it must be.
    assert_eq!(buffer.capacity(), 7000, "made once, in its final length");
}

/// The twin: a buffer that grows with the frames is seen by its capacity.
#[test]
fn a_buffer_that_grows_is_longer_than_it_has_to_be() {
    let mut buffer = BytesMut::with_capacity(2000);
    (0..7).for_each(|_| buffer.extend_from_slice(&[b'x'; 1000]));
    assert!(buffer.capacity() > 7000);
}

#[tokio::test]
async fn a_body_of_many_frames_is_one_buffer_for_payload_and_handler() {
    let clock = clock();
    for declared in [None, Some(6)] {
        let mut body = Script::frames(["one", "two"]);
        if let Some(length) = declared {
            body = body.declaring(length);
        }
        let head = head_for(&clock, "onetwo");
        let (payload, inner) = through_the_layer(&clock, head, body).await;
        assert_eq!(payload, "onetwo");
        assert_eq!(payload.as_ptr(), inner.as_ptr());
    }
}

// Shapes

#[tokio::test]
async fn a_body_of_any_shape_is_the_same_body() {
    let clock = clock();
    let verifier = verifier(&clock).build().unwrap();
    let trailers = || {
        let mut trailers = HeaderMap::new();
        trailers.insert("x-signature", HeaderValue::from_static("sha256=00"));
        Step::Trailers(trailers)
    };
    let data = |text: &'static str| Step::Data(Bytes::from_static(text.as_bytes()));
    let shapes: Vec<(&str, Script, &str)> = vec![
        ("empty", Script::new([]), ""),
        ("empty and declared so", Script::new([]).declaring(0), ""),
        (
            "only frames without bytes",
            Script::frames(["", "", ""]),
            "",
        ),
        ("unknown length", Script::frames(["ab", "c"]), "abc"),
        (
            "frames without bytes among others",
            Script::frames(["", "a", "", "bc", ""]),
            "abc",
        ),
        ("a byte at a time", Script::frames(["a", "b", "c"]), "abc"),
        (
            "trailers at the end",
            Script::new([data("abc"), trailers()]),
            "abc",
        ),
        ("trailers alone", Script::new([trailers()]), ""),
        (
            "in its time",
            Script::new([data("a"), Step::Waits(Duration::from_millis(5)), data("bc")]),
            "abc",
        ),
    ];
    for (name, body, whole) in shapes {
        let head = head_for(&clock, whole);
        let verified = verifier.verify(&head, body).await;
        let verified = verified.unwrap_or_else(|rejection| panic!("{name}: {rejection}"));
        assert_eq!(verified.payload().unwrap().bytes(), whole, "{name}");
    }
}

#[tokio::test]
async fn trailers_change_nothing_and_reach_nobody() {
    let clock = clock();
    let mut trailers = HeaderMap::new();
    trailers.insert("x-admin", HeaderValue::from_static("yes"));
    let body = Script::new([Step::Data("{}".into()), Step::Trailers(trailers)]);
    // `through_the_layer` asserts that the inner body has one data frame and nothing after it.
    let (payload, inner) = through_the_layer(&clock, head_for(&clock, "{}"), body).await;
    assert_eq!((&payload[..], &inner[..]), (&b"{}"[..], &b"{}"[..]));
}

#[tokio::test]
async fn a_body_that_breaks_off_is_unreadable() {
    let clock = clock();
    let verifier = verifier(&clock).build().unwrap();
    for steps in [
        vec![Step::Fails("reset".into())],
        // Even where all that was signed is there already.
        vec![Step::Data("{}".into()), Step::Fails("reset".into())],
    ] {
        let head = head_for(&clock, "{}");
        let rejection = verifier
            .verify(&head, Script::new(steps))
            .await
            .unwrap_err();
        assert_eq!(rejection.kind(), RejectionKind::BodyUnreadable);
        let source = std::error::Error::source(&rejection).expect("the cause is kept");
        assert_eq!(source.to_string(), "reset");
    }
}

#[tokio::test]
async fn a_connection_closed_in_the_middle_of_a_body_has_no_effect() {
    let clock = clock();
    let effects = Effects::default();
    let app = echo(&effects).layer(layer(&clock).build().unwrap());
    let addr = serve(app).await;

    let request = signer(&clock)
        .sign(request("POST", "/orders", "{\"amount\":1}"))
        .unwrap();
    let whole = to_wire(&request);

    let mut stream = TcpStream::connect(addr).await.unwrap();
    stream.write_all(&whole[..whole.len() - 3]).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    // Hyper may answer or just close; what counts is that it is no success.
    assert!(!answer.starts_with(b"HTTP/1.1 200"), "{answer:?}");
    assert_eq!(effects.count(), 0);

    // Nothing was recorded: the same request, whole, is still new.
    assert_eq!(exchange(addr, &whole).await.0, 200);
    assert_eq!(effects.count(), 1);
}

// Not read before it must be

#[tokio::test]
async fn what_the_head_decides_is_decided_before_the_body_is_polled() {
    let clock = clock();
    let verifier = verifier(&clock).build().unwrap();
    let by_head = Verifier::builder(head_only())
        .public_origin(ORIGIN)
        .keys(keys())
        .store(store(&clock))
        .clock(clock.clone())
        .build()
        .unwrap();
    let changed = |change: &dyn Fn(&mut Parts)| {
        let mut head = head_for(&clock, "{}");
        change(&mut head);
        head
    };
    let set = |name: &'static str, value: &'static str| {
        changed(&move |head| {
            head.headers.insert(name, HeaderValue::from_static(value));
        })
    };
    let without = |name: &'static str| {
        changed(&move |head| {
            head.headers.remove(name);
        })
    };
    use RejectionKind as K;
    let decided = [
        (K::SignatureMissing, without("x-signature")),
        (K::SignatureMalformed, set("x-signature", "sha256=")),
        (K::SignatureMalformed, without("x-timestamp")),
        (K::SignatureExpired, set("x-timestamp", "1699999000")),
        (K::SignatureNotYetValid, set("x-timestamp", "1700000006")),
        (K::SignatureInvalid, set("x-key-id", "nobody")),
        (K::SignatureInsufficient, set("content-encoding", "gzip")),
        (K::SignatureInsufficient, without("content-type")),
        (K::AuthorityNotServed, set("host", "other.example.com")),
        (K::BodyNotCovered, set("upgrade", "websocket")),
    ];
    for (expected, head) in decided {
        let refused = verifier.verify(&head, Script::never_polled()).await;
        assert_eq!(kind(refused), expected);
    }

    // Where the head completes the message, so it is with the MAC.
    let signer = |secret| {
        let signer = Signer::new(head_only(), KEY, secret).unwrap();
        signer.clock(clock.clone())
    };
    let head = head_by(&signer("not the secret of partner 1"), "");
    let refused = by_head.verify(&head, Script::never_polled()).await;
    assert_eq!(kind(refused), K::SignatureInvalid);
}

/// The twin: with the right signature the same body is polled, and says so.
#[tokio::test]
#[should_panic(expected = "polled too far")]
async fn a_request_that_is_admitted_has_its_body_polled() {
    let clock = clock();
    let verifier = verifier(&clock).build().unwrap();
    let head = head_for(&clock, "{}");
    let _ = verifier.verify(&head, Script::never_polled()).await;
}

#[tokio::test]
async fn a_body_that_nothing_covers_is_refused_at_its_first_byte() {
    let clock = clock();
    let verifier = Verifier::builder(head_only())
        .public_origin(ORIGIN)
        .keys(keys())
        .store(store(&clock))
        .clock(clock.clone())
        .build()
        .unwrap();
    let signer = Signer::new(head_only(), KEY, SECRET)
        .unwrap()
        .clock(clock.clone());

    let body = Script::new([
        Step::Data(Bytes::new()),
        Step::Data("x".into()),
        Step::IsNeverPolled,
    ]);
    let refused = verifier.verify(&head_by(&signer, ""), body).await;
    assert_eq!(kind(refused), RejectionKind::BodyNotCovered);

    // Without a byte it passes, and a handler sees none.
    let verified = verifier
        .verify(&head_by(&signer, ""), Script::frames(["", ""]))
        .await
        .unwrap();
    assert!(verified.payload().unwrap().bytes().is_empty());
}

// Size

#[tokio::test]
async fn a_body_may_be_as_long_as_the_limit_and_not_a_byte_longer() {
    let clock = clock();
    let verifier = verifier(&clock).max_body_bytes(8).build().unwrap();
    for (frames, passes) in [
        (vec!["12345678"], true),
        (vec!["1234", "5678"], true),
        (vec!["123456789"], false),
        (vec!["12345678", "9"], false),
        (vec!["1", "23456789"], false),
    ] {
        let whole = frames.concat();
        let (head, body) = (head_for(&clock, &whole), Script::frames(frames.clone()));
        match verifier.verify(&head, body).await {
            Ok(verified) => assert!(
                passes && verified.payload().unwrap().bytes() == &whole,
                "{frames:?}"
            ),
            Err(rejection) => {
                assert!(!passes, "{frames:?}");
                assert_eq!(rejection.kind(), RejectionKind::BodyTooLarge, "{frames:?}");
            }
        }
    }
}

#[tokio::test]
async fn a_declared_length_over_the_limit_is_refused_before_a_frame_is_taken() {
    let clock = clock();
    let verifier = verifier(&clock).max_body_bytes(8).build().unwrap();
    let head = head_for(&clock, "123456789");
    let body = Script::never_polled().declaring(9);
    let refused = verifier.verify(&head, body).await;
    assert_eq!(kind(refused), RejectionKind::BodyTooLarge);
}

#[tokio::test]
async fn a_body_over_the_limit_is_not_read_on() {
    let clock = clock();
    let verifier = verifier(&clock).max_body_bytes(8).build().unwrap();
    let body = Script::new([
        Step::Data("12345678".into()),
        Step::Data("9".into()),
        Step::IsNeverPolled,
    ]);
    let refused = verifier.verify(&head_for(&clock, ""), body).await;
    assert_eq!(kind(refused), RejectionKind::BodyTooLarge);
}

#[tokio::test]
async fn a_length_that_was_declared_wrongly_is_no_harm() {
    let clock = clock();
    let verifier = verifier(&clock).build().unwrap();
    for declared in [0, 1, 1000] {
        let body = Script::frames(["12", "34", "56"]).declaring(declared);
        let verified = verifier.verify(&head_for(&clock, "123456"), body).await;
        assert_eq!(
            verified.unwrap().payload().unwrap().bytes(),
            "123456",
            "{declared}"
        );
    }
}

#[tokio::test]
async fn a_limit_from_outside_is_told_as_what_it_is() {
    let clock = clock();
    let verifier = verifier(&clock).build().unwrap();
    let limited = |limit| Limited::new(Script::frames(["1234", "5678"]), limit);
    let head = head_for(&clock, "12345678");
    assert_eq!(
        kind(verifier.verify(&head, limited(7)).await),
        RejectionKind::BodyTooLarge
    );
    // Also where a framework has put its own error around it.
    let wrapped = Body::new(limited(7));
    assert_eq!(
        kind(verifier.verify(&head, wrapped).await),
        RejectionKind::BodyTooLarge
    );
    assert!(verifier.verify(&head, limited(8)).await.is_ok());
    // The twin: any other error is not taken for one.
    let broken = Script::new([Step::Fails(BoxError::from("length limit exceeded"))]);
    assert_eq!(
        kind(verifier.verify(&head, broken).await),
        RejectionKind::BodyUnreadable
    );
}

// Time

/// A byte each second, for this many seconds.
fn dripping(seconds: u64) -> Script {
    Script::new((0..seconds).flat_map(|_| {
        [
            Step::Waits(Duration::from_secs(1)),
            Step::Data(Bytes::from_static(b"x")),
        ]
    }))
}

#[tokio::test(start_paused = true)]
async fn a_slow_drip_is_cut_off_at_the_deadline_for_the_whole_body() {
    let clock = clock();
    let verifier = verifier(&clock).build().unwrap();
    let head = head_for(&clock, &"x".repeat(60));
    let start = Instant::now();
    let refused = verifier.verify(&head, dripping(60)).await;
    assert_eq!(kind(refused), RejectionKind::BodyTimeout);
    assert_eq!(start.elapsed(), Duration::from_secs(10));

    // A body that is there in time passes.
    let head = head_for(&clock, &"x".repeat(9));
    assert!(verifier.verify(&head, dripping(9)).await.is_ok());
}

/// The twin: a deadline for each frame lets the same drip through, after a minute.
#[tokio::test(start_paused = true)]
async fn a_deadline_for_each_frame_would_let_a_slow_drip_through() {
    let mut body = Box::pin(dripping(60));
    let start = Instant::now();
    let mut bytes = 0;
    while let Some(frame) = tokio::time::timeout(Duration::from_secs(10), body.frame())
        .await
        .expect("each frame is in time")
    {
        bytes += frame.unwrap().into_data().unwrap().len();
    }
    assert_eq!((bytes, start.elapsed().as_secs()), (60, 60));
}

#[tokio::test(start_paused = true)]
async fn a_body_that_never_comes_is_not_waited_for() {
    let clock = clock();
    let verifier = verifier(&clock)
        .body_deadline(Duration::from_secs(3))
        .build()
        .unwrap();
    for steps in [
        vec![Step::Hangs],
        vec![Step::Data("{}".into()), Step::Hangs],
    ] {
        let start = Instant::now();
        let head = head_for(&clock, "{}");
        let refused = verifier.verify(&head, Script::new(steps)).await;
        assert_eq!(kind(refused), RejectionKind::BodyTimeout);
        assert_eq!(start.elapsed(), Duration::from_secs(3));
    }
}

/// A body that always has a frame at hand, none with a byte: no deadline is ever waited for.
struct EmptyForEver;

impl http_body::Body for EmptyForEver {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, BoxError>>> {
        std::task::Poll::Ready(Some(Ok(http_body::Frame::data(Bytes::new()))))
    }
}

#[tokio::test]
async fn frames_without_bytes_do_not_keep_a_body_open_for_ever() {
    let clock = clock();
    let verifier = verifier(&clock).build().unwrap();
    let head = head_for(&clock, "");
    let (done, ended) = tokio::sync::oneshot::channel();
    // On a thread of its own, which a loop without an end would not give back.
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap();
        let refused = runtime.block_on(verifier.verify(&head, EmptyForEver));
        done.send(kind(refused))
    });
    let refused = tokio::time::timeout(Duration::from_secs(30), ended).await;
    assert_eq!(
        refused.expect("an answer").unwrap(),
        RejectionKind::BodyUnreadable
    );
}

// Memory

const KIB: usize = 1024;

/// A budget of 256 KiB. Half is for verified bodies, of which one key gets 64 KiB.
fn with_small_budget(clock: &ManualClock) -> Verifier {
    verifier(clock)
        .max_body_bytes(64 * KIB)
        .body_budget_bytes(256 * KIB)
        .build()
        .unwrap()
}

/// A body that must be waited for.
fn waited_for(bytes: usize) -> Script {
    let end = Step::Waits(Duration::from_millis(1));
    Script::new([Step::Data("x".repeat(bytes).into()), end])
}

async fn hold(
    verifier: &Verifier,
    clock: &ManualClock,
    (key, secret): (&str, &str),
    bytes: usize,
) -> Result<VerifiedPayload, RejectionKind> {
    let head = head_by(&signer_for(key, secret, clock), &"x".repeat(bytes));
    verifier
        .verify(&head, waited_for(bytes))
        .await
        .map(|verified| verified.payload().unwrap().clone())
        .map_err(|rejection| rejection.kind())
}

const ONE: (&str, &str) = (KEY, SECRET);
const OTHER: (&str, &str) = (OTHER_KEY, OTHER_SECRET);
const EXHAUSTED: Result<(), RejectionKind> = Err(RejectionKind::BodyBudgetExhausted);

#[tokio::test(start_paused = true)]
async fn the_budget_is_held_while_a_payload_lives_and_given_back_with_it() {
    let clock = clock();
    let verifier = with_small_budget(&clock);
    for _ in 0..20 {
        let payload = hold(&verifier, &clock, ONE, 64 * KIB).await.unwrap();
        let clone = payload.clone();
        drop(payload);
        // A handler that keeps a clone keeps the bytes.
        let refused = hold(&verifier, &clock, ONE, 32 * KIB).await.map(drop);
        assert_eq!(refused, EXHAUSTED);
        drop(clone);
    }
    assert!(hold(&verifier, &clock, ONE, 64 * KIB).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn one_key_gets_a_share_of_the_budget_and_leaves_the_rest() {
    let clock = clock();
    let verifier = with_small_budget(&clock);
    let _held = hold(&verifier, &clock, ONE, 64 * KIB).await.unwrap();
    let refused = hold(&verifier, &clock, ONE, 1).await.map(drop);
    assert_eq!(refused, EXHAUSTED, "the share of one key");
    assert!(hold(&verifier, &clock, OTHER, 64 * KIB).await.is_ok());
    // A body without a byte needs none.
    assert!(hold(&verifier, &clock, ONE, 0).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a51_a_body_that_is_complete_when_it_is_asked_for_is_never_refused() {
    let clock = clock();
    let verifier = with_small_budget(&clock);
    let mut held = vec![hold(&verifier, &clock, ONE, 64 * KIB).await.unwrap()];
    held.push(hold(&verifier, &clock, OTHER, 64 * KIB).await.unwrap());
    for frames in [1, 2, 4] {
        let body = vec!["x".repeat(64 * KIB / frames); frames];
        let head = head_for(&clock, &body.concat());
        let verified = verifier.verify(&head, Script::frames(body)).await.unwrap();
        held.push(verified.payload().unwrap().clone());
    }
    // The twin: one that is waited for.
    let refused = hold(&verifier, &clock, OTHER, 1).await.map(drop);
    assert_eq!(refused, EXHAUSTED);
    drop(held);
    assert!(hold(&verifier, &clock, OTHER, 1).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn what_a_refused_body_took_is_given_back() {
    let clock = clock();
    let verifier = with_small_budget(&clock);
    let large = "x".repeat(60 * KIB);
    for _ in 0..20 {
        // A wrong MAC; broken off; over the limit.
        let forged = head_by(
            &signer_for(KEY, "not the secret of partner 1", &clock),
            &large,
        );
        let refused = verifier
            .verify(&forged, Full::<Bytes>::from(large.clone()))
            .await;
        assert_eq!(kind(refused), RejectionKind::SignatureInvalid);
        let broken = Script::new([
            Step::Data(large.clone().into()),
            Step::Fails("reset".into()),
        ]);
        let refused = verifier.verify(&forged, broken).await;
        assert_eq!(kind(refused), RejectionKind::BodyUnreadable);
        let over = Script::frames([large.clone(), large.clone()]);
        let refused = verifier.verify(&forged, over).await;
        assert_eq!(kind(refused), RejectionKind::BodyTooLarge);
    }
    assert!(hold(&verifier, &clock, ONE, 64 * KIB).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn what_a_dropped_request_took_is_given_back() {
    let clock = clock();
    let verifier = with_small_budget(&clock);
    let large = "x".repeat(60 * KIB);
    for _ in 0..20 {
        let head = head_for(&clock, &large);
        let body = Script::new([Step::Data(large.clone().into()), Step::Hangs]);
        let hangs = verifier.verify(&head, body);
        let gone = tokio::time::timeout(Duration::from_millis(10), hangs).await;
        assert!(gone.is_err(), "it was dropped while it waited");
    }
    assert!(hold(&verifier, &clock, ONE, 64 * KIB).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn bytes_count_while_they_arrive_and_not_when_they_are_announced() {
    let clock = clock();
    let verifier = with_small_budget(&clock);
    let large = "x".repeat(64 * KIB);
    let (head, other) = (head_for(&clock, &large), head_for(&clock, ""));
    let slow = |received: usize| {
        Script::new([Step::Data("x".repeat(received).into()), Step::Hangs])
            .declaring(64 * KIB as u64)
    };
    // Announced, and a byte sent: nothing of the budget is lost to others.
    let mut announcing: Vec<_> = (0..8)
        .map(|_| Box::pin(verifier.verify(&head, slow(1))))
        .collect();
    for request in &mut announcing {
        assert!(is_pending(request).await);
    }
    assert!(hold(&verifier, &clock, ONE, 60 * KIB).await.is_ok());
    for request in &mut announcing {
        assert!(is_pending(request).await);
    }

    // Sent: now it counts, although no MAC was compared yet, and gives way to a new one.
    let mut sending = Box::pin(verifier.verify(&other, slow(60 * KIB)));
    assert!(is_pending(&mut sending).await);
    assert!(hold(&verifier, &clock, ONE, 17 * KIB).await.is_ok());
    let refused = sending.await;
    assert_eq!(kind(refused), RejectionKind::BodyBudgetExhausted);
}

pub(crate) async fn is_pending<F: Future + Unpin>(future: &mut F) -> bool {
    std::future::poll_fn(|cx| {
        std::task::Poll::Ready(std::pin::Pin::new(&mut *future).poll(cx).is_pending())
    })
    .await
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_keeps_its_payload_keeps_its_share() {
    let clock = clock();
    let kept: Arc<Mutex<Vec<VerifiedPayload>>> = Arc::default();
    let sink = Arc::clone(&kept);
    let app = Router::new()
        .route(
            "/orders",
            post(move |payload: VerifiedPayload| {
                let sink = Arc::clone(&sink);
                async move { sink.lock().unwrap().push(payload) }
            }),
        )
        .layer(
            VerifyLayer::builder(scheme())
                .public_origin(ORIGIN)
                .keys(keys())
                .store(
                    MemoryStore::builder()
                        .clock(clock.clone())
                        .danger_assume_no_history()
                        .build()
                        .unwrap(),
                )
                .clock(clock.clone())
                .max_body_bytes(64 * KIB)
                .body_budget_bytes(128 * KIB)
                .build()
                .unwrap(),
        );
    let send = || async {
        let request = signed(&clock, "POST", "/orders", &"x".repeat(64 * KIB));
        let request = request.map(|_| Body::new(waited_for(64 * KIB)));
        verdict(app.clone().oneshot(request).await.unwrap()).await
    };
    assert_eq!(send().await.0, 200);
    assert_eq!(send().await, (503, "body_budget_exhausted".into()));
    kept.lock().unwrap().clear();
    assert_eq!(send().await.0, 200);
}
