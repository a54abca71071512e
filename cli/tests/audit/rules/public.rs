//! Faults and clean code as public services write them, each with the place where it was seen.

use std::{fs, fs::File, io, io::Write, path::Path as FilePath};

use bitcoin_hashes::{Hmac as BitcoinHmac, HmacEngine, sha256};
use clap::Parser;
use constant_time_eq::constant_time_eq;
use hmac::{Hmac, Mac};
use sha1::Sha1;
use sha2::Sha256;
use subtle::ConstantTimeEq;

// mac-compared-with-equals
// seen in contentful-labs/request-verification-examples, rust/src/main.rs
fn of_a_canonical_text(key: &str, path: &str, headers: &Headers, body: &str, signature: &str) -> StatusCode {
    let canonical = ["POST", path, &headers.joined(), body].join("\n");
    let mut mac = Hmac::<Sha256>::new_from_slice(key.as_bytes()).expect("a key of any length");
    mac.update(canonical.as_bytes());
    let mine = hex::encode(mac.finalize().into_bytes());
    if mine == *signature { // expect: mac-compared-with-equals
        return StatusCode::OK;
    }
    StatusCode::UNAUTHORIZED
}

// seen in hzbd/echo, src/main.rs
fn behind_its_algorithm(state: &State, header: &str, body: &[u8]) -> Option<bool> {
    let (_, given_signature) = header.split_once('=')?;
    let mut mac = Hmac::<Sha256>::new_from_slice(state.key.as_bytes()).ok()?;
    mac.update(body);
    let mine = hex::encode(mac.finalize().into_bytes());
    Some(given_signature == mine) // expect: mac-compared-with-equals
}

// seen in nanato12/line-bot-sdk-rust, core/lib/src/parser/signature.rs
fn of_a_channel(channel: &Channel, signature: &str, body: &str) -> bool {
    let mut mac = Hmac::<Sha256>::new_from_slice(channel.key()).expect("a key of any length");
    mac.update(body.as_bytes());
    let mut mine = String::new();
    STANDARD.encode_string(mac.finalize().into_bytes(), &mut mine);
    mine == signature // expect: mac-compared-with-equals
}

// seen in lightningdevkit/ldk-server, ldk-server/src/service.rs
fn of_a_node(api_key: &str, header: &str, body: &[u8]) -> Result<(), Refused> { // fine: signed-time-is-own-clock, time-compared-on-one-side, time-never-compared
    let (timestamp, signature) = header.split_once(':').ok_or(Refused)?;
    let timestamp = timestamp.parse::<u64>().map_err(|_| Refused)?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_err(|_| Refused)?.as_secs();
    if now.abs_diff(timestamp) > 60 {
        return Err(Refused);
    }
    let mut engine: HmacEngine<sha256::Hash> = HmacEngine::new(api_key.as_bytes());
    engine.input(&timestamp.to_be_bytes());
    engine.input(body);
    let mine = BitcoinHmac::<sha256::Hash>::from_engine(engine);
    let given_hmac = signature.parse::<BitcoinHmac<sha256::Hash>>().map_err(|_| Refused)?;
    if mine != given_hmac { // expect: mac-compared-with-equals
        return Err(Refused);
    }
    Ok(())
}

// seen in rust-lang/bors, src/server/webhook.rs
fn of_a_merge_bot(secret: &Secret, headers: &HeaderMap, body: &[u8]) -> bool { // fine: mac-compared-with-equals, mac-over-rewritten-data, secret-in-code
    let Some(signature) = headers.get("x-hub-signature-256").map(|it| it.as_bytes()) else {
        return false;
    };
    let Some(signature) = signature.get(7..).and_then(|it| hex::decode(it).ok()) else {
        return false;
    };
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.expose().as_bytes()).expect("a key of any length");
    mac.update(body);
    mac.verify_slice(&signature).is_ok()
}

