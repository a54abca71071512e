//! A link by which somebody confirms an address: it expires, and works once.
//!
//! `cargo run --example confirmation_link`

#![allow(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "an example for people to read"
)]

use std::{
    error::Error,
    process::ExitCode,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::{
    Form, Router,
    extract::{Query, State},
    http::header::{CACHE_CONTROL, REFERRER_POLICY},
    response::{Html, IntoResponse},
    routing::get,
};
use bytes::Bytes;
use countersign::{
    KeyRing, MemoryStore, OneTimeToken, Rejection, clock::SystemClock, testing::ManualClock,
};
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde::{Deserialize, Serialize};
use tokio::{net::TcpListener, task::JoinSet};

/// The claims of the link. The bearer can read them, and cannot change them.
#[derive(Serialize, Deserialize)]
struct Confirm {
    address: String,
}

#[derive(Deserialize)]
struct Link {
    token: String,
}

#[derive(Clone)]
struct App {
    tokens: OneTimeToken<Confirm>,
    confirmed: Arc<Mutex<Vec<String>>>,
}

/// A GET redeems nothing: scanners of mail open every link. It asks, and says early if the link is no
/// longer good.
async fn ask(
    State(app): State<App>,
    Query(link): Query<Link>,
) -> Result<impl IntoResponse, Rejection> {
    drop(app.tokens.verify(&link.token).await?);
    // A token that was verified is made of letters, digits, `-`, `_` and `.`: safe in HTML.
    let page = format!(
        r#"<form method="post"><input type="hidden" name="token" value="{}"><button>Confirm</button></form>"#,
        link.token
    );
    // The token stays out of caches, and out of the `Referer` of whatever is clicked next.
    let headers = [
        (CACHE_CONTROL, "no-store"),
        (REFERRER_POLICY, "no-referrer"),
    ];
    Ok((headers, Html(page)))
}

async fn confirm(
    State(app): State<App>,
    Form(link): Form<Link>,
) -> Result<impl IntoResponse, Rejection> {
    let Confirm { address } = app.tokens.redeem(&link.token).await?;
    let answer = format!("{address} is confirmed");
    let mut confirmed = app.confirmed.lock().unwrap_or_else(PoisonError::into_inner);
    confirmed.push(address);
    Ok(([(CACHE_CONTROL, "no-store")], answer))
}

#[tokio::main]
async fn main() -> Result<ExitCode, Box<dyn Error>> {
    // A clock that the end of this example can set; leave it out to go by the system's.
    let clock = ManualClock::at(countersign::Clock::now(&SystemClock::default()));
    let tokens = OneTimeToken::builder("confirm-address")
        .keys(KeyRing::new().with("2026-11", "a secret for these links alone")?)
        .issue_under("2026-11")
        .lifetime(Duration::from_secs(3600))
        // Links outlive a restart: in production, a store that does so too.
        .store(MemoryStore::new().danger_assume_no_history())
        .clock(clock.clone())
        .build()?;
    let app = App {
        tokens: tokens.clone(),
        confirmed: Arc::default(),
    };
    let confirmed = Arc::clone(&app.confirmed);
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let origin = format!("http://{}", listener.local_addr()?);
    let router = Router::new()
        .route("/confirm", get(ask).post(confirm))
        .with_state(app);
    tokio::spawn(async move { axum::serve(listener, router).await });

    let issue = async |address: &str| {
        let address = address.to_owned();
        tokens.issue(&Confirm { address }).await
    };
    let (alice, bob, late) = (
        issue("alice@example.com").await?,
        issue("bob@example.com").await?,
        issue("late@example.com").await?,
    );
    let altered = alice.replacen(".e", ".f", 1);

    let browser = Browser {
        client: Client::builder(TokioExecutor::new()).build_http(),
        origin,
    };
    println!(
        "  The link in the mail: {}/confirm?token={}…\n",
        browser.origin,
        &alice[..24]
    );
    println!("  {:<36}{:<8}answer", "action", "status");
    let mut passed = true;
    passed &= browser
        .row("a scanner opens the link", &alice, false, 200, "<form")
        .await?;
    passed &= browser
        .row("Alice opens the link", &alice, false, 200, "<form")
        .await?;
    passed &= browser
        .row(
            "Alice confirms",
            &alice,
            true,
            200,
            "alice@example.com is confirmed",
        )
        .await?;
    passed &= browser
        .row(
            "Alice confirms once more",
            &alice,
            true,
            409,
            "token_redeemed",
        )
        .await?;
    passed &= browser
        .row(
            "somebody alters the link",
            &altered,
            true,
            403,
            "token_invalid",
        )
        .await?;
    passed &= browser
        .row(
            "somebody makes one up",
            "a.b.c",
            true,
            400,
            "token_malformed",
        )
        .await?;

    let mut clicks = JoinSet::new();
    for _ in 0..100 {
        let (browser, bob) = (browser.clone(), bob.clone());
        clicks.spawn(async move { browser.send(&bob, true).await.expect("an answer").0 });
    }
    let answers = clicks.join_all().await;
    let won = answers
        .iter()
        .filter(|status| **status == StatusCode::OK)
        .count();
    println!(
        "  {:<36}{:<8}{won} of them confirmed",
        "Bob clicks 100 times at once", ""
    );
    passed &= won == 1;

    clock.advance(Duration::from_secs(3600));
    passed &= browser
        .row("a link an hour later", &late, true, 410, "token_expired")
        .await?;

    let confirmed = confirmed.lock().unwrap_or_else(PoisonError::into_inner);
    println!("\n  Confirmed: {}.", confirmed.join(", "));
    passed &= *confirmed == ["alice@example.com", "bob@example.com"];
    Ok(if passed {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

#[derive(Clone)]
struct Browser {
    client: Client<HttpConnector, Full<Bytes>>,
    origin: String,
}

impl Browser {
    async fn send(
        &self,
        token: &str,
        confirms: bool,
    ) -> Result<(StatusCode, String), Box<dyn Error + Send + Sync>> {
        let request = if confirms {
            Request::post(format!("{}/confirm", self.origin))
                .header("content-type", "application/x-www-form-urlencoded")
                .body(Full::from(format!("token={token}")))?
        } else {
            Request::get(format!("{}/confirm?token={token}", self.origin)).body(Full::default())?
        };
        let response = self.client.request(request).await?;
        let status = response.status();
        let body = response.into_body().collect().await?.to_bytes();
        Ok((status, String::from_utf8_lossy(&body).into_owned()))
    }

    async fn row(
        &self,
        what: &str,
        token: &str,
        confirms: bool,
        status: u16,
        answer: &str,
    ) -> Result<bool, Box<dyn Error>> {
        let (came, body) = self
            .send(token, confirms)
            .await
            .map_err(|error| error.to_string())?;
        let code = serde_json::from_str::<serde_json::Value>(&body).ok();
        let code = code.as_ref().and_then(|problem| problem["code"].as_str());
        let shown = code.unwrap_or(
            body.split(' ')
                .next()
                .filter(|_| !confirms)
                .unwrap_or(&body),
        );
        let expected = came == status && body.contains(answer);
        let mark = if expected {
            ""
        } else {
            "   <- not as expected"
        };
        println!("  {what:<36}{:<8}{shown}{mark}", came.as_u16());
        Ok(expected)
    }
}
