//! The documentation of the senders, made of their rows: `senders.md` is the table of all of them,
//! and the documentation of each preset begins its table with the same words.
//!
//! `COUNTERSIGN_WRITE=1 cargo test --lib webhooks::table` writes `senders.md`.

use std::{env, fmt::Write as _, fs, path::Path, time::Duration};

use super::{
    catalogue::SENDERS,
    challenge::{Asks, Challenge, SecretIn},
    format::Webhooks,
    sender::{Macs, Once, Part, SecretForm, Sender, Time},
};
use crate::{
    key::MacAlgorithm,
    message::{
        Encoding,
        TimeUnit::{Millis, Rfc3339, Seconds},
    },
    request::{Processing, Verifier},
    scheme::Format,
};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/scheme/webhooks");

/// The columns of the table, by their names in the documentation of a preset.
const COLUMNS: [&str; 9] = [
    "signature",
    "covered",
    "time",
    "fresh for",
    "used once by",
    "remembered for",
    "lost meanwhile",
    "a capture afterwards",
    "challenge",
];

/// The facts that the table has and the documentation of a preset has in its own words.
const OF_THE_TABLE: [&str; 3] = ["time", "lost meanwhile", "a capture afterwards"];

/// The facts of one sender.
pub(super) struct Facts {
    pub(super) preset: &'static str,
    /// The name that the command knows it by.
    pub(super) name: &'static str,
    pub(super) source: &'static str,
    columns: [String; 9],
}

impl Facts {
    /// Returns the text of this column.
    pub(super) fn column(&self, column: &str) -> &str {
        let at = COLUMNS.iter().position(|name| *name == column).unwrap();
        &self.columns[at]
    }
}

/// The senders that are code: no row can say what they sign.
fn by_code() -> [Facts; 2] {
    [
        Facts {
            preset: "Twilio",
            name: "twilio",
            source: "https://www.twilio.com/docs/usage/webhooks/webhooks-security",
            columns: [
                "`X-Twilio-Signature: <base64>`, with HMAC-SHA1",
                "the URL, with its query. With `new` also the parameters of a form",
                "not covered",
                "no limit",
                "nothing",
                "not at all",
                "nothing",
                "is handled each time",
                "",
            ]
            .map(str::to_owned),
        },
        Facts {
            preset: "Mailgun",
            name: "mailgun",
            source: "https://documentation.mailgun.com/docs/mailgun/user-manual/webhooks/securing-webhooks",
            columns: [
                "`signature` of the JSON body",
                "`timestamp` and `token`. **Nothing else of the body**: not the event",
                "in the body",
                "300 seconds",
                "the token",
                "as long as it is fresh",
                "a retry that comes later and is not dated again",
                "is stale",
                "",
            ]
            .map(str::to_owned),
        },
    ]
}

impl Sender {
    fn facts(&self) -> Facts {
        Facts {
            preset: self.preset,
            name: self.key_id,
            source: self.source,
            columns: [
                self.signature(),
                self.covered(),
                self.time(),
                self.fresh(),
                self.once(),
                self.remembered(),
                self.lost(),
                self.capture(),
                self.challenge(),
            ],
        }
    }

    fn signature(&self) -> String {
        let mac = match self.encoding {
            Encoding::Hex => "<hex>",
            Encoding::Base64 => "<base64>",
        };
        let value = match self.macs {
            Macs::Single { prefix } => format!("{prefix}{mac}"),
            Macs::List {
                separator,
                name,
                binder,
            } => match self.time {
                Time::Element(time) => {
                    format!("{time}{binder}<seconds>{separator}{name}{binder}{mac}")
                }
                _ => format!("{name}{binder}{mac}"),
            },
        };
        let mut text = format!("`{}: {value}`", self.header);
        if let Some((last, others)) = self.also.split_last() {
            let others: String = others.iter().map(|name| format!("`{name}`, ")).collect();
            let others = others.trim_end_matches(", ");
            let or = if others.is_empty() { "" } else { " or " };
            write!(text, ", or the same in {others}{or}`{last}`").unwrap();
        }
        let id = match self.once {
            Once::Header { name, .. } => Some(format!("`{name}`")),
            _ => None,
        };
        let time = match self.time {
            Time::Header(name, Seconds) => Some(format!("`{name}` in seconds")),
            Time::Header(name, Millis) => Some(format!("`{name}` in milliseconds")),
            Time::Header(name, Rfc3339) => Some(format!("`{name}` as a date")),
            _ => None,
        };
        let list = self.signed_headers.map(|name| format!("`{name}`"));
        let beside: Vec<_> = id.into_iter().chain(list).chain(time).collect();
        if !beside.is_empty() {
            write!(text, ", with {}", beside.join(" and ")).unwrap();
        }
        match self.algorithm {
            MacAlgorithm::HmacSha256 => {}
            other => write!(text, ", with {}", other.name()).unwrap(),
        }
        text
    }

