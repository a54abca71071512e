//! The futures that this crate names: what stores and key look-ups return, an answer at hand or one
//! to wait for; and what layers return, one box around one `async` block.

use std::{
    fmt,
    future::{self, Ready, poll_fn},
    mem,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::{Pin, pin},
    task::{Context, Poll},
    time::Duration,
};

use crate::error::{KeyError, StoreError};

/// The answer of a store or a key store: ready without allocation, or boxed.
///
/// If it is dropped before it is done, the step may be done or not: treat the outcome as unknown.
///
/// # Panics
/// Panics if it is polled again after it has given its answer, as the future of an `async` block
/// does.
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
    Ready(Ready<Result<T, E>>),
    Boxed(Pin<Box<dyn Future<Output = Result<T, E>> + Send + 'a>>),
}

impl<'a, T, E> StoreFuture<'a, T, E> {
    /// Returns a future whose answer is ready.
    pub fn ready(answer: Result<T, E>) -> Self {
        Self(Inner::Ready(future::ready(answer)))
    }

    /// Returns a future that waits for its answer.
    pub fn new(future: impl Future<Output = Result<T, E>> + Send + 'a) -> Self {
        Self(Inner::Boxed(Box::pin(future)))
    }

    /// Returns the answer if it is ready, which saves the caller a timer.
    ///
    /// # Panics
    /// Panics if the answer was taken before.
    pub(crate) fn at_hand(self) -> Result<Result<T, E>, Self> {
        match self.0 {
            Inner::Ready(answer) => Ok(answer.into_inner()),
            inner @ Inner::Boxed(_) => Err(Self(inner)),
        }
    }
}

// A boxed `async` block would serve both cases. But an answer that is ready would then cost an
// allocation and 237 instructions instead of 68, and the caller could not see that it needs no
// timer.
impl<T, E> Future for StoreFuture<'_, T, E> {
    type Output = Result<T, E>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            Inner::Ready(answer) => Pin::new(answer).poll(cx),
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
    #[inline]
    pub(crate) fn new<F>(answering: impl FnOnce() -> F) -> Self
    where
        F: Future<Output = Result<T, E>> + Send + 'static,
    {
        Self(in_box(answering))
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

/// Puts a future in a box as it is made. One that was made before would be copied into it.
#[inline]
pub(crate) fn in_box<F: Future>(make: impl FnOnce() -> F) -> Pin<Box<F>> {
    Box::into_pin(Box::write(Box::new_uninit(), make()))
}

/// Takes the service that was polled ready, which is the one to call, and leaves a clone.
pub(crate) fn take_ready<S: Clone>(service: &mut S) -> S {
    let next = service.clone();
    mem::replace(service, next)
}

/// Asks a store or a key store, and waits for its answer, but no longer than `limit`. An answer that
/// is at hand needs no timer, and no room for one in the futures that wait. A panic is an outage, as
/// with [`caught`].
pub(crate) fn within<'a, T, E>(
    limit: Duration,
    ask: impl FnOnce() -> StoreFuture<'a, T, E>,
) -> StoreFuture<'a, T, E>
where
    T: Send + 'a,
    E: NoAnswer + Send + 'a,
{
    match caught(ask).at_hand() {
        Ok(answer) => StoreFuture::ready(answer),
        Err(to_wait_for) => StoreFuture::new(async move {
            tokio::time::timeout(limit, to_wait_for)
                .await
                .unwrap_or_else(|_| Err(E::late(limit)))
        }),
    }
}

/// Asks a store or a key store. If it panics, then or later, that is an outage: the panic must not
/// reach the connection, on which other requests may be served.
pub(crate) fn caught<'a, T, E>(ask: impl FnOnce() -> StoreFuture<'a, T, E>) -> StoreFuture<'a, T, E>
where
    T: Send + 'a,
    E: NoAnswer + Send + 'a,
{
    // The payload of the panic may hold a secret, and is not told.
    match catch_unwind(AssertUnwindSafe(|| ask().at_hand())) {
        Err(_) => StoreFuture::ready(Err(E::panicked())),
        Ok(Ok(answer)) => StoreFuture::ready(answer),
        Ok(Err(mut to_wait_for)) => StoreFuture::new(poll_fn(move |cx| {
            let polling = AssertUnwindSafe(|| Pin::new(&mut to_wait_for).poll(cx));
            catch_unwind(polling).unwrap_or_else(|_| Poll::Ready(Err(E::panicked())))
        })),
    }
}

/// Asks a store something that it answers at once. A panic is an outage, as with [`caught`].
pub(crate) fn at_once<T>(ask: impl FnOnce() -> T) -> Result<T, StoreError> {
    catch_unwind(AssertUnwindSafe(ask)).map_err(|_| StoreError::panicked())
}

/// Returns how long a database may wait for a lock, so that it can say within `limit` that it did
/// not get it.
pub(crate) fn lock_wait(limit: Duration) -> Duration {
    limit * 3 / 4
}

/// Waits for the output, and says whether there was anything to wait for.
pub(crate) async fn noting_wait<F: Future>(awaited: F) -> (F::Output, bool) {
    let (mut awaited, mut has_waited) = (pin!(awaited), false);
    poll_fn(|context| {
        let polled = awaited.as_mut().poll(context);
        has_waited |= polled.is_pending();
        polled.map(|output| (output, has_waited))
    })
    .await
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

/// An error that says why there is no answer.
pub(crate) trait NoAnswer {
    fn late(limit: Duration) -> Self;

    fn panicked() -> Self;
}

impl NoAnswer for StoreError {
    fn late(limit: Duration) -> Self {
        Self::late("the store", limit)
    }

    fn panicked() -> Self {
        Self::unavailable("the store panicked")
    }
}

impl NoAnswer for KeyError {
    fn late(limit: Duration) -> Self {
        Self::unavailable(format!("the key store gave no answer within {limit:?}"))
    }

    fn panicked() -> Self {
        Self::unavailable("the key store panicked while it looked up a key")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(1);

    /// Panics when it is asked, or when its answer is waited for.
    fn panicking(when_asked: bool) -> StoreFuture<'static, u8> {
        assert!(!when_asked, "when it is asked");
        StoreFuture::new(async { panic!("later") })
    }

    #[tokio::test]
    async fn a_panic_is_an_outage_whenever_it_comes() {
        for when_asked in [true, false] {
            let caught = within(LIMIT, || panicking(when_asked)).await.unwrap_err();
            assert_eq!(caught.to_string(), StoreError::panicked().to_string());
            // The twin.
            let asked = tokio::spawn(async move { panicking(when_asked).await });
            assert!(asked.await.unwrap_err().is_panic());
        }
        let answer = within(LIMIT, || StoreFuture::<_>::ready(Ok(7))).await;
        assert_eq!(answer.unwrap(), 7);
    }

    /// A future that waited forever would hang a caller that polls it by mistake.
    #[tokio::test]
    async fn an_answer_is_given_once() {
        for again in [
            StoreFuture::<_>::ready(Ok(7)),
            StoreFuture::new(async { Ok(7) }),
        ] {
            let asked = tokio::spawn(async move {
                let mut again = again;
                assert_eq!((&mut again).await.unwrap(), 7);
                again.await
            });
            assert!(asked.await.unwrap_err().is_panic());
        }
    }
}
