//! The first 4096 bytes of the tail file: whose tail it is, how far the log is stable, and the buffers' header words.
//!
//! ```text
//!  byte    0 | identity, copy A (96 bytes)   | 256 | stable word
//!        512 | 128 descriptors: | header word u64 | base u64 | ...
//!       2560 | identity, copy B               | 2816 | stable word again
//!  identity: | magic u64 | version u32 | crc u32 | cache id | tail id | incarnation | ring bytes | boot id (16) | 0 ...
//!  stable word: | 8 bits: check | 56 bits: stable LSN in 16-byte units |
//!  base:        | LSN of the buffer's first byte; bit 0: it is an extent |
//! ```
//! Both stable words are stored one after the other after each sync, so the larger good one is true and at most one
//! commit old. The copies are in sectors of their own: a flipped bit or a lost sector costs nothing.

use crate::descriptors::Descriptors;
use crate::frame::{u32_at, u64_at};
use crate::lsn::{END_OF_POSITIONS, Lsn};

const MAGIC: u64 = u64::from_le_bytes(*b"PRNLTAIL");
const VERSION: u32 = 1;
/// Bytes before the ring.
pub const TAIL_HEAD_BYTES: u64 = 4096;
/// Descriptors of io buffers in the head.
pub(crate) const DESCRIPTORS: usize = 128;
/// The header word of an extent's buffer counts in sectors of this size.
pub(crate) const EXTENT_UNIT: u64 = 512;
pub(crate) const STABLE_AT: [usize; 2] = [256, 2816];
pub(crate) const DESCRIPTORS_AT: usize = 512;
const COPY_BYTES: usize = 96;
const COPIES_AT: [usize; 2] = [0, 2560];
const UNITS: u64 = (1 << 56) - 1;

const _: () = assert!(DESCRIPTORS_AT + DESCRIPTORS * 16 <= COPIES_AT[1]);

/// Whose tail it is and which life of the log wrote it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TailIdentity {
    /// The cache it belongs to.
    pub cache_id: u64,
    /// A random number of this tail, also kept with the cache, so that a copied directory does not take another's tail.
    pub tail_id: u64,
    /// The life of the log that appends to it.
    pub incarnation: u64,
    /// Bytes of the ring behind the head.
    pub ring_bytes: u64,
    /// The boot in which that life began.
    pub boot_id: [u8; 16],
}

impl TailIdentity {
    /// One copy of the identity.
    #[must_use]
    pub fn encode(&self) -> [u8; COPY_BYTES] {
        let mut copy = [0; COPY_BYTES];
        copy[..8].copy_from_slice(&MAGIC.to_le_bytes());
        copy[8..12].copy_from_slice(&VERSION.to_le_bytes());
        let words = [
            self.cache_id,
            self.tail_id,
            self.incarnation,
            self.ring_bytes,
        ];
        for (word, out) in words.into_iter().zip(copy[16..].chunks_exact_mut(8)) {
            out.copy_from_slice(&word.to_le_bytes());
        }
        copy[48..64].copy_from_slice(&self.boot_id);
        let crc = copy_crc(&copy);
        copy[12..16].copy_from_slice(&crc.to_le_bytes());
        copy
    }

    /// The identity of a tail head: whichever copy proves itself.
    #[must_use]
    pub fn decode(head: &[u8]) -> Option<Self> {
        Self::decode_copies(head).into_iter().flatten().next()
    }

    fn decode_copies(head: &[u8]) -> [Option<Self>; 2] {
        COPIES_AT.map(|at| Self::decode_copy(head.get(at..at + COPY_BYTES)?))
    }

    fn decode_copy(copy: &[u8]) -> Option<Self> {
        let good = u64_at(copy, 0) == MAGIC
            && u32_at(copy, 8) == VERSION
            && u32_at(copy, 12) == copy_crc(copy);
        good.then(|| Self {
            cache_id: u64_at(copy, 16),
            tail_id: u64_at(copy, 24),
            incarnation: u64_at(copy, 32),
            ring_bytes: u64_at(copy, 40),
            boot_id: copy[48..64].try_into().expect("sixteen bytes"),
        })
    }

    /// Writes both copies into a tail head.
    pub(crate) fn write_to(&self, head: &mut [u8]) {
        for at in COPIES_AT {
            head[at..at + COPY_BYTES].copy_from_slice(&self.encode());
        }
    }
}

fn copy_crc(copy: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&copy[..12]);
    hasher.update(&copy[16..COPY_BYTES]);
    hasher.finalize()
}

