//! The index alone, for measurements: `perennial-bench index`. No promise is made about it.
#![expect(
    missing_docs,
    reason = "public for the measurements, behind the feature `model`"
)]

use std::convert::Infallible;

use perennial_wal::Addr;

use super::{ImageEntry, Index, IndexGeometry};

const IDENTITY_BITS: u8 = 60;

/// An index of numbered keys, all of them live.
pub struct BareIndex(Index<()>);

impl BareIndex {
    #[must_use]
    pub fn new(shards_log2: u8, fp_rate: f64) -> Self {
        let index = Index::new(IndexGeometry {
            shards_log2,
            identity_bits: IDENTITY_BITS,
            fp_rate,
        });
        index.set_horizon(false, 1 << 38);
        index.spare_fences();
        Self(index)
    }

    /// Room for so many entries, as an open makes it for those of a checkpoint.
    pub fn reserve(&self, entries: usize) {
        self.0.reserve_entries(entries);
    }

    /// As an insert does it.
    pub fn insert(&self, number: u64) {
        let hash = hash(number);
        let reserve = |_: &mut ()| Ok::<_, Infallible>(((), addr(number)));
        let entered = self.0.lock(hash).enter(hash, (7, 0), &|_| true, reserve);
        entered.map_or_else(|never| match never {}, |_| ());
    }

    /// As an open does it with an entry of a checkpoint.
    pub fn load(&self, number: u64) {
        let hash = hash(number);
        let entry = ImageEntry {
            identity: hash >> (64 - IDENTITY_BITS),
            addr: addr(number),
            size_class: 7,
            visited: 0,
            pinned: false,
        };
        self.0.lock(hash).load(entry, &|_| true);
    }

    pub fn remove(&self, number: u64) {
        let hash = hash(number);
        self.0.lock(hash).remove(hash);
    }

    /// Whether the key is there.
    #[must_use]
    pub fn has(&self, number: u64) -> bool {
        self.0.get(hash(number)).is_some()
    }

    /// Builds the filters anew that are due, as the upkeep does it; how many.
    pub fn refresh_filters(&self) -> u64 {
        let before = self.0.filter_rebuilds();
        self.0.refresh_filters(&|_| true);
        self.0.filter_rebuilds() - before
    }

    /// What the index says that it takes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.0.memory_bytes()
    }
}

fn addr(number: u64) -> Addr {
    Addr::from_units(false, number)
}

/// A hash whose top bits are well spread, different for every number.
fn hash(number: u64) -> u64 {
    let mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed ^ (mixed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9)
}
