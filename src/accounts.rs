//! What every byte of a cache's files is used for.
//!
//! ```text
//!   segment file   header | frames: entries, live or dead; our own | padding | table of rows | free
//! ```
//! The tables of the segments say what lies where, and the index what of it still counts. Nothing is kept in step on the
//! way, so nothing can get out of step: a write that fails leaves no count behind.

use std::collections::BTreeMap;

use perennial_wal::frame::{FrameKind, HEADER_BYTES};
use perennial_wal::segment::{FIXED_BYTES, ROW_BYTES, Row, SegmentHeader};
use perennial_wal::{ALIGN, EXTENT_REF_BYTES, Geometry, SegmentId, align_up};
use serde::Serialize;

use crate::engine::Engine;
use crate::error::Result;
use crate::fetch::Flights;
use crate::index::Index;

/// What every byte of a cache's files is used for. The sum of all parts is the size of all files in the directory, as
/// `du --apparent-size` counts them; `du` alone rounds the few small ones up to blocks.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Ledger {
    /// The segments that are in use: the log's, oldest first, then the kept ones.
    pub segments: Vec<SegmentLedger>,
    /// How large the entries are that a `get` finds: those of each power of two of bytes, where there are any, smallest first.
    pub sizes: Vec<SizeCount>,
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
    /// Of these, bytes of entries that were read since they were stored or moved, as far as the eviction policy remembers.
    pub read_bytes: u64,
    /// Bytes of entries that were replaced, removed, moved or evicted.
    pub dead_bytes: u64,
    /// Bytes of headers, tables, removes, checkpoints and whatever else the cache writes for itself.
    pub metadata_bytes: u64,
    /// Bytes between frames, and behind the last one of a segment that is full.
    pub padding_bytes: u64,
    /// Bytes that are still to be written.
    pub free_bytes: u64,
}

/// Entries of about one size.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct SizeCount {
    /// Their frame's header, key and value, as it is stored, take so many bytes at least, a power of two, and less than twice as
    /// many.
    pub from_bytes: u64,
    /// How many there are.
    pub entries: u64,
    /// What they take together, in bytes.
    pub bytes: u64,
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
            read_bytes: sum.read_bytes + one.read_bytes,
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

impl Engine {
    /// What [`Cache::ledger`](crate::Cache::ledger) says. Nothing is reclaimed meanwhile.
    pub(crate) fn ledger_of_bytes(&self) -> Result<Ledger> {
        self.check_open()?;
        let _state = self.lock_upkeep()?;
        let store = self.log.store();
        let geometry = self.log.geometry();
        let written = self.log.stable_lsn().segment(geometry.segment_bytes);
        let mut accounts = Accounts::new(geometry, &self.index, written);
        for segment in store.live().iter().rev().chain(&store.kept()) {
            accounts.take(&segment.header, &store.rows(segment)?);
        }
        Ok(accounts.ledger(store.file_bytes(), self.other_bytes))
    }
}

/// A ledger in the making. Segments come from the newest to the oldest, for the references of large values lie behind these
/// or beside them, and then the kept ones.
pub(crate) struct Accounts<'a> {
    geometry: Geometry,
    index: &'a Index<Flights>,
    /// Segments of the log before this one are full.
    written: SegmentId,
    /// References of large values, by the segments of these.
    references: BTreeMap<SegmentId, Vec<Row>>,
    /// By their first byte.
    sizes: BTreeMap<u64, SizeCount>,
    segments: Vec<SegmentLedger>,
}

impl<'a> Accounts<'a> {
    pub(crate) fn new(geometry: Geometry, index: &'a Index<Flights>, written: SegmentId) -> Self {
        Self {
            geometry,
            index,
            written,
            references: BTreeMap::new(),
            sizes: BTreeMap::new(),
            segments: Vec::new(),
        }
    }

    /// The next segment, with what its table says.
    pub(crate) fn take(&mut self, header: &SegmentHeader, rows: &[Row]) {
        let segment_bytes = self.geometry.segment_bytes;
        let (number, kept) = (header.number, header.kept.is_some());
        let mut account = SegmentLedger {
            number: number.0,
            kept,
            metadata_bytes: self.geometry.data_begin() + rows.iter().map(own_bytes).sum::<u64>(),
            ..SegmentLedger::default()
        };
        let behind = self.references.remove(&number).unwrap_or_default();
        for row in rows.iter().chain(&behind) {
            let target = row.target.position().segment(segment_bytes);
            if row.kind == FrameKind::Ref && target != number {
                self.references.entry(target).or_default().push(*row);
            } else if target == number && is_entry(row) {
                self.count(row, &mut account);
            }
        }
        let full = kept || number < self.written;
        if full {
            account.metadata_bytes += rows.len() as u64 * ROW_BYTES + FIXED_BYTES;
        }
        let rest = segment_bytes.saturating_sub(account.total_bytes());
        *if full {
            &mut account.padding_bytes
        } else {
            &mut account.free_bytes
        } = rest;
        self.segments.push(account);
    }

    fn count(&mut self, row: &Row, account: &mut SegmentLedger) {
        let bytes = u64::from(row.bytes);
        let found = self.index.get(row.hash);
        let Some(entry) = found.filter(|found| found.addr == row.target) else {
            account.dead_bytes += bytes;
            return;
        };
        account.entries += 1;
        account.live_bytes += bytes;
        account.read_bytes += if entry.visited > 0 { bytes } else { 0 };
        let from_bytes = 1 << bytes.max(1).ilog2();
        let size = self.sizes.entry(from_bytes).or_insert(SizeCount {
            from_bytes,
            ..SizeCount::default()
        });
        size.entries += 1;
        size.bytes += bytes;
    }

    /// All segments, where the files of segments take so many bytes, and others so many.
    pub(crate) fn ledger(mut self, file_bytes: u64, other_bytes: u64) -> Ledger {
        let used = self.segments.len() as u64 * self.geometry.segment_bytes;
        // The log's come first, newest first.
        let log = self.segments.iter().take_while(|one| !one.kept).count();
        self.segments[..log].reverse();
        Ledger {
            segments: self.segments,
            sizes: self.sizes.into_values().collect(),
            free_file_bytes: file_bytes.saturating_sub(used),
            other_bytes,
        }
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
