//! What points at frames: references at extents, and the newest checkpoint at everything. What a pointer names that was
//! given up since is no damage.

use perennial_wal::frame::FrameKind;
use perennial_wal::segment::Row;
use perennial_wal::{FrameItem, Lsn};

use super::Check;
use crate::checkpoint::{Entry, Head, PartRef, decode_part, read_head, read_part};

impl Check<'_, '_> {
    pub(super) fn frame(&mut self, frame: &FrameItem) {
        match (frame.header.kind, &frame.row) {
            (FrameKind::Extent, _) => self.report.extents += 1,
            (FrameKind::Ref, Some(row)) => self.reference(frame, row),
            (FrameKind::Head, Some(row)) => {
                self.heads.push((frame.lsn, frame.header));
                self.head(frame.lsn, row.bytes);
            }
            _ => {}
        }
    }

    fn head(&mut self, at: Lsn, bytes: u32) {
        let bits = self.identity.identity_bits;
        if read_head(self.contents, at, bytes, bits).is_some() {
            self.report.checkpoints += 1;
        } else {
            let what = "the head of a checkpoint of another index or format";
            self.problem_at(at, what, None);
        }
    }

    fn reference(&mut self, frame: &FrameItem, row: &Row) {
        let extent = row.target.position();
        // With it went the entry.
        if self.is_given_up(extent) {
            return;
        }
        if row.target.is_kept() || !self.proven.has_extent(row) {
            let what = format!("there is no such value at {extent} as this reference names");
            let cure = self.giving_up(frame.lsn, &frame.header);
            self.problem_at(frame.lsn, what, cure);
        }
    }

    /// The parts of the newest checkpoint, one after the other. Without one that was given up the log is enough.
    pub(super) fn parts(&mut self, at: Lsn, head: &Head) {
        for part in &head.parts {
            if !self.is_given_up(part.lsn) {
                self.part(at, part);
            }
        }
    }

    fn part(&mut self, at: Lsn, part: &PartRef) {
        let body = read_part(self.contents, part);
        let Some(found) = body.as_deref().and_then(|body| decode_part(body).ok()) else {
            let what = format!("not the part that the checkpoint at {at} names");
            let head = self.heads.iter().find(|(lsn, _)| *lsn == at).copied();
            let cure = head.and_then(|(at, header)| self.giving_up(at, &header));
            self.problem_at(part.lsn, what, cure);
            return;
        };
        let bad = |entry: &Entry| self.points_at_nothing(entry);
        let mut bad = found.entries().filter(bad).map(|e| e.addr.position());
        if let Some(first) = bad.next() {
            let (count, first) = bad.fold((1, first), |(n, low), at| (n + 1, low.min(at)));
            let what = format!(
                "entries of the newest checkpoint that point at no frame of theirs: {count}, the first one here"
            );
            self.problem_at(first, what, self.follows());
        }
    }

    /// True for an entry that names no frame of its key, and no operation that was given up.
    fn points_at_nothing(&self, entry: &Entry) -> bool {
        let gone = entry.addr.is_kept() || self.is_given_up(entry.addr.position());
        !gone && !self.proven.has_entry(entry)
    }

    fn is_given_up(&self, lsn: Lsn) -> bool {
        lsn.segment(self.segment_bytes()) < self.oldest()
    }
}
