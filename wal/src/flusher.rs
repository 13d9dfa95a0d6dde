//! Bytes from the tail to their segments, in LSN order, and the sync that makes them stable.
//!
//! Buffers complete in any order; they are written in the order of the log, by whoever holds the flush state, so no two
//! writes share a sector in flight (PROTOCOL hole 17). The sector in which the written part ends goes out from a private
//! copy with zeros behind the end, never from the live ring: other writers are copying into it.

mod ahead;
mod state;

use std::collections::btree_map::Entry;

use ahead::Written;
pub(crate) use state::FlushState;
use state::OpenSegment;

use crate::aligned::AlignedBuf;
use crate::buffer::Filled;
use crate::commit::Covered;
use crate::core::LogCore;
use crate::error::{Result, WalError};
use crate::frame::FrameHeader;
use crate::lsn::{Lsn, SegmentId, align_down, align_up, to_u32, to_usize};
use crate::rows::row_of;
use crate::segment::{Trailer, Writer};
use crate::tail::Complete;

/// A run of buffers is written in pieces of at most this many bytes.
const MAX_WRITE: u64 = 4 << 20;
/// Up to this size a run is copied and written with one call, its last sector included: a second write takes longer than
/// the copy.
const MAX_BOUNCE: u64 = 512 << 10;
/// A longer run may stay in the page cache.
const LEAST_WARM: u64 = 64 << 10;

/// A contiguous range of complete ring bytes within one segment.
#[derive(Debug, Clone, Copy)]
struct Run {
    base: Lsn,
    end: Lsn,
}

impl LogCore {
    /// Writes what is complete. Buffers that begin below `through` are waited for.
    pub(crate) fn write_filled(&self, state: &mut FlushState, through: Option<Lsn>) -> Result<()> {
        while let Some(filled) = self.buffers().filled(self.tail(), state.next_seq) {
            if !filled.done {
                if filled.extent && self.give_up_owed(state.next_seq)? {
                    continue;
                }
                if through.is_none_or(|through| filled.base >= through) {
                    break;
                }
                self.wait_done(state.next_seq);
                continue;
            }
            if filled.extent {
                perennial_failpoints::site!("wal::flusher::pass_extent");
                self.pass(state, state.next_seq + 1);
                // Its writer has written it; only the sync is ours.
                self.open_segment(state, filled.base)?.dirty =
                    !perennial_failpoints::planted!("extent-not-synced");
                state.unsynced += filled.bytes;
                state.next_seq += 1;
            } else {
                let (run, seqs) = self.gather(state.next_seq, filled);
                perennial_failpoints::site!("wal::flusher::pass");
                self.pass(state, state.next_seq + seqs);
                self.write_run(state, run)?;
                state.next_seq += seqs;
            }
        }
        Ok(())
    }

    fn pass(&self, state: &mut FlushState, seq: u64) {
        self.buffers().pass(self.tail(), &mut state.passed, seq);
    }

    /// As many complete buffers from `seq` on as lie side by side in the ring and in one segment.
    fn gather(&self, seq: u64, first: Filled) -> (Run, u64) {
        let (segment_bytes, ring_bytes) = (self.geometry().segment_bytes, self.tail().ring_bytes());
        let mut run = Run {
            base: first.base,
            end: first.base.plus(first.bytes),
        };
        let mut seqs = 1;
        while let Some(next) = self.buffers().filled(self.tail(), seq + seqs) {
            let fits = next.done
                && !next.extent
                && next.base == run.end
                && !next.base.0.is_multiple_of(ring_bytes)
                && !next.base.0.is_multiple_of(segment_bytes)
                && next.base.0 + next.bytes - run.base.0 <= MAX_WRITE;
            if !fits {
                break;
            }
            run.end = next.base.plus(next.bytes);
            seqs += 1;
        }
        (run, seqs)
    }

