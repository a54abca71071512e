//! Third stage: the body arrives, within its limits, and goes into the MAC frame by frame.

use std::{
    error::Error as StdError,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::Body;
use tokio::runtime::Handle;

use super::{
    admit::{Admitted, Signature, admit_from_body},
    budget::Charge,
    verifier::{Settings, Verifier},
};
use crate::{
    body::{self, Arriving},
    error::{Rejection, RejectionKind, malformed},
    key::RunningMac,
    message::{BodyForm, BodyPlace, DigestAlgorithm, Formed, HashOutput, Head, RunningDigest},
    once::Report,
    proof::Announced,
};

/// The longest body that is sorted or parsed on the thread of the runtime, in bytes.
const MAX_ON_RUNTIME: usize = 64 * 1024;

/// A request whose body has arrived whole.
#[must_use]
pub struct Received<'h> {
    pub(super) verifier: &'h Verifier,
    pub(super) head: Head<'h>,
    pub(super) signatures: Vec<Signature<'h>>,
    pub(super) body: Bytes,
    /// The body in the form in which it is signed, where that is not the one in which it arrived.
    pub(super) formed: Option<Formed>,
    pub(super) fed: Fed,
    pub(super) charge: Charge,
    pub(super) report: Option<Report>,
}

/// What the frames of the body are fed to as they arrive.
pub(crate) enum Fed {
    /// Nothing: the message is put together once the body is there.
    Nothing,
    /// The MAC of the first signature, under its first secret.
    Mac(RunningMac),
    /// The digests that stand in a covered part of some head.
    Digests(Vec<(DigestAlgorithm, RunningDigest)>),
    /// No signature covers a body: there must be none.
    NoBody,
}

/// Without the body, which may be confidential, and without what other keys use of the budget.
impl std::fmt::Debug for Received<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Received")
            .field("head", &self.head)
            .field("signatures", &self.signatures)
            .field("body", &self.body.len())
            .field("fed", &self.fed)
            .finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Fed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Nothing => "Nothing",
            Self::Mac(_) => "Mac",
            Self::Digests(_) => "Digests",
            Self::NoBody => "NoBody",
        })
    }
}

impl<'h> Admitted<'h> {
    /// Reads the body: within the limit, the deadline for the whole of it, and the budget. Trailers
    /// are dropped.
    ///
    /// A body of one frame is kept as it came; frames of a longer one are copied into one
    /// buffer, which grows with what arrives. Where a canonical form is signed, the body is put into
    /// it: a body of more than 64 KiB on a thread of the runtime where work may block.
    ///
    /// # Errors
    /// When the body is too large, too slow, broken off, or not covered; when it has no canonical form
    /// and must have one; or when it has to give way to another.
    ///
    /// # Panics
    /// When the body is not ready at once, outside of a Tokio runtime with its timer.
    pub fn receive<B>(self, body: B) -> impl Future<Output = Result<Received<'h>, Rejection>>
    where
        B: Body<Data: Into<Bytes>, Error: Into<Box<dyn StdError + Send + Sync>>>,
    {
        // An `async fn` would keep room for its arguments twice.
        let Self {
            verifier,
            head,
            mut signatures,
            report,
        } = self;
        async move {
            let settings = &verifier.settings;
            let mut fed = Fed::new(settings, &signatures);
            let mut charge = Charge::new(&settings.budget);
            let key = signatures
                .first()
                .map_or("", |signature| &signature.candidate.parameters.key_id);
            let arriving = Charged {
                charge: &mut charge,
                key,
                fed: &mut fed,
            };
            let body = body::read(body, &settings.body, arriving).await?;
            if let Some(report) = &report {
                let (algorithm, digest) = fed.digest(&body);
                report.received(algorithm, digest);
            }
            let mut formed = None;
            // Boxed, so that what few schemes need makes the future no larger for all.
            if signatures.is_empty() {
                let announced;
                (announced, charge) = Box::pin(read_signatures(settings, &body, charge)).await?;
                let admitting = Box::pin(admit_from_body(settings, &head, announced));
                signatures = charge.wait_for("", admitting).await??;
            }
            // One scheme signs all bodies in one form.
            if let Some(first) = signatures.first()
                && let Some(form) = first.candidate.message.body_form()
            {
                (formed, charge) =
                    Box::pin(form_body(settings, form.clone(), &body, charge, first)).await?;
            }
            charge.complete();
            Ok(Received {
                verifier,
                head,
                signatures,
                body,
                formed,
                fed,
                charge,
                report,
            })
        }
    }
}

