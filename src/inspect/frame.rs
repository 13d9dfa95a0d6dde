//! One frame, explained byte by byte.

use std::path::Path;

use perennial_failpoints::StdFs;
use perennial_failpoints::fs::{OpenMode, read_exact_at};
use perennial_wal::frame::{FrameError, FrameHeader, FrameKind, HEADER_BYTES, Seed};
use perennial_wal::segment::file_name;
use perennial_wal::{ALIGN, ChainSegment, Contents, Geometry, Lsn, SegmentId, to_usize};

use super::bodies;
use super::cursor::{Cursor, FrameField};
use super::frames::{flag_names, name_of};
use crate::error::{Error, Result};
use crate::look::Look;

/// One frame of a segment, field by field.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ShownFrame {
    /// The segment's number.
    pub number: u64,
    /// Its file's name.
    pub file: String,
    /// Where the frame begins in the file.
    pub offset: u64,
    /// Its position in the log, in bytes.
    pub position: u64,
    /// The bytes are the tail's: the file has nothing that proves itself there.
    pub in_tail: bool,
    /// The header's crc fits. Where it does not, what the header says is not to be believed, and the fields end with it.
    pub header_is_good: bool,
    /// The body's crc fits, and those of its chunks; `None` for a frame without a body, and where the header is not good.
    pub body_is_good: Option<bool>,
    /// All bytes of it, in order.
    pub fields: Vec<FrameField>,
}

/// Explains the bytes at `offset` in the file of the segment with this number, of the log or kept, as a frame; `None` where the
/// cache in the directory `path` has no such segment. It need not be the begin of a frame: then the header is not good. Nothing
/// is changed, and the cache may be open in another process. Memory: the frame's bytes, twice.
///
/// # Errors
/// [`ErrorKind::Invalid`](crate::ErrorKind::Invalid) for an offset that is no multiple of 16, in the header of the segment, or
/// behind its end; else as [`inspect`](crate::inspect()).
pub fn inspect_frame(
    path: impl AsRef<Path>,
    number: u64,
    offset: u64,
) -> Result<Option<ShownFrame>> {
    let look = Look::open(&StdFs, path.as_ref(), false)?;
    let contents = look.contents()?;
    let found = &contents.found;
    let mut segments = found.chain.iter().chain(&found.kept);
    let Some(segment) = segments.find(|s| s.header.number == SegmentId(number)) else {
        return Ok(None);
    };
    check_offset(offset, look.geometry())?;
    let place = Place::new(&look, segment, offset);
    let (bytes, in_tail) = place.frame(&contents)?;
    Ok(Some(place.shown(&bytes, in_tail)))
}

fn check_offset(offset: u64, geometry: Geometry) -> Result<()> {
    let frames = geometry.data_begin()..geometry.segment_bytes - HEADER_BYTES;
    if frames.contains(&offset) && offset.is_multiple_of(ALIGN) {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "no frame begins at offset {offset}: choose a multiple of 16 from {} up to {}",
        frames.start, frames.end
    )))
}

/// Where a frame may be.
struct Place<'a> {
    look: &'a Look,
    segment: &'a ChainSegment,
    seed: Seed,
    offset: u64,
    lsn: Lsn,
}

impl<'a> Place<'a> {
    fn new(look: &'a Look, segment: &'a ChainSegment, offset: u64) -> Self {
        let segment_bytes = look.geometry().segment_bytes;
        Self {
            look,
            segment,
            seed: segment.header.seed_at(offset),
            offset,
            lsn: Lsn::new(segment.header.number, offset, segment_bytes),
        }
    }

    /// The file's bytes; the tail's where those prove themselves and the file's do not.
    fn frame(&self, contents: &Contents<'_>) -> Result<(Vec<u8>, bool)> {
        let in_file = self.in_file()?;
        if FrameHeader::decode_whole(&in_file, self.seed, self.offset).is_ok() {
            return Ok((in_file, false));
        }
        let in_ring = self.in_ring(contents.end());
        let in_ring = in_ring.and_then(|ring| {
            let header = FrameHeader::decode_whole(ring, self.seed, self.offset).ok()?;
            Some(self.cut(ring, &header).to_vec())
        });
        Ok(in_ring.map_or((in_file, false), |frame| (frame, true)))
    }

    /// From the first byte to the last that the header claims, its padding included, where the header is good; else the header.
    fn in_file(&self) -> Result<Vec<u8>> {
        let head = self.read(HEADER_BYTES)?;
        let Ok(header) = FrameHeader::decode(&head, self.seed, self.offset) else {
            return Ok(head);
        };
        self.read(header.frame_bytes(self.look.geometry().sector))
    }

