//! What a cache directory consists of, also while a process has it open.

mod bodies;
mod cursor;
mod frame;
mod frames;

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use perennial_failpoints::StdFs;
use perennial_failpoints::fs::Fs;
use perennial_recovery::{TailKind, newest_head};
use perennial_wal::{Contents, Outline, SegmentState};
use serde::Serialize;

use crate::error::Result;
use crate::look::Look;

pub use cursor::FrameField;
pub use frame::{ShownFrame, inspect_frame};
pub use frames::{FrameSummary, SegmentFrames, inspect_frames};

/// What a cache directory consists of. A cache that is open changes while it is looked at, so the parts of this need
/// not be of one moment.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct Inspection {
    /// Tells this cache from every other, in hexadecimal.
    pub cache_id: String,
    /// Bytes of a segment.
    pub segment_bytes: u64,
    /// The unit of writing in bytes.
    pub sector: u64,
    /// How many bits of a key's hash tell keys apart.
    pub identity_bits: u8,
    /// The segment files: the log's, oldest first, then the kept ones, then the free ones.
    pub segments: Vec<SegmentSummary>,
    /// Which lives of the log wrote in its segments, oldest first. An open after a clean close in the same boot goes on as the life
    /// before, so each but the first is an open after a kill, or in another boot.
    pub lives: Vec<Life>,
    /// Where the log ends: a position in bytes.
    pub end: u64,
    /// The newest checkpoint.
    pub checkpoint: Option<CheckpointSummary>,
    /// The tail.
    pub tail: TailSummary,
}

/// A segment file.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct SegmentSummary {
    /// Its number in the log; 0 for a free file, which has none.
    pub number: u64,
    /// The number in its file's name.
    pub slot: u32,
    /// What it is used for.
    pub state: FileState,
    /// How many times an open of the cache went on in it, its first one included.
    pub joins: u64,
    /// Inserts, removes and checkpoints in it.
    pub frames: u64,
    /// Bytes of its frames.
    pub bytes: u64,
    /// Where they end in the file: an offset in bytes.
    pub data_end: u64,
}

/// What a segment file is used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum FileState {
    /// Full, and closed with a table of what is in it.
    Sealed,
    /// Being written, or left so by a process that died.
    Open,
    /// Next to be written.
    Prepared,
    /// Outside the log: holds copies of entries that were worth keeping.
    Kept,
    /// Nothing in it counts.
    Free,
    /// Looks like a segment and is not this cache's.
    Foreign,
}

/// A life of the log, from an open to a kill or the end of a boot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Life {
    /// Its first position in the log, in bytes; of the first one, the first that is left.
    pub begin: u64,
    /// Its random number, in hexadecimal.
    pub incarnation: String,
}

/// A checkpoint of the index.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct CheckpointSummary {
    /// Where its head is in the log: a position in bytes.
    pub head: u64,
    /// Where replay begins behind it: a position in bytes.
    pub c: u64,
    /// Entries in it.
    pub entries: u64,
    /// Counts checkpoints.
    pub generation: u64,
}

/// The tail.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct TailSummary {
    /// It is a mapped file, which outlives the process.
    pub mapped: bool,
    /// The file.
    pub path: Option<String>,
    /// Bytes of its ring.
    pub ring_bytes: u64,
    /// It was written since the machine started, so what it holds counts.
    pub same_boot: bool,
    /// Up to where the log is on stable storage, as far as is known: a position in bytes.
    pub stable: u64,
}

/// Looks into the cache in the directory `path`. Nothing is changed, and it may be open in another process.
///
/// # Errors
/// As [`verify`](crate::verify()), but never [`ErrorKind::Locked`](crate::ErrorKind::Locked).
pub fn inspect(path: impl AsRef<Path>) -> Result<Inspection> {
    inspect_with(Arc::new(StdFs), path)
}

/// Like [`inspect`], over any file system.
///
/// # Errors
/// As [`inspect`].
pub fn inspect_with(fs: Arc<dyn Fs>, path: impl AsRef<Path>) -> Result<Inspection> {
    let look = Look::open(&*fs, path.as_ref(), false)?;
    let contents = look.contents()?;
    let identity = &look.identity;
    let checkpoint = newest_head(&contents, identity).map(|(at, head)| CheckpointSummary {
        head: at.0,
        c: head.c.0,
        entries: head.entries,
        generation: head.generation,
    });
    let mapped = identity.tail.kind == TailKind::Mapped;
    Ok(Inspection {
        cache_id: format!("{:016x}", identity.cache_id),
        segment_bytes: u64::from(identity.segment_bytes),
        sector: u64::from(identity.sector),
        identity_bits: identity.identity_bits,
        segments: segments(&contents),
        lives: lives(&contents),
        end: contents.end().0,
        checkpoint,
        tail: TailSummary {
            mapped,
            path: mapped.then(|| look.tail.path.display().to_string()),
            ring_bytes: identity.tail.ring_bytes,
            same_boot: look.tail.same_boot,
            stable: contents.stable.0,
        },
    })
}

