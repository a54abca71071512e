//! Settings as public services read them, each with the place where it was seen.

use std::env;

use clap::Parser;

// secret-has-default
// seen in imtaqin/waxum, src/middleware/jwt.rs
impl Tokens {
    fn new() -> Self {
        let secret = std::env::var("TOKEN_SECRET").unwrap_or_else(|_| "change-this-in-production".to_string()); // expect: secret-has-default
        Self { secret }
    }
}

// seen in collective-ps/spin-archive.org, src/config.rs
fn key_of_sessions() -> String {
    env::var("SESSION_SECRET").unwrap_or("CHANGE_ME".to_owned()) // expect: secret-has-default
}

// seen in hzbd/echo, src/main.rs
#[derive(Parser, Debug)]
struct Receiver {
    #[arg(short, long, default_value = "sk_test_of_everybody")] // expect: secret-has-default
    secret: String,
    #[arg(short, long, default_value_t = 3000)]
    port: u16,
}

// seen in dudinsdn/restapi-axum-pos, src/config.rs
fn said_in_the_log() -> Config {
    let cash_secret = std::env::var("CASH_SECRET").unwrap_or_else(|_| { // expect: secret-has-default
        tracing::warn!("CASH_SECRET is not set: set one before others can reach this service");
        "for-development-alone".to_string()
    });
    Config { cash_secret }
}

// seen in konieshadow/axum-sqlx-mysql, src/config.rs
#[derive(clap::Parser)]
struct Settings {
    #[clap(long, env)]
    hmac_key: String, // fine: secret-has-default
}

// seen in contentful-labs/request-verification-examples, rust/src/main.rs
fn secret_of_an_app() -> String { // fine: secret-has-default
    env::var("APP_SIGNING_SECRET").expect("APP_SIGNING_SECRET is not set")
}

// seen in winksaville/rust-binance-cli, src/main.rs
#[derive(Debug, Clap)]
struct Exchange {
    #[clap(short, long, env = "EXCHANGE_SECRET")]
    exchange_secret: String, // fine: secret-has-default
}

// seen in broxus/ever-wallet-api, src/settings.rs
fn salt_and_secret() -> Result<Keys, VarError> { // fine: secret-has-default
    let secret = std::env::var("WALLET_SECRET")?;
    Ok(Keys { secret })
}

fn in_development_alone() -> String { // fine: secret-has-default
    env::var("COOKIE_SECRET").unwrap_or_else(|_| {
        if is_production() {
            panic!("COOKIE_SECRET is needed");
        }
        "development".to_owned()
    })
}
