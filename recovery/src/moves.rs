//! The body of a `Move` frame: entries that are elsewhere now.
//!
//! ```text
//!  byte  0      8             16            24      28
//!       | hash | old address | new address | bytes | ... 28 bytes per entry
//! ```
//! A move counts for itself: the entry of this hash, *if it is still where the move says*, is at the new address. So a
//! replay repeats in the order of the log what was done under the index's locks, and needs nothing but the frame: where
//! the bytes were before may be long gone (holes 2 and 3 in `docs/recovery.md`).

use perennial_wal::{Addr, to_usize};

use crate::codec::{u32_at, u64_at};

/// Bytes of one moved entry.
pub const MOVED_BYTES: u64 = 28;

/// An entry that was copied to a kept segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moved {
    /// The key's hash.
    pub hash: u64,
    /// Where it was.
    pub old: Addr,
    /// Where it is.
    pub new: Addr,
    /// Bytes to read there, header included.
    pub bytes: u32,
}

/// The body that says so of `moved`.
#[must_use]
pub fn encode_moves(moved: &[Moved]) -> Vec<u8> {
    let mut body = Vec::with_capacity(moved.len() * to_usize(MOVED_BYTES));
    for entry in moved {
        body.extend(entry.hash.to_le_bytes());
        body.extend(entry.old.to_bits().to_le_bytes());
        body.extend(entry.new.to_bits().to_le_bytes());
        body.extend(entry.bytes.to_le_bytes());
    }
    body
}

/// What a body says; `None` where its length is none of ours.
#[must_use]
pub fn decode_moves(body: &[u8]) -> Option<Vec<Moved>> {
    let entries = body.chunks_exact(to_usize(MOVED_BYTES));
    entries.remainder().is_empty().then(|| {
        entries
            .map(|bytes| Moved {
                hash: u64_at(bytes, 0),
                old: Addr::from_bits(u64_at(bytes, 8)),
                new: Addr::from_bits(u64_at(bytes, 16)),
                bytes: u32_at(bytes, 24),
            })
            .collect()
    })
}

#[cfg(test)]
mod tests {
    use perennial_wal::Lsn;

    use super::*;

    #[test]
    fn moves_come_back_and_every_prefix_is_refused_or_fewer() {
        let moved = |n: u64| Moved {
            hash: n << 60 | n,
            old: Addr::log(Lsn(n * 16)),
            new: Addr::kept(Lsn(n * 4096)),
            bytes: u32::MAX - 3,
        };
        let all: Vec<Moved> = (0..3).map(moved).collect();
        let body = encode_moves(&all);
        assert_eq!(decode_moves(&body), Some(all.clone()));
        for len in 0..body.len() {
            let whole = len % to_usize(MOVED_BYTES) == 0;
            let expected = whole.then(|| all[..len / to_usize(MOVED_BYTES)].to_vec());
            assert_eq!(decode_moves(&body[..len]), expected, "{len}");
        }
    }
}
