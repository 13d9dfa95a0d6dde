//! Reads: filter, index, then the tail, the memory tier, or one read of a segment.
//!
//! Whatever is read is proved before it is believed: header crc with its place and life, body crc, the full key. Where
//! that fails the key is looked up again, for its segment may have been reclaimed meanwhile. Only when the index
//! still says the same is it damage: a counted miss, and the entry is dropped.

mod buffers;
mod expired;
#[cfg(feature = "tokio")]
mod in_memory;
mod stored;
mod want;

use std::cell::RefCell;
use std::ops::Range;

use perennial_wal::frame::{FrameHeader, FrameKind};
use perennial_wal::segment::Segment;
use perennial_wal::{Addr, TailRead, may_wait, to_usize};

use crate::compress::{Unreadable, is_coded};
use crate::engine::Engine;
use crate::error::Result;
use crate::index::{Entry, Outcome, size_class};
use crate::value::{Entry as Copied, Value};

#[cfg(feature = "tokio")]
pub(crate) use in_memory::InMemory;
pub(crate) use want::is_value_of;
use want::{WantEntry, WantInto, WantKey, WantRange, WantValue};

/// Looks that a read may take at a key whose entry keeps changing under it.
const LOOKS: usize = 64;

/// What a look at an entry's place found.
enum Look<T> {
    /// The entry, and where it came from.
    Found(T, Outcome),
    /// Not this key, or not a value any more.
    Absent,
    /// This key, and its time is over.
    Expired,
    /// The frame is being written: look again.
    Pending,
    /// The bytes do not prove themselves.
    Unproved,
    /// They do, and this build cannot read them.
    NoCodec,
}

impl<T> Look<T> {
    /// What was found, if it can be read.
    fn of(read: std::result::Result<T, Unreadable>, from: Outcome) -> Self {
        match read {
            Ok(out) => Self::Found(out, from),
            Err(Unreadable::NoCodec) => Self::NoCodec,
            Err(Unreadable::Damaged) => Self::Unproved,
        }
    }

    fn and_then<U>(self, f: impl FnOnce(T) -> std::result::Result<U, Unreadable>) -> Look<U> {
        match self {
            Self::Found(out, from) => Look::of(f(out), from),
            Self::NoCodec => Look::NoCodec,
            Self::Absent => Look::Absent,
            Self::Expired => Look::Expired,
            Self::Pending => Look::Pending,
            Self::Unproved => Look::Unproved,
        }
    }
}

