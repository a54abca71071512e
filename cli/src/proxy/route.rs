//! Routes that are ready to serve.

use std::{
    iter,
    sync::{Arc, PoisonError, RwLock},
};

use http::{HeaderValue, Method, Request, Response, request::Parts};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tower_layer::Layer as _;
use tower_service::Service as _;

use super::{
    answer::{AnswerBody, Refused},
    buffered::Rooms,
    forwarders::Forwarders,
    gate,
    open::Open,
    open_stores::OpenStores,
    place::{Place, Target},
    plan::{self, KnownUpstreams, Plan},
    readiness::{Needed, Readiness},
    seats::Of,
    signing::Signing,
    upstream::{self, Failed, Forward},
    verified::{Before, Guard, Guards, NewKeys, Verified},
};
use crate::{exit::Failure, store::Store};

/// The routes of a configuration.
#[derive(Debug)]
pub(super) struct Routes {
    forwarders: Forwarders,
    routes: Vec<Route>,
    signs: Vec<Signing>,
    rooms: Rooms,
}

/// One route.
#[derive(Debug)]
pub(super) struct Route {
    name: Arc<str>,
    place: Place,
    target: Arc<upstream::Target>,
    kind: Kind,
}

enum Kind {
    /// Requests are forwarded as they are.
    Open(Open),
    Verified {
        verified: Box<Verified>,
        store: Store,
        guards: RwLock<Arc<Guards>>,
    },
}

impl Routes {
    /// Opens the stores, and makes the layers. Routes that were there before hand their keys over,
    /// which change only if no route is refused.
    ///
    /// # Errors
    /// Returns a failure if a store cannot be opened, or cannot serve a route.
    pub(super) async fn open(
        plan: Plan,
        stores: &mut OpenStores,
        before: Option<&Self>,
    ) -> Result<Self, Failure> {
        let rooms = Rooms::of(plan.limits.body_bytes, before.map(|before| &before.rooms));
        let mut routes = Vec::with_capacity(plan.routes.len());
        let mut new = Vec::new();
        for planned in plan.routes {
            let mut known = before.into_iter().flat_map(|before| &before.routes);
            let known = known.find(|route| *route.name == *planned.name);
            let (route, keys) = Route::open(planned, stores, &rooms, known).await?;
            routes.push(route);
            new.extend(keys);
        }
        for keys in new {
            // While a configuration is read, whatever is refused refuses all of it.
            drop(keys.replace());
        }
        let signs = plan.signs.into_iter().map(|sign| sign.signing);
        let signs = signs.collect();
        let forwarders = plan.forwarders;
        Ok(Self {
            forwarders,
            routes,
            signs,
            rooms,
        })
    }

    pub(super) fn forwarders(&self) -> &Forwarders {
        &self.forwarders
    }

    /// Finds the route of a request: the one whose place fits best. If that place has routes of
    /// other methods alone, no other route is asked.
    pub(super) fn find(&self, head: &Parts) -> Result<(&Route, Option<String>), Refused> {
        if head.method == Method::CONNECT {
            return Err(Refused::Unclear);
        }
        let target = Target::read(&head.uri, &head.headers).map_err(|_| Refused::Unclear)?;
        let fits = self
            .routes
            .iter()
            .filter_map(|route| Some((route.place.fit(&target)?, route)));
        let fits: Vec<_> = fits.collect();
        let best = fits
            .iter()
            .map(|(fit, _)| *fit)
            .max()
            .ok_or(Refused::NoRoute)?;
        let best = fits.iter().filter(|(fit, _)| *fit == best);
        let mut served = best
            .clone()
            .filter(|(_, route)| route.place.allows(&head.method));
        let Some((_, route)) = served.next() else {
            let methods = best.flat_map(|(_, route)| &route.place.methods);
            let methods: Vec<&str> = methods.map(Method::as_str).collect();
            let allow = HeaderValue::try_from(methods.join(", "));
            return Err(Refused::Method(allow.map_err(|_| Refused::Internal)?));
        };
        Ok((route, route.place.tenant(&target).map(str::to_owned)))
    }

    /// The room for bodies.
    pub(super) fn rooms(&self) -> &Rooms {
        &self.rooms
    }

    /// The upstreams of all routes.
    pub(super) fn upstreams(&self) -> KnownUpstreams {
        let routes = self.routes.iter().map(|route| &route.target.upstream);
        let signs = self.signs.iter().map(|signing| &signing.signs.upstream);
        KnownUpstreams(routes.chain(signs).cloned().collect())
    }

    /// Finds the route that signs under this name.
    pub(super) fn signing(&self, name: &str) -> Option<&Signing> {
        self.signs.iter().find(|signing| signing.name == name)
    }

