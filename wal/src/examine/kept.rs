//! Kept segments, read in full.

use super::{Damaged, Outline, SegmentState};
use crate::contents::{Contents, FileBytes};
use crate::frame::FrameKind;
use crate::lsn::{Addr, Lsn, align_up};
use crate::mending::{Place, patch_flipped_at};
use crate::rows::row_of_header;
use crate::scan::ChainSegment;
use crate::segment::Row;
use crate::walk::{FrameItem, GapItem, Item, SegmentBytes};

/// A kept segment, read in full.
#[derive(Debug)]
pub struct ExaminedKept {
    /// The file's slot.
    pub slot: u32,
    /// The frames that prove themselves, whether or not anything points at them.
    pub frames: Vec<FrameItem>,
    /// What is damaged: entries, copies of the header, the trailer.
    pub damage: Vec<Damaged>,
}

/// Kept segments: no place of theirs is told by the log, and what counts in them is what an index points at.
impl Contents<'_> {
    /// The kept segment at `index`, in which an index has entries at `places`, in ascending order, each with the hash it
    /// knows of the key. What else lies there is nobody's. Memory: the segment's bytes and its frames.
    #[must_use]
    pub fn examine_kept(&self, index: usize, places: &[(Lsn, u64)]) -> ExaminedKept {
        let segment = &self.found.kept[index];
        let file = self.file_bytes(segment, 0..u64::MAX);
        let (frames, gaps) = walk_kept(segment, &file);
        let mut examined = ExaminedKept {
            slot: segment.slot,
            frames,
            damage: Vec::new(),
        };
        if places.is_empty() {
            return examined;
        }
        let damaged = gaps.iter().filter_map(|gap| {
            let inside = |(at, _): &&(Lsn, u64)| gap.lsn <= *at && *at < gap.end;
            let rows: Vec<Row> = places.iter().filter(inside).map(entry_row).collect();
            let at = rows.first()?.target.position();
            let offset = at.offset(self.geometry.segment_bytes);
            let damaged = self.damaged_gap(&Place {
                segment,
                file: &file.bytes,
                gap,
                limit: u64::MAX,
                rows: Some(rows),
            });
            // A gap may begin with what lies between two batches.
            let flipped = patch_flipped_at(&segment.header, &file.bytes, offset);
            Some(Damaged {
                offset,
                patch: flipped.or(damaged.patch),
                ..damaged
            })
        });
        examined.damage.extend(damaged);
        examined.damage.extend(self.damaged_copies(segment, false));
        if self.trailer_of(segment).is_none() {
            let rows = examined.frames.iter().map(kept_row).collect();
            let end = self.end_of_batches(&examined.frames);
            let rotten = self.rotten_trailer(&file.bytes, &segment.header, rows, end);
            examined.damage.extend(rotten);
        }
        examined
    }

    /// Where a kept segment's frames end: a batch is whole sectors.
    fn end_of_batches(&self, frames: &[FrameItem]) -> u64 {
        let end = frames.last().map_or(self.geometry.data_begin(), |frame| {
            frame.lsn.offset(self.geometry.segment_bytes) + frame.bytes
        });
        align_up(end, self.geometry.sector)
    }

    /// A row for each frame of the kept segment at `index`, in the order in which they lie there. What does not prove itself
    /// has none.
    #[must_use]
    pub fn rows_kept(&self, index: usize) -> Vec<Row> {
        let segment = &self.found.kept[index];
        if let Some(trailer) = self.trailer_of(segment) {
            return trailer.rows;
        }
        let (frames, _) = walk_kept(segment, &self.file_bytes(segment, 0..u64::MAX));
        frames.iter().map(kept_row).collect()
    }

    /// The kept segment at `index`, read no further than needed.
    #[must_use]
    pub fn outline_kept(&self, index: usize) -> Outline {
        let segment = &self.found.kept[index];
        let outline = |state, rows, data_end| Outline::of(segment, state, rows, data_end);
        if let Some(trailer) = self.trailer_of(segment) {
            let data_end = u64::from(trailer.data_end);
            return outline(SegmentState::Sealed, trailer.rows.len(), data_end);
        }
        let (frames, _) = walk_kept(segment, &self.file_bytes(segment, 0..u64::MAX));
        let end = frames.last().map_or(self.geometry.data_begin(), |frame| {
            frame.lsn.offset(self.geometry.segment_bytes) + frame.bytes
        });
        outline(SegmentState::Unsealed, frames.len(), end)
    }
}

fn walk_kept(segment: &ChainSegment, file: &FileBytes) -> (Vec<FrameItem>, Vec<GapItem>) {
    let walk = SegmentBytes {
        header: &segment.header,
        file: &file.bytes,
        unread: &file.unread,
        ring: &[],
        reserved_to: u64::MAX,
    };
    let (mut frames, mut gaps) = (Vec::new(), Vec::new());
    for item in walk.walk() {
        match item {
            Item::Frame(frame) => frames.push(frame),
            Item::Gap(gap) => gaps.push(gap),
        }
    }
    (frames, gaps)
}

/// The row that a kept segment's trailer has for any of its frames.
fn kept_row(frame: &FrameItem) -> Row {
    Row {
        target: Addr::kept(frame.lsn),
        ..row_of_header(&frame.header, frame.lsn)
    }
}

/// What a trailer would say of such an entry.
fn entry_row((at, hash): &(Lsn, u64)) -> Row {
    Row {
        hash: *hash,
        target: Addr::log(*at),
        bytes: 0,
        kind: FrameKind::Put,
        flags: 0,
        key_bytes: 0,
    }
}
