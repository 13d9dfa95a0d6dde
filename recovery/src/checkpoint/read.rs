//! A checkpoint's head and parts as they are found in a log.

use perennial_wal::frame::{FrameHeader, FrameKind, HEADER_BYTES, Seed};
use perennial_wal::segment::Row;
use perennial_wal::{Contents, Event, Lsn};

use super::{Head, Part, PartRef, decode_part};

/// The checkpoint head at `at`, if its frame proves itself and it is of an index with `identity_bits`.
pub(crate) fn read_head(
    contents: &Contents<'_>,
    at: Lsn,
    bytes: u32,
    identity_bits: u8,
) -> Option<Head> {
    let (header, frame) = contents.frame(at, bytes)?;
    let ours = header.kind == FrameKind::Head;
    let head = ours.then(|| Head::decode(header.value(&frame)).ok())??;
    (head.identity_bits == identity_bits).then_some(head)
}

/// The eviction policy's state, if every piece proves itself. Without it the policy begins anew: nothing else needs it.
pub(crate) fn read_policy(contents: &Contents<'_>, pieces: &[PartRef]) -> Option<Vec<u8>> {
    let read = |piece| read_body(contents, piece);
    let pieces: Option<Vec<Vec<u8>>> = pieces.iter().map(read).collect();
    Some(pieces?.concat())
}

/// The body of a part, if its frame proves itself and it is what the head says.
pub(crate) fn read_part(contents: &Contents<'_>, part: &PartRef) -> Option<Vec<u8>> {
    let body = read_body(contents, part)?;
    decode_part_of(part, &body).is_some().then_some(body)
}

/// The part in a frame, if that proves itself where the head says it lies, under `seed`, and is what the head says.
#[must_use]
pub fn part_of_frame<'a>(
    part: &PartRef,
    frame: &'a [u8],
    seed: Seed,
    offset: u64,
) -> Option<Part<'a>> {
    let header = FrameHeader::decode_whole(frame, seed, offset).ok()?;
    if header.kind != FrameKind::Part {
        return None;
    }
    decode_part_of(part, header.value(frame))
}

fn decode_part_of<'a>(part: &PartRef, body: &'a [u8]) -> Option<Part<'a>> {
    let found = decode_part(body).ok()?;
    let good = found.shard() == part.shard && found.count() as u64 == u64::from(part.entries);
    good.then_some(found)
}

/// Bytes of the frame of a part, without what aligns it; `None` where the head says what no frame has.
#[must_use]
pub fn part_frame_bytes(part: &PartRef) -> Option<u32> {
    let header_bytes = u32::try_from(HEADER_BYTES).ok()?;
    let around = header_bytes.checked_add(table_bytes(part.bytes))?;
    part.bytes.checked_add(around)
}

fn read_body(contents: &Contents<'_>, part: &PartRef) -> Option<Vec<u8>> {
    let (header, frame) = contents.frame(part.lsn, part_frame_bytes(part)?)?;
    (header.kind == FrameKind::Part).then(|| header.value(&frame).to_vec())
}

/// Bytes of the chunk table in the frame of a part with a body of `bytes`.
fn table_bytes(bytes: u32) -> u32 {
    let chunk = u32::try_from(perennial_wal::frame::CHUNK_BYTES).unwrap_or(u32::MAX);
    if bytes > chunk {
        bytes.div_ceil(chunk) * 4
    } else {
        0
    }
}

pub(crate) fn head_row(event: &Event) -> Option<Row> {
    match event {
        Event::Row(row) if row.kind == FrameKind::Head => Some(*row),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
