//! Which placement of survivors serves this workload better: two shadow caches see a sample of its keys.
//!
//! The only part of a policy that reads and inserts touch. A key that is not in the sample costs a branch; for one that
//! is, who finds the shadows busy goes on without them.

use perennial_wal::segment::ROW_BYTES;
use perennial_wal::{to_u32, to_usize};

use super::shadow::{Shadow, Survivors};
use crate::index::size_class;
use crate::sync::{AtomicU64, Mutex, Ordering};

/// One key in 16 is in the sample of caches of ordinary size.
const USUAL_LOG2: u32 = 4;
/// As many keys are followed at most, which takes about a megabyte: in larger caches the sample is sparser.
const MOST_KEYS: u64 = 16 << 10;
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
            // What the index knows of a size is its class.
            let bound = |bytes| size_class::class_bound(size_class::class_of(bytes));
            let charge = found_bytes.map(|bytes| with_row(bound(bytes)));
            self.play(|rounds| rounds.read(tag(hash), charge));
        }
    }

    /// A key was stored in a frame of so many bytes.
    #[inline]
    pub fn inserted(&self, hash: u64, bytes: u32) {
        if self.samples(hash) {
            self.play(|rounds| rounds.insert(tag(hash), with_row(bytes)));
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

    fn read(&mut self, tag: u32, found_bytes: Option<u32>) {
        self.scores.in_place += Scores::HIT * u64::from(self.in_place.read(tag));
        self.scores.to_head += Scores::HIT * u64::from(self.to_head.read(tag));
        self.reads += 1;
        if self.reads > self.keys * HALF_LIFE {
            self.reads = 0;
            self.scores.in_place /= 2;
            self.scores.to_head /= 2;
        }
        // Where the cache has it, a shadow that has not would never see an insert.
        if let Some(bytes) = found_bytes {
            self.insert(tag, bytes);
        }
    }

    fn insert(&mut self, tag: u32, bytes: u32) {
        self.in_place.insert(tag, bytes);
        self.to_head.insert(tag, bytes);
    }
}

/// The sample of a cache with this many entries is one key in two to the power of this.
fn sample_log2(entries: u64) -> u32 {
    let within = |keys: u64| (entries / keys).max(1).ilog2();
    let at_most = entries.div_ceil(MOST_KEYS).next_power_of_two().ilog2();
    USUAL_LOG2.min(within(LEAST_KEYS)).max(at_most)
}

/// What a frame of so many bytes takes of its segment.
fn with_row(bytes: u32) -> u32 {
    bytes.saturating_add(to_u32(to_usize(ROW_BYTES)))
}

/// How the shadows tell keys apart.
fn tag(hash: u64) -> u32 {
    let [.., a, b, c, d] = hash.to_le_bytes();
    u32::from_le_bytes([a, b, c, d])
}

#[cfg(test)]
mod tests {
    use xxhash_rust::xxh3::xxh3_64;

    use super::*;

    fn hash(n: u64) -> u64 {
        xxh3_64(&n.to_le_bytes())
    }

    fn duel(entries: u64) -> Duel {
        let duel = Duel::new(1, 25);
        duel.resize(entries, entries * 100, entries);
        duel
    }

    #[test]
    fn one_key_in_sixteen_unless_that_is_few_or_many() {
        for (entries, log2) in [
            (1, 0),
            (1000, 0),
            (2048, 1),
            (16_384, 4),
            (262_144, 4),
            (1 << 20, 6),
        ] {
            assert_eq!(sample_log2(entries), log2, "{entries}");
        }
        let sampled = (0..16_000)
            .filter(|n| duel(100_000).samples(hash(*n)))
            .count();
        assert!((900..1100).contains(&sampled), "{sampled}");
    }

    #[test]
    fn nothing_is_sampled_before_the_size_is_known() {
        let duel = Duel::new(1, 25);
        (0..1000).for_each(|n| {
            duel.inserted(hash(n), 10);
            duel.read(hash(n), Some(10));
        });
        assert_eq!(duel.scores(), Scores::default());
    }

    #[test]
    fn what_the_cache_has_the_shadows_get_to_know() {
        let duel = duel(100);
        duel.read(hash(1), None);
        duel.read(hash(1), None);
        assert_eq!(duel.scores().in_place, 0, "a miss says no size");
        duel.read(hash(2), Some(10));
        duel.read(hash(2), Some(10));
        duel.inserted(hash(3), 10);
        duel.read(hash(3), None);
        assert_eq!(duel.scores().in_place, 2 * Scores::HIT);
        assert_eq!(duel.scores().to_head, 2 * Scores::HIT);
    }

    #[test]
    fn who_finds_it_busy_goes_on() {
        let duel = duel(100);
        let busy = duel.rounds.lock();
        duel.inserted(hash(1), 10);
        drop(busy);
        duel.read(hash(1), None);
        assert_eq!(duel.scores(), Scores::default());
    }

    #[test]
    fn it_takes_a_lead_of_three_per_cent() {
        let scores = |in_place, to_head| Scores { in_place, to_head };
        assert!(!scores(0, 0).to_head());
        assert!(!scores(1000, 1030).to_head());
        assert!(scores(1000, 1031).to_head());
        assert!(scores(0, 1).to_head());
    }

    #[test]
    fn old_hits_count_less() {
        let duel = duel(100);
        duel.inserted(hash(1), 10);
        (0..10_000).for_each(|_| duel.read(hash(1), None));
        let score = duel.scores().in_place / Scores::HIT;
        assert!((400..=810).contains(&score), "{score}");
    }

    #[test]
    fn another_size_of_sample_begins_anew() {
        let duel = duel(100);
        duel.inserted(hash(1), 10);
        duel.resize(150, 15_000, 150);
        duel.read(hash(1), None);
        assert_eq!(duel.scores().in_place, Scores::HIT);
        duel.resize(100_000, 1 << 30, 100_000);
        let sampled = (0..).map(hash).find(|h| duel.samples(*h)).unwrap();
        duel.read(sampled, None);
        assert_eq!(
            duel.scores().in_place,
            Scores::HIT,
            "the scores stay, the shadows are empty"
        );
    }
}
