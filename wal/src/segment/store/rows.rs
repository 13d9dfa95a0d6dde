//! What lies in a segment that nobody writes any more: its trailer's rows, or a walk over its frames.

use super::{Segment, SegmentStore};
use crate::error::{Result, WalError};
use crate::frame::FrameKind;
use crate::lsn::{Addr, to_usize};
use crate::rows::row_of_header;
use crate::scan::read_trailer;
use crate::segment::Row;
use crate::walk::{FrameItem, Item, SegmentBytes};

impl SegmentStore {
    /// A row per entry of a segment, in the order in which they lie there. What does not prove itself has none.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn rows(&self, segment: &Segment) -> Result<Vec<Row>> {
        let file = self.reader(segment.slot)?;
        let trailer = read_trailer(&*file, &segment.header, self.geometry)
            .map_err(|source| WalError::io("read", self.path(segment.slot), 0, source))?;
        if let Some(trailer) = trailer {
            return Ok(trailer.rows);
        }
        let bytes = self.read(segment, 0, to_usize(self.geometry.segment_bytes))?;
        let walk = SegmentBytes {
            header: &segment.header,
            file: &bytes,
            unread: &[],
            ring: &[],
            reserved_to: u64::MAX,
        };
        let frames = walk.walk().into_iter().filter_map(|item| match item {
            Item::Frame(frame) => Some(frame),
            Item::Gap(_) => None,
        });
        Ok(if segment.header.kept.is_some() {
            frames.filter_map(|frame| kept_row(&frame)).collect()
        } else {
            frames.filter_map(|frame| frame.row).collect()
        })
    }
}

/// An entry stands for itself in a kept segment, a large one too.
fn kept_row(frame: &FrameItem) -> Option<Row> {
    let entry = matches!(frame.header.kind, FrameKind::Put | FrameKind::Extent);
    entry.then(|| Row {
        target: Addr::kept(frame.lsn),
        ..row_of_header(&frame.header, frame.lsn)
    })
}
