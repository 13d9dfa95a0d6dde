//! A part of a checkpoint: entries of one shard of the index.
//!
//! ```text
//!  byte  0        4       8       12      16         24        32
//!       | format | shard | count | 0     | identity | word    | ... 16 bytes per entry
//!
//!  word:  63     62 ...... 57  56 ... 55   54      53 ................. 0
//!        | kept | size class | visited  | pinned | position / 16 bytes   |
//! ```

use perennial_wal::{Addr, to_u32, to_usize};

use crate::codec::{u32_at, u64_at};

const PART_FORMAT: u32 = 1;
const PART_HEADER_BYTES: u64 = 16;
const ENTRY_BYTES: u64 = 16;

/// Positions below 2^54 units of 16 bytes, 2^58 bytes: no segment's header may say more.
pub(super) const UNITS_BITS: u32 = 54;
const PINNED_BITS: u32 = 1;
const VISITED_BITS: u32 = 2;
const SIZE_CLASS_BITS: u32 = 6;
const PINNED_SHIFT: u32 = UNITS_BITS;
const VISITED_SHIFT: u32 = PINNED_SHIFT + PINNED_BITS;
const SIZE_CLASS_SHIFT: u32 = VISITED_SHIFT + VISITED_BITS;
const KEPT_SHIFT: u32 = SIZE_CLASS_SHIFT + SIZE_CLASS_BITS;
const _: () = assert!(KEPT_SHIFT == 63);

/// An entry of the index, as a checkpoint holds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// What the index knows of the key's hash.
    pub identity: u64,
    /// Where its frame can be read.
    pub addr: Addr,
    /// How much to read there; below 64.
    pub size_class: u8,
    /// How recently it was read; below 4.
    pub visited: u8,
    /// It is never evicted.
    pub pinned: bool,
}

impl Entry {
    fn word(self) -> u64 {
        let (units, visited) = (self.addr.units(), u64::from(self.visited));
        let size_class = u64::from(self.size_class);
        // Our own bug, and one that would make this entry another one.
        assert!(
            units >> UNITS_BITS == 0
                && visited >> VISITED_BITS == 0
                && size_class >> SIZE_CLASS_BITS == 0,
            "{self:?} does not fit in a checkpoint"
        );
        let kept = u64::from(self.addr.is_kept());
        (kept << KEPT_SHIFT)
            | (size_class << SIZE_CLASS_SHIFT)
            | (visited << VISITED_SHIFT)
            | (u64::from(self.pinned) << PINNED_SHIFT)
            | units
    }

    fn from_bytes(bytes: &[u8; to_usize(ENTRY_BYTES)]) -> Self {
        let word = u64_at(bytes, 8);
        // No field but the position is wider than a byte.
        let field = |shift: u32, bits: u32| (word >> shift).to_le_bytes()[0] & ((1 << bits) - 1);
        Self {
            identity: u64_at(bytes, 0),
            addr: Addr::from_units(word >> KEPT_SHIFT != 0, word & ((1 << UNITS_BITS) - 1)),
            size_class: field(SIZE_CLASS_SHIFT, SIZE_CLASS_BITS),
            visited: field(VISITED_SHIFT, VISITED_BITS),
            pinned: field(PINNED_SHIFT, PINNED_BITS) != 0,
        }
    }
}

/// Bytes of a part with `count` entries.
#[must_use]
pub const fn part_bytes(count: u64) -> u64 {
    PART_HEADER_BYTES + count * ENTRY_BYTES
}

/// How many entries a part of at most `bytes` bytes can hold; parts end below 4 GiB.
#[must_use]
pub const fn entries_that_fit(bytes: u64) -> usize {
    let bytes = if bytes > u32::MAX as u64 {
        u32::MAX as u64
    } else {
        bytes
    };
    to_usize(bytes.saturating_sub(PART_HEADER_BYTES) / ENTRY_BYTES)
}

/// The bytes of a part: entries of one shard.
///
/// # Panics
/// When an entry's fields exceed their bits, or the part exceeds 4 GiB.
#[must_use]
pub fn encode_part(shard: u32, entries: &[Entry]) -> Vec<u8> {
    assert!(entries.len() <= entries_that_fit(u64::MAX));
    let mut bytes = Vec::with_capacity(to_usize(part_bytes(entries.len() as u64)));
    for field in [PART_FORMAT, shard, to_u32(entries.len()), 0] {
        bytes.extend_from_slice(&field.to_le_bytes());
    }
    for entry in entries {
        bytes.extend_from_slice(&entry.identity.to_le_bytes());
        bytes.extend_from_slice(&entry.word().to_le_bytes());
    }
    bytes
}

/// Reads a part. Its frame's crcs were checked: what is in the entries is believed.
///
/// # Errors
/// When the bytes are not exactly a part.
pub fn decode_part(bytes: &[u8]) -> Result<Part<'_>, PartError> {
    let (header, rows) = bytes
        .split_at_checked(to_usize(PART_HEADER_BYTES))
        .ok_or(PartError::Short)?;
    let format = u32_at(header, 0);
    if format != PART_FORMAT {
        return Err(PartError::Format {
            found: format,
            expected: PART_FORMAT,
        });
    }
    let (found, expected) = (bytes.len() as u64, part_bytes(u64::from(u32_at(header, 8))));
    if found != expected {
        return Err(PartError::Length { found, expected });
    }
    let reserved = u32_at(header, 12);
    if reserved != 0 {
        return Err(PartError::Reserved(reserved));
    }
    let shard = u32_at(header, 4);
    Ok(Part { shard, rows })
}

/// A part, read in place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part<'a> {
    shard: u32,
    rows: &'a [u8],
}

impl<'a> Part<'a> {
    /// The shard whose entries these are.
    #[must_use]
    pub const fn shard(&self) -> u32 {
        self.shard
    }

    /// How many entries there are.
    #[must_use]
    pub const fn count(&self) -> usize {
        self.rows.len() / to_usize(ENTRY_BYTES)
    }

    /// The entries, as they were written.
    pub fn entries(&self) -> impl ExactSizeIterator<Item = Entry> + use<'a> {
        let (rows, _) = self.rows.as_chunks();
        rows.iter().map(Entry::from_bytes)
    }
}

/// Why bytes are not a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PartError {
    /// Fewer bytes than a header.
    #[error("part is cut short")]
    Short,
    /// The part has another format.
    #[error("part format {found}, expected {expected}")]
    Format {
        /// What the part says.
        found: u32,
        /// What this code reads.
        expected: u32,
    },
    /// The part's length does not fit its count.
    #[error("part of {found} bytes, expected {expected} for its count")]
    Length {
        /// Bytes there are.
        found: u64,
        /// Bytes that its count asks for.
        expected: u64,
    },
    /// A field that is 0 in this format is not.
    #[error("part says {0:#x} where 0 is expected")]
    Reserved(u32),
}
