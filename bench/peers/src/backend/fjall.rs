//! fjall 3, with its defaults, without compression; values of 1 KiB and more lie apart, as it recommends.

use fjall::config::CompressionPolicy;
use fjall::{Database, Keyspace, KeyspaceCreateOptions, KvSeparationOptions, PersistMode};

use super::{Backend, Setting};
use crate::failure::{Failure, Result};

pub(super) struct Fjall {
    db: Database,
    entries: Keyspace,
}

impl Fjall {
    pub(super) fn open(setting: &Setting) -> Result<Self> {
        let db = Database::builder(&setting.dir)
            .cache_size(setting.least_memory())
            .open()
            .map_err(Failure::new)?;
        let options = || {
            KeyspaceCreateOptions::default()
                .data_block_compression_policy(CompressionPolicy::disabled())
                .with_kv_separation(Some(
                    KvSeparationOptions::default().compression(fjall::CompressionType::None),
                ))
        };
        let entries = db.keyspace("entries", options).map_err(Failure::new)?;
        Ok(Self { db, entries })
    }
}

impl Backend for Fjall {
    fn put(&self, key: &[u8], value: &[u8]) -> Result<()> {
        self.entries.insert(key, value).map_err(Failure::new)
    }

    fn put_durable(&self, key: &[u8], value: &[u8]) -> Result<()> {
        self.put(key, value)?;
        self.db.persist(PersistMode::SyncData).map_err(Failure::new)
    }

    fn get(&self, key: &[u8], look: &mut dyn FnMut(&[u8])) -> Result<bool> {
        let value = self.entries.get(key).map_err(Failure::new)?;
        if let Some(value) = &value {
            look(value);
        }
        Ok(value.is_some())
    }

    fn remove(&self, key: &[u8]) -> Result<()> {
        self.entries.remove(key).map_err(Failure::new)
    }

    fn flush(&self) -> Result<()> {
        self.db.persist(PersistMode::SyncAll).map_err(Failure::new)
    }

    fn close(self: Box<Self>) -> Result<()> {
        self.flush()
    }
}
