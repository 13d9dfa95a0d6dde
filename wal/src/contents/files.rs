//! Bytes of the log's files, and of the ring where it counts.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use perennial_failpoints::fs::{File, OpenMode, advise_large_pages, read_exact_at};

use super::Contents;
use super::window::Window;
use crate::aligned::AlignedBuf;
use crate::error::WalError;
use crate::frame::{FrameHeader, HEADER_BYTES};
use crate::lsn::{Lsn, SegmentId, align_down, align_up, to_usize};
use crate::scan::{ChainSegment, is_medias, read_header};
use crate::segment::{HeaderFound, Row, Trailer, file_name};
use crate::table::{TableBuffer, TableFile};
use crate::walk::{Item, SegmentBytes, walk};

/// Bytes read of a segment behind what was reserved in it: one frame's header, so that none is missed for a wrong end.
const BEHIND: u64 = 64 << 10;

/// A segment is read in pieces of this size.
const PIECE_BYTES: usize = 1 << 20;

/// What a piece has that the media does not give is found in parts of this size: a bad sector costs what lies there.
const PART_BYTES: usize = 512;

/// Two handles of a segment's file: one past the page cache, where the system gives it.
#[derive(Debug, Clone)]
pub(super) struct Files {
    buffered: Arc<dyn File>,
    direct: Option<Arc<dyn File>>,
}

/// What was read of a segment's file.
pub(crate) struct FileBytes {
    /// From the file's start.
    pub(crate) bytes: AlignedBuf,
    /// Where the media gave nothing and zeros stand for it, in ascending order. That is damage, and never space that nobody
    /// wrote to.
    pub(crate) unread: Vec<Range<u64>>,
}

impl<'a> Contents<'a> {
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
    pub(crate) fn file_bytes(&self, segment: &ChainSegment, range: Range<u64>) -> FileBytes {
        let end = range.end.min(self.geometry.segment_bytes);
        let mut bytes = AlignedBuf::zeroed(to_usize(align_up(end, self.geometry.sector)));
        // A sixth of an open was the page faults of this.
        advise_large_pages(&mut bytes);
        let start = align_down(range.start, self.geometry.sector);
        let mut unread = Vec::new();
        let files = self.files(segment);
        self.read_into(
            segment,
            files.as_ref(),
            &mut bytes[to_usize(start)..],
            start,
            &mut unread,
        );
        FileBytes { bytes, unread }
    }

    /// A segment's file, twice: what lies in it was written past the page cache and is read once.
    pub(super) fn files(&self, segment: &ChainSegment) -> Option<Files> {
        let buffered = self.file(segment)?;
        let direct = self.dir.open(&file_name(segment.slot), OpenMode::Direct);
        Some(Files {
            buffered,
            direct: direct.ok(),
        })
    }

    /// Reads what lies in a segment's file from `at` on, and adds to `unread` where the media gave nothing.
    pub(super) fn read_into(
        &self,
        segment: &ChainSegment,
        files: Option<&Files>,
        bytes: &mut [u8],
        at: u64,
        unread: &mut Vec<Range<u64>>,
    ) {
        let Some(files) = files else {
            bytes.fill(0);
            unread.push(at..at + bytes.len() as u64);
            return;
        };
        for (i, part) in bytes.chunks_mut(PIECE_BYTES).enumerate() {
            let at = at + (i * PIECE_BYTES) as u64;
            let past_the_cache = |file: &Arc<dyn File>| read_exact_at(&**file, part, at).is_ok();
            if !files.direct.as_ref().is_some_and(past_the_cache) {
                unread.extend(self.read_in_parts(segment, &*files.buffered, part, at));
            }
        }
    }

    /// Reads a piece and, where the media does not give it as a whole, what it gives of it. Returns what it does not: behind
    /// the file's end nothing was written, or lost power took its length, and that is no damage.
    fn read_in_parts(
        &self,
        segment: &ChainSegment,
        file: &dyn File,
        piece: &mut [u8],
        at: u64,
    ) -> Vec<Range<u64>> {
        if self
            .read_of(segment, read_exact_at(file, piece, at))
            .is_some()
        {
            return Vec::new();
        }
        let end = self.read_of(segment, file.len()).unwrap_or(u64::MAX);
        let mut unread = Vec::new();
        for (i, part) in piece.chunks_mut(PART_BYTES).enumerate() {
            let at = at + (i * PART_BYTES) as u64;
            if at + part.len() as u64 > end {
                // The memory may have been another part's.
                part.fill(0);
                continue;
            }
            if self
                .read_of(segment, read_exact_at(file, part, at))
                .is_none()
            {
                part.fill(0);
                unread.push(at..at + part.len() as u64);
            }
        }
        unread
    }

