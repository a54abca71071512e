//! `countersign store`: looks after what remembers which requests were used.

use countersign::{
    KeyId, Timestamp,
    store::{Claim, Nonce, NonceKind, Recorded, StoreStatus},
};
use http::Method;
use serde_json::{Value, json};

use crate::{
    args::{ForgetArgs, MigrateArgs, StatusArgs, StoreCommand, StorePlace},
    exit::{Exit, Failure},
    printer::{Printer, one_line},
    runtime::block_on,
    store::{self, Before, Found},
    time,
};

pub(super) fn run(command: &StoreCommand, printer: &Printer) -> Result<Exit, Failure> {
    match command {
        StoreCommand::Migrate(args) => block_on(migrate(args, printer))?,
        StoreCommand::Status(args) => block_on(status(args, printer))?,
        StoreCommand::Forget(args) => block_on(forget(args, printer))?,
    }
}

/// Reads where the store is.
fn place(args: &StorePlace, printer: &Printer) -> Result<String, Failure> {
    if let Some(name) = args.store.strip_prefix("env:") {
        return store::from_env(name);
    }
    if store::shows_password(&args.store) {
        printer.warn(
            "the store shows a password in the list of processes and in the history of the shell",
        );
    }
    Ok(args.store.clone())
}

async fn migrate(args: &MigrateArgs, printer: &Printer) -> Result<Exit, Failure> {
    let before = match args.danger_assume_no_history {
        true => Before::Accepted,
        false => Before::Refused,
    };
    let place = place(&args.place, printer)?;
    drop(store::open(&place, before).await?);
    let refuses = store::refuses_up_to(&place).await?.map(time::show);
    if printer.is_json() {
        printer.object(&json!({"version": 1, "ready": true, "refuses_signed_up_to": refuses}));
    } else if let Some(at) = &refuses {
        printer.text(&format!(
            "the store is ready, and refuses requests that were signed up to {at}"
        ));
    } else {
        printer.text("the store is ready");
    }
    if args.danger_assume_no_history && refuses.is_some() {
        printer.warn(
            "the store existed already, and --danger-assume-no-history changed nothing: requests that \
             were signed up to that moment are refused. Their senders can sign them again. For a \
             service that has accepted no request yet, name a store that does not exist",
        );
        return Ok(Exit::Found);
    }
    Ok(Exit::Done)
}

async fn status(args: &StatusArgs, printer: &Printer) -> Result<Exit, Failure> {
    let place = place(&args.place, printer)?;
    let kept = store::open_kept(&place).await?;
    let status = kept
        .status()
        .await
        .map_err(|error| unable(&place, &error))?;
    match printer.is_json() {
        true => printer.object(&object(&status)),
        false => lines(&status)
            .iter()
            .for_each(|line| printer.text(&one_line(line))),
    }
    Ok(Exit::Done)
}

async fn forget(args: &ForgetArgs, printer: &Printer) -> Result<Exit, Failure> {
    let key = KeyId::new(&args.key).map_err(|error| {
        Failure::usage(
            "the key id is not one",
            error.to_string(),
            "copy it from the log",
        )
    })?;
    let claims = claims(args, &key)?;
    let place = place(&args.place, printer)?;
    let kept = store::open_kept(&place).await?;
    let is_asked = args.danger_accept_again;
    let namespace = args.namespace.as_deref();
    let Found { recorded, error } = match &claims {
        None => kept.of_key(namespace, &key, is_asked).await?,
        Some(claims) => kept.of_message(claims, is_asked).await?,
    };
    let is_forgotten = is_asked && recorded.records > 0;
    let is_known = recorded.records > 0 || recorded.in_flight > 0;
    if error.is_none() || is_known {
        print(args, &recorded, is_forgotten, error.is_none(), printer);
    }
    if let Some(error) = error {
        let failure = unable(&place, &error);
        let left = match is_asked {
            true => "may not have been forgotten",
            false => "were not looked at",
        };
        return Err(Failure {
            what: format!("{}, and records {left}", failure.what),
            ..failure
        });
    }
    // Records that stay are a finding: somebody wanted them gone.
    let stay = recorded.in_flight > 0 || (recorded.records > 0 && !is_forgotten);
    Ok(match stay {
        true => Exit::Found,
        false => Exit::Done,
    })
}

/// The claims that a record of the message may have come from, if a message is named.
fn claims(args: &ForgetArgs, key: &KeyId) -> Result<Option<Vec<Claim>>, Failure> {
    let message = &args.message;
    let nonce = match (&message.nonce, &message.event, &message.digest) {
        (Some(nonce), ..) => Nonce::new(NonceKind::Covered, nonce),
        (_, Some(event), _) => Nonce::new(NonceKind::Event, event),
        (.., Some(digest)) => Nonce::new(NonceKind::Digest, from_hex(digest)?),
        _ => return Ok(None),
    };
    let namespace = args.namespace.as_deref().unwrap_or_default();
    let claim = || Claim::new(namespace.into(), key.clone(), nonce.clone(), Timestamp::MAX);
    let mut claims = vec![claim(), claim().at_place(Method::POST, "/")];
    if let Some(at) = &args.at {
        let parts = at.split_once(' ');
        let parts = parts.and_then(|(method, path)| Some((method.parse().ok()?, path)));
        let (method, path): (Method, &str) = parts.ok_or_else(|| {
            Failure::usage(
                "the place cannot be read",
                "it is not a method, a space and a path",
                "write it as --at 'POST /hooks'",
            )
        })?;
        claims.push(claim().at_place(method, path));
    }
    Ok(Some(claims))
}

