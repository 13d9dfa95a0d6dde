//! A shard's slots together with the filter in front of them.

use perennial_wal::to_usize;

use super::bucket::SLOTS;
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
    many_shards: bool,
}

/// What a shard publishes. A new filter over the same slots is a new table that shares them.
///
/// Where the lines are is behind one list from here: each pointer more is a load that waits for the one before, and of hundreds
/// of shards few are in the processor's nearest cache. It is one line itself.
#[derive(Clone)]
pub(super) struct Table {
    pub(super) filter: Filter,
    pub(super) slots: Slots,
}

const _: () = assert!(size_of::<Table>() <= 64);

impl TableShape {
    pub(super) fn new(geometry: &IndexGeometry) -> Self {
        Self {
            place_bits: geometry.place_bits(),
            filter: FilterShape::of(geometry.fp_rate),
            many_shards: geometry.shards_log2 >= 5,
        }
    }

    /// A table grows by one part in so many. The sizes of many shards lie between each other: on average they are half way
    /// through a step. Of few shards most may be at its beginning, and a smaller step keeps them, too, below 16 bytes an entry.
    fn step(&self, buckets: u64) -> u64 {
        match (buckets < LARGE, self.many_shards) {
            (true, false) => 16,
            (true, true) => 12,
            (false, false) => 20,
            (false, true) => 14,
        }
    }

    /// Slots in use at which the dead of a table with so many buckets are swept, or it grows. Where there is memory for it a
    /// table is left before it is as full as it could be: with 122 parts in 128 used instead of 125, and a step of a
    /// fourteenth instead of a twentieth, three million fresh keys take a third less time and 15.9 bytes each at most, as
    /// the allocator counts them, instead of 15.2 (`perennial-index`).
    fn full(&self, buckets: u64) -> usize {
        to_usize(buckets) * SLOTS * self.parts(buckets) / 128
    }

    fn parts(&self, buckets: u64) -> usize {
        if buckets < LARGE || !self.many_shards {
            125
        } else {
            122
        }
    }

    /// Buckets for so many entries, and some more: close to where it is full a table has to move others often.
    pub(super) fn buckets_for(&self, entries: usize) -> u64 {
        let used =
            |parts: usize| (entries.saturating_mul(128) / (parts - 2)).div_ceil(SLOTS) as u64;
        used(self.parts(used(self.parts(0))))
    }

    /// The size after `buckets`. What is empty is memory in vain: a table grows by little, and moves its entries in order,
    /// from one end to the other, which is quick.
    pub(super) fn next_size(&self, buckets: u64, phase: Phase) -> u64 {
        let step = self.step(buckets);
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
        Filter::new(self.filter, self.full(ahead), self.place_bits)
    }
}

impl Table {
    /// An empty table of the fewest buckets that will do.
    pub(super) fn new(shape: &TableShape) -> Self {
        let bits = shape.place_bits;
        let quotient = Quotient::new(Quotient::least_buckets(bits), bits);
        let slots = Slots::new(quotient, shape.full(quotient.buckets()));
        Self {
            filter: shape.filter(&slots),
            slots,
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
            let full = shape.full(buckets);
            let known = clean && self.filter.len() >= shape.filter.blocks(full);
            let (slots, filter) = if known {
                let slots = self.slots.spread_over(buckets, full, |_| ());
                (slots, self.filter.clone())
            } else {
                let filter = shape.filter_ahead(buckets);
                let slots = self.slots.spread_over(buckets, full, |x| filter.insert(x));
                (slots, filter)
            };
            if let Some(slots) = slots {
                return Self { filter, slots };
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
