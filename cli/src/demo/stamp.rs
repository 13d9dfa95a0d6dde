//! What stands before a block in the cache, so that an older version is told from a newer one and neither from a foreign one.
//!
//! ```text
//!  0        8        16       24       32
//!  | key    | pass   | op     | check  | block ...        little endian
//! ```
//! `key` is the key's hash; `check` is a hash of the first 24 bytes and the block.

use xxhash_rust::xxh3::{Xxh3, xxh3_64};

pub(super) const STAMP_BYTES: usize = 32;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    /// How often the files had been walked through before.
    pub(super) pass: u64,
    /// Number of the operation that wrote this.
    pub(super) op: u64,
}

/// The value that is cached, built in `value`.
pub(super) fn write(value: &mut Vec<u8>, key: &[u8], stamp: Stamp, block: &[u8]) {
    value.clear();
    for field in [xxh3_64(key), stamp.pass, stamp.op] {
        value.extend_from_slice(&field.to_le_bytes());
    }
    let check = check_of(value, block);
    value.extend_from_slice(&check.to_le_bytes());
    value.extend_from_slice(block);
}

/// The stamp and the block; `None` if this was never made by [`write`] for this key.
pub(super) fn read<'a>(key: &[u8], value: &'a [u8]) -> Option<(Stamp, &'a [u8])> {
    let (head, block) = value.split_at_checked(STAMP_BYTES)?;
    let (fields, check) = head.split_at(STAMP_BYTES - 8);
    let field = |n: usize| {
        fields[n * 8..]
            .first_chunk()
            .map(|bytes| u64::from_le_bytes(*bytes))
    };
    let sound = check == check_of(fields, block).to_le_bytes() && field(0)? == xxh3_64(key);
    let stamp = Stamp {
        pass: field(1)?,
        op: field(2)?,
    };
    sound.then_some((stamp, block))
}

fn check_of(fields: &[u8], block: &[u8]) -> u64 {
    let mut hash = Xxh3::new();
    hash.update(fields);
    hash.update(block);
    hash.digest()
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAMP: Stamp = Stamp { pass: 3, op: 77 };

    fn stamped() -> Vec<u8> {
        let mut value = b"left over".to_vec();
        write(&mut value, b"a#0", STAMP, b"block");
        value
    }

    #[test]
    fn what_was_written_is_read() {
        assert_eq!(read(b"a#0", &stamped()), Some((STAMP, &b"block"[..])));
    }

    #[test]
    fn every_prefix_and_every_flipped_bit_is_foreign() {
        let value = stamped();
        for bytes in 0..value.len() {
            assert_eq!(read(b"a#0", &value[..bytes]), None, "prefix of {bytes}");
        }
        for bit in 0..value.len() * 8 {
            let mut flipped = value.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(read(b"a#0", &flipped), None, "bit {bit}");
        }
    }

    #[test]
    fn a_value_of_another_key_is_foreign() {
        assert_eq!(read(b"a#1", &stamped()), None);
    }
}
