//! A log that was closed cleanly goes on as if its process had never ended.

use crate::contents::Contents;
use crate::error::Result;
use crate::geometry::Life;
use crate::lsn::SegmentId;
use crate::scan::ChainSegment;
use crate::segment::SegmentStore;

impl Contents<'_> {
    /// The life that goes on: the last one's, where it was closed cleanly and nothing was written since, else a new one.
    ///
    /// A new life joins the segment, and a segment takes few joins: a program that opens the cache to store one entry
    /// would use up a segment every few runs. Behind a clean end there is nothing that a new incarnation has to tell
    /// from what comes (PROTOCOL hole 10): every frame of the last life lies before its mark, and a walk over the rest,
    /// as far as anything was ever reserved, has found no other.
    pub(super) fn life_that_goes_on(&self, new: Life) -> Life {
        let incarnation = self.incarnation_left().unwrap_or(new.incarnation);
        Life { incarnation, ..new }
    }

    fn incarnation_left(&self) -> Option<u64> {
        // A ring that survived a reboot may hold frames of this life behind the mark, of which the segment has none: they
        // would prove themselves to the next recovery.
        let same_boot =
            self.tail.same_boot || perennial_failpoints::planted!("gone-on-after-a-reboot");
        let found = &self.found;
        let sound = same_boot && !found.broken && !found.end_missing && found.unread.is_empty();
        let last = self.ends.last().filter(|_| sound && self.clean)?;
        // A life that does not go on here closes the segment, and it is the join that says where its frames end while
        // the trailer is not on the disk yet.
        if !last.has_room(self.next_begin(last), &last.rows(), self.geometry) {
            return None;
        }
        let incarnation = last_incarnation(self.segment(last))?;
        let prepared = &self.found.chain[last.index + 1..];
        let of_this_life = |segment| last_incarnation(segment) == Some(incarnation);
        prepared.iter().all(of_this_life).then_some(incarnation)
    }

    /// True when the life `life` is the last one's.
    pub(super) fn goes_on(&self, life: Life) -> bool {
        self.incarnation_left() == Some(life.incarnation)
    }

    /// Headers are durable before LSNs are handed out, and a life that was killed may have written one and not synced it;
    /// or the sync failed, and the bytes read well and are on no disk. So with the header of the segment that a log goes on
    /// in as it is: a recovery before may have joined it.
    pub(super) fn secure_prepared(&self, store: &SegmentStore, life: Life) -> Result<()> {
        if perennial_failpoints::planted!("prepared-not-synced") {
            return Ok(());
        }
        let goes_on =
            self.goes_on(life) && !perennial_failpoints::planted!("gone-on-with-not-synced");
        let last = self.ends.last().filter(|_| goes_on);
        let last = last.map(|end| (self.segment(end), false));
        let prepared = self.prepared(life).iter().map(|segment| (segment, true));
        last.into_iter()
            .chain(prepared)
            .try_for_each(|(segment, prepared)| {
                perennial_failpoints::site!("wal::repair::secure");
                if prepared {
                    store.prepare_again(segment.slot, &segment.header)
                } else {
                    store.write_header_durably(segment.slot, &segment.header)
                }
            })
    }

    /// The segments that a log which goes on as `life` finds prepared.
    pub(super) fn prepared(&self, life: Life) -> &[ChainSegment] {
        let counting = if self.goes_on(life) {
            self.segments().len()
        } else {
            self.found.chain.len()
        };
        &self.found.chain[counting..]
    }
}

fn last_incarnation(segment: &ChainSegment) -> Option<u64> {
    Some(segment.header.joins.last()?.incarnation)
}

/// Numbers of segments, oldest first.
pub(super) fn numbers(segments: &[ChainSegment]) -> Vec<SegmentId> {
    segments.iter().map(|s| s.header.number).collect()
}
