//! Looks up a key; a key store that panics is an outage.

use std::{
    future::poll_fn,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::Arc,
    task::Poll,
    time::Duration,
};

use crate::{
    error::KeyError,
    future::{StoreFuture, within},
    key::{KeySet, KeyStore},
};

/// Looks up a key. If the key store panics, that is an outage of the key store: the panic must not
/// reach the connection, on which other requests may be served.
pub(crate) async fn find_keys(
    keys: &dyn KeyStore,
    key_id: &str,
    limit: Duration,
) -> Result<Option<Arc<KeySet>>, KeyError> {
    // The payload may hold a secret, and is not told.
    let panicked = |_| KeyError::unavailable("the key store panicked while it looked up a key");
    let asked = catch_unwind(AssertUnwindSafe(|| keys.find(key_id))).map_err(panicked)?;
    let guarded = match asked.at_hand() {
        Ok(answer) => StoreFuture::ready(answer),
        Err(mut to_wait_for) => StoreFuture::new(poll_fn(move |context| {
            let polling = AssertUnwindSafe(|| Pin::new(&mut to_wait_for).poll(context));
            catch_unwind(polling).unwrap_or_else(|panic| Poll::Ready(Err(panicked(panic))))
        })),
    };
    within(limit, guarded).await
}
