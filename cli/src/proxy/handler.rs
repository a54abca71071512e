//! The proxy itself: each request goes by its route.

use std::{
    net::IpAddr,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use countersign::request::UntilSettled;
use http::{Request, Response, request::Parts};
use hyper::body::Incoming;
use tokio::{sync::Mutex, time::sleep};

use super::{
    answer::{AnswerBody, Refused},
    clients::{Clients, Held},
    forwarders::{Arrival, Client},
    logged::{Begun, Outcome},
    measures::{self, Measures},
    open_stores::OpenStores,
    outlet::Outlet,
    plan::{KnownUpstreams, Plan},
    route::Routes,
    running::{Handled, Running},
    upstream::Failed,
};
use crate::exit::Failure;

/// How often directories of keys are read again.
const READ_KEYS: Duration = Duration::from_secs(2);

/// A request that is being answered. If it is dropped before, it is given up.
struct Answering<'p> {
    proxy: &'p Proxy,
    /// `None` if requests are not logged.
    begun: Option<Begun>,
    route: Option<Arc<str>>,
    /// Held until its line is logged.
    handled: Option<Handled>,
    is_over: bool,
}

impl Answering<'_> {
    /// A route was found, and handles it.
    async fn handled(&mut self, route: &Arc<str>) -> Handled {
        self.route = Some(Arc::clone(route));
        let handled = self.proxy.running.begin().await;
        self.handled.insert(handled).clone()
    }

    fn end(mut self, answer: &Response<AnswerBody>) {
        self.say(&Outcome::of(answer));
    }

    fn say(&mut self, outcome: &Outcome<'_>) {
        self.is_over = true;
        measures::answered(self.route.as_ref(), outcome);
        if let Some(begun) = self.begun.take() {
            let key_id = self.handled.as_ref().and_then(Handled::key_id);
            let logged = begun.answered(self.route.as_ref(), key_id, outcome);
            self.proxy.outlet.request(logged);
        }
    }
}

impl Drop for Answering<'_> {
    fn drop(&mut self) {
        if !self.is_over {
            let is_cut_off = self.proxy.is_cut_off.load(Ordering::Relaxed);
            self.say(&Outcome::given_up(is_cut_off));
        }
    }
}

/// Answers requests.
#[derive(Debug)]
pub(crate) struct Proxy {
    routes: RwLock<Arc<Routes>>,
    /// Held while keys are read and replaced: otherwise old ones could come after new ones.
    reading: Mutex<()>,
    /// Whether each request is logged.
    logs: AtomicBool,
    outlet: Outlet,
    running: Running,
    /// Whether requests that are given up from now on are cut off by the end.
    is_cut_off: AtomicBool,
    /// Requests of each client.
    clients: Arc<Clients>,
    measures: Option<Measures>,
}

impl Proxy {
    /// Opens the stores of a plan.
    pub(crate) async fn open(
        plan: Plan,
        stores: &mut OpenStores,
        outlet: Outlet,
        measures: Option<Measures>,
    ) -> Result<Arc<Self>, Failure> {
        let logs = AtomicBool::new(plan.access_log);
        let clients = Clients::new(plan.limits.per_client);
        let routes = Routes::open(plan, stores, None).await?;
        Ok(Arc::new(Self {
            routes: RwLock::new(Arc::new(routes)),
            reading: Mutex::default(),
            logs,
            outlet,
            running: Running::default(),
            is_cut_off: AtomicBool::new(false),
            clients,
            measures,
        }))
    }

