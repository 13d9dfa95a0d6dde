//! RocksDB as a library of the system: bloom filters, write-ahead log, no compression. By levels, or FIFO as a cache.

use rocksdb::{
    BlockBasedOptions, Cache, DB, DBCompactionStyle, DBCompressionType, FifoCompactOptions,
    Options, WriteOptions,
};

use super::{Backend, Setting};
use crate::failure::{Failure, Result};

const WRITE_BUFFER_BYTES: usize = 64 << 20;
const BLOOM_BITS: f64 = 10.0;

pub(super) struct Rocks {
    db: DB,
    durable: WriteOptions,
}

impl Rocks {
    pub(super) fn open(setting: &Setting, fifo: bool) -> Result<Self> {
        let mut options = Options::default();
        options.create_if_missing(true);
        options.increase_parallelism(2);
        options.set_compression_type(DBCompressionType::None);
        options.set_write_buffer_size(WRITE_BUFFER_BYTES);
        options.set_bytes_per_sync(1 << 20);
        let cache = Cache::new_lru_cache(setting.least_memory() as usize).map_err(Failure::new)?;
        let mut blocks = BlockBasedOptions::default();
        blocks.set_bloom_filter(BLOOM_BITS, false);
        blocks.set_format_version(5);
        blocks.set_block_cache(&cache);
        options.set_block_based_table_factory(&blocks);
        if fifo {
            let mut bound = FifoCompactOptions::default();
            bound.set_max_table_files_size(setting.capacity_bytes);
            options.set_compaction_style(DBCompactionStyle::Fifo);
            options.set_fifo_compaction_options(&bound);
        }
        let db = DB::open(&options, &setting.dir).map_err(Failure::new)?;
        let mut durable = WriteOptions::default();
        durable.set_sync(true);
        Ok(Self { db, durable })
    }
}

impl Backend for Rocks {
    fn put(&self, key: &[u8], value: &[u8]) -> Result<()> {
        self.db.put(key, value).map_err(Failure::new)
    }

    fn put_durable(&self, key: &[u8], value: &[u8]) -> Result<()> {
        self.db
            .put_opt(key, value, &self.durable)
            .map_err(Failure::new)
    }

    fn get(&self, key: &[u8], look: &mut dyn FnMut(&[u8])) -> Result<bool> {
        let value = self.db.get_pinned(key).map_err(Failure::new)?;
        if let Some(value) = &value {
            look(value);
        }
        Ok(value.is_some())
    }

    fn remove(&self, key: &[u8]) -> Result<()> {
        self.db.delete(key).map_err(Failure::new)
    }

    fn flush(&self) -> Result<()> {
        self.db.flush_wal(true).map_err(Failure::new)
    }

    fn close(self: Box<Self>) -> Result<()> {
        self.db.flush().map_err(Failure::new)
    }
}
