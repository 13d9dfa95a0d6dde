//! The frames of one segment.

use std::fmt;
use std::path::Path;

use perennial_failpoints::StdFs;
use perennial_wal::frame::{FrameKind, flags};
use perennial_wal::segment::file_name;
use perennial_wal::{Contents, Damaged, FrameItem, SegmentId};
use serde::Serialize;

use crate::error::Result;
use crate::look::Look;

/// The frames of one segment, as they lie in it.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct SegmentFrames {
    /// The segment's number.
    pub number: u64,
    /// Its file's name.
    pub file: String,
    /// It is outside the log: for copies of what was worth keeping. Frames in it count where an entry points at them.
    pub kept: bool,
    /// Those that prove themselves, in ascending order. None of a segment in which nothing counts.
    pub frames: Vec<FrameSummary>,
    /// Places where none does, and one should.
    pub damage: Vec<FrameDamage>,
}

/// A frame that proves itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct FrameSummary {
    /// Where it begins in the file.
    pub offset: u64,
    /// Bytes that it takes there.
    pub bytes: u64,
    /// What it says: `put`, `ref`, `remove`, `mark`, `extent`, `part`, `head`, `pad`, `move` or `clear`.
    pub kind: &'static str,
    /// What its flags say.
    pub flags: Vec<String>,
    /// Bytes of its key.
    pub key_bytes: u64,
    /// Bytes of its value, as it is stored, or of filler.
    pub value_bytes: u64,
    /// The hash of its key, in hexadecimal; of a mark the stable position that was known then.
    pub hash: String,
    /// When the entry ends, in seconds since 1970.
    pub ends_at_s: Option<u32>,
    /// The file does not have it yet, or not any more; the tail does.
    pub in_tail: bool,
}

/// A damaged place of a segment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct FrameDamage {
    /// Where in the file.
    pub offset: u64,
    /// What is wrong.
    pub what: String,
}

/// The frames of the segment with this number, of the log or kept, of the cache in the directory `path`; `None` where it has no
/// such segment. Nothing is changed, and it may be open in another process: then the end of what it writes may look
/// damaged. Memory: the segment's bytes and its frames.
///
/// # Errors
/// As [`inspect`](crate::inspect()).
pub fn inspect_frames(path: impl AsRef<Path>, number: u64) -> Result<Option<SegmentFrames>> {
    let look = Look::open(&StdFs, path.as_ref(), false)?;
    let contents = look.contents()?;
    let found = frames(&contents, look.geometry().segment_bytes, SegmentId(number));
    contents.check_read()?;
    Ok(found)
}

fn frames(contents: &Contents<'_>, segment_bytes: u64, number: SegmentId) -> Option<SegmentFrames> {
    let found = &contents.found;
    if let Some(index) = found.chain.iter().position(|s| s.header.number == number) {
        let read = contents.examine(index);
        let of = (number, read.slot, false);
        return Some(listed(segment_bytes, of, &read.frames, read.damage));
    }
    let index = found.kept.iter().position(|s| s.header.number == number)?;
    let read = contents.examine_kept(index, &[]);
    let of = (number, read.slot, true);
    Some(listed(segment_bytes, of, &read.frames, read.damage))
}

fn listed(
    segment_bytes: u64,
    (number, slot, kept): (SegmentId, u32, bool),
    frames: &[FrameItem],
    damage: Vec<Damaged>,
) -> SegmentFrames {
    let damage = damage.into_iter().map(|damaged| FrameDamage {
        offset: damaged.offset,
        what: damaged.damage.to_string(),
    });
    SegmentFrames {
        number: number.0,
        file: file_name(slot),
        kept,
        frames: frames
            .iter()
            .map(|frame| FrameSummary::of(frame, segment_bytes))
            .collect(),
        damage: damage.collect(),
    }
}

