//! How long the cache's operations take.
//!
//! A read of a clock costs as much as a read from memory does. So what takes less than a microsecond is timed for one
//! key in [`SAMPLED`], by its hash: to the others that is a comparison. Reads from segments, which may be in the page cache,
//! are timed for one in [`SAMPLED_IN_SEGMENTS`]; what waits for a device, each time.

use crate::engine::Engine;
use crate::index::Outcome;
use crate::latency::{Latency, Times};

/// One key in so many has its reads from memory and its plain inserts timed.
const SAMPLED: u64 = 1024;
/// One key in so many has its reads from segments timed.
const SAMPLED_IN_SEGMENTS: u64 = 16;

macro_rules! times {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// The times of a running cache.
        #[derive(Debug, Default)]
        pub(crate) struct AllTimes {
            $(pub(crate) $name: Times,)*
        }

        /// How long the cache's operations took since it was opened.
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
        #[non_exhaustive]
        pub struct Timings {
            $($(#[$doc])* pub $name: Latency,)*
        }

        impl AllTimes {
            pub(crate) fn told(&self) -> Timings {
                Timings {
                    $($name: self.$name.told(),)*
                }
            }
        }
    };
}

times! {
    /// Reads answered from the tail, of one key in 1024.
    get_tail,
    /// Reads answered from the memory tier, likewise.
    get_memory,
    /// Looks into segments, found or not, of one key in 16. A read may take more than one.
    get_disk,
    /// Plain inserts without their wait for the disk, of one key in 1024: without options, up to 32 KiB.
    insert,
    /// Durable inserts, the commit included.
    insert_durable,
    /// Waits for room in the tail.
    wait_tail,
    /// Waits for a segment to write to.
    wait_segment,
    /// Waits for a commit, of durable calls.
    wait_commit,
    /// Syncs of segments of the log.
    sync,
    /// Calls of [`flush`](crate::Cache::flush).
    flush,
    /// Checkpoints that the upkeep wrote.
    checkpoint,
    /// Reclaims of a segment, waits for their budget included.
    reclaim,
}

impl Engine {
    /// Now, if operations on this key are timed.
    #[inline]
    pub(crate) fn begins(&self, hash: u64) -> Option<u64> {
        hash.is_multiple_of(SAMPLED).then(|| self.fs.monotonic_ns())
    }

    /// Adds the time since `began`, if it was taken.
    #[inline]
    pub(crate) fn ends(&self, began: Option<u64>, times: impl FnOnce(&AllTimes) -> Option<&Times>) {
        if let Some(began) = began {
            self.add_time(began, times(&self.times));
        }
    }

    #[cold]
    fn add_time(&self, began: u64, times: Option<&Times>) {
        if let Some(times) = times {
            times.add(self.fs.monotonic_ns().saturating_sub(began));
        }
    }

    /// Looks into a segment for this key.
    #[inline]
    pub(crate) fn timed_look<T>(&self, hash: u64, look: impl Fn() -> T) -> T {
        if hash.is_multiple_of(SAMPLED_IN_SEGMENTS) {
            return self.timed(&self.times.get_disk, look);
        }
        look()
    }

    /// Does what takes longer than to look at a clock.
    pub(crate) fn timed<T>(&self, times: &Times, what: impl FnOnce() -> T) -> T {
        let began = self.fs.monotonic_ns();
        let done = what();
        times.add(self.fs.monotonic_ns().saturating_sub(began));
        done
    }
}

impl AllTimes {
    /// Of a read that was answered from there. Those from a segment are timed where it is read.
    pub(crate) fn of_read(&self, from: Outcome) -> Option<&Times> {
        match from {
            Outcome::Tail => Some(&self.get_tail),
            Outcome::Memory => Some(&self.get_memory),
            _ => None,
        }
    }
}
