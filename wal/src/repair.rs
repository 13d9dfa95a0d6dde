//! Before the log goes on: what was accepted of its unsynced end is written again, synced, and closed.
//!
//! 1. Every accepted frame above the recorded stable LSN is written to its segment *again*, wherever it was read from:
//!    a failed sync of the dead process may have left bytes that read well and are on no disk (PROTOCOL hole 15).
//!    Holes become `Pad` frames; damage becomes a `Remove` of the key, or a `Pad` that says that everything older is
//!    forgotten. So the end is a chain of frames that prove themselves, and no later recovery judges otherwise
//!    (hole 11). Then sync.
//! 2. Segments before the last get their trailer, and before it the mark that ends a segment, where it is missing: a
//!    trailer may rot, and without a mark the unwritten rest of the segment would look like damage then.
//! 3. So does the last one, if nothing will follow in it. It gets a *join*: a fresh incarnation from the next sector on, and the largest number seen, up to which
//!    later segments are void (hole 10). Sync.
//! 4. The tail is reset: last, so that until then all of this can be done again with the same result.

mod closing;
mod going_on;
mod rewrite;

use std::sync::Arc;

use perennial_failpoints::fs::Dir;

use going_on::numbers;

use crate::contents::{Contents, OpenEnd};
use crate::error::{Result, WalError};
use crate::frame::{FrameHeader, FrameKind, HEADER_BYTES, flags};
use crate::geometry::{Geometry, Life};
use crate::lsn::{Lsn, to_u32, to_usize};
use crate::rows::row_of_header;
use crate::scan::ChainSegment;
use crate::segment::{Inventory, Row, Segment, SegmentStore};
use crate::verdict::GapVerdict;
use crate::walk::{GapItem, Item};

/// A log whose files are in order, ready to go on.
#[derive(Debug)]
pub struct Mended {
    pub(crate) store: SegmentStore,
    pub(crate) geometry: Geometry,
    pub(crate) life: Life,
    /// Where to go on, and the rows before; `None`: in a new segment.
    pub(crate) start: Option<(Lsn, Vec<Row>)>,
}

/// The frame that takes the place of a gap: `None` where it cannot be told or needs none.
pub(crate) fn stand_in(gap: &GapItem) -> Option<StandIn> {
    let (kind, flags, hash) = match (gap.verdict?, gap.key) {
        (GapVerdict::DamagedKey, Some(key)) => (FrameKind::Remove, 0, key),
        (GapVerdict::Hole, _)
            if gap.trailing || perennial_failpoints::planted!("holes-left-lying") =>
        {
            return None;
        }
        (GapVerdict::Hole, _) => (FrameKind::Pad, 0, 0),
        (GapVerdict::DamagedUnknown | GapVerdict::DamagedKey, _) => {
            (FrameKind::Pad, flags::FORGET, 0)
        }
        (GapVerdict::End, _) => return None,
    };
    let bytes = if gap.trailing {
        HEADER_BYTES
    } else {
        gap.end.0 - gap.lsn.0
    };
    let filler = to_u32(to_usize(bytes.checked_sub(HEADER_BYTES)?));
    Some(StandIn(FrameHeader::filler(kind, flags, hash, filler)))
}

/// See [`stand_in`].
pub(crate) struct StandIn(FrameHeader);

impl StandIn {
    pub(crate) fn row(&self, lsn: Lsn) -> Option<Row> {
        self.0.has_row().then(|| row_of_header(&self.0, lsn))
    }
}

impl Mended {
    /// The segment files.
    #[must_use]
    pub const fn store(&self) -> &SegmentStore {
        &self.store
    }
}

