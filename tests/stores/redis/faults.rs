//! Servers that fail: never a second acceptance, refused meanwhile, and resumed by itself.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt as _,
    sync::{Arc, atomic::Ordering},
};

use countersign::{
    error::OpenError,
    store::{LeaseOutcome, LeaseStore as _, StepOutcome},
};

use super::{
    ClaimOutcome, Duration, HOUR, Instant, RedisStore, SKEW, Server, StoreErrorKind, ask, claim,
    claim_signed, claim_until, now, open, programs, proxy, resumes,
};
use crate::common::assert_place;

const NONE: &[&str] = &["--save", ""];
const DURABLE: &[&str] = &[
    "--save",
    "",
    "--appendonly",
    "yes",
    "--appendfsync",
    "always",
];
const UNAVAILABLE: Result<ClaimOutcome, StoreErrorKind> = Err(StoreErrorKind::Unavailable);
const SIGN_AGAIN: Result<ClaimOutcome, StoreErrorKind> = Err(StoreErrorKind::SignAgain);

/// With the waits of a service.
/// Gives up in a moment, though one that is long enough for a busy machine.
async fn quick(url: &str) -> RedisStore {
    let builder = RedisStore::builder().danger_assume_no_history();
    let builder = builder.timeout(Duration::from_secs(3));
    builder.open(url).await.unwrap()
}

#[tokio::test]
async fn a_server_that_is_killed_is_refused_and_what_was_signed_before_stays_refused() {
    for program in programs() {
        for arguments in [NONE, DURABLE] {
            let mut server = Server::start(&program, arguments);
            let store = quick(&server.url()).await;
            let signed = now();
            for nonce in 0..20 {
                assert_eq!(
                    ask(&store, &claim_signed(nonce, signed)).await,
                    Ok(ClaimOutcome::New)
                );
            }
            server.kill();
            assert_eq!(ask(&store, &claim(100)).await, UNAVAILABLE);
            server.start_again();
            println!("{program} resumed after {:?}", resumes(&store, 1000).await);
            // Another server of the service, which has just begun, knows it as well.
            let other = quick(&server.url()).await;
            for nonce in 0..20 {
                assert_eq!(ask(&store, &claim_signed(nonce, signed)).await, SIGN_AGAIN);
                assert_eq!(ask(&other, &claim_signed(nonce, signed)).await, SIGN_AGAIN);
            }
        }
    }
}

/// The twin: without the fence, these would be accepted a second time.
#[tokio::test]
async fn a_server_without_a_disk_forgets_what_covers_no_time() {
    for program in programs() {
        let mut server = Server::start(&program, NONE);
        let store = quick(&server.url()).await;
        let without_time = || claim_until(1, now().saturating_add(HOUR));
        assert_eq!(ask(&store, &without_time()).await, Ok(ClaimOutcome::New));
        server.kill();
        server.start_again();
        resumes(&store, 1000).await;
        assert_eq!(ask(&store, &without_time()).await, Ok(ClaimOutcome::New));
    }
}

#[tokio::test]
async fn a_server_with_a_disk_keeps_what_covers_no_time() {
    for program in programs() {
        let mut server = Server::start(&program, DURABLE);
        let store = quick(&server.url()).await;
        let without_time = || claim_until(1, now().saturating_add(HOUR));
        assert_eq!(ask(&store, &without_time()).await, Ok(ClaimOutcome::New));
        server.kill();
        server.start_again();
        resumes(&store, 1000).await;
        assert_eq!(
            ask(&store, &without_time()).await,
            Ok(ClaimOutcome::Replayed)
        );
    }
}

#[tokio::test]
async fn a_memory_that_was_emptied_is_noticed() {
    for program in programs() {
        let server = Server::start(&program, NONE);
        let store = quick(&server.url()).await;
        let signed = now();
        assert_eq!(
            ask(&store, &claim_signed(1, signed)).await,
            Ok(ClaimOutcome::New)
        );
        server.tell(&["FLUSHALL"]);
        store.check().await.unwrap();
        assert_eq!(ask(&store, &claim_signed(1, signed)).await, SIGN_AGAIN);
        assert_eq!(ask(&store, &claim(2)).await, Ok(ClaimOutcome::New));
    }
}

