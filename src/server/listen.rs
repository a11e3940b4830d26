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

use super::tls::Certificates;
use crate::config::LimitsSection;

/// After a failed accept, mostly for want of file descriptors.
const PAUSE: Duration = Duration::from_millis(50);

/// Serves every connection with `answer` until `stop` comes; then takes no more, lets requests in flight finish, and ends the
/// rest once `limits.stop_seconds` are over.
pub(super) async fn run<S, F>(
    listener: TcpListener,
    certificates: Arc<Certificates>,
    limits: &LimitsSection,
    answer: S,
    stop: impl Future<Output = ()>,
) where
    S: Fn(Request<Incoming>, SocketAddr) -> F + Clone + Send + Sync + 'static,
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
    async fn serve<S, F>(self, stream: TcpStream, peer: SocketAddr, answer: S)
    where
        S: Fn(Request<Incoming>, SocketAddr) -> F + Send + Sync + 'static,
        F: Future<Output = Response> + Send + 'static,
    {
        let _ = stream.set_nodelay(true);
        let handshake = timeout(Duration::from_secs(self.limits.handshake_seconds), self.acceptor.accept(stream));
        let Ok(Ok(stream)) = handshake.await else { return };
        let stream = Patient::new(stream, Duration::from_secs(self.limits.write_seconds));
        let service = service_fn(|request| {
            let response = answer(request, peer);
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
