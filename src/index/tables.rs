//! The tables that readers are shown, and when an old one is freed.
#![expect(
    unsafe_code,
    reason = "readers without locks follow raw pointers, and what they point at is freed later"
)]

use std::sync::Arc;
use std::sync::atomic::AtomicPtr;

use super::readers::{Held, Readers};
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

    /// Shows `look` the table of this moment, which stays allocated until it returns.
    ///
    /// It must be short and must not block, for what is retired meanwhile waits for it, and it must not publish.
    #[inline]
    pub(super) fn read<R>(&self, shard: usize, look: impl FnOnce(&Table) -> R) -> R {
        let _inside = self.readers.enter();
        // Acquire, with the release in `publish`: the table is seen as it was built.
        let table = self.pointers[shard].load(Ordering::Acquire);
        // SAFETY: `new` and `publish` only store pointers of an `Arc` whose one count they have, so it is not null and was valid
        // when loaded. That count is given back in `publish`, to a list, and what is on the list is dropped when
        // whoever was inside at the change has left (I17). It was loaded behind `_inside`, which is dropped
        // behind the look, by a panic, too.
        look(&unsafe { &*table }.0)
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

    /// How often reads ended so.
    pub(super) fn counted(&self, outcome: Outcome) -> u64 {
        self.readers.counted(outcome)
    }

    pub(super) fn read_stats(&self) -> ReadStats {
        ReadStats::of(|outcome| self.counted(outcome))
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
