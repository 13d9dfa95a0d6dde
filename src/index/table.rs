//! A shard's slots together with the filter in front of them.

use std::sync::Arc;

use super::filter::Filter;
use super::filter_shape::FilterShape;
use super::geometry::IndexGeometry;
use super::quotient::Quotient;
use super::slots::{self, Slots};

/// What the tables of one index have in common.
#[derive(Clone, Copy)]
pub(super) struct TableShape {
    place_bits: u8,
    filter: FilterShape,
    /// A table grows by one part in so many.
    step: u64,
}

/// What a shard publishes. A new filter over the same slots is a new table that shares them.
#[derive(Clone)]
pub(super) struct Table {
    pub(super) slots: Arc<Slots>,
    pub(super) filter: Arc<Filter>,
}

impl TableShape {
    pub(super) fn new(geometry: &IndexGeometry) -> Self {
        Self {
            place_bits: geometry.place_bits(),
            filter: FilterShape::of(geometry.fp_rate),
            // The sizes of many shards lie between each other: on average they are half way through a step. Of few
            // shards most may be at its beginning, and a smaller step keeps them, too, below 16 bytes an entry.
            step: if geometry.shards_log2 < 5 { 16 } else { 12 },
        }
    }

    /// The size after `buckets`. What is empty is memory in vain: a table grows by little, and moves its entries in order,
    /// from one end to the other, which is quick.
    pub(super) fn next_size(&self, buckets: u64, phase: Phase) -> u64 {
        let step = if buckets < LARGE {
            self.step
        } else {
            LARGE_STEP
        };
        let more = match phase {
            _ if buckets < SMALL => buckets,
            Phase::Spread => buckets / step,
            // Between nothing and a step, in the order of the bits turned around: any few shards are well spread.
            Phase::Together(shard) => {
                let parts = ((shard as u64).reverse_bits() >> 56) + 1;
                (buckets * parts).div_ceil(step * 256)
            }
        };
        buckets + more
    }

    fn filter(&self, slots: &Slots) -> Filter {
        Filter::new(self.filter, slots.full(), self.place_bits)
    }

    /// An empty filter for a table of so many buckets, and for what it grows to next: half of what it costs to move an entry
    /// was to tell a new filter of it. For what it grows to then, too, the allocator's share no longer fitted in 16 bytes an
    /// entry.
    fn filter_ahead(&self, buckets: u64) -> Filter {
        let ahead = if buckets < AHEAD {
            buckets
        } else {
            self.next_size(buckets, Phase::Spread)
        };
        Filter::new(self.filter, slots::full(ahead), self.place_bits)
    }
}

impl Table {
    /// An empty table of the fewest buckets that will do.
    pub(super) fn new(shape: &TableShape) -> Self {
        let bits = shape.place_bits;
        let slots = Slots::new(Quotient::new(Quotient::least_buckets(bits), bits));
        Self {
            filter: Arc::new(shape.filter(&slots)),
            slots: Arc::new(slots),
        }
    }

    /// A filter of what is stored: it has forgotten what was removed.
    pub(super) fn fresh_filter(&self, shape: &TableShape) -> Filter {
        let filter = shape.filter(&self.slots);
        self.slots.entries().for_each(|(_, x, _)| filter.insert(x));
        filter
    }

    /// The same entries in at least `buckets` buckets. With `clean` the filter knows no key but theirs, and stays where it
    /// has room for more.
    pub(super) fn grown(&self, shape: &TableShape, mut buckets: u64, clean: bool) -> Self {
        loop {
            let (slots, filter) = if clean && self.filter.capacity >= slots::full(buckets) {
                let slots = self.slots.spread_over(buckets, |_| ());
                (slots, Arc::clone(&self.filter))
            } else {
                let filter = shape.filter_ahead(buckets);
                let slots = self.slots.spread_over(buckets, |x| filter.insert(x));
                (slots, Arc::new(filter))
            };
            if let Some(slots) = slots {
                let slots = Arc::new(slots);
                return Self { slots, filter };
            }
            buckets = shape.next_size(buckets, Phase::Spread);
        }
    }

    pub(super) fn bytes(&self) -> usize {
        slots::bytes(self.slots.buckets()) + self.filter.bytes()
    }
}

/// Where a shard stands among those of an index, whose keys are spread evenly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// With all others: they would be full, and grow, at the same time.
    Together(usize),
    /// Its sizes lie between those of the others, so that of all slots about the same part is empty at any time.
    Spread,
}

/// Below this a table doubles.
pub(super) const SMALL: u64 = 64;

/// From this on, some six hundred entries, a filter is made for more than its table holds. In a smaller one what a shard
/// takes besides leaves nothing of the 16 bytes an entry.
const AHEAD: u64 = 128;

/// From this on, some two thousand entries, a table grows by less at a time: the allocator's share has to fit in 16 bytes an
/// entry, too. Below that it is not worth moving the entries more often.
const LARGE: u64 = 512;
/// By one part in so many.
const LARGE_STEP: u64 = 20;
