//! `countersign store`: what is remembered, and what is forgotten on purpose.

use crate::{
    proxied::{DONE, KEYS, Proxied, Signed, configure, edit},
    session::Session,
    upstream::Upstream,
};

fn object(session: &Session, command: &str) -> (serde_json::Value, Option<i32>) {
    let output = session.output(command);
    let said = String::from_utf8_lossy(&output.stderr);
    let object = serde_json::from_slice(&output.stdout);
    let object = object.unwrap_or_else(|_| panic!("`{command}`: {said}"));
    (object, output.status.code())
}

/// The flag is for a store that the command makes. One that refuses older requests already still does.
#[test]
fn a_store_that_exists_is_not_said_to_have_no_history() {
    let session = Session::new();
    for place in ["sqlite:used.db", "memory:mark"] {
        let migrate = format!("countersign store migrate {place}");
        let assuming = format!("{migrate} --danger-assume-no-history");
        let (made, code) = object(&session, &format!("{migrate} --json"));
        assert_eq!((&made["ready"], code), (&true.into(), Some(0)), "{place}");
        let at = made["refuses_signed_up_to"].as_str().unwrap();
        let (left, code) = object(&session, &format!("{assuming} --json"));
        assert_eq!((&left, code), (&made, Some(1)), "{place}");
        let said = session.run(&assuming);
        assert!(
            said.contains(&format!(
                "the store is ready, and refuses requests that were signed up to {at}\n"
            )) && said.contains("--danger-assume-no-history changed nothing"),
            "{said}"
        );
        // A new one is as the flag says, however often it is said.
        let other = format!("countersign store migrate {place}-2 --danger-assume-no-history");
        for _ in 0..2 {
            assert_eq!(session.stdout(&other), "the store is ready\n");
        }
    }
}

/// A proxy runs while somebody looks at its store, and forgets one of its requests.
#[test]
fn a_request_that_is_forgotten_is_accepted_once_more() {
    let session = Session::new();
    let upstream = Upstream::start(DONE);
    let proxied = Proxied::start(&session, &upstream, KEYS);
    let [one, other] =
        [1, 2].map(|n| Signed::new(&session, "POST", "/transfer", &format!("{{\"n\":{n}}}")).raw());
    for raw in [&one, &other] {
        assert_eq!(proxied.send(raw).status(), 200);
        assert_eq!(proxied.send(raw).status(), 409);
    }
    let (status, code) = object(&session, "countersign store status --json sqlite:used.db");
    assert_eq!(code, Some(0));
    assert_eq!(
        (&status["records"], &status["leases"]),
        (&2.into(), &0.into())
    );
    assert_eq!(status["tables"], 2);
    assert_eq!(status["namespaces"][0]["name"], "all");
    assert_eq!(
        status["keys"][0],
        serde_json::json!({"namespace": "all", "key_id": "partner-1", "records": 2})
    );
    assert!(
        status["last_deadline"].as_str().unwrap() >= status["first_deadline"].as_str().unwrap()
    );
    let nonce = upstream.seen()[0].head.clone();
    let nonce = nonce.split("countersign-nonce: \"").nth(1).unwrap();
    let nonce = nonce.split('"').next().unwrap();
    let forget = format!(
        "countersign store forget --json sqlite:used.db --namespace all --key partner-1 --nonce {nonce}"
    );
    // Without its name, the danger is told, and nothing else happens.
    let (told, code) = object(&session, &forget);
    assert_eq!(code, Some(1));
    assert_eq!(
        (&told["recorded"], &told["forgotten"]),
        (&1.into(), &false.into())
    );
    assert!(told["until"].is_string());
    assert_eq!(proxied.send(&one).status(), 409);
    let (told, code) = object(&session, &format!("{forget} --danger-accept-again"));
    assert_eq!(code, Some(0));
    assert_eq!(
        (&told["recorded"], &told["forgotten"]),
        (&1.into(), &true.into())
    );
    assert_eq!(proxied.send(&one).status(), 200);
    assert_eq!(proxied.send(&one).status(), 409);
    assert_eq!(proxied.send(&other).status(), 409);
    // All requests of a key in its own namespace are forgotten.
    let all =
        "countersign store forget --json sqlite:used.db --key partner-1 --danger-accept-again";
    let (told, _) = object(&session, &format!("{all} --namespace others"));
    assert_eq!(told["recorded"], 0);
    let (told, _) = object(&session, all);
    assert_eq!(told["recorded"], 2);
    for raw in [&one, &other] {
        assert_eq!(proxied.send(raw).status(), 200);
    }
    assert_eq!(upstream.seen().len(), 5);
}

