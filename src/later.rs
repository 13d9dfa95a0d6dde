//! What a replay found behind a checkpoint, in the order of the log, until its shard of the index is loaded.
//!
//! ```text
//!   hash u64 | word:  63 .. 62   61 .... 56   55                 54           53 ............. 0
//!                     | kind    | class      | old one is kept  | pinned     | address / 16 bytes |
//! ```
//! A move takes two: of the second one the hash is the new address. Most are puts and removes, and there may be tens of
//! millions: 16 bytes each.

use perennial_wal::Addr;

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

/// What happened to the keys of one shard, in order.
#[derive(Debug, Default)]
pub(crate) struct Later {
    packed: Vec<Packed>,
    has_pinned: bool,
}

#[derive(Debug, Clone, Copy)]
struct Packed {
    hash: u64,
    word: u64,
}

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

impl Packed {
    fn addr(self) -> Addr {
        Addr::from_units(self.word & KEPT != 0, self.word & ((1 << UNITS_BITS) - 1))
    }

    fn class(self) -> u8 {
        (self.word >> CLASS_SHIFT).to_le_bytes()[0] & 63
    }
}

impl Later {
    /// About so many come next.
    pub(crate) fn reserve(&mut self, operations: usize) {
        self.packed.reserve(operations + operations / 8);
    }

    #[inline]
    pub(crate) fn push(&mut self, hash: u64, what: What) {
        let word = match what {
            What::Put {
                addr,
                class,
                pinned,
            } => {
                self.has_pinned |= pinned;
                word(PUT, addr, class) | if pinned { PINNED } else { 0 }
            }
            What::Remove => REMOVE << KIND_SHIFT,
            What::Move { old, class, .. } => word(MOVE, old, class),
        };
        self.packed.push(Packed { hash, word });
        if let What::Move { new, .. } = what {
            self.packed.push(Packed {
                hash: new.to_bits(),
                word: 0,
            });
        }
    }

    /// How many entries there are at most that were not before.
    pub(crate) fn puts(&self) -> usize {
        self.packed.len()
    }

    pub(crate) fn has_pinned(&self) -> bool {
        self.has_pinned
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, What)> + '_ {
        let mut rest = self.packed.iter();
        std::iter::from_fn(move || {
            let packed = rest.next()?;
            let (class, addr) = (packed.class(), packed.addr());
            let what = match packed.word >> KIND_SHIFT {
                PUT => What::Put {
                    addr,
                    class,
                    pinned: packed.word & PINNED != 0,
                },
                MOVE => What::Move {
                    old: addr,
                    new: Addr::from_bits(rest.next()?.hash),
                    class,
                },
                _ => What::Remove,
            };
            Some((packed.hash, what))
        })
    }
}

#[cfg(test)]
mod tests {
    use perennial_wal::Lsn;

    use super::*;

    #[test]
    fn what_happened_comes_back_in_its_order() {
        let put = |n: u64, pinned| What::Put {
            addr: Addr::log(Lsn(n << 4)),
            class: 63,
            pinned,
        };
        let most = (1 << UNITS_BITS) - 1;
        let all = [
            (u64::MAX, put(most, true)),
            (0, What::Remove),
            (
                7,
                What::Move {
                    old: Addr::log(Lsn(most << 4)),
                    new: Addr::kept(Lsn(48)),
                    class: 1,
                },
            ),
            (7, put(3, false)),
            (
                9,
                What::Move {
                    old: Addr::kept(Lsn(64)),
                    new: Addr::kept(Lsn(most << 4)),
                    class: 62,
                },
            ),
            (u64::MAX, What::Remove),
        ];
        let mut later = Later::default();
        assert!(!later.has_pinned());
        for (hash, what) in all {
            later.push(hash, what);
        }
        assert!(later.has_pinned());
        assert_eq!(later.iter().collect::<Vec<_>>(), all);
    }
}
