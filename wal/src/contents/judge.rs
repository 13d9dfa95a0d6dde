//! The log's unsealed end: which gaps are holes, which are damage, and where it ends.

use super::Contents;
use crate::frame::{FrameKind, HEADER_BYTES};
use crate::geometry::Geometry;
use crate::lsn::{Lsn, align_up};
use crate::segment::Row;
use crate::verdict::{GapFacts, GapVerdict, judge_gap};
use crate::walk::{GapItem, Item};

/// A segment of the log's unsealed end, walked and judged.
#[derive(Debug)]
pub(crate) struct OpenEnd {
    /// Index in the chain.
    pub(crate) index: usize,
    /// The accepted items, holes included.
    pub(crate) items: Vec<Item>,
    /// Where the accepted frames end.
    pub(crate) end: u64,
    /// The last frame is a mark that ends the segment.
    pub(crate) finished: bool,
}

impl Contents<'_> {
    /// The highest stable LSN that anything that proves itself attests: headers, trailers, marks, the tail's head, and
    /// the join of a life, which was made after everything before it had been synced.
    pub(super) fn known_stable(&self, walked: &[(usize, Vec<Item>)]) -> Lsn {
        let segment_bytes = self.geometry.segment_bytes;
        let joins = self.found.chain.iter().filter_map(|s| {
            let last = s.header.joins.last()?;
            (s.header.joins.len() > 1)
                .then(|| Lsn::new(s.header.number, u64::from(last.end), segment_bytes))
        });
        let marks = walked
            .iter()
            .flat_map(|(_, items)| items)
            .filter_map(|item| match item {
                Item::Frame(frame)
                    if frame.header.kind == FrameKind::Mark
                        // It may attest what was not there yet when that was read.
                        && !self.tail.moving
                        && !perennial_failpoints::planted!("marks-attest-nothing") =>
                {
                    Some(frame.header.mark_stable())
                }
                _ => None,
            });
        let trailer = self.newest_trailer.as_ref().map(|t| t.stable);
        let others = joins.chain(marks).chain(trailer).max();
        self.attested().max(others.unwrap_or_default())
    }

    /// The highest that headers and the tail attest: known before anything else of the log was read.
    pub(super) fn attested(&self) -> Lsn {
        let headers = self.found.chain.iter().map(|s| s.header.stable);
        let tail = self.tail.head.as_ref().and_then(|head| head.stable);
        headers.chain(tail).max().unwrap_or_default()
    }

    /// Drops gaps that are only the unwritten rest behind the last frame.
    pub(super) fn trim(&self, walked: &mut [(usize, Vec<Item>)]) {
        for (_, items) in walked.iter_mut().rev() {
            if let Some(Item::Gap(gap)) = items.last()
                && gap.trailing
                && gap.key.is_none()
                && gap.lsn >= self.stable
                && !self.was_complete(gap)
                && !self.is_lost(gap)
            {
                items.pop();
            }
            if !items.is_empty() {
                return;
            }
        }
    }

    /// True when the media does not give what lies there, and no ring says that nothing was reserved.
    fn is_lost(&self, gap: &GapItem) -> bool {
        gap.unreadable && !self.tail.stands_still()
    }

    /// True when no writer can have left the gap, as the descriptors of this boot say, or as they no longer say.
    fn was_complete(&self, gap: &GapItem) -> bool {
        let head = self.tail.head.as_ref();
        let head = head.filter(|_| self.tail.stands_still());
        head.is_some_and(|head| {
            // Behind what was reserved of a segment there is nothing to be missed.
            let next = gap.lsn.segment(self.geometry.segment_bytes).0 + 1;
            let next = Lsn(next * self.geometry.segment_bytes);
            let reserved = head.descriptors.reserved_end(next).filter(|_| gap.trailing);
            let end = reserved.map_or(gap.end, |end| end.min(gap.end));
            !head.descriptors.may_be_a_hole(gap.lsn, end)
                && !perennial_failpoints::planted!("complete-buffers-not-known")
        })
    }

    pub(super) fn facts(&self, gap: &GapItem) -> GapFacts {
        GapFacts {
            below_stable: gap.lsn < self.stable,
            same_boot: self.tail.stands_still(),
            buffer_complete: self.was_complete(gap),
            key_known: gap.key.is_some(),
            unreadable: gap.unreadable,
        }
    }

    pub(super) fn judge(&mut self, walked: Vec<(usize, Vec<Item>)>) {
        let mut ended = false;
        for (index, mut items) in walked {
            let accepted = if ended {
                0
            } else {
                self.judge_items(&mut items)
            };
            ended |= accepted < items.len();
            // In place: of small frames there are a million in few segments.
            items.truncate(accepted);
            let begin = u64::from(self.found.chain[index].header.joins[0].begin);
            let open = OpenEnd::new(index, begin, items, self.geometry);
            if ended && open.items.is_empty() && !self.ends.is_empty() {
                self.judged.lock().verdicts.cut_segments += 1;
            }
            self.clean = open.is_clean().unwrap_or(self.clean);
            self.ends.push(open);
        }
        // What was cut off may still prove itself.
        self.clean &= !ended;
        // Whatever follows the last segment with a frame was only prepared, or is cut off.
        while self.ends.len() > 1 && self.ends.last().is_some_and(|end| end.items.is_empty()) {
            self.ends.pop();
        }
    }

    /// Judges gaps up to the log's end, and says how many items come before it.
    fn judge_items(&self, items: &mut [Item]) -> usize {
        for (at, item) in items.iter_mut().enumerate() {
            let Item::Gap(gap) = item else { continue };
            let verdict = judge_gap(self.facts(gap));
            if verdict == GapVerdict::End {
                return at;
            }
            self.count(gap.lsn, verdict);
            gap.verdict = Some(verdict);
        }
        items.len()
    }

    /// Each gap once, however often its segment is read.
    pub(super) fn count(&self, gap: Lsn, verdict: GapVerdict) {
        let mut judged = self.judged.lock();
        if !judged.gaps.insert(gap) {
            return;
        }
        let verdicts = &mut judged.verdicts;
        match verdict {
            GapVerdict::Hole => verdicts.holes += 1,
            GapVerdict::DamagedKey => verdicts.damaged_keys += 1,
            GapVerdict::DamagedUnknown => verdicts.damaged_unknown += 1,
            GapVerdict::End => {}
        }
    }
}

