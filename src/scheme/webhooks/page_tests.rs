//! The page of the guide with a section for each sender: `senders.md`, made of the rows and of the
//! documentation of their presets, which a test compares with the rows.
//!
//! `COUNTERSIGN_WRITE=1 cargo test --lib webhooks::page` writes it.

use std::{env, fmt::Write as _, fs, path::Path};

use super::table_tests::{Facts, all_documentation, senders};

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/guide/senders.md");

const HEAD: &str = "\
How to receive the webhooks of each sender: the setup, the facts and limits, and a command to try it.

On this page, `store` is a [store](crate::guide::choosing#store), and `secret` is the text that the sender shows. The
page [`webhooks`](crate::webhooks) has the facts that all senders share, and a table of all of them. To try one, put a
secret into the environment variable that its command names: `countersign keygen stripe` makes one for Stripe. The
command prints the headers of a signed request. `--curl` prints a curl command instead, and `--send` sends the request.
";

/// The documentation of a preset in this row of its table.
fn said<'a>(documentation: &'a str, row: &str) -> &'a str {
    let begin = format!("| {row} | ");
    let mut lines = documentation.lines();
    let line = lines.find_map(|line| line.strip_prefix(&begin));
    line.unwrap().trim_end_matches(" |")
}

/// The points under `# Limits`, with their links.
fn stays_open(documentation: &str) -> String {
    let (_, open) = documentation.split_once("# Limits\n").unwrap();
    let points = open.split("\n\n").next().unwrap().trim_end();
    // Its lines have lost their indentation.
    points.replace('\n', "\n  ").replace("\n  - ", "\n- ")
}

/// A request that the scheme can sign.
fn request(name: &str) -> &'static str {
    match name {
        "twilio" => {
            "-H 'content-type: application/x-www-form-urlencoded' --data 'AccountSid=AC1&Body=hi'"
        }
        "linear" => "--at 1700000000 --data '{\"webhookTimestamp\":1700000000000}'",
        "hubspot" => "--data '[{\"eventId\":1}]'",
        _ => "--data '{\"id\":\"evt_1\"}'",
    }
}

fn section(sender: &Facts, documentation: &str) -> String {
    let preset = sender.preset;
    let made = match preset.split_once("::") {
        Some(_) => format!("{preset}()"),
        None => format!("{preset}::new()"),
    };
    let name = sender.name;
    let variable = format!("{}_SECRET", name.to_uppercase().replace('-', "_"));
    let of = |column| sender.column(column);
    let origin = match of("covered").contains("URL") {
        true => ".public_origin(\"https://example.com\")",
        false => "",
    };
    let store = match of("used once by") {
        "nothing" => "",
        _ => ".store(store)",
    };
    let secret = said(documentation, "secret");
    let mut text = format!("\n# {preset}\n");
    let source = sender.source;
    write!(
        text,
        "1. Get the secret from the [sender]({source}): {secret}.\n\
         2. `VerifyLayer::builder({made}).secret(secret){origin}{store}.build()?`\n\
         3. Put this layer on the one route that takes these webhooks. \
         [`{preset}`](crate::webhooks::{preset}) has its other settings.\n\n"
    )
    .unwrap();
    writeln!(text, "- Signature: {}.", of("signature")).unwrap();
    for (title, row) in [
        ("Covered", "covered"),
        ("Fresh for", "fresh for"),
        ("Used once by", "used once by"),
        ("Remembered for", "remembered for"),
    ] {
        // An alias differs from its twin in the names of its headers.
        let fact = match made.ends_with("new()") {
            true => said(documentation, row),
            false => of(row),
        };
        writeln!(text, "- {title}: {fact}.").unwrap();
    }
    if !of("challenge").is_empty() {
        writeln!(text, "- Handshake: {}.", of("challenge")).unwrap();
    }
    write!(
        text,
        "\nLimits:\n{}\n\n```text\ncountersign sign {name} --secret-env {variable} {} POST https://example.com/hook\n```\n",
        stays_open(documentation),
        request(name),
    )
    .unwrap();
    let preset = preset.split("::").next().unwrap();
    text.replace("(Self::", &format!("(crate::webhooks::{preset}::"))
}

fn page() -> String {
    let documented = all_documentation();
    let mut page = HEAD.to_owned();
    for sender in senders() {
        let preset = sender.preset.split("::").next().unwrap();
        let mut of = documented.iter();
        let (_, text) = of
            .find(|(name, text)| name == preset && !text.is_empty())
            .unwrap();
        page.push_str(&section(&sender, text));
    }
    page
}

#[test]
fn the_page_of_senders_is_made_of_their_rows() {
    let path = Path::new(PAGE);
    if env::var_os("COUNTERSIGN_WRITE").is_some() {
        fs::write(path, page()).unwrap();
    }
    assert!(
        fs::read_to_string(path).unwrap() == page(),
        "`guide/senders.md` is not made of the rows: write it with `COUNTERSIGN_WRITE=1`"
    );
}