/// Between two looks at the server, another process that says there is no history finds none, and makes
/// the record again.
#[tokio::test]
async fn a_memory_that_was_emptied_and_is_in_use_again_is_noticed() {
    for program in programs() {
        let server = Server::start(&program, NONE);
        let store = quick(&server.url()).await;
        let signed = now();
        let accepted = || claim_signed(1, signed);
        assert_eq!(ask(&store, &accepted()).await, Ok(ClaimOutcome::New));
        // At once, for the store looks every second.
        server.tell(&["EVAL", EMPTIED_AND_USED, "0"]);
        store.check().await.unwrap();
        assert_eq!(ask(&store, &accepted()).await, SIGN_AGAIN);
        // Its findings are known to all.
        let other = RedisStore::builder().danger_assume_no_history();
        let other = other.open(&server.url()).await.unwrap();
        assert_eq!(ask(&other, &accepted()).await, SIGN_AGAIN);
        assert_eq!(ask(&store, &claim(2)).await, Ok(ClaimOutcome::New));
    }
}

const EMPTIED_AND_USED: &str = "
    local key = redis.call('KEYS', 'countersign:{*}')[1]
    local known = redis.call('HMGET', key, 'id', 'mark')
    redis.call('FLUSHALL')
    redis.call('HSET', key, 'id', known[1], 'since', '0', 'mark', known[2], 'name', 'another')
";

#[tokio::test]
async fn a_first_start_refuses_what_was_signed_before() {
    for program in programs() {
        let server = Server::start(&program, NONE);
        let store = RedisStore::open(&server.url()).await.unwrap();
        assert_eq!(ask(&store, &claim_signed(1, now())).await, SIGN_AGAIN);
        assert_eq!(ask(&store, &claim(2)).await, Ok(ClaimOutcome::New));
    }
}

#[tokio::test]
async fn a_server_that_hangs_is_given_up_in_time_and_resumes() {
    for program in programs() {
        let server = Server::start(&program, NONE);
        let store = quick(&server.url()).await;
        assert_eq!(ask(&store, &claim(1)).await, Ok(ClaimOutcome::New));
        server.signal("STOP");
        // It lies with the server, and is carried out when that wakes up.
        let soon = now().saturating_add(Duration::from_millis(1500));
        let start = Instant::now();
        let late = claim_until(2, soon);
        assert_eq!(ask(&store, &late).await, UNAVAILABLE);
        assert!(
            start.elapsed() < Duration::from_secs(20),
            "{:?}",
            start.elapsed()
        );
        tokio::time::sleep(Duration::from_secs(2)).await;
        server.signal("CONT");
        resumes(&store, 1000).await;
        assert_eq!(ask(&store, &claim(1)).await, Ok(ClaimOutcome::Replayed));
        // Row 38: past on arrival.
        assert_eq!(ask(&store, &claim_until(2, soon)).await, SIGN_AGAIN);
    }
}

/// The reply is lost, the step was done: the same call finds its own record, and a copy does not win.
#[tokio::test]
async fn a_reply_that_is_cut_off_is_told_from_a_copy() {
    for program in programs() {
        let server = Server::start(&program, NONE);
        let faults = Arc::new(proxy::Faults::default());
        let url = proxy::start(server.port, Arc::clone(&faults)).await;
        let store = open(&url).await;
        assert_eq!(ask(&store, &claim(0)).await, Ok(ClaimOutcome::New));
        for nonce in 1..20 {
            faults.cut.store(true, Ordering::SeqCst);
            let first = claim(nonce);
            assert_eq!(ask(&store, &first).await, Ok(ClaimOutcome::New));
            assert_eq!(ask(&store, &first).await, Ok(ClaimOutcome::Replayed));
            faults.cut.store(true, Ordering::SeqCst);
            assert_eq!(ask(&store, &claim(nonce)).await, Ok(ClaimOutcome::Replayed));
        }
        for nonce in 20..30 {
            let claim = claim(nonce);
            faults.cut.store(true, Ordering::SeqCst);
            assert_eq!(store.lease(&claim, HOUR).await.unwrap(), LeaseOutcome::Held);
            faults.cut.store(true, Ordering::SeqCst);
            assert_eq!(store.renew(&claim, HOUR).await.unwrap(), StepOutcome::Done);
            faults.cut.store(true, Ordering::SeqCst);
            assert_eq!(store.complete(&claim).await.unwrap(), StepOutcome::Done);
        }
        assert_eq!(faults.cuts.load(Ordering::SeqCst), 19 * 2 + 10 * 3);
    }
}