/// A webhook whose signature says no path is recorded at the place of its route.
#[test]
fn an_event_is_forgotten_by_its_id() {
    let session = Session::new();
    let upstream = Upstream::start(DONE);
    crate::round_trip::keygen(&session, "stripe");
    let secret = std::fs::read(session.path().join("stripe.secret")).unwrap();
    session.file("secret", secret);
    let route = "scheme = \"stripe\"\nkeys = [{ file = \"secret\" }]\nmethods = [\"POST\"]\n";
    let proxied = Proxied::start(&session, &upstream, route);
    let signed = Signed::by(&session, "stripe", "POST", "/", r#"{"id":"evt_1"}"#).raw();
    assert_eq!(proxied.send(&signed).status(), 200);
    assert_eq!(proxied.send(&signed).status(), 200);
    assert_eq!(
        upstream.seen().len(),
        1,
        "an acknowledged duplicate is not handled"
    );
    let forget =
        "countersign store forget sqlite:used.db --namespace all --key stripe --event evt_1";
    let said = session.output(forget);
    let said = String::from_utf8(said.stdout).unwrap();
    assert!(
        said.starts_with(
            "recorded: 1 of event evt_1 of key stripe in namespace all, and nothing was forgotten"
        ),
        "{said}"
    );
    let said = session.stdout(&format!("{forget} --danger-accept-again"));
    assert!(
        said.starts_with("forgotten: 1 of event evt_1 of key stripe in namespace all. Until "),
        "{said}"
    );
    assert_eq!(proxied.send(&signed).status(), 200);
    assert_eq!(upstream.seen().len(), 2);
}

/// The key of another route may be another sender's.
#[test]
fn a_key_alone_is_forgotten_only_in_the_one_namespace_of_a_store() {
    let session = Session::new();
    let upstream = Upstream::start(DONE);
    configure(&session, &upstream.url, KEYS);
    let other = format!(
        "[[routes]]\nname = \"other\"\nupstream = \"app\"\npath = \"/other\"\n{KEYS}\n[[routes]]"
    );
    edit(&session, "[[routes]]", &other);
    let proxied = Proxied::of(&session);
    let raws = ["/transfer", "/other"].map(|path| Signed::new(&session, "POST", path, "1").raw());
    for raw in &raws {
        assert_eq!(proxied.send(raw).status(), 200);
    }
    let forget = "countersign store forget sqlite:used.db --key partner-1 --danger-accept-again";
    let said = session.run(forget);
    assert!(
        said.contains("several namespaces") && said.contains("all, other"),
        "{said}"
    );
    for raw in &raws {
        assert_eq!(proxied.send(raw).status(), 409);
    }
    session.stdout(&format!("{forget} --namespace other"));
    let statuses = raws.map(|raw| proxied.send(raw).status());
    assert_eq!(statuses, [409, 200]);
}

#[test]
fn a_store_that_is_not_there_is_not_made() {
    let session = Session::new();
    let said: Vec<String> = [
        "countersign store status sqlite:none.db",
        "countersign store status memory",
        "countersign store status memory:none",
        "countersign store status env:NOWHERE",
        "countersign store forget memory --key a",
        "countersign store forget sqlite:none.db --key a --nonce b",
        "countersign store forget sqlite:none.db --key a --namespace n --nonce b --event c",
        "countersign store forget sqlite:none.db --key a --namespace n --digest 00",
        "countersign store forget sqlite:none.db --key a --namespace n --nonce b --at hooks",
        "countersign store status nosuch://host",
    ]
    .map(|command| session.run(command))
    .into();
    insta::assert_snapshot!(said.join("\n"));
    assert!(!session.path().join("none.db").exists());
}

#[test]
fn what_a_store_in_memory_keeps_in_its_file_is_shown() {
    let session = Session::new();
    let upstream = Upstream::start(DONE);
    let route = format!("{KEYS}store = \"memory:mark\"\n");
    let _proxied = Proxied::start(&session, &upstream, &route);
    // The proxy has it at this moment.
    let (status, code) = object(&session, "countersign store status --json memory:mark");
    assert_eq!(code, Some(0));
    assert!(
        status["since"].is_string() && status["records"].is_null(),
        "{status}"
    );
    let said = session.run("countersign store forget memory:mark --key partner-1");
    assert!(said.contains("holds no record"), "{said}");
}

/// The text of a store may hold a password: a variable keeps it out of the file, and no message shows it.
#[test]
fn a_store_is_named_by_a_variable_of_the_environment() {
    const PASSWORD: &str = "a-password-of-this-test";
    let session = Session::new();
    session.hide(PASSWORD.as_bytes());
    let upstream = Upstream::start(DONE);
    configure(&session, &upstream.url, KEYS);
    edit(
        &session,
        "store = \"sqlite:used.db\"",
        "store = { env = \"STORE\" }",
    );
    let check = "countersign proxy --config proxy.toml --check";
    assert!(
        session
            .run(check)
            .contains("the environment variable `STORE`")
    );
    for (store, expected) in [
        ("sqlite:used.db", "the configuration is valid"),
        ("nonsense", "it does not name a store"),
    ] {
        let said = session.run(&format!("STORE={store} {check}"));
        assert!(said.contains(expected), "{said}");
        assert!(!said.contains(&format!("`{store}`")), "{said}");
    }
    let url = format!("redis://:{PASSWORD}@127.0.0.1:1");
    // The shell has it, and the command says nothing about it.
    let output = session
        .shell("countersign proxy --config proxy.toml; countersign store status env:STORE")
        .env("STORE", &url)
        .output()
        .unwrap();
    let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    assert!(
        said.contains("cannot open the store `redis://127.0.0.1:1`"),
        "{said}"
    );
    assert!(!said.contains(PASSWORD), "{said}");
    edit(&session, "{ env = \"STORE\" }", "{ enw = \"STORE\" }");
    assert!(session.run(check).contains("{ env = \"NAME\" }"));
}
