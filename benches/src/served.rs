//! A real server of each format: with the layer, with a handler that does the bare hashing alone,
//! and without either. Each runs in a process of its own, on one processor.

use std::{
    env,
    fmt::{self, Display},
    hint::black_box,
    io::{BufRead as _, BufReader, Write as _, stdin, stdout},
    net::SocketAddr,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    time::Duration,
};

use axum::{Router, routing::post, serve::ListenerExt as _};
use bytes::Bytes;
use countersign::{
    MemoryStore, VerifyLayer,
    request::VerifierBuilder,
    scheme::Scheme,
    webhooks::{GitHub, StandardWebhooks, Stripe},
};
use hmac::{Hmac, Mac as _};
use http::Request;
use rustix::thread::{CpuSet, sched_setaffinity};
use sha2::{Digest as _, Sha256};
use tokio::net::TcpListener;

use crate::{
    load::Written,
    memory::cpu_time_of_process,
    requests::{
        BareHashes, BareHmac, ORIGIN, WEBHOOK_SECRET, body, delivered, event_of, house, keys,
        rfc9421, signed,
    },
};

/// A format that requests are signed in.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Signed {
    GitHub,
    StandardWebhooks,
    House,
    Stripe,
    Rfc9421,
}

impl Signed {
    pub const ALL: [Self; 5] = [
        Self::GitHub,
        Self::StandardWebhooks,
        Self::House,
        Self::Stripe,
        Self::Rfc9421,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::GitHub => "GitHub",
            Self::StandardWebhooks => "Standard Webhooks",
            Self::House => "house format",
            Self::Stripe => "Stripe",
            Self::Rfc9421 => "RFC 9421",
        }
    }

    /// Makes requests with bodies of this length, each with a nonce or an event of its own.
    fn requests(self, len: usize) -> Box<dyn FnMut() -> Request<Bytes>> {
        let event = move |number| event_of(len, number);
        match self {
            Self::GitHub => Box::new(delivered(GitHub::new(), event)),
            Self::StandardWebhooks => Box::new(delivered(StandardWebhooks::new(), event)),
            Self::House => Box::new(signed(house(), body(len))),
            Self::Stripe => Box::new(delivered(Stripe::new(), event)),
            Self::Rfc9421 => Box::new(signed(rfc9421(), body(len))),
        }
    }

    fn layer(self) -> VerifyLayer {
        fn webhooks(scheme: impl Scheme) -> VerifierBuilder<VerifyLayer> {
            VerifyLayer::builder(scheme).secret(WEBHOOK_SECRET)
        }
        fn partners(scheme: impl Scheme) -> VerifierBuilder<VerifyLayer> {
            let builder = VerifyLayer::builder(scheme);
            builder.public_origin(ORIGIN).keys(keys())
        }
        let builder = match self {
            Self::GitHub => webhooks(GitHub::new()),
            Self::StandardWebhooks => webhooks(StandardWebhooks::new()),
            Self::House => partners(house()),
            Self::Stripe => webhooks(Stripe::new()),
            Self::Rfc9421 => partners(rfc9421()),
        };
        let store = MemoryStore::new().danger_assume_no_history();
        let layer = builder.store(store).build();
        layer.expect("a configuration that is safe")
    }

    fn hashing(self) -> Hashing {
        let (before, mac_of_body, digest) = match self {
            Self::GitHub => (String::new(), true, true),
            Self::StandardWebhooks => (
                "msg_01234567890123456789.1795000000.".to_owned(),
                true,
                false,
            ),
            Self::House => {
                let request = self.requests(1024)();
                (
                    BareHmac::of_house(&request).before().to_owned(),
                    true,
                    false,
                )
            }
            Self::Stripe => ("1795000000.".to_owned(), true, false),
            Self::Rfc9421 => {
                let request = self.requests(1024)();
                (
                    BareHashes::of_rfc9421(&request).base().to_owned(),
                    false,
                    true,
                )
            }
        };
        Hashing {
            key: BareHmac::key(),
            before,
            mac_of_body,
            digest,
        }
    }
}

/// Prepares requests of one format, as they go over the wire.
pub struct Requests {
    make: Box<dyn FnMut() -> Request<Bytes>>,
    shared: Bytes,
}

impl Requests {
    pub fn new(signed: Signed, len: usize) -> Self {
        let mut make = signed.requests(len);
        let shared = make().into_body();
        Self { make, shared }
    }

    /// Signs this many now.
    pub fn take(&mut self, count: usize) -> Vec<Written> {
        let write = |_| Written::new(&(self.make)(), &self.shared);
        (0..count).map(write).collect()
    }
}

