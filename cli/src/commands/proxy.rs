//! `countersign proxy`: verifies requests in front of a server in any language.

use std::{fs, io, path::Path, sync::Arc};

use rustix::process::{Resource, getrlimit, setrlimit};
use sd_notify::NotifyState;
use serde_json::json;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
    task::{JoinSet, spawn_blocking},
    time::{Instant, timeout_at},
};

use crate::{
    args::ProxyArgs,
    exit::{Exit, Failure},
    printer::Printer,
    proxy::{
        Certificates, KIND, KnownUpstreams, Listeners, Measures, OpenStores, Outlet, Plan, Proxy,
        Side, listen_to_the_library,
    },
    runtime,
    serving::Ending,
};

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
    let listeners = Listeners::bind(&plan.listen).await?;
    let admin = Listeners::bind(plan.admin.as_slice()).await?;
    let mut signing = Vec::new();
    for (name, listen) in plan.signs() {
        let listeners = Listeners::bind(&[listen.clone().into()]).await?;
        signing.push((Arc::<str>::from(name), listeners));
    }
    let certificates = listeners.certificates();
    let (outlet, printing) = Outlet::open(is_json).map_err(failed)?;
    listen_to_the_library(outlet.clone());
    plan.warnings.iter().for_each(|text| outlet.notice(text));
    let measures = plan.admin.is_some().then(Measures::begin).transpose()?;
    let keeping_up = measures
        .clone()
        .map(|measures| tokio::spawn(measures.keep_up()));
    let mut stores = OpenStores::default();
    let proxy = Proxy::open(plan, &mut stores, outlet.clone(), measures).await?;
    announce("listening", "listening on", &listeners, &outlet);
    announce("admin", "admin at", &admin, &outlet);
    for (name, listeners) in &signing {
        announce_signing(name, listeners, &outlet);
    }
    notify(&[NotifyState::Ready], &outlet);
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
            _ = hangup.recv() => {
                notify_reload(&outlet);
                let reloaded = tokio::select! {
                    reloaded = reload(config, &proxy, &mut stores, &certificates) => reloaded,
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
    let serving = async {
        serving.join_all().await;
        // Those whose clients have gone.
        let _ = timeout_at(last, proxy.rest()).await;
    };
    tokio::select! {
        () = serving => {}
        // A person who cannot wait presses Ctrl-C again.
        () = ending.asked() => {}
    }
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

/// Reads routes, upstreams, keys and certificates again. Addresses and limits change at the next
/// start: says which addresses are left as they are, and which certificates expire soon.
async fn reload(
    config: &Path,
    proxy: &Proxy,
    stores: &mut OpenStores,
    certificates: &Certificates,
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
    let (listen, mut said) = (plan.listen.clone(), plan.warnings.clone());
    proxy.reload(plan, stores).await?;
    said.extend(certificates.replace(&listen));
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

fn announce(member: &str, words: &str, listeners: &Listeners, outlet: &Outlet) {
    for address in listeners.addresses() {
        let line = format!("{words} {address}");
        outlet.event(json!({"version": 1, member: address}), line);
    }
}

fn announce_signing(route: &str, listeners: &Listeners, outlet: &Outlet) {
    for address in listeners.addresses() {
        let line = format!("signing for {route} at {address}");
        outlet.event(
            json!({"version": 1, "signing": address, "route": route}),
            line,
        );
    }
}
