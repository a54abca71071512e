//! The future that stores and key look-ups return: an answer at hand, or one to wait for.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use crate::error::StoreError;

/// What a store or a key look-up returns: ready without allocation, or boxed.
///
/// Dropping it before it is done may leave the step done or undone; whoever drops it must take the
/// outcome for unknown.
///
/// ```
/// use countersign::{StoreError, StoreFuture};
///
/// let at_hand: StoreFuture<'_, u8> = StoreFuture::ready(Ok(7));
/// let to_wait_for: StoreFuture<'_, u8> = StoreFuture::new(async { Ok::<_, StoreError>(7) });
/// ```
#[must_use = "a store does nothing unless its future is awaited"]
pub struct StoreFuture<'a, T>(Inner<'a, T>);

enum Inner<'a, T> {
    Ready(Option<Result<T, StoreError>>),
    Boxed(Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>),
}

impl<'a, T> StoreFuture<'a, T> {
    /// An answer that is at hand.
    pub fn ready(answer: Result<T, StoreError>) -> Self {
        Self(Inner::Ready(Some(answer)))
    }

    /// An answer to wait for.
    pub fn new(future: impl Future<Output = Result<T, StoreError>> + Send + 'a) -> Self {
        Self(Inner::Boxed(Box::pin(future)))
    }

    /// The answer, if it is at hand; saves the caller a timer.
    pub(crate) fn at_hand(self) -> Result<Result<T, StoreError>, Self> {
        match self.0 {
            Inner::Ready(Some(answer)) => Ok(answer),
            inner => Err(Self(inner)),
        }
    }
}

impl<T: Unpin> Future for StoreFuture<'_, T> {
    type Output = Result<T, StoreError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            Inner::Ready(answer) => answer.take().map_or(Poll::Pending, Poll::Ready),
            Inner::Boxed(future) => future.as_mut().poll(cx),
        }
    }
}

impl<T> fmt::Debug for StoreFuture<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Inner::Ready(_) => "StoreFuture(ready)",
            Inner::Boxed(_) => "StoreFuture(boxed)",
        })
    }
}

/// Waits for a store, but no longer than `limit`. What is at hand needs no timer, and no room for
/// one in the futures that wait.
pub(crate) fn within<'a, T: Unpin + Send + 'a>(
    limit: Duration,
    answer: StoreFuture<'a, T>,
) -> StoreFuture<'a, T> {
    match answer.at_hand() {
        Ok(answer) => StoreFuture::ready(answer),
        Err(to_wait_for) => StoreFuture::new(async move {
            tokio::time::timeout(limit, to_wait_for)
                .await
                .unwrap_or_else(|_| {
                    Err(StoreError::unavailable(format!(
                        "the store gave no answer within {limit:?}"
                    )))
                })
        }),
    }
}
