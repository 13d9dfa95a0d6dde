//! Every structure of a cache directory checked, and nothing changed.
//!
//! Each copy and each checksum by itself, and then whether they agree: rows with frames, references with extents, the
//! newest checkpoint with what it points at. Memory: one segment, and the newest checkpoint's entries, as at open.

mod directory;

use std::collections::HashMap;

use perennial_failpoints::Dir;
use perennial_wal::frame::FrameKind;
use perennial_wal::segment::{Row, Trailer, file_name, zone_begin};
use perennial_wal::{Addr, Contents, Examined, FrameItem, Lsn, SegmentId, SegmentState};

use crate::checkpoint::{Entry, Head, decode_part};
use crate::identity::{Identity, IdentityFileError};
use crate::replay::{head_row, read_head, read_part};
use crate::report::{Problem, VerifyReport};
use crate::tail_file::TailFile;

/// Checks the cache of `identity` in `dir`, whose log is `contents`, read with `tail` as evidence.
///
/// # Errors
/// When the identity or the directory cannot be read. Damage is no error but a problem in the report.
pub fn verify(
    dir: &dyn Dir,
    identity: &Identity,
    tail: &TailFile,
    contents: &mut Contents<'_>,
) -> Result<VerifyReport, IdentityFileError> {
    let newest = newest_head(contents, identity);
    let mut check = Check {
        dir,
        identity,
        contents,
        report: VerifyReport::default(),
        extents: HashMap::new(),
        entries: Vec::new(),
    };
    check.identity()?;
    check.tail(tail);
    check.chain(tail);
    if let Some((at, head)) = newest {
        check.parts(at, &head);
    }
    for index in 0..check.contents.found.chain.len() {
        check.segment(index);
    }
    Ok(check.report)
}

/// The newest checkpoint head that can be read, and where it is.
#[must_use]
pub fn newest_head(contents: &mut Contents<'_>, identity: &Identity) -> Option<(Lsn, Head)> {
    for index in (0..contents.segments().len()).rev() {
        for row in contents
            .events(index)
            .iter()
            .rev()
            .filter_map(|event| head_row(&event))
        {
            let at = row.target.position();
            if let Some(head) = read_head(contents, at, row.bytes, identity.identity_bits) {
                return Some((at, head));
            }
        }
    }
    None
}

struct Check<'a, 'c> {
    dir: &'a dyn Dir,
    identity: &'a Identity,
    contents: &'a Contents<'c>,
    report: VerifyReport,
    /// The extents seen so far: hash and bytes. A reference comes after its extent.
    extents: HashMap<Lsn, (u64, u32)>,
    /// What the newest checkpoint points at, in the order of the log.
    entries: Vec<Entry>,
}

impl Check<'_, '_> {
    fn problem(&mut self, name: &str, offset: u64, what: impl Into<String>) {
        let path = self.dir.path().join(name).display().to_string();
        let what = what.into();
        self.report.problems.push(Problem { path, offset, what });
    }

    fn segment_bytes(&self) -> u64 {
        u64::from(self.identity.segment_bytes)
    }

    fn oldest(&self) -> SegmentId {
        let first = self.contents.found.chain.first();
        first.map_or(SegmentId(u64::MAX), |s| s.header.number)
    }

    /// A problem with the frame at `lsn`.
    fn problem_at(&mut self, lsn: Lsn, what: impl Into<String>) {
        let (number, offset) = (
            lsn.segment(self.segment_bytes()),
            lsn.offset(self.segment_bytes()),
        );
        let mut chain = self.contents.found.chain.iter();
        let slot = chain.find(|s| s.header.number == number).map(|s| s.slot);
        let name = slot.map_or_else(|| format!("(segment {number})"), file_name);
        self.problem(&name, offset, what);
    }

    /// The parts of the newest checkpoint. One whose segment was given up since is no damage: the log is enough.
    fn parts(&mut self, at: Lsn, head: &Head) {
        let (oldest, segment_bytes) = (self.oldest(), self.segment_bytes());
        let gone = |lsn: Lsn| lsn.segment(segment_bytes) < oldest;
        for part in head.parts.iter().filter(|part| !gone(part.lsn)) {
            let Some(body) = read_part(self.contents, part) else {
                self.problem_at(
                    part.lsn,
                    format!("not the part that the checkpoint at {at} names"),
                );
                continue;
            };
            let entries = decode_part(&body)
                .into_iter()
                .flat_map(|part| part.entries());
            let log = entries.filter(|e| !e.addr.is_kept() && !gone(e.addr.position()));
            self.entries.extend(log);
        }
        self.entries.sort_unstable_by_key(|entry| entry.addr);
    }

