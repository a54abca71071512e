//! Row 30 of the attacks, over all that the tests said: no secret and no expected MAC is in any of
//! it.
//!
//! `tests/run.sh` runs this last. It keeps what all tests print and log in the folder that
//! `COUNTERSIGN_SAID` names, and the tests put what must stay hidden beside it (`common/log.rs`);
//! their secrets are read off their own sources.

use std::{
    collections::{BTreeMap, HashMap},
    env, fs,
    path::{Path, PathBuf},
};

use crate::common::{forms::forms, log};

/// The texts that are searched for, by their first bytes.
struct Hidden {
    /// Whether anything begins with these three: nearly all places are passed over by that.
    begins: Vec<bool>,
    by_start: HashMap<[u8; Self::START], Vec<(String, Vec<u8>)>>,
    names: usize,
}

impl Hidden {
    const START: usize = 8;

    fn nothing() -> Self {
        Self {
            begins: vec![false; 1 << 24],
            by_start: HashMap::new(),
            names: 0,
        }
    }

    fn place(start: &[u8]) -> usize {
        usize::from(start[0]) << 16 | usize::from(start[1]) << 8 | usize::from(start[2])
    }

    fn hide(&mut self, name: &str, bytes: &[u8]) {
        self.names += 1;
        for (form, text) in forms(name, bytes) {
            let start = *text.as_bytes().first_chunk().unwrap();
            self.begins[Self::place(&start)] = true;
            let same_start = self.by_start.entry(start).or_default();
            if !same_start.iter().any(|(_, known)| known == text.as_bytes()) {
                same_start.push((form, text.into_bytes()));
            }
        }
    }

    /// Returns what of it is in the text, and in which line; never the thing itself.
    fn found_in(&self, text: &[u8]) -> Vec<String> {
        let mut found = Vec::new();
        for (at, start) in text.windows(Self::START).enumerate() {
            if !self.begins[Self::place(start)] {
                continue;
            }
            let Some(candidates) = self.by_start.get(start) else {
                continue;
            };
            let here = candidates.iter().filter(|(_, t)| text[at..].starts_with(t));
            let line = || text[..at].split(|byte| *byte == b'\n').count();
            found.extend(here.map(|(form, _)| format!("line {}: {form}", line())));
        }
        found
    }
}

/// The secrets of tests and examples, by their place in the sources.
fn secrets_in(folder: &Path, secrets: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            secrets_in(&path, secrets);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            let source = fs::read_to_string(&path).unwrap();
            for (declared, rest) in source.split("const ").filter_map(|c| c.split_once('=')) {
                let is_secret = declared.trim_end().strip_suffix(": &str");
                let literal = rest.trim_start().strip_prefix('"');
                if let (Some(name), Some(literal)) = (is_secret, literal)
                    && name.ends_with("SECRET")
                {
                    let (secret, _) = literal.split_once('"').unwrap();
                    secrets.insert(format!("{name} of {}", path.display()), secret.to_owned());
                }
            }
        }
    }
}

/// Everything below the folder that holds what was said, or that what is hidden is in.
fn files(folder: &Path) -> Vec<PathBuf> {
    let files = fs::read_dir(folder)
        .unwrap()
        .map(|file| file.unwrap().path());
    files.collect()
}

