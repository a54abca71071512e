//! Looks up, in a later transaction, whether an attempt was committed.

use std::{sync::Arc, time::Duration};

use super::{
    claim::Claim,
    store::{ConsumeIn as _, TransactIn},
};
use crate::{
    error::{Fault, FaultKind},
    future::{StoreFuture, within},
};

/// The database in which handlers consume their claims.
#[derive(Clone)]
pub(crate) struct Confirm(Arc<dyn Fn(Claim) -> StoreFuture<'static, bool> + Send + Sync>);

impl Confirm {
    /// The whole look-up takes no longer than `timeout`.
    pub(crate) fn new<D: TransactIn + 'static>(database: D, timeout: Duration) -> Self {
        let database = Arc::new(database);
        Self(Arc::new(move |claim| {
            let database = Arc::clone(&database);
            let look_up = async move {
                let mut transaction = database.begin().await?;
                let recorded = transaction.is_recorded(&claim).await?;
                D::rollback(transaction).await?;
                Ok(recorded)
            };
            within(timeout, || StoreFuture::new(look_up))
        }))
    }

    /// Refuses unless the attempt was committed.
    pub(super) async fn check(&self, claim: Claim) -> Result<(), Fault> {
        match (self.0)(claim).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(Fault::new(
                FaultKind::NotRecorded,
                "the handler consumed its nonce and answered with success, and no such attempt was \
                 committed",
            )),
            Err(error) => Err(Fault::unanswered(
                "the outcome is unknown: the handler answered with success, and its attempt could \
                 not be looked up",
                error,
            )),
        }
    }
}
