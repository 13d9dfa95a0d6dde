//! A range of a large value, from disk: no more is read and proved than the chunks that it touches.

use std::ops::Range;

use bytes::Bytes;
use perennial_wal::frame::{CHUNK_BYTES, FrameHeader, chunks_fit};
use perennial_wal::to_usize;

use super::{Place, buffers};
use crate::compress::{Layout, Unreadable, is_coded};
use crate::engine::Engine;
use crate::value::Value;

/// A chunked value on disk, whose header and table proved themselves.
pub(super) struct Stored<'a> {
    pub(super) engine: &'a Engine,
    pub(super) place: &'a Place<'a>,
    pub(super) header: &'a FrameHeader,
    /// One crc for each 64 KiB of what is stored.
    pub(super) table: &'a [u8],
}

impl Stored<'_> {
    /// The bytes of the value in `range`, cut at its end. `None`: they could not be read or proved.
    pub(super) fn value(&self, range: &Range<u64>) -> Option<Result<Value, Unreadable>> {
        if is_coded(self.header) {
            self.decoded(range)
        } else {
            let range = cut(range, u64::from(self.header.value_bytes));
            self.proved(&range).map(|bytes| Ok(Value::from(bytes)))
        }
    }

    fn decoded(&self, range: &Range<u64>) -> Option<Result<Value, Unreadable>> {
        // Where the chunks lie is in the first of what is stored: 16 k of them would need more than any segment has.
        let stored_bytes = to_usize(u64::from(self.header.value_bytes));
        let first = self.proved(&(0..stored_bytes.min(to_usize(CHUNK_BYTES))))?;
        let layout = match Layout::read(self.header, &first) {
            Ok(layout) => layout,
            Err(why) => return Some(Err(why)),
        };
        let range = cut(range, layout.value_bytes() as u64);
        let chunks = layout.stored_range(&range);
        let at = chunks.start;
        let stored = if chunks.end <= first.len() {
            first.slice(chunks)
        } else {
            self.proved(&chunks)?
        };
        Some(layout.decode(&stored, at, &range).map(Value::from))
    }

    /// A range of what is stored, from the chunks around it.
    fn proved(&self, range: &Range<usize>) -> Option<Bytes> {
        if range.is_empty() {
            return Some(Bytes::new());
        }
        let chunk = to_usize(CHUNK_BYTES);
        let chunks = range.start / chunk..range.end.div_ceil(chunk);
        let from = chunks.start * chunk;
        let to = (chunks.end * chunk).min(to_usize(u64::from(self.header.value_bytes)));
        let at = self.place.offset + self.header.value_offset() + from as u64;
        let bytes = self.engine.read_segment(self.place, at, to - from)?;
        let crcs = self.table.get(chunks.start * 4..chunks.end * 4)?;
        let fit =
            chunks_fit(crcs, &bytes) || perennial_failpoints::planted!("chunk-crc-not-checked");
        let proved = bytes.len() == to - from && fit;
        proved.then(|| buffers::shared(bytes).slice(range.start - from..range.end - from))
    }
}

/// The range of a value of `len` bytes, cut at its end.
pub(super) fn cut(range: &Range<u64>, len: u64) -> Range<usize> {
    let end = range.end.min(len);
    to_usize(range.start.min(end))..to_usize(end)
}
