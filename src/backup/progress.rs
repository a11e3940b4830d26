//! How far a long piece of work has come: one thread works, others look.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

/// What is being done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Nothing yet.
    Waiting,
    /// Every file of the backup is read and its checks compared.
    Files,
    /// Rows are loaded, and the log is played over them.
    Rows,
    /// The trail is written anew.
    Trail,
    /// People are read, and rows compared with the trail.
    Reading,
    /// Everything is there.
    Done,
}

impl Step {
    const ALL: [Self; 6] = [Self::Waiting, Self::Files, Self::Rows, Self::Trail, Self::Reading, Self::Done];

    /// One word for programs.
    pub fn word(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Files => "files",
            Self::Rows => "rows",
            Self::Trail => "trail",
            Self::Reading => "reading",
            Self::Done => "done",
        }
    }
}

/// A step with what is done of it and what there is, in bytes (people in the last one).
#[derive(Debug, Default)]
pub struct Progress {
    step: AtomicU8,
    done: AtomicU64,
    total: AtomicU64,
}

impl Progress {
    /// Begins a step of so much.
    pub fn begin(&self, step: Step, total: u64) {
        self.done.store(0, Ordering::Relaxed);
        self.total.store(total, Ordering::Relaxed);
        self.step.store(step as u8, Ordering::Release);
    }

    /// So much more is done.
    pub fn add(&self, amount: u64) {
        self.done.fetch_add(amount, Ordering::Relaxed);
    }

    /// The step, what is done of it, and what there is to do.
    pub fn now(&self) -> (Step, u64, u64) {
        let step = Step::ALL.get(usize::from(self.step.load(Ordering::Acquire))).copied().unwrap_or(Step::Waiting);
        (step, self.done.load(Ordering::Relaxed), self.total.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_step_is_seen_as_it_was_begun() {
        let progress = Progress::default();
        assert_eq!(progress.now(), (Step::Waiting, 0, 0));
        for step in Step::ALL {
            progress.begin(step, 10);
            progress.add(3);
            progress.add(4);
            assert_eq!(progress.now(), (step, 7, 10), "{}", step.word());
        }
    }
}
