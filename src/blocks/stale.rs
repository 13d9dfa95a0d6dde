//! Blocks that are not to be used any more: of versions that were replaced, of objects that are invalidated.

use std::sync::Arc;

use crate::blocks::key::{Keys, of_identity, of_object, of_version, version_in};
use crate::blocks::origin::{Head, Version};
use crate::blocks::request::{ReadOptions, Revalidate};
use crate::blocks::shared::Shared;
use crate::blocks::stats::ObjectStats;
use crate::blocks::work::Stale;
use crate::error::Result;

/// A look for one block costs about as much as going past so many entries of a cache.
const ENTRIES_PER_LOOK: u64 = 4;
/// So many looks are always cheap.
const LOOKS_MIN: u64 = 1024;

impl Shared {
    /// Nothing that was fetched before is served to who begins to read after this (B4).
    pub(super) fn invalidate(&self, object: &str) -> Result<u64> {
        let prefix = of_object(&self.identity, object)?;
        self.heads.forget(object, true);
        // Also takes the stake out of everything under way.
        let removed = self.cache.remove_prefix(&prefix);
        if !perennial_failpoints::planted!("invalidate-leaves-flights") {
            self.flights.ground(&prefix);
        }
        // Once more: somebody may have asked again, before it was removed.
        self.heads.forget(object, true);
        removed
    }

    /// The version is asked for by who begins to read after this; blocks stay.
    pub(super) fn forget(&self, object: &str) -> Result<()> {
        self.heads.forget(object, false);
        // Also takes out the stake of a question under way.
        let forgotten = self
            .remembered_key(object)
            .map(|key| self.cache.remove(key));
        self.heads.forget(object, false);
        forgotten.unwrap_or(Ok(()))
    }

    /// Removes the blocks of a version that was replaced. Only room rests on it.
    pub(super) fn drop_stale(self: &Arc<Self>, stale: &Stale) {
        let Stale { object, head } = stale;
        let now = self.heads.of(object).fresh(Revalidate::Never, 0);
        let patience = self.patience();
        if now.as_ref() == Some(head) || !patience.may_wait {
            return;
        }
        let removed = self.keys(object, head).and_then(|mut keys| {
            self.forget_remembered(object, head)?;
            if self.looks_are_cheap(&keys) {
                self.remove_each(&mut keys)
            } else {
                let prefix = of_version(&self.identity, object, head)?;
                self.cache.remove_prefix(prefix)
            }
        });
        match removed {
            Ok(removed) => self.counters.stale_blocks_removed.add(removed),
            Err(error) => {
                self.counters.cache_failures.add(1);
                tracing::debug!(%error, "blocks of a replaced version stay until they are evicted");
            }
        }
    }

    /// A look for each block, or one through all keys of the cache.
    fn looks_are_cheap(&self, keys: &Keys) -> bool {
        let entries = self.cache.stats().entries;
        keys.cut.blocks() <= LOOKS_MIN + ENTRIES_PER_LOOK * entries
    }

    fn remove_each(&self, keys: &mut Keys) -> Result<u64> {
        let mut removed = 0;
        for number in 0..keys.cut.blocks() {
            if self.cache.contains(keys.of(number))? {
                self.cache.remove(keys.of(number))?;
                removed += 1;
            }
        }
        Ok(removed)
    }

    pub(super) fn any_version(&self, mut is_so: impl FnMut(&Version) -> bool) -> Result<bool> {
        let prefix = of_identity(&self.identity)?;
        for key in self.cache.keys() {
            if version_in(&key?, &prefix).is_some_and(|version| is_so(&version)) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    pub(super) fn stats_of(self: &Arc<Self>, object: &str) -> Result<ObjectStats> {
        let head = self.head(object, &ReadOptions::new())?;
        self.stats_of_version(object, head)
    }

    /// It does not ask the origin.
    pub(super) fn stats_of_version(&self, object: &str, head: Head) -> Result<ObjectStats> {
        let mut keys = self.keys(object, &head)?;
        let total_blocks = keys.cut.blocks();
        let cached_blocks = if self.looks_are_cheap(&keys) {
            let there = |number: &u64| self.has(&mut keys, *number);
            (0..total_blocks).filter(there).count()
        } else {
            let key = keys.of(0);
            let prefix = &key[..key.len() - 8];
            let keys = self.cache.keys().flatten();
            keys.filter(|key| key.starts_with(prefix)).count()
        } as u64;
        let known = self.heads.of(object);
        Ok(ObjectStats {
            head,
            total_blocks,
            cached_blocks,
            block_hits: known.hits.get(),
            block_misses: known.misses.get(),
        })
    }
}
