//! The crate `httpsig-hyper` as a peer. It reads all of the target from the URI, and so is given one
//! in absolute form, as a server with this crate must do itself.

use std::{error::Error, net::SocketAddr};

use axum::Router;
use bytes::Bytes;
use http::{Request, StatusCode, header::HOST, request::Parts};
use http_body_util::{BodyExt as _, Full};
use httpsig_hyper::{
    MessageSignature as _, MessageSignatureReq as _, RequestContentDigest as _,
    prelude::{AlgorithmName, HttpSignatureParams, SharedKey, message_component},
};
use message_component::HttpMessageComponentId;

use super::{Attempt, Case, cases, send};
use crate::common;

type Failure = Box<dyn Error + Send + Sync>;

fn key() -> SharedKey {
    SharedKey::HmacSha256(common::SECRET.into())
}

pub async fn sign_and_send(case: &Case, attempt: &Attempt) -> Result<(u16, String), Failure> {
    let covers = case.covers();
    let covers = covers
        .iter()
        .map(|id| HttpMessageComponentId::try_from(id.as_str()));
    let mut params = HttpSignatureParams::try_new(&covers.collect::<Result<Vec<_>, _>>()?)?;
    params
        .set_created(attempt.created)
        .set_nonce(&attempt.nonce)
        .set_alg(&AlgorithmName::HmacSha256)
        .set_keyid(common::KEY);
    if case.expires {
        params.set_expires(attempt.created + cases::EXPIRES_AFTER.as_secs());
    }
    if let Some(tag) = case.tag {
        params.set_tag(tag);
    }
    let request = attempt
        .request(case)
        .map(|body| Full::new(Bytes::from(body)));
    let mut request = match case.digest_name() {
        Some(name) => request.set_content_digest(&name.parse()?).await?,
        None => request.map(|body| body.map_err(|never| match never {}).boxed()),
    };
    let key = key();
    let signed = request.set_message_signature(&params, &key, Some(cases::LABEL));
    signed.await?;
    let (head, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    Ok(send(Request::from_parts(head, body)).await)
}

/// A server that verifies, and answers with what is covered.
pub async fn serve() -> SocketAddr {
    let handler = async |head: Parts, body: Bytes| match verify(head, body).await {
        Ok(covered) => (StatusCode::OK, covered),
        Err(error) => (StatusCode::UNAUTHORIZED, error.to_string()),
    };
    common::serve(Router::new().fallback(handler)).await
}

async fn verify(mut head: Parts, body: Bytes) -> Result<String, Failure> {
    let host = head.headers.get(HOST).ok_or("no host")?.to_str()?;
    head.uri = format!("http://{host}{}", head.uri).parse()?;
    let has_digest = head.headers.contains_key("content-digest");
    let request = Request::from_parts(head, Full::new(body));
    let key = key();
    let label = request.verify_message_signature(&key, Some(common::KEY));
    let label = label.await?;
    let params = request.get_signature_params()?;
    let covered = &params[&label].covered_components;
    let covered: Vec<_> = covered.iter().map(ToString::to_string).collect();
    if has_digest {
        request.verify_content_digest().await?;
    }
    Ok(serde_json::to_string(&covered)?)
}
