//! What the log says happened in a segment, sorted by shards of the index, in the order of the log in each.
//!
//! ```text
//!   told:    in order ─► packed: 16 bytes each                       starts:  shard 0 │ shard 1 │ ...
//!   sorted:  counted, then each put into its shard's place    ─►     packed:  ─────── │ ─────── │ ...
//!
//!   hash u64 | word:  63 .. 62   61 .... 56   55                 54           53 ............. 0
//!                     | kind    | class      | old one is kept  | pinned     | address / 16 bytes |
//! ```
//! A move takes two: of the second one the hash is the new address. Most are puts and removes, and there may be tens of
//! millions. Until its shard is loaded nobody looks at one; then all of a shard's lie side by side.

use perennial_failpoints::fs::advise_large_pages;
use perennial_recovery::{Moved, Sorter};
use perennial_wal::segment::Row;
use perennial_wal::{Addr, to_usize};

use crate::index::{IndexGeometry, size_class};
use crate::pins::is_pinned;

/// What happened to a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum What {
    /// It is here now.
    Put { addr: Addr, class: u8, pinned: bool },
    /// It is gone.
    Remove,
    /// If it is at `old`, it is at `new` now.
    Move { old: Addr, new: Addr, class: u8 },
}

/// What happened in a segment, until the next that sorts.
#[derive(Debug)]
pub(crate) struct Sorting {
    geometry: IndexGeometry,
    /// Where the newest segment ends, in units: no address lies behind.
    end_units: u64,
    /// In the order of the log.
    told: Vec<Packed>,
    has_pinned: bool,
    has_moves: bool,
}

/// What happened in a segment.
#[derive(Debug)]
pub(crate) struct Sorted {
    packed: Vec<Packed>,
    /// Where each shard's begin, and the last one's end.
    starts: Box<[u32]>,
    has_pinned: bool,
}

/// Hash and word: an array of numbers, for the allocator has zeros for nothing.
type Packed = [u64; 2];

const UNITS_BITS: u32 = 54;
const PINNED: u64 = 1 << UNITS_BITS;
const KEPT: u64 = 1 << 55;
const CLASS_SHIFT: u32 = 56;
const KIND_SHIFT: u32 = 62;
const PUT: u64 = 0;
const REMOVE: u64 = 1;
const MOVE: u64 = 2;

fn word(kind: u64, addr: Addr, class: u8) -> u64 {
    // Both were checked: addresses are below the end of the newest segment, and classes below 64.
    debug_assert!(addr.units() >> UNITS_BITS == 0 && class < 64);
    let kept = if addr.is_kept() { KEPT } else { 0 };
    kind << KIND_SHIFT | u64::from(class) << CLASS_SHIFT | kept | addr.units()
}

fn addr_of(word: u64) -> Addr {
    Addr::from_units(word & KEPT != 0, word & ((1 << UNITS_BITS) - 1))
}

fn class_of(word: u64) -> u8 {
    (word >> CLASS_SHIFT).to_le_bytes()[0] & 63
}

fn is_move(word: u64) -> bool {
    word >> KIND_SHIFT == MOVE
}

impl Sorting {
    pub(crate) fn new(geometry: IndexGeometry, end_units: u64) -> Self {
        Self {
            geometry,
            end_units,
            told: Vec::new(),
            has_pinned: false,
            has_moves: false,
        }
    }

    /// False for what a row may say and no log has.
    fn is_possible(&self, addr: Addr) -> bool {
        addr.units() < self.end_units
    }

    /// Calls `each` with every operation and its shard; of a move both words go to the shard of the first.
    #[inline]
    fn with_shards(&self, mut each: impl FnMut(usize, Packed)) {
        if !self.has_moves {
            for packed in &self.told {
                each(self.geometry.shard_of_hash(packed[0]), *packed);
            }
            return;
        }
        let mut moving = None;
        for packed in &self.told {
            let shard = moving
                .take()
                .unwrap_or_else(|| self.geometry.shard_of_hash(packed[0]));
            each(shard, *packed);
            moving = is_move(packed[1]).then_some(shard);
        }
    }
}

impl Sorter for Sorting {
    type Sorted = Sorted;

    #[inline]
    fn put(&mut self, row: &Row) {
        if !self.is_possible(row.target) || row.target.is_kept() {
            return self.remove(row.hash);
        }
        let pinned = is_pinned(row);
        self.has_pinned |= pinned;
        let word = word(PUT, row.target, size_class::class_of(row.bytes));
        let pinned = if pinned { PINNED } else { 0 };
        self.told.push([row.hash, word | pinned]);
    }

    fn remove(&mut self, hash: u64) {
        self.told.push([hash, REMOVE << KIND_SHIFT]);
    }

    fn relocate(&mut self, moved: &Moved) {
        let (old, new) = (moved.old, moved.new);
        if new.is_kept() && self.is_possible(old) && self.is_possible(new) {
            let class = size_class::class_of(moved.bytes);
            self.has_moves = true;
            self.told.push([moved.hash, word(MOVE, old, class)]);
            self.told.push([new.to_bits(), 0]);
        }
    }

