//! The log's contents as recovery finds them: the end judged, the rest read on demand.

use std::cell::OnceCell;
use std::io;
use std::ops::Range;
use std::sync::Arc;

use perennial_failpoints::fs::{Dir, File, OpenMode, read_exact_at};

use crate::aligned::AlignedBuf;
use crate::error::WalError;
use crate::frame::{FrameHeader, FrameKind, HEADER_BYTES, flags};
use crate::geometry::Geometry;
use crate::lsn::{Lsn, SegmentId, align_down, align_up, to_usize};
use crate::scan::{ChainSegment, Found, TailEvidence, find, is_medias, read_trailer};
use crate::segment::{Row, Trailer, file_name};
use crate::verdict::{GapFacts, GapVerdict, judge_gap};
use crate::walk::{FrameItem, GapItem, Item, SegmentBytes};

/// Bytes read of a segment behind what was reserved in it: one frame's header, so that none is missed for a wrong end.
const BEHIND: u64 = 64 << 10;
/// A segment is read in pieces of this size.
const PIECE_BYTES: usize = 1 << 20;

/// A step of replay, in the order of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// An operation that counts.
    Row(Row),
    /// Damage to an operation on the key with this hash: forget the key.
    ForgetKey(u64),
    /// Damage to an operation on a key nobody can tell: forget everything so far.
    ForgetAll,
}

/// A segment of the log's unsealed end, walked and judged.
#[derive(Debug)]
pub(crate) struct OpenEnd {
    /// Index in the chain.
    pub(crate) index: usize,
    /// The accepted items, holes included.
    pub(crate) items: Vec<(Item, Option<GapVerdict>)>,
    /// Where the accepted frames end.
    pub(crate) end: u64,
    /// The last frame is a mark that ends the segment.
    pub(crate) finished: bool,
}

/// Counts of what was found damaged or given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Verdicts {
    /// Operations that had not returned when the process died.
    pub holes: u64,
    /// Damaged operations whose key was forgotten.
    pub damaged_keys: u64,
    /// Damaged operations for which everything older was forgotten.
    pub damaged_unknown: u64,
    /// Segments given up behind the end of the log.
    pub cut_segments: u64,
}

/// A log found in a directory. Nothing on disk has been changed.
#[derive(Debug)]
pub struct Contents<'a> {
    pub(crate) dir: &'a dyn Dir,
    pub(crate) geometry: Geometry,
    pub(crate) tail: TailEvidence<'a>,
    /// The files.
    pub found: Found,
    /// Everything below was on stable storage.
    pub stable: Lsn,
    /// Chain segments from here on have no trailer.
    pub(crate) ends: Vec<OpenEnd>,
    /// What was judged so far.
    pub verdicts: Verdicts,
    /// The log was closed cleanly.
    pub clean: bool,
    /// Why something could not be read though the media did not fail: then nothing may be changed.
    trouble: OnceCell<WalError>,
    /// The newest trailer, and its segment's index in the chain: read to find the end, kept for the replay.
    newest_trailer: Option<(usize, Trailer)>,
}

impl<'a> Contents<'a> {
    /// Reads the headers, walks the segments at the end that have no trailer, and judges their gaps.
    ///
    /// # Errors
    /// When the directory cannot be listed, or something in it not be read for a reason other than the media's.
    pub fn read(
        dir: &'a dyn Dir,
        cache_id: u64,
        geometry: Geometry,
        tail: TailEvidence<'a>,
    ) -> crate::error::Result<Self> {
        let found = find(dir, cache_id, geometry, &tail)?;
        let mut contents = Self {
            dir,
            geometry,
            tail,
            found,
            stable: Lsn(0),
            ends: Vec::new(),
            verdicts: Verdicts::default(),
            clean: false,
            trouble: OnceCell::new(),
            newest_trailer: None,
        };
        let mut walked = contents.walk_the_end();
        contents.stable = contents.known_stable(&walked);
        contents.trim(&mut walked);
        contents.judge(walked);
        contents.check_read()?;
        Ok(contents)
    }

    /// Fails where something could not be read and the media was not the cause: what was judged then is a guess.
    ///
    /// # Errors
    /// With the first such failure.
    pub fn check_read(&self) -> crate::error::Result<()> {
        self.trouble.get().cloned().map_or(Ok(()), Err)
    }

