//! The proxy itself: each request goes by its route.

use std::{
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use http::{Request, Response};
use hyper::body::Incoming;
use tokio::{sync::mpsc, time::sleep};

use super::{
    answer::AnswerBody, open_stores::OpenStores, plan::Plan, route::Routes, upstream::Failed,
};
use crate::exit::Failure;

/// How often directories of keys are read again.
const READ_KEYS: Duration = Duration::from_secs(2);

/// Answers requests.
#[derive(Debug)]
pub(crate) struct Proxy {
    routes: RwLock<Arc<Routes>>,
    notices: mpsc::Sender<String>,
}

impl Proxy {
    /// Opens the stores of a plan. Notices are for whoever runs the proxy; more than can be printed
    /// are left out.
    pub(crate) async fn open(
        plan: Plan,
        stores: &mut OpenStores,
        notices: mpsc::Sender<String>,
    ) -> Result<Arc<Self>, Failure> {
        let routes = Routes::open(plan, stores, None).await?;
        Ok(Arc::new(Self {
            routes: RwLock::new(Arc::new(routes)),
            notices,
        }))
    }

    /// Serves another plan from now on. Requests that are being answered go on by the old one.
    ///
    /// # Errors
    /// Returns a failure if the plan cannot be served; the old one stays.
    pub(crate) async fn reload(&self, plan: Plan, stores: &mut OpenStores) -> Result<(), Failure> {
        let before = self.routes();
        let routes = Routes::open(plan, stores, Some(&before)).await?;
        *self.routes.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(routes);
        Ok(())
    }

    pub(super) fn routes(&self) -> Arc<Routes> {
        Arc::clone(&self.routes.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Answers one request.
    pub(super) async fn answer(
        self: Arc<Self>,
        request: Request<Incoming>,
    ) -> Response<AnswerBody> {
        let (head, body) = request.into_parts();
        let routes = self.routes();
        let (route, tenant) = match routes.find(&head) {
            Ok(found) => found,
            Err(refused) => return refused.answer(),
        };
        let request = Request::from_parts(head, body);
        match route.answer(tenant.as_deref(), request).await {
            Ok(answer) => answer,
            Err(failed) => {
                self.notice(&failed);
                failed.refused.answer()
            }
        }
    }

    fn notice(&self, failed: &Failed) {
        let text = format!("{}: {}", failed.refused.code(), failed.cause);
        let _ = self.notices.try_send(text);
    }

    /// Reads directories of keys again, for as long as the proxy runs.
    pub(crate) async fn watch_keys(self: Arc<Self>) {
        loop {
            sleep(READ_KEYS).await;
            let routes = self.routes();
            let reading = tokio::task::spawn_blocking(move || routes.read_keys()).await;
            for failure in reading.into_iter().flatten() {
                let text = format!("{}: {}; the old keys stay", failure.what, failure.why);
                let _ = self.notices.try_send(text);
            }
        }
    }
}
