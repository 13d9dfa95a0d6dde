//! The buckets of one table: finding, placing and moving slots.
//!
//! A new entry takes the first empty slot of its four buckets. When all are full, one of the
//! twenty entries in the way is moved to another of *its* buckets: that alone lets a table fill to
//! nearly 98 % before it has to grow. How far one is filled is `table.rs`'s: near that end most new
//! entries have to look for another to move.
//!
//! A moved entry is first copied, then `moves` is counted, then the old copy is erased. A reader
//! that looked at the new place too early and at the old one too late has seen the erased slot,
//! hence sees the count, and looks again; only misses have to check.

use std::sync::Arc;

use perennial_wal::to_usize;

use super::bucket::{Bucket, SLOTS};
use super::pieces::Pieces;
use super::quotient::{CHOICES, Quotient, Spot};
use super::slot::{Payload, Slot, Tag};
use crate::sync::{AtomicU64, AtomicUsize, Ordering, fence};

/// In pieces of 4 KiB.
type Buckets = Pieces<64>;

/// A clone is the same slots.
#[derive(Clone)]
pub(super) struct Slots {
    pub(super) quotient: Quotient,
    buckets: Buckets,
    counts: Arc<Counts>,
}

struct Counts {
    moves: AtomicU64,
    used: AtomicUsize,
    /// So many slots may be used.
    full: usize,
}

/// The buckets of a key, found once.
pub(super) struct Choices<'a> {
    slots: &'a Slots,
    spot: Spot,
    buckets: [Bucket<'a>; CHOICES as usize],
}

/// One slot of a table, for a given key.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) bucket: usize,
    pub(super) at: usize,
    pub(super) displacement: u8,
}

impl Slots {
    /// Empty ones, of which `full` may be used.
    pub(super) fn new(quotient: Quotient, full: usize) -> Self {
        Self {
            quotient,
            buckets: Buckets::new(to_usize(quotient.buckets())),
            counts: Arc::new(Counts {
                moves: AtomicU64::new(0),
                used: AtomicUsize::new(0),
                full,
            }),
        }
    }

    pub(super) fn buckets(&self) -> u64 {
        self.quotient.buckets()
    }

    #[inline]
    pub(super) fn bucket(&self, number: usize) -> Bucket<'_> {
        Bucket(self.buckets.line(number))
    }

    pub(super) fn all_buckets(&self) -> impl Iterator<Item = Bucket<'_>> {
        self.buckets.iter().map(Bucket)
    }

    /// With this many slots in use, the dead are swept.
    #[inline]
    pub(super) fn full(&self) -> usize {
        self.counts.full
    }

    /// Swept down to less than this a table has room for a while; otherwise it grows.
    pub(super) fn roomy(&self) -> usize {
        self.full() * 63 / 64
    }

    /// Begins to load the buckets of a key.
    pub(super) fn prefetch(&self, spot: Spot) {
        for choice in 0..CHOICES {
            self.bucket(self.quotient.bucket(spot, choice)).prefetch();
        }
    }

    /// The buckets of a key, which begin to load.
    #[inline]
    pub(super) fn choices(&self, x: u64) -> Choices<'_> {
        let spot = self.spot(x);
        // Written out: `map` of an array is a call and a loop.
        let [first, second, third, fourth] = self.quotient.choices(spot);
        let buckets = [
            self.bucket(first),
            self.bucket(second),
            self.bucket(third),
            self.bucket(fourth),
        ];
        buckets.iter().for_each(|bucket| bucket.prefetch());
        Choices {
            slots: self,
            spot,
            buckets,
        }
    }

    /// Slots that are not empty.
    #[inline]
    pub(super) fn used(&self) -> usize {
        self.counts.used.load(Ordering::Relaxed)
    }

    #[inline]
    pub(super) fn spot(&self, x: u64) -> Spot {
        self.quotient.split(x)
    }

    /// The entry of this key. Any thread may ask.
    pub(super) fn find(&self, spot: Spot) -> Option<(Place, Slot)> {
        self.find_between(spot, |_| ())
    }

    /// `find`, with a place for a test to step in before each of the four buckets.
    fn find_between(&self, spot: Spot, step_in: impl Fn(u8)) -> Option<(Place, Slot)> {
        loop {
            // Acquire, with the release in `shift`: who sees the count sees the new copy.
            let moves = self.counts.moves.load(Ordering::Acquire);
            let found = (0..CHOICES).find_map(|choice| {
                step_in(choice);
                self.find_at(spot, choice)
            });
            // Acquire, with the same: who has read the erased slot sees the count.
            fence(Ordering::Acquire);
            if found.is_some() || self.counts.moves.load(Ordering::Relaxed) == moves {
                return found;
            }
        }
    }

    fn find_at(&self, spot: Spot, displacement: u8) -> Option<(Place, Slot)> {
        let bucket = self.quotient.bucket(spot, displacement);
        let (at, slot) = self.bucket(bucket).find(Tag::new(spot, displacement))?;
        let place = Place {
            bucket,
            at,
            displacement,
        };
        Some((place, slot))
    }

    /// Raises the visited bits of what was found, if it can. Any thread may.
    pub(super) fn visit(&self, place: Place, seen: Slot) -> bool {
        self.bucket(place.bucket).visit(place.at, seen)
    }
}

