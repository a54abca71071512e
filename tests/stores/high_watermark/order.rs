//! The order of system calls: no claim is answered before the watermark that covers it is on the
//! disk. A crash of the machine cannot be made in a test; that it would find all in its place is
//! read off a trace of the process.

use std::{
    collections::HashMap,
    env, fs,
    path::Path,
    process::{Command, Stdio},
};

use super::{CHILD, CLAIMS, Place};
use crate::common::log;

/// One call, as `strace -f -xx` writes it down: when it was made, or what it answered.
#[derive(Clone, Debug, PartialEq)]
enum Event {
    /// A file was opened, under this number.
    Opened {
        path: String,
        number: u32,
    },
    Written {
        number: u32,
        bytes: Vec<u8>,
    },
    Synced {
        number: u32,
    },
    Renamed {
        from: String,
        to: String,
    },
    /// The process is about to say that it accepted what was signed then, in milliseconds.
    Accepts {
        signed_at: u64,
    },
}

fn unescaped(text: &str) -> Vec<u8> {
    let bytes = text.split("\\x").skip(1);
    bytes
        .map(|byte| u8::from_str_radix(byte, 16).unwrap())
        .collect()
}

/// Returns the texts between quotation marks.
fn strings(call: &str) -> Vec<Vec<u8>> {
    let quoted = call.split('"').skip(1).step_by(2);
    quoted.map(unescaped).collect()
}

fn path(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Calls of several threads cut each other short: what has not ended is counted when it ends, but
/// what is said to others, when it begins.
fn events(trace: &str) -> Vec<Event> {
    let mut unfinished = HashMap::new();
    let mut events = Vec::new();
    for line in trace.lines() {
        let (thread, call) = line.trim_start().split_once(char::is_whitespace).unwrap();
        let call = call.trim_start();
        if let Some(begun) = call.strip_suffix(" <unfinished ...>") {
            events.extend(said(begun));
            unfinished.insert(thread, begun);
        } else if let Some((_, rest)) = call.split_once(" resumed>") {
            let begun = unfinished.remove(thread).unwrap();
            events.extend(done(&format!("{begun}{rest}")));
        } else {
            events.extend(said(call));
            events.extend(done(call));
        }
    }
    events
}

fn said(call: &str) -> Vec<Event> {
    if !call.starts_with("write(1, ") {
        return Vec::new();
    }
    let text = strings(call).concat();
    let text = String::from_utf8_lossy(&text);
    let words: Vec<_> = text.split_whitespace().collect();
    let lines = words.windows(3).filter(|words| words[0] == "accepted");
    lines
        .map(|words| Event::Accepts {
            signed_at: words[2].parse().unwrap(),
        })
        .collect()
}

fn done(call: &str) -> Option<Event> {
    let (call, answer) = call.rsplit_once(" = ")?;
    // A step that failed has done nothing.
    let answer: u32 = answer.split(' ').next()?.parse().ok()?;
    let (name, arguments) = call.split_once('(')?;
    let strings = strings(arguments);
    let number = || arguments.split([',', ')']).next()?.parse().ok();
    match name {
        "openat" => Some(Event::Opened {
            path: path(strings.first()?),
            number: answer,
        }),
        "write" => Some(Event::Written {
            number: number()?,
            bytes: strings.concat(),
        }),
        "fsync" => Some(Event::Synced { number: number()? }),
        "rename" => Some(Event::Renamed {
            from: path(strings.first()?),
            to: path(strings.get(1)?),
        }),
        _ => None,
    }
}

/// Returns how many claims were accepted, each after a watermark that covers it was on the disk,
/// under its name; or which was not.
fn accepted_in_order(events: &[Event], file: &Path) -> Result<usize, String> {
    let file = file.to_str().unwrap();
    let (new, folder) = (format!("{file}.new"), file.rsplit_once('/').unwrap().0);
    let mut paths = HashMap::new();
    let mark_in = |bytes: &[u8]| u64::from_be_bytes(*bytes[16..].first_chunk().unwrap());
    // The content of the new file, how much of it is on the disk, and the same for the file.
    let (mut written, mut synced, mut named, mut lasting) = (None, None, None, 0);
    let mut accepted = 0;
    for event in events {
        match event {
            Event::Opened { path, number } => {
                if *path == new {
                    (written, synced) = (None, None);
                }
                paths.insert(*number, path.as_str());
            }
            Event::Written { number, bytes } if paths.get(number) == Some(&&*new) => {
                (written, synced) = (Some(mark_in(bytes)), None);
            }
            Event::Synced { number } if paths.get(number) == Some(&&*new) => synced = written,
            Event::Synced { number } if paths.get(number) == Some(&folder) => {
                lasting = named.unwrap_or(lasting);
            }
            Event::Renamed { from, to } if *from == new && to == file => {
                let mark = synced.ok_or("a file takes the name that is not on the disk")?;
                named = Some(mark);
            }
            Event::Accepts { signed_at } => {
                if *signed_at > lasting {
                    return Err(format!("accepts {signed_at}, and {lasting} is on the disk"));
                }
                accepted += 1;
            }
            _ => {}
        }
    }
    Ok(accepted)
}

fn is_there(program: &str) -> bool {
    let version = Command::new(program).arg("--version").output();
    version.is_ok_and(|output| output.status.success())
}

#[test]
fn no_claim_is_answered_before_its_watermark_is_on_the_disk() {
    const WANTED: usize = 600;
    if !is_there("strace") {
        log::missing(
            "no_claim_is_answered_before_its_watermark_is_on_the_disk",
            "`strace` is not installed",
        );
        return;
    }
    let place = Place::new();
    let trace = place.folder.path().join("trace");
    let traced = Command::new("strace")
        .args(["-f", "-xx", "-s", "200", "-e", "signal=none", "-o"])
        .arg(&trace)
        .args(["-e", "trace=openat,write,fsync,rename", "--"])
        .arg(env::current_exe().unwrap())
        .args(["--exact", "high_watermark::child", "--nocapture"])
        .env(CHILD, place.file())
        .env(CLAIMS, WANTED.to_string())
        .stdout(Stdio::null())
        .status()
        .unwrap();
    assert!(traced.success());
    let events = events(&fs::read_to_string(trace).unwrap());
    assert_eq!(accepted_in_order(&events, &place.file()), Ok(WANTED));

    // The twins: the same trace, in which the later watermarks were not written as they must be.
    let is_sync = |at: &usize| matches!(events[*at], Event::Synced { .. });
    let writes: Vec<[usize; 3]> = (0..events.len())
        .filter(|at| matches!(events[*at], Event::Renamed { .. }))
        .map(|renamed| {
            let sync = (0..renamed).rev().find(is_sync).unwrap();
            let sync_of_folder = (renamed..events.len()).find(is_sync).unwrap();
            [sync, renamed, sync_of_folder]
        })
        .collect();
    let later = &writes[writes.len() / 2..];
    let refused = |events: &[Event]| accepted_in_order(events, &place.file()).unwrap_err();
    for step in 0..3 {
        let left_out: Vec<_> = later.iter().map(|write| write[step]).collect();
        let rest = (0..events.len()).filter(|at| !left_out.contains(at));
        refused(&rest.map(|at| events[at].clone()).collect::<Vec<_>>());
    }
    let [sync, renamed, _] = later[0];
    let mut swapped = events.clone();
    swapped.swap(sync, renamed);
    refused(&swapped);
    let mut early = events.clone();
    let is_accept = |event: &Event| matches!(event, Event::Accepts { .. });
    let last = early.remove(early.iter().rposition(is_accept).unwrap());
    early.insert(writes[0][0], last);
    refused(&early);
}
