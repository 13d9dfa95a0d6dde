//! What most workloads begin with.

use std::path::Path;
use std::time::Instant;

use super::effort::Effort;
use crate::backend::{Backend, Kind, Setting};
use crate::data::{Values, key};
use crate::failure::Result;

/// Memory for what was read recently, where a workload is not about that.
pub(super) const MEMORY_BYTES: u64 = 64 << 20;
/// More than fits in anybody's write buffers.
const FILLER_BYTES: u64 = 256 << 20;
/// Keys from here on are fillers, which nobody reads.
pub(super) const FILLER: u64 = 1 << 32;
/// Stores that drop what comes too quickly are waited for after so many bytes, entries rounded up as foyer does.
const SETTLE_BYTES: u64 = 8 << 20;
const ROUNDED_UP_TO: u64 = 4096;

/// One workload on one store.
pub(super) struct Task<'a> {
    pub(super) kind: Kind,
    pub(super) dir: &'a Path,
    pub(super) effort: Effort,
}

impl Task<'_> {
    pub(super) fn setting(&self, capacity_bytes: u64, memory_bytes: u64) -> Setting {
        Setting {
            dir: self.dir.to_owned(),
            capacity_bytes,
            memory_bytes,
        }
    }

    pub(super) fn open(&self, capacity_bytes: u64, memory_bytes: u64) -> Result<Box<dyn Backend>> {
        self.kind.open(&self.setting(capacity_bytes, memory_bytes))
    }

    /// Puts keys `from..from + count` in, as far as the time goes. How many went in.
    pub(super) fn put_all(
        &self,
        store: &dyn Backend,
        values: &Values,
        from: u64,
        count: u64,
    ) -> Result<u64> {
        let each = (values.bytes() as u64).next_multiple_of(ROUNDED_UP_TO);
        let settle_after = (SETTLE_BYTES / each).max(1);
        let started = Instant::now();
        let mut done = 0;
        while done < count && (done % 64 != 0 || started.elapsed() < self.effort.prepare()) {
            store.put(&key(from + done), values.of(from + done))?;
            done += 1;
            if done % settle_after == 0 {
                store.settle()?;
            }
        }
        store.settle()?;
        Ok(done)
    }

    /// Puts so much else in that nothing put before is in a write buffer any more.
    pub(super) fn push_out(&self, store: &dyn Backend) -> Result<()> {
        let values = Values::new(64 << 10);
        self.put_all(store, &values, FILLER, FILLER_BYTES / values.bytes() as u64)?;
        store.flush()
    }
}
