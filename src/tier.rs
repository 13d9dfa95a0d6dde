//! Values recently read from disk, kept by address.
//!
//! By address and not by key: addresses are never used twice, so nothing here ever has to be invalidated. A reader that
//! was slow fills in what it read at the address it had looked up, and whoever comes later looks up the newer address
//! (hole 34 in `docs/recovery.md`).

use std::hash::{BuildHasherDefault, Hash, Hasher};

use perennial_wal::Addr;
use quick_cache::sync::{Cache, DefaultLifecycle};
use quick_cache::{Equivalent, Weighter};
use smallvec::SmallVec;

use crate::value::Value;

type Values = Cache<Place, Held, Weight, BuildHasherDefault<Spread>>;

/// The memory tier.
pub(crate) struct Tier {
    values: Option<Values>,
    max_value_bytes: u64,
}

/// Where a value lay. The address says it all; the key proves that it is the one that was asked for.
#[derive(Clone, PartialEq, Eq)]
struct Place {
    addr: u64,
    /// In place where it is short: another piece of memory to look at costs more than the lookup.
    key: SmallVec<[u8; INLINE_BYTES]>,
}

/// Keys up to this length are kept where their addresses are.
const INLINE_BYTES: usize = 24;

/// A [`Place`] that is looked for: compared where it is, so that a hit copies nothing but the value's reference.
#[derive(Clone, Copy)]
struct Asked<'k> {
    addr: u64,
    key: &'k [u8],
}

#[derive(Clone)]
struct Held {
    /// As in the frame: whoever asks for it compares it with the time.
    expiry: u32,
    value: Value,
}

#[derive(Clone)]
struct Weight;

/// What an entry of the tier takes beside key and value: the cache's own bookkeeping, roughly.
const OVERHEAD_BYTES: u64 = 96;

impl Weighter<Place, Held> for Weight {
    fn weight(&self, place: &Place, held: &Held) -> u64 {
        place.key.len() as u64 + held.value.len() as u64 + OVERHEAD_BYTES
    }
}

impl Hash for Place {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.addr);
    }
}

impl Hash for Asked<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.addr);
    }
}

impl Equivalent<Place> for Asked<'_> {
    fn equivalent(&self, place: &Place) -> bool {
        self.addr == place.addr && *self.key == place.key[..]
    }
}

/// Spreads an address over 64 bits. Nobody chooses addresses, so no secret is needed.
#[derive(Default)]
struct Spread(u64);

impl Hasher for Spread {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u64(&mut self, n: u64) {
        let mixed = (self.0 ^ n).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mixed = (mixed ^ (mixed >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93);
        self.0 = mixed ^ (mixed >> 32);
    }
}

impl Tier {
    /// A tier of at most `bytes`; 0 = none.
    pub(crate) fn new(bytes: u64, max_value_bytes: u64) -> Self {
        let items = usize::try_from(bytes / 4096)
            .unwrap_or(usize::MAX)
            .clamp(16, 1 << 20);
        let (spread, lifecycle) = (BuildHasherDefault::default(), DefaultLifecycle::default());
        let values = (bytes > 0).then(|| Cache::with(items, bytes, Weight, spread, lifecycle));
        Self {
            values,
            max_value_bytes,
        }
    }

    /// The value at `addr` and when it ends, if it is here and of this key.
    pub(crate) fn get(&self, addr: Addr, key: &[u8]) -> Option<(Value, u32)> {
        let asked = Asked {
            addr: place(addr, key),
            key,
        };
        let held = self.values.as_ref()?.get(&asked)?;
        Some((held.value, held.expiry))
    }

    pub(crate) fn fill(&self, addr: Addr, key: &[u8], expiry: u32, value: &Value) {
        if let Some(values) = &self.values
            && value.len() as u64 <= self.max_value_bytes
        {
            let place = Place {
                addr: place(addr, key),
                key: key.into(),
            };
            let value = value.clone();
            values.insert(place, Held { expiry, value });
        }
    }
}

/// What a value is kept by.
fn place(addr: Addr, key: &[u8]) -> u64 {
    if perennial_failpoints::planted!("tier-by-key") {
        return key.iter().fold(0, |sum, byte| sum * 31 + u64::from(*byte));
    }
    addr.to_bits()
}

#[cfg(test)]
mod tests {
    use perennial_wal::Lsn;

    use super::*;

    #[test]
    fn a_value_is_found_by_address_and_key_and_the_tier_stays_small() {
        let tier = Tier::new(64 << 10, 8 << 10);
        let at = |n: u64| Addr::log(Lsn(n * 16));
        tier.fill(at(1), b"k", 7, &vec![1; 100].into());
        let (value, expiry) = tier.get(at(1), b"k").unwrap();
        assert_eq!((value.len(), expiry), (100, 7));
        assert!(tier.get(at(1), b"other").is_none() && tier.get(at(2), b"k").is_none());
        tier.fill(at(3), b"k", 0, &vec![1; 9 << 10].into());
        assert!(tier.get(at(3), b"k").is_none(), "too large for the tier");
        for n in 10..1000 {
            tier.fill(at(n), b"k", 0, &vec![1; 1 << 10].into());
        }
        let held = (10..1000)
            .filter(|n| tier.get(at(*n), b"k").is_some())
            .count();
        assert!(held * 1024 <= 64 << 10, "{held}");
        assert!(Tier::new(0, 8).get(at(1), b"k").is_none());
    }
}
