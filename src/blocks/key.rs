//! The key of a block, and how an object is cut: `docs/blocks.md` has the map.

use std::ops::{Range, RangeInclusive};

use perennial_wal::to_usize;

use crate::blocks::origin::{Head, Version};
use crate::engine::MAX_KEY_BYTES;
use crate::error::{Error, ErrorKind, Result};

/// Begins the key of every block.
const MAGIC: [u8; 4] = *b"\0bk\x01";
/// What follows identity and object at least: the length of the version, that of the object, size of a block, number.
const END_BYTES: usize = 2 + 8 + 1 + 8;

/// How an object is cut into blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cut {
    /// A block has two to the power of this many bytes.
    pub(super) bits: u8,
    /// Bytes of the object.
    pub(super) len: u64,
}

impl Cut {
    pub(super) fn blocks(self) -> u64 {
        self.len.div_ceil(1 << self.bits)
    }

    /// The blocks that bytes from `offset` on lie in; at least one byte, inside the object.
    pub(super) fn touched(self, offset: u64, bytes: u64) -> RangeInclusive<u64> {
        debug_assert!(bytes > 0 && offset + bytes <= self.len);
        offset >> self.bits..=(offset + bytes - 1) >> self.bits
    }

    /// Where block `number` begins and ends: the last one is short.
    pub(super) fn bytes(self, number: u64) -> Range<u64> {
        let begin = number << self.bits;
        begin..self.len.min(begin.saturating_add(1 << self.bits))
    }

    pub(super) fn bytes_of(self, number: u64) -> usize {
        let Range { start, end } = self.bytes(number);
        to_usize(end - start)
    }
}

/// How the keys of all blocks of an origin begin.
pub(super) fn of_identity(identity: &str) -> Result<Vec<u8>> {
    let mut key = Vec::with_capacity(128 + identity.len());
    key.extend(MAGIC);
    // A planted bug leaves a part of the key out.
    if !perennial_failpoints::planted!("blocks-without-identity") {
        put(&mut key, identity.as_bytes(), ErrorKind::Invalid)?;
    }
    Ok(key)
}

/// How the keys of all blocks of an object begin, whatever its version.
pub(super) fn of_object(identity: &str, object: &str) -> Result<Vec<u8>> {
    let mut key = of_identity(identity)?;
    put(&mut key, object.as_bytes(), ErrorKind::Invalid)?;
    Ok(key)
}

/// How the keys of all blocks of one version begin.
pub(super) fn of_version(identity: &str, object: &str, head: &Head) -> Result<Vec<u8>> {
    let mut key = of_object(identity, object)?;
    if !perennial_failpoints::planted!("blocks-without-version") {
        put(&mut key, head.version.as_bytes(), ErrorKind::Origin)?;
        key.extend(head.len.to_le_bytes());
    }
    Ok(key)
}

/// The version that is in the key of a block which begins with that of its origin.
pub(super) fn version_in(key: &[u8], of_identity: &[u8]) -> Option<Version> {
    let (_, rest) = taken(key.strip_prefix(of_identity)?)?;
    let (version, rest) = taken(rest)?;
    (rest.len() == END_BYTES - 2).then(|| version.into())
}

fn taken(parts: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, rest) = parts.split_first_chunk()?;
    rest.split_at_checked(u16::from_le_bytes(*len).into())
}

/// One more part, if there is room for it and for what always follows.
fn put(key: &mut Vec<u8>, part: &[u8], otherwise: ErrorKind) -> Result<()> {
    let room = (MAX_KEY_BYTES - END_BYTES).saturating_sub(key.len() + 2);
    let len = u16::try_from(part.len()).ok();
    let Some(len) = len.filter(|_| part.len() <= room) else {
        let message = format!(
            "{} bytes of a name or version do not fit in a key, which has room for {room}",
            part.len()
        );
        return Err(Error::new(otherwise, message));
    };
    key.extend(len.to_le_bytes());
    key.extend(part);
    Ok(())
}

