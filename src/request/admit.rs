//! Second stage: is it fresh, is the key known, and where the head decides, does the MAC match?
//! All of it before any of the body is read.

use super::{parse::Parsed, state::State, verifier::Settings};
use crate::{
    error::{Fault, Rejection},
    message::Head,
    proof::{Announced, Refused, Signature, Trust, admit},
    scheme::Reading,
};

/// A request that is fresh and names a known key. Where the head completes the signed message, its
/// MAC has passed.
#[derive(Debug)]
#[must_use]
pub struct Admitted<'h> {
    pub(super) state: Box<State<'h>>,
}

impl Settings {
    fn trust(&self) -> Trust<'_> {
        Trust {
            algorithm: self.scheme.profile().algorithm,
            names_key: self.scheme.names_key(),
            keys: &*self.keys,
            clock: &*self.clock,
            freshness: &self.freshness,
            timeout: self.store_timeout,
        }
    }
}

impl<'h> Parsed<'h> {
    /// Checks freshness, looks up the key, and compares the MAC where the head decides.
    ///
    /// # Errors
    /// When every signature is stale, dated ahead, or under an unknown key, when the key look-up
    /// gives no answer, when a signature leaves out what must be covered or covers what is not
    /// there, or when the MAC does not match. Of several signatures, a bad one blocks nothing, and
    /// the first one's rejection is returned. Signatures under more than four different keys are
    /// refused, and so are signatures that cause more work than
    /// [stated](crate::HttpMessageSignatures#what-the-default-profile-requires).
    ///
    /// # Panics
    /// When there is something to wait for, outside of a Tokio runtime with its timer.
    pub async fn admit(self) -> Result<Admitted<'h>, Rejection> {
        let Self { mut state, reading } = self;
        if let Reading::Announced(announced) = reading {
            let trust = state.verifier.settings.trust();
            let head = &state.head;
            let admitting = admit(&trust, head, head.headers, announced).await;
            state.signatures = admitting.map_err(|Refused { fault, too_old }| {
                if let (Some(report), Some(too_old)) = (&state.report, too_old) {
                    report.never(too_old.since, &too_old.mac);
                }
                state.verifier.answered(fault.into())
            })?;
        }
        Ok(Admitted { state })
    }
}

/// For the schemes whose signature stands in the body.
pub(super) async fn admit_from_body(
    settings: &Settings,
    head: &Head<'_>,
    announced: Vec<Announced<'static>>,
) -> Result<Vec<Signature<'static>>, Fault> {
    Ok(admit(&settings.trust(), head, head.headers, announced).await?)
}
