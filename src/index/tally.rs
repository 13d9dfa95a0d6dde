//! How lookups end, counted without threads getting in each other's way.

use crossbeam_utils::CachePadded;

use crate::sync::{AtomicU64, AtomicUsize, Ordering};

/// How reads ended. The counts are read one after the other, not at one instant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ReadStats {
    pub(crate) hits_tail: u64,
    pub(crate) hits_memory: u64,
    pub(crate) hits_disk: u64,
    pub(crate) misses: u64,
    /// Misses that the filter answered.
    pub(crate) negatives: u64,
    /// Misses that it let through: the key had no entry.
    pub(crate) false_positives: u64,
}

impl ReadStats {
    /// All of them.
    pub(crate) fn reads(&self) -> u64 {
        self.hits_tail + self.hits_memory + self.hits_disk + self.misses
    }

    /// Of keys that were not there.
    pub(super) fn absent(&self) -> u64 {
        self.negatives + self.false_positives
    }
}

/// How a read ended. Each is counted once, by one locked instruction on a line that few threads share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Found in the tail.
    Tail,
    /// In the memory tier.
    Memory,
    /// In a file.
    Disk,
    /// The filter says that it is not there.
    Negative,
    /// The filter let it through in vain.
    FalsePositive,
    /// It has an entry, which is another key's, or over, or led nowhere.
    Vain,
    /// No read: visited bits were raised.
    Visit,
}

const OUTCOMES: usize = Outcome::Visit as usize + 1;

const STRIPES: usize = 8;

/// One line for every eighth thread, one counter for every outcome.
#[derive(Default)]
pub(super) struct Tally([CachePadded<[AtomicU64; OUTCOMES]>; STRIPES]);

impl Tally {
    pub(super) fn count(&self, outcome: Outcome) {
        self.0[stripe()][outcome as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn stats(&self) -> ReadStats {
        use Outcome::{Disk, FalsePositive, Memory, Negative, Tail, Vain};
        let [tail, memory, disk, negatives, false_positives, vain] =
            [Tail, Memory, Disk, Negative, FalsePositive, Vain].map(|outcome| self.sum(outcome));
        ReadStats {
            hits_tail: tail,
            hits_memory: memory,
            hits_disk: disk,
            negatives,
            false_positives,
            misses: negatives + false_positives + vain,
        }
    }

    pub(super) fn visits(&self) -> u64 {
        self.sum(Outcome::Visit)
    }

    fn sum(&self, outcome: Outcome) -> u64 {
        let counters = self.0.iter().map(|stripe| &stripe[outcome as usize]);
        counters.map(|c| c.load(Ordering::Relaxed)).sum()
    }
}

fn stripe() -> usize {
    static THREADS: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static STRIPE: usize = THREADS.fetch_add(1, Ordering::Relaxed) % STRIPES;
    }
    STRIPE.try_with(|stripe| *stripe).unwrap_or(0)
}
