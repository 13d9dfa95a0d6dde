//! The entries of a table spread over more buckets.
//!
//! It is most of what a fresh key costs, since on its way to its place in the last table an entry is moved eight times.
//! So it is done in order: homes rise with the keys, both tables and the filter are gone through from one end to the
//! other, and of a slot nothing changes but the displacement.

use perennial_wal::to_usize;

use super::bucket::SLOTS;
use super::quotient::CHOICES;
use super::slot::Slot;
use super::slots::{Place, Slots};

impl Slots {
    /// The same entries over more buckets, of whose slots `full` may be used, each key shown to `placed`; `None` when they do
    /// not fit.
    pub(super) fn spread_over(
        &self,
        buckets: u64,
        full: usize,
        placed: impl Fn(u64),
    ) -> Option<Self> {
        let mut wider = Filling::new(Self::new(self.quotient.with_buckets(buckets), full));
        for (number, bucket) in self.all_buckets().enumerate() {
            for slot in (0..SLOTS).map(|at| bucket.slot(at)) {
                if !slot.is_empty() {
                    let x = self.quotient.join(self.quotient.spot(number, slot.tag()));
                    wider.put(x, slot)?;
                    placed(x);
                }
            }
        }
        wider.slots.count(self.used(), 0);
        Some(wider.slots)
    }
}

/// A table that nobody sees yet. Its buckets are filled from the first slot on, so a count says where the next one is
/// empty: a byte is looked at instead of five slots.
struct Filling {
    slots: Slots,
    taken: Vec<u8>,
}

impl Filling {
    fn new(slots: Slots) -> Self {
        let taken = vec![0; to_usize(slots.buckets())];
        Self { slots, taken }
    }

    #[inline]
    fn put(&mut self, x: u64, slot: Slot) -> Option<()> {
        let place = match self.empty(x) {
            Some(place) => place,
            None => self.relocate(x)?,
        };
        let slot = slot.displaced(place.displacement);
        self.slots.bucket(place.bucket).fill(place.at, slot);
        Some(())
    }

    #[inline]
    fn empty(&mut self, x: u64) -> Option<Place> {
        let spot = self.slots.spot(x);
        for displacement in 0..CHOICES {
            let bucket = self.slots.quotient.bucket(spot, displacement);
            let taken = &mut self.taken[bucket];
            let at = usize::from(*taken);
            if at < SLOTS {
                *taken += 1;
                return Some(Place {
                    bucket,
                    at,
                    displacement,
                });
            }
        }
        None
    }

    /// The slot it frees is taken at once: only the bucket that the other entry went to counts one more.
    fn relocate(&mut self, x: u64) -> Option<Place> {
        let (freed, to) = self.slots.make_way(self.slots.spot(x))?;
        self.taken[to.bucket] += 1;
        Some(freed)
    }
}
