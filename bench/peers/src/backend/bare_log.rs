//! A limit: append with a crc, remember the place in a hash map. No reclaim, no recovery, nothing else.

use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock};

use super::{Backend, Setting};
use crate::data::KEY_BYTES;
use crate::failure::{Failure, Result};

/// Crc and length of the value, then the key.
const HEAD_BYTES: usize = 8 + KEY_BYTES;

struct End {
    at: u64,
    record: Vec<u8>,
}

pub(super) struct BareLog {
    file: File,
    end: Mutex<End>,
    synced: Mutex<u64>,
    places: RwLock<HashMap<[u8; KEY_BYTES], (u64, u32)>>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl BareLog {
    pub(super) fn open(setting: &Setting) -> Result<Self> {
        let file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(setting.dir.join("log"))?;
        Ok(Self {
            file,
            end: Mutex::new(End {
                at: 0,
                record: Vec::new(),
            }),
            synced: Mutex::new(0),
            places: RwLock::default(),
        })
    }

    fn append(&self, key: &[u8], value: &[u8]) -> Result<u64> {
        let key: [u8; KEY_BYTES] = key
            .try_into()
            .map_err(|_| Failure::new("keys have 16 bytes here"))?;
        let mut end = locked(&self.end);
        let End { at, record } = &mut *end;
        record.clear();
        record.extend_from_slice(&[0; 4]);
        record.extend_from_slice(&(value.len() as u32).to_le_bytes());
        record.extend_from_slice(&key);
        record.extend_from_slice(value);
        let crc = crc32fast::hash(&record[4..]);
        record[..4].copy_from_slice(&crc.to_le_bytes());
        self.file.write_all_at(record, *at)?;
        let place = (*at, record.len() as u32);
        *at += record.len() as u64;
        self.places
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(key, place);
        Ok(*at)
    }

    /// Whoever comes while another syncs finds its bytes synced, or syncs for all who wait.
    fn sync_to(&self, wanted: u64) -> Result<()> {
        let mut synced = locked(&self.synced);
        if *synced < wanted {
            let end = locked(&self.end).at;
            self.file.sync_data()?;
            *synced = end;
        }
        Ok(())
    }
}

impl Backend for BareLog {
    fn put(&self, key: &[u8], value: &[u8]) -> Result<()> {
        self.append(key, value).map(drop)
    }

    fn put_durable(&self, key: &[u8], value: &[u8]) -> Result<()> {
        self.sync_to(self.append(key, value)?)
    }

    fn get(&self, key: &[u8], look: &mut dyn FnMut(&[u8])) -> Result<bool> {
        let places = self.places.read().unwrap_or_else(PoisonError::into_inner);
        let Some(&(at, bytes)) = places.get(key) else {
            return Ok(false);
        };
        drop(places);
        let mut record = vec![0; bytes as usize];
        self.file.read_exact_at(&mut record, at)?;
        if crc32fast::hash(&record[4..]).to_le_bytes() != record[..4] {
            return Err(Failure::new("the bare log's crc does not fit"));
        }
        look(&record[HEAD_BYTES..]);
        Ok(true)
    }

    fn remove(&self, key: &[u8]) -> Result<()> {
        self.places
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(key);
        Ok(())
    }

    fn flush(&self) -> Result<()> {
        Ok(self.file.sync_data()?)
    }

    fn close(self: Box<Self>) -> Result<()> {
        self.flush()
    }
}
