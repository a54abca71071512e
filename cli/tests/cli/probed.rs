//! Servers to probe: in Python, Node and Rust, each with faults and their mended twins as routes.

use std::{
    env,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use crate::session::{SECRET, Session};

/// A server of another language, which ends with this value.
pub(crate) struct Probed {
    child: Child,
    pub(crate) address: SocketAddr,
}

impl Probed {
    /// Starts a script of `tests/peers/probed`, unless its language is not installed.
    pub(crate) fn start(session: &Session, script: &str) -> Option<Self> {
        let (program, node_path) = match script.ends_with(".py") {
            true => (variable("COUNTERSIGN_PEERS_PYTHON")?, String::new()),
            false => ("node".to_owned(), variable("COUNTERSIGN_PEERS_NODE_PATH")?),
        };
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/peers/probed");
        let mut child = Command::new(program)
            .arg(folder.join(script))
            .env("PROBED_SECRET", SECRET)
            .env("PROBED_EFFECTS", session.path().join("effects"))
            .env("COUNTERSIGN_PEERS_NODE_PATH", node_path)
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut port = String::new();
        let output = child.stdout.take().unwrap();
        BufReader::new(output).read_line(&mut port).unwrap();
        let port: u16 = port.trim().parse().unwrap();
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        Some(Self { child, address })
    }
}

impl Drop for Probed {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A variable that `tests/run.sh` sets.
pub(crate) fn variable(name: &str) -> Option<String> {
    match env::var(name) {
        Ok(value) => Some(value),
        Err(_) => {
            let may_skip = env::var_os("COUNTERSIGN_NO_SKIP").is_none();
            assert!(may_skip, "{name} is not set");
            eprintln!("skipped: {name} is not set");
            None
        }
    }
}

/// Hands connections to workers in turn, as a load balancer does.
pub(crate) fn balanced(workers: Vec<SocketAddr>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let turn = AtomicUsize::new(0);
    thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let worker = workers[turn.fetch_add(1, Ordering::Relaxed) % workers.len()];
            thread::spawn(move || {
                let server = TcpStream::connect(worker).unwrap();
                let (from, to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
                thread::spawn(move || forward(from, to));
                forward(server, client);
            });
        }
    });
    address
}

fn forward(mut from: TcpStream, mut to: TcpStream) {
    let mut buffer = [0; 16 * 1024];
    while let Ok(read) = from.read(&mut buffer) {
        if read == 0 || to.write_all(&buffer[..read]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(std::net::Shutdown::Write);
}
