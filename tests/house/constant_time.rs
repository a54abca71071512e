//! How long a wrong MAC takes to refuse does not tell where it is wrong.
//!
//! Time is told by instructions, which valgrind counts in this very binary: a clock would drown a
//! comparison of 32 bytes in noise. Only what runs inside of [`counted`] counts.

use std::{
    env,
    hint::black_box,
    pin::pin,
    process::Command,
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use countersign::{
    HeaderScheme, KeyRing, Part, RejectionKind, Signer, Verifier,
    request::Verified,
    scheme::{Encoding, MacAlgorithm},
};
use http::{HeaderValue, request::Parts};
use http_body_util::Full;

use crate::common::{self, log};

/// Says which case to run, in the copy of this binary whose instructions are counted.
const CASE: &str = "COUNTERSIGN_COUNTED_CASE";

/// How often a case is verified while instructions are counted.
const ROUNDS: u64 = 50;

/// The comparisons: each shape of a scheme takes another way to the comparison.
#[derive(Clone, Copy, Debug)]
enum Shape {
    /// The head completes the message; the MAC is compared before the body is read.
    Head(MacAlgorithm),
    /// The body is in the message. The MAC is compared once the body has arrived.
    Body(MacAlgorithm),
    /// The second, and then with a comparison that stops at the first difference.
    Naive,
}

/// Where the MAC of a request differs from the right one.
#[derive(Clone, Copy, Debug)]
enum Wrong {
    FirstByte,
    MiddleByte,
    LastByte,
    LastBit,
    EveryByte,
}

const SHAPES: [Shape; 5] = [
    Shape::Head(MacAlgorithm::HmacSha256),
    Shape::Head(MacAlgorithm::HmacSha512),
    Shape::Body(MacAlgorithm::HmacSha256),
    Shape::Body(MacAlgorithm::HmacSha512),
    Shape::Naive,
];

const NAIVE: usize = 4;

const WRONG: [Wrong; 5] = [
    Wrong::FirstByte,
    Wrong::MiddleByte,
    Wrong::LastByte,
    Wrong::LastBit,
    Wrong::EveryByte,
];

#[test]
fn a_mac_takes_as_long_to_refuse_wherever_it_is_wrong() {
    if runs_a_case() || is_skipped("a_mac_takes_as_long_to_refuse_wherever_it_is_wrong") {
        return;
    }
    for (shape, what) in SHAPES.iter().enumerate().take(NAIVE) {
        let counts: Vec<u64> = (0..WRONG.len())
            .map(|wrong| instructions(shape, wrong))
            .collect();
        let (least, most) = (counts.iter().min().unwrap(), counts.iter().max().unwrap());
        assert!(
            most - least < ROUNDS,
            "{what:?}: as much as one instruction for each of {ROUNDS} requests lies between \
             {WRONG:?}: {counts:?}"
        );
    }
}

/// The same measure finds the fault, so that its silence above means something.
#[test]
fn a_comparison_that_stops_at_the_first_difference_is_found_out() {
    if runs_a_case() || is_skipped("a_comparison_that_stops_at_the_first_difference_is_found_out") {
        return;
    }
    let [first, middle, last] = [0, 1, 2].map(|wrong| instructions(NAIVE, wrong));
    assert!(
        first + 10 * ROUNDS < middle && middle + 10 * ROUNDS < last,
        "{first}, {middle}, {last} instructions for {ROUNDS} requests each"
    );
}

/// In the counted copy: runs the case that is asked for, and says that this is that copy.
fn runs_a_case() -> bool {
    let Ok(asked) = env::var(CASE) else {
        return false;
    };
    let (shape, wrong) = asked.split_once(' ').expect("two numbers");
    let case = Case::new(SHAPES[number(shape)], WRONG[number(wrong)]);
    // Work that is done once, in the first rounds, is not counted.
    (0..10).for_each(|_| case.verify());
    counted(&case);
    true
}

fn number(text: &str) -> usize {
    text.parse().expect("a number")
}

/// Instructions are counted in the function of this name, and in what it calls.
#[inline(never)]
fn counted(case: &Case) {
    for _ in 0..ROUNDS {
        case.verify();
    }
}

/// The instructions for [`ROUNDS`] requests of one case, by its numbers in [`SHAPES`] and [`WRONG`].
/// Cases are told apart by nothing else, so that even their heaps are laid out alike.
fn instructions(shape: usize, wrong: usize) -> u64 {
    let run = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg("--toggle-collect=*constant_time::counted*")
        .arg(env::current_exe().expect("the path of this binary"))
        .args([
            "constant_time::a_mac_takes_as_long_to_refuse_wherever_it_is_wrong",
            "--exact",
            "--test-threads=1",
        ])
        .env(CASE, format!("{shape} {wrong}"))
        .env_remove(log::SAID)
        .output()
        .expect("valgrind runs");
    let log = String::from_utf8_lossy(&run.stderr);
    assert!(
        run.status.success(),
        "{log}{}",
        String::from_utf8_lossy(&run.stdout)
    );
    let count = log
        .lines()
        .find_map(|line| line.split_once("Collected : "))
        .and_then(|(_, count)| count.trim().parse().ok())
        .unwrap_or_else(|| panic!("no count of instructions in:\n{log}"));
    assert!(
        count > ROUNDS * 1000,
        "{count}: what was to be counted was not"
    );
    count
}

/// Without valgrind there is nothing to count with.
fn is_skipped(test: &str) -> bool {
    if Command::new("valgrind").arg("--version").output().is_ok() {
        return false;
    }
    log::missing(test, "`valgrind` is not installed");
    true
}

struct Case {
    verifier: Verifier,
    head: Parts,
    body: Bytes,
    /// The right MAC and the wrong one, for the naive comparison.
    naive: Option<(Vec<u8>, Vec<u8>)>,
}

impl Case {
    fn new(shape: Shape, wrong: Wrong) -> Self {
        let (algorithm, body) = match shape {
            Shape::Head(algorithm) => (algorithm, ""),
            Shape::Body(algorithm) => (algorithm, "a body"),
            Shape::Naive => (MacAlgorithm::HmacSha256, "a body"),
        };
        let scheme = scheme(algorithm, !body.is_empty());
        let clock = common::clock();
        let verifier = Verifier::builder(scheme.clone())
            .keys(KeyRing::new().with(common::KEY, common::SECRET).unwrap())
            .store(common::store(&clock))
            .clock(clock.clone())
            .build()
            .unwrap();
        let signer = Signer::new(scheme, common::KEY, common::SECRET)
            .unwrap()
            .clock(clock);
        // A nonce of our own: a random one would make the copies differ.
        let request = common::request("POST", "/transfer?to=7", body);
        let (mut head, body) = signer
            .sign_with_nonce(request, "one-nonce")
            .unwrap()
            .into_parts();

        let right = from_hex(head.headers["x-signature"].as_bytes());
        let changed = wrong.change(&right);
        head.headers.insert("x-signature", to_hex(&changed));
        Self {
            verifier,
            head,
            body: body.into(),
            naive: matches!(shape, Shape::Naive).then_some((right, changed)),
        }
    }

    fn verify(&self) {
        let verification = pin!(
            self.verifier
                .verify(&self.head, Full::new(self.body.clone()))
        );
        let mut context = Context::from_waker(Waker::noop());
        let Poll::Ready(answer): Poll<Result<Verified, _>> = verification.poll(&mut context) else {
            panic!("there is nothing to wait for");
        };
        assert_eq!(answer.unwrap_err().kind(), RejectionKind::SignatureInvalid);
        if let Some((right, wrong)) = &self.naive {
            assert!(!equal_up_to_the_first_difference(right, wrong));
        }
    }
}

fn scheme(algorithm: MacAlgorithm, covers_body: bool) -> HeaderScheme {
    let parts = [
        Part::Method,
        Part::PathAndQuery,
        Part::KeyId,
        Part::Time,
        Part::Nonce,
        Part::Body,
    ];
    let covered = if covers_body { 6 } else { 5 };
    HeaderScheme::builder("x-signature")
        .algorithm(algorithm)
        .encoding(Encoding::Hex)
        .key_id("x-key-id")
        .time("x-timestamp")
        .nonce("x-nonce")
        .signs(Part::lines(parts.into_iter().take(covered)))
        .build()
        .unwrap()
}

impl Wrong {
    fn change(self, mac: &[u8]) -> Vec<u8> {
        let mut mac = mac.to_vec();
        let last = mac.len() - 1;
        match self {
            Self::FirstByte => mac[0] ^= 0xff,
            Self::MiddleByte => mac[last / 2] ^= 0xff,
            Self::LastByte => mac[last] ^= 0xff,
            Self::LastBit => mac[last] ^= 1,
            Self::EveryByte => mac.iter_mut().for_each(|byte| *byte ^= 0xff),
        }
        mac
    }
}

fn equal_up_to_the_first_difference(one: &[u8], other: &[u8]) -> bool {
    one.len() == other.len()
        && one
            .iter()
            .zip(other)
            .all(|(a, b)| black_box(a) == black_box(b))
}

fn from_hex(text: &[u8]) -> Vec<u8> {
    let text = std::str::from_utf8(text).unwrap();
    (0..text.len())
        .step_by(2)
        .map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap())
        .collect()
}

fn to_hex(bytes: &[u8]) -> HeaderValue {
    let text: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    text.parse().unwrap()
}
