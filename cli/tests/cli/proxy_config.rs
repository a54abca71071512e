//! The configuration of `countersign proxy`: its faults, and how routes are found.

use crate::{
    listening::Listening,
    proxied::{DONE, KEYS, Proxied, Signed, configure, edit, one_request},
    session::Session,
    upstream::Upstream,
};

const VALID: &str = r#"listen = ["127.0.0.1:0", "unix:proxy.sock"]
store = "sqlite:used.db"

[limits]
connections = 100

[upstreams.app]
address = "http://127.0.0.1:3000"

[[routes]]
name = "transfers"
upstream = "app"
path = "/transfers"
methods = ["POST"]
scheme = "http-message-signatures"
public-origin = "https://api.example.com"
keys = [{ id = "partner-1", file = "secret" }]
max-age = 60

[[routes]]
name = "hooks"
upstream = "app"
host = "hooks.example.com"
path = "/hooks/{tenant}"
scheme = "github"
tenant-directory = "tenants"

[[routes]]
name = "health"
upstream = "app"
path = "/health"
danger-open = true

[[sign]]
name = "to-bank"
listen = "127.0.0.1:0"
upstream = "app"
scheme = "http-message-signatures"
key = { id = "shop", file = "own" }
"#;

#[test]
fn each_fault_of_a_configuration_is_shown_with_its_place() {
    let session = Session::new();
    std::fs::create_dir(session.path().join("tenants")).unwrap();
    session.file("tenants/acme", "the secret of acme, long enough\n");
    session.secret("own", "the secret that the shop signs with");
    session.file("proxy.toml", VALID);
    let mut shown = session.run("countersign proxy --config proxy.toml --check");
    for (place, fault) in [
        ("connections = 100", "conections = 100"),
        ("connections = 100", "connections = 0"),
        ("\"127.0.0.1:0\"", "\"localhost\""),
        (
            "[limits]",
            "[forwarders]\nnetworks = [\"10.0.0/8\"]\n\n[limits]",
        ),
        (
            "[limits]",
            "[forwarders]\nnetworks = []\nclient = \"a b\"\n\n[limits]",
        ),
        (
            "[limits]",
            "[forwarders]\nclient = \"x-real-ip\"\n\n[limits]",
        ),
        ("[\"127.0.0.1:0\", \"unix:proxy.sock\"]", "[]"),
        (
            "[\"127.0.0.1:0\", \"unix:proxy.sock\"]",
            "[\"0.0.0.0:81\", \"127.0.0.1:81\"]",
        ),
        ("[limits]", "admin = \"unix:proxy.sock\"\n\n[limits]"),
        ("connections = 100", "connections = \"100\""),
        ("[\"127.0.0.1:0\", \"unix:proxy.sock\"]", "\"127.0.0.1:0\""),
        ("[limits]\nconnections = 100", "limits = 100"),
        (
            "[limits]",
            "[[tls]]\nlisten = \"127.0.0.1:1\"\ncertificate = \"secret\"\nkey = \"secret\"\n\n[limits]",
        ),
        (
            "[limits]",
            "[[tls]]\nlisten = \"unix:proxy.sock\"\ncertificate = \"a\"\nkey = \"a\"\n\n[limits]",
        ),
        (
            "http://127.0.0.1:3000\"",
            "https://127.0.0.1:3000\"\nca = \"missing.pem\"",
        ),
        ("http://127.0.0.1:3000", "127.0.0.1:3000"),
        (
            "upstream = \"app\"\npath = \"/transfers\"",
            "upstream = \"ap\"\npath = \"/transfers\"",
        ),
        ("path = \"/transfers\"", "path = \"transfers\""),
        ("path = \"/transfers\"", "path = \"/a/../transfers\""),
        ("path = \"/transfers\"", "path = \"/transfers/*\""),
        ("path = \"/transfers\"", "path = \"/transfers/{id}\""),
        ("path = \"/transfers\"", "path = \"/transfers?a\""),
        ("path = \"/transfers\"", "path = \"/transfers/;a\""),
        ("/hooks/{tenant}", "/{Tenant}"),
        ("/hooks/{tenant}", "/{tenant}/transfers"),
        ("[\"POST\"]", "[\"post\"]"),
        ("[\"POST\"]", "[]"),
        ("\"http-message-signatures\"", "\"http-message-signature\""),
        ("scheme = \"http-message-signatures\"\n", ""),
        ("public-origin = \"https://api.example.com\"\n", ""),
        ("\"https://api.example.com\"", "\"api.example.com\""),
        ("id = \"partner-1\", ", ""),
        ("file = \"secret\"", "file = \"missing\""),
        ("file = \"secret\"", "env = \"MISSING\""),
        ("max-age = 60", "max-age = 0"),
        ("max-age = 60", "lease = 60"),
        ("max-age = 60", "processing = \"exactly-once\""),
        ("max-age = 60", "forward-also = [\"x-forwarded-for\"]"),
        ("/hooks/{tenant}", "/hooks"),
        ("name = \"hooks\"", "name = \"transfers\""),
        ("path = \"/health\"", "path = \"/transfers\""),
        ("path = \"/health\"", "path = \"/{tenant}\""),
        (
            "path = \"/health\"\ndanger-open = true",
            "path = \"/other\"\nscheme = \"github\"\nkeys = [{ file = \"tenants/acme\" }]",
        ),
        ("sqlite:used.db", "memroy"),
        ("sqlite:used.db", "used.db"),
        ("sqlite:used.db", "sqlite://used.db"),
        ("sqlite:used.db", "postgres:/host/db"),
        ("\"sqlite:used.db\"", "\"postgres://me:password@host/db"),
        ("\"sqlite:used.db\"", "[\"redis://:password@host/0\"]"),
        ("http://127.0.0.1:3000", "http://me:password@127.0.0.1:3000"),
        (
            "path = \"/health\"",
            "host = \"hooks.example.com.\"\npath = \"/{tenant}/x\"",
        ),
        ("max-age = 60", "danger-unsigned = [\"host\"]"),
        ("danger-open = true", "danger-open = true\nmax-age = 60"),
        ("max-age = 60", "max-body-bytes = 40000000"),
        ("listen = [\"127.0.0.1:0\", \"unix:proxy.sock\"]\n", ""),
        ("name = \"to-bank\"", "name = \"health\""),
        (
            "listen = \"127.0.0.1:0\"\nupstream",
            "listen = \"0.0.0.0:0\"\nupstream",
        ),
        ("http://127.0.0.1:3000", "http://bank.example.com"),
        ("http://127.0.0.1:3000", "unix:app.sock"),
        ("id = \"shop\", ", ""),
        ("\"own\" }\n", "\"own\" }\norigin = \"bank.example.com\"\n"),
        ("file = \"own\"", "file = \"secret\""),
        ("file = \"own\"", "env = \"MISSING\""),
        ("\"own\" }\n", "\"own\" }\nid-header = \"not a name\"\n"),
    ] {
        assert!(VALID.contains(place), "{place}");
        session.file("proxy.toml", VALID.replacen(place, fault, 1));
        let run = session.run("countersign proxy --config proxy.toml --check");
        shown.push_str(&format!("\n# {fault:?}\n{run}"));
    }
    insta::assert_snapshot!(shown);
}

