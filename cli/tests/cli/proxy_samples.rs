//! The samples of `cli/samples`, with the servers that they name: gunicorn, uvicorn, Express and nginx.

use std::{
    env, fs,
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    os::unix::net::UnixStream,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use crate::{
    certified::{authority, certify},
    probed::variable,
    proxied::{Answer, ORDER, Proxied, Signed, get},
    session::Session,
};

/// A server that ends with this value.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        // gunicorn and nginx end their workers by themselves.
        let pid = self.0.id().to_string();
        let _ = Command::new("kill").args(["-TERM", &pid]).status();
        let _ = self.0.wait();
    }
}

fn start(command: &mut Command, is_up: impl Fn() -> bool) -> Server {
    let child = command.stdin(Stdio::null()).stdout(Stdio::null());
    let mut server = Server(child.spawn().unwrap());
    let started = Instant::now();
    while !is_up() {
        let ended = server.0.try_wait().unwrap();
        assert!(ended.is_none(), "{command:?} has ended");
        assert!(started.elapsed() < Duration::from_secs(60), "{command:?}");
        thread::sleep(Duration::from_millis(20));
    }
    server
}

/// Starts an application as `cli/proxy.md` says, on the socket of the sample.
fn application(session: &Session, name: &str) -> Option<Server> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/peers/probed");
    let socket = session.path().join("app.sock");
    let mut command = match name {
        "express" => {
            let packages = variable("COUNTERSIGN_PEERS_NODE_PATH")?;
            let mut node = Command::new("node");
            node.arg(folder.join("open_express.mjs"))
                .arg(&socket)
                .env("COUNTERSIGN_PEERS_NODE_PATH", packages);
            node
        }
        name => {
            let mut python = Command::new(variable("COUNTERSIGN_PEERS_PYTHON")?);
            python
                .current_dir(&folder)
                .env("PYTHONDONTWRITEBYTECODE", "1");
            match name {
                "django" => python
                    .args([
                        "-m",
                        "gunicorn",
                        "open_django:application",
                        "--threads",
                        "8",
                    ])
                    .args(["--log-level", "error"])
                    .arg("--bind")
                    .arg(format!("unix:{}", socket.display())),
                _ => python
                    .args(["-m", "uvicorn", "open_fastapi:app", "--log-level", "error"])
                    .arg("--uds")
                    .arg(&socket),
            };
            python
        }
    };
    Some(start(&mut command, || UnixStream::connect(&socket).is_ok()))
}

/// Writes a sample into the folder of the session, in which its paths are.
fn sample(session: &Session, name: &str) -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("samples")
        .join(name);
    let mut text = fs::read_to_string(file).unwrap();
    let folder = session.path().display();
    for place in [
        "/run/countersign",
        "/run/app",
        "/var/lib/countersign",
        "/etc/ssl",
    ] {
        text = text.replace(place, &folder.to_string());
    }
    text.replace("/etc/countersign/partner-1.secret", "secret")
}

fn proxy(session: &Session) -> Proxied<'_> {
    session.file("proxy.toml", sample(session, "proxy.toml"));
    session.stdout("countersign store migrate sqlite:used.db --danger-assume-no-history");
    Proxied::of(session)
}

fn ask(socket: &Path, bytes: &str) -> Answer {
    let mut stream = UnixStream::connect(socket).unwrap();
    let limit = Some(Duration::from_secs(30));
    stream.set_read_timeout(limit).unwrap();
    stream.write_all(bytes.as_bytes()).unwrap();
    let mut read = String::new();
    stream.read_to_string(&mut read).unwrap();
    Answer(read)
}

/// Returns how often the application has acted, as it says itself.
fn transfers(session: &Session) -> u32 {
    let answer = ask(&session.path().join("app.sock"), &get("/transfers"));
    let (_, body) = answer.0.split_once("\r\n\r\n").unwrap();
    // The size of a chunk, if there is one, comes first.
    let mut lines = body.lines();
    let first = lines.next().unwrap();
    lines.next().unwrap_or(first).trim().parse().unwrap()
}

fn acts_once(name: &str) {
    let session = Session::new();
    let Some(_app) = application(&session, name) else {
        return;
    };
    let _proxied = proxy(&session);
    let signed = Signed::new(&session, "POST", "/transfer", ORDER);
    let raw = signed.with("x-forwarded-for: 192.0.2.1\r\n");
    let socket = session.path().join("proxy.sock");
    let mut statuses: Vec<u16> = thread::scope(|scope| {
        let sending: Vec<_> = (0..8)
            .map(|_| scope.spawn(|| ask(&socket, &raw).status()))
            .collect();
        sending.into_iter().map(|one| one.join().unwrap()).collect()
    });
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 409, 409, 409, 409, 409, 409, 409], "{name}");
    assert_eq!(transfers(&session), 1, "{name}");
    let altered = signed.raw().replace("10}", "99}");
    assert_eq!(ask(&socket, &altered).status(), 401, "{name}");
    assert_eq!(transfers(&session), 1, "{name}");
}

