//! How our small structures become bytes: the only place that uses bincode.
//!
//! ```text
//!  byte  0       1         2          6         10
//!       | codec | version | payload  | payload | payload ...
//!       | id    |         | bytes u32| crc u32 |
//! ```
//! Codec 1 is bincode 2, little-endian, with integers of fixed width: a structure's size does not depend on its
//! numbers, and the decoder's count of bytes is the count of bytes that are there. A successor is a new id, not a new
//! file format. The version is the caller's: of the structure, not of the codec.
//!
//! bincode believes the lengths it reads. So nothing is decoded before its crc fits, never more than
//! [`MAX_PAYLOAD_BYTES`], and a payload that is not used up to its last byte is refused.

use bincode::config::{self, Configuration, Fixint, Limit, LittleEndian, NoLimit};
use perennial_wal::{to_u32, to_usize};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Bytes before the payload.
pub const HEADER_BYTES: usize = 10;

/// No payload is longer.
pub const MAX_PAYLOAD_BYTES: usize = 64 << 20;

/// A payload up to this size may not make the decoder ask for more memory than this.
const SMALL_PAYLOAD_BYTES: usize = 64 << 10;

const BINCODE_2_FIXED: u8 = 1;

const CONFIG: Configuration<LittleEndian, Fixint, NoLimit> = config::standard()
    .with_little_endian()
    .with_fixed_int_encoding();
const SMALL: Configuration<LittleEndian, Fixint, Limit<SMALL_PAYLOAD_BYTES>> =
    CONFIG.with_limit::<SMALL_PAYLOAD_BYTES>();
const LARGE: Configuration<LittleEndian, Fixint, Limit<MAX_PAYLOAD_BYTES>> =
    CONFIG.with_limit::<MAX_PAYLOAD_BYTES>();

/// Why bytes are not the structure that was expected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// Fewer bytes than a header, or than the header says.
    #[error("bytes are cut short")]
    Short,
    /// The payload's crc does not fit.
    #[error("payload crc {found:#010x}, expected {expected:#010x}")]
    Crc {
        /// What the header says.
        found: u32,
        /// What the payload gives.
        expected: u32,
    },
    /// No codec of ours has this id.
    #[error("codec {0} is not known")]
    Codec(u8),
    /// The structure has another version.
    #[error("version {found}, expected {expected}")]
    Version {
        /// What the header says.
        found: u8,
        /// What the caller reads.
        expected: u8,
    },
    /// The payload proves itself but is not the structure.
    #[error("payload: {0}")]
    Payload(String),
}

/// The bytes of `value`, a structure of this `version`.
///
/// # Panics
/// When the payload would exceed [`MAX_PAYLOAD_BYTES`], or serde cannot write the value (a sequence that does not know
/// its length).
#[must_use]
pub fn encode<T: Serialize>(version: u8, value: &T) -> Vec<u8> {
    try_encode(version, value).expect("our structures know their lengths and are small")
}

/// Like [`encode`], of a structure that is not ours.
///
/// # Errors
/// [`CodecError::Payload`] where `encode` panics.
pub fn try_encode<T: Serialize>(version: u8, value: &T) -> Result<Vec<u8>, CodecError> {
    let mut bytes = vec![0; HEADER_BYTES];
    bincode::serde::encode_into_std_write(value, &mut bytes, CONFIG)
        .map_err(|e| CodecError::Payload(e.to_string()))?;
    let payload = &bytes[HEADER_BYTES..];
    if payload.len() > MAX_PAYLOAD_BYTES {
        let bytes = payload.len();
        return Err(CodecError::Payload(format!(
            "{bytes} bytes, at most {MAX_PAYLOAD_BYTES}"
        )));
    }
    let (len, crc) = (to_u32(payload.len()), crc32fast::hash(payload));
    bytes[0] = BINCODE_2_FIXED;
    bytes[1] = version;
    bytes[2..6].copy_from_slice(&len.to_le_bytes());
    bytes[6..10].copy_from_slice(&crc.to_le_bytes());
    Ok(bytes)
}

/// Reads a structure of this `version` from exactly its bytes.
///
/// # Errors
/// When the bytes are not that.
pub fn decode<T: DeserializeOwned>(version: u8, bytes: &[u8]) -> Result<T, CodecError> {
    let payload = bytes
        .get(HEADER_BYTES..frame_bytes(bytes)?)
        .ok_or(CodecError::Short)?;
    let (found, expected) = (u32_at(bytes, 6), crc32fast::hash(payload));
    if found != expected {
        return Err(CodecError::Crc { found, expected });
    }
    if bytes[0] != BINCODE_2_FIXED {
        return Err(CodecError::Codec(bytes[0]));
    }
    if bytes[1] != version {
        return Err(CodecError::Version {
            found: bytes[1],
            expected: version,
        });
    }
    let beyond = bytes.len() - HEADER_BYTES - payload.len();
    if beyond != 0 {
        return Err(CodecError::Payload(format!("{beyond} bytes behind it")));
    }
    decode_payload(payload)
}

/// How many bytes the structure at the start of `bytes` claims to take, header included; not verified yet.
///
/// # Errors
/// [`CodecError::Short`] where there is no header.
pub fn frame_bytes(bytes: &[u8]) -> Result<usize, CodecError> {
    if bytes.len() < HEADER_BYTES {
        return Err(CodecError::Short);
    }
    Ok(HEADER_BYTES + to_usize(u64::from(u32_at(bytes, 2))))
}

fn decode_payload<T: DeserializeOwned>(payload: &[u8]) -> Result<T, CodecError> {
    if payload.len() > MAX_PAYLOAD_BYTES {
        return Err(CodecError::Payload(format!("{} bytes", payload.len())));
    }
    let decoded = if payload.len() <= SMALL_PAYLOAD_BYTES {
        bincode::serde::decode_from_slice(payload, SMALL)
    } else {
        bincode::serde::decode_from_slice(payload, LARGE)
    };
    let (value, used) = decoded.map_err(|e| CodecError::Payload(e.to_string()))?;
    if used == payload.len() {
        Ok(value)
    } else {
        Err(CodecError::Payload(format!(
            "{used} of {} bytes used",
            payload.len()
        )))
    }
}

/// The little-endian `u32` at `at`.
pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

/// The little-endian `u64` at `at`.
pub(crate) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

#[cfg(test)]
mod tests;
