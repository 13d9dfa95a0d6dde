//! An entry stored as a plain insert does it: told to the filter, placed and set by one walk through the key's buckets.
//!
//! [`prepare`](ShardGuard::prepare) and [`set`](ShardGuard::set) do the same in two steps, each of which finds the buckets
//! anew. What takes more than an empty slot or the key's own is left to `set`: moving others, sweeping, growing.

use perennial_wal::Addr;

use super::Index;
use super::entry::Entry;
use super::shard::{Live, Prepared, ShardGuard};

/// What was [entered](ShardGuard::enter) since the index was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Entered {
    pub(crate) entries: u64,
    pub(crate) bytes: u64,
}

impl<X> Index<X> {
    /// The sum over all shards, each as it is when it is asked.
    pub(crate) fn entered(&self) -> Entered {
        let mut sum = Entered::default();
        for number in 0..self.shards() {
            // Not loaded, nothing was entered: to ask is no touch.
            let entered = self.lock_unloaded(number).state.entered;
            sum.entries += entered.entries;
            sum.bytes += entered.bytes;
        }
        sum
    }
}

impl<X> ShardGuard<'_, X> {
    /// Tells the filter of the key, asks `reserve` for its address and stores its entry, in that order (I7; hole 36 in
    /// `docs/recovery.md`). Returns what `reserve` gave and the entry that was replaced. The shard counts one entry more
    /// and its `bytes`, which under the lock costs no locked instruction ([`Index::entered`]).
    ///
    /// # Errors
    /// What `reserve` answers: the entry is as it was then.
    #[inline]
    pub(crate) fn enter<T, E>(
        &mut self,
        hash: u64,
        (size_class, bytes): (u8, u64),
        live: Live<'_>,
        reserve: impl FnOnce(&mut X) -> Result<(T, Addr), E>,
    ) -> Result<(T, Option<Entry>), E> {
        let key = self.key(hash);
        let index = self.index;
        let state = &mut *self.state;
        let choices = state.table.slots.choices(key.x);
        let filter = &state.table.filter;
        let known = if perennial_failpoints::planted!("filter-not-told") {
            filter.may_contain(key.x)
        } else {
            filter.tell(key.x)
        };
        let (reserved, addr) = reserve(&mut state.extra)?;
        state.entered.entries += 1;
        state.entered.bytes += bytes;
        let payload = index.horizons.shorten(addr, size_class, 0);
        if known && let Some(old) = choices.replace(payload) {
            return Ok((reserved, Some(index.horizons.expand(old.payload()))));
        }
        if choices.fill(payload) {
            return Ok((reserved, None));
        }
        Ok((reserved, self.enter_full(hash, addr, size_class, live)))
    }

    /// There is no slot for it.
    #[cold]
    fn enter_full(
        &mut self,
        hash: u64,
        addr: Addr,
        size_class: u8,
        live: Live<'_>,
    ) -> Option<Entry> {
        self.prepared = Some(Prepared {
            identity: self.key(hash).identity,
            known: false,
        });
        self.set(hash, addr, size_class, live)
    }
}