/// For the holder of the shard's lock.
impl Slots {
    pub(super) fn read(&self, place: Place) -> Slot {
        self.bucket(place.bucket).slot(place.at)
    }

    /// Stores an entry and returns what was there.
    pub(super) fn put(&self, place: Place, spot: Spot, payload: Payload) -> Slot {
        let old = self.read(place);
        let slot = Slot::new(Tag::new(spot, place.displacement), payload);
        self.bucket(place.bucket).write(place.at, slot);
        self.count(usize::from(old.is_empty()), 0);
        old
    }

    pub(super) fn erase(&self, place: Place) {
        debug_assert!(!self.read(place).is_empty());
        self.bucket(place.bucket).write(place.at, Slot::EMPTY);
        self.count(0, 1);
    }

    #[inline]
    pub(super) fn count(&self, more: usize, fewer: usize) {
        let used = self.used() + more - fewer;
        self.counts.used.store(used, Ordering::Relaxed);
    }

    /// An empty slot for this key, made by moving another entry if need be.
    pub(super) fn vacancy(&self, spot: Spot) -> Option<Place> {
        self.empty(spot).or_else(|| self.relocate(spot))
    }

    fn empty(&self, spot: Spot) -> Option<Place> {
        let mut choices = (0..CHOICES).zip(self.quotient.choices(spot));
        choices.find_map(|(displacement, bucket)| {
            let at = self.bucket(bucket).vacancy()?;
            Some(Place {
                bucket,
                at,
                displacement,
            })
        })
    }

    fn relocate(&self, spot: Spot) -> Option<Place> {
        Some(self.make_way(spot)?.0)
    }

    /// Frees one of a key's slots by moving its entry to another of *its* buckets, and says which, and which empty slot
    /// was taken for it.
    ///
    /// One step alone fails for some key of a large table long before it is full, and the table would grow too early: then
    /// the entry takes the slot of a third one, which moves on.
    pub(super) fn make_way(&self, spot: Spot) -> Option<(Place, Place)> {
        let one_step = |place| Some((place, self.move_away(place)?));
        let two_steps = |place: Place| {
            let spot = self.spot_of(place);
            let elsewhere = |next: &Place| next.bucket != place.bucket;
            let mut nexts = self.candidates(spot).filter(elsewhere);
            let (next, taken) = nexts.find_map(one_step)?;
            self.shift(place, next);
            Some((place, taken))
        };
        self.candidates(spot)
            .find_map(one_step)
            .or_else(|| self.candidates(spot).find_map(two_steps))
    }

    /// The twenty slots this key may live in.
    #[inline]
    pub(super) fn candidates(&self, spot: Spot) -> impl Iterator<Item = Place> {
        let choices = (0..CHOICES).zip(self.quotient.choices(spot));
        choices.flat_map(|(displacement, bucket)| {
            (0..SLOTS).map(move |at| Place {
                bucket,
                at,
                displacement,
            })
        })
    }

    /// Moves the entry in `place` to another of its buckets, if one has an empty slot, and says where it is now.
    ///
    /// Close to full a fresh key asks this of a dozen entries: its own bucket is not looked at again.
    #[inline]
    fn move_away(&self, place: Place) -> Option<Place> {
        let tag = self.bucket(place.bucket).tag(place.at);
        let choices = self.quotient.choices(self.quotient.spot(place.bucket, tag));
        for (displacement, bucket) in (0..CHOICES).zip(choices) {
            if displacement == tag.displacement {
                continue;
            }
            if let Some(at) = self.bucket(bucket).vacancy() {
                let to = Place {
                    bucket,
                    at,
                    displacement,
                };
                self.shift(place, to);
                return Some(to);
            }
        }
        None
    }

