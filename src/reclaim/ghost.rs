//! The fingerprints of entries that were dropped lately.
//!
//! ```text
//!   hash  63 ......... 0      buckets, by the top bits: newest first, `depth` of them in use
//!         bucket | fingerprint (low 16 bits)      [ 5f01 0c77 ... | unused ]
//!                                                 [ 91aa ...      | unused ]
//! ```
//! An insert pushes the oldest fingerprint out of its bucket. A lookup that should fail succeeds once in 65,536 / `depth`.
//! When the cache holds more entries than the table is for, each bucket is copied to both of its halves: nothing is
//! forgotten, and what is in the wrong half ages like the rest.

/// Fingerprints of a bucket: 32 bytes.
const SLOTS: usize = 16;

/// More buckets than this are never made: 32 MiB, for 16 million entries.
const MAX_BUCKETS_LOG2: u32 = 20;

/// A fingerprint of no key.
const NONE: u16 = 0;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ghost {
    buckets: Vec<[u16; SLOTS]>,
    depth: usize,
}

impl Ghost {
    pub(super) fn new() -> Self {
        Self {
            buckets: vec![[NONE; SLOTS]],
            depth: 1,
        }
    }

    /// Makes it remember about `entries`.
    pub(super) fn resize(&mut self, entries: u64) {
        let entries = usize::try_from(entries).unwrap_or(usize::MAX);
        while self.buckets.len().saturating_mul(SLOTS) < entries
            && self.buckets.len() < 1 << MAX_BUCKETS_LOG2
        {
            self.buckets = self.buckets.iter().flat_map(|b| [*b, *b]).collect();
        }
        self.depth = entries.div_ceil(self.buckets.len()).clamp(1, SLOTS);
    }

    pub(super) fn contains(&self, hash: u64) -> bool {
        self.bucket(hash).contains(&fingerprint(hash))
    }

    pub(super) fn insert(&mut self, hash: u64) {
        self.remove(hash);
        let depth = self.depth;
        let bucket = self.bucket_mut(hash);
        bucket.copy_within(..depth - 1, 1);
        bucket[0] = fingerprint(hash);
    }

    pub(super) fn remove(&mut self, hash: u64) {
        let depth = self.depth;
        let bucket = self.bucket_mut(hash);
        if let Some(at) = bucket[..depth].iter().position(|f| *f == fingerprint(hash)) {
            bucket.copy_within(at + 1..depth, at);
            bucket[depth - 1] = NONE;
        }
    }

    fn index(&self, hash: u64) -> usize {
        let log2 = self.buckets.len().ilog2();
        // A shift by 64 would be the one bucket.
        usize::try_from(hash.checked_shr(64 - log2).unwrap_or(0)).unwrap_or(0)
    }

    fn bucket(&self, hash: u64) -> &[u16] {
        &self.buckets[self.index(hash)][..self.depth]
    }

    fn bucket_mut(&mut self, hash: u64) -> &mut [u16; SLOTS] {
        let index = self.index(hash);
        &mut self.buckets[index]
    }

    /// Two bytes: the buckets' number as a power of two, the depth. Then the fingerprints in use.
    pub(super) fn save(&self, to: &mut Vec<u8>) {
        to.push(u8::try_from(self.buckets.len().ilog2()).unwrap_or(0));
        to.push(u8::try_from(self.depth).unwrap_or(0));
        for bucket in &self.buckets {
            to.extend(bucket[..self.depth].iter().flat_map(|f| f.to_le_bytes()));
        }
    }

    pub(super) fn load(saved: &[u8]) -> Option<Self> {
        let ([log2, depth], rest) = saved.split_first_chunk()?;
        let (log2, depth) = (u32::from(*log2), usize::from(*depth));
        if log2 > MAX_BUCKETS_LOG2 || !(1..=SLOTS).contains(&depth) {
            return None;
        }
        // Before anything is allocated: no more memory than there are bytes.
        if rest.len() != (depth * 2) << log2 {
            return None;
        }
        let bucket = |bytes: &[u8]| {
            let mut bucket = [NONE; SLOTS];
            for (slot, pair) in bucket.iter_mut().zip(bytes.as_chunks().0) {
                *slot = u16::from_le_bytes(*pair);
            }
            bucket
        };
        Some(Self {
            buckets: rest.chunks_exact(depth * 2).map(bucket).collect(),
            depth,
        })
    }
}

/// The low 16 bits of the hash; the bucket is chosen by the top ones.
fn fingerprint(hash: u64) -> u16 {
    let [a, b, ..] = hash.to_le_bytes();
    u16::from_le_bytes([a, b]).max(NONE + 1)
}
