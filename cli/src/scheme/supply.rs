//! Values that are signed and not sent, as the command line gives them in the place of a server's
//! own row.

use std::time::Duration;

use bytes::Bytes;
use countersign::{
    MemoryStore, Processing, Rejection, VerifiedPayload, Verifier,
    request::{Supplied, Verified, VerifierBuilder},
    store::{Claim, ClaimOutcome, ConsumeIn, StoreFuture},
};
use http::request::Parts;
use http_body_util::Full;

use super::chosen::Chosen;
use crate::{exit::Failure, printer::escaped};

impl Chosen {
    /// The scheme with these values, each of which it names, and of which none is missing.
    pub(crate) fn supplying(mut self, given: &[(String, String)]) -> Result<Self, Failure> {
        let mut supplied = Supplied::new();
        for (name, value) in given {
            if !self.awaits.contains(name) {
                return Err(Failure::usage(
                    format!("`{}` has no supplied value `{}`", self.name, escaped(name)),
                    "only a scheme file names values that are signed and not sent",
                    "leave out --supply, or add { supplied = \"NAME\" } to `signs` of the file",
                ));
            }
            supplied = supplied.with(name, value);
        }
        let missing = self
            .awaits
            .iter()
            .find(|name| !given.iter().any(|(known, _)| known == *name));
        if let Some(name) = missing {
            return Err(Failure::usage(
                format!("no value is given for `{name}`"),
                format!(
                    "requests of `{}` are signed with a value that they do not send",
                    self.name
                ),
                format!("add --supply {name}=VALUE, with the value that the server has"),
            ));
        }
        self.supplied = supplied;
        Ok(self)
    }

    /// The scheme, for a command that has no values to supply.
    pub(crate) fn supplying_nothing(self, command: &str) -> Result<Self, Failure> {
        match self.awaits.first() {
            None => Ok(self),
            Some(name) => Err(Failure::usage(
                format!("`{command}` cannot sign with `{}`", self.name),
                format!(
                    "its requests are signed with the value `{}`, which they do not send",
                    escaped(name)
                ),
                "use `sign`, `verify` and `explain`, which take the value from --supply",
            )),
        }
    }

    /// Sets where a verifier records nonces: nowhere that lasts.
    pub(crate) fn recording_nothing(
        &self,
        builder: VerifierBuilder<Verifier>,
        store: MemoryStore,
    ) -> VerifierBuilder<Verifier> {
        if self.awaits.is_empty() {
            builder.store(store).processing(Processing::AtMostOnce)
        } else {
            builder.processing(Processing::InTransaction)
        }
    }

    /// Verifies a request, with the values that this side supplies.
    pub(crate) async fn verified(
        &self,
        verifier: &Verifier,
        head: &Parts,
        body: Bytes,
    ) -> Result<Option<VerifiedPayload>, Rejection> {
        match verifier.verify(head, Full::new(body)).await? {
            Verified::Unproven(unproven) => {
                let pending = unproven.prove(&self.supplied).await?;
                pending.consume(&mut Nowhere).await.map(Some)
            }
            verified => Ok(verified.payload().cloned()),
        }
    }
}

/// Records nothing: a request is looked at, and not used.
struct Nowhere;

impl ConsumeIn for Nowhere {
    fn consume<'a>(&'a mut self, _: &'a Claim, _: Duration) -> StoreFuture<'a, ClaimOutcome> {
        StoreFuture::ready(Ok(ClaimOutcome::New))
    }

    fn is_recorded<'a>(&'a mut self, _: &'a Claim) -> StoreFuture<'a, bool> {
        StoreFuture::ready(Ok(true))
    }
}