#[test]
fn a_key_that_is_not_known_is_refused_in_every_table() {
    let session = Session::new();
    let more = "[forwarders]\nnetworks = []\n\n[[tls]]\nlisten = \"127.0.0.1:0\"\n\
                certificate = \"a\"\nkey = \"a\"\n\n[limits]";
    let valid = VALID.replacen("[limits]", more, 1);
    for (place, with) in [
        ("listen = [", "unknown = 1\nlisten = ["),
        ("[forwarders]\n", "[forwarders]\nunknown = 1\n"),
        ("[[tls]]\n", "[[tls]]\nunknown = 1\n"),
        ("[limits]\n", "[limits]\nunknown = 1\n"),
        ("[upstreams.app]\n", "[upstreams.app]\nunknown = 1\n"),
        ("[[routes]]\n", "[[routes]]\nunknown = 1\n"),
        ("[[sign]]\n", "[[sign]]\nunknown = 1\n"),
        ("{ id = \"partner-1\"", "{ unknown = 1, id = \"partner-1\""),
        ("{ id = \"shop\"", "{ unknown = 1, id = \"shop\""),
        ("\"sqlite:used.db\"", "{ env = \"STORE\", unknown = 1 }"),
    ] {
        assert!(valid.contains(place), "{place}");
        session.file("proxy.toml", valid.replacen(place, with, 1));
        let said = session.run("countersign proxy --config proxy.toml --check");
        let names = said.contains("unknown key `unknown`") || said.contains("a store is a text");
        assert!(names && said.contains("--> proxy.toml:"), "{with}: {said}");
        assert!(
            said.contains('^') && said.contains("(exit code 2)"),
            "{said}"
        );
    }
}