    fn read(&self, bytes: u64) -> Result<Vec<u8>> {
        let name = file_name(self.segment.slot);
        let most = self.look.geometry().segment_bytes - self.offset;
        let mut read = vec![0; to_usize(bytes.min(most))];
        let file = self.look.dir.open(&name, OpenMode::Read);
        file.and_then(|file| read_exact_at(&*file, &mut read, self.offset))
            .map_err(|e| Error::io(format!("cannot read {name}"), e))?;
        Ok(read)
    }

    /// What the tail has for the place, if it has any of the log's below `end`.
    fn in_ring(&self, end: Lsn) -> Option<&'a [u8]> {
        let evidence = self.look.tail.evidence();
        let at = to_usize(self.lsn.0).checked_rem(evidence.ring.len())?;
        let counts = evidence.same_boot && self.segment.header.kept.is_none() && self.lsn < end;
        counts.then(|| &evidence.ring[at..])
    }

    fn cut<'b>(&self, bytes: &'b [u8], header: &FrameHeader) -> &'b [u8] {
        let end = to_usize(header.frame_bytes(self.look.geometry().sector));
        &bytes[..end.min(bytes.len())]
    }

    fn shown(&self, bytes: &[u8], in_tail: bool) -> ShownFrame {
        let header = FrameHeader::decode(bytes, self.seed, self.offset);
        let body = header.as_ref().ok().filter(|header| header.kind.has_body());
        let body_is_good = body.map(|header| header.check_body(bytes).is_ok());
        let mut cursor = Cursor::new(bytes, self.offset);
        if let Err(FrameError::Place { .. }) = header {
            // These may be bytes of a value.
            cursor.content("header", cursor.left(), "of no frame that begins here");
        } else {
            header_fields(&mut cursor, &header, body_is_good);
        }
        if let Ok(header) = &header {
            cursor.end_at(to_usize(HEADER_BYTES + header.body_bytes()));
            bodies::fields(&mut cursor, header);
            cursor.content("rest", cursor.left(), "of no field");
            cursor.end_at(bytes.len());
            cursor.content("padding", cursor.left(), "under no crc");
        }
        ShownFrame {
            number: self.segment.header.number.0,
            file: file_name(self.segment.slot),
            offset: self.offset,
            position: self.lsn.0,
            in_tail,
            header_is_good: header.is_ok(),
            body_is_good,
            fields: cursor.into_fields(),
        }
    }
}

fn header_fields(
    cursor: &mut Cursor<'_>,
    header: &std::result::Result<FrameHeader, FrameError>,
    body_is_good: Option<bool>,
) {
    let kind = header.as_ref().ok().map(|header| header.kind);
    cursor.number("header crc", 4, |_| match header {
        Err(FrameError::HeaderCrc { expected, .. }) => {
            format!("bad: the bytes behind it give {expected:#010x}")
        }
        Err(error) => error.to_string(),
        Ok(_) => "good".to_owned(),
    });
    cursor.number("place", 4, |place| {
        format!("offset {} in units of 16", place * ALIGN)
    });
    cursor.number("kind", 1, |byte| {
        let known = FrameKind::ALL.into_iter().find(|kind| *kind as u64 == byte);
        known.map_or("none there is", name_of).to_owned()
    });
    cursor.number("flags", 1, |bits| {
        let bits = bits.to_le_bytes()[0];
        kind.map_or_else(String::new, |kind| {
            match flag_names(kind, bits).join(", ") {
                none if none.is_empty() => "none".to_owned(),
                names => names,
            }
        })
    });
    cursor.count("key bytes", 2);
    cursor.count("value bytes", 4);
    cursor.number("key hash", 8, |hash| hash_meaning(kind, hash));
    cursor.number("expiry", 4, |end| match end {
        0 => "never".to_owned(),
        end => format!("{end} seconds since 1970"),
    });
    cursor.number("body crc", 4, |_| {
        match (kind, body_is_good) {
            (None, _) => "not looked at",
            (Some(_), None) => "none: what follows is filler",
            (Some(_), Some(true)) => "good",
            (Some(_), Some(false)) => "bad: not that of the bytes behind the header",
        }
        .to_owned()
    });
}

fn hash_meaning(kind: Option<FrameKind>, hash: u64) -> String {
    match kind {
        Some(FrameKind::Mark) => format!("the log was stable to position {hash:#x}"),
        Some(FrameKind::Part | FrameKind::Head | FrameKind::Move | FrameKind::Clear) => {
            "of no key".to_owned()
        }
        Some(FrameKind::Pad) => "means nothing".to_owned(),
        _ => "low half of xxh3-128 of the key".to_owned(),
    }
}
