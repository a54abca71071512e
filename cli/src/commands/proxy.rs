//! `countersign proxy`: verifies requests in front of a server in any language.

use std::{fs, io, path::Path, sync::Arc, time::Duration};

use rustix::process::{Resource, getrlimit, setrlimit};
use sd_notify::NotifyState;
use serde_json::json;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
    task::spawn_blocking,
    time::{Instant, timeout, timeout_at},
};

use crate::{
    args::ProxyArgs,
    exit::{Exit, Failure},
    printer::Printer,
    proxy::{
        Certificates, KIND, KnownUpstreams, Limits, Listeners, Measures, OpenStores, Outlet, Plan,
        Proxy, Side, listen_to_the_library,
    },
    runtime,
    serving::Ending,
};

/// How long the end waits for the last lines of the log.
const CUT_OFF: Duration = Duration::from_secs(1);

pub(super) fn run(args: &ProxyArgs, printer: &Printer) -> Result<Exit, Failure> {
    let plan = read(&args.config, &KnownUpstreams::default())?;
    if args.check {
        plan.warnings.iter().for_each(|text| printer.warn(text));
        printer.text("the configuration is valid");
        return Ok(Exit::Done);
    }
    runtime::serve_on_all(proxy(&args.config, plan, printer.is_json()))?
}

fn read(config: &Path, known: &KnownUpstreams) -> Result<Plan, Failure> {
    let folder = config.parent().unwrap_or(Path::new(""));
    KIND.read(config, |text| Plan::parse(text, folder, known))
}

async fn proxy(config: &Path, plan: Plan, is_json: bool) -> Result<Exit, Failure> {
    let failed = |error: io::Error| {
        Failure::unable(
            "cannot wait for signals, or print",
            error.to_string(),
            "end other programs, or start again",
        )
    };
    allow_files();
    let mut ending = Ending::new().map_err(failed)?;
    let mut hangup = signal(SignalKind::hangup()).map_err(failed)?;
    let limits = plan.limits;
    let listeners = Listeners::bind(&plan.entrances).await?;
    let certificates = listeners.certificates();
    let (outlet, printing) = Outlet::open(is_json).map_err(failed)?;
    listen_to_the_library(outlet.clone());
    plan.warnings.iter().for_each(|text| outlet.notice(text));
    let measures = plan.has_operators().then(Measures::begin).transpose()?;
    let keeping_up = measures
        .clone()
        .map(|measures| tokio::spawn(measures.keep_up()));
    let mut stores = OpenStores::default();
    let proxy = Proxy::open(plan, &mut stores, outlet.clone(), measures).await?;
    for (side, address) in listeners.addresses() {
        announce(side, &address, &outlet);
    }
    notify(&[NotifyState::Ready], &outlet);
    let watching = tokio::spawn(Arc::clone(&proxy).watch_keys());
    let (stop, stopped) = watch::channel(());
    let serving = tokio::spawn(listeners.serve(Arc::clone(&proxy), limits, stopped));
    loop {
        tokio::select! {
            () = ending.asked() => break,
            _ = hangup.recv() => {
                notify_reload(&outlet);
                let reloaded = tokio::select! {
                    reloaded = reload(config, &proxy, &mut stores, &certificates, limits) => reloaded,
                    // A store may take long to open, or never answer.
                    () = ending.asked() => break,
                };
                let is_new = reloaded.is_ok();
                match reloaded {
                    Ok(said) => said.into_iter().for_each(|text| outlet.notice(text)),
                    Err(failure) => outlet.failure(failure),
                }
                announce_reload(is_new, &outlet);
                notify(&[NotifyState::Ready], &outlet);
            },
        }
    }
    notify(&[NotifyState::Stopping], &outlet);
    drop(stop);
    watching.abort();
    keeping_up.inspect(tokio::task::JoinHandle::abort);
    let last = Instant::now() + limits.drain;
    let cutting = serving.abort_handle();
    let draining = async {
        let _ = serving.await;
        // Then the requests whose clients have gone.
        let _ = timeout_at(last, proxy.rest()).await;
    };
    tokio::select! {
        () = draining => {}
        // A person who cannot wait presses Ctrl-C again.
        () = ending.asked() => {
            proxy.cut_off();
            cutting.abort();
        }
    }
    // Until those that were cut off are logged.
    let _ = timeout(CUT_OFF, proxy.rest()).await;
    printing.end().await;
    Ok(Exit::Done)
}

/// Each connection is a file, and many systems allow few unless a program asks for more.
fn allow_files() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // Connections wait if there are no more.
    let _ = setrlimit(Resource::Nofile, limit);
}

/// Reads routes, upstreams, keys and certificates again. Addresses, and the limits of connections,
/// change at the next start: says which are left as they are, and which certificates expire soon.
async fn reload(
    config: &Path,
    proxy: &Proxy,
    stores: &mut OpenStores,
    certificates: &Certificates,
    limits: Limits,
) -> Result<Vec<String>, Failure> {
    let (path, known) = (config.to_owned(), proxy.upstreams());
    let reading = spawn_blocking(move || read_again(&path, &known)).await;
    let plan = reading.map_err(|error| {
        Failure::unable(
            "cannot read the configuration again",
            error.to_string(),
            "report this as a fault of countersign",
        )
    })??;
    let (entrances, mut said) = (plan.entrances.clone(), plan.warnings.clone());
    if !plan.limits.is_like(limits) {
        said.push("limits of connections, and `drain`, change at the next start".to_owned());
    }
    proxy.reload(plan, stores).await?;
    said.extend(certificates.replace(&entrances));
    Ok(said)
}

fn read_again(config: &Path, known: &KnownUpstreams) -> Result<Plan, Failure> {
    // A named pipe would wait for its other end, and the end of the proxy for it.
    if fs::metadata(config).is_ok_and(|of| !of.is_file()) {
        return Err(Failure::unable(
            format!("cannot read `{}` again", config.display()),
            "it is not a regular file",
            "start the proxy with the path of a file",
        ));
    }
    read(config, known)
}

/// Tells systemd that the configuration is read again. It wants to know since when.
fn notify_reload(outlet: &Outlet) {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => notify(&[NotifyState::Reloading, now], outlet),
        Err(error) => outlet.notice(format!("systemd cannot be told: {error}")),
    }
}

/// Tells systemd about the proxy, if systemd has started it.
fn notify(states: &[NotifyState<'_>], outlet: &Outlet) {
    if let Err(error) = sd_notify::notify(states) {
        outlet.notice(format!("systemd cannot be told: {error}"));
    }
}

fn announce_reload(is_new: bool, outlet: &Outlet) {
    let line = match is_new {
        true => "the configuration was read again",
        false => "the old configuration stays",
    };
    outlet.event(json!({"version": 1, "reloaded": is_new}), line);
}

fn announce(side: &Side, address: &str, outlet: &Outlet) {
    let (object, line) = match side {
        Side::Clients => (
            json!({"version": 1, "listening": address}),
            format!("listening on {address}"),
        ),
        Side::Operators => (
            json!({"version": 1, "admin": address}),
            format!("admin at {address}"),
        ),
        Side::Application(route) => (
            json!({"version": 1, "signing": address, "route": &**route}),
            format!("signing for {route} at {address}"),
        ),
    };
    outlet.event(object, line);
}
