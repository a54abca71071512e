//! A server of HTTP/2 that counts its connections, and answers once it is told to. It reads no bodies.

use std::sync::{
    Arc, Mutex,
    mpsc::{Receiver, channel},
};

use tokio::{
    net::{TcpListener, TcpStream},
    runtime::Runtime,
    sync::Semaphore,
    task::AbortHandle,
};

/// Answers each request with 200, and without a body, once it is released.
pub(crate) struct Http2Upstream {
    pub(crate) url: String,
    came: Receiver<usize>,
    released: Arc<Semaphore>,
    connections: Arc<Mutex<Vec<AbortHandle>>>,
    _runtime: Runtime,
}

impl Http2Upstream {
    /// Takes this many requests of a connection at one time.
    pub(crate) fn start(streams: u32) -> Self {
        let runtime = Runtime::new().unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (come, came) = channel();
        let released = Arc::new(Semaphore::new(0));
        let connections = Arc::<Mutex<Vec<AbortHandle>>>::default();
        let (release, known) = (Arc::clone(&released), Arc::clone(&connections));
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let number = known.lock().unwrap().len();
                let (come, release) = (come.clone(), Arc::clone(&release));
                let said = move || come.send(number).unwrap();
                let serving = tokio::spawn(serve(stream, streams, said, release));
                known.lock().unwrap().push(serving.abort_handle());
            }
        });
        Self {
            url,
            came,
            released,
            connections,
            _runtime: runtime,
        }
    }

    /// Waits for a request. Returns the number of its connection: the first has 0.
    pub(crate) fn wait(&self) -> usize {
        self.came.recv().unwrap()
    }

    /// Has this many requests answered, now or when they come.
    pub(crate) fn release(&self, count: usize) {
        self.released.add_permits(count);
    }

    /// Returns how many connections there were.
    pub(crate) fn connections(&self) -> usize {
        self.connections.lock().unwrap().len()
    }

    /// Breaks a connection off.
    pub(crate) fn break_off(&self, number: usize) {
        self.connections.lock().unwrap()[number].abort();
    }
}

async fn serve(
    stream: TcpStream,
    streams: u32,
    came: impl Fn() + Send + 'static,
    released: Arc<Semaphore>,
) {
    let mut builder = h2::server::Builder::new();
    let builder = builder.max_concurrent_streams(streams);
    let Ok(mut connection) = builder.handshake::<_, bytes::Bytes>(stream).await else {
        return;
    };
    // If a request was dropped, the library would tell the client that nobody reads it.
    let mut unread = Vec::new();
    while let Some(Ok((request, mut respond))) = connection.accept().await {
        came();
        unread.push(request);
        let released = Arc::clone(&released);
        tokio::spawn(async move {
            released.acquire().await.unwrap().forget();
            // Its connection may be gone.
            let _ = respond.send_response(http::Response::new(()), true);
        });
    }
}
