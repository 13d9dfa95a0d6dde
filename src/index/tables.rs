//! The tables that readers are shown, and when an old one is freed.
#![expect(
    unsafe_code,
    reason = "readers without locks follow raw pointers, and what they point at is freed later"
)]

use std::sync::Arc;
use std::sync::atomic::AtomicPtr;

use super::readers::{Held, Inside, Readers};
use super::table::Table;
use super::tally::{Outcome, ReadStats};
use crate::sync::{Mutex, Ordering};

/// One line of the processor's cache, and no part of another.
#[repr(align(64))]
struct Published(Table);

/// One table for each shard.
pub(super) struct Tables {
    readers: Readers,
    /// Never null from `new` to drop. Side by side, not each with its shard: of hundreds they stay in the processor's nearest
    /// cache, and a table is replaced so rarely that nobody is in the other's way.
    pointers: Box<[AtomicPtr<Published>]>,
    retired: Mutex<Vec<Retired>>,
}

/// A table that somebody may still look at.
struct Retired {
    _table: Arc<Published>,
    held: Held,
}

impl Tables {
    pub(super) fn new(tables: impl Iterator<Item = Table>) -> Self {
        let pointers = tables.map(|table| AtomicPtr::new(pointer(table)));
        Self {
            readers: Readers::new(),
            pointers: pointers.collect(),
            retired: Mutex::default(),
        }
    }

    /// From now on readers make no fences, if the system can make them for them.
    pub(super) fn spare_fences(&self) {
        self.readers.spare_fences();
    }

    /// Shows `look` the table of this moment, which stays allocated until it returns, and where to count.
    ///
    /// It must be short and must not block, for what is retired meanwhile waits for it. It must neither read nor publish: a
    /// thread without a record of its own would wait for itself.
    #[inline]
    pub(super) fn read<R>(&self, shard: usize, look: impl FnOnce(&Table, &Inside<'_>) -> R) -> R {
        let inside = self.readers.enter();
        // Acquire, with the release in `publish`: the table is seen as it was built.
        let table = self.pointers[shard].load(Ordering::Acquire);
        // SAFETY: `new` and `publish` only store pointers of an `Arc` whose one count they have, so it is not null and was valid
        // when loaded. That count is given back in `publish`, to a list, and what is on the list is dropped when
        // whoever was inside at the change has left (I17). It was loaded behind `inside`, which is dropped
        // behind the look, by a panic, too.
        look(&unsafe { &*table }.0, &inside)
    }

    /// Gives readers another table, and frees the old one, and those before it, that the last reader has left.
    pub(super) fn publish(&self, shard: usize, table: Table) {
        let new = pointer(table);
        let swap = || self.pointers[shard].swap(new, Ordering::AcqRel);
        let (old, held) = self.readers.publish(swap);
        // SAFETY: it comes from `Arc::into_raw`, and the swap took it and its count out of the only place where they were:
        // a swap returns a pointer once.
        let table = unsafe { Arc::from_raw(old) };
        let mut retired = self.retired.lock();
        retired.push(Retired {
            _table: table,
            held,
        });
        let left: Vec<_> = retired
            .extract_if(.., |old| self.readers.have_left(&mut old.held))
            .collect();
        // Tables are large: freed without the lock.
        drop(retired);
        drop(left);
    }

    /// Counts how a read ended.
    #[inline]
    pub(super) fn count(&self, outcome: Outcome) {
        self.readers.count(outcome);
    }

    pub(super) fn read_stats(&self) -> ReadStats {
        ReadStats::of(&self.readers.counted())
    }

    /// How often visited bits were raised.
    pub(super) fn visits(&self) -> u64 {
        self.readers.counted()[Outcome::Visit as usize]
    }

    /// Bytes of the pointers.
    pub(super) fn bytes(&self) -> usize {
        size_of_val(&*self.pointers)
    }

    #[cfg(test)]
    pub(super) fn retired(&self) -> usize {
        self.retired.lock().len()
    }
}

fn pointer(table: Table) -> *mut Published {
    Arc::into_raw(Arc::new(Published(table))).cast_mut()
}

impl Drop for Tables {
    fn drop(&mut self) {
        for pointer in &mut self.pointers {
            // SAFETY: `&mut self` means that no reader is inside, and the pointer and its count were not taken out, for
            // `publish` puts another in the place of what it takes.
            drop(unsafe { Arc::from_raw(*pointer.get_mut()) });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::thread;

    use super::*;
    use crate::index::IndexGeometry;
    use crate::index::table::TableShape;

    fn table() -> Table {
        Table::new(&TableShape::new(&IndexGeometry {
            shards_log2: 0,
            identity_bits: 56,
            fp_rate: 0.01,
        }))
    }

    fn a_reader_keeps_its_table(spared: bool) {
        let tables = Tables::new([table()].into_iter());
        if spared {
            tables.spare_fences();
        }
        let (is_inside, inside) = mpsc::channel();
        let (let_go, told) = mpsc::channel();
        thread::scope(|scope| {
            let tables = &tables;
            let reader = scope.spawn(move || {
                tables.read(0, |table, _| {
                    is_inside.send(()).unwrap();
                    told.recv().unwrap();
                    table.slots.used()
                })
            });
            inside.recv().unwrap();
            tables.publish(0, table());
            assert_eq!(tables.retired(), 1, "the reader is inside");
            // Nobody was shown this one.
            tables.publish(0, table());
            assert_eq!(tables.retired(), 2, "it may have come to either");
            let_go.send(()).unwrap();
            assert_eq!(reader.join().unwrap(), 0);
            tables.publish(0, table());
            assert_eq!(tables.retired(), 0, "all have left");
        });
    }

    #[test]
    fn a_table_is_kept_while_a_reader_is_in_it_and_freed_at_the_next_publication() {
        a_reader_keeps_its_table(false);
        a_reader_keeps_its_table(true);
    }

    #[test]
    fn a_reader_that_panics_has_left() {
        let tables = Tables::new([table()].into_iter());
        let look = || tables.read(0, |_, _| panic!("a bug"));
        let panicked: thread::Result<()> =
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(look));
        assert!(panicked.is_err());
        tables.publish(0, table());
        assert_eq!(tables.retired(), 0);
    }

    #[test]
    fn a_look_within_a_look_leaves_the_outer_one_inside() {
        let tables = Tables::new([table()].into_iter());
        tables.read(0, |_, _| {
            tables.read(0, |table, _| assert_eq!(table.slots.used(), 0));
            tables.publish(0, table());
            assert_eq!(tables.retired(), 1);
        });
        tables.publish(0, table());
        assert_eq!(tables.retired(), 0);
    }

    #[test]
    fn what_threads_counted_stays_when_they_end() {
        let tables = Tables::new([table()].into_iter());
        for _ in 0..3 {
            thread::scope(|scope| {
                for _ in 0..3 {
                    scope.spawn(|| {
                        tables.count(Outcome::Tail);
                        tables.read(0, |_, inside| inside.count(Outcome::Negative));
                    });
                }
            });
        }
        let stats = tables.read_stats();
        assert_eq!((stats.hits_tail, stats.negatives, stats.misses), (9, 9, 9));
    }
}
