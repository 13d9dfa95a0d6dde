//! Which entries there are, and in which segment.

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasherDefault, Hasher};

use perennial_wal::SegmentId;

/// Of an entry, what the policy and the segments have to know.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry {
    pub(super) segment: SegmentId,
    pub(super) value_bytes: u32,
    pub(super) visits: u8,
}

/// The live entries, by hash and by segment.
#[derive(Debug)]
pub(super) struct Index {
    entries: HashMap<u64, Entry, BuildHasherDefault<AsIs>>,
    /// The hashes of what was put in each segment, in the order in which it lies there; some of it may be elsewhere by now.
    segments: BTreeMap<SegmentId, Vec<u64>>,
    /// Entries of each shard.
    shards: Vec<u64>,
    shards_log2: u32,
}

impl Index {
    pub(super) fn new(shards_log2: u32) -> Self {
        Self {
            entries: HashMap::default(),
            segments: BTreeMap::new(),
            shards: vec![0; 1 << shards_log2],
            shards_log2,
        }
    }

    pub(super) fn len(&self) -> u64 {
        self.entries.len() as u64
    }

    /// The entries of each shard.
    pub(super) fn shards(&self) -> &[u64] {
        &self.shards
    }

    fn shard(&mut self, hash: u64) -> &mut u64 {
        // A shift by 64 stands for the only shard.
        let shard = hash.checked_shr(64 - self.shards_log2).unwrap_or(0);
        &mut self.shards[usize::try_from(shard).unwrap_or(0)]
    }

    /// An entry that is read; where `counts` says so of its segment, that is a visit.
    pub(super) fn read(&mut self, hash: u64, counts: impl Fn(SegmentId) -> bool) -> Option<Entry> {
        let entry = self.entries.get_mut(&hash)?;
        if entry.visits < 3 && counts(entry.segment) {
            entry.visits += 1;
        }
        Some(*entry)
    }

    pub(super) fn insert(&mut self, hash: u64, value_bytes: u32, segment: SegmentId) {
        let entry = Entry {
            segment,
            value_bytes,
            visits: 0,
        };
        self.place(hash, segment);
        if self.entries.insert(hash, entry).is_none() {
            *self.shard(hash) += 1;
        }
    }

    /// A copy of the entry lies in this segment, whether or not it counts yet.
    pub(super) fn place(&mut self, hash: u64, segment: SegmentId) {
        self.segments.entry(segment).or_default().push(hash);
    }

    /// The entry, if it is in this segment.
    pub(super) fn get_in(&self, hash: u64, segment: SegmentId) -> Option<Entry> {
        let entry = self.entries.get(&hash);
        entry.filter(|entry| entry.segment == segment).copied()
    }

    /// The entries that are in a segment, in the order in which they lie there.
    pub(super) fn in_segment(&self, segment: SegmentId) -> Vec<(u64, Entry)> {
        let hashes = self.segments.get(&segment).into_iter().flatten();
        let here = hashes.filter_map(|hash| Some((*hash, self.get_in(*hash, segment)?)));
        here.collect()
    }

    /// The entry counts where its copy lies, if it is still in `from`; its visits begin anew. False: it is not.
    pub(super) fn relocate(&mut self, hash: u64, from: SegmentId, to: SegmentId) -> bool {
        let entry = self.entries.get_mut(&hash);
        let Some(entry) = entry.filter(|entry| entry.segment == from) else {
            return false;
        };
        (entry.segment, entry.visits) = (to, 0);
        true
    }

    /// The segments that entries are in.
    #[cfg(test)]
    pub(super) fn segments_in_use(&self) -> impl Iterator<Item = SegmentId> {
        self.entries.values().map(|entry| entry.segment)
    }

    /// A segment is gone, and what is still in it.
    pub(super) fn drop_segment(&mut self, segment: SegmentId) {
        for hash in self.segments.remove(&segment).into_iter().flatten() {
            if self.get_in(hash, segment).is_some() {
                self.entries.remove(&hash);
                *self.shard(hash) -= 1;
            }
        }
    }
}

/// Hashes are hashes already.
#[derive(Debug, Default)]
pub(crate) struct AsIs(u64);

impl Hasher for AsIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: SegmentId = SegmentId(1);
    const B: SegmentId = SegmentId(2);

    #[test]
    fn what_was_moved_stays_when_its_old_segment_goes() {
        let mut index = Index::new(1);
        for hash in [1, 2, u64::MAX] {
            index.insert(hash, 100, A);
            index.read(hash, |_| true);
        }
        assert_eq!(index.shards(), [2, 1]);
        index.place(2, B);
        assert!(index.relocate(2, A, B) && !index.relocate(2, A, B));
        let left: Vec<_> = index.in_segment(A).iter().map(|(hash, _)| *hash).collect();
        assert_eq!(left, [1, u64::MAX]);
        index.drop_segment(A);
        assert_eq!((index.len(), index.shards()), (1, &[1, 0][..]));
        assert_eq!(index.in_segment(B)[0].1.visits, 0);
        assert_eq!(index.read(2, |_| true).unwrap().visits, 1);
    }
}