    fn spot_of(&self, place: Place) -> Spot {
        self.quotient.spot(place.bucket, self.read(place).tag())
    }

    /// Moves an entry to an empty slot of another of its buckets.
    fn shift(&self, place: Place, to: Place) {
        let slot = self.read(place);
        self.bucket(to.bucket)
            .write(to.at, slot.displaced(to.displacement));
        let moves = self.counts.moves.load(Ordering::Relaxed);
        // Release, with both acquires in `find`.
        self.counts.moves.store(moves + 1, Ordering::Release);
        self.bucket(place.bucket).write(place.at, Slot::EMPTY);
    }

    /// Some three hundred entries from all over the table, all of a small one.
    ///
    /// While a cache fills nothing is dead, and a sweep before each growth is as dear as the growth itself.
    pub(super) fn sample(&self) -> impl Iterator<Item = Slot> {
        let some = self.all_buckets().step_by(1 + self.buckets.len() / 64);
        some.flat_map(|bucket| (0..SLOTS).map(move |at| bucket.slot(at)))
            .filter(|slot| !slot.is_empty())
    }

    /// Every entry: where it is, the place bits of its key, what it says.
    pub(super) fn entries(&self) -> impl Iterator<Item = (Place, u64, Payload)> {
        let places =
            (0..self.buckets.len()).flat_map(|bucket| (0..SLOTS).map(move |at| (bucket, at)));
        places.filter_map(|(bucket, at)| {
            let slot = self.bucket(bucket).slot(at);
            let tag = slot.tag();
            let place = Place {
                bucket,
                at,
                displacement: tag.displacement,
            };
            let x = || self.quotient.join(self.quotient.spot(bucket, tag));
            (!slot.is_empty()).then(|| (place, x(), slot.payload()))
        })
    }
}

/// For the holder of the shard's lock.
impl Choices<'_> {
    /// Stores what is new in the key's slot, and returns what was there. `None`: it has no slot, and nothing is stored.
    #[inline]
    pub(super) fn replace(&self, payload: Payload) -> Option<Slot> {
        let mut each = (0..CHOICES).zip(&self.buckets);
        each.find_map(|(displacement, bucket)| {
            let tag = Tag::new(self.spot, displacement);
            let (at, old) = bucket.scan(tag)?;
            bucket.write(at, Slot::new(tag, payload));
            Some(old)
        })
    }

    /// Stores a key's entry in the first of its slots that is empty. False: none is, or the table is [full](Slots::full),
    /// and nothing is stored.
    #[inline]
    pub(super) fn fill(&self, payload: Payload) -> bool {
        if self.slots.used() >= self.slots.full() {
            return false;
        }
        for (displacement, bucket) in (0..CHOICES).zip(&self.buckets) {
            if let Some(at) = bucket.vacancy() {
                let tag = Tag::new(self.spot, displacement);
                bucket.write(at, Slot::new(tag, payload));
                self.slots.count(1, 0);
                return true;
            }
        }
        false
    }
}

/// Bytes of a table with so many buckets.
pub(super) fn bytes(buckets: u64) -> usize {
    Buckets::bytes(to_usize(buckets))
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn a_reader_overtaken_by_a_move_looks_again() {
        let slots = Slots::new(Quotient::new(64, 46), 64);
        let spot = slots.spot(0x1234_5678_9abc);
        let last = slots.candidates(spot).last().unwrap();
        let payload = Payload {
            low_units: 5,
            kept: false,
            class: 1,
            visited: 0,
        };
        slots.put(last, spot, payload);
        let moved = Cell::new(false);
        // The reader has passed the first bucket when the entry moves there from the last.
        let found = slots.find_between(spot, |choice| {
            if choice == 1 && !moved.replace(true) {
                assert!(slots.move_away(last).is_some());
            }
        });
        let (place, slot) = found.expect("it was there all the time");
        assert_eq!((place.displacement, slot.payload()), (0, payload));
        assert_eq!(slots.used(), 1);
    }
}
