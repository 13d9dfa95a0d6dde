//! One appended unit of the log: header, key, value.
//!
//! ```text
//!  byte  0          4          8    9     10      12         16                 24         28         32
//!       | header    | place    |kind|flags| key   | value    | key hash         | expiry   | body     | key, chunk
//!       | crc       | /16 B    |    |     | bytes | bytes    |                  | unix s   | crc      | table, value
//! ```
//! The first eight bytes are the *ready word*: whoever finishes a frame stores them last, so a frame whose ready word
//! is zero is not there yet. `place` is the frame's own offset in its segment and is never 0. The header crc covers
//! bytes 4..32 and starts from a [`Seed`] of cache, segment number and incarnation, so that bytes of an earlier life,
//! of another cache or of another place never pass for this frame (PROTOCOL hole 10). The body crc lies under the
//! header crc, so a damaged value still tells whose it was.

use crate::lsn::{ALIGN, Lsn, align_up, to_u32, to_usize};

/// Bytes of a frame's header.
pub const HEADER_BYTES: u64 = 32;

/// A value longer than this carries one crc per piece of this size, so that a range read verifies only what it touches.
pub const CHUNK_BYTES: u64 = 64 << 10;

/// What a frame says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum FrameKind {
    /// Key and value.
    Put = 1,
    /// The key's value lies in an extent; the body is its address.
    Ref = 2,
    /// The key is gone. Also what an abandoned reservation of a key becomes.
    Remove = 3,
    /// The end of an io buffer; carries the stable LSN known when it was sealed.
    Mark = 4,
    /// Key and value too large for an io buffer, on sectors of its own. Means nothing until a `Ref` names it.
    Extent = 5,
    /// A part of a checkpoint: entries of the index.
    Part = 6,
    /// The head of a checkpoint: the checkpoint exists when this frame does.
    Head = 7,
    /// Space that means nothing.
    Pad = 8,
    /// Entries are elsewhere now, in a kept segment: each from an old address to a new one.
    Move = 9,
    /// Of everything before it only what its body says is left; with no body, nothing.
    Clear = 10,
}

impl FrameKind {
    /// Every kind, for tests that walk them.
    pub const ALL: [Self; 10] = [
        Self::Put,
        Self::Ref,
        Self::Remove,
        Self::Mark,
        Self::Extent,
        Self::Part,
        Self::Head,
        Self::Pad,
        Self::Move,
        Self::Clear,
    ];

    pub(crate) fn from_byte(byte: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| *kind as u8 == byte)
    }

    /// True when the bytes after the header are covered by the body crc; else they are filler.
    #[must_use]
    #[inline]
    pub const fn has_body(self) -> bool {
        !matches!(self, Self::Remove | Self::Mark | Self::Pad)
    }
}

/// Bits of [`FrameHeader::flags`].
pub mod flags {
    /// Low four bits: id of the codec the value is stored with; 0 = as it is.
    pub const CODEC: u8 = 0x0f;
    /// The body has a table of one crc per [`CHUNK_BYTES`](super::CHUNK_BYTES) of the value.
    pub const CHUNKED: u8 = 0x10;
    /// On a `Put`, `Ref` or `Extent`: what the entry is worth, one of the two below or none.
    pub const PRIORITY: u8 = LOW | PINNED;
    /// The entry is never kept when its segment is reclaimed.
    pub const LOW: u8 = 0x20;
    /// The entry is always kept.
    pub const PINNED: u8 = 0x40;
    /// On a `Mark`: the last frame of its segment.
    pub const LAST: u8 = 0x20;
    /// On a `Mark`: the log was closed cleanly behind this frame. It goes on at the next sector.
    pub const CLEAN: u8 = 0x40;
    /// On a `Pad`: damage lay here, to an operation on a key nobody could tell. Everything older is forgotten.
    pub const FORGET: u8 = 0x80;
}

