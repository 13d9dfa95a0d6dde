//! Sectors: the smallest unit that a device writes whole, and sets of them.

use std::ops::Range;

/// Bytes which are written whole or not at all.
pub(super) const SECTOR_BYTES: usize = 512;

/// The sectors of one inode that hold bytes which were once on the media.
#[derive(Debug, Clone, Default)]
pub(super) struct SectorSet(Vec<u64>);

impl SectorSet {
    pub(super) fn contains(&self, sector: usize) -> bool {
        let word = self.0.get(sector / 64).copied().unwrap_or(0);
        word >> (sector % 64) & 1 == 1
    }

    /// Adds every sector that `bytes` touches.
    pub(super) fn insert_bytes(&mut self, bytes: Range<usize>) {
        let sectors = bytes.start / SECTOR_BYTES..bytes.end.div_ceil(SECTOR_BYTES);
        if self.0.len() * 64 < sectors.end {
            self.0.resize(sectors.end.div_ceil(64), 0);
        }
        for sector in sectors {
            self.0[sector / 64] |= 1 << (sector % 64);
        }
    }

    /// Forgets the sectors that begin at or after byte `len`.
    pub(super) fn cut(&mut self, len: usize) {
        let keep = len.div_ceil(SECTOR_BYTES);
        self.0.truncate(keep.div_ceil(64));
        if !keep.is_multiple_of(64) && keep / 64 < self.0.len() {
            self.0[keep / 64] &= (1 << (keep % 64)) - 1;
        }
    }
}

/// Cuts `bytes` at the multiples of `granule`.
pub(super) fn pieces(bytes: Range<usize>, granule: usize) -> impl Iterator<Item = Range<usize>> {
    let mut at = bytes.start;
    std::iter::from_fn(move || {
        if at >= bytes.end {
            return None;
        }
        let end = ((at / granule + 1) * granule).min(bytes.end);
        let piece = at..end;
        at = end;
        Some(piece)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_knows_what_it_was_given_and_forgets_what_was_cut() {
        let mut set = SectorSet::default();
        set.insert_bytes(511..513);
        set.insert_bytes(512 * 100..512 * 200);
        let held = |set: &SectorSet| (0..300).filter(|s| set.contains(*s)).count();
        assert_eq!(held(&set), 102);
        set.cut(512 * 130 - 1);
        assert_eq!(held(&set), 32);
        set.cut(512 * 128);
        assert_eq!(held(&set), 30);
        set.cut(0);
        assert_eq!(held(&set), 0);
    }

    #[test]
    fn pieces_end_at_the_granule() {
        let cut: Vec<_> = pieces(10..1030, 512).collect();
        assert_eq!(cut, [10..512, 512..1024, 1024..1030]);
        assert_eq!(pieces(5..5, 512).count(), 0);
    }
}
