//! The fingerprints of entries that were dropped lately.
//!
//! ```text
//!   hash  63 ......... 0      a bucket, by the top bits: `depth` fingerprints, newest first
//!         bucket | fingerprint (low 16 bits)           [ 5f01 | 0c77 | ... | 91aa ]
//! ```
//! An insert pushes the oldest fingerprint out of its bucket. A lookup that should fail succeeds once in 65,536 / `depth`.
//! When the cache holds more entries than the buckets are for, there are twice as many, and each is copied to both of its
//! halves as far as the new depth goes. What is in the wrong half ages like the rest; until then the table remembers about
//! half of what it should, newest first. That happens once for each doubling.

/// Fingerprints of a bucket at most, half as many at least, unless there is but one bucket.
const MAX_DEPTH: usize = 16;

/// More buckets are never made: 32 MiB, for 16 million entries.
const MAX_BUCKETS_LOG2: u32 = 20;

/// A fingerprint of no key.
const NONE: u16 = 0;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ghost {
    buckets_log2: u32,
    depth: usize,
    /// Bucket after bucket.
    slots: Vec<u16>,
}

impl Ghost {
    pub(super) fn new() -> Self {
        Self {
            buckets_log2: 0,
            depth: 1,
            slots: vec![NONE],
        }
    }

    /// Makes it remember about `entries`.
    pub(super) fn resize(&mut self, entries: u64) {
        let entries = usize::try_from(entries).unwrap_or(usize::MAX);
        let mut log2 = self.buckets_log2;
        while (MAX_DEPTH << log2) < entries && log2 < MAX_BUCKETS_LOG2 {
            log2 += 1;
        }
        let depth = entries.div_ceil(1 << log2).clamp(1, MAX_DEPTH);
        if (log2, depth) != (self.buckets_log2, self.depth) {
            self.lay_out(log2, depth);
        }
    }

    fn lay_out(&mut self, log2: u32, depth: usize) {
        let mut slots = vec![NONE; depth << log2];
        for (at, bucket) in slots.chunks_exact_mut(depth).enumerate() {
            let old = (at >> (log2 - self.buckets_log2)) * self.depth;
            let newest = &self.slots[old..old + self.depth.min(depth)];
            bucket[..newest.len()].copy_from_slice(newest);
        }
        *self = Self {
            buckets_log2: log2,
            depth,
            slots,
        };
    }

    pub(super) fn contains(&self, hash: u64) -> bool {
        let begin = self.begin(hash);
        self.slots[begin..begin + self.depth].contains(&fingerprint(hash))
    }

    pub(super) fn insert(&mut self, hash: u64) {
        self.remove(hash);
        let bucket = self.bucket(hash);
        bucket.rotate_right(1);
        bucket[0] = fingerprint(hash);
    }

    pub(super) fn remove(&mut self, hash: u64) {
        let bucket = self.bucket(hash);
        if let Some(at) = bucket.iter().position(|f| *f == fingerprint(hash)) {
            bucket[at] = NONE;
            bucket[at..].rotate_left(1);
        }
    }

    fn begin(&self, hash: u64) -> usize {
        // A shift by 64 stands for the only bucket.
        let bucket = hash.checked_shr(64 - self.buckets_log2).unwrap_or(0);
        usize::try_from(bucket).unwrap_or(0) * self.depth
    }

    fn bucket(&mut self, hash: u64) -> &mut [u16] {
        let begin = self.begin(hash);
        &mut self.slots[begin..begin + self.depth]
    }

    /// Two bytes, the number of buckets as a power of two and their depth; then the fingerprints.
    pub(super) fn save(&self, to: &mut Vec<u8>) {
        to.push(u8::try_from(self.buckets_log2).unwrap_or(0));
        to.push(u8::try_from(self.depth).unwrap_or(0));
        to.extend(self.slots.iter().flat_map(|f| f.to_le_bytes()));
    }

