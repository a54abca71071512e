//! How a MAC is compared in Rust, what it is over, its secret and its time.

use axum::{extract::State, http::HeaderMap};
use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};

// mac-compared-with-equals
fn bytes_are_compared(key: &[u8], body: &[u8], given_signature: &[u8]) -> bool {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(body);
    let mine = mac.finalize().into_bytes();
    &mine[..] == given_signature // expect: mac-compared-with-equals
}

async fn header_is_compared(State(app): State<App>, headers: HeaderMap, body: String) -> Result<(), Refused> {
    let given = headers.get("x-signature").and_then(|it| it.to_str().ok()).unwrap_or_default();
    let mut mac = Hmac::<Sha256>::new_from_slice(app.key.as_bytes())?;
    mac.update(body.as_bytes());
    if STANDARD.encode(mac.finalize().into_bytes()) != given { // expect: mac-compared-with-equals
        return Err(Refused);
    }
    Ok(())
}

fn compared_by_subtle(key: &[u8], body: &[u8], signature: &[u8]) -> bool { // fine: mac-compared-with-equals
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(body);
    mac.finalize().into_bytes().as_slice().ct_eq(signature).into()
}

fn digest_of_a_file(data: &[u8], wanted: &str) -> bool { // fine: mac-compared-with-equals
    hex::encode(Sha256::digest(data)) == wanted
}

fn only_its_length(key: &[u8], body: &[u8], signature: &[u8]) -> bool { // fine: mac-compared-with-equals
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(body);
    signature.len() == 32 && mac.verify_slice(signature).is_ok()
}

// mac-over-rewritten-data
fn of_a_value(key: &[u8], payload: &Value, signature: &[u8]) -> bool {
    let text = serde_json::to_string(payload).unwrap(); // expect: mac-over-rewritten-data
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(text.as_bytes());
    mac.verify_slice(signature).is_ok()
}

fn of_what_was_read(key: &[u8], raw: &[u8], signature: &[u8]) -> Result<(), Refused> {
    let event: Event = serde_json::from_slice(raw)?;
    let mut mac = Hmac::<Sha256>::new_from_slice(key)?;
    mac.update(&serde_json::to_vec(&event)?); // expect: mac-over-rewritten-data
    mac.verify_slice(signature)?;
    Ok(())
}

fn with_a_time(key: &[u8], timestamp: &str, order: &Order, signature: &[u8], now: i64) -> bool {
    if (now - parsed(timestamp)).abs() > 300 {
        return false;
    }
    let message = format!("{timestamp}.{}", serde_json::to_string(order).unwrap()); // expect: mac-over-rewritten-data
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(message.as_bytes());
    mac.verify_slice(signature).is_ok()
}

fn sent_by_us(key: &[u8], order: &Order) -> Vec<u8> { // fine: mac-over-rewritten-data
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(&serde_json::to_vec(order).unwrap());
    mac.finalize().into_bytes().to_vec()
}

fn answer_is_written(key: &[u8], raw: &[u8], signature: &[u8]) -> Option<String> { // fine: mac-over-rewritten-data
    let mut mac = Hmac::<Sha256>::new_from_slice(key).ok()?;
    mac.update(raw);
    mac.verify_slice(signature).ok()?;
    serde_json::to_string(&Answer::default()).ok()
}

fn fields_in_a_row(key: &[u8], raw_id: &str, raw_amount: &str, signature: &[u8]) -> bool { // fine: mac-over-rewritten-data
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(format!("{}:{raw_id}{}:{raw_amount}", raw_id.len(), raw_amount.len()).as_bytes());
    mac.verify_slice(signature).is_ok()
}

// signed-time-is-own-clock
fn of_utc(key: &[u8], raw: &[u8], signature: &[u8]) -> bool {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(Utc::now().timestamp().to_string().as_bytes());
    mac.update(raw);
    mac.verify_slice(signature).is_ok() // expect: signed-time-is-own-clock
}

fn of_a_helper(key: &[u8], raw: &[u8], signature: &[u8]) -> bool {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(format!("{}.", stamp()).as_bytes());
    mac.update(raw);
    mac.verify_slice(signature).is_ok() // expect: signed-time-is-own-clock
}

fn stamp() -> i64 {
    OffsetDateTime::now_utc().unix_timestamp()
}

