//! The futures that this crate names: what stores and key look-ups return, an answer at hand or one
//! to wait for; and what layers return, one box around one `async` block.

use std::{
    fmt,
    future::poll_fn,
    pin::{Pin, pin},
    task::{Context, Poll},
    time::Duration,
};

use crate::error::{KeyError, StoreError};

/// The answer of a store or a key store: ready without allocation, or boxed.
///
/// Dropping it before it is done may leave the step done or undone; whoever drops it must take the
/// outcome for unknown.
///
/// ```
/// use countersign::{error::StoreError, store::StoreFuture};
///
/// let at_hand: StoreFuture<'_, u8> = StoreFuture::ready(Ok(7));
/// let to_wait_for: StoreFuture<'_, u8> = StoreFuture::new(async { Ok::<_, StoreError>(7) });
/// ```
#[must_use = "a store does nothing unless its future is awaited"]
pub struct StoreFuture<'a, T, E = StoreError>(Inner<'a, T, E>);

enum Inner<'a, T, E> {
    Ready(Option<Result<T, E>>),
    Boxed(Pin<Box<dyn Future<Output = Result<T, E>> + Send + 'a>>),
}

impl<'a, T, E> StoreFuture<'a, T, E> {
    /// An answer that is at hand.
    pub fn ready(answer: Result<T, E>) -> Self {
        Self(Inner::Ready(Some(answer)))
    }

    /// An answer to wait for.
    pub fn new(future: impl Future<Output = Result<T, E>> + Send + 'a) -> Self {
        Self(Inner::Boxed(Box::pin(future)))
    }

    /// The answer, if it is at hand; saves the caller a timer.
    pub(crate) fn at_hand(self) -> Result<Result<T, E>, Self> {
        match self.0 {
            Inner::Ready(Some(answer)) => Ok(answer),
            inner => Err(Self(inner)),
        }
    }
}

// An `async` block in a box would do for both, but an answer at hand then costs an allocation and 237
// instructions instead of 68, and whoever waits cannot see that it needs no timer.
impl<T: Unpin, E: Unpin> Future for StoreFuture<'_, T, E> {
    type Output = Result<T, E>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            Inner::Ready(answer) => answer.take().map_or(Poll::Pending, Poll::Ready),
            Inner::Boxed(future) => future.as_mut().poll(cx),
        }
    }
}

impl<T, E> fmt::Debug for StoreFuture<'_, T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Inner::Ready(_) => "StoreFuture(ready)",
            Inner::Boxed(_) => "StoreFuture(boxed)",
        })
    }
}

/// The future that every layer of this crate returns: one box around the way of a request to its
/// answer.
///
/// Dropping it gives the request up: a verification ends, and so does a handler. Only with
/// [`Processing::Retryable`](crate::Processing::Retryable) a handler that has begun goes on.
#[must_use = "futures do nothing unless polled"]
pub struct ResponseFuture<T, E>(Pin<Box<dyn Future<Output = Result<T, E>> + Send>>);

impl<T, E> ResponseFuture<T, E> {
    pub(crate) fn new(answering: impl Future<Output = Result<T, E>> + Send + 'static) -> Self {
        Self(Box::pin(answering))
    }
}

// It only hands on what the box says, so that the type has a name and no public bound.
impl<T, E> Future for ResponseFuture<T, E> {
    type Output = Result<T, E>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(cx)
    }
}

impl<T, E> fmt::Debug for ResponseFuture<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}

/// Waits for an answer, but no longer than `limit`. An answer that is at hand needs no timer, and
/// no room for one in the futures that wait.
pub(crate) fn within<'a, T, E>(
    limit: Duration,
    answer: StoreFuture<'a, T, E>,
) -> StoreFuture<'a, T, E>
where
    T: Unpin + Send + 'a,
    E: Late + Unpin + Send + 'a,
{
    match answer.at_hand() {
        Ok(answer) => StoreFuture::ready(answer),
        Err(to_wait_for) => StoreFuture::new(async move {
            tokio::time::timeout(limit, to_wait_for)
                .await
                .unwrap_or_else(|_| Err(E::late(limit)))
        }),
    }
}

/// Waits for both at once. The macro of `tokio` would bring a crate of macros along.
pub(crate) async fn both<A: Future, B: Future>(one: A, other: B) -> (A::Output, B::Output) {
    let (mut one, mut other) = (pin!(one), pin!(other));
    let (mut first, mut second) = (None, None);
    poll_fn(|context| {
        if first.is_none()
            && let Poll::Ready(output) = one.as_mut().poll(context)
        {
            first = Some(output);
        }
        if second.is_none()
            && let Poll::Ready(output) = other.as_mut().poll(context)
        {
            second = Some(output);
        }
        match (first.take(), second.take()) {
            (Some(first), Some(second)) => Poll::Ready((first, second)),
            waiting => {
                (first, second) = waiting;
                Poll::Pending
            }
        }
    })
    .await
}

/// An error that says that there was no answer in time.
pub(crate) trait Late {
    fn late(limit: Duration) -> Self;
}

impl Late for StoreError {
    fn late(limit: Duration) -> Self {
        Self::unavailable(format!("the store gave no answer within {limit:?}"))
    }
}

impl Late for KeyError {
    fn late(limit: Duration) -> Self {
        Self::unavailable(format!("the key store gave no answer within {limit:?}"))
    }
}
