//! A cheap HTTP/1.1 client over TLS 1.3: requests are bytes made beforehand, answers are read no further than needed.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::Failure;

/// Where a server listens and how it is recognised.
#[derive(Clone)]
pub(crate) struct Target {
    address: SocketAddr,
    tls: TlsConnector,
}

impl Target {
    /// The server at `address`, whose certificate is in, or signed by, the PEM file `ca`.
    pub(crate) fn new(address: SocketAddr, ca: &Path) -> Result<Self, Failure> {
        let mut roots = rustls::RootCertStore::empty();
        for certificate in CertificateDer::pem_file_iter(ca).map_err(|e| format!("{}: {e}", ca.display()))? {
            roots.add(certificate?)?;
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = rustls::ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self { address, tls: TlsConnector::from(Arc::new(config)) })
    }

    pub(crate) async fn connect(&self) -> Result<Connection, Failure> {
        let stream = TcpStream::connect(self.address).await?;
        stream.set_nodelay(true)?;
        let stream = self.tls.connect(ServerName::IpAddress(self.address.ip().into()), stream).await?;
        Ok(Connection { stream, buffer: Vec::with_capacity(16 << 10) })
    }
}

/// The bytes of a request with a JSON body (none when it is empty).
pub(crate) fn request(method: &str, path: &str, token: &str, purpose: &str, body: &str) -> Vec<u8> {
    let mut head = format!("{method} {path} HTTP/1.1\r\nhost: 127.0.0.1\r\n");
    if !token.is_empty() {
        head += &format!("authorization: Bearer {token}\r\n");
    }
    if !purpose.is_empty() {
        head += &format!("vault-purpose: {purpose}\r\n");
    }
    if method != "GET" {
        head += &format!("content-type: application/json\r\ncontent-length: {}\r\n", body.len());
    }
    (head + "\r\n" + body).into_bytes()
}

/// One kept-alive connection.
pub(crate) struct Connection {
    stream: TlsStream<TcpStream>,
    buffer: Vec<u8>,
}

impl Connection {
    /// Sends a request and reads its answer: the status and the body.
    pub(crate) async fn exchange(&mut self, request: &[u8]) -> Result<(u16, &[u8]), Failure> {
        self.stream.write_all(request).await?;
        self.stream.flush().await?;
        self.buffer.clear();
        let (head, status, length) = loop {
            self.more().await?;
            if let Some(end) = self.buffer.windows(4).position(|w| w == b"\r\n\r\n") {
                let (status, length) = parse_head(&self.buffer[..end])?;
                break (end + 4, status, length);
            }
        };
        while self.buffer.len() < head + length {
            self.more().await?;
        }
        Ok((status, &self.buffer[head..head + length]))
    }

    /// As `exchange`, and fails unless the status is one of 2xx; the body is JSON.
    pub(crate) async fn json(&mut self, request: &[u8]) -> Result<serde_json::Value, Failure> {
        let (status, body) = self.exchange(request).await?;
        if !(200..300).contains(&status) {
            return Err(format!("answered {status}: {}", String::from_utf8_lossy(body)).into());
        }
        Ok(if body.is_empty() { serde_json::Value::Null } else { serde_json::from_slice(body)? })
    }

    async fn more(&mut self) -> Result<(), Failure> {
        match self.stream.read_buf(&mut self.buffer).await? {
            0 => Err("the server closed the connection".into()),
            _ => Ok(()),
        }
    }
}

/// Status and body length of an answer's head. No chunked bodies: the servers here know their lengths.
fn parse_head(head: &[u8]) -> Result<(u16, usize), Failure> {
    let head = std::str::from_utf8(head)?;
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(|l| l.get(9..12)).ok_or("no status line")?.parse()?;
    let mut length = 0;
    for line in lines {
        let Some((name, value)) = line.split_once(':') else { continue };
        if name.eq_ignore_ascii_case("content-length") {
            length = value.trim().parse()?;
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            return Err("a chunked answer".into());
        }
    }
    Ok((status, length))
}