    /// Returns which routes cannot serve at this moment, and why.
    pub(super) async fn check(&self) -> Vec<(String, String)> {
        let routes = self.routes.iter();
        let routes = routes.flat_map(|route| route.needs().map(|needed| (&*route.name, needed)));
        let signs = self.signs.iter().map(|signing| {
            let upstream = Arc::clone(&signing.signs.upstream);
            (&*signing.name, Needed::Upstream(upstream))
        });
        let all: Vec<(&str, Needed)> = routes.chain(signs).collect();
        let readiness = Readiness::ask(all.iter().map(|(_, needed)| needed)).await;
        let wrong = all
            .iter()
            .filter_map(|(name, needed)| Some(((*name).to_owned(), readiness.wrong(needed)?)));
        wrong.collect()
    }

    /// Reads keys again that may have changed, and says what was refused.
    pub(super) fn read_keys(&self) -> Vec<Failure> {
        let each = self.routes.iter();
        each.flat_map(|route| route.read_keys(&self.rooms))
            .collect()
    }
}

impl Route {
    async fn open(
        planned: plan::Route,
        stores: &mut OpenStores,
        rooms: &Rooms,
        known: Option<&Self>,
    ) -> Result<(Self, Option<NewKeys>), Failure> {
        let mut new = None;
        let kind = match planned.verified {
            None => Kind::Open(Open::new(planned.max_body_bytes)),
            Some(verified) => {
                let store = stores.open(&verified.store).await?;
                let known = known.and_then(Self::guards);
                let before = known
                    .as_deref()
                    .map_or(Before::Nothing, Before::OtherSettings);
                let guards = verified.guards(&store.nonces(), &rooms.verified, before);
                let (guards, keys) = guards.map_err(|refusal| refusal.failure(&planned.name))?;
                new = Some(keys);
                Kind::Verified {
                    verified: Box::new(verified),
                    store,
                    guards: RwLock::new(Arc::new(guards)),
                }
            }
        };
        let route = Self {
            name: planned.name.into(),
            place: planned.place,
            target: planned.target,
            kind,
        };
        Ok((route, new))
    }

    pub(super) fn name(&self) -> &Arc<str> {
        &self.name
    }

    fn guards(&self) -> Option<Arc<Guards>> {
        match &self.kind {
            Kind::Open(_) => None,
            Kind::Verified { guards, .. } => Some(current(guards)),
        }
    }

    /// The servers without which it cannot serve.
    fn needs(&self) -> impl Iterator<Item = Needed> {
        let store = match &self.kind {
            Kind::Open(_) => None,
            Kind::Verified {
                verified, store, ..
            } => Some(Needed::Store(verified.store.clone(), store.clone())),
        };
        let upstream = Needed::Upstream(Arc::clone(&self.target.upstream));
        iter::once(upstream).chain(store)
    }

    /// Answers a request of this route.
    pub(super) async fn answer(
        &self,
        tenant: Option<&str>,
        mut request: Request<Incoming>,
        rooms: &Rooms,
    ) -> Result<Response<AnswerBody>, Failed> {
        let forward = |of| Forward::new(Arc::clone(&self.target), of);
        let (guards, forward) = match &self.kind {
            Kind::Open(open) => {
                return open.answer(forward(Of::Anybody), request, rooms).await;
            }
            // Strangers pass a route that observes.
            Kind::Verified {
                verified, guards, ..
            } if verified.observe_only => (current(guards), forward(Of::Anybody)),
            Kind::Verified { guards, .. } => (current(guards), forward(Of::Known)),
        };
        let Some(guard) = guards.find(tenant) else {
            return Ok(Refused::NoRoute.answer());
        };
        request.extensions_mut().insert(gate::the_place());
        let answer = match guard {
            Guard::Verifies(layer) => layer.layer(forward).call(request).await?,
            Guard::Observes(layer) => {
                return layer
                    .layer(forward)
                    .call(request)
                    .await
                    .map(|answer| answer.map(|body| body.map_err(Into::into).boxed_unsync()));
            }
        };
        Ok(answer.map(|body| body.boxed_unsync()))
    }

    fn read_keys(&self, rooms: &Rooms) -> Vec<Failure> {
        let Kind::Verified {
            verified,
            store,
            guards,
        } = &self.kind
        else {
            return Vec::new();
        };
        if !verified.is_watched() {
            return Vec::new();
        }
        let known = current(guards);
        let read = Before::SameSettings(&known);
        match verified.guards(&store.nonces(), &rooms.verified, read) {
            Ok((read, keys)) => {
                *guards.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(read);
                keys.replace()
            }
            Err(refusal) => {
                let failure = refusal.failure(&self.name);
                let why = format!("{}; the old keys stay", failure.why);
                vec![Failure { why, ..failure }]
            }
        }
    }
}

fn current(guards: &RwLock<Arc<Guards>>) -> Arc<Guards> {
    Arc::clone(&guards.read().unwrap_or_else(PoisonError::into_inner))
}

impl std::fmt::Debug for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Open(open) => f.debug_tuple("Open").field(open).finish(),
            Self::Verified { verified, .. } => f.debug_tuple("Verified").field(verified).finish(),
        }
    }
}
