//! A segment without a trailer, read frame by frame. Pure: bytes in, items out.

use std::ops::Range;

use crate::frame::{FrameHeader, FrameKind, HEADER_BYTES, names_place};
use crate::lsn::{ALIGN, Lsn, align_up, to_usize};
use crate::rows::row_of;
use crate::segment::{FIXED_BYTES, Row, SegmentHeader};
use crate::verdict::GapVerdict;

/// One step of the walk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Item {
    /// A frame that proves itself.
    Frame(FrameItem),
    /// Bytes where a frame should be and none proves itself.
    Gap(GapItem),
}

impl Item {
    /// Where it begins.
    #[must_use]
    pub const fn lsn(&self) -> Lsn {
        match self {
            Self::Frame(frame) => frame.lsn,
            Self::Gap(gap) => gap.lsn,
        }
    }
}

/// A frame and where it was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameItem {
    /// Where it lies in the log.
    pub lsn: Lsn,
    /// Bytes it takes there.
    pub bytes: u64,
    /// Its header.
    pub header: FrameHeader,
    /// What the trailer says of it, for kinds that have a row.
    pub row: Option<Row>,
    /// It proves itself in the ring and not in the segment.
    pub in_ring: bool,
}

/// A gap and what is known of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GapItem {
    /// Where it begins.
    pub lsn: Lsn,
    /// Where the next frame that proves itself begins, or the segment's frames must end.
    pub end: Lsn,
    /// The key's hash, where the frame's header proves itself and only its body does not.
    pub key: Option<u64>,
    /// No frame of this segment comes behind it.
    pub trailing: bool,
    /// The media did not give all of the frame's bytes, so nobody can tell whether one was written here.
    pub unreadable: bool,
    /// What it means, once that was judged.
    pub verdict: Option<GapVerdict>,
}

/// A segment's bytes from its file, and the ring where it may hold newer ones.
#[derive(Debug, Clone, Copy)]
pub struct SegmentBytes<'a> {
    /// The segment's header.
    pub header: &'a SegmentHeader,
    /// The file's bytes from its start; may be cut short.
    pub file: &'a [u8],
    /// Where the media gave none of them and zeros stand for them, in ascending order.
    pub unread: &'a [Range<u64>],
    /// The ring as the dead process left it; empty where it does not count.
    pub ring: &'a [u8],
    /// Nothing was reserved from this offset on: after a gap there, no other frame is looked for.
    pub reserved_to: u64,
}

impl<'a> SegmentBytes<'a> {
    /// The position in the log of an offset in this segment.
    #[must_use]
    pub fn lsn(&self, offset: u64) -> Lsn {
        lsn(self.header, offset)
    }

    /// The bytes at `offset` in the file.
    #[must_use]
    pub fn in_file(&self, offset: u64) -> &'a [u8] {
        self.file.get(to_usize(offset)..).unwrap_or(&[])
    }

    /// The bytes at `offset` in the ring.
    #[must_use]
    pub fn in_ring(&self, offset: u64) -> &'a [u8] {
        in_ring(self.ring, self.lsn(offset))
    }

    /// Walks all frames.
    #[must_use]
    pub fn walk(&self) -> Vec<Item> {
        let file = InMemory {
            bytes: self.file,
            unread: self.unread,
        };
        walk(self.header, self.ring, self.reserved_to, file)
    }
}

fn lsn(header: &SegmentHeader, offset: u64) -> Lsn {
    Lsn::new(header.number, offset, u64::from(header.segment_bytes))
}

/// What the ring has for that position.
pub(crate) fn in_ring(ring: &[u8], lsn: Lsn) -> &[u8] {
    if ring.is_empty() {
        &[]
    } else {
        &ring[to_usize(lsn.0) % ring.len()..]
    }
}

/// Where a walk has a file's bytes from. It asks in ascending order, but for what lies behind a place that it looks at closely.
pub(crate) trait ReadFile {
    /// The bytes at `offset`: so many, or as many as there are. More than asked for is as good.
    fn at(&mut self, offset: u64, bytes: u64) -> &[u8];

    /// True where the media did not give some of these.
    fn is_unread(&self, part: Range<u64>) -> bool;
}

struct InMemory<'a> {
    bytes: &'a [u8],
    unread: &'a [Range<u64>],
}

impl ReadFile for InMemory<'_> {
    fn at(&mut self, offset: u64, _: u64) -> &[u8] {
        self.bytes.get(to_usize(offset)..).unwrap_or(&[])
    }

    fn is_unread(&self, part: Range<u64>) -> bool {
        touches(self.unread, part)
    }
}

pub(crate) fn touches(unread: &[Range<u64>], part: Range<u64>) -> bool {
    let lost = |lost: &Range<u64>| lost.start < part.end && part.start < lost.end;
    unread.iter().any(lost)
}

