//! How a key's hash is cut into the shard and the place in it.

use perennial_wal::to_usize;

/// The shape of an index. It may differ from one opening of a cache to the next.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct IndexGeometry {
    /// The number of shards, as a power of two. Range: 0 to 16.
    pub(crate) shards_log2: u8,
    /// How much of the hash tells keys apart. Two keys that agree in these bits are one entry
    /// (hole 35 in `docs/recovery.md`). Range: 46 to 64.
    pub(crate) identity_bits: u8,
    /// How often the filter may let an absent key pass. Range: above 0, below 1.
    pub(crate) fp_rate: f64,
}

/// Where a key belongs.
///
/// ```text
///  63                                                 0
/// |            identity                |    unused     |   of the hash
/// |  shard  |            x             |
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Key {
    pub(super) identity: u64,
    pub(super) shard: usize,
    pub(super) x: u64,
}

impl IndexGeometry {
    /// # Panics
    /// When a number is out of its range: the options were not checked.
    pub(super) fn check(&self) {
        assert!(self.shards_log2 <= 16, "shards_log2 is 0 to 16");
        assert!(
            (46..=64).contains(&self.identity_bits),
            "identity_bits is 46 to 64"
        );
        assert!(
            self.fp_rate > 0.0 && self.fp_rate < 1.0,
            "fp_rate lies between 0 and 1"
        );
    }

    /// How many bits of the identity place it in its shard.
    #[inline]
    pub(super) fn place_bits(&self) -> u8 {
        self.identity_bits - self.shards_log2
    }

    #[inline]
    pub(super) fn key_of_hash(&self, hash: u64) -> Key {
        self.key_of_identity(hash >> (64 - self.identity_bits))
    }

    /// The shard of a key.
    #[inline]
    pub(crate) fn shard_of_hash(&self, hash: u64) -> usize {
        // Its highest bits: in two steps, for a single shard has none.
        to_usize(hash >> 1 >> (63 - self.shards_log2))
    }

    #[inline]
    pub(super) fn key_of_identity(&self, identity: u64) -> Key {
        // In two steps, because a single shard of 64 bits shifts by 64.
        let shard = identity >> (self.place_bits() - 1) >> 1;
        Key {
            identity,
            shard: to_usize(shard),
            x: identity & (u64::MAX >> (64 - self.place_bits())),
        }
    }

    pub(super) fn identity(&self, shard: usize, x: u64) -> u64 {
        let shard = (shard as u64).checked_shl(self.place_bits().into());
        shard.unwrap_or(0) | x
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_is_its_shard_and_its_place() {
        for (shards_log2, identity_bits) in [(0, 46), (0, 64), (16, 46), (16, 64), (8, 56)] {
            let geometry = IndexGeometry {
                shards_log2,
                identity_bits,
                fp_rate: 0.01,
            };
            for hash in [0, 1, u64::MAX, 0x0123_4567_89ab_cdef, 1 << 63] {
                let key = geometry.key_of_hash(hash);
                assert_eq!(key.identity, hash >> (64 - identity_bits));
                assert!(key.shard < 1 << shards_log2);
                assert_eq!(geometry.shard_of_hash(hash), key.shard);
                assert_eq!(geometry.identity(key.shard, key.x), key.identity);
                assert_eq!(geometry.key_of_identity(key.identity), key);
            }
        }
    }
}
