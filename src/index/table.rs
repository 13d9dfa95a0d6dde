//! A shard's slots together with the gate in front of them.

use std::sync::Arc;

use super::gate::{Gate, GateBuilder};
use super::geometry::IndexGeometry;
use super::quotient::Quotient;
use super::slots::{self, Slots};

/// What a shard publishes. A new gate over the same slots is a new table that shares them.
#[derive(Clone)]
pub(super) struct Table {
    pub(super) slots: Arc<Slots>,
    pub(super) gate: Arc<Gate>,
}

impl Table {
    /// An empty table, with `buckets` buckets or as many as the geometry needs.
    pub(super) fn new(geometry: &IndexGeometry, buckets: u64) -> Self {
        let bits = geometry.place_bits();
        let buckets = buckets.max(Quotient::least_buckets(bits));
        let slots = Slots::new(Quotient::new(buckets, bits));
        let gate = Gate::new(slots.full(), geometry.fp_rate, std::iter::empty());
        Self {
            slots: Arc::new(slots),
            gate: Arc::new(gate),
        }
    }

    /// The same slots behind a gate that has forgotten what was removed.
    pub(super) fn with_fresh_gate(&self, geometry: &IndexGeometry, shard: usize) -> Self {
        Self::over(Arc::clone(&self.slots), geometry, shard)
    }

    /// The same entries in at least `buckets` buckets.
    pub(super) fn grown(&self, geometry: &IndexGeometry, shard: usize, mut buckets: u64) -> Self {
        loop {
            let full = slots::full(buckets);
            let mut gate = GateBuilder::new(full, geometry.fp_rate);
            let placed = |x| gate.insert(geometry.identity(shard, x));
            if let Some(slots) = self.slots.spread_over(buckets, placed) {
                return Self {
                    slots: Arc::new(slots),
                    gate: Arc::new(gate.build()),
                };
            }
            buckets = next_size(buckets, Steps::FromReserved);
        }
    }

    fn over(slots: Arc<Slots>, geometry: &IndexGeometry, shard: usize) -> Self {
        let identities = slots.entries().map(|(_, x, _)| geometry.identity(shard, x));
        let gate = Gate::new(slots.full(), geometry.fp_rate, identities);
        Self {
            slots,
            gate: Arc::new(gate),
        }
    }

    pub(super) fn bytes(&self) -> usize {
        slots::bytes(self.slots.buckets()) + self.gate.bytes()
    }
}

/// How a table grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Steps {
    /// From nothing, one entry at a time: by half where that is quicker.
    FromNothing,
    /// From a size that was asked for: little is missing.
    FromReserved,
}

/// Tables that grow by half: with 64 shards these are the sizes from a hundred thousand entries in all to a million.
const MIDDLING: std::ops::Range<u64> = 512..4096;

/// Tiny tables double. Others grow by an eighth, for what is empty is memory in vain; but growing by an eighth moves
/// every entry nine times on the way. While that costs much and the memory is little a table grows by half, which moves
/// an entry three times.
pub(super) fn next_size(buckets: u64, steps: Steps) -> u64 {
    let more = if buckets < 64 {
        buckets
    } else if steps == Steps::FromNothing && MIDDLING.contains(&buckets) {
        buckets / 2
    } else {
        buckets / 8
    };
    buckets + more
}
