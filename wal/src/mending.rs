//! What is to be written where a segment is damaged, so that it proves itself again and says no more than it did.
//!
//! ```text
//!   one bit of a header, or of a frame of our own   it is flipped back
//!   a frame that the ring still has                 the ring's bytes
//!   an entry whose key is known                     a Remove of the key over the same bytes
//!   a part, a head, a move, an extent               a Pad over the same bytes
//!   anything in a sealed segment                    what the trailer's rows say was there, each as above
//!   anything else                                   a Pad that forgets
//! ```
//! In place: positions stay, and with them what points at undamaged frames. The last three are what a recovery does
//! with the same bytes (`docs/recovery.md`, the tables), so nothing shows afterwards that did not before.

use std::collections::HashSet;
use std::fmt;

use crate::contents::Contents;
use crate::flipped::flipped_in_frame;
use crate::frame::{FrameHeader, FrameKind, HEADER_BYTES, flags};
use crate::lsn::{Lsn, to_u32, to_usize};
use crate::rows::row_of;
use crate::scan::ChainSegment;
use crate::segment::{Row, SegmentHeader, Trailer, zone_begin};
use crate::walk::{FrameItem, GapItem, in_ring};

/// Bytes that go where damage is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Patch {
    /// Where in the file.
    pub offset: u64,
    /// What is written there.
    pub bytes: Vec<u8>,
    /// What that does.
    pub remedy: Remedy,
}

/// What a [`Patch`] does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remedy {
    /// A structure that is there twice is written again from its other copy.
    FromCopy,
    /// A frame is written again from the tail.
    FromTail,
    /// One bit is flipped back: no other one makes the frame prove itself.
    FlippedBack,
    /// The damaged entry is forgotten, and no older version of it shows.
    Forgotten,
    /// Nobody can tell which entry it was: everything older is forgotten.
    OlderForgotten,
    /// A frame that is no entry is given up.
    GivenUp,
    /// A trailer is written again from its frames.
    FromFrames,
}

impl fmt::Display for Remedy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::FromCopy => "write it again from the good copy",
            Self::FromTail => "write it again from the tail",
            Self::FlippedBack => "flip the one bit back without which it proves itself",
            Self::Forgotten => "forget the entry",
            Self::OlderForgotten => "forget everything older, as an open would",
            Self::GivenUp => "give its place up",
            Self::FromFrames => "write the trailer again from the frames",
        })
    }
}

/// A damaged place of a segment, and what is known of it.
pub(crate) struct Place<'a> {
    pub(crate) segment: &'a ChainSegment,
    /// The segment's file.
    pub(crate) file: &'a [u8],
    pub(crate) gap: &'a GapItem,
    /// Frames that lay in it have to end there at the latest.
    pub(crate) limit: u64,
    /// What a trailer says was there; `None` without one.
    pub(crate) rows: Option<Vec<Row>>,
}

