//! The material that checks make their cases of.

use std::{cell::Cell, time::Duration};

use countersign::{Timestamp, inspect::Source, store::NonceKind};
use http::header::DATE;

use super::{
    event::Event,
    subject::{Covered, Fresh, Subject, now, shifted},
    wire::Answer,
};
use crate::exit::Failure;

/// The subject, what its scheme covers, and how much is sent.
#[derive(Debug)]
pub(crate) struct Lab {
    pub(crate) subject: Subject,
    pub(crate) covered: Covered,
    pub(crate) copies: u16,
    pub(crate) others: u16,
    /// How long a server may wait for a body of a few bytes.
    pub(crate) patience: Duration,
    /// By how many seconds the server's clock differs, as far as its answers tell.
    pub(crate) apart: Cell<u64>,
}

impl Lab {
    pub(crate) fn fresh(&self) -> Result<Fresh, Failure> {
        self.subject.fresh()
    }

    /// A request of this event, signed now.
    pub(super) fn fresh_of(&self, event: Event) -> Result<Fresh, Failure> {
        let nonce = self.subject.events.nonce();
        self.subject.signed(event, nonce, now())
    }

    pub(crate) fn covers(&self, source: &Source) -> bool {
        self.covered.sources.contains(source)
    }

    pub(crate) fn has_event_id(&self) -> bool {
        self.covered.nonce == Some(NonceKind::Event)
    }

    pub(crate) fn has_nonce(&self) -> bool {
        self.covered.nonce == Some(NonceKind::Covered)
    }

    /// The same event, signed again: the number tells the signatures apart.
    pub(crate) fn again(&self, fresh: &Fresh, number: u16) -> Result<Fresh, Failure> {
        let nonce = match self.has_nonce() {
            true => self.subject.events.nonce(),
            false => fresh.nonce.clone(),
        };
        let at = match self.has_nonce() {
            true => fresh.at,
            false => shifted(fresh.at, -i64::from(number % 60)),
        };
        self.subject.signed(fresh.event.clone(), nonce, at)
    }

    /// Returns how old a request is that no window lets in.
    pub(crate) fn far(&self) -> i64 {
        let age = self.subject.max_age.map_or(0, |age| age.as_secs());
        let age = i64::try_from(age.max(DAY)).unwrap_or(i64::MAX);
        age.saturating_add(3600)
    }

    /// Notes by how much the server's clock differs.
    pub(super) fn compare_clocks(&self, answer: &Answer) {
        let date = answer.headers.get(DATE).and_then(|date| date.to_str().ok());
        if let Some(Ok(date)) = date.map(httpdate::parse_http_date) {
            let date = Timestamp::from(date).as_secs();
            self.apart.set(date.abs_diff(now().as_secs()));
        }
    }

    /// Returns how old a request may be, if that is known and the clocks agree: its edges can be
    /// tested.
    pub(super) fn edge(&self) -> Option<Duration> {
        self.subject.max_age.filter(|_| self.apart.get() < APART)
    }

    /// Returns what limits what is said about times.
    pub(crate) fn note(&self) -> Option<String> {
        if self.edge().is_some() || !self.covered.is_timed {
            return None;
        }
        let why = match self.subject.max_age {
            None => "add --max-age with the age that the endpoint allows".to_owned(),
            Some(_) => format!("the server's clock differs by {} s", self.apart.get()),
        };
        Some(format!("The edges of the window were not tested: {why}."))
    }

    /// Returns until when a request that is signed at this time is within the window, if that is
    /// known.
    pub(crate) fn expires(&self, at: Timestamp) -> Option<Timestamp> {
        let age = self.subject.max_age.filter(|_| self.covered.is_timed)?;
        // Most schemes sign whole seconds.
        Some(Timestamp::from_secs(at.as_secs())?.saturating_add(age))
    }
}

/// From how many seconds on clocks differ: `Date` says whole seconds, and edges are tested 2 s away.
const APART: u64 = 2;

const DAY: u64 = 24 * 60 * 60;