/// Reads the signatures that the body holds.
async fn read_signatures(
    settings: &Arc<Settings>,
    body: &Bytes,
    charge: Charge,
) -> Result<(Vec<Announced<'static>>, Charge), Rejection> {
    let (asked, bytes) = (Arc::clone(settings), body.clone());
    let work = move || asked.scheme.read_body(&bytes);
    let (announced, charge) = over_body(settings, body.len(), "", charge, work).await?;
    Ok((announced?, charge))
}

/// Puts the body into the form in which it is signed, and charges what that takes up.
async fn form_body(
    settings: &Settings,
    form: BodyForm,
    body: &Bytes,
    charge: Charge,
    signature: &Signature<'_>,
) -> Result<(Option<Formed>, Charge), Rejection> {
    let bytes = body.clone();
    let key = &signature.candidate.parameters.key_id;
    let work = move || form.rewrite(&bytes);
    let (formed, mut charge) = over_body(settings, body.len(), key, charge, work).await?;
    let formed = formed.map_err(malformed)?;
    charge.complete();
    if let Some(formed) = &formed {
        charge.add(formed.len_beside(body), key)?;
    }
    Ok((formed, charge))
}

/// Does work over a whole body: that over a long one on a thread where work may block. That thread
/// holds the charge of the body, because it cannot be stopped when nobody waits for it any longer.
///
/// Outside of a Tokio runtime, the work is done at once.
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
    fed: &'a mut Fed,
}

impl Arriving for Charged<'_> {
    fn arrived(&mut self, data: &[u8], more: usize) -> Result<(), Rejection> {
        self.charge.add(more, self.key)?;
        self.fed.update(data)
    }

    fn poll_refused(&mut self, cx: &mut Context<'_>) -> Poll<Rejection> {
        self.charge.poll_displaced(self.key, cx)
    }
}

impl Fed {
    fn new(settings: &Settings, signatures: &[Signature<'_>]) -> Self {
        let Some(first) = signatures.first() else {
            return Self::Nothing;
        };
        let message = &first.candidate.message;
        match message.body_place() {
            BodyPlace::At {
                form: BodyForm::Raw,
                ..
            } => {
                let Some(key) = first.secrets().next() else {
                    return Self::Nothing;
                };
                let mut mac = settings.scheme.start(key, &first.candidate.parameters);
                mac.update(message.before_body());
                Self::Mac(mac)
            }
            BodyPlace::At { .. } => Self::Nothing,
            BodyPlace::Digests(_) => Self::digests(signatures),
        }
    }

    /// The digests that the signatures name.
    pub(crate) fn digests(signatures: &[Signature<'_>]) -> Self {
        let mut digests: Vec<(DigestAlgorithm, RunningDigest)> = Vec::new();
        let named = signatures
            .iter()
            .flat_map(|s| s.candidate.message.digest_algorithms());
        for algorithm in named {
            if !digests.iter().any(|(known, _)| *known == algorithm) {
                digests.push((algorithm, RunningDigest::new(algorithm)));
            }
        }
        if digests.is_empty() {
            Self::NoBody
        } else {
            Self::Digests(digests)
        }
    }

    /// A digest of the whole body: one that was fed with it, or else SHA-256.
    fn digest(&self, body: &[u8]) -> (DigestAlgorithm, HashOutput) {
        if let Self::Digests(digests) = self
            && let Some((algorithm, digest)) = digests.first()
        {
            return (*algorithm, digest.clone().finish());
        }
        let algorithm = DigestAlgorithm::Sha256;
        let mut digest = RunningDigest::new(algorithm);
        digest.update(body);
        (algorithm, digest.finish())
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) -> Result<(), Rejection> {
        match self {
            Self::Nothing => {}
            Self::Mac(mac) => mac.update(bytes),
            Self::Digests(digests) => {
                for (_, digest) in digests {
                    digest.update(bytes);
                }
            }
            Self::NoBody if bytes.is_empty() => {}
            Self::NoBody => {
                return Err(body_not_covered());
            }
        }
        Ok(())
    }
}

pub(super) fn body_not_covered() -> Rejection {
    Rejection::new(
        RejectionKind::BodyNotCovered,
        "the signature covers no body, and there is one",
    )
}