fn of_this_minute(key: &[u8], given: &str) -> bool {
    let minute = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() / 60;
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(&minute.to_be_bytes());
    mac.verify_slice(given.as_bytes()).is_ok() // expect: signed-time-is-own-clock
}

fn signed_now(key: &[u8], body: &[u8]) -> Vec<u8> { // fine: signed-time-is-own-clock
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(Utc::now().timestamp().to_string().as_bytes());
    mac.update(body);
    mac.finalize().into_bytes().to_vec()
}

fn time_of_the_sender(key: &[u8], timestamp: i64, raw: &[u8], signature: &[u8]) -> bool { // fine: signed-time-is-own-clock, time-compared-on-one-side, time-never-compared
    if Utc::now().timestamp().abs_diff(timestamp) > 300 {
        return false;
    }
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(timestamp.to_string().as_bytes());
    mac.update(raw);
    mac.verify_slice(signature).is_ok()
}

fn time_of_the_log(key: &[u8], raw: &[u8], signature: &[u8]) -> bool { // fine: signed-time-is-own-clock
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(raw);
    info!("checked at {}", Utc::now());
    mac.verify_slice(signature).is_ok()
}

fn no_time_at_all(key: &[u8], raw: &[u8], signature: &[u8]) -> bool { // fine: signed-time-is-own-clock, time-never-compared, time-compared-on-one-side
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(raw);
    mac.verify_slice(signature).is_ok()
}

// time-compared-on-one-side
fn added_to(key: &[u8], timestamp: u64, raw: &str, signature: &[u8]) -> Result<(), Refused> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    if timestamp + 300 < now {
        return Err(Refused);
    }
    let mut mac = Hmac::<Sha256>::new_from_slice(key)?;
    mac.update(format!("{timestamp}:{raw}").as_bytes());
    mac.verify_slice(signature)?; // expect: time-compared-on-one-side
    Ok(())
}

fn saturating(key: &[u8], timestamp: u64, raw: &str, signature: &[u8]) -> bool {
    let now = now_utc().unix_timestamp() as u64;
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(format!("v0:{timestamp}:{raw}").as_bytes());
    mac.verify_slice(signature).is_ok() && now.saturating_sub(timestamp) < 300 // expect: time-compared-on-one-side
}

fn as_a_duration(key: &[u8], timestamp: DateTime<Utc>, raw: &str, signature: &[u8]) -> bool {
    if Utc::now() - timestamp > Duration::minutes(5) {
        return false;
    }
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(format!("{timestamp}.{raw}").as_bytes());
    mac.verify_slice(signature).is_ok() // expect: time-compared-on-one-side
}

fn ahead_and_old(key: &[u8], timestamp: i64, raw: &str, signature: &[u8]) -> bool { // fine: time-compared-on-one-side, time-never-compared
    let now = Utc::now().timestamp();
    if timestamp > now + 5 || timestamp < now - 300 {
        return false;
    }
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(format!("{timestamp}.{raw}").as_bytes());
    mac.verify_slice(signature).is_ok()
}

fn until_it_expires(key: &[u8], expires: i64, raw: &str, signature: &[u8]) -> bool { // fine: time-compared-on-one-side
    if expires < Utc::now().timestamp() {
        return false;
    }
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(format!("{expires}.{raw}").as_bytes());
    mac.verify_slice(signature).is_ok()
}

// time-never-compared
fn of_a_parameter(key: &[u8], timestamp: &str, raw: &str, signature: &[u8]) -> bool {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(format!("{timestamp}.{raw}").as_bytes()); // expect: time-never-compared
    mac.verify_slice(signature).is_ok()
}

async fn of_a_header(headers: HeaderMap, State(app): State<App>, body: Bytes) -> Result<(), Refused> {
    let sent = headers.get("x-timestamp").ok_or(Refused)?; // expect: time-never-compared
    let mut mac = Hmac::<Sha256>::new_from_slice(&app.key)?;
    mac.update(sent.as_bytes());
    mac.update(&body);
    mac.verify_slice(&decoded(&headers)?)?;
    Ok(())
}

fn in_pieces(key: &[u8], request_ts: &str, raw: &[u8], signature: &[u8]) -> Result<(), Refused> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key)?;
    mac.update(b"v0:");
    mac.update(request_ts.as_bytes()); // expect: time-never-compared
    mac.update(raw);
    mac.verify_slice(signature).map_err(|_| Refused)
}

