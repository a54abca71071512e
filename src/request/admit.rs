//! Second stage: is it fresh, is the key known, and where the head decides, does the MAC match?
//! All of it before any of the body is read, unless the signature is in the body (Mailgun), or the time
//! (Linear).

use super::{parse::Parsed, state::State, verifier::Settings};
use crate::{
    error::Rejection,
    message::Head,
    once::Report,
    proof::{Candidates, Compared, Keys, Refused, Signatures, Trust, admit_over_head, look_up},
    scheme::Reading,
};

/// A request that is fresh and names a known key. If the head completes the signed message, its
/// MAC has passed.
#[derive(Debug)]
#[must_use]
pub struct Admitted<'h> {
    pub(super) state: Box<State<'h>>,
}

impl Settings {
    /// Looks up the keys of the fresh ones among the signatures that a request claims.
    pub(super) async fn look_up(&self, candidates: &mut Candidates<'_>) -> Result<Keys, Refused> {
        look_up(&self.trust(), candidates).await
    }

    /// Admits the signatures that the head or the body of a request claims.
    pub(super) fn admit<'h>(
        &self,
        head: &Head<'_>,
        candidates: &mut Candidates<'h>,
        keys: Keys,
        admitted: &mut Signatures<'h>,
    ) -> Result<(), Refused> {
        admit_over_head(
            &self.trust(),
            head,
            head.headers,
            candidates,
            keys,
            admitted,
        )
    }

    fn trust(&self) -> Trust<'_> {
        Trust {
            algorithm: self.scheme.profile().algorithm,
            names_key: self.scheme.names_key(),
            keys: &*self.keys,
            clock: &*self.clock,
            freshness: &self.freshness,
            timeout: self.memory.timeout(),
            whole: Compared::Head,
        }
    }
}

impl<'h> Parsed<'h> {
    /// Checks freshness, looks up the key, and compares the MAC where the head decides.
    ///
    /// # Errors
    /// Returns an error if every signature is stale, dated ahead, or under an unknown key, if the
    /// key look-up gives no answer, if a signature leaves out what must be covered or covers what
    /// is not there, or if the MAC does not match. If the request has several signatures, a bad one
    /// blocks nothing, and the rejection of the first is returned. Signatures under more than four
    /// different keys are refused, and so are signatures that cause more work than
    /// [stated](crate::HttpMessageSignatures#requirements-of-the-default-profile).
    ///
    /// # Panics
    /// Panics if there is something to wait for, outside of a Tokio runtime with its timer.
    pub async fn admit(self) -> Result<Admitted<'h>, Rejection> {
        let Self { mut state } = self;
        let State {
            verifier,
            head,
            report,
            reading,
            signatures,
            ..
        } = &mut *state;
        if let Reading::InHead(candidates) = reading {
            let settings = &verifier.settings;
            let keys = settings.look_up(candidates).await;
            let admitted = keys.and_then(|keys| settings.admit(head, candidates, keys, signatures));
            admitted.map_err(|refused| verifier.answered(refuse(refused, report.as_ref())))?;
        }
        Ok(Admitted { state })
    }
}

/// Refuses a request, and reports what is final of that.
pub(super) fn refuse(refused: Refused, report: Option<&Report>) -> Rejection {
    if let (Some(report), Some(too_old)) = (report, refused.too_old) {
        report.never(too_old.since, &too_old.mac);
    }
    refused.fault.into()
}
