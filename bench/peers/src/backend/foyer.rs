//! foyer: every insert goes to its disk cache, too, and its buffers are as large as perennial's tail.

use foyer::{
    BlockEngineConfig, DeviceBuilder, FsDeviceBuilder, HybridCache, HybridCacheBuilder,
    HybridCachePolicy, PsyncIoEngineConfig,
};
use tokio::runtime::Runtime;

use super::sync::sync_files;
use super::{Backend, Setting};
use crate::failure::{Failure, Result};

const BUFFER_BYTES: usize = 64 << 20;
/// Its entries fit in one block.
const BLOCK_BYTES: usize = 16 << 20;

pub(super) struct Foyer {
    cache: HybridCache<Vec<u8>, Vec<u8>>,
    runtime: Runtime,
    dir: std::path::PathBuf,
}

impl Foyer {
    pub(super) fn open(setting: &Setting) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()?;
        let device = FsDeviceBuilder::new(&setting.dir)
            .with_capacity(setting.capacity_bytes as usize)
            .build()
            .map_err(Failure::of("foyer's device"))?;
        let engine = BlockEngineConfig::new(device)
            .with_block_size(BLOCK_BYTES)
            .with_flushers(2)
            .with_reclaimers(2)
            .with_buffer_pool_size(BUFFER_BYTES);
        let building = HybridCacheBuilder::new()
            .with_name("peers")
            .with_policy(HybridCachePolicy::WriteOnInsertion)
            .memory(setting.least_memory() as usize)
            .with_weighter(|key: &Vec<u8>, value: &Vec<u8>| key.len() + value.len())
            .storage()
            .with_io_engine_config(PsyncIoEngineConfig::new())
            .with_engine_config(engine)
            .with_spawner(runtime.handle().clone().into())
            .build();
        let cache = runtime.block_on(building).map_err(Failure::of("foyer"))?;
        let dir = setting.dir.clone();
        Ok(Self {
            cache,
            runtime,
            dir,
        })
    }
}

impl Backend for Foyer {
    fn put(&self, key: &[u8], value: &[u8]) -> Result<()> {
        self.cache.insert(key.to_vec(), value.to_vec());
        Ok(())
    }

    fn put_durable(&self, _: &[u8], _: &[u8]) -> Result<()> {
        Err(Failure::new("foyer has no durable insert"))
    }

    /// Memory first, then the disk's index: a miss wakes no task.
    fn get(&self, key: &[u8], look: &mut dyn FnMut(&[u8])) -> Result<bool> {
        if let Some(entry) = self.cache.memory().get(key) {
            look(entry.value());
            return Ok(true);
        }
        if !self.cache.storage().may_contains(key) {
            return Ok(false);
        }
        let entry = pollster::block_on(self.cache.get(key)).map_err(Failure::of("foyer's get"))?;
        if let Some(entry) = &entry {
            look(entry.value());
        }
        Ok(entry.is_some())
    }

    fn remove(&self, key: &[u8]) -> Result<()> {
        self.cache.remove(key);
        Ok(())
    }

    fn flush(&self) -> Result<()> {
        self.settle()?;
        sync_files(&self.dir)
    }

    fn settle(&self) -> Result<()> {
        self.runtime.block_on(self.cache.storage().wait());
        Ok(())
    }

    fn close(self: Box<Self>) -> Result<()> {
        let closing = self.cache.close();
        self.runtime
            .block_on(closing)
            .map_err(Failure::of("foyer's close"))
    }
}