fn segments(contents: &Contents<'_>) -> Vec<SegmentSummary> {
    let found = &contents.found;
    let chain = (0..found.chain.len()).map(|index| SegmentSummary::from(contents.outline(index)));
    let other = |slot: u32, state| SegmentSummary {
        number: 0,
        slot,
        state,
        joins: 0,
        frames: 0,
        bytes: 0,
        data_end: 0,
    };
    let free = found.free.iter().map(|slot| other(*slot, FileState::Free));
    let foreign = found
        .foreign
        .iter()
        .filter_map(|(name, _)| perennial_wal::segment::slot_of(name))
        .map(|slot| other(slot, FileState::Foreign));
    let kept = (0..found.kept.len()).map(|index| SegmentSummary {
        state: FileState::Kept,
        ..SegmentSummary::from(contents.outline_kept(index))
    });
    chain.chain(kept).chain(free).chain(foreign).collect()
}

fn lives(contents: &Contents<'_>) -> Vec<Life> {
    let counts = contents.segments().len();
    let mut before = None;
    let mut lives = Vec::new();
    for header in contents.found.chain[..counts].iter().map(|s| &s.header) {
        for join in &header.joins {
            if before.replace(join.incarnation) != Some(join.incarnation) {
                let segment_bytes = u64::from(header.segment_bytes);
                lives.push(Life {
                    begin: header.number.0 * segment_bytes + u64::from(join.begin),
                    incarnation: format!("{:016x}", join.incarnation),
                });
            }
        }
    }
    lives
}

impl From<Outline> for SegmentSummary {
    fn from(outline: Outline) -> Self {
        let joins = &outline.header.joins;
        let begin = joins.first().map_or(0, |join| u64::from(join.begin));
        Self {
            number: outline.header.number.0,
            slot: outline.slot,
            state: match outline.state {
                SegmentState::Sealed => FileState::Sealed,
                SegmentState::Unsealed => FileState::Open,
                SegmentState::Prepared => FileState::Prepared,
            },
            joins: joins.len() as u64,
            frames: outline.rows,
            bytes: outline.data_end.saturating_sub(begin),
            data_end: outline.data_end,
        }
    }
}

impl fmt::Display for Inspection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "cache {}: segments of {} bytes, sectors of {}, {} bits of hash",
            self.cache_id, self.segment_bytes, self.sector, self.identity_bits
        )?;
        let tail = &self.tail;
        writeln!(
            f,
            "tail of {} bytes {}{}, log stable to {:#x}",
            tail.ring_bytes,
            tail.path.as_deref().unwrap_or("in process memory"),
            if tail.same_boot { ", of this boot" } else { "" },
            tail.stable
        )?;
        match &self.checkpoint {
            None => writeln!(f, "no checkpoint")?,
            Some(c) => writeln!(
                f,
                "checkpoint {} at {:#x}: {} entries, replay from {:#x}",
                c.generation, c.head, c.entries, c.c
            )?,
        }
        write!(
            f,
            "{:>8}  {:<10}  {:<8}  {:>5}  {:>8}  {:>10}",
            "segment", "file", "state", "joins", "frames", "bytes"
        )?;
        self.segments.iter().try_for_each(|s| write!(f, "\n{s}"))
    }
}

impl fmt::Display for SegmentSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = if self.number == 0 {
            "-".to_owned()
        } else {
            self.number.to_string()
        };
        write!(
            f,
            "{number:>8}  {:<10}  {:<8}  {:>5}  {:>8}  {:>10}",
            perennial_wal::segment::file_name(self.slot),
            self.state.to_string(),
            self.joins,
            self.frames,
            self.bytes
        )
    }
}

impl fmt::Display for FileState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sealed => "sealed",
            Self::Open => "open",
            Self::Prepared => "prepared",
            Self::Kept => "kept",
            Self::Free => "free",
            Self::Foreign => "foreign",
        })
    }
}