impl OpenEnd {
    fn new(index: usize, begin: u64, items: Vec<Item>, geometry: Geometry) -> Self {
        let last = |item: &Item| matches!(item, Item::Frame(f) if f.header.is_last_mark());
        Self {
            index,
            end: items.last().map_or(begin, |item| end_of(item, geometry)),
            finished: items.last().is_some_and(last),
            items,
        }
    }

    /// Whether the last frame says that the log was closed cleanly; `None` without frames.
    fn is_clean(&self) -> Option<bool> {
        let item = self.items.last()?;
        Some(matches!(item, Item::Frame(frame) if frame.header.is_clean_mark()))
    }

    /// Where the frame behind the last one begins, if its life wrote one.
    pub(crate) fn next_place(&self, geometry: Geometry) -> u64 {
        if self.is_clean() == Some(true) {
            align_up(self.end, geometry.sector)
        } else {
            self.end
        }
    }

    /// The rows of the frames that count.
    pub(crate) fn rows(&self) -> Vec<Row> {
        let row = |item: &Item| match item {
            Item::Frame(frame) => frame.row,
            Item::Gap(gap) => crate::repair::stand_in(gap)?.row(gap.lsn),
        };
        // In one piece: there may be half a million.
        let mut rows = Vec::with_capacity(self.items.len());
        rows.extend(self.items.iter().filter_map(row));
        rows
    }
}

/// Where an accepted item ends in its segment.
fn end_of(item: &Item, geometry: Geometry) -> u64 {
    let offset = |lsn: Lsn| lsn.offset(geometry.segment_bytes);
    match item {
        Item::Frame(frame) => offset(frame.lsn) + frame.bytes,
        Item::Gap(gap) if !gap.trailing => offset(gap.end),
        // Nothing comes behind: room for the frame that will say what was lost is enough.
        Item::Gap(gap) if gap.verdict == Some(GapVerdict::Hole) => offset(gap.lsn),
        Item::Gap(gap) => offset(gap.lsn) + HEADER_BYTES,
    }
}
