// A file is opened once, and what is sent is what the request named by its digest.

use axum::{
    Router,
    extract::State,
    response::{IntoResponse, Response},
    routing::get,
};
use countersign::{
    ConfigError, HttpMessageSignatures, KeyRing, MemoryStore, VerifiedPayload, VerifyLayer,
    file::{FileDigest, FileRoot},
    request::VerifierBuilder,
    rfc9421::Component,
};
use http::{HeaderMap, Method};

use super::Failure;

#[derive(serde::Deserialize)]
struct Place {
    name: String,
}

/// The SHA-256 of the file is signed with its name.
pub fn scheme() -> Result<HttpMessageSignatures, ConfigError> {
    HttpMessageSignatures::builder()
        .covers(Component::header("x-file-digest")?)
        .build()
}

pub fn layer(keys: KeyRing) -> Result<VerifierBuilder<VerifyLayer>, ConfigError> {
    Ok(VerifyLayer::builder(scheme()?)
        .public_origin("https://api.example.com")
        .keys(keys)
        // The example starts once, and nothing was accepted before.
        .store(MemoryStore::new().danger_assume_no_history()))
}

/// `files` is `FileRoot::open("/srv/media")?`, once, when the service starts.
pub fn app(files: FileRoot, layer: VerifyLayer) -> Router {
    Router::new()
        .route("/media/{*name}", get(download))
        .layer(layer)
        .with_state(files)
}

/// `GET /media/2026/report.pdf`, with `x-file-digest: sha-256=:…:`.
async fn download(
    State(files): State<FileRoot>,
    payload: VerifiedPayload,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let Place { name } = payload.path_params("/media/{*name}")?;
    let digest = FileDigest::in_header(&payload, "x-file-digest")?; // otherwise 400
    let file = files.verify(&name, digest).await?; // 404, or 412 for other bytes
    Ok(file.respond(&method, &headers).into_response())
}