    fn write_run(&self, state: &mut FlushState, run: Run) -> Result<()> {
        let geometry = self.geometry();
        self.open_segment(state, run.base)?;
        let complete = state.passed.complete();
        let id = run.base.segment(geometry.segment_bytes);
        let segment = state.open.get_mut(&id).ok_or(WalError::Closed)?;
        let before = segment.collected();
        self.collect_rows(complete, segment, run)?;
        segment.dirty = true;
        let from = align_down(run.base.0, geometry.sector);
        let whole = align_down(run.end.0, geometry.sector).max(from);
        let to = align_up(run.end.0, geometry.sector);
        let offset = Lsn(from).offset(geometry.segment_bytes);
        let bytes = run.end.0 - run.base.0;
        let warm = self.store().keeps_warm(bytes) && bytes > LEAST_WARM && self.keeps_up(run);
        let write = |bytes: &[u8], rest: &[u8]| {
            if warm {
                segment.writer.write_warm(bytes, rest, offset)
            } else {
                segment.writer.write_two(bytes, rest, offset)
            }
        };
        perennial_failpoints::site!("wal::flusher::write");
        let done = if to - from <= MAX_BOUNCE {
            let bytes = self.padded(complete, Lsn(from), run.end, to - from);
            write(&bytes, &[])
        } else {
            // The last sector goes out from a copy, and with the same call: one of its own took a ninth of all time that full
            // speed spends writing.
            let last = self.padded(complete, Lsn(whole), run.end, to - whole);
            self.tail()
                .with_complete(complete, Lsn(from), whole - from, |bytes| {
                    write(bytes, &last)
                })
        };
        if done.is_err() {
            // Where there is room again it is written again.
            segment.collect_from(before);
        }
        done?;
        perennial_failpoints::site!("wal::flusher::written");
        state.unsynced += bytes;
        Ok(())
    }

    /// True while no more than a quarter of the ring waits behind `run`: then there is time for one more copy of it.
    fn keeps_up(&self, run: Run) -> bool {
        self.reserved_end().0.saturating_sub(run.end.0) <= self.tail().ring_bytes() / 4
    }

    /// A private copy of [`from`, `end`) with zeros behind, `bytes` long.
    fn padded(&self, complete: &Complete, from: Lsn, end: Lsn, bytes: u64) -> AlignedBuf {
        let mut buf = AlignedBuf::with_capacity(to_usize(bytes));
        let mut len = end.0 - from.0;
        if perennial_failpoints::planted!("last-sector-of-zeros") {
            len = align_down(len, self.geometry().sector);
        }
        self.tail().with_complete(complete, from, len, |bytes| {
            buf.push(bytes);
        });
        buf.pad_to(to_usize(bytes));
        buf
    }

    /// Reads the headers of the frames about to be written, for the trailer's rows, and makes sure they are what was
    /// reserved: a mapped page that the kernel lost and read back would carry the last lap's frames (PROTOCOL hole 26).
    fn collect_rows(&self, complete: &Complete, segment: &mut OpenSegment, run: Run) -> Result<()> {
        let geometry = self.geometry();
        let seed = self.life().seed_of(run.base, &geometry);
        self.tail()
            .with_complete(complete, run.base, run.end.0 - run.base.0, |bytes| {
                let mut at = 0;
                while at < bytes.len() {
                    let lsn = run.base.plus(at as u64);
                    let offset = lsn.offset(geometry.segment_bytes);
                    let header = FrameHeader::decode(&bytes[at..], seed, offset);
                    if perennial_failpoints::planted!("changed-tail-written") && header.is_err() {
                        return Ok(());
                    }
                    let header = header.map_err(|error| {
                        WalError::io("check", "the tail", lsn.0, std::io::Error::other(error))
                    })?;
                    let len = header.frame_bytes(geometry.sector);
                    if header.has_row() {
                        segment.rows.push(row_of(&header, &bytes[at..], lsn));
                    }
                    if header.is_last_mark() {
                        segment.data_end = Some(offset + len);
                    }
                    at += to_usize(len);
                }
                Ok(())
            })
    }

