//! `countersign proxy`: verifies requests in front of a server in any language.

use std::{path::Path, sync::Arc};

use serde_json::json;
use tokio::sync::{mpsc, watch};

use crate::{
    args::ProxyArgs,
    exit::{Exit, Failure},
    printer::Printer,
    proxy::{KIND, Listeners, OpenStores, Plan, Proxy},
    runtime,
    serving::Ending,
};

/// Notices that wait to be printed.
const MAX_NOTICES: usize = 64;

pub(super) fn run(args: &ProxyArgs, printer: &Printer) -> Result<Exit, Failure> {
    let plan = read(&args.config)?;
    if args.check {
        printer.text("the configuration is valid");
        return Ok(Exit::Done);
    }
    runtime::serve_on_all(proxy(plan, printer))?
}

fn read(config: &Path) -> Result<Plan, Failure> {
    let folder = config.parent().unwrap_or(Path::new(""));
    KIND.read(config, |text| Plan::parse(text, folder))
}

async fn proxy(plan: Plan, printer: &Printer) -> Result<Exit, Failure> {
    let mut ending = Ending::new().map_err(|error| {
        Failure::unable(
            "cannot wait for signals",
            error.to_string(),
            "end other programs, or start again",
        )
    })?;
    let limits = plan.limits;
    let listeners = Listeners::bind(&plan.listen).await?;
    let (notices, mut heard) = mpsc::channel(MAX_NOTICES);
    let mut stores = OpenStores::default();
    let proxy = Proxy::open(plan, &mut stores, notices).await?;
    for address in listeners.addresses() {
        match printer.is_json() {
            true => printer.object(&json!({"version": 1, "listening": address})),
            false => printer.text(&format!("listening on {address}")),
        }
    }
    let watching = tokio::spawn(Arc::clone(&proxy).watch_keys());
    let (stop, stopped) = watch::channel(());
    let serving = tokio::spawn(listeners.serve(proxy, limits, stopped));
    loop {
        tokio::select! {
            () = ending.asked() => break,
            Some(notice) = heard.recv() => printer.warn(&notice),
        }
    }
    drop(stop);
    watching.abort();
    tokio::select! {
        _ = serving => {}
        // A person who cannot wait presses Ctrl-C again.
        () = ending.asked() => {}
    }
    Ok(Exit::Done)
}