impl Contents<'_> {
    /// Puts the files in order for the life `life`, with at most `max_files` segment files. `forget`: nothing of the old
    /// log counts any more.
    ///
    /// # Errors
    /// When something could not be read for a reason other than the media's, or no header at all, before anything is changed;
    /// or when something cannot be written. It can be tried again: everything written so far only repeats what was there.
    pub fn mend(
        self,
        dir: Arc<dyn Dir>,
        geometry: Geometry,
        life: Life,
        max_files: u64,
        forget: bool,
    ) -> Result<Mended> {
        self.check_read()?;
        self.found.check_bounded()?;
        // A file that the dead process had just made may have a name that is not durable yet.
        perennial_failpoints::site!("wal::repair::sync_dir");
        let synced = if perennial_failpoints::planted!("found-names-not-synced") {
            Ok(())
        } else {
            dir.sync()
        };
        synced
            .map_err(|source| WalError::io("sync", dir.path().display().to_string(), 0, source))?;
        let life = if forget {
            life
        } else {
            self.life_that_goes_on(life)
        };
        let (store, going_on) = self.store(dir, geometry, life, max_files, forget);
        self.secure_blank(&store, geometry)?;
        let mut start = None;
        if going_on {
            self.secure_prepared(&store, life)?;
            self.secure_newest_trailer(&store, geometry, life)?;
            if perennial_failpoints::planted!("cut-before-decided")
                && let Some(last) = self.ends.last()
            {
                self.join(&store, geometry, life, last)?;
            }
            for end in &self.ends {
                self.rewrite(&store, geometry, end)?;
            }
            if let Some((last, before)) = self.ends.split_last() {
                for end in before {
                    let data_end = self.finish(&store, geometry, end)?;
                    let header = &self.segment(end).header;
                    self.close(&store, geometry, header, end, data_end)?;
                }
                start = self.join(&store, geometry, life, last)?;
            }
        }
        Ok(Mended {
            store,
            geometry,
            life,
            start,
        })
    }

    fn segment(&self, end: &OpenEnd) -> &ChainSegment {
        &self.found.chain[end.index]
    }

    fn store(
        &self,
        dir: Arc<dyn Dir>,
        geometry: Geometry,
        life: Life,
        max_files: u64,
        forget: bool,
    ) -> (SegmentStore, bool) {
        let count = if forget { 0 } else { self.segments().len() };
        let prepared = self.prepared(life);
        let (live, cut) = self.found.chain.split_at(count);
        let cut = &cut[..cut.len() - prepared.len()];
        let mut free = self.found.free.clone();
        free.extend(cut.iter().map(|s| s.slot));
        let mut kept = Vec::new();
        for segment in &self.found.kept {
            if forget {
                free.push(segment.slot);
            } else {
                kept.push(Segment::new(segment.slot, segment.header.clone()));
            }
        }
        // The last live segment goes on; see `join`.
        let live = live
            .iter()
            .chain(prepared)
            .map(|s| Segment::new(s.slot, s.header.clone()))
            .collect();
        let inventory = Inventory {
            live,
            prepared: numbers(prepared),
            kept,
            free,
            short: self.found.short.iter().copied().collect(),
            next_slot: self.found.next_slot,
            next_number: self.found.max_number
                + u64::from(!perennial_failpoints::planted!("number-used-again")),
        };
        (
            SegmentStore::new(dir, geometry, life, inventory, max_files),
            !forget,
        )
    }

    /// The first offset that is not known to be stable as it should be.
    fn first_to_write(&self, geometry: Geometry, end: &OpenEnd) -> Option<u64> {
        let number = self.segment(end).header.number;
        let begin = geometry.data_begin();
        let lsn = |offset| Lsn::new(number, offset, geometry.segment_bytes);
        let unstable = if self.stable <= lsn(begin) {
            Some(begin)
        } else {
            (self.stable < lsn(end.end)).then(|| self.stable.offset(geometry.segment_bytes))
        };
        let mended = end.items.iter().filter_map(|item| match item {
            Item::Gap(gap) if gap.verdict.is_some() => Some(gap.lsn.offset(geometry.segment_bytes)),
            // Stable once, but its segment has lost it: the ring, which is about to be reset, has it still.
            Item::Frame(frame) if frame.in_ring => Some(frame.lsn.offset(geometry.segment_bytes)),
            _ => None,
        });
        mended.chain(unstable).min().filter(|from| *from < end.end)
    }
}
