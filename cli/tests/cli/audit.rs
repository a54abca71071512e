//! The audit: which rules fire on which lines, and what the command prints.
//!
//! The files of `tests/audit` are the cases. A comment `expect: RULE` marks a line in which a rule
//! finds something; in all other lines nothing is found.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;

use crate::session::Session;

const CASES_OF_A_RULE: usize = 4;

fn cases(folder: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/audit")
        .join(folder)
}

pub(crate) type Lines = BTreeSet<(String, usize, String)>;

/// Returns what the comments of the files expect.
fn expected(folder: &Path) -> Lines {
    let mut lines = Lines::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let text = fs::read_to_string(&path).unwrap();
        for (number, line) in text.lines().enumerate() {
            let rules = line.split("expect: ").nth(1).unwrap_or_default();
            for rule in rules.split_whitespace().take_while(|it| it.contains('-')) {
                let name = path.file_name().unwrap().to_str().unwrap();
                lines.insert((format!("cases/{name}"), number + 1, rule.to_owned()));
            }
        }
    }
    lines
}

pub(crate) fn found(session: &Session, arguments: &str) -> (Lines, Value) {
    let output = session.output(&format!("countersign --json audit --no-config {arguments}"));
    let report: Value = serde_json::from_slice(&output.stdout).expect("one object");
    let findings = report["findings"].as_array().unwrap();
    let lines = findings.iter().map(|it| {
        let line = usize::try_from(it["line"].as_u64().unwrap()).unwrap();
        let text = |name: &str| it[name].as_str().unwrap().to_owned();
        (text("file"), line, text("rule"))
    });
    (lines.collect(), report)
}

fn session_with(folder: &str) -> Session {
    let session = Session::new();
    let copied = session.path().join("cases");
    fs::create_dir(&copied).unwrap();
    for entry in fs::read_dir(cases(folder)).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, copied.join(path.file_name().unwrap())).unwrap();
    }
    session
}

fn compare(folder: &str) {
    let session = session_with(folder);
    let (found, report) = found(&session, "--all-rules cases");
    let expected = expected(&session.path().join("cases"));
    let missing: Vec<_> = expected.difference(&found).collect();
    let more: Vec<_> = found.difference(&expected).collect();
    assert!(
        missing.is_empty() && more.is_empty(),
        "not found: {missing:#?}\nnot expected: {more:#?}"
    );
    assert_eq!(report["skipped"].as_array().unwrap().len(), 0, "{report:#}");
}

/// Also what the documents call mended, and is not: each file says why.
#[test]
fn snippets_of_the_background_are_found() {
    compare("background");
}

#[test]
fn rules_find_what_is_marked_and_nothing_else() {
    compare("rules");
}

/// Where the cases of a rule come from: those in which it finds something, and those that are fine.
type Origins = [BTreeSet<String>; 2];

/// Rules about this crate. No public code uses it yet: their cases are distinct by their place alone.
const OF_THIS_CRATE: [&str; 4] = [
    "danger-without-reason",
    "effects-outside-transaction",
    "route-without-verification",
    "unverified-extractor",
];

/// Returns the repository that a line `seen in OWNER/REPOSITORY, PATH` names.
fn seen_in(line: &str) -> Option<&str> {
    let place = line
        .trim_start_matches(['#', '/', ' '])
        .strip_prefix("seen in ")?;
    let named = place.split_once(", ").filter(|(repository, path)| {
        let parts: Vec<_> = repository.split('/').collect();
        parts.len() == 2 && parts.iter().all(|it| !it.is_empty()) && path.contains('.')
    });
    Some(
        named
            .unwrap_or_else(|| panic!("an owner, a repository and a path: {line}"))
            .0,
    )
}