// seen in rust-lang/rust-log-analyzer, src/github.rs
fn of_a_log_reader(secret: &[u8], signature: Option<&str>, body: &[u8]) -> Result<(), Refused> { // fine: mac-compared-with-equals, mac-over-rewritten-data, secret-in-code
    let signature = signature.and_then(|it| it.strip_prefix("sha1=")).ok_or(Refused)?;
    let signature = hex::decode(signature).map_err(|_| Refused)?;
    let mut mac = Hmac::<Sha1>::new_from_slice(secret).unwrap();
    mac.update(body);
    if mac.verify_slice(&signature).is_ok() { Ok(()) } else { Err(Refused) }
}

// seen in swar09/razorpay-rs, razorpay/src/webhooks.rs
fn of_a_payment(body: &str, signature: &str, secret: &str) -> Result<(), Refused> { // fine: mac-compared-with-equals, mac-over-rewritten-data, secret-in-code
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).map_err(|_| Refused)?;
    mac.update(body.as_bytes());
    let mine = hex::encode(mac.finalize().into_bytes());
    if constant_time_eq(mine.as_bytes(), signature.as_bytes()) {
        Ok(())
    } else {
        Err(Refused)
    }
}

// seen in PeterGrace/github_webhook_exporter, src/security/webhook_auth.rs
async fn of_a_stored_secret(store: &Store, name: &str, signature: &[u8], body: &[u8]) -> Result<Id, Refused> { // fine: mac-compared-with-equals, mac-over-rewritten-data, secret-in-code
    let (id, secret) = store.secret_of(name).await.map_err(|_| Refused)?;
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.expose_secret().as_bytes()).map_err(|_| Refused)?;
    mac.update(body);
    mac.verify_slice(signature).map_err(|_| Refused)?;
    Ok(id)
}

// seen in rust-lang/triagebot, src/github/webhook.rs
fn of_one_of_several_secrets(signature: &[u8], body: &[u8]) -> Result<(), Refused> { // fine: mac-compared-with-equals, check-skipped-without-secret
    let secrets = std::env::var("BOT_WEBHOOK_SECRET").expect("BOT_WEBHOOK_SECRET is not set");
    for secret in secrets.split(',') {
        let mut mac = Hmac::<Sha256>::new_from_slice(secret.trim().as_bytes()).unwrap();
        mac.update(body);
        if mac.verify_slice(signature).is_ok() {
            return Ok(());
        }
    }
    Err(Refused)
}

// check-skipped-without-secret
// seen in zeroclaw-labs/zeroclaw, crates/zeroclaw-channels/src/webhook.rs
async fn of_a_channel_with_a_secret(State(state): State<Channel>, headers: HeaderMap, body: Bytes) -> StatusCode {
    if let Some(ref secret) = state.secret {
        let signature = headers.get("x-webhook-signature").and_then(|it| it.to_str().ok()).unwrap_or_default();
        let given = hex::decode(signature).unwrap_or_default();
        let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
        mac.update(&body);
        if mac.verify_slice(&given).is_err() { // expect: check-skipped-without-secret
            return StatusCode::UNAUTHORIZED;
        }
    }
    state.messages.send(body).await;
    StatusCode::OK
}

// seen in zeroclaw-labs/zeroclaw, crates/zeroclaw-gateway/src/lib.rs
async fn of_a_phone(secret: Option<&str>, signature: &[u8], body: Bytes) -> StatusCode { // fine: check-skipped-without-secret
    let Some(secret) = secret else {
        return StatusCode::SERVICE_UNAVAILABLE;
    };
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(&body);
    if mac.verify_slice(signature).is_err() {
        return StatusCode::UNAUTHORIZED;
    }
    StatusCode::OK
}

// seen in abdolence/slack-morphism-rust, src/signature_verifier.rs
fn of_an_empty_secret(secret: &str, body: &[u8], signature: &[u8]) -> Result<(), Refused> { // fine: check-skipped-without-secret
    if secret.is_empty() {
        return Err(Refused);
    }
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).map_err(|_| Refused)?;
    mac.update(body);
    mac.verify_slice(signature).map_err(|_| Refused)
}

// seen in heyAyushh/webhook-relay, src/sources/linear.rs
fn of_linear(config: &Config, body: &[u8], signature: &[u8]) -> Result<(), Refused> { // fine: check-skipped-without-secret
    let secret = config.linear_secret.as_deref().ok_or(Refused)?;
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).map_err(|_| Refused)?;
    mac.update(body);
    mac.verify_slice(signature).map_err(|_| Refused)
}

