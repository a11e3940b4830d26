//! Free space, and how much of it commits may use.

use std::path::Path;

use super::StoreError;

/// The largest reserve that is kept unless another is asked for: 64 MiB.
const MOST: u64 = 64 << 20;

/// The other bound of the default reserve: the 50th part (2 %) of the file system.
const SHARE: u64 = 50;

/// Space that commits leave free, so that sled never meets a full disk in the middle of a batch.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reserve(Option<u64>);

impl Reserve {
    /// A reserve of so many bytes; `None` is 64 MiB or 2 % of the file system, whichever is smaller.
    pub(super) const fn new(bytes: Option<u64>) -> Self {
        Self(bytes)
    }

    /// Bytes above the reserve on the file system of `path`. A batch that serves forgetting may go down to a quarter
    /// of the reserve.
    pub(super) fn room(self, path: &Path, forgets: bool) -> Result<u64, StoreError> {
        let statistics = rustix::fs::statvfs(path).map_err(|_| StoreError::Unavailable("asking for free space"))?;
        let size = statistics.f_blocks.saturating_mul(statistics.f_frsize);
        let free = statistics.f_bavail.saturating_mul(statistics.f_frsize);
        Ok(self.above(size, free, forgets))
    }

    fn above(self, size: u64, free: u64, forgets: bool) -> u64 {
        let reserve = self.0.unwrap_or_else(|| MOST.min(size / SHARE));
        free.saturating_sub(if forgets { reserve / 4 } else { reserve })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_reserve_is_64_mib_or_2_percent() {
        let reserve = Reserve::new(None);
        assert_eq!(reserve.above(1 << 40, MOST + 1, false), 1);
        assert_eq!(reserve.above(1 << 40, MOST, false), 0);
        assert_eq!(reserve.above(1000, 21, false), 1);
        assert_eq!(reserve.above(1000, 20, false), 0);
    }

    #[test]
    fn forgetting_may_use_three_quarters_of_the_reserve() {
        let reserve = Reserve::new(Some(400));
        assert_eq!(reserve.above(10_000, 300, false), 0);
        assert_eq!(reserve.above(10_000, 300, true), 200);
        assert_eq!(reserve.above(10_000, 100, true), 0);
    }
}
