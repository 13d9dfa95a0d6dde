//! The first bytes of every segment file: whose it is, which number it has, and which lives wrote into it.
//!
//! ```text
//!  byte   0         8        12       16        24       32            40        48        56          64
//!        | magic    | version| crc    | cache id| number | predecessor | oldest  | stable  | checkpoint| segment bytes u32
//!   68   | sector u32 | joins u32 | join 0 | join 1 | ... (24 bytes each)
//!  join: | begin u32 | end u32 | incarnation u64 | void through u64 |
//! ```
//! A kept segment's header begins with another magic, and has its place in the list instead of a predecessor.
//!
//! The header is written twice, each copy in half of the header zone, so that one bad sector costs nothing. A *join* is
//! where a life of the log began to append: every open of the log adds one to the segment it goes on in, with a fresh
//! random incarnation, so that what an earlier life left behind its end can never prove itself (PROTOCOL hole 10).

use crate::frame::{Seed, u32_at, u64_at};
use crate::lsn::{ALIGN, END_OF_POSITIONS, Lsn, REACH_BYTES, SegmentId, to_u32, to_usize};

const MAGIC: &[u8; 8] = b"PRNLSEG\0";
const KEPT_MAGIC: &[u8; 8] = b"PRNLKPT\0";
/// The format this code writes, and the newest it reads.
pub const FORMAT_VERSION: u32 = 1;
/// A segment takes at most this many joins; then the log goes on in the next.
pub const MAX_JOINS: usize = 17;
/// Bytes of one copy of the header.
pub(crate) const HEADER_COPY_BYTES: usize = 512;
const FIXED: usize = 76;
const JOIN_BYTES: usize = 24;
const _: () = assert!(FIXED + MAX_JOINS * JOIN_BYTES <= HEADER_COPY_BYTES);

/// Where one life of the log began to append to a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Join {
    /// The first offset of this life; a multiple of the sector.
    pub begin: u32,
    /// Where the life before ended. What lies between is nothing.
    pub end: u32,
    /// The random number of this life, part of every frame's crc seed.
    pub incarnation: u64,
    /// Segments above this one's number and up to this number were given up when the life began.
    pub void_through: u64,
}

/// A segment's header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentHeader {
    /// The cache it belongs to.
    pub cache_id: u64,
    /// Its number.
    pub number: SegmentId,
    /// `None`: a segment of the log. Else a kept segment, and its place in the list of these: smaller is nearer to the
    /// tail.
    pub kept: Option<u64>,
    /// The log segment before it; its own number when it is the first, or kept.
    pub predecessor: SegmentId,
    /// The oldest log segment that counted when this header was written.
    pub oldest: SegmentId,
    /// A stable LSN known when this header was written.
    pub stable: Lsn,
    /// The newest checkpoint head that was stable when this header was written; 0 = none.
    pub checkpoint: Lsn,
    /// The size of every segment of the cache.
    pub segment_bytes: u32,
    /// The unit of writing: 512 or 4096.
    pub sector: u32,
    /// The lives that wrote here, oldest first; at least one.
    pub joins: Vec<Join>,
}

/// What the first bytes of a segment file are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HeaderFound {
    /// A good header.
    Good(SegmentHeader),
    /// A good header of a format this code does not know.
    Newer(u32),
    /// Zeros: never written.
    Blank,
    /// Anything else.
    Damaged,
}

impl SegmentHeader {
    /// Bytes of the header zone: two copies, whole sectors.
    #[must_use]
    pub const fn zone_bytes(sector: u64) -> u64 {
        if sector > 2 * HEADER_COPY_BYTES as u64 {
            sector
        } else {
            2 * HEADER_COPY_BYTES as u64
        }
    }