    /// Serves another plan from now on. Requests that are being answered finish under the old plan.
    ///
    /// # Errors
    /// Returns a failure if the plan cannot be served; the old one stays.
    pub(crate) async fn reload(&self, plan: Plan, stores: &mut OpenStores) -> Result<(), Failure> {
        let _reading = self.reading.lock().await;
        let before = self.routes();
        let logs = plan.access_log;
        let routes = Arc::new(Routes::open(plan, stores, Some(&before)).await?);
        *self.routes.write().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&routes);
        for upstream in routes.upstreams().0 {
            upstream.renew();
        }
        self.logs.store(logs, Ordering::Relaxed);
        Ok(())
    }

    pub(super) fn routes(&self) -> Arc<Routes> {
        Arc::clone(&self.routes.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The upstreams that serve at this moment.
    pub(crate) fn upstreams(&self) -> KnownUpstreams {
        self.routes().upstreams()
    }

    /// Answers one request.
    pub(super) async fn answer(
        self: Arc<Self>,
        arrival: Arrival,
        request: Request<Incoming>,
    ) -> Response<AnswerBody> {
        let (mut head, body) = request.into_parts();
        let routes = self.routes();
        let client = routes.forwarders().client(arrival, &mut head);
        let address = client
            .as_ref()
            .map_or(arrival.address(), |client| client.address);
        let mut answering = self.begin(&head, address);
        let held = client.and_then(|client| {
            head.extensions.insert(client);
            self.hold(client)
        });
        let found = held.and_then(|held| Ok((held, routes.find(&head)?)));
        let answer = match found {
            Err(refused) => refused.answer(),
            Ok((held, (route, tenant))) => {
                let handled = answering.handled(route.name()).await;
                let mut request = Request::from_parts(head, body);
                let extensions = request.extensions_mut();
                extensions.insert(UntilSettled::new(handled.clone()));
                extensions.insert(handled.clone());
                let answer = route.answer(tenant.as_deref(), request, routes.rooms());
                let answer = answer.await.unwrap_or_else(|failed| self.failed(&failed));
                handled.until_the_end_of(answer, held)
            }
        };
        answering.end(&answer);
        answer
    }

    /// Counts a request of a client: a connection of HTTP/2 has many. Nothing is known of who is in
    /// front of a Unix socket.
    fn hold(&self, client: Client) -> Result<Option<Held>, Refused> {
        if client.address.is_none() && !client.is_forwarded {
            return Ok(None);
        }
        match self.clients.hold(client.address) {
            None => Err(Refused::ClientOverLimit),
            held => Ok(held),
        }
    }

    /// Signs one request of an application, by the route of this name.
    pub(super) async fn sign(
        self: Arc<Self>,
        name: &Arc<str>,
        is_on_loopback: bool,
        request: Request<Incoming>,
    ) -> Response<AnswerBody> {
        let (head, body) = request.into_parts();
        let mut answering = self.begin(&head, None);
        let handled = answering.handled(name).await;
        let routes = self.routes();
        let answer = match routes.signing(name) {
            None => Refused::NoRoute.answer(),
            Some(signing) => {
                let request = Request::from_parts(head, body);
                let answer = signing.answer(request, is_on_loopback, routes.rooms());
                let answer = answer.await;
                let answer = answer.unwrap_or_else(|failed| self.failed(&failed));
                handled.until_the_end_of(answer, None)
            }
        };
        answering.end(&answer);
        answer
    }

    /// Marks the end of `drain`: requests that are dropped from now on were cut off.
    pub(crate) fn cut_off(&self) {
        self.is_cut_off.store(true, Ordering::Relaxed);
    }

    /// Waits until no request is being handled, also none whose client has gone.
    pub(crate) async fn rest(&self) {
        self.running.end().await;
    }

    fn begin(&self, head: &Parts, client: Option<IpAddr>) -> Answering<'_> {
        let logs = self.logs.load(Ordering::Relaxed);
        Answering {
            proxy: self,
            begun: logs.then(|| Begun::new(head, client)),
            route: None,
            handled: None,
            is_over: false,
        }
    }

    /// The text that Prometheus reads, if the proxy measures.
    pub(super) fn measured(&self) -> Option<String> {
        self.measures.as_ref().map(Measures::render)
    }

    fn failed(&self, failed: &Failed) -> Response<AnswerBody> {
        self.outlet
            .notice(format!("{}: {}", failed.refused.code(), failed.cause));
        failed.refused.answer()
    }

    /// Reads directories of keys again, for as long as the proxy runs.
    pub(crate) async fn watch_keys(self: Arc<Self>) {
        loop {
            sleep(READ_KEYS).await;
            let reading_alone = self.reading.lock().await;
            let routes = self.routes();
            let reading = tokio::task::spawn_blocking(move || routes.read_keys()).await;
            drop(reading_alone);
            for failure in reading.into_iter().flatten() {
                self.outlet
                    .notice(format!("{}: {}", failure.what, failure.why));
            }
        }
    }
}
