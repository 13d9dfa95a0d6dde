//! The bloom filter in front of a shard's table: most absent keys are answered here.
//!
//! All bits of a key lie in one cache line, a *block* (Putze, Sanders and Singler, "Cache-, Hash- and Space-Efficient
//! Bloom Filters", 2007): a lookup and an insert miss the processor's caches once, where a filter without blocks misses
//! once for every hash. Blocks are in the order of the keys, as the table's buckets are: who fills a grown table fills
//! its filter from one end to the other.
//!
//! It is fed with every key before the entry is stored, under the shard's lock, and is replaced together with the
//! table or built anew under that lock (`rebuild.rs`): it never denies a key that is there. Its words are relaxed atomics, and that is enough. A reader who must see
//! an entry learned of it from its writer, and with that the earlier stores to the filter.

use perennial_wal::to_usize;

use super::filter_shape::{BLOCK_BITS, FilterShape};
use super::lines::{Line, WORDS};
use super::pieces::Pieces;
use super::prefetch::prefetch;
use crate::sync::Ordering;

const WORD_BITS: u64 = u32::BITS as u64;
const _: () = assert!(WORDS as u64 * WORD_BITS == BLOCK_BITS as u64);

/// In pieces of 2 KiB.
type Blocks = Pieces<32>;

/// A clone is the same filter.
#[derive(Clone)]
pub(super) struct Filter {
    blocks: Blocks,
    /// How many blocks.
    len: u32,
    hashes: u8,
    /// How far an `x` is shifted to have its first place bit on top.
    shift: u8,
}

impl Filter {
    /// An empty filter with room for `capacity` keys of `place_bits` bits.
    pub(super) fn new(shape: FilterShape, capacity: usize, place_bits: u8) -> Self {
        let len = shape.blocks(capacity);
        Self {
            blocks: Blocks::new(len),
            len: u32::try_from(len).expect("a shard's filter of 256 GiB"),
            hashes: shape.hashes,
            shift: 64 - place_bits,
        }
    }

    /// How many blocks.
    pub(super) fn len(&self) -> usize {
        self.len as usize
    }

    /// Lets a key pass from now on. Only for the holder of the shard's lock: it loads and stores, and does not lock.
    #[inline]
    pub(super) fn insert(&self, x: u64) {
        let block = self.block(x);
        for (word, bit) in self.bits(x) {
            let word = &block[word];
            word.store(word.load(Ordering::Relaxed) | bit, Ordering::Relaxed);
        }
    }

    /// Lets a key pass from now on, and says whether it did before. Only for the holder of the shard's lock.
    #[inline]
    pub(super) fn tell(&self, x: u64) -> bool {
        let block = self.block(x);
        self.bits(x).fold(true, |known, (word, bit)| {
            let word = &block[word];
            let before = word.load(Ordering::Relaxed);
            word.store(before | bit, Ordering::Relaxed);
            known & (before & bit != 0)
        })
    }

    /// Begins to load the block of a key.
    pub(super) fn prefetch(&self, x: u64) {
        prefetch(self.block(x));
    }

    /// Looks at all bits, though the first that is missing would tell: they are in one line, and to guess wrong which one
    /// that is costs as much as the rest.
    #[inline]
    pub(super) fn may_contain(&self, x: u64) -> bool {
        let block = self.block(x);
        // The default rate's number of hashes, without a loop around them.
        if self.hashes == 5 {
            all_set(block, x, 5)
        } else {
            all_set(block, x, self.hashes)
        }
    }

    pub(super) fn bytes(&self) -> usize {
        Blocks::bytes(self.len())
    }

    /// `x` as a fraction points at its block.
    #[inline]
    fn block(&self, x: u64) -> &Line {
        let product = u128::from(x << self.shift) * u128::from(self.len);
        self.blocks.line(to_usize(halves(product).0))
    }

    /// The key's bits in its block, as a word and a bit of it.
    #[inline]
    fn bits(&self, x: u64) -> impl Iterator<Item = (usize, u32)> + use<> {
        let mut mixed = mix(x);
        (0..self.hashes).map(move |_| {
            let bit = mixed % u64::from(BLOCK_BITS);
            mixed >>= BLOCK_BITS.ilog2();
            (to_usize(bit / WORD_BITS), 1 << (bit % WORD_BITS))
        })
    }
}

#[inline(always)]
fn all_set(block: &Line, x: u64, hashes: u8) -> bool {
    let (mut mixed, mut all) = (mix(x), 1);
    for _ in 0..hashes {
        let bit = mixed % u64::from(BLOCK_BITS);
        let word = block[to_usize(bit / WORD_BITS)].load(Ordering::Relaxed);
        all &= word >> (bit % WORD_BITS);
        mixed >>= BLOCK_BITS.ilog2();
    }
    all & 1 == 1
}

/// Spreads the bits of `x`, of which those of one block share the first, over 64 bits.
#[inline]
fn mix(x: u64) -> u64 {
    let product = u128::from(x ^ 0x9e37_79b9_7f4a_7c15) * 0xd6e8_feb8_6659_fd93_u128;
    let (high, low) = halves(product);
    high ^ low
}

#[expect(clippy::cast_possible_truncation, reason = "the halves are wanted")]
#[inline]
fn halves(number: u128) -> (u64, u64) {
    ((number >> 64) as u64, number as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Keys of 56 bits: well spread, as hashes are.
    fn keys(range: std::ops::Range<u64>) -> impl Iterator<Item = u64> {
        range.map(|n| mix(n.wrapping_mul(0x9fb2_1c65_1e98_df25)) >> 8)
    }

    #[test]
    fn the_promised_rate_holds_at_every_rate() {
        for rate in [0.5, 0.1, 0.01, 0.001, 0.0001] {
            let filter = Filter::new(FilterShape::of(rate), 30_000, 56);
            keys(0..30_000).for_each(|x| filter.insert(x));
            assert!(keys(0..30_000).all(|x| filter.may_contain(x)));
            let passed = keys(30_000..1_030_000).filter(|&x| filter.may_contain(x));
            let passed = u32::try_from(passed.count()).expect("of a million");
            let measured = f64::from(passed) / 1e6;
            println!("{rate}: {measured}, {} bytes", filter.bytes());
            assert!(measured < 1.15 * rate, "{rate}: {measured}");
            assert!(
                measured > 0.5 * rate,
                "larger than it needs to be: {measured}"
            );
        }
    }

    #[test]
    fn keys_of_few_bits_are_told_apart_too() {
        let filter = Filter::new(FilterShape::of(0.01), 10_000, 30);
        keys(0..10_000).for_each(|x| filter.insert(x >> 26));
        let passed = keys(10_000..110_000).filter(|&x| filter.may_contain(x >> 26));
        let passed = passed.count();
        assert!(passed < 1_300, "{passed} of 100000 passed");
    }

    #[test]
    fn a_key_is_let_in_as_soon_as_it_was_inserted() {
        let filter = Filter::new(FilterShape::of(0.001), 100, 64);
        for x in keys(0..1000) {
            filter.insert(x);
            assert!(filter.may_contain(x));
        }
        for x in keys(1000..2000) {
            let known = filter.may_contain(x);
            assert_eq!(filter.tell(x), known);
            assert!(filter.may_contain(x));
        }
    }
}