    fn covered(&self) -> String {
        let name = |part: &Part| match part {
            Part::Text(_) => None,
            Part::Method => Some("the method"),
            Part::Url(_) => Some("the URL with its query"),
            Part::Target { .. } => Some("the path, the query"),
            Part::SignedHeaders => Some("the listed headers with the time"),
            Part::Id => Some("the id"),
            Part::Time => Some("the time"),
        };
        let before = self.before.iter().filter_map(name);
        let after = self.after.iter().filter_map(name);
        let mut parts: Vec<_> = before.chain(["the body"]).chain(after).collect();
        let last = parts.pop().unwrap();
        if parts.is_empty() {
            last.to_owned()
        } else {
            format!("{} and {last}", parts.join(", "))
        }
    }

    fn time(&self) -> String {
        match self.time {
            Time::None => "not covered".to_owned(),
            Time::Header(..) | Time::Element(_) => "covered".to_owned(),
            Time::Member(name, _) => format!("in the body: `{name}`"),
        }
    }

    fn once(&self) -> String {
        const OTHERWISE: &str = "; without one, the signed message";
        match self.once {
            Once::Nothing => "nothing".to_owned(),
            Once::Message if self.parts().next().is_none() => "the body".to_owned(),
            Once::Message => "the signed message".to_owned(),
            Once::Header { name, .. } => format!("the event id, `{name}`"),
            Once::Member(path) => {
                format!("the event id, `{}` of the body{OTHERWISE}", path.join("."))
            }
            Once::Each { within, names } => {
                let place = within.map_or(String::new(), |name| format!("`{name}` of "));
                let quoted: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
                let (id, others) = quoted.split_first().unwrap();
                let others = match others.split_last() {
                    None => String::new(),
                    Some((last, [])) => format!(", with its {last}"),
                    Some((last, others)) => format!(", with its {} and {last}", others.join(", ")),
                };
                format!(
                    "all event ids of {place}the body, as a set: {id} of each event{others}{OTHERWISE}"
                )
            }
            Once::Body => "the SHA-256 of the body".to_owned(),
        }
    }

    fn remembered(&self) -> String {
        match (self.remembered, self.once) {
            (None, Once::Nothing) => "not at all".to_owned(),
            (None, _) => "as long as it is fresh".to_owned(),
            (Some(time), once) => {
                let hours = time.as_secs() / (60 * 60);
                let time = match (hours / 24, hours % 24) {
                    (days, 0) => format!("{days} days"),
                    _ => format!("{hours} hours"),
                };
                let since = match once {
                    Once::Nothing | Once::Message => "",
                    _ => " since the last delivery",
                };
                format!("{time}{since}")
            }
        }
    }

    fn fresh(&self) -> String {
        match (self.time, self.max_age) {
            (Time::None, _) => "no limit".to_owned(),
            (_, None) => "300 seconds".to_owned(),
            (_, Some(age)) => match age.as_secs() / HOUR {
                1 => "1 hour".to_owned(),
                hours => format!("{hours} hours"),
            },
        }
    }

    /// A genuine event that is not handled while another is remembered.
    fn lost(&self) -> String {
        match (self.once, self.time) {
            (Once::Nothing, _) => "nothing",
            (Once::Message, Time::None) | (Once::Body, _) => "an event with the body of another",
            (Once::Message, _) => "nothing: the body has its time",
            (Once::Each { .. }, _) => "nothing, if the handler asks `once_in` for each event",
            (Once::Header { .. } | Once::Member(_), _) => "an event with the id of another",
        }
        .to_owned()
    }

