//! How much of everything is done: by a full run, and by a quick one.

use std::time::Duration;

/// A full run takes up to three hours, a quick one up to fifteen minutes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effort {
    Full,
    Quick,
}

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

impl Effort {
    pub(crate) fn of(quick: bool) -> Self {
        if quick { Self::Quick } else { Self::Full }
    }

    fn or<T>(self, full: T, quick: T) -> T {
        match self {
            Self::Full => full,
            Self::Quick => quick,
        }
    }

    /// For what has no end of its own.
    pub(crate) fn measure(self) -> Duration {
        Duration::from_millis(self.or(1500, 300))
    }

    /// A fill is cut short after this.
    pub(crate) fn fill(self) -> Duration {
        Duration::from_secs(self.or(8, 1))
    }

    /// Putting in what is then read is cut short after this.
    pub(crate) fn prepare(self) -> Duration {
        Duration::from_secs(self.or(120, 5))
    }

    /// Bytes of a fill with values of 4 KiB and more.
    pub(crate) fn fill_bytes(self) -> u64 {
        self.or(4 * GIB, 512 * MIB)
    }

    /// Entries of a fill with small values.
    pub(crate) fn fill_entries(self) -> u64 {
        self.or(2_000_000, 200_000)
    }

    /// Of caches that are filled once before.
    pub(crate) fn small_capacity(self) -> u64 {
        self.or(GIB, 256 * MIB)
    }

    /// Enough that nothing is evicted.
    pub(crate) fn large_capacity(self) -> u64 {
        self.or(8 * GIB, 2 * GIB)
    }

    /// Keys of 4 KiB that are read from files.
    pub(crate) fn file_keys(self, cold: bool) -> u64 {
        if cold {
            self.or(200_000, 40_000)
        } else {
            self.or(50_000, 20_000)
        }
    }

    pub(crate) fn range_keys(self) -> u64 {
        self.or(512, 64)
    }

    pub(crate) fn mixed_capacity(self) -> u64 {
        self.or(4 * GIB, 256 * MIB)
    }

    pub(crate) fn mixed(self) -> Duration {
        Duration::from_secs(self.or(40, 3))
    }

    pub(crate) fn churn_capacity(self) -> u64 {
        self.or(GIB, 128 * MIB)
    }

    /// Bytes put while amplification is measured, at full speed.
    pub(crate) fn amplify_bytes(self, value_bytes: usize) -> u64 {
        let full = if value_bytes < 4096 {
            512 * MIB
        } else {
            3 * GIB
        };
        self.or(full, full / 16)
    }

    /// Room for that and for what the store adds, so that nothing is evicted.
    pub(crate) fn amplify_capacity(self, value_bytes: usize) -> u64 {
        if value_bytes < 4096 {
            self.or(2 * GIB, 256 * MIB)
        } else {
            self.or(4 * GIB, 512 * MIB)
        }
    }

    pub(crate) fn paced(self) -> Duration {
        Duration::from_secs(self.or(30, 3))
    }

    /// What the writer beside the gets writes at most in each phase, in bytes.
    pub(crate) fn busy_bytes(self) -> u64 {
        self.or(4 * GIB, 384 * MIB)
    }
}
