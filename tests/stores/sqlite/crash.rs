//! A process that is killed in the midst of claims: whatever it was answered is still refused.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::Stdio,
    sync::Arc,
    time::Duration,
};

use countersign::store::ClaimOutcome;
use tokio::task::JoinSet;

use super::{ask, folder, open, process};

const ROUNDS: u64 = 5;

/// The work of a child: it claims one nonce after the other, 64 in flight, and says which were accepted,
/// until it is killed.
pub(crate) async fn child(folder: &Path, first: u64) {
    let store = Arc::new(open(folder.join("nonces.db")).await);
    let mut tasks = JoinSet::new();
    for nonce in first.. {
        let store = Arc::clone(&store);
        tasks.spawn(async move { (nonce, ask(&store, nonce).await) });
        if tasks.len() == 64
            && let Some(Ok((nonce, answer))) = tasks.join_next().await
        {
            assert_eq!(answer, Ok(ClaimOutcome::New));
            let mut out = std::io::stdout().lock();
            writeln!(out, "accepted {nonce}").unwrap();
            out.flush().unwrap();
        }
    }
}

#[tokio::test]
async fn what_was_accepted_before_a_crash_is_refused_after_it() {
    let folder = folder();
    let mut accepted: Vec<u64> = Vec::new();
    for round in 0..ROUNDS {
        let part = format!("claim {}", round << 32);
        let mut child = process(&part, folder.path());
        let mut child = child.stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let before = accepted.len();
        // At another moment of a transaction each time.
        let until = 500 + 37 * usize::try_from(round).unwrap();
        for line in lines {
            // The line that it is killed in may be cut off.
            let Ok(line) = line else { break };
            let nonce = line.strip_prefix("accepted ");
            accepted.extend(nonce.and_then(|nonce| nonce.parse::<u64>().ok()));
            if accepted.len() == before + until {
                tokio::time::sleep(Duration::from_micros(round * 211)).await;
                child.kill().unwrap();
            }
        }
        child.wait().unwrap();
        assert!(accepted.len() >= before + until, "it ended by itself");

        let store = open(folder.path().join("nonces.db")).await;
        for nonce in &accepted {
            assert_eq!(
                ask(&store, *nonce).await,
                Ok(ClaimOutcome::Replayed),
                "{nonce}"
            );
        }
        assert_eq!(ask(&store, u64::MAX - round).await, Ok(ClaimOutcome::New));
    }
}
