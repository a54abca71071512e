//! Proxies in front of one server: ours, nginx as it is, and nginx with a script that verifies. Each
//! is a process of its own, on one processor.

use std::{
    convert::Infallible,
    fs,
    io::{BufRead as _, BufReader},
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use rustix::process::{Pid, Signal, kill_process};
use tokio::net::UnixListener;

use crate::{
    requests::{KEY, ORIGIN, SECRET},
    served::on_processor,
};

const NGINX: &str = "/usr/sbin/nginx";
const NGINX_MODULES: &str = "/usr/lib/nginx/modules";
const COUNTERSIGN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/release/countersign");
const SCRIPT: &str = include_str!("proxied/verify.lua");

/// How long a proxy may take to start.
const START: Duration = Duration::from_secs(10);

/// A proxy that is measured.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Proxied {
    /// It verifies nothing.
    Nginx,
    NginxWithLua,
    /// With this store.
    Ours(&'static str),
}

impl Proxied {
    pub fn name(self) -> &'static str {
        match self {
            Self::Nginx => "nginx",
            Self::NginxWithLua => "nginx with Lua",
            Self::Ours("memory") => "ours in memory",
            Self::Ours(_) => "ours in a file",
        }
    }

    /// Why it cannot be measured on this machine.
    pub fn missing(self) -> Option<String> {
        let needs = match self {
            Self::Nginx => NGINX.to_owned(),
            Self::NginxWithLua => format!("{NGINX_MODULES}/ngx_http_lua_module.so"),
            Self::Ours(_) => COUNTERSIGN.to_owned(),
        };
        let is_there = Path::new(&needs).exists();
        (!is_there).then(|| format!("there is no {needs}"))
    }
}

/// A server on a Unix socket, in this process: it takes bodies of one length, and answers with the length.
pub fn upstream(folder: &Path, len: usize) -> PathBuf {
    let path = folder.join("app.sock");
    let at = path.clone();
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        runtime.block_on(serve(&at, len));
    });
    let started = Instant::now();
    while !path.exists() {
        assert!(started.elapsed() < START, "the server did not start");
        thread::yield_now();
    }
    path
}

async fn serve(path: &Path, len: usize) {
    let listener = UnixListener::bind(path).expect("a socket");
    loop {
        let (stream, _) = listener.accept().await.expect("a connection");
        let service = service_fn(move |request| answer(request, len));
        let serving = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
        tokio::spawn(async move { drop(serving.await) });
    }
}

async fn answer(
    request: Request<Incoming>,
    len: usize,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let body = request.into_body().collect().await;
    let is_whole = body.is_ok_and(|body| body.to_bytes().len() == len);
    let mut answer = Response::new(Full::from(len.to_string()));
    if !is_whole {
        *answer.status_mut() = http::StatusCode::BAD_REQUEST;
    }
    Ok(answer)
}

/// A process that forwards to the server.
pub struct Proxy {
    child: Child,
    pub address: SocketAddr,
}

impl Proxy {
    /// Starts a proxy on the second processor, in a folder of its own. It takes this many
    /// connections.
    pub fn start(proxied: Proxied, folder: &Path, upstream: &Path, connections: usize) -> Self {
        fs::create_dir_all(folder).expect("a folder");
        // Each thread and process that this thread starts runs on the same processor.
        on_processor(1);
        let proxy = match proxied {
            Proxied::Nginx => Self::nginx(folder, upstream, connections, false),
            Proxied::NginxWithLua => Self::nginx(folder, upstream, connections, true),
            Proxied::Ours(store) => Self::ours(folder, upstream, connections, store),
        };
        on_processor(0);
        proxy
    }