    fn take(&mut self) -> Sorted {
        let mut counts = vec![0_u32; (1 << self.geometry.shards_log2) + 1];
        self.with_shards(|shard, _| counts[shard + 1] += 1);
        let mut sum = 0;
        for count in &mut counts {
            sum += *count;
            *count = sum;
        }
        let starts = counts.clone().into_boxed_slice();
        let mut packed = vec![[0; 2]; self.told.len()];
        advise_large_pages(&mut packed);
        self.with_shards(|shard, operation| {
            packed[to_usize(counts[shard].into())] = operation;
            counts[shard] += 1;
        });
        self.told.clear();
        self.has_moves = false;
        Sorted {
            packed,
            starts,
            has_pinned: std::mem::take(&mut self.has_pinned),
        }
    }
}

impl Sorted {
    fn of(&self, shard: usize) -> &[Packed] {
        &self.packed[to_usize(self.starts[shard].into())..to_usize(self.starts[shard + 1].into())]
    }

    /// How many entries of a shard there are at most that were not before.
    pub(crate) fn puts(&self, shard: usize) -> usize {
        self.of(shard).len()
    }

    pub(crate) fn has_pinned(&self) -> bool {
        self.has_pinned
    }

    /// What happened in a shard, in order.
    pub(crate) fn iter(&self, shard: usize) -> impl Iterator<Item = (u64, What)> + '_ {
        let mut rest = self.of(shard).iter();
        std::iter::from_fn(move || {
            let [hash, word] = *rest.next()?;
            let (class, addr) = (class_of(word), addr_of(word));
            let what = match word >> KIND_SHIFT {
                PUT => What::Put {
                    addr,
                    class,
                    pinned: word & PINNED != 0,
                },
                MOVE => What::Move {
                    old: addr,
                    new: Addr::from_bits(rest.next()?[0]),
                    class,
                },
                _ => What::Remove,
            };
            Some((hash, what))
        })
    }
}

#[cfg(test)]
mod tests {
    use perennial_wal::frame::{FrameKind, flags};

    use super::*;

    const GEOMETRY: IndexGeometry = IndexGeometry {
        shards_log2: 2,
        identity_bits: 48,
        fp_rate: 0.01,
    };
    const END: u64 = 1 << 20;

    fn put(hash: u64, units: u64, pinned: bool) -> (Row, What) {
        let addr = Addr::from_units(false, units);
        let row = Row {
            hash,
            target: addr,
            bytes: 4096,
            kind: FrameKind::Put,
            flags: if pinned { flags::PINNED } else { 0 },
            key_bytes: 8,
        };
        let class = size_class::class_of(4096);
        (
            row,
            What::Put {
                addr,
                class,
                pinned,
            },
        )
    }

    #[test]
    fn each_shard_has_what_happened_to_it_in_its_order() {
        let mut sorting = Sorting::new(GEOMETRY, END);
        let (last, first) = (u64::MAX, 1);
        let (row, put_last) = put(last, END - 1, false);
        let (pinned, put_first) = put(first, 3, true);
        let moved = |hash, units| Moved {
            hash,
            old: Addr::from_units(false, units),
            new: Addr::from_units(true, END - 1),
            bytes: 4096,
        };
        let moves = |units| What::Move {
            old: Addr::from_units(false, units),
            new: Addr::from_units(true, END - 1),
            class: size_class::class_of(4096),
        };
        sorting.put(&row);
        sorting.remove(first);
        sorting.relocate(&moved(last, 7));
        sorting.relocate(&moved(first, 9));
        sorting.put(&pinned);
        sorting.remove(last);
        let sorted = sorting.take();
        assert!(sorted.has_pinned());
        let of = |shard| sorted.iter(shard).collect::<Vec<_>>();
        let removed = |hash| (hash, What::Remove);
        assert_eq!(
            of(0),
            [removed(first), (first, moves(9)), (first, put_first)]
        );
        assert_eq!(of(1), []);
        assert_eq!(of(3), [(last, put_last), (last, moves(7)), removed(last)]);
        assert_eq!((sorted.puts(2), sorted.puts(3)), (0, 4));
        // What was taken is not taken again.
        let next = sorting.take();
        assert!(!next.has_pinned() && (0..4).all(|shard| next.puts(shard) == 0));
    }

    /// A row that says what no log has comes from a file that somebody wrote on purpose.
    #[test]
    fn an_entry_that_can_lie_nowhere_is_gone() {
        let mut sorting = Sorting::new(GEOMETRY, END);
        let (behind, _) = put(1, END, false);
        let (mut kept, _) = put(1, 5, false);
        kept.target = Addr::from_units(true, 5);
        sorting.put(&behind);
        sorting.put(&kept);
        sorting.relocate(&Moved {
            hash: 1,
            old: Addr::from_units(false, 5),
            new: Addr::from_units(true, END),
            bytes: 64,
        });
        let sorted = sorting.take();
        let all: Vec<_> = sorted.iter(0).collect();
        assert_eq!(all, [(1, What::Remove), (1, What::Remove)]);
    }
}