/// Returns where the cases of each rule come from, in Python and Rust together.
///
/// A case is what stands between two empty lines. It marks `expect: RULE` or `fine: RULE`, and its line
/// `seen in` names the public code that shows the same.
fn origins() -> BTreeMap<String, Origins> {
    let mut origins: BTreeMap<String, Origins> = BTreeMap::new();
    for entry in fs::read_dir(cases("rules")).unwrap() {
        let path = entry.unwrap().path();
        let text = fs::read_to_string(&path).unwrap();
        for case in text.split("\n\n") {
            let seen: Vec<_> = case.lines().filter_map(seen_in).collect();
            assert!(seen.len() < 2, "one case has one place: {case}");
            let marks: Vec<_> = case.lines().flat_map(marks).collect();
            assert!(
                seen.is_empty() || !marks.is_empty(),
                "nothing is marked: {case}"
            );
            for (mark, rule, line) in marks {
                let cases = &mut origins.entry(rule.to_owned()).or_default()[mark];
                if OF_THIS_CRATE.contains(&rule) {
                    cases.insert(line.to_owned());
                }
                cases.extend(seen.iter().map(|it| it.to_lowercase()));
            }
        }
    }
    origins
}

/// Returns the rules that a line marks, each with its place in [`Origins`] and the line.
fn marks(line: &str) -> impl Iterator<Item = (usize, &str, &str)> {
    let of_mark = move |(place, mark)| {
        let rules = line
            .split(mark)
            .nth(1)
            .unwrap_or_default()
            .split([' ', ',']);
        rules
            .filter(|it| it.contains('-'))
            .map(move |rule| (place, rule, line))
    };
    ["expect: ", "fine: "]
        .into_iter()
        .enumerate()
        .flat_map(of_mark)
}

#[test]
fn each_rule_has_cases_of_distinct_public_code() {
    let origins = origins();
    let session = Session::new();
    let list = session.stdout("countersign --json audit --list-rules");
    let rules: BTreeSet<String> = list
        .lines()
        .map(|it| serde_json::from_str::<Value>(it).unwrap())
        .map(|it| it["rule"].as_str().unwrap().to_owned())
        .collect();
    assert!(rules.len() > 30);
    let marked: BTreeSet<_> = origins.keys().cloned().collect();
    assert_eq!(marked, rules, "a rule without a case, or a mark of no rule");
    let is_short = |it: &Origins| it.iter().any(|cases| cases.len() < CASES_OF_A_RULE);
    let short: BTreeMap<_, _> = origins.iter().filter(|it| is_short(it.1)).collect();
    assert!(short.is_empty(), "{short:#?}");
}

#[test]
fn each_rule_has_a_page() {
    let session = Session::new();
    let list = session.stdout("countersign --json audit --list-rules");
    for line in list.lines() {
        let rule: Value = serde_json::from_str(line).unwrap();
        let id = rule["rule"].as_str().unwrap();
        let page = session.stdout(&format!("countersign audit --explain {id}"));
        for part in [
            "## Bad",
            "## Good",
            "## When it is a false alarm",
            "CWE-",
            "OWASP",
        ] {
            assert!(page.contains(part), "{id}: {part}");
        }
    }
}

/// One message has several signatures that pass: each would be a nonce of its own.
#[test]
fn no_page_remembers_a_signature_in_place_of_what_was_signed() {
    let session = Session::new();
    let page = session.stdout("countersign audit --explain window-without-memory");
    assert!(page.contains("sha256(signed_message(request))"), "{page}");
    assert!(!page.contains("{signature}"), "{page}");
}

pub(crate) const FAULT: &str = "import hmac\n\n\ndef check(request, key):\n    mine = hmac.new(key, request.body, 'sha256').hexdigest()\n    return mine == request.headers['X-Signature']\n";

#[test]
fn a_finding_shows_both_lines() {
    let session = Session::new();
    session.file("views.py", FAULT);
    insta::assert_snapshot!(session.run("countersign audit --no-config views.py"));
    insta::assert_snapshot!(session.run("countersign audit --no-config --format github views.py"));
    insta::assert_snapshot!(session.run("countersign audit --no-config --diff views.py"));
}

#[test]
fn a_comment_allows_a_finding_if_it_gives_a_reason() {
    let session = Session::new();
    for (comment, is_allowed) in [
        (
            "# countersign: allow(mac-compared-with-equals) a test vector",
            true,
        ),
        (
            "# countersign: allow(mac-compared-with-equals, secret-in-code): a test vector",
            true,
        ),
        ("# countersign: allow(mac-compared-with-equals)", false),
        ("# countersign: allow(secret-in-code) a test vector", false),
        ("# mac-compared-with-equals is fine here", false),
    ] {
        let above = FAULT.replace("    return", &format!("    {comment}\n    return"));
        let beside = FAULT.replace("['X-Signature']", &format!("['X-Signature']  {comment}"));
        for text in [above, beside] {
            session.file("views.py", text);
            let (found, _) = found(&session, "views.py");
            assert_eq!(found.is_empty(), is_allowed, "{comment}");
        }
    }
    session.file(
        "views.py",
        FAULT.replace(
            "    return",
            "    # countersign: allow(mac-compared-with-equals)\n    return",
        ),
    );
    let said = session.output("countersign audit --no-config views.py");
    assert!(String::from_utf8_lossy(&said.stderr).contains("gives no reason"));
}

