//! `countersign proxy`: verifies requests in front of a server in any language.

use std::{io, path::Path, slice, sync::Arc};

use serde_json::json;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::{mpsc, watch},
    task::JoinSet,
    time::{Instant, timeout_at},
};

use crate::{
    args::ProxyArgs,
    exit::{Exit, Failure},
    printer::{Printer, one_line},
    proxy::{KIND, Listeners, OpenStores, Plan, Proxy, Said, Side},
    runtime,
    serving::Ending,
};

/// Lines that wait to be printed.
const MAX_LINES: usize = 1024;

pub(super) fn run(args: &ProxyArgs, printer: &Printer) -> Result<Exit, Failure> {
    let plan = read(&args.config)?;
    if args.check {
        printer.text("the configuration is valid");
        return Ok(Exit::Done);
    }
    runtime::serve_on_all(proxy(&args.config, plan, printer))?
}

fn read(config: &Path) -> Result<Plan, Failure> {
    let folder = config.parent().unwrap_or(Path::new(""));
    KIND.read(config, |text| Plan::parse(text, folder))
}

async fn proxy(config: &Path, plan: Plan, printer: &Printer) -> Result<Exit, Failure> {
    let failed = |error: io::Error| {
        Failure::unable(
            "cannot wait for signals",
            error.to_string(),
            "end other programs, or start again",
        )
    };
    let mut ending = Ending::new().map_err(failed)?;
    let mut hangup = signal(SignalKind::hangup()).map_err(failed)?;
    let limits = plan.limits;
    let listeners = Listeners::bind(&plan.listen).await?;
    let admin = Listeners::bind(plan.admin.as_slice()).await?;
    let mut signing = Vec::new();
    for (name, listen) in plan.signs() {
        let listeners = Listeners::bind(slice::from_ref(listen)).await?;
        signing.push((Arc::<str>::from(name), listeners));
    }
    let (said, mut heard) = mpsc::channel(MAX_LINES);
    let mut stores = OpenStores::default();
    let proxy = Proxy::open(plan, &mut stores, said).await?;
    announce("listening", "listening on", &listeners, printer);
    announce("admin", "admin at", &admin, printer);
    for (name, listeners) in &signing {
        announce_signing(name, listeners, printer);
    }
    let watching = tokio::spawn(Arc::clone(&proxy).watch_keys());
    let (stop, stopped) = watch::channel(());
    let serve = |listeners: Listeners, side| {
        listeners.serve(side, Arc::clone(&proxy), limits, stopped.clone())
    };
    let mut serving = JoinSet::new();
    serving.spawn(serve(listeners, Side::Clients));
    serving.spawn(serve(admin, Side::Operators));
    for (name, listeners) in signing {
        serving.spawn(serve(listeners, Side::Application(name)));
    }
    loop {
        tokio::select! {
            () = ending.asked() => break,
            Some(said) = heard.recv() => print(&said, printer),
            _ = hangup.recv() => match reload(config, &proxy, &mut stores).await {
                Ok(()) => announce_reload(true, printer),
                Err(failure) => {
                    printer.failure(&failure);
                    announce_reload(false, printer);
                }
            },
        }
    }
    drop(stop);
    watching.abort();
    let last = Instant::now() + limits.drain;
    let serving = async {
        serving.join_all().await;
        // Those whose clients have gone.
        let _ = timeout_at(last, proxy.rest()).await;
    };
    tokio::pin!(serving);
    loop {
        tokio::select! {
            () = &mut serving => break,
            // A person who cannot wait presses Ctrl-C again.
            () = ending.asked() => break,
            Some(said) = heard.recv() => print(&said, printer),
        }
    }
    while let Ok(said) = heard.try_recv() {
        print(&said, printer);
    }
    Ok(Exit::Done)
}

fn print(said: &Said, printer: &Printer) {
    match said {
        Said::Notice(notice) => printer.warn(notice),
        Said::Request(logged) if printer.is_json() => printer.object(&logged.object()),
        Said::Request(logged) => printer.text(&one_line(&logged.line())),
    }
}

/// Reads routes, upstreams and keys again. Addresses and limits change at the next start.
async fn reload(config: &Path, proxy: &Proxy, stores: &mut OpenStores) -> Result<(), Failure> {
    proxy.reload(read(config)?, stores).await
}

fn announce_reload(is_new: bool, printer: &Printer) {
    match (printer.is_json(), is_new) {
        (true, _) => printer.object(&json!({"version": 1, "reloaded": is_new})),
        (false, true) => printer.text("the configuration was read again"),
        (false, false) => printer.warn("the old configuration stays"),
    }
}

fn announce(member: &str, words: &str, listeners: &Listeners, printer: &Printer) {
    for address in listeners.addresses() {
        match printer.is_json() {
            true => printer.object(&json!({"version": 1, member: address})),
            false => printer.text(&format!("{words} {address}")),
        }
    }
}

fn announce_signing(route: &str, listeners: &Listeners, printer: &Printer) {
    for address in listeners.addresses() {
        match printer.is_json() {
            true => printer.object(&json!({"version": 1, "signing": address, "route": route})),
            false => printer.text(&format!("signing for {route} at {address}")),
        }
    }
}
