//! The pointer readers follow to a shard's table, and when an old table is freed.
#![expect(
    unsafe_code,
    reason = "readers without locks need deferred freeing, and epoch pointers are raw"
)]

use crossbeam_epoch::{self as epoch, Atomic, Owned};

use super::table::Table;
use crate::sync::Ordering;

/// How often the epoch moves on until what was retired is freed.
const EPOCHS: usize = 3;

/// Never null from `new` to drop.
pub(super) struct TablePtr(Atomic<Published>);

/// One line of the processor's cache, and no part of another.
#[repr(align(64))]
struct Published(Table);

impl TablePtr {
    pub(super) fn new(table: Table) -> Self {
        Self(Atomic::new(Published(table)))
    }

    /// Shows `look` the table of this moment, which stays allocated until it returns.
    ///
    /// It must be short and must not block: freeing waits for it, in the whole process.
    pub(super) fn read<R>(&self, look: impl FnOnce(&Table) -> R) -> R {
        let pinned = epoch::pin();
        // Acquire, with the release in `publish`: the table is seen as it was built.
        let table = self.0.load(Ordering::Acquire, &pinned);
        // SAFETY: `new` and `publish` only store pointers from `Owned`, so it is not null and
        // was valid when loaded. `publish` alone retires a table, after it took it out of the
        // pointer, through `defer_destroy`: not before `pinned`, which lives until `look` has
        // returned, is dropped.
        look(&unsafe { table.deref() }.0)
    }

    /// Gives readers another table and frees the old one when the last of them has left it.
    pub(super) fn publish(&self, table: Table) {
        let pinned = epoch::pin();
        let old = self
            .0
            .swap(Owned::new(Published(table)), Ordering::AcqRel, &pinned);
        // SAFETY: the swap took `old` out of the only place readers find it, and since a swap
        // returns a pointer once, nobody else retires it.
        unsafe { pinned.defer_destroy(old) };
        // A thread hands on what it retired sixty pieces at a time; tables are too large for that.
        pinned.flush();
        drop(pinned);
        // And what was handed on is freed by whoever comes by two epochs later. Without readers in between that can be now.
        for _ in 0..EPOCHS {
            epoch::pin().flush();
        }
    }
}

impl Drop for TablePtr {
    fn drop(&mut self) {
        let table = std::mem::replace(&mut self.0, Atomic::null());
        // SAFETY: `&mut self` means that no reader borrows this pointer, and what it holds has
        // not been retired, for `publish` retires only what it has taken out.
        drop(unsafe { table.try_into_owned() });
    }
}
