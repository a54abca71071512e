//! The search of `explain` for a refused request: one at a time, within bounds.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use countersign::{Rejection, RejectionKind};
use http::Request;
use tokio::{sync::Semaphore, task::spawn_blocking};

use crate::{
    explain::{Input, Limits, Row, Shape, search},
    scheme::Chosen,
    secret::SecretText,
};

const DEADLINE: Duration = Duration::from_secs(2);

const MAX_BODY: usize = 1024 * 1024;

/// Bytes that go into MACs for one request.
const WORK: u64 = 1024 * 1024 * 1024;

/// The result of a search.
#[derive(Clone, Debug)]
pub(crate) enum Searched {
    /// The changes that make the signature match, and how many hypotheses were tried.
    Found(Vec<&'static Row>, usize),
    /// None of this number of hypotheses matches.
    Nothing(usize),
    /// Why nothing was searched.
    Skipped(&'static str),
}

/// Searches for the change that makes a signature match.
#[derive(Clone, Debug)]
pub(crate) struct Search {
    subject: Option<Arc<Subject>>,
    one_at_a_time: Arc<Semaphore>,
}

#[derive(Debug)]
struct Subject {
    chosen: Chosen,
    shape: Option<Shape>,
    origin: Option<String>,
    secrets: Vec<SecretText>,
}

impl Search {
    pub(crate) fn new(chosen: &Chosen, origin: Option<&str>, secrets: &[SecretText]) -> Self {
        Self {
            subject: Some(Arc::new(Subject {
                chosen: chosen.clone(),
                shape: Shape::of(chosen),
                origin: origin.map(str::to_owned),
                secrets: secrets.to_vec(),
            })),
            one_at_a_time: Arc::new(Semaphore::new(1)),
        }
    }

    /// Searches nothing: strangers reach the server, and their requests would keep it busy.
    pub(crate) fn off() -> Self {
        Self {
            subject: None,
            one_at_a_time: Arc::new(Semaphore::new(1)),
        }
    }

    /// Searches for the cause, if the signature does not match.
    pub(super) async fn explain(
        &self,
        rejection: &Rejection,
        request: &Request<Bytes>,
    ) -> Option<Searched> {
        if rejection.kind() != RejectionKind::SignatureInvalid {
            return None;
        }
        let not = |why| Some(Searched::Skipped(why));
        let Some(subject) = self.subject.clone() else {
            return not("the address is not loopback; --explain searches all the same");
        };
        if request.body().len() > MAX_BODY {
            return not("the body is longer than 1 MiB");
        }
        let Ok(permit) = Arc::clone(&self.one_at_a_time).try_acquire_owned() else {
            return not("another request was searched at that moment");
        };
        let request = request.clone();
        let searching = spawn_blocking(move || {
            let _permit = permit;
            subject.explain(&request)
        });
        Some(searching.await.unwrap_or(Searched::Nothing(0)))
    }
}

impl Subject {
    fn explain(&self, request: &Request<Bytes>) -> Searched {
        let input = Input {
            chosen: &self.chosen,
            shape: self.shape.as_ref(),
            request,
            origin: self.origin.as_deref(),
            secrets: &self.secrets,
            previous: &[],
        };
        let limits = Limits {
            deadline: Some(Instant::now() + DEADLINE),
            bytes: WORK,
        };
        let outcome = search(&input, limits, &mut |_, _| {});
        match outcome.found {
            Some(found) if !found.rows.is_empty() => Searched::Found(found.rows, outcome.tried),
            _ => Searched::Nothing(outcome.tried),
        }
    }
}

impl Searched {
    pub(crate) fn is_explained(&self) -> bool {
        matches!(self, Self::Found(..))
    }

    /// In one sentence.
    pub(crate) fn sentence(&self) -> String {
        match self {
            Self::Found(rows, _) => {
                let whats: Vec<&str> = rows.iter().map(|row| row.what).collect();
                format!("It matches if {}.", whats.join(", and "))
            }
            Self::Nothing(tried) => {
                format!("Nothing explains the mismatch; {tried} hypotheses were tried.")
            }
            Self::Skipped(why) => format!("Not searched: {why}."),
        }
    }

    /// Each side that must change something, and the change.
    pub(crate) fn fixes(&self) -> Vec<(&'static str, &'static str)> {
        let mut fixes = Vec::new();
        if let Self::Found(rows, _) = self {
            for fix in rows.iter().map(|row| (row.side.name(), row.fix)) {
                if !fixes.contains(&fix) {
                    fixes.push(fix);
                }
            }
        }
        fixes
    }
}
