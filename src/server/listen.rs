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
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{Sleep, timeout};
use tokio_rustls::TlsAcceptor;

use super::guests::Guests;
use super::head::{Heads, Most};
use super::tls::{Certificates, thumbprint};
use crate::config::LimitsSection;

/// After a failed accept, mostly for want of file descriptors.
const PAUSE: Duration = Duration::from_millis(50);

/// How long a peer that was refused may go on sending, and how much, before the connection is closed under it.
const LINGER: Duration = Duration::from_secs(1);
const UNHEARD: usize = 1 << 20;

/// Whom a connection is with.
#[derive(Clone)]
pub(super) struct Peer {
    /// The address.
    pub(super) address: SocketAddr,
    /// The thumbprint (`x5t#S256`) of the client certificate that it showed.
    pub(super) certificate: Option<Arc<str>>,
}

/// Serves every connection with `answer` until `stop` comes; then takes no more, lets requests in flight finish, and ends the
/// rest once `limits.stop_seconds` are over. Each change of `sealings` ends the connections of before, once they have their answers:
/// their buffers hold what was read through them.
pub(super) async fn run<S, F>(
    listener: TcpListener,
    certificates: Arc<Certificates>,
    limits: &LimitsSection,
    answer: S,
    mut sealings: watch::Receiver<u64>,
    stop: impl Future<Output = ()>,
) where
    S: Fn(Request<Incoming>, Peer) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response> + Send + 'static,
{
    let places = Arc::new(Semaphore::new(limits.connections.min(Semaphore::MAX_PERMITS)));
    let guests = Guests::default();
    let mut graceful = GracefulShutdown::new();
    let mut ending = JoinSet::new();
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
            Ok(()) = sealings.changed() => {
                ending.spawn(std::mem::take(&mut graceful).shutdown());
                continue;
            }
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
        // Closed before the handshake, which is the dear part of a connection.
        let Some(guest) = guests.admit(peer.ip(), limits.connections_per_address) else { continue };
        let acceptor = TlsAcceptor::from(certificates.current());
        let connection = Connection { acceptor, http: http.clone(), watcher: graceful.watcher(), limits: limits.clone() };
        let answer = answer.clone();
        connections.spawn(async move {
            connection.serve(stream, peer, answer).await;
            drop((guest, place));
        });
    }
    drop(listener);
    ending.spawn(graceful.shutdown());
    if timeout(Duration::from_secs(limits.stop_seconds), ending.join_all()).await.is_err() {
        tracing::warn!("connections were ended before their answers were out");
    }
    connections.shutdown().await;
}

/// How HTTP/1.1 is spoken, within its limits.
pub(super) fn http(limits: &LimitsSection) -> http1::Builder {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(Duration::from_secs(limits.header_seconds))
        .max_buf_size(most(limits).bytes.saturating_add(8 << 10))
        .keep_alive(true);
    // What `head` lets through fits; up to a hundred headers the library needs no memory of its own to read them.
    if limits.headers > 100 {
        http.max_headers(limits.headers);
    }
    http
}

/// What a head may be before anybody looks into it; `edge` refuses what is a little too large.
fn most(limits: &LimitsSection) -> Most {
    Most { bytes: limits.header_bytes.saturating_mul(2).max(64 << 10), fields: limits.headers }
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
        let stream = Patient::new(stream, Duration::from_secs(self.limits.write_seconds), most(&self.limits));
        let service = service_fn(|request| {
            let response = answer(request, peer.clone());
            async move { Ok::<_, Infallible>(response.await) }
        });
        let served = self.watcher.watch(self.http.serve_connection(TokioIo::new(stream), service));
        let _ = served.await;
    }
}

/// A stream whose writes may only be pending for so long, and from which only heads come that have one reading.
struct Patient<S> {
    stream: S,
    heads: Heads,
    patience: Duration,
    until: Option<Pin<Box<Sleep>>>,
    /// Set once nothing more is written: the bytes that may still come from a peer that was refused in the middle of its sending.
    unheard: Option<usize>,
}

