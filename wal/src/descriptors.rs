//! The buffers' descriptors as a dead process left them: what was reserved above the stable LSN, and where a writer may
//! have been in the middle of a copy.
//!
//! A buffer's descriptor is there before anything is reserved in it, and is used again only when the buffer is stable.
//! So above the stable LSN every reserved byte has its descriptor, and a gap without one is no hole: the sector that
//! said what lay there is lost. (It passed for a hole once, and an older version was shown.)

use crate::frame::u64_at;
use crate::header_word::Word;
use crate::lsn::{ALIGN, END_OF_POSITIONS, Lsn};
use crate::tail_head::{DESCRIPTORS, DESCRIPTORS_AT, EXTENT_UNIT};

/// The base of a descriptor that no buffer has had: zeros are a lost one.
pub(crate) const UNUSED_BASE: u64 = u64::MAX;

/// A buffer as a dead process left it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FoundDescriptor {
    /// Where the buffer begins.
    pub base: Lsn,
    /// Writers that were in the middle of their copy.
    pub writers: u64,
    /// Bytes reserved.
    pub bytes: u64,
    /// The low bits of the buffer's sequence number, as its word has them.
    pub salt: u64,
    /// It is an extent's place, written straight to the segment.
    pub extent: bool,
}

impl FoundDescriptor {
    fn end(&self) -> Lsn {
        self.base.plus(self.bytes)
    }

    /// What lies here may be no operation: its writer was not finished, or it is an extent, which is none before a
    /// reference names it, and has no writers either when its write failed.
    fn may_be_a_hole(&self) -> bool {
        self.writers > 0 || self.extent
    }
}

#[derive(Debug, Clone, Copy)]
enum Slot {
    Unused,
    Lost,
    Used(FoundDescriptor),
}

impl Slot {
    fn decode(head: &[u8], slot: usize) -> Self {
        let at = DESCRIPTORS_AT + slot * 16;
        let (word, base) = (Word(u64_at(head, at)), u64_at(head, at + 8));
        if base == 0 {
            return Self::Lost;
        }
        if word.0 == 0 {
            return Self::Unused;
        }
        // Under no crc: where rot sends a buffer, the log must be able to follow.
        if base >= END_OF_POSITIONS {
            return Self::Lost;
        }
        if word.salt() % DESCRIPTORS as u64 != slot as u64 {
            return Self::Lost;
        }
        let extent = base & 1 == 1;
        Self::Used(FoundDescriptor {
            base: Lsn(base & !15),
            writers: word.writers(),
            bytes: word.offset() * if extent { EXTENT_UNIT } else { ALIGN },
            salt: word.salt(),
            extent,
        })
    }
}

/// All descriptors of a head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Descriptors {
    used: Vec<FoundDescriptor>,
    /// The descriptor behind the newest one is lost: there may have been newer ones.
    newest_lost: bool,
}

impl Descriptors {
    /// Reads them from a tail head, which is long enough.
    pub(crate) fn decode(head: &[u8]) -> Self {
        let slots: Vec<Slot> = (0..DESCRIPTORS)
            .map(|slot| Slot::decode(head, slot))
            .collect();
        let found = slots.iter().filter_map(|slot| match slot {
            Slot::Used(descriptor) => Some(*descriptor),
            Slot::Unused | Slot::Lost => None,
        });
        let used = in_turn(found.collect());
        let newest = used.iter().max_by_key(|d| d.base).map_or(0, |d| d.salt);
        let next = crate::lsn::to_usize((newest + 1) % DESCRIPTORS as u64);
        Self {
            used,
            newest_lost: matches!(slots[next], Slot::Lost),
        }
    }

    /// The buffers that were in use.
    pub fn used(&self) -> impl Iterator<Item = &FoundDescriptor> {
        self.used.iter()
    }

    /// Where the last reservation ended of those that begin below `before`. `None`: nobody can tell.
    #[must_use]
    pub fn reserved_end(&self, before: Lsn) -> Option<Lsn> {
        let begun = self.used.iter().filter(|d| d.base < before);
        let end = begun.map(FoundDescriptor::end).max();
        (!self.newest_lost).then_some(end.unwrap_or_default())
    }

    /// True when each byte of [`from`, `to`) lies where a writer may not have been finished.
    #[must_use]
    pub fn may_be_a_hole(&self, from: Lsn, to: Lsn) -> bool {
        let mut at = from;
        while at < to {
            let holds = |d: &&FoundDescriptor| d.base <= at && at < d.end() && d.may_be_a_hole();
            match self.used.iter().find(holds) {
                Some(descriptor) => at = descriptor.end(),
                None => return false,
            }
        }
        true
    }
}

