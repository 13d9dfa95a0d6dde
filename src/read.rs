//! Reads: filter, index, then the tail, the memory tier, or one read of a segment.
//!
//! Whatever is read is proved before it is believed: header crc with its place and life, body crc, the full key. Where
//! that fails the key is looked up again, for its segment may have been reclaimed meanwhile. Only when the index
//! still says the same is it damage: a counted miss, and the entry is dropped.

mod want;

use std::cell::RefCell;
use std::ops::Range;

use perennial_wal::frame::{FrameHeader, FrameKind};
use perennial_wal::segment::Segment;
use perennial_wal::{Addr, TailRead, may_wait, to_usize};

use crate::engine::Engine;
use crate::error::Result;
use crate::index::{Entry, size_class};
use crate::value::Value;

use want::{WantInto, WantKey, WantRange, WantValue, is_value_of};

/// Looks that a read may take at a key whose entry keeps changing under it.
const LOOKS: usize = 64;

/// What a look at an entry's place found.
enum Look<T> {
    /// The entry, and where it came from.
    Found(T, FoundIn),
    /// Not this key, or not a value any more.
    Absent,
    /// The frame is being written: look again.
    Pending,
    /// The bytes do not prove themselves.
    Unproved,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum FoundIn {
    Tail,
    Memory,
    Disk,
}

impl<T> Look<T> {
    fn map<U>(self, f: impl FnOnce(T) -> U) -> Look<U> {
        match self {
            Self::Found(out, from) => Look::Found(f(out), from),
            Self::Absent => Look::Absent,
            Self::Pending => Look::Pending,
            Self::Unproved => Look::Unproved,
        }
    }
}

/// What a read wants of an entry.
trait Want {
    type Out;
    /// From a proved frame.
    fn whole(&self, header: &FrameHeader, frame: &[u8]) -> Self::Out;
    /// From a value in the memory tier.
    fn value(&self, value: Value) -> Self::Out;
    /// From the segment file.
    fn disk(&self, engine: &Engine, place: &Place<'_>) -> Look<Self::Out>;
}

/// Where on disk a frame lies.
struct Place<'a> {
    key: &'a [u8],
    addr: Addr,
    segment: &'a Segment,
    offset: u64,
    class: u8,
}

impl Engine {
    pub(crate) fn get(&self, key: &[u8]) -> Result<Option<Value>> {
        self.read(key, &WantValue)
    }

    /// Like [`get`](Self::get), for a second look at a key whose miss was counted.
    pub(crate) fn peek(&self, key: &[u8]) -> Result<Option<Value>> {
        Ok(self.look_up(key, &WantValue)?.map(|(value, _)| value))
    }

    pub(crate) fn get_into(&self, key: &[u8], buf: &mut Vec<u8>) -> Result<bool> {
        Ok(self.read(key, &WantInto(RefCell::new(buf)))?.is_some())
    }

    pub(crate) fn contains(&self, key: &[u8]) -> Result<bool> {
        Ok(self.read(key, &WantKey)?.is_some())
    }

    /// The bytes of the value that lie in `range`; a range that goes beyond the end is cut there.
    pub(crate) fn get_range(&self, key: &[u8], range: Range<u64>) -> Result<Option<Value>> {
        self.read(key, &WantRange(range))
    }

    fn read<W: Want>(&self, key: &[u8], want: &W) -> Result<Option<W::Out>> {
        self.check_open()?;
        Self::check_key(key)?;
        let found = self.look_up(key, want)?;
        match &found {
            Some((_, FoundIn::Tail)) => self.counters.hits_tail.add(1),
            Some((_, FoundIn::Memory)) => self.counters.hits_memory.add(1),
            Some((_, FoundIn::Disk)) => self.counters.hits_disk.add(1),
            None => self.counters.misses.add(1),
        }
        Ok(found.map(|(out, _)| out))
    }

