//! The file `identity` of a cache directory: what the directory is and how it was made.
//!
//! ```text
//!  byte  0      8         12           16
//!       | magic | format  | bytes of   | structure of the codec | zeros to a     | the same again:
//!       |       | version | a copy u32 |                        | multiple of 512| the second copy
//! ```
//! The file is two copies, so the second begins at half of the file's length, and each lies in sectors of its own: one
//! damaged copy costs nothing. The file is only ever replaced whole, by a rename; it is never written in place.

mod file;

use perennial_wal::{align_up, to_u32, to_usize};
use serde::{Deserialize, Serialize};

use crate::codec::{self, u32_at};

pub use file::{IdentityFileError, bad_copies, read, write};

/// The file's name.
pub const FILE_NAME: &str = "identity";
/// The file whose lock says that the cache is open.
pub const LOCK_NAME: &str = "LOCK";
/// Where the next content is made ready. What a crash left of it means nothing.
pub const TEMPORARY_NAME: &str = "identity.tmp";
/// What the name of every tail's file begins with.
pub const TAIL_PREFIX: &str = "tail-";
/// No identity file is longer.
pub const MAX_FILE_BYTES: u64 = 1 << 20;

const MAGIC: [u8; 8] = *b"PRNLCACH";
/// Of the file and of the structure in it alike.
const VERSION: u8 = 1;
const COPY_HEADER_BYTES: usize = 16;
const COPY_ALIGN: u64 = 512;

/// What a cache directory is and how it was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Tells this cache from every other; in the crc of each of its frames.
    pub cache_id: u64,
    /// Seed of the key hash.
    pub hash_seed: u64,
    /// Bytes of a segment, for the life of the cache: positions count in them.
    pub segment_bytes: u32,
    /// Bytes of the device's sector, as found when the cache was made.
    pub sector: u32,
    /// How many bits of hash make an identity in the index.
    pub identity_bits: u8,
    /// Where the tail of the last run is.
    pub tail: TailPlace,
    /// Tails in other directories that are to be removed: a process killed while it moved its tail may have left them.
    pub leftovers: Vec<TailPlace>,
}

/// Where the newest bytes of the log are kept before they are in their segment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TailPlace {
    /// In what kind of memory.
    pub kind: TailKind,
    /// The directory of the tail's file; `None`: the cache's own. Text, so that every identity can be written.
    pub dir: Option<String>,
    /// Bytes of the ring.
    pub ring_bytes: u64,
    /// Tells this tail from every other.
    pub tail_id: u64,
}

/// The kind of memory a tail is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum TailKind {
    /// A mapped file: outlives the process.
    Mapped,
    /// The process's own: gone with it.
    Heap,
}

/// Why bytes are not an identity that this code reads.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// Another program's file.
    #[error("not made by perennial")]
    Foreign,
    /// A newer perennial's file.
    #[error("made by a newer version: format {found}, this one reads up to {supported}")]
    NewerVersion {
        /// What the file says.
        found: u32,
        /// What this code reads.
        supported: u32,
    },
    /// Neither copy is good.
    #[error("damaged: {0}")]
    Damaged(String),
}

impl TailPlace {
    /// The name of the tail's file.
    #[must_use]
    pub fn file_name(&self) -> String {
        format!("{TAIL_PREFIX}{:016x}", self.tail_id)
    }
}

impl Identity {
    /// The file's bytes.
    ///
    /// # Panics
    /// When the tail's directory exceeds [`codec::MAX_PAYLOAD_BYTES`].
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let structure = codec::encode(VERSION, self);
        let copy_bytes = copy_bytes(structure.len());
        let mut copy = Vec::with_capacity(copy_bytes);
        copy.extend_from_slice(&MAGIC);
        copy.extend_from_slice(&u32::from(VERSION).to_le_bytes());
        copy.extend_from_slice(&to_u32(copy_bytes).to_le_bytes());
        copy.extend_from_slice(&structure);
        copy.resize(copy_bytes, 0);
        copy.repeat(2)
    }

    /// Reads the file's bytes; the second copy only if the first is not good.
    ///
    /// # Errors
    /// When neither copy is good.
    pub fn decode(bytes: &[u8]) -> Result<Self, IdentityError> {
        let first = match decode_copy(bytes) {
            Ok(identity) => return Ok(identity),
            Err(e) => e,
        };
        let second = match decode_copy(&bytes[bytes.len() / 2..]) {
            Ok(identity) => return Ok(identity),
            Err(e) => e,
        };
        match (first, second) {
            (newer @ IdentityError::NewerVersion { .. }, _)
            | (_, newer @ IdentityError::NewerVersion { .. }) => Err(newer),
            (IdentityError::Foreign, IdentityError::Foreign) => Err(IdentityError::Foreign),
            (first, second) => {
                let (first, second) = (first.why(), second.why());
                let why = format!("first copy: {first}; second copy: {second}");
                Err(IdentityError::Damaged(why))
            }
        }
    }
}

impl IdentityError {
    /// What is wrong with a copy, without the word before it.
    fn why(self) -> String {
        match self {
            Self::Damaged(why) => why,
            other => other.to_string(),
        }
    }
}

const fn copy_bytes(structure_bytes: usize) -> usize {
    to_usize(align_up(
        (COPY_HEADER_BYTES + structure_bytes) as u64,
        COPY_ALIGN,
    ))
}

/// Reads the copy that begins where `bytes` does.
fn decode_copy(bytes: &[u8]) -> Result<Identity, IdentityError> {
    let damaged = |why: &str| IdentityError::Damaged(why.to_owned());
    let magic = &bytes[..bytes.len().min(MAGIC.len())];
    if !MAGIC.starts_with(magic) {
        return Err(IdentityError::Foreign);
    }
    let Some((header, rest)) = bytes.split_at_checked(COPY_HEADER_BYTES) else {
        return Err(damaged("cut short"));
    };
    let (found, supported) = (u32_at(header, 8), u32::from(VERSION));
    if found > supported {
        return Err(IdentityError::NewerVersion { found, supported });
    }
    if found != supported {
        return Err(damaged("there never was such a format"));
    }
    let codec_error = |e: codec::CodecError| IdentityError::Damaged(e.to_string());
    let structure_bytes = codec::frame_bytes(rest).map_err(codec_error)?;
    let copy_bytes = copy_bytes(structure_bytes);
    if to_usize(u64::from(u32_at(header, 12))) != copy_bytes {
        return Err(damaged("its two lengths contradict each other"));
    }
    let Some(copy) = bytes.get(COPY_HEADER_BYTES..copy_bytes) else {
        return Err(damaged("cut short"));
    };
    let (structure, padding) = copy.split_at(structure_bytes);
    if padding.iter().any(|byte| *byte != 0) {
        return Err(damaged("its padding is not zero"));
    }
    codec::decode(VERSION, structure).map_err(codec_error)
}

#[cfg(test)]
mod tests;
