//! The HTTPS edge: from bytes on a connection to one call on the vault, and back.
//!
//! `listen` and `tls` carry connections, `head` reads what stands before each body, `edge` carries requests, `routes` has every address, `handlers` make the one call
//! that each operation is, and `problem` is the only place that knows status codes.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::auth::oidc::{Issuer, Keys, Trust};
use crate::config::{Config, OidcSection};
use crate::model::time::Clock;
use crate::vault::Vault;

mod accept;
mod asked;
pub mod body;
mod correlation;
mod edge;
mod guests;
mod handlers;
mod head;
mod listen;
mod metrics;
pub mod openapi;
mod pages;
pub mod problem;
mod query;
mod rates;
pub mod routes;
pub mod strict;
pub mod tls;
mod waiting;

/// How often the rate limits forget who has been quiet.
const PRUNE: Duration = Duration::from_secs(60);

/// Serves the vault over HTTPS until `shutdown` comes, and what was in flight then to its end. The vault is left open.
pub async fn serve(vault: Vault, config: &Config, clock: Clock, shutdown: impl Future<Output = ()>) -> io::Result<()> {
    Bound::bind(config, clock).await?.serve(vault, shutdown).await
}

/// A listener with its certificate, before it serves: its address and fingerprint can be told first.
pub struct Bound {
    listener: TcpListener,
    metrics: Option<TcpListener>,
    address: SocketAddr,
    certificates: Arc<tls::Certificates>,
    config: Config,
    clock: Clock,
}

impl Bound {
    /// Takes the configured address and reads the certificate; makes one on the first run, unless the configuration names one.
    pub async fn bind(config: &Config, clock: Clock) -> io::Result<Self> {
        if config.tls.certificate.is_none() && config.tls.key.is_none() {
            tls::first_run(&config.dir.join("tls"), &config.tls.names, clock.now()).map_err(io::Error::other)?;
        }
        let certificates = tls::Certificates::read(config.certificate_file(), config.key_file(), config.tls.client_ca.clone())
            .map_err(io::Error::other)?;
        let listener = TcpListener::bind(config.server.listen).await?;
        let address = listener.local_addr()?;
        let metrics = match config.metrics.listen {
            Some(address) => Some(TcpListener::bind(address).await?),
            None => None,
        };
        Ok(Self { listener, metrics, address, certificates: Arc::new(certificates), config: config.clone(), clock })
    }

    /// Where it listens; the port is a real one even when 0 was configured.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where it says how it fares, if anywhere.
    pub fn metrics_address(&self) -> Option<SocketAddr> {
        self.metrics.as_ref().and_then(|listener| listener.local_addr().ok())
    }

    /// SHA-256 of the certificate, for a person to compare.
    pub fn fingerprint(&self) -> String {
        self.certificates.fingerprint()
    }

    /// See [`serve`].
    pub async fn serve(self, vault: Vault, shutdown: impl Future<Output = ()>) -> io::Result<()> {
        let limits = self.config.limits.clone();
        let (writing, mut written) = mpsc::channel(1);
        let edge = Arc::new(edge::Edge {
            issuer: self.config.oidc.map(|oidc| Issuer::new(trust(oidc), self.clock.clone())),
            rates: rates::Rates::new(&limits),
            metrics: metrics::Metrics::new(vault.timings()),
            vault,
            limits: limits.clone(),
            clock: self.clock,
            security_contact: self.config.server.security_contact,
            security_policy: self.config.server.security_policy,
            log_requests: self.config.log.requests,
            writing,
        });
        let sealings = edge.vault.sealings();
        let router = routes::router(edge.clone());
        let measuring = self.metrics.map(|listener| tokio::spawn(metrics::listen(listener, edge.clone())));
        let pruning = tokio::spawn(prune(Arc::downgrade(&edge)));
        let answer = move |request: hyper::Request<hyper::body::Incoming>, peer| {
            edge::respond(edge.clone(), router.clone(), request.map(axum::body::Body::new), peer)
        };
        listen::run(self.listener, self.certificates, &limits, answer, sealings, shutdown).await;
        pruning.abort();
        if let Some(measuring) = measuring {
            // It holds the edge, and with it a sender that the last wait below waits for.
            measuring.abort();
            let _ = measuring.await;
        }
        // Writes whose peers have gone are still under way; the edge and its sender went with the last connection.
        if timeout(Duration::from_secs(limits.stop_seconds.max(1)), written.recv()).await.is_err() {
            tracing::warn!("a write was still under way when the server stopped");
        }
        Ok(())
    }
}

/// What the configuration says of the issuer.
fn trust(oidc: OidcSection) -> Trust {
    let keys = match (oidc.jwks_file, oidc.jwks_url) {
        (_, Some(url)) => Keys::Address { url, authorities: oidc.jwks_ca },
        (file, None) => Keys::File(file.unwrap_or_default()),
    };
    Trust {
        issuer: oidc.issuer,
        audience: oidc.audience,
        keys,
        refresh: oidc.refresh_seconds.into(),
        max_age: oidc.max_age_seconds.into(),
        step_up_acr: oidc.step_up_acr,
        step_up: oidc.step_up_seconds.into(),
    }
}

async fn prune(edge: std::sync::Weak<edge::Edge>) {
    let mut ticks = interval(PRUNE);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let Some(edge) = edge.upgrade() else { return };
        edge.rates.prune();
    }
}