    pub(super) fn load(saved: &[u8]) -> Option<Self> {
        let ([log2, depth], rest) = saved.split_first_chunk()?;
        let (buckets_log2, depth) = (u32::from(*log2), usize::from(*depth));
        let sound = buckets_log2 <= MAX_BUCKETS_LOG2 && (1..=MAX_DEPTH).contains(&depth);
        if !sound || rest.len() != (2 * depth) << buckets_log2 {
            return None;
        }
        let pairs = rest.as_chunks().0;
        Some(Self {
            buckets_log2,
            depth,
            slots: pairs.iter().map(|pair| u16::from_le_bytes(*pair)).collect(),
        })
    }
}

/// The low 16 bits of the hash; the top ones choose the bucket.
fn fingerprint(hash: u64) -> u16 {
    let [a, b, ..] = hash.to_le_bytes();
    u16::from_le_bytes([a, b]).max(NONE + 1)
}

#[cfg(test)]
mod tests {
    use xxhash_rust::xxh3::xxh3_64;

    use super::*;

    fn hash(n: u64) -> u64 {
        xxh3_64(&n.to_le_bytes())
    }

    fn found(ghost: &Ghost, keys: std::ops::Range<u64>) -> usize {
        keys.filter(|n| ghost.contains(hash(*n))).count()
    }

    fn of(entries: u64, keys: std::ops::Range<u64>) -> Ghost {
        let mut ghost = Ghost::new();
        ghost.resize(entries);
        keys.for_each(|n| ghost.insert(hash(n)));
        ghost
    }

    #[test]
    fn it_remembers_about_as_many_as_it_should() {
        let ghost = of(10_000, 0..100_000);
        assert!(found(&ghost, 95_000..100_000) > 4_900);
        assert!(found(&ghost, 0..80_000) < 80);
        let held = found(&ghost, 0..100_000);
        assert!((9_500..10_500).contains(&held), "{held}");
    }

    #[test]
    fn it_takes_two_bytes_for_each() {
        for entries in [1_u64, 15, 16, 17, 10_000, 10_001] {
            let mut ghost = Ghost::new();
            ghost.resize(entries);
            let slots = ghost.slots.len() as u64;
            assert!(
                slots >= entries && slots <= entries + entries / 8 + 1,
                "{entries}: {slots}"
            );
        }
    }

    #[test]
    fn what_is_kept_is_no_ghost() {
        let mut ghost = of(1000, 0..500);
        (0..250).for_each(|n| ghost.remove(hash(n)));
        assert_eq!(found(&ghost, 0..250), 0);
        assert!(found(&ghost, 250..500) > 245);
        ghost.insert(hash(1));
        ghost.insert(hash(1));
        ghost.remove(hash(1));
        assert!(!ghost.contains(hash(1)), "it was there once");
    }

    #[test]
    fn doubling_forgets_nothing() {
        let mut ghost = of(1000, 0..900);
        let before: Vec<_> = (0..900).filter(|n| ghost.contains(hash(*n))).collect();
        for entries in [2000, 4000, 64_000] {
            ghost.resize(entries);
            let all = before.iter().all(|n| ghost.contains(hash(*n)));
            assert!(all, "{entries}");
        }
        ghost.resize(0);
        assert_eq!(ghost.depth, 1);
    }

    #[test]
    fn a_little_growth_forgets_the_older_half_at_most() {
        let mut ghost = of(1000, 0..900);
        ghost.resize(1100);
        // Three of the newest 200 came to each bucket, on average, and nine have room.
        assert!(found(&ghost, 700..900) > 195);
        assert!(found(&ghost, 0..900) > 450);
    }

    #[test]
    fn it_comes_back_as_it_was() {
        let ghost = of(300, 0..300);
        let mut saved = Vec::new();
        ghost.save(&mut saved);
        assert_eq!(Ghost::load(&saved), Some(ghost));
        for cut in 0..saved.len() {
            assert_eq!(Ghost::load(&saved[..cut]), None, "{cut}");
        }
        saved[0] = 60;
        assert_eq!(Ghost::load(&saved), None);
        assert_eq!(Ghost::load(&[0, 0]), None);
    }
}