fn of_a_struct(key: &[u8], event: &Envelope, signature: &[u8]) -> bool {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(event.timestamp.as_bytes()); // expect: time-never-compared
    mac.update(event.token.as_bytes());
    mac.verify_slice(signature).is_ok()
}

fn handed_on(key: &[u8], timestamp: i64, raw: &str, signature: &[u8], window: &Window) -> bool { // fine: time-never-compared
    window.must_hold(timestamp);
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(format!("{timestamp}.{raw}").as_bytes());
    mac.verify_slice(signature).is_ok()
}

// secret-has-default
fn by_a_closure() -> Vec<u8> {
    env::var("HMAC_SECRET").unwrap_or_else(|_| String::from("change-me")).into_bytes() // expect: secret-has-default
}

fn by_a_text() -> String {
    std::env::var("SIGNING_KEY").unwrap_or("local".to_owned()) // expect: secret-has-default
}

fn expected_there() -> String { // fine: secret-has-default
    std::env::var("WEBHOOK_SECRET").expect("WEBHOOK_SECRET is set")
}

fn another_setting() -> String { // fine: secret-has-default
    env::var("LISTEN_ADDRESS").unwrap_or_else(|_| "127.0.0.1:80".to_owned())
}

fn where_it_lies() -> String { // fine: secret-has-default
    env::var("WEBHOOK_SECRET_FILE").unwrap_or_else(|_| "/run/secrets/webhook".to_owned())
}

// secret-in-code
const KEY: &[u8] = b"a key that everybody reads";

fn of_a_constant(raw: &[u8]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(KEY).unwrap(); // expect: secret-in-code
    mac.update(raw);
    mac.finalize().into_bytes().to_vec()
}

fn of_a_local(raw: &[u8]) -> Vec<u8> {
    let key = "one more key".as_bytes();
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap(); // expect: secret-in-code
    mac.update(raw);
    mac.finalize().into_bytes().to_vec()
}

fn of_a_text(raw: &[u8], signature: &[u8]) -> bool {
    let mut mac = Hmac::<Sha256>::new_from_slice("the secret".as_bytes()).unwrap(); // expect: secret-in-code
    mac.update(raw);
    mac.verify_slice(signature).is_ok()
}

fn of_an_argument(key: &[u8], raw: &[u8]) -> Vec<u8> { // fine: secret-in-code
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(raw);
    mac.finalize().into_bytes().to_vec()
}

fn of_the_settings(settings: &Settings, raw: &[u8]) -> Vec<u8> { // fine: secret-in-code
    let mut mac = Hmac::<Sha256>::new_from_slice(settings.secret.as_bytes()).unwrap();
    mac.update(raw);
    mac.finalize().into_bytes().to_vec()
}

fn of_the_environment(raw: &[u8]) -> Option<Vec<u8>> { // fine: secret-in-code
    let key = env::var("WEBHOOK_SECRET").ok()?;
    let mut mac = Hmac::<Sha256>::new_from_slice(key.as_bytes()).ok()?;
    mac.update(raw);
    Some(mac.finalize().into_bytes().to_vec())
}

fn derived_as_a_cloud_does(secret: &str, day: &str) -> Vec<u8> { // fine: secret-in-code
    let mut mac = Hmac::<Sha256>::new_from_slice(format!("AWS4{secret}").as_bytes()).unwrap();
    mac.update(day.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

// used-get-then-set
struct Replays {
    seen: DashSet<String>,
    used: RwLock<HashSet<String>>,
}

impl Replays {
    fn of_a_set(&self, nonce: String) -> Result<(), Refused> {
        if self.seen.contains(&nonce) {
            return Err(Refused);
        }
        self.seen.insert(nonce); // expect: used-get-then-set
        Ok(())
    }

    fn read_then_write(&self, nonce: String) -> Result<(), Refused> {
        if self.used.read().unwrap().contains(&nonce) {
            return Err(Refused);
        }
        self.used.write().unwrap().insert(nonce); // expect: used-get-then-set
        Ok(())
    }

    fn by_what_insert_says(&self, nonce: String) -> Result<(), Refused> { // fine: used-get-then-set
        if !self.used.write().unwrap().insert(nonce) {
            return Err(Refused);
        }
        Ok(())
    }

    fn only_asked(&self, nonce: &str) -> bool { // fine: used-get-then-set
        self.seen.contains(nonce) || self.used.read().unwrap().contains(nonce)
    }
}
