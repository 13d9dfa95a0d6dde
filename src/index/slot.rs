//! The 96 bits of one entry, as three words.
//!
//! ```text
//!   bits        46           2            39          1      6        2
//!        |  remainder  | displacement |  address  | kept | class | visited |
//!        95          50 49          48 47        9    8   7      2 1       0
//!
//!   word 0   remainder, high 32
//!   word 1   remainder, low 14 | displacement | address, high 16
//!   word 2   address, low 23 | kept | class | visited
//! ```
//!
//! The class of an entry is never 0, so a slot that is all zero is empty and word 2 alone tells.
//! The visited bits, which readers raise, share their word with nothing but facts about the same
//! entry: a compare and swap of word 2 fails when the slot has become another's.

use super::quotient::Spot;

pub(super) const REMAINDER_BITS: u8 = 46;
pub(super) const ADDRESS_BITS: u8 = 39;
/// Visited bits saturate here.
pub(super) const VISITED_MAX: u8 = 3;

const DISPLACEMENT: u8 = 48;
const REMAINDER: u8 = 50;
const ADDRESS: u8 = 9;
const KEPT: u8 = 8;
const CLASS: u8 = 2;

/// What finds a slot in its bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tag {
    pub(super) remainder: u64,
    pub(super) displacement: u8,
}

/// What a slot says about its entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Payload {
    /// The address in 16-byte units, without the bits above 39.
    pub(super) low_units: u64,
    pub(super) kept: bool,
    pub(super) class: u8,
    pub(super) visited: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slot(u128);

impl Tag {
    #[inline]
    pub(super) fn new(spot: Spot, displacement: u8) -> Self {
        Self {
            remainder: spot.remainder,
            displacement,
        }
    }

    #[inline]
    fn bits(self) -> u128 {
        debug_assert!(self.remainder < 1 << REMAINDER_BITS && self.displacement < 4);
        u128::from(self.remainder) << REMAINDER | u128::from(self.displacement) << DISPLACEMENT
    }

    /// Word 0 of a slot with this tag, and word 1 as far as `WORD_1_TAG` says.
    #[inline]
    pub(super) fn words(self) -> [u32; 2] {
        let [first, second, _] = Slot(self.bits()).words();
        [first, second]
    }

    /// Back from words 0 and 1.
    #[inline]
    pub(super) fn from_words([first, second]: [u32; 2]) -> Self {
        Slot::from_words([first, second, 0]).tag()
    }
}

impl Slot {
    pub(super) const EMPTY: Self = Self(0);
    /// The part of word 1 that belongs to the tag.
    pub(super) const WORD_1_TAG: u32 = 0xffff_0000;

    #[inline]
    pub(super) fn new(tag: Tag, payload: Payload) -> Self {
        debug_assert!(payload.low_units < 1 << ADDRESS_BITS && payload.visited <= VISITED_MAX);
        debug_assert!((1..64).contains(&payload.class));
        Self(
            tag.bits()
                | u128::from(payload.low_units) << ADDRESS
                | u128::from(payload.kept) << KEPT
                | u128::from(payload.class) << CLASS
                | u128::from(payload.visited),
        )
    }

    #[inline]
    pub(super) fn is_empty(self) -> bool {
        self == Self::EMPTY
    }

    #[inline]
    pub(super) fn tag(self) -> Tag {
        Tag {
            remainder: self.field(REMAINDER, REMAINDER_BITS),
            displacement: self.small(DISPLACEMENT, 2),
        }
    }

    #[inline]
    pub(super) fn payload(self) -> Payload {
        Payload {
            low_units: self.field(ADDRESS, ADDRESS_BITS),
            kept: self.small(KEPT, 1) == 1,
            class: self.small(CLASS, 6),
            visited: self.small(0, 2),
        }
    }

    /// The same entry in another of its buckets.
    #[inline]
    pub(super) fn displaced(self, displacement: u8) -> Self {
        Self(self.0 & !(3 << DISPLACEMENT) | u128::from(displacement) << DISPLACEMENT)
    }

    #[inline]
    pub(super) fn words(self) -> [u32; 3] {
        [self.word(64), self.word(32), self.word(0)]
    }

    #[inline]
    pub(super) fn from_words([first, second, third]: [u32; 3]) -> Self {
        Self(u128::from(first) << 64 | u128::from(second) << 32 | u128::from(third))
    }

    #[expect(clippy::cast_possible_truncation, reason = "one word of it is wanted")]
    #[inline]
    fn word(self, shift: u8) -> u32 {
        (self.0 >> shift) as u32
    }

    #[expect(clippy::cast_possible_truncation, reason = "masked to fewer bits")]
    #[inline]
    fn field(self, shift: u8, bits: u8) -> u64 {
        (self.0 >> shift) as u64 & ((1 << bits) - 1)
    }

    #[expect(clippy::cast_possible_truncation, reason = "fields of up to 6 bits")]
    #[inline]
    fn small(self, shift: u8, bits: u8) -> u8 {
        self.field(shift, bits) as u8
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ZERO: (Tag, Payload) = (
        Tag {
            remainder: 0,
            displacement: 0,
        },
        Payload {
            low_units: 0,
            kept: false,
            class: 1,
            visited: 0,
        },
    );

    /// Every field at its largest with the others at their least, then all at their largest.
    fn extremes() -> Vec<(Tag, Payload)> {
        let mut all = vec![ZERO; 8];
        all[1].0.remainder = (1 << 46) - 1;
        all[2].0.displacement = 3;
        all[3].1.low_units = (1 << 39) - 1;
        all[4].1.kept = true;
        all[5].1.class = 63;
        all[6].1.visited = 3;
        all[7] = (
            Tag {
                displacement: 3,
                ..all[1].0
            },
            Payload {
                kept: true,
                class: 63,
                visited: 3,
                ..all[3].1
            },
        );
        all
    }

    #[test]
    fn every_field_comes_back_at_its_extremes() {
        for (tag, payload) in extremes() {
            let slot = Slot::new(tag, payload);
            assert_eq!((slot.tag(), slot.payload()), (tag, payload));
            assert_eq!(Slot::from_words(slot.words()), slot);
            assert!(!slot.is_empty());
            assert_ne!(slot.words()[2], 0, "word 2 alone tells an entry");
        }
    }

    #[test]
    fn all_ones_is_every_field_at_its_largest() {
        let (tag, payload) = extremes()[7];
        assert_eq!(Slot::new(tag, payload).words(), [u32::MAX; 3]);
    }

    #[test]
    fn the_tag_fills_word_0_and_the_top_of_word_1() {
        for (tag, payload) in extremes() {
            let [first, second, _] = Slot::new(tag, payload).words();
            assert_eq!(tag.words(), [first, second & Slot::WORD_1_TAG]);
            assert_eq!(Tag::from_words([first, second]), tag);
        }
    }

    #[test]
    fn a_displaced_slot_differs_in_nothing_else() {
        for (tag, payload) in extremes() {
            for displacement in 0..4 {
                let moved = Slot::new(tag, payload).displaced(displacement);
                assert_eq!(
                    moved.tag(),
                    Tag {
                        displacement,
                        ..tag
                    }
                );
                assert_eq!(moved.payload(), payload);
            }
        }
    }
}