#[test]
fn what_a_baseline_knows_is_not_reported_again() {
    let session = Session::new();
    session.file("views.py", FAULT);
    session.stdout("countersign audit --no-config --write-baseline known.json views.py");
    // Lines move, and the finding stays known.
    session.file("views.py", format!("import os\n{FAULT}"));
    let (known, report) = found(&session, "--baseline known.json views.py");
    assert!(known.is_empty(), "{report:#}");
    assert_eq!(report["known"], 1);
    // The same fault in another place is new.
    let other = FAULT
        .replace("check", "check_too")
        .replace("import hmac", "");
    session.file("views.py", format!("{FAULT}{other}"));
    let (known, _) = found(&session, "--baseline known.json views.py");
    assert_eq!(known.len(), 1);
}

#[test]
fn configuration_is_read_from_either_file() {
    let session = Session::new();
    session.file("views.py", FAULT);
    let code = |session: &Session| session.output("countersign audit .").status.code();
    assert_eq!(code(&session), Some(1));
    let off = "disable = ['mac-compared-with-equals']\n";
    session.file("pyproject.toml", format!("[tool.countersign]\n{off}"));
    assert_eq!(code(&session), Some(0));
    session.file("countersign.toml", "exclude = ['nothing/']\n");
    assert_eq!(
        code(&session),
        Some(1),
        "the file of the command's own comes first"
    );
    session.file("countersign.toml", "exclude = ['views.py']\n");
    assert_eq!(code(&session), Some(0));
    session.file("countersign.toml", "min-severity = 'high'\n");
    assert_eq!(code(&session), Some(0));
    for wrong in ["disable = ['no-such-rule']", "unknown = 1", "disable = 1"] {
        session.file("countersign.toml", wrong);
        assert_eq!(code(&session), Some(2), "{wrong}");
    }
    assert_eq!(
        session
            .output("countersign audit --no-config nowhere")
            .status
            .code(),
        Some(3)
    );
}

/// What other tools write, and what somebody else's tool made, is not read.
#[test]
fn only_own_files_are_read() {
    let session = Session::new();
    let folders = [
        "target",
        "node_modules/x",
        ".venv/lib",
        ".hidden",
        "ignored",
        "own",
    ];
    for folder in folders {
        fs::create_dir_all(session.path().join(folder)).unwrap();
        session.file(&format!("{folder}/views.py"), FAULT);
    }
    session.file(".gitignore", "ignored/\n");
    let (found, _) = found(&session, ".");
    let files: BTreeSet<_> = found.into_iter().map(|(file, ..)| file).collect();
    assert_eq!(files, ["own/views.py".to_owned()].into());
}

#[test]
fn a_fix_is_written_and_leaves_no_finding() {
    let session = Session::new();
    session.file("views.py", FAULT);
    session.file(
        "models.py",
        "def up(pk):\n    post = Post.objects.get(pk=pk)\n    post.views += 1\n    post.save()\n",
    );
    session.output("countersign audit --no-config --fix .");
    let mended = fs::read_to_string(session.path().join("views.py")).unwrap();
    assert!(
        mended.contains(
            "return hmac.compare_digest(mine.encode(), request.headers['X-Signature'].encode())"
        ),
        "{mended}"
    );
    let (left, _) = found(&session, ".");
    let rules: Vec<_> = left.into_iter().map(|it| it.2).collect();
    assert_eq!(
        rules,
        ["read-modify-write"],
        "what changes behaviour is asked for"
    );
    session.output("countersign audit --no-config --fix --unsafe-fixes .");
    let mended = fs::read_to_string(session.path().join("models.py")).unwrap();
    assert!(
        mended.contains("import F") && mended.contains("post.views = F(\"views\") + 1"),
        "{mended}"
    );
    assert!(found(&session, ".").0.is_empty());
}

