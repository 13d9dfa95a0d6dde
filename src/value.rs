//! What comes out, and what became of what went in.

use std::fmt;
use std::ops::Deref;

use bytes::Bytes;

use crate::insert_options::Priority;

/// An entry's value. Cloning it copies nothing.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct Value(Bytes);

impl Value {
    /// The value as `Bytes`, without a copy.
    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        self.0
    }
}

impl From<Bytes> for Value {
    fn from(bytes: Bytes) -> Self {
        Self(bytes)
    }
}

impl From<Vec<u8>> for Value {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes.into())
    }
}

impl Deref for Value {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl AsRef<[u8]> for Value {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Value({} bytes)", self.0.len())
    }
}

/// A value, and what was said of it when it was stored; see [`Cache::entry`](crate::Cache::entry).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Entry {
    /// The value.
    pub value: Value,
    /// What it is worth when room is needed.
    pub priority: Priority,
    /// The second of the wall clock, counted from 1970, from which on the entry is a miss. `None`: it has no end.
    pub ends_at_s: Option<u32>,
}

/// What became of an insert.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Inserted {
    /// The entry is in the cache.
    Stored,
    /// The entry is not kept, and neither is an older version of it. What `get_or_fetch` fetched is returned all the same,
    /// and counted.
    Rejected(Rejection),
}

/// Why an entry is not kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Rejection {
    /// A newer insert or remove of the key came while the value was being fetched.
    Superseded,
    /// Pinned entries would take more than [`Options::pinned_percent`](crate::Options::pinned_percent) of the capacity.
    PinnedFull,
    /// [`Options::admission`](crate::Options::admission) says no.
    NotAdmitted,
    /// There was no room, and the call does not wait for it: [`Cache::try_insert`](crate::Cache::try_insert).
    Busy,
}