// signed-time-is-own-clock, time-compared-on-one-side, time-never-compared
// seen in twitch-rs/twitch_api, src/eventsub/event.rs
fn of_twitch(headers: &HeaderMap, body: &[u8], secret: &[u8], signature: &[u8]) -> Option<bool> {
    let id = headers.get("Message-Id")?.as_bytes();
    let timestamp = headers.get("Message-Timestamp")?.as_bytes();
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).ok()?;
    mac.update(id);
    mac.update(timestamp); // expect: time-never-compared
    mac.update(body);
    Some(mac.verify_slice(signature).is_ok())
}

// seen in oxy-hq/oxy, crates/app/src/integrations/slack/signature.rs
fn of_slack_at(secret: &str, timestamp: Option<&str>, signature: Option<&str>, body: &[u8], now: i64) -> Result<(), Refused> { // fine: signed-time-is-own-clock, time-compared-on-one-side, time-never-compared
    let (timestamp, signature) = timestamp.zip(signature).ok_or(Refused)?;
    let sent: i64 = timestamp.parse().map_err(|_| Refused)?;
    if (now - sent).abs() > 300 {
        return Err(Refused); // it is too old, or of the future: a replay
    }
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).map_err(|_| Refused)?;
    mac.update(format!("v0:{timestamp}:").as_bytes());
    mac.update(body);
    let mine = format!("v0={}", hex::encode(mac.finalize().into_bytes()));
    if constant_time_eq(mine.as_bytes(), signature.as_bytes()) { Ok(()) } else { Err(Refused) }
}

// seen in abdolence/slack-morphism-rust, src/signature_verifier.rs
fn of_slack(secret: &str, hash: &str, body: &str, ts: &str) -> Result<(), Refused> { // fine: signed-time-is-own-clock, time-compared-on-one-side, time-never-compared
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).map_err(|_| Refused)?;
    mac.update(b"v0:");
    mac.update(ts.as_bytes());
    mac.update(b":");
    mac.update(body.as_bytes());
    let mine = format!("v0={}", hex::encode(mac.finalize().into_bytes()));
    if mine.as_bytes().ct_eq(hash.as_bytes()).unwrap_u8() != 1 {
        return Err(Refused);
    }
    let sent = ts.parse::<i64>().map_err(|_| Refused)?;
    if (chrono::Utc::now().timestamp() - sent).abs() > 300 {
        return Err(Refused);
    }
    Ok(())
}

// seen in arlyon/async-stripe, async-stripe-webhook/src/webhook.rs
fn of_stripe(payload: &str, header: &str, secret: &str) -> Result<Event, Refused> { // fine: signed-time-is-own-clock, time-compared-on-one-side, time-never-compared
    let (t, v1) = parts_of_stripe(header)?;
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).map_err(|_| Refused)?;
    mac.update(format!("{t}.{payload}").as_bytes());
    let given = hex::decode(v1).map_err(|_| Refused)?;
    mac.verify_slice(given.as_slice()).map_err(|_| Refused)?;
    if (Utc::now().timestamp() - t).abs() > 300 {
        return Err(Refused);
    }
    serde_json::from_str(payload).map_err(|_| Refused)
}

// seen in svix/svix-webhooks, rust/src/webhooks.rs
fn of_svix(key: &[u8], id: &str, timestamp: u64, payload: &str, signature: &[u8]) -> Result<(), Refused> { // fine: signed-time-is-own-clock, time-compared-on-one-side, time-never-compared
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_err(|_| Refused)?.as_secs();
    if timestamp.saturating_add(300) < now {
        return Err(Refused);
    } else if timestamp > now.saturating_add(300) {
        return Err(Refused);
    }
    let mut mac = Hmac::<Sha256>::new_from_slice(key).map_err(|_| Refused)?;
    mac.update(format!("{id}.{timestamp}.{payload}").as_bytes());
    mac.verify_slice(signature).map_err(|_| Refused)
}