    /// The header zone's bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut copy = vec![0; HEADER_COPY_BYTES];
        copy[..8].copy_from_slice(if self.kept.is_some() {
            KEPT_MAGIC
        } else {
            MAGIC
        });
        copy[8..12].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
        let words = [
            self.cache_id,
            self.number.0,
            self.kept.unwrap_or(self.predecessor.0),
            self.oldest.0,
            self.stable.0,
            self.checkpoint.0,
        ];
        for (i, word) in words.into_iter().enumerate() {
            copy[16 + i * 8..24 + i * 8].copy_from_slice(&word.to_le_bytes());
        }
        for (i, word) in [self.segment_bytes, self.sector, to_u32(self.joins.len())]
            .into_iter()
            .enumerate()
        {
            copy[64 + i * 4..68 + i * 4].copy_from_slice(&word.to_le_bytes());
        }
        for (join, bytes) in self
            .joins
            .iter()
            .zip(copy[FIXED..].chunks_exact_mut(JOIN_BYTES))
        {
            bytes[..4].copy_from_slice(&join.begin.to_le_bytes());
            bytes[4..8].copy_from_slice(&join.end.to_le_bytes());
            bytes[8..16].copy_from_slice(&join.incarnation.to_le_bytes());
            bytes[16..24].copy_from_slice(&join.void_through.to_le_bytes());
        }
        let crc = copy_crc(&copy);
        copy[12..16].copy_from_slice(&crc.to_le_bytes());
        let zone = to_usize(Self::zone_bytes(u64::from(self.sector)));
        let mut bytes = vec![0; zone];
        bytes[..HEADER_COPY_BYTES].copy_from_slice(&copy);
        bytes[zone / 2..zone / 2 + HEADER_COPY_BYTES].copy_from_slice(&copy);
        bytes
    }

    /// Reads the header zone: the better of the two copies. A torn rewrite leaves one old and one new; the newer has
    /// more joins.
    #[must_use]
    pub fn decode(zone: &[u8]) -> HeaderFound {
        if !zone.is_empty() && zone.iter().all(|b| *b == 0) {
            return HeaderFound::Blank;
        }
        Self::decode_copies(zone)
            .into_iter()
            .fold(HeaderFound::Damaged, better)
    }

    /// Reads both copies, each for itself.
    #[must_use]
    pub fn decode_copies(zone: &[u8]) -> [HeaderFound; 2] {
        [zone, zone.get(zone.len() / 2..).unwrap_or(&[])].map(Self::decode_copy)
    }

    fn decode_copy(bytes: &[u8]) -> HeaderFound {
        let Some(bytes) = bytes.first_chunk::<HEADER_COPY_BYTES>() else {
            return HeaderFound::Damaged;
        };
        let is_kept = &bytes[..8] == KEPT_MAGIC;
        if (&bytes[..8] != MAGIC && !is_kept) || u32_at(bytes, 12) != copy_crc(bytes) {
            return HeaderFound::Damaged;
        }
        let version = u32_at(bytes, 8);
        if version != FORMAT_VERSION {
            return HeaderFound::Newer(version);
        }
        let joins = to_usize(u64::from(u32_at(bytes, 72)));
        if joins == 0 || joins > MAX_JOINS {
            return HeaderFound::Damaged;
        }
        let join = |b: &[u8]| Join {
            begin: u32_at(b, 0),
            end: u32_at(b, 4),
            incarnation: u64_at(b, 8),
            void_through: u64_at(b, 16),
        };
        let (number, link) = (u64_at(bytes, 24), u64_at(bytes, 32));
        let header = Self {
            cache_id: u64_at(bytes, 16),
            number: SegmentId(number),
            kept: is_kept.then_some(link),
            predecessor: SegmentId(if is_kept { number } else { link }),
            oldest: SegmentId(u64_at(bytes, 40)),
            stable: Lsn(u64_at(bytes, 48)),
            checkpoint: Lsn(u64_at(bytes, 56)),
            segment_bytes: u32_at(bytes, 64),
            sector: u32_at(bytes, 68),
            joins: bytes[FIXED..]
                .chunks_exact(JOIN_BYTES)
                .take(joins)
                .map(join)
                .collect(),
        };
        if header.is_sound() {
            HeaderFound::Good(header)
        } else {
            HeaderFound::Damaged
        }
    }

    /// False for what no life of any log writes: its positions would be calculated with.
    pub(crate) fn is_sound(&self) -> bool {
        let segment_bytes = u64::from(self.segment_bytes);
        let numbers = (END_OF_POSITIONS.checked_div(segment_bytes)).unwrap_or(0);
        let number = self.number.0;
        let follows = |before: u32, join: &Join| before <= join.end && join.end <= join.begin;
        let pairs = self.joins.iter().zip(self.joins.iter().skip(1));
        (1..numbers).contains(&number)
            && self.predecessor.0 <= number
            && self.oldest.0 <= number
            && self.stable.0 < END_OF_POSITIONS
            && self.joins.iter().all(|join| {
                let begin = u64::from(join.begin);
                let void = join.void_through.saturating_sub(number);
                begin >= 2 * HEADER_COPY_BYTES as u64
                    && begin < segment_bytes
                    && begin.is_multiple_of(ALIGN)
                    && join.end <= join.begin
                    && void < REACH_BYTES / segment_bytes
            })
            && pairs
                .into_iter()
                .all(|(before, join)| follows(before.begin, join))
    }

    /// The crc seed of a frame at `offset`.
    #[must_use]
    pub fn seed_at(&self, offset: u64) -> Seed {
        let join = self
            .joins
            .iter()
            .rev()
            .find(|j| u64::from(j.begin) <= offset)
            .unwrap_or(&self.joins[0]);
        Seed::new(self.cache_id, self.number.0, join.incarnation)
    }

    /// Where the next life's frames begin, when the frames of the life that wrote `offset` end there or before.
    #[must_use]
    pub(crate) fn join_at(&self, offset: u64) -> Option<u64> {
        let next = self.joins.iter().find(|j| u64::from(j.begin) > offset)?;
        (u64::from(next.end) <= offset).then_some(u64::from(next.begin))
    }

    /// The first place from `offset` on where a frame may begin.
    #[must_use]
    pub(crate) fn next_place(&self, offset: u64) -> u64 {
        let mut at = offset;
        while let Some(begin) = self.join_at(at) {
            at = begin;
        }
        at
    }

    /// The numbers that this segment's joins gave up: above its own, up to this.
    #[must_use]
    pub fn void_through(&self) -> SegmentId {
        SegmentId(self.joins.iter().map(|j| j.void_through).max().unwrap_or(0))
    }
}

