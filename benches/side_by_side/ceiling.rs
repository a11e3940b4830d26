//! The two ceilings: bare axum over rustls, and the same with a group-committed file append.
//!
//! They check nothing, keep nothing and encrypt nothing. A vault behind the same front cannot answer more requests than the
//! first, and a durable one cannot acknowledge more writes than the second.

use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio_rustls::TlsAcceptor;

use crate::Failure;

/// Bytes of the fixed answer, and of the body that is appended.
pub(crate) const BODY: usize = 1024;

/// The appended file is written round and round within this size, so that no sync has to grow it.
const FILE: u64 = 64 << 20;

/// Serves until standard input closes. Prints its address and writes `ca.pem` into `dir`.
pub(crate) fn serve(dir: &Path, append: bool) -> Result<(), Failure> {
    std::thread::spawn(|| {
        // The parent holds the other end: when it goes, so does this.
        let _ = std::io::stdin().read(&mut [0]);
        std::process::exit(0);
    });
    let journal = if append { Some(Journal::create(&dir.join("append.log"))?) } else { None };
    let routes = Router::new()
        .route("/read", get(read).post(read))
        .route("/write", post(write))
        .with_state(Ceiling { body: Bytes::from(fixed_body()), journal });
    let tls = TlsAcceptor::from(Arc::new(certificate(dir)?));
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async move {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        println!("{}", listener.local_addr()?);
        std::io::stdout().flush()?;
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            let (tls, routes) = (tls.clone(), routes.clone());
            tokio::spawn(async move {
                let Ok(stream) = tls.accept(stream).await else { return };
                let service = TowerToHyperService::new(routes);
                // A client that hangs up is no concern of a ceiling.
                let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
            });
        }
    })
}

#[derive(Clone)]
struct Ceiling {
    body: Bytes,
    journal: Option<Journal>,
}

async fn read(State(ceiling): State<Ceiling>) -> Response {
    json(StatusCode::OK, ceiling.body)
}

async fn write(State(ceiling): State<Ceiling>, body: Bytes) -> Response {
    if let Some(journal) = &ceiling.journal
        && journal.append(body).await.is_err()
    {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    json(StatusCode::CREATED, Bytes::from_static(br#"{"id":"rec_00000000000000000000000000","kind":"contact","version":1}"#))
}

fn json(status: StatusCode, body: Bytes) -> Response {
    (status, [(header::CONTENT_TYPE, "application/json")], body).into_response()
}

fn fixed_body() -> Vec<u8> {
    let mut body = br#"{"filler":""#.to_vec();
    body.resize(BODY - 2, b'x');
    body.extend_from_slice(br#""}"#);
    body
}

fn certificate(dir: &Path) -> Result<rustls::ServerConfig, Failure> {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()])?;
    std::fs::write(dir.join("ca.pem"), made.cert.pem())?;
    let chain = vec![CertificateDer::from(made.cert)];
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der())?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

/// A file with one writing thread: what waits is written together and synced once.
#[derive(Clone)]
struct Journal(Arc<Shared>);

struct Shared {
    waiting: Mutex<Vec<(Bytes, oneshot::Sender<()>)>>,
    arrived: Condvar,
}

impl Journal {
    fn create(path: &Path) -> Result<Self, Failure> {
        let mut file = File::create(path)?;
        let zeros = vec![0; 1 << 20];
        for _ in 0..FILE >> 20 {
            file.write_all(&zeros)?;
        }
        file.sync_all()?;
        let journal = Self(Arc::new(Shared { waiting: Mutex::default(), arrived: Condvar::new() }));
        let shared = Arc::clone(&journal.0);
        std::thread::spawn(move || shared.write(&file));
        Ok(journal)
    }

    /// Returns once `bytes` are on the disk.
    async fn append(&self, bytes: Bytes) -> Result<(), oneshot::error::RecvError> {
        let (done, synced) = oneshot::channel();
        self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner).push((bytes, done));
        self.0.arrived.notify_one();
        synced.await
    }
}

impl Shared {
    fn write(&self, file: &File) {
        let mut at = 0;
        let mut buffer = Vec::new();
        loop {
            let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            let mut waiting = self.arrived.wait_while(waiting, |w| w.is_empty()).unwrap_or_else(PoisonError::into_inner);
            let group = std::mem::take(&mut *waiting);
            drop(waiting);
            buffer.clear();
            for (bytes, _) in &group {
                buffer.extend_from_slice(bytes);
            }
            if at + buffer.len() as u64 > FILE {
                at = 0;
            }
            // A failed sync drops the senders, and every waiting request answers 503.
            if file.write_all_at(&buffer, at).and_then(|()| file.sync_data()).is_ok() {
                at += buffer.len() as u64;
                for (_, done) in group {
                    let _ = done.send(());
                }
            }
        }
    }
}
