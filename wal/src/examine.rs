//! One segment of a found log, read in full and compared with itself: for those who check and change nothing.

use perennial_failpoints::fs::read_exact_at;

use crate::contents::{Contents, FileBytes};
use crate::frame::{FrameError, FrameHeader};
use crate::lsn::{Lsn, to_u32, to_usize};
use crate::segment::{
    FIXED_BYTES, HeaderFound, ROW_BYTES, Row, SegmentHeader, Trailer, zone_begin,
};
use crate::verdict::GapVerdict;
use crate::walk::{FrameItem, GapItem, Item, SegmentBytes};

/// What a segment of the chain is to the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SegmentState {
    /// It has a good trailer.
    Sealed,
    /// It has frames that count, and no trailer.
    Unsealed,
    /// Ready to be written, or given up behind the log's end: nothing in it counts.
    Prepared,
}

/// Damage in a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// One copy of the header; the other one served.
    #[error("a copy of the segment header is damaged; the other one is good")]
    HeaderCopy,
    /// A frame that was on stable storage once.
    #[error("{0}")]
    Frame(FrameError),
    /// A frame proves itself in the tail and not in its segment, where it was stable.
    #[error("{0}; the tail still has it")]
    OnlyInTail(FrameError),
    /// The bytes are, but for one, the trailer that the frames ask for.
    #[error("the trailer is damaged; its frames are good")]
    Trailer,
}

/// A segment of the chain, read in full.
#[derive(Debug)]
pub struct Examined {
    /// The file's slot.
    pub slot: u32,
    /// Its header.
    pub header: SegmentHeader,
    /// What it is to the log.
    pub state: SegmentState,
    /// The frames that count and prove themselves, in the order of the log. None of a prepared segment.
    pub frames: Vec<FrameItem>,
    /// Its trailer, if it is sealed.
    pub trailer: Option<Trailer>,
    /// Where its frames end.
    pub data_end: u64,
    /// What is damaged, and where in the file. Holes of a killed process and what a power loss left are not.
    pub damage: Vec<(u64, Damage)>,
}

/// A trailer that differs from the expected one in so many bytes has rotted. One that differs in more was never
/// written: the bytes are an earlier segment's, or half of a write that a power loss tore.
const ROTTEN_BYTES: usize = 1;

