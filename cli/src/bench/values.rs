//! Values that say which they are, so that a read is checked byte for byte.

use crate::dice::Dice;

/// What a value begins with: key and version, eight bytes each.
const STAMP_BYTES: usize = 16;
/// So many places in the pool a value may begin at.
const SPREAD: u64 = 1 << 20;

/// All values are pieces of one pool of random bytes, which do not compress.
pub(super) struct Values {
    pool: Vec<u8>,
    value_bytes: usize,
}

impl Values {
    pub(super) fn new(value_bytes: u64, seed: u64) -> Self {
        let mut dice = Dice::new(seed, u64::MAX);
        let words = (value_bytes + SPREAD).div_ceil(8);
        let pool = (0..words).flat_map(|_| dice.below(u64::MAX).to_le_bytes());
        Self {
            pool: pool.collect(),
            value_bytes: usize::try_from(value_bytes).unwrap_or(usize::MAX),
        }
    }

    pub(super) fn value_bytes(&self) -> u64 {
        self.value_bytes as u64
    }

    /// The value of this version.
    pub(super) fn write(&self, key: u64, version: u64, into: &mut Vec<u8>) {
        into.clear();
        into.extend_from_slice(&stamp(key, version));
        into.extend_from_slice(self.rest(key, version));
    }

    /// Is it that, and nothing else?
    pub(super) fn is(&self, key: u64, version: u64, value: &[u8]) -> bool {
        let stamped = value.split_first_chunk::<STAMP_BYTES>();
        stamped == Some((&stamp(key, version), self.rest(key, version)))
    }

    fn rest(&self, key: u64, version: u64) -> &[u8] {
        let begin = Dice::new(key, version).below(SPREAD);
        let begin = usize::try_from(begin).unwrap_or_default();
        &self.pool[begin..begin + self.value_bytes - STAMP_BYTES]
    }
}

fn stamp(key: u64, version: u64) -> [u8; STAMP_BYTES] {
    let mut stamp = [0; STAMP_BYTES];
    stamp[..8].copy_from_slice(&key.to_le_bytes());
    stamp[8..].copy_from_slice(&version.to_le_bytes());
    stamp
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_only_what_it_says() {
        for len in [16, 17, 5000] {
            let values = Values::new(len, 1);
            let mut value = Vec::new();
            values.write(7, 2, &mut value);
            assert_eq!(value.len() as u64, len);
            assert!(values.is(7, 2, &value));
            assert!(!values.is(7, 1, &value) && !values.is(8, 2, &value));
            assert!(!values.is(7, 2, &value[1..]) && !values.is(7, 2, b""));
            let last = value.len() - 1;
            value[last] ^= 1;
            assert!(!values.is(7, 2, &value));
        }
    }
}
