//! What the cache has of a block.

use std::ops::Range;

use bytes::Bytes;

use crate::blocks::key::Keys;
use crate::blocks::shared::Shared;

/// Of larger blocks only the touched part is read and verified.
const WHOLE_BYTES: u64 = 64 << 10;

impl Shared {
    /// These bytes of a block. `None`: they are not there, or the cache fails; then the origin is asked.
    pub(super) fn cached(
        &self,
        keys: &mut Keys,
        number: u64,
        part: &Range<usize>,
    ) -> Option<Bytes> {
        let began_ns = self.now_ns();
        let block_bytes = keys.cut.bytes_of(number);
        let whole = part.len() == block_bytes || 1 << keys.cut.bits <= WHOLE_BYTES;
        let key = keys.of(number);
        let found = if whole {
            self.cache.get(key)
        } else {
            self.cache
                .get_range(key, part.start as u64..part.end as u64)
        };
        let took_ns = self.now_ns().saturating_sub(began_ns);
        self.times.disk_read.add(took_ns);
        let found = match found {
            Ok(found) => found?.into_bytes(),
            Err(error) => {
                tracing::debug!(%error, "the cache does not answer; the origin is asked");
                self.counters.cache_failures.add(1);
                return None;
            }
        };
        // The key says how long a block is: what is kept under it by others is none.
        let expected = if whole { block_bytes } else { part.len() };
        if found.len() != expected {
            self.counters.bad_blocks.add(1);
            return None;
        }
        Some(if whole {
            found.slice(part.clone())
        } else {
            found
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