impl FrameSummary {
    fn of(frame: &FrameItem, segment_bytes: u64) -> Self {
        let header = &frame.header;
        Self {
            offset: frame.lsn.offset(segment_bytes),
            bytes: frame.bytes,
            kind: name_of(header.kind),
            flags: flag_names(header.kind, header.flags),
            key_bytes: u64::from(header.key_bytes),
            value_bytes: u64::from(header.value_bytes),
            hash: format!("{:016x}", header.hash),
            ends_at_s: (header.expiry != 0).then_some(header.expiry),
            in_tail: frame.in_ring,
        }
    }
}

/// As `docs/format.md` names it.
pub(super) const fn name_of(kind: FrameKind) -> &'static str {
    match kind {
        FrameKind::Put => "put",
        FrameKind::Ref => "ref",
        FrameKind::Remove => "remove",
        FrameKind::Mark => "mark",
        FrameKind::Extent => "extent",
        FrameKind::Part => "part",
        FrameKind::Head => "head",
        FrameKind::Pad => "pad",
        FrameKind::Move => "move",
        FrameKind::Clear => "clear",
    }
}

/// What flags mean on a frame of this kind; bits that mean nothing there by their number.
pub(super) fn flag_names(kind: FrameKind, bits: u8) -> Vec<String> {
    let entry = matches!(kind, FrameKind::Put | FrameKind::Ref | FrameKind::Extent);
    let mut names = Vec::new();
    match bits & flags::CODEC {
        0 => {}
        1 => names.push("lz4".to_owned()),
        2 => names.push("zstd".to_owned()),
        codec => names.push(format!("codec {codec}")),
    }
    for bit in [0x10, 0x20, 0x40, 0x80]
        .into_iter()
        .filter(|bit| bits & bit != 0)
    {
        names.push(match (kind, bit) {
            (_, flags::CHUNKED) => "chunked".to_owned(),
            (FrameKind::Mark, flags::LAST) => "last".to_owned(),
            (FrameKind::Mark, flags::CLEAN) => "clean".to_owned(),
            (FrameKind::Pad, flags::FORGET) => "forget".to_owned(),
            (_, flags::LOW) if entry => "low".to_owned(),
            (_, flags::PINNED) if entry => "pinned".to_owned(),
            (_, bit) => format!("{bit:#x}"),
        });
    }
    names
}

impl fmt::Display for SegmentFrames {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kept = if self.kept { ", kept" } else { "" };
        let frames = self.frames.len();
        writeln!(
            f,
            "segment {} in {}{kept}: {frames} frames",
            self.number, self.file
        )?;
        write!(
            f,
            "{:>10}  {:>10}  {:<7}  {:>5}  {:>10}  {:<16}  flags",
            "offset", "bytes", "kind", "key", "value", "hash"
        )?;
        self.frames
            .iter()
            .try_for_each(|frame| write!(f, "\n{frame}"))?;
        let damage = self.damage.iter();
        damage
            .map(|one| (one.offset, &one.what))
            .try_for_each(|(offset, what)| write!(f, "\n{offset:>10}  damaged: {what}"))
    }
}

impl fmt::Display for FrameSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut notes = self.flags.clone();
        notes.extend(self.ends_at_s.map(|end| format!("ends at {end}")));
        notes.extend(self.in_tail.then(|| "in the tail".to_owned()));
        let line = format!(
            "{:>10}  {:>10}  {:<7}  {:>5}  {:>10}  {:<16}  {}",
            self.offset,
            self.bytes,
            self.kind,
            self.key_bytes,
            self.value_bytes,
            self.hash,
            notes.join(", ")
        );
        f.write_str(line.trim_end())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bit_means_what_its_kind_says() {
        for (kind, bits, names) in [
            (FrameKind::Put, 0x31, &["lz4", "chunked", "low"][..]),
            (FrameKind::Ref, 0x40, &["pinned"]),
            (FrameKind::Mark, 0x60, &["last", "clean"]),
            (FrameKind::Pad, 0x80, &["forget"]),
            (FrameKind::Head, 0x23, &["codec 3", "0x20"]),
            (FrameKind::Remove, 0, &[]),
        ] {
            assert_eq!(flag_names(kind, bits), names, "{kind:?}");
        }
    }
}
