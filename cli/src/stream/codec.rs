//! Heads, entries' heads and trailers as bytes. The map is in docs/export.md; here are the constants.

use perennial::Priority;

pub(super) const MAGIC: [u8; 8] = *b"PRNLEXPT";
const VERSION: u32 = 1;

pub(super) const HEAD_BYTES: usize = 16;
pub(super) const ENTRY_HEAD_BYTES: usize = 16;
/// Without its first byte, the kind.
pub(super) const TRAILER_REST_BYTES: usize = 31;

/// The first byte of an entry, and of the trailer: two bits or more lie between them.
pub(super) const ENTRY: u8 = 0x45;
pub(super) const TRAILER: u8 = 0x5a;

/// No segment holds more.
pub(super) const MOST_VALUE_BYTES: u32 = 64 << 20;

/// What is wrong with a stream, and where: the offset of the part that does not prove itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum StreamError {
    #[error("it is no stream of `perennial export`: it does not begin like one")]
    Foreign,
    #[error("its version is {0}, and this command reads version 1; use the command that wrote it")]
    Version(u32),
    #[error("at offset {at} it ends in the middle; export it again")]
    Truncated { at: u64 },
    #[error("at offset {at} crc {found:#010x}, expected {expected:#010x}; export it again")]
    Crc { at: u64, expected: u32, found: u32 },
    #[error("at offset {at} an entry should begin and does not; export it again")]
    NoEntry { at: u64 },
    #[error("at offset {at} lengths that no entry has; export it again")]
    Lengths { at: u64 },
    #[error(
        "at offset {at} the trailer speaks of {expected} {what}, and there are {found}; export it again"
    )]
    Count {
        at: u64,
        what: &'static str,
        expected: u64,
        found: u64,
    },
    #[error(
        "at offset {at} checksum {found:#018x} of all before, expected {expected:#018x}; export it again"
    )]
    Sum { at: u64, expected: u64, found: u64 },
    #[error("at offset {at} something follows the trailer; cut it off, or export again")]
    Beyond { at: u64 },
}

pub(super) fn head() -> [u8; HEAD_BYTES] {
    let mut head = [0; HEAD_BYTES];
    head[..8].copy_from_slice(&MAGIC);
    head[8..12].copy_from_slice(&VERSION.to_le_bytes());
    let crc = crc32fast::hash(&head[..12]);
    head[12..].copy_from_slice(&crc.to_le_bytes());
    head
}

/// # Errors
/// A version that is not known is only believed under its crc.
pub(super) fn check_head(head: &[u8; HEAD_BYTES]) -> Result<(), StreamError> {
    if head[..8] != MAGIC {
        return Err(StreamError::Foreign);
    }
    check_crc(0, u32_at(head, 12), crc32fast::hash(&head[..12]))?;
    match u32_at(head, 8) {
        VERSION => Ok(()),
        other => Err(StreamError::Version(other)),
    }
}

pub(super) fn check_crc(at: u64, expected: u32, found: u32) -> Result<(), StreamError> {
    if found == expected {
        return Ok(());
    }
    Err(StreamError::Crc {
        at,
        expected,
        found,
    })
}

/// The part of an entry that comes before key and value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct EntryHead {
    pub(super) priority: Priority,
    pub(super) key_bytes: u16,
    pub(super) value_bytes: u32,
    /// 0 = never.
    pub(super) ends_at_s: u32,
}

impl EntryHead {
    /// `crc` follows: of these bytes, the key and the value.
    pub(super) fn encode(self) -> [u8; ENTRY_HEAD_BYTES - 4] {
        let mut head = [0; ENTRY_HEAD_BYTES - 4];
        head[0] = ENTRY;
        head[1] = match self.priority {
            Priority::Low => 1,
            Priority::Pinned => 2,
            _ => 0,
        };
        head[2..4].copy_from_slice(&self.key_bytes.to_le_bytes());
        head[4..8].copy_from_slice(&self.value_bytes.to_le_bytes());
        head[8..].copy_from_slice(&self.ends_at_s.to_le_bytes());
        head
    }

    /// The lengths are not proved yet, but bound what is read to prove them.
    pub(super) fn decode(at: u64, head: &[u8; ENTRY_HEAD_BYTES]) -> Result<Self, StreamError> {
        let priority = match head[1] {
            0 => Priority::Normal,
            1 => Priority::Low,
            2 => Priority::Pinned,
            _ => return Err(StreamError::NoEntry { at }),
        };
        let key_bytes = u16::from_le_bytes([head[2], head[3]]);
        let value_bytes = u32_at(head, 4);
        if key_bytes == 0 || value_bytes > MOST_VALUE_BYTES {
            return Err(StreamError::Lengths { at });
        }
        Ok(Self {
            priority,
            key_bytes,
            value_bytes,
            ends_at_s: u32_at(head, 8),
        })
    }
}

/// What the end of a stream says of all before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Trailer {
    pub(super) entries: u64,
    pub(super) bytes: u64,
    pub(super) xxh3: u64,
}

impl Trailer {
    pub(super) fn encode(self) -> [u8; 1 + TRAILER_REST_BYTES] {
        let mut trailer = [0; 1 + TRAILER_REST_BYTES];
        trailer[0] = TRAILER;
        trailer[8..16].copy_from_slice(&self.entries.to_le_bytes());
        trailer[16..24].copy_from_slice(&self.bytes.to_le_bytes());
        trailer[24..].copy_from_slice(&self.xxh3.to_le_bytes());
        trailer
    }

    /// Compares what the trailer at `at` says with what was read.
    pub(super) fn check(self, at: u64, rest: &[u8; TRAILER_REST_BYTES]) -> Result<(), StreamError> {
        if rest[..7] != [0; 7] {
            return Err(StreamError::NoEntry { at });
        }
        let said = |n: usize| u64::from(u32_at(rest, n)) | u64::from(u32_at(rest, n + 4)) << 32;
        for (what, expected, found) in [
            ("entries", said(7), self.entries),
            ("bytes", said(15), self.bytes),
        ] {
            if expected != found {
                return Err(StreamError::Count {
                    at,
                    what,
                    expected,
                    found,
                });
            }
        }
        let (expected, found) = (said(23), self.xxh3);
        if expected != found {
            return Err(StreamError::Sum {
                at,
                expected,
                found,
            });
        }
        Ok(())
    }
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut four = [0; 4];
    four.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(four)
}