/// Walks all frames of the segment with this header, in its file and in the ring. From `reserved_to` on nothing was
/// reserved: after a gap there, no other frame is looked for.
pub(crate) fn walk(
    header: &SegmentHeader,
    ring: &[u8],
    reserved_to: u64,
    file: impl ReadFile,
) -> Vec<Item> {
    Walk {
        header,
        ring,
        reserved_to,
        file,
    }
    .run()
}

struct Walk<'a, F> {
    header: &'a SegmentHeader,
    ring: &'a [u8],
    reserved_to: u64,
    file: F,
}

impl<F: ReadFile> Walk<'_, F> {
    fn segment_bytes(&self) -> u64 {
        u64::from(self.header.segment_bytes)
    }

    fn sector(&self) -> u64 {
        u64::from(self.header.sector)
    }

    fn lsn(&self, offset: u64) -> Lsn {
        lsn(self.header, offset)
    }

    /// The frame at `offset` from whichever of file and ring proves itself.
    fn frame_at(&mut self, offset: u64) -> Result<FrameItem, Option<FrameHeader>> {
        let in_file = self.proved(offset, false);
        let Err(known) = in_file else { return in_file };
        self.proved(offset, true)
            .map_err(|in_ring| known.or(in_ring))
    }

    fn proved(&mut self, offset: u64, in_ring: bool) -> Result<FrameItem, Option<FrameHeader>> {
        let (lsn, seed) = (self.lsn(offset), self.header.seed_at(offset));
        let (sector, segment_bytes) = (self.sector(), self.segment_bytes());
        let start = self.bytes(offset, HEADER_BYTES, in_ring);
        // Looking for the next frame in what was written long ago, one place in millions gets further.
        if !names_place(start, offset) {
            return Err(None);
        }
        let header = FrameHeader::decode(start, seed, offset).map_err(|_| None)?;
        let frame_bytes = header.frame_bytes(sector);
        // Filler is under no crc, so nothing else says that it is there. (Of more than 4 GiB its row could not be made.)
        if offset + frame_bytes > segment_bytes {
            return Err(None);
        }
        let frame = self.bytes(offset, HEADER_BYTES + header.body_bytes(), in_ring);
        header.check_body(frame).map_err(|_| Some(header))?;
        Ok(FrameItem {
            lsn,
            bytes: frame_bytes,
            header,
            row: header.has_row().then(|| row_of(&header, frame, lsn)),
            in_ring,
        })
    }

    fn bytes(&mut self, offset: u64, bytes: u64, in_ring: bool) -> &[u8] {
        if in_ring {
            self::in_ring(self.ring, self.lsn(offset))
        } else {
            self.file.at(offset, bytes)
        }
    }

    fn run(mut self) -> Vec<Item> {
        let mut items = Vec::new();
        let limit = self.segment_bytes() - FIXED_BYTES;
        let mut at = u64::from(self.header.joins[0].begin);
        while at + HEADER_BYTES <= limit {
            if let Some(begin) = self.header.join_at(at) {
                at = begin;
                continue;
            }
            match self.frame_at(at) {
                Ok(item) => {
                    items.push(Item::Frame(item));
                    at += item.bytes;
                    if item.header.is_clean_mark() {
                        at = align_up(at, self.sector());
                    }
                    if item.header.is_last_mark() {
                        break;
                    }
                }
                Err(known) => {
                    let (gap, next) = self.gap(at, known, limit);
                    items.push(Item::Gap(gap));
                    at = next;
                }
            }
        }
        items
    }

    /// What lies at `at`, where no frame proves itself, and where to look next.
    fn gap(&mut self, at: u64, known: Option<FrameHeader>, limit: u64) -> (GapItem, u64) {
        let next = match &known {
            Some(header) => at + header.frame_bytes(self.sector()),
            None if at < self.reserved_to => self.next_frame(at, limit),
            None => self.next_life(at, limit),
        };
        let gap = GapItem {
            lsn: self.lsn(at),
            end: self.lsn(next.min(limit)),
            // Only kinds with a body come here. A checkpoint's part or head is no operation on any key;
            // its hash is 0, and to forget that costs nothing. What is left behind a clear nobody can tell.
            key: known.filter(|h| h.kind != FrameKind::Clear).map(|h| h.hash),
            trailing: next >= limit,
            unreadable: self.is_unread(at, known.as_ref()),
            verdict: None,
        };
        (gap, next)
    }

    /// True where the media did not give a frame's header, or, where that is `known`, its body. A header that was read and
    /// proves nothing was never written in whole, whatever lies unreadable behind it.
    fn is_unread(&self, at: u64, known: Option<&FrameHeader>) -> bool {
        let bytes = known.map_or(HEADER_BYTES, |header| header.frame_bytes(self.sector()));
        self.file.is_unread(at..at + bytes)
            && !perennial_failpoints::planted!("unreadable-is-unwritten")
    }

    /// Where the next life begins, whatever is said to be reserved: a join that was put before an earlier one's place would
    /// make damage of the whole header.
    fn next_life(&self, at: u64, limit: u64) -> u64 {
        let begins = self.header.joins.iter().map(|join| u64::from(join.begin));
        let mut later = begins.filter(|begin| *begin > at);
        later.next().unwrap_or(limit)
    }

    /// The next offset behind `at` at which a frame or the next life begins.
    fn next_frame(&mut self, at: u64, limit: u64) -> u64 {
        let mut at = at + ALIGN;
        while at + HEADER_BYTES <= limit {
            if let Some(begin) = self.header.join_at(at) {
                return begin;
            }
            // Never-written space is skipped a sector at a time.
            if self.ring.is_empty() && self.is_zeros(at) {
                let next = align_up(at + 1, self.sector());
                let begin = self.next_life(at, limit);
                if next >= begin {
                    return begin;
                }
                at = next;
                continue;
            }
            if self.frame_at(at).is_ok() {
                return at;
            }
            at += ALIGN;
        }
        limit
    }

    fn is_zeros(&mut self, at: u64) -> bool {
        let sector = self.sector();
        let bytes = self.file.at(at, sector).get(..to_usize(sector));
        bytes.is_some_and(|bytes| bytes.iter().all(|b| *b == 0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SegmentId;
    use crate::frame::flags;
    use crate::segment::Join;

    fn header() -> SegmentHeader {
        SegmentHeader {
            cache_id: 1,
            number: SegmentId(2),
            kept: None,
            predecessor: SegmentId(2),
            oldest: SegmentId(2),
            stable: Lsn(0),
            checkpoint: Lsn(0),
            segment_bytes: 8192,
            sector: 512,
            joins: vec![Join {
                begin: 1024,
                end: 1024,
                incarnation: 3,
                void_through: 0,
            }],
        }
    }

    /// A fuzzer made the crc of such a header fit, and the walk panicked at its row.
    #[test]
    fn filler_that_is_longer_than_its_segment_is_no_frame() {
        let header = header();
        let most = 8192 - 1024 - 32;
        for (filler, frames) in [(most, 1), (most + 1, 0), (u32::MAX - 31, 0), (u32::MAX, 0)] {
            for kind in [FrameKind::Remove, FrameKind::Pad] {
                let frame = FrameHeader::filler(kind, flags::FORGET, 7, filler);
                let mut file = vec![0; 8192];
                file[1024..1056].copy_from_slice(&frame.encode(header.seed_at(1024), 1024));
                let segment = SegmentBytes {
                    header: &header,
                    file: &file,
                    unread: &[],
                    ring: &[],
                    reserved_to: u64::MAX,
                };
                let found = segment.walk();
                let found = found.iter().filter(|item| matches!(item, Item::Frame(_)));
                assert_eq!(found.count(), frames, "{kind:?} over {filler} bytes");
            }
        }
    }

    #[test]
    fn a_gap_ends_where_the_next_life_began() {
        let later = |begin, end| Join {
            begin,
            end,
            incarnation: 4,
            void_through: 0,
        };
        let mut header = header();
        header.joins.extend([later(4096, 3600), later(5120, 4608)]);
        for reserved_to in [0, 1024, 4096, u64::MAX] {
            let segment = SegmentBytes {
                header: &header,
                file: &[0; 8192],
                unread: &[],
                ring: &[],
                reserved_to,
            };
            let begins: Vec<u64> = segment
                .walk()
                .iter()
                .map(|item| item.lsn().offset(8192))
                .collect();
            assert_eq!(begins, [1024, 4096, 5120], "{reserved_to}");
        }
    }

    /// Who knew its key to be 0 would forget that key, and not what the frame ended.
    #[test]
    fn a_damaged_clear_is_damage_that_tells_no_key() {
        let header = header();
        for (kind, key) in [(FrameKind::Clear, None), (FrameKind::Move, Some(0))] {
            let frame = FrameHeader::filler(kind, 0, 0, 24);
            let mut file = vec![7; 8192];
            file[1024..1056].copy_from_slice(&frame.encode(header.seed_at(1024), 1024));
            let segment = SegmentBytes {
                header: &header,
                file: &file,
                unread: &[],
                ring: &[],
                reserved_to: u64::MAX,
            };
            let found = segment.walk();
            let Some(Item::Gap(gap)) = found.first() else {
                panic!("{kind:?}: {found:?}");
            };
            assert_eq!((gap.lsn, gap.key), (segment.lsn(1024), key), "{kind:?}");
        }
    }
}