/// Without the one that a killed process was giving to its next buffer: the new base stands beside the old word, which
/// counts what an earlier buffer held. Its salt is older than those of buffers that lie before it.
fn in_turn(mut found: Vec<FoundDescriptor>) -> Vec<FoundDescriptor> {
    let all = found.clone();
    found.retain(|d| {
        let behind_it = |other: &FoundDescriptor| other.base < d.base && newer(other.salt, d.salt);
        !all.iter().any(behind_it)
    });
    found
}

/// True when the salt `a` is of a later buffer than `b`, both among the last few.
fn newer(a: u64, b: u64) -> bool {
    (1..1 << 23).contains(&(a.wrapping_sub(b) & 0xff_ffff))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEWEST: u64 = 300;

    /// Buffers of 64 bytes side by side up to number 300, and the next descriptor's base.
    fn head(writers_in: u64) -> Vec<u8> {
        let mut head = vec![0; 4096];
        for seq in NEWEST - 127..=NEWEST {
            let word = Word::closed(seq, 4).0 - if seq == writers_in { 0 } else { 1 << 30 };
            put(&mut head, seq, word, seq * 64);
        }
        head
    }

    fn put(head: &mut [u8], seq: u64, word: u64, base: u64) {
        let at = DESCRIPTORS_AT + crate::lsn::to_usize(seq % 128) * 16;
        head[at..at + 8].copy_from_slice(&word.to_le_bytes());
        head[at + 8..at + 16].copy_from_slice(&base.to_le_bytes());
    }

    fn hole(head: &[u8], from: u64, to: u64) -> bool {
        Descriptors::decode(head).may_be_a_hole(Lsn(from), Lsn(to))
    }

    #[test]
    fn a_gap_is_a_hole_only_where_a_writer_was() {
        let head = head(299);
        let at = 299 * 64;
        assert!(hole(&head, at, at + 64) && hole(&head, at + 16, at + 48));
        assert!(!hole(&head, at - 16, at + 16), "it begins before");
        assert!(!hole(&head, at + 32, at + 80), "it ends behind");
        assert!(!hole(&head, at + 128, at + 144), "nothing is there");
        assert!(hole(&head, at, at), "nothing is missing");
        let end = |before| Descriptors::decode(&head).reserved_end(Lsn(before));
        assert_eq!(end(u64::MAX), Some(Lsn(301 * 64)));
        assert_eq!(end(at), Some(Lsn(at)));
    }

    #[test]
    fn a_lost_sector_shows() {
        for sector in 0..4 {
            let mut head = head(299);
            head[DESCRIPTORS_AT + sector * 512..][..512].fill(0);
            // Number 300 has the slot 44, in the second sector, and the next one too.
            let found = Descriptors::decode(&head);
            assert_eq!(found.reserved_end(Lsn(u64::MAX)).is_none(), sector == 1);
            assert_eq!(found.used().count(), 96);
        }
    }

    #[test]
    fn a_descriptor_half_given_to_its_next_buffer_reserves_nothing() {
        let mut head = head(0);
        let word = Word::closed(NEWEST - 127, 4).0;
        put(&mut head, NEWEST + 1, word, (NEWEST + 1) * 64);
        let found = Descriptors::decode(&head);
        assert_eq!(found.used().count(), 127);
        assert_eq!(found.reserved_end(Lsn(u64::MAX)), Some(Lsn(301 * 64)));
    }

    #[test]
    fn an_extent_is_no_operation() {
        let mut head = head(0);
        let word = Word::closed(NEWEST, 1).0 - (1 << 30);
        put(&mut head, NEWEST, word, (300 * 64) | 1);
        assert!(hole(&head, 300 * 64, 300 * 64 + 512));
    }

    #[test]
    fn a_new_tail_has_reserved_nothing() {
        let mut head = vec![0; 4096];
        for slot in 0..128 {
            put(&mut head, slot, 0, UNUSED_BASE);
        }
        let found = Descriptors::decode(&head);
        assert_eq!(found.reserved_end(Lsn(u64::MAX)), Some(Lsn(0)));
        // The first descriptor of all is half given away.
        put(&mut head, 1, 0, 64);
        assert_eq!(Descriptors::decode(&head), found);
    }
}
