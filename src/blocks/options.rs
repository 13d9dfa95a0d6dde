//! How a `BlockCache` works.

use crate::engine::Engine;
use crate::error::{Error, Result};

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
/// Key bytes that a block must leave room for in its segment.
const KEY_BYTES: usize = 256;
/// With fewer an object may be forgotten by the time that its answer comes, however often it is asked for.
const OBJECTS_MIN: usize = 8;
/// No reader waits for a copy that takes longer.
const KEPT_FIRST_BYTES: u64 = MIB;

/// How a [`BlockCache`](crate::blocks::BlockCache) works. Checked when one is made.
#[derive(Debug, Clone)]
#[must_use]
pub struct BlockOptions {
    block_bytes: u64,
    fetch_threads: usize,
    fetch_bytes_max: u64,
    readahead_blocks: u64,
    objects_max: usize,
    flush_every_blocks: Option<u64>,
    remember_heads: bool,
}

impl Default for BlockOptions {
    fn default() -> Self {
        Self {
            block_bytes: 64 * KIB,
            fetch_threads: 8,
            fetch_bytes_max: 4 * MIB,
            readahead_blocks: 8,
            objects_max: 1 << 16,
            flush_every_blocks: None,
            remember_heads: false,
        }
    }
}

impl BlockOptions {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Bytes of a block: what is fetched and kept together. Blocks of another size that are in the cache already are not
    /// used. Default: 64 KiB. Range: a power of two from 4 KiB to 4 MiB, and what fits in a segment of the cache with 256 bytes
    /// of key.
    pub fn block_bytes(mut self, bytes: u64) -> Self {
        self.block_bytes = bytes;
        self
    }

    /// Threads that read from the origin, and so how many of its reads go on at a time; a `BlockCache` that is dropped waits for
    /// those, an `AsyncBlockCache` does not. One of them is left to reads of the foreground; a single one may be busy with other things when they come.
    /// Without any the reader itself does it all, one after the other, in an order that depends on nothing but the calls;
    /// then there is no readahead, and a read is cancelled between two reads of the origin only. Default: 8. Range: 0 to 1024.
    pub fn fetch_threads(mut self, threads: usize) -> Self {
        self.fetch_threads = threads;
        self
    }

    /// Bytes of one read of the origin at most: longer gaps are fetched in several. Rounded down to whole blocks, but not to
    /// none. Default: 4 MiB. Range: 1 to 64 MiB.
    pub fn fetch_bytes_max(mut self, bytes: u64) -> Self {
        self.fetch_bytes_max = bytes;
        self
    }

    /// So many blocks ahead of a scan are fetched; 0 = none. Default: 8. Range: 0 to 1024.
    pub fn readahead_blocks(mut self, blocks: u64) -> Self {
        self.readahead_blocks = blocks;
        self
    }

    /// Objects of which the version is remembered, some hundred bytes each. Others are asked for, or looked for in the cache, again. Default: 65,536.
    /// Range: from 1; fewer than 8 are taken for 8, for those of which something is under way are among them.
    pub fn objects_max(mut self, objects: usize) -> Self {
        self.objects_max = objects;
        self
    }

    /// Everything is made durable ([`Cache::flush`](crate::Cache::flush)) in the background whenever so many blocks were kept.
    /// Default: off. Range: from 1.
    pub fn flush_every_blocks(mut self, blocks: u64) -> Self {
        self.flush_every_blocks = Some(blocks);
        self
    }

    /// Version and length of each object, and what else the origin says of it, are kept in the cache: an entry of some hundred
    /// bytes. After a restart the origin is not asked again for what [`Revalidate`](crate::blocks::Revalidate) allows: with `Never` not at all, with
    /// `After` by the wall clock. And the first read of an object of which nothing is known is one question:
    /// [`Origin::open_at`](crate::blocks::Origin::open_at). Default: false.
    pub fn remember_heads(mut self, remember: bool) -> Self {
        self.remember_heads = remember;
        self
    }

    pub(super) fn plan(&self, engine: &Engine) -> Result<Plan> {
        let bytes = self.block_bytes;
        if !bytes.is_power_of_two() || !(4 * KIB..=4 * MIB).contains(&bytes) {
            return Err(Error::invalid(format!(
                "block_bytes is {bytes}; it is a power of two from 4096 to 4194304"
            )));
        }
        let largest = engine.max_value_bytes(KEY_BYTES);
        if bytes > largest {
            return Err(Error::invalid(format!(
                "block_bytes is {bytes}; a segment of this cache holds at most {largest}"
            )));
        }
        if self.fetch_threads > 1024 {
            return Err(Error::invalid("fetch_threads is 0 to 1024"));
        }
        if !(1..=64 * MIB).contains(&self.fetch_bytes_max) {
            return Err(Error::invalid("fetch_bytes_max is 1 to 67108864"));
        }
        if self.readahead_blocks > 1024 {
            return Err(Error::invalid("readahead_blocks is 0 to 1024"));
        }
        if self.objects_max == 0 {
            return Err(Error::invalid("objects_max is at least 1"));
        }
        if self.flush_every_blocks == Some(0) {
            return Err(Error::invalid("flush_every_blocks is at least 1"));
        }
        Ok(Plan {
            bits: u8::try_from(bytes.ilog2()).unwrap_or(u8::MAX),
            threads: self.fetch_threads,
            run_blocks: (self.fetch_bytes_max / bytes).max(1),
            readahead: self.readahead_blocks,
            objects_max: self.objects_max.max(OBJECTS_MIN),
            flush_every: self.flush_every_blocks,
            remember: self.remember_heads,
            kept_first: bytes <= KEPT_FIRST_BYTES
                && bytes + bytes / KIB + KIB <= engine.max_ring_frame(),
        })
    }
}

/// Options that were checked.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) bits: u8,
    pub(super) threads: usize,
    /// Blocks of one read of the origin at most.
    pub(super) run_blocks: u64,
    pub(super) readahead: u64,
    pub(super) objects_max: usize,
    pub(super) flush_every: Option<u64>,
    pub(super) remember: bool,
    /// A block is copied into the cache before its readers have it. Larger ones are written to their segment by who keeps them,
    /// perhaps: the readers do not wait for that.
    pub(super) kept_first: bool,
}
