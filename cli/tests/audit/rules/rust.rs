//! The same faults in Rust.

use std::{fs, fs::File, path::Path as FilePath};

use hmac::{Hmac, Mac};
use sha2::Sha256;

type HmacSha256 = Hmac<Sha256>;

// mac-compared-with-equals
fn hex_is_compared(secret: &[u8], body: &[u8], signature: &str) -> bool {
    let mut mac = HmacSha256::new_from_slice(secret).unwrap();
    mac.update(body);
    hex::encode(mac.finalize().into_bytes()) == signature // expect: mac-compared-with-equals
}

fn with_its_prefix(secret: &[u8], body: &[u8], header: &str) -> Result<(), Refused> {
    let mut mac = HmacSha256::new_from_slice(secret)?;
    mac.update(body);
    let mine = format!("sha256={}", hex::encode(mac.finalize().into_bytes()));
    if mine != header { // expect: mac-compared-with-equals
        return Err(Refused);
    }
    Ok(())
}

fn in_constant_time(secret: &[u8], body: &[u8], signature: &[u8]) -> bool { // fine: mac-compared-with-equals
    let mut mac = HmacSha256::new_from_slice(secret).unwrap();
    mac.update(body);
    mac.verify_slice(signature).is_ok()
}

// mac-over-rewritten-data
async fn json_is_written(secret: &[u8], Json(order): Json<Order>, signature: &[u8]) -> bool {
    let mut mac = HmacSha256::new_from_slice(secret).unwrap();
    mac.update(&serde_json::to_vec(&order).unwrap()); // expect: mac-over-rewritten-data
    mac.verify_slice(signature).is_ok()
}

fn bytes_as_they_came(secret: &[u8], raw: &[u8], signature: &[u8]) -> Option<Order> { // fine: mac-over-rewritten-data
    let mut mac = HmacSha256::new_from_slice(secret).ok()?;
    mac.update(raw);
    mac.verify_slice(signature).ok()?;
    serde_json::from_slice(raw).ok()
}

// signed-time-is-own-clock
fn of_this_moment(secret: &[u8], body: &[u8], signature: &[u8]) -> bool {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let mut mac = HmacSha256::new_from_slice(secret).unwrap();
    mac.update(now.to_string().as_bytes());
    mac.update(body);
    mac.verify_slice(signature).is_ok() // expect: signed-time-is-own-clock
}

// time-compared-on-one-side
fn only_old(secret: &[u8], timestamp: i64, body: &str, signature: &[u8]) -> bool {
    if Utc::now().timestamp() - timestamp > 300 {
        return false;
    }
    let mut mac = HmacSha256::new_from_slice(secret).unwrap();
    mac.update(format!("{timestamp}.{body}").as_bytes());
    mac.verify_slice(signature).is_ok() // expect: time-compared-on-one-side
}

fn both_sides(secret: &[u8], timestamp: i64, body: &str, signature: &[u8]) -> bool { // fine: time-compared-on-one-side, time-never-compared
    if (Utc::now().timestamp() - timestamp).abs() > 300 {
        return false;
    }
    let mut mac = HmacSha256::new_from_slice(secret).unwrap();
    mac.update(format!("{timestamp}.{body}").as_bytes());
    mac.verify_slice(signature).is_ok()
}

// secret-has-default
fn secret() -> String {
    std::env::var("WEBHOOK_SECRET").unwrap_or_default() // expect: secret-has-default
}

fn secret_of_development() -> String {
    env::var("SIGNING_SECRET").unwrap_or_else(|_| "development".to_owned()) // expect: secret-has-default
}

fn secret_or_nothing() -> Option<String> { // fine: secret-has-default
    std::env::var("WEBHOOK_SECRET").ok()
}

// secret-in-code
fn in_code(body: &[u8]) -> Vec<u8> {
    let mut mac = HmacSha256::new_from_slice(b"a secret of the service").unwrap(); // expect: secret-in-code
    mac.update(body);
    mac.finalize().into_bytes().to_vec()
}

// used-get-then-set
struct Seen {
    nonces: DashMap<String, ()>,
    locked: Mutex<HashSet<String>>,
}

impl Seen {
    fn two_steps(&self, nonce: String) -> bool {
        if self.nonces.contains_key(&nonce) {
            return false;
        }
        self.nonces.insert(nonce, ()); // expect: used-get-then-set
        true
    }

    fn two_locks(&self, nonce: String) -> bool {
        if self.locked.lock().unwrap().contains(&nonce) {
            return false;
        }
        self.locked.lock().unwrap().insert(nonce); // expect: used-get-then-set
        true
    }

    fn one_lock(&self, nonce: String) -> bool { // fine: used-get-then-set
        let mut locked = self.locked.lock().unwrap();
        if locked.contains(&nonce) {
            return false;
        }
        locked.insert(nonce);
        true
    }

    fn one_step(&self, nonce: String) -> bool { // fine: used-get-then-set
        self.nonces.insert(nonce, ()).is_none()
    }
}

// checked-then-changed: SeaORM
async fn cancel(db: &DatabaseConnection, id: i32) -> Result<(), Refused> {
    let order = Order::find_by_id(id).one(db).await?.ok_or(Refused)?;
    if order.status != "open" {
        return Err(Refused);
    }
    let mut active_order: ActiveModel = order.into();
    active_order.status = Set("cancelled".to_owned());
    active_order.update(db).await?; // expect: checked-then-changed
    Ok(())
}

