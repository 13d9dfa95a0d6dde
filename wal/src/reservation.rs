//! A place in the log that one writer fills.
#![expect(
    unsafe_code,
    reason = "a reservation is the exclusive right to its bytes of the ring"
)]

mod whole;

use crate::buffer::Place;
use crate::core::LogCore;
use crate::frame::{CHUNK_BYTES, FrameHeader, FrameKind, HEADER_BYTES, flags, write_chunk_table};
use crate::lsn::{Lsn, to_u32, to_usize};

/// What a frame is to hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameSpec {
    /// `Put`, `Ref`, `Remove`, `Part` or `Head`.
    pub kind: FrameKind,
    /// The key's hash.
    pub hash: u64,
    /// Bytes of key.
    pub key_bytes: u16,
    /// Bytes of value.
    pub value_bytes: u32,
    /// When the entry ends, in seconds since 1970; 0 = never.
    pub expiry: u32,
    /// [`flags::CODEC`] and [`flags::PRIORITY`] as the writer wants them; [`flags::CHUNKED`] is set here.
    pub flags: u8,
}

impl FrameSpec {
    /// The header, its body crc still open.
    #[must_use]
    #[inline]
    pub const fn header(&self) -> FrameHeader {
        let chunked = if self.value_bytes as u64 > CHUNK_BYTES {
            flags::CHUNKED
        } else {
            0
        };
        FrameHeader {
            kind: self.kind,
            flags: self.flags | chunked,
            key_bytes: self.key_bytes,
            value_bytes: self.value_bytes,
            hash: self.hash,
            expiry: self.expiry,
            body_crc: 0,
        }
    }

    /// A `Remove` of the key with this hash.
    #[must_use]
    pub const fn remove(hash: u64) -> Self {
        Self {
            kind: FrameKind::Remove,
            hash,
            key_bytes: 0,
            value_bytes: 0,
            expiry: 0,
            flags: 0,
        }
    }
}

/// A reserved frame. [`complete`](Self::complete) it; dropped or aborted it becomes a `Remove` of its key over the same
/// bytes (PROTOCOL hole 22): its index entry has replaced the older version already, so the older must not come back.
#[derive(Debug)]
#[must_use = "an unfinished reservation becomes a remove of its key"]
pub struct Reservation<'a> {
    log: &'a LogCore,
    place: Place,
    header: FrameHeader,
}

impl<'a> Reservation<'a> {
    /// Takes over a place just reserved. The frame's ready word is cleared first, before anybody can know the address
    /// (PROTOCOL hole 23): what lies there is the last lap's user data.
    #[inline]
    pub(crate) fn new(log: &'a LogCore, place: Place, header: FrameHeader) -> Self {
        log.tail().clear_ready_at(place.at);
        Self { log, place, header }
    }

    /// Where the frame lies.
    #[must_use]
    #[inline]
    pub fn lsn(&self) -> Lsn {
        self.place.lsn
    }

    /// The first position behind the frame: [`LogCore::make_stable`] of it makes the frame durable.
    #[must_use]
    #[inline]
    pub fn end(&self) -> Lsn {
        self.place.lsn.plus(self.header.frame_bytes(1))
    }

    /// The bytes after the ready word.
    #[inline]
    fn bytes(&mut self) -> &mut [u8] {
        let len = self.header.frame_bytes(1);
        // SAFETY: I1 — the compare-and-swap that made `place` gave these bytes to this reservation alone, inside the
        // window and inside one buffer, which does not cross the ring's end. The ready word before them is only ever an atomic.
        unsafe {
            self.log
                .tail()
                .reserved_at(self.place.at + 8, to_usize(len) - 8)
        }
    }

    /// Key, chunk table and value, to be filled.
    pub fn body(&mut self) -> Body<'_> {
        let header = self.header;
        let body = &mut self.bytes()[to_usize(HEADER_BYTES) - 8..];
        let (key, rest) = body.split_at_mut(usize::from(header.key_bytes));
        let (table, rest) = rest.split_at_mut(to_usize(header.table_bytes()));
        Body {
            key,
            table,
            value: &mut rest[..to_usize(u64::from(header.value_bytes))],
        }
    }

    /// The frame is filled: from now on it can be read, and survives the process. Returns where it ends.
    pub fn complete(mut self) -> Lsn {
        if self.header.kind.has_body() {
            let covered = if self.header.flags & flags::CHUNKED != 0 {
                let body = self.body();
                write_chunk_table(body.table, body.value);
                self.header.value_offset()
            } else {
                HEADER_BYTES + self.header.body_bytes()
            };
            let body_crc =
                crc32fast::hash(&self.bytes()[to_usize(HEADER_BYTES) - 8..to_usize(covered) - 8]);
            self.header.body_crc = body_crc;
        }
        let end = self.end();
        self.finish();
        std::mem::forget(self);
        end
    }

    /// Gives the frame up: it becomes a `Remove` of its key.
    pub fn abort(self) {
        drop(self);
    }

    #[inline]
    fn finish(&mut self) {
        let lsn = self.place.lsn;
        let header = self.log.encode_header(&self.header, lsn);
        self.bytes()[..to_usize(HEADER_BYTES) - 8].copy_from_slice(&header[8..]);
        self.log.tail().publish_ready_at(self.place.at, &header);
        self.log.writer_done(self.place.seq);
    }
}

impl Drop for Reservation<'_> {
    fn drop(&mut self) {
        let filler = to_u32(to_usize(self.header.frame_bytes(1) - HEADER_BYTES));
        let kind = if perennial_failpoints::planted!("abandoned-is-a-pad") {
            FrameKind::Pad
        } else {
            FrameKind::Remove
        };
        self.header = FrameHeader::filler(kind, 0, self.header.hash, filler);
        self.finish();
    }
}

/// The parts of a reserved frame's body.
#[derive(Debug)]
pub struct Body<'a> {
    /// The key's place.
    pub key: &'a mut [u8],
    /// The chunk table's place; [`Reservation::complete`] fills it.
    pub(crate) table: &'a mut [u8],
    /// The value's place.
    pub value: &'a mut [u8],
}
