//! What whoever writes the log holds, and what is known of the segments that are being written.

use std::collections::BTreeMap;

use super::ahead::Written;
use crate::buffer::Passed;
use crate::lsn::SegmentId;
use crate::segment::{Row, Writer};
use crate::tail::Complete;

/// What whoever writes the log holds.
#[derive(Debug)]
pub(crate) struct FlushState {
    /// The first buffer not yet written.
    pub(super) next_seq: u64,
    /// The buffers that were found complete: those before `next_seq`, and those being written.
    pub(super) passed: Passed,
    /// Bytes written since the last sync.
    pub(crate) unsynced: u64,
    /// Rows of the segment that was sealed last.
    pub(super) rows_of_last: usize,
    /// Segments being written, until their trailer is synced.
    pub(super) open: BTreeMap<SegmentId, OpenSegment>,
}

#[derive(Debug)]
pub(super) struct OpenSegment {
    pub(super) id: SegmentId,
    pub(super) writer: Writer,
    pub(super) written: Written,
    /// Written since its last sync.
    pub(super) dirty: bool,
    pub(super) rows: Vec<Row>,
    /// Where its frames end, once its last frame is written.
    pub(super) data_end: Option<u64>,
    pub(super) trailer_written: bool,
}

impl OpenSegment {
    pub(super) fn new(id: SegmentId, writer: Writer, written: Written, rows: Vec<Row>) -> Self {
        Self {
            id,
            writer,
            written,
            dirty: false,
            rows,
            data_end: None,
            trailer_written: false,
        }
    }

    /// What was collected for the trailer so far.
    pub(super) fn collected(&self) -> (usize, Option<u64>) {
        (self.rows.len(), self.data_end)
    }

    /// Forgets what was collected since.
    pub(super) fn collect_from(&mut self, (rows, data_end): (usize, Option<u64>)) {
        self.rows.truncate(rows);
        self.data_end = data_end;
    }
}

impl FlushState {
    /// True while a segment whose last frame is written has no trailer.
    pub(crate) fn has_ended(&self) -> bool {
        let mut open = self.open.values();
        open.any(|segment| segment.data_end.is_some())
    }

    /// The state of a log that goes on in `segment`, which has `rows` already.
    pub(crate) fn new(
        complete: Complete,
        segment: SegmentId,
        writer: Writer,
        rows: Vec<Row>,
    ) -> Self {
        Self {
            next_seq: 1,
            passed: Passed::new(complete),
            unsynced: 0,
            rows_of_last: 0,
            open: BTreeMap::from([(
                segment,
                OpenSegment::new(segment, writer, Written::of(false), rows),
            )]),
        }
    }
}
