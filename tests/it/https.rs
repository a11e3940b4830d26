//! A small HTTPS client of the tests' own: it can say what a proper client would not, and hears every header.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::ServerName;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::Value;

/// An answer, whatever its status.
#[derive(Debug, Clone)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) bytes: Vec<u8>,
}

impl Reply {
    /// The body as JSON; null where there is none.
    pub(crate) fn json(&self) -> Value {
        if self.bytes.is_empty() {
            return Value::Null;
        }
        serde_json::from_slice(&self.bytes).unwrap_or_else(|_| panic!("not JSON: {}", self.text()))
    }

    /// The body as text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }

    /// A header.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// A text in the body.
    pub(crate) fn member(&self, name: &str) -> String {
        self.json()[name].as_str().unwrap_or_else(|| panic!("no {name} in {}", self.text())).to_owned()
    }

    /// The code of a problem; empty when it is none.
    pub(crate) fn code(&self) -> String {
        if self.header("content-type") != Some("application/problem+json") {
            return String::new();
        }
        self.member("type").strip_prefix("urn:oubliette:problem:").expect("a problem of ours").to_owned()
    }

    /// The same answer, which must have this status.
    #[track_caller]
    pub(crate) fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}", self.text());
        self
    }

    /// The same answer, which must be this problem.
    #[track_caller]
    pub(crate) fn refused(self, status: u16, code: &str) -> Self {
        assert_eq!((self.status, self.code().as_str()), (status, code), "{}", self.text());
        self
    }

    /// The body of a problem without the one member that differs each time.
    pub(crate) fn without_decision(&self) -> Value {
        let mut body = self.json();
        body.as_object_mut().expect("an object").remove("instance");
        body
    }

    /// Everything that came, for looking for what must not be in it.
    pub(crate) fn everything(&self) -> Vec<u8> {
        let mut all = self.bytes.clone();
        for (name, value) in &self.headers {
            all.extend_from_slice(format!("\n{name}: {value}").as_bytes());
        }
        all
    }
}

/// What the vault's certificate authority vouches for, over TLS as the versions say.
pub(crate) fn trusting(ca_pem: &std::path::Path, versions: &[&'static rustls::SupportedProtocolVersion]) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(ca_pem).unwrap()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    Arc::new(config)
}

/// One TLS connection that stays open between requests.
pub(crate) struct Connection {
    stream: StreamOwned<ClientConnection, TcpStream>,
    left: Vec<u8>,
}

impl Connection {
    pub(crate) fn open(address: SocketAddr, config: &Arc<ClientConfig>) -> Self {
        Self::try_open(address, config).expect("somebody who listens")
    }

    /// `None` when nobody listens.
    pub(crate) fn try_open(address: SocketAddr, config: &Arc<ClientConfig>) -> Option<Self> {
        let name = ServerName::try_from("localhost").unwrap();
        let socket = TcpStream::connect(address).ok()?;
        socket.set_nodelay(true).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(90))).unwrap();
        let connection = ClientConnection::new(config.clone(), name).unwrap();
        Some(Self { stream: StreamOwned::new(connection, socket), left: Vec::new() })
    }

    /// Sends these bytes as they are.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.stream.write_all(bytes)?;
        self.stream.flush()
    }

    /// Says that no more will come, without waiting for an answer.
    pub(crate) fn finish_writing(&mut self) {
        self.stream.conn.send_close_notify();
        let _ = self.stream.flush();
        let _ = self.stream.sock.shutdown(std::net::Shutdown::Write);
    }

    /// The next answer; `None` when the connection ends instead.
    pub(crate) fn read(&mut self) -> Option<Reply> {
        let head = loop {
            if let Some(end) = self.left.windows(4).position(|four| four == b"\r\n\r\n") {
                let head = String::from_utf8(self.left[..end].to_vec()).unwrap();
                self.left.drain(..end + 4);
                break head;
            }
            self.more()?;
        };
        let mut lines = head.split("\r\n");
        let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
        let headers: Vec<(String, String)> = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            .collect();
        if headers.iter().any(|(name, value)| name == "transfer-encoding" && value == "chunked") {
            let bytes = self.chunks()?;
            return Some(Reply { status, headers, bytes });
        }
        let length = headers.iter().find(|(name, _)| name == "content-length").map_or(0, |(_, value)| value.parse().unwrap());
        while self.left.len() < length {
            self.more()?;
        }
        let bytes = self.left.drain(..length).collect();
        Some(Reply { status, headers, bytes })
    }

    /// Whatever comes next; `None` when the connection ends.
    pub(crate) fn some(&mut self) -> Option<Vec<u8>> {
        if self.left.is_empty() {
            self.more()?;
        }
        Some(std::mem::take(&mut self.left))
    }

    /// A body that comes in pieces, up to the empty one.
    fn chunks(&mut self) -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        loop {
            let end = loop {
                match self.left.windows(2).position(|two| two == b"\r\n") {
                    Some(end) => break end,
                    None => self.more()?,
                }
            };
            let length = usize::from_str_radix(std::str::from_utf8(&self.left[..end]).ok()?, 16).ok()?;
            self.left.drain(..end + 2);
            while self.left.len() < length + 2 {
                self.more()?;
            }
            bytes.extend(self.left.drain(..length));
            self.left.drain(..2);
            if length == 0 {
                return Some(bytes);
            }
        }
    }

    /// One request and its answer.
    pub(crate) fn exchange(&mut self, request: &[u8]) -> Option<Reply> {
        // A refusal may come before all was sent: a failed write is no reason not to listen.
        let _ = self.write(request);
        self.read()
    }

    fn more(&mut self) -> Option<()> {
        let mut buffer = [0; 16 << 10];
        match self.stream.read(&mut buffer) {
            Ok(count) if count > 0 => self.left.extend_from_slice(&buffer[..count]),
            _ => return None,
        }
        Some(())
    }
}
