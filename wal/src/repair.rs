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

use std::sync::Arc;

use perennial_failpoints::fs::{Dir, read_exact_at};

use crate::aligned::AlignedBuf;
use crate::contents::{Contents, OpenEnd};
use crate::error::{Result, WalError};
use crate::flusher::row_of_header;
use crate::frame::{FrameHeader, FrameKind, HEADER_BYTES, flags};
use crate::geometry::{Geometry, Life};
use crate::lsn::{Lsn, align_down, align_up, to_u32, to_usize};
use crate::scan::ChainSegment;
use crate::segment::{
    FIXED_BYTES, Inventory, Join, MAX_JOINS, ROW_BYTES, Row, Segment, SegmentHeader, SegmentStore,
    Trailer, zone_begin,
};
use crate::verdict::GapVerdict;
use crate::walk::{FrameItem, GapItem, Item, SegmentBytes};

/// A segment is gone on with only while this fraction of it is left.
const WORTH_JOINING: u64 = 16;

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
pub(crate) fn stand_in(gap: &GapItem, verdict: Option<GapVerdict>) -> Option<StandIn> {
    let (kind, flags, hash) = match (verdict?, gap.key) {
        (GapVerdict::DamagedKey, Some(key)) => (FrameKind::Remove, 0, key),
        (GapVerdict::Hole, _) if gap.trailing => return None,
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

/// Where the frame begins that reaches across `from`, or `from`.
fn first_touched(end: &OpenEnd, from: u64, geometry: Geometry) -> u64 {
    let begin = |(item, _): &(Item, _)| item.lsn().offset(geometry.segment_bytes);
    let begins = end.items.iter().map(begin);
    begins
        .take_while(|begin| *begin < from)
        .last()
        .unwrap_or(from)
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
    /// When something could not be read for a reason other than the media's, before anything is changed; or when
    /// something cannot be written. It can be tried again: everything written so far only repeats what was there.
    pub fn mend(
        self,
        dir: Arc<dyn Dir>,
        geometry: Geometry,
        life: Life,
        max_files: u64,
        forget: bool,
    ) -> Result<Mended> {
        self.check_read()?;
        // A file that the dead process had just made may have a name that is not durable yet.
        dir.sync()
            .map_err(|source| WalError::io("sync", dir.path().display().to_string(), 0, source))?;
        let (store, going_on) = self.store(dir, geometry, life, max_files, forget);
        let mut start = None;
        if going_on {
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
        let (live, cut) = self.found.chain.split_at(count);
        let mut free = self.found.free.clone();
        free.extend(cut.iter().map(|s| s.slot));
        // The last live segment goes on with one more join; see `join`.
        let live = live
            .iter()
            .map(|s| Segment {
                slot: s.slot,
                header: s.header.clone(),
            })
            .collect();
        let inventory = Inventory {
            live,
            free,
            next_slot: self.found.next_slot,
            next_number: self.found.max_number + 1,
        };
        (
            SegmentStore::new(dir, geometry, life, inventory, max_files),
            !forget,
        )
    }

    /// Step 1 for one segment.
    fn rewrite(&self, store: &SegmentStore, geometry: Geometry, end: &OpenEnd) -> Result<()> {
        let segment = self.segment(end);
        let Some(from) = self.first_to_write(geometry, end) else {
            return Ok(());
        };
        let (from, to) = (
            align_down(from, geometry.sector),
            align_up(end.end, geometry.sector),
        );
        let file = self.file_bytes(segment, first_touched(end, from, geometry)..end.end);
        let source = SegmentBytes {
            header: &segment.header,
            file: &file,
            ring: self.tail.ring,
            reserved_to: u64::MAX,
        };
        self.check_again(end, &source, from)?;
        let mut image = AlignedBuf::zeroed(to_usize(to - from));
        let accepted = to_usize(end.end - from);
        image[..accepted].copy_from_slice(&file[to_usize(from)..to_usize(end.end)]);
        for (item, verdict) in &end.items {
            let offset = item.lsn().offset(geometry.segment_bytes);
            let Some(at) = offset.checked_sub(from).map(to_usize) else {
                continue;
            };
            match item {
                Item::Frame(FrameItem {
                    in_ring: true,
                    bytes,
                    ..
                }) => {
                    let len = to_usize(*bytes).min(accepted - at);
                    image[at..at + len].copy_from_slice(&source.in_ring(offset)[..len]);
                }
                Item::Frame(_) => {}
                Item::Gap(gap) => {
                    if let Some(StandIn(header)) = stand_in(gap, *verdict) {
                        let bytes = header.encode(segment.header.seed_at(offset), offset);
                        image[at..at + bytes.len()].copy_from_slice(&bytes);
                    }
                }
            }
        }
        let writer = store.writer(segment.slot)?;
        perennial_failpoints::site!("wal::repair::write");
        writer.write(&image, from)?;
        perennial_failpoints::site!("wal::repair::sync");
        writer.sync()
    }

    /// What was read of the file a second time must still prove itself: a read that fails now gives zeros, and these
    /// must not be written over frames that counted.
    fn check_again(&self, end: &OpenEnd, source: &SegmentBytes<'_>, from: u64) -> Result<()> {
        self.check_read()?;
        for (item, _) in &end.items {
            let Item::Frame(frame) = item else { continue };
            let offset = frame.lsn.offset(u64::from(source.header.segment_bytes));
            if frame.in_ring || offset + frame.bytes <= from {
                continue;
            }
            let seed = source.header.seed_at(offset);
            FrameHeader::decode_whole(source.in_file(offset), seed, offset).map_err(|error| {
                let what = format!("segment {}", source.header.number);
                WalError::io("read again", what, offset, std::io::Error::other(error))
            })?;
        }
        Ok(())
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
        let mended = end.items.iter().filter_map(|(item, verdict)| match item {
            Item::Gap(gap) if verdict.is_some() => Some(gap.lsn.offset(geometry.segment_bytes)),
            // Stable once, but its segment has lost it: the ring, which is about to be reset, has it still.
            Item::Frame(frame) if frame.in_ring => Some(frame.lsn.offset(geometry.segment_bytes)),
            _ => None,
        });
        mended.chain(unstable).min().filter(|from| *from < end.end)
    }

    /// The mark that ends a segment behind its last accepted frame, or a sector that a life began and left empty. Returns
    /// where the frames end now. Where there is no room for it, or the sector cannot be read, the trailer must do.
    fn finish(&self, store: &SegmentStore, geometry: Geometry, end: &OpenEnd) -> Result<u64> {
        let segment = self.segment(end);
        let at = segment.header.next_place(end.end);
        let data_end = at + HEADER_BYTES;
        let zone = zone_begin(
            end.rows().len() as u64,
            geometry.segment_bytes,
            geometry.sector,
        );
        if end.finished || data_end > zone {
            return Ok(end.end);
        }
        let from = align_down(at, geometry.sector);
        let mut image = AlignedBuf::zeroed(to_usize(align_up(data_end, geometry.sector) - from));
        let before = to_usize(at - from);
        // What step 1 left there is written again as it is.
        let read = self
            .file(segment)
            .map(|file| read_exact_at(&*file, &mut image[..before], from));
        if !matches!(read, Some(Ok(()))) {
            return Ok(end.end);
        }
        let mark = FrameHeader::filler(FrameKind::Mark, flags::LAST, self.stable.0, 0);
        image[before..before + to_usize(HEADER_BYTES)]
            .copy_from_slice(&mark.encode(segment.header.seed_at(at), at));
        let writer = store.writer(segment.slot)?;
        perennial_failpoints::site!("wal::repair::mark");
        writer.write(&image, from)?;
        writer.sync()?;
        Ok(data_end)
    }

    /// Step 2: a trailer for a segment that is written to its end. It names a life of `header`, the segment's header as it
    /// is on disk by now: one of a life that gave up its place would not be taken for this segment's.
    fn close(
        &self,
        store: &SegmentStore,
        geometry: Geometry,
        header: &SegmentHeader,
        end: &OpenEnd,
        data_end: u64,
    ) -> Result<()> {
        let segment = self.segment(end);
        let last_life = header.joins.last().map_or(0, |join| join.incarnation);
        let rows = end.rows();
        let begin = zone_begin(rows.len() as u64, geometry.segment_bytes, geometry.sector);
        if begin < data_end {
            // Only damage makes frames that the trailer was not charged for; the segment stays without one.
            return Ok(());
        }
        let trailer = Trailer {
            cache_id: header.cache_id,
            number: header.number,
            incarnation: last_life,
            data_end: to_u32(to_usize(data_end)),
            stable: Lsn::new(header.number, data_end, geometry.segment_bytes),
            rows,
        };
        let writer = store.writer(segment.slot)?;
        perennial_failpoints::site!("wal::repair::trailer");
        writer.write(
            &AlignedBuf::copied_from(&trailer.encode(geometry.segment_bytes, geometry.sector)),
            begin,
        )?;
        writer.sync()
    }

    /// Step 3: the last segment is joined by the new life, or closed where that is not worth it.
    fn join(
        &self,
        store: &SegmentStore,
        geometry: Geometry,
        life: Life,
        end: &OpenEnd,
    ) -> Result<Option<(Lsn, Vec<Row>)>> {
        let segment = self.segment(end);
        let mut header = segment.header.clone();
        let rows = end.rows();
        let (mut data_end, mut begin) = (end.end, align_up(end.end, geometry.sector));
        // A life that left nothing gives up its place, or opening and closing alone would fill segment after segment.
        let gives_up = |last: &mut Join, begin: u64| u64::from(last.begin) == begin;
        let kept = header.joins.len()
            - usize::from(
                header
                    .joins
                    .last_mut()
                    .is_some_and(|last| gives_up(last, begin)),
            );
        let taken = begin + FIXED_BYTES + geometry.sector + rows.len() as u64 * ROW_BYTES;
        let room = geometry.segment_bytes.saturating_sub(taken);
        let go_on =
            !end.finished && room >= geometry.segment_bytes / WORTH_JOINING && kept + 1 < MAX_JOINS;
        let void = self.found.max_number > header.number.0;
        // Also where nothing will follow here: frames behind a cut must not count again if the trailer rots.
        let cut = !end.finished;
        if cut && !go_on {
            if !self.tail.same_boot {
                // Before the mark is there, which hides the gap that cut them off: a recovery killed in between must not
                // take them for what follows. In the same boot there are none: a gap is skipped then.
                self.blank_cut_segments(store, geometry)?;
            }
            data_end = self.finish(store, geometry, end)?;
            begin = align_up(data_end, geometry.sector);
        }
        header.joins.pop_if(|last| gives_up(last, begin));
        if (go_on || void || cut) && header.joins.len() < MAX_JOINS {
            header.joins.push(Join {
                begin: to_u32(to_usize(begin)),
                end: to_u32(to_usize(data_end)),
                incarnation: life.incarnation,
                void_through: self.found.max_number,
            });
            // What was given up before the crash stays given up, though the header that said so is void now.
            header.oldest = store.oldest();
            store.write_header_durably(segment.slot, &header)?;
            store.set_header(header.clone());
        } else if void {
            self.blank_cut_segments(store, geometry)?;
        }
        if go_on {
            return Ok(Some((
                Lsn::new(header.number, begin, geometry.segment_bytes),
                rows,
            )));
        }
        self.close(store, geometry, &header, end, data_end)?;
        Ok(None)
    }

    /// Where the last segment cannot say, or not in time, which numbers are void, their headers go, newest first: at no
    /// moment is there a segment whose predecessor is missing.
    fn blank_cut_segments(&self, store: &SegmentStore, geometry: Geometry) -> Result<()> {
        let zeros = AlignedBuf::zeroed(to_usize(geometry.data_begin()));
        for segment in self.found.chain[self.segments().len()..].iter().rev() {
            let writer = store.writer(segment.slot)?;
            perennial_failpoints::site!("wal::repair::blank");
            writer.write(&zeros, 0)?;
            writer.sync()?;
        }
        Ok(())
    }
}
