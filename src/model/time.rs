//! The injected clock: nothing below `cli` asks the operating system for the time.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use jiff::{SignedDuration, Timestamp};

/// Where the vault takes its time from.
#[derive(Clone)]
pub struct Clock(Source);

#[derive(Clone)]
enum Source {
    System,
    /// Microseconds since 1970, turned by a test.
    Set(Arc<AtomicI64>),
}

impl Clock {
    /// The operating system's clock.
    pub fn system() -> Self {
        Self(Source::System)
    }

    /// A clock that stands still until it is turned.
    pub fn set_to(time: Timestamp) -> Self {
        Self(Source::Set(Arc::new(AtomicI64::new(time.as_microsecond()))))
    }

    /// Now, in UTC, to the microsecond.
    #[expect(clippy::disallowed_methods, reason = "the one place that asks the operating system")]
    pub fn now(&self) -> Timestamp {
        match &self.0 {
            Source::System => Timestamp::from_microsecond(Timestamp::now().as_microsecond()).unwrap_or(Timestamp::UNIX_EPOCH),
            Source::Set(at) => Timestamp::from_microsecond(at.load(Ordering::SeqCst)).unwrap_or(Timestamp::UNIX_EPOCH),
        }
    }

    /// Turns a set clock on by `by`; the system's clock is left alone.
    pub fn turn(&self, by: SignedDuration) {
        if let Source::Set(at) = &self.0 {
            at.fetch_add(by.as_micros() as i64, Ordering::SeqCst);
        }
    }
}