impl Contents<'_> {
    /// Reads the segment at `index` of the chain. Memory: the segment's bytes and its frames.
    #[must_use]
    pub fn examine(&self, index: usize) -> Examined {
        let segment = &self.found.chain[index];
        let mut examined = Examined {
            slot: segment.slot,
            header: segment.header.clone(),
            state: SegmentState::Prepared,
            frames: Vec::new(),
            trailer: None,
            data_end: self.geometry.data_begin(),
            damage: Vec::new(),
        };
        if index < self.segments().len() {
            let file = self.file_bytes(segment, 0..u64::MAX);
            self.examine_frames(index, &file, &mut examined);
            if examined.trailer.is_none()
                && let Some(at) = self.rotten_trailer(&file.bytes, &examined)
            {
                examined.damage.push((at, Damage::Trailer));
            }
        }
        self.examine_header(index, &mut examined);
        examined
    }

    /// Both copies are written at once, so a crash may leave two good ones that differ. A copy that proves nothing is
    /// damage, but for the header that was being written when the power failed: of a segment without frames, at the end.
    fn examine_header(&self, index: usize, examined: &mut Examined) {
        let last = index + 1 == self.found.chain.len();
        if last && examined.frames.is_empty() {
            return;
        }
        let mut zone = vec![0; to_usize(self.geometry.data_begin())];
        let segment = &self.found.chain[index];
        if let Some(file) = self.file(segment) {
            // A zone that the media does not give is damaged as a whole.
            self.read_of(segment, read_exact_at(&*file, &mut zone, 0));
        }
        let copies = SegmentHeader::decode_copies(&zone);
        for (at, copy) in [0, zone.len() as u64 / 2].into_iter().zip(copies) {
            if !matches!(copy, HeaderFound::Good(_)) {
                examined.damage.push((at, Damage::HeaderCopy));
            }
        }
    }

    fn examine_frames(&self, index: usize, file: &FileBytes, examined: &mut Examined) {
        let segment = &self.found.chain[index];
        if let Some(end) = self.ends.iter().find(|end| end.index == index) {
            examined.state = SegmentState::Unsealed;
            for item in &end.items {
                let damaged = matches!(
                    item,
                    Item::Gap(GapItem {
                        verdict: Some(GapVerdict::DamagedKey | GapVerdict::DamagedUnknown),
                        ..
                    })
                );
                self.take_item(item, damaged, &file.bytes, examined);
            }
            examined.data_end = end.end;
            return;
        }
        examined.trailer = self.trailer_of(segment);
        let end = match &examined.trailer {
            Some(trailer) => {
                examined.state = SegmentState::Sealed;
                u64::from(trailer.data_end)
            }
            // Lost in a power cut that kept a later one: all of its frames were stable all the same.
            None => {
                examined.state = SegmentState::Unsealed;
                self.geometry.segment_bytes
            }
        };
        for item in self.walk_bytes(segment, file) {
            if item.lsn().offset(self.geometry.segment_bytes) < end {
                self.take_item(&item, true, &file.bytes, examined);
            }
        }
        if let Some(trailer) = &examined.trailer {
            examined.data_end = u64::from(trailer.data_end);
        }
    }

    /// Takes a frame, or a gap that is damage or is not.
    fn take_item(&self, item: &Item, damaged: bool, file: &[u8], examined: &mut Examined) {
        let segment_bytes = self.geometry.segment_bytes;
        let offset = item.lsn().offset(segment_bytes);
        let why = || {
            let bytes = file.get(to_usize(offset)..).unwrap_or(&[]);
            let seed = examined.header.seed_at(offset);
            FrameHeader::decode_whole(bytes, seed, offset).err()
        };
        match item {
            Item::Frame(frame) => {
                let end = offset + frame.bytes;
                if frame.in_ring && self.is_stable(&examined.header, end) {
                    let why = why().map(Damage::OnlyInTail);
                    examined.damage.extend(why.map(|why| (offset, why)));
                }
                examined.data_end = end;
                examined.frames.push(*frame);
            }
            Item::Gap(_) if damaged => {
                let why = why().unwrap_or(FrameError::Impossible);
                examined.damage.push((offset, Damage::Frame(why)));
            }
            Item::Gap(_) => {}
        }
    }

    fn is_stable(&self, header: &SegmentHeader, end: u64) -> bool {
        Lsn(header.number.0 * self.geometry.segment_bytes + end) <= self.stable
    }

    /// Where the bytes are nearly, and not quite, the trailer of these frames. Nothing else tells a trailer that rotted
    /// from one that a crash did not let happen, and both cost nothing but a walk.
    fn rotten_trailer(&self, file: &[u8], examined: &Examined) -> Option<u64> {
        let (segment_bytes, sector) = (self.geometry.segment_bytes, self.geometry.sector);
        let rows: Vec<_> = examined.rows().collect();
        let begin = zone_begin(rows.len() as u64, segment_bytes, sector);
        let found = file.get(to_usize(begin)..)?;
        if Trailer::decode(found).is_some() {
            // Of an earlier segment in this file.
            return None;
        }
        let count = rows.len() as u64;
        let expected = Trailer {
            cache_id: examined.header.cache_id,
            number: examined.header.number,
            incarnation: 0,
            data_end: to_u32(to_usize(examined.data_end)),
            stable: Lsn(0),
            rows,
        };
        let expected = expected.encode(segment_bytes, sector);
        let fixed = expected.len() - to_usize(FIXED_BYTES);
        let rows_at = fixed - to_usize(count * ROW_BYTES);
        // What the frames do not tell: crc, incarnation, stable LSN.
        let unknown = [8..12, 32..40, 48..56].map(|r| fixed + r.start..fixed + r.end);
        let differ: Vec<usize> = (rows_at..expected.len())
            .filter(|at| found[*at] != expected[*at])
            .filter(|at| !unknown.iter().any(|range| range.contains(at)))
            .take(ROTTEN_BYTES + 1)
            .collect();
        let first = differ.first().copied().unwrap_or(fixed + 8);
        (differ.len() <= ROTTEN_BYTES).then_some(begin + first as u64)
    }

    /// The segment at `index` of the chain, read no further than needed.
    #[must_use]
    pub fn outline(&self, index: usize) -> Outline {
        let segment = &self.found.chain[index];
        let outline = |state, rows: usize, data_end| Outline {
            slot: segment.slot,
            header: segment.header.clone(),
            state,
            rows: rows as u64,
            data_end,
        };
        if index >= self.segments().len() {
            return outline(SegmentState::Prepared, 0, self.geometry.data_begin());
        }
        if let Some(end) = self.ends.iter().find(|end| end.index == index) {
            return outline(SegmentState::Unsealed, end.rows().len(), end.end);
        }
        if let Some(trailer) = self.trailer_of(segment) {
            let data_end = u64::from(trailer.data_end);
            return outline(SegmentState::Sealed, trailer.rows.len(), data_end);
        }
        let examined = self.examine(index);
        let rows = examined.rows().count();
        outline(examined.state, rows, examined.data_end)
    }
}

