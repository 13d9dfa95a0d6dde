//! A cache that is only looked at: what its log said up to one position, beside the process that goes on writing it.
//!
//! ```text
//!   open:  tail, headers, checkpoint, log ─► index, as of a position          open.rs: nothing is written, nothing locked
//!   get:   index ─► the tail as it was read, or the segment's file ─► proved  files.rs: recycled meanwhile is a miss
//! ```
//! Why none of it can show what never was is in `docs/recovery.md`, *Reading beside a running process*.

mod files;
mod keys;
mod ledger;
mod open;
mod stats;

use std::fmt;
use std::ops::{Range, RangeBounds};
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use perennial_failpoints::fs::Fs;
use perennial_wal::frame::{FrameHeader, HEADER_BYTES};
use perennial_wal::to_usize;

use crate::clock::Clock;
use crate::compress::{Unreadable, is_coded, part_of, readable, value_of};
use crate::engine::{Engine, hash_of};
use crate::error::Result;
use crate::fetch::Flights;
use crate::heads::Spot;
use crate::index::Index;
use crate::insert_options::Priority;
use crate::read::is_value_of;
use crate::scan::{Of, Scan};
use crate::value::{Entry, Value};

use files::{Files, Frame, Missed, Read};
pub use keys::ReadOnlyKeys;
use stats::Counters;
pub use stats::ReadOnlyStats;

/// The entries of a cache as of one position of its log; see [`Cache::open_read_only`](crate::Cache::open_read_only).
///
/// **As of when.** The position is chosen by the open: no older than the last [`flush`](crate::Cache::flush) or durable call that
/// had returned when the open began. Where nothing was written meanwhile it is the newest, and everything is there that a
/// killed process would leave. What is stored later is not seen, and what is removed or replaced later is still seen. To see more,
/// open again.
///
/// **What it answers.** A value that the key had at that position, whole and proved, or nothing. Nothing also where the cache has
/// reclaimed the entry's segment since, or moved the entry while it was looked for: who reads for long sees less and less
/// ([`ReadOnlyStats::recycled`]). Never another key's value, never an older one, never half of one. An entry whose time is over is a
/// miss, as everywhere.
///
/// **What it costs.** The memory of an index as an open cache has it, and the tail's. It takes no lock, so the cache may be
/// opened, closed, moved or cleared meanwhile; it makes, maps and writes no file, and needs no right to.
pub struct ReadOnlyCache {
    fs: Arc<dyn Fs>,
    files: Files,
    index: Index<Flights>,
    clock: Clock,
    hash_seed: u64,
    counters: Counters,
    opened: ReadOnlyStats,
}

impl fmt::Debug for ReadOnlyCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReadOnlyCache")
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}

impl ReadOnlyCache {
    /// Opens the cache in the directory `path` over any file system, an in-memory one included.
    ///
    /// # Errors
    /// As [`Cache::open_read_only`](crate::Cache::open_read_only).
    pub fn open_with(fs: Arc<dyn Fs>, path: impl AsRef<Path>) -> Result<Self> {
        open::open(&fs, path.as_ref())
    }

    /// The value that the key had, or nothing.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`](crate::ErrorKind::Invalid) for a key out of range. What is damaged or cannot be read is no error but
    /// a counted miss.
    pub fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<Value>> {
        self.read(key.as_ref(), None, whole)
    }

    /// The bytes of the value that lie in `range`, cut at the value's end. The whole value is read and proved for them.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn get_range(&self, key: impl AsRef<[u8]>, range: Range<u64>) -> Result<Option<Value>> {
        self.read(key.as_ref(), None, |header, frame| {
            part_of(header, &frame, &range).map(|part| Value::from(part.into_owned()))
        })
    }

    /// The value of the key with its end and its priority.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn entry(&self, key: impl AsRef<[u8]>) -> Result<Option<Entry>> {
        self.read(key.as_ref(), None, |header, frame| {
            Ok(Entry {
                priority: Priority::of(header.flags),
                ends_at_s: (header.expiry != 0).then_some(header.expiry),
                value: whole(header, frame)?,
            })
        })
    }

    /// Whether the key had a value. Header and key are read, and not the value.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn contains(&self, key: impl AsRef<[u8]>) -> Result<bool> {
        let key = key.as_ref();
        let head_bytes = to_usize(HEADER_BYTES) + key.len();
        let found = self.read(key, Some(head_bytes), |header, _| readable(header))?;
        Ok(found.is_some())
    }

    /// The keys, in no order. One that cannot be read, or whose segment was reclaimed, is left out.
    pub fn keys(&self) -> ReadOnlyKeys<'_> {
        ReadOnlyKeys::new(self)
    }

    /// The keys in `range`, in the order of their bytes, as [`Cache::scan`](crate::Cache::scan) lists them.
    pub fn scan<K: AsRef<[u8]>>(&self, range: impl RangeBounds<K>) -> Scan<'_> {
        Of::ReadOnly(self).scan(&range)
    }

    /// The keys that begin with `prefix`, in the order of their bytes.
    pub fn scan_prefix(&self, prefix: impl AsRef<[u8]>) -> Scan<'_> {
        Of::ReadOnly(self).scan_prefix(prefix.as_ref())
    }

    /// What was found, and how the reads since have ended.
    #[must_use]
    pub fn stats(&self) -> ReadOnlyStats {
        self.counters.snapshot(&self.opened)
    }

    /// What `take` makes of the entry's frame, or of its first `head_bytes`.
    fn read<T>(
        &self,
        key: &[u8],
        head_bytes: Option<usize>,
        take: impl FnOnce(&FrameHeader, Vec<u8>) -> std::result::Result<T, Unreadable>,
    ) -> Result<Option<T>> {
        Engine::check_key(key)?;
        let found = self.find(key, head_bytes).and_then(|(header, frame)| {
            take(&header, frame).map_err(|why| match why {
                Unreadable::NoCodec => Missed::NoCodec,
                Unreadable::Damaged => Missed::Damaged,
            })
        });
        Ok(self.counters.count(found))
    }

    fn find(&self, key: &[u8], head_bytes: Option<usize>) -> Read<Frame> {
        let hash = hash_of(key, self.hash_seed);
        let entry = self.index.get(hash).ok_or(Missed::Absent)?;
        let spot = Spot {
            identity: self.index.identity(hash),
            addr: entry.addr,
            class: entry.size_class,
        };
        let (header, frame) = match head_bytes {
            Some(bytes) => self.files.head(&spot, bytes),
            None => self.files.frame(&spot),
        }?;
        // What is read of a head may be less than another, longer key.
        let has_key = usize::from(header.key_bytes) == key.len()
            && frame.len() >= to_usize(HEADER_BYTES) + key.len();
        let ours = has_key && is_value_of(&header, &frame, key);
        if ours && !self.has_ended(&header) {
            Ok((header, frame))
        } else {
            Err(Missed::Absent)
        }
    }

    fn has_ended(&self, header: &FrameHeader) -> bool {
        header.expiry != 0 && self.clock.now_s(&*self.fs) >= u64::from(header.expiry)
    }
}

/// The value of a proved frame, without a copy where it is stored as it is.
fn whole(header: &FrameHeader, frame: Vec<u8>) -> std::result::Result<Value, Unreadable> {
    if is_coded(header) {
        return value_of(header, &frame).map(|value| Value::from(value.into_owned()));
    }
    let begin = to_usize(header.value_offset());
    let end = begin + to_usize(u64::from(header.value_bytes));
    Ok(Value::from(Bytes::from(frame).slice(begin..end)))
}
