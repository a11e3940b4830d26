//! One slice of load: so many connections, one operation, one server, bounded in count and in time.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use crate::Failure;
use crate::client::{Connection, Target};
use crate::people::{Erasing, Victims};
use crate::spread::percentile;

/// What every connection of a slice sends, one after the other.
#[derive(Clone)]
pub(crate) enum Work {
    /// These requests, each connection from its own place on.
    Requests(Arc<Vec<Vec<u8>>>),
    /// Erasures, each of the next subject: opened by one officer, approved by another.
    Erasures(Arc<Victims>, Erasing),
}

impl Work {
    /// How many operations a slice may do: erasures take a person each.
    pub(crate) fn most(&self, requests: usize, connections: usize) -> usize {
        match self {
            Self::Requests(_) => requests,
            Self::Erasures(..) => requests.min(victims(connections)),
        }
    }
}

/// People that a slice of erasures takes.
pub(crate) fn victims(connections: usize) -> usize {
    40 + 6 * connections
}

/// Where a slice ends.
#[derive(Clone, Copy)]
pub(crate) struct Bounds {
    pub(crate) time: Duration,
    pub(crate) requests: usize,
}

/// What a slice measured.
pub(crate) struct Sample {
    /// Operations done.
    pub(crate) count: usize,
    /// Operations a second.
    pub(crate) rate: f64,
    /// Latency in microseconds: median and 99th percentile.
    pub(crate) p50: u32,
    pub(crate) p99: u32,
}

/// Runs a slice. Connecting and a first request on each connection are outside the measured time; `started` runs between.
pub(crate) async fn slice(
    target: &Target,
    work: &Work,
    connections: usize,
    bounds: Bounds,
    started: impl FnOnce() -> Result<(), Failure>,
) -> Result<Sample, Failure> {
    let mut open = Vec::new();
    for place in 0..connections {
        let mut connection = target.connect().await?;
        if let Work::Requests(requests) = work {
            one(&mut connection, &requests[start(place, requests.len())]).await?;
        }
        open.push(connection);
    }
    started()?;
    let left = Arc::new(AtomicUsize::new(bounds.requests));
    let begin = Instant::now();
    let mut tasks = JoinSet::new();
    for (place, connection) in open.into_iter().enumerate() {
        tasks.spawn(drive(connection, work.clone(), place, begin + bounds.time, Arc::clone(&left)));
    }
    let mut latencies = Vec::new();
    while let Some(done) = tasks.join_next().await {
        latencies.extend(done??);
    }
    let elapsed = begin.elapsed();
    latencies.sort_unstable();
    Ok(Sample {
        count: latencies.len(),
        rate: latencies.len() as f64 / elapsed.as_secs_f64(),
        p50: percentile(&latencies, 0.5),
        p99: percentile(&latencies, 0.99),
    })
}

async fn drive(
    mut connection: Connection,
    work: Work,
    place: usize,
    end: Instant,
    left: Arc<AtomicUsize>,
) -> Result<Vec<u32>, Failure> {
    let mut latencies = Vec::with_capacity(4096);
    let mut at = if let Work::Requests(requests) = &work { start(place, requests.len()) } else { 0 };
    let mut before = Instant::now();
    while before < end && left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1)).is_ok() {
        match &work {
            Work::Requests(requests) => {
                at = (at + 1) % requests.len();
                one(&mut connection, &requests[at]).await?;
            }
            Work::Erasures(victims, erasing) => {
                let Some(subject) = victims.next() else { break };
                erasing.erase(&mut connection, subject).await?;
            }
        }
        let after = Instant::now();
        latencies.push((after - before).as_micros().try_into().unwrap_or(u32::MAX));
        before = after;
    }
    Ok(latencies)
}

async fn one(connection: &mut Connection, request: &[u8]) -> Result<(), Failure> {
    let (status, body) = connection.exchange(request).await?;
    if (200..300).contains(&status) {
        return Ok(());
    }
    Err(format!("answered {status}: {}", String::from_utf8_lossy(body)).into())
}

/// Connections begin far apart, so that they do not ask for the same subject at once.
fn start(place: usize, length: usize) -> usize {
    place * 7919 % length
}