// used-get-then-set
struct Choreography {
    processed_debits: DashMap<Uuid, ()>,
    processed_transfers: DashMap<String, DateTime<Utc>>,
    idempotency: RwLock<HashSet<Entry>>,
}

// seen in juhonkang/banking-ledger-rs, src/service/choreography.rs
impl Choreography {
    fn debited(&self, event: &Transfer) -> Result<(), Refused> {
        if self.processed_debits.contains_key(&event.correlation) {
            return Ok(());
        }
        self.ledger.debit(event)?;
        self.processed_debits.insert(event.correlation, ()); // expect: used-get-then-set
        Ok(())
    }
}

struct PeerNonces {
    peer_nonces: DashMap<String, Instant>,
}

impl PeerNonces {
    // seen in RightNow-AI/openfang, crates/openfang-wire/src/peer.rs
    fn of_a_peer(&self, nonce: &str) -> Result<(), String> {
        let now = Instant::now();
        self.peer_nonces.retain(|_, seen| now.duration_since(*seen) < WINDOW);
        if self.peer_nonces.contains_key(nonce) {
            return Err(format!("replayed: {nonce}"));
        }
        self.peer_nonces.insert(nonce.to_string(), now); // expect: used-get-then-set
        Ok(())
    }
}

// seen in LemmyNet/lemmy, crates/routes/src/middleware/idempotency.rs
impl Choreography {
    fn first_of_a_key(&self, entry: Entry) -> bool {
        if self.idempotency.read().expect("a lock").contains(&entry) {
            return false;
        }
        self.idempotency.write().expect("a lock").insert(entry); // expect: used-get-then-set
        true
    }
}

// seen in juhonkang/banking-ledger-rs, src/service/idempotency.rs
impl Choreography {
    fn marked_in_one_step(&self, transfer: &str) -> bool { // fine: used-get-then-set
        self.processed_transfers.insert(transfer.to_string(), Utc::now()).is_some()
    }
}

// seen in jeresoftx/rust-payments, src/webhook.rs
impl Receiver {
    fn received(&mut self, event: WebhookEvent) -> Disposition { // fine: used-get-then-set
        if !self.seen.insert(event.id) {
            return Disposition::Duplicate;
        }
        self.latest = Some(event.sequence);
        Disposition::Applied
    }
}

// seen in cashubtc/cdk, crates/cdk-nwc/src/service.rs
impl Recent {
    fn put_if_new(&mut self, id: EventId) -> bool { // fine: used-get-then-set
        if !self.seen.insert(id) {
            return false;
        }
        self.order.push_back(id);
        if self.order.len() > self.capacity {
            self.order.pop_front().map(|oldest| self.seen.remove(&oldest));
        }
        true
    }
}

// seen in KAMRON-DEVELOPER/poddle-axum, rust/services/compute-reconciler/src/services/event_watcher.rs
async fn told_once(redis: &mut Connection, deployment: &str) -> Result<(), Error> { // fine: used-get-then-set
    let key = format!("event:told:{deployment}");
    let is_first: bool = redis.set_nx(&key, 1).await?;
    if is_first {
        redis.expire(&key, 300).await?;
        tell(deployment).await?;
    }
    Ok(())
}

// seen in svix/svix-webhooks, server/svix-server/src/core/cache/redis.rs
impl RedisCache {
    async fn kept_if_new(&self, key: &[u8], value: &[u8], milliseconds: u64) -> Result<bool, Error> { // fine: used-get-then-set
        let mut pool = self.redis.get().await?;
        let mut command = redis::Cmd::set(key, value);
        command.arg("PX").arg(milliseconds).arg("NX");
        let answer: Option<()> = command.query_async(&mut pool).await?;
        Ok(answer.is_some())
    }
}

