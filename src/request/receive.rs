//! Third stage: the body arrives, within its limits, and goes into the MAC frame by frame.

use std::{
    error::Error as StdError,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::Body;
use tokio::{runtime::Handle, time::timeout};

use super::{admit::Admitted, budget::Charge, state::State, verifier::Settings};
use crate::{
    body::{self, Arriving},
    error::{Fault, Rejection, RejectionKind, malformed},
    message::BodyForm,
    proof::{Candidates, Fed, Signature, first_key},
    scheme::Reading,
};

/// The longest body that is sorted or parsed on the thread of the runtime, in bytes.
const MAX_ON_RUNTIME: usize = 64 * 1024;

/// A request whose body has arrived whole.
#[derive(Debug)]
#[must_use]
pub struct Received<'h> {
    pub(super) state: Box<State<'h>>,
}

impl<'h> Admitted<'h> {
    /// Reads the body: within the limit, the deadline for the whole of it, and the budget. Trailers
    /// are dropped.
    ///
    /// A body of one frame is kept as it came; frames of a longer one are copied into one buffer,
    /// which grows with what arrives. If a canonical form is signed, the body is put into it: a
    /// body of more than 64 KiB on a thread of the runtime where work may block.
    ///
    /// # Errors
    /// Returns an error if the body is too large, too slow, broken off, or not covered; if it has no
    /// canonical form and must have one; if it must give way to another; or if as many requests as
    /// [`max_unproven`](super::VerifierBuilder::max_unproven) allows wait for a handler to supply a
    /// signed value.
    ///
    /// # Panics
    /// Panics if the body is not ready at once, outside of a Tokio runtime with its timer.
    pub async fn receive<B>(self, body: B) -> Result<Received<'h>, Rejection>
    where
        B: Body<Data: Into<Bytes>, Error: Into<Box<dyn StdError + Send + Sync>>>,
    {
        let Self { mut state } = self;
        let received = match state.read(body).await {
            Ok(()) => state.arrived().await,
            Err(rejection) => Err(rejection),
        };
        received.map_err(|rejection| state.verifier.answered(rejection))?;
        Ok(Received { state })
    }

    /// Takes over a body that has arrived for another scheme, and is charged there.
    pub(super) async fn take_over(self, body: &Bytes) -> Result<Received<'h>, Rejection> {
        let Self { mut state } = self;
        let taken = state.take_over(body).await;
        taken.map_err(|rejection| state.verifier.answered(rejection))?;
        Ok(Received { state })
    }
}