/// Where every header crc starts: cache, segment and life.
///
/// A crc goes on from a seed as it goes on from bytes, so the seed's bytes are kept and the header's follow them: one
/// crc of 52 bytes takes half as long as one of the seed and one of the header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seed([u8; SEED_BYTES]);

const SEED_BYTES: usize = 24;
/// Of a header, what its crc covers.
const COVERED_BYTES: usize = to_usize(HEADER_BYTES) - 4;

impl Seed {
    /// The seed of the frames that the life `incarnation` writes into segment `number` of cache `cache_id`.
    #[must_use]
    #[inline]
    pub fn new(cache_id: u64, number: u64, incarnation: u64) -> Self {
        let incarnation = if perennial_failpoints::planted!("seed-without-incarnation") {
            0
        } else {
            incarnation
        };
        let mut bytes = [0; SEED_BYTES];
        bytes[..8].copy_from_slice(&cache_id.to_le_bytes());
        bytes[8..16].copy_from_slice(&number.to_le_bytes());
        bytes[16..].copy_from_slice(&incarnation.to_le_bytes());
        Self(bytes)
    }

    /// The crc of a header.
    #[inline]
    fn crc(self, header: &[u8; to_usize(HEADER_BYTES)]) -> u32 {
        let mut bytes = [0; SEED_BYTES + COVERED_BYTES];
        bytes[..SEED_BYTES].copy_from_slice(&self.0);
        bytes[SEED_BYTES..].copy_from_slice(&header[4..]);
        crc32fast::hash(&bytes)
    }
}

/// A frame's header, decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameHeader {
    /// What the frame says.
    pub kind: FrameKind,
    /// See [`flags`].
    pub flags: u8,
    /// Bytes of key in the body.
    pub key_bytes: u16,
    /// Bytes of value in the body; of filler for kinds without a body.
    pub value_bytes: u32,
    /// The key's hash; the stable LSN on a `Mark`.
    pub hash: u64,
    /// When the entry ends, in seconds since 1970; 0 = never.
    pub expiry: u32,
    /// crc32 of key and value; with [`flags::CHUNKED`] of key and chunk table.
    pub body_crc: u32,
}

/// Why bytes are not the frame that was expected at a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Fewer bytes than a header, or than the header says.
    #[error("frame is cut short")]
    Short,
    /// The place field names another place.
    #[error("frame names place {found:#x}, expected {expected:#x}")]
    Place {
        /// What the frame says, in 16-byte units.
        found: u32,
        /// Where it was looked for.
        expected: u32,
    },
    /// The header crc does not fit.
    #[error("frame header crc {found:#010x}, expected {expected:#010x}")]
    HeaderCrc {
        /// What the header says.
        found: u32,
        /// What its bytes give.
        expected: u32,
    },
    /// The header proves itself but says something no writer writes.
    #[error("frame header says something impossible")]
    Impossible,
    /// The body crc does not fit; the header is good.
    #[error("frame body crc does not fit its bytes")]
    BodyCrc,
}

impl FrameHeader {
    /// A header of `kind` over `filler` bytes that mean nothing.
    #[must_use]
    pub const fn filler(kind: FrameKind, flags: u8, hash: u64, filler: u32) -> Self {
        Self {
            kind,
            flags,
            key_bytes: 0,
            value_bytes: filler,
            hash,
            expiry: 0,
            body_crc: 0,
        }
    }

    /// True for the mark of a clean close.
    #[must_use]
    pub const fn is_clean_mark(&self) -> bool {
        matches!(self.kind, FrameKind::Mark) && self.flags & flags::CLEAN != 0
    }

    /// True for the mark that ends its segment.
    #[must_use]
    pub const fn is_last_mark(&self) -> bool {
        matches!(self.kind, FrameKind::Mark) && self.flags & flags::LAST != 0
    }

    /// Bytes of the chunk table.
    #[must_use]
    #[inline]
    pub const fn table_bytes(&self) -> u64 {
        if self.flags & flags::CHUNKED == 0 {
            0
        } else {
            (self.value_bytes as u64).div_ceil(CHUNK_BYTES) * 4
        }
    }