    /// What was read of a segment; a failure is remembered unless it is the media's.
    pub(crate) fn read_of<T>(&self, segment: &ChainSegment, read: io::Result<T>) -> Option<T> {
        let error = match read {
            Ok(read) => return Some(read),
            Err(error) => error,
        };
        tracing::warn!(segment = %segment.header.number, %error, "segment cannot be read in full");
        if !is_medias(&error) {
            let path = self.dir.path().join(file_name(segment.slot));
            let path = path.display().to_string();
            // The first one stays.
            let _ = self.trouble.set(WalError::io("read", path, 0, error));
        }
        None
    }

    /// The file of a chain segment.
    pub(crate) fn file(&self, segment: &ChainSegment) -> Option<Arc<dyn File>> {
        let opened = self.dir.open(&file_name(segment.slot), OpenMode::Read);
        self.read_of(segment, opened)
    }

    /// The bytes of a chain segment's file up to `range.end`, as many as can be read. Those before `range.start`, and
    /// an unreadable stretch, are zeros.
    pub(crate) fn file_bytes(&self, segment: &ChainSegment, range: Range<u64>) -> AlignedBuf {
        let end = range.end.min(self.geometry.segment_bytes);
        let mut bytes = AlignedBuf::zeroed(to_usize(align_up(end, self.geometry.sector)));
        let Some(file) = self.file(segment) else {
            return bytes;
        };
        // What lies here was written past the page cache and is read once.
        let name = file_name(segment.slot);
        let direct = self.dir.open(&name, OpenMode::Direct).ok();
        let start = align_down(range.start, self.geometry.sector);
        for (i, part) in bytes[to_usize(start)..].chunks_mut(PIECE_BYTES).enumerate() {
            let at = start + (i * PIECE_BYTES) as u64;
            let past_the_cache = |file: &Arc<dyn File>| read_exact_at(&**file, part, at).is_ok();
            if !direct.as_ref().is_some_and(past_the_cache) {
                self.read_of(segment, read_exact_at(&*file, part, at));
            }
        }
        bytes
    }

    /// Walks the longest run of segments at the end that have no trailer, newest last.
    fn walk_the_end(&mut self) -> Vec<(usize, Vec<Item>)> {
        let mut walked = Vec::new();
        for (index, segment) in self.found.chain.iter().enumerate().rev() {
            if let Some(trailer) = self.trailer_of(segment) {
                self.newest_trailer = Some((index, trailer));
                break;
            }
            walked.push((index, self.walk(segment)));
        }
        walked.reverse();
        walked
    }

    pub(crate) fn trailer_of(&self, segment: &ChainSegment) -> Option<Trailer> {
        let read = read_trailer(&*self.file(segment)?, &segment.header, self.geometry);
        self.read_of(segment, read).flatten()
    }

