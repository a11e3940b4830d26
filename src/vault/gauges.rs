//! How the vault fares, in numbers about itself: no person, no caller, no id. Anybody who may see that it runs may see these.

use std::time::{Duration, Instant};

use prometheus_client::metrics::histogram::Histogram;

use super::lifecycle::Vault;
use super::rotations::ages::{self, Aged};

/// Seconds that the buckets of a duration end at: from 50 µs, less than any sync, to 5 s, when somebody gives up.
const BOUNDS: [f64; 16] = [5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 1e-2, 2.5e-2, 5e-2, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0];

/// A histogram of seconds.
pub fn seconds() -> Histogram {
    Histogram::new(BOUNDS)
}

/// How long the two syncs of a change take; counted on when the vault is sealed and opened again. Clones count together.
#[derive(Clone)]
pub struct Timings {
    /// From appending the entries of a batch to their being durable.
    pub trail: Histogram,
    /// The store's commit of a batch, with its sync.
    pub store: Histogram,
}

impl Default for Timings {
    fn default() -> Self {
        Self { trail: seconds(), store: seconds() }
    }
}

/// Notes how long `work` took.
pub(super) fn timed<T>(histogram: &Histogram, work: impl FnOnce() -> T) -> T {
    let began = Instant::now();
    let outcome = work();
    histogram.observe(began.elapsed().as_secs_f64());
    outcome
}

/// The state at one moment.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Gauges {
    /// Whether the keys are in memory.
    pub open: bool,
    /// Whether calls that need them are answered.
    pub ready: bool,
    /// Each kind of key: how old its oldest may be, and whether that is past its cryptoperiod; while it is open.
    pub keys: Vec<(&'static str, Duration, bool)>,
    /// The epoch, while it is open.
    pub epoch: Option<u64>,
    /// Entries of the trail, and how many of them are not on the disk yet; while it is open.
    pub trail: Option<(u64, u64)>,
    /// Batches that the store took, ever; while it is open.
    pub commits: Option<u64>,
    /// The age of the newest backup, where there is one.
    pub backup_age: Option<Duration>,
    /// Whether the backup target takes everything; `None` without a target.
    pub backup_whole: Option<bool>,
}

impl Vault {
    /// How it fares now.
    pub fn gauges(&self) -> Gauges {
        let now = self.0.clock.now();
        let age = |since: jiff::Timestamp| Duration::try_from(now.duration_since(since)).unwrap_or_default();
        let mut gauges = Gauges { ready: self.is_ready().is_ok(), ..Gauges::default() };
        let Ok(opened) = self.opened() else { return gauges };
        let core = &opened.core;
        gauges.open = true;
        let keys = Aged::ALL.iter().map(|aged| (aged.word(), age(core.ages.since(core, *aged)), ages::is_overdue(core, *aged)));
        gauges.keys = keys.collect();
        gauges.epoch = Some(core.hierarchy.epoch());
        // The durable ones first: none that is appended meanwhile counts as lost.
        let durable = core.trail.durable_size();
        let size = core.trail.size();
        gauges.trail = Some((size, size.saturating_sub(durable)));
        gauges.commits = Some(core.commits.load(std::sync::atomic::Ordering::Relaxed));
        if let Some(backups) = &core.backups {
            let standing = backups.standing();
            // The target where it is worst: one without a backup has no age.
            let made: Option<Vec<_>> = standing.iter().map(|target| target.made.as_ref().map(|made| made.made_at)).collect();
            gauges.backup_age = made.and_then(|all| all.into_iter().min()).map(age);
            gauges.backup_whole = Some(standing.iter().all(|target| target.whole && target.trouble.is_none()));
        }
        gauges
    }

    /// How long its syncs take.
    pub fn timings(&self) -> &Timings {
        &self.0.timings
    }
}
