//! What a verification says.

use std::fmt;

use serde::Serialize;

/// Damage, and where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The file.
    pub path: String,
    /// Where in it.
    pub offset: u64,
    /// What is wrong, in a sentence.
    pub what: String,
}

/// What a verification found. What a power loss cut off and what a killed process left unfinished is no problem: it is
/// in `unsealed_bytes`, and the next open puts it in order.
///
/// Each problem is one. What a reference or an entry of the newest checkpoint points at is looked up in a filter of the
/// frames that proved themselves: about one bad pointer in a million passes (in a log of a billion frames one in 60),
/// and none that is sound is ever reported.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[non_exhaustive]
pub struct VerifyReport {
    /// Segments of the log, those not counted that are only prepared.
    pub segments: u64,
    /// Kept segments: what counts in them is what an open would find there.
    pub kept_segments: u64,
    /// Frames that prove themselves.
    pub frames: u64,
    /// Rows of trailers.
    pub rows: u64,
    /// Values in extents of their own.
    pub extents: u64,
    /// Checkpoints whose head proves itself.
    pub checkpoints: u64,
    /// Bytes that were read.
    pub bytes: u64,
    /// Entries that an open would find.
    pub live_entries: u64,
    /// Bytes of frames in segments without a trailer.
    pub unsealed_bytes: u64,
    /// Files in the directory that are not this cache's. They are left alone.
    pub foreign_files: u64,
    /// All damage that was found.
    pub problems: Vec<Problem>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, offset, what } = self;
        write!(f, "{path} at offset {offset}: {what}")
    }
}

impl fmt::Display for VerifyReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for problem in &self.problems {
            writeln!(f, "{problem}")?;
        }
        writeln!(
            f,
            "{} entries in {} segments and {} kept ones; {} frames, {} rows, {} extents and {} checkpoints, {} bytes read",
            self.live_entries,
            self.segments,
            self.kept_segments,
            self.frames,
            self.rows,
            self.extents,
            self.checkpoints,
            self.bytes
        )?;
        write!(
            f,
            "{} bytes not sealed yet, {} foreign files, {} problems",
            self.unsealed_bytes,
            self.foreign_files,
            self.problems.len()
        )
    }
}