    /// Bytes after the header, without the alignment.
    #[must_use]
    #[inline]
    pub const fn body_bytes(&self) -> u64 {
        self.key_bytes as u64 + self.table_bytes() + self.value_bytes as u64
    }

    /// Bytes that the frame takes in the log. Extents end on a sector of their own.
    #[must_use]
    #[inline]
    pub const fn frame_bytes(&self, sector: u64) -> u64 {
        let align = if matches!(self.kind, FrameKind::Extent) {
            sector
        } else {
            ALIGN
        };
        align_up(HEADER_BYTES + self.body_bytes(), align)
    }

    /// Where the value begins, from the frame's start.
    #[must_use]
    #[inline]
    pub const fn value_offset(&self) -> u64 {
        HEADER_BYTES + self.key_bytes as u64 + self.table_bytes()
    }

    /// The header's bytes for a frame at `offset` of its segment.
    ///
    /// # Panics
    /// When `offset` is not a multiple of 16 that a segment can have.
    #[must_use]
    #[inline]
    pub fn encode(&self, seed: Seed, offset: u64) -> [u8; to_usize(HEADER_BYTES)] {
        // The seed, and behind it what its crc goes on with. The crc takes its place over the seed's end when it is known.
        let mut bytes = [0; 4 + SEED_BYTES + COVERED_BYTES];
        bytes[4..28].copy_from_slice(&seed.0);
        bytes[28..32].copy_from_slice(&place_of(offset).to_le_bytes());
        bytes[32] = self.kind as u8;
        bytes[33] = self.flags;
        bytes[34..36].copy_from_slice(&self.key_bytes.to_le_bytes());
        bytes[36..40].copy_from_slice(&self.value_bytes.to_le_bytes());
        bytes[40..48].copy_from_slice(&self.hash.to_le_bytes());
        bytes[48..52].copy_from_slice(&self.expiry.to_le_bytes());
        bytes[52..].copy_from_slice(&self.body_crc.to_le_bytes());
        let crc = crc32fast::hash(&bytes[4..]);
        bytes[24..28].copy_from_slice(&crc.to_le_bytes());
        *bytes.last_chunk().expect("a header is shorter")
    }

    /// Reads the header of the frame at `offset` of its segment from the start of `bytes`.
    ///
    /// # Errors
    /// When the bytes are not that header.
    pub fn decode(bytes: &[u8], seed: Seed, offset: u64) -> Result<Self, FrameError> {
        let Some(bytes) = bytes.first_chunk::<{ to_usize(HEADER_BYTES) }>() else {
            return Err(FrameError::Short);
        };
        // The place first: scanning for the next frame mostly ends here.
        let (found, expected) = (u32_at(bytes, 4), place_of(offset));
        if found != expected && !perennial_failpoints::planted!("place-not-checked") {
            return Err(FrameError::Place { found, expected });
        }
        let (found, expected) = (u32_at(bytes, 0), seed.crc(bytes));
        if found != expected && !perennial_failpoints::planted!("header-crc-not-checked") {
            return Err(FrameError::HeaderCrc { found, expected });
        }
        let kind = FrameKind::from_byte(bytes[8]).ok_or(FrameError::Impossible)?;
        let header = Self {
            kind,
            flags: bytes[9],
            key_bytes: u16::from_le_bytes([bytes[10], bytes[11]]),
            value_bytes: u32_at(bytes, 12),
            hash: u64_at(bytes, 16),
            expiry: u32_at(bytes, 24),
            body_crc: u32_at(bytes, 28),
        };
        if !kind.has_body() && header.key_bytes != 0 {
            Err(FrameError::Impossible)
        } else {
            Ok(header)
        }
    }

    /// Reads and verifies a whole frame from the start of `bytes`: header, body, and every chunk of a chunked value.
    ///
    /// # Errors
    /// When the bytes are not that frame. [`FrameError::BodyCrc`] means that the header is good.
    pub fn decode_whole(bytes: &[u8], seed: Seed, offset: u64) -> Result<Self, FrameError> {
        let header = Self::decode(bytes, seed, offset)?;
        header.check_body(bytes)?;
        Ok(header)
    }

