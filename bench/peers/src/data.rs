//! Keys and values to measure with, and whether what comes back is right.

use rand::rngs::SmallRng;
use rand::{Rng, RngCore, SeedableRng};
use rand_distr::{Distribution, Zipf};

/// Bytes of every key.
pub(crate) const KEY_BYTES: usize = 16;
/// Keys from here on are never stored.
pub(crate) const ABSENT: u64 = 1 << 40;
/// Values begin at places of a pool that is so much longer than one of them.
const POOL_BYTES: usize = 1 << 20;
const STEP: u64 = 16;

/// A number that looks random, one to one.
pub(crate) fn scatter(n: u64) -> u64 {
    let mut z = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z ^ (z >> 31)
}

/// The key with number `n`. They come in no order, as hashes of names would.
pub(crate) fn key(n: u64) -> [u8; KEY_BYTES] {
    let mut key = [0; KEY_BYTES];
    key[..8].copy_from_slice(&scatter(n).to_be_bytes());
    key[8..].copy_from_slice(&n.to_be_bytes());
    key
}

/// Values of one length that do not compress. Handing one out copies nothing.
pub(crate) struct Values {
    pool: Vec<u8>,
    bytes: usize,
}

impl Values {
    pub(crate) fn new(bytes: usize) -> Self {
        let mut pool = vec![0; POOL_BYTES + bytes];
        SmallRng::seed_from_u64(7).fill_bytes(&mut pool);
        Self { pool, bytes }
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The value of key `n`.
    pub(crate) fn of(&self, n: u64) -> &[u8] {
        let places = POOL_BYTES as u64 / STEP;
        let at = (scatter(n ^ 0x5555) % places * STEP) as usize;
        &self.pool[at..at + self.bytes]
    }

    /// Whether `got` is the value of key `n`, every byte of it.
    pub(crate) fn is(&self, n: u64, got: &[u8]) -> bool {
        got == self.of(n)
    }

    /// Whether `got` is as long as the value of key `n`, begins and ends like it.
    pub(crate) fn looks_like(&self, n: u64, got: &[u8]) -> bool {
        let wanted = self.of(n);
        let end = self.bytes.min(8);
        got.len() == self.bytes
            && got[..end] == wanted[..end]
            && got[self.bytes - end..] == wanted[self.bytes - end..]
    }
}

/// Which key is asked for next.
pub(crate) enum Draw {
    Uniform(u64),
    /// Exponent 0.99 over so many keys. The popular ones lie anywhere.
    Zipf(Zipf<f64>, u64),
}

impl Draw {
    pub(crate) fn uniform(keys: u64) -> Self {
        Self::Uniform(keys)
    }

    pub(crate) fn zipf(keys: u64) -> Self {
        let zipf = Zipf::new(keys as f64, 0.99).expect("an exponent and a count that fit");
        Self::Zipf(zipf, keys)
    }

    pub(crate) fn next(&self, rng: &mut SmallRng) -> u64 {
        match self {
            Self::Uniform(keys) => rng.random_range(0..*keys),
            Self::Zipf(zipf, keys) => scatter(zipf.sample(rng) as u64) % keys,
        }
    }

    /// So many keys, drawn beforehand: drawing one takes as long as a hit.
    pub(crate) fn many(&self, count: usize, seed: u64) -> Vec<u64> {
        let mut rng = SmallRng::seed_from_u64(seed);
        (0..count).map(|_| self.next(&mut rng)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_keys_are_alike() {
        let keys: std::collections::HashSet<_> =
            (0..10_000).chain(ABSENT..ABSENT + 100).map(key).collect();
        assert_eq!(keys.len(), 10_100);
    }

    #[test]
    fn a_value_is_told_from_another() {
        let values = Values::new(300);
        let other = (1..).find(|n| values.of(*n) != values.of(0)).unwrap();
        assert!(values.is(0, values.of(0)) && values.looks_like(0, values.of(0)));
        assert!(!values.is(0, values.of(other)) && !values.looks_like(0, values.of(other)));
        let mut torn = values.of(0).to_vec();
        torn[150] ^= 1;
        assert!(!values.is(0, &torn));
        assert!(!values.looks_like(0, &torn[..299]));
    }

    #[test]
    fn draws_stay_within_the_keys() {
        for draw in [Draw::uniform(10), Draw::zipf(10)] {
            assert!(draw.many(1000, 1).iter().all(|n| *n < 10));
        }
    }

    #[test]
    fn zipf_has_favourites() {
        let drawn = Draw::zipf(1000).many(10_000, 1);
        let favourite = scatter(1) % 1000;
        assert!(drawn.iter().filter(|n| **n == favourite).count() > 500);
    }
}
