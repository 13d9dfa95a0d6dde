//! redb 4. A plain put is a transaction of its own that is not made durable; `flush` is an empty one that is.

use redb::{Database, Durability, ReadableDatabase, TableDefinition};

use super::{Backend, Setting};
use crate::failure::{Failure, Result};

const ENTRIES: TableDefinition<'static, &[u8], &[u8]> = TableDefinition::new("entries");

pub(super) struct Redb(Database);

impl Redb {
    pub(super) fn open(setting: &Setting) -> Result<Self> {
        let db = Database::builder()
            .set_cache_size(setting.least_memory() as usize)
            .create(setting.dir.join("entries.redb"))
            .map_err(Failure::new)?;
        let redb = Self(db);
        redb.write(Durability::Immediate, |_| Ok(()))?;
        Ok(redb)
    }

    fn write(
        &self,
        durability: Durability,
        work: impl FnOnce(&mut redb::Table<'_, &'static [u8], &'static [u8]>) -> Result<()>,
    ) -> Result<()> {
        let mut transaction = self.0.begin_write().map_err(Failure::new)?;
        transaction
            .set_durability(durability)
            .map_err(Failure::new)?;
        work(&mut transaction.open_table(ENTRIES).map_err(Failure::new)?)?;
        transaction.commit().map_err(Failure::new)
    }

    fn store(&self, durability: Durability, key: &[u8], value: &[u8]) -> Result<()> {
        self.write(durability, |table| {
            table.insert(key, value).map(drop).map_err(Failure::new)
        })
    }
}

impl Backend for Redb {
    fn put(&self, key: &[u8], value: &[u8]) -> Result<()> {
        self.store(Durability::None, key, value)
    }

    fn put_durable(&self, key: &[u8], value: &[u8]) -> Result<()> {
        self.store(Durability::Immediate, key, value)
    }

    fn get(&self, key: &[u8], look: &mut dyn FnMut(&[u8])) -> Result<bool> {
        let transaction = self.0.begin_read().map_err(Failure::new)?;
        let table = transaction.open_table(ENTRIES).map_err(Failure::new)?;
        let value = table.get(key).map_err(Failure::new)?;
        if let Some(value) = &value {
            look(value.value());
        }
        Ok(value.is_some())
    }

    fn remove(&self, key: &[u8]) -> Result<()> {
        self.write(Durability::None, |table| {
            table.remove(key).map(drop).map_err(Failure::new)
        })
    }

    fn flush(&self) -> Result<()> {
        self.write(Durability::Immediate, |_| Ok(()))
    }

    fn close(self: Box<Self>) -> Result<()> {
        self.flush()?;
        self.0.close().map_err(Failure::new)
    }
}
