//! Reads: filter, index, then the tail, the memory tier, or one read of a segment.
//!
//! Whatever is read is proved before it is believed: header crc with its place and life, body crc, the full key. Where
//! that fails the key is looked up again, for the frame may have been moved or given up meanwhile. Only when the index
//! still says the same is it damage: a counted miss, and the entry is dropped.

use std::ops::Range;

use bytes::Bytes;
use perennial_wal::frame::{CHUNK_BYTES, FrameHeader, FrameKind, HEADER_BYTES, chunks_fit};
use perennial_wal::segment::Segment;
use perennial_wal::{Addr, TailRead, may_wait, to_usize};

use crate::engine::Engine;
use crate::error::Result;
use crate::index::{Entry, size_class};
use crate::value::Value;

/// Looks that a read may take at a key whose entry keeps changing under it.
const LOOKS: usize = 64;

/// What a look at an entry's place found.
enum Look<T> {
    /// The entry, and where it came from.
    Found(T, From),
    /// Not this key, or not a value any more.
    Absent,
    /// The frame is being written: look again.
    Pending,
    /// The bytes do not prove themselves.
    Unproved,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum From {
    Tail,
    Memory,
    Disk,
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

struct WantValue;
struct WantKey;
struct WantRange(Range<u64>);

impl Engine {
    pub(crate) fn get(&self, key: &[u8]) -> Result<Option<Value>> {
        self.read(key, &WantValue)
    }

    /// Like [`get`](Self::get), for a second look at a key whose miss was counted.
    pub(crate) fn peek(&self, key: &[u8]) -> Result<Option<Value>> {
        Ok(self.look_up(key, &WantValue)?.map(|(value, _)| value))
    }

    pub(crate) fn get_into(&self, key: &[u8], buf: &mut Vec<u8>) -> Result<bool> {
        let value = self.read(key, &WantValue)?;
        Ok(value.map(|value| buf.extend_from_slice(&value)).is_some())
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
            Some((_, From::Tail)) => self.counters.hits_tail.add(1),
            Some((_, From::Memory)) => self.counters.hits_memory.add(1),
            Some((_, From::Disk)) => self.counters.hits_disk.add(1),
            None => self.counters.misses.add(1),
        }
        Ok(found.map(|(out, _)| out))
    }

    fn look_up<W: Want>(&self, key: &[u8], want: &W) -> Result<Option<(W::Out, From)>> {
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
                    return Ok(Some((out, from)));
                }
                Look::Absent => return Ok(None),
                Look::Pending => {
                    // A copy's time; for ever, if this thread is the one that copies.
                    may_wait()?;
                    std::thread::yield_now();
                    continue;
                }
                Look::Unproved => {}
            }
            looks += 1;
            if unproved.is_some_and(|before| before.addr == entry.addr) || looks == LOOKS {
                return Ok(self
                    .last_look(key, hash, &entry, want)
                    .map(|out| (out, From::Disk)));
            }
            unproved = Some(entry);
        }
        Ok(None)
    }

    fn look<W: Want>(&self, key: &[u8], entry: &Entry, want: &W) -> Look<W::Out> {
        if !self.is_extent(entry.size_class) {
            let read = self.log.read_tail(entry.addr.position(), |header, frame| {
                (header.kind == FrameKind::Put && header.key(frame) == key && !self.expired(header))
                    .then(|| want.whole(header, frame))
            });
            match read {
                TailRead::Frame(Some(out)) => return Look::Found(out, From::Tail),
                TailRead::Frame(None) => return Look::Absent,
                TailRead::Pending => return Look::Pending,
                TailRead::Gone | TailRead::Other => {}
            }
        }
        if let Some(value) = self.tier.get(entry.addr, key) {
            return Look::Found(want.value(value), From::Memory);
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
    /// is damage (PROTOCOL hole 25).
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
            Err(error) => {
                tracing::warn!(%error, "a read failed");
                self.counters.read_errors.add(1);
                None
            }
        }
    }

    fn expired(&self, header: &FrameHeader) -> bool {
        header.expiry != 0 && self.fs.unix_time_ms() / 1000 >= u64::from(header.expiry)
    }
}

fn is_value_of(header: &FrameHeader, frame: &[u8], key: &[u8]) -> bool {
    matches!(header.kind, FrameKind::Put | FrameKind::Extent) && header.key(frame) == key
}

/// The range of a value of `len` bytes, cut at its end.
fn cut(range: &Range<u64>, len: u64) -> Range<usize> {
    let end = range.end.min(len);
    to_usize(range.start.min(end))..to_usize(end)
}

/// Reads and proves a whole frame: one read.
fn read_whole(engine: &Engine, place: &Place<'_>) -> Look<(FrameHeader, Bytes)> {
    let len = engine.read_len(place.class, place.offset);
    let Some(frame) = engine.read_segment(place, place.offset, len) else {
        return Look::Unproved;
    };
    match FrameHeader::decode_whole(&frame, place.segment.seed_at(place.offset), place.offset) {
        Ok(header) if is_value_of(&header, &frame, place.key) && !engine.expired(&header) => {
            Look::Found((header, Bytes::from(frame)), From::Disk)
        }
        Ok(_) => Look::Absent,
        Err(_) => Look::Unproved,
    }
}

