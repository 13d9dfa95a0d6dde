//! Reads that are answered from memory or not at all: for tasks, which must not wait for a disk.

use std::ops::Range;

use perennial_wal::frame::FrameHeader;

use super::want::{WantKey, WantRange, WantValue};
use super::{Look, Place, Want};
use crate::compress::Unreadable;
use crate::engine::Engine;
use crate::error::Result;
use crate::index::Outcome;
use crate::value::Value;

/// What memory says of a key.
#[derive(Debug)]
pub(crate) enum InMemory<T> {
    Found(T),
    /// It is not in the cache.
    Absent,
    /// It may be: a file has to be read for it, or its frame is being written. Nothing was counted, and the entry not visited.
    OnDisk,
}

/// What `W` wants, or nothing where it lies in a file.
struct Unless<W>(W);

impl<W: Want> Want for Unless<W> {
    type Out = Option<W::Out>;

    const DECODES: bool = W::DECODES;

    fn whole(
        &self,
        header: &FrameHeader,
        frame: &[u8],
    ) -> std::result::Result<Self::Out, Unreadable> {
        self.0.whole(header, frame).map(Some)
    }

    fn value(&self, value: Value) -> Option<Self::Out> {
        self.0.value(value).map(Some)
    }

    fn disk(&self, _: &Engine, _: &Place<'_>) -> Look<Self::Out> {
        Look::Found(None, Outcome::Disk)
    }

    fn was_read(out: &Self::Out) -> bool {
        out.is_some()
    }

    fn instead_of_waiting() -> Option<Self::Out> {
        Some(None)
    }
}

impl Engine {
    /// Nothing is counted.
    pub(crate) fn is_surely_absent(&self, hash: u64) -> bool {
        self.index.is_loaded_for(hash) && self.index.look_up(hash).is_err()
    }

    pub(crate) fn get_in_memory(&self, key: &[u8]) -> Result<InMemory<Value>> {
        self.in_memory(key, WantValue)
    }

    pub(crate) fn get_range_in_memory(
        &self,
        key: &[u8],
        range: Range<u64>,
    ) -> Result<InMemory<Value>> {
        self.in_memory(key, WantRange(range))
    }

    pub(crate) fn contains_in_memory(&self, key: &[u8]) -> Result<InMemory<()>> {
        self.in_memory(key, WantKey)
    }

    fn in_memory<W: Want>(&self, key: &[u8], want: W) -> Result<InMemory<W::Out>> {
        self.check_open()?;
        Self::check_key(key)?;
        let hash = self.hash(key);
        if !self.index.is_loaded_for(hash) {
            return Ok(InMemory::OnDisk);
        }
        let want = Unless(want);
        let why = match self.index.look_up_counted(hash) {
            Ok(entry) => match self.follow(key, hash, entry, &want)? {
                Ok((Some(out), from)) => {
                    self.index.count(from);
                    return Ok(InMemory::Found(out));
                }
                Ok((None, _)) => return Ok(InMemory::OnDisk),
                Err(why) => why,
            },
            Err(Outcome::Negative) => {
                self.sample_miss(hash, Outcome::Negative);
                self.tell_of_stale_filters();
                return Ok(self.in_memory_unlogged(key, &want));
            }
            Err(why) => self.sample_miss(hash, why),
        };
        self.index.count(why);
        self.tell_of_stale_filters();
        Ok(self.in_memory_unlogged(key, &want))
    }

    fn in_memory_unlogged<W: Want>(&self, key: &[u8], want: &Unless<W>) -> InMemory<W::Out> {
        let found = self.read_unlogged(key, want).flatten();
        found.map_or(InMemory::Absent, InMemory::Found)
    }
}
