//! Values recently read from disk, kept by address.
//!
//! By address and not by key: addresses are never used twice, so nothing here ever has to be invalidated. A reader that
//! was slow fills in what it read at the address it had looked up, and whoever comes later looks up the newer address
//! (hole 34 in `docs/recovery.md`).

use perennial_wal::Addr;
use quick_cache::Weighter;
use quick_cache::sync::Cache;

use crate::value::Value;

/// The memory tier.
pub(crate) struct Tier {
    values: Option<Cache<u64, Held, Weight>>,
    max_value_bytes: u64,
}

#[derive(Clone)]
struct Held {
    key: Box<[u8]>,
    /// As in the frame: whoever asks for it compares it with the time.
    expiry: u32,
    value: Value,
}

#[derive(Clone)]
struct Weight;

/// What an entry of the tier takes beside key and value: the cache's own bookkeeping, roughly.
const OVERHEAD_BYTES: u64 = 96;

impl Weighter<u64, Held> for Weight {
    fn weight(&self, _: &u64, held: &Held) -> u64 {
        held.key.len() as u64 + held.value.len() as u64 + OVERHEAD_BYTES
    }
}

impl Tier {
    /// A tier of at most `bytes`; 0 = none.
    pub(crate) fn new(bytes: u64, max_value_bytes: u64) -> Self {
        let items = usize::try_from(bytes / 4096)
            .unwrap_or(usize::MAX)
            .clamp(16, 1 << 20);
        let values = (bytes > 0).then(|| Cache::with_weighter(items, bytes, Weight));
        Self {
            values,
            max_value_bytes,
        }
    }

    /// The value at `addr` and when it ends, if it is here and of this key.
    pub(crate) fn get(&self, addr: Addr, key: &[u8]) -> Option<(Value, u32)> {
        let held = self.values.as_ref()?.get(&place(addr, key))?;
        (*held.key == *key).then_some((held.value, held.expiry))
    }

    pub(crate) fn fill(&self, addr: Addr, key: &[u8], expiry: u32, value: &Value) {
        if let Some(values) = &self.values
            && value.len() as u64 <= self.max_value_bytes
        {
            values.insert(
                place(addr, key),
                Held {
                    key: key.into(),
                    expiry,
                    value: value.clone(),
                },
            );
        }
    }
}

/// Where a value is kept. The address says it all.
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
