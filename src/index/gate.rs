//! The bloom filter in front of a shard's table: most absent keys are answered here.
//!
//! It is fed with every identity before the entry is stored, under the shard's lock, and is
//! replaced together with the table: it never denies a key that is there. Its bits are relaxed
//! atomics, and that is enough. A reader who must see an entry learned of it from its writer, and
//! with that the earlier stores to the filter.

use fastbloom::{AtomicBloomFilter, BloomFilter};

pub(super) struct Gate(AtomicBloomFilter);

/// A gate that nobody sees yet.
///
/// A plain filter: seven locked instructions for every key would be most of the time a shard's growth takes.
pub(super) struct GateBuilder {
    plain: BloomFilter,
    hashes: u32,
}

impl GateBuilder {
    /// An empty filter with room for `capacity` identities at `fp_rate`.
    pub(super) fn new(capacity: usize, fp_rate: f64) -> Self {
        let (bits, hashes) = shape(capacity, fp_rate);
        // The seed is of no use, hashes come from outside.
        let plain = BloomFilter::with_num_bits(bits).seed(&0).hashes(hashes);
        Self { plain, hashes }
    }

    pub(super) fn insert(&mut self, identity: u64) {
        self.plain.insert_hash(mix(identity));
    }

    pub(super) fn build(&self) -> Gate {
        let words: Vec<u64> = self.plain.iter().collect();
        let atomic = AtomicBloomFilter::from_vec(words).seed(&0);
        Gate(atomic.hashes(self.hashes))
    }
}

impl Gate {
    /// A filter over `identities`, with room for `capacity` of them at `fp_rate`.
    pub(super) fn new(
        capacity: usize,
        fp_rate: f64,
        identities: impl Iterator<Item = u64>,
    ) -> Self {
        let mut builder = GateBuilder::new(capacity, fp_rate);
        identities.for_each(|identity| builder.insert(identity));
        builder.build()
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

/// Bits and hashes of a filter.
///
/// The fewest bits are had with log2(1 / rate) hashes. With a quarter fewer hashes a filter needs
/// 3 % more bits, and every lookup and insertion is a quarter cheaper.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "few hashes, and bits to the nearest of millions"
)]
fn shape(capacity: usize, fp_rate: f64) -> (usize, u32) {
    let hashes = (-0.75 * fp_rate.log2()).round().max(1.0);
    let set = fp_rate.powf(1.0 / hashes);
    let bits = -hashes * capacity as f64 / (1.0 - set).ln();
    (bits.ceil().max(64.0) as usize, hashes as u32)
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
