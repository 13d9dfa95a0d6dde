//! What a read may want of an entry, and how it takes it from where the entry lies.

use std::cell::RefCell;
use std::ops::Range;

use bytes::Bytes;
use perennial_wal::frame::{CHUNK_BYTES, FrameHeader, FrameKind, HEADER_BYTES, chunks_fit};
use perennial_wal::to_usize;

use super::{FoundIn, Look, Place, Want};
use crate::engine::Engine;
use crate::index::size_class;
use crate::value::Value;

/// The value.
pub(super) struct WantValue;
/// The value, copied once, into a buffer of the caller's.
pub(super) struct WantInto<'a>(pub(super) RefCell<&'a mut Vec<u8>>);
/// Whether it is there.
pub(super) struct WantKey;
/// A part of the value.
pub(super) struct WantRange(pub(super) Range<u64>);

/// True for a frame that holds a value of this key.
pub(super) fn is_value_of(header: &FrameHeader, frame: &[u8], key: &[u8]) -> bool {
    matches!(header.kind, FrameKind::Put | FrameKind::Extent)
        && (header.key(frame) == key || perennial_failpoints::planted!("key-not-compared"))
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
        Ok(header) if !is_value_of(&header, &frame, place.key) => Look::Absent,
        Ok(header) if engine.expired(&header) => Look::Expired,
        Ok(header) => Look::Found((header, Bytes::from(frame)), FoundIn::Disk),
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
        read_whole(engine, place).map(|(header, frame)| {
            let start = to_usize(header.value_offset());
            let value =
                Value::from(frame.slice(start..start + to_usize(u64::from(header.value_bytes))));
            engine
                .tier
                .fill(place.addr, place.key, header.expiry, &value);
            value
        })
    }
}

impl Want for WantInto<'_> {
    type Out = ();

    fn whole(&self, header: &FrameHeader, frame: &[u8]) {
        self.0.borrow_mut().extend_from_slice(header.value(frame));
    }

    fn value(&self, value: Value) {
        self.0.borrow_mut().extend_from_slice(&value);
    }

    fn disk(&self, engine: &Engine, place: &Place<'_>) -> Look<()> {
        WantValue.disk(engine, place).map(|value| self.value(value))
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
            Ok(header) if !is_value_of(&header, &head, place.key) => Look::Absent,
            Ok(header) if engine.expired(&header) => Look::Expired,
            Ok(_) => Look::Found((), FoundIn::Disk),
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
            return read_whole(engine, place).map(|(header, frame)| self.whole(&header, &frame));
        }
        self.chunks(engine, place).unwrap_or(Look::Unproved)
    }
}

impl WantRange {
    /// `None`: not proved.
    fn chunks(&self, engine: &Engine, place: &Place<'_>) -> Option<Look<Value>> {
        let head_bytes = to_usize(HEADER_BYTES) + place.key.len();
        let head = engine.read_segment(place, place.offset, head_bytes)?;
        let header =
            FrameHeader::decode(&head, place.segment.seed_at(place.offset), place.offset).ok()?;
        let ours = usize::from(header.key_bytes) == place.key.len()
            && is_value_of(&header, &head, place.key);
        if !ours {
            return Some(Look::Absent);
        }
        if engine.expired(&header) {
            return Some(Look::Expired);
        }
        if header.table_bytes() == 0 {
            let whole = read_whole(engine, place);
            return Some(whole.map(|(header, frame)| self.whole(&header, &frame)));
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
            return Some(Look::Found(Value::default(), FoundIn::Disk));
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
            let part = Bytes::from(bytes).slice(range.start - from..range.end - from);
            Look::Found(Value::from(part), FoundIn::Disk)
        })
    }
}