    /// The outcome of a delivery that somebody kept, once it is no longer remembered.
    fn capture(&self) -> String {
        match (self.time, self.once) {
            (Time::None, Once::Nothing) => "is handled each time",
            (Time::None, _) => "is handled once more after its record is gone",
            _ => "is stale",
        }
        .to_owned()
    }

    fn challenge(&self) -> String {
        match self.challenge {
            None => String::new(),
            Some(Challenge::Query { parameter, .. }) => format!("`{parameter}`"),
            Some(Challenge::Head) => "`HEAD`".to_owned(),
            Some(Challenge::Secret(SecretIn::Header(name) | SecretIn::Member(name))) => {
                format!("`{name}`")
            }
            Some(Challenge::Body { member, value, .. }) => match value {
                Asks::Text(text) => format!("`{text}`"),
                Asks::EmptyArray => format!("`{member}: []`"),
            },
        }
    }
}

/// All senders, by their names.
pub(super) fn senders() -> Vec<Facts> {
    let rows = SENDERS.iter().map(|sender| sender.facts());
    let mut senders: Vec<_> = rows.chain(by_code()).collect();
    senders.sort_by_key(|sender| sender.preset.to_lowercase());
    senders
}

fn table() -> String {
    let mut table = format!("| preset | {} |\n", COLUMNS.join(" | "));
    table.push_str(&"| --- ".repeat(1 + COLUMNS.len()));
    table.push_str("|\n");
    for sender in senders() {
        let Facts {
            preset,
            source,
            columns,
            ..
        } = sender;
        write!(table, "| [`{preset}`] ([docs]({source})) |").unwrap();
        for column in columns {
            let space = if column.is_empty() { "" } else { " " };
            write!(table, "{space}{column} |").unwrap();
        }
        table.push('\n');
    }
    table
}

#[test]
fn the_table_of_senders_is_made_of_their_rows() {
    let path = Path::new(FOLDER).join("senders.md");
    if env::var_os("COUNTERSIGN_WRITE").is_some() {
        fs::write(&path, table()).unwrap();
    }
    let written = fs::read_to_string(&path).unwrap();
    assert!(
        written == table(),
        "`senders.md` is not the table of the rows: write it with `COUNTERSIGN_WRITE=1`"
    );
}

/// The documentation of each preset, with its name.
fn documentation(file: &str) -> Vec<(String, String)> {
    let text = fs::read_to_string(Path::new(FOLDER).join(file)).unwrap();
    let mut found = Vec::new();
    let mut lines = String::new();
    for line in text.lines().map(str::trim_start) {
        match line.strip_prefix("///") {
            Some(line) => lines.extend([line.trim_start(), "\n"]),
            None if line.starts_with("#[") => {}
            None => {
                let of_row = line.split_once(" = ").map(|(name, _)| name);
                let of_type = line.strip_prefix("pub struct ");
                let name = of_type.map(|line| line.trim_end_matches(" {"));
                let name = name.or(of_row).unwrap_or_default().to_owned();
                found.push((name, std::mem::take(&mut lines)));
            }
        }
    }
    found
}

pub(super) fn all_documentation() -> Vec<(String, String)> {
    let files = fs::read_dir(Path::new(FOLDER).join("catalogue")).unwrap();
    let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
    let rows = names.flat_map(|name| documentation(&format!("catalogue/{name}")));
    rows.chain(
        ["mailgun.rs", "twilio.rs"]
            .into_iter()
            .flat_map(documentation),
    )
    .collect()
}

/// The facts of its row that a preset's documentation lacks.
fn missing(sender: &Facts, documentation: &str) -> Vec<String> {
    let columns = COLUMNS.iter().zip(&sender.columns);
    let said = columns.filter(|(column, fact)| !OF_THE_TABLE.contains(*column) && !fact.is_empty());
    said.map(|(column, fact)| format!("| {column} | {fact}"))
        .filter(|begin| !documentation.contains(begin))
        .collect()
}

/// An alias, such as `StandardWebhooks::svix`, has that of its twin.
fn has_documentation(preset: &str) -> bool {
    !preset.contains("::")
}

