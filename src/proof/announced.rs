//! A signature before its message is built: what can be checked at little cost, and how to go on.

use std::{borrow::Cow, fmt};

use super::candidate::{Candidate, Parameters};
use crate::{
    error::Fault,
    message::{HashOutput, Head, Message},
};

/// One signature, as a request claims it. Anybody can claim one, so that its message is built only
/// once its time and its key have been checked.
pub(crate) struct Announced<'h> {
    pub(crate) parameters: Parameters<'h>,
    pub(crate) mac: HashOutput,
    pub(crate) build: Build<'h>,
}

/// Builds the signed message from the head of the request.
pub(crate) type Build<'h> =
    Box<dyn FnOnce(&Head<'_>, &mut Room) -> Result<Message, Fault> + Send + Sync + 'h>;

impl<'h> Announced<'h> {
    /// Builds the message: for a signature that is fresh and under a known key, which the request
    /// names unless the scheme has a fixed one.
    pub(crate) fn build(
        self,
        head: &Head<'_>,
        names_key: bool,
        room: &mut Room,
    ) -> Result<Candidate<'h>, Fault> {
        let Self {
            parameters,
            mac,
            build,
        } = self;
        let message = build(head, room)?;
        parameters.check(&message, names_key)?;
        Ok(Candidate {
            parameters,
            mac,
            message,
        })
    }
}

impl fmt::Debug for Announced<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Announced")
            .field("parameters", &self.parameters)
            .finish_non_exhaustive()
    }
}

/// How much may still be done for one head, over all signatures that it claims and all secrets that
/// they are compared under: key ids are public, so that anybody can cause this work.
#[derive(Debug)]
pub(crate) struct Room {
    to_read: usize,
    to_authenticate: usize,
    is_exceeded: bool,
}

impl Room {
    /// Bytes of one head that are read for messages, each as often as it is read; and bytes that go
    /// into MACs.
    pub(crate) const BYTES: usize = 64 * 1024;

    pub(crate) const fn new() -> Self {
        Self {
            to_read: Self::BYTES,
            to_authenticate: Self::BYTES,
            is_exceeded: false,
        }
    }

    /// Takes room for bytes that are about to be read.
    pub(crate) fn read(&mut self, bytes: usize) -> Result<(), Cow<'static, str>> {
        match self.to_read.checked_sub(bytes) {
            Some(left) => self.to_read = left,
            None => return Err(self.exceeded("cover fields")),
        }
        Ok(())
    }

    /// Takes room for bytes that are about to go into a MAC.
    pub(crate) fn authenticate(&mut self, bytes: usize) -> Result<(), Cow<'static, str>> {
        match self.to_authenticate.checked_sub(bytes) {
            Some(left) => self.to_authenticate = left,
            None => return Err(self.exceeded("sign messages")),
        }
        Ok(())
    }

    /// Whether more was asked for than there is. The request is then refused as a whole: a
    /// signature that is not looked at could count when it comes alone.
    pub(crate) fn is_exceeded(&self) -> bool {
        self.is_exceeded
    }

    fn exceeded(&mut self, what: &str) -> Cow<'static, str> {
        self.is_exceeded = true;
        let bytes = Self::BYTES;
        format!("the signatures {what} of more than {bytes} bytes, over all signatures and secrets")
            .into()
    }
}
