//! Steps 2 and 3 of a repair: segments are closed, and the last one joined.

use perennial_failpoints::fs::read_exact_at;

use crate::aligned::AlignedBuf;
use crate::contents::{Contents, OpenEnd};
use crate::error::Result;
use crate::frame::{FrameHeader, FrameKind, HEADER_BYTES, flags};
use crate::geometry::{Geometry, Life};
use crate::lsn::{Lsn, align_down, align_up, to_u32, to_usize};
use crate::segment::{
    FIXED_BYTES, Join, MAX_JOINS, ROW_BYTES, Row, SegmentHeader, SegmentStore, Trailer, zone_begin,
};

/// A segment is gone on with only while this fraction of it is left.
const WORTH_JOINING: u64 = 16;

impl OpenEnd {
    /// True when a life can go on in the segment from `begin` on.
    pub(super) fn has_room(&self, begin: u64, rows: &[Row], geometry: Geometry) -> bool {
        let taken = begin + FIXED_BYTES + geometry.sector + rows.len() as u64 * ROW_BYTES;
        let room = geometry.segment_bytes.saturating_sub(taken);
        !self.finished && room >= geometry.segment_bytes / WORTH_JOINING
    }
}

impl Contents<'_> {
    /// Where the next life's frames may begin in the last segment; behind its end: in another one.
    ///
    /// Never below the stable LSN. Where damage took the log's last frames, the accepted ones end before it, and what attests
    /// it, be it only a tail's head that lost power brings back, would make damage of the unwritten rest behind what the next
    /// life wrote below it: all that was durable in it was forgotten.
    pub(super) fn next_begin(&self, end: &OpenEnd) -> u64 {
        let segment_bytes = self.geometry.segment_bytes;
        let header = &self.segment(end).header;
        let attested = if perennial_failpoints::planted!("joined-below-the-stable") {
            0
        } else {
            let begin = Lsn::new(header.number, 0, segment_bytes);
            self.stable.0.saturating_sub(begin.0).min(segment_bytes)
        };
        let begin = align_up(end.end.max(attested), self.geometry.sector);
        begin.max(last_begin(header))
    }

    /// The mark that ends a segment behind its last accepted frame, or a sector that a life began and left empty. Returns
    /// where the frames end now. Where there is no room for it, or the sector cannot be read, the trailer must do.
    pub(super) fn finish(
        &self,
        store: &SegmentStore,
        geometry: Geometry,
        end: &OpenEnd,
    ) -> Result<u64> {
        let segment = self.segment(end);
        let at = segment.header.next_place(end.next_place(geometry));
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
        perennial_failpoints::site!("wal::repair::mark_sync");
        writer.sync()?;
        Ok(data_end)
    }

    /// Step 2: a trailer for a segment that is written to its end. It names a life of `header`, the segment's header as it
    /// is on disk by now: one of a life that gave up its place would not be taken for this segment's.
    pub(super) fn close(
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
        write_trailer(store, geometry, segment.slot, &trailer)
    }

    /// A recovery that was killed in step 2 may have left a trailer that reads well and is on no disk, of a segment that
    /// has no room for the mark that ends it. Gone after a power loss, it would leave a place where a life began and
    /// wrote nothing, below what is stable: damage. Trailers of recoveries before that one are synced. Whatever the tail
    /// says of the boot: the killed recovery is of this one, and a tail is reset last.
    pub(super) fn secure_newest_trailer(
        &self,
        store: &SegmentStore,
        geometry: Geometry,
        life: Life,
    ) -> Result<()> {
        let sealed = self.segments().len() - self.ends.len();
        let trusted =
            perennial_failpoints::planted!("trailer-of-no-boot-trusted") && !self.tail.same_boot;
        let newest = sealed.checked_sub(1).filter(|_| !trusted);
        let Some(newest) = newest.filter(|_| !self.goes_on(life)) else {
            return Ok(());
        };
        self.check_read()?;
        self.newest_trailer.as_ref().map_or(Ok(()), |trailer| {
            write_trailer(store, geometry, self.found.chain[newest].slot, trailer)
        })
    }

    /// Step 3: the last segment is joined by the new life, or closed where that is not worth it. A life that goes on
    /// changes nothing.
    pub(super) fn join(
        &self,
        store: &SegmentStore,
        geometry: Geometry,
        life: Life,
        end: &OpenEnd,
    ) -> Result<Option<(Lsn, Vec<Row>)>> {
        let segment = self.segment(end);
        let mut header = segment.header.clone();
        let rows = end.rows();
        let (mut data_end, mut begin) = (end.end, self.next_begin(end));
        // A life that left nothing gives up its place, or opening and closing alone would fill segment after segment.
        let gives_up = |last: &mut Join, begin: u64| u64::from(last.begin) == begin;
        let kept = header.joins.len()
            - usize::from(
                header
                    .joins
                    .last_mut()
                    .is_some_and(|last| gives_up(last, begin)),
            );
        if self.goes_on(life) {
            let start = Lsn::new(header.number, begin, geometry.segment_bytes);
            return Ok(Some((start, rows)));
        }
        let has_room = end.has_room(begin, &rows, geometry);
        let go_on = has_room && kept + 1 < MAX_JOINS;
        if !go_on {
            // What is stable behind it lies in no sector of this segment.
            begin = align_up(data_end, geometry.sector).max(last_begin(&header));
        }
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
            begin = align_up(data_end, geometry.sector).max(last_begin(&header));
        }
        header.joins.pop_if(|last| gives_up(last, begin));
        // In the last sector no life can begin any more: a join behind it would make damage of the whole header.
        let has_place = header.joins.len() < MAX_JOINS && begin < geometry.segment_bytes;
        if (go_on || void || cut) && has_place {
            header.joins.push(Join {
                begin: to_u32(to_usize(begin)),
                end: to_u32(to_usize(data_end)),
                incarnation: life.incarnation,
                void_through: if perennial_failpoints::planted!("cut-segments-not-void") {
                    header.number.0
                } else {
                    self.found.max_number
                },
            });
            // What was given up before the crash stays given up, though the header that said so is void now.
            header.oldest = store.oldest();
            perennial_failpoints::site!("wal::repair::join");
            store.write_header_durably(segment.slot, &header)?;
            perennial_failpoints::site!("wal::repair::joined");
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
        let cut = self.found.chain[self.segments().len()..].iter();
        cut.rev()
            .try_for_each(|segment| blank(store, geometry, segment.slot))
    }

    /// A recovery that was killed while it blanked headers may have left zeros that are on no disk. Their numbers are not
    /// known any more and are given again: the header that a power loss brought back would be another segment's equal.
    pub(super) fn secure_blank(&self, store: &SegmentStore, geometry: Geometry) -> Result<()> {
        if perennial_failpoints::planted!("blank-headers-not-synced") {
            return Ok(());
        }
        let blanks = self.found.blank.iter();
        blanks
            .copied()
            .try_for_each(|slot| blank(store, geometry, slot))
    }
}

/// Where the newest life of a segment began: none that follows it begins before.
fn last_begin(header: &SegmentHeader) -> u64 {
    header.joins.last().map_or(0, |last| u64::from(last.begin))
}

fn blank(store: &SegmentStore, geometry: Geometry, slot: u32) -> Result<()> {
    let zeros = AlignedBuf::zeroed(to_usize(geometry.data_begin()));
    let writer = store.writer(slot)?;
    perennial_failpoints::site!("wal::repair::blank");
    writer.write(&zeros, 0)?;
    perennial_failpoints::site!("wal::repair::blank_sync");
    writer.sync()
}

fn write_trailer(
    store: &SegmentStore,
    geometry: Geometry,
    slot: u32,
    trailer: &Trailer,
) -> Result<()> {
    let writer = store.writer(slot)?;
    perennial_failpoints::site!("wal::repair::trailer");
    trailer.encode_in_pieces(geometry.segment_bytes, geometry.sector, |piece, at| {
        writer.write(piece, at)
    })?;
    perennial_failpoints::site!("wal::repair::trailer_sync");
    writer.sync()
}
