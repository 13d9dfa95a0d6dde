//! The cache as the lab drives it.

use std::sync::Arc;

use perennial::{Cache, ErrorKind, Eviction, Inserted, Options};
use perennial_failpoints::Fs;
use perennial_failpoints::lab::{Driver, Store};

/// [`Store::other`]: a checkpoint.
pub(crate) const CHECKPOINT: u8 = 0;
/// [`Store::other`]: an insert whose closure fails.
pub(crate) const FAILED_INSERT: u8 = 1;

pub(crate) struct Perennial(pub(crate) Options);

/// The smallest geometry, all work inline. Whole segments go: what is moved is the scripts' of `merging`.
pub(crate) fn small(capacity_bytes: u64) -> Options {
    Options::new()
        .capacity_bytes(capacity_bytes)
        .segment_bytes(8 << 10)
        .tail_bytes(4 << 10)
        .memory_tier_bytes(0)
        .index_shards(1)
        .eviction(Eviction::Fifo)
        .checkpoint_every_bytes(16 << 10)
        .background(false)
}

impl Driver for Perennial {
    type Store = Open;

    fn open(&self, fs: Arc<dyn Fs>) -> Result<Open, String> {
        told(Cache::open_with(fs, "/cache", self.0.clone())).map(Open)
    }
}

pub(crate) struct Open(pub(crate) Cache);

/// The same, and takes it for a failure if a crash is counted as damage: nothing in the lab damages anything.
pub(crate) struct Undamaged(pub(crate) Perennial);

impl Driver for Undamaged {
    type Store = Open;

    fn open(&self, fs: Arc<dyn Fs>) -> Result<Open, String> {
        let open = self.0.open(fs)?;
        no_damage(&open.0)?;
        Ok(open)
    }
}

pub(crate) fn no_damage(cache: &Cache) -> Result<(), String> {
    let stats = cache.stats();
    if stats.damaged + stats.forgotten_all + stats.quarantined_files == 0 {
        Ok(())
    } else {
        Err(format!("a crash was taken for damage: {stats}"))
    }
}

fn told<T>(result: perennial::Result<T>) -> Result<T, String> {
    result.map_err(|e| e.to_string())
}

impl Store for Open {
    fn put(&self, key: &[u8], value: &[u8], durable: bool) -> Result<(), String> {
        let inserted = if durable {
            self.0.insert_durable(key, value)
        } else {
            self.0.insert(key, value)
        };
        match told(inserted)? {
            Inserted::Stored => Ok(()),
            rejected => Err(format!("{rejected:?}")),
        }
    }

    fn remove(&self, key: &[u8], durable: bool) -> Result<(), String> {
        told(if durable {
            self.0.remove_durable(key)
        } else {
            self.0.remove(key)
        })
    }

    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, String> {
        let found = told(self.0.get(key))?;
        let there = told(self.0.contains(key))?;
        if there != found.is_some() {
            return Err(format!("contains says {there}, get {}", found.is_some()));
        }
        Ok(found.map(|value| value.to_vec()))
    }

    fn flush(&self) -> Result<(), String> {
        told(self.0.flush())
    }

    fn abandon(&self, key: &[u8], len: usize) -> Result<(), String> {
        match self.0.insert_with_len(key, len, |_| Err("no")) {
            Ok(_) => Err("it was stored".to_owned()),
            // Of any other the older version is still there.
            Err(error) if error.kind() == ErrorKind::Origin => Ok(()),
            Err(error) => Err(error.to_string()),
        }
    }

    fn clear(&self) -> Result<(), String> {
        told(self.0.clear())?;
        let left = self.0.stats().entries;
        if left == 0 {
            Ok(())
        } else {
            Err(format!("{left} entries are left"))
        }
    }

    fn remove_prefix(&self, prefix: &[u8]) -> Result<(), String> {
        told(self.0.remove_prefix(prefix)).map(drop)
    }

    fn other(&self, what: u8) -> Result<(), String> {
        match what {
            CHECKPOINT => told(self.0.checkpoint()),
            FAILED_INSERT => {
                let filled = self.0.insert_with_len("abandoned", 200, |_| Err("no"));
                filled.map_or(Ok(()), |_| Err("it was stored".to_owned()))
            }
            _ => Err(format!("there is no step {what}")),
        }
    }

    fn close(self) -> Result<(), String> {
        told(self.0.close())
    }
}
