//! Frames from where the index says that they lie: the tail as it was read at the open, then the segment's file, which may hold
//! another segment by now.
//!
//! A frame at a place of a numbered segment never changes, so it does not matter which copy proves itself. A file that is used
//! again gets its new header before anything else is written into it: where a frame does not prove itself, the header tells
//! what was reclaimed from what is damaged.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use perennial_failpoints::fs::{Dir, OpenMode, read_exact_at};
use perennial_wal::frame::{FrameHeader, HEADER_BYTES, Seed};
use perennial_wal::segment::{HeaderFound, SegmentHeader, file_name};
use perennial_wal::{Addr, ChainSegment, Geometry, SegmentId, to_usize};

use crate::heads::Spot;
use crate::index::size_class;

/// Why a read gives nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Missed {
    /// There is no such entry.
    Absent,
    /// The file holds something else by now.
    Recycled,
    /// The bytes do not prove themselves.
    Damaged,
    /// This build does not have the codec.
    NoCodec,
    /// The system refuses.
    Failed,
}

pub(super) type Read<T> = Result<T, Missed>;

/// A frame's header, and its first bytes or all.
pub(super) type Frame = (FrameHeader, Vec<u8>);

/// A frame that proves itself, header and body.
fn whole(frame: &[u8], seed: Seed, offset: u64) -> Option<Frame> {
    let header = FrameHeader::decode_whole(frame, seed, offset).ok()?;
    let end = to_usize(HEADER_BYTES + header.body_bytes());
    Some((header, frame.get(..end)?.to_vec()))
}

/// The files of a cache as they were found, and the tail.
pub(super) struct Files {
    pub(super) dir: Arc<dyn Dir>,
    pub(super) geometry: Geometry,
    /// Those that count, of the log and kept.
    pub(super) segments: BTreeMap<SegmentId, ChainSegment>,
    /// Empty where everything is in the files.
    pub(super) ring: Vec<u8>,
}

impl Files {
    /// The whole frame of an entry.
    pub(super) fn frame(&self, spot: &Spot) -> Read<Frame> {
        let bytes = to_usize(u64::from(size_class::class_bound(spot.class)));
        self.proved(spot, bytes, whole)
    }

    /// Its header, and so many of its first bytes, or as many as it has. What they say beside the header is not proved.
    pub(super) fn head(&self, spot: &Spot, bytes: usize) -> Read<Frame> {
        self.proved(spot, bytes, |frame, seed, offset| {
            let header = FrameHeader::decode(frame, seed, offset).ok()?;
            let end = to_usize(HEADER_BYTES + header.body_bytes());
            Some((header, frame[..end.min(frame.len())].to_vec()))
        })
    }

    /// The whole frame where the tail has it, else what `prove` makes of the first bytes of its place in the file.
    fn proved(
        &self,
        spot: &Spot,
        bytes: usize,
        prove: impl Fn(&[u8], Seed, u64) -> Option<Frame>,
    ) -> Read<Frame> {
        let segment = self.segment(spot.addr).ok_or(Missed::Absent)?;
        let offset = spot.addr.position().offset(self.geometry.segment_bytes);
        let seed = segment.header.seed_at(offset);
        let in_ring = self.in_ring(spot.addr);
        if let Some(found) = in_ring.and_then(|frame| whole(frame, seed, offset)) {
            return Ok(found);
        }
        let frame = self.read(segment, offset, bytes)?;
        prove(&frame, seed, offset).ok_or_else(|| self.why_not(segment))
    }

    /// The segment that an address lies in, if it counts.
    pub(super) fn segment(&self, addr: Addr) -> Option<&ChainSegment> {
        let number = addr.position().segment(self.geometry.segment_bytes);
        let segment = self.segments.get(&number)?;
        (segment.header.kept.is_some() == addr.is_kept()).then_some(segment)
    }

    fn in_ring(&self, addr: Addr) -> Option<&[u8]> {
        let at = to_usize(addr.position().0).checked_rem(self.ring.len())?;
        (!addr.is_kept()).then(|| &self.ring[at..])
    }

    /// Bytes of a segment's file, no more than it has.
    pub(super) fn read(&self, segment: &ChainSegment, offset: u64, bytes: usize) -> Read<Vec<u8>> {
        let rest = self.geometry.segment_bytes.saturating_sub(offset);
        let mut frame = vec![0; bytes.min(to_usize(rest))];
        match self.read_at(segment, &mut frame, offset) {
            Ok(()) => Ok(frame),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(Missed::Recycled),
            Err(error) => {
                tracing::warn!(segment = %segment.header.number, %error, "a read failed");
                Err(Missed::Failed)
            }
        }
    }

    fn read_at(&self, segment: &ChainSegment, into: &mut [u8], offset: u64) -> io::Result<()> {
        let file = self.dir.open(&file_name(segment.slot), OpenMode::Read)?;
        read_exact_at(&*file, into, offset)
    }

    /// Why a frame does not prove itself in this segment's file.
    pub(super) fn why_not(&self, segment: &ChainSegment) -> Missed {
        let mut zone = vec![0; to_usize(self.geometry.data_begin())];
        match self.read_at(segment, &mut zone, 0) {
            Ok(()) => match SegmentHeader::decode(&zone) {
                HeaderFound::Good(now) if now.number == segment.header.number => Missed::Damaged,
                _ => Missed::Recycled,
            },
            Err(_) => Missed::Failed,
        }
    }
}