/// Row 38: Redis keeps nothing whose deadline has passed, and says that it did.
#[tokio::test]
async fn a_deadline_that_is_past_on_arrival_is_refused_by_the_clock_of_the_server() {
    for program in programs() {
        let server = Server::start(&program, NONE);
        let faults = Arc::new(proxy::Faults::default());
        let url = proxy::start(server.port, Arc::clone(&faults)).await;
        // The watch, which reads the clock as well, is to find nothing here.
        let builder = RedisStore::builder().danger_assume_no_history();
        let builder = builder.clock_difference(Duration::from_secs(300));
        let store = builder.open(&url).await.unwrap();
        assert_eq!(ask(&store, &claim(0)).await, Ok(ClaimOutcome::New));
        // As the server itself answers: the twin.
        let key = ["SET", "x", "1", "NX", "GET", "PXAT", "1000"];
        for _ in 0..2 {
            let answer: redis::Value = server.ask(&key).unwrap();
            assert_eq!(answer, redis::Value::Nil);
        }
        faults.clock.store(60, Ordering::SeqCst);
        let deadline = now().saturating_add(Duration::from_secs(30));
        for _ in 0..2 {
            assert_eq!(ask(&store, &claim_until(1, deadline)).await, SIGN_AGAIN);
        }
        // Stepped back: what it showed counts.
        faults.clock.store(0, Ordering::SeqCst);
        assert_eq!(ask(&store, &claim_until(1, deadline)).await, SIGN_AGAIN);
    }
}

#[tokio::test]
async fn a_server_whose_clock_is_off_is_not_used() {
    for program in programs() {
        let server = Server::start(&program, NONE);
        for seconds in [-60, 60] {
            let faults = Arc::new(proxy::Faults::default());
            faults.clock.store(seconds, Ordering::SeqCst);
            let url = proxy::start(server.port, faults).await;
            let refused = RedisStore::builder().open(&url).await.unwrap_err();
            assert!(refused.to_string().contains("clock"), "{refused}");
        }
    }
}

/// Found by the next inspection: a server that drifts away while it is in use.
#[tokio::test]
async fn a_server_whose_clock_goes_off_is_not_used_any_more() {
    for program in programs() {
        let server = Server::start(&program, NONE);
        let faults = Arc::new(proxy::Faults::default());
        let url = proxy::start(server.port, Arc::clone(&faults)).await;
        let store = quick(&url).await;
        assert_eq!(ask(&store, &claim(1)).await, Ok(ClaimOutcome::New));
        faults.clock.store(-60, Ordering::SeqCst);
        assert!(store.check().await.is_err());
        assert_eq!(ask(&store, &claim(2)).await, UNAVAILABLE);
        faults.clock.store(0, Ordering::SeqCst);
        resumes(&store, 1000).await;
        assert_eq!(ask(&store, &claim(1)).await, Ok(ClaimOutcome::Replayed));
    }
}

