//! Partners as the vault meets them: an HTTPS server on loopback that keeps what is posted to it, and can be away.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// Something that was posted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Posted {
    /// The partner that it was for, as the path has it.
    pub(crate) partner: String,
    pub(crate) media: String,
    pub(crate) accept: String,
    pub(crate) body: String,
}

struct Shared {
    stop: AtomicBool,
    /// Answered to everything; 0 hangs up instead.
    status: AtomicU16,
    /// Keeps what comes and hangs up without an answer.
    silent: AtomicBool,
    inbox: Mutex<Vec<Posted>>,
}

/// The server. Each partner has a path of its own.
pub(crate) struct StandIn {
    address: SocketAddr,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl StandIn {
    /// Starts, and writes what vouches for it where a house looks for it.
    pub(crate) fn start(home: &Path) -> Self {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".into()]).unwrap();
        std::fs::write(home.join("partners.pem"), made.cert.pem()).unwrap();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
        let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .unwrap();
        let (listener, config) = (TcpListener::bind("127.0.0.1:0").unwrap(), Arc::new(config));
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            stop: AtomicBool::new(false),
            status: AtomicU16::new(202),
            silent: AtomicBool::new(false),
            inbox: Mutex::default(),
        });
        let own = shared.clone();
        let thread = std::thread::spawn(move || {
            for socket in listener.incoming() {
                if own.stop.load(Ordering::SeqCst) {
                    return;
                }
                if let Ok(socket) = socket {
                    let _ = serve(&own, &config, socket);
                }
            }
        });
        Self { address, shared, thread: Some(thread) }
    }

    /// Where a partner is called.
    pub(crate) fn url(&self, partner: &str) -> String {
        format!("https://localhost:{}/{partner}", self.address.port())
    }

    /// Answers everything with this status from now on; 0 hangs up at once.
    pub(crate) fn answer(&self, status: u16) {
        self.shared.status.store(status, Ordering::SeqCst);
    }

    /// From now on keeps what comes and says nothing, or answers again.
    pub(crate) fn be_silent(&self, silent: bool) {
        self.shared.silent.store(silent, Ordering::SeqCst);
    }

    /// Everything that was posted so far.
    pub(crate) fn inbox(&self) -> Vec<Posted> {
        self.shared.inbox.lock().unwrap().clone()
    }

    /// What was posted to one partner.
    pub(crate) fn of(&self, partner: &str) -> Vec<Posted> {
        self.inbox().into_iter().filter(|posted| posted.partner == partner).collect()
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn serve(shared: &Shared, config: &Arc<ServerConfig>, socket: TcpStream) -> std::io::Result<()> {
    let status = shared.status.load(Ordering::SeqCst);
    if status == 0 {
        return Ok(());
    }
    socket.set_read_timeout(Some(Duration::from_secs(10)))?;
    let connection = ServerConnection::new(config.clone()).map_err(std::io::Error::other)?;
    let mut stream = StreamOwned::new(connection, socket);
    let (mut bytes, mut buffer) = (Vec::new(), [0; 4096]);
    let (head, mut body) = loop {
        let count = stream.read(&mut buffer)?;
        if count == 0 {
            return Ok(());
        }
        bytes.extend_from_slice(&buffer[..count]);
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break (String::from_utf8_lossy(&bytes[..end]).into_owned(), bytes[end + 4..].to_vec());
        }
    };
    let header = |name: &str| {
        let own = head.lines().filter_map(|line| line.split_once(':')).find(|(known, _)| known.eq_ignore_ascii_case(name));
        own.map_or(String::new(), |(_, value)| value.trim().to_owned())
    };
    let length: usize = header("content-length").parse().unwrap_or_default();
    while body.len() < length {
        let count = stream.read(&mut buffer)?;
        if count == 0 {
            return Ok(());
        }
        body.extend_from_slice(&buffer[..count]);
    }
    let path = head.split(' ').nth(1).unwrap_or_default();
    if head.starts_with("POST ") && status < 500 {
        shared.inbox.lock().unwrap().push(Posted {
            partner: path.trim_start_matches('/').to_owned(),
            media: header("content-type"),
            accept: header("accept"),
            body: String::from_utf8_lossy(&body).into_owned(),
        });
    }
    if shared.silent.load(Ordering::SeqCst) {
        return Ok(());
    }
    write!(stream, "HTTP/1.1 {status} x\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")?;
    stream.conn.send_close_notify();
    stream.flush()
}
