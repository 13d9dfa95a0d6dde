//! Caches in memory alone, to hold the memory tier against.

use super::{Backend, Setting};
use crate::failure::{Failure, Result};

type Key = [u8; 16];
type Value = std::sync::Arc<[u8]>;

fn fixed(key: &[u8]) -> Result<Key> {
    key.try_into()
        .map_err(|_| Failure::new("keys have 16 bytes here"))
}

#[derive(Clone)]
struct Weigh;

impl quick_cache::Weighter<Key, Value> for Weigh {
    fn weight(&self, key: &Key, value: &Value) -> u64 {
        (key.len() + value.len()) as u64
    }
}

pub(super) struct QuickCache(quick_cache::sync::Cache<Key, Value, Weigh>);

impl QuickCache {
    /// `value_bytes` of a value are foreseen.
    pub(super) fn open(setting: &Setting) -> Self {
        let items = (setting.memory_bytes >> 12).max(1024) as usize;
        Self(quick_cache::sync::Cache::with_weighter(
            items,
            setting.memory_bytes,
            Weigh,
        ))
    }
}

pub(super) struct Moka(moka::sync::Cache<Key, Value>);

impl Moka {
    pub(super) fn open(setting: &Setting) -> Self {
        let cache = moka::sync::Cache::builder()
            .weigher(|key: &Key, value: &Value| (key.len() + value.len()) as u32)
            .max_capacity(setting.memory_bytes)
            .build();
        Self(cache)
    }
}

macro_rules! in_memory {
    ($name:ident, $remove:ident) => {
        impl Backend for $name {
            fn put(&self, key: &[u8], value: &[u8]) -> Result<()> {
                self.0.insert(fixed(key)?, value.into());
                Ok(())
            }

            fn put_durable(&self, _: &[u8], _: &[u8]) -> Result<()> {
                Err(Failure::new("it is in memory"))
            }

            fn get(&self, key: &[u8], look: &mut dyn FnMut(&[u8])) -> Result<bool> {
                let value = self.0.get(&fixed(key)?);
                if let Some(value) = &value {
                    look(value);
                }
                Ok(value.is_some())
            }

            fn remove(&self, key: &[u8]) -> Result<()> {
                self.0.$remove(&fixed(key)?);
                Ok(())
            }

            fn flush(&self) -> Result<()> {
                Ok(())
            }

            fn close(self: Box<Self>) -> Result<()> {
                Ok(())
            }
        }
    };
}

in_memory!(QuickCache, remove);
in_memory!(Moka, invalidate);
