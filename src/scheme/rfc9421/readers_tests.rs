//! Readers in other languages: each field that is read here is read there, in the same way.

use std::{
    env,
    io::{BufRead as _, BufReader, Write as _},
    iter,
    process::{Command, Stdio},
    thread,
};

use proptest::{prelude::*, strategy::ValueTree as _, test_runner::TestRunner};
use serde_json::json;

use super::{
    generated_tests::{hostile, inputs},
    input::Input,
    usual::read_inputs,
};
use crate::testing::cases;

/// A reading of `Signature-Input`: the labels, and each member as it is signed. `None` is refused.
type Read = Option<Vec<(String, Option<String>)>>;

fn ours(field: &str) -> Read {
    let members = read_inputs(field).ok()?;
    let member = |input: Input<'_>| input.listed.text.into_owned();
    let members = members
        .into_iter()
        .map(|m| (m.label.to_owned(), m.input.ok().map(member)));
    Some(members.collect())
}

/// A script of `tests/peers` that reads dictionaries.
struct Peer {
    command: Command,
    /// Fields that it is known to read otherwise.
    differs: fn(&str) -> bool,
}

/// `http-sf` of PyPI. It reads no date after the year 9999.
fn python() -> Option<Peer> {
    let (python, script) = script("COUNTERSIGN_PEERS_PYTHON", "py")?;
    let mut command = Command::new(python);
    command.arg(script);
    Some(Peer {
        command,
        differs: |field| {
            let is_late = |date: &str| {
                let digits = date.trim_start_matches('-').bytes();
                digits.take_while(u8::is_ascii_digit).count() > 10
            };
            field.split('@').skip(1).any(is_late)
        },
    })
}

/// `structured-headers` of npm. It reads no parameter behind a date and writes some bytes of a
/// display string with one digit; it has one kind of number, so that it writes `1.0` as `1`; and it
/// refuses half of a padding.
fn node() -> Option<Peer> {
    let (_, script) = script("COUNTERSIGN_PEERS_NODE_PATH", "mjs")?;
    let mut command = Command::new("node");
    command.arg(script);
    Some(Peer {
        command,
        differs: |field| {
            let is_half_padded =
                |bytes: &str| bytes.ends_with('=') && !bytes.len().is_multiple_of(4);
            ["=@", "=%\"", ".0"].iter().any(|it| field.contains(it))
                || field.split(':').any(is_half_padded)
        },
    })
}

/// The value of the variable, and the script, where what it needs is installed: `tests/run.sh` says
/// so. Without that the test is skipped, and says so.
fn script(variable: &str, extension: &str) -> Option<(String, String)> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/peers");
    if let Ok(value) = env::var(variable) {
        return Some((value, format!("{folder}/inputs.{extension}")));
    }
    let is_failure = env::var_os("COUNTERSIGN_NO_SKIP").is_some();
    assert!(!is_failure, "{variable} is not set");
    println!("skipped: {variable} is not set");
    None
}

/// Reads fields that are valid, and hostile ones, here and with a peer: each that is read here is
/// read there, in the same way. The first that is not; or how many were read here, and refused.
fn compare(mut peer: Peer, ours: impl Fn(&str) -> Read) -> Result<[usize; 2], String> {
    let mut runner = TestRunner::deterministic();
    let valid = inputs().prop_map(|field| (field, true));
    let hostile = hostile(inputs()).prop_map(|field| (field, false));
    let strategy = prop_oneof![valid, hostile];
    let fields: Vec<_> = iter::repeat_with(|| strategy.new_tree(&mut runner).unwrap().current())
        .filter(|(field, _)| !(peer.differs)(field))
        .take(usize::try_from(cases(1000)).unwrap())
        .collect();
    let lines = fields
        .iter()
        .map(|(field, _)| json!(field).to_string() + "\n");
    let lines: String = lines.collect();

    let command = peer.command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    let writer = thread::spawn(move || input.write_all(lines.as_bytes()));
    let answers: Vec<_> = BufReader::new(child.stdout.take().unwrap())
        .lines()
        .collect::<Result<_, _>>()
        .unwrap();
    writer.join().unwrap().unwrap();
    child.wait().unwrap();
    assert_eq!(answers.len(), fields.len(), "an answer to each line");

    let mut counts = [0, 0];
    for ((field, is_valid), answer) in fields.iter().zip(&answers) {
        let theirs: Option<Vec<(String, String)>> = serde_json::from_str(answer).unwrap();
        let ours = ours(field);
        counts[usize::from(ours.is_none())] += 1;
        let agree = match (&ours, &theirs) {
            (None, _) => !is_valid,
            (Some(_), None) => false,
            (Some(ours), Some(theirs)) => {
                let labels = ours.iter().map(|(label, _)| label);
                // A member that is refused here alone is taken for no other.
                let mut texts = ours.iter().map(|(_, text)| text.as_ref()).zip(theirs);
                labels.eq(theirs.iter().map(|(label, _)| label))
                    && texts.all(|(ours, (_, theirs))| ours.is_none_or(|ours| ours == theirs))
            }
        };
        if !agree {
            return Err(format!("`{field}`: {ours:?}, and not {theirs:?}"));
        }
    }
    Ok(counts)
}

fn agrees(peer: Peer) {
    let [read, refused] = compare(peer, ours).unwrap();
    println!("{read} were read, {refused} refused");
    assert!(read > 300 && refused > 100, "{read}, {refused}");
}

#[test]
fn python_reads_each_signature_input_that_is_read_and_in_the_same_way() {
    if let Some(peer) = python() {
        agrees(peer);
    }
}

#[test]
fn node_reads_each_signature_input_that_is_read_and_in_the_same_way() {
    if let Some(peer) = node() {
        agrees(peer);
    }
}

/// The twin of both: a reader that signs what the sender spelled is found.
#[test]
fn twin_a_signature_input_that_is_signed_as_it_was_spelled_is_found() {
    let spelled = |field: &str| {
        let mut members = ours(field)?;
        if let [(_, Some(text))] = &mut *members {
            field.trim().split_once('=')?.1.clone_into(text);
        }
        Some(members)
    };
    for peer in [python(), node()].into_iter().flatten() {
        assert!(compare(peer, spelled).is_err());
    }
}
