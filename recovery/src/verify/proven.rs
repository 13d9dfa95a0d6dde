//! The frames that prove themselves, as a Bloom filter: what may point at them is checked without keeping them.
//!
//! It is filled while the segments are walked and asked then. A frame that was put in is always found, so nothing sound
//! is ever called damaged. One that was not put in passes for one that was about once in a million times.

use std::ops::Range;

use bloomfilter::Bloom;
use perennial_wal::frame::{FrameHeader, FrameKind, HEADER_BYTES, flags};
use perennial_wal::segment::Row;
use perennial_wal::{Event, FrameItem, Lsn, to_usize};

use crate::checkpoint::Entry;

/// How often a pointer at nothing passes: 29 bits for each frame.
const RATE: f64 = 1e-6;

/// The filter is never larger: enough for 300 M frames. With a billion one in 60 passes.
const MAX_BYTES: usize = 1 << 30;

/// Frames of a segment that its rows do not tell of, for the most part: pads.
const BESIDES_ROWS: u64 = 16;

/// What a pointer says is there.
#[derive(Hash)]
enum Fact {
    /// A frame of the key with this identity.
    Key(Lsn, u64),
    /// An operation that was given up.
    GivenUp(Lsn),
    /// A value by itself, with its key's hash and its bytes.
    Extent(Lsn, u64, u64),
}

/// Frames that prove themselves.
pub(super) struct Proven {
    filter: Bloom<Fact>,
    /// What of a hash is no identity.
    shift: u32,
    /// Pads that forget: several entries may have lain where one is, and all of them were given up. Few: each was damage.
    forgotten: Vec<Range<Lsn>>,
}

impl Proven {
    /// For about so many facts. The same cache is always checked alike: `seed` is its own.
    pub(super) fn new(facts: u64, seed: u64, identity_bits: u8) -> Self {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&seed.to_le_bytes());
        key[16..24].copy_from_slice(&(!seed).to_le_bytes());
        let filter = Bloom::new_with_seed(filter_bytes(facts), to_usize(facts.max(1)), &key)
            .expect("fails for want of a random seed only");
        let shift = 64 - u32::from(identity_bits);
        Self {
            filter,
            shift,
            forgotten: Vec::new(),
        }
    }

    /// A frame that proved itself.
    pub(super) fn add(&mut self, frame: &FrameItem) {
        let (lsn, header) = (frame.lsn, &frame.header);
        let key = Fact::Key(lsn, header.hash >> self.shift);
        match header.kind {
            FrameKind::Put | FrameKind::Remove => self.filter.set(&key),
            FrameKind::Extent => {
                self.filter.set(&key);
                let bytes = extent_bytes(header);
                self.filter.set(&Fact::Extent(lsn, header.hash, bytes));
            }
            FrameKind::Pad => {
                self.filter.set(&Fact::GivenUp(lsn));
                if header.flags & flags::FORGET != 0 {
                    self.forgotten.push(lsn..Lsn(lsn.0 + frame.bytes));
                }
            }
            FrameKind::Ref
            | FrameKind::Mark
            | FrameKind::Part
            | FrameKind::Head
            | FrameKind::Move
            | FrameKind::Clear => {}
        }
    }

    /// Whether there is a frame of the entry's key, or of an operation that was given up, where it points.
    pub(super) fn has_entry(&self, entry: &Entry) -> bool {
        let at = entry.addr.position();
        let there = |fact| self.filter.check(&fact);
        there(Fact::Key(at, entry.identity))
            || there(Fact::GivenUp(at))
            || self.forgotten.iter().any(|part| part.contains(&at))
    }

    /// Whether there is the value that a reference's row names.
    pub(super) fn has_extent(&self, row: &Row) -> bool {
        let fact = Fact::Extent(row.target.position(), row.hash, u64::from(row.bytes));
        self.filter.check(&fact)
    }
}

fn extent_bytes(header: &FrameHeader) -> u64 {
    HEADER_BYTES + header.body_bytes()
}

/// How many facts a segment brings in which this happened.
pub(super) fn facts_of(events: impl Iterator<Item = Event>) -> u64 {
    let of_event = |event| match event {
        // Its extent, twice, and the pad behind it.
        Event::Row(row) if row.kind == FrameKind::Ref => 3,
        _ => 1,
    };
    BESIDES_ROWS + events.map(of_event).sum::<u64>()
}

