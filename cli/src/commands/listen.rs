//! `countersign listen`: a server that shows what happens to each request.

use std::{io, net::SocketAddr, path::Path, sync::Arc, time::Duration};

use countersign::{ConfigError, VerifyLayer};
use serde_json::json;
use tokio::{sync::oneshot, time::timeout};

use crate::{
    args::ListenArgs,
    exit::{Exit, Failure},
    inspector::{Inspector, Log, Surroundings},
    listen::{
        Exchanges, Happened, Hearing, Listener, MAX_BODY, Resigner, Search, Tally, Target,
        keep::{Keep, Setting},
        print,
    },
    printer::{Printer, Span},
    runtime::serve,
    scheme::{self, Chosen},
    secret::{self, SecretText},
    serving::Ending,
    store::{self, Before},
};

/// Records that are written in one transaction.
const AT_ONCE: usize = 64;

/// How long requests that are being answered may take when the command ends.
const LAST_ANSWERS: Duration = Duration::from_secs(5);

pub(super) fn run(args: &ListenArgs, printer: &Printer) -> Result<Exit, Failure> {
    let chosen = scheme::resolve(&args.scheme.scheme)?;
    let secrets = secret::read(&args.secret, printer)?;
    if store::shows_password(&args.store) {
        printer.warn(
            "--store shows a password in the list of processes and in the history of the shell",
        );
    }
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
    let layer = layer(args, chosen, secrets).await?;
    let failed = |error: io::Error| {
        Failure::unable(
            "cannot wait for Ctrl-C",
            error.to_string(),
            "end other programs, or start again",
        )
    };
    let mut ending = Ending::new().map_err(failed)?;
    let listener = Listener::bind(args.addr).await?;
    let address = listener.address();
    let (keep, first_id) = open_keep(args, chosen, printer).await?;
    announce(address, printer);
    let log = match args.ui {
        true => {
            Some(open_inspector(args, chosen, secrets, forward.clone(), address, printer).await?)
        }
        false => None,
    };
    let search = match address.ip().is_loopback() || args.explain {
        true => Search::new(chosen, args.origin.as_deref(), secrets),
        false => Search::off(),
    };
    let (exchanges, hearing) = Exchanges::new(chosen, layer, forward, search, first_id);
    let (stop, stopped) = oneshot::channel();
    let serving = tokio::spawn(listener.serve(Arc::clone(&exchanges), stopped));
    let mut scribe = Scribe {
        printer,
        tally: Tally::default(),
        keep,
        log,
        exit: Exit::Done,
    };
    let Hearing {
        mut happened,
        mut notices,
    } = hearing;
    let mut new = Vec::new();
    loop {
        tokio::select! {
            biased;
            () = ending.asked() => break,
            _ = happened.recv_many(&mut new, AT_ONCE) => scribe.take(&mut new).await,
            Some(notice) = notices.recv() => printer.warn(&notice),
        }
    }
    drop(stop);
    let answering = async {
        let idle = async {
            // Answers are sent to their end, and records are written.
            let _ = serving.await;
            exchanges.idle().await;
        };
        tokio::pin!(idle);
        loop {
            tokio::select! {
                () = &mut idle => break,
                // A person who cannot wait presses Ctrl-C again.
                () = ending.asked() => break,
                _ = happened.recv_many(&mut new, AT_ONCE) => scribe.take(&mut new).await,
            }
        }
    };
    let _ = timeout(LAST_ANSWERS, answering).await;
    Ok(scribe.finish().await)
}

/// Writes down what happens.
struct Scribe<'p> {
    printer: &'p Printer,
    tally: Tally,
    keep: Option<Keep>,
    log: Option<Arc<Log>>,
    exit: Exit,
}

impl Scribe<'_> {
    async fn take(&mut self, new: &mut Vec<Happened>) {
        // First: the number that is printed is one of the file.
        let records: Vec<_> = new.iter().map(|one| &*one.record).collect();
        if let Some(keep) = &mut self.keep
            && let Err(failure) = keep.write(&records).await
        {
            self.printer.failure(&failure);
            self.exit = failure.exit;
            self.keep = None;
        }
        for one in new.iter() {
            print(&one.record, self.printer);
            self.tally.count(&one.record);
            if let Some(log) = &self.log {
                log.push(&one.record);
            }
        }
        new.clear();
    }

    async fn finish(self) -> Exit {
        if let Some(keep) = self.keep {
            keep.close().await;
        }
        self.tally.print(self.printer);
        self.exit
    }
}

/// Serves the page, and answers with what it shows.
async fn open_inspector(
    args: &ListenArgs,
    chosen: &Chosen,
    secrets: &[SecretText],
    target: Option<Target>,
    address: SocketAddr,
    printer: &Printer,
) -> Result<Arc<Log>, Failure> {
    let key_id = args.scheme.key_id.as_deref();
    let origin = args.origin.as_deref();
    let around = Surroundings {
        chosen: chosen.clone(),
        origin: args.origin.clone(),
        listening: format!("http://{address}"),
        target,
        resigner: Resigner::new(chosen, key_id, secrets, origin),
    };
    let log = Arc::new(Log::new());
    let inspector = Inspector::bind(around, Arc::clone(&log)).await?;
    let url = inspector.url();
    printer.line([Span::plain("inspector at "), Span::noted(url)]);
    printer.object(&json!({"version": 1, "inspector": url}));
    tokio::spawn(inspector.serve());
    Ok(log)
}

/// Returns how `replay` finds the scheme again: a scheme file by its own name, in the present
/// folder alone, because the file of `--keep` may come from somebody else.
fn recorded(typed: &str, chosen: &Chosen) -> String {
    match Path::new(typed).file_name() {
        Some(name) if typed.ends_with(".toml") => name.to_string_lossy().into_owned(),
        _ => chosen.name.clone(),
    }
}

async fn open_keep(
    args: &ListenArgs,
    chosen: &Chosen,
    printer: &Printer,
) -> Result<(Option<Keep>, u64), Failure> {
    let Some(path) = &args.keep else {
        return Ok((None, 1));
    };
    let setting = Setting {
        scheme: recorded(&args.scheme.scheme, chosen),
        key_id: args.scheme.key_id.clone(),
        origin: args.origin.clone(),
        forward: args.forward.clone(),
    };
    let (keep, first_id) = Keep::open(path, setting).await?;
    printer.warn(&format!(
        "`{}` will contain requests that may still be valid; only you can read it; delete it after use",
        path.display()
    ));
    Ok((Some(keep), first_id))
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

async fn layer(
    args: &ListenArgs,
    chosen: &Chosen,
    secrets: &[SecretText],
) -> Result<VerifyLayer, Failure> {
    let wrong = |error: ConfigError| {
        Failure::usage(
            "requests cannot be verified with these options",
            error.to_string(),
            "`countersign help listen` describes the options",
        )
    };
    let builder = chosen.verifier(args.scheme.key_id.as_deref(), secrets)?;
    // Other schemes of other listeners may have the same store.
    let builder = builder
        .namespace(format!("countersign-listen-{}", chosen.name))
        .store(store::open(&args.store, Before::Accepted).await?.nonces());
    let mut builder = builder
        .max_body_bytes(MAX_BODY)
        .body_budget_bytes(4 * MAX_BODY);
    builder = match &args.origin {
        Some(origin) => builder.public_origin(origin),
        // Without `--origin`, the person does not ask for one authority.
        None => builder.danger_any_authority(),
    };
    if let Some(max_age) = args.max_age {
        builder = builder.max_age(max_age);
    }
    Ok(VerifyLayer::new(builder.build().map_err(wrong)?))
}