    /// True while each segment that counts, from `from` on, still lies in the file that it was found in. Its header is written
    /// before anything else of the next one, so all that was read of them until now was theirs.
    #[must_use]
    pub fn still_there(&self, from: SegmentId) -> bool {
        let counts = &self.found.chain[..self.segments().len()];
        let mut read = counts.iter().filter(|s| s.header.number >= from);
        read.all(|segment| {
            let name = file_name(segment.slot);
            matches!(
                read_header(self.dir, &name, self.geometry),
                Ok((HeaderFound::Good(now), _))
                    if now.cache_id == segment.header.cache_id
                        && now.number == segment.header.number
                        && now.kept.is_none()
            )
        })
    }

    pub(crate) fn trailer_of(&self, segment: &ChainSegment) -> Option<Trailer> {
        self.with_table(segment, |table| {
            table.trailer(&segment.header, self.geometry, &mut TableBuffer::default())
        })
    }

    /// True for a segment that ends like one with a trailer of its own.
    pub(super) fn says_sealed(&self, segment: &ChainSegment, buffer: &mut TableBuffer) -> bool {
        let said = self.with_table(segment, |table| {
            table.claims(&segment.header, self.geometry, buffer)
        });
        said.is_some()
    }

    /// Gives `each` the rows of a sealed segment; false where it has no good trailer, and what `each` was given does not count.
    pub(super) fn each_row(
        &self,
        segment: &ChainSegment,
        buffer: &mut TableBuffer,
        mut each: impl FnMut(Row),
    ) -> bool {
        let read = self.with_table(segment, |table| {
            table.each_row(&segment.header, self.geometry, buffer, |_, row| each(row))
        });
        read.is_some()
    }

    fn with_table<T>(
        &self,
        segment: &ChainSegment,
        read: impl FnOnce(TableFile<'_>) -> io::Result<Option<T>>,
    ) -> Option<T> {
        let files = self.files(segment)?;
        let read = read(TableFile {
            file: &*files.buffered,
            direct: files.direct.as_deref(),
        });
        self.read_of(segment, read).flatten()
    }

    pub(crate) fn ring(&self) -> &'a [u8] {
        if self.tail.same_boot {
            self.tail.ring
        } else {
            &[]
        }
    }

    pub(super) fn walk(&self, segment: &ChainSegment) -> Vec<Item> {
        // What was reserved behind it is not stable either, and a frame there is in the ring.
        let reserved_to = self.reserved_to(segment);
        let read_to = if self.tail.moving {
            // What a header attests by now may lie behind all that the tail knew.
            u64::MAX
        } else {
            reserved_to.saturating_add(BEHIND)
        };
        let mut window = Window::new(self, segment, read_to);
        std::thread::scope(|scope| {
            window.read_ahead(scope, 0);
            walk(&segment.header, self.ring(), reserved_to, window)
        })
    }

    pub(crate) fn walk_bytes(&self, segment: &ChainSegment, file: &FileBytes) -> Vec<Item> {
        SegmentBytes {
            header: &segment.header,
            file: &file.bytes,
            unread: &file.unread,
            ring: self.ring(),
            reserved_to: self.reserved_to(segment),
        }
        .walk()
    }

    /// The offset in a segment from which on the dead process had reserved nothing, as its tail attests: a recycled file
    /// is not read for frames that cannot be there. All of it, where there is no tail of this boot. Where a process goes on
    /// the log ends at the first gap above what is attested, so what lies behind one does not matter.
    fn reserved_to(&self, segment: &ChainSegment) -> u64 {
        let head = self.tail.head.as_ref().filter(|_| self.tail.same_boot);
        let reserved = head.and_then(|head| {
            let end = head.descriptors.reserved_end(Lsn(u64::MAX))?;
            Some(end.max(head.stable.unwrap_or_default()))
        });
        let attested = self.tail.moving.then(|| self.attested());
        let Some(end) = attested.or(reserved) else {
            return u64::MAX;
        };
        let begin = Lsn::new(segment.header.number, 0, self.geometry.segment_bytes);
        end.0
            .saturating_sub(begin.0)
            .max(self.geometry.data_begin())
    }

    /// How many bytes the frame at `lsn` takes, if its header proves itself in its segment.
    #[must_use]
    pub fn frame_bytes(&self, lsn: Lsn) -> Option<u64> {
        let segment = self.chain_segment(lsn)?;
        let offset = lsn.offset(self.geometry.segment_bytes);
        let mut header = [0; to_usize(HEADER_BYTES)];
        read_exact_at(&*self.file(segment)?, &mut header, offset).ok()?;
        let header = FrameHeader::decode(&header, segment.header.seed_at(offset), offset).ok()?;
        Some(header.frame_bytes(self.geometry.sector))
    }

    fn chain_segment(&self, lsn: Lsn) -> Option<&ChainSegment> {
        let number = lsn.segment(self.geometry.segment_bytes);
        let mut chain = self.found.chain.iter();
        chain.find(|segment| segment.header.number == number)
    }

    /// The whole frame at `lsn`, if it proves itself in its segment or, in the boot it was written in, in the ring.
    #[must_use]
    pub fn frame(&self, lsn: Lsn, bytes: u32) -> Option<(FrameHeader, Vec<u8>)> {
        let segment = self.chain_segment(lsn)?;
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
}