/// Returns what was found where it must not be; or why this says nothing.
fn check(folder: &Path, secrets: &BTreeMap<String, String>) -> Result<Vec<String>, String> {
    let mut hidden = Hidden::nothing();
    for (name, secret) in secrets {
        hidden.hide(name, secret.as_bytes());
    }
    let (hides, said): (Vec<_>, Vec<_>) = files(folder)
        .into_iter()
        .partition(|file| file.extension().is_some_and(|ending| ending == "hidden"));
    let of_sources = hidden.names;
    for file in hides {
        for line in fs::read_to_string(file).unwrap().lines() {
            let (bytes, what) = line.split_once('\t').unwrap();
            hidden.hide(what, &base16ct::lower::decode_vec(bytes).unwrap());
        }
    }
    if of_sources == 0 || hidden.names == of_sources {
        return Err(format!("{of_sources} secrets, {} in all", hidden.names));
    }
    let mut found = Vec::new();
    let (mut refusals, mut spans, mut printed, mut bytes) = (0, 0, 0, 0);
    for file in said {
        let text = fs::read(&file).unwrap();
        let lossy = String::from_utf8_lossy(&text);
        refusals += lossy.matches("request refused").count();
        spans += lossy.matches(": close").count();
        printed += lossy.matches("test result: ok").count();
        bytes += text.len();
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        found.extend(
            hidden
                .found_in(&text)
                .into_iter()
                .map(|what| format!("{name}, {what}")),
        );
    }
    let looked_for = hidden.names;
    let what = format!(
        "{bytes} bytes with {refusals} refusals, {spans} spans and {printed} test programs, in which \
         {looked_for} secrets and MACs were looked for"
    );
    eprintln!("{what}");
    if refusals == 0 || spans == 0 || printed == 0 {
        return Err(what);
    }
    Ok(found)
}

fn secrets() -> BTreeMap<String, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut secrets = BTreeMap::new();
    for folder in ["tests", "examples"] {
        secrets_in(&root.join(folder), &mut secrets);
    }
    secrets
}

#[test]
fn a30_no_secret_and_no_expected_mac_is_in_all_that_the_tests_said() {
    let Some(folder) = env::var_os(log::SAID) else {
        let why = format!("{} names no folder", log::SAID);
        log::skipped(
            "a30_no_secret_and_no_expected_mac_is_in_all_that_the_tests_said",
            &why,
        );
        return;
    };
    let found = check(Path::new(&folder), &secrets()).unwrap();
    assert!(
        found.is_empty(),
        "{} times:\n{}",
        found.len(),
        found.join("\n")
    );
}

#[test]
fn the_secrets_of_the_tests_are_found_in_their_sources() {
    let secrets = secrets();
    let of = |place: &str| secrets.keys().any(|name| name.ends_with(place));
    for place in [
        "tests/common/mod.rs",
        "tests/schemes/tokens.rs",
        "tests/schemes/webhooks/mailgun.rs",
    ] {
        assert!(of(place), "{place}: {:?}", secrets.keys());
    }
}

// ---- the twins

const SOUND: &str = "test result: ok\nrequest refused\nverify: close\n";

fn with_output(text: &str) -> Result<Vec<String>, String> {
    let folder = tempfile::tempdir().unwrap();
    let mac = base16ct::lower::encode_string(&[0xfe; 32]);
    fs::write(
        folder.path().join("1.hidden"),
        format!("{mac}\tan expected MAC\n"),
    )
    .unwrap();
    fs::write(folder.path().join("1.log"), text).unwrap();
    let secret = (
        "a secret".to_owned(),
        "a secret, planted \"here\"".to_owned(),
    );
    check(folder.path(), &BTreeMap::from([secret]))
}

#[test]
fn a30_twin_what_is_planted_is_found_in_every_form() {
    assert_eq!(with_output(SOUND), Ok(Vec::new()));
    let hidden: [(&str, &[u8]); 2] = [
        ("a secret", b"a secret, planted \"here\""),
        ("an expected MAC", &[0xfe; 32]),
    ];
    for (what, bytes) in hidden {
        for (form, text) in forms(what, bytes) {
            let found = with_output(&format!("{SOUND}x={text}y\n")).unwrap();
            assert!(!found.is_empty(), "{form}");
            let is_told = |line: &String| line.contains("1.log, line 4") && line.contains(what);
            assert!(found.iter().all(is_told), "{form}: {found:?}");
        }
    }
}

#[test]
fn a30_twin_where_nothing_was_said_nothing_was_checked() {
    for missing in ["test result: ok\n", "request refused\n", "verify: close\n"] {
        with_output(&SOUND.replace(missing, "")).unwrap_err();
    }
    let folder = tempfile::tempdir().unwrap();
    check(folder.path(), &secrets()).unwrap_err();
    fs::write(folder.path().join("1.log"), SOUND).unwrap();
    check(folder.path(), &secrets()).unwrap_err();
    check(folder.path(), &BTreeMap::new()).unwrap_err();
}
