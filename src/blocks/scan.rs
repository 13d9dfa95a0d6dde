//! Is somebody going through an object in order? Forward, backward, or in constant steps.

use std::ops::RangeInclusive;

/// So many reads in the same way are a scan.
const SURE: u32 = 2;
/// Stretches of one answer at most, for steps.
const STRETCHES: usize = 32;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Forward,
    Backward,
    /// So many blocks from the begin of one read to the begin of the next.
    Steps(i64),
}

/// The reads of one object so far, as far as they matter.
#[derive(Debug, Default)]
pub(super) struct Detector {
    last: Option<(u64, u64)>,
    way: Option<Way>,
    seen: u32,
    /// The furthest block that was asked for ahead, in the scan's direction.
    edge: Option<u64>,
}

impl Detector {
    /// A read of these blocks out of `total`. What to have ready, at most `depth` blocks.
    pub(super) fn saw(
        &mut self,
        read: &RangeInclusive<u64>,
        total: u64,
        depth: u64,
    ) -> Vec<RangeInclusive<u64>> {
        let (first, last) = (*read.start(), *read.end());
        let before = self.last.replace((first, last));
        // The same blocks again: a scan in smaller pieces than blocks.
        let Some(before) = before.filter(|before| *before != (first, last)) else {
            return Vec::new();
        };
        let way = way_of(before, first, last);
        if self.way == Some(way) {
            self.seen += 1;
        } else {
            (self.way, self.seen, self.edge) = (Some(way), 1, None);
        }
        if self.seen < SURE || depth == 0 || total == 0 {
            return Vec::new();
        }
        match way {
            Way::Forward => self.forward(last, total, depth),
            Way::Backward => self.backward(first, depth),
            Way::Steps(step) => self.steps(first, last, step, total, depth),
        }
    }

    /// Half of the depth is left when more is asked for, so that runs are long.
    fn forward(&mut self, last: u64, total: u64, depth: u64) -> Vec<RangeInclusive<u64>> {
        let edge = self.edge.unwrap_or(last).max(last);
        let to = (last + depth).min(total - 1);
        if edge >= to || edge - last > depth / 2 {
            return Vec::new();
        }
        self.edge = Some(to);
        vec![edge + 1..=to]
    }

    fn backward(&mut self, first: u64, depth: u64) -> Vec<RangeInclusive<u64>> {
        let edge = self.edge.unwrap_or(first).min(first);
        let to = first.saturating_sub(depth);
        if edge <= to || first - edge > depth / 2 {
            return Vec::new();
        }
        self.edge = Some(to);
        vec![to..=edge - 1]
    }

    fn steps(
        &mut self,
        first: u64,
        last: u64,
        step: i64,
        total: u64,
        depth: u64,
    ) -> Vec<RangeInclusive<u64>> {
        let blocks = last - first + 1;
        let mut ahead = Vec::new();
        let mut at = first;
        for _ in 0..(depth / blocks).min(STRETCHES as u64) {
            let Some(next) = at.checked_add_signed(step).filter(|next| *next < total) else {
                break;
            };
            at = next;
            let is_new = self
                .edge
                .is_none_or(|edge| if step > 0 { at > edge } else { at < edge });
            if is_new {
                self.edge = Some(at);
                ahead.push(at..=(at + blocks - 1).min(total - 1));
            }
        }
        ahead
    }
}

fn way_of(before: (u64, u64), first: u64, last: u64) -> Way {
    if first == before.1 || Some(first) == before.1.checked_add(1) {
        Way::Forward
    } else if last == before.0 || before.0.checked_sub(1) == Some(last) {
        Way::Backward
    } else {
        Way::Steps(first.wrapping_sub(before.0).cast_signed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a scan over `reads` asks for ahead, in its order.
    fn ahead(reads: impl IntoIterator<Item = RangeInclusive<u64>>, total: u64) -> Vec<Vec<u64>> {
        let mut detector = Detector::default();
        let mut saw = |read| {
            detector
                .saw(&read, total, 8)
                .into_iter()
                .flatten()
                .collect()
        };
        reads.into_iter().map(&mut saw).collect()
    }

    fn asked(reads: impl IntoIterator<Item = RangeInclusive<u64>>, total: u64) -> Vec<u64> {
        ahead(reads, total).concat()
    }

    #[test]
    fn a_scan_forward_asks_for_every_block_once() {
        let asked = asked((0..100).map(|n| n..=n), 100);
        assert_eq!(asked, (3..100).collect::<Vec<_>>());
        let two = ahead((0..40).map(|n| n..=n), 100);
        assert!(two.iter().filter(|asked| !asked.is_empty()).count() < 12);
    }

    #[test]
    fn a_scan_backward_asks_for_every_block_once() {
        let mut asked = asked((0..100).rev().map(|n| n..=n), 100);
        asked.sort_unstable();
        assert_eq!(asked, (0..97).collect::<Vec<_>>());
    }

    #[test]
    fn misaligned_scans_are_scans() {
        // 100 KiB at a time of blocks of 64 KiB, and 16 KiB at a time.
        let misaligned = (0..40_u64).map(|n| n * 100 / 64..=(n * 100 + 99) / 64);
        assert!(asked(misaligned, 63).len() > 50);
        let small = (0..160_u64).map(|n| n / 4..=n / 4);
        assert_eq!(asked(small, 40), (3..40).collect::<Vec<_>>());
    }

    #[test]
    fn steps_ask_for_what_they_come_to() {
        let strided = asked((0..20).map(|n| n * 5..=n * 5), 100);
        assert_eq!(strided, (3..20).map(|n| n * 5).collect::<Vec<_>>());
        let mut back = asked((0..20).rev().map(|n| n * 5..=n * 5 + 1), 100);
        back.dedup();
        assert_eq!(back.len(), 17 * 2);
    }

    #[test]
    fn no_order_asks_for_nothing() {
        let reads = [5, 80, 3, 41, 7, 99, 0, 50].map(|n| n..=n);
        assert!(asked(reads, 100).is_empty());
        assert!(asked([3..=3, 3..=3, 3..=3], 100).is_empty());
    }
}