    fn open_segment<'s>(&self, state: &'s mut FlushState, lsn: Lsn) -> Result<&'s mut OpenSegment> {
        let id = lsn.segment(self.geometry().segment_bytes);
        // About as many as the last one had: a list that doubles takes twice the memory, and leaves holes of all its sizes.
        let rows = state.rows_of_last + state.rows_of_last / 64;
        match state.open.entry(id) {
            Entry::Occupied(open) => Ok(open.into_mut()),
            Entry::Vacant(vacant) => {
                perennial_failpoints::site!("wal::flusher::open_segment");
                let segment = self.store().get(id).ok_or(WalError::Closed)?;
                Ok(vacant.insert(OpenSegment::new(
                    id,
                    self.store().take_writer(&segment)?,
                    Written::of(self.store().was_full(segment.slot)),
                    Vec::with_capacity(rows),
                )))
            }
        }
    }

    /// Syncs every segment written since the last sync, oldest first, and publishes what was written before it began as
    /// stable (PROTOCOL hole 19). Who waits for that is woken when what is returned is dropped: after the flush state.
    pub(crate) fn sync_written(&self, state: &mut FlushState) -> Result<Covered<'_>> {
        let (tail, next) = (self.tail(), state.next_seq);
        let written = self.buffers().end_before(tail, &mut state.passed, next);
        if perennial_failpoints::planted!("trailer-before-data") {
            self.write_trailers(state, written)?;
        }
        let left_out = if perennial_failpoints::planted!("newest-not-contiguous") {
            state.open.len().saturating_sub(1)
        } else {
            0
        };
        let open = state.open.values_mut().skip(left_out);
        for segment in open.filter(|s| s.dirty) {
            perennial_failpoints::site!("wal::flusher::sync");
            if !perennial_failpoints::planted!("commit-wakes-on-write") {
                self.timed_sync(&segment.writer)?;
            }
            perennial_failpoints::site!("wal::flusher::synced");
            segment.dirty = false;
        }
        state.unsynced = 0;
        state.open.retain(|_, segment| !segment.trailer_written);
        // Before the stable LSN says that these segments may be given up: a trailer that came later could be written
        // over what the file's next number has there.
        self.write_trailers(state, written)?;
        Ok(self.publish_stable(state, written))
    }

    fn timed_sync(&self, writer: &Writer) -> Result<()> {
        let Some(watch) = self.watched().get() else {
            return writer.sync();
        };
        let began = watch.now_ns();
        writer.sync()?;
        watch.synced(watch.now_ns().saturating_sub(began));
        Ok(())
    }

    /// Of the segments that have ended and have none yet.
    fn write_trailers(&self, state: &mut FlushState, written: Lsn) -> Result<()> {
        for (id, segment) in &mut state.open {
            if let Some(data_end) = segment.data_end {
                state.rows_of_last = segment.rows.len();
                self.write_trailer(segment, *id, data_end, written)?;
            }
        }
        Ok(())
    }

    fn publish_stable(&self, state: &mut FlushState, written: Lsn) -> Covered<'_> {
        let sector = self.geometry().sector;
        // One sector behind: the next flush begins in the sector where this one ended.
        let floor = if perennial_failpoints::planted!("floor-at-the-stable-lsn") {
            written.0
        } else {
            align_down(written.0, sector).saturating_sub(sector)
        };
        perennial_failpoints::site!("wal::flusher::retire");
        self.buffers().retire(state.next_seq, written);
        self.tail()
            .advance(state.passed.complete_mut(), written, Lsn(floor));
        perennial_failpoints::site!("wal::flusher::publish");
        self.commit().publish(written)
    }

    /// Writes the trailer of a segment whose frames are all synced. The next sync that comes along makes it durable;
    /// nobody waits for that.
    fn write_trailer(
        &self,
        segment: &mut OpenSegment,
        id: SegmentId,
        data_end: u64,
        stable: Lsn,
    ) -> Result<()> {
        let geometry = self.geometry();
        let rows = std::mem::take(&mut segment.rows);
        let trailer = Trailer {
            cache_id: self.life().cache_id,
            number: id,
            incarnation: self.life().incarnation,
            data_end: to_u32(to_usize(data_end)),
            stable,
            rows,
        };
        perennial_failpoints::site!("wal::flusher::trailer");
        let writer = &segment.writer;
        let written =
            trailer.encode_in_pieces(geometry.segment_bytes, geometry.sector, |piece, at| {
                writer.write(piece, at)
            });
        if written.is_err() {
            segment.rows = trailer.rows;
        }
        written?;
        perennial_failpoints::site!("wal::flusher::trailer_written");
        segment.dirty = true;
        segment.trailer_written = true;
        segment.data_end = None;
        Ok(())
    }
}
