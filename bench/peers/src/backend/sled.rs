//! sled 0.34, for high throughput.

use sled::{Config, Db, Mode};

use super::{Backend, Setting};
use crate::failure::{Failure, Result};

/// It asks for no less.
const LEAST_CACHE_BYTES: u64 = 1 << 20;

pub(super) struct Sled(Db);

impl Sled {
    pub(super) fn open(setting: &Setting) -> Result<Self> {
        let db = Config::new()
            .path(&setting.dir)
            .mode(Mode::HighThroughput)
            .cache_capacity(setting.memory_bytes.max(LEAST_CACHE_BYTES))
            .open()
            .map_err(Failure::new)?;
        Ok(Self(db))
    }
}

impl Backend for Sled {
    fn put(&self, key: &[u8], value: &[u8]) -> Result<()> {
        self.0.insert(key, value).map(drop).map_err(Failure::new)
    }

    fn put_durable(&self, key: &[u8], value: &[u8]) -> Result<()> {
        self.put(key, value)?;
        self.flush()
    }

    fn get(&self, key: &[u8], look: &mut dyn FnMut(&[u8])) -> Result<bool> {
        let value = self.0.get(key).map_err(Failure::new)?;
        if let Some(value) = &value {
            look(value);
        }
        Ok(value.is_some())
    }

    fn remove(&self, key: &[u8]) -> Result<()> {
        self.0.remove(key).map(drop).map_err(Failure::new)
    }

    fn flush(&self) -> Result<()> {
        self.0.flush().map(drop).map_err(Failure::new)
    }

    fn close(self: Box<Self>) -> Result<()> {
        self.flush()
    }
}