fn filter_bytes(facts: u64) -> usize {
    Bloom::<Fact>::compute_bitmap_size(to_usize(facts.max(1)), RATE).min(MAX_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;
    use perennial_wal::{Addr, Lsn};

    const BITS: u8 = 48;

    fn frame(kind: FrameKind, lsn: u64, hash: u64) -> FrameItem {
        let header = FrameHeader::filler(kind, 0, hash, 100);
        FrameItem {
            lsn: Lsn(lsn),
            bytes: header.frame_bytes(512),
            header,
            row: None,
            in_ring: false,
        }
    }

    fn entry(lsn: u64, hash: u64) -> Entry {
        Entry {
            identity: hash >> 16,
            addr: Addr::log(Lsn(lsn)),
            size_class: 1,
            visited: 0,
            pinned: false,
        }
    }

    fn hash(n: u64) -> u64 {
        n.wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }

    #[test]
    fn memory_is_bounded_whatever_the_log_holds() {
        const MIB: usize = 1 << 20;
        assert_eq!(filter_bytes(0), 4);
        assert_eq!(filter_bytes(1_000_000) / MIB, 3);
        // An entry of a checkpoint in memory is 24 bytes: 1,144 MiB for as many.
        assert_eq!(filter_bytes(50_000_000) / MIB, 171);
        assert!(filter_bytes(298_000_000) < MAX_BYTES);
        assert_eq!(filter_bytes(1_000_000_000), MAX_BYTES);
        assert_eq!(filter_bytes(u64::from(u32::MAX) << 8), MAX_BYTES);
    }

    #[test]
    fn what_is_there_is_always_found_and_what_is_not_almost_never() {
        const FRAMES: u64 = 200_000;
        let mut proven = Proven::new(FRAMES, 7, BITS);
        for n in 1..=FRAMES {
            proven.add(&frame(FrameKind::Put, n * 64, hash(n)));
        }
        assert!((1..=FRAMES).all(|n| proven.has_entry(&entry(n * 64, hash(n)))));
        let passed = |at: fn(u64) -> u64, of: fn(u64) -> u64| {
            let wrong = (1..=FRAMES).map(|n| entry(at(n), hash(of(n))));
            wrong.filter(|entry| proven.has_entry(entry)).count()
        };
        // Twice 200,000 questions each, at one in a million.
        assert!(passed(|n| n * 64 + 16, |n| n) < 5, "another place");
        assert!(passed(|n| n * 64, |n| n + 1) < 5, "another key");
    }

    #[test]
    fn an_over_full_filter_still_finds_what_is_there() {
        let mut proven = Proven::new(1, 7, BITS);
        for n in 1..=10_000 {
            proven.add(&frame(FrameKind::Remove, n * 64, hash(n)));
        }
        assert!((1..=10_000).all(|n| proven.has_entry(&entry(n * 64, hash(n)))));
    }

    #[test]
    fn an_entry_points_at_a_frame_of_its_key_or_at_one_given_up() {
        let mut proven = Proven::new(8, 7, BITS);
        for (at, kind) in (1..).zip(FrameKind::ALL) {
            proven.add(&frame(kind, at * 512, 5 << 16));
        }
        let fits = |at: u64, hash| proven.has_entry(&entry(at * 512, hash));
        for (at, kind) in (1..).zip(FrameKind::ALL) {
            use FrameKind::{Extent, Pad, Put, Remove};
            assert_eq!(
                fits(at, 5 << 16),
                matches!(kind, Put | Remove | Extent | Pad)
            );
            assert_eq!(fits(at, 6 << 16), kind == Pad, "of another key: {kind:?}");
        }
    }

    #[test]
    fn a_reference_names_its_extent_with_hash_and_bytes() {
        let mut proven = Proven::new(8, 7, BITS);
        let row = |lsn, hash, bytes| Row {
            hash,
            target: Addr::log(Lsn(lsn)),
            bytes,
            kind: FrameKind::Ref,
            flags: 0,
            key_bytes: 0,
        };
        assert!(!proven.has_extent(&row(512, 5, 132)));
        proven.add(&frame(FrameKind::Extent, 512, 5));
        proven.add(&frame(FrameKind::Put, 1024, 5));
        assert!(proven.has_extent(&row(512, 5, 132)));
        for (at, hash, bytes) in [(1024, 5, 132), (512, 6, 132), (512, 5, 148)] {
            assert!(!proven.has_extent(&row(at, hash, bytes)));
        }
    }

    #[test]
    fn a_large_value_is_three_facts() {
        let row = |kind| Event::Row(Row { kind, ..row_of() });
        let events = [row(FrameKind::Put), row(FrameKind::Ref), Event::ForgetAll];
        assert_eq!(facts_of(events.into_iter()), BESIDES_ROWS + 5);
    }

    fn row_of() -> Row {
        Row {
            hash: 0,
            target: Addr::log(Lsn(16)),
            bytes: 0,
            kind: FrameKind::Put,
            flags: 0,
            key_bytes: 0,
        }
    }
}
