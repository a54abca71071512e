//! Sending a request, byte for byte as it was signed.

use std::{error::Error, time::Duration};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use tokio::time::timeout;

use crate::exit::Failure;

const DEADLINE: Duration = Duration::from_secs(30);
const MAX_ANSWER: usize = 16 * 1024 * 1024;

/// Sends a request to the authority of its URI.
pub(crate) async fn send(request: Request<Bytes>) -> Result<Response<Bytes>, Failure> {
    let to = request.uri().to_string();
    let failed = |why: String, advice: &str| {
        Failure::unable(format!("the request to {to} has no answer"), why, advice)
    };
    let connector = HttpsConnectorBuilder::new()
        .with_webpki_roots()
        .https_or_http()
        .enable_http1()
        .build();
    let client = Client::builder(TokioExecutor::new()).build(connector);
    let sending = async {
        let answer = client
            .request(request.map(Full::new))
            .await
            .map_err(|error| failed(causes(&error), "check the URL, and that the server runs"))?;
        let (head, body) = answer.into_parts();
        let body = Limited::new(body, MAX_ANSWER)
            .collect()
            .await
            .map_err(|error| {
                failed(
                    causes(&*error),
                    "the answer broke off, or is longer than 16 MiB",
                )
            })?;
        Ok(Response::from_parts(head, body.to_bytes()))
    };
    match timeout(DEADLINE, sending).await {
        Ok(answer) => answer,
        Err(_) => Err(failed(
            format!("there was no answer within {} seconds", DEADLINE.as_secs()),
            "check the URL, and that the server runs",
        )),
    }
}

/// An error and its causes, in one line.
pub(crate) fn causes(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        // Some errors say what their cause says.
        let cause = error.to_string();
        if !text.ends_with(&cause) {
            text = format!("{text}: {cause}");
        }
        source = error.source();
    }
    text
}
