//! Signing again, where the answer that asks for it must be verified first.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use countersign::{
    SignLayer,
    client::Repeatable,
    error::ResponseErrorKind::*,
    response::{ResponseVerifierBuilder, VerifyResponseLayer},
    testing::ManualClock,
};
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use tower::{BoxError, Service, ServiceBuilder, ServiceExt as _, service_fn};

use super::world::*;
use crate::common::*;

fn repeatable(server: &Server) -> Request<Full<Bytes>> {
    let mut request = server.request("PUT", "/echo", "{}");
    request.extensions_mut().insert(Repeatable);
    request
}

/// The requests that were sent.
type Attempts = Arc<Mutex<Vec<HeaderMap>>>;

/// A client of its own time, behind somebody who may change what comes back, or answers himself.
async fn sent_by(
    ours: &ManualClock,
    verifier: Option<ResponseVerifierBuilder>,
    server: &Server,
    in_between: impl Fn(Response<Bytes>) -> Response<Bytes> + Clone + Send + Sync + 'static,
) -> (Result<(u16, String), BoxError>, Vec<HeaderMap>) {
    let attempts = Attempts::default();
    let (seen, direct) = (Arc::clone(&attempts), Protocol::Http1.client());
    let client = service_fn(move |request: Request<Full<Bytes>>| {
        seen.lock().unwrap().push(request.headers().clone());
        let (direct, in_between) = (direct.clone(), in_between.clone());
        async move {
            let (head, body) = direct.request(request).await?.into_parts();
            let body = body.collect().await?.to_bytes();
            let changed = in_between(Response::from_parts(head, body));
            Ok::<_, BoxError>(changed.map(Full::new))
        }
    });
    let sign = SignLayer::new(request_signer(ours));
    let response = match verifier {
        Some(verifier) => {
            let verify = VerifyResponseLayer::new(verifier.build().unwrap());
            let client = ServiceBuilder::new()
                .layer(sign.sign_again())
                .layer(verify)
                .service(client);
            answer_of(client, repeatable(server)).await
        }
        None => {
            let client = ServiceBuilder::new()
                .layer(sign.danger_sign_again_unverified())
                .service(client);
            answer_of(client, repeatable(server)).await
        }
    };
    let attempts = attempts.lock().unwrap().clone();
    (response, attempts)
}

async fn answer_of<S, R>(
    client: S,
    request: Request<Full<Bytes>>,
) -> Result<(u16, String), BoxError>
where
    S: Service<Request<Full<Bytes>>, Response = Response<R>, Error = BoxError>,
    R: http_body::Body<Error: std::fmt::Debug>,
{
    let response = client.oneshot(request).await?;
    Ok(verdict(response).await)
}

fn created(attempt: &HeaderMap) -> u64 {
    let input = attempt["signature-input"].to_str().unwrap();
    let (_, rest) = input.split_once(";created=").unwrap();
    rest.split_once(';').unwrap().0.parse().unwrap()
}

const HOUR: Duration = Duration::from_secs(60 * 60);

#[tokio::test]
async fn a_clock_that_is_behind_is_corrected_by_what_was_verified() {
    for (ours, answer) in [
        // Dated ahead: it becomes valid when its time comes.
        (NOW + 6, Some("signature_not_yet_valid")),
        (NOW + 3600, Some("signature_not_yet_valid")),
        // Another server, whose clock differs, may accept it.
        (NOW - 301, Some("signature_expired")),
        (NOW - 312, Some("signature_expired")),
        (NOW - 314, None),
        (NOW - 3600, None),
    ] {
        let (clock, ours) = (clock(), ManualClock::at(at(ours)));
        let server = Server::start(&clock).await;
        let verifier = response_verifier(&ours).max_age(HOUR).max_skew(HOUR);
        let (response, attempts) = sent_by(&ours, Some(verifier), &server, |r| r).await;
        let response = response.unwrap();
        if let Some(code) = answer {
            assert_eq!(response, says(401, code), "{ours:?}");
            assert_eq!(attempts.len(), 1, "{ours:?}");
        } else {
            assert_eq!(response, says(200, "{}"), "{ours:?}");
            assert_eq!(attempts.len(), 2, "{ours:?}");
            assert_eq!(created(&attempts[1]), NOW, "the signed time of the answer");
        }
    }
}

#[tokio::test]
async fn an_answer_that_is_further_off_than_allowed_asks_for_nothing() {
    let clock = clock();
    let server = Server::start(&clock).await;
    for (ours, refused) in [
        (NOW - 301, SignatureNotYetValid),
        (NOW + 301, SignatureExpired),
    ] {
        let ours = ManualClock::at(at(ours));
        let verifier = response_verifier(&ours);
        let (response, attempts) = sent_by(&ours, Some(verifier), &server, |r| r).await;
        assert_eq!(kind(response.unwrap_err()), refused);
        assert_eq!(attempts.len(), 1);
    }
}

/// Somebody in between answers as if our server asked for another signature.
#[tokio::test]
async fn who_cannot_sign_as_the_server_cannot_have_us_sign_anew() {
    let forged = |_| {
        Response::builder()
            .status(StatusCode::UNAUTHORIZED)
            .header("content-type", "application/problem+json")
            .header("date", "Tue, 14 Nov 2023 22:43:20 GMT")
            .body(Bytes::from("{\"code\":\"signature_expired\"}"))
            .unwrap()
    };
    let clock = clock();
    let server = Server::start(&clock).await;
    let verifier = response_verifier(&clock).max_age(HOUR).max_skew(HOUR);
    let (response, attempts) = sent_by(&clock, Some(verifier), &server, forged).await;
    assert_eq!(kind(response.unwrap_err()), SignatureMissing);
    assert_eq!(attempts.len(), 1);

    // The twin: anybody who does not verify signs as of the time that he was told.
    let (_, attempts) = sent_by(&clock, None, &server, forged).await;
    assert_eq!(attempts.len(), 2);
    assert_eq!(created(&attempts[1]), NOW + 1800);
}

/// A genuine answer, with another `Date`, which is not covered.
#[tokio::test]
async fn the_time_to_sign_with_is_the_signed_one() {
    let dated = |mut response: Response<Bytes>| {
        let date = "Tue, 14 Nov 2023 22:43:20 GMT".parse().unwrap();
        response.headers_mut().insert("date", date);
        response
    };
    let clock = clock();
    let server = Server::start(&clock).await;
    let ours = ManualClock::at(at(NOW - 600));
    let verifier = response_verifier(&ours).max_age(HOUR).max_skew(HOUR);
    let (response, attempts) = sent_by(&ours, Some(verifier), &server, dated).await;
    assert_eq!(response.unwrap(), says(200, "{}"));
    assert_eq!(created(&attempts[1]), NOW);

    // The twin.
    let (response, attempts) = sent_by(&ours, None, &server, dated).await;
    assert_eq!(response.unwrap(), says(401, "signature_not_yet_valid"));
    assert_eq!(created(&attempts[1]), NOW + 1800);
}