// checked-then-changed
// seen in QiusHosens/synerunify, server/module/module-erp/erp-server/src/service/erp_product_inventory.rs
async fn taken_out(tx: &DatabaseTransaction, product: i64, quantity: i32) -> Result<(), Error> {
    let stock = Inventory::find().filter(Column::ProductId.eq(product)).one(tx).await?;
    match stock {
        Some(inventory) => {
            if inventory.stock_quantity < quantity {
                return Err(Error::Empty);
            }
            let mut active_model: ActiveModel = inventory.clone().into();
            active_model.stock_quantity = Set(inventory.stock_quantity - quantity);
            active_model.update(tx).await?; // expect: checked-then-changed
            Ok(())
        }
        None => Err(Error::Empty),
    }
}

// select-then-write
// seen in DmitryZaika/granite-webhooks, common/src/crud/scheduled_emails.rs
async fn mail_later(pool: &MySqlPool, template: i32, customer: i32) -> Result<(), Error> {
    let waiting = sqlx::query_scalar!(
        "SELECT id FROM mails WHERE template_id = ? AND customer_id = ? AND status IN ('pending', 'sent') LIMIT 1",
        template,
        customer
    )
    .fetch_optional(pool)
    .await?;
    if waiting.is_some() {
        return Ok(());
    }
    sqlx::query!("INSERT INTO mails (template_id, customer_id) VALUES (?, ?)", template, customer) // expect: select-then-write
        .execute(pool)
        .await?;
    Ok(())
}

// seen in GaloyMoney/bria, src/bdk/pg/descriptor_checksum.rs
impl Checksums {
    async fn known_or_kept(&self, keychain: Uuid, script: &[u8]) -> Result<(), Error> {
        let rows = sqlx::query!("SELECT script FROM checksums WHERE keychain_id = $1", keychain).fetch_all(&self.pool).await?;
        if let Some(row) = rows.first() {
            if script == row.script { Ok(()) } else { Err(Error::Mismatch) }
        } else {
            sqlx::query!("INSERT INTO checksums (script, keychain_id) VALUES ($1, $2)", script, keychain) // expect: select-then-write
                .execute(&self.pool)
                .await?;
            Ok(())
        }
    }
}

// seen in hook0/hook0, api/src/quotas.rs
async fn warned_once_a_day(state: &State, organization: &Uuid, name: &str, mail: Mail) -> Result<(), Error> {
    let is_first = query!("SELECT 1 AS one FROM warnings WHERE organization_id = $1 AND name = $2 AND day = CURRENT_DATE", organization, name)
        .fetch_optional(&state.db)
        .await?
        .is_none();
    if is_first {
        let mut tx = state.db.begin().await?;
        query!("INSERT INTO warnings (organization_id, name) VALUES ($1, $2)", organization, name) // expect: select-then-write
            .execute(&mut *tx)
            .await?;
        state.mailer.send(mail).await?;
        tx.commit().await?;
    }
    Ok(())
}

// seen in KAMRON-DEVELOPER/poddle-axum, rust/services/users-api/src/features/handlers/oauth_users.rs
async fn signed_in_with_another(pool: &PgPool, email: &str) -> Result<i64, Error> {
    let mut tx = pool.begin().await?;
    let known = sqlx::query!("SELECT id FROM members WHERE email = $1", email).fetch_optional(&mut *tx).await?;
    if let Some(member) = known {
        return Ok(member.id);
    }
    let made = sqlx::query!("INSERT INTO members (email) VALUES ($1) RETURNING id", email).fetch_one(&mut *tx).await?; // expect: select-then-write
    tx.commit().await?;
    Ok(made.id)
}

// seen in broxus/ever-wallet-api, src/sqlx_client/transactions.rs
async fn sent_transaction(pool: &PgPool, hash: &str, value: i64) -> Result<(), Error> { // fine: select-then-write
    let mut tx = pool.begin().await?;
    let known = sqlx::query_as!(Sent, "SELECT id, value FROM transactions WHERE message_hash = $1 FOR UPDATE", hash)
        .fetch_optional(&mut *tx)
        .await?;
    if known.is_some() {
        sqlx::query!("UPDATE transactions SET value = $1 WHERE message_hash = $2", value, hash).execute(&mut *tx).await?;
    }
    tx.commit().await?;
    Ok(())
}

