//! The connection from client to server, on which bytes can be changed.

use std::{io, net::SocketAddr};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional},
    net::{TcpListener, TcpStream},
};

/// The text that is overwritten on the way, where it occurs first.
pub type Change = (String, String);

/// Passes one request on, changed.
pub struct Wire(TcpListener);

impl Wire {
    pub async fn new() -> Self {
        Self(TcpListener::bind("127.0.0.1:0").await.expect("a free port"))
    }

    /// Returns where a client connects to.
    pub fn addr(&self) -> SocketAddr {
        self.0.local_addr().expect("an address")
    }

    /// Serves, until the test ends.
    pub fn to(self, server: SocketAddr, change: Option<Change>) {
        tokio::spawn(async move {
            let (mut request, client) = self.receive().await?;
            if let Some((from, to)) = change {
                let place = find(&request, from.as_bytes());
                let place = place.unwrap_or_else(|| panic!("`{from}` is not on the wire"));
                let changed = to.as_bytes();
                request[place..place + changed.len()].copy_from_slice(changed);
            }
            pass(&request, client, server).await
        });
    }

    /// Takes a request, whole, from a client that waits for the answer.
    pub async fn receive(&self) -> io::Result<(Vec<u8>, TcpStream)> {
        let (mut client, _) = self.0.accept().await?;
        Ok((read(&mut client).await?, client))
    }
}

/// Passes a request on, and the answer back to its client.
pub async fn pass(request: &[u8], mut client: TcpStream, server: SocketAddr) -> io::Result<()> {
    let mut server = TcpStream::connect(server).await?;
    server.write_all(request).await?;
    copy_bidirectional(&mut client, &mut server).await?;
    Ok(())
}

/// A request, whole.
async fn read(client: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut request = Vec::new();
    loop {
        let missing = match find(&request, b"\r\n\r\n") {
            Some(end) => {
                let head = String::from_utf8_lossy(&request[..end]).to_ascii_lowercase();
                let length = head
                    .lines()
                    .find_map(|line| line.strip_prefix("content-length:"));
                let length = length.map_or(0, |length| length.trim().parse().expect("a length"));
                (end + 4 + length) - request.len()
            }
            None => 1,
        };
        if missing == 0 || client.read_buf(&mut request).await? == 0 {
            return Ok(request);
        }
    }
}

fn find(text: &[u8], part: &[u8]) -> Option<usize> {
    text.windows(part.len()).position(|window| window == part)
}
