//! Keys and values of the caller's types.

use std::marker::PhantomData;

use perennial_recovery::codec;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::cache::Cache;
use crate::error::{Error, Result};
use crate::value::{Inserted, Value};

/// The version byte of encoded keys and values; another one is another entry, or a miss.
const VERSION: u8 = 1;

/// A cache of `K` to `V`, encoded with serde and bincode.
///
/// A value that does not decode as `V`, since the type has changed for instance, is a miss. Bincode needs to know the
/// length of what it writes and the type of what it reads: a key or value it cannot write (with a flattened field, for
/// instance) is answered with [`ErrorKind::Invalid`](crate::ErrorKind::Invalid), one it cannot read (an untagged enum)
/// is a miss.
#[derive(Debug)]
pub struct TypedCache<K, V> {
    cache: Cache,
    types: PhantomData<fn(K) -> V>,
}

impl<K, V> Clone for TypedCache<K, V> {
    fn clone(&self) -> Self {
        Self::new(self.cache.clone())
    }
}

impl<K, V> TypedCache<K, V> {
    /// A typed face of `cache`. Faces of different types share its keys: give each a cache of its own, or keys that
    /// differ.
    #[must_use]
    pub fn new(cache: Cache) -> Self {
        Self {
            cache,
            types: PhantomData,
        }
    }

    /// The cache below.
    #[must_use]
    pub fn cache(&self) -> &Cache {
        &self.cache
    }
}

impl<K: Serialize, V: Serialize + DeserializeOwned> TypedCache<K, V> {
    /// Stores a value; see [`Cache::insert`].
    ///
    /// # Errors
    /// As [`Cache::insert`].
    pub fn insert(&self, key: &K, value: &V) -> Result<Inserted> {
        self.cache.insert(encode(key)?, encode(value)?)
    }

    /// Stores a value that survives a power cut; see [`Cache::insert_durable`].
    ///
    /// # Errors
    /// As [`Cache::insert_durable`].
    pub fn insert_durable(&self, key: &K, value: &V) -> Result<Inserted> {
        self.cache.insert_durable(encode(key)?, encode(value)?)
    }

    /// The newest value of the key, or nothing.
    ///
    /// # Errors
    /// As [`Cache::get`].
    pub fn get(&self, key: &K) -> Result<Option<V>> {
        Ok(self
            .cache
            .get(encode(key)?)?
            .and_then(|value| decode(&value)))
    }

    /// The value of the key, or what `fetch` returns; see [`Cache::get_or_fetch`].
    ///
    /// # Errors
    /// As [`Cache::get_or_fetch`]; [`ErrorKind::Origin`](crate::ErrorKind::Origin), too, for a fetched value that cannot
    /// be encoded, and [`ErrorKind::Invalid`](crate::ErrorKind::Invalid) for a stored one that is not a `V`.
    pub fn get_or_fetch<E>(
        &self,
        key: &K,
        fetch: impl FnOnce() -> std::result::Result<V, E>,
    ) -> Result<V>
    where
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let key = encode(key)?;
        let mut fetched = None;
        let useless = |stored: &Value| decode::<V>(stored).is_none();
        let fetch = || -> std::result::Result<Vec<u8>, Box<dyn std::error::Error + Send + Sync>> {
            let value = fetch().map_err(Into::into)?;
            let encoded = encode(&value);
            fetched = Some(value);
            Ok(encoded?)
        };
        let stored = self.cache.get_or_fetch_unless(&key, useless, fetch);
        // What was fetched is handed out whether it can be stored or not.
        if let Some(value) = fetched {
            return Ok(value);
        }
        decode(&stored?).ok_or_else(|| {
            Error::invalid("the value stored under this key is of another type; remove it")
        })
    }

    /// Removes the key; see [`Cache::remove`].
    ///
    /// # Errors
    /// As [`Cache::remove`].
    pub fn remove(&self, key: &K) -> Result<()> {
        self.cache.remove(encode(key)?)
    }

    /// Removes the key so that it stays removed after a power cut; see [`Cache::remove_durable`].
    ///
    /// # Errors
    /// As [`Cache::remove_durable`].
    pub fn remove_durable(&self, key: &K) -> Result<()> {
        self.cache.remove_durable(encode(key)?)
    }

    /// True when the key is there; see [`Cache::contains`].
    ///
    /// # Errors
    /// As [`Cache::contains`].
    pub fn contains(&self, key: &K) -> Result<bool> {
        self.cache.contains(encode(key)?)
    }
}

fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>> {
    codec::try_encode(VERSION, value).map_err(|error| {
        Error::invalid(format!("the key or value cannot be encoded: {error}")).with_source(error)
    })
}

fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    codec::decode(VERSION, bytes).ok()
}