impl Want for WantValue {
    type Out = Value;

    fn whole(&self, header: &FrameHeader, frame: &[u8]) -> Value {
        Value::from(Bytes::copy_from_slice(header.value(frame)))
    }

    fn value(&self, value: Value) -> Value {
        value
    }

    fn disk(&self, engine: &Engine, place: &Place<'_>) -> Look<Value> {
        match read_whole(engine, place) {
            Look::Found((header, frame), from) => {
                let start = to_usize(header.value_offset());
                let value = Value::from(
                    frame.slice(start..start + to_usize(u64::from(header.value_bytes))),
                );
                engine.tier.fill(place.addr, place.key, &value);
                Look::Found(value, from)
            }
            Look::Absent => Look::Absent,
            Look::Pending => Look::Pending,
            Look::Unproved => Look::Unproved,
        }
    }
}

impl Want for WantKey {
    type Out = ();

    fn whole(&self, _: &FrameHeader, _: &[u8]) {}

    fn value(&self, _: Value) {}

    /// Header and key suffice: the header crc covers the key's hash, and the key is compared in full.
    fn disk(&self, engine: &Engine, place: &Place<'_>) -> Look<()> {
        let len = to_usize(HEADER_BYTES) + place.key.len();
        let Some(head) = engine.read_segment(place, place.offset, len) else {
            return Look::Unproved;
        };
        match FrameHeader::decode(&head, place.segment.seed_at(place.offset), place.offset) {
            Ok(header) if usize::from(header.key_bytes) != place.key.len() || head.len() < len => {
                Look::Absent
            }
            Ok(header) if is_value_of(&header, &head, place.key) && !engine.expired(&header) => {
                Look::Found((), From::Disk)
            }
            Ok(_) => Look::Absent,
            Err(_) => Look::Unproved,
        }
    }
}

impl Want for WantRange {
    type Out = Value;

    fn whole(&self, header: &FrameHeader, frame: &[u8]) -> Value {
        let value = header.value(frame);
        Value::from(Bytes::copy_from_slice(
            &value[cut(&self.0, value.len() as u64)],
        ))
    }

    fn value(&self, value: Value) -> Value {
        let range = cut(&self.0, value.len() as u64);
        Value::from(value.into_bytes().slice(range))
    }

    /// A short value is read whole; of a chunked one the head with its table, then the chunks that the range touches.
    fn disk(&self, engine: &Engine, place: &Place<'_>) -> Look<Value> {
        if u64::from(size_class::class_bound(place.class)) <= CHUNK_BYTES {
            return match read_whole(engine, place) {
                Look::Found((header, frame), from) => {
                    Look::Found(self.whole(&header, &frame), from)
                }
                Look::Absent => Look::Absent,
                Look::Pending => Look::Pending,
                Look::Unproved => Look::Unproved,
            };
        }
        match self.chunks(engine, place) {
            Some(Some(value)) => Look::Found(value, From::Disk),
            Some(None) => Look::Absent,
            None => Look::Unproved,
        }
    }
}

impl WantRange {
    /// `None`: not proved. `Some(None)`: not this key.
    fn chunks(&self, engine: &Engine, place: &Place<'_>) -> Option<Option<Value>> {
        let head_bytes = to_usize(HEADER_BYTES) + place.key.len();
        let head = engine.read_segment(place, place.offset, head_bytes)?;
        let header =
            FrameHeader::decode(&head, place.segment.seed_at(place.offset), place.offset).ok()?;
        let ours = usize::from(header.key_bytes) == place.key.len()
            && is_value_of(&header, &head, place.key);
        if !ours || engine.expired(&header) {
            return Some(None);
        }
        if header.table_bytes() == 0 {
            return match read_whole(engine, place) {
                Look::Found((header, frame), _) => Some(Some(self.whole(&header, &frame))),
                Look::Absent => Some(None),
                Look::Pending | Look::Unproved => None,
            };
        }
        let table_at = place.offset + head_bytes as u64;
        let table = engine.read_segment(place, table_at, to_usize(header.table_bytes()))?;
        let mut crc = crc32fast::Hasher::new();
        crc.update(&head[to_usize(HEADER_BYTES)..]);
        crc.update(&table);
        if crc.finalize() != header.body_crc {
            return None;
        }
        let range = cut(&self.0, u64::from(header.value_bytes));
        if range.is_empty() {
            return Some(Some(Value::default()));
        }
        let chunk = to_usize(CHUNK_BYTES);
        let chunks = range.start / chunk..range.end.div_ceil(chunk);
        let from = chunks.start * chunk;
        let to = (chunks.end * chunk).min(to_usize(u64::from(header.value_bytes)));
        let bytes = engine.read_segment(
            place,
            place.offset + header.value_offset() + from as u64,
            to - from,
        )?;
        let proved = bytes.len() == to - from
            && chunks_fit(table.get(chunks.start * 4..chunks.end * 4)?, &bytes);
        proved.then(|| {
            Some(Value::from(
                Bytes::from(bytes).slice(range.start - from..range.end - from),
            ))
        })
    }
}
