//! The audit ends on hostile sources: without an overflow of a stack, in bounded time and memory.

use serde_json::Value;

use crate::{
    audit::{FAULT, found},
    session::Session,
};

/// The report of all rules over the files of a session.
fn audit(session: &Session) -> Value {
    let output = session.output("countersign --json audit --no-config --all-rules .");
    assert!(output.status.code().is_some(), "it did not end by itself");
    serde_json::from_slice(&output.stdout).expect("one object")
}

/// The files that were skipped, or audited in part.
fn skipped(report: &Value) -> Vec<&str> {
    let all = report["skipped"].as_array().unwrap();
    all.iter().map(|it| it["file"].as_str().unwrap()).collect()
}

#[test]
fn broken_and_hostile_files_are_reported_and_skipped() {
    let session = Session::new();
    session.file("views.py", FAULT);
    session.file("broken.py", "def f(:\n    pass\n");
    session.file("broken.rs", "fn f( {\n");
    session.file("latin.py", b"x = '\xe9'\n");
    session.file("long.py", "x = 1\n".repeat(400_000));
    for (name, open, close) in [
        ("round.py", "(", ")"),
        ("square.py", "[", "]"),
        ("call.py", "f(", ")"),
        ("text.py", "f'{", "}'"),
        ("not.py", "not ", ""),
        ("minus.py", "-", ""),
        ("lambda.py", "lambda: ", ""),
        ("round.rs", "(", ")"),
        ("not.rs", "!", ""),
        ("closure.rs", "|| ", ""),
        ("block.rs", "{", "}"),
        ("type.rs", "Vec::<", ">"),
        ("if.rs", "if a {} else ", ""),
    ] {
        let nested = format!("{}1{}", open.repeat(100_000), close.repeat(100_000));
        let text = if name.ends_with("rs") {
            format!("fn f() {{ let x = {nested}; }}")
        } else {
            format!("x = {nested}\n")
        };
        session.file(name, text);
    }
    // Just below the limit: the parsers get these.
    for (name, text) in [
        (
            "near.py",
            format!("x = {}1{}\n", "(".repeat(1300), ")".repeat(1300)),
        ),
        ("near_not.py", format!("x = {}1\n", "not ".repeat(4000))),
        ("near_member.py", format!("x = a{}\n", ".a".repeat(2000))),
        (
            "near.rs",
            format!("fn f() {{ {}1{} }}", "(".repeat(1300), ")".repeat(1300)),
        ),
        (
            "near_block.rs",
            format!("fn f() {{ {}1{} }}", "{".repeat(1300), "}".repeat(1300)),
        ),
        ("near_not.rs", format!("fn f() {{ {}1 }}", "!".repeat(4000))),
        (
            "near_member.rs",
            format!("fn f() {{ a{} }}", ".a()".repeat(900)),
        ),
    ] {
        session.file(name, text);
    }
    let (found, report) = found(&session, ".");
    assert_eq!(found.len(), 1, "{report:#}");
    let skipped = skipped(&report);
    for name in [
        "broken.py",
        "broken.rs",
        "latin.py",
        "long.py",
        "round.py",
        "text.py",
        "lambda.py",
        "if.rs",
        "type.rs",
    ] {
        assert!(skipped.contains(&name), "{name}: {skipped:?}");
    }
    assert!(
        !skipped.iter().any(|it| it.starts_with("near")),
        "{report:#}"
    );
}

/// Text that looks flat to somebody who counts brackets, and nests for a parser.
#[test]
fn nesting_that_is_hidden_is_seen() {
    let session = Session::new();
    for (name, before, link, after) in [
        ("commas.rs", "let x = ", "|a, b| ", "1;"),
        ("moved.rs", "let x = ", "move |a, (b, c)| ", "1;"),
        ("comments.rs", "let x = ", "if a {} /* b */ else ", "{};"),
        ("lines.rs", "let x = ", "if a {} // b\n else ", "{};"),
        ("loops.rs", "", "for S {} in ", "x {}"),
        ("generics.rs", "let x: ", "Vec<u8, ", "u8;"),
        ("methods.rs", "let x = ", "a::<b, c>().", "d;"),
        ("lambda.py", "x = ", "lambda a, b: ", "1"),
        ("brace.py", "x = f'\\{a}' + ", "not ", "1"),
        ("word.py", "x = 1 if\"{\" else ", "not ", "1"),
        ("format.py", "x = f\"{a:'}\" + ", "not ", "1"),
        ("carriage.py", "# (\rx = ", "not ", "1"),
        ("continued.py", "x = ", "not \\\r\n", "1"),
        ("closed.py", "x = ", "[a ) ", "1"),
    ] {
        let text = format!("{before}{}{after}\n", link.repeat(60_000));
        let is_rust = name.ends_with("rs");
        let text = if is_rust {
            format!("fn f() {{ {text} }}")
        } else {
            text
        };
        session.file(name, text);
    }
    let report = audit(&session);
    assert_eq!(skipped(&report).len(), 14, "{report:#}");
}