/// What a read wants of an entry.
trait Want {
    type Out;
    /// True for who needs the value as it was inserted.
    const DECODES: bool = true;
    /// From a proved frame.
    fn whole(
        &self,
        header: &FrameHeader,
        frame: &[u8],
    ) -> std::result::Result<Self::Out, Unreadable>;
    /// From a value in the memory tier. `None`: the value does not say all that is wanted.
    fn value(&self, value: Value) -> Option<Self::Out>;
    /// From the segment file.
    fn disk(&self, engine: &Engine, place: &Place<'_>) -> Look<Self::Out>;
    /// Whether the entry was read: a look that found it in a file and left it there is no visit, nor is one that copies it.
    fn was_read(_: &Self::Out) -> bool {
        true
    }
    /// What is said of a frame that is being written, by who must not wait for it.
    fn instead_of_waiting() -> Option<Self::Out> {
        None
    }
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

    /// Counts as a read of the entry, if there is one, without a look at its bytes. False: there is none.
    pub(crate) fn visit(&self, key: &[u8]) -> bool {
        let hash = self.hash(key);
        let found = self.index.look_up(hash).ok();
        let Some(entry) = found.filter(|entry| self.is_live(entry.addr)) else {
            return false;
        };
        if entry.visited < 3 && self.counts_as_visit(entry.addr) {
            self.index.touch(hash, entry.addr);
        }
        true
    }

    /// Like [`get`](Self::get), for a second look at a key whose miss was counted.
    pub(crate) fn peek(&self, key: &[u8]) -> Result<Option<Value>> {
        Ok(self.look_up(key, &WantValue)?.ok().map(|(value, _)| value))
    }

    pub(crate) fn get_into(&self, key: &[u8], buf: &mut Vec<u8>) -> Result<bool> {
        Ok(self.read(key, &WantInto(RefCell::new(buf)))?.is_some())
    }

    pub(crate) fn contains(&self, key: &[u8]) -> Result<bool> {
        let there = self.read(key, &WantKey)?.is_some();
        let is_ghost = || self.upkeep.lock().policy.is_ghost(self.hash(key));
        Ok(there || perennial_failpoints::planted!("ghost-counted-as-present") && is_ghost())
    }

    pub(crate) fn entry(&self, key: &[u8]) -> Result<Option<Copied>> {
        self.read(key, &WantEntry)
    }

    /// The bytes of the value that lie in `range`; a range that goes beyond the end is cut there.
    pub(crate) fn get_range(&self, key: &[u8], range: Range<u64>) -> Result<Option<Value>> {
        self.read(key, &WantRange(range))
    }

    fn read<W: Want>(&self, key: &[u8], want: &W) -> Result<Option<W::Out>> {
        self.check_open()?;
        Self::check_key(key)?;
        let hash = self.hash(key);
        let began = self.begins(hash);
        // Most misses end here, and quickly.
        let why = match self.index.look_up_counted(hash) {
            Ok(entry) => match self.follow(key, hash, entry, want)? {
                Ok((out, from)) => {
                    self.index.count(from);
                    self.ends(began, |times| times.of_read(from));
                    return Ok(Some(out));
                }
                Err(why) => why,
            },
            Err(Outcome::Negative) => {
                self.sample_miss(hash, Outcome::Negative);
                self.tell_of_stale_filters();
                return Ok(self.read_unlogged(key, want));
            }
            Err(why) => self.sample_miss(hash, why),
        };
        self.index.count(why);
        self.tell_of_stale_filters();
        Ok(self.read_unlogged(key, want))
    }

    /// For a key that the index does not have, which was counted.
    #[inline]
    fn read_unlogged<W: Want>(&self, key: &[u8], want: &W) -> Option<W::Out> {
        if !self.unlogged.is_on() {
            return None;
        }
        let out = want.value(self.get_unlogged(key)?)?;
        self.counters.hits_unlogged.add(1);
        Some(out)
    }

    /// What is wanted and where it was, or how the read ended without it.
    fn look_up<W: Want>(
        &self,
        key: &[u8],
        want: &W,
    ) -> Result<std::result::Result<(W::Out, Outcome), Outcome>> {
        let hash = self.hash(key);
        match self.index.look_up(hash) {
            Ok(entry) => self.follow(key, hash, entry, want),
            Err(why) => Ok(Err(self.sample_miss(hash, why))),
        }
    }

    #[inline]
    fn sample_miss(&self, hash: u64, why: Outcome) -> Outcome {
        if let Some(sampler) = &self.sampler {
            sampler.read(hash, None);
        }
        why
    }

    /// The same for a key whose entry was looked up.
    fn follow<W: Want>(
        &self,
        key: &[u8],
        hash: u64,
        first: Entry,
        want: &W,
    ) -> Result<std::result::Result<(W::Out, Outcome), Outcome>> {
        let mut first = Some(first);
        let mut unproved: Option<Entry> = None;
        let mut looks = 0;
        let why = loop {
            let found = first.take().map_or_else(|| self.index.look_up(hash), Ok);
            let entry = match found {
                Ok(entry) if self.is_live(entry.addr) => entry,
                Ok(_) => break Outcome::Vain,
                Err(why) => break why,
            };
            match self.look(key, hash, &entry, want) {
                Look::Found(out, from) if !W::was_read(&out) => return Ok(Ok((out, from))),
                Look::Found(out, from) => {
                    if entry.visited < 3 && self.counts_as_visit(entry.addr) {
                        self.index.touch(hash, entry.addr);
                    }
                    if let Some(sampler) = &self.sampler {
                        sampler.read(hash, Some(size_class::class_bound(entry.size_class)));
                    }
                    return Ok(Ok((out, from)));
                }
                Look::Absent => return Ok(Err(Outcome::Vain)),
                Look::Expired if self.drop_expired(hash, entry.addr) => {
                    return Ok(Err(Outcome::Vain));
                }
                Look::Expired => continue,
                Look::NoCodec => {
                    self.counters.codec_misses.add(1);
                    return Ok(Err(Outcome::Vain));
                }
                Look::Pending => {
                    if let Some(out) = W::instead_of_waiting() {
                        return Ok(Ok((out, Outcome::Tail)));
                    }
                    // A copy's time; for ever, if this thread is the one that copies.
                    may_wait()?;
                    crate::sync::yield_now();
                    continue;
                }
                Look::Unproved => {}
            }
            looks += 1;
            if unproved.is_some_and(|before| before.addr == entry.addr) || looks == LOOKS {
                let last = self.last_look(key, hash, &entry, want);
                return Ok(last.map(|out| (out, Outcome::Disk)).ok_or(Outcome::Vain));
            }
            unproved = Some(entry);
        };
        Ok(Err(self.sample_miss(hash, why)))
    }

    fn look<W: Want>(&self, key: &[u8], hash: u64, entry: &Entry, want: &W) -> Look<W::Out> {
        if !entry.addr.is_kept() && !self.is_extent(entry.size_class) {
            // What is to be decoded is copied first: nobody else gets the ring's bytes meanwhile.
            let mut coded = None;
            let read = self.log.read_tail(entry.addr.position(), |header, frame| {
                let ours =
                    header.key(frame) == key || perennial_failpoints::planted!("key-not-compared");
                if header.kind != FrameKind::Put || !ours {
                    Look::Absent
                } else if self.expired(header) {
                    Look::Expired
                } else if W::DECODES && is_coded(header) {
                    coded = Some((*header, frame.to_vec()));
                    Look::Pending
                } else {
                    Look::of(want.whole(header, frame), Outcome::Tail)
                }
            });
            if let Some((header, frame)) = coded {
                return Look::of(want.whole(&header, &frame), Outcome::Tail);
            }
            match read {
                TailRead::Frame(look) => return look,
                TailRead::Pending => return Look::Pending,
                TailRead::Gone | TailRead::Other => {}
            }
        }
        if let Some((value, expiry)) = self.tier.get(entry.addr, key) {
            if self.has_ended(expiry) {
                return Look::Expired;
            }
            if let Some(out) = want.value(value) {
                return Look::Found(out, Outcome::Memory);
            }
        }
        self.timed_look(hash, || self.look_on_disk(key, entry, want))
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
        let read = self.log.store().reread(&segment, offset, len);
        if let Err(error) = &read
            && !error.is_medias()
        {
            // No handles, or no memory: that says nothing of the bytes, and the entry stays.
            tracing::warn!(%error, "a read failed");
            self.counters.read_errors.add(1);
            return None;
        }
        let again = read.ok().and_then(|frame| {
            let header = FrameHeader::decode_whole(&frame, segment.seed_at(offset), offset).ok()?;
            let there = is_value_of(&header, &frame, key) && !self.expired(&header);
            there.then(|| want.whole(&header, &frame))
        });
        if let Some(Err(Unreadable::NoCodec)) = again {
            self.counters.codec_misses.add(1);
            return None;
        }
        let again = again.and_then(std::result::Result::ok);
        if again.is_none() {
            tracing::warn!(addr = ?entry.addr, "a frame does not prove itself; its entry is dropped");
            self.counters.damaged_reads.add(1);
            let mut shard = self.index.lock(hash);
            if shard.remove_if(hash, entry.addr) {
                self.ledger.subtract(entry.addr);
                self.dropped_unread.lock().push(hash);
                self.pins.forget(hash);
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
        let buffer = buffers::take(len);
        let store = self.log.store();
        match store.read_entry(place.segment, offset, len, buffer) {
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
}