fn from_hex(text: &str) -> Result<[u8; 32], Failure> {
    let digit = |at: usize| text.as_bytes().get(at).map(|byte| char::from(*byte));
    let digit = |at: usize| digit(at).and_then(|digit| digit.to_digit(16));
    let byte = |at: usize| Some(digit(2 * at)? * 16 + digit(2 * at + 1)?);
    let byte = |at: usize| byte(at).and_then(|byte| u8::try_from(byte).ok());
    let bytes: Option<Vec<u8>> = (0..32).map(byte).collect();
    let bytes = bytes.filter(|_| text.len() == 64);
    let bytes = bytes.and_then(|bytes| bytes.try_into().ok());
    bytes.ok_or_else(|| {
        Failure::usage(
            "the digest cannot be read",
            "SHA-256 has 64 hexadecimal digits",
            "`countersign verify` shows it as sha-256",
        )
    })
}

fn print(
    args: &ForgetArgs,
    recorded: &Recorded,
    is_forgotten: bool,
    is_complete: bool,
    printer: &Printer,
) {
    if printer.is_json() {
        printer.object(&json!({
            "version": 1,
            "key_id": args.key,
            "namespace": args.namespace,
            "recorded": recorded.records,
            "in_flight": recorded.in_flight,
            "until": recorded.until.map(time::show),
            "forgotten": is_forgotten,
            "complete": is_complete,
        }));
        return;
    }
    let until = recorded.until.map(time::show).unwrap_or_default();
    let count = recorded.records;
    let which = which(args);
    let line = match (count, is_forgotten) {
        (0, _) => format!("no record of {which} makes the store refuse a request"),
        (_, true) => format!(
            "forgotten: {count} of {which}. Until {until}, anybody who has one of these requests can send \
             it again, and it is accepted and handled once more"
        ),
        (_, false) => format!(
            "recorded: {count} of {which}, and nothing was forgotten. These requests are remembered until \
             {until}. With --danger-accept-again they are forgotten: anybody who has one of them can \
             send it again, and it is accepted and handled once more"
        ),
    };
    printer.text(&one_line(&line));
    if recorded.in_flight > 0 {
        let count = recorded.in_flight;
        printer.text(&format!("being handled, and not forgotten: {count}"));
    }
}

/// The requests that are meant.
fn which(args: &ForgetArgs) -> String {
    let message = &args.message;
    let named = [
        ("nonce", &message.nonce),
        ("event", &message.event),
        ("digest", &message.digest),
    ];
    let mut named = named.into_iter();
    let message = named.find_map(|(name, value)| Some(format!("{name} {} of ", value.as_ref()?)));
    let namespace = args.namespace.as_ref();
    let namespace = namespace.map_or_else(String::new, |name| format!(" in namespace {name}"));
    format!("{}key {}{namespace}", message.unwrap_or_default(), args.key)
}

/// The JSON object, as `cli/README.md` describes it.
fn object(status: &StoreStatus) -> Value {
    let shown = |at: Option<Timestamp>| at.map(time::show);
    let namespaces = status.namespaces.iter().map(|namespace| {
        json!({
            "name": namespace.name,
            "retention_ms": u64::try_from(namespace.retention.as_millis()).ok(),
            "raised_at": shown(namespace.raised_at),
        })
    });
    let keys = status.keys.iter().map(
        |key| json!({"namespace": key.namespace, "key_id": key.key_id, "records": key.records}),
    );
    json!({
        "version": 1,
        "tables": status.version,
        "records": status.records,
        "leases": status.leases,
        "first_deadline": shown(status.first_deadline),
        "last_deadline": shown(status.last_deadline),
        "since": shown(status.since),
        "accepted_up_to": shown(status.accepted_up_to),
        "dropped_up_to": shown(status.dropped_up_to),
        "namespaces": namespaces.collect::<Vec<_>>(),
        "keys": keys.collect::<Vec<_>>(),
    })
}

fn lines(status: &StoreStatus) -> Vec<String> {
    let number = |name: &str, value: Option<u64>| Some(format!("{name}: {}", value?));
    let moment = |name: &str, at: Option<Timestamp>| Some(format!("{name}: {}", time::show(at?)));
    let whole = [
        number("version of the tables", status.version),
        number("records", status.records),
        number("leases in use", status.leases),
        moment("first deadline of a record", status.first_deadline),
        moment("last deadline of a record", status.last_deadline),
        moment("accepts requests that were signed after", status.since),
        moment(
            "refuses requests that were signed up to",
            status.accepted_up_to,
        ),
        moment(
            "refuses requests with a deadline up to",
            status.dropped_up_to,
        ),
    ];
    let namespaces = status.namespaces.iter().map(|namespace| {
        let raised = namespace.raised_at.map(time::show);
        let raised = raised.map_or_else(String::new, |at| format!(", raised at {at}"));
        let (name, retention) = (&namespace.name, namespace.retention);
        let days = retention.as_secs() / 86_400;
        let days = (days > 1).then(|| format!(" ({days} days)"));
        let (seconds, days) = (retention.as_secs_f64(), days.unwrap_or_default());
        format!("namespace {name}: remembers for {seconds} s{days}{raised}")
    });
    let keys = status.keys.iter().map(|key| {
        let (namespace, id, records) = (&key.namespace, &key.key_id, key.records);
        format!("records of key {id} in namespace {namespace}: {records}")
    });
    let whole = whole.into_iter().flatten();
    whole.chain(namespaces).chain(keys).collect()
}

fn unable(place: &str, error: &countersign::error::StoreError) -> Failure {
    store::unable(place, error)
}
