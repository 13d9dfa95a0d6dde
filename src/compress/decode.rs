//! Back to the value, as a whole or in part.

use std::borrow::Cow;
use std::ops::Range;

use perennial_wal::frame::{FrameHeader, flags};
use perennial_wal::to_usize;

use super::CHUNK;
use super::codec::Codec;

/// No value is larger, for no segment is: what claims to be is damage, and nobody asks for memory for it.
const MAX_VALUE_BYTES: usize = 64 << 20;

/// Why a proved frame gives no value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unreadable {
    /// This build does not have its codec.
    NoCodec,
    /// What is stored is not what any build stores.
    Damaged,
}

/// True for a value that is not stored as it is.
pub(crate) const fn is_coded(header: &FrameHeader) -> bool {
    header.flags & flags::CODEC != 0
}

/// Whether this build has the codec of a frame.
pub(crate) fn readable(header: &FrameHeader) -> Result<(), Unreadable> {
    let id = header.flags & flags::CODEC;
    let known = id == 0 || Codec::of_id(id).is_some();
    known.then_some(()).ok_or(Unreadable::NoCodec)
}

/// The value of a proved frame.
pub(crate) fn value_of<'f>(
    header: &FrameHeader,
    frame: &'f [u8],
) -> Result<Cow<'f, [u8]>, Unreadable> {
    let stored = header.value(frame);
    if !is_coded(header) {
        return Ok(Cow::Borrowed(stored));
    }
    let layout = Layout::read(header, stored)?;
    let whole = 0..layout.value_bytes();
    layout.decode(stored, 0, &whole).map(Cow::Owned)
}

/// The bytes of the value that lie in `range`, cut at its end.
pub(crate) fn part_of<'f>(
    header: &FrameHeader,
    frame: &'f [u8],
    range: &Range<u64>,
) -> Result<Cow<'f, [u8]>, Unreadable> {
    let stored = header.value(frame);
    if !is_coded(header) {
        return Ok(Cow::Borrowed(&stored[cut(range, stored.len())]));
    }
    let layout = Layout::read(header, stored)?;
    let range = cut(range, layout.value_bytes());
    let chunks = layout.stored_range(&range);
    let stored = stored.get(chunks.clone()).ok_or(Unreadable::Damaged)?;
    layout.decode(stored, chunks.start, &range).map(Cow::Owned)
}

fn cut(range: &Range<u64>, len: usize) -> Range<usize> {
    let end = range.end.min(len as u64);
    to_usize(range.start.min(end))..to_usize(end)
}

/// Where the chunks of a stored value lie.
#[derive(Debug)]
pub(crate) struct Layout {
    codec: Codec,
    value_bytes: usize,
    /// Where each chunk begins in what is stored, and where the last one ends.
    begins: Vec<usize>,
}

impl Layout {
    /// From the first bytes of what is stored, its table at least. Lengths that do not fit each other are damage.
    pub(crate) fn read(header: &FrameHeader, first: &[u8]) -> Result<Self, Unreadable> {
        let codec = Codec::of_id(header.flags & flags::CODEC).ok_or(Unreadable::NoCodec)?;
        let stored_bytes = to_usize(u64::from(header.value_bytes));
        Self::parse(codec, stored_bytes, first).ok_or(Unreadable::Damaged)
    }

    fn parse(codec: Codec, stored_bytes: usize, first: &[u8]) -> Option<Self> {
        let (value_bytes, table) = first.split_first_chunk()?;
        let value_bytes = to_usize(u64::from(u32::from_le_bytes(*value_bytes)));
        if value_bytes > MAX_VALUE_BYTES {
            return None;
        }
        let lengths = table.get(..4 * value_bytes.div_ceil(CHUNK))?;
        let mut begins = vec![4 + lengths.len()];
        for (n, length) in lengths.as_chunks::<4>().0.iter().enumerate() {
            let bytes = to_usize(u64::from(u32::from_le_bytes(*length)));
            let piece = CHUNK.min(value_bytes - n * CHUNK);
            let begin = begins.last()?;
            begins.push((1..=piece).contains(&bytes).then_some(begin + bytes)?);
        }
        let all = *begins.last()? == stored_bytes;
        all.then_some(Self {
            codec,
            value_bytes,
            begins,
        })
    }

    /// Of the value as it was inserted.
    pub(crate) const fn value_bytes(&self) -> usize {
        self.value_bytes
    }

    /// What of the stored bytes is needed for this range of the value.
    pub(crate) fn stored_range(&self, range: &Range<usize>) -> Range<usize> {
        let chunks = chunks_of(range);
        self.begins[chunks.start]..self.begins[chunks.end]
    }

    /// This range of the value; `stored` is what of the stored bytes lies from `at` on, and reaches as far as needed.
    pub(crate) fn decode(
        &self,
        stored: &[u8],
        at: usize,
        range: &Range<usize>,
    ) -> Result<Vec<u8>, Unreadable> {
        let chunks = chunks_of(range);
        let first = chunks.start * CHUNK;
        let end = (chunks.end * CHUNK).min(self.value_bytes);
        let mut value = vec![0; end.saturating_sub(first)];
        for (chunk, piece) in chunks.zip(value.chunks_mut(CHUNK)) {
            let place = self.begins[chunk] - at..self.begins[chunk + 1] - at;
            let bytes = stored.get(place).ok_or(Unreadable::Damaged)?;
            if bytes.len() == piece.len() {
                piece.copy_from_slice(bytes);
            } else if !self.codec.decompress(bytes, piece) {
                return Err(Unreadable::Damaged);
            }
        }
        value.truncate(range.end - first);
        value.drain(..range.start - first);
        Ok(value)
    }
}

/// The chunks that a range of the value touches.
fn chunks_of(range: &Range<usize>) -> Range<usize> {
    let first = range.start / CHUNK;
    first..range.end.div_ceil(CHUNK).max(first)
}