impl Contents<'_> {
    /// The frame that the ring has where the file has another.
    pub(crate) fn patch_from_ring(&self, at: u64, frame: &FrameItem) -> Patch {
        let bytes = in_ring(self.ring(), frame.lsn)[..to_usize(frame.bytes)].to_vec();
        Patch {
            offset: at,
            bytes,
            remedy: Remedy::FromTail,
        }
    }

    /// What takes the place of damage in a segment of the log or a kept one.
    pub(crate) fn patch_gap(&self, place: &Place<'_>) -> Option<Patch> {
        self.patch_flipped(place)
            .or_else(|| self.patch_flipped_in_ring(place))
            .or_else(|| self.stand_ins(place))
    }

    fn patch_flipped(&self, place: &Place<'_>) -> Option<Patch> {
        let at = place.at(self);
        let patch = patch_flipped_at(&place.segment.header, place.file, at);
        patch.filter(|patch| self.rows_agree(place, patch) == Some(true))
    }

    /// Whether a trailer has the frame that a flipped bit makes. One of an earlier lap, which a lost write left, it has not.
    fn rows_agree(&self, place: &Place<'_>, patch: &Patch) -> Option<bool> {
        let (at, header) = (place.at(self), &place.segment.header);
        let Some(rows) = place.rows.as_ref().filter(|_| header.kept.is_none()) else {
            return Some(true);
        };
        let mut frame = place.file.get(to_usize(at)..)?.to_vec();
        *frame.get_mut(to_usize(patch.offset - at))? = *patch.bytes.first()?;
        let found = FrameHeader::decode(&frame, header.seed_at(at), at).ok()?;
        Some(if found.has_row() {
            rows.contains(&row_of(&found, &frame, place.gap.lsn))
        } else {
            rows.is_empty()
        })
    }

    /// The ring has all of a frame that never came to its segment.
    fn patch_flipped_in_ring(&self, place: &Place<'_>) -> Option<Patch> {
        let (at, seed) = (place.at(self), place.segment.header.seed_at(place.at(self)));
        let mut bytes = in_ring(self.ring(), place.gap.lsn).to_vec();
        let flipped = flipped_in_frame(&bytes, seed, at)?;
        bytes[flipped.at] = flipped.byte;
        let header = FrameHeader::decode_whole(&bytes, seed, at).ok()?;
        bytes.truncate(to_usize(header.frame_bytes(self.geometry.sector)));
        Some(Patch {
            offset: at,
            bytes,
            remedy: Remedy::FlippedBack,
        })
    }

    /// Frames that say no more than is known of those that lay there.
    fn stand_ins(&self, place: &Place<'_>) -> Option<Patch> {
        let (at, header) = (place.at(self), &place.segment.header);
        let known = place
            .file
            .get(to_usize(at)..)
            .and_then(|bytes| FrameHeader::decode(bytes, header.seed_at(at), at).ok())
            .map(|found| match found.kind {
                // Nothing but the index refers to an extent there: it is an entry like any other.
                FrameKind::Extent if header.kept.is_some() => (FrameKind::Put, found.hash),
                kind => (kind, found.hash),
            })
            .or_else(|| Some((FrameKind::Put, place.gap.key?)));
        let mut frames = match (known, &place.rows) {
            (Some((kind, hash)), _) => vec![(at, stand_in_for(kind, hash))],
            (None, Some(rows)) => self.stand_ins_for_rows(at, rows),
            (None, None) => vec![(at, Some((FrameKind::Pad, flags::FORGET, 0)))],
        };
        let remedy = remedy_of(&frames);
        // Nothing comes behind: a header is enough, as for a recovery, where nothing was stable.
        let end = if place.gap.trailing && place.rows.is_none() {
            let stable = self.stable.0.saturating_sub(place.gap.lsn.0);
            let rest = place.limit.min(self.geometry.segment_bytes);
            at.saturating_add(stable).min(rest).max(at + HEADER_BYTES)
        } else {
            let end = place.gap.end.0 - place.gap.lsn.0 + at;
            end.min(place.limit)
        };
        if end == place.limit {
            end_with_mark(&mut frames, end);
        }
        let last = frames.last()?.0 + HEADER_BYTES;
        let mut bytes = place.file.get(to_usize(at)..to_usize(last))?.to_vec();
        let ends = frames.iter().skip(1).map(|(at, _)| *at).chain([end]);
        for ((begin, stand_in), end) in frames.iter().zip(ends) {
            let filler = end.checked_sub(begin + HEADER_BYTES)?;
            let (kind, flags, hash) = stand_in.unwrap_or((FrameKind::Pad, 0, 0));
            let frame = FrameHeader::filler(kind, flags, hash, to_u32(to_usize(filler)));
            let from = to_usize(begin - at);
            bytes[from..from + to_usize(HEADER_BYTES)]
                .copy_from_slice(&frame.encode(header.seed_at(*begin), *begin));
        }
        Some(Patch {
            offset: at,
            bytes,
            remedy,
        })
    }

    /// Each at its own place, for pointers that name it; a reference's row does not tell its place.
    fn stand_ins_for_rows(&self, at: u64, rows: &[Row]) -> Vec<(u64, StandIn)> {
        let segment_bytes = self.geometry.segment_bytes;
        let mut free = at;
        let mut frames = Vec::with_capacity(rows.len() + 1);
        for row in rows {
            let own = row.target.position().offset(segment_bytes);
            let begin = if row.kind == FrameKind::Ref {
                free
            } else {
                own
            };
            if frames.is_empty() && begin > at {
                frames.push((at, None));
            }
            frames.push((begin, stand_in_for(row.kind, row.hash)));
            free = begin + HEADER_BYTES;
        }
        if frames.is_empty() {
            frames.push((at, None));
        }
        frames
    }

    /// A filler over the frame `found` at `lsn`, which proves itself and points at what is not there any more: of its key,
    /// which is forgotten, where it has one.
    #[must_use]
    pub fn give_up(&self, lsn: Lsn, found: &FrameHeader) -> Option<Patch> {
        let segment_bytes = self.geometry.segment_bytes;
        let (number, at) = (lsn.segment(segment_bytes), lsn.offset(segment_bytes));
        let mut chain = self.found.chain.iter();
        let segment = chain.find(|segment| segment.header.number == number)?;
        let stand_in = stand_in_for(found.kind, found.hash);
        let (kind, flags, hash) = stand_in.unwrap_or((FrameKind::Pad, 0, 0));
        let filler = found.frame_bytes(self.geometry.sector) - HEADER_BYTES;
        let frame = FrameHeader::filler(kind, flags, hash, to_u32(to_usize(filler)));
        Some(Patch {
            offset: at,
            bytes: frame.encode(segment.header.seed_at(at), at).to_vec(),
            remedy: remedy_of(&[(at, stand_in)]),
        })
    }

    /// The trailer that these frames ask for; `None` where it does not fit behind them.
    pub(crate) fn patch_trailer(
        &self,
        header: &SegmentHeader,
        data_end: u64,
        rows: Vec<Row>,
    ) -> Option<Patch> {
        let (segment_bytes, sector) = (self.geometry.segment_bytes, self.geometry.sector);
        let offset = zone_begin(rows.len() as u64, segment_bytes, sector);
        let trailer = Trailer {
            cache_id: header.cache_id,
            number: header.number,
            incarnation: header.joins.last()?.incarnation,
            data_end: to_u32(to_usize(data_end)),
            // The log's own frames alone were stable when theirs was written.
            stable: if header.kept.is_some() {
                header.stable
            } else {
                Lsn::new(header.number, data_end, segment_bytes)
            },
            rows,
        };
        (offset >= data_end).then(|| Patch {
            offset,
            bytes: trailer.encode(segment_bytes, sector),
            remedy: Remedy::FromFrames,
        })
    }
}