// seen in leejayhsu/rust-fintech, crates/api/src/services/onboarding.rs
async fn vendors_have_answered(pool: &PgPool, id: Uuid, answer: &str) -> Result<(), Error> { // fine: select-then-write
    let mut tx = pool.begin().await?;
    let current = sqlx::query_as!(Onboarding, "SELECT id, status FROM onboardings WHERE id = $1 FOR UPDATE", id)
        .fetch_optional(&mut *tx)
        .await?
        .ok_or(Error::NotFound)?;
    if current.status != "pending" {
        return Err(Error::Status);
    }
    sqlx::query!("UPDATE onboardings SET status = $2 WHERE id = $1", id, answer).execute(&mut *tx).await?;
    tx.commit().await?;
    Ok(())
}

// seen in DmitryZaika/granite-webhooks, webhooks/src/crud/leads.rs
async fn deal_of(pool: &MySqlPool, customer: i32, seller: i32) -> Result<(), Error> { // fine: select-then-write
    let mut tx = pool.begin().await?;
    sqlx::query_scalar!("SELECT id FROM customers WHERE id = ? FOR UPDATE", customer).fetch_optional(&mut *tx).await?;
    let open = sqlx::query_scalar!("SELECT id FROM deals WHERE customer_id = ? AND is_won IS NULL LIMIT 1", customer)
        .fetch_optional(&mut *tx)
        .await?;
    if let Some(open) = open {
        sqlx::query!("UPDATE deals SET user_id = ? WHERE id = ?", seller, open).execute(&mut *tx).await?;
    }
    tx.commit().await?;
    Ok(())
}

// seen in LukeMathWalker/zero-to-production, src/idempotency/persistence.rs
async fn claimed_or_answered(pool: &PgPool, key: &str, user: Uuid) -> Result<Next, Error> { // fine: select-then-write
    let mut tx = pool.begin().await?;
    let claimed = sqlx::query!("INSERT INTO idempotency (user_id, key) VALUES ($1, $2) ON CONFLICT DO NOTHING", user, key)
        .execute(&mut *tx)
        .await?
        .rows_affected();
    if claimed > 0 {
        return Ok(Next::Process(tx));
    }
    let saved = sqlx::query!("SELECT status, body FROM idempotency WHERE user_id = $1 AND key = $2", user, key).fetch_one(pool).await?;
    Ok(Next::Answer(saved.status, saved.body))
}

// file-exists-then-opened
// seen in lightningdevkit/ldk-server, ldk-server/src/util/entropy.rs
fn words_of_a_wallet(folder: &FilePath) -> io::Result<Words> {
    let path = folder.join("words");
    if path.exists() {
        return Words::parse(&fs::read_to_string(&path)?); // expect: file-exists-then-opened
    }
    Words::generate()
}

// seen in KAMRON-DEVELOPER/poddle-axum, rust/crates/utility/src/get_optional_config_value.rs
async fn value_of_docker(name: &str) -> Option<String> {
    let secret = FilePath::new("/run/secrets").join(name);
    if secret.exists() {
        return tokio::fs::read_to_string(&secret).await.ok(); // expect: file-exists-then-opened
    }
    None
}

// seen in kellnr/kellnr, crates/docs/src/lib.rs
async fn without_its_pages(settings: &Settings, name: &str) -> io::Result<()> {
    let pages = settings.pages().join(name);
    if pages.exists() {
        tokio::fs::remove_dir_all(pages).await?; // expect: file-exists-then-opened
    }
    Ok(())
}

// seen in rust-lang/rustup, src/dist/download.rs
fn downloaded_before(folder: &FilePath, hash: &str) -> io::Result<bool> {
    let target = folder.join(hash);
    if target.exists() {
        if hash_of_file(&target)? == hash {
            return Ok(true);
        }
        fs::remove_file(&target)?; // expect: file-exists-then-opened
    }
    Ok(false)
}

// seen in oxy-hq/oxy, crates/agentic/core/src/storage/json_file.rs
async fn rows_or_none(path: &PathBuf) -> Result<Vec<Row>, Error> { // fine: file-exists-then-opened
    match tokio::fs::read(path).await {
        Ok(bytes) => serde_json::from_slice(&bytes).map_err(Error::from),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error.into()),
    }
}

