//! Every structure of a cache directory checked, and nothing changed.
//!
//! Each copy and each checksum by itself, and then whether they agree: rows with frames, references with extents, the
//! newest checkpoint with what it points at. Memory: one segment, and a filter of the frames of all, [`proven`].

mod directory;
mod pointers;
mod proven;

use std::path::PathBuf;

use perennial_failpoints::Dir;
use perennial_wal::frame::FrameHeader;
use perennial_wal::segment::{Trailer, file_name, zone_begin};
use perennial_wal::{Contents, Examined, Lsn, Patch, SegmentId, SegmentState};

use crate::checkpoint::{Head, head_row, read_head};
use crate::cure::{Checked, Cure};
use crate::identity::{Identity, IdentityFileError};
use crate::report::{Problem, VerifyReport};
use crate::tail_file::TailFile;
use proven::Proven;

/// Checks the cache of `identity` in `dir`, whose log is `contents`, read with `tail` as evidence.
///
/// # Errors
/// When the identity or the directory cannot be read. Damage is no error but a problem in the report.
pub fn verify(
    dir: &dyn Dir,
    identity: &Identity,
    tail: &TailFile,
    contents: &Contents<'_>,
) -> Result<Checked, IdentityFileError> {
    let newest = newest_head(contents, identity);
    let facts = (0..contents.segments().len())
        .map(|index| proven::facts_of(contents.events(index).iter()))
        .sum();
    let mut check = Check {
        dir,
        identity,
        contents,
        report: VerifyReport::default(),
        cures: Vec::new(),
        heads: Vec::new(),
        proven: Proven::new(facts, identity.cache_id, identity.identity_bits),
    };
    check.identity()?;
    check.tail(tail);
    check.chain(tail);
    for index in 0..check.contents.found.chain.len() {
        check.segment(index);
    }
    if let Some((at, head)) = newest {
        check.parts(at, &head);
    }
    Ok(Checked {
        report: check.report,
        cures: check.cures,
    })
}

/// The newest checkpoint head that can be read, and where it is.
#[must_use]
pub fn newest_head(contents: &Contents<'_>, identity: &Identity) -> Option<(Lsn, Head)> {
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
    /// One for each problem.
    cures: Vec<Option<Cure>>,
    /// The heads of checkpoints.
    heads: Vec<(Lsn, FrameHeader)>,
    /// The frames seen so far. A reference comes after its extent, and a checkpoint's entries are asked at the end.
    proven: Proven,
}

impl Check<'_, '_> {
    fn problem(&mut self, path: PathBuf, offset: u64, what: impl Into<String>, cure: Option<Cure>) {
        let (path, what) = (path.display().to_string(), what.into());
        self.report.problems.push(Problem { path, offset, what });
        self.cures.push(cure);
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// What comes of other damage that can be mended is looked at again then.
    fn follows(&self) -> Option<Cure> {
        self.cures
            .iter()
            .any(Option::is_some)
            .then_some(Cure::Follows)
    }

    fn segment_bytes(&self) -> u64 {
        u64::from(self.identity.segment_bytes)
    }

    fn oldest(&self) -> SegmentId {
        let first = self.contents.found.chain.first();
        first.map_or(SegmentId(u64::MAX), |s| s.header.number)
    }

    /// The file in which the frame at `lsn` lies.
    fn path_of(&self, lsn: Lsn) -> PathBuf {
        let number = lsn.segment(self.segment_bytes());
        let mut chain = self.contents.found.chain.iter();
        let slot = chain.find(|s| s.header.number == number).map(|s| s.slot);
        self.path(&slot.map_or_else(|| format!("(segment {number})"), file_name))
    }

    /// A problem with the frame at `lsn`.
    fn problem_at(&mut self, lsn: Lsn, what: impl Into<String>, cure: Option<Cure>) {
        let offset = lsn.offset(self.segment_bytes());
        self.problem(self.path_of(lsn), offset, what, cure);
    }

    /// To put a filler over the frame at `lsn`, which points at what is not there.
    fn giving_up(&self, lsn: Lsn, header: &FrameHeader) -> Option<Cure> {
        let give_up = || self.contents.give_up(lsn, header);
        self.follows()
            .or_else(|| Some(Cure::Patch(self.path_of(lsn), give_up()?)))
    }

    fn segment(&mut self, index: usize) {
        let segment = self.contents.examine(index);
        let path = self.path(&file_name(segment.slot));
        for damaged in &segment.damage {
            let cure = damaged.patch.clone();
            let cure = cure.map(|patch| Cure::Patch(path.clone(), patch));
            self.problem(
                path.clone(),
                damaged.offset,
                damaged.damage.to_string(),
                cure,
            );
        }
        if segment.state == SegmentState::Prepared {
            return;
        }
        self.report.segments += 1;
        self.report.bytes += self.segment_bytes();
        self.report.frames += segment.frames.len() as u64;
        match &segment.trailer {
            Some(trailer) => self.rows(path, &segment, trailer),
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
            self.proven.add(frame);
            self.frame(frame);
        }
    }

    /// Every frame that says something has its row, in order; and no row is about anything else.
    fn rows(&mut self, path: PathBuf, segment: &Examined, trailer: &Trailer) {
        self.report.rows += trailer.rows.len() as u64;
        // Frames that are mended first may be those that it names.
        let anew = |patch: Patch| Cure::Patch(path.clone(), patch);
        let whole = segment.damage.is_empty();
        let cure = || {
            let patch = whole.then(|| self.contents.trailer_of_frames(segment));
            patch.map_or(Some(Cure::Follows), |patch| patch.map(anew))
        };
        let mut rows = trailer.rows.iter();
        for frame in &segment.frames {
            let Some(expected) = frame.row else { continue };
            if !rows.any(|row| *row == expected) {
                let kind = expected.kind;
                let what = format!("the trailer does not have this {kind:?} as it is");
                let cure = cure();
                self.problem_at(frame.lsn, what, cure);
                return;
            }
        }
        // Where frames are damaged their rows are left over.
        let count = trailer.rows.len() as u64;
        if segment.damage.is_empty() && segment.rows().count() as u64 != count {
            let sector = u64::from(self.identity.sector);
            let at = zone_begin(count, self.segment_bytes(), sector);
            let what = format!("of {count} rows some are of no frame that is there");
            let cure = cure();
            self.problem(path, at, what, cure);
        }
    }
}
