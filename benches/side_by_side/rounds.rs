//! Rounds over all servers, operations and numbers of connections, and what they measured.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::Failure;
use crate::client::Target;
use crate::load::{Bounds, Sample, Work, slice};
use crate::process::Server;
use crate::spread::Spread;

/// The measured operations, in the order of the columns.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Op {
    Write,
    Read,
    Lookup,
    Erase,
}

impl Op {
    pub(crate) const ALL: [Self; 4] = [Self::Write, Self::Read, Self::Lookup, Self::Erase];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Write => "write",
            Self::Read => "read",
            Self::Lookup => "look-up",
            Self::Erase => "erase",
        }
    }
}

/// A server that takes part.
pub(crate) struct Arm {
    pub(crate) name: &'static str,
    pub(crate) server: Server,
    pub(crate) target: Target,
    pub(crate) work: Vec<(Op, Work)>,
}

/// What was measured in each round, by arm, operation and number of connections.
#[derive(Default)]
pub(crate) struct Figures(BTreeMap<(usize, Op, usize), Vec<(Sample, Duration)>>);

/// Runs `rounds` rounds. In each, the arms take their turns slice by slice, and another arm begins.
pub(crate) async fn run(arms: &mut [Arm], connections: &[usize], rounds: usize, bounds: Bounds) -> Result<Figures, Failure> {
    let mut figures = Figures::default();
    for round in 0..rounds {
        eprintln!("round {} of {rounds}", round + 1);
        for op in Op::ALL {
            for &open in connections {
                for turn in 0..arms.len() {
                    let at = (turn + round) % arms.len();
                    let arm = &mut arms[at];
                    let Some((_, work)) = arm.work.iter().find(|(o, _)| *o == op) else { continue };
                    let bounds = Bounds { requests: work.most(bounds.requests, open), ..bounds };
                    let mut before = Duration::ZERO;
                    let begun = || {
                        before = arm.server.cpu()?;
                        Ok(())
                    };
                    let sample = slice(&arm.target, work, open, bounds, begun)
                        .await
                        .map_err(|e| format!("{}, {}, {open} connections: {e}", arm.name, op.name()))?;
                    arm.server.is_alive()?;
                    figures.0.entry((at, op, open)).or_default().push((sample, arm.server.cpu()? - before));
                }
            }
        }
    }
    Ok(figures)
}

impl Figures {
    fn samples(&self, arm: usize, op: Op, open: usize) -> &[(Sample, Duration)] {
        self.0.get(&(arm, op, open)).map_or(&[], Vec::as_slice)
    }

    /// Whether this was measured at all.
    pub(crate) fn has(&self, arm: usize, op: Op, open: usize) -> bool {
        !self.samples(arm, op, open).is_empty()
    }

    /// Rate of one arm's operation over another's, round by round.
    pub(crate) fn ratio(&self, (arm, op): (usize, Op), (to, of): (usize, Op), open: usize) -> Spread {
        let pairs = self.samples(arm, op, open).iter().zip(self.samples(to, of, open));
        Spread::of(pairs.map(|((a, _), (b, _))| a.rate / b.rate))
    }

    /// Operations a second.
    pub(crate) fn rate(&self, arm: usize, op: Op, open: usize) -> Spread {
        Spread::of(self.samples(arm, op, open).iter().map(|(s, _)| s.rate))
    }

    /// Median over the rounds of the median and the 99th percentile of latency, in milliseconds.
    pub(crate) fn latency(&self, arm: usize, op: Op, open: usize) -> (f64, f64) {
        let samples = self.samples(arm, op, open);
        let median = |of: fn(&Sample) -> u32| Spread::of(samples.iter().map(|(s, _)| f64::from(of(s)) / 1e3)).median;
        (median(|s| s.p50), median(|s| s.p99))
    }

    /// The server's CPU microseconds for one operation, over all rounds together: clock ticks are too coarse for one.
    pub(crate) fn cpu(&self, arm: usize, op: Op, open: usize) -> f64 {
        let samples = self.samples(arm, op, open);
        let count: usize = samples.iter().map(|(s, _)| s.count).sum();
        let time: Duration = samples.iter().map(|(_, cpu)| *cpu).sum();
        time.as_secs_f64() * 1e6 / count.max(1) as f64
    }
}