    fn ring(&self) -> &'a [u8] {
        if self.tail.same_boot {
            self.tail.ring
        } else {
            &[]
        }
    }

    fn walk(&self, segment: &ChainSegment) -> Vec<Item> {
        // What was reserved behind it is not stable either, and a frame there is in the ring.
        let read_to = self.reserved_to(segment).saturating_add(BEHIND);
        self.walk_bytes(segment, &self.file_bytes(segment, 0..read_to))
    }

    pub(crate) fn walk_bytes(&self, segment: &ChainSegment, file: &[u8]) -> Vec<Item> {
        SegmentBytes {
            header: &segment.header,
            file,
            ring: self.ring(),
            reserved_to: self.reserved_to(segment),
        }
        .walk()
    }

    /// The offset in a segment from which on the dead process had reserved nothing, as its tail attests: a recycled file
    /// is not read for frames that cannot be there. All of it, where there is no tail of this boot.
    fn reserved_to(&self, segment: &ChainSegment) -> u64 {
        let head = self.tail.head.as_ref().filter(|_| self.tail.same_boot);
        let reserved = head.and_then(|head| {
            let end = head.descriptors.reserved_end(Lsn(u64::MAX))?;
            Some(end.max(head.stable.unwrap_or_default()))
        });
        let Some(end) = reserved else {
            return u64::MAX;
        };
        let begin = Lsn::new(segment.header.number, 0, self.geometry.segment_bytes);
        end.0
            .saturating_sub(begin.0)
            .max(self.geometry.data_begin())
    }

    /// The highest stable LSN that anything that proves itself attests: headers, trailers, marks, the tail's head, and
    /// the join of a life, which was made after everything before it had been synced.
    fn known_stable(&self, walked: &[(usize, Vec<Item>)]) -> Lsn {
        let segment_bytes = self.geometry.segment_bytes;
        let headers = self.found.chain.iter().map(|s| s.header.stable);
        let joins = self.found.chain.iter().filter_map(|s| {
            let last = s.header.joins.last()?;
            (s.header.joins.len() > 1)
                .then(|| Lsn::new(s.header.number, u64::from(last.end), segment_bytes))
        });
        let marks = walked
            .iter()
            .flat_map(|(_, items)| items)
            .filter_map(|item| match item {
                Item::Frame(frame) if frame.header.kind == FrameKind::Mark => {
                    Some(frame.header.mark_stable())
                }
                _ => None,
            });
        let trailer = self.newest_trailer.as_ref().map(|(_, t)| t.stable);
        let tail = self.tail.head.as_ref().and_then(|head| head.stable);
        headers
            .chain(joins)
            .chain(marks)
            .chain(trailer)
            .chain(tail)
            .max()
            .unwrap_or_default()
    }

    /// Drops gaps that are only the unwritten rest behind the last frame.
    fn trim(&self, walked: &mut [(usize, Vec<Item>)]) {
        for (_, items) in walked.iter_mut().rev() {
            if let Some(Item::Gap(gap)) = items.last()
                && gap.trailing
                && gap.key.is_none()
                && gap.lsn >= self.stable
                && !self.was_complete(gap)
            {
                items.pop();
            }
            if !items.is_empty() {
                return;
            }
        }
    }

    /// True when no writer can have left the gap, as the descriptors of this boot say, or as they no longer say.
    fn was_complete(&self, gap: &GapItem) -> bool {
        let head = self.tail.head.as_ref().filter(|_| self.tail.same_boot);
        head.is_some_and(|head| {
            // Behind what was reserved of a segment there is nothing to be missed.
            let next = gap.lsn.segment(self.geometry.segment_bytes).0 + 1;
            let next = Lsn(next * self.geometry.segment_bytes);
            let reserved = head.descriptors.reserved_end(next).filter(|_| gap.trailing);
            let end = reserved.map_or(gap.end, |end| end.min(gap.end));
            !head.descriptors.may_be_a_hole(gap.lsn, end)
        })
    }

    fn facts(&self, gap: &GapItem) -> GapFacts {
        GapFacts {
            below_stable: gap.lsn < self.stable,
            same_boot: self.tail.same_boot,
            buffer_complete: self.was_complete(gap),
            key_known: gap.key.is_some(),
        }
    }

    fn judge(&mut self, walked: Vec<(usize, Vec<Item>)>) {
        let mut ended = false;
        for (index, items) in walked {
            let begin = u64::from(self.found.chain[index].header.joins[0].begin);
            let mut open = OpenEnd {
                index,
                items: Vec::new(),
                end: begin,
                finished: false,
            };
            for item in items {
                let verdict = match item {
                    Item::Frame(_) => None,
                    Item::Gap(gap) => Some(judge_gap(self.facts(&gap))),
                };
                ended |= verdict == Some(GapVerdict::End);
                if ended {
                    break;
                }
                self.count(verdict);
                open.push(item, verdict, self.geometry);
            }
            if ended && open.items.is_empty() && !self.ends.is_empty() {
                self.verdicts.cut_segments += 1;
            }
            self.clean = open.is_clean().unwrap_or(self.clean);
            self.ends.push(open);
        }
        // Whatever follows the last segment with a frame was only prepared, or is cut off.
        while self.ends.len() > 1 && self.ends.last().is_some_and(|end| end.items.is_empty()) {
            self.ends.pop();
        }
    }

    fn count(&mut self, verdict: Option<GapVerdict>) {
        match verdict {
            Some(GapVerdict::Hole) => self.verdicts.holes += 1,
            Some(GapVerdict::DamagedKey) => self.verdicts.damaged_keys += 1,
            Some(GapVerdict::DamagedUnknown) => self.verdicts.damaged_unknown += 1,
            Some(GapVerdict::End) | None => {}
        }
    }

    /// Numbers of the segments that count, oldest first.
    #[must_use]
    pub fn segments(&self) -> Vec<SegmentId> {
        let cut = self
            .ends
            .last()
            .map_or(self.found.chain.len(), |end| end.index + 1);
        self.found.chain[..cut]
            .iter()
            .map(|s| s.header.number)
            .collect()
    }

    /// The whole frame at `lsn`, if it proves itself in its segment or, in the boot it was written in, in the ring.
    #[must_use]
    pub fn frame(&self, lsn: Lsn, bytes: u32) -> Option<(FrameHeader, Vec<u8>)> {
        let number = lsn.segment(self.geometry.segment_bytes);
        let segment = self
            .found
            .chain
            .iter()
            .find(|s| s.header.number == number)?;
        let offset = lsn.offset(self.geometry.segment_bytes);
        if offset < self.geometry.data_begin()
            || offset + u64::from(bytes) > self.geometry.segment_bytes
        {
            return None;
        }
        let seed = segment.header.seed_at(offset);
        let mut frame = vec![0; to_usize(u64::from(bytes))];
        let read = read_exact_at(&*self.file(segment)?, &mut frame, offset);
        if self.read_of(segment, read).is_some()
            && let Ok(header) = FrameHeader::decode_whole(&frame, seed, offset)
        {
            return Some((header, frame));
        }
        let ring = self.ring();
        let at = to_usize(lsn.0).checked_rem(ring.len())?;
        let frame = ring.get(at..at + to_usize(u64::from(bytes)))?;
        let header = FrameHeader::decode_whole(frame, seed, offset).ok()?;
        Some((header, frame.to_vec()))
    }

    /// What happened in the segment at `index` of [`segments`](Self::segments), in the order of the log.
    #[must_use]
    pub fn events(&mut self, index: usize) -> Vec<Event> {
        if let Some(end) = self.ends.iter().find(|end| end.index == index) {
            return end
                .items
                .iter()
                .flat_map(|(item, verdict)| event_of(item, *verdict))
                .collect();
        }
        let segment = self.found.chain[index].clone();
        let kept = self.newest_trailer.take_if(|(newest, _)| *newest == index);
        let trailer = kept.map_or_else(|| self.trailer_of(&segment), |(_, trailer)| Some(trailer));
        if let Some(trailer) = trailer {
            return trailer.rows.into_iter().map(Event::from).collect();
        }
        // A segment whose trailer is gone though later ones are sealed: everything in it was stable.
        let mut events = Vec::new();
        for item in self.walk(&segment) {
            let verdict = match item {
                Item::Frame(_) => None,
                Item::Gap(gap) => Some(judge_gap(GapFacts {
                    below_stable: true,
                    ..self.facts(&gap)
                })),
            };
            self.count(verdict);
            events.extend(event_of(&item, verdict));
        }
        events
    }
}