fn better(a: HeaderFound, b: HeaderFound) -> HeaderFound {
    let joins = |found: &HeaderFound| match found {
        HeaderFound::Good(header) => header.joins.len() + 1,
        HeaderFound::Newer(_) => 1,
        HeaderFound::Blank | HeaderFound::Damaged => 0,
    };
    if joins(&b) > joins(&a) { b } else { a }
}

fn copy_crc(copy: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&copy[..12]);
    hasher.update(&copy[16..HEADER_COPY_BYTES]);
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(joins: usize, sector: u32) -> SegmentHeader {
        let join = |i: usize| Join {
            begin: to_u32(1024 * (i + 1)),
            end: to_u32(1024 * (i + 1) - 16),
            incarnation: 77 + i as u64,
            void_through: 9 + i as u64,
        };
        SegmentHeader {
            cache_id: 5,
            number: SegmentId(9),
            kept: None,
            predecessor: SegmentId(8),
            oldest: SegmentId(3),
            stable: Lsn(0x12340),
            checkpoint: Lsn(0x10010),
            segment_bytes: 1 << 16,
            sector,
            joins: (0..joins).map(join).collect(),
        }
    }

    #[test]
    fn a_header_comes_back_as_it_was_written() {
        for (joins, sector) in [(1, 512), (MAX_JOINS, 512), (3, 4096)] {
            let header = header(joins, sector);
            let bytes = header.encode();
            assert_eq!(
                bytes.len() as u64,
                SegmentHeader::zone_bytes(u64::from(sector))
            );
            assert_eq!(SegmentHeader::decode(&bytes), HeaderFound::Good(header));
        }
    }

    #[test]
    fn a_kept_segment_has_a_place_and_no_predecessor() {
        let header = SegmentHeader {
            kept: Some(u64::MAX - 7),
            predecessor: SegmentId(9),
            ..header(1, 512)
        };
        let found = SegmentHeader::decode(&header.encode());
        assert_eq!(found, HeaderFound::Good(header));
    }

    #[test]
    fn one_damaged_copy_costs_nothing_and_two_are_damage() {
        let header = header(2, 512);
        let bytes = header.encode();
        for bit in (0..bytes.len() * 8).step_by(crate::STEP) {
            let mut bad = bytes.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(
                SegmentHeader::decode(&bad),
                HeaderFound::Good(header.clone()),
                "bit {bit}"
            );
            bad[(bit / 8 + 512) % 1024] ^= 1 << (bit % 8);
            assert_eq!(
                SegmentHeader::decode(&bad),
                HeaderFound::Damaged,
                "bit {bit} twice"
            );
        }
    }

    #[test]
    fn the_copy_with_more_joins_is_the_newer() {
        let (old, new) = (header(1, 512).encode(), header(2, 512).encode());
        for torn in [
            [&old[..512], &new[512..]].concat(),
            [&new[..512], &old[512..]].concat(),
        ] {
            assert_eq!(
                SegmentHeader::decode(&torn),
                HeaderFound::Good(header(2, 512))
            );
        }
    }

    #[test]
    fn every_truncated_prefix_is_refused_or_the_whole_first_copy() {
        let bytes = header(1, 512).encode();
        for len in (0..HEADER_COPY_BYTES).step_by(crate::STEP) {
            assert!(
                !matches!(SegmentHeader::decode(&bytes[..len]), HeaderFound::Good(_)),
                "{len}"
            );
        }
    }

    #[test]
    fn zeros_are_blank_and_a_newer_format_is_named() {
        assert_eq!(SegmentHeader::decode(&[0; 1024]), HeaderFound::Blank);
        assert_eq!(SegmentHeader::decode(&[]), HeaderFound::Damaged);
        let mut bytes = header(1, 512).encode();
        for at in [0, 512] {
            bytes[at + 8] = 9;
            let crc = copy_crc(&bytes[at..at + 512]);
            bytes[at + 12..at + 16].copy_from_slice(&crc.to_le_bytes());
        }
        assert_eq!(SegmentHeader::decode(&bytes), HeaderFound::Newer(9));
    }

    /// What `change` makes of a good header, written and read.
    fn changed(change: impl FnOnce(&mut SegmentHeader)) -> bool {
        let mut header = header(2, 512);
        change(&mut header);
        let read = SegmentHeader::decode(&header.encode());
        let good = HeaderFound::Good(header);
        assert!(read == good || read == HeaderFound::Damaged, "{read:?}");
        read == good
    }

    #[test]
    fn what_no_life_writes_is_damage_however_good_its_crc() {
        let numbers = END_OF_POSITIONS >> 16;
        let at = |number: u64| {
            move |h: &mut SegmentHeader| {
                (h.number, h.predecessor, h.oldest) =
                    (SegmentId(number), SegmentId(0), SegmentId(0));
            }
        };
        assert!(!changed(at(0)) && changed(at(1)));
        assert!(changed(at(numbers - 1)) && !changed(at(numbers)));
        assert!(!changed(|h| h.segment_bytes = 0));
        assert!(changed(|h| h.predecessor.0 = 9) && !changed(|h| h.predecessor.0 = 10));
        assert!(changed(|h| h.oldest.0 = 9) && !changed(|h| h.oldest.0 = 10));
        let end = END_OF_POSITIONS;
        assert!(changed(|h| h.stable.0 = end - 16) && !changed(|h| h.stable.0 = end));
    }

    #[test]
    fn a_join_lies_in_its_segment_behind_the_one_before() {
        let first = |begin: u32| {
            move |h: &mut SegmentHeader| {
                h.joins.truncate(1);
                (h.joins[0].begin, h.joins[0].end) = (begin, begin);
            }
        };
        assert!(changed(first(1024)) && !changed(first(1008)));
        assert!(changed(first(65_520)) && !changed(first(65_536)));
        assert!(!changed(first(1032)));
        assert!(changed(|h| h.joins[0].end = 1024) && !changed(|h| h.joins[0].end = 1025));
        assert!(changed(|h| h.joins[1].end = 2048) && !changed(|h| h.joins[1].end = 2049));
        assert!(changed(|h| h.joins[1].end = 1024) && !changed(|h| h.joins[1].end = 1023));
        let reach = REACH_BYTES >> 16;
        assert!(changed(|h| h.joins[0].void_through = 9 + reach - 1));
        assert!(!changed(|h| h.joins[0].void_through = 9 + reach));
        assert!(changed(|h| h.joins[0].void_through = 0));
    }

    #[test]
    fn a_header_has_one_to_seventeen_joins() {
        for (joins, good) in [
            (0, false),
            (1, true),
            (17, true),
            (18, false),
            (u32::MAX, false),
        ] {
            let mut bytes = header(MAX_JOINS, 512).encode();
            for at in [0, 512] {
                bytes[at + 72..at + 76].copy_from_slice(&joins.to_le_bytes());
                let crc = copy_crc(&bytes[at..at + 512]);
                bytes[at + 12..at + 16].copy_from_slice(&crc.to_le_bytes());
            }
            let read = SegmentHeader::decode(&bytes);
            assert_eq!(matches!(read, HeaderFound::Good(_)), good, "{joins}");
        }
    }

    #[test]
    fn a_good_copy_counts_before_a_newer_one_and_that_before_none() {
        let good = HeaderFound::Good(header(1, 512));
        let (newer, damaged) = (HeaderFound::Newer(9), HeaderFound::Damaged);
        for (worse, than) in [(&newer, &good), (&damaged, &newer), (&damaged, &good)] {
            assert_eq!(better(worse.clone(), than.clone()), *than);
            assert_eq!(better(than.clone(), worse.clone()), *than);
        }
        assert_eq!(better(HeaderFound::Blank, newer.clone()), newer);
        let more = HeaderFound::Good(header(2, 512));
        assert_eq!(better(good.clone(), more.clone()), more);
        assert_eq!(better(more.clone(), good.clone()), more);
        // As many lives in both: the first copy is as good as any.
        let other = HeaderFound::Good(SegmentHeader {
            stable: Lsn(0),
            ..header(1, 512)
        });
        assert_eq!(better(good.clone(), other), good);
    }

    #[test]
    fn the_zone_is_two_copies_in_whole_sectors() {
        let zones = [512, 1024, 4096].map(SegmentHeader::zone_bytes);
        assert_eq!(zones, [1024, 1024, 4096]);
    }

    #[test]
    fn between_two_lives_is_nothing() {
        let header = header(3, 512);
        let places = [0, 1024, 2031, 2032, 2047, 2048, 3055, 3056, 3072, 60_000];
        let joins = places.map(|at| header.join_at(at));
        let (second, third) = (Some(2048), Some(3072));
        let none = None;
        assert_eq!(
            joins,
            [
                none, none, none, second, second, none, none, third, none, none
            ]
        );
        assert_eq!(
            [1024, 2040, 2048].map(|at| header.next_place(at)),
            [1024, 2048, 2048]
        );
        assert_eq!(header.void_through(), SegmentId(11));
        // A life that wrote nothing.
        let mut empty = header;
        empty.joins[2].end = 2048;
        assert_eq!(empty.next_place(2032), 3072);
    }

    #[test]
    fn each_life_has_its_own_seed() {
        let header = header(3, 512);
        assert_eq!(header.seed_at(0), Seed::new(5, 9, 77));
        assert_eq!(header.seed_at(1024), Seed::new(5, 9, 77));
        assert_eq!(header.seed_at(2032), Seed::new(5, 9, 77));
        assert_eq!(header.seed_at(2048), Seed::new(5, 9, 78));
        assert_eq!(header.seed_at(60_000), Seed::new(5, 9, 79));
    }
}