/// The hashing that a format needs for a request.
#[derive(Clone)]
struct Hashing {
    key: Hmac<Sha256>,
    before: String,
    mac_of_body: bool,
    digest: bool,
}

impl Hashing {
    fn hash(&self, body: &[u8]) {
        let mac = self.key.clone().chain_update(&self.before);
        let mac = if self.mac_of_body {
            mac.chain_update(body)
        } else {
            mac
        };
        black_box(mac.finalize());
        if self.digest {
            black_box(Sha256::digest(body));
        }
    }
}

/// The server that is measured: its handler takes the body in, and answers with its length.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Served {
    WithoutLayer,
    /// The handler hashes as the format needs it.
    Hashing(Signed),
    Layer(Signed),
}

impl Display for Served {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::WithoutLayer => "without the layer",
            Self::Hashing(_) => "bare hashing",
            Self::Layer(_) => "with the layer",
        })
    }
}

impl Served {
    fn router(self) -> Router {
        match self {
            Self::WithoutLayer => answering(|_| {}),
            Self::Hashing(signed) => {
                let hashing = signed.hashing();
                answering(move |body| hashing.hash(body))
            }
            Self::Layer(signed) => answering(|_| {}).layer(signed.layer()),
        }
    }

    fn to_argument(self) -> String {
        let place = |signed| Signed::ALL.iter().position(|other| *other == signed);
        let (what, signed) = match self {
            Self::WithoutLayer => ("without", Signed::House),
            Self::Hashing(signed) => ("hashing", signed),
            Self::Layer(signed) => ("layer", signed),
        };
        format!("{what}-{}", place(signed).expect("one of all"))
    }

    fn from_argument(argument: &str) -> Option<Self> {
        let (what, place) = argument.split_once('-')?;
        let signed = *Signed::ALL.get(place.parse::<usize>().ok()?)?;
        Some(match what {
            "without" => Self::WithoutLayer,
            "hashing" => Self::Hashing(signed),
            "layer" => Self::Layer(signed),
            _ => return None,
        })
    }

    /// Serves, if this process was started for it, until its standard input ends: each line there is
    /// answered with the processor time so far, in nanoseconds.
    pub fn serve_if_asked() {
        let mut arguments = env::args().skip(1);
        if arguments.next().as_deref() != Some("serve") {
            return;
        }
        let served = arguments.next();
        let served = served.and_then(|served| Self::from_argument(&served));
        let served = served.expect("a server to be");
        on_processor(1);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let listening = runtime.block_on(TcpListener::bind("127.0.0.1:0"));
        let listening = listening.expect("a port");
        println!("{}", listening.local_addr().expect("an address"));
        let listening = listening.tap_io(|stream| {
            let _ = stream.set_nodelay(true);
        });
        runtime.spawn(async move { axum::serve(listening, served.router()).await });
        for line in stdin().lines() {
            line.expect("a line");
            println!("{}", cpu_time_of_process().as_nanos());
            stdout().flush().expect("somebody who reads");
        }
        std::process::exit(0);
    }
}

fn answering(work: impl Fn(&[u8]) + Clone + Send + Sync + 'static) -> Router {
    let answer = async move |body: Bytes| {
        work(&body);
        body.len().to_string()
    };
    Router::new().route("/transfer", post(answer))
}

/// Keeps this process on one processor.
///
/// # Panics
/// Panics on a machine that has fewer.
pub fn on_processor(place: usize) {
    let mut processors = CpuSet::new();
    processors.set(place);
    sched_setaffinity(None, &processors).expect("a processor of its own");
}

/// A process that serves.
pub struct Server {
    child: Child,
    ask: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    pub address: SocketAddr,
}

impl Server {
    /// Starts this same program once more.
    pub fn start(served: Served) -> Self {
        let program = env::current_exe().expect("a path");
        let child = Command::new(program)
            .args(["serve", &served.to_argument()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn();
        let mut child = child.expect("a process");
        let ask = child.stdin.take();
        let mut answers = BufReader::new(child.stdout.take().expect("a pipe"));
        let address = line(&mut answers).parse().expect("an address");
        Self {
            child,
            ask,
            answers,
            address,
        }
    }

    /// The processor time that it has used, of user and system together.
    pub fn cpu_time(&mut self) -> Duration {
        let ask = self.ask.as_mut().expect("open until it is dropped");
        ask.write_all(b"\n").expect("a server that lives");
        Duration::from_nanos(line(&mut self.answers).parse().expect("nanoseconds"))
    }
}

fn line(answers: &mut BufReader<ChildStdout>) -> String {
    let mut line = String::new();
    answers.read_line(&mut line).expect("an answer");
    line.trim_end().to_owned()
}

impl Drop for Server {
    fn drop(&mut self) {
        self.ask = None;
        let _ = self.child.wait();
    }
}