#[test]
fn the_documentation_of_a_preset_says_what_its_row_says() {
    let documented = all_documentation();
    let of = |preset: &str| {
        let mut found = documented.iter();
        let found = found.find(|(name, text)| name == preset && !text.is_empty());
        &found.unwrap().1
    };
    for sender in senders()
        .iter()
        .filter(|sender| has_documentation(sender.preset))
    {
        let text = of(sender.preset);
        let missing = missing(sender, text);
        assert!(missing.is_empty(), "{}: {missing:#?}", sender.preset);
    }
    for sender in SENDERS
        .iter()
        .filter(|sender| has_documentation(sender.preset))
    {
        let text = of(sender.preset);
        let key_id = format!("the key id is `{}`", sender.key_id);
        assert!(text.contains(&key_id), "{}: {key_id}", sender.preset);
        if let SecretForm::Base64 { prefixes, min, max } = sender.secret {
            let prefixes = prefixes.join("` or `");
            let secret = format!("| secret | base64 of {min} to {max} bytes, with `{prefixes}`");
            assert!(text.contains(&secret), "{}: {secret}", sender.preset);
        }
    }
}

/// A duration, as the documentation says it.
fn said(time: Duration) -> String {
    let of = |count: u64, unit: &str| match count {
        1 => format!("1 {unit}"),
        _ => format!("{count} {unit}s"),
    };
    match time.as_secs() {
        secs if secs % DAY == 0 => of(secs / DAY, "day"),
        secs if secs % HOUR == 0 => of(secs / HOUR, "hour"),
        secs if secs % 60 == 0 => of(secs / 60, "minute"),
        secs => of(secs, "second"),
    }
}

const HOUR: u64 = 60 * 60;
const DAY: u64 = 24 * HOUR;

/// The setter says the range that `build()` checks, of which the row has the ends.
#[test]
fn the_setter_of_a_retention_says_what_its_row_says() {
    let files = fs::read_dir(Path::new(FOLDER).join("catalogue")).unwrap();
    let texts = files.map(|file| fs::read_to_string(file.unwrap().path()).unwrap());
    let texts: String = texts.collect();
    for sender in SENDERS {
        let Some(remembered) = sender.remembered else {
            continue;
        };
        let least = match sender.time {
            Time::None => Duration::from_secs(HOUR),
            _ => Duration::from_secs(1),
        };
        let least = least.max(sender.retries.unwrap_or_default());
        let preset = sender.preset.split("::").next().unwrap();
        let begin = format!("retention!({preset} => ");
        let end = format!(", \"{}\", \"{}\");", said(least), said(remembered));
        let mut lines = texts.lines();
        let is_said = lines.any(|line| line.starts_with(&begin) && line.ends_with(&end));
        assert!(is_said, "{begin}…{end}");
    }
}

/// A retention below the retries of the sender is refused, so that none is handled twice.
#[test]
fn no_retention_is_below_the_retries_of_its_sender() {
    for sender in SENDERS {
        let Some(retries) = sender.retries.filter(|_| sender.remembered.is_some()) else {
            continue;
        };
        let builds = |retention: Duration| {
            let mut format = Webhooks::of(sender);
            format.set_retention(retention);
            let builder = Verifier::builder(Described(format)).secret(SECRET);
            let builder = builder.public_origin("https://example.com");
            let builder = builder.processing(Processing::InTransaction);
            builder.namespace("tests").build().is_ok()
        };
        let second = Duration::from_secs(1);
        let floor = Duration::from_secs(HOUR);
        assert!(builds(retries.max(floor)), "{}", sender.preset);
        assert!(!builds(retries - second), "{}", sender.preset);
    }
}

/// A secret of 24 bytes, for senders that read Base64.
const SECRET: &str = "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// A row as a preset is one.
#[derive(Debug)]
struct Described(Webhooks);

impl Format for Described {
    type Described = Webhooks;

    fn format(self) -> Webhooks {
        self.0
    }
}

/// Documentation of one sender under the name of another is found.
#[test]
fn twin_documentation_that_says_something_else_is_found() {
    let documented = documentation("catalogue/stripe.rs");
    let (_, stripe) = documented
        .iter()
        .find(|(name, _)| name == "Stripe")
        .unwrap();
    let paddle = senders().into_iter().find(|facts| facts.preset == "Paddle");
    assert_eq!(missing(&paddle.unwrap(), stripe).len(), 2);
}

/// No `max_age` is longer.
const LONGEST: Duration = Duration::from_secs(DAY);

