//! The proxy itself: each request goes by its route.

use std::{sync::Arc, time::Duration};

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
    routes: Routes,
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
        let routes = Routes::open(plan, stores).await?;
        Ok(Arc::new(Self { routes, notices }))
    }

    /// Answers one request.
    pub(super) async fn answer(
        self: Arc<Self>,
        request: Request<Incoming>,
    ) -> Response<AnswerBody> {
        let (head, body) = request.into_parts();
        let (route, tenant) = match self.routes.find(&head) {
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
            let proxy = Arc::clone(&self);
            // Files are read without a wait.
            let reading = tokio::task::spawn_blocking(move || proxy.routes.read_keys()).await;
            for failure in reading.into_iter().flatten() {
                let text = format!("{}: {}; the old keys stay", failure.what, failure.why);
                let _ = self.notices.try_send(text);
            }
        }
    }
}
