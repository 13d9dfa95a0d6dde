//! A checkpoint of the index: parts with its entries, and the head that names them.
//!
//! Both are bodies of frames of the log, whose crcs cover them. A checkpoint exists exactly when its head's frame is in
//! the recovered log: the parts come before it, so they are there too. A part is
//!
//! ```text
//!  byte  0        4       8       12      16         24        32
//!       | format | shard | count | 0     | identity | word    | ... 16 bytes per entry
//!
//!  word:  63     62 ...... 57  56 ... 55  54 ................. 0
//!        | kept | size class | visited  | position / 16 bytes   |
//! ```
//! The head is a structure of the [`codec`].

use perennial_wal::{Addr, Lsn, SegmentId, to_u32, to_usize};
use serde::{Deserialize, Serialize};

use crate::codec::{self, CodecError, u32_at, u64_at};

const PART_FORMAT: u32 = 1;
const HEAD_VERSION: u8 = 1;

const PART_HEADER_BYTES: u64 = 16;
const ENTRY_BYTES: u64 = 16;

/// Positions below 2^55 units of 16 bytes: half an exbibyte of log.
const UNITS_BITS: u32 = 55;
const VISITED_BITS: u32 = 2;
const SIZE_CLASS_BITS: u32 = 6;
const VISITED_SHIFT: u32 = UNITS_BITS;
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
        (kept << KEPT_SHIFT) | (size_class << SIZE_CLASS_SHIFT) | (visited << VISITED_SHIFT) | units
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

/// Where a part lies, and what is in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartRef {
    /// Its frame.
    #[serde(with = "LsnAsU64")]
    pub lsn: Lsn,
    /// Bytes of the part; without the frame's header.
    pub bytes: u32,
    /// The shard whose entries these are.
    pub shard: u32,
    /// How many entries there are.
    pub entries: u32,
}

/// The head of a checkpoint: it exists when this does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// Counts checkpoints.
    pub generation: u64,
    /// The log's reserved end, read before the first shard was imaged: replay starts here.
    #[serde(with = "LsnAsU64")]
    pub c: Lsn,
    /// The log's reserved end, read after the last shard was imaged. The images may point at any frame below, so the
    /// head goes out only when the stable LSN has passed it (hole 1 in `docs/recovery.md`).
    #[serde(with = "LsnAsU64")]
    pub e: Lsn,
    /// Entries in all parts.
    pub entries: u64,
    /// How many bits of hash make an identity.
    pub identity_bits: u8,
    /// The oldest segment of the log.
    #[serde(with = "SegmentIdAsU64")]
    pub oldest: SegmentId,
    /// The newest second since 1970 that this cache has seen: time never goes back behind it.
    pub time_seen_s: u64,
    /// The parts.
    pub parts: Vec<PartRef>,
    /// The eviction policy's state, opaque here; empty for now.
    pub policy: Vec<u8>,
    /// Numbers of the kept segments, in the order of their list; empty for now.
    pub kept: Vec<u64>,
    /// The place of the hand; 0 for now.
    pub hand: u64,
}

impl Head {
    /// The head's bytes.
    ///
    /// # Panics
    /// When they would exceed [`codec::MAX_PAYLOAD_BYTES`].
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        codec::encode(HEAD_VERSION, self)
    }

    /// Reads a head and [checks](Self::check) it.
    ///
    /// # Errors
    /// When the bytes are not a head, or it contradicts itself.
    pub fn decode(bytes: &[u8]) -> Result<Self, HeadError> {
        let head: Self = codec::decode(HEAD_VERSION, bytes)?;
        head.check()?;
        Ok(head)
    }

    /// Refuses a head that contradicts itself.
    ///
    /// # Errors
    /// With the first contradiction.
    pub fn check(&self) -> Result<(), HeadError> {
        if self.c > self.e {
            return Err(HeadError::Order {
                c: self.c,
                e: self.e,
            });
        }
        for part in &self.parts {
            let expected = part_bytes(u64::from(part.entries));
            if u64::from(part.bytes) != expected {
                return Err(HeadError::PartBytes {
                    lsn: part.lsn,
                    found: part.bytes,
                    expected,
                });
            }
        }
        // No overflow: 2^32 parts of 2^32 entries would be needed.
        let expected = self.parts.iter().map(|part| u64::from(part.entries)).sum();
        if self.entries == expected {
            Ok(())
        } else {
            Err(HeadError::Entries {
                found: self.entries,
                expected,
            })
        }
    }
}

/// Why bytes are not a head that makes sense.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HeadError {
    /// The bytes are not a head.
    #[error("checkpoint head: {0}")]
    Codec(#[from] CodecError),
    /// The images end before they begin.
    #[error("checkpoint head: imaged from {c} to {e}")]
    Order {
        /// Where it says replay starts.
        c: Lsn,
        /// Where it says the images end.
        e: Lsn,
    },
    /// A part's size does not fit its entries.
    #[error("checkpoint head: the part at {lsn} has {found} bytes, expected {expected}")]
    PartBytes {
        /// Which part.
        lsn: Lsn,
        /// What the head says.
        found: u32,
        /// What its entries ask for.
        expected: u64,
    },
    /// The parts' entries do not add up.
    #[error("checkpoint head: {found} entries, expected {expected} from its parts")]
    Entries {
        /// What the head says.
        found: u64,
        /// What its parts add up to.
        expected: u64,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Lsn")]
struct LsnAsU64(u64);

#[derive(Serialize, Deserialize)]
#[serde(remote = "SegmentId")]
struct SegmentIdAsU64(u64);

#[cfg(test)]
mod tests;
