//! The cost of a request in instructions and allocations, beside what it was: `benches/counts.txt`.
//!
//! Valgrind counts both in this very binary, built as it is released: a clock would drown a change of
//! some percent in noise. Hashes count as they do without SHA extensions, so that bodies are short
//! here. `COUNTERSIGN_COUNTS=write` writes the file again.

use std::{collections::BTreeMap, convert::Infallible, env, fs, process::Command};

use bytes::Bytes;
use countersign::{
    HttpMessageSignatures, KeyRing, MemoryStore, Signer, VerifyLayer,
    webhooks::{GitHub, Stripe},
};
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use tokio::runtime::{Builder, Runtime};
use tower::{Layer as _, Service, ServiceExt as _, service_fn};

use crate::common::{self, log};

/// Says which case to run, in the copy of this binary whose instructions are counted.
const CASE: &str = "COUNTERSIGN_COUNTED_REQUESTS";

/// Set to `write`, it has the file written again.
const WRITE: &str = "COUNTERSIGN_COUNTS";

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/counts.txt");

/// How many requests are counted.
const REQUESTS: u64 = 100;

/// By so much a count may grow, in percent.
const GROWTH: u64 = 5;

const CASES: [&str; 4] = ["house-format", "rfc-9421", "github", "stripe"];

/// For one request: instructions, and allocations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Counts {
    instructions: u64,
    allocations: u64,
}

#[test]
fn a_request_costs_no_more_than_it_did() {
    if let Ok(case) = env::var(CASE) {
        handle(&case);
        return;
    }
    // The file holds the counts of the library as it is released, without features.
    if cfg!(debug_assertions) || cfg!(feature = "axum") {
        return;
    }
    if Command::new("valgrind").arg("--version").output().is_err() {
        log::missing(
            "a_request_costs_no_more_than_it_did",
            "`valgrind` is not installed",
        );
        return;
    }
    let counted: BTreeMap<_, _> = CASES.iter().map(|case| (*case, count(case))).collect();
    let text: String = counted
        .iter()
        .map(|(case, counts)| {
            let Counts {
                instructions,
                allocations,
            } = counts;
            format!("{case}: {instructions} instructions, {allocations} allocations\n")
        })
        .collect();
    if env::var(WRITE).is_ok_and(|value| value == "write") {
        fs::write(FILE, text).unwrap();
        return;
    }
    let known = fs::read_to_string(FILE).unwrap();
    let known: BTreeMap<_, _> = known.lines().map(read).collect();
    for (case, now) in counted {
        let before = known
            .get(case)
            .unwrap_or_else(|| panic!("{FILE} has no `{case}`"));
        let grown = |now: u64, before: u64| now * 100 > before * (100 + GROWTH);
        assert!(
            !grown(now.instructions, before.instructions)
                && !grown(now.allocations, before.allocations),
            "{case}: {now:?} for a request, and {before:?} before; if that is meant, write the file \
             again with `{WRITE}=write`. All:\n{text}"
        );
    }
}

/// A line of the file.
fn read(line: &str) -> (&str, Counts) {
    let read = || {
        let (case, counts) = line.split_once(": ")?;
        let (instructions, allocations) = counts.split_once(" instructions, ")?;
        let counts = Counts {
            instructions: instructions.parse().ok()?,
            allocations: allocations.strip_suffix(" allocations")?.parse().ok()?,
        };
        Some((case, counts))
    };
    read().unwrap_or_else(|| panic!("{FILE}: `{line}`"))
}

/// Runs a case in a copy of this binary.
fn count(case: &str) -> Counts {
    let out = tempfile::NamedTempFile::new().unwrap();
    let run = Command::new("valgrind")
        .arg("--tool=callgrind")
        .arg(format!("--callgrind-out-file={}", out.path().display()))
        .args([
            "--dump-instr=yes",
            "--compress-pos=no",
            "--compress-strings=no",
        ])
        .arg("--toggle-collect=*counts::counted*")
        .arg(env::current_exe().unwrap())
        .args([
            "counts::a_request_costs_no_more_than_it_did",
            "--exact",
            "--test-threads=1",
        ])
        .env(CASE, case)
        .env_remove(log::SAID)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&run.stderr);
    assert!(
        run.status.success(),
        "{said}{}",
        String::from_utf8_lossy(&run.stdout)
    );
    let instructions = said
        .lines()
        .find_map(|line| line.split_once("Collected : "))
        .and_then(|(_, count)| count.trim().parse::<u64>().ok())
        .unwrap_or_else(|| panic!("no count of instructions in:\n{said}"));
    let allocations = allocations(&fs::read_to_string(out.path()).unwrap());
    assert!(
        instructions > REQUESTS * 1000 && allocations >= REQUESTS,
        "{instructions}, {allocations}: what was to be counted was not"
    );
    Counts {
        instructions: instructions / REQUESTS,
        allocations: allocations / REQUESTS,
    }
}