async fn cancel_locked(db: &DatabaseTransaction, id: i32) -> Result<(), Refused> { // fine: checked-then-changed
    let order = Order::find_by_id(id).lock_exclusive().one(db).await?.ok_or(Refused)?;
    if order.status != "open" {
        return Err(Refused);
    }
    let mut active_order: ActiveModel = order.into();
    active_order.status = Set("cancelled".to_owned());
    active_order.update(db).await?;
    Ok(())
}

// select-then-write
async fn withdraw(pool: &PgPool, id: i64, amount: i64) -> Result<(), Refused> {
    let row = sqlx::query!("SELECT balance FROM accounts WHERE id = $1", id).fetch_one(pool).await?;
    if row.balance < amount {
        return Err(Refused);
    }
    sqlx::query!("UPDATE accounts SET balance = balance - $1 WHERE id = $2", amount, id) // expect: select-then-write
        .execute(pool)
        .await?;
    Ok(())
}

async fn in_a_transaction_alone(pool: &PgPool, id: i64) -> Result<(), Refused> {
    let mut tx = pool.begin().await?;
    let state: Option<String> = sqlx::query_scalar("SELECT state FROM orders WHERE id = $1").bind(id).fetch_optional(&mut *tx).await?;
    if state.as_deref() != Some("open") {
        return Err(Refused);
    }
    sqlx::query("DELETE FROM orders WHERE id = $1").bind(id).execute(&mut *tx).await?; // expect: select-then-write
    tx.commit().await?;
    Ok(())
}

async fn seen_then_inserted(pool: &PgPool, event: &str) -> Result<bool, Refused> {
    let seen = sqlx::query("SELECT 1 FROM events WHERE id = $1").bind(event).fetch_optional(pool).await?;
    if seen.is_some() {
        return Ok(false);
    }
    sqlx::query("INSERT INTO events (id) VALUES ($1)").bind(event).execute(pool).await?; // expect: select-then-write
    Ok(true)
}

async fn for_update(pool: &PgPool, id: i64, amount: i64) -> Result<(), Refused> { // fine: select-then-write
    let mut tx = pool.begin().await?;
    let row = sqlx::query!("SELECT balance FROM accounts WHERE id = $1 FOR UPDATE", id).fetch_one(&mut *tx).await?;
    if row.balance < amount {
        return Err(Refused);
    }
    sqlx::query!("UPDATE accounts SET balance = balance - $1 WHERE id = $2", amount, id).execute(&mut *tx).await?;
    tx.commit().await?;
    Ok(())
}

async fn on_a_condition(pool: &PgPool, id: i64, amount: i64) -> Result<(), Refused> { // fine: select-then-write
    let row = sqlx::query!("SELECT balance FROM accounts WHERE id = $1", id).fetch_one(pool).await?;
    if row.balance < amount {
        return Err(Refused);
    }
    sqlx::query!("UPDATE accounts SET balance = balance - $1 WHERE id = $2 AND balance >= $1", amount, id).execute(pool).await?;
    Ok(())
}

async fn another_table(pool: &PgPool, id: i64) -> Result<(), Refused> { // fine: select-then-write
    let row = sqlx::query!("SELECT state FROM orders WHERE id = $1", id).fetch_one(pool).await?;
    if row.state != "open" {
        return Err(Refused);
    }
    sqlx::query!("UPDATE visits SET count = count + 1 WHERE id = $1", id).execute(pool).await?;
    Ok(())
}

async fn on_conflict(pool: &PgPool, event: &str) -> Result<bool, Refused> { // fine: select-then-write
    let seen = sqlx::query("SELECT 1 FROM events WHERE id = $1").bind(event).fetch_optional(pool).await?;
    if seen.is_some() {
        return Ok(false);
    }
    sqlx::query("INSERT INTO events (id) VALUES ($1) ON CONFLICT DO NOTHING").bind(event).execute(pool).await?;
    Ok(true)
}

// file-checked-then-used
fn read_no_link(path: &FilePath) -> std::io::Result<String> {
    if fs::symlink_metadata(path)?.is_symlink() {
        return Ok(String::new());
    }
    fs::read_to_string(path) // expect: file-checked-then-used
}

fn open_it(path: &FilePath) -> std::io::Result<File> { // fine: file-checked-then-used
    File::open(path)
}

// file-exists-then-opened
fn if_it_is_there(path: &FilePath) -> std::io::Result<String> {
    if !path.exists() {
        return Ok(String::new());
    }
    fs::read_to_string(path) // expect: file-exists-then-opened
}

// created-then-restricted
fn write_key(path: &FilePath, key: &[u8]) -> std::io::Result<()> {
    fs::write(path, key)?;
    fs::set_permissions(path, Permissions::from_mode(0o600)) // expect: created-then-restricted
}

fn write_with_its_mode(path: &FilePath, key: &[u8]) -> std::io::Result<()> { // fine: created-then-restricted
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(key)
}

// link-followed
async fn raw(Path(name): Path<String>) -> Vec<u8> {
    fs::read(FilePath::new("/srv").join(name)).unwrap() // expect: link-followed
}