    fn segment(&mut self, index: usize) {
        let segment = self.contents.examine(index);
        let name = file_name(segment.slot);
        for (offset, damage) in &segment.damage {
            self.problem(&name, *offset, damage.to_string());
        }
        if segment.state == SegmentState::Prepared {
            return;
        }
        self.report.segments += 1;
        self.report.bytes += self.segment_bytes();
        self.report.frames += segment.frames.len() as u64;
        match &segment.trailer {
            Some(trailer) => self.rows(&name, &segment, trailer),
            None => {
                let begin = segment
                    .header
                    .joins
                    .first()
                    .map_or(0, |j| u64::from(j.begin));
                self.report.unsealed_bytes += segment.data_end.saturating_sub(begin);
            }
        }
        for frame in &segment.frames {
            self.frame(frame);
        }
        self.entries_in(&segment);
    }

    /// Every frame that says something has its row, in order; and no row is about anything else.
    fn rows(&mut self, name: &str, segment: &Examined, trailer: &Trailer) {
        self.report.rows += trailer.rows.len() as u64;
        let mut rows = trailer.rows.iter();
        for frame in &segment.frames {
            let Some(expected) = frame.row else { continue };
            if !rows.any(|row| *row == expected) {
                let kind = expected.kind;
                self.problem_at(
                    frame.lsn,
                    format!("the trailer does not have this {kind:?} as it is"),
                );
                return;
            }
        }
        // Where frames are damaged their rows are left over.
        let count = trailer.rows.len() as u64;
        if segment.damage.is_empty() && segment.rows().count() as u64 != count {
            let sector = u64::from(self.identity.sector);
            let at = zone_begin(count, self.segment_bytes(), sector);
            self.problem(
                name,
                at,
                format!("of {count} rows some are of no frame that is there"),
            );
        }
    }

    fn frame(&mut self, frame: &FrameItem) {
        match (frame.header.kind, &frame.row) {
            (FrameKind::Extent, _) => {
                let bytes = perennial_wal::frame::HEADER_BYTES + frame.header.body_bytes();
                let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
                self.extents.insert(frame.lsn, (frame.header.hash, bytes));
                self.report.extents += 1;
            }
            (FrameKind::Ref, Some(row)) => self.reference(frame.lsn, row),
            (FrameKind::Head, Some(row)) => {
                let bits = self.identity.identity_bits;
                if read_head(self.contents, frame.lsn, row.bytes, bits).is_some() {
                    self.report.checkpoints += 1;
                } else {
                    self.problem_at(
                        frame.lsn,
                        "the head of a checkpoint of another index or format",
                    );
                }
            }
            _ => {}
        }
    }

    fn reference(&mut self, at: Lsn, row: &Row) {
        let extent = row.target.position();
        // Given up since, and the entry with it.
        if extent.segment(self.segment_bytes()) < self.oldest() {
            return;
        }
        if row.target.is_kept() || self.extents.get(&extent) != Some(&(row.hash, row.bytes)) {
            self.problem_at(
                at,
                format!("there is no such value at {extent} as this reference names"),
            );
        }
    }

    /// What the checkpoint points at in this segment is a frame of that key, or of an operation that was given up.
    fn entries_in(&mut self, segment: &Examined) {
        let number = segment.header.number;
        let addr = |n: u64| Addr::log(Lsn::new(SegmentId(n), 0, self.segment_bytes()));
        let from = self.entries.partition_point(|e| e.addr < addr(number.0));
        let to = self
            .entries
            .partition_point(|e| e.addr < addr(number.0 + 1));
        let shift = 64 - u32::from(self.identity.identity_bits);
        let fits = |entry: &Entry| {
            let at = segment
                .frames
                .binary_search_by_key(&entry.addr.position(), |f| f.lsn);
            at.is_ok_and(|at| {
                let header = &segment.frames[at].header;
                match header.kind {
                    FrameKind::Put | FrameKind::Extent | FrameKind::Remove => {
                        header.hash >> shift == entry.identity
                    }
                    kind => kind == FrameKind::Pad,
                }
            })
        };
        let bad: Vec<Lsn> = self.entries[from..to]
            .iter()
            .filter(|e| !fits(e))
            .map(|e| e.addr.position())
            .collect();
        if let Some(first) = bad.first() {
            let count = bad.len();
            self.problem_at(
                *first,
                format!("{count} entries of the newest checkpoint point at no frame of theirs, the first one here"),
            );
        }
    }
}
