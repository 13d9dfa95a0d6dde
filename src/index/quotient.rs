//! Where in a table of any number of buckets a key lives, and back again.
//!
//! The key's place bits `x` are read as a fraction of `2^bits`: its home is the bucket that
//! fraction points at, and the remainder is the low 46 bits of `x`.
//!
//! ```text
//!   home = floor(x * n / 2^bits)      remainder = x mod 2^46
//! ```
//!
//! The `x` of one home lie within 2^46 of each other, so home and remainder give `x` back
//! exactly: a table grows to any size, and an image of it is read into any other, without a look
//! at the keys. Homes are in the order of `x`: a table that grows is read and written from one
//! end to the other. (The remainder once was the rank of `x` among those of its home; it told as
//! much and cost a division for every entry that was placed, and another for every one moved.)
//!
//! A key may live in one of four buckets: its home, the one after, and a second pair that its
//! remainder chooses. Four in a row would fail early: crowds of homes overlap and no place is
//! left in a table three quarters full. A pair chosen by the remainder spreads a crowd over the
//! whole table, and since the slot holds the remainder the home still comes back.

use perennial_wal::to_usize;

use super::slot::{REMAINDER_BITS, Tag};

/// How many buckets a key may live in.
pub(super) const CHOICES: u8 = 4;
const REMAINDERS: u64 = (1 << REMAINDER_BITS) - 1;

/// A table's number of buckets and the number of place bits of a key.
#[derive(Clone, Copy, Debug)]
pub(super) struct Quotient {
    /// 2^bits divided by the buckets, rounded down: homes begin at least this far apart.
    share: u64,
    buckets: u32,
    bits: u8,
}

/// What places a key in one table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Spot {
    pub(super) home: u64,
    pub(super) remainder: u64,
}

impl Quotient {
    pub(super) fn new(buckets: u64, bits: u8) -> Self {
        assert!(buckets >= Self::least_buckets(bits), "remainders must fit");
        Self {
            share: low64((1u128 << bits) / u128::from(buckets)),
            buckets: u32::try_from(buckets).expect("a shard of 256 GiB"),
            bits,
        }
    }

    /// The fewest buckets with which every remainder fits its 46 bits.
    pub(super) fn least_buckets(bits: u8) -> u64 {
        1 << bits.saturating_sub(REMAINDER_BITS)
    }

    #[inline]
    pub(super) fn buckets(&self) -> u64 {
        u64::from(self.buckets)
    }

    #[inline]
    pub(super) fn split(&self, x: u64) -> Spot {
        let product = u128::from(x) * u128::from(self.buckets);
        Spot {
            home: low64(product >> self.bits),
            remainder: x & REMAINDERS,
        }
    }

    #[inline]
    pub(super) fn join(&self, spot: Spot) -> u64 {
        // At most the first x of this home, and short of it by less than the number of buckets.
        // From there on the x of this home lie within 2^46: either the buckets divide 2^bits and
        // this is exact, or they are more than 2^(bits - 46) and a home is shorter than 2^46 by
        // more than their number.
        let base = spot.home * self.share;
        base + (spot.remainder.wrapping_sub(base) & REMAINDERS)
    }

    /// The same keys over another number of buckets.
    pub(super) fn with_buckets(&self, buckets: u64) -> Self {
        Self::new(buckets, self.bits)
    }

    /// The bucket that is a key's choice number `displacement`.
    #[inline]
    pub(super) fn bucket(&self, spot: Spot, displacement: u8) -> usize {
        to_usize(self.wrap(spot.home + self.offset(spot.remainder, displacement)))
    }

    /// All of a key's choices at once.
    #[inline]
    pub(super) fn choices(&self, spot: Spot) -> [usize; CHOICES as usize] {
        let second = self.wrap(spot.home + self.spread(spot.remainder));
        [
            to_usize(spot.home),
            to_usize(self.wrap(spot.home + 1)),
            to_usize(second),
            to_usize(self.wrap(second + 1)),
        ]
    }

    /// The spot of a key found in `bucket`.
    #[inline]
    pub(super) fn spot(&self, bucket: usize, tag: Tag) -> Spot {
        let offset = self.offset(tag.remainder, tag.displacement);
        let home = self.wrap(bucket as u64 + self.buckets() - offset);
        Spot {
            home,
            remainder: tag.remainder,
        }
    }

    /// At most `buckets`.
    #[inline]
    fn offset(&self, remainder: u64, displacement: u8) -> u64 {
        // A mask, not a branch: which pair an entry lies in is a matter of chance.
        let second = u64::from(displacement >> 1).wrapping_neg();
        (self.spread(remainder) & second) + u64::from(displacement & 1)
    }

    /// A number below `buckets`, evenly over the remainders.
    #[inline]
    fn spread(&self, remainder: u64) -> u64 {
        let mixed = remainder.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        (mixed * self.buckets()) >> 32
    }

    /// `bucket` modulo the number of buckets, for less than twice that number.
    #[inline]
    fn wrap(&self, bucket: u64) -> u64 {
        let wrapped = bucket.wrapping_sub(self.buckets());
        // Not a loop, and no branch: which way it goes is a matter of chance.
        wrapped.min(bucket)
    }
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "the callers' numbers are below 2^64, or the low half is what they are after"
)]
fn low64(n: u128) -> u64 {
    n as u64
}

#[cfg(test)]
mod tests {
    use quickcheck::{TestResult, quickcheck};

    use super::*;

    fn there_and_back(x: u64, buckets: u64, bits: u8) {
        let quotient = Quotient::new(buckets, bits);
        let spot = quotient.split(x);
        assert!(spot.home < buckets);
        assert!(spot.remainder < 1 << REMAINDER_BITS);
        assert_eq!(quotient.join(spot), x, "n {buckets}, w {bits}");
        for displacement in 0..CHOICES {
            let bucket = quotient.bucket(spot, displacement);
            let tag = Tag {
                remainder: spot.remainder,
                displacement,
            };
            assert!((bucket as u64) < buckets);
            assert_eq!(bucket, quotient.choices(spot)[usize::from(displacement)]);
            assert_eq!(quotient.spot(bucket, tag), spot, "n {buckets}, w {bits}");
        }
    }

    quickcheck! {
        fn a_spot_gives_its_key_back(x: u64, n: u32, bits: u8) -> TestResult {
            let bits = 30 + bits % 35;
            let least = Quotient::least_buckets(bits);
            let buckets = least + u64::from(n) % 100_000;
            let x = x & (u64::MAX >> (64 - bits));
            there_and_back(x, buckets, bits);
            TestResult::passed()
        }
    }

    #[test]
    fn the_extremes_come_back_too() {
        for bits in [30, 45, 46, 47, 56, 63, 64] {
            let least = Quotient::least_buckets(bits);
            for buckets in [least, least + 1, least + 2, 3 * least, (1 << 29) - 1] {
                for x in [0, 1, u64::MAX >> (65 - bits), u64::MAX >> (64 - bits)] {
                    there_and_back(x, buckets, bits);
                }
            }
        }
    }

    #[test]
    fn homes_are_in_the_order_of_the_keys() {
        let quotient = Quotient::new(7, 46);
        let homes: Vec<u64> = (0..70)
            .map(|i| quotient.split(i * ((1 << 46) / 70)).home)
            .collect();
        assert!(homes.is_sorted());
        assert_eq!(homes.last(), Some(&6));
    }
}