/// A request that goes around the proxy is not verified.
#[test]
fn in_every_sample_the_server_is_reached_by_this_machine_alone() {
    let mut tested = 0;
    for text in [
        include_str!("../../samples/proxy.toml"),
        include_str!("../../proxy.md"),
        include_str!("../../../src/guide/proxy.md"),
    ] {
        let tables = text.split("\n[upstreams.").skip(1);
        for (name, table) in tables.filter_map(|rest| rest.split_once(']')) {
            let Some(rest) = table.strip_prefix("\naddress = \"") else {
                continue;
            };
            let address = rest.split('"').next().unwrap();
            // One that an application sends to is somebody else's.
            let is_receiver = text.contains(&format!("[[sign]]\nname = \"to-{name}\""));
            let is_local = address.starts_with("unix:") || address.starts_with("http://127.0.0.1:");
            assert!(is_local || is_receiver, "{address}");
            tested += usize::from(is_local);
        }
    }
    assert!(tested >= 3, "{tested}");
}

#[test]
fn django_behind_gunicorn_acts_once_behind_the_sample() {
    acts_once("django");
}

#[test]
fn fastapi_behind_uvicorn_acts_once_behind_the_sample() {
    acts_once("fastapi");
}

#[test]
fn express_acts_once_behind_the_sample() {
    acts_once("express");
}

/// nginx, unless it is not installed; `tests/run.sh` installs it.
fn nginx() -> Option<&'static str> {
    let program = "/usr/sbin/nginx";
    if Path::new(program).exists() {
        return Some(program);
    }
    let may_skip = env::var_os("COUNTERSIGN_NO_SKIP").is_none();
    assert!(may_skip, "nginx is not installed");
    eprintln!("skipped: nginx is not installed");
    None
}

#[test]
fn nginx_in_front_passes_requests_on_as_they_were_signed() {
    let session = Session::new();
    let (Some(nginx), Some(_app)) = (nginx(), application(&session, "fastapi")) else {
        return;
    };
    let mut proxied = proxy(&session);
    authority(&session, "ca");
    certify(&session, "ca", "api.example.com", "api.example.com");
    let port = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = port.local_addr().unwrap();
    drop(port);
    let server = sample(&session, "nginx.conf").replace("listen 443", &format!("listen {address}"));
    session.file("server.conf", server);
    // Only what the folder and the user of the test need is not of the sample.
    let user = match session.stdout("id -u").trim() {
        "0" => "user root;\n",
        _ => "",
    };
    let paths = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
    let paths = paths
        .map(|kind| format!("{kind}_temp_path tmp-{kind};\n"))
        .concat();
    session.file(
        "nginx.conf",
        format!(
            "{user}daemon off;\npid nginx.pid;\nerror_log stderr;\nevents {{}}\n\
             http {{\naccess_log off;\n{paths}include server.conf;\n}}\n"
        ),
    );
    let mut command = Command::new(nginx);
    command
        .arg("-p")
        .arg(session.path())
        .args(["-c", "nginx.conf", "-e", "stderr"]);
    let _nginx = start(&mut command, || TcpStream::connect(address).is_ok());
    session.file("body", ORDER);
    let curl = session.stdout(
        "countersign sign http-message-signatures --key-id partner-1 --secret-file secret --curl \
         -H 'content-type: application/json' --data-file body POST \
         'https://api.example.com/transfer?a=%2F//b'",
    );
    let options = format!(
        "curl -sS --interface 127.0.0.2 --cacert ca.pem --connect-to ::{address} \
         -H 'x-forwarded-for: 203.0.113.1' -o /dev/null -w '%{{http_code}}' "
    );
    let curl = curl.trim_end().replacen("curl ", &options, 1);
    for status in [200, 409] {
        assert_eq!(session.stdout(&curl), status.to_string());
        let logged = proxied.listening.object()["request"].clone();
        assert_eq!(logged["status"], status);
        // As nginx says, and not as the client does.
        assert_eq!(logged["client"], "127.0.0.2");
    }
    assert_eq!(transfers(&session), 1);
}
