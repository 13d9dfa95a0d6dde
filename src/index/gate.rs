//! The bloom filter in front of a shard's table: most absent keys are answered here.
//!
//! It is fed with every identity before the entry is stored, under the shard's lock, and is
//! replaced together with the table: it never denies a key that is there. Its bits are relaxed
//! atomics, and that is enough. A reader who must see an entry learned of it from its writer, and
//! with that the earlier stores to the filter.

use fastbloom::{AtomicBloomFilter, BloomFilter};

pub(super) struct Gate(AtomicBloomFilter);

impl Gate {
    /// A filter over `identities`, with room for `capacity` of them at `fp_rate`.
    pub(super) fn new(
        capacity: usize,
        fp_rate: f64,
        identities: impl Iterator<Item = u64>,
    ) -> Self {
        // Filled as a plain filter: seven locked instructions for every key would be most of the
        // time a shard's growth takes. The seeds are of no use, hashes come from outside.
        let mut plain = BloomFilter::with_false_pos(fp_rate)
            .seed(&0)
            .expected_items(capacity);
        for identity in identities {
            plain.insert_hash(mix(identity));
        }
        let words: Vec<u64> = plain.iter().collect();
        Self(
            AtomicBloomFilter::from_vec(words)
                .seed(&0)
                .hashes(plain.num_hashes()),
        )
    }

    pub(super) fn insert(&self, identity: u64) {
        self.0.insert_hash(mix(identity));
    }

    pub(super) fn may_contain(&self, identity: u64) -> bool {
        self.0.contains_hash(mix(identity))
    }

    pub(super) fn bytes(&self) -> usize {
        self.0.num_bits() / 8
    }
}

/// Spreads an identity over 64 bits.
///
/// The filter uses its argument as it is, top bits first, and all identities of a shard share
/// theirs. Multiplying by odd numbers and folding is one to one, so no two become equal.
fn mix(identity: u64) -> u64 {
    let mut z = identity.wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 31)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 30)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_promised_rate_holds_for_keys_that_share_their_top_bits() {
        let gate = Gate::new(10_000, 0.01, 0..10_000);
        assert!((0..10_000).all(|identity| gate.may_contain(identity)));
        let passed = (10_000..110_000).filter(|&i| gate.may_contain(i)).count();
        assert!(passed < 2_000, "{passed} of 100000 passed");
    }

    #[test]
    fn a_key_is_let_in_as_soon_as_it_was_inserted() {
        let gate = Gate::new(100, 0.001, [].into_iter());
        for identity in 0..1000 {
            gate.insert(identity);
            assert!(gate.may_contain(identity));
        }
    }
}