/// Text that is long, and that the parsers get.
#[test]
fn text_that_is_long_in_one_way_is_read() {
    let session = Session::new();
    let repeated = |text: &str, count: usize| text.repeat(count);
    for (name, text) in [
        ("near_lambda.py", format!("x = {}1\n", repeated("lambda a, b: ", 600))),
        ("near_closure.rs", format!("fn f() {{ {}1; }}", repeated("|a, b| ", 1000))),
        ("near_type.rs", format!("fn f() {{ let x: {}u8{}; }}", repeated("Vec<u8, ", 1000), repeated(">", 1000))),
        ("near_path.rs", format!("use a; fn f() {{ a{}(); }}", repeated("::a", 1200))),
        ("elif.py", format!("def f(a):\n    if a:\n        pass\n{}", repeated("    elif a:\n        a()\n", 20_000))),
        ("flags.rs", format!("const T: [u8; 4] = [{}];", repeated("A | B, 1 << 3, ", 1200))),
        ("chained.py", format!("x = {}a{}\n", repeated("a < (", 60), repeated(") < a", 60))),
        ("set.py", format!("def f(a):\n    {}{}\n", repeated("a = ", 1500), repeated("f(a) + ", 300) + "a")),
        ("wide.py", format!("def f(a):\n    {0}a = {0}a\n", repeated("a, ", 100_000))),
        ("macros.rs", format!("fn f() {{ {}a{}; }}", repeated("m!(", 600), repeated(")", 600))),
        ("itself.py", "import time\n\nMAX_AGE = 60\nMAX_AGE = MAX_AGE * 5\n\n\ndef check(ts, cache, nonce):\n    if time.time() - ts > MAX_AGE:\n        return False\n    return cache.set(nonce, 1, MAX_AGE)\n".to_owned()),
    ] {
        session.file(name, text);
    }
    let report = audit(&session);
    assert!(skipped(&report).is_empty(), "{report:#}");
}

/// Functions about which the rules could ask forever: the report says that it is not whole.
#[test]
fn questions_without_end_are_cut_short_and_said() {
    let session = Session::new();
    let body = |lines: &[&str], count: usize| {
        let lines: String = lines.iter().map(|it| it.repeat(count)).collect();
        format!("def f(cache, a, b, mac, db):\n{lines}")
    };
    let callers: String = (0..3000)
        .map(|at| format!("def g{at}(cache):\n    f(cache, 1, 2)\n"))
        .collect();
    let fetched = "    a = db.query(A).first(); a.b = 1; db.commit()\n";
    let counted = "def f(a):\n    a = A.objects.get(pk=1)\n    a.b += 1\n    a.save()\n";
    let concatenated = "    if a: mac = f'{mac}{mac}{mac}{mac}'\n";
    let looked_up = "    A.objects.filter(a=a).exists()\n";
    let method = "class A:\n    def g(a): pass\n";
    let rows = [
        // Calls that each ask for all others.
        (
            "memory.py",
            body(&["    cache.get(a)\n", "    cache.set(b, 1)\n"], 1400),
        ),
        (
            "paths.py",
            body(&["    os.path.islink(a)\n", "    open(b)\n"], 1400),
        ),
        (
            "rows.py",
            body(&[looked_up, "    A.objects.create(b=b)\n"], 1400),
        ),
        (
            "locks.py",
            body(&["    lock.acquire()\n", "    cache.get(a)\n"], 1400),
        ),
        ("commits.py", body(&[fetched], 200)),
        // A MAC that could be each of many, which are made of many.
        (
            "made.py",
            body(&[concatenated, "    mac == signature\n"], 700),
        ),
        (
            "macs.py",
            body(&["    hmac.new(a, mac) == signature\n"], 2500),
        ),
        (
            "sums.py",
            body(&["    if a: a = a + a\n", "    cache.set(a, 1, a)\n"], 400),
        ),
        // A long function, followed from each of many.
        (
            "helper.py",
            body(&["    cache.set(a, 1)\n"], 2500) + &callers,
        ),
        (
            "namesakes.py",
            method.repeat(20_000) + &body(&["    g(a)\n"], 20_000),
        ),
        // As many findings as functions.
        ("findings.py", counted.repeat(1500)),
    ];
    for (name, text) in &rows {
        session.file(name, text);
    }
    let report = audit(&session);
    let skipped = skipped(&report);
    for name in ["helper.py", "findings.py"] {
        assert!(skipped.contains(&name), "{name}: {skipped:?}");
    }
}