/// Kept segments: no place of theirs is told by the log, and what counts in them is what an index points at.
impl Contents<'_> {
    /// The frames of the kept segment at `index` that prove themselves, whether or not anything points at them. Memory:
    /// the segment's bytes and its frames.
    #[must_use]
    pub fn kept_frames(&self, index: usize) -> Vec<FrameItem> {
        let segment = &self.found.kept[index];
        let file = self.file_bytes(segment, 0..u64::MAX);
        let walk = SegmentBytes {
            header: &segment.header,
            file: &file.bytes,
            unread: &file.unread,
            ring: &[],
            reserved_to: u64::MAX,
        };
        let frames = walk.walk().into_iter().filter_map(|item| match item {
            Item::Frame(frame) => Some(frame),
            Item::Gap(_) => None,
        });
        frames.collect()
    }

    /// The kept segment at `index`, read no further than needed.
    #[must_use]
    pub fn outline_kept(&self, index: usize) -> Outline {
        let segment = &self.found.kept[index];
        let outline = |state, rows: usize, data_end| Outline {
            slot: segment.slot,
            header: segment.header.clone(),
            state,
            rows: rows as u64,
            data_end,
        };
        if let Some(trailer) = self.trailer_of(segment) {
            let data_end = u64::from(trailer.data_end);
            return outline(SegmentState::Sealed, trailer.rows.len(), data_end);
        }
        let frames = self.kept_frames(index);
        let end = frames.last().map_or(self.geometry.data_begin(), |frame| {
            frame.lsn.offset(self.geometry.segment_bytes) + frame.bytes
        });
        outline(SegmentState::Unsealed, frames.len(), end)
    }
}

/// What a segment is, in short.
#[derive(Debug, Clone)]
pub struct Outline {
    /// The file's slot.
    pub slot: u32,
    /// Its header.
    pub header: SegmentHeader,
    /// What it is to the log.
    pub state: SegmentState,
    /// Frames that say something of a key, and heads of checkpoints.
    pub rows: u64,
    /// Where its frames end.
    pub data_end: u64,
}

impl Examined {
    /// The rows that the frames ask for, in the order of the log.
    pub fn rows(&self) -> impl Iterator<Item = Row> {
        self.frames.iter().filter_map(|frame| frame.row)
    }
}
