//! A proxy in front of a server in any language: it verifies, claims once, and forwards exactly what
//! was verified.
//!
//! `written` is the file, and `plan` what the file means. A plan with its stores becomes `Routes`,
//! which find the route of a request by its `path`, host and method. The library's layer verifies the
//! request, with `gate` before the claim, around the service of `upstream`. `fields` and `identity` are
//! the head that is forwarded.

mod admin;
mod answer;
mod buffered;
mod clients;
mod fields;
mod forwarders;
mod gate;
mod handler;
mod identity;
mod keys;
mod listeners;
mod logged;
mod measures;
mod open;
mod open_stores;
mod outlet;
mod path;
mod place;
mod plan;
mod readiness;
mod room;
mod route;
mod running;
mod seats;
mod server;
mod signing;
mod tls;
mod told;
mod upstream;
mod verified;
mod words;
mod written;

pub(crate) use handler::Proxy;
pub(crate) use listeners::{Certificates, Listeners};
pub(crate) use measures::Measures;
pub(crate) use open_stores::OpenStores;
pub(crate) use outlet::Outlet;
pub(crate) use plan::{KIND, KnownUpstreams, Limits, Plan, Side};
pub(crate) use told::listen as listen_to_the_library;
