//! The stores that are measured, behind one trait.

mod bare_log;
mod files;
mod fjall;
mod foyer;
mod kind;
mod memory;
mod nothing;
mod perennial;
mod redb;
#[cfg(feature = "rocksdb")]
mod rocks;
mod sled;
mod sync;

use std::ops::Range;
use std::path::PathBuf;

use crate::failure::Result;
pub(crate) use kind::Kind;

/// What every store is given alike.
#[derive(Debug, Clone)]
pub(crate) struct Setting {
    /// Where its files go.
    pub(crate) dir: PathBuf,
    /// What it may keep, in bytes. Stores that cannot be bounded keep all.
    pub(crate) capacity_bytes: u64,
    /// For what was read recently: a memory tier, a block cache. Write buffers, of 64 MiB, come on top.
    pub(crate) memory_bytes: u64,
}

impl Setting {
    /// For stores that cannot do without.
    fn least_memory(&self) -> u64 {
        self.memory_bytes.max(1 << 20)
    }
}

/// A store. What an acknowledged put means is in [`Kind::ack`].
pub(crate) trait Backend: Send + Sync {
    fn put(&self, key: &[u8], value: &[u8]) -> Result<()>;

    /// A put that survives power loss from the moment it returns.
    fn put_durable(&self, key: &[u8], value: &[u8]) -> Result<()>;

    /// Shows the value to `look`, where there is one.
    fn get(&self, key: &[u8], look: &mut dyn FnMut(&[u8])) -> Result<bool>;

    /// A part of the value. Stores that cannot do that read all of it.
    fn get_range(
        &self,
        key: &[u8],
        range: Range<usize>,
        look: &mut dyn FnMut(&[u8]),
    ) -> Result<bool> {
        self.get(key, &mut |value| look(&value[range.clone()]))
    }

    fn remove(&self, key: &[u8]) -> Result<()>;

    /// Everything so far survives power loss, as far as the store and `fsync` can promise it.
    fn flush(&self) -> Result<()>;

    /// Writes a checkpoint of what a restart would have to find out else, where there is such a thing.
    fn checkpoint(&self) -> Result<()> {
        Ok(())
    }

    /// Waits until what was put is where it stays; so that a store that drops what comes too quickly can be filled.
    fn settle(&self) -> Result<()> {
        Ok(())
    }

    /// Numbers that only the store itself knows.
    fn figures(&self) -> Vec<(&'static str, f64)> {
        Vec::new()
    }

    fn close(self: Box<Self>) -> Result<()>;
}