/// A connection that answers nothing any more, when a namespace is read on it, is given up.
#[tokio::test]
async fn a_connection_that_falls_silent_is_given_up_whoever_asks_on_it() {
    for program in programs() {
        let server = Server::start(&program, NONE);
        let faults = Arc::new(proxy::Faults::default());
        let url = proxy::start(server.port, Arc::clone(&faults)).await;
        let store = quick(&url).await;
        assert_eq!(ask(&store, &claim(1)).await, Ok(ClaimOutcome::New));
        faults.deaf.store(true, Ordering::SeqCst);
        // The namespace is read again by and by.
        let start = Instant::now();
        let mut nonce = 2;
        while ask(&store, &claim(nonce)).await.is_ok() {
            assert!(
                start.elapsed() < Duration::from_secs(20),
                "it is still heard"
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
            nonce += 1;
        }
        faults.deaf.store(false, Ordering::SeqCst);
        resumes(&store, 1000).await;
    }
}

#[tokio::test]
async fn a_setting_out_of_its_range_is_refused() {
    let builder = RedisStore::builder;
    for (name, builder) in [
        ("no wait", builder().timeout(Duration::ZERO)),
        ("wait", builder().timeout(Duration::MAX)),
        ("clocks", builder().clock_difference(Duration::MAX)),
    ] {
        let refused = builder.open("redis://127.0.0.1:1").await.unwrap_err();
        assert!(matches!(refused, OpenError::Config(_)), "{name}: {refused}");
        assert!(refused.to_string().contains("at most"), "{name}: {refused}");
    }
    // TLS needs a provider that the application chooses, and this process has chosen none.
    let without_provider = RedisStore::open("rediss://127.0.0.1:1").await.unwrap_err();
    assert!(
        matches!(without_provider, OpenError::Config(_)),
        "{without_provider}"
    );
    assert!(
        without_provider.to_string().contains("install_default"),
        "{without_provider}"
    );
    for url in ["", "redis.example.com", "http://127.0.0.1:1"] {
        let refused = RedisStore::open(url).await.unwrap_err();
        assert!(matches!(refused, OpenError::Config(_)), "{url}: {refused}");
    }
    let nowhere = [
        builder().open_cluster(&[]).await,
        builder()
            .open_sentinel("orders", &[], "redis://127.0.0.1:1")
            .await,
    ];
    for refused in nowhere.map(Result::unwrap_err) {
        assert!(matches!(refused, OpenError::Config(_)), "{refused}");
    }
}

#[tokio::test]
async fn a_server_that_evicts_is_not_used() {
    for program in programs() {
        let server = Server::start(
            &program,
            &["--save", "", "--maxmemory-policy", "allkeys-lru"],
        );
        let refused = RedisStore::open(&server.url()).await.unwrap_err();
        assert_place(&refused, "noeviction");
        // Set while it is in use.
        server.tell(&["CONFIG", "SET", "maxmemory-policy", "noeviction"]);
        let store = quick(&server.url()).await;
        assert_eq!(ask(&store, &claim(1)).await, Ok(ClaimOutcome::New));
        server.tell(&["CONFIG", "SET", "maxmemory-policy", "volatile-ttl"]);
        assert!(store.check().await.is_err());
        assert_eq!(ask(&store, &claim(2)).await, UNAVAILABLE);
        server.tell(&["CONFIG", "SET", "maxmemory-policy", "noeviction"]);
        resumes(&store, 1000).await;
    }
}

#[tokio::test]
async fn a_server_without_memory_refuses_and_evicts_nothing() {
    for program in programs() {
        let server = Server::start(&program, NONE);
        let store = open(&server.url()).await;
        for nonce in 0..100 {
            assert_eq!(ask(&store, &claim(nonce)).await, Ok(ClaimOutcome::New));
        }
        server.tell(&["CONFIG", "SET", "maxmemory", "1"]);
        for nonce in 0..101 {
            assert_eq!(ask(&store, &claim(nonce)).await, Err(StoreErrorKind::Full));
        }
        server.tell(&["CONFIG", "SET", "maxmemory", "0"]);
        for nonce in 0..100 {
            assert_eq!(ask(&store, &claim(nonce)).await, Ok(ClaimOutcome::Replayed));
        }
    }
}

/// On a disk of two megabytes, in a namespace of its own: nothing is left of it.
#[tokio::test]
async fn a27_a_full_disk_accepts_nothing_twice() {
    for program in programs() {
        for fsync in ["always", "everysec"] {
            let folder = tempfile::tempdir().unwrap();
            let disk = folder.path().join("disk");
            fs::create_dir(&disk).unwrap();
            let script = folder.path().join("script");
            let (disk, program) = (disk.to_str().unwrap(), program.as_str());
            let mount = format!("mount -t tmpfs -o size=2m tmpfs {disk}");
            let run = format!("{mount} && exec \"$0\" \"$@\"");
            let command = format!("exec unshare --map-root-user --mount sh -c '{run}'");
            fs::write(&script, format!("#!/bin/sh\n{command} {program} \"$@\"\n")).unwrap();
            fs::set_permissions(&script, Permissions::from_mode(0o700)).unwrap();
            let mut arguments = DURABLE.to_vec();
            arguments.extend(["--appendfsync", fsync, "--dir", disk]);
            let server = Server::start(script.to_str().unwrap(), &arguments);
            let store = quick(&server.url()).await;
            let signed = now();
            let accepted: Vec<_> = (0..20).map(|nonce| claim_signed(nonce, signed)).collect();
            for claim in &accepted {
                assert_eq!(ask(&store, claim).await, Ok(ClaimOutcome::New));
            }

            // Until it is refused, or the server ends.
            let piece = vec![b'x'; 1 << 18];
            let fill = || server.ask::<redis::Value>(&[b"SET", b"piece".as_slice(), &piece]);
            let filled = (0..100).take_while(|_| fill().is_ok()).count();
            assert!((1..100).contains(&filled), "{filled} pieces");
            for nonce in 100..120 {
                assert!(ask(&store, &claim(nonce)).await.is_err());
            }
            for claim in &accepted {
                assert_ne!(ask(&store, claim).await, Ok(ClaimOutcome::New));
            }
        }
    }
}

#[tokio::test]
async fn a_replica_is_not_used() {
    for program in programs() {
        let master = Server::start(&program, NONE);
        let port = master.port.to_string();
        let replica = Server::start(&program, &["--save", "", "--replicaof", "127.0.0.1", &port]);
        let refused = RedisStore::open(&replica.url()).await.unwrap_err();
        assert!(refused.to_string().contains("replica"), "{refused}");
        // Made one while it is in use.
        let store = quick(&master.url()).await;
        assert_eq!(ask(&store, &claim(1)).await, Ok(ClaimOutcome::New));
        replica.tell(&["REPLICAOF", "NO", "ONE"]);
        master.tell(&["REPLICAOF", "127.0.0.1", &replica.port.to_string()]);
        assert_eq!(ask(&store, &claim(2)).await, UNAVAILABLE);
    }
}

/// Row 17, 27 and 61: a namespace has one retention, until somebody extends it.
#[tokio::test]
async fn a_namespace_whose_retention_is_raised_refuses_what_was_remembered_for_less() {
    for program in programs() {
        let server = Server::start(&program, NONE);
        let (short, long) = (quick(&server.url()).await, quick(&server.url()).await);
        let of = |nonce, retention: u64| {
            let retention = Duration::from_secs(retention);
            claim_signed(nonce, now()).with_retention(retention)
        };
        assert_eq!(ask(&short, &of(1, 300)).await, Ok(ClaimOutcome::New));
        for nonce in [1, 2] {
            let refused = ask(&long, &of(nonce, 3600)).await;
            assert_eq!(refused, Err(StoreErrorKind::Misconfigured));
        }
        let namespace = claim(1).namespace().to_owned();
        long.extend_retention(&namespace, HOUR).await.unwrap();
        assert_eq!(ask(&long, &of(1, 3600)).await, SIGN_AGAIN);
        let later = claim_signed(2, now().saturating_add(SKEW * 4)).with_retention(HOUR);
        assert_eq!(ask(&long, &later).await, Ok(ClaimOutcome::New));
        let without_time = claim_until(3, now().saturating_add(HOUR)).with_retention(HOUR);
        assert_eq!(ask(&long, &without_time).await, Ok(ClaimOutcome::New));
    }
}
