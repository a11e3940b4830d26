//! Connections: accept, TLS, HTTP/1.1, and an end to each that does not behave.
//!
//! Nothing here waits for a peer without a bound: a full house (connections), a slow handshake, slow headers, an idle
//! connection, an answer that nobody takes. Bodies and whole requests are bounded by `edge`.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::response::Response;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Sleep, timeout};
use tokio_rustls::TlsAcceptor;

use super::tls::{Certificates, thumbprint};
use crate::config::LimitsSection;

/// After a failed accept, mostly for want of file descriptors.
const PAUSE: Duration = Duration::from_millis(50);

/// Whom a connection is with.
#[derive(Clone)]
pub(super) struct Peer {
    /// The address.
    pub(super) address: SocketAddr,
    /// The thumbprint (`x5t#S256`) of the client certificate that it showed.
    pub(super) certificate: Option<Arc<str>>,
}

/// Serves every connection with `answer` until `stop` comes; then takes no more, lets requests in flight finish, and ends the
/// rest once `limits.stop_seconds` are over.
pub(super) async fn run<S, F>(
    listener: TcpListener,
    certificates: Arc<Certificates>,
    limits: &LimitsSection,
    answer: S,
    stop: impl Future<Output = ()>,
) where
    S: Fn(Request<Incoming>, Peer) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response> + Send + 'static,
{
    let places = Arc::new(Semaphore::new(limits.connections.min(Semaphore::MAX_PERMITS)));
    let graceful = GracefulShutdown::new();
    let mut connections = JoinSet::new();
    let http = http(limits);
    let mut stop = std::pin::pin!(stop);
    loop {
        let next = async {
            let place = places.clone().acquire_owned().await.map_err(io::Error::other)?;
            listener.accept().await.map(|(stream, peer)| (place, stream, peer))
        };
        let (place, stream, peer) = tokio::select! {
            biased;
            () = &mut stop => break,
            accepted = next => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(kind = %error.kind(), "a connection was not accepted");
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
            },
        };
        while connections.try_join_next().is_some() {}
        let acceptor = TlsAcceptor::from(certificates.current());
        let connection = Connection { acceptor, http: http.clone(), watcher: graceful.watcher(), limits: limits.clone() };
        let answer = answer.clone();
        connections.spawn(async move {
            connection.serve(stream, peer, answer).await;
            drop(place);
        });
    }
    drop(listener);
    if timeout(Duration::from_secs(limits.stop_seconds), graceful.shutdown()).await.is_err() {
        tracing::warn!("connections were ended before their answers were out");
    }
    connections.shutdown().await;
}

fn http(limits: &LimitsSection) -> http1::Builder {
    let mut http = http1::Builder::new();
    // Twice the limit, so that `edge` sees what is a little too large and can answer with a problem document.
    http.timer(TokioTimer::new())
        .header_read_timeout(Duration::from_secs(limits.header_seconds))
        .max_buf_size(limits.header_bytes.saturating_mul(2).max(64 << 10))
        .max_headers(limits.headers.saturating_mul(2))
        .keep_alive(true);
    http
}

struct Connection {
    acceptor: TlsAcceptor,
    http: http1::Builder,
    watcher: Watcher,
    limits: LimitsSection,
}

impl Connection {
    /// One connection from its handshake to its end. How it ends is the peer's business, so errors are dropped.
    async fn serve<S, F>(self, stream: TcpStream, address: SocketAddr, answer: S)
    where
        S: Fn(Request<Incoming>, Peer) -> F + Send + Sync + 'static,
        F: Future<Output = Response> + Send + 'static,
    {
        let _ = stream.set_nodelay(true);
        let handshake = timeout(Duration::from_secs(self.limits.handshake_seconds), self.acceptor.accept(stream));
        let Ok(Ok(stream)) = handshake.await else { return };
        let shown = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
        let peer = Peer { address, certificate: shown.map(|certificate| thumbprint(certificate).into()) };
        let stream = Patient::new(stream, Duration::from_secs(self.limits.write_seconds));
        let service = service_fn(|request| {
            let response = answer(request, peer.clone());
            async move { Ok::<_, Infallible>(response.await) }
        });
        let served = self.watcher.watch(self.http.serve_connection(TokioIo::new(stream), service));
        let _ = served.await;
    }
}