/// The one bit that flipped in a frame at `at` in a segment's file.
pub(crate) fn patch_flipped_at(header: &SegmentHeader, file: &[u8], at: u64) -> Option<Patch> {
    let bytes = file.get(to_usize(at)..)?;
    let flipped = flipped_in_frame(bytes, header.seed_at(at), at)?;
    Some(Patch {
        offset: at + flipped.at as u64,
        bytes: vec![flipped.byte],
        remedy: Remedy::FlippedBack,
    })
}

impl Place<'_> {
    fn at(&self, contents: &Contents<'_>) -> u64 {
        self.gap.lsn.offset(contents.geometry.segment_bytes)
    }
}

/// Kind, flags and hash of a filler that says something; `None`: it says nothing.
type StandIn = Option<(FrameKind, u8, u64)>;

/// A sealed segment ends with a mark that says so: without it the unwritten rest would look like damage once its trailer rots.
fn end_with_mark(frames: &mut Vec<(u64, StandIn)>, end: u64) {
    let mark = Some((FrameKind::Mark, flags::LAST, 0));
    match frames.last_mut() {
        Some((begin, _)) if *begin + 2 * HEADER_BYTES <= end => {
            frames.push((end - HEADER_BYTES, mark));
        }
        Some((_, nothing @ None)) => *nothing = mark,
        _ => {}
    }
}

/// What takes the place of a frame of which kind and hash are known.
fn stand_in_for(kind: FrameKind, hash: u64) -> StandIn {
    match kind {
        FrameKind::Put | FrameKind::Ref | FrameKind::Remove => Some((FrameKind::Remove, 0, hash)),
        // What it left nobody can tell; and a pad with a row is one that forgets.
        FrameKind::Clear | FrameKind::Pad => Some((FrameKind::Pad, flags::FORGET, 0)),
        FrameKind::Mark
        | FrameKind::Extent
        | FrameKind::Part
        | FrameKind::Head
        | FrameKind::Move => None,
    }
}

fn remedy_of(frames: &[(u64, StandIn)]) -> Remedy {
    let has = |kind| {
        let mut kinds = frames.iter().filter_map(|(_, stand_in)| *stand_in);
        kinds.any(|(found, ..)| found == kind)
    };
    if has(FrameKind::Pad) {
        Remedy::OlderForgotten
    } else if has(FrameKind::Remove) {
        Remedy::Forgotten
    } else {
        Remedy::GivenUp
    }
}

/// Rows of a trailer whose frames are not there, which lay in this gap. What a repair that did not come to its end put there has a row of its
/// own, which the trailer has not: taken for the next frame that the trailer names, it hid all rows behind it, and what they had
/// replaced showed again.
pub(crate) fn rows_lost_in(gap: &GapItem, rows: &[Row], frames: &[FrameItem]) -> Vec<Row> {
    let known: HashSet<&Row> = rows.iter().collect();
    let in_rows = |frame: &&FrameItem| frame.row.is_some_and(|row| known.contains(&row));
    let mut frames = frames.iter().filter(in_rows).peekable();
    let mut before = Lsn(0);
    let mut lost = Vec::new();
    for row in rows {
        if let Some(frame) = frames.next_if(|frame| frame.row == Some(*row)) {
            before = frame.lsn;
            continue;
        }
        let behind = frames.peek().map_or(Lsn(u64::MAX), |frame| frame.lsn);
        let own = row.target.position();
        let here = row.kind == FrameKind::Ref || (gap.lsn <= own && own < gap.end);
        if here && before < gap.lsn && gap.lsn < behind {
            lost.push(*row);
        }
    }
    lost
}