    fn look_up<W: Want>(&self, key: &[u8], want: &W) -> Result<Option<(W::Out, FoundIn)>> {
        let hash = self.hash(key);
        let mut unproved: Option<Entry> = None;
        let mut looks = 0;
        while let Some(entry) = self
            .index
            .get(hash)
            .filter(|entry| self.is_live(entry.addr))
        {
            match self.look(key, &entry, want) {
                Look::Found(out, from) => {
                    if entry.visited < 3 {
                        self.index.touch(hash, entry.addr);
                    }
                    if let Some(sampler) = &self.sampler {
                        sampler.read(hash, Some(size_class::class_bound(entry.size_class)));
                    }
                    return Ok(Some((out, from)));
                }
                Look::Absent => return Ok(None),
                Look::Pending => {
                    // A copy's time; for ever, if this thread is the one that copies.
                    may_wait()?;
                    crate::sync::yield_now();
                    continue;
                }
                Look::Unproved => {}
            }
            looks += 1;
            if unproved.is_some_and(|before| before.addr == entry.addr) || looks == LOOKS {
                return Ok(self
                    .last_look(key, hash, &entry, want)
                    .map(|out| (out, FoundIn::Disk)));
            }
            unproved = Some(entry);
        }
        if let Some(sampler) = &self.sampler {
            sampler.read(hash, None);
        }
        Ok(None)
    }

    fn look<W: Want>(&self, key: &[u8], entry: &Entry, want: &W) -> Look<W::Out> {
        if !entry.addr.is_kept() && !self.is_extent(entry.size_class) {
            let read = self.log.read_tail(entry.addr.position(), |header, frame| {
                let ours =
                    header.key(frame) == key || perennial_failpoints::planted!("key-not-compared");
                (header.kind == FrameKind::Put && ours && !self.expired(header))
                    .then(|| want.whole(header, frame))
            });
            match read {
                TailRead::Frame(Some(out)) => return Look::Found(out, FoundIn::Tail),
                TailRead::Frame(None) => return Look::Absent,
                TailRead::Pending => return Look::Pending,
                TailRead::Gone | TailRead::Other => {}
            }
        }
        if let Some(value) = self.tier.get(entry.addr, key) {
            return Look::Found(want.value(value), FoundIn::Memory);
        }
        self.look_on_disk(key, entry, want)
    }

    fn look_on_disk<W: Want>(&self, key: &[u8], entry: &Entry, want: &W) -> Look<W::Out> {
        let geometry = self.log.geometry();
        let position = entry.addr.position();
        let Some(segment) = self
            .log
            .store()
            .get(position.segment(geometry.segment_bytes))
        else {
            return Look::Unproved;
        };
        let offset = position.offset(geometry.segment_bytes);
        let class = entry.size_class;
        want.disk(
            self,
            &Place {
                key,
                addr: entry.addr,
                segment: &segment,
                offset,
                class,
            },
        )
    }

    /// The frame still does not prove itself, and the index still points there: once more past the page cache, then it
    /// is damage.
    fn last_look<W: Want>(&self, key: &[u8], hash: u64, entry: &Entry, want: &W) -> Option<W::Out> {
        let geometry = self.log.geometry();
        let position = entry.addr.position();
        let segment = self
            .log
            .store()
            .get(position.segment(geometry.segment_bytes))?;
        let offset = position.offset(geometry.segment_bytes);
        let len = self.read_len(entry.size_class, offset);
        let again = self
            .log
            .store()
            .reread(&segment, offset, len)
            .ok()
            .and_then(|frame| {
                let header =
                    FrameHeader::decode_whole(&frame, segment.seed_at(offset), offset).ok()?;
                is_value_of(&header, &frame, key).then(|| want.whole(&header, &frame))
            });
        if again.is_none() {
            tracing::warn!(addr = ?entry.addr, "a frame does not prove itself; its entry is dropped");
            self.counters.damaged_reads.add(1);
            if self.index.lock(hash).remove_if(hash, entry.addr) {
                self.ledger.subtract(entry.addr);
            }
        }
        again
    }

    /// Bytes to read for a frame of `class` at `offset`, within its segment.
    fn read_len(&self, class: u8, offset: u64) -> usize {
        let rest = self.log.geometry().segment_bytes.saturating_sub(offset);
        to_usize(u64::from(size_class::class_bound(class)).min(rest))
    }

    fn read_segment(&self, place: &Place<'_>, offset: u64, len: usize) -> Option<Vec<u8>> {
        match self.log.store().read(place.segment, offset, len) {
            Ok(bytes) => Some(bytes),
            // Given up meanwhile, and its file removed.
            Err(_) if !self.is_live(place.addr) => None,
            Err(error) => {
                tracing::warn!(%error, "a read failed");
                self.counters.read_errors.add(1);
                None
            }
        }
    }

    pub(crate) fn expired(&self, header: &FrameHeader) -> bool {
        header.expiry != 0 && self.fs.unix_time_ms() / 1000 >= u64::from(header.expiry)
    }
}
