//! The body of a `Clear` frame: which segments' entries are left.
//!
//! ```text
//!  byte  0                   8            16            24
//!       | oldest log number | from number | below number | kept number | ... 8 bytes each
//! ```
//! Without a body nothing is left: the cache was cleared. With one, entries that a reclaim evicted before must stay away
//! from now on: segments of the log before the oldest, and kept segments numbered from `from` to below `below` that are
//! not named. The index does not know evicted entries, so whoever removes entries by something else than their hash
//! cannot name them (hole 30 in `docs/recovery.md`).

use perennial_wal::{SegmentId, to_usize};

use crate::codec::u64_at;

/// Bytes before the kept numbers.
pub const LEFT_BYTES: u64 = 24;
/// Bytes of one kept number.
pub const LEFT_KEPT_BYTES: u64 = 8;

/// The segments whose entries are left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Left {
    /// The oldest segment of the log.
    pub oldest: SegmentId,
    /// The first kept number that this is about.
    pub from: SegmentId,
    /// The first one behind.
    pub below: SegmentId,
    /// Those between them that are left, ascending.
    pub kept: Vec<SegmentId>,
}

impl Left {
    /// The body that says so.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let words = [self.oldest, self.from, self.below];
        let words = words.iter().chain(&self.kept);
        words.flat_map(|id| id.0.to_le_bytes()).collect()
    }

    /// What a body says that is not empty; `None` where it is none of ours.
    #[must_use]
    pub fn decode(body: &[u8]) -> Option<Self> {
        if body.len() < to_usize(LEFT_BYTES) || !body.len().is_multiple_of(8) {
            return None;
        }
        let word = |n: usize| SegmentId(u64_at(body, n * 8));
        let kept: Vec<SegmentId> = (3..body.len() / 8).map(word).collect();
        kept.is_sorted_by(|a, b| a < b).then(|| Self {
            oldest: word(0),
            from: word(1),
            below: word(2),
            kept,
        })
    }

    /// True for a kept segment whose entries are gone.
    #[must_use]
    pub fn is_gone(&self, kept: SegmentId) -> bool {
        (self.from..self.below).contains(&kept) && self.kept.binary_search(&kept).is_err()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn left(kept: &[u64]) -> Left {
        Left {
            oldest: SegmentId(7),
            from: SegmentId(3),
            below: SegmentId(u64::MAX),
            kept: kept.iter().map(|id| SegmentId(*id)).collect(),
        }
    }

    #[test]
    fn a_body_comes_back_and_every_prefix_is_refused_or_names_fewer() {
        let all = left(&[3, 5, 1 << 60]);
        let body = all.encode();
        assert_eq!(Left::decode(&body), Some(all.clone()));
        for len in 0..body.len() {
            let whole = len >= 24 && len % 8 == 0;
            let expected = whole.then(|| Left {
                kept: all.kept[..(len - 24) / 8].to_vec(),
                ..all.clone()
            });
            assert_eq!(Left::decode(&body[..len]), expected, "{len}");
        }
        assert_eq!(Left::decode(&left(&[5, 3]).encode()), None, "not ascending");
    }

    #[test]
    fn only_what_it_is_about_and_does_not_name_is_gone() {
        let left = Left {
            below: SegmentId(9),
            ..left(&[4, 6])
        };
        let gone = |id| left.is_gone(SegmentId(id));
        assert_eq!(
            (0..11).filter(|id| gone(*id)).collect::<Vec<_>>(),
            [3, 5, 7, 8]
        );
    }
}