    /// Verifies the body of the frame that starts at `bytes`.
    ///
    /// # Errors
    /// [`FrameError::Short`] or [`FrameError::BodyCrc`].
    pub fn check_body(&self, bytes: &[u8]) -> Result<(), FrameError> {
        if !self.kind.has_body() || perennial_failpoints::planted!("body-crc-not-checked") {
            return Ok(());
        }
        let body = bytes
            .get(to_usize(HEADER_BYTES)..to_usize(HEADER_BYTES + self.body_bytes()))
            .ok_or(FrameError::Short)?;
        if self.flags & flags::CHUNKED == 0 {
            return if crc32fast::hash(body) == self.body_crc {
                Ok(())
            } else {
                Err(FrameError::BodyCrc)
            };
        }
        let (head, value) = body.split_at(to_usize(u64::from(self.key_bytes) + self.table_bytes()));
        let table = &head[usize::from(self.key_bytes)..];
        if crc32fast::hash(head) == self.body_crc && chunks_fit(table, value) {
            Ok(())
        } else {
            Err(FrameError::BodyCrc)
        }
    }

    /// True when a sealed segment's trailer has a row for this frame.
    #[must_use]
    pub const fn has_row(&self) -> bool {
        matches!(
            self.kind,
            FrameKind::Put
                | FrameKind::Ref
                | FrameKind::Remove
                | FrameKind::Head
                | FrameKind::Move
                | FrameKind::Clear
        ) || matches!(self.kind, FrameKind::Pad) && self.flags & flags::FORGET != 0
    }

    /// The key, from the bytes of a frame whose body was checked.
    #[must_use]
    pub fn key<'a>(&self, frame: &'a [u8]) -> &'a [u8] {
        let start = to_usize(HEADER_BYTES);
        &frame[start..start + usize::from(self.key_bytes)]
    }

    /// The value, from the bytes of a frame whose body was checked.
    #[must_use]
    pub fn value<'a>(&self, frame: &'a [u8]) -> &'a [u8] {
        let start = to_usize(self.value_offset());
        &frame[start..start + to_usize(u64::from(self.value_bytes))]
    }

    /// The stable LSN that a `Mark` carries.
    #[must_use]
    pub const fn mark_stable(&self) -> Lsn {
        Lsn(self.hash)
    }
}

/// True when every chunk of `value` has the crc that `table` gives.
#[must_use]
pub fn chunks_fit(table: &[u8], value: &[u8]) -> bool {
    let chunks = value.chunks(to_usize(CHUNK_BYTES));
    chunks.len() * 4 == table.len()
        && chunks
            .zip(table.chunks_exact(4))
            .all(|(chunk, crc)| crc32fast::hash(chunk).to_le_bytes() == crc)
}

/// Writes the chunk table of `value`.
pub fn write_chunk_table(table: &mut [u8], value: &[u8]) {
    for (chunk, crc) in value
        .chunks(to_usize(CHUNK_BYTES))
        .zip(table.chunks_exact_mut(4))
    {
        crc.copy_from_slice(&crc32fast::hash(chunk).to_le_bytes());
    }
}

/// True when the bytes could be the frame at `offset`: cheap, for looking at many places.
pub(crate) fn names_place(bytes: &[u8], offset: u64) -> bool {
    let named = bytes.get(4..8);
    named.is_some_and(|place| {
        place == place_of(offset).to_le_bytes()
            || perennial_failpoints::planted!("place-not-checked")
    })
}

#[inline]
fn place_of(offset: u64) -> u32 {
    debug_assert!(offset.is_multiple_of(ALIGN) && offset != 0);
    to_u32(to_usize(offset / ALIGN))
}

/// The little-endian `u32` at `at`.
#[inline]
pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

/// The little-endian `u64` at `at`.
#[inline]
pub(crate) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

#[cfg(test)]
mod tests;
