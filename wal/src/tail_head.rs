//! The first 4096 bytes of the tail file: whose tail it is, how far the log is stable, and the buffers' header words.
//!
//! ```text
//!  byte    0 | identity, copy A (96 bytes)   | 256 | stable word | its complement | void word
//!        512 | 128 descriptors: | header word u64 | base u64 | ...
//!       2560 | identity, copy B               | 2816 | stable word | its complement | void word, again
//!  identity: | magic u64 | version u32 | crc u32 | cache id | tail id | incarnation | ring bytes | boot id (16) | 0 ...
//!  stable word: | 8 bits: check | 56 bits: stable LSN in 16-byte units |
//!  base:        | LSN of the buffer's first byte; bit 0: it is an extent |
//!  void word:   | "PRNLVOID" xor the incarnation: that life went on without its log; else anything |
//! ```
//! All four are stored one after the other after each sync, so the larger good word is true and at most one commit old.
//! The copies are in sectors of their own: a flipped bit or a lost sector costs nothing. A word counts with its complement
//! beside it alone: after lost power a sector may hold anything, and one word in a thousand of anything passes its own check.

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
/// Beside the stable words.
pub(crate) const VOID_AT: [usize; 2] = [272, 2832];
const VOID: u64 = u64::from_le_bytes(*b"PRNLVOID");
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

/// What the life `incarnation` leaves in its tail when it goes on without its log. No other life takes it for its own, so
/// nobody has to wipe it off.
#[must_use]
pub(crate) const fn void_word(incarnation: u64) -> u64 {
    VOID ^ incarnation
}

/// What a copy of the stable word says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum StableCopy {
    /// Word and complement agree.
    Good(Lsn),
    /// A good word, and the complement of an older one: the process died between the two stores.
    HalfStored,
    Bad,
}

impl StableCopy {
    fn decode(head: &[u8], at: usize) -> Self {
        let (word, again) = (u64_at(head, at), !u64_at(head, at + 8));
        match (stable_of(word), stable_of(again)) {
            (Some(lsn), _) if word == again => Self::Good(lsn),
            (Some(lsn), _) if perennial_failpoints::planted!("stable-word-alone") => {
                Self::Good(lsn)
            }
            (Some(new), Some(old)) if old < new => Self::HalfStored,
            _ => Self::Bad,
        }
    }

    const fn good(self) -> Option<Lsn> {
        match self {
            Self::Good(lsn) => Some(lsn),
            Self::HalfStored | Self::Bad => None,
        }
    }
}

/// The stable LSN of a word, if it passes its check.
#[must_use]
fn stable_of(word: u64) -> Option<Lsn> {
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
    /// The life that wrote it went on without its log. Either word says so: to forget is never wrong.
    pub void: bool,
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
        let words = Self::stable_words(head).map(StableCopy::good);
        let stable = words.into_iter().flatten().max();
        let void = void_word(identity.incarnation);
        Some(Self {
            identity,
            stable,
            void: VOID_AT.iter().any(|at| u64_at(head, *at) == void),
            descriptors: Descriptors::decode(head),
        })
    }

    /// Where each copy in a head begins, and whether it is as it was stored.
    ///
    /// # Panics
    /// When `head` is shorter than [`TAIL_HEAD_BYTES`].
    #[must_use]
    pub fn copies(head: &[u8]) -> [(u64, bool); 4] {
        let [a, b] = TailIdentity::decode_copies(head).map(|copy| copy.is_some());
        let [c, d] = Self::stable_words(head).map(|word| word != StableCopy::Bad);
        let [at_a, at_b] = COPIES_AT.map(|at| at as u64);
        let [at_c, at_d] = STABLE_AT.map(|at| at as u64);
        [(at_a, a), (at_b, b), (at_c, c), (at_d, d)]
    }

    /// What the copy that begins at `at` of a head holds. `None`: no stable word is known.
    #[must_use]
    pub fn encode_copy(&self, at: u64) -> Option<Vec<u8>> {
        if COPIES_AT.map(|at| at as u64).contains(&at) {
            return Some(self.identity.encode().to_vec());
        }
        let word = stable_word(self.stable?);
        Some([word.to_le_bytes(), (!word).to_le_bytes()].concat())
    }

    fn stable_words(head: &[u8]) -> [StableCopy; 2] {
        STABLE_AT.map(|at| StableCopy::decode(head, at))
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

    fn with_stable(words: [u64; 2]) -> Vec<u8> {
        let mut head = vec![0; 4096];
        identity().write_to(&mut head);
        for (at, word) in STABLE_AT.into_iter().zip(words) {
            head[at..at + 8].copy_from_slice(&word.to_le_bytes());
            head[at + 8..at + 16].copy_from_slice(&(!word).to_le_bytes());
        }
        head
    }

    fn stable(head: &[u8]) -> Option<Lsn> {
        TailHead::decode(head).expect("a good identity").stable
    }

    fn as_stored(head: &[u8]) -> [bool; 2] {
        let [_, _, (_, a), (_, b)] = TailHead::copies(head);
        [a, b]
    }

    #[test]
    fn a_bit_of_a_stable_word_or_its_complement_costs_one_copy() {
        let head = with_stable([stable_word(Lsn(4096)); 2]);
        for bit in STABLE_AT[0] * 8..(STABLE_AT[0] + 16) * 8 {
            let mut bad = head.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(stable(&bad), Some(Lsn(4096)), "bit {bit}");
            assert_eq!(as_stored(&bad), [false, true], "bit {bit}");
        }
    }

    #[test]
    fn a_life_is_void_by_its_own_word_alone() {
        let void = |at: usize, incarnation| {
            let mut head = with_stable([stable_word(Lsn(4096)); 2]);
            head[at..at + 8].copy_from_slice(&void_word(incarnation).to_le_bytes());
            TailHead::decode(&head).expect("a good identity").void
        };
        for at in VOID_AT {
            assert!(void(at, identity().incarnation));
            assert!(!void(at, identity().incarnation + 1), "an earlier life's");
        }
        assert!(!TailHead::decode(&with_stable([0; 2])).unwrap().void);
    }

    #[test]
    fn a_word_without_its_complement_proves_nothing() {
        // What a crash lab found on a torn page: it passed its own check, and everything durable was given up for it.
        let junk = stable_word(Lsn(0x26_2a91_37d5_eb20));
        let mut head = with_stable([stable_word(Lsn(4096)); 2]);
        head[STABLE_AT[1]..][..8].copy_from_slice(&junk.to_le_bytes());
        head[STABLE_AT[1] + 8..][..8].copy_from_slice(&0x1234_5678_9abc_def0_u64.to_le_bytes());
        assert_eq!(stable(&head), Some(Lsn(4096)));
        assert_eq!(as_stored(&head), [true, false]);
    }

    #[test]
    fn a_process_that_dies_between_the_stores_leaves_the_older_word() {
        let (old, new) = (stable_word(Lsn(4096)), stable_word(Lsn(8192)));
        let mut head = with_stable([old, old]);
        head[STABLE_AT[0]..][..8].copy_from_slice(&new.to_le_bytes());
        assert_eq!(stable(&head), Some(Lsn(4096)));
        assert_eq!(as_stored(&head), [true, true]);
    }
}