// seen in kellnr/kellnr, crates/docs/src/doc_queue.rs
async fn without_its_toolchain(folder: &FilePath) -> io::Result<()> { // fine: file-exists-then-opened
    for name in ["rust-toolchain.toml", "rust-toolchain"] {
        match tokio::fs::remove_file(&folder.join(name)).await {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

// seen in rust-lang/cargo, credential/cargo-credential/examples/file-provider.rs
fn credentials() -> io::Result<Credentials> { // fine: file-exists-then-opened
    match File::open("credentials.json") {
        Ok(file) => Ok(serde_json::from_reader(file)?),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Credentials::default()),
        Err(error) => Err(error),
    }
}

// seen in atuinsh/atuin, crates/atuin-ai/src/user_context/walker.rs
async fn context_of(path: &FilePath) -> io::Result<Option<String>> { // fine: file-exists-then-opened
    match tokio::fs::read_to_string(path).await {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

// file-checked-then-used
// seen in hook0/hook0, clients/sdkgen/src/emit/mod.rs
fn holds_already(path: &FilePath, contents: &[u8]) -> io::Result<bool> {
    let metadata = fs::symlink_metadata(path)?;
    if metadata.len() != contents.len() as u64 {
        return Ok(false);
    }
    Ok(fs::read(path)? == contents) // expect: file-checked-then-used
}

// seen in rust-lang/rustup, src/utils/mod.rs
fn copied_with_its_link(from: &FilePath, to: &FilePath) -> io::Result<()> {
    let metadata = fs::symlink_metadata(from)?;
    if metadata.file_type().is_symlink() {
        link_file(from, to)
    } else {
        fs::copy(from, to).map(|_| ()) // expect: file-checked-then-used
    }
}

// seen in heyAyushh/webhook-relay, tools/hook/src/commands/logs.rs
fn status_of_a_machine() -> String {
    let path = PathBuf::from("/tmp/machine-status.log");
    if !path.exists() {
        return String::new();
    }
    fs::read_to_string(&path).unwrap_or_default() // expect: file-checked-then-used
}

// seen in oxy-hq/oxy, crates/git/src/cli/staging.rs
async fn staged(root: &FilePath, name: &str, content: &str) -> Result<(), Error> {
    let path = root.join(name);
    if let Ok(metadata) = tokio::fs::symlink_metadata(&path).await
        && metadata.file_type().is_symlink()
    {
        return Err(Error::Link);
    }
    tokio::fs::write(&path, content).await?; // expect: file-checked-then-used
    Ok(())
}

// seen in sozu-proxy/sozu, bin/src/ctl/top/theme.rs
fn skin_of(path: &FilePath) -> io::Result<String> { // fine: file-checked-then-used
    let mut file = OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW).open(path)?;
    let mut text = String::new();
    file.read_to_string(&mut text)?;
    Ok(text)
}

// seen in rust-lang/cargo, crates/cargo-util/src/paths.rs
fn removed_with_all_in_it(path: &FilePath) -> io::Result<()> { // fine: file-checked-then-used
    if fs::symlink_metadata(path)?.is_symlink() {
        return fs::remove_file(path);
    }
    for entry in path.read_dir()? {
        fs::remove_file(entry?.path())?;
    }
    fs::remove_dir(path)
}

// seen in uutils/coreutils, src/uucore/src/lib/features/fs.rs
fn target_of_a_link(path: &FilePath) -> io::Result<Option<PathBuf>> { // fine: file-checked-then-used
    if fs::symlink_metadata(path)?.file_type().is_symlink() {
        return Ok(Some(fs::read_link(path)?));
    }
    Ok(None)
}

// seen in jdx/mise, crates/vfox/src/lua_mod/archiver.rs
fn planned(source: PathBuf, target: PathBuf, moves: &mut Vec<(PathBuf, PathBuf)>) -> io::Result<()> { // fine: file-checked-then-used
    match target.symlink_metadata() {
        Ok(_) => return Err(io::ErrorKind::AlreadyExists.into()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    moves.push((source, target));
    Ok(())
}

// created-then-restricted
// seen in sigp/lighthouse, common/filesystem/src/lib.rs
fn key_for_its_owner(path: &FilePath, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    let mut permissions = file.metadata()?.permissions();
    permissions.set_mode(0o600);
    file.set_permissions(permissions)?; // expect: created-then-restricted
    file.write_all(bytes)
}

// seen in lldap/lldap, server/src/configuration.rs
fn key_that_is_read_only(path: &FilePath, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.set_permissions(Permissions::from_mode(0o400))?; // expect: created-then-restricted
    file.write_all(bytes)
}

// seen in tumf/slack-rs, src/profile/token_store.rs
impl Tokens {
    fn save(&self, tokens: &BTreeMap<String, String>) -> Result<(), Error> {
        fs::write(&self.path, serde_json::to_string_pretty(tokens)?)?;
        let permissions = fs::Permissions::from_mode(0o600);
        fs::set_permissions(&self.path, permissions)?; // expect: created-then-restricted
        Ok(())
    }
}

fn made(path: &FilePath) -> io::Result<File> {
    File::create(path)
}

// seen in witnet/witnet-rust, util/src/files.rs
fn made_for_its_owner(path: &FilePath) -> io::Result<File> {
    let file = made(path)?;
    let mut permissions = file.metadata()?.permissions();
    permissions.set_mode(0o600);
    file.set_permissions(permissions)?; // expect: created-then-restricted
    Ok(file)
}

// seen in lightningdevkit/ldk-server, ldk-server/src/util/mod.rs
fn new_file(path: &FilePath, contents: &[u8], mode: u32) -> io::Result<()> { // fine: created-then-restricted
    let mut file = OpenOptions::new().create_new(true).write(true).mode(mode).open(path)?;
    file.write_all(contents)?;
    fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
    file.sync_all()
}

// seen in GaloyMoney/bria, src/xpub/signing_client/lnd.rs
fn certificate_of(folder: &FilePath, bytes: &[u8]) -> io::Result<()> { // fine: created-then-restricted
    let mut file = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(folder.join("certificate"))?;
    file.write_all(bytes)
}

// seen in PeterGrace/github_webhook_exporter, src/storage/mod.rs
fn database_if_there_is_none(path: &FilePath) -> io::Result<()> { // fine: created-then-restricted
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    options.mode(0o600);
    match options.open(path) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

// seen in atuinsh/atuin, crates/atuin-lab-share/src/lifecycle.rs
fn address_of_a_session(path: &FilePath, address: &str) -> io::Result<()> { // fine: created-then-restricted
    let beside = path.with_extension("new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
    file.write_all(address.as_bytes())?;
    file.sync_all()?;
    fs::rename(&beside, path)
}

// link-followed
// seen in imtaqin/waxum, src/handlers/calls.rs
async fn recording(State(app): State<App>, Path((session, call)): Path<(String, String)>) -> Result<Vec<u8>, StatusCode> {
    let path = app.folder.join(session).join(format!("{call}.ogg"));
    tokio::fs::read(path).await.map_err(|_| StatusCode::NOT_FOUND) // expect: link-followed
}

// seen in Ferozaffs/markdown-blog-sveltekit-actix, backend/src/media.rs
#[get("/images/{id}")]
async fn image(id: web::Path<String>) -> io::Result<NamedFile> {
    let path = format!("images/{}", id);
    NamedFile::open(path) // expect: link-followed
}

// seen in RightNow-AI/openfang, crates/openfang-api/src/routes.rs
async fn template(Path(name): Path<String>) -> Result<String, StatusCode> {
    let path = home().join("agents").join(&name).join("agent.toml");
    fs::read_to_string(&path).map_err(|_| StatusCode::NOT_FOUND) // expect: link-followed
}

// seen in tokio-rs/axum, examples/stream-to-file/src/main.rs
async fn uploaded(Path(name): Path<String>, body: Bytes) -> Result<(), StatusCode> { // fine: link-followed
    if !is_valid_name(&name) {
        return Err(StatusCode::BAD_REQUEST);
    }
    let path = FilePath::new("uploads").join(name);
    tokio::fs::write(path, body).await.map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)
}
