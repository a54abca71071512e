//! `countersign listen`: a server that shows what becomes of each request.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use countersign::{ConfigError, MemoryStore, VerifyLayer};
use serde_json::json;
use tokio::{
    signal::unix::{SignalKind, signal},
    time::timeout,
};

use crate::{
    args::ListenArgs,
    exit::{Exit, Failure},
    listen::{Exchanges, Listener, MAX_BODY, Record, Tally, Target, print},
    printer::Printer,
    runtime::serve,
    scheme::{self, Chosen},
    secret::{self, SecretText},
};

/// How long requests that are being answered may take when the command ends.
const LAST_ANSWERS: Duration = Duration::from_secs(5);

pub(super) fn run(args: &ListenArgs, printer: &Printer) -> Result<Exit, Failure> {
    let chosen = scheme::resolve(&args.scheme.scheme)?;
    let secrets = secret::read(&args.secret, printer)?;
    let forward = match &args.forward {
        Some(url) => Some(Target::parse("--forward", url)?),
        None => None,
    };
    serve(listen(args, &chosen, &secrets, forward, printer))?
}

async fn listen(
    args: &ListenArgs,
    chosen: &Chosen,
    secrets: &[SecretText],
    forward: Option<Target>,
    printer: &Printer,
) -> Result<Exit, Failure> {
    let layer = layer(args, chosen, secrets)?;
    let failed = |error: io::Error| {
        Failure::unable(
            "cannot wait for Ctrl-C",
            error.to_string(),
            "end other programs, or start again",
        )
    };
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    let listener = Listener::bind(args.addr).await?;
    let address = listener.address();
    announce(address, printer);
    let (exchanges, mut happened) = Exchanges::new(layer, forward, 1);
    let serving = tokio::spawn(listener.serve(Arc::clone(&exchanges)));
    let mut tally = Tally::default();
    let mut take = |one: &Record| {
        print(one, printer);
        tally.count(one);
    };
    loop {
        tokio::select! {
            biased;
            _ = interrupt.recv() => break,
            _ = terminate.recv() => break,
            Some(one) = happened.recv() => take(&one.record),
        }
    }
    serving.abort();
    let answering = async {
        let idle = exchanges.idle();
        tokio::pin!(idle);
        loop {
            tokio::select! {
                () = &mut idle => break,
                // Whoever cannot wait says so again.
                _ = interrupt.recv() => break,
                Some(one) = happened.recv() => take(&one.record),
            }
        }
    };
    let _ = timeout(LAST_ANSWERS, answering).await;
    tally.print(printer);
    Ok(Exit::Done)
}

/// The first line, which a script waits for.
fn announce(address: SocketAddr, printer: &Printer) {
    if printer.is_json() {
        printer.object(&json!({"version": 1, "listening": format!("http://{address}")}));
    } else {
        printer.text(&format!("listening on http://{address}"));
    }
    if !address.ip().is_loopback() {
        printer.warn("other machines can reach this address");
    }
}

fn layer(
    args: &ListenArgs,
    chosen: &Chosen,
    secrets: &[SecretText],
) -> Result<VerifyLayer, Failure> {
    let wrong = |error: ConfigError| {
        Failure::usage(
            "requests cannot be verified so",
            error.to_string(),
            "`countersign help listen` describes the options",
        )
    };
    // What was accepted earlier was accepted by others: a request is looked at once more.
    let store = MemoryStore::builder().danger_assume_no_history();
    let mut builder = chosen
        .verifier(args.scheme.key_id.as_deref(), secrets)?
        .store(store.build().map_err(wrong)?)
        .max_body_bytes(MAX_BODY)
        .body_budget_bytes(4 * MAX_BODY);
    builder = match &args.origin {
        Some(origin) => builder.public_origin(origin),
        None => builder.danger_any_authority(),
    };
    if let Some(max_age) = args.max_age {
        builder = builder.max_age(max_age);
    }
    Ok(VerifyLayer::new(builder.build().map_err(wrong)?))
}
