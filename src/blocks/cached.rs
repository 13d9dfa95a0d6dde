//! What the cache has of a block.

use std::ops::Range;

use bytes::Bytes;

use crate::blocks::key::Keys;
use crate::blocks::shared::Shared;
use crate::error::Error;
#[cfg(feature = "tokio")]
use crate::read::InMemory;
use crate::value::Value;

/// Of larger blocks only the touched part is read and verified.
const WHOLE_BYTES: u64 = 64 << 10;

/// How a part of a block is looked for: the whole block, or the part alone.
struct Look {
    part: Range<usize>,
    whole: bool,
    /// Bytes that must be found.
    expected: usize,
}

impl Look {
    fn of(keys: &Keys, number: u64, part: &Range<usize>) -> Self {
        let block_bytes = keys.cut.bytes_of(number);
        let whole = part.len() == block_bytes || 1 << keys.cut.bits <= WHOLE_BYTES;
        Self {
            part: part.clone(),
            whole,
            expected: if whole { block_bytes } else { part.len() },
        }
    }

    fn range(&self) -> Range<u64> {
        self.part.start as u64..self.part.end as u64
    }
}

impl Shared {
    /// These bytes of a block. `None`: they are not there, or the cache fails; then the origin is asked.
    pub(super) fn cached(
        &self,
        keys: &mut Keys,
        number: u64,
        part: &Range<usize>,
    ) -> Option<Bytes> {
        let began_ns = self.now_ns();
        let look = Look::of(keys, number, part);
        let key = keys.of(number);
        let found = if look.whole {
            self.cache.get(key)
        } else {
            self.cache.get_range(key, look.range())
        };
        self.took(began_ns);
        match found {
            Ok(found) => self.good(&look, found?),
            Err(error) => self.failed(&error),
        }
    }

    /// The same, unless a file has to be read for it.
    #[cfg(feature = "tokio")]
    pub(super) fn cached_in_memory(
        &self,
        keys: &mut Keys,
        number: u64,
        part: &Range<usize>,
    ) -> InMemory<Bytes> {
        let began_ns = self.now_ns();
        let look = Look::of(keys, number, part);
        let key = keys.of(number);
        let engine = self.cache.engine();
        let found = if look.whole {
            engine.get_in_memory(key)
        } else {
            engine.get_range_in_memory(key, look.range())
        };
        let found = match found {
            Ok(InMemory::OnDisk) => return InMemory::OnDisk,
            Ok(InMemory::Absent) => None,
            Ok(InMemory::Found(value)) => self.good(&look, value),
            Err(error) => self.failed(&error),
        };
        self.took(began_ns);
        found.map_or(InMemory::Absent, InMemory::Found)
    }

    fn took(&self, began_ns: u64) {
        let took_ns = self.now_ns().saturating_sub(began_ns);
        self.times.disk_read.add(took_ns);
    }

    /// The key says how long a block is: what is kept under it by others is none.
    fn good(&self, look: &Look, found: Value) -> Option<Bytes> {
        let found = found.into_bytes();
        if found.len() != look.expected {
            self.counters.bad_blocks.add(1);
            return None;
        }
        Some(if look.whole {
            found.slice(look.part.clone())
        } else {
            found
        })
    }

    fn failed(&self, error: &Error) -> Option<Bytes> {
        tracing::debug!(%error, "the cache does not answer; the origin is asked");
        self.counters.cache_failures.add(1);
        None
    }

    /// The same as [`has`](Self::has), unless a file has to be read for it.
    #[cfg(feature = "tokio")]
    pub(super) fn has_in_memory(&self, keys: &mut Keys, number: u64) -> InMemory<()> {
        let found = self.cache.engine().contains_in_memory(keys.of(number));
        found.unwrap_or_else(|_| {
            self.counters.cache_failures.add(1);
            InMemory::Absent
        })
    }

    /// Whether the cache has a block, as far as its header and key tell.
    pub(super) fn has(&self, keys: &mut Keys, number: u64) -> bool {
        self.cache.contains(keys.of(number)).unwrap_or_else(|_| {
            self.counters.cache_failures.add(1);
            false
        })
    }
}
