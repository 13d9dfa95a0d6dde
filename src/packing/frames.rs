//! Reading what survives of a segment.

use perennial_wal::frame::{FrameHeader, FrameKind};
use perennial_wal::segment::{Row, Segment};
use perennial_wal::to_usize;

use super::Live;
use crate::engine::Engine;
use crate::error::Result;

/// Survivors that lie no further apart are read together with what is between them.
const GAP_BYTES: u64 = 32 << 10;
/// At most this much is read at once, unless one frame is larger.
const PIECE_BYTES: u64 = 1 << 20;

impl Engine {
    /// Gives every frame that is kept, proved, to `take`. What does not prove itself is damage, and not copied.
    ///
    /// # Errors
    /// When the system has no handle or no memory for a read. What was given to `take` before that is copied; who reclaims
    /// may try again.
    pub(super) fn each_frame(
        &self,
        segment: &Segment,
        live: &[Live],
        mut take: impl FnMut(&Row, &FrameHeader, &[u8]),
    ) -> Result<()> {
        let segment_bytes = self.log.geometry().segment_bytes;
        let offset = |row: &Row| row.target.position().offset(segment_bytes);
        let mut kept: Vec<Row> = live.iter().filter(|l| l.kept).map(|l| l.row).collect();
        kept.sort_unstable_by_key(offset);
        let mut rest = &kept[..];
        while let Some(first) = rest.first() {
            let begin = offset(first);
            let mut end = begin + u64::from(first.bytes);
            let mut together = |row: &Row| {
                let (from, to) = (offset(row), offset(row) + u64::from(row.bytes));
                let near = from <= end + GAP_BYTES && to - begin <= PIECE_BYTES;
                if near {
                    end = end.max(to);
                }
                near
            };
            let more = rest[1..].iter().take_while(|row| together(row)).count();
            let (piece, behind) = rest.split_at(1 + more);
            rest = behind;
            let bytes = match self.log.store().read(segment, begin, to_usize(end - begin)) {
                Ok(bytes) => bytes,
                Err(error) if error.is_shortage() => return Err(error.into()),
                Err(error) => {
                    tracing::warn!(%error, "entries that were to be kept cannot be read");
                    self.counters.read_errors.add(1);
                    continue;
                }
            };
            let mut copied = 0;
            for row in piece {
                let at = offset(row);
                let frame = bytes.get(to_usize(at - begin)..).unwrap_or(&[]);
                let frame = frame.get(..to_usize(u64::from(row.bytes))).unwrap_or(&[]);
                match FrameHeader::decode_whole(frame, segment.seed_at(at), at) {
                    Ok(header) if self.expired(&header) => {}
                    Ok(header) if is_of(&header, row) => {
                        take(row, &header, frame);
                        copied += u64::from(row.bytes);
                    }
                    _ => self.counters.damaged_reads.add(1),
                }
            }
            self.pace(bytes.len() as u64 + copied);
        }
        Ok(())
    }
}

/// True for the entry that the row is about. A frame of its key may prove itself there and have no value: filler reaches
/// further than the entry did, and what reclaim made of it was a panic, or a value that nobody had stored.
fn is_of(header: &FrameHeader, row: &Row) -> bool {
    let kind = match row.kind {
        FrameKind::Put => FrameKind::Put,
        _ => FrameKind::Extent,
    };
    let entry = header.kind == kind || perennial_failpoints::planted!("any-frame-is-kept");
    entry && header.hash == row.hash
}
