//! Faults that were missed once, and clean code that was reported.

use clap::{Parser, Subcommand};
use hmac::{Hmac, Mac};
use sha2::Sha256;

// mac-compared-with-equals: the MAC is a part of a text
fn behind_a_scheme(key: &[u8], body: &[u8], header: &str) -> bool {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(body);
    let mine = hex::encode(mac.finalize().into_bytes());
    ["sha256=", &mine].concat() == header // expect: mac-compared-with-equals
}

fn digit_by_digit(key: &[u8], body: &[u8], signature: &str) -> bool {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(body);
    let mine: String = mac.finalize().into_bytes().iter().map(|it| format!("{it:02x}")).collect();
    mine == signature // expect: mac-compared-with-equals
}

fn in_any_case(key: &[u8], body: &[u8], signature: &str) -> bool {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(body);
    hex::encode(mac.finalize().into_bytes()).eq_ignore_ascii_case(signature) // expect: mac-compared-with-equals
}

fn names_in_any_case(name: &str, signature_name: &str) -> bool { // fine: mac-compared-with-equals
    name.eq_ignore_ascii_case(signature_name)
}

// secret-has-default
fn of_a_match() -> String {
    match std::env::var("WEBHOOK_SECRET") {
        Ok(secret) => secret,
        Err(_) => "development".to_owned(), // expect: secret-has-default
    }
}

fn of_an_if() -> Vec<u8> {
    let secret = if let Ok(secret) = std::env::var("WEBHOOK_SECRET") {
        secret.into_bytes()
    } else {
        b"development".to_vec() // expect: secret-has-default
    };
    secret
}

fn if_it_is_empty_too() -> String {
    std::env::var("SIGNING_SECRET")
        .ok()
        .filter(|it| !it.trim().is_empty())
        .unwrap_or_else(|| "development".into()) // expect: secret-has-default
}

fn first_the_default() -> Secret {
    std::env::var("SIGNING_SECRET").map_or(Secret::from("development"), Secret::from) // expect: secret-has-default
}

#[derive(Parser)]
struct Arguments {
    #[arg(long, env = "WEBHOOK_SECRET", default_value = "development")] // expect: secret-has-default
    webhook_secret: String,
    #[clap(long, env, default_value_t = String::from("development"))] // expect: secret-has-default
    signing_secret: String,
    #[arg(long, env = "HMAC_SECRET")]
    hmac_secret: String, // fine: secret-has-default
    #[arg(long, default_value = "X-Signature")]
    signature_header: String, // fine: secret-has-default
}

#[derive(Subcommand)]
enum Task {
    Serve {
        #[arg(env = "HMAC_KEY", default_value = "development")] // expect: secret-has-default
        hmac_key: String,
    },
}

fn or_it_stops() -> String { // fine: secret-has-default
    std::env::var("WEBHOOK_SECRET").unwrap_or_else(|_| panic!("WEBHOOK_SECRET is not set"))
}

fn or_the_one_before() -> String { // fine: secret-has-default
    std::env::var("WEBHOOK_SECRET").unwrap_or_else(|_| std::env::var("OLD_SECRET").expect("a secret"))
}

fn or_a_file() -> String { // fine: secret-has-default
    std::env::var("WEBHOOK_SECRET").unwrap_or_else(|_| read_secret("/run/secrets/webhook"))
}

fn or_it_says_so() -> &'static str { // fine: secret-has-default
    match std::env::var("WEBHOOK_SECRET") {
        Ok(_) => "a secret is set",
        Err(_) => "no secret is set",
    }
}