impl<S: AsyncWrite + Unpin> Patient<S> {
    fn new(stream: S, patience: Duration, most: Most) -> Self {
        Self { stream, heads: Heads::new(most), patience, until: None, unheard: None }
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

impl<S: AsyncRead + Unpin> Patient<S> {
    /// Takes what is still sent and forgets it, for a second and a mebibyte: a socket that is closed with bytes unread resets the
    /// connection, and the peer would never see why it was refused (RFC 9112 §9.6).
    fn poll_forget(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let mut left = self.unheard.unwrap_or_default();
        let mut scratch = [0; 8 << 10];
        while left > 0 {
            let mut buffer = ReadBuf::new(&mut scratch);
            match Pin::new(&mut self.stream).poll_read(context, &mut buffer) {
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() => left = left.saturating_sub(buffer.filled().len()),
                Poll::Ready(_) => return Poll::Ready(()),
                Poll::Pending => {
                    self.unheard = Some(left);
                    return self.until.get_or_insert_with(|| Box::pin(tokio::time::sleep(LINGER))).as_mut().poll(context);
                }
            }
        }
        Poll::Ready(())
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Patient<S> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let Self { stream, heads, .. } = &mut *self;
        heads.poll_read(stream, context, buffer)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Patient<S> {
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
        if self.unheard.is_none() {
            ready!(self.poll(context, |stream, context| stream.poll_shutdown(context)))?;
            self.unheard = Some(UNHEARD);
        }
        if self.heads.is_over() {
            ready!(self.poll_forget(context));
        }
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::head::{is_last, refusal};
    use crate::server::problem;
    use crate::server::tls::first_run;
    use crate::telemetry::Noted;
    use axum::body::Body;
    use http_body_util::BodyExt;
    use proptest::prelude::*;
    use proptest::test_runner::{Config, TestRunner};
    use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::sync::{Notify, oneshot};
    use tokio_rustls::client::TlsStream;

    /// A listener that answers with the request's path, and holds `/held` until it is let go.
    struct Running {
        address: SocketAddr,
        authority: CertificateDer<'static>,
        stop: oneshot::Sender<()>,
        sealings: watch::Sender<u64>,
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
        let (sealings, sealed) = watch::channel(0);
        let (held, reached) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let (hold, reach) = (held.clone(), reached.clone());
        let answer = move |request: Request<Incoming>, _| {
            let (hold, reach) = (hold.clone(), reach.clone());
            async move {
                if let Some(code) = refusal(request.method()) {
                    return problem::refuse(&code.into(), Noted::default());
                }
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
            run(listener, Arc::new(certificates), &limits, answer, sealed, async move { drop(stopped.await) }).await;
        });
        Running { address, authority, stop, sealings, held, reached, task, _dir: dir }
    }

    impl Running {
        async fn connect(&self) -> TlsStream<TcpStream> {
            self.over(TcpStream::connect(self.address).await.unwrap()).await
        }

        async fn over(&self, stream: TcpStream) -> TlsStream<TcpStream> {
            let mut roots = rustls::RootCertStore::empty();
            roots.add(self.authority.clone()).unwrap();
            let config = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
                .with_safe_default_protocol_versions()
                .unwrap()
                .with_root_certificates(roots)
                .with_no_client_auth();
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
    async fn who_holds_many_connections_keeps_nobody_else_out() {
        let limits = LimitsSection { connections: 8, connections_per_address: 3, ..LimitsSection::default() };
        let running = running(limits).await;
        let from = async |host: &str| {
            let socket = tokio::net::TcpSocket::new_v4().unwrap();
            socket.bind(format!("{host}:0").parse().unwrap()).unwrap();
            socket.connect(running.address).await.unwrap()
        };
        let mut silent = Vec::new();
        for _ in 0..20 {
            silent.push(from("127.0.0.9").await);
        }
        assert!(ask(&mut running.over(from("127.0.0.1").await).await, "/one", "/one").await.ends_with("/one"));
        let mut closed = 0;
        for mut one in silent {
            let heard = tokio::time::timeout(Duration::from_millis(100), one.read(&mut [0])).await;
            closed += usize::from(matches!(heard, Ok(Ok(0) | Err(_))));
        }
        assert_eq!(closed, 17);
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
    async fn a_sealing_ends_idle_connections_at_once_busy_ones_after_their_answer_and_takes_new_ones() {
        let running = running(LimitsSection::default()).await;
        let (mut idle, mut busy) = (running.connect().await, running.connect().await);
        ask(&mut idle, "/one", "/one").await;
        busy.write_all(b"GET /held HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
        running.reached.notified().await;
        running.sealings.send_replace(1);
        assert_eq!(read_to(&mut idle, "never").await, "", "the idle one ends");
        running.held.notify_one();
        assert!(read_to(&mut busy, "never").await.ends_with("/held"), "the busy one answers, and ends");
        let mut next = running.connect().await;
        for path in ["/two", "/three"] {
            assert!(ask(&mut next, path, path).await.starts_with("HTTP/1.1 200 OK\r\n"));
        }
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
        let text = read_to(&mut stream, "never").await;
        assert!(text.starts_with("HTTP/1.1 431 "), "{text:?}");
    }

    /// A head as somebody might send it, well formed or not.
    fn a_head() -> impl Strategy<Value = Vec<u8>> {
        let methods = ["GET", "POST", "PUT", "HEAD", "OPTIONS", "BREW", "M-SEARCH", "get", "G\0T", "CONNECT", "TRACE"];
        let method = proptest::sample::select(methods.to_vec());
        let target = prop_oneof![5 => "/[a-z0-9%?&=._~!$'()*+,;:@/-]{0,60}", 1 => "[ -~]{0,20}", 1 => "/\\PC{0,10}"];
        let version = proptest::sample::select(vec!["HTTP/1.1", "HTTP/1.1", "HTTP/1.1", "HTTP/1.0", "HTTP/2.0"]);
        let known = [
            "content-length: 3",
            "content-length: 0",
            "Content-Length:3",
            "transfer-encoding: chunked",
            "Transfer-Encoding:\tCHUNKED ",
            "te: trailers",
            "connection: close",
            "connection: keep-alive, upgrade",
            "upgrade: h2c",
            "upgrade: websocket",
            "expect: 100-continue",
            "expect: x",
            "trailer: x",
            "http2-settings: AAMAAABkAARAAAAAAAIAAAAA",
            "content-length: 18446744073709551615",
            "keep-alive: 1",
            "x:",
            "accept: */*",
        ];
        let known = proptest::sample::select(known.to_vec()).prop_map(|line| line.as_bytes().to_vec());
        let any = ("[!-~]{1,12}", proptest::collection::vec(any::<u8>(), 0..12));
        let any = any.prop_map(|(name, value)| [name.as_bytes(), b": ", &value].concat());
        let tame = ("[A-Za-z0-9!#$%&'*+.^_`|~-]{1,12}", "[ -~\u{80}-\u{ff}]{0,12}")
            .prop_map(|(name, value)| format!("{name}:{value}").into_bytes());
        let lines = proptest::collection::vec(prop_oneof![4 => known, 1 => any, 4 => tame], 0..8);
        (method, target, version, lines, proptest::bool::weighted(0.9)).prop_map(|(method, target, version, lines, has_host)| {
            let mut head = format!("{method} {target} {version}\r\n").into_bytes();
            if has_host {
                head.extend_from_slice(b"Host: localhost\r\n");
            }
            lines.iter().for_each(|line| head.extend_from_slice(&[line.as_slice(), b"\r\n"].concat()));
            [head, b"\r\n".to_vec()].concat()
        })
    }

    /// What the library refuses by itself it answers by itself, without a problem, our headers and a line in the log: nothing that
    /// `head` let through may get there.
    #[test]
    fn the_library_never_refuses_what_was_let_through() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let limits = LimitsSection::default();
        let heard = std::cell::Cell::new((0, 0));
        let mut runner = TestRunner::new(Config { cases: 2_000, failure_persistence: None, ..Config::default() });
        let outcome = runner.run(&(a_head(), a_head()), |(first, second)| {
            let text = runtime.block_on(async {
                let (near, mut far) = tokio::io::duplex(1 << 16);
                far.write_all(&[first, b"3\r\nabc\r\n0\r\n\r\n".to_vec(), second].concat()).await.unwrap();
                far.shutdown().await.unwrap();
                let service = service_fn(|request: Request<Incoming>| async move {
                    let word = if refusal(request.method()).is_some() { "refused" } else { "taken" };
                    let answer = Response::builder().header("ours", word);
                    // As `edge` does it.
                    let answer = if is_last(request.headers()) { answer.header("connection", "close") } else { answer };
                    let _ = request.into_body().collect().await;
                    Ok::<_, Infallible>(answer.body(Body::empty()).unwrap())
                });
                let stream = Patient::new(near, Duration::from_secs(5), most(&limits));
                let _ = http(&limits).serve_connection(TokioIo::new(stream), service).await;
                let mut text = Vec::new();
                far.read_to_end(&mut text).await.unwrap();
                String::from_utf8(text).unwrap()
            });
            for answer in text.split("HTTP/1.1 ").flat_map(|rest| rest.split("HTTP/1.0 ")).filter(|rest| !rest.is_empty()) {
                let is_going_on = answer.starts_with("100 Continue");
                prop_assert!(is_going_on || answer.contains("ours: "), "{}", answer);
                let (taken, refused) = heard.get();
                heard.set((
                    taken + u32::from(answer.contains("ours: taken")),
                    refused + u32::from(answer.contains("ours: refused")),
                ));
            }
            Ok(())
        });
        outcome.unwrap();
        let (taken, refused) = heard.get();
        assert!(taken > 200 && refused > 200, "{taken} taken, {refused} refused");
    }

    #[tokio::test]
    async fn an_answer_that_nobody_takes_is_given_up() {
        let (near, _far) = tokio::io::duplex(4);
        let mut near = Patient::new(near, Duration::ZERO, most(&LimitsSection::default()));
        assert_eq!(near.write_all(b"more than four").await.unwrap_err().kind(), io::ErrorKind::TimedOut);
    }
}