/// The `max_age` of a row that does not say one.
const USUAL: Duration = Duration::from_secs(300);

/// A row says nothing that contradicts itself, and leaves no two ways to read one message.
#[test]
fn every_row_is_coherent() {
    for sender in SENDERS {
        let name = sender.preset;
        let has = |wanted: fn(&Part) -> bool| sender.parts().filter(|p| wanted(p)).count();
        // The list of signed headers has that of the time.
        let times = has(|part| matches!(part, Part::Time | Part::SignedHeaders));
        let lists = has(|part| matches!(part, Part::SignedHeaders));
        assert_eq!(
            lists,
            usize::from(sender.signed_headers.is_some()),
            "{name}"
        );
        // A further header has a MAC of the same form, and no time.
        assert!(
            sender.also.is_empty() || matches!(sender.macs, Macs::Single { .. }),
            "{name}"
        );
        let in_head = matches!(sender.time, Time::Header(..) | Time::Element(_));
        assert_eq!(times, usize::from(in_head), "{name}: the time is signed");
        let ids = has(|part| matches!(part, Part::Id));
        let in_header = matches!(sender.once, Once::Header { .. });
        assert_eq!(ids, usize::from(in_header), "{name}: the id is signed");
        if sender.once == Once::Nothing {
            assert_eq!(sender.remembered, None, "{name}: nothing to remember");
        } else if sender.time == Time::None {
            assert!(sender.remembered.is_some(), "{name}: fresh for ever");
        } else if sender.once == Once::Message {
            assert_eq!(sender.remembered, None, "{name}: fresh for a time");
        }
        // It is known, or fresh, for as long as its sender delivers it again.
        if let Some(retries) = sender.retries {
            let kept = sender.remembered.or(sender.max_age).unwrap_or(USUAL);
            assert!(kept >= retries, "{name}");
            let is_fresh = sender
                .max_age
                .is_none_or(|age| age > retries || age == LONGEST);
            assert!(is_fresh, "{name}: the last retry is fresh");
        }
        if let Time::Element(_) = sender.time {
            assert!(matches!(sender.macs, Macs::List { .. }), "{name}: a list");
        }
        // A sender that does not date its retries again remembers a delivery for longer than it is fresh.
        if let Some(age) = sender.max_age {
            assert!(sender.time != Time::None && age > USUAL, "{name}");
        }
        if sender.delivery_id.is_some() {
            assert_eq!(
                sender.once,
                Once::Message,
                "{name}: nothing else tells them apart"
            );
        }
        // A part that varies in length is followed by something that ends it.
        for (at, part) in sender.before.iter().enumerate() {
            let next = sender.before.get(at + 1);
            match (part, next) {
                (Part::Id, Some(Part::Text(text))) => {
                    let end = text.as_bytes()[0];
                    let expected = matches!(sender.once, Once::Header { end: e, .. } if e == end);
                    assert!(expected, "{name}: the end of the id");
                }
                (Part::Time, Some(Part::Text(text))) => {
                    assert!(!text.as_bytes()[0].is_ascii_digit(), "{name}");
                }
                // No date is the beginning of another one.
                (Part::Time, None) => {
                    assert!(matches!(sender.time, Time::Header(_, Rfc3339)), "{name}");
                }
                // Neither a method nor a URL nor a header has a line feed.
                (
                    Part::Method | Part::Target { .. } | Part::SignedHeaders,
                    Some(Part::Text("\n")),
                ) => {}
                // A method has no `:`, and a URL begins with its scheme; the interpreter looks after
                // the end of a URL.
                (Part::Text(_), _) | (Part::Method, Some(Part::Url(_))) | (Part::Url(_), None) => {}
                other => panic!("{name}: {other:?}"),
            }
        }
        // No digit of a time that ends the message can move: beside a URL, it is of another century
        // with one more or less, and no date is the end of another one.
        let is_date = matches!(sender.time, Time::Header(_, Rfc3339));
        let follows_url = sender
            .before
            .iter()
            .any(|part| matches!(part, Part::Url(_)));
        match sender.after {
            [] | [Part::Url(_)] => {}
            [Part::Time] => assert!(is_date || follows_url, "{name}"),
            other => panic!("{name}: {other:?}"),
        }
    }
}
