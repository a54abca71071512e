//! How much work one head may cause before anything of it is believed.

use std::borrow::Cow;

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

    /// Returns whether more was asked for than there is. The request is then refused as a whole: a
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
