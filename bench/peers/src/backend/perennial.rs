//! perennial, with its default options.

use std::ops::Range;

use perennial::{Cache, Inserted, Options};

use super::{Backend, Setting};
use crate::failure::{Failure, Result};

pub(super) struct Perennial(Cache);

impl Perennial {
    pub(super) fn open(setting: &Setting) -> Result<Self> {
        let options = Options::new()
            .capacity_bytes(setting.capacity_bytes)
            .memory_tier_bytes(setting.memory_bytes);
        Ok(Self(Cache::open(&setting.dir, options)?))
    }
}

fn stored(inserted: Inserted) -> Result<()> {
    match inserted {
        Inserted::Stored => Ok(()),
        why => Err(Failure::new(format!("an insert was not kept: {why:?}"))),
    }
}

impl Backend for Perennial {
    fn put(&self, key: &[u8], value: &[u8]) -> Result<()> {
        stored(self.0.insert(key, value)?)
    }

    fn put_durable(&self, key: &[u8], value: &[u8]) -> Result<()> {
        stored(self.0.insert_durable(key, value)?)
    }

    fn get(&self, key: &[u8], look: &mut dyn FnMut(&[u8])) -> Result<bool> {
        let value = self.0.get(key)?;
        if let Some(value) = &value {
            look(value);
        }
        Ok(value.is_some())
    }

    fn get_range(
        &self,
        key: &[u8],
        range: Range<usize>,
        look: &mut dyn FnMut(&[u8]),
    ) -> Result<bool> {
        let value = self
            .0
            .get_range(key, range.start as u64..range.end as u64)?;
        if let Some(value) = &value {
            look(value);
        }
        Ok(value.is_some())
    }

    fn remove(&self, key: &[u8]) -> Result<()> {
        Ok(self.0.remove(key)?)
    }

    fn flush(&self) -> Result<()> {
        Ok(self.0.flush()?)
    }

    fn checkpoint(&self) -> Result<()> {
        Ok(self.0.checkpoint()?)
    }

    fn figures(&self) -> Vec<(&'static str, f64)> {
        let stats = self.0.stats();
        vec![
            ("index_bytes", stats.index_bytes as f64),
            ("entries", stats.entries as f64),
            ("hits_tail", stats.hits_tail as f64),
            ("hits_memory", stats.hits_memory as f64),
            ("hits_disk", stats.hits_disk as f64),
            ("checkpoints", stats.checkpoints as f64),
            ("checkpoint_bytes", stats.checkpoint_bytes as f64),
            ("replayed", stats.replayed as f64),
            ("evicted", stats.evicted as f64),
            ("open_s", stats.open_us as f64 / 1e6),
        ]
    }

    fn close(self: Box<Self>) -> Result<()> {
        Ok(self.0.close()?)
    }
}
