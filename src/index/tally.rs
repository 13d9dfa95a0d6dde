//! How well the filters do, counted without threads getting in each other's way.

use crossbeam_utils::CachePadded;

use crate::sync::{AtomicU64, AtomicUsize, Ordering};

/// What lookups met. The three are read one after the other, not at one instant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct FilterStats {
    /// Lookups.
    pub(crate) probes: u64,
    /// Of these, answered by the filter: the key is not there.
    pub(crate) negatives: u64,
    /// Of these, let through in vain.
    pub(crate) false_positives: u64,
}

impl FilterStats {
    /// Lookups of keys that were not there.
    pub(super) fn absent(&self) -> u64 {
        self.negatives + self.false_positives
    }
}

#[derive(Clone, Copy)]
pub(super) enum Outcome {
    Hit,
    Negative,
    FalsePositive,
    /// No lookup: visited bits were raised.
    Visit,
}

const STRIPES: usize = 8;

/// One line for every eighth thread, one counter for every outcome.
#[derive(Default)]
pub(super) struct Tally([CachePadded<[AtomicU64; 4]>; STRIPES]);

impl Tally {
    pub(super) fn count(&self, outcome: Outcome) {
        self.0[stripe()][outcome as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn stats(&self) -> FilterStats {
        let negatives = self.sum(Outcome::Negative);
        let false_positives = self.sum(Outcome::FalsePositive);
        FilterStats {
            probes: negatives + false_positives + self.sum(Outcome::Hit),
            negatives,
            false_positives,
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