/// A stable LSN as a word that shows a flipped bit.
#[must_use]
pub(crate) fn stable_word(lsn: Lsn) -> u64 {
    let units = (lsn.0 / crate::lsn::ALIGN) & UNITS;
    units | u64::from(check_of(units)) << 56
}

/// The stable LSN of a word, if it proves itself.
#[must_use]
pub(crate) fn stable_of(word: u64) -> Option<Lsn> {
    let units = word & UNITS;
    let lsn = Lsn(units * crate::lsn::ALIGN);
    (word >> 56 == u64::from(check_of(units)) && lsn.0 < END_OF_POSITIONS).then_some(lsn)
}

/// Never 0 for units 0, so that zeros prove nothing.
fn check_of(units: u64) -> u8 {
    let [first, ..] = crc32fast::hash(&units.to_le_bytes()).to_le_bytes();
    first
}

/// What a tail head says when it is found again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TailHead {
    /// Whose it is.
    pub identity: TailIdentity,
    /// The larger stable LSN that proves itself.
    pub stable: Option<Lsn>,
    /// The buffers' words and bases.
    pub descriptors: Descriptors,
}

impl TailHead {
    /// Reads a tail head.
    #[must_use]
    pub fn decode(head: &[u8]) -> Option<Self> {
        let identity = TailIdentity::decode(head)?;
        if head.len() < crate::lsn::to_usize(TAIL_HEAD_BYTES) {
            return None;
        }
        let stable = Self::stable_words(head).into_iter().flatten().max();
        Some(Self {
            identity,
            stable,
            descriptors: Descriptors::decode(head),
        })
    }

    /// Where each copy in a head begins, and whether it proves itself.
    ///
    /// # Panics
    /// When `head` is shorter than [`TAIL_HEAD_BYTES`].
    #[must_use]
    pub fn copies(head: &[u8]) -> [(u64, bool); 4] {
        let [a, b] = TailIdentity::decode_copies(head).map(|copy| copy.is_some());
        let [c, d] = Self::stable_words(head).map(|word| word.is_some());
        let [at_a, at_b] = COPIES_AT.map(|at| at as u64);
        let [at_c, at_d] = STABLE_AT.map(|at| at as u64);
        [(at_a, a), (at_b, b), (at_c, c), (at_d, d)]
    }

    fn stable_words(head: &[u8]) -> [Option<Lsn>; 2] {
        STABLE_AT.map(|at| stable_of(u64_at(head, at)))
    }

    /// True for the head of this cache's tail of this number and size. Another's is no evidence.
    #[must_use]
    pub fn is_of(&self, cache_id: u64, tail_id: u64, ring_bytes: u64) -> bool {
        let id = &self.identity;
        id.cache_id == cache_id && id.tail_id == tail_id && id.ring_bytes == ring_bytes
    }

    /// True when it was written in this boot: then the tail holds what the dead process had stored.
    #[must_use]
    pub fn is_of_boot(&self, boot_id: Option<[u8; 16]>) -> bool {
        Some(self.identity.boot_id) == boot_id
            || perennial_failpoints::planted!("every-boot-is-the-same")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity() -> TailIdentity {
        TailIdentity {
            cache_id: 1,
            tail_id: 2,
            incarnation: 3,
            ring_bytes: 8192,
            boot_id: [7; 16],
        }
    }

    #[test]
    fn an_identity_survives_damage_to_one_copy() {
        let mut head = vec![0; 4096];
        identity().write_to(&mut head);
        assert_eq!(TailIdentity::decode(&head), Some(identity()));
        for bit in (0..COPY_BYTES * 8).step_by(crate::STEP) {
            let mut bad = head.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(TailIdentity::decode(&bad), Some(identity()), "bit {bit}");
            bad[COPIES_AT[1] + bit / 8] ^= 1 << (bit % 8);
            assert_eq!(TailIdentity::decode(&bad), None, "bit {bit} twice");
        }
        for len in 0..COPY_BYTES {
            assert_eq!(TailIdentity::decode(&head[..len]), None);
        }
    }

    #[test]
    fn a_stable_word_shows_a_flipped_bit() {
        for lsn in [Lsn(0), Lsn(4096), Lsn(0x7ff_ffff_fff0), Lsn(1 << 55)] {
            let word = stable_word(lsn);
            assert_eq!(stable_of(word), Some(lsn));
            for bit in 0..64 {
                assert_eq!(stable_of(word ^ (1 << bit)), None, "{lsn:?} bit {bit}");
            }
        }
        assert_eq!(stable_of(0), None);
    }
}
