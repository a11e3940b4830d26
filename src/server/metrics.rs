//! What is counted, and the listener that says it: `/metrics` (OpenMetrics 1.0, which Prometheus reads), `/healthz`, `/readyz`.
//!
//! A label is an operation, a status, a code of a problem or a kind of key: words of ours, of which there are few. Nothing that a
//! caller sent is among them, no id, no address. The listener speaks HTTP without TLS and asks nobody who they are, so it is off
//! unless it is configured, and on this machine's own address unless that is configured too.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tower::ServiceExt;

use super::edge::Edge;
use super::{listen, pages};
use crate::telemetry::Noted;
use crate::vault::Vault;
use crate::vault::gauges::{Timings, seconds};

/// Connections at one time: who reads metrics opens one or two.
const CONNECTIONS: usize = 16;

/// The most time that one of them is served in all.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answered {
    operation: &'static str,
    status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Named {
    operation: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Refusal {
    code: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Kind {
    kind: &'static str,
}

/// Of one thing that may be unknown: no label at all.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Alone {}

type Number = Gauge<f64, AtomicU64>;

/// The counters of requests, and what is looked at when somebody asks.
pub(super) struct Metrics {
    registry: Registry,
    requests: Family<Answered, Counter>,
    durations: Family<Named, Histogram, fn() -> Histogram>,
    refusals: Family<Refusal, Counter>,
    sealed: Gauge,
    ready: Gauge,
    key_ages: Family<Kind, Number>,
    overdue: Family<Kind, Gauge>,
    epoch: Family<Alone, Gauge>,
    entries: Family<Alone, Gauge>,
    unsynced: Family<Alone, Gauge>,
    commits: Family<Alone, Gauge>,
    backup_age: Family<Alone, Number>,
    backup_whole: Family<Alone, Gauge>,
}

impl Metrics {
    pub(super) fn new(timings: &Timings) -> Self {
        let mut all = Self {
            registry: Registry::with_prefix("oubliette"),
            requests: Family::default(),
            durations: Family::new_with_constructor(seconds),
            refusals: Family::default(),
            sealed: Gauge::default(),
            ready: Gauge::default(),
            key_ages: Family::default(),
            overdue: Family::default(),
            epoch: Family::default(),
            entries: Family::default(),
            unsynced: Family::default(),
            commits: Family::default(),
            backup_age: Family::default(),
            backup_whole: Family::default(),
        };
        let of = &mut all.registry;
        of.register("requests", "Requests by operation and status", all.requests.clone());
        of.register_with_unit("request_duration", "Time to an answer by operation", Unit::Seconds, all.durations.clone());
        of.register("refusals", "Problems that were answered, by code", all.refusals.clone());
        of.register("sealed", "1 while no key is in memory", all.sealed.clone());
        of.register("ready", "1 while calls that need keys are answered", all.ready.clone());
        of.register_with_unit("key_age", "Age of the oldest living key of a kind", Unit::Seconds, all.key_ages.clone());
        of.register("key_overdue", "1 while a kind of key is past its cryptoperiod", all.overdue.clone());
        of.register("epoch", "The number of the epoch", all.epoch.clone());
        of.register("trail_entries", "Entries in the trail", all.entries.clone());
        of.register("trail_unsynced_entries", "Entries of the trail that are not on the disk yet", all.unsynced.clone());
        let waited = "Time until the entries of a batch were on the disk";
        of.register_with_unit("trail_sync_duration", waited, Unit::Seconds, timings.trail.clone());
        of.register("store_commits", "Batches that the store took since it was made", all.commits.clone());
        let waited = "Time until the store had a batch on the disk";
        of.register_with_unit("store_commit_duration", waited, Unit::Seconds, timings.store.clone());
        of.register_with_unit("backup_age", "Age of the newest backup", Unit::Seconds, all.backup_age.clone());
        of.register("backup_target_whole", "1 while the backup target takes everything", all.backup_whole.clone());
        all
    }

    /// Counts one request that was answered.
    pub(super) fn request(&self, noted: &Noted, status: u16, took: Duration) {
        let operation = noted.operation.map_or("none", |operation| operation.text());
        self.requests.get_or_create(&Answered { operation, status }).inc();
        self.durations.get_or_create(&Named { operation }).observe(took.as_secs_f64());
        if let Some(code) = noted.code {
            self.refusals.get_or_create(&Refusal { code: code.text() }).inc();
        }
    }

    /// All of it as text; `None` when it cannot be written.
    pub(super) fn text(&self, vault: &Vault) -> Option<String> {
        let now = vault.gauges();
        self.sealed.set(i64::from(!now.open));
        self.ready.set(i64::from(now.ready));
        self.key_ages.clear();
        self.overdue.clear();
        for (kind, age, is_overdue) in now.keys {
            self.key_ages.get_or_create(&Kind { kind }).set(age.as_secs_f64());
            self.overdue.get_or_create(&Kind { kind }).set(i64::from(is_overdue));
        }
        only(&self.epoch, now.epoch);
        only(&self.entries, now.trail.map(|(entries, _)| entries));
        only(&self.unsynced, now.trail.map(|(_, unsynced)| unsynced));
        only(&self.commits, now.commits);
        only(&self.backup_whole, now.backup_whole.map(u64::from));
        self.backup_age.clear();
        if let Some(age) = now.backup_age {
            self.backup_age.get_or_create(&Alone {}).set(age.as_secs_f64());
        }
        let mut text = String::with_capacity(32 << 10);
        encode(&mut text, &self.registry).ok()?;
        Some(text)
    }
}

/// What is unknown is left out: a zero would be read as a number.
fn only(gauge: &Family<Alone, Gauge>, value: Option<u64>) {
    match value.and_then(|value| i64::try_from(value).ok()) {
        Some(value) => drop(gauge.get_or_create(&Alone {}).set(value)),
        None => gauge.clear(),
    }
}

/// Answers on `listener` until it is aborted.
pub(super) async fn listen(listener: TcpListener, edge: Arc<Edge>) {
    let http = listen::http(&edge.limits);
    let router = Router::new()
        .route("/metrics", get(pages::metrics))
        .route("/healthz", get(pages::healthz))
        .route("/readyz", get(pages::readyz))
        .fallback(pages::not_found)
        .method_not_allowed_fallback(pages::method_not_allowed)
        .with_state(edge);
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        let Ok(place) = places.clone().acquire_owned().await else { return };
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        while connections.try_join_next().is_some() {}
        let service = router.clone().map_request(|request: hyper::Request<hyper::body::Incoming>| request.map(Body::new));
        let serving = http.serve_connection(TokioIo::new(stream), TowerToHyperService::new(service));
        connections.spawn(async move {
            // How it ends is the peer's business.
            let _ = tokio::time::timeout(PATIENCE, serving).await;
            drop(place);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::caller::Operation;
    use crate::model::code::Code;
    use crate::model::time::Clock;
    use crate::vault::VaultConfig;

    #[test]
    fn requests_and_refusals_are_counted_and_what_is_unknown_is_left_out() {
        let dir = tempfile::tempdir().unwrap();
        let config = VaultConfig::in_dir(dir.path().join("vault"));
        let passphrase: keys::secret::SecretString = "correct horse battery staple".into();
        Vault::create(&config, &Clock::system(), &passphrase).unwrap();
        let vault = Vault::open(&config, Clock::system()).unwrap();
        let metrics = Metrics::new(vault.timings());
        let noted = Noted { operation: Some(Operation::ReadRecords), code: Some(Code::Sealed), ..Noted::default() };
        metrics.request(&noted, 503, Duration::from_micros(70));
        metrics.request(&Noted::default(), 404, Duration::ZERO);
        let text = metrics.text(&vault).unwrap();
        for line in [
            "oubliette_requests_total{operation=\"readRecords\",status=\"503\"} 1",
            "oubliette_requests_total{operation=\"none\",status=\"404\"} 1",
            "oubliette_refusals_total{code=\"sealed\"} 1",
            "oubliette_request_duration_seconds_bucket{le=\"0.0001\",operation=\"readRecords\"} 1",
            "oubliette_sealed 1",
            "oubliette_ready 0",
            "# EOF",
        ] {
            assert!(text.lines().any(|known| known == line), "{line} is not in {text}");
        }
        for unknown in ["\noubliette_epoch", "\noubliette_trail_entries", "\noubliette_backup_age", "kind="] {
            assert!(!text.contains(unknown), "{unknown} is in {text}");
        }
    }
}