impl State<'_> {
    async fn take_over(&mut self, body: &Bytes) -> Result<(), Rejection> {
        self.fed = Fed::new(&self.signatures);
        if !body.is_empty() {
            self.fed.update(body)?;
        }
        self.body = body.clone();
        self.arrived().await
    }

    /// The body is whole.
    async fn arrived(&mut self) -> Result<(), Rejection> {
        // Boxed, so that what few schemes need makes the future no larger for all.
        if let Reading::AfterBody(key_id) = &self.reading {
            let key_id = key_id.clone().into_owned();
            Box::pin(self.admit_from_body(key_id)).await?;
        }
        // One scheme signs all bodies in one form.
        let first = self.signatures.first();
        if let Some(form) = first.and_then(|first| first.message().body_form()) {
            let form = form.clone();
            Box::pin(self.form_body(form)).await?;
        }
        if self.verifier.awaits_supply() {
            Box::pin(self.wait_to_be_proven()).await?;
        }
        self.charge.complete();
        Ok(())
    }

    /// Waits until few enough requests are in the hands of handlers whose MAC is not compared yet.
    async fn wait_to_be_proven(&mut self) -> Result<(), Rejection> {
        let settings = &self.verifier.settings;
        let key = first_key(&self.signatures).unwrap_or_default();
        let turn = Arc::clone(&settings.unproven).acquire_owned();
        let turn = timeout(settings.memory.timeout(), turn);
        let turn = self.charge.wait_for(key, turn).await?;
        let turn = turn.ok().and_then(Result::ok).ok_or_else(|| {
            Rejection::new(
                RejectionKind::HandlersExhausted,
                "as many requests as `max_unproven` allows wait for their handler to supply a signed value",
            )
        })?;
        self.unproven = Some(turn);
        Ok(())
    }

    async fn read<B>(&mut self, body: B) -> Result<(), Rejection>
    where
        B: Body<Data: Into<Bytes>, Error: Into<Box<dyn StdError + Send + Sync>>>,
    {
        let settings = &self.verifier.settings;
        self.fed = Fed::new(&self.signatures);
        let arriving = Charged {
            charge: &mut self.charge,
            // Empty where it is not known yet.
            key: first_key(&self.signatures).unwrap_or_default(),
            message: signed_by_head(&self.signatures),
            fed: &mut self.fed,
        };
        self.body = body::read(body, &settings.body, arriving).await?;
        if let Some(report) = &self.report {
            let (algorithm, digest) = self.fed.digest(&self.body);
            report.received(algorithm, digest);
        }
        Ok(())
    }

    /// Reads the signatures that the body holds, and admits them.
    async fn admit_from_body(&mut self, key_id: String) -> Result<(), Rejection> {
        let settings = &self.verifier.settings;
        let (asked, bytes) = (Arc::clone(settings), self.body.clone());
        let work = move || asked.scheme.read_body(key_id, &bytes);
        let (len, charge) = (self.body.len(), self.charge.take());
        let candidates;
        (candidates, self.charge) = over_body(settings, len, "", charge, work).await?;
        let mut candidates = Candidates::from_vec(candidates?);
        let looking_up = Box::pin(settings.look_up(&mut candidates));
        let keys = self.charge.wait_for("", looking_up).await?;
        let admitted = keys.and_then(|keys| {
            settings.admit(&self.head, &mut candidates, keys, &mut self.signatures)
        });
        admitted.map_err(Fault::from)?;
        Ok(())
    }

    /// Puts the body into the form in which it is signed, and charges what that takes up.
    async fn form_body(&mut self, form: BodyForm) -> Result<(), Rejection> {
        let settings = &self.verifier.settings;
        let key = first_key(&self.signatures).unwrap_or_default();
        let bytes = self.body.clone();
        let work = move || form.rewrite(&bytes);
        let (len, charge) = (self.body.len(), self.charge.take());
        let formed;
        (formed, self.charge) = over_body(settings, len, key, charge, work).await?;
        self.formed = formed.map_err(malformed)?.map(Box::new);
        self.charge.complete();
        if let Some(formed) = &self.formed {
            self.charge.add(formed.len_beside(&self.body), key)?;
        }
        Ok(())
    }
}

/// Does work over a whole body: over a long body, on a thread where work may block. The thread
/// holds the charge of the body, because it cannot be stopped when nobody waits for it any longer.
///
/// Panics outside of a Tokio runtime, the work is done at once.
async fn over_body<T: Send + 'static>(
    settings: &Settings,
    body_len: usize,
    key: &str,
    mut charge: Charge,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<(T, Charge), Rejection> {
    let runtime = match Handle::try_current() {
        Ok(runtime) if body_len > MAX_ON_RUNTIME => runtime,
        _ => return Ok((work(), charge)),
    };
    let stopped = |_| {
        Rejection::new(
            RejectionKind::BodyUnreadable,
            "the runtime was shut down while the body was read",
        )
    };
    // As many at a time as there are processors: what one needs beside its body is not charged.
    let turn = Arc::clone(&settings.long_bodies).acquire_owned();
    let turn = charge.wait_for(key, turn).await?;
    let working = runtime.spawn_blocking(move || {
        let done = (work(), charge);
        drop(turn);
        done
    });
    working.await.map_err(stopped)
}

/// Charges what arrives, and feeds it.
struct Charged<'a> {
    charge: &'a mut Charge,
    key: &'a str,
    /// The message, if the head completes it, until it is known to the charge.
    message: Option<&'a [u8]>,
    fed: &'a mut Fed,
}

/// The signed message that the head completes, and whose MAC has passed.
fn signed_by_head<'s>(signatures: &'s [Signature<'_>]) -> Option<&'s [u8]> {
    let whole = signatures.iter().find(|signature| signature.is_whole())?;
    Some(whole.message().before_body())
}

impl Arriving for Charged<'_> {
    type Refusal = Rejection;

    fn arrived(&mut self, data: &[u8], more: usize) -> Result<(), Rejection> {
        self.charge.add(more, self.key)?;
        Ok(self.fed.update(data)?)
    }

    fn poll_refused(&mut self, cx: &mut Context<'_>) -> Poll<Rejection> {
        // Nothing was waited for before.
        if let Some(message) = self.message.take() {
            self.charge.is_signed(message);
        }
        self.charge.poll_displaced(self.key, cx)
    }
}