/// A stream whose writes may only be pending for so long.
struct Patient<S> {
    stream: S,
    patience: Duration,
    until: Option<Pin<Box<Sleep>>>,
}

impl<S: AsyncWrite + Unpin> Patient<S> {
    fn new(stream: S, patience: Duration) -> Self {
        Self { stream, patience, until: None }
    }

    fn poll<T>(
        &mut self,
        context: &mut Context<'_>,
        write: impl FnOnce(Pin<&mut S>, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if let Poll::Ready(done) = write(Pin::new(&mut self.stream), context) {
            self.until = None;
            return Poll::Ready(done);
        }
        let patience = self.patience;
        let until = self.until.get_or_insert_with(|| Box::pin(tokio::time::sleep(patience)));
        ready!(until.as_mut().poll(context));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Patient<S> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Patient<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll(context, |stream, context| stream.poll_write(context, bytes))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll(context, |stream, context| stream.poll_write_vectored(context, parts))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll(context, |stream, context| stream.poll_flush(context))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll(context, |stream, context| stream.poll_shutdown(context))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::tls::first_run;
    use axum::body::Body;
    use http_body_util::BodyExt;
    use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::sync::{Notify, oneshot};
    use tokio_rustls::client::TlsStream;

    /// A listener that answers with the request's path, and holds `/held` until it is let go.
    struct Running {
        address: SocketAddr,
        authority: CertificateDer<'static>,
        stop: oneshot::Sender<()>,
        held: Arc<Notify>,
        reached: Arc<Notify>,
        task: tokio::task::JoinHandle<()>,
        _dir: tempfile::TempDir,
    }

    async fn running(limits: LimitsSection) -> Running {
        let dir = tempfile::tempdir().unwrap();
        first_run(dir.path(), &[], "2026-11-23T10:00:00Z".parse().unwrap()).unwrap();
        let authority = CertificateDer::from_pem_file(dir.path().join("ca.pem")).unwrap();
        let certificates = Certificates::read(dir.path().join("cert.pem"), dir.path().join("key.pem"), None).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let (held, reached) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let (hold, reach) = (held.clone(), reached.clone());
        let answer = move |request: Request<Incoming>, _| {
            let (hold, reach) = (hold.clone(), reach.clone());
            async move {
                let path = request.uri().path().to_owned();
                let body = request.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
                if path == "/held" {
                    reach.notify_one();
                    hold.notified().await;
                }
                Response::new(Body::from([path.as_bytes(), &body].concat()))
            }
        };
        let task = tokio::spawn(async move {
            run(listener, Arc::new(certificates), &limits, answer, async move { drop(stopped.await) }).await;
        });
        Running { address, authority, stop, held, reached, task, _dir: dir }
    }

    impl Running {
        async fn connect(&self) -> TlsStream<TcpStream> {
            let mut roots = rustls::RootCertStore::empty();
            roots.add(self.authority.clone()).unwrap();
            let config = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
                .with_safe_default_protocol_versions()
                .unwrap()
                .with_root_certificates(roots)
                .with_no_client_auth();
            let stream = TcpStream::connect(self.address).await.unwrap();
            let name = ServerName::try_from("localhost").unwrap();
            tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap()
        }
    }

    /// Sends one request and reads until `end` stands at the end of what came.
    async fn ask(stream: &mut TlsStream<TcpStream>, path: &str, end: &str) -> String {
        stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n").as_bytes()).await.unwrap();
        read_to(stream, end).await
    }

    async fn read_to(stream: &mut TlsStream<TcpStream>, end: &str) -> String {
        let mut text = Vec::new();
        while !text.ends_with(end.as_bytes()) {
            if stream.read_buf(&mut text).await.unwrap_or(0) == 0 {
                break;
            }
        }
        String::from_utf8(text).unwrap()
    }

    #[tokio::test]
    async fn a_connection_is_hybrid_post_quantum_and_carries_many_requests() {
        let running = running(LimitsSection::default()).await;
        let mut stream = running.connect().await;
        let group = stream.get_ref().1.negotiated_key_exchange_group().unwrap().name();
        assert_eq!(group, rustls::NamedGroup::X25519MLKEM768);
        for path in ["/one", "/two"] {
            assert!(ask(&mut stream, path, path).await.starts_with("HTTP/1.1 200 OK\r\n"));
        }
    }

    #[tokio::test]
    async fn a_silent_peer_and_one_that_speaks_no_tls_are_let_go() {
        let running = running(LimitsSection { handshake_seconds: 0, ..LimitsSection::default() }).await;
        let mut silent = TcpStream::connect(running.address).await.unwrap();
        assert_eq!(silent.read(&mut [0]).await.unwrap_or(0), 0);
    }

    #[tokio::test]
    async fn an_idle_connection_is_let_go() {
        let running = running(LimitsSection { header_seconds: 1, ..LimitsSection::default() }).await;
        let mut stream = running.connect().await;
        ask(&mut stream, "/one", "/one").await;
        assert!(!read_to(&mut stream, "never").await.contains("200 OK"));
    }

    #[tokio::test]
    async fn a_full_house_makes_the_next_wait_until_one_leaves() {
        let running = running(LimitsSection { connections: 1, ..LimitsSection::default() }).await;
        let mut first = running.connect().await;
        let second = async { ask(&mut running.connect().await, "/two", "/two").await };
        let busy = async {
            for _ in 0..50 {
                ask(&mut first, "/one", "/one").await;
            }
        };
        let mut second = std::pin::pin!(second);
        tokio::select! {
            _ = &mut second => panic!("the second came in"),
            () = busy => {}
        }
        drop(first);
        assert!(second.await.ends_with("/two"));
    }

    #[tokio::test]
    async fn a_stop_lets_the_request_in_flight_finish_and_takes_no_other() {
        let running = running(LimitsSection::default()).await;
        let mut stream = running.connect().await;
        stream.write_all(b"GET /held HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
        running.reached.notified().await;
        running.stop.send(()).unwrap();
        while TcpStream::connect(running.address).await.is_ok() {
            tokio::task::yield_now().await;
        }
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        assert!(!running.task.is_finished());
        running.held.notify_one();
        assert!(read_to(&mut stream, "/held").await.ends_with("/held"));
        running.task.await.unwrap();
    }

    #[tokio::test]
    async fn a_stop_does_not_wait_for_ever() {
        let running = running(LimitsSection { stop_seconds: 0, ..LimitsSection::default() }).await;
        let mut stream = running.connect().await;
        stream.write_all(b"GET /held HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
        running.reached.notified().await;
        running.stop.send(()).unwrap();
        running.task.await.unwrap();
    }

    #[tokio::test]
    async fn headers_without_end_are_refused() {
        let running = running(LimitsSection::default()).await;
        let mut stream = running.connect().await;
        let endless = format!("GET / HTTP/1.1\r\nx: {}", "a".repeat(200 << 10));
        let _ = stream.write_all(endless.as_bytes()).await;
        assert!(read_to(&mut stream, "never").await.starts_with("HTTP/1.1 431 "));
    }

    #[tokio::test]
    async fn an_answer_that_nobody_takes_is_given_up() {
        let (near, _far) = tokio::io::duplex(4);
        let mut near = Patient::new(near, Duration::ZERO);
        assert_eq!(near.write_all(b"more than four").await.unwrap_err().kind(), io::ErrorKind::TimedOut);
    }
}
