//! What a read may want of an entry, and how it takes it from where the entry lies.

use std::borrow::Cow;
use std::cell::RefCell;
use std::ops::Range;

use bytes::{Buf, Bytes};
use perennial_wal::frame::{CHUNK_BYTES, FrameHeader, FrameKind, HEADER_BYTES};
use perennial_wal::to_usize;

use super::stored::{Stored, cut};
use super::{Look, Place, Want, buffers};
use crate::compress::{Unreadable, is_coded, part_of, readable, value_of};
use crate::engine::Engine;
use crate::index::{Outcome, size_class};
use crate::insert_options::Priority;
use crate::value::{Entry, Value};

/// The value.
pub(super) struct WantValue;
/// The value, copied once, into a buffer of the caller's.
pub(super) struct WantInto<'a>(pub(super) RefCell<&'a mut Vec<u8>>);
/// Whether it is there.
pub(super) struct WantKey;
/// The value, and what was said of it.
pub(super) struct WantEntry;
/// A part of the value.
pub(super) struct WantRange(pub(super) Range<u64>);

/// True for a frame that holds a value of this key.
pub(crate) fn is_value_of(header: &FrameHeader, frame: &[u8], key: &[u8]) -> bool {
    matches!(header.kind, FrameKind::Put | FrameKind::Extent)
        && (header.key(frame) == key || perennial_failpoints::planted!("key-not-compared"))
}

/// Reads and proves a whole frame: one read.
fn read_whole(engine: &Engine, place: &Place<'_>) -> Look<(FrameHeader, Bytes)> {
    let len = engine.read_len(place.class, place.offset);
    let Some(mut frame) = engine.read_segment(place, place.offset, len) else {
        return Look::Unproved;
    };
    match FrameHeader::decode_whole(&frame, place.segment.seed_at(place.offset), place.offset) {
        Ok(header) if !is_value_of(&header, &frame, place.key) => Look::Absent,
        Ok(header) if engine.expired(&header) => Look::Expired,
        Ok(header) => {
            // The value ends where the frame does, and needs no cut of its own.
            frame.truncate(to_usize(HEADER_BYTES + header.body_bytes()));
            Look::Found((header, buffers::shared(frame)), Outcome::Disk)
        }
        Err(_) => Look::Unproved,
    }
}

/// A value of its own, of what may be part of a frame.
fn owned(bytes: Cow<'_, [u8]>) -> Value {
    match bytes {
        Cow::Borrowed(bytes) => Value::from(buffers::copied(bytes)),
        Cow::Owned(bytes) => Value::from(bytes),
    }
}

impl Want for WantValue {
    type Out = Value;

    fn whole(&self, header: &FrameHeader, frame: &[u8]) -> Result<Value, Unreadable> {
        value_of(header, frame).map(owned)
    }

    fn value(&self, value: Value) -> Option<Value> {
        Some(value)
    }

    fn disk(&self, engine: &Engine, place: &Place<'_>) -> Look<Value> {
        match read_whole(engine, place) {
            Look::Found((header, mut frame), from) if !is_coded(&header) => {
                // The frame's own reference becomes the value's.
                frame.advance(to_usize(header.value_offset()));
                let value = Value::from(frame);
                let tier = &engine.tier;
                tier.fill(place.addr, place.key, header.expiry, &value);
                Look::Found(value, from)
            }
            coded => coded.and_then(|(header, frame)| {
                let value = self.whole(&header, &frame)?;
                let tier = &engine.tier;
                tier.fill(place.addr, place.key, header.expiry, &value);
                Ok(value)
            }),
        }
    }
}

impl Want for WantInto<'_> {
    type Out = ();

    fn whole(&self, header: &FrameHeader, frame: &[u8]) -> Result<(), Unreadable> {
        let value = value_of(header, frame)?;
        self.0.borrow_mut().extend_from_slice(&value);
        Ok(())
    }

    fn value(&self, value: Value) -> Option<()> {
        self.0.borrow_mut().extend_from_slice(&value);
        Some(())
    }

    fn disk(&self, engine: &Engine, place: &Place<'_>) -> Look<()> {
        let found = WantValue.disk(engine, place);
        found.and_then(|value| {
            self.0.borrow_mut().extend_from_slice(&value);
            Ok(())
        })
    }
}

impl Want for WantKey {
    type Out = ();

    const DECODES: bool = false;

    fn whole(&self, header: &FrameHeader, _: &[u8]) -> Result<(), Unreadable> {
        readable(header)
    }

    fn value(&self, _: Value) -> Option<()> {
        Some(())
    }

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
            Ok(header) => Look::of(readable(&header), Outcome::Disk),
            Err(_) => Look::Unproved,
        }
    }
}

impl Want for WantEntry {
    type Out = Entry;

    fn whole(&self, header: &FrameHeader, frame: &[u8]) -> Result<Entry, Unreadable> {
        Ok(Entry {
            value: WantValue.whole(header, frame)?,
            priority: Priority::of(header.flags),
            ends_at_s: (header.expiry != 0).then_some(header.expiry),
        })
    }

    /// The memory tier does not know the priority.
    fn value(&self, _: Value) -> Option<Entry> {
        None
    }

    fn disk(&self, engine: &Engine, place: &Place<'_>) -> Look<Entry> {
        read_whole(engine, place).and_then(|(header, frame)| self.whole(&header, &frame))
    }

    /// What is copied elsewhere is not used here: all entries would be worth keeping then.
    fn was_read(_: &Entry) -> bool {
        false
    }
}

impl Want for WantRange {
    type Out = Value;

    fn whole(&self, header: &FrameHeader, frame: &[u8]) -> Result<Value, Unreadable> {
        part_of(header, frame, &self.0).map(owned)
    }

    fn value(&self, value: Value) -> Option<Value> {
        let range = cut(&self.0, value.len() as u64);
        Some(Value::from(value.into_bytes().slice(range)))
    }

    /// A short value is read whole; of a chunked one the head with its table, then the chunks that the range touches.
    fn disk(&self, engine: &Engine, place: &Place<'_>) -> Look<Value> {
        if u64::from(size_class::class_bound(place.class)) <= CHUNK_BYTES {
            return read_whole(engine, place)
                .and_then(|(header, frame)| self.whole(&header, &frame));
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
            return Some(whole.and_then(|(header, frame)| self.whole(&header, &frame)));
        }
        let table_at = place.offset + head_bytes as u64;
        let table = engine.read_segment(place, table_at, to_usize(header.table_bytes()))?;
        let mut crc = crc32fast::Hasher::new();
        crc.update(&head[to_usize(HEADER_BYTES)..]);
        crc.update(&table);
        if crc.finalize() != header.body_crc {
            return None;
        }
        let stored = Stored {
            engine,
            place,
            header: &header,
            table: &table,
        };
        let value = stored.value(&self.0)?;
        Some(Look::of(value, Outcome::Disk))
    }
}