    fn nginx(folder: &Path, upstream: &Path, connections: usize, verifies: bool) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = port.local_addr().expect("an address");
        drop(port);
        let (modules, packages, access) = match verifies {
            true => (
                format!(
                    "load_module {NGINX_MODULES}/ndk_http_module.so;\n\
                     load_module {NGINX_MODULES}/ngx_http_lua_module.so;\n"
                ),
                format!(
                    "lua_package_path '{}/?.lua;/usr/share/lua/5.1/?.lua;;';\n\
                     init_by_lua_block {{ verify = require 'verify' }}\n",
                    folder.display()
                ),
                "access_by_lua_block { verify() }\n",
            ),
            false => Default::default(),
        };
        fs::write(folder.join("verify.lua"), SCRIPT).expect("a file");
        let paths = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
        let paths = paths.map(|kind| format!("{kind}_temp_path tmp-{kind};\n"));
        // nginx has one process, as the proxy has one thread that serves.
        let config = format!(
            "{modules}daemon off;\nmaster_process off;\nworker_processes 1;\npid nginx.pid;\n\
             events {{ worker_connections {files}; }}\n\
             http {{\naccess_log off;\nkeepalive_requests 100000000;\n{paths}{packages}\
             upstream app {{ server unix:{upstream}; keepalive 256; keepalive_requests 100000000; }}\n\
             server {{\nlisten {address} backlog=4096;\nlocation / {{\n{access}\
             proxy_pass http://app;\nproxy_http_version 1.1;\nproxy_set_header Connection '';\n\
             proxy_set_header Host $http_host;\n}}\n}}\n}}\n",
            files = 3 * connections,
            paths = paths.concat(),
            upstream = upstream.display(),
        );
        fs::write(folder.join("nginx.conf"), config).expect("a file");
        let mut command = Command::new(NGINX);
        command.arg("-p").arg(folder);
        command.args(["-c", "nginx.conf", "-e", "stderr"]);
        let child = command.spawn().expect("nginx");
        let started = Instant::now();
        while TcpStream::connect(address).is_err() {
            assert!(started.elapsed() < START, "nginx did not start");
            thread::sleep(Duration::from_millis(10));
        }
        Self { child, address }
    }

    fn ours(folder: &Path, upstream: &Path, connections: usize, store: &str) -> Self {
        fs::write(folder.join("secret"), SECRET).expect("a file");
        let config = format!(
            "listen = ['127.0.0.1:0']\naccess-log = false\nstore = '{store}'\n\
             [limits]\nconnections = {connections}\nper-client = {connections}\n\
             [upstreams.app]\naddress = 'unix:{upstream}'\n\
             [[routes]]\nname = 'all'\nupstream = 'app'\npath = '/'\n\
             scheme = 'http-message-signatures'\npublic-origin = '{ORIGIN}'\n\
             keys = [{{ id = '{KEY}', file = 'secret' }}]\n",
            upstream = upstream.display(),
        );
        fs::write(folder.join("proxy.toml"), config).expect("a file");
        let mut command = Command::new(COUNTERSIGN);
        command.current_dir(folder);
        command.args(["proxy", "--config", "proxy.toml"]);
        let child = command.stdout(Stdio::piped()).spawn();
        let mut child = child.expect("our proxy");
        let mut line = String::new();
        let output = child.stdout.take().expect("a pipe");
        let read = BufReader::new(output).read_line(&mut line);
        read.expect("a line");
        let address = line.trim_end().rsplit_once("http://");
        let address = address.and_then(|(_, address)| address.parse().ok());
        let address = address.unwrap_or_else(|| panic!("no address in `{line}`"));
        Self { child, address }
    }

    /// The processor time that it has used, of user and system together.
    pub fn cpu_time(&self) -> Duration {
        let stat = self.read("stat");
        let (_, fields) = stat.rsplit_once(") ").expect("a name");
        let ticks = fields.split(' ').skip(11).take(2);
        let ticks: u64 = ticks
            .map(|ticks| ticks.parse::<u64>().expect("ticks"))
            .sum();
        Duration::from_secs(ticks)
            / u32::try_from(rustix::param::clock_ticks_per_second()).expect("few")
    }

    /// The most memory that it has had, in bytes.
    pub fn peak_memory(&self) -> u64 {
        let status = self.read("status");
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let number = line.and_then(|line| line.trim().strip_suffix(" kB"));
        let kibibytes: u64 = number.and_then(|number| number.parse().ok()).expect("KiB");
        kibibytes * 1024
    }

    fn read(&self, file: &str) -> String {
        let path = format!("/proc/{}/{file}", self.child.id());
        fs::read_to_string(path).expect("a process that lives")
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = kill_process(Pid::from_child(&self.child), Signal::TERM);
        let _ = self.child.wait();
    }
}