/// The keys of the blocks of one version.
#[derive(Debug, Clone)]
pub(super) struct Keys {
    /// The last key that was asked for.
    key: Vec<u8>,
    pub(super) cut: Cut,
}

impl Keys {
    pub(super) fn new(identity: &str, object: &str, head: &Head, bits: u8) -> Result<Self> {
        let mut key = of_version(identity, object, head)?;
        key.push(bits);
        key.extend([0; 8]);
        let cut = Cut {
            bits,
            len: head.len,
        };
        Ok(Self { key, cut })
    }

    pub(super) fn of(&mut self, number: u64) -> &[u8] {
        let at = self.key.len() - 8;
        let number = if perennial_failpoints::planted!("blocks-without-number") {
            number & !1
        } else {
            number
        };
        self.key[at..].copy_from_slice(&number.to_le_bytes());
        &self.key
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(version: &str, len: u64) -> Head {
        Head::new(version, len)
    }

    #[test]
    fn different_blocks_have_different_keys() {
        let names = ["", "a", "ab", "b", "\0", "a\0", "\u{1}\0a", "aa"];
        let mut seen = std::collections::HashSet::new();
        for identity in names {
            for object in names {
                for version in names {
                    for len in [0, 1, 256, 1 << 40] {
                        for bits in [12, 16] {
                            let head = head(version, len);
                            let mut keys = Keys::new(identity, object, &head, bits).expect("keys");
                            for number in [0, 1, 256] {
                                assert!(seen.insert(keys.of(number).to_vec()));
                            }
                        }
                    }
                }
            }
        }
        assert_eq!(seen.len(), 8 * 8 * 8 * 4 * 2 * 3);
    }

    #[test]
    fn the_key_is_as_documented() {
        let mut keys = Keys::new("id", "obj", &head("v", 0x1_0002), 16).expect("keys");
        let mut expected = b"\0bk\x01\x02\0id\x03\0obj\x01\0v".to_vec();
        expected.extend([2, 0, 1, 0, 0, 0, 0, 0, 16, 1, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(keys.of(1), expected);
        let object = of_object("id", "obj").expect("a key");
        assert!(expected.starts_with(&object));
        let origin = of_identity("id").expect("a key");
        assert_eq!(version_in(&expected, &origin), Some("v".into()));
        assert_eq!(version_in(&expected[..expected.len() - 1], &origin), None);
        assert_eq!(
            version_in(&[object.clone(), vec![0xFF; 2]].concat(), &origin),
            None
        );
        let version = of_version("id", "obj", &head("v", 0x1_0002)).expect("a key");
        assert!(expected.starts_with(&version) && version.starts_with(&object));
    }

    #[test]
    fn what_no_key_can_hold_is_refused() {
        let long = "x".repeat(MAX_KEY_BYTES - 10);
        let kind = |made: Result<Vec<u8>>| made.map_err(|error| error.kind()).err();
        assert_eq!(kind(of_object("id", &long)), Some(ErrorKind::Invalid));
        let odd = head(&long, 1);
        let made = of_version("i", "o", &odd);
        assert_eq!(kind(made), Some(ErrorKind::Origin));
        // Its own length, the identity's with it, and the first four bytes.
        let longest = "x".repeat(MAX_KEY_BYTES - END_BYTES - 2 - 3 - 4);
        let mut keys = Keys::new("i", &longest, &head("", 1), 12).expect("it just fits");
        assert_eq!(keys.of(0).len(), MAX_KEY_BYTES);
    }

    #[test]
    fn an_object_is_cut_into_blocks() {
        let cut = |len| Cut { bits: 12, len };
        assert_eq!(
            [0, 1, 4096, 4097].map(|len| cut(len).blocks()),
            [0, 1, 1, 2]
        );
        assert_eq!(cut(10_000).touched(4095, 2), 0..=1);
        assert_eq!(cut(10_000).touched(4096, 4096), 1..=1);
        assert_eq!(cut(10_000).bytes(2), 8192..10_000);
        assert_eq!(cut(10_000).bytes_of(1), 4096);
    }
}
