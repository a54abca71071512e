// The verified payload is sealed before it goes into the cache, and used once when it comes out.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::{Router, extract::State, routing::post};
use countersign::{
    ConfigError, HttpMessageSignatures, KeyRing, MemoryStore, VerifiedPayload, VerifyLayer,
    envelope::{Deadline, Envelopes, PayloadEnvelope},
    request::VerifierBuilder,
    store::NonceStore,
};
use http::StatusCode;

use super::Failure;

/// Takes the part of a cache that others can write to.
pub type Cache = Arc<Mutex<HashMap<String, Vec<u8>>>>;

#[derive(Clone)]
pub struct Shop {
    pub cache: Cache,
    pub envelopes: Envelopes,
    /// Remembers which orders were charged. With several servers, a store that they share.
    pub used: Arc<dyn NonceStore>,
    pub charged: Arc<Mutex<Vec<Order>>>,
}

#[derive(serde::Deserialize)]
pub struct Order {
    pub amount: u64,
}

#[derive(serde::Deserialize)]
struct Place {
    id: u64,
}

/// The keys are of the service's own; no sender has one.
pub fn envelopes(keys: KeyRing) -> Result<Envelopes, ConfigError> {
    PayloadEnvelope::builder("confirm-order")
        .keys(keys)
        .seal_under("2026-11")
        .build()
}

pub fn scheme() -> Result<HttpMessageSignatures, ConfigError> {
    Ok(HttpMessageSignatures::default())
}

pub fn layer(keys: KeyRing) -> Result<VerifierBuilder<VerifyLayer>, ConfigError> {
    Ok(VerifyLayer::builder(scheme()?)
        .public_origin("https://api.example.com")
        .keys(keys)
        // The example starts once, and nothing was accepted before.
        .store(MemoryStore::new().danger_assume_no_history()))
}

pub fn app(shop: Shop, layer: VerifyLayer) -> Router {
    Router::new()
        .route("/orders/{id}", post(order))
        .route("/orders/{id}/confirm", post(confirm))
        .layer(layer)
        .with_state(shop)
}

/// Nobody finds the order of another partner.
fn name(payload: &VerifiedPayload, Place { id }: Place) -> String {
    format!("{}/{id}", payload.key_id())
}

/// `POST /orders/1`, with `{"amount":30}`: it waits ten minutes for its confirmation.
async fn order(State(shop): State<Shop>, payload: VerifiedPayload) -> Result<StatusCode, Failure> {
    let name = name(&payload, payload.path_params("/orders/{id}")?);
    // A payload that is not an order would be used up by its confirmation, and charge nothing.
    let _: Order = payload.json()?;
    let minutes = Deadline::after(Duration::from_secs(600));
    let sealed = shop.envelopes.seal(&payload, minutes)?;
    let mut cache = shop.cache.lock().unwrap_or_else(PoisonError::into_inner);
    cache.insert(name, sealed);
    Ok(StatusCode::ACCEPTED)
}

/// `POST /orders/1/confirm`
async fn confirm(
    State(shop): State<Shop>,
    payload: VerifiedPayload,
) -> Result<StatusCode, Failure> {
    let name = name(&payload, payload.path_params("/orders/{id}/confirm")?);
    let cached = {
        let cache = shop.cache.lock().unwrap_or_else(PoisonError::into_inner);
        cache.get(&name).cloned()
    };
    let Some(cached) = cached else {
        return Ok(StatusCode::NOT_FOUND);
    };
    // The check and the use are one step of the store, and nothing can be read before it.
    let ordered = shop.envelopes.open(&cached)?.claim_in(&shop.used).await?;
    let order = ordered.json()?;
    let mut charged = shop.charged.lock().unwrap_or_else(PoisonError::into_inner);
    charged.push(order);
    Ok(StatusCode::OK)
}
