//! A checkpoint of the index: parts with its entries, and the head that names them.
//!
//! Both are bodies of frames of the log, whose crcs cover them. A checkpoint exists exactly when its head's frame is in
//! the recovered log: the parts come before it, so they are there too.
//! The head is a structure of the [`codec`].

mod part;
mod read;

use perennial_wal::{Lsn, SegmentId};
use serde::{Deserialize, Serialize};

use crate::codec::{self, CodecError};

pub use part::{Entry, Part, PartError, decode_part, encode_part, entries_that_fit, part_bytes};
pub(crate) use read::{head_row, read_head, read_part, read_policy};
pub use read::{part_frame_bytes, part_of_frame};

const HEAD_VERSION: u8 = 1;

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
    /// Where the eviction policy's state lies, piece by piece, opaque here.
    pub policy: Vec<PartRef>,
    /// What an open needs of the index before it is loaded: how many shards it had, and how many of its entries were pinned.
    /// Empty in heads of before it was of use.
    pub shape: Vec<u64>,
    /// Unused: 0.
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

    /// How many shards the index had, and how many of its entries were pinned; `None` in a head that does not say so.
    #[must_use]
    pub fn shards_and_pinned(&self) -> Option<(u64, u64)> {
        match *self.shape {
            [shards, pinned, ..] => Some((shards, pinned)),
            _ => None,
        }
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
