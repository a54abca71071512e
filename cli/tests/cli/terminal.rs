//! A terminal gets colours if it has them, and never a control character of a stranger.

use crate::session::Session;

const ESCAPE: u8 = 0x1b;

#[test]
fn colours_are_for_terminals() {
    let session = Session::new();
    let list = "countersign scheme list";
    let has_colour = |command: &str| session.output(command).stdout.contains(&ESCAPE);
    assert!(!has_colour(list), "into a pipe");
    assert!(has_colour(&format!("CLICOLOR_FORCE=1 {list}")));
    assert!(!has_colour(&format!("NO_COLOR=1 {list}")));
}

/// `script` gives the command a terminal.
#[test]
fn a_long_audit_shows_its_progress_to_a_terminal_alone() {
    let session = Session::new();
    for number in 0..2000 {
        session.file(&format!("{number}.py"), "");
    }
    let audit = "countersign audit --no-config . >/dev/null";
    let to_terminal = format!("TERM=xterm script -qec '{audit}' /dev/null </dev/null");
    let to_pipe = format!("({audit}) 2>&1");
    let shown = |command: &str| {
        let output = session.output(command);
        assert!(output.status.success(), "{command}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(shown(&to_terminal), "", "a short run");
    session.file("one_more.py", "");
    let bar = shown(&to_terminal);
    assert!(bar.contains("/4002"), "{bar:?}");
    assert!(bar.ends_with("\r\u{1b}[2K"), "the bar is left: {bar:?}");
    assert_eq!(shown(&to_pipe), "", "into a pipe");
}

#[test]
fn bytes_of_strangers_reach_no_terminal() {
    let session = Session::new();
    let hostile = "\u{1b}]0;title\u{7}\u{1b}[2J\u{202e}\u{200b}\u{9b}31m\u{8}";
    let head = "POST /a HTTP/1.1\nhost: example.com\n";
    session.file(
        "request.http",
        format!(
            "{head}x-hub-signature-256: sha256={}\n\n{hostile}",
            "0".repeat(64)
        ),
    );
    session.file("message", hostile);
    session.file(
        "target.har",
        serde_json::json!({"request": {"method": "POST", "url": hostile}}).to_string(),
    );
    session.file(
        "two.har",
        serde_json::json!({"log": {"entries": [
            {"request": {"method": hostile, "url": hostile}},
            {"request": {"method": hostile, "url": hostile}},
        ]}})
        .to_string(),
    );
    session.file("curl", format!("curl '--{hostile}' x"));
    session.file(
        "house.toml",
        format!("kind = \"header\"\n\"{hostile}\" = 1\n"),
    );
    session.file("part.toml", format!("kind = \"{hostile}\"\n"));
    for command in [
        "countersign verify github --secret-file secret request.http",
        "countersign explain github --secret-file secret request.http",
        "countersign explain github --secret-file secret --message message request.http",
        "countersign explain github --secret-file secret --json request.http",
        "countersign verify github --secret-file secret target.har",
        "countersign verify github --secret-file secret two.har",
        "countersign verify github --secret-file secret curl",
        "countersign scheme check house.toml",
        "countersign scheme check part.toml",
        "countersign verify $'\\e[31mred' --secret-file secret request.http",
        "countersign verify github --secret-file $'\\e[31mred' request.http",
    ] {
        let output = session.output(command);
        let said = [output.stdout.as_slice(), &output.stderr].concat();
        let said = String::from_utf8(said).unwrap();
        let harmful = |c: char| (c.is_control() && c != '\n') || "\u{202e}\u{200b}".contains(c);
        let found = said.chars().find(|c| harmful(*c));
        assert_eq!(found, None, "{command}: {said:?}");
    }
}