#[test]
fn sarif_has_a_flow_from_the_check_to_the_use() {
    let session = Session::new();
    session.file("views.py", FAULT);
    let output = session.output("countersign audit --no-config --format sarif views.py");
    assert_eq!(output.status.code(), Some(1));
    let log: Value = serde_json::from_slice(&output.stdout).unwrap();
    let result = &log["runs"][0]["results"][0];
    assert_eq!(result["ruleId"], "mac-compared-with-equals");
    let steps = result["codeFlows"][0]["threadFlows"][0]["locations"]
        .as_array()
        .unwrap();
    let lines: Vec<_> = steps
        .iter()
        .map(|it| it["location"]["physicalLocation"]["region"]["startLine"].as_u64())
        .collect();
    assert_eq!(lines, [Some(5), Some(6)]);
}

/// This repository, with its examples: clean, or allowed with a reason.
#[test]
fn this_repository_is_clean() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let session = Session::new();
    let (found, report) = found(&session, &root.display().to_string());
    assert!(found.is_empty(), "{:#}", report["findings"]);
    assert!(
        report["files"].as_u64().unwrap() > 200,
        "{}",
        report["files"]
    );
    assert_eq!(report["skipped"].as_array().unwrap().len(), 0);
}

#[test]
fn a_comment_beside_code_allows_its_own_line_alone() {
    let session = Session::new();
    let comment = "  # countersign: allow(mac-compared-with-equals) a test vector";
    let twice = format!(
        "{FAULT}    return mine == request.headers['X-Other']\n",
        FAULT = FAULT.replace("    return", "    ok =")
    );
    session.file(
        "views.py",
        twice.replace("['X-Signature']", &format!("['X-Signature']{comment}")),
    );
    let (found, _) = found(&session, "views.py");
    let lines: Vec<_> = found.into_iter().map(|it| it.1).collect();
    assert_eq!(lines, [7]);
}

/// A path below another is no second file.
#[test]
fn a_file_that_is_given_twice_is_read_once() {
    let session = Session::new();
    session.file("views.py", FAULT);
    let (_, report) = found(&session, ". views.py ./views.py");
    assert_eq!(report["files"], 1);
    assert_eq!(report["findings"].as_array().unwrap().len(), 1);
}

/// The terminal and the log of a workflow obey no name of a file, and nothing in it.
#[cfg(unix)]
#[test]
fn names_and_contents_of_files_are_escaped() {
    let session = Session::new();
    let name = "a\n::error::b\u{1b}[31m.py";
    session.file(
        name,
        FAULT.replace("    return", "    # \u{1b}[31m\n    return"),
    );
    session.file("c\n::error::d.py", "def f(:\n");
    for arguments in ["", "--format github", "--diff", "--fix"] {
        let output = session.output(&format!("countersign audit --no-config {arguments} ."));
        for stream in [output.stdout, output.stderr] {
            let text = String::from_utf8(stream).unwrap();
            assert!(!text.contains('\u{1b}'), "{arguments}: {text}");
            assert!(!text.contains("\n::error"), "{arguments}: {text}");
        }
    }
}

#[test]
fn a_transaction_of_each_request_is_read_from_settings_and_not_from_comments() {
    let session = Session::new();
    session.file(
        "views.py",
        "def pay(request, pk):\n    return Order.objects.select_for_update().get(pk=pk)\n",
    );
    for (settings, is_found) in [
        (
            "DATABASES = {'default': {'ATOMIC_REQUESTS': True}}\n",
            false,
        ),
        ("DATABASES['default']['ATOMIC_REQUESTS'] = True\n", false),
        (
            "DATABASES = {'default': dict(ATOMIC_REQUESTS=env.bool('A', default=True))}\n",
            false,
        ),
        (
            "# 'ATOMIC_REQUESTS': True\nDATABASES = {'default': {}}\n",
            true,
        ),
        (
            "DATABASES = {'default': {'ATOMIC_REQUESTS': False}}  # not True\n",
            true,
        ),
        ("HELP = 'ATOMIC_REQUESTS is True'\n", true),
    ] {
        session.file("settings.py", settings);
        let (found, _) = found(&session, ".");
        assert_eq!(!found.is_empty(), is_found, "{settings}");
    }
}
