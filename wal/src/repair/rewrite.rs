//! Step 1: what was accepted above the stable LSN is written to its segment again, item by item.
//!
//! ```text
//!   items:   frame ─────────── its bytes in the file, proved again
//!            frame in the ring its bytes there
//!            hole, damage ──── a frame that stands for it, then what lies there
//!               └─► pieces of a MiB, whole sectors ─► the segment
//! ```
//! What was read of the file must still prove itself: a read that fails now gives zeros, and these must not be written over
//! frames that counted. A piece is written before the next one is looked at: it repeats what is there.

use super::{StandIn, stand_in};
use crate::aligned::AlignedBuf;
use crate::contents::{Contents, OpenEnd, Window};
use crate::error::{Result, WalError};
use crate::frame::{FrameHeader, HEADER_BYTES};
use crate::geometry::Geometry;
use crate::lsn::{align_down, align_up, to_usize};
use crate::scan::ChainSegment;
use crate::segment::{SegmentStore, Writer};
use crate::walk::{Item, ReadFile, in_ring};

/// Bytes written at a time, but for the last.
const PIECE_BYTES: u64 = 1 << 20;

impl Contents<'_> {
    /// Step 1 for one segment.
    pub(super) fn rewrite(
        &self,
        store: &SegmentStore,
        geometry: Geometry,
        end: &OpenEnd,
    ) -> Result<()> {
        let Some(from) = self.first_to_write(geometry, end) else {
            return Ok(());
        };
        if perennial_failpoints::planted!("end-not-written-again") {
            return Ok(());
        }
        let segment = &self.found.chain[end.index];
        if perennial_failpoints::planted!("what-reads-well-is-trusted") && reads_well(end) {
            return store.writer(segment.slot)?.sync();
        }
        let from = align_down(from, geometry.sector);
        let begin = |item: &Item| item.lsn().offset(geometry.segment_bytes);
        // The one that reaches across is proved with the rest.
        let first = end.items.partition_point(|item| begin(item) <= from);
        let items = &end.items[first.saturating_sub(1)..];
        let first = items.first().map_or(end.end, begin);
        let mut file = Window::new(self, segment, end.end);
        let out = Out {
            writer: store.writer(segment.slot)?,
            from,
            piece: AlignedBuf::with_capacity(to_usize(PIECE_BYTES.max(geometry.sector))),
            at: from,
        };
        std::thread::scope(|scope| {
            file.read_ahead(scope, first.min(from));
            let mut rewriting = Rewriting {
                contents: self,
                segment,
                file,
                out,
            };
            rewriting.copy(from, first)?;
            for (at, item) in items.iter().enumerate() {
                let stop = items.get(at + 1).map_or(end.end, begin);
                rewriting.item(item, begin(item), stop)?;
            }
            rewriting.out.finish(geometry)
        })
    }
}

/// Nothing but what the file has is to be written.
fn reads_well(end: &OpenEnd) -> bool {
    end.items.iter().all(|item| match item {
        Item::Frame(frame) => !frame.in_ring,
        Item::Gap(gap) => stand_in(gap).is_none(),
    })
}

struct Rewriting<'a, 'c> {
    contents: &'a Contents<'c>,
    segment: &'a ChainSegment,
    file: Window<'a, 'c>,
    out: Out,
}

impl Rewriting<'_, '_> {
    /// An item that begins at `at`; what lies at `stop` is the next one's.
    fn item(&mut self, item: &Item, at: u64, stop: u64) -> Result<()> {
        let mut head = Vec::new();
        match item {
            Item::Frame(frame) if frame.in_ring => {
                let bytes = to_usize(frame.bytes.min(stop - at));
                head.extend_from_slice(&in_ring(self.contents.tail.ring, frame.lsn)[..bytes]);
            }
            Item::Frame(frame) => self.prove(at, &frame.header)?,
            Item::Gap(gap) => {
                if let Some(StandIn(header)) = stand_in(gap) {
                    head.extend(header.encode(self.segment.header.seed_at(at), at));
                }
            }
        }
        self.out.push(at, &head)?;
        self.copy(at + head.len() as u64, stop)
    }

    fn prove(&mut self, at: u64, header: &FrameHeader) -> Result<()> {
        let bytes = self.file.at(at, HEADER_BYTES + header.body_bytes());
        let seed = self.segment.header.seed_at(at);
        let proved = FrameHeader::decode_whole(bytes, seed, at);
        self.contents.check_read()?;
        proved.map(drop).map_err(|error| {
            let what = format!("segment {}", self.segment.header.number);
            WalError::io("read again", what, at, std::io::Error::other(error))
        })
    }

    /// What the file has there.
    fn copy(&mut self, at: u64, stop: u64) -> Result<()> {
        let mut at = at.max(self.out.from);
        while at < stop {
            let bytes = (stop - at).min(PIECE_BYTES);
            let have = &self.file.at(at, bytes)[..to_usize(bytes)];
            self.contents.check_read()?;
            self.out.push(at, have)?;
            at += bytes;
        }
        Ok(())
    }
}

/// What is written.
struct Out {
    writer: Writer,
    /// What lies before is left alone.
    from: u64,
    piece: AlignedBuf,
    /// Where the piece goes.
    at: u64,
}

impl Out {
    /// Bytes that belong at `at`, as many of them as are not before the beginning.
    fn push(&mut self, at: u64, bytes: &[u8]) -> Result<()> {
        let skipped = to_usize(self.from.saturating_sub(at)).min(bytes.len());
        let mut bytes = &bytes[skipped..];
        while !bytes.is_empty() {
            let (fits, rest) = bytes.split_at(self.piece.room().min(bytes.len()));
            self.piece.push(fits);
            bytes = rest;
            if self.piece.room() == 0 {
                self.put()?;
            }
        }
        Ok(())
    }

    fn put(&mut self) -> Result<()> {
        perennial_failpoints::site!("wal::repair::write");
        self.writer.write(&self.piece, self.at)?;
        self.at += self.piece.len() as u64;
        self.piece.clear();
        Ok(())
    }

    fn finish(mut self, geometry: Geometry) -> Result<()> {
        let len = align_up(self.piece.len() as u64, geometry.sector);
        self.piece.pad_to(to_usize(len));
        if len > 0 {
            self.put()?;
        }
        perennial_failpoints::site!("wal::repair::sync");
        self.writer.sync()
    }
}
