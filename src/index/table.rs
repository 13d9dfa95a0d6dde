//! A shard's slots together with the gate in front of them.

use std::sync::Arc;

use super::gate::Gate;
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
            if let Some(slots) = self.slots.spread_over(buckets) {
                return Self::over(Arc::new(slots), geometry, shard);
            }
            buckets = next_size(buckets);
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

/// Small tables double; large ones grow by an eighth, for what is empty is memory in vain.
pub(super) fn next_size(buckets: u64) -> u64 {
    buckets + if buckets < 64 { buckets } else { buckets / 8 }
}
