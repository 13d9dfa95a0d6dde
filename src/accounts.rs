//! What every byte of a cache's files is used for.
//!
//! ```text
//!   segment file   header | frames: entries, live or dead; our own | padding | table of rows | free
//! ```
//! The tables of the segments say what lies where, and the index what of it still counts. Nothing is kept in step on the
//! way, so nothing can get out of step: a write that fails leaves no count behind.

use std::collections::BTreeMap;

use perennial_wal::frame::{FrameKind, HEADER_BYTES};
use perennial_wal::segment::{FIXED_BYTES, ROW_BYTES, Row, Segment};
use perennial_wal::{ALIGN, EXTENT_REF_BYTES, SegmentId, align_up};
use serde::Serialize;

use crate::engine::Engine;
use crate::error::Result;

/// What every byte of a cache's files is used for. The sum of all parts is the size of all files in the directory, as
/// `du --apparent-size` counts them; `du` alone rounds the few small ones up to blocks.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Ledger {
    /// The segments that are in use: the log's, oldest first, then the kept ones.
    pub segments: Vec<SegmentLedger>,
    /// Bytes of segment files in which nothing counts.
    pub free_file_bytes: u64,
    /// Bytes of all other files: tail, identity, lock, and what is not this cache's.
    pub other_bytes: u64,
}

/// What the bytes of a segment are used for. The sum is the size of its file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct SegmentLedger {
    /// Its number.
    pub number: u64,
    /// It is outside the log: for copies of what was worth keeping.
    pub kept: bool,
    /// Entries in it that a `get` finds.
    pub entries: u64,
    /// Bytes of these.
    pub live_bytes: u64,
    /// Bytes of entries that were replaced, removed, moved or evicted.
    pub dead_bytes: u64,
    /// Bytes of headers, tables, removes, checkpoints and whatever else the cache writes for itself.
    pub metadata_bytes: u64,
    /// Bytes between frames, and behind the last one of a segment that is full.
    pub padding_bytes: u64,
    /// Bytes that are still to be written.
    pub free_bytes: u64,
}

impl SegmentLedger {
    /// All of them.
    #[must_use]
    pub const fn total_bytes(&self) -> u64 {
        self.live_bytes
            + self.dead_bytes
            + self.metadata_bytes
            + self.padding_bytes
            + self.free_bytes
    }
}

impl Ledger {
    /// The sums over all segments; the number is 0.
    #[must_use]
    pub fn of_all_segments(&self) -> SegmentLedger {
        let add = |sum: SegmentLedger, one: &SegmentLedger| SegmentLedger {
            number: 0,
            kept: false,
            entries: sum.entries + one.entries,
            live_bytes: sum.live_bytes + one.live_bytes,
            dead_bytes: sum.dead_bytes + one.dead_bytes,
            metadata_bytes: sum.metadata_bytes + one.metadata_bytes,
            padding_bytes: sum.padding_bytes + one.padding_bytes,
            free_bytes: sum.free_bytes + one.free_bytes,
        };
        self.segments.iter().fold(SegmentLedger::default(), add)
    }

    /// All bytes of all files.
    #[must_use]
    pub fn total_bytes(&self) -> u64 {
        let segments = self.segments.iter().map(SegmentLedger::total_bytes);
        segments.sum::<u64>() + self.free_file_bytes + self.other_bytes
    }
}

/// References of large values, by the segments of these.
type References = BTreeMap<SegmentId, Vec<Row>>;

impl Engine {
    /// What [`Cache::ledger`](crate::Cache::ledger) says. Nothing is reclaimed meanwhile.
    pub(crate) fn ledger_of_bytes(&self) -> Result<Ledger> {
        self.check_open()?;
        let _state = self.lock_upkeep()?;
        let store = self.log.store();
        // From the newest to the oldest: the references of large values lie behind these, or beside them.
        let mut references = References::default();
        let log = store.live();
        let log = log.iter().rev();
        let log = log.map(|segment| self.account_of(segment, &mut references));
        let mut segments = log.collect::<Result<Vec<_>>>()?;
        segments.reverse();
        for segment in store.kept() {
            segments.push(self.account_of(&segment, &mut references)?);
        }
        let used = segments.len() as u64 * self.log.geometry().segment_bytes;
        Ok(Ledger {
            segments,
            free_file_bytes: store.file_bytes().saturating_sub(used),
            other_bytes: self.other_bytes,
        })
    }

    fn account_of(&self, segment: &Segment, references: &mut References) -> Result<SegmentLedger> {
        let geometry = self.log.geometry();
        let (number, kept) = (segment.header.number, segment.header.kept.is_some());
        let mut account = SegmentLedger {
            number: number.0,
            kept,
            metadata_bytes: geometry.data_begin(),
            ..SegmentLedger::default()
        };
        let rows = self.log.store().rows(segment)?;
        for row in &rows {
            account.metadata_bytes += own_bytes(row);
        }
        let behind = references.remove(&number).unwrap_or_default();
        for row in rows.iter().chain(&behind) {
            let target = row.target.position().segment(geometry.segment_bytes);
            if row.kind == FrameKind::Ref && target != number {
                references.entry(target).or_default().push(*row);
            } else if target == number && is_entry(row) {
                let found = self.index.get(row.hash);
                let live = found.is_some_and(|found| found.addr == row.target);
                account.count(row, live);
            }
        }
        let written = self.log.stable_lsn().segment(geometry.segment_bytes);
        let full = kept || number < written;
        if full {
            account.metadata_bytes += rows.len() as u64 * ROW_BYTES + FIXED_BYTES;
        }
        let rest = geometry.segment_bytes.saturating_sub(account.total_bytes());
        *if full {
            &mut account.padding_bytes
        } else {
            &mut account.free_bytes
        } = rest;
        Ok(account)
    }
}

impl SegmentLedger {
    fn count(&mut self, row: &Row, live: bool) {
        let bytes = u64::from(row.bytes);
        self.entries += u64::from(live);
        *if live {
            &mut self.live_bytes
        } else {
            &mut self.dead_bytes
        } += bytes;
    }
}

fn is_entry(row: &Row) -> bool {
    matches!(
        row.kind,
        FrameKind::Put | FrameKind::Ref | FrameKind::Extent
    )
}

/// Bytes of a frame that is no entry, or only refers to one.
fn own_bytes(row: &Row) -> u64 {
    match row.kind {
        FrameKind::Put | FrameKind::Extent => 0,
        FrameKind::Ref => align_up(HEADER_BYTES + EXTENT_REF_BYTES as u64, ALIGN),
        _ => align_up(u64::from(row.bytes), ALIGN),
    }
}
