//! One segment of a found log, read in full and compared with itself: for those who check and change nothing.

mod kept;
mod structures;

use crate::contents::{Contents, FileBytes};
use crate::frame::{FrameError, FrameHeader};
use crate::lsn::{Lsn, to_usize};
use crate::mending::{Patch, Place, rows_lost_in};
use crate::scan::ChainSegment;
use crate::segment::{Row, SegmentHeader, Trailer};
use crate::verdict::GapVerdict;
use crate::walk::{FrameItem, GapItem, Item};

pub use kept::ExaminedKept;

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

/// A damaged place of a segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damaged {
    /// Where in the file.
    pub offset: u64,
    /// What is wrong.
    pub damage: Damage,
    /// What would mend it.
    pub patch: Option<Patch>,
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
    /// What is damaged. Holes of a killed process and what a power loss left are not.
    pub damage: Vec<Damaged>,
}

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
            if examined.trailer.is_none() {
                let (header, end) = (&examined.header, examined.data_end);
                let rows = examined.rows().collect();
                let rotten = self.rotten_trailer(&file.bytes, header, rows, end);
                examined.damage.extend(rotten);
            }
        }
        self.examine_header(index, &mut examined);
        examined
    }

    /// Both copies are written at once, so a crash may leave two good ones that differ. A copy that proves nothing is
    /// damage, but for zeros in the header that was being written for the first time when the power failed: of a segment
    /// without frames, at the end.
    fn examine_header(&self, index: usize, examined: &mut Examined) {
        let last = index + 1 == self.found.chain.len();
        let may_be_torn = last && examined.frames.is_empty();
        let segment = &self.found.chain[index];
        examined
            .damage
            .extend(self.damaged_copies(segment, may_be_torn));
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
                let gap = self.take_item(item, damaged, &file.bytes, examined);
                let place = gap.as_ref().map(|gap| Place {
                    segment,
                    file: &file.bytes,
                    gap,
                    limit: u64::MAX,
                    rows: None,
                });
                examined
                    .damage
                    .extend(place.map(|place| self.damaged_gap(&place)));
            }
            examined.data_end = end.end;
            return;
        }
        examined.trailer = self.trailer_of(segment);
        let mut gaps = Vec::new();
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
                gaps.extend(self.take_item(&item, true, &file.bytes, examined));
            }
        }
        if let Some(trailer) = &examined.trailer {
            examined.data_end = u64::from(trailer.data_end);
        }
        let rows = examined.trailer.as_ref().map(|trailer| &trailer.rows[..]);
        let lost = |gap| Some(rows_lost_in(gap, rows?, &examined.frames));
        let found = gaps.iter().map(|gap| {
            let place = Place {
                segment,
                file: &file.bytes,
                gap,
                limit: end,
                rows: lost(gap),
            };
            self.damaged_gap(&place)
        });
        let found: Vec<Damaged> = found.collect();
        examined.damage.extend(found);
    }

    /// Takes a frame, or a gap that is damage or is not. Returns one that is.
    fn take_item(
        &self,
        item: &Item,
        damaged: bool,
        file: &[u8],
        examined: &mut Examined,
    ) -> Option<GapItem> {
        let frame = match item {
            Item::Frame(frame) => frame,
            Item::Gap(gap) => return damaged.then_some(*gap),
        };
        let offset = frame.lsn.offset(self.geometry.segment_bytes);
        let end = offset + frame.bytes;
        if frame.in_ring && self.is_stable(&examined.header, end) {
            let why = why_not(&examined.header, file, offset);
            examined.damage.extend(why.map(|why| Damaged {
                offset,
                damage: Damage::OnlyInTail(why),
                patch: Some(self.patch_from_ring(offset, frame)),
            }));
        }
        examined.data_end = end;
        examined.frames.push(*frame);
        None
    }

    fn damaged_gap(&self, place: &Place<'_>) -> Damaged {
        let offset = place.gap.lsn.offset(self.geometry.segment_bytes);
        let why = why_not(&place.segment.header, place.file, offset);
        Damaged {
            offset,
            damage: Damage::Frame(why.unwrap_or(FrameError::Impossible)),
            patch: self.patch_gap(place),
        }
    }

    fn is_stable(&self, header: &SegmentHeader, end: u64) -> bool {
        Lsn(header.number.0 * self.geometry.segment_bytes + end) <= self.stable
    }

    /// The trailer that the frames of a sealed segment ask for, with what its own says besides.
    #[must_use]
    pub fn trailer_of_frames(&self, examined: &Examined) -> Option<Patch> {
        self.patch_trailer(
            &examined.header,
            examined.data_end,
            examined.rows().collect(),
        )
    }

    /// The segment at `index` of the chain, read no further than needed.
    #[must_use]
    pub fn outline(&self, index: usize) -> Outline {
        let segment = &self.found.chain[index];
        let outline = |state, rows, data_end| Outline::of(segment, state, rows, data_end);
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

impl Outline {
    fn of(segment: &ChainSegment, state: SegmentState, rows: usize, data_end: u64) -> Self {
        Self {
            slot: segment.slot,
            header: segment.header.clone(),
            state,
            rows: rows as u64,
            data_end,
        }
    }
}

/// Why the frame at `offset` of a segment's file does not prove itself.
fn why_not(header: &SegmentHeader, file: &[u8], offset: u64) -> Option<FrameError> {
    let bytes = file.get(to_usize(offset)..).unwrap_or(&[]);
    FrameHeader::decode_whole(bytes, header.seed_at(offset), offset).err()
}

impl Examined {
    /// The rows that the frames ask for, in the order of the log.
    pub fn rows(&self) -> impl Iterator<Item = Row> {
        self.frames.iter().filter_map(|frame| frame.row)
    }
}
