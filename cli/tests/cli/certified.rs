//! Certificates that are made for a test, and clients and servers that use them.

use std::{
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    sync::{
        Arc,
        mpsc::{Receiver, channel},
    },
    thread,
    time::Duration,
};

use tokio_rustls::rustls::{
    ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection, StreamOwned,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _},
};

use crate::session::Session;

const NEW_KEY: &str =
    "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2";

/// Makes `NAME.pem` and `NAME.key`, an authority.
pub(crate) fn authority(session: &Session, name: &str) {
    session.stdout(&format!(
        "{NEW_KEY} -keyout {name}.key -out {name}.pem -subj '/CN={name}' 2>&1"
    ));
}

/// Makes `FILE.pem` and `FILE.key` for a host, signed by an authority.
pub(crate) fn certify(session: &Session, authority: &str, file: &str, host: &str) {
    session.stdout(&format!(
        "{NEW_KEY} -CA {authority}.pem -CAkey {authority}.key -keyout {file}.key -out {file}.pem \
         -subj '/CN={file}' -addext 'subjectAltName=DNS:{host},IP:127.0.0.1' \
         -addext 'basicConstraints=critical,CA:FALSE' 2>&1"
    ));
}

/// Makes `FILE.pem` and `FILE.key`, whose time is over.
pub(crate) fn expired(session: &Session, file: &str) {
    session.file(
        "ca.cnf",
        "[ca]\ndefault_ca = d\n[d]\ndatabase = index.txt\nrand_serial = yes\nnew_certs_dir = .\n\
         default_md = sha256\npolicy = p\nx509_extensions = e\n\
         [e]\nbasicConstraints = critical,CA:FALSE\n[p]\ncommonName = supplied\n",
    );
    session.file("index.txt", "");
    session.stdout(&format!(
        "openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes \
         -keyout {file}.key -out {file}.csr -subj '/CN={file}' 2>&1 && \
         openssl ca -config ca.cnf -selfsign -keyfile {file}.key -in {file}.csr -out {file}.pem \
         -startdate 200101000000Z -enddate 200102000000Z -batch -notext 2>&1"
    ));
}

/// A connection of a client that trusts an authority, and offers these versions of HTTP.
pub(crate) type Client = StreamOwned<ClientConnection, TcpStream>;

pub(crate) fn connect(session: &Session, authority: &str, host: &str, address: &str) -> Client {
    let mut client = begin(session, authority, host, address);
    while client.conn.is_handshaking() {
        client.conn.complete_io(&mut client.sock).unwrap();
    }
    client
}

/// A connection of which the handshake has not begun.
pub(crate) fn begin(session: &Session, authority: &str, host: &str, address: &str) -> Client {
    let mut roots = RootCertStore::empty();
    let file = session.path().join(format!("{authority}.pem"));
    roots
        .add(CertificateDer::from_pem_file(file).unwrap())
        .unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from(host.to_owned()).unwrap();
    let connection = ClientConnection::new(Arc::new(config), name).unwrap();
    let stream = TcpStream::connect(address).unwrap();
    let limit = Some(Duration::from_secs(30));
    stream.set_read_timeout(limit).unwrap();
    StreamOwned::new(connection, stream)
}

/// Answers every request on a connection of its own; its address, and the beginning of each request.
pub(crate) fn serve(
    session: &Session,
    file: &str,
    answer: &'static str,
) -> (String, Receiver<String>) {
    let (sender, requests) = channel();
    let path = |kind: &str| session.path().join(format!("{file}.{kind}"));
    let certificate = CertificateDer::from_pem_file(path("pem")).unwrap();
    let key = PrivateKeyDer::from_pem_file(path("key")).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let connection = ServerConnection::new(Arc::clone(&config)).unwrap();
            let mut stream = StreamOwned::new(connection, stream);
            let mut read = [0; 8192];
            // A client that trusts another authority breaks off.
            if let Ok(n @ 1..) = stream.read(&mut read) {
                let _ = sender.send(String::from_utf8_lossy(&read[..n]).into_owned());
                let _ = stream.write_all(answer.as_bytes());
                stream.conn.send_close_notify();
                let _ = stream.flush();
            }
        }
    });
    (address, requests)
}