impl From<Row> for Event {
    fn from(row: Row) -> Self {
        if row.kind == FrameKind::Pad {
            Self::ForgetAll
        } else {
            Self::Row(row)
        }
    }
}

fn event_of(item: &Item, verdict: Option<GapVerdict>) -> Option<Event> {
    match (item, verdict) {
        (Item::Frame(frame), _) => frame.row.map(Event::from),
        (Item::Gap(GapItem { key: Some(key), .. }), Some(GapVerdict::DamagedKey)) => {
            Some(Event::ForgetKey(*key))
        }
        (Item::Gap(_), Some(GapVerdict::DamagedUnknown)) => Some(Event::ForgetAll),
        (Item::Gap(_), _) => None,
    }
}

impl OpenEnd {
    fn push(&mut self, item: Item, verdict: Option<GapVerdict>, geometry: Geometry) {
        let offset = |lsn: Lsn| lsn.offset(geometry.segment_bytes);
        self.end = match item {
            Item::Frame(FrameItem {
                lsn, bytes, header, ..
            }) => {
                self.finished = header.kind == FrameKind::Mark && header.flags & flags::LAST != 0;
                offset(lsn) + bytes
            }
            Item::Gap(gap) if !gap.trailing => offset(gap.end),
            // Nothing comes behind: room for the frame that will say what was lost is enough.
            Item::Gap(gap) if verdict == Some(GapVerdict::Hole) => offset(gap.lsn),
            Item::Gap(gap) => offset(gap.lsn) + HEADER_BYTES,
        };
        self.items.push((item, verdict));
    }

    /// Whether the last frame says that the log was closed cleanly; `None` without frames.
    fn is_clean(&self) -> Option<bool> {
        let (item, _) = self.items.last()?;
        Some(
            matches!(item, Item::Frame(f) if f.header.kind == FrameKind::Mark && f.header.flags & flags::CLEAN != 0),
        )
    }

    /// The rows of the frames that count.
    pub(crate) fn rows(&self) -> Vec<Row> {
        let row = |(item, verdict): &(Item, Option<GapVerdict>)| match item {
            Item::Frame(frame) => frame.row,
            Item::Gap(gap) => crate::repair::stand_in(gap, *verdict)?.row(gap.lsn),
        };
        self.items.iter().filter_map(row).collect()
    }
}