#[test]
fn the_most_specific_route_serves_and_what_no_route_names_is_refused() {
    let session = Session::new();
    let upstream = Upstream::start(DONE);
    let url = &upstream.url;
    configure(
        &session,
        url,
        "danger-open = true\nhost = \"open.example.com\"\n",
    );
    let more = format!(
        "[[routes]]\nname = \"transfers\"\nupstream = \"app\"\npath = \"/transfers\"\n\
         methods = [\"POST\"]\n{KEYS}"
    );
    let file = session.path().join("proxy.toml");
    let begun = std::fs::read_to_string(&file).unwrap();
    session.file("proxy.toml", begun + &more);
    let proxied = Proxied::of(&session);
    let ask = |method: &str, host: &str, path: &str| {
        let head = format!("{method} {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
        let answer = proxied.send(head);
        (answer.status(), answer.code().to_owned())
    };
    let is = |status: u16, code: &str| (status, code.to_owned());
    assert_eq!(ask("GET", "open.example.com", "/"), is(200, ""));
    assert_eq!(
        ask("GET", "other.example.com", "/"),
        is(404, "route_unknown")
    );
    // A route of this path guards it on every host, for every method and in every spelling.
    for path in [
        "/transfers",
        "/TRANSFERS",
        "/%74ransfers/",
        "/transfers;a=b",
        "/transfers/7?a",
    ] {
        for (method, expected) in [
            ("POST", is(401, "signature_missing")),
            ("GET", is(405, "method_not_allowed")),
            ("PUT", is(405, "method_not_allowed")),
        ] {
            assert_eq!(
                ask(method, "open.example.com", path),
                expected,
                "{method} {path}"
            );
        }
    }
    assert_eq!(ask("GET", "open.example.com", "/transfersx"), is(200, ""));
    assert_eq!(upstream.seen().len(), 2);
}

#[test]
fn each_tenant_has_keys_of_its_own_which_are_read_again() {
    let session = Session::new();
    let upstream = Upstream::start(DONE);
    std::fs::create_dir(session.path().join("tenants")).unwrap();
    session.file("tenants/acme", crate::session::SECRET);
    session.file("tenants/other", "a secret of another tenant, long enough");
    let route = "scheme = \"github\"\ntenant-directory = \"tenants\"\n";
    configure(&session, &upstream.url, route);
    let file = session.path().join("proxy.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    session.file(
        "proxy.toml",
        text.replace("path = \"/\"", "path = \"/hooks/{tenant}\""),
    );
    let proxied = Proxied::of(&session);
    let event = |n: u32| format!("{{\"event\":{n}}}");
    let send_by = |secret: &str, tenant: &str, n: u32| {
        session.file("secret", secret);
        let path = format!("/hooks/{tenant}");
        let signed = Signed::by(&session, "github", "POST", &path, &event(n));
        let answer = proxied.send(signed.raw());
        (answer.status(), answer.code().to_owned())
    };
    let send = |tenant: &str, n: u32| send_by(crate::session::SECRET, tenant, n);
    assert_eq!(send("acme", 1), (200, String::new()));
    assert_eq!(send("other", 2), (401, "signature_invalid".to_owned()));
    for unknown in ["nobody", "ACME", "%61cme", "acme;a=b"] {
        assert_eq!(
            send(unknown, 3),
            (404, "route_unknown".to_owned()),
            "{unknown}"
        );
    }
    one_request(&upstream.seen(), &event(1));
    let until = |secret: &str, tenant: &str, status: u16| {
        let started = std::time::Instant::now();
        let mut n = 100;
        while send_by(secret, tenant, n).0 != status {
            assert!(started.elapsed().as_secs() < 30, "{tenant}: {status}");
            n += 1;
        }
    };
    let [second, third] = ["the second secret of other", "a secret of the new tenant"];
    // A key that is replaced, a tenant that is new, and one that has the secret of another.
    session.file("tenants/other", second);
    session.file("tenants/new", third);
    session.file("tenants/aaa", crate::session::SECRET);
    until(second, "other", 200);
    until(third, "new", 200);
    assert_eq!(send("aaa", 4).0, 404);
    assert_eq!(send("acme", 5).0, 200);
    // A file that cannot be read does not keep another tenant from being removed.
    std::fs::remove_file(session.path().join("tenants/aaa")).unwrap();
    std::fs::remove_file(session.path().join("tenants/new")).unwrap();
    session.file("tenants/empty", "");
    std::os::unix::fs::symlink("nowhere", session.path().join("tenants/dangling")).unwrap();
    until(third, "new", 404);
    assert_eq!(send("acme", 6).0, 200);
}

#[test]
fn a_key_that_is_removed_is_refused_whatever_else_is_in_its_directory() {
    let session = Session::new();
    let upstream = Upstream::start(DONE);
    std::fs::create_dir(session.path().join("keys")).unwrap();
    session.file("keys/partner-1", crate::session::SECRET);
    session.file("keys/partner-2", "the secret of another partner");
    let route = KEYS.replace(
        "keys = [{ id = \"partner-1\", file = \"secret\" }]",
        "key-directory = \"keys\"",
    );
    let proxied = Proxied::start(&session, &upstream, &route);
    let send_by = |id: &str, secret: &str| {
        session.file("secret", secret);
        let scheme = format!("http-message-signatures --key-id {id}");
        proxied
            .send(Signed::by(&session, &scheme, "POST", "/", "{}").raw())
            .status()
    };
    let until = |id: &str, secret: &str, status: u16| {
        let started = std::time::Instant::now();
        while send_by(id, secret) != status {
            assert!(started.elapsed().as_secs() < 30, "{id}: {status}");
        }
    };
    let of_2 = "the secret of another partner";
    assert_eq!(send_by("partner-1", crate::session::SECRET), 200);
    assert_eq!(send_by("partner-2", of_2), 200);
    // Beside a duplicate that an editor left, an empty file, a dangling link and a pipe.
    let pipe = session.path().join("keys/partner-0");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status();
    assert!(made.unwrap().success());
    session.file("keys/partner-2~", of_2);
    session.file("keys/partner-3", "");
    std::os::unix::fs::symlink("nowhere", session.path().join("keys/partner-4")).unwrap();
    std::fs::remove_file(session.path().join("keys/partner-1")).unwrap();
    until("partner-1", crate::session::SECRET, 401);
    assert_eq!(send_by("partner-2", of_2), 200);
    assert_eq!(send_by("partner-2~", of_2), 401);
    // The last one too.
    for name in [
        "partner-0",
        "partner-2",
        "partner-2~",
        "partner-3",
        "partner-4",
    ] {
        std::fs::remove_file(session.path().join("keys").join(name)).unwrap();
    }
    until("partner-2", of_2, 401);
}

#[test]
fn a_route_that_observes_lets_everything_pass_without_an_identity() {
    let session = Session::new();
    let upstream = Upstream::start(DONE);
    let route = format!("{KEYS}danger-observe-only = true\nforward = \"all\"\n");
    let proxied = Proxied::start(&session, &upstream, &route);
    let signed = Signed::new(&session, "POST", "/transfer", "{}");
    let forged = "countersign-key-id: \"admin\"\r\nx-other: 1\r\n";
    for _ in 0..2 {
        assert_eq!(proxied.send(signed.with(forged)).status(), 200);
    }
    for seen in upstream.seen() {
        assert!(!seen.head.contains("countersign-"), "{}", seen.head);
        assert!(
            seen.has("x-other: 1") && seen.body == b"{}",
            "{}",
            seen.head
        );
    }
    assert_eq!(upstream.seen().len(), 2);
}

/// A newcomer types what the page prints.
#[test]
fn the_first_example_of_the_page_serves_as_printed() {
    let page = include_str!("../../proxy.md");
    let blocks = |language: &str| {
        let begin = format!("```{language}\n");
        let all = page.split(&begin).skip(1);
        let all = all.map(|rest| rest.split("```").next().unwrap().trim_end().to_owned());
        all.collect::<Vec<_>>()
    };
    let session = Session::new();
    let (toml, shell) = (blocks("toml"), blocks("sh"));
    session.file("proxy.toml", &toml[0]);
    let (steps, start) = shell[0].rsplit_once('\n').unwrap();
    assert_eq!(start, "countersign proxy --config proxy.toml");
    let said = session.stdout(steps);
    assert_eq!(
        said.trim_end(),
        "the configuration is valid\nthe store is ready"
    );
    // Only the address and the socket are those of the test.
    let upstream = Upstream::start(DONE);
    edit(&session, "0.0.0.0:8080", "127.0.0.1:0");
    edit(&session, "unix:/run/app/app.sock", &upstream.url);
    session.file("github", "a secret of the webhooks of this test");
    let proxied = Proxied {
        listening: Listening::proxy_in(&session, "GITHUB_SECRET=$(cat github)"),
    };
    let sign = shell[1].replace("127.0.0.1:8080", proxied.listening.address());
    assert_ne!(sign, shell[1]);
    let said = session.stdout(&sign);
    assert!(
        said.starts_with("200 OK") && said.ends_with("done\n"),
        "{said}"
    );
    let seen = one_request(&upstream.seen(), "{\"amount\":5}");
    assert!(seen.has("host: api.example.com"), "{}", seen.head);
}
