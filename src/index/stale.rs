//! When filters have to be built anew, and who is told.
//!
//! Bits of keys that are gone stay in a filter: it lets more and more through in vain. It is built anew from the slots of its
//! shard, by the upkeep, when
//!
//! - a tenth of the keys in it is gone: removed under the lock, which the shard counts, or evicted with their segments, of
//!   which every shard has its share, for keys are spread evenly;
//! - or lookups of absent keys were let through five times as often as promised.
//!
//! The second is watched where something was let through in vain, which is rare, and over the whole index: 2,000 lookups
//! say enough of the rate, but a shard does not get that many soon. Where 2,000 are too few to expect twenty in vain at
//! the promised rate, it is over as many as that takes.

use crossbeam_utils::CachePadded;

use crate::sync::{AtomicU64, Ordering};

const LEAST_PROBES: u64 = 2_000;
/// Times the promised rate.
const TOLERATED: f64 = 5.0;
/// Keys that are removed from stale shards before the upkeep is woken for them.
const WORTH_WAKING: u64 = 16;

const CALM: u64 = 0;
const WANTED: u64 = 1;
const TOLD: u64 = 2;

/// Why and how often. On lines of its own: only rare events write there.
#[derive(Debug)]
pub(super) struct Stale {
    probes: u64,
    /// More let through in vain over so many probes are too many.
    limit: u64,
    /// Read after each miss.
    state: CachePadded<AtomicU64>,
    counts: CachePadded<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    /// Entries that went with their segments.
    evicted: AtomicU64,
    /// Removes in shards that were stale already.
    waiting: AtomicU64,
    passed: AtomicU64,
    /// Lookups of absent keys when `passed` was 0.
    since: AtomicU64,
    /// Not 0: the rate is too high.
    too_high: AtomicU64,
    rebuilds: AtomicU64,
}

impl Stale {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "positive numbers below a million"
    )]
    pub(super) fn new(fp_rate: f64) -> Self {
        let probes = LEAST_PROBES.max((20.0 / fp_rate).min(1e6) as u64);
        Self {
            probes,
            limit: (TOLERATED * fp_rate * probes as f64 + 1e-6) as u64,
            state: CachePadded::default(),
            counts: CachePadded::default(),
        }
    }

    /// True until the filters are looked after.
    #[inline]
    pub(super) fn is_wanted(&self) -> bool {
        self.state.load(Ordering::Relaxed) != CALM
    }

    /// True for one caller: who is to tell the upkeep.
    pub(super) fn is_to_tell(&self) -> bool {
        let order = Ordering::Relaxed;
        self.state.load(order) == WANTED
            && self
                .state
                .compare_exchange(WANTED, TOLD, order, order)
                .is_ok()
    }

    fn want(&self) {
        let order = Ordering::Relaxed;
        let _ = self.state.compare_exchange(CALM, WANTED, order, order);
    }

    /// A key was removed from a shard a tenth of whose keys are gone.
    pub(super) fn removed(&self) {
        if self.counts.waiting.fetch_add(1, Ordering::Relaxed) + 1 >= WORTH_WAKING {
            self.want();
        }
    }

    pub(super) fn evicted(&self, entries: u64) {
        self.counts.evicted.fetch_add(entries, Ordering::Relaxed);
    }

    pub(super) fn evicted_so_far(&self) -> u64 {
        self.counts.evicted.load(Ordering::Relaxed)
    }

    /// A lookup was let through in vain, and is one of those of `absent` keys.
    #[cold]
    pub(super) fn passed_in_vain(&self, absent: impl FnOnce() -> u64) {
        let passed = self.counts.passed.fetch_add(1, Ordering::Relaxed) + 1;
        if passed <= self.limit {
            return;
        }
        let now = absent();
        let since = self.counts.since.swap(now, Ordering::Relaxed);
        self.counts.passed.store(0, Ordering::Relaxed);
        if now.saturating_sub(since) <= self.probes {
            self.counts.too_high.store(1, Ordering::Relaxed);
            self.want();
        }
    }

    /// Whoever looks after the filters begins. True: those with any key that is gone are due.
    pub(super) fn begin(&self) -> bool {
        self.state.store(CALM, Ordering::Relaxed);
        self.counts.waiting.store(0, Ordering::Relaxed);
        self.counts.too_high.swap(0, Ordering::Relaxed) != 0
    }

    pub(super) fn rebuilt(&self) {
        self.counts.rebuilds.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn rebuilds(&self) -> u64 {
        self.counts.rebuilds.load(Ordering::Relaxed)
    }
}
