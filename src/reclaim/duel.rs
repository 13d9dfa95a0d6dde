//! Which placement of survivors serves this workload better: two shadow caches see a sample of its keys.
//!
//! The only part of a policy that reads and inserts touch. A key that is not in the sample costs a branch; for one that
//! is, who finds the shadows busy goes on without them.

use crate::sync::{AtomicU64, Mutex, Ordering};

use super::shadow::{Shadow, Survivors};

/// One key in 16 is in the sample of caches of ordinary size.
const USUAL_LOG2: u32 = 4;
/// As many keys are followed at most: in larger caches the sample is sparser.
const MOST_KEYS: u64 = 32 << 10;
/// As many should be followed at least: in smaller caches the sample is denser.
const LEAST_KEYS: u64 = 1 << 10;
/// The bits of a hash that choose the sample: neither the index's, at the top, nor the ghost's, at the bottom.
const SAMPLE_SHIFT: u32 = 16;
/// No exponent of a sample.
const UNKNOWN: u32 = u32::MAX;
/// Scores are halved when the sample was asked for so many times the keys it holds.
const HALF_LIFE: u64 = 4;

/// The duel of the two placements.
#[derive(Debug)]
pub struct Duel {
    /// A key is in the sample when these bits of its hash are zero.
    mask: AtomicU64,
    rounds: Mutex<Rounds>,
}

#[derive(Debug)]
struct Rounds {
    in_place: Shadow,
    to_head: Shadow,
    scores: Scores,
    sample_log2: u32,
    /// Keys that the sample of a full cache has, about.
    keys: u64,
    /// Sampled reads since the scores were halved.
    reads: u64,
}

/// Hits of either shadow, in 1/65536, halved now and then.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Scores {
    pub(super) in_place: u64,
    pub(super) to_head: u64,
}

impl Scores {
    const HIT: u64 = 1 << 16;

    /// To the head only with a lead of 3 %: it costs more writes.
    pub(super) fn to_head(self) -> bool {
        u128::from(self.to_head) * 100 > u128::from(self.in_place) * 103
    }
}

impl Duel {
    pub(super) fn new(promote: u8, log_percent: u64) -> Self {
        let shadow = |survivors| Shadow::new(survivors, promote, log_percent);
        Self {
            // Nothing is sampled before it is known how large the cache is.
            mask: AtomicU64::new(u64::MAX),
            rounds: Mutex::new(Rounds {
                in_place: shadow(Survivors::InPlace),
                to_head: shadow(Survivors::ToHead),
                scores: Scores::default(),
                sample_log2: UNKNOWN,
                keys: 0,
                reads: 0,
            }),
        }
    }

    /// A key was asked for; where it was found, with the bytes of its frame.
    #[inline]
    pub fn read(&self, hash: u64, found_bytes: Option<u32>) {
        if self.samples(hash) {
            self.play(|rounds| rounds.read(hash, found_bytes));
        }
    }

    /// A key was stored in a frame of so many bytes.
    #[inline]
    pub fn inserted(&self, hash: u64, bytes: u32) {
        if self.samples(hash) {
            self.play(|rounds| rounds.insert(hash, bytes));
        }
    }

    #[inline]
    fn samples(&self, hash: u64) -> bool {
        (hash >> SAMPLE_SHIFT) & self.mask.load(Ordering::Relaxed) == 0
    }

    #[cold]
    fn play(&self, round: impl FnOnce(&mut Rounds)) {
        if let Some(mut rounds) = self.rounds.try_lock() {
            round(&mut rounds);
        }
    }

    /// The cache has this size, and remembers so many ghosts.
    pub(super) fn resize(&self, entries: u64, bytes: u64, ghosts: u64) {
        let mut rounds = self.rounds.lock();
        let log2 = sample_log2(entries);
        // Entries come and go: the sample changes only when it is far off, for the shadows begin empty again.
        if rounds.sample_log2.abs_diff(log2) > 1 {
            rounds.restart(log2);
            self.mask.store((1 << log2) - 1, Ordering::Relaxed);
        }
        rounds.resize(entries, bytes, ghosts);
    }

    pub(super) fn to_head(&self) -> bool {
        self.rounds.lock().scores.to_head()
    }

    pub(super) fn scores(&self) -> Scores {
        self.rounds.lock().scores
    }

    pub(super) fn set_scores(&self, scores: Scores) {
        self.rounds.lock().scores = scores;
    }
}

impl Rounds {
    fn restart(&mut self, sample_log2: u32) {
        self.sample_log2 = sample_log2;
        self.in_place.clear();
        self.to_head.clear();
    }

    fn resize(&mut self, entries: u64, bytes: u64, ghosts: u64) {
        let log2 = self.sample_log2;
        self.keys = entries >> log2;
        for shadow in [&mut self.in_place, &mut self.to_head] {
            shadow.resize(bytes >> log2, ghosts >> log2);
        }
    }

    fn read(&mut self, hash: u64, found_bytes: Option<u32>) {
        self.scores.in_place += Scores::HIT * u64::from(self.in_place.read(hash));
        self.scores.to_head += Scores::HIT * u64::from(self.to_head.read(hash));
        self.reads += 1;
        if self.reads > self.keys * HALF_LIFE {
            self.reads = 0;
            self.scores.in_place /= 2;
            self.scores.to_head /= 2;
        }
        // Where the cache has it, a shadow that has not would never see an insert.
        if let Some(bytes) = found_bytes {
            self.insert(hash, bytes);
        }
    }

    fn insert(&mut self, hash: u64, bytes: u32) {
        self.in_place.insert(hash, bytes);
        self.to_head.insert(hash, bytes);
    }
}

/// The sample of a cache with this many entries is one key in two to the power of this.
fn sample_log2(entries: u64) -> u32 {
    let within = |keys: u64| (entries / keys).max(1).ilog2();
    let at_most = entries.div_ceil(MOST_KEYS).next_power_of_two().ilog2();
    USUAL_LOG2.min(within(LEAST_KEYS)).max(at_most)
}
