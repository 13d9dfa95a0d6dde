//! What lies in a segment that nobody writes any more: its trailer's rows, or a walk over its frames.

use super::{Segment, SegmentStore};
use crate::error::{Result, WalError};
use crate::frame::FrameKind;
use crate::lsn::{Addr, to_usize};
use crate::rows::row_of_header;
use crate::segment::Row;
use crate::table::{TableBuffer, TableFile};
use crate::walk::{FrameItem, Item, SegmentBytes};

/// What the media does not give as a whole is read in parts of this size: a bad sector costs what lies there.
const PART_BYTES: usize = 512;

impl SegmentStore {
    /// A row per entry of a segment, in the order in which they lie there. What does not prove itself has none.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn rows(&self, segment: &Segment) -> Result<Vec<Row>> {
        let file = self.hold(segment)?;
        let trailer = TableFile {
            file: &*file.0,
            direct: None,
        };
        let trailer = trailer
            .trailer(&segment.header, self.geometry, &mut TableBuffer::default())
            .map_err(|source| WalError::io("read", self.path(segment.slot), 0, source))?;
        if let Some(trailer) = trailer {
            return Ok(trailer.rows);
        }
        let bytes = self.read(segment, 0, to_usize(self.geometry.segment_bytes))?;
        Ok(rows_of(segment, &bytes))
    }

    /// The same for who gives the segment up: what the media does not give has no row either. As an error that kept every
    /// reclaim from the oldest segment, and the log from ever going on.
    ///
    /// # Errors
    /// When the file cannot be read for another reason.
    pub fn rows_there_are(&self, segment: &Segment) -> Result<Vec<Row>> {
        match self.rows(segment) {
            Err(error) if error.is_medias() => {}
            read => return read,
        }
        let bytes = self.read_what_there_is(segment)?;
        Ok(rows_of(segment, &bytes))
    }

    /// A segment's bytes, and zeros for those that the media does not give.
    fn read_what_there_is(&self, segment: &Segment) -> Result<Vec<u8>> {
        let len = to_usize(self.geometry.segment_bytes);
        match self.read(segment, 0, len) {
            Err(error) if error.is_medias() => {}
            read => return read,
        }
        let mut bytes = Vec::with_capacity(len);
        while bytes.len() < len {
            let end = len.min(bytes.len() + PART_BYTES);
            match self.read(segment, bytes.len() as u64, end - bytes.len()) {
                Ok(part) => bytes.extend(part),
                Err(error) if error.is_medias() => {}
                Err(error) => return Err(error),
            }
            bytes.resize(end, 0);
        }
        Ok(bytes)
    }
}

/// Of the frames that prove themselves.
fn rows_of(segment: &Segment, bytes: &[u8]) -> Vec<Row> {
    let walk = SegmentBytes {
        header: &segment.header,
        file: bytes,
        unread: &[],
        ring: &[],
        reserved_to: u64::MAX,
    };
    let frames = walk.walk().into_iter().filter_map(|item| match item {
        Item::Frame(frame) => Some(frame),
        Item::Gap(_) => None,
    });
    if segment.header.kept.is_some() {
        frames.filter_map(|frame| kept_row(&frame)).collect()
    } else {
        frames.filter_map(|frame| frame.row).collect()
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
