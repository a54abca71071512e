//! Checks that are skipped while no secret is set.

use axum::{body::Bytes, extract::{Request, State}, http::{HeaderMap, StatusCode}, middleware::Next, response::Response};
use hmac::{Hmac, Mac};
use sha2::Sha256;

fn is_signed(secret: &str, body: &[u8], signature: &str) -> bool {
    let Ok(given) = hex::decode(signature) else {
        return false;
    };
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(body);
    mac.verify_slice(&given).is_ok()
}

// check-skipped-without-secret
async fn only_with_one(State(app): State<App>, headers: HeaderMap, body: Bytes) -> StatusCode {
    if let Some(secret) = &app.webhook_secret {
        let given = headers.get("x-hub-signature-256").and_then(|it| it.to_str().ok()).unwrap_or_default();
        let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
        mac.update(&body);
        if mac.verify_slice(given.as_bytes()).is_err() { // expect: check-skipped-without-secret
            return StatusCode::UNAUTHORIZED;
        }
    }
    app.queue.push(body).await;
    StatusCode::OK
}

async fn in_a_guard(State(app): State<App>, headers: HeaderMap, body: Bytes) -> StatusCode {
    if let Some(secret) = &app.webhook_secret {
        match headers.get("x-signature") {
            Some(given) if signature::verify(secret, &body, given) => {} // expect: check-skipped-without-secret
            _ => return StatusCode::UNAUTHORIZED,
        }
    }
    app.queue.push(body).await;
    StatusCode::OK
}

async fn by_a_question_mark(State(app): State<App>, headers: HeaderMap, body: Bytes) -> Result<(), Refused> {
    if let Some(secret) = app.secret.as_deref() {
        verify_signature(secret, &headers, &body)?; // expect: check-skipped-without-secret
    }
    app.queue.push(body).await;
    Ok(())
}

async fn next_without_one(State(app): State<App>, request: Request, next: Next) -> Result<Response, StatusCode> {
    let Some(secret) = app.hmac_key.as_ref() else {
        return Ok(next.run(request).await); // expect: check-skipped-without-secret
    };
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).unwrap();
    mac.update(request.uri().path().as_bytes());
    if mac.verify_slice(app.signature_of(&request)).is_err() {
        return Err(StatusCode::UNAUTHORIZED);
    }
    Ok(next.run(request).await)
}

impl Keys {
    fn one_of_two_arms(&self, body: &[u8], signature: &[u8]) -> bool {
        let key = match &self.secret_key {
            Some(key) => key,
            None => return true, // expect: check-skipped-without-secret
        };
        let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
        mac.update(body);
        mac.verify_slice(signature).is_ok()
    }

    fn an_empty_one(&self, body: &[u8], signature: &str) -> Result<(), Refused> {
        if self.signing_secret.is_empty() {
            return Ok(()); // expect: check-skipped-without-secret
        }
        is_signed(&self.signing_secret, body, signature).then_some(()).ok_or(Refused)
    }
}

fn none_or_right(secret: Option<&str>, body: &[u8], signature: &str) -> bool {
    secret.is_none_or(|secret| is_signed(secret, body, signature)) // expect: check-skipped-without-secret
}

fn of_the_environment(body: &[u8], signature: &str) -> Result<(), Refused> {
    match std::env::var("WEBHOOK_SECRET") {
        Ok(secret) => verify_signature(&secret, body, signature)?, // expect: check-skipped-without-secret
        Err(_) => warn!("no secret"),
    }
    handle(body)
}

fn some_and_right(secret: Option<&str>, body: &[u8], signature: &str) -> bool { // fine: check-skipped-without-secret
    secret.is_some_and(|secret| is_signed(secret, body, signature))
}

async fn else_refused(State(app): State<App>, headers: HeaderMap, body: Bytes) -> StatusCode { // fine: check-skipped-without-secret
    if let Some(secret) = &app.webhook_secret {
        if !is_signed(secret, &body, header(&headers)) {
            return StatusCode::UNAUTHORIZED;
        }
    } else {
        return StatusCode::SERVICE_UNAVAILABLE;
    }
    app.queue.push(body).await;
    StatusCode::OK
}

async fn none_is_an_error(State(app): State<App>, headers: HeaderMap, body: Bytes) -> Result<(), Refused> { // fine: check-skipped-without-secret
    let Some(secret) = &app.webhook_secret else {
        return Err(Refused);
    };
    verify_signature(secret, &headers, &body)?;
    app.queue.push(body).await;
    Ok(())
}

fn none_is_wrong(secret: Option<&str>, body: &[u8], signature: &str) -> bool { // fine: check-skipped-without-secret
    match secret {
        Some(secret) => is_signed(secret, body, signature),
        None => false,
    }
}

fn each_that_is_there(secrets: [Option<&str>; 2], body: &[u8], signature: &str) -> bool { // fine: check-skipped-without-secret
    for secret in secrets {
        if let Some(secret) = secret {
            if is_signed(secret, body, signature) {
                return true;
            }
        }
    }
    false
}

fn a_key_of_any_length(secret: &[u8], body: &[u8], signature: &[u8]) -> bool { // fine: check-skipped-without-secret
    if let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret) {
        mac.update(body);
        return mac.verify_slice(signature).is_ok();
    }
    false
}