/// The calls of the allocator in a profile: how often the first instruction of each of its functions
/// was executed. The calls that a profile tells by themselves are also those outside of what is
/// counted.
fn allocations(profile: &str) -> u64 {
    const ALLOCATORS: [&str; 5] = [
        "fn=malloc",
        "fn=calloc",
        "fn=realloc",
        "fn=posix_memalign",
        "fn=aligned_alloc",
    ];
    let (mut lines, mut count) = (profile.lines(), 0);
    while let Some(line) = lines.next() {
        if ALLOCATORS.contains(&line) {
            // Address, line of the source, and how often.
            let first = lines.next().and_then(|first| first.split(' ').nth(2));
            count += first.expect("an instruction").parse::<u64>().unwrap();
        }
    }
    count
}

/// In the counted copy.
fn handle(case: &str) {
    const WEBHOOK_SECRET: &str = "the secret of a webhook, which is long";
    // Of few shards, each of which has its table before the counting begins.
    let store = || {
        let store = MemoryStore::builder().capacity_bytes(1 << 20).build();
        store.unwrap().danger_assume_no_history()
    };
    // Not those of the other tests, which have everything logged.
    let keys = KeyRing::new().with(common::KEY, common::SECRET).unwrap();
    let partner = |builder: countersign::request::VerifierBuilder<VerifyLayer>| {
        builder
            .public_origin(common::ORIGIN)
            .keys(keys.clone())
            .store(store())
            .build()
            .unwrap()
    };
    let (layer, signer) = match case {
        "house-format" => (
            partner(VerifyLayer::builder(common::scheme())),
            Signer::new(common::scheme(), common::KEY, common::SECRET),
        ),
        "rfc-9421" => (
            partner(VerifyLayer::builder(HttpMessageSignatures::default())),
            Signer::new(
                HttpMessageSignatures::default(),
                common::KEY,
                common::SECRET,
            ),
        ),
        "github" => (
            VerifyLayer::builder(GitHub::new())
                .secret(WEBHOOK_SECRET)
                .store(store())
                .build()
                .unwrap(),
            Signer::with_secret(GitHub::new(), WEBHOOK_SECRET),
        ),
        "stripe" => (
            VerifyLayer::builder(Stripe::new())
                .secret(WEBHOOK_SECRET)
                .store(store())
                .build()
                .unwrap(),
            Signer::with_secret(Stripe::new(), WEBHOOK_SECRET),
        ),
        _ => panic!("no case `{case}`"),
    };
    let signer = signer.unwrap();
    let mut number = 0;
    let mut requests = |count: u64| -> Vec<_> {
        let request = |_| {
            number += 1;
            let body = format!(r#"{{"id":"evt_{number:08}","type":"paid"}}"#);
            let request = common::request("POST", "/transfer?to=7", &body);
            signer
                .sign(request)
                .unwrap()
                .map(|body| Full::new(Bytes::from(body)))
        };
        (0..count).map(request).collect()
    };
    let answer = async |_: Request<Full<Bytes>>| {
        Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(b"done"))))
    };
    let service = layer.layer(service_fn(answer));
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    // Work that is done once, in the first requests, is not counted.
    send_all(&runtime, &service, requests(REQUESTS));
    counted(&runtime, &service, requests(REQUESTS));
}

/// Instructions are counted in the function of this name, and in what it calls.
#[inline(never)]
fn counted<S, R>(runtime: &Runtime, service: &S, requests: Vec<Request<Full<Bytes>>>)
where
    S: Service<Request<Full<Bytes>>, Response = Response<R>, Error = Infallible> + Clone,
{
    send_all(runtime, service, requests);
}

fn send_all<S, R>(runtime: &Runtime, service: &S, requests: Vec<Request<Full<Bytes>>>)
where
    S: Service<Request<Full<Bytes>>, Response = Response<R>, Error = Infallible> + Clone,
{
    runtime.block_on(async {
        for request in requests {
            let response = service.clone().oneshot(request).await.unwrap();
            assert_eq!(response.status(), StatusCode::OK);
        }
    });
}

/// A count that is read where there is none would never grow.
#[test]
fn allocations_are_read_from_a_profile() {
    let profile = "fn=a\n0x1 2 50\ncfn=malloc\ncalls=3 0x9 7\n0x2 3 40\nfn=malloc\n0x9 7 3\n0xa 7 3\n\
                   fn=b\n0x3 4 9\nfn=realloc\n0xb 8 5\n";
    assert_eq!(allocations(profile), 8);
}
